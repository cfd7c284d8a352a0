//! Service Gateway: a router with pods and an SPA attached. It registers the services that its pods announce.

use std::sync::Arc;

use damc_forward::Admission;
use damc_mgmt::config::NodeConfig;
use damc_mgmt::view::{Sessions, View, ViewKind};
use damc_trust::SignatureMemory;
use damc_wire::message::Announce;
use damc_wire::{DropReason, Message, Name, NodeId, RefusalReason, Role, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::adjacency::Received;
use crate::auth::registrar::{Action, Announcer, Directory, Holder, Registrar};
use crate::context::{ConfigError, Context};
use crate::io::{Input, Machine, OUT_OF_BAND_REQUESTS, Order, Outbox, Output, PortId, Unanswered};
use crate::lsdb::Lsdb;
use crate::nack::{Nacks, refusal_for};
use crate::node::asked::Asked;
use crate::qos::agent::QosAgent;
use crate::router::{Router, RouterEvent};

/// The machine of an SG.
#[derive(Debug)]
pub struct Sg {
    router: Router,
    registrar: Registrar,
    qos: QosAgent,
    nacks: Nacks,
    /// Announcements that came by [`Order::Announce`].
    asked: Asked,
    out: Outbox,
}

/// The LSDB as the registrar reads it.
struct Elsewhere<'a> {
    lsdb: &'a Lsdb,
    own: &'a NodeId,
}

impl Directory for Elsewhere<'_> {
    fn holders(&self, name: &Name) -> Vec<Holder> {
        let entries = self.lsdb.prefix(name).filter(|e| e.origin != self.own);
        entries.map(|e| Holder { pod: e.port.clone(), exact: e.body.exact }).collect()
    }
}

impl Sg {
    /// An SG with all ports down.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &NodeConfig, seed: u64, now: Timestamp) -> Result<Self, ConfigError> {
        let context = Context::from_config(config)?;
        context.require_role(Role::Sg)?;
        let context = Arc::new(context);
        let first_ask = ChaCha8Rng::seed_from_u64(seed.rotate_left(16)).random::<u64>();
        Ok(Self {
            registrar: Registrar::new(context.node.clone(), context.verifier(), &context.timers, first_ask),
            qos: QosAgent::new(context.clone(), seed.rotate_left(32), now),
            nacks: Nacks::new(context.node.clone()),
            router: Router::new(context, seed, now),
            asked: Asked::default(),
            out: Outbox::default(),
        })
    }

    /// Carries out the actions of the parts until none is left.
    fn settle(&mut self, now: Timestamp) {
        loop {
            if let Some(event) = self.router.poll_event() {
                self.handle_event(now, event);
            } else if let Some(action) = self.registrar.poll_action() {
                self.perform(now, action);
            } else {
                break;
            }
        }
    }

    fn handle_event(&mut self, now: Timestamp, event: RouterEvent) {
        if self.qos.handle_event(now, &event, &mut self.router, &mut self.out) {
            return;
        }
        match event {
            RouterEvent::Message(received) => self.handle_message(now, *received),
            RouterEvent::NeighbourUp { port, node, role: Role::Pod } => {
                if let Some(neighbour) = self.router.neighbour(port) {
                    self.registrar.pod_up(node, port, neighbour.certificate.clone());
                }
            }
            RouterEvent::NeighbourUp { port, node, role: Role::Spa } => self.registrar.spa_up(now, node, port),
            RouterEvent::NeighbourDown { port, node, role: Role::Pod, reason } => {
                self.registrar.pod_down(now, &node, reason);
                for handle in self.asked.take_all_of(port) {
                    self.unanswered(handle, Unanswered::NoSuchPod);
                }
                self.router.set_admission(port, Admission::Nothing, &mut self.out);
            }
            RouterEvent::NeighbourDown { node, role: Role::Spa, .. } => self.registrar.spa_down(&node),
            RouterEvent::NeighbourUp { .. } | RouterEvent::NeighbourDown { .. } => {}
            RouterEvent::RoutesChanged { prefixes } => {
                let own = self.router.context().node.clone();
                self.registrar.handle_routes(now, &prefixes, &Elsewhere { lsdb: self.router.lsdb(), own: &own });
            }
            RouterEvent::Routed { frame, port, .. } => {
                self.nacks.unserved(now, &mut self.router, port, &frame, &mut self.out);
            }
        }
    }

    fn handle_message(&mut self, now: Timestamp, received: Received) {
        let Received { port, neighbour, role, certificate, message, .. } = received;
        let own = self.router.context().node.clone();
        let lsdb = Elsewhere { lsdb: self.router.lsdb(), own: &own };
        match (role, message) {
            (Role::Pod, Message::Announce(announce)) => {
                let Some(own_session) = self.router.neighbour(port).map(|n| n.own_session) else { return };
                let from = Announcer { port, pod: neighbour, certificate, own_session };
                self.registrar.handle_announce(now, &from, announce, &lsdb);
            }
            (Role::Spa, Message::AuthReply(reply)) => {
                self.registrar.handle_reply(now, port, &neighbour, &reply, &lsdb);
            }
            (Role::Spa, Message::Revoke(revoke)) => self.registrar.handle_revoke(now, port, &neighbour, &revoke),
            _ => self.out.dropped(Some(port), DropReason::WrongRole),
        }
    }

    fn perform(&mut self, now: Timestamp, action: Action) {
        let out = &mut self.out;
        match action {
            Action::Send { port, message: Message::AnnounceReply(reply) } if reply.request >= OUT_OF_BAND_REQUESTS => {
                // Perhaps no caller waits: a copy was answered already, or the caller has gone.
                if let Some(handle) = self.asked.take(port, reply.request) {
                    out.push(Output::Announced { handle, reply: Ok(reply) });
                }
            }
            Action::Send { port, message } => {
                self.router.send(now, port, message, out);
            }
            Action::Originate(claim) => self.router.originate_prefix(now, claim, out),
            Action::Withdraw { prefix, pod } => self.router.withdraw_prefix(now, &prefix, &pod, out),
            Action::Suspend { prefix, pod } => self.router.suspend_prefix(now, &prefix, &pod, out),
            Action::Admit { port, sources, pools } => {
                self.router.set_admission(port, Admission::Sources(sources), out);
                out.push(Output::Pools { port, members: pools });
            }
            Action::Event(event) => out.event(event),
            Action::Dropped { port, reason } => out.dropped(Some(port), reason),
        }
    }

    /// Handles a class 1 announcement that did not come over the adjacency. The pod signed it, and it is checked like
    /// any other.
    fn announce(&mut self, now: Timestamp, handle: u64, announce: Announce) {
        let ports = (0..self.router.context().ports.len()).filter_map(|n| u16::try_from(n).ok().map(PortId));
        let mut neighbours = ports.filter_map(|port| Some((port, self.router.neighbour(port)?)));
        let pod = neighbours.find(|(_, n)| n.role == Role::Pod && n.node == announce.pod);
        let Some((port, pod)) = pod.filter(|_| announce.request >= OUT_OF_BAND_REQUESTS) else {
            return self.unanswered(handle, Unanswered::NoSuchPod);
        };
        if !self.asked.has_room(port) {
            return self.unanswered(handle, Unanswered::TooMany);
        }
        let from = Announcer {
            port,
            pod: pod.node.clone(),
            certificate: pod.certificate.clone(),
            own_session: pod.own_session,
        };
        let request = announce.request;
        if let Some(former) = self.asked.insert(now, port, request, handle) {
            self.unanswered(former, Unanswered::TooMany);
        }
        let own = self.router.context().node.clone();
        let before = self.registrar.dropped_announcements();
        self.registrar.handle_announce(now, &from, announce, &Elsewhere { lsdb: self.router.lsdb(), own: &own });
        if self.registrar.dropped_announcements() != before {
            // An announcement with an old number or of another session never gets a reply.
            self.settle(now);
            if let Some(handle) = self.asked.take(port, request) {
                self.unanswered(handle, Unanswered::NoSuchPod);
            }
        }
    }

    fn unanswered(&mut self, handle: u64, why: Unanswered) {
        self.out.push(Output::Announced { handle, reply: Err(why) });
    }

    /// Pods with an adjacency, each with the SG's session: what announcements are tied to.
    fn sessions(&self) -> Sessions {
        let ports = (0..self.router.context().ports.len()).filter_map(|n| u16::try_from(n).ok().map(PortId));
        let pods = ports.filter_map(|port| self.router.neighbour(port)).filter(|n| n.role == Role::Pod);
        pods.map(|n| (n.node.to_string(), n.own_session)).collect()
    }

    fn handle_undeliverable(&mut self, now: Timestamp, port: Option<PortId>, reason: DropReason, pdu: &[u8]) {
        let Some(mut refusal) = refusal_for(reason) else { return };
        if refusal == RefusalReason::NoRoute && self.served_lately(pdu) {
            refusal = RefusalReason::NoSuchInstance;
        }
        self.nacks.handle(now, &mut self.router, (port, refusal), pdu, &mut self.out);
    }

    fn served_lately(&self, pdu: &[u8]) -> bool {
        let view = damc_wire::frame::RoutedView::parse(pdu).ok();
        let destination = view.and_then(|v| Name::from_wire(v.destination()).ok());
        destination.is_some_and(|d| self.registrar.served_lately(&d))
    }
}

impl Machine for Sg {
    fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::Undeliverable { port, reason, pdu } => self.handle_undeliverable(now, port, reason, pdu),
            Input::PortCounts(counts) => self.qos.handle_counts(now, counts, &mut self.router, &mut self.out),
            Input::Tick => {
                self.router.handle(now, Input::Tick, &mut self.out);
                self.registrar.handle_timeout(now);
                for handle in self.asked.take_late(now) {
                    self.unanswered(handle, Unanswered::Undecided);
                }
                self.qos.handle_timeout(now, &mut self.router, &mut self.out);
            }
            Input::Command { handle, command }
                if self.qos.handle_command(now, (handle, command), &mut self.router, &mut self.out) => {}
            Input::Order(Order::Announce { handle, announce }) => self.announce(now, handle, *announce),
            Input::Order(order) => self.router.handle(now, Input::Order(order), &mut self.out),
            other => self.router.handle(now, other, &mut self.out),
        }
        self.settle(now);
    }

    fn poll(&mut self) -> Option<Output> {
        if let Some(now) = self.router.finish(&mut self.out) {
            self.settle(now);
        }
        self.out.pop()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let parts = [self.router.next_timeout(), self.registrar.next_timeout(), self.qos.next_timeout()];
        parts.into_iter().chain([self.asked.next_timeout()]).flatten().min()
    }

    fn share_signatures(&mut self, memory: &SignatureMemory) {
        self.router.share_signatures(memory);
    }

    fn view(&self, now: Timestamp, kind: ViewKind) -> Option<View> {
        Some(match kind {
            ViewKind::Policies => self.qos.view(now).into(),
            ViewKind::Sessions => self.sessions().into(),
            ViewKind::Announcements => self.registrar.view().into(),
            ViewKind::Protocol => {
                let mut counters = self.router.counters();
                counters.merge(self.registrar.counters());
                counters.merge(&self.qos.counters());
                counters.merge(&self.nacks.counters());
                counters.into()
            }
            _ => return self.router.view(now, kind),
        })
    }
}
