//! The core of SG and SR: adjacencies, link-state database, flooding, routes.

mod compute;
mod own;
mod receive;
mod views;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use damc_forward::{Admission, Op};
use damc_mgmt::command::Command;
use damc_mgmt::words::{AdjacencyState, DownReason};
use damc_trust::{SignatureMemory, Verifier};
use damc_wire::frame::HeaderView;
use damc_wire::lsa::{LsaContent, LsaId, LsaKey, MAX_COST, PrefixLsa, Proof, UNREACHABLE};
use damc_wire::registry::{DEFAULT_HOP_LIMIT, DropReason};
use damc_wire::{Frame, Message, Name, NodeId, Role, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::compute::Computation;
pub use self::own::PORTS_PER_FRAGMENT;
use crate::adjacency::{Adjacencies, Change, Received, roles};
use crate::context::Context;
use crate::flood::{Flood, Kind, Session};
use crate::io::{Input, Outbox, Output, PortId};
use crate::lsdb::Lsdb;
use crate::origination::Originator;
use crate::rib::{Advert, Rib};

/// How long a new link waits for others that are forming, in first retransmission times.
const FORMING: u32 = 2;

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
        /// Why.
        reason: DownReason,
    },
    /// What the LSDB says of prefixes has changed.
    RoutesChanged {
        /// Which.
        prefixes: BTreeSet<Name>,
    },
}

/// A prefix this node advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixClaim {
    /// The prefix.
    pub prefix: Name,
    /// The port it lies behind, named after the attached node.
    pub port: NodeId,
    /// Added to the cost of the port: what the LSA carries is their sum, so that a route's cost is that of the whole path.
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

/// What the router counts beside frames.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    spf_runs: u64,
    spf_incremental: u64,
    spf_spared: u64,
    partial_runs: u64,
    lsa_originated: u64,
    lsa_accepted: u64,
    lsa_duplicate: u64,
    lsa_refused: u64,
    lsa_prolonged: u64,
    lsa_expired: u64,
}

/// The link-state router.
#[derive(Debug)]
pub struct Router {
    context: Arc<Context>,
    verifier: Verifier,
    rng: ChaCha8Rng,
    adjacencies: Adjacencies,
    lsdb: Lsdb,
    flood: Flood,
    own: Originator,
    computation: Computation,
    rib: Rib,
    /// Full neighbours.
    full: BTreeMap<NodeId, (PortId, Role)>,
    /// SCSCs that say they are attached here, and until when.
    attached: BTreeMap<NodeId, Timestamp>,
    /// Costs of the ports; those of the configuration until an order changes them.
    costs: Vec<u32>,
    overload: bool,
    stopping: bool,
    /// When the last frame came, where not all has followed from it yet.
    unsettled: Option<Timestamp>,
    fib_version: u64,
    /// Prefixes that LSAs have changed something about.
    changed: BTreeSet<Name>,
    counters: Counters,
    events: VecDeque<RouterEvent>,
}

impl Router {
    /// All ports down, database empty. `seed` feeds all random choices.
    #[must_use]
    pub fn new(context: Arc<Context>, seed: u64, _now: Timestamp) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ports = context.port_ids().zip(&context.ports).map(|(id, p)| (p.name.clone(), id)).collect();
        Self {
            verifier: context.verifier(),
            adjacencies: Adjacencies::new(Arc::clone(&context), rng.random()),
            rng,
            lsdb: Lsdb::default(),
            flood: Flood::default(),
            own: Originator::new(&context.timers),
            computation: Computation::new(&context.timers, &context.node),
            rib: Rib::new(&context.node, &context.name, ports),
            full: BTreeMap::new(),
            attached: BTreeMap::new(),
            costs: context.ports.iter().map(|p| p.cost).collect(),
            overload: false,
            stopping: false,
            unsettled: None,
            fib_version: 0,
            changed: BTreeSet::new(),
            counters: Counters::default(),
            events: VecDeque::new(),
            context,
        }
    }

    /// Shares the work of verifying hellos and LSAs.
    pub fn share_signatures(&mut self, memory: &SignatureMemory) {
        self.verifier.share(memory);
        self.adjacencies.share_signatures(memory);
    }

    // ===== inputs =====

    /// Takes any input of the machine and lets everything follow from it; orders it does not know are ignored. What follows
    /// from frames waits for [`Self::finish`]: where many came, LSAs and acknowledgements share frames, and what two
    /// neighbours have sent goes back to neither.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "inputs are consumed everywhere, as the machine's contract has it"
    )]
    pub fn handle(&mut self, now: Timestamp, input: Input<'_>, out: &mut Outbox) {
        match input {
            Input::PortUp(port) => self.adjacencies.handle_port(now, port, true, out),
            Input::PortDown(port) => self.adjacencies.handle_port(now, port, false, out),
            Input::Frame { port, received_at, pdu } => {
                self.handle_frame(now, port, received_at, pdu, out);
                self.unsettled = Some(now);
                // What comes next may depend on these.
                if !self.adjacencies.has_changes() && self.events.is_empty() {
                    return;
                }
            }
            Input::Tick => self.adjacencies.handle_timeout(now, out),
            Input::Command { command, .. } => self.handle_command(now, command, out),
            Input::Order(_) | Input::PortCounts(_) | Input::Undeliverable { .. } => {}
        }
        self.settle(now, out);
    }

    fn handle_command(&mut self, now: Timestamp, command: &Command, out: &mut Outbox) {
        match command {
            Command::Overload { on } => {
                self.overload = *on;
                self.state_topology(now, now);
            }
            Command::Cost { port, cost } => {
                if let Some(port) = self.context.port_named(port) {
                    self.set_cost(now, port, *cost);
                }
            }
            Command::Stop => self.stop(now, out),
            _ => {}
        }
    }

    fn handle_frame(
        &mut self,
        now: Timestamp,
        port: Option<PortId>,
        received_at: Timestamp,
        pdu: &[u8],
        out: &mut Outbox,
    ) {
        if HeaderView::of(pdu).is_routed() {
            match Frame::decode(pdu) {
                Ok(frame) => {
                    self.events.push_back(RouterEvent::Routed { frame: Box::new(frame), received_at, port });
                }
                Err(e) => out.dropped(port, e.drop_reason()),
            }
            return;
        }
        let Some(port) = port else {
            return out.dropped(None, DropReason::Malformed);
        };
        if let Some(received) = self.adjacencies.handle_frame(now, port, received_at, pdu, out) {
            self.receive(now, received, out);
        }
    }

    /// Lets follow what has not yet from the frames that came. Says when the last of them came.
    pub fn finish(&mut self, out: &mut Outbox) -> Option<Timestamp> {
        let now = self.unsettled?;
        self.settle(now, out);
        Some(now)
    }

    /// The next event, oldest first. Drain after every call.
    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        self.events.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        [
            self.adjacencies.next_timeout(),
            self.flood.next_timeout(),
            self.own.next_timeout(),
            self.computation.next_timeout(),
            self.lsdb.next_expiry(),
            self.attached.values().min().copied(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // ===== what a role wants =====

    /// Sets what routed frames a port may bring in. Ports of SG, SR and SCSC neighbours are kept by the router itself; a
    /// port whose neighbour goes down is closed by the router.
    pub fn set_admission(&mut self, port: PortId, rule: Admission, out: &mut Outbox) {
        self.publish(vec![Op::Admit { port, rule }], out);
    }

    /// Sends a hop-local message under the hop MAC; false without an adjacency on the port.
    pub fn send(&mut self, now: Timestamp, port: PortId, message: Message, out: &mut Outbox) -> bool {
        self.adjacencies.send(now, port, message, out)
    }

    /// Sends a routed PDU by a port, whatever its destination.
    pub fn send_routed(&self, port: PortId, pdu: Vec<u8>, out: &mut Outbox) {
        self.adjacencies.send_routed(port, pdu, out);
    }

    /// Sends a routed message from this node's own name.
    pub fn route(&mut self, _now: Timestamp, dst: &Name, message: Message, flow: u32, label: u32, out: &mut Outbox) {
        let message_type = message.message_type();
        let source = self.context.name.clone();
        match Frame::routed(dst.clone(), source, flow, label, DEFAULT_HOP_LIMIT, message).encode() {
            Ok(pdu) => {
                *out.sent.entry(message_type).or_default() += 1;
                out.push(Output::Route { pdu });
            }
            Err(_) => out.dropped(None, DropReason::Oversized),
        }
    }

    /// Installs or replaces the policy of a label. False where its next hop is no full neighbour: then it is kept, not
    /// installed, and installed as soon as the neighbour is full.
    pub fn set_policy(&mut self, now: Timestamp, policy: PolicyRoute, out: &mut Outbox) -> bool {
        let active = self.rib.set_policy(policy);
        self.settle(now, out);
        active
    }

    /// Removes the policy of a label.
    pub fn clear_policy(&mut self, now: Timestamp, label: u32, out: &mut Outbox) {
        self.rib.clear_policy(label);
        self.settle(now, out);
    }

    // ===== adjacency changes =====

    /// Lets everything that follows from what came happen, until nothing does: adjacency changes, own LSAs, flooding,
    /// routes. There is no timer between an event and its flooding and computation in the quiet case.
    fn settle(&mut self, now: Timestamp, out: &mut Outbox) {
        self.unsettled = None;
        loop {
            while let Some(change) = self.adjacencies.poll_change() {
                match change {
                    Change::Up { port, node, role } => self.neighbour_came(now, port, &node, role, out),
                    Change::Down { port, node, role, reason } => {
                        self.neighbour_went(now, port, (&node, role, reason), out);
                    }
                }
            }
            self.expire(now, out);
            let synchronised = self.flood.take_synchronised();
            for port in &synchronised {
                self.adjacencies.synchronised(now, *port, out);
                self.neighbour_full_now(now, *port);
            }
            self.originate_due(now, out);
            if synchronised.is_empty() {
                break;
            }
        }
        for (port, message) in self.flood.take_messages(now, &self.lsdb) {
            self.adjacencies.send(now, port, message, out);
        }
        self.compute(now, out);
        if !self.changed.is_empty() {
            self.events.push_back(RouterEvent::RoutesChanged { prefixes: std::mem::take(&mut self.changed) });
        }
    }

    fn neighbour_came(&mut self, now: Timestamp, port: PortId, node: &NodeId, role: Role, out: &mut Outbox) {
        let keys = self.adjacencies.link_keys(port).cloned();
        let mut ops = vec![Op::PortState { port, up: true }, Op::Keys { port, keys }];
        if matches!(role, Role::Sg | Role::Sr | Role::Scsc) {
            ops.push(Op::Admit { port, rule: Admission::All });
        }
        self.publish(ops, out);
        let kind = if roles::exchanges_lsas(self.context.role, role) { Some(Kind::Router) } else { None };
        if let Some(kind) = kind.or((role == Role::Scsc).then_some(Kind::Replica)) {
            // The lowest bit says whose exchange it is.
            let exchange = self.rng.random::<u32>() << 1 | u32::from(self.context.node > *node);
            self.flood.open(port, Session::new(now, kind, exchange, &self.context.timers, &self.lsdb));
        }
        if self.adjacencies.state(port) == AdjacencyState::Full {
            self.neighbour_full_now(now, port);
        }
    }

    /// The adjacency is in use from now on.
    fn neighbour_full_now(&mut self, now: Timestamp, port: PortId) {
        let Some(neighbour) = self.adjacencies.neighbour(port) else { return };
        let (node, role) = (neighbour.node.clone(), neighbour.role);
        self.full.insert(node.clone(), (port, role));
        self.rib.set_neighbour(&node, Some(port));
        self.events.push_back(RouterEvent::NeighbourUp { port, node, role });
        self.links_changed(now, role, self.after_the_forming(now));
    }

    fn neighbour_went(
        &mut self,
        now: Timestamp,
        port: PortId,
        (node, role, reason): (&NodeId, Role, DownReason),
        out: &mut Outbox,
    ) {
        // First of all: no frame more that way.
        let closed = Op::Admit { port, rule: Admission::Nothing };
        self.publish(vec![Op::PortState { port, up: false }, closed, Op::Keys { port, keys: None }], out);
        self.flood.close(port);
        if role == Role::Scsc {
            self.detach(now, node);
        }
        if self.full.remove(node).is_some() {
            self.rib.set_neighbour(node, None);
            self.events.push_back(RouterEvent::NeighbourDown { port, node: node.clone(), role, reason });
            self.links_changed(now, role, now);
        }
    }

    fn links_changed(&mut self, now: Timestamp, role: Role, not_before: Timestamp) {
        if roles::exchanges_lsas(self.context.role, role) {
            self.computation.topology_changed(&self.context.node, 0);
            self.state_topology(now, not_before);
        }
    }

    /// When to tell of a new link: at once, but while other adjacencies are forming one LSA does for all of them. That
    /// halves the LSAs of a network that starts.
    fn after_the_forming(&self, now: Timestamp) -> Timestamp {
        let forming_for = Duration::from_millis(self.context.timers.retransmit_ms) * FORMING;
        if self.adjacencies.is_forming(now, forming_for) { now + forming_for } else { now }
    }

    fn set_cost(&mut self, now: Timestamp, port: PortId, cost: u32) {
        let Some(known) = self.costs.get_mut(usize::from(port.0)) else { return };
        let before = std::mem::replace(known, cost.clamp(1, MAX_COST));
        let after = *known;
        self.computation.topology_changed(&self.context.node, 0);
        self.state_topology(now, now);
        let Some(neighbour) = self.context.port(port).map(|p| p.name.clone()) else { return };
        let behind = |id: &&LsaId| matches!(id, LsaId::Prefix(_, at) if *at == neighbour);
        let behind: Vec<LsaId> = self.own.ids().filter(behind).cloned().collect();
        for id in behind {
            if let Some(LsaContent::Prefix(prefix)) = self.own.desired(&id)
                && prefix.metric != UNREACHABLE
            {
                let metric = prefix.metric.saturating_sub(before).saturating_add(after).min(UNREACHABLE - 1);
                let content = LsaContent::Prefix(PrefixLsa { metric, ..prefix.clone() });
                self.own.desire(now, &id, Some(content));
            }
        }
    }

    /// Purges all that is ours, tells it to the neighbours in one go, and leaves.
    fn stop(&mut self, now: Timestamp, out: &mut Outbox) {
        self.stopping = true;
        self.own.stop(now);
        self.flood.rush();
        self.settle(now, out);
        self.adjacencies.stop(now, out);
    }

    /// Lets routes follow what an LSA says now, in contrast to before.
    fn apply(&mut self, key: &LsaKey, before: Option<&LsaContent>, after: Option<&LsaContent>) {
        if before == after {
            return;
        }
        match &key.id {
            LsaId::Topology(fragment) => {
                self.computation.topology_changed(&key.origin, *fragment);
                let name = Name::of_node(self.context.domain.as_str(), &key.origin);
                let Some(name) = name.ok().filter(|_| *fragment == 0) else { return };
                if matches!(after, Some(LsaContent::Topology(_))) {
                    self.rib.advertise(&name, &key.origin, &key.origin, Advert { metric: 0, weight: 1, exact: false });
                } else {
                    self.rib.withdraw(&name, &key.origin, &key.origin);
                }
            }
            LsaId::Prefix(prefix, port) => {
                self.changed.insert(prefix.clone());
                match after {
                    Some(LsaContent::Prefix(p)) => {
                        let advert = Advert { metric: p.metric, weight: p.weight, exact: p.exact };
                        self.rib.advertise(prefix, &key.origin, port, advert);
                    }
                    _ => self.rib.withdraw(prefix, &key.origin, port),
                }
            }
        }
    }
}
