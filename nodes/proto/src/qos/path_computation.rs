//! The SCSC's working part: takes telemetry and acknowledgements, decides, and issues policies.
//!
//! A version is the larger of the last version plus one and the SCSC's clock in milliseconds. A restarted SCSC
//! therefore continues above its earlier versions, as the monotonic clock of its host does. Labels are random numbers
//! of 32 bits. A node that holds a label for another path refuses it, and a new label is drawn.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::command::Preset;
use damc_mgmt::config::Timers;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{OrderedPreset, PathView, PolicyView, ProtocolCounters};
use damc_mgmt::words::{PolicyActionKind, ProtocolCounter};
use damc_wire::message::{Policy, QosAck, Telemetry};
use damc_wire::{DropReason, Name, NodeId, Role, Timestamp};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::agent::{action_kind, next_hop};
use super::estimate::World;
use super::path_table::PathTable;
use super::rollout::{Progress, Rollout};
use super::scheduler::{CandidatePath, Memory, Steered, Verdict, decide, is_observed, plain_nodes};
use super::threshold::{Metric, ThresholdTable};
use super::topology::{Catalogue, Topology};
use crate::io::Outbox;

/// Step of the version when a node holds a newer one; larger than any clock difference after a restart on another host.
const STALE_JUMP: u64 = 1 << 40;
/// Interval of checks of decisions that wait for fresh telemetry.
const RECHECK: Duration = Duration::from_millis(100);

/// The state of the replica, and the nodes that the SCSC reaches now.
#[derive(Debug, Default)]
pub struct Ted {
    /// Graph.
    pub topology: Topology,
    /// Services.
    pub catalogue: Catalogue,
    /// Reachable nodes.
    pub reachable: BTreeSet<NodeId>,
    /// The replica is still being filled: measurements are stored, decisions wait.
    pub incomplete: bool,
}

/// A candidate, and its rollout to the nodes.
#[derive(Debug)]
struct Active {
    candidate: CandidatePath,
    rollout: Rollout,
}

/// State of one name at one SG.
#[derive(Debug, Default)]
struct Steering {
    memory: Memory,
    /// In force.
    current: Option<Active>,
    /// The candidate that is being rolled out.
    pending: Option<Active>,
}

/// The SCSC's working part; see the module.
#[derive(Debug)]
pub struct PathComputation {
    timers: Timers,
    thresholds: ThresholdTable,
    table: PathTable,
    steerings: BTreeMap<Steered, Steering>,
    /// Policies being withdrawn.
    withdrawing: Vec<Rollout>,
    /// Paths of all labels that may be in force.
    candidates: BTreeMap<(NodeId, u32), Vec<NodeId>>,
    violated: BTreeMap<(NodeId, Name), Vec<Metric>>,
    last_version: u64,
    rng: ChaCha8Rng,
    next_poll: Option<Timestamp>,
    counters: ProtocolCounters,
}

impl PathComputation {
    /// A path_computation without measurements. Labels are drawn from `seed`, which must be new at every start.
    #[must_use]
    pub fn new(timers: &Timers, thresholds: ThresholdTable, seed: u64) -> Self {
        Self {
            timers: timers.clone(),
            thresholds,
            table: PathTable::new(timers),
            steerings: BTreeMap::new(),
            withdrawing: Vec::new(),
            candidates: BTreeMap::new(),
            violated: BTreeMap::new(),
            last_version: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            next_poll: None,
            counters: ProtocolCounters::default(),
        }
    }

    fn count(&mut self, counter: ProtocolCounter) {
        self.counters.count(counter);
    }

    // ===== inputs =====

    /// Handles a report whose signature and sender have been checked.
    pub fn on_telemetry(
        &mut self,
        now: Timestamp,
        (from, role): (&NodeId, Role),
        telemetry: &Telemetry,
        ted: &Ted,
        out: &mut Outbox,
    ) {
        let Some(touched) = self.table.take(now, from, role, telemetry) else {
            return self.count(ProtocolCounter::TelemetryDuplicates);
        };
        self.count(ProtocolCounter::TelemetryAccepted);
        let mut concerned = BTreeSet::new();
        for (source, target, label) in touched {
            if label == 0 {
                self.watch_violations(now, &source, &target, out);
                concerned.extend(ted.catalogue.names_of(&target).cloned());
            } else {
                concerned.insert(target);
            }
        }
        for prefix in concerned.into_iter().filter(|_| !ted.incomplete) {
            self.consider(now, &Steered { source: from.clone(), prefix }, ted, out);
        }
    }

    /// Presets other conditions for the traffic of one SG, or of all, to a prefix, or to all. What is measured already is judged
    /// by them at once.
    pub fn on_thresholds(
        &mut self,
        now: Timestamp,
        (prefix, source): (Option<&Name>, Option<&NodeId>),
        preset: Preset,
        ted: &Ted,
        out: &mut Outbox,
    ) {
        self.thresholds.order(prefix.cloned(), source.cloned(), preset);
        let plain = self.table.all().map(|(key, _)| key).filter(|(_, _, label)| *label == 0);
        let measured: Vec<(NodeId, Name)> = plain.map(|(source, target, _)| (source.clone(), target.clone())).collect();
        let mut concerned = BTreeSet::new();
        for (source, target) in measured {
            self.watch_violations(now, &source, &target, out);
            let names = ted.catalogue.names_of(&target);
            concerned.extend(names.map(|prefix| Steered { source: source.clone(), prefix: prefix.clone() }));
        }
        for steered in concerned.into_iter().filter(|_| !ted.incomplete) {
            self.consider(now, &steered, ted, out);
        }
    }

    /// What was ordered at run time.
    #[must_use]
    pub fn ordered_thresholds(&self) -> Vec<OrderedPreset> {
        self.thresholds.ordered()
    }

    /// Handles a change of the replica or of the reachable nodes: candidates may be broken.
    pub fn on_topology(&mut self, now: Timestamp, ted: &Ted, out: &mut Outbox) {
        self.table.prune(now);
        if ted.incomplete {
            return;
        }
        let steered: Vec<Steered> = self.steerings.keys().cloned().collect();
        for steered in steered {
            let Some(steering) = self.steerings.get_mut(&steered) else { continue };
            let broken = steering.pending.take_if(|p| !ted.topology.carries(&p.candidate.path));
            if let Some(broken) = broken {
                self.fade(now, broken, "broken", out);
            }
            self.consider(now, &steered, ted, out);
        }
    }

    /// Handles an acknowledgement or refusal of a policy; returns false if none is awaited.
    pub fn on_ack(&mut self, now: Timestamp, node: &NodeId, ack: &QosAck) -> bool {
        let actives = self.steerings.values_mut().flat_map(|s| s.current.iter_mut().chain(&mut s.pending));
        let mut rollouts = actives.map(|a| &mut a.rollout).chain(&mut self.withdrawing);
        let Some(rollout) = rollouts.find(|r| r.label == ack.label) else { return false };
        rollout.on_ack(now, node, ack.sequence, ack.refusal)
    }

    // ===== decisions =====

    fn watch_violations(&mut self, now: Timestamp, source: &NodeId, target: &Name, out: &mut Outbox) {
        let preset = self.thresholds.of(source, target);
        let Some(state) = self.table.fresh(now, source, target, 0) else { return };
        let violated = state.metrics().violations(&preset);
        let key = (source.clone(), target.clone());
        let before = self.violated.get(&key).map_or(&[][..], Vec::as_slice);
        if before != violated {
            out.event(EventKind::Violation {
                source: source.to_string(),
                target: target.to_string(),
                metrics: violated.clone(),
            });
            if !violated.is_empty() {
                self.count(ProtocolCounter::Violations);
            }
            self.violated.insert(key, violated);
        }
    }

    fn consider(&mut self, now: Timestamp, steered: &Steered, ted: &Ted, out: &mut Outbox) {
        let mut steering = self.steerings.remove(steered).unwrap_or_default();
        if steering.pending.is_none() {
            let world = World {
                now,
                topology: &ted.topology,
                catalogue: &ted.catalogue,
                table: &self.table,
                candidates: &self.candidates,
            };
            let preset = self.thresholds.of(&steered.source, &steered.prefix);
            let current = steering.current.as_ref().map(|a| (&a.candidate, a.rollout.label));
            match decide(&world, &self.timers, &preset, steered, current, &mut steering.memory) {
                Verdict::Stay => {}
                Verdict::Steer(candidate) => {
                    let mut left = plain_nodes(&world, steered);
                    left.extend(steering.current.iter().flat_map(|a| a.candidate.path.iter().cloned()));
                    steering.pending = self.issue(now, steered, candidate, &left, out);
                    steering.memory.last_change = Some(now);
                }
                Verdict::Return => {
                    if let Some(active) = steering.current.take() {
                        self.fade(now, active, "return", out);
                    }
                    steering.memory.last_change = Some(now);
                }
            }
        }
        if steering.current.is_some() || steering.pending.is_some() || steering.memory.last_change.is_some() {
            self.steerings.insert(steered.clone(), steering);
        }
    }

    fn issue(
        &mut self,
        now: Timestamp,
        steered: &Steered,
        candidate: CandidatePath,
        left: &BTreeSet<NodeId>,
        out: &mut Outbox,
    ) -> Option<Active> {
        let (label, version) = (self.draw_label(), self.next_version(now));
        let rollout =
            Rollout::new(now, (label, version), steered.prefix.clone(), (&candidate.path, left), &self.timers)?;
        self.candidates.insert((steered.source.clone(), label), candidate.path.clone());
        self.count(ProtocolCounter::PoliciesIssued);
        tell(&rollout, version, PolicyActionKind::Ingress, false, None, out);
        Some(Active { candidate, rollout })
    }

    /// A label that no policy of this SCSC has. If the node holds it from before a restart, it refuses it.
    fn draw_label(&mut self) -> u32 {
        loop {
            let label = self.rng.next_u32();
            if label != 0 && !self.candidates.keys().any(|(_, known)| *known == label) {
                return label;
            }
        }
    }

    fn next_version(&mut self, now: Timestamp) -> u64 {
        self.last_version = now.millis().max(self.last_version + 1);
        self.last_version
    }

    /// Starts the withdrawal of a policy.
    fn fade(&mut self, now: Timestamp, mut active: Active, reason: &str, out: &mut Outbox) {
        let version = self.next_version(now);
        active.rollout.withdraw(now, version);
        self.count(ProtocolCounter::PoliciesWithdrawn);
        tell(&active.rollout, version, PolicyActionKind::Withdrawn, false, Some(reason.to_owned()), out);
        self.withdrawing.push(active.rollout);
    }

    // ===== carrying out =====

    /// Advances all rollouts, and returns the policies to send now.
    pub fn poll(&mut self, now: Timestamp, ted: &Ted, out: &mut Outbox) -> Vec<Policy> {
        let mut send = Vec::new();
        let steered: Vec<Steered> = self.steerings.keys().cloned().collect();
        for steered in &steered {
            let Some(mut steering) = self.steerings.remove(steered) else { continue };
            self.poll_pending(now, &mut steering, ted, out, &mut send);
            self.poll_current(now, steered, &mut steering, ted, out, &mut send);
            self.steerings.insert(steered.clone(), steering);
        }
        let reachable = |n: &NodeId| ted.reachable.contains(n);
        for rollout in &mut self.withdrawing {
            send.extend(rollout.poll_transmit(now, reachable));
        }
        let ended = |r: &Rollout| r.progress(now, reachable) != Progress::Running || r.is_over(now);
        for rollout in self.withdrawing.extract_if(.., |r| ended(r)) {
            self.candidates.remove(&(rollout.source, rollout.label));
        }
        self.plan(now);
        send
    }

    fn poll_pending(
        &mut self,
        now: Timestamp,
        steering: &mut Steering,
        ted: &Ted,
        out: &mut Outbox,
        send: &mut Vec<Policy>,
    ) {
        let reachable = |n: &NodeId| ted.reachable.contains(n);
        let Some(mut pending) = steering.pending.take() else { return };
        send.extend(pending.rollout.poll_transmit(now, reachable));
        match pending.rollout.progress(now, reachable) {
            Progress::Running => steering.pending = Some(pending),
            Progress::Done => {
                tell(&pending.rollout, self.last_version, PolicyActionKind::Ingress, true, None, out);
                if let Some(before) = steering.current.replace(pending) {
                    self.fade(now, before, "replaced", out);
                }
                steering.memory.last_change = Some(now);
            }
            Progress::Failed(reason) => {
                if reason == Some(DropReason::StalePolicy) {
                    self.last_version += STALE_JUMP;
                }
                steering.memory.last_change = Some(now);
                let hold = Duration::from_millis(self.timers.policy_hold_ms);
                if reason.is_none_or(|r| r == DropReason::PolicyUnreachable) {
                    steering.memory.avoid.push((pending.candidate.path.clone(), now + hold * 2));
                }
                self.fade(now, pending, reason.map_or("unanswered", DropReason::label), out);
            }
        }
    }

    fn poll_current(
        &mut self,
        now: Timestamp,
        steered: &Steered,
        steering: &mut Steering,
        ted: &Ted,
        out: &mut Outbox,
        send: &mut Vec<Policy>,
    ) {
        let reachable = |n: &NodeId| ted.reachable.contains(n);
        let Some(mut current) = steering.current.take() else { return };
        if now >= current.rollout.refresh_at() && self.observed(now, steered, ted) {
            let version = self.next_version(now);
            current.rollout.refresh(now, version);
        }
        send.extend(current.rollout.poll_transmit(now, reachable));
        if let Progress::Failed(reason) = current.rollout.progress(now, reachable) {
            steering.memory.last_change = Some(now);
            self.fade(now, current, reason.map_or("unanswered", DropReason::label), out);
        } else if current.rollout.is_over(now) {
            // Telemetry went stale: nobody refreshed it, the nodes are back on their plain routes (POL-14).
            tell(
                &current.rollout,
                self.last_version,
                PolicyActionKind::Withdrawn,
                false,
                Some("expired".to_owned()),
                out,
            );
            self.candidates.remove(&(current.rollout.source.clone(), current.rollout.label));
        } else {
            steering.current = Some(current);
        }
    }

    fn observed(&self, now: Timestamp, steered: &Steered, ted: &Ted) -> bool {
        let (topology, catalogue) = (&ted.topology, &ted.catalogue);
        is_observed(&World { now, topology, catalogue, table: &self.table, candidates: &self.candidates }, steered)
    }

    fn plan(&mut self, now: Timestamp) {
        let actives = self.steerings.values().flat_map(|s| s.current.iter().chain(&s.pending));
        let all = actives.map(|a| &a.rollout).chain(&self.withdrawing);
        self.next_poll = all.map(Rollout::next_timeout).min().map(|at| at.max(now + RECHECK.min(self.shortest())));
    }

    /// Shortest interval of regular checks.
    fn shortest(&self) -> Duration {
        Duration::from_millis(self.timers.retransmit_ms.max(2) / 2)
    }

    /// Time at which [`Self::poll`] is due.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Timestamp> {
        self.next_poll
    }

    // ===== answers and views =====

    /// The path of the traffic of `source` to `target` now: the policy's if there is one, otherwise the plain one
    /// (POL-09), and its cost, the sum of the configured link costs. The path is empty if there is none.
    #[must_use]
    pub fn path(&self, source: &NodeId, target: &Name, ted: &Ted) -> (Vec<NodeId>, u64) {
        let steered = Steered { source: source.clone(), prefix: target.clone() };
        let current = self.steerings.get(&steered).and_then(|s| s.current.as_ref());
        let whole = current.map(|a| &a.candidate.path).filter(|path| ted.topology.carries(path));
        let path = whole.cloned().or_else(|| plain_path(source, target, ted)).unwrap_or_default();
        let index = |n: &NodeId| ted.topology.index(n);
        let link = |w: &[NodeId]| ted.topology.cost((index(&w[0])?, index(&w[1])?));
        let cost = path.windows(2).filter_map(link).map(u64::from).sum();
        (path, cost)
    }

    /// Policies issued, by label and recipient.
    #[must_use]
    pub fn policies_view(&self, now: Timestamp) -> Vec<PolicyView> {
        let actives = self.steerings.values().flat_map(|s| s.current.iter().chain(&s.pending));
        let mut rollouts: Vec<&Rollout> = actives.map(|a| &a.rollout).chain(&self.withdrawing).collect();
        rollouts.sort_by_key(|r| r.label);
        let views = rollouts.into_iter().flat_map(|rollout| {
            rollout.recipients.iter().map(move |(node, r)| PolicyView {
                label: rollout.label,
                version: r.version,
                recipient: node.to_string(),
                source: rollout.source.to_string(),
                prefix: rollout.prefix.to_string(),
                action: action_kind(&r.action),
                next_hop: next_hop(&r.action).map(ToString::to_string),
                expires_in_ms: r.expires_at.map_or(0, |e| u64::try_from(e.since(now).as_millis()).unwrap_or(u64::MAX)),
                active: r.acknowledged,
                problem: r.refusal,
            })
        });
        views.collect()
    }

    /// Newest measurement of each path. Delays along labels are corrected for the return path (see
    /// [`World::along_label`]).
    #[must_use]
    pub fn paths_view(&self, now: Timestamp, ted: &Ted) -> Vec<PathView> {
        let (topology, catalogue) = (&ted.topology, &ted.catalogue);
        let world = World { now, topology, catalogue, table: &self.table, candidates: &self.candidates };
        let view = |((source, target, label), state): (&(NodeId, Name, u32), &super::path_table::PathState)| {
            let raw = state.metrics();
            let metrics = self.active_candidate(source, *label).map_or(raw, |candidate| {
                candidate.path.last().map_or(raw, |origin| world.along_label(raw, source, origin, &candidate.instance))
            });
            let violated = metrics.violations(&self.thresholds.of(source, target));
            PathView {
                source: source.to_string(),
                target: target.to_string(),
                label: *label,
                delay_ns: metrics.delay_ns,
                jitter_ns: metrics.jitter_ns,
                bandwidth_bps: metrics.bandwidth_bps,
                loss_ppm: state.report.loss_ppm,
                available: metrics.available,
                violated,
                age_ms: u64::try_from(now.since(state.measured_at).as_millis()).unwrap_or(u64::MAX),
            }
        };
        self.table.all().map(view).collect()
    }

    fn active_candidate(&self, source: &NodeId, label: u32) -> Option<&CandidatePath> {
        let of_source = self.steerings.iter().filter(|(s, _)| s.source == *source);
        let mut actives = of_source.flat_map(|(_, s)| s.current.iter().chain(&s.pending));
        actives.find(|a| a.rollout.label == label).map(|a| &a.candidate)
    }

    /// Counters for `protocol`.
    #[must_use]
    pub const fn counters(&self) -> &ProtocolCounters {
        &self.counters
    }
}

fn tell(
    rollout: &Rollout,
    version: u64,
    action: PolicyActionKind,
    active: bool,
    reason: Option<String>,
    out: &mut Outbox,
) {
    let (label, prefix) = (rollout.label, rollout.prefix.to_string());
    out.event(EventKind::Policy { label, version, prefix, action, active, reason });
}

/// A shortest path to the nearest member.
fn plain_path(source: &NodeId, target: &Name, ted: &Ted) -> Option<Vec<NodeId>> {
    let topology = &ted.topology;
    let from = topology.index(source)?;
    let distances = topology.plain_distances(from);
    let members = ted.catalogue.members(target).iter();
    let reach = |origin: &NodeId, metric: u32| {
        let to = topology.index(origin)?;
        Some((distances.to(to)? + u64::from(metric), to))
    };
    let (_, to) = members.filter_map(|m| reach(&m.origin, m.metric)).min()?;
    let path = topology.least(from, to, |_, cost| Some(u64::from(cost)))?;
    Some(path.into_iter().map(|n| topology.node(n).clone()).collect())
}
