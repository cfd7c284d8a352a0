//! Quality of service at an SG or SR: measures, reports, and applies the SCSC's policies.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{PathView, PoliciesView, PolicyView, ProtocolCounters};
use damc_mgmt::words::{PolicyActionKind, ProtocolCounter};
use damc_trust::Verifier;
use damc_wire::lsa::Proof;
use damc_wire::message::{LinkReport, Nack, PathQuery, PathReply, Policy, PolicyAction, QosAck, Signed};
use damc_wire::{DropReason, Frame, Message, MessageType, Name, NodeId, Role, Timestamp};

use super::policies::{Outcome, Policies};
use super::port_rates::PortRates;
use super::prober::{Prober, Transmit};
use super::telemetry::Reporter;
use crate::context::Context;
use crate::io::{Outbox, Output, PortCount, PortId};
use crate::lsdb::Lsdb;
use crate::router::{PolicyRoute, Router, RouterEvent};

/// Longest time for a path query.
const QUERY_PATIENCE: Duration = Duration::from_secs(2);
/// Interval at which it is repeated until then.
const QUERY_REPEAT: Duration = Duration::from_millis(400);

/// A path query in progress.
#[derive(Debug)]
struct Query {
    handle: u64,
    request: u64,
    target: Name,
    send_at: Timestamp,
    give_up_at: Timestamp,
}

/// The QoS part of an SG or SR.
#[derive(Debug)]
pub struct QosAgent {
    context: Arc<Context>,
    verifier: Verifier,
    /// At SGs only: SRs have no targets.
    prober: Option<Prober>,
    reporter: Reporter,
    rates: PortRates,
    policies: Policies,
    /// The SCSC reported to: of several the one with the lowest name, so that exactly one of them decides (GAP-20).
    scsc: Option<Name>,
    next_report: Timestamp,
    queries: Vec<Query>,
    next_request: u64,
    counters: ProtocolCounters,
}

impl QosAgent {
    /// An agent without measurements and policies.
    #[must_use]
    pub fn new(context: Arc<Context>, seed: u64, now: Timestamp) -> Self {
        let prober = (context.role == Role::Sg).then(|| Prober::new(&context.timers, &context.name, seed));
        // Spreads the reports of different nodes in time.
        let phase = Duration::from_millis(seed % context.timers.telemetry_interval_ms.max(1));
        Self {
            verifier: context.verifier(),
            prober,
            reporter: Reporter::new(&context.timers, now),
            rates: PortRates::default(),
            policies: Policies::new(context.node.clone()),
            scsc: None,
            next_report: now + phase,
            queries: Vec::new(),
            next_request: seed | 1,
            counters: ProtocolCounters::default(),
            context,
        }
    }

    /// Handles an event of the router; returns true if it concerns this part only.
    pub fn handle_event(&mut self, now: Timestamp, event: &RouterEvent, router: &mut Router, out: &mut Outbox) -> bool {
        match event {
            RouterEvent::RoutesChanged { prefixes } => self.follow_routes(now, prefixes, router, out),
            RouterEvent::NeighbourUp { .. } | RouterEvent::NeighbourDown { .. } => {
                self.watch_policies(now, router, out);
            }
            RouterEvent::Routed { frame, received_at, port } => {
                return self.handle_frame(now, frame, *received_at, *port, router, out);
            }
            RouterEvent::Message(_) => {}
        }
        false
    }

    fn handle_frame(
        &mut self,
        now: Timestamp,
        frame: &Frame,
        received_at: Timestamp,
        port: Option<PortId>,
        router: &mut Router,
        out: &mut Outbox,
    ) -> bool {
        let Some((destination, source)) = &frame.names else { return false };
        let names = (destination, source);
        let taken = match (&frame.message, &mut self.prober) {
            (Message::Policy(policy), _) => self.handle_policy(now, names, policy, router, out),
            (Message::QosAck(ack), _) => self.handle_ack(now, names, ack, router, out),
            (Message::PathReply(reply), _) => self.handle_path(names, reply, out),
            (Message::ProbeReply(reply), Some(prober)) => {
                prober.on_reply(received_at, reply, out).then_some(()).ok_or(DropReason::Unsolicited)
            }
            (Message::TaskReport(report), Some(prober)) => {
                prober.on_report(report, out).then_some(()).ok_or(DropReason::Unsolicited)
            }
            (Message::Nack(nack), _) => return self.handle_nack(now, nack, out),
            // Only the SCSC receives reports (POL-12); probes and tasks are for pods.
            (Message::Telemetry(_) | Message::PathQuery(_), _) => Err(DropReason::WrongRole),
            _ => return false,
        };
        if let Err(reason) = taken {
            self.count(ProtocolCounter::QosRefused);
            out.dropped(port, reason);
            let detail = frame.message.message_type().to_string();
            let port = port.map_or_else(|| "-".to_owned(), |p| self.context.port_label(p));
            out.event(EventKind::Dropped { port, reason, detail });
        }
        true
    }

    fn count(&mut self, counter: ProtocolCounter) {
        self.counters.count(counter);
    }

    // ===== policies =====

    fn handle_policy(
        &mut self,
        now: Timestamp,
        (destination, source): (&Name, &Name),
        signed: &Signed<Policy>,
        router: &mut Router,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        self.check(destination, source, signed)?;
        let policy = &signed.body;
        let outcome = self.policies.take(now, policy);
        let refusal = match &outcome {
            Outcome::Install { superseded } => {
                if let Some(label) = superseded {
                    router.clear_policy(now, *label, out);
                }
                let active = self.install(now, policy, router, out);
                self.policies.set_active(policy.label, active);
                let reason = (!active).then_some(DropReason::PolicyUnreachable);
                report(policy, active, reason, out);
                reason
            }
            Outcome::Removed { held } => {
                if *held {
                    router.clear_policy(now, policy.label, out);
                    report(policy, false, None, out);
                }
                None
            }
            Outcome::Refreshed | Outcome::Duplicate => {
                let inactive = self.policies.get(policy.label).is_some_and(|held| !held.active);
                inactive.then_some(DropReason::PolicyUnreachable)
            }
            Outcome::Refused(reason) => {
                report(policy, false, Some(*reason), out);
                Some(*reason)
            }
        };
        self.count(if refusal.is_none() {
            ProtocolCounter::PoliciesAccepted
        } else {
            ProtocolCounter::PoliciesRefused
        });
        self.probe_labels(now);
        let ack = QosAck { sequence: policy.version, label: policy.label, refusal };
        let ack = Message::QosAck(self.context.keys.sign_routed(source, &self.context.name, ack));
        router.route(now, source, ack, policy.label, 0, out);
        Ok(())
    }

    /// Checks that the signer uses its own name, addresses this node and is an SCSC; then the signature. Cheap checks
    /// come first: any node that can send to this one can cause them.
    fn check<T: damc_wire::message::SignedBody>(
        &mut self,
        destination: &Name,
        source: &Name,
        signed: &Signed<T>,
    ) -> Result<(), DropReason> {
        if !self.context.speaks_in_own_name(source, signed) || *destination != self.context.name {
            return Err(DropReason::NotAuthorised);
        }
        let verified = self.verifier.verify_routed(destination, source, signed, &[Role::Scsc]);
        verified.map_err(|e| e.drop_reason())
    }

    /// Puts a policy into force; returns false if its next hop is not a full neighbour (yet).
    fn install(&mut self, now: Timestamp, policy: &Policy, router: &mut Router, out: &mut Outbox) -> bool {
        let (next_hop, ingress) = match &policy.action {
            PolicyAction::Ingress { next_hop } => (next_hop.clone(), true),
            PolicyAction::Transit { next_hop } => (next_hop.clone(), false),
            // Delivery to a pod needs no label; a released node forwards by its plain routes.
            PolicyAction::Egress | PolicyAction::Released | PolicyAction::Withdrawn => {
                router.clear_policy(now, policy.label, out);
                return true;
            }
        };
        let route = PolicyRoute {
            label: policy.label,
            source: policy.source.clone(),
            prefix: policy.prefix.clone(),
            exact: router.lsdb().prefix(&policy.prefix).any(|e| e.body.exact),
            next_hop: Some(next_hop),
            ingress,
        };
        router.set_policy(now, route, out)
    }

    /// Reports policies that came into force or fell out of it because their next hop came or went.
    fn watch_policies(&mut self, now: Timestamp, router: &Router, out: &mut Outbox) {
        let in_force = |policy: &Policy| next_hop(&policy.action).is_none() || router.policy_active(policy.label);
        let changed = self.policies.watch(in_force);
        for held in &changed {
            report(&held.policy, held.active, (!held.active).then_some(DropReason::PolicyUnreachable), out);
        }
        if !changed.is_empty() {
            self.probe_labels(now);
        }
    }

    fn expire_policies(&mut self, now: Timestamp, router: &mut Router, out: &mut Outbox) {
        let ended = self.policies.expire(now);
        for policy in &ended {
            router.clear_policy(now, policy.label, out);
            report(policy, false, Some(DropReason::PolicyExpired), out);
        }
        if !ended.is_empty() {
            self.probe_labels(now);
        }
    }

    /// Directs probes along the label paths that begin here and are in force.
    fn probe_labels(&mut self, now: Timestamp) {
        let Some(prober) = &mut self.prober else { return };
        let begins_here = |p: &Policy| matches!(p.action, PolicyAction::Ingress { .. });
        let active = self.policies.iter().filter(|held| held.active).map(|held| &held.policy);
        let labels = active.filter(|policy| begins_here(policy));
        prober.set_labels(now, &labels.map(|p| (p.label, p.prefix.clone())).collect());
    }

    // ===== measuring and reporting =====

    fn follow_routes(&mut self, now: Timestamp, prefixes: &BTreeSet<Name>, router: &mut Router, out: &mut Outbox) {
        if prefixes.iter().any(Name::is_reserved) {
            self.scsc = find_scsc(router.lsdb());
        }
        if let Some(prober) = &mut self.prober {
            for name in prefixes.iter().filter(|name| !name.is_reserved()) {
                let serving = router.lsdb().prefix(name).find(|entry| !entry.body.exact);
                prober.set_target(now, name, serving.map(|entry| entry.origin));
            }
        }
        self.send_reports(now, router, out);
    }

    /// Reports, now that it is known what passed the ports.
    pub fn handle_counts(&mut self, now: Timestamp, counts: &[PortCount], router: &mut Router, out: &mut Outbox) {
        self.rates.count(now, counts);
        let paths = self.prober.as_ref().map(|prober| prober.news(now)).unwrap_or_default();
        self.reporter.submit(now, paths, self.report_links(router));
        self.send_reports(now, router, out);
    }

    fn report_links(&self, router: &Router) -> Vec<LinkReport> {
        let link = |(port, neighbour, _): (PortId, &NodeId, Role)| {
            let (quality, rates) = (router.link_quality(port), self.rates.of(port));
            LinkReport {
                neighbour: neighbour.clone(),
                delay_ns: quality.delay_ns,
                jitter_ns: quality.jitter_ns,
                loss_ppm: quality.loss_ppm,
                tx_bps: rates.tx_bps,
                rx_bps: rates.rx_bps,
                bandwidth_bps: None,
            }
        };
        router.full_neighbours().map(link).collect()
    }

    fn send_reports(&mut self, now: Timestamp, router: &mut Router, out: &mut Outbox) {
        let Some(scsc) = self.scsc.clone() else { return };
        while let Some(telemetry) = self.reporter.poll_transmit(now) {
            let signed = self.context.keys.sign_routed(&scsc, &self.context.name, telemetry);
            router.route(now, &scsc, Message::Telemetry(signed), 0, 0, out);
        }
    }

    fn handle_ack(
        &mut self,
        now: Timestamp,
        (destination, source): (&Name, &Name),
        ack: &Signed<QosAck>,
        router: &mut Router,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        self.check(destination, source, ack)?;
        if ack.body.label != 0 || !self.reporter.on_ack(ack.body.sequence) {
            return Err(DropReason::Unsolicited);
        }
        self.send_reports(now, router, out);
        Ok(())
    }

    /// Handles negative replies to class 4: a refused probe counts as missed, other messages are repeated anyway.
    fn handle_nack(&mut self, now: Timestamp, nack: &Nack, out: &mut Outbox) -> bool {
        if let Some(prober) = &mut self.prober
            && prober.on_nack(now, nack, out)
        {
            return true;
        }
        matches!(nack.answered, MessageType::Telemetry | MessageType::PathQuery)
    }

    // ===== commands =====

    /// Takes a command with its handle; true where it was for this part.
    pub fn handle_command(
        &mut self,
        now: Timestamp,
        (handle, command): (u64, &Command),
        router: &mut Router,
        out: &mut Outbox,
    ) -> bool {
        match command {
            Command::Probe => {
                if let Some(prober) = &mut self.prober {
                    prober.probe_now(now);
                }
                self.handle_timeout(now, router, out);
                true
            }
            Command::QueryPath { target } => {
                self.next_request = self.next_request.wrapping_add(2);
                self.queries.push(Query {
                    handle,
                    request: self.next_request,
                    target: target.clone(),
                    send_at: now,
                    give_up_at: now + QUERY_PATIENCE,
                });
                self.handle_timeout(now, router, out);
                true
            }
            _ => false,
        }
    }

    fn handle_path(
        &mut self,
        (destination, source): (&Name, &Name),
        reply: &Signed<PathReply>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        self.check(destination, source, reply)?;
        let waiting = self.queries.iter().position(|q| q.request == reply.body.request);
        let query = self.queries.remove(waiting.ok_or(DropReason::Unsolicited)?);
        out.push(Output::Path { handle: query.handle, path: reply.body.path.clone(), cost: reply.body.cost });
        Ok(())
    }

    fn send_queries(&mut self, now: Timestamp, router: &mut Router, out: &mut Outbox) {
        for given_up in self.queries.extract_if(.., |q| now >= q.give_up_at) {
            out.push(Output::Path { handle: given_up.handle, path: Vec::new(), cost: 0 });
        }
        let Some(scsc) = self.scsc.clone() else { return };
        for query in self.queries.iter_mut().filter(|q| now >= q.send_at) {
            query.send_at = now + QUERY_REPEAT;
            let body = PathQuery { request: query.request, target: query.target.clone() };
            let signed = self.context.keys.sign_routed(&scsc, &self.context.name, body);
            router.route(now, &scsc, Message::PathQuery(signed), 0, 0, out);
        }
    }

    // ===== time =====

    /// Carries out everything that is due.
    pub fn handle_timeout(&mut self, now: Timestamp, router: &mut Router, out: &mut Outbox) {
        self.expire_policies(now, router, out);
        if let Some(prober) = &mut self.prober
            && prober.next_timeout().is_some_and(|due| now >= due)
        {
            let mut send = Vec::new();
            prober.handle_timeout(now, &mut send, out);
            for Transmit { destination, message, flow, label } in send {
                router.route(now, &destination, message, flow, label, out);
            }
        }
        if now >= self.next_report {
            let interval = Duration::from_millis(self.context.timers.telemetry_interval_ms.max(1));
            self.next_report = (self.next_report + interval).max(now + interval / 2);
            out.push(Output::CountPorts);
        }
        self.send_reports(now, router, out);
        self.send_queries(now, router, out);
    }

    /// Time at which [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let reachable = self.scsc.is_some();
        let queries = self.queries.iter().map(|q| if reachable { q.send_at.min(q.give_up_at) } else { q.give_up_at });
        [
            Some(self.next_report),
            self.reporter.next_timeout().filter(|_| reachable),
            self.prober.as_ref().and_then(Prober::next_timeout),
            self.policies.next_expiry(),
            queries.min(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // ===== views =====

    /// `/policies`: policies held, and at an SG its own measurements.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> PoliciesView {
        let policy = |held: &super::policies::Held| {
            let p = &held.policy;
            let active = held.active;
            PolicyView {
                label: p.label,
                version: p.version,
                recipient: p.recipient.to_string(),
                source: p.source.to_string(),
                prefix: p.prefix.to_string(),
                action: action_kind(&p.action),
                next_hop: next_hop(&p.action).map(ToString::to_string),
                expires_in_ms: u64::try_from(held.expires_at.since(now).as_millis()).unwrap_or(u64::MAX),
                active,
                problem: (!active).then_some(DropReason::PolicyUnreachable),
            }
        };
        let measured = self.prober.as_ref().map(Prober::measurements).unwrap_or_default();
        let path = |m: super::prober::Measured| PathView {
            source: self.context.node.to_string(),
            target: m.report.target.to_string(),
            label: m.report.label,
            delay_ns: m.report.delay_ns,
            jitter_ns: m.report.jitter_ns,
            bandwidth_bps: m.report.bandwidth_bps,
            loss_ppm: m.report.loss_ppm,
            available: m.report.available,
            violated: Vec::new(),
            age_ms: u64::try_from(now.since(m.at).as_millis()).unwrap_or(u64::MAX),
        };
        PoliciesView {
            node: self.context.node.to_string(),
            policies: self.policies.iter().map(policy).collect(),
            paths: measured.into_iter().map(path).collect(),
            ordered: Vec::new(),
        }
    }

    /// Counters for `protocol`.
    #[must_use]
    pub fn counters(&self) -> ProtocolCounters {
        let mut all = self.counters.clone();
        all.add(ProtocolCounter::TelemetryBacklog, self.reporter.backlog() as u64);
        all
    }
}

/// The SCSC the domain reports to.
fn find_scsc(lsdb: &Lsdb) -> Option<Name> {
    let attached = lsdb.prefixes().filter(|e| matches!(&e.body.proof, Proof::Attached(_)));
    attached.map(|e| e.prefix.clone()).min()
}

fn report(policy: &Policy, active: bool, reason: Option<DropReason>, out: &mut Outbox) {
    out.event(EventKind::Policy {
        label: policy.label,
        version: policy.version,
        prefix: policy.prefix.to_string(),
        action: action_kind(&policy.action),
        active,
        reason: reason.map(|r| r.to_string()),
    });
}

/// Kind of an action, for views and events.
pub(crate) const fn action_kind(action: &PolicyAction) -> PolicyActionKind {
    match action {
        PolicyAction::Ingress { .. } => PolicyActionKind::Ingress,
        PolicyAction::Transit { .. } => PolicyActionKind::Transit,
        PolicyAction::Egress => PolicyActionKind::Egress,
        PolicyAction::Released => PolicyActionKind::Released,
        PolicyAction::Withdrawn => PolicyActionKind::Withdrawn,
    }
}

/// Next hop of an action that has one.
pub(crate) const fn next_hop(action: &PolicyAction) -> Option<&NodeId> {
    match action {
        PolicyAction::Ingress { next_hop } | PolicyAction::Transit { next_hop } => Some(next_hop),
        PolicyAction::Egress | PolicyAction::Released | PolicyAction::Withdrawn => None,
    }
}
