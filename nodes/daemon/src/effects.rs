//! The machine and what its outputs do.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use damc_forward::{Op, Verdict};
use damc_link::{SendReport, monotonic_now};
use damc_mgmt::command::Command;
use damc_mgmt::config::RunConfig;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::ViewKind;
use damc_proto::io::{Input, Machine, Order, Output, PortId, Unanswered};
use damc_wire::message::AnnounceReply;
use damc_wire::{DropReason, Name, Timestamp};
use tokio::sync::oneshot;

use crate::calls::Calls;
use crate::counters::Counters;
use crate::event_log::EventLog;
use crate::plane::Plane;
use crate::ports::PortSocket;
use crate::requests::{Done, Refusal, Request};
use crate::service::{ServiceEvent, Supervisor, Task};
use crate::traffic::Traffic;

/// For how long frames are taken before what follows from them is done.
const TOGETHER: Duration = Duration::from_millis(2);

/// Where frames leave.
pub(crate) trait Port {
    /// Sends PDUs, in order; says what became of them.
    fn send_all(&self, pdus: &[Vec<u8>]) -> SendReport;
}

/// The machine, and everything its outputs act on.
pub(crate) struct Effects<P = PortSocket> {
    machine: Box<dyn Machine + Send>,
    ports: Vec<P>,
    /// Frames to send, by port.
    outgoing: Vec<Vec<Vec<u8>>>,
    /// SG and SR: the forwarding table.
    plane: Option<Plane>,
    /// SG and SR: what passed the ports.
    traffic: Option<Traffic>,
    /// The machine wants to know that.
    to_count: bool,
    /// When the machine got its last input, ns: what it does since then follows from that.
    given_at: u64,
    /// Pod: its services.
    services: Supervisor,
    calls: Calls,
    /// Announcements beside the adjacency whose callers wait.
    announcements: BTreeMap<u64, oneshot::Sender<Result<AnnounceReply, Unanswered>>>,
    events: Arc<EventLog>,
    counters: Arc<Counters>,
    /// Own routed frames that came back to the machine.
    returned: VecDeque<Returned>,
    last_announcement: u64,
    /// When the first frame was taken whose outputs are not out yet.
    unsettled_since: Option<Timestamp>,
    stopping: bool,
}

/// An own routed frame that needs no port: it is for this node itself, or goes nowhere.
struct Returned {
    pdu: Vec<u8>,
    undeliverable: Option<DropReason>,
}

impl<P: Port> Effects<P> {
    pub(crate) fn new(
        machine: Box<dyn Machine + Send>,
        ports: Vec<P>,
        plane: Option<(Plane, Traffic)>,
        events: Arc<EventLog>,
        counters: Arc<Counters>,
        services: Supervisor,
    ) -> Self {
        let (plane, traffic) = plane.unzip();
        Self {
            machine,
            outgoing: vec![Vec::new(); ports.len()],
            ports,
            plane,
            traffic,
            to_count: false,
            given_at: 0,
            services,
            calls: Calls::default(),
            announcements: BTreeMap::new(),
            events,
            counters,
            returned: VecDeque::new(),
            last_announcement: 0,
            unsettled_since: None,
            stopping: false,
        }
    }

    /// The sockets for hop-local frames, by port.
    pub(crate) fn ports(&self) -> &[P] {
        &self.ports
    }

    /// Starts a service at the next tick.
    pub(crate) fn add_service(&mut self, prefix: Name, pool: Option<Name>, weight: u16, run: Option<RunConfig>) {
        let key = self.services.start(now(), prefix, pool, Some(weight));
        self.services.set_program(key, run);
    }

    /// Frames for this thread that the kernel dropped because it was behind.
    pub(crate) fn count_overflown(&self, count: u64) {
        self.counters.control_overflown(count);
    }

    pub(crate) fn count_received(&self, pdu: &[u8]) {
        self.counters.received(pdu);
    }

    /// Takes a port without carrier out of the forwarding table before the machine thinks about it: equal next hops and
    /// loop-free alternates take over with this one snapshot.
    pub(crate) fn lose_port(&mut self, port: PortId) {
        if let Some(plane) = &mut self.plane {
            plane.apply(self.given_at, vec![Op::PortState { port, up: false }]);
        }
    }

    /// Gives the machine an input and does all it wants done.
    pub(crate) fn feed(&mut self, input: Input<'_>) {
        self.give(input);
        self.settle();
    }

    fn give(&mut self, input: Input<'_>) {
        self.given_at = monotonic_now();
        self.machine.handle(Timestamp(self.given_at), input);
    }

    fn perform_all(&mut self) {
        while let Some(output) = self.machine.poll() {
            self.perform(output);
        }
    }

    /// Gives the machine a frame of several that wait; [`Self::settle`] when that was the last, or when it says so: what
    /// neighbours wait for must not wait for all that came.
    pub(crate) fn take(&mut self, port: PortId, received_at: Timestamp, pdu: &[u8]) -> bool {
        let now = now();
        self.give(Input::Frame { port: Some(port), received_at, pdu });
        let since = *self.unsettled_since.get_or_insert(now);
        now.since(since) >= TOGETHER
    }

    /// Gives the machine its time if it wants it. Returns the keys of the service processes that were started.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Vec<u64> {
        if self.machine.next_timeout().is_some_and(|at| at <= now) {
            self.feed(Input::Tick);
        }
        let started = self.services.handle_timeout(now);
        self.settle();
        started
    }

    /// When [`Effects::tick`] is due.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        [self.machine.next_timeout(), self.services.next_timeout()].into_iter().flatten().min()
    }

    /// The descriptor of a service process.
    pub(crate) fn service_descriptor(&self, key: u64) -> Option<BorrowedFd<'_>> {
        self.services.descriptor(key)
    }

    /// A service process has something to say, or is gone.
    pub(crate) fn service_ready(&mut self, key: u64) {
        self.services.handle_ready(now(), key);
        self.settle();
    }

    /// Begins to end: the machine takes leave of its neighbours.
    pub(crate) fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.feed(Input::Command { handle: 0, command: &Command::Stop });
        }
    }

    /// Whether the node is to end now that all outputs are out.
    pub(crate) const fn stopping(&self) -> bool {
        self.stopping
    }

    /// Ends what runs beside this process.
    pub(crate) fn end(&mut self) {
        self.services.stop_all();
    }

    /// Does what the admin thread asks.
    pub(crate) fn answer(&mut self, request: Request) {
        match request {
            // Whoever asked and is gone needs no answer.
            Request::View(ViewKind::Services, answer) if self.plane.is_none() => {
                let _ = answer.send(Some(self.services.view(now()).into()));
            }
            Request::Announce(announce, answer) => {
                self.last_announcement += 1;
                let handle = self.last_announcement;
                self.announcements.insert(handle, answer);
                self.feed(Input::Order(Order::Announce { handle, announce }));
            }
            Request::View(kind, answer) => _ = answer.send(self.machine.view(now(), kind)),
            Request::Call(request, answer) => {
                if let Some(order) = self.calls.begin(monotonic_now(), request, answer) {
                    self.feed(Input::Order(order));
                }
            }
            Request::Command(command, answer) => self.command(&command, answer),
        }
    }

    fn command(&mut self, command: &Command, answer: oneshot::Sender<Result<Done, Refusal>>) {
        // A question for a path changes nothing.
        if !matches!(command, Command::QueryPath { .. }) {
            self.events.push(monotonic_now(), EventKind::Ordered { order: command.clone() });
        }
        let unknown = |known: bool, prefix: &Name| {
            if known { Ok(Done::Nothing) } else { Err(Refusal::Bad(format!("prefix: no service {prefix} runs here"))) }
        };
        let result = match command {
            Command::QueryPath { .. } => {
                let handle = self.calls.begin_path(answer);
                return self.feed(Input::Command { handle, command });
            }
            Command::StartService { prefix, pool } => {
                self.services.start(now(), prefix.clone(), pool.clone(), None);
                Ok(Done::Nothing)
            }
            Command::StopService { prefix } => unknown(self.services.stop(prefix), prefix),
            Command::KillService { prefix } => unknown(self.services.kill(prefix), prefix),
            Command::Stop => {
                self.stop();
                Ok(Done::Nothing)
            }
            _ => {
                self.feed(Input::Command { handle: 0, command });
                Ok(Done::Nothing)
            }
        };
        let _ = answer.send(result);
        self.settle();
    }

    /// Does all that the machine and the services want done, until there is nothing left.
    pub(crate) fn settle(&mut self) {
        self.unsettled_since = None;
        loop {
            self.perform_all();
            self.flush();
            for event in self.services.take_events() {
                self.give(Input::Order(order_of(event)));
                self.perform_all();
            }
            self.flush();
            if std::mem::take(&mut self.to_count) {
                let counts = self.traffic.as_mut().map(Traffic::count).unwrap_or_default();
                self.give(Input::PortCounts(&counts));
                continue;
            }
            let Some(Returned { pdu, undeliverable }) = self.returned.pop_front() else { return };
            let input = match undeliverable {
                None => Input::Frame { port: None, received_at: now(), pdu: &pdu },
                Some(reason) => Input::Undeliverable { port: None, reason, pdu: &pdu },
            };
            self.give(input);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { port, pdu } => self.queue(port, pdu),
            Output::Route { pdu } => self.route(pdu),
            Output::Fib(ops) => {
                if let Some(plane) = &mut self.plane {
                    plane.apply(self.given_at, ops);
                }
            }
            Output::Event(EventKind::Computed { full, prefixes, trigger, .. }) => {
                // Reading the clock is dear on some kernels: not for every output. So this is an upper bound.
                let now = monotonic_now();
                let duration_ns = now.saturating_sub(self.given_at);
                self.events.push(now, EventKind::Computed { full, duration_ns, prefixes, trigger });
            }
            Output::Pools { port, members } => {
                if let Some(plane) = &mut self.plane {
                    plane.set_pools(port, members);
                }
            }
            Output::Event(kind) => self.events.push(monotonic_now(), kind),
            Output::CountPorts => self.to_count = true,
            Output::Dropped { reason, .. } => self.counters.dropped(reason, 1),
            Output::Invoke { invocation, prefix, source, method, payload, deadline: _, context } => {
                let traceparent = context.map(|context| context.to_string());
                let task = Task::Invoke { invocation, source: source.to_string(), method, traceparent };
                self.services.invoke(&prefix, invocation, &task, &payload);
            }
            Output::SelfTest { task, prefix } => self.services.self_test(&prefix, task),
            Output::CallDone { handle, outcome } => self.calls.finish(monotonic_now(), handle, outcome),
            Output::Announced { handle, reply } => {
                if let Some(answer) = self.announcements.remove(&handle) {
                    let _ = answer.send(reply);
                }
            }
            Output::Path { handle, path, cost } => self.calls.finish_path(handle, &path, cost),
        }
    }

    fn queue(&mut self, port: PortId, pdu: Vec<u8>) {
        self.counters.sent(&pdu);
        if let Some(frames) = self.outgoing.get_mut(usize::from(port.0)) {
            frames.push(pdu);
        }
    }

    /// Forwards an own routed frame.
    fn route(&mut self, mut pdu: Vec<u8>) {
        let Some(plane) = &self.plane else { return };
        match plane.route(&mut pdu) {
            Verdict::Send(port) => self.queue(port, pdu),
            Verdict::Deliver => {
                self.counters.delivered();
                self.returned.push_back(Returned { pdu, undeliverable: None });
            }
            Verdict::Drop { reason, reply } => {
                self.counters.dropped(reason, 1);
                if reply {
                    self.returned.push_back(Returned { pdu, undeliverable: Some(reason) });
                }
            }
        }
    }

    /// Sends what was queued.
    fn flush(&mut self) {
        for (port, frames) in self.ports.iter().zip(&mut self.outgoing) {
            if !frames.is_empty() {
                self.counters.transmitted(port.send_all(frames));
                frames.clear();
            }
        }
    }
}

/// What happened to a service, as the machine is told.
fn order_of(event: ServiceEvent) -> Order {
    match event {
        ServiceEvent::Up { prefix, pool, weight } => Order::Service { prefix, pool, weight, running: true },
        ServiceEvent::Down { prefix } => Order::Service { prefix, pool: None, weight: 0, running: false },
        ServiceEvent::Answered { invocation, result } => Order::Answer { invocation, result },
        ServiceEvent::Reported { report, prefix } => Order::Report { task: report, prefix },
    }
}

/// The machine's time.
fn now() -> Timestamp {
    Timestamp(monotonic_now())
}

#[cfg(test)]
mod tests;
