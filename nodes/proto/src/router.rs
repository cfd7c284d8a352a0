//! The core of SG and SR: adjacencies, link-state database, flooding, routes.

use std::collections::VecDeque;
use std::sync::Arc;

use damc_mgmt::view::{FibView, LsdbView, NeighborsView, RibView};
use damc_wire::lsa::Proof;
use damc_wire::{Frame, Message, Name, NodeId, Role, Timestamp};

use crate::adjacency::{LinkQuality, Neighbour, Received};
use crate::context::Context;
use crate::io::{Admission, Input, Outbox, PortId};
use crate::lsdb::Lsdb;

/// What a role built on the router has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// A hop-local message that is not the router's own (classes 1 and 3).
    Message(Box<Received>),
    /// A routed message that was delivered to this node.
    Routed {
        /// All of it.
        frame: Box<Frame>,
        /// Kernel receive stamp.
        received_at: Timestamp,
        /// Where it came in, if from outside.
        port: Option<PortId>,
    },
    /// An adjacency is full.
    NeighbourUp {
        /// Where.
        port: PortId,
        /// Who.
        node: NodeId,
        /// Its role.
        role: Role,
    },
    /// A full adjacency went down.
    NeighbourDown {
        /// Where.
        port: PortId,
        /// Who.
        node: NodeId,
        /// Its role.
        role: Role,
    },
    /// Prefixes of the LSDB changed, or routes to them.
    RoutesChanged,
}

/// A prefix this node advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixClaim {
    /// The prefix.
    pub prefix: Name,
    /// The port it lies behind, named after the attached node.
    pub port: NodeId,
    /// Added to the cost of reaching this node.
    pub metric: u32,
    /// Share among equal instances.
    pub weight: u16,
    /// Pool name.
    pub exact: bool,
    /// The instance behind a pool name.
    pub instance: Option<Name>,
    /// Why it may.
    pub proof: Proof,
}

/// A policy as the forwarding plane knows it. The next hop must be a full neighbour or the policy is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRoute {
    /// Label, not 0.
    pub label: u32,
    /// Whose traffic.
    pub source: NodeId,
    /// Prefix.
    pub prefix: Name,
    /// Prefix matches exactly (pool).
    pub exact: bool,
    /// The neighbour labelled frames go to; none at the egress (plain local delivery).
    pub next_hop: Option<NodeId>,
    /// This node stamps the label on the traffic of its own pods.
    pub ingress: bool,
}

/// The link-state router.
#[derive(Debug)]
pub struct Router {
    context: Arc<Context>,
    lsdb: Lsdb,
    events: VecDeque<RouterEvent>,
}

impl Router {
    /// All ports down, database empty. `seed` feeds all random choices.
    #[must_use]
    pub fn new(context: Arc<Context>, _seed: u64, _now: Timestamp) -> Self {
        Self { context, lsdb: Lsdb::default(), events: VecDeque::new() }
    }

    /// Takes any input of the machine; orders it does not know are ignored.
    pub fn handle(&mut self, _now: Timestamp, _input: Input<'_>, _out: &mut Outbox) {}

    /// The next event, oldest first. Drain after every call.
    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        self.events.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The node's context.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Advertises a prefix, or changes what is said of it. Idempotent.
    pub fn originate_prefix(&mut self, _now: Timestamp, _claim: PrefixClaim, _out: &mut Outbox) {}

    /// Purges an advertised prefix.
    pub fn withdraw_prefix(&mut self, _now: Timestamp, _prefix: &Name, _port: &NodeId, _out: &mut Outbox) {}

    /// Sets what routed frames a port may bring in. Ports of SG, SR and SCSC neighbours are kept by the router itself.
    pub fn set_admission(&mut self, _port: PortId, _rule: Admission, _out: &mut Outbox) {}

    /// Sends a hop-local message under the hop MAC; false without an adjacency on the port.
    pub fn send(&mut self, _now: Timestamp, _port: PortId, _message: Message, _out: &mut Outbox) -> bool {
        false
    }

    /// Sends a routed message from this node's own name.
    pub fn route(
        &mut self,
        _now: Timestamp,
        _dst: &Name,
        _message: Message,
        _flow: u32,
        _label: u32,
        _out: &mut Outbox,
    ) {
    }

    /// Installs or replaces the policy of a label. False where its next hop is no full neighbour: then it is kept, not
    /// installed, and installed as soon as the neighbour is full.
    pub fn set_policy(&mut self, _now: Timestamp, _policy: PolicyRoute, _out: &mut Outbox) -> bool {
        false
    }

    /// Removes the policy of a label.
    pub fn clear_policy(&mut self, _now: Timestamp, _label: u32, _out: &mut Outbox) {}

    /// Whether the policy of this label is installed now.
    #[must_use]
    pub fn policy_active(&self, _label: u32) -> bool {
        false
    }

    /// The database.
    #[must_use]
    pub fn lsdb(&self) -> &Lsdb {
        &self.lsdb
    }

    /// The port of a full neighbour.
    #[must_use]
    pub fn neighbour_full(&self, _node: &NodeId) -> Option<PortId> {
        None
    }

    /// The other end of a port whose adjacency is at least two-way.
    #[must_use]
    pub fn neighbour(&self, _port: PortId) -> Option<&Neighbour> {
        None
    }

    /// What the echo measured on a port.
    #[must_use]
    pub fn link_quality(&self, _port: PortId) -> LinkQuality {
        LinkQuality::default()
    }

    /// Neighbours that are full, by port.
    pub fn full_neighbours(&self) -> impl Iterator<Item = (PortId, &NodeId, Role)> {
        std::iter::empty()
    }

    /// `/neighbors`.
    #[must_use]
    pub fn neighbors_view(&self, _now: Timestamp) -> NeighborsView {
        NeighborsView::default()
    }

    /// `/lsdb`.
    #[must_use]
    pub fn lsdb_view(&self, now: Timestamp) -> LsdbView {
        self.lsdb.view(now, &self.context.node)
    }

    /// `/rib`.
    #[must_use]
    pub fn rib_view(&self) -> RibView {
        RibView::default()
    }

    /// `/fib`.
    #[must_use]
    pub fn fib_view(&self) -> FibView {
        FibView::default()
    }

    /// Protocol counters by name.
    #[must_use]
    pub fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        std::collections::BTreeMap::new()
    }

    /// The views every router has: `fib`, `rib`, `lsdb`, `neighbors`, `protocol`.
    #[must_use]
    pub fn view(&self, now: Timestamp, what: &str) -> Option<serde_json::Value> {
        match what {
            "fib" => serde_json::to_value(self.fib_view()).ok(),
            "rib" => serde_json::to_value(self.rib_view()).ok(),
            "lsdb" => serde_json::to_value(self.lsdb_view(now)).ok(),
            "neighbors" => serde_json::to_value(self.neighbors_view(now)).ok(),
            "protocol" => serde_json::to_value(self.counters()).ok(),
            _ => None,
        }
    }
}
