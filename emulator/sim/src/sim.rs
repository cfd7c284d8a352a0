//! The event loop in virtual time.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use damc_forward::{Ingress, Verdict};
use damc_impair::{FramePool, Slot};
use damc_proto::io::{CallOutcome, Input, Order, Output, PortId};
use damc_trust::SignatureMemory;
use damc_wire::frame::{HeaderView, RoutedView, append_hop};
use damc_wire::registry::DropReason;
use damc_wire::{NodeId, Timestamp};
use rand_chacha::ChaCha8Rng;

use crate::link::{Link, on_wire, pdu_of};
use crate::node::SimNode;
use crate::records::Tape;
use crate::watch::Watch;

/// More ticks than this at one point in time are a machine that never rests.
const MAX_TICKS: u32 = 1000;
/// The condition of [`Sim::run_until`] is looked at when something was seen, and at least this often.
const LOOK: Duration = Duration::from_millis(20);

/// The condition did not come true in time.
#[derive(Debug, PartialEq, Eq)]
pub struct Late {
    /// When it was given up.
    pub at: Timestamp,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A frame that left a link.
    Arrive {
        link: usize,
        from: usize,
        epoch: u64,
        slot: Slot,
    },
    /// Frames of a direction leave it.
    Leave {
        link: usize,
        from: usize,
    },
    Wake {
        node: usize,
    },
    Answer {
        node: usize,
        life: u64,
        order: Order,
    },
    /// What was planned for a service is due.
    Service {
        node: usize,
        life: u64,
        index: usize,
        plan: u64,
    },
    /// A PDU goes out of a port as if the node had sent it.
    Inject {
        node: usize,
        port: PortId,
        pdu: Vec<u8>,
    },
}

/// Something asked that has its answer.
#[derive(Debug)]
pub(crate) enum Finished {
    /// A call.
    Call(u64, CallOutcome),
    /// A question for a path: nodes and cost.
    Path(u64, Vec<NodeId>, u64),
}

/// A network in virtual time.
#[derive(Debug)]
pub struct Sim {
    pub(crate) now: Timestamp,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) by_name: BTreeMap<String, usize>,
    pub(crate) links: Vec<Link>,
    pub(crate) queue: BinaryHeap<Reverse<(Timestamp, u64, usize)>>,
    pub(crate) slots: Vec<Option<What>>,
    pub(crate) free: Vec<usize>,
    pub(crate) serial: u64,
    pub(crate) revision: u64,
    pub(crate) next_handle: u64,
    /// When a forwarding table last changed.
    pub(crate) fib_changed_at: Timestamp,
    /// Events are kept in [`Seen::events`].
    pub(crate) keeps_events: bool,
    /// Every frame at every port, and the events that nodes remember, for whoever wants them.
    pub(crate) tape: Option<Tape>,
    /// Calls and questions for paths that ended, where there is a tape.
    pub(crate) finished: Vec<Finished>,
    pub(crate) signatures: SignatureMemory,
    /// Looks at every state, where somebody wants that.
    pub(crate) watch: Option<Watch>,
    /// Frames under way.
    pub(crate) pool: FramePool,
    /// Where a frame is put together.
    pub(crate) frame: Vec<u8>,
}

impl Sim {
    /// Virtual time at which a simulation begins.
    pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1);

    // ===== time =====

    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs for a span of virtual time.
    pub fn run_for(&mut self, span: Duration) {
        self.run_to(self.now + span);
    }

    /// Runs until `condition` is true.
    ///
    /// # Errors
    /// [`Late`] where it is not within `deadline`.
    pub fn run_until(
        &mut self,
        mut condition: impl FnMut(&Self) -> bool,
        deadline: Duration,
    ) -> Result<Timestamp, Late> {
        let end = self.now + deadline;
        let mut looked = (u64::MAX, Timestamp::ZERO);
        loop {
            if looked.0 != self.revision || self.now.since(looked.1) >= LOOK {
                looked = (self.revision, self.now);
                if condition(self) {
                    return Ok(self.now);
                }
            }
            if self.next_at().is_none_or(|at| at > end) {
                self.now = end;
                return if condition(self) { Ok(end) } else { Err(Late { at: end }) };
            }
            self.step();
        }
    }

    /// Runs until nothing was seen (no event, no change of a forwarding table) for `quiet`.
    ///
    /// # Errors
    /// [`Late`] where that is not within `deadline`.
    pub fn settle(&mut self, quiet: Duration, deadline: Duration) -> Result<Timestamp, Late> {
        let end = self.now + deadline;
        let mut last = (self.revision, self.now);
        loop {
            let until = last.1 + quiet;
            if until > end {
                return Err(Late { at: self.now });
            }
            if self.next_at().is_none_or(|at| at > until) {
                self.now = until;
                return Ok(last.1);
            }
            self.step();
            if self.revision != last.0 {
                last = (self.revision, self.now);
            }
        }
    }

    pub(crate) fn run_to(&mut self, end: Timestamp) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    // ===== the loop =====

    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.queue.peek().map(|Reverse((at, _, _))| *at)
    }

    pub(crate) fn schedule(&mut self, at: Timestamp, what: What) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(what);
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial, slot)));
    }

    pub(crate) fn step(&mut self) {
        let Some(Reverse((at, _, slot))) = self.queue.pop() else { return };
        self.now = self.now.max(at);
        let Some(what) = self.slots[slot].take() else { return };
        self.free.push(slot);
        match what {
            What::Arrive { link, from, epoch, slot } => self.arrive(link, from, epoch, slot),
            What::Leave { link, from } => self.leave(link, from),
            What::Wake { node } => {
                if self.nodes[node].wake_at.is_some_and(|wake| wake <= self.now) {
                    self.nodes[node].wake_at = None;
                    self.tick(node);
                }
            }
            What::Answer { node, life, order } => {
                if self.nodes[node].lives == life {
                    self.input(node, Input::Order(order));
                }
            }
            What::Service { node, life, index, plan } => self.service_due(node, life, index, plan),
            What::Inject { node, port, pdu } => self.put_on_link(node, port, &pdu),
        }
    }

    pub(crate) fn tick(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if this.paused {
            return;
        }
        this.ticks = if this.ticks.0 == self.now { (self.now, this.ticks.1 + 1) } else { (self.now, 0) };
        assert!(this.ticks.1 < MAX_TICKS, "{} asks for ever to be woken at {}", this.id, self.now);
        self.input(node, Input::Tick);
    }

    /// A frame reaches a node: its forwarding plane first, like in a process.
    pub(crate) fn receive(&mut self, node: usize, port: PortId, at: Timestamp, mut pdu: Vec<u8>) {
        let this = &mut self.nodes[node];
        if let Some(count) = this.counts.get_mut(usize::from(port.0)) {
            count.received_bytes += on_wire(&pdu);
        }
        if this.paused {
            this.waiting.push((port, at, pdu));
            return;
        }
        if this.machine.is_none() {
            return;
        }
        if let Some(message_type) = HeaderView::of(&pdu).message_type() {
            this.counters.received.count(message_type);
        }
        let received_at = this.clock(at);
        let routed = HeaderView::of(&pdu).is_routed();
        if routed && this.has_forwarding_plane() {
            let verdict = this.plane.forward(Ingress::Port(port), &mut pdu);
            self.obey(node, Some(port), verdict, pdu);
        } else {
            self.input(node, Input::Frame { port: Some(port), received_at, pdu: &pdu });
        }
    }

    fn obey(&mut self, node: usize, port: Option<PortId>, verdict: Verdict, mut pdu: Vec<u8>) {
        let received_at = self.local_time(node);
        match verdict {
            Verdict::Send(out) => {
                self.nodes[node].seen.forwarded += 1;
                self.nodes[node].counters.forwarded += u64::from(port.is_some());
                if let Some(on_return) = RoutedView::parse(&pdu).ok().and_then(|view| view.trace()) {
                    append_hop(&mut pdu, &self.nodes[node].id, on_return);
                }
                self.nodes[node].plane.seal(out, &mut pdu);
                self.transmit(node, out, &pdu);
            }
            Verdict::Deliver => {
                self.nodes[node].counters.delivered += 1;
                self.input(node, Input::Frame { port, received_at, pdu: &pdu });
            }
            Verdict::Drop { reason, reply } => {
                self.count_drop(node, reason);
                if reply {
                    self.input(node, Input::Undeliverable { port, reason, pdu: &pdu });
                }
            }
        }
    }

    fn transmit(&mut self, node: usize, port: PortId, pdu: &[u8]) {
        let this = &mut self.nodes[node];
        let seen = &mut this.seen;
        if let Some(t) = HeaderView::of(pdu).message_type() {
            *seen.sent.entry(t).or_default() += 1;
            this.counters.sent.count(t);
        }
        seen.sent_bytes += pdu.len() as u64;
        if let Some(count) = self.nodes[node].counts.get_mut(usize::from(port.0)) {
            count.sent_bytes += on_wire(pdu);
        }
        self.put_on_link(node, port, pdu);
    }

    fn count_drop(&mut self, node: usize, reason: DropReason) {
        let this = &mut self.nodes[node];
        *this.seen.dropped.entry(reason).or_default() += 1;
        this.counters.dropped.count(reason);
    }

    fn put_on_link(&mut self, node: usize, port: PortId, pdu: &[u8]) {
        let Some(&link) = self.nodes[node].links.get(usize::from(port.0)) else { return };
        if !self.links[link].up {
            return;
        }
        let from = self.end_of(link, node);
        self.links[link].directions[from].enqueue(self.now, pdu, &mut self.frame, &mut self.pool);
        if let Some(tape) = &mut self.tape {
            tape.record(self.now, (node, port.0), true, &self.frame);
        }
        self.leave(link, from);
    }

    /// Takes out of a direction what is due. It arrives after what happens at this time already.
    fn leave(&mut self, link: usize, from: usize) {
        let epoch = self.links[link].epoch;
        while let Some(slot) = self.links[link].directions[from].pop_due(self.now, &self.pool) {
            self.schedule(self.now, What::Arrive { link, from, epoch, slot });
        }
        self.arm_direction(link, from);
    }

    /// Puts an event into the queue for when the next frame of a direction is due.
    pub(crate) fn arm_direction(&mut self, link: usize, from: usize) {
        if let Some(at) = self.links[link].directions[from].arm() {
            self.schedule(at, What::Leave { link, from });
        }
    }

    fn arrive(&mut self, link: usize, from: usize, epoch: u64, slot: Slot) {
        let Link { up, epoch: current, ends, .. } = self.links[link];
        let to = ends[1 - from];
        let arrives = up && current == epoch;
        let frame = self.pool.frame(slot);
        if let Some(tape) = self.tape.as_mut().filter(|_| arrives) {
            tape.record(self.now, (to.node, to.port.0), false, frame);
        }
        let pdu = pdu_of(frame).map(<[u8]>::to_vec);
        self.pool.release(slot);
        if let Some(pdu) = pdu.filter(|_| arrives) {
            self.receive(to.node, to.port, self.now, pdu);
        }
    }

    pub(crate) fn input(&mut self, node: usize, input: Input<'_>) {
        let local = self.local_time(node);
        let Some(machine) = &mut self.nodes[node].machine else { return };
        machine.handle(local, input);
        self.perform_all(node);
        let this = &mut self.nodes[node];
        if std::mem::take(&mut this.to_count)
            && let Some(machine) = &mut this.machine
        {
            machine.handle(local, Input::PortCounts(&this.counts));
            self.perform_all(node);
        }
        self.arm(node);
    }

    fn perform_all(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].machine.as_mut().and_then(|m| m.poll()) {
            self.perform(node, output);
        }
    }

    /// Puts a wake-up into the queue for when the machine wants one.
    fn arm(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let Some(at) = this.machine.as_ref().and_then(|m| m.next_timeout()) else { return };
        let at = this.when(at).max(self.now);
        if this.wake_at.is_none_or(|wake| at < wake) {
            this.wake_at = Some(at);
            self.schedule(at, What::Wake { node });
        }
    }

    fn perform(&mut self, node: usize, output: Output) {
        let now = self.now;
        let seen = &mut self.nodes[node].seen;
        match output {
            Output::Send { port, pdu } => self.transmit(node, port, &pdu),
            Output::Route { mut pdu } => {
                let verdict = self.nodes[node].plane.forward(Ingress::Local, &mut pdu);
                self.obey(node, None, verdict, pdu);
            }
            Output::Fib(ops) => {
                seen.fib_changed_at = now;
                self.fib_changed_at = now;
                self.apply(node, ops);
                self.revision += 1;
            }
            Output::Event(event) => {
                if self.tape.is_some() {
                    let local = self.local_time(node);
                    self.nodes[node].log.push(local, event);
                } else if self.keeps_events {
                    seen.events.push((now, event));
                }
                self.revision += 1;
            }
            Output::Dropped { reason, .. } => self.count_drop(node, reason),
            Output::Invoke { invocation, prefix, source, method, payload, context, .. } => {
                self.executes(node, &source, &payload);
                self.invoke(node, invocation, &prefix, (&method, context), payload);
            }
            Output::SelfTest { task, prefix } => self.self_test(node, task, prefix),
            Output::CallDone { handle, outcome } => {
                self.revision += 1;
                if self.tape.is_some() {
                    self.finished.push(Finished::Call(handle, outcome));
                } else {
                    seen.calls.insert(handle, outcome);
                }
            }
            Output::Path { handle, path, cost } => {
                self.revision += 1;
                if self.tape.is_some() {
                    self.finished.push(Finished::Path(handle, path, cost));
                }
            }
            Output::CountPorts => self.nodes[node].to_count = true,
            Output::Announced { handle, reply } => {
                seen.announced.insert(handle, reply);
                self.revision += 1;
            }
            Output::Pools { .. } => self.revision += 1,
        }
    }

    pub(crate) fn answer(&mut self, node: usize, after: Duration, order: Order) {
        let life = self.nodes[node].lives;
        self.schedule(self.now + after, What::Answer { node, life, order });
    }

    // ===== looking things up =====

    pub(crate) fn local_time(&self, node: usize) -> Timestamp {
        self.nodes[node].clock(self.now)
    }

    pub(crate) fn index(&self, node: &str) -> usize {
        *self.by_name.get(node).unwrap_or_else(|| panic!("no node {node}"))
    }

    pub(crate) fn link_index(&self, a: &str, b: &str) -> usize {
        let (a_index, b_index) = (self.index(a), self.index(b));
        let joins = |l: &Link| {
            let ends = [l.ends[0].node, l.ends[1].node];
            ends == [a_index, b_index] || ends == [b_index, a_index]
        };
        self.links.iter().position(joins).unwrap_or_else(|| panic!("no link {a} - {b}"))
    }

    /// The link between two nodes, and which end `a` is.
    pub(crate) fn direction(&self, a: &str, b: &str) -> (usize, usize) {
        let link = self.link_index(a, b);
        (link, self.end_of(link, self.index(a)))
    }

    fn end_of(&self, link: usize, node: usize) -> usize {
        usize::from(self.links[link].ends[0].node != node)
    }
}

pub(crate) fn port_id(index: usize) -> PortId {
    PortId(u16::try_from(index).unwrap_or(u16::MAX))
}
