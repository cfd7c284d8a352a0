//! The contract of every machine, written once.
//!
//! A shell (process, simulation or replay) calls [`Machine::handle`] with one [`Input`] at a time, then takes
//! [`Output`]s with [`Machine::poll`] until there are none, then asks [`Machine::next_timeout`] when to come back with
//! [`Input::Tick`] at the latest. Nothing happens between calls. Frames that wait may be handled one after the other before
//! the first poll: what follows from all of them then follows once.

use std::collections::VecDeque;

use damc_forward::Op;
pub use damc_forward::PortId;
use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{View, ViewKind};
use damc_trust::SignatureMemory;
use damc_wire::registry::{DropReason, MessageType};
use damc_wire::{Name, NodeId, Timestamp};

/// What happens to a machine.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The port has carrier. Every port starts down.
    PortUp(PortId),
    /// The port lost carrier.
    PortDown(PortId),
    /// A PDU (without Ethernet header) arrived: hop-local on any role, routed where the forwarding plane delivered it
    /// to this node, or where the node has no forwarding plane (pod, SCSC).
    Frame {
        /// Where; for a routed PDU delivered by the own forwarding plane the port it came in by, if any.
        port: Option<PortId>,
        /// Kernel receive stamp on the machine's clock.
        received_at: Timestamp,
        /// The bytes.
        pdu: &'a [u8],
    },
    /// The forwarding plane could not forward or deliver this PDU and wants a negative reply sent to its source.
    Undeliverable {
        /// Where it came in; none for own frames.
        port: Option<PortId>,
        /// Why.
        reason: DropReason,
        /// The bytes.
        pdu: &'a [u8],
    },
    /// Time passed.
    Tick,
    /// SG, SR: what passed the ports, in answer to [`Output::CountPorts`]. Ports that cannot be counted are left out.
    PortCounts(&'a [PortCount]),
    /// A command of the operator. Roles that do not know it ignore it. [`Command::Stop`] purges own LSAs and tells
    /// neighbours; the process ends when all outputs are out.
    Command {
        /// The caller's own handle, returned with the answer of a command that has one ([`Output::Path`]).
        handle: u64,
        /// The command.
        command: &'a Command,
    },
    /// An order of what runs next to the machine in the same process: services and clients of a pod, class 1 over HTTP.
    /// Roles that do not know an order ignore it.
    Order(Order),
}

/// Orders from the process around the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Pod: a service is ready (announce it) or has ended (withdraw it).
    Service {
        /// Its prefix, one of the configured or a new one.
        prefix: Name,
        /// Its pool.
        pool: Option<Name>,
        /// Share in the pool.
        weight: u16,
        /// Ready or ended.
        running: bool,
    },
    /// Pod: a client calls.
    Call {
        /// The caller's own handle, returned with the result.
        handle: u64,
        /// Whom.
        name: Name,
        /// Method.
        method: String,
        /// Argument bytes.
        payload: Vec<u8>,
        /// Deadline.
        deadline: core::time::Duration,
        /// Record the path.
        trace: bool,
        /// Source name; first accepted service where absent.
        source: Option<Name>,
        /// Flow; random where absent.
        flow: Option<u32>,
        /// The trace that it belongs to.
        context: Option<damc_wire::TraceContext>,
    },
    /// Pod: a service answers an invocation.
    Answer {
        /// From [`Output::Invoke`].
        invocation: u64,
        /// Result bytes, or reason and detail.
        result: Result<Vec<u8>, (damc_wire::RefusalReason, String)>,
    },
    /// Pod: a service reports on itself.
    Report {
        /// From [`Output::SelfTest`].
        task: damc_wire::message::TaskReport,
        /// The service.
        prefix: Name,
    },
    /// SG: execute an announcement that a pod with an adjacency made by other means, such as HTTP. The outcome comes as
    /// [`Output::Announced`].
    Announce {
        /// The caller's own handle.
        handle: u64,
        /// The pod's signed words; its request number is at least [`OUT_OF_BAND_REQUESTS`].
        announce: Box<damc_wire::message::Announce>,
    },
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this PDU on that port now.
    Send {
        /// Port.
        port: PortId,
        /// PDU.
        pdu: Vec<u8>,
    },
    /// SG, SR: give this routed PDU to the own forwarding plane as locally originated.
    Route {
        /// PDU.
        pdu: Vec<u8>,
    },
    /// SG, SR: change the forwarding table; all operations of one output are published together.
    Fib(Vec<Op>),
    /// SG: the pools that admitted instances behind a port are in. For the gateway, which speaks for pools too.
    Pools {
        /// Port.
        port: PortId,
        /// Pool and instance; each instance is one of the names the port admits.
        members: Vec<(Name, Name)>,
    },
    /// Something worth telling.
    Event(EventKind),
    /// A frame was dropped: count it.
    Dropped {
        /// Where.
        port: Option<PortId>,
        /// Why.
        reason: DropReason,
    },
    /// Pod: run this method in the service process of `prefix`; answer with [`Order::Answer`].
    Invoke {
        /// Handle.
        invocation: u64,
        /// The service.
        prefix: Name,
        /// The caller.
        source: Name,
        /// Method.
        method: String,
        /// Argument bytes.
        payload: Vec<u8>,
        /// Time left.
        deadline: core::time::Duration,
        /// The trace it belongs to; the caller's span is the parent.
        context: Option<damc_wire::TraceContext>,
    },
    /// Pod: have the service of `prefix` examine itself; answer with [`Order::Report`].
    SelfTest {
        /// Task.
        task: u64,
        /// The service.
        prefix: Name,
    },
    /// Pod: a call ended.
    CallDone {
        /// From [`Order::Call`].
        handle: u64,
        /// Outcome.
        outcome: CallOutcome,
    },
    /// SG: an announcement is over. This comes exactly once for each [`Order::Announce`].
    Announced {
        /// From [`Order::Announce`].
        handle: u64,
        /// The reply, when every name is decided, or why there is none.
        reply: Result<damc_wire::message::AnnounceReply, Unanswered>,
    },
    /// SG, SR: a report is due, which tells what passed the ports: give [`Input::PortCounts`] once all outputs are out.
    CountPorts,
    /// SG: the SCSC's path.
    Path {
        /// From [`Input::Command`].
        handle: u64,
        /// Nodes; empty where unreachable.
        path: Vec<NodeId>,
        /// Sum of costs.
        cost: u64,
    },
}

/// What passed a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortCount {
    /// Port.
    pub port: PortId,
    /// Bytes sent since its interface exists, Ethernet headers included.
    pub sent_bytes: u64,
    /// Bytes received since then, Ethernet headers included.
    pub received_bytes: u64,
}

/// Request numbers of announcements from here on are not those of a pod's agent.
pub const OUT_OF_BAND_REQUESTS: u64 = 1 << 63;

/// Why there is no reply to an announcement beside the adjacency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The pod has no adjacency here, or none any more, or the announcement is an old one.
    NoSuchPod,
    /// So many of this pod, or of all pods, are waiting already.
    TooMany,
    /// The SPA did not decide in time. It is asked on.
    Undecided,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOutcome {
    /// The call's correlation on the wire; none where nothing was sent.
    pub correlation: Option<u64>,
    /// Result bytes, or why not. `None` as reason is a timeout at the caller.
    pub result: Result<Vec<u8>, (Option<damc_wire::RefusalReason>, String)>,
    /// Nodes passed on the way there.
    pub path: Vec<NodeId>,
    /// Nodes passed on the way back.
    pub return_path: Vec<NodeId>,
    /// The trace context that the request carried.
    pub context: Option<damc_wire::TraceContext>,
}

/// A protocol machine.
pub trait Machine {
    /// Takes one input at `now`. Inputs must come in time order.
    fn handle(&mut self, now: Timestamp, input: Input<'_>);
    /// The next output, if any.
    fn poll(&mut self) -> Option<Output>;
    /// When [`Input::Tick`] is due at the latest; none for never.
    fn next_timeout(&self) -> Option<Timestamp>;
    /// A management view; none where this role has no such view. [`ViewKind::Counters`] and [`ViewKind::Services`] are
    /// the shell's: no machine has them.
    fn view(&self, now: Timestamp, kind: ViewKind) -> Option<View>;
    /// Shares the work of verifying what is flooded with other machines in the same process: for simulations. Roles that
    /// verify little do not.
    fn share_signatures(&mut self, _memory: &SignatureMemory) {}
}

/// Where the parts of a machine put their outputs.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Output>,
    /// Messages sent, by type, for the counters of roles without forwarding plane.
    pub sent: std::collections::BTreeMap<MessageType, u64>,
}

impl Outbox {
    /// Adds an output.
    pub fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    /// Adds an event.
    pub fn event(&mut self, event: EventKind) {
        self.push(Output::Event(event));
    }

    /// Counts a drop.
    pub fn dropped(&mut self, port: Option<PortId>, reason: DropReason) {
        self.push(Output::Dropped { port, reason });
    }

    /// Takes the oldest output.
    pub fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }
}
