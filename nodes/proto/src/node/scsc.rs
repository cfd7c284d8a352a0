//! Service Mesh Communication Scheduling Centre: a path-computation and policy service off the data path.
//!
//! It holds a passive replica of the link-state database, fed by the SRs to which it is attached (GAP-21, POL-10). No
//! user frame ever passes through it: it originates and receives class 4 only.

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use damc_mgmt::command::Command;
use damc_mgmt::config::NodeConfig;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{PoliciesView, ProtocolCounters, View, ViewKind};
use damc_mgmt::words::{AdjacencyState, ProtocolCounter};
use damc_trust::{SignatureMemory, Verifier};
use damc_wire::frame::HeaderView;
use damc_wire::lsa::{Lsa, LsaHeader};
use damc_wire::message::{PathQuery, PathReply, QosAck, Signed, SignedBody};
use damc_wire::{DropReason, Frame, Message, Name, NodeId, Role, Timestamp};

use crate::adjacency::{Adjacencies, Change, Received};
use crate::auth::attachments::Attachments;
use crate::context::{ConfigError, Context};
use crate::io::{Input, Machine, Outbox, Output, PortId};
use crate::lsdb::Lsdb;
use crate::qos::path_computation::{PathComputation, Ted};
use crate::qos::threshold::ThresholdTable;
use crate::qos::topology::{Catalogue, Topology};

/// Headers in one acknowledgement frame; each has at most 380 bytes.
const ACK_HEADERS: usize = 3;
/// Time without decisions after the first SR is attached, while the replica is filled.
const SETTLE: Duration = Duration::from_secs(1);

/// The machine of an SCSC.
#[derive(Debug)]
pub struct Scsc {
    context: Arc<Context>,
    adjacencies: Adjacencies,
    verifier: Verifier,
    attachments: Attachments,
    replica: Lsdb,
    ted: Ted,
    /// Port towards each reachable node.
    ways: BTreeMap<NodeId, PortId>,
    /// The replica or the adjacencies changed since `ted` and `ways` were computed.
    outdated: bool,
    decide_from: Timestamp,
    path_computation: PathComputation,
    out: Outbox,
    counters: ProtocolCounters,
}

impl Scsc {
    /// An SCSC with all ports down. `seed` must be a fresh one at every start.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &NodeConfig, seed: u64, now: Timestamp) -> Result<Self, ConfigError> {
        let context = Context::from_config(config)?;
        context.require_role(Role::Scsc)?;
        let context = Arc::new(context);
        Ok(Self {
            adjacencies: Adjacencies::new(context.clone(), seed),
            verifier: context.verifier(),
            attachments: Attachments::new(&context.timers),
            replica: Lsdb::default(),
            ted: Ted::default(),
            ways: BTreeMap::new(),
            outdated: false,
            decide_from: now,
            path_computation: PathComputation::new(
                &context.timers,
                ThresholdTable::new(&config.thresholds)?,
                seed.rotate_left(16),
            ),
            out: Outbox::default(),
            counters: ProtocolCounters::default(),
            context,
        })
    }

    fn count(&mut self, counter: ProtocolCounter) {
        self.counters.count(counter);
    }

    fn drop(&mut self, port: Option<PortId>, reason: DropReason, detail: &str) {
        self.out.dropped(port, reason);
        let port = port.map_or_else(|| "-".to_owned(), |p| self.context.port_label(p));
        self.out.event(EventKind::Dropped { port, reason, detail: detail.to_owned() });
    }

    // ===== replica =====

    fn handle_changes(&mut self, now: Timestamp) {
        while let Some(change) = self.adjacencies.poll_change() {
            self.outdated = true;
            match change {
                Change::Up { port, node, .. } => {
                    self.attachments.router_up(now, port, node);
                    if self.feeding_ports().all(|p| p == port) {
                        // No SR fed the replica until now: its content may be outdated, and purges were missed.
                        self.replica = Lsdb::default();
                        self.decide_from = now + SETTLE;
                    }
                }
                Change::Down { port, .. } => self.attachments.router_down(port),
            }
        }
    }

    /// Tells routers that they have the SCSC attached.
    fn attach(&mut self, now: Timestamp) {
        for (port, attachment) in self.attachments.take_due(now, &self.context.keys) {
            self.adjacencies.send(now, port, Message::Attach(attachment), &mut self.out);
        }
    }

    fn feeding_ports(&self) -> impl Iterator<Item = PortId> + '_ {
        self.context.port_ids().filter(|p| self.adjacencies.state(*p) == AdjacencyState::Full)
    }

    fn handle_message(&mut self, now: Timestamp, received: Received) {
        match received.message {
            Message::Topology(lsas) => {
                let acks: Vec<LsaHeader> =
                    lsas.into_iter().filter_map(|lsa| self.take_lsa(now, received.port, lsa)).collect();
                for page in acks.chunks(ACK_HEADERS) {
                    let ack = Message::TopologyAck(page.to_vec());
                    self.adjacencies.send(now, received.port, ack, &mut self.out);
                }
            }
            Message::AttachAck(ack) => self.attachments.acknowledged(received.port, ack),
            other => self.drop(Some(received.port), DropReason::WrongRole, other.message_type().label()),
        }
    }

    /// Stores an LSA in the replica; returns the header to acknowledge. A refused LSA is never acknowledged (check-list
    /// 7).
    fn take_lsa(&mut self, now: Timestamp, port: PortId, lsa: Lsa) -> Option<LsaHeader> {
        let header = lsa.header();
        if self.replica.compare(&header) != Ordering::Greater {
            if self.replica.compare_age(now, &header) == Ordering::Greater {
                self.replica.prolong(now, &header);
            }
            return Some(header);
        }
        let issuer = lsa.proof().map(|proof| proof.issuer().clone());
        let verified = self.verifier.verify_lsa(now, lsa);
        if let Some(issuer) = issuer {
            self.replica.clock_moved(&issuer, self.verifier.clock());
        }
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => {
                self.drop(Some(port), error.drop_reason(), &error.to_string());
                return None;
            }
        };
        if self.replica.install(now, verified, Some(self.verifier.clock())).is_err() {
            self.drop(Some(port), DropReason::ResourceLimit, "replica");
            return None;
        }
        self.count(ProtocolCounter::LsaAccepted);
        self.outdated = true;
        Some(header)
    }

    /// Recomputes the graph, the catalogue and the ports towards all nodes.
    fn survey(&mut self, now: Timestamp) {
        if !self.outdated {
            return;
        }
        self.outdated = false;
        self.count(ProtocolCounter::Surveys);
        let topology = Topology::from_lsdb(&self.replica);
        let mut best: BTreeMap<NodeId, (u64, PortId)> = BTreeMap::new();
        let mut offer = |node: &NodeId, cost: u64, port: PortId| {
            let known = best.entry(node.clone()).or_insert((cost, port));
            *known = (cost, port).min(*known);
        };
        for port in self.context.port_ids() {
            let Some(neighbour) = self.adjacencies.neighbour(port) else { continue };
            if self.adjacencies.state(port) != AdjacencyState::Full {
                continue;
            }
            let own = self.context.port(port).map_or(1, |p| u64::from(p.cost));
            offer(&neighbour.node, own, port);
            let Some(from) = topology.index(&neighbour.node) else { continue };
            let distances = topology.plain_distances(from);
            for (node, cost) in topology.reached(&distances) {
                offer(node, own + cost, port);
            }
        }
        self.ways = best.into_iter().map(|(node, (_, port))| (node, port)).collect();
        let reachable = self.ways.keys().cloned().collect();
        self.ted = Ted {
            topology,
            catalogue: Catalogue::from_lsdb(&self.replica),
            reachable,
            incomplete: now < self.decide_from,
        };
        self.path_computation.on_topology(now, &self.ted, &mut self.out);
    }

    // ===== routed messages =====

    fn handle_routed(&mut self, now: Timestamp, port: Option<PortId>, pdu: &[u8]) {
        let from_neighbour = port.is_some_and(|p| self.adjacencies.state(p) == AdjacencyState::Full);
        if !from_neighbour {
            return self.drop(port, DropReason::NoAdjacency, "routed");
        }
        if let Some(Err(reason)) = port.map(|port| self.adjacencies.check_routed(port, pdu)) {
            return self.drop(port, reason, "routed");
        }
        let frame = match Frame::decode(pdu) {
            Ok(frame) => frame,
            Err(error) => return self.drop(port, error.drop_reason(), &error.to_string()),
        };
        let Some((destination, source)) = frame.names else { return };
        if destination != self.context.name {
            // The SCSC forwards no traffic (CON-05).
            return self.drop(port, DropReason::NoRoute, &destination.to_string());
        }
        let detail = frame.message.message_type().label();
        let taken = match &frame.message {
            Message::Telemetry(report) => self.check(&source, report, &[Role::Sg, Role::Sr]).map(|from| {
                let sender = (&from, report.certificate.role);
                self.ted.incomplete = now < self.decide_from;
                self.path_computation.on_telemetry(now, sender, &report.body, &self.ted, &mut self.out);
                self.reply(
                    now,
                    &source,
                    QosAck { sequence: report.body.sequence, label: 0, refusal: None },
                    Message::QosAck,
                );
            }),
            Message::QosAck(ack) => self.check(&source, ack, &[Role::Sg, Role::Sr]).and_then(|from| {
                let known = self.path_computation.on_ack(now, &from, &ack.body);
                known.then_some(()).ok_or(DropReason::Unsolicited)
            }),
            Message::PathQuery(query) => self.check(&source, query, &[Role::Sg]).map(|from| {
                let reply = self.answer(&from, &query.body);
                self.reply(now, &source, reply, Message::PathReply);
            }),
            // Undelivered messages are repeated until they are acknowledged or their node has left the replica.
            Message::Nack(_) => Ok(()),
            _ => Err(DropReason::WrongRole),
        };
        if let Err(reason) = taken {
            self.drop(port, reason, detail);
        }
    }

    /// Checks that the signer uses its own name, then role and signature. Returns the signer.
    fn check<T: SignedBody>(
        &mut self,
        source: &Name,
        signed: &Signed<T>,
        roles: &[Role],
    ) -> Result<NodeId, DropReason> {
        if !self.context.speaks_in_own_name(source, signed) {
            return Err(DropReason::NotAuthorised);
        }
        let own = self.context.name.clone();
        self.verifier.verify_routed(&own, source, signed, roles).map_err(|e| e.drop_reason())?;
        Ok(signed.certificate.node.clone())
    }

    fn answer(&self, asker: &NodeId, query: &PathQuery) -> PathReply {
        let (path, cost) = self.path_computation.path(asker, &query.target, &self.ted);
        PathReply { request: query.request, path, cost }
    }

    /// Signs and sends to a node by its name.
    fn reply<T: SignedBody>(&mut self, now: Timestamp, to: &Name, body: T, wrap: impl FnOnce(Signed<T>) -> Message) {
        let message = wrap(self.context.keys.sign_routed(to, &self.context.name, body));
        let node = to.components().last().and_then(|c| NodeId::new(c).ok());
        if let Some(port) = node.and_then(|n| self.ways.get(&n).copied()) {
            self.send(now, port, to.clone(), message);
        }
    }

    fn send(&mut self, _now: Timestamp, port: PortId, destination: Name, message: Message) {
        let message_type = message.message_type();
        match Frame::plain(destination, self.context.name.clone(), 0, message).encode() {
            Ok(pdu) => {
                *self.out.sent.entry(message_type).or_default() += 1;
                self.adjacencies.send_routed(port, pdu, &mut self.out);
            }
            Err(error) => self.drop(Some(port), DropReason::Oversized, &error.to_string()),
        }
    }

    fn send_policies(&mut self, now: Timestamp) {
        for policy in self.path_computation.poll(now, &self.ted, &mut self.out) {
            if let Ok(to) = Name::of_node(self.context.domain.as_str(), &policy.recipient) {
                self.reply(now, &to, policy, Message::Policy);
            }
        }
    }
}

impl Machine for Scsc {
    fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::PortUp(port) => self.adjacencies.handle_port(now, port, true, &mut self.out),
            Input::PortDown(port) => self.adjacencies.handle_port(now, port, false, &mut self.out),
            Input::Frame { port, received_at, pdu } => {
                let is_routed = HeaderView::of(pdu).is_routed();
                if is_routed {
                    self.handle_routed(now, port, pdu);
                } else if let Some(port) = port
                    && let Some(received) = self.adjacencies.handle_frame(now, port, received_at, pdu, &mut self.out)
                {
                    self.handle_message(now, received);
                }
            }
            Input::Tick => {
                self.adjacencies.handle_timeout(now, &mut self.out);
                self.outdated |= !self.replica.expire(now, self.verifier.clock()).is_empty();
            }
            Input::Command { command: Command::Thresholds { prefix, source, preset }, .. } => {
                let concerned = (prefix.as_ref(), source.as_ref());
                self.ted.incomplete = now < self.decide_from;
                self.path_computation.on_thresholds(now, concerned, *preset, &self.ted, &mut self.out);
            }
            Input::Undeliverable { .. } | Input::PortCounts(_) | Input::Command { .. } | Input::Order(_) => {}
        }
        self.handle_changes(now);
        self.attach(now);
        self.survey(now);
        self.send_policies(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let timers = [
            self.adjacencies.next_timeout(),
            self.attachments.next_timeout(),
            self.replica.next_expiry(),
            self.path_computation.next_timeout(),
        ];
        timers.into_iter().flatten().min()
    }

    fn share_signatures(&mut self, memory: &SignatureMemory) {
        self.verifier.share(memory);
        self.adjacencies.share_signatures(memory);
    }

    fn view(&self, now: Timestamp, kind: ViewKind) -> Option<View> {
        Some(match kind {
            ViewKind::Policies => {
                let policies = self.path_computation.policies_view(now);
                let paths = self.path_computation.paths_view(now, &self.ted);
                let ordered = self.path_computation.ordered_thresholds();
                PoliciesView { node: self.context.node.to_string(), policies, paths, ordered }.into()
            }
            ViewKind::Lsdb => self.replica.view(now, &self.context.node).into(),
            ViewKind::Neighbors => self.adjacencies.view(now).into(),
            ViewKind::Protocol => {
                let mut counters = self.path_computation.counters().clone();
                counters.merge(&self.counters);
                counters.into()
            }
            _ => return None,
        })
    }
}
