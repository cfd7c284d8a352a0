//! Pod: the agent in front of a group of services (ARC-08). It announces them, makes and receives calls for them, and
//! reflects the probes sent to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::config::NodeConfig;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{AnnouncementsView, ProtocolCounters, View, ViewKind};
use damc_mgmt::words::ProtocolCounter;
use damc_wire::frame::HeaderView;
use damc_wire::message::{Data, DataKind, Probe, Task, TaskReport};
use damc_wire::{DropReason, Frame, Header, Message, Name, RefusalReason, Role, Timestamp};

use crate::adjacency::{Adjacencies, Change, Received};
use crate::auth::Announcer;
use crate::auth::announcer::Service;
use crate::context::{ConfigError, Context};
use crate::io::{Input, Machine, Order, Outbox, Output, PortId};
use crate::nack::Nacks;
use crate::rmi::caller::{Action as CallerAction, Call, Caller};
use crate::rmi::fetch::{Action as FetchAction, Fetcher, Owner};
use crate::rmi::holding::Held;
use crate::rmi::server::{Action as ServerAction, CacheLimits, Request, Served, Server};

/// The machine of a pod.
#[derive(Debug)]
pub struct Pod {
    context: Arc<Context>,
    adjacencies: Adjacencies,
    announcer: Announcer,
    caller: Caller,
    server: Server,
    fetcher: Fetcher,
    nacks: Nacks,
    /// Port of the SG, while the adjacency is up.
    sg: Option<PortId>,
    /// Services that are configured or ran once. A call to one that does not run is refused for another reason than a
    /// call to an unknown name.
    known: BTreeSet<Name>,
    /// Detection tasks that a service is working on.
    tasks: BTreeMap<u64, Asker>,
    out: Outbox,
}

/// The node that waits for a task report.
#[derive(Debug)]
struct Asker {
    name: Name,
    flow: u32,
    forget_at: Timestamp,
}

/// Most tasks in progress at one time, and the longest time for one.
const TASK_LIMIT: usize = 1024;
const TASK_LIFE: Duration = Duration::from_secs(30);

impl Pod {
    /// A pod with its port down and no service running.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &NodeConfig, seed: u64, _now: Timestamp) -> Result<Self, ConfigError> {
        let context = Context::from_config(config)?;
        context.require_role(Role::Pod)?;
        let mut known = BTreeSet::new();
        for (i, service) in config.services.iter().enumerate() {
            let at = |field: &str| format!("services[{i}].{field}");
            known.insert(service.prefix.parse().map_err(|e| ConfigError::field(at("prefix"), e))?);
            if let Some(pool) = &service.pool {
                pool.parse::<Name>().map_err(|e| ConfigError::field(at("pool"), e))?;
            }
        }
        let context = Arc::new(context);
        let first_interval = Duration::from_millis(context.timers.retransmit_ms.saturating_mul(2));
        Ok(Self {
            adjacencies: Adjacencies::new(context.clone(), seed),
            announcer: Announcer::new(context.keys.clone(), &context.timers),
            caller: Caller::new(seed.rotate_left(32), first_interval),
            server: Server::new(CacheLimits::default()),
            fetcher: Fetcher::new(seed.rotate_left(48), first_interval),
            nacks: Nacks::new(context.node.clone()),
            sg: None,
            known,
            tasks: BTreeMap::new(),
            out: Outbox::default(),
            context,
        })
    }

    // ===== frames =====

    fn handle_frame(&mut self, now: Timestamp, port: Option<PortId>, received_at: Timestamp, pdu: &[u8]) {
        let routed = HeaderView::of(pdu).is_routed();
        if !routed {
            let Some(port) = port else { return };
            let received = self.adjacencies.handle_frame(now, port, received_at, pdu, &mut self.out);
            // A frame can bring the adjacency up, and its content may already need it.
            self.follow_adjacency(now);
            if let Some(received) = received {
                self.handle_local(now, &received);
            }
            return;
        }
        if port.is_some() && port != self.sg {
            return self.out.dropped(port, DropReason::NoAdjacency);
        }
        if let Some(Err(reason)) = port.map(|port| self.adjacencies.check_routed(port, pdu)) {
            return self.out.dropped(port, reason);
        }
        match Frame::decode(pdu) {
            Ok(frame) => self.handle_routed(now, port, received_at, frame, pdu),
            Err(e) => self.out.dropped(port, e.drop_reason()),
        }
    }

    fn handle_local(&mut self, now: Timestamp, received: &Received) {
        let known = match &received.message {
            Message::AnnounceReply(reply) => self.announcer.handle_reply(now, reply),
            _ => false,
        };
        if !known {
            self.out.dropped(Some(received.port), DropReason::Unsolicited);
        }
    }

    /// Handles a routed message, with its PDU. Messages between services of this pod come from the SG too.
    fn handle_routed(
        &mut self,
        now: Timestamp,
        port: Option<PortId>,
        received_at: Timestamp,
        frame: Frame,
        pdu: &[u8],
    ) {
        let Frame { header, names: Some((destination, source)), message, .. } = frame else { return };
        match message {
            Message::Data(data) if matches!(data.kind, DataKind::Request { .. }) => {
                self.handle_request(now, port, Request { header, destination, source, data });
            }
            Message::Data(data) => self.handle_answer(now, port, &source, data),
            Message::Nack(nack) => {
                if !self.fetcher.handle_nack(now, &nack) && !self.caller.handle_nack(&nack) {
                    self.out.dropped(port, DropReason::Unsolicited);
                }
            }
            Message::Probe(probe) => match self.serving(&destination, 0) {
                Some(prefix) => self.reflect(now, received_at, (source, prefix), header, &probe),
                None => self.refuse(now, port, pdu),
            },
            Message::Task(task) => match self.serving(&destination, 0) {
                Some(prefix) => self.start_task(now, source, prefix, header, &task),
                None => self.refuse(now, port, pdu),
            },
            _ => self.out.dropped(port, DropReason::WrongRole),
        }
    }

    fn handle_request(&mut self, now: Timestamp, port: Option<PortId>, request: Request) {
        if let Some((holder, held)) = Held::of(&request.destination) {
            return self.give(&request, &holder, held);
        }
        let served = match self.serving(&request.destination, request.data.correlation) {
            Some(prefix) => Served::By(prefix),
            None => {
                let dead = self.known.iter().any(|k| k.is_prefix_of(&request.destination));
                let reason = if dead { RefusalReason::ServiceUnavailable } else { RefusalReason::NoSuchInstance };
                Served::Nobody { reason, speaker: self.announcer.default_source().cloned() }
            }
        };
        if !self.server.handle_request(now, request, served) {
            self.out.dropped(port, DropReason::NoSuchInstance);
        }
    }

    /// Answers a request for a result, or for arguments, that are held here.
    fn give(&mut self, request: &Request, holder: &Name, held: Held) {
        let arguments = self.caller.holdings().has(holder, (&request.source, held.handle));
        let holdings = if arguments { self.caller.holdings() } else { self.server.holdings() };
        if let Some(answer) = holdings.handle_request(request, (holder, held)) {
            self.transmit(&answer);
        }
    }

    fn handle_answer(&mut self, now: Timestamp, port: Option<PortId>, from: &Name, data: Data) {
        if !self.fetcher.handle_answer(now, &data) && !self.caller.handle_answer(from, data) {
            self.out.dropped(port, DropReason::Unsolicited);
        }
    }

    /// Refuses a probe or task for a service that does not run.
    fn refuse(&mut self, now: Timestamp, port: Option<PortId>, pdu: &[u8]) {
        self.out.dropped(port, DropReason::NoSuchInstance);
        let Some(speaker) = self.announcer.default_source().cloned() else { return };
        if let Some(reply) = self.nacks.reply(now, RefusalReason::NoSuchInstance, pdu) {
            self.transmit(&Frame::plain(reply.to, speaker, reply.flow, Message::Nack(reply.nack)));
        }
    }

    /// Answers a probe at once and at minimal size, with the kernel's stamp of its arrival.
    fn reflect(
        &mut self,
        now: Timestamp,
        received_at: Timestamp,
        (to, from): (Name, Name),
        header: Header,
        probe: &Probe,
    ) {
        let reply = Probe { t2: received_at.nanos(), t3: now.nanos(), padding: 0, ..probe.clone() };
        self.transmit(&Frame::plain(to, from, header.flow, Message::ProbeReply(reply)));
    }

    fn start_task(&mut self, now: Timestamp, asker: Name, prefix: Name, header: Header, task: &Task) {
        self.tasks.retain(|_, t| t.forget_at > now);
        if self.tasks.len() >= TASK_LIMIT {
            return self.out.dropped(self.sg, DropReason::ResourceLimit);
        }
        let asker = Asker { name: asker, flow: header.flow, forget_at: now + TASK_LIFE };
        if self.tasks.insert(task.task, asker).is_none() {
            self.out.push(Output::SelfTest { task: task.task, prefix });
        }
    }

    // ===== orders =====

    fn handle_order(&mut self, now: Timestamp, order: Order) {
        match order {
            Order::Service { prefix, pool, weight, running } => {
                self.known.insert(prefix.clone());
                let event = EventKind::Service { prefix: prefix.to_string(), running, detail: String::new() };
                self.out.event(event);
                if running {
                    self.announcer.service_up(now, prefix, pool, weight);
                } else {
                    self.announcer.service_down(now, &prefix);
                    self.server.service_down(&prefix);
                }
            }
            Order::Call { handle, name, method, payload, deadline, trace, source, flow, context } => {
                match self.source_of_call(source) {
                    Ok(source) => {
                        let call = Call { handle, name, source, method, payload, deadline, trace, flow, context };
                        self.caller.call(now, call);
                    }
                    Err((reason, detail)) => self.caller.refuse(handle, reason, detail),
                }
            }
            Order::Answer { invocation, result } => {
                self.server.handle_result(now, invocation, result);
            }
            Order::Report { task, prefix } => self.report(task, prefix),
            Order::Announce { .. } => {}
        }
    }

    /// Withdraws all services.
    fn stop(&mut self, now: Timestamp) {
        let all: Vec<Name> = self.announcer.services().keys().cloned().collect();
        for prefix in all {
            self.announcer.service_down(now, &prefix);
            self.server.service_down(&prefix);
        }
    }

    /// The service that a call comes from, or the reason why it cannot be made. A source given by the client is used
    /// unchanged: the SG decides whether it is allowed.
    fn source_of_call(&self, source: Option<Name>) -> Result<Name, (RefusalReason, &'static str)> {
        if self.sg.is_none() {
            return Err((RefusalReason::NoRoute, "no adjacency with the SG"));
        }
        source.or_else(|| self.announcer.default_source().cloned()).ok_or_else(|| {
            let reason = self.announcer.refusal().unwrap_or(RefusalReason::SourceNotAuthorised);
            (reason, "this pod has no accepted service to call from")
        })
    }

    fn report(&mut self, task: TaskReport, prefix: Name) {
        if let Some(asker) = self.tasks.remove(&task.task) {
            self.transmit(&Frame::plain(asker.name, prefix, asker.flow, Message::TaskReport(task)));
        }
    }

    // ===== names =====

    /// The running service that serves `name`: one of the pool `name`, otherwise the longest prefix of it. Among
    /// several instances of one pool in this pod `draw` chooses, by weight.
    fn serving(&self, name: &Name, draw: u64) -> Option<Name> {
        let members: Vec<(&Name, &Service)> =
            self.announcer.services().iter().filter(|(_, s)| s.pool.as_ref() == Some(name)).collect();
        let total: u64 = members.iter().map(|(_, s)| u64::from(s.weight)).sum();
        let mut left = draw.checked_rem(total).unwrap_or(0);
        for (prefix, service) in &members {
            if left < u64::from(service.weight) || total == 0 {
                return Some((*prefix).clone());
            }
            left -= u64::from(service.weight);
        }
        let covering = self.announcer.services().keys().filter(|p| p.is_prefix_of(name));
        covering.max_by_key(|p| p.wire().len()).cloned()
    }

    // ===== what follows =====

    /// Carries out the actions of the parts.
    fn settle(&mut self, now: Timestamp) {
        self.follow_adjacency(now);
        while let Some(announce) = self.announcer.poll_send() {
            if let Some(port) = self.sg {
                self.adjacencies.send(now, port, Message::Announce(announce), &mut self.out);
            }
        }
        loop {
            self.settle_calls(now);
            // What was fetched goes on as a result or as arguments, and may lead to more.
            let Some(action) = self.fetcher.poll_action() else { return };
            match action {
                FetchAction::Send(frame) => self.transmit(&frame),
                FetchAction::Done(Owner::Call(correlation), fetched) => {
                    self.caller.handle_fetched(correlation, fetched);
                }
                FetchAction::Done(Owner::Arguments(source, correlation), fetched) => {
                    self.server.handle_arguments(now, &source, correlation, fetched);
                }
            }
        }
    }

    fn settle_calls(&mut self, now: Timestamp) {
        while let Some(action) = self.caller.poll_action() {
            match action {
                CallerAction::Send(frame) => self.transmit(&frame),
                CallerAction::Done { handle, outcome } => self.out.push(Output::CallDone { handle, outcome }),
                CallerAction::Event(event) => self.out.event(event),
                CallerAction::Fetch(order) => self.fetcher.fetch(now, order),
            }
        }
        while let Some(action) = self.server.poll_action() {
            match action {
                ServerAction::Send(frame) => self.transmit(&frame),
                ServerAction::Invoke { invocation, prefix, source, method, payload, deadline, context } => {
                    self.out.push(Output::Invoke { invocation, prefix, source, method, payload, deadline, context });
                }
                ServerAction::Fetch(order) => self.fetcher.fetch(now, order),
            }
        }
    }

    fn follow_adjacency(&mut self, now: Timestamp) {
        while let Some(change) = self.adjacencies.poll_change() {
            match change {
                Change::Up { port, node, role: Role::Sg } => {
                    let Some(session) = self.adjacencies.neighbour(port).map(|n| n.session) else { continue };
                    self.sg = Some(port);
                    self.announcer.sg_up(now, node, session);
                }
                Change::Down { port, .. } if self.sg == Some(port) => {
                    self.sg = None;
                    self.announcer.sg_down();
                }
                Change::Up { .. } | Change::Down { .. } => {}
            }
        }
    }

    /// Sends a routed message to the SG, even if it is for another service of this pod: all service traffic enters and
    /// leaves by the SG (drafts, section 5 (3a)).
    fn transmit(&mut self, frame: &Frame) {
        let Some(port) = self.sg else { return };
        match frame.encode() {
            Ok(pdu) => {
                *self.out.sent.entry(frame.header.message_type).or_default() += 1;
                self.adjacencies.send_routed(port, pdu, &mut self.out);
            }
            Err(_) => self.out.dropped(Some(port), DropReason::Oversized),
        }
    }

    fn counters(&self) -> ProtocolCounters {
        let (executed, repeated) = self.server.counts();
        let mut counters = ProtocolCounters::from_iter([
            (ProtocolCounter::CallsPending, self.caller.pending() as u64),
            (ProtocolCounter::RequestsRetransmitted, self.caller.retransmitted()),
            (ProtocolCounter::Invocations, executed),
            (ProtocolCounter::RequestsRepeated, repeated),
            (ProtocolCounter::CallsRemembered, self.server.remembered() as u64),
        ]);
        counters.merge(&self.nacks.counters());
        counters
    }
}

impl Machine for Pod {
    fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::PortUp(port) => self.adjacencies.handle_port(now, port, true, &mut self.out),
            Input::PortDown(port) => self.adjacencies.handle_port(now, port, false, &mut self.out),
            Input::Frame { port, received_at, pdu } => self.handle_frame(now, port, received_at, pdu),
            Input::Tick => {
                self.adjacencies.handle_timeout(now, &mut self.out);
                self.announcer.handle_timeout(now);
                self.caller.handle_timeout(now);
                self.server.handle_timeout(now);
                self.fetcher.handle_timeout(now);
            }
            Input::Order(order) => self.handle_order(now, order),
            Input::Command { command: Command::Stop, .. } => self.stop(now),
            // A pod has no forwarding plane that could fail. Commands about services are its shell's.
            Input::Undeliverable { .. } | Input::PortCounts(_) | Input::Command { .. } => {}
        }
        self.settle(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let parts = [
            self.adjacencies.next_timeout(),
            self.announcer.next_timeout(),
            self.caller.next_timeout(),
            self.server.next_timeout(),
            self.fetcher.next_timeout(),
        ];
        parts.into_iter().flatten().min()
    }

    fn view(&self, now: Timestamp, kind: ViewKind) -> Option<View> {
        Some(match kind {
            ViewKind::Announcements => {
                let announcements = self.announcer.rows();
                AnnouncementsView { node: self.context.node.to_string(), announcements }.into()
            }
            ViewKind::Neighbors => self.adjacencies.view(now).into(),
            ViewKind::Protocol => self.counters().into(),
            _ => return None,
        })
    }
}
