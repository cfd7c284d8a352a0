//! A topology as the rest of the testbed sees it: nodes, links, licences, thresholds and the timeline, valid by construction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use damc_impair::DirectionSpec;
use damc_mgmt::config::{Ready, Restart, Thresholds};
use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use crate::timeline::TimelineEvent;

/// Most nodes: what one machine carries as processes is less.
pub const MAX_NODES: usize = 4096;
/// Most links.
pub const MAX_LINKS: usize = 16_384;
/// Most services of a pod.
pub const MAX_SERVICES: usize = 256;
/// Most events of a timeline.
pub const MAX_EVENTS: usize = 10_000;
/// Highest cost of a link, as on the wire.
pub const MAX_COST: u32 = damc_wire::lsa::MAX_COST;

/// A valid topology.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    pub(crate) name: NodeId,
    pub(crate) domain: NodeId,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) licences: BTreeMap<NodeId, BTreeSet<Name>>,
    pub(crate) qos: Qos,
    pub(crate) events: Vec<TimelineEvent>,
    /// Folder from which programs are looked for: that of the file, where there is one.
    pub(crate) folder: PathBuf,
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Identity.
    pub id: NodeId,
    /// Kind.
    pub kind: Role,
    /// Pod: its services, in file order.
    pub services: Vec<Service>,
    /// SG: carries traffic of others too.
    pub transit: bool,
    /// SG, SR: starts with the overload bit set.
    pub overload: bool,
    /// A foreign implementation in the place of ours.
    pub exec: Option<Foreign>,
    /// Where drawings put it, in units of one node distance: right and down.
    pub position: Option<(f64, f64)>,
}

/// The command of a foreign implementation. `{config}`, `{node}` and `{dir}` in its words stand for the path of the node's
/// configuration, its identity, and the run directory of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beside those of whoever starts the lab.
    pub env: BTreeMap<String, String>,
    /// Its working directory. None: the folder of the topology file.
    pub folder: Option<PathBuf>,
}

/// A service of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its own prefix.
    pub prefix: Name,
    /// The pool it is an instance of: an ancestor of the prefix.
    pub pool: Option<Name>,
    /// Its share in the pool.
    pub weight: u16,
    /// The program that serves it. None: the built-in service.
    pub run: Option<Run>,
}

/// A program that serves a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Command and arguments.
    pub argv: Vec<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Working directory, from the folder of the topology file on. None: that folder.
    pub cwd: Option<String>,
    /// When it is ready.
    pub ready: Ready,
    /// How long that may take, ns.
    pub within_ns: u64,
    /// What follows its end.
    pub restart: Restart,
}

/// A link. It is written once; each direction has its own properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// What it is called, where it has a name: of all links only this one.
    pub name: Option<NodeId>,
    /// First end.
    pub a: NodeId,
    /// Second end.
    pub b: NodeId,
    /// From first to second.
    pub forward: Direction,
    /// From second to first.
    pub backward: Direction,
}

impl Link {
    /// The other end.
    #[must_use]
    pub fn far(&self, near: &NodeId) -> Option<&NodeId> {
        match near {
            near if *near == self.a => Some(&self.b),
            near if *near == self.b => Some(&self.a),
            _ => None,
        }
    }

    /// The direction that starts at `near`.
    #[must_use]
    pub fn from(&self, near: &NodeId) -> Option<&Direction> {
        match near {
            near if *near == self.a => Some(&self.forward),
            near if *near == self.b => Some(&self.backward),
            _ => None,
        }
    }
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// What happens to frames.
    pub spec: DirectionSpec,
    /// Metric of plain routing, 1 to [`MAX_COST`].
    pub cost: u32,
}

/// Measurement and thresholds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qos {
    /// Period of path probes; none: the run's timers decide.
    pub probe_interval_ns: Option<u64>,
    /// Thresholds of prefixes that have none of their own.
    pub default: Option<Thresholds>,
    /// Thresholds by prefix, completed from the default. A metric without preset is never violated: its bandwidth is
    /// 0, its delay or jitter `u64::MAX`.
    pub by_prefix: BTreeMap<Name, Thresholds>,
}

impl Topology {
    /// Working directory of a program, from the folder that [`crate::parse`] was told.
    #[must_use]
    pub fn directory_of(&self, run: &Run) -> PathBuf {
        run.cwd.as_ref().map_or_else(|| self.folder.clone(), |cwd| self.folder.join(cwd))
    }

    /// Puts a foreign implementation in the place of a node; false where there is no such node.
    pub fn replace(&mut self, node: &str, foreign: Foreign) -> bool {
        let node = self.nodes.get_mut(node);
        node.map(|node| node.exec = Some(foreign)).is_some()
    }

    /// Sets what happens to frames on a link, both ways as seen from `a`; false where there is no such link. Costs stay.
    pub fn set_link(&mut self, a: &str, b: &str, forward: DirectionSpec, backward: DirectionSpec) -> bool {
        let found = self.links.iter_mut().find_map(|link| match (link.a.as_str(), link.b.as_str()) {
            ends if ends == (a, b) => Some((&mut link.forward, &mut link.backward)),
            ends if ends == (b, a) => Some((&mut link.backward, &mut link.forward)),
            _ => None,
        });
        let Some((there, back)) = found else { return false };
        (there.spec, back.spec) = (forward, backward);
        true
    }

    /// Working directory of a foreign implementation.
    #[must_use]
    pub fn directory_of_foreign(&self, foreign: &Foreign) -> PathBuf {
        foreign.folder.clone().unwrap_or_else(|| self.folder.clone())
    }

    /// Name of the topology, and of its lab unless told otherwise.
    #[must_use]
    pub fn name(&self) -> &NodeId {
        &self.name
    }

    /// The trust domain.
    #[must_use]
    pub fn domain(&self) -> &NodeId {
        &self.domain
    }

    /// The nodes, by identity.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// The nodes of a kind, by identity.
    pub fn of_kind(&self, kind: Role) -> impl Iterator<Item = &Node> + '_ {
        self.nodes.values().filter(move |node| node.kind == kind)
    }

    /// The links, in file order.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The links of a node with the node at their other end, in file order.
    pub fn links_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = (&'a Link, &'a NodeId)> + 'a {
        self.links.iter().filter_map(move |link| link.far(node).map(|far| (link, far)))
    }

    /// The link between two nodes, in whichever order they are named.
    #[must_use]
    pub fn link(&self, a: &NodeId, b: &NodeId) -> Option<&Link> {
        self.links.iter().find(|link| link.far(a) == Some(b))
    }

    /// Who may announce what: every pod has an entry.
    #[must_use]
    pub fn licences(&self) -> &BTreeMap<NodeId, BTreeSet<Name>> {
        &self.licences
    }

    /// Measurement and thresholds.
    #[must_use]
    pub fn qos(&self) -> &Qos {
        &self.qos
    }

    /// The longest that a program may take to be ready.
    #[must_use]
    pub fn longest_start(&self) -> Duration {
        let services = self.nodes.values().flat_map(|node| &node.services);
        let longest = services.filter_map(|service| Some(service.run.as_ref()?.within_ns)).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    /// The timeline, in file order.
    #[must_use]
    pub fn events(&self) -> &[TimelineEvent] {
        &self.events
    }
}
