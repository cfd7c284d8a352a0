//! The machine and what its outputs do.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use damc_forward::Verdict;
use damc_link::monotonic_now;
use damc_mgmt::config::RunConfig;
use damc_proto::io::{FibOp, Input, Machine, Order, Output, PortId};
use damc_wire::message::AnnounceReply;
use damc_wire::{DropReason, Name, Timestamp};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::calls::Calls;
use crate::counters::Counters;
use crate::event_log::EventLog;
use crate::order::Command;
use crate::plane::Plane;
use crate::ports::PortSocket;
use crate::requests::{Refusal, Request};
use crate::service::{ServiceEvent, Supervisor};

/// For how long frames are taken before what follows from them is done.
const TOGETHER: Duration = Duration::from_millis(2);

/// The machine, and everything its outputs act on.
pub(crate) struct Effects {
    machine: Box<dyn Machine + Send>,
    ports: Vec<PortSocket>,
    /// Frames to send, by port.
    outgoing: Vec<Vec<Vec<u8>>>,
    /// SG and SR: the forwarding table.
    plane: Option<Plane>,
    /// Pod: its services.
    services: Supervisor,
    calls: Calls,
    /// Announcements beside the adjacency whose callers wait.
    announcements: BTreeMap<u64, oneshot::Sender<Option<AnnounceReply>>>,
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

impl Effects {
    pub(crate) fn new(
        machine: Box<dyn Machine + Send>,
        ports: Vec<PortSocket>,
        plane: Option<Plane>,
        events: Arc<EventLog>,
        counters: Arc<Counters>,
        services: Supervisor,
    ) -> Self {
        Self {
            machine,
            outgoing: vec![Vec::new(); ports.len()],
            ports,
            plane,
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
    pub(crate) fn ports(&self) -> &[PortSocket] {
        &self.ports
    }

    /// Starts a service at the next tick.
    pub(crate) fn add_service(&mut self, prefix: Name, pool: Option<Name>, weight: u16, run: Option<RunConfig>) {
        let key = self.services.start(now(), prefix, pool, Some(weight));
        self.services.set_program(key, run);
    }

    pub(crate) fn count_received(&self, pdu: &[u8]) {
        self.counters.received(pdu);
    }

    /// Takes a port without carrier out of the forwarding table before the machine thinks about it: equal next hops and
    /// loop-free alternates take over with this one snapshot.
    pub(crate) fn lose_port(&mut self, port: PortId) {
        if let Some(plane) = &mut self.plane {
            plane.apply(vec![FibOp::PortState { port, up: false }]);
        }
    }

    /// Gives the machine an input and does all it wants done.
    pub(crate) fn feed(&mut self, input: Input<'_>) {
        self.machine.handle(now(), input);
        self.settle();
    }

    /// Gives the machine a frame of several that wait; [`Self::settle`] when that was the last, or when it says so: what
    /// neighbours wait for must not wait for all that came.
    pub(crate) fn take(&mut self, port: PortId, received_at: Timestamp, pdu: &[u8]) -> bool {
        let now = now();
        self.machine.handle(now, Input::Frame { port: Some(port), received_at, pdu });
        let since = *self.unsettled_since.get_or_insert(now);
        now.since(since) >= TOGETHER
    }

    /// Gives the machine its time if it wants it. Gives the keys of the service processes that were started.
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
            self.feed(Input::Order(Order::Stop));
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
            Request::View("services", answer) if self.plane.is_none() => {
                let _ = answer.send(serde_json::to_value(self.services.view(now())).ok());
            }
            Request::Announce(announce, answer) => {
                self.last_announcement += 1;
                let handle = self.last_announcement;
                self.announcements.insert(handle, answer);
                self.feed(Input::Order(Order::Announce { handle, announce }));
            }
            Request::View(what, answer) => _ = answer.send(self.machine.view(now(), what)),
            Request::Call(request, answer) => {
                if let Some(order) = self.calls.begin(monotonic_now(), request, answer) {
                    self.feed(Input::Order(order));
                }
            }
            Request::Order(command, answer) => self.command(command, answer),
        }
    }

    fn command(&mut self, command: Command, answer: oneshot::Sender<Result<Value, Refusal>>) {
        let unknown = |known: bool, prefix: &Name| {
            if known { Ok(Value::Null) } else { Err(Refusal::Bad(format!("prefix: no service {prefix} runs here"))) }
        };
        let result = match command {
            Command::QueryPath(target) => {
                let order = self.calls.begin_path(target, answer);
                return self.feed(Input::Order(order));
            }
            Command::Machine(order) => {
                self.feed(Input::Order(order));
                Ok(Value::Null)
            }
            Command::StartService(prefix, pool) => {
                self.services.start(now(), prefix, pool, None);
                Ok(Value::Null)
            }
            Command::StopService(prefix) => unknown(self.services.stop(&prefix), &prefix),
            Command::KillService(prefix) => unknown(self.services.kill(&prefix), &prefix),
            Command::Stop => {
                self.stop();
                Ok(Value::Null)
            }
        };
        let _ = answer.send(result);
        self.settle();
    }

    /// Does all that the machine and the services want done, until there is nothing left.
    pub(crate) fn settle(&mut self) {
        self.unsettled_since = None;
        loop {
            while let Some(output) = self.machine.poll() {
                self.perform(output);
            }
            self.flush();
            for event in self.services.take_events() {
                self.machine.handle(now(), Input::Order(order_of(event)));
                while let Some(output) = self.machine.poll() {
                    self.perform(output);
                }
            }
            self.flush();
            let Some(Returned { pdu, undeliverable }) = self.returned.pop_front() else { return };
            let input = match undeliverable {
                None => Input::Frame { port: None, received_at: now(), pdu: &pdu },
                Some(reason) => Input::Undeliverable { port: None, reason, pdu: &pdu },
            };
            self.machine.handle(now(), input);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { port, pdu } => self.queue(port, pdu),
            Output::Route { pdu } => self.route(pdu),
            Output::Fib(ops) => {
                if let Some(plane) = &mut self.plane {
                    plane.apply(ops);
                }
            }
            Output::Event(kind) => self.events.push(monotonic_now(), kind),
            Output::Dropped { reason, .. } => self.counters.dropped(reason, 1),
            Output::Invoke { invocation, prefix, source, method, payload, deadline: _ } => {
                self.services.invoke(&prefix, &source, invocation, method, &payload);
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
            Verdict::Send(port) => self.queue(PortId(port), pdu),
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
                self.counters.transmitted(port.send(frames.iter().map(Vec::as_slice)));
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
