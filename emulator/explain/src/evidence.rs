//! What a world and its nodes say.

use std::collections::BTreeMap;

use damc_impair::DirectionSpec;
use damc_mgmt::event::{Event, EventKind};
use damc_mgmt::view::{
    AnnouncementsView, FibEntryView, FibView, LsaView, LsdbView, NeighborView, NeighborsView, PoliciesView, Shown,
};
use damc_mgmt::words::LsaKind;
use damc_testbed::{Act, NodeState, NodeStatus, Observed, Result, WorldError};
use damc_topology::plan::Process;
use damc_wire::{Name, Role};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::frames::is_router;

/// What a world and its nodes say at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Name of the lab.
    pub lab: String,
    /// Trust domain.
    pub domain: String,
    /// When it was gathered, on the world's clock, ns.
    pub at_ns: u64,
    /// When the lab was ready, on the same clock, ns.
    pub began_ns: u64,
    /// Realtime minus the world's clock in captures of this world, ns.
    pub realtime_offset_ns: i64,
    /// Lifetime of LSAs, ms.
    pub lsa_lifetime_ms: u64,
    /// How long an SG waits before what it heard last of a pod or SPA counts as unanswered, ms.
    pub grace_ms: u64,
    /// By name.
    pub nodes: BTreeMap<String, Witness>,
    /// Links.
    pub links: Vec<LinkEvidence>,
    /// What was done, oldest first.
    pub acts: Vec<Act>,
}

/// What a node says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// `sg`, `sr`, `spa`, `scsc` or `pod`.
    pub kind: String,
    /// State of its process; none where the world does not say.
    pub state: Option<NodeState>,
    /// Times it was started.
    pub starts: u32,
    /// Pod: names of its configured services, pools included.
    pub services: Vec<String>,
    /// Why it says nothing, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
    /// `/fib`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fib: Option<FibView>,
    /// `/lsdb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsdb: Option<LsdbView>,
    /// `/neighbors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbors: Option<NeighborsView>,
    /// `/announcements`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcements: Option<AnnouncementsView>,
    /// `/policies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<PoliciesView>,
    /// The events that it remembers, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkEvidence {
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// It has carrier as far as the world decides it; none where the world does not say.
    pub up: Option<bool>,
    /// What happens to frames from `a`, and to those from `b`.
    pub does: Option<(DirectionSpec, DirectionSpec)>,
}

impl Evidence {
    /// Asks a world and all its nodes, at the same time. A node that does not answer says nothing.
    ///
    /// # Errors
    /// The world is gone.
    pub async fn gather(world: &dyn Observed) -> Result<Self> {
        let plan = world.plan();
        let status = world.status().await?;
        let asked = plan.processes.iter().map(|process| async {
            let state = status.nodes.iter().find(|node| node.name == process.node);
            let mut witness = Witness::of(process, state);
            witness.hear(world, &process.node).await;
            (process.node.clone(), witness)
        });
        let nodes = join_all(asked).await.into_iter().collect();
        let mut links = Vec::new();
        for link in &plan.links {
            let (a, b) = (link.a.node.clone(), link.b.node.clone());
            let state = world.link_status(&a, &b).await.ok();
            let (up, does) = (state.as_ref().map(|s| s.up), state.map(|s| (s.forward, s.backward)));
            links.push(LinkEvidence { a, b, up, does });
        }
        Ok(Self {
            lab: plan.lab.clone(),
            domain: plan.domain.clone(),
            at_ns: world.now_ns(),
            began_ns: status.ready_at_ns,
            realtime_offset_ns: 0,
            lsa_lifetime_ms: plan.timers.lsa_lifetime_ms,
            grace_ms: 4 * plan.timers.retransmit_ms,
            nodes,
            links,
            acts: world.acts().await?,
        })
    }
}

/// What a node shows, where its role does and it answers.
async fn shown<T: Shown>(world: &dyn Observed, node: &str) -> Option<T> {
    world.view(node, T::KIND).await.ok().and_then(T::of)
}

impl Witness {
    /// Has said nothing yet.
    fn of(process: &Process, state: Option<&NodeStatus>) -> Self {
        let services = process.config.services.iter();
        let names = services.flat_map(|service| [Some(service.prefix.clone()), service.pool.clone()]);
        Self {
            kind: process.config.role.clone(),
            state: state.map(|node| node.state),
            starts: state.map_or(1, |node| node.starts),
            services: names.flatten().collect(),
            ..Self::default()
        }
    }

    async fn hear(&mut self, world: &dyn Observed, node: &str) {
        if let Some(state) = self.state.filter(|state| *state != NodeState::Ready) {
            self.silent = Some(format!("it is {}", state.label()));
            return;
        }
        let role = Role::from_label(&self.kind);
        match world.events(node).await {
            Ok(events) => self.events = events,
            // A foreign node need not tell events.
            Err(WorldError::NotOffered { .. }) => {}
            Err(error) => {
                self.silent = Some(error.to_string());
                return;
            }
        }
        self.neighbors = shown(world, node).await;
        if is_router(&self.kind) {
            self.fib = shown(world, node).await;
        }
        if is_router(&self.kind) || role == Some(Role::Scsc) {
            self.lsdb = shown(world, node).await;
            self.policies = shown(world, node).await;
        }
        if matches!(role, Some(Role::Sg | Role::Pod)) {
            self.announcements = shown(world, node).await;
        }
    }

    /// Keeps the newest of its events.
    pub fn keep_newest(&mut self, events: usize) {
        self.events.drain(..self.events.len().saturating_sub(events));
    }

    /// Whether it remembers everything since it was started.
    pub(crate) fn remembers_all(&self) -> bool {
        self.silent.is_none() && self.events.first().is_some_and(|event| event.sequence == 0)
    }

    /// The newest event up to `until_ns` that `pick` takes.
    pub(crate) fn last(&self, until_ns: u64, pick: impl Fn(&EventKind) -> bool) -> Option<&Event> {
        self.events.iter().rev().find(|event| event.at_ns <= until_ns && pick(&event.kind))
    }

    pub(crate) fn neighbour(&self, node: &str) -> Option<&NeighborView> {
        self.neighbors.as_ref()?.neighbors.iter().find(|row| row.port == node)
    }

    pub(crate) fn lsas(&self) -> impl Iterator<Item = &LsaView> {
        self.lsdb.iter().flat_map(|lsdb| &lsdb.lsas)
    }

    /// An LSA by its name in events.
    pub(crate) fn lsa(&self, origin: &str, id: &str) -> Option<&LsaView> {
        self.lsas().find(|lsa| lsa.origin == origin && event_id(lsa) == id)
    }

    /// The entry that a frame to `name` takes: the longest prefix of it, exact ones only where they are it.
    pub(crate) fn entry(&self, name: &Name) -> Option<&FibEntryView> {
        let fits = |entry: &&FibEntryView| covers(&entry.prefix, entry.exact, name);
        let depth = |entry: &&FibEntryView| entry.prefix.matches('/').count();
        self.fib.iter().flat_map(|fib| &fib.entries).filter(fits).max_by_key(depth)
    }
}

/// Whether frames to `name` take what is said of `prefix`.
pub(crate) fn covers(prefix: &str, exact: bool, name: &Name) -> bool {
    prefix.parse::<Name>().is_ok_and(|prefix| prefix == *name || !exact && prefix.is_prefix_of(name))
}

/// The name of an LSA in events.
pub(crate) fn event_id(lsa: &LsaView) -> String {
    match (&lsa.kind, &lsa.port) {
        (LsaKind::Topology, _) => format!("topology {}", lsa.id),
        (LsaKind::Prefix, Some(port)) => format!("{} at {port}", lsa.id),
        (LsaKind::Prefix, None) => lsa.id.clone(),
    }
}
