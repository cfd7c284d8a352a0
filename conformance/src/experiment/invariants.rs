//! What holds in every network that is quiet, whatever happened to it before.
//!
//! - Every forwarding table is the oracle's, for the links and nodes that are left and the services that run.
//! - Routers that reach each other have equal databases, and nothing waits for an acknowledgement.
//! - Every running service of a licensed pod is registered; nothing else is advertised, and nothing without a grant.
//! - Every pod reaches what the oracle says it reaches, and no call passes a node twice.
//! - No database is larger than what the topology and the events can fill it with.
//!
//! What must never be in any state on the way there (a loop, a call that is executed twice) is witnessed by the world.

use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::view::{AnnouncementsView, FibView, LsdbView, NeighborsView};
use damc_mgmt::words::{AnnouncementState, LsaKind};
use damc_testbed::{NodeState, WorldError};
use damc_wire::{Name, NodeId, RefusalReason, Role};
use futures::future::join_all;

use super::Play;
use crate::case::Findings;
use crate::oracle::{Difference, Failures, Oracle};

/// What is wrong, in words; the first word says what kind of thing it is.
type Wrong = String;
/// Most calls of one look.
const MOST_CALLS: usize = 60;

/// What is left of the network, and what it should have.
struct Left {
    /// Nodes that do not run.
    dead: BTreeSet<NodeId>,
    /// Links that carry nothing.
    cut: BTreeSet<(NodeId, NodeId)>,
    failures: Failures,
    /// Names by the pod that should have them registered.
    names: BTreeMap<NodeId, BTreeSet<Name>>,
    /// Names nobody can say anything of.
    unsure: BTreeSet<String>,
}

impl Left {
    fn runs(&self, node: &NodeId) -> bool {
        !self.dead.contains(node)
    }

    /// What all tables should hold, names aside that nobody can say anything of.
    fn oracle(&self, play: &Play<'_>) -> Oracle {
        let failures = self.names.iter().fold(self.failures.clone(), |failures, (pod, names)| {
            let names = names.iter().map(ToString::to_string);
            failures.serving(pod.as_str(), names.filter(|name| !self.unsure.contains(name)))
        });
        Oracle::new(&play.testbed.topology, &failures)
    }

    fn joins(&self, a: &NodeId, b: &NodeId) -> bool {
        let cut = self.cut.contains(&(a.clone(), b.clone())) || self.cut.contains(&(b.clone(), a.clone()));
        self.runs(a) && self.runs(b) && !cut
    }
}

impl Play<'_> {
    /// One look at everything.
    pub(super) async fn invariants(&self) -> Result<Result<String, Wrong>, WorldError> {
        let mut left = self.left().await?;
        if let Err(wrong) = self.registrations(&mut left).await? {
            return Ok(Err(wrong));
        }
        let oracle = left.oracle(self);
        let fibs = self.fibs(&left).await?;
        if let Some(Difference { kind, text }) = oracle.difference(&fibs) {
            return Ok(Err(format!("{kind}: {text}")));
        }
        if let Err(wrong) = self.databases(&left, &oracle).await? {
            return Ok(Err(wrong));
        }
        self.calls(&left, &oracle).await
    }

    /// What is witnessed of all states until now.
    pub(super) fn witnessed(&self, findings: &mut Findings) {
        let Some(seen) = self.testbed.lab.witnessed() else {
            findings.note("this world cannot look at all nodes at once: states on the way are not judged");
            return;
        };
        findings.figure("states", seen.states.len() as f64, "");
        findings.figure("looks at tables", seen.looks as f64, "");
        let first = seen.breaches.first().map_or_else(
            || format!("none in {} states", seen.states.len()),
            |breach| {
                let at = (breach.at_ns.saturating_sub(self.zero_ns)) as f64 / 1e6;
                format!("{}, {} in all, the first at {at:.3} ms: {}", breach.rule, seen.breaches.len(), breach.saw)
            },
        );
        findings.never(seen.breaches.is_empty(), "no loop in any state, no call executed twice", first);
    }

    async fn left(&self) -> Result<Left, WorldError> {
        let (lab, topology) = (&self.testbed.lab, &self.testbed.topology);
        let (mut dead, mut cut, mut failures) = (BTreeSet::new(), BTreeSet::new(), Failures::default());
        for node in lab.status().await?.nodes.iter().filter(|node| node.state != NodeState::Ready) {
            failures = failures.node(&node.name);
            dead.extend(NodeId::new(&node.name).ok());
        }
        for link in topology.links() {
            let state = lab.link_status(link.a.as_str(), link.b.as_str()).await?;
            if !state.up || state.forward.silent || state.backward.silent {
                failures = failures.link(link.a.as_str(), link.b.as_str());
                cut.insert((link.a.clone(), link.b.clone()));
            }
        }
        let ground = self.ground.borrow();
        for node in &ground.overloaded {
            failures = failures.overload(node.as_str());
        }
        let names: BTreeMap<_, _> = ground.served.keys().map(|pod| (pod.clone(), ground.allowed(pod))).collect();
        let unsure = ground.unsure.iter().map(ToString::to_string).collect();
        Ok(Left { dead, cut, failures, names, unsure })
    }

    /// Every name is registered where it can be. Names held down for their many withdrawals are left out.
    async fn registrations(&self, left: &mut Left) -> Result<Result<(), Wrong>, WorldError> {
        for (pod, names) in left.names.clone() {
            let Some(sg) = self.neighbour(left, &pod, Role::Sg) else { continue };
            if self.neighbour(left, &sg, Role::Spa).is_none() {
                // Who asks in vain may still have what was granted before.
                left.unsure.extend(names.iter().map(ToString::to_string));
                continue;
            }
            let view: AnnouncementsView = self.testbed.lab.show(pod.as_str()).await?;
            for name in
                names.iter().map(ToString::to_string).filter(|name| !left.unsure.contains(name)).collect::<Vec<_>>()
            {
                let row = view.announcements.iter().find(|row| row.prefix == name);
                match row.map(|row| (row.state, row.reason)) {
                    Some((AnnouncementState::Accepted, _)) => {}
                    Some((AnnouncementState::Refused, Some(RefusalReason::HeldDown | RefusalReason::RateLimited))) => {
                        left.unsure.insert(name);
                    }
                    row => {
                        let state = row.map_or("not announced", |(state, _)| state.label());
                        return Ok(Err(format!("registrations: {name} of {pod} is {state}")));
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    /// A neighbour of this role that can be reached.
    fn neighbour(&self, left: &Left, node: &NodeId, role: Role) -> Option<NodeId> {
        let topology = &self.testbed.topology;
        let near = topology.links_of(node).map(|(_, far)| far);
        near.filter(|far| left.joins(node, far)).find(|far| topology.nodes()[*far].kind == role).cloned()
    }

    fn routers<'b>(&'b self, left: &'b Left) -> impl Iterator<Item = &'b NodeId> {
        let nodes = self.testbed.topology.nodes().values();
        let routers = nodes.filter(|node| matches!(node.kind, Role::Sg | Role::Sr)).map(|node| &node.id);
        // A router that nobody has spoken with since it started has nothing to route, and says nothing of itself.
        let topology = &self.testbed.topology;
        routers.filter(|node| topology.links_of(node).any(|(_, far)| left.joins(node, far)))
    }

    async fn fibs(&self, left: &Left) -> Result<BTreeMap<String, FibView>, WorldError> {
        let mut fibs = BTreeMap::new();
        for node in self.routers(left) {
            let mut fib = self.testbed.lab.fib(node.as_str()).await?;
            fib.entries.retain(|entry| !left.unsure.contains(&entry.prefix));
            fibs.insert(node.to_string(), fib);
        }
        Ok(fibs)
    }

    async fn databases(&self, left: &Left, oracle: &Oracle) -> Result<Result<(), Wrong>, WorldError> {
        let lab = &self.testbed.lab;
        let most = self.most_lsas();
        let mut first_of: BTreeMap<NodeId, (NodeId, String)> = BTreeMap::new();
        for (node, part) in self.parts(left) {
            let lsdb: LsdbView = lab.lsdb(node.as_str()).await?;
            if lsdb.lsas.len() > most {
                let saw = lsdb.lsas.len();
                return Ok(Err(format!("memory: {node} holds {saw} LSAs, where there can be {most}")));
            }
            let (first, digest) = first_of.entry(part).or_insert_with(|| (node.clone(), lsdb.digest.clone()));
            if *digest != lsdb.digest {
                return Ok(Err(format!("databases: {node} differs from {first}")));
            }
            if let Some(wrong) = self.unlicensed(left, oracle, &lsdb) {
                return Ok(Err(wrong));
            }
            let neighbours: NeighborsView = lab.neighbors(node.as_str()).await?;
            if let Some(row) = neighbours.neighbors.iter().find(|row| row.unacknowledged > 0) {
                let (port, count) = (&row.port, row.unacknowledged);
                return Ok(Err(format!("memory: {node} waits for {port} to acknowledge {count} LSAs")));
            }
        }
        Ok(Ok(()))
    }

    /// LSAs that there can be: one of each router's links, and one of each name at each place where it was ever served.
    fn most_lsas(&self) -> usize {
        let topology = &self.testbed.topology;
        let routers = topology.of_kind(Role::Sg).chain(topology.of_kind(Role::Sr)).count();
        let centres = topology.of_kind(Role::Scsc).flat_map(|node| topology.links_of(&node.id)).count();
        let services = topology.of_kind(Role::Pod).flat_map(|node| &node.services);
        let configured: usize = services.map(|service| 1 + usize::from(service.pool.is_some())).sum();
        // One of its links and one of its own name for each router.
        2 * routers + centres + configured + self.events.len()
    }

    /// A name that an SG in reach advertises for no pod of its own, or without a grant.
    fn unlicensed(&self, left: &Left, oracle: &Oracle, lsdb: &LsdbView) -> Option<Wrong> {
        let topology = &self.testbed.topology;
        let prefixes = lsdb.lsas.iter().filter(|lsa| lsa.kind == LsaKind::Prefix && !lsa.purged);
        prefixes.filter(|lsa| !lsa.id.starts_with("/damc/")).find_map(|lsa| {
            let (node, name, origin) = (&lsdb.node, &lsa.id, NodeId::new(&lsa.origin).ok()?);
            if lsa.grant.is_none() {
                return Some(format!("grants: {node} holds {name} of {origin} without a grant"));
            }
            let reached = oracle.distance(node, origin.as_str()).is_some() && !left.unsure.contains(name);
            let mut pods = topology.links_of(&origin).map(|(_, far)| far).filter_map(|pod| left.names.get(pod));
            let known = pods.any(|names| names.iter().any(|known| known.to_string() == *name));
            (reached && !known).then(|| format!("grants: {node} holds {name} of {origin}, which no pod there may have"))
        })
    }

    /// Every router that runs, with one router that stands for all that reach each other.
    fn parts(&self, left: &Left) -> Vec<(NodeId, NodeId)> {
        let mut part: BTreeMap<NodeId, NodeId> = self.routers(left).map(|node| (node.clone(), node.clone())).collect();
        for link in self.testbed.topology.links().iter().filter(|link| left.joins(&link.a, &link.b)) {
            if let (Some(one), Some(other)) = (part.get(&link.a).cloned(), part.get(&link.b).cloned()) {
                part.values_mut().filter(|part| **part == other).for_each(|part| *part = one.clone());
            }
        }
        part.into_iter().collect()
    }

    /// Calls of every pod to every name that its SG has a way to.
    async fn calls(&self, left: &Left, oracle: &Oracle) -> Result<Result<String, Wrong>, WorldError> {
        // Without a name of its own a pod cannot be answered.
        let named = |names: &BTreeSet<Name>| names.iter().any(|name| !left.unsure.contains(&name.to_string()));
        let pods = left.names.iter().filter(|(_, names)| named(names)).map(|(pod, _)| pod);
        let pods = pods.filter_map(|pod| Some((pod, self.neighbour(left, pod, Role::Sg)?)));
        let names: BTreeSet<&Name> = left.names.values().flatten().collect();
        let mut pairs: Vec<(&NodeId, &Name)> = Vec::new();
        for (pod, sg) in pods {
            let table = oracle.expected(sg.as_str());
            let reached = |name: &&&Name| table.contains_key(&name.to_string());
            pairs.extend(names.iter().filter(reached).map(|name| (pod, *name)));
        }
        pairs.truncate(MOST_CALLS);
        let calls = join_all(pairs.iter().map(|(pod, name)| self.called(pod, name))).await;
        for ((pod, name), reply) in pairs.iter().zip(calls) {
            match reply? {
                Err(why) => return Ok(Err(format!("calls: {pod} does not reach {name}: {why}"))),
                Ok(reply) => {
                    let path = reply.path.join(" → ");
                    if reply.path.iter().collect::<BTreeSet<_>>().len() < reply.path.len() {
                        return Ok(Err(format!("calls: that of {pod} to {name} goes in circles: {path}")));
                    }
                }
            }
        }
        Ok(Ok(format!("tables, databases and {} calls are right", pairs.len())))
    }
}
