//! The SG's prober: which paths are probed, and when (drafts, section 6 (3); QOS-01 to QOS-05).
//!
//! Every path has its own period and phase, so that probes spread evenly over the interval for any number of targets.
//! Every few probes, a packet train replaces a single probe. An SG has one train in progress at a time and keeps its
//! other probes clear of it. It spaces trains so that they take at most a twentieth of the path's capacity.
//!
//! An SG has a budget of probes for each origin and one in all. Where more names than that are advertised, all periods of an
//! origin are longer, so that nobody can make others probe without end. What an answer or a timer costs depends on the one
//! path it concerns, however many there are.

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::Timers;
use damc_mgmt::event::EventKind;
use damc_wire::message::{Message, Nack, PathReport, Probe, Task, TaskReport};
use damc_wire::{MessageType, Millis, Name, NodeId, Timestamp};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::agenda::Agenda;
use super::path_probe::PathProbe;
use crate::io::Outbox;

/// Bytes of a probe PDU without padding and names: header, TLV headers and body.
const PROBE_OVERHEAD: usize = 91;
/// Golden ratio in 1/2^32: multiples of it modulo 1 spread evenly for any count.
const GOLDEN: u64 = 2_654_435_769;
/// Most tasks of one target that may still be answered.
const TASKS_KEPT: usize = 4;
/// Probes a second to the names of one origin, and of an SG in all. Tasks are as many fewer as their interval is longer.
pub const PROBES_PER_ORIGIN: u32 = 64;
const PROBES_PER_SG: u32 = 512;
/// Least gap between two probes, so that none waits behind another.
const PROBE_GAP: Duration = Duration::from_millis(1);
/// Paths with a sample within this many probe intervals are reported.
const NEWS: u32 = 2;

/// A routed message to send from the SG's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Destination.
    pub destination: Name,
    /// What.
    pub message: Message,
    /// Flow.
    pub flow: u32,
    /// Label; 0 for the plain path.
    pub label: u32,
}

/// A measurement with its time; its age is filled in when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The report, with age 0.
    pub report: PathReport,
    /// Time of the newest sample.
    pub at: Timestamp,
}

fn transmit(target: &Name, label: u32, flow: u32, probe: Probe) -> Transmit {
    Transmit { destination: target.clone(), message: Message::Probe(probe), flow, label }
}

/// Key of a path: target and label.
type PathKey = (Name, u32);

/// A target of plain probes and tasks: who advertises it, and its health by its task reports.
#[derive(Clone, Debug)]
struct Target {
    origin: NodeId,
    outstanding: Vec<(u64, Timestamp)>,
    misses: u32,
    report: Option<TaskReport>,
    available: bool,
}

/// When something may be sent on one of an origin's paths, one after the other.
#[derive(Debug)]
struct Slots {
    gap: Duration,
    clear_at: Timestamp,
    /// Paths that have a slot.
    reserved: BTreeSet<PathKey>,
}

impl Slots {
    const fn new(gap: Duration) -> Self {
        Self { gap, clear_at: Timestamp::ZERO, reserved: BTreeSet::new() }
    }

    /// The slot of a path that is due; none where it is now. So each path is put off once at most.
    fn take(&mut self, now: Timestamp, path: &PathKey) -> Option<Timestamp> {
        if self.reserved.remove(path) {
            return None;
        }
        let slot = self.clear_at.max(now);
        self.clear_at = slot + self.gap;
        (slot > now).then(|| {
            self.reserved.insert(path.clone());
            slot
        })
    }

    /// Frees what the paths to a name have reserved.
    fn forget(&mut self, name: &Name) {
        let paths = (name.clone(), 0)..=(name.clone(), u32::MAX);
        let gone: Vec<PathKey> = self.reserved.range(paths).cloned().collect();
        gone.iter().for_each(|path| _ = self.reserved.remove(path));
    }
}

/// An origin of targets.
#[derive(Debug)]
struct Origin {
    targets: u32,
    probes: Slots,
    tasks: Slots,
}

/// The prober of one SG.
#[derive(Debug)]
pub struct Prober {
    timers: Timers,
    own_name_len: usize,
    rng: ChaCha8Rng,
    paths: BTreeMap<PathKey, PathProbe>,
    by_test: BTreeMap<u64, PathKey>,
    targets: BTreeMap<Name, Target>,
    by_task: BTreeMap<u64, Name>,
    origins: BTreeMap<NodeId, Origin>,
    /// Slots of labels that lead to no target: those of pools.
    of_pools: Slots,
    /// Number of paths added so far; determines the phases.
    added: u64,
    quiet_until: Timestamp,
    /// The path whose train was the last.
    train: Option<PathKey>,
    probes: Agenda<PathKey>,
    expiries: Agenda<PathKey>,
    tasks: Agenda<Name>,
    /// When each path had its newest sample.
    news: Agenda<PathKey>,
    /// Paths and targets looked at: what it all costs.
    looked_at: u64,
}

impl Prober {
    /// A prober without targets. `own_name` is the source of all probes.
    #[must_use]
    pub fn new(timers: &Timers, own_name: &Name, seed: u64) -> Self {
        Self {
            timers: timers.clone(),
            own_name_len: own_name.wire().len(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            paths: BTreeMap::new(),
            by_test: BTreeMap::new(),
            targets: BTreeMap::new(),
            by_task: BTreeMap::new(),
            origins: BTreeMap::new(),
            of_pools: Slots::new(Duration::from_secs(1) / PROBES_PER_ORIGIN),
            added: 0,
            quiet_until: Timestamp::ZERO,
            train: None,
            probes: Agenda::default(),
            expiries: Agenda::default(),
            tasks: Agenda::default(),
            news: Agenda::default(),
            looked_at: 0,
        }
    }

    /// Period of the probes of a target, or of a label to it: the configured one, or what the budgets allow.
    fn interval(&self, key: &PathKey) -> Duration {
        let configured = Duration::from_millis(self.timers.probe_interval_ms.max(1));
        let Some(target) = self.targets.get(&key.0) else { return configured };
        let of_origin = self.origins.get(&target.origin).map_or(1, |origin| origin.targets);
        let in_all = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        let allowed = |names: u32, rate: u32| Duration::from_secs(1) * names / rate;
        configured.max(allowed(of_origin, PROBES_PER_ORIGIN)).max(allowed(in_all, PROBES_PER_SG))
    }

    /// Period of the tasks of a target: as much longer than configured as that of its probes.
    fn task_interval(&self, target: &Name) -> Duration {
        let (probe, task) = (self.timers.probe_interval_ms.max(1), self.timers.task_interval_ms.max(1));
        let interval = self.interval(&(target.clone(), 0)).as_nanos() * u128::from(task) / u128::from(probe);
        Duration::from_nanos(u64::try_from(interval).unwrap_or(u64::MAX))
    }

    // ===== what is probed =====

    /// Makes a known service instance a target of plain probes and tasks, with the SG that advertises it, or ends that.
    pub fn set_target(&mut self, now: Timestamp, name: &Name, origin: Option<&NodeId>) {
        if self.targets.get(name).map(|target| &target.origin) == origin {
            return;
        }
        let known = self.targets.get_mut(name).map(|target| target.origin.clone());
        if let Some(before) = &known {
            self.leave_origin(before, name);
        }
        let Some(origin) = origin else { return self.remove_target(name) };
        self.join_origin(origin);
        if let Some(target) = self.targets.get_mut(name) {
            target.origin = origin.clone();
            return;
        }
        let (outstanding, report) = (Vec::new(), None);
        self.targets
            .insert(name.clone(), Target { origin: origin.clone(), outstanding, misses: 0, report, available: true });
        let share = self.add_path(now, (name.clone(), 0));
        let first = (self.task_interval(name).as_nanos() * u128::from(share)) >> 32;
        self.tasks.set(name, Some(now + Duration::from_nanos(u64::try_from(first).unwrap_or(u64::MAX))));
    }

    fn join_origin(&mut self, origin: &NodeId) {
        let gap = Duration::from_secs(1) / PROBES_PER_ORIGIN;
        let (probe, task) = (self.timers.probe_interval_ms.max(1), self.timers.task_interval_ms.max(1));
        let of_tasks = gap * u32::try_from(task).unwrap_or(u32::MAX) / u32::try_from(probe).unwrap_or(u32::MAX);
        let new = || Origin { targets: 0, probes: Slots::new(gap), tasks: Slots::new(of_tasks) };
        self.origins.entry(origin.clone()).or_insert_with(new).targets += 1;
    }

    fn leave_origin(&mut self, origin: &NodeId, name: &Name) {
        let Some(known) = self.origins.get_mut(origin) else { return };
        known.targets -= 1;
        known.probes.forget(name);
        known.tasks.forget(name);
        if known.targets == 0 {
            self.origins.remove(origin);
        }
    }

    fn remove_target(&mut self, name: &Name) {
        self.remove_path(&(name.clone(), 0));
        self.tasks.set(name, None);
        for (task, _) in self.targets.remove(name).into_iter().flat_map(|target| target.outstanding) {
            self.by_task.remove(&task);
        }
    }

    /// Sets the label paths to probe: label → prefix. A label never changes its path, so its measurements stay valid.
    pub fn set_labels(&mut self, now: Timestamp, labels: &BTreeMap<u32, Name>) {
        let over = |(name, label): &&PathKey| *label != 0 && labels.get(label) != Some(name);
        let over: Vec<PathKey> = self.paths.keys().filter(over).cloned().collect();
        over.iter().for_each(|key| self.remove_path(key));
        for (&label, prefix) in labels {
            let key = (prefix.clone(), label);
            if !self.paths.contains_key(&key) {
                self.add_path(now, key);
            }
        }
    }

    /// Adds a path; returns its phase as a share of an interval, in 1/2^32.
    fn add_path(&mut self, now: Timestamp, key: PathKey) -> u64 {
        let share = self.added.wrapping_mul(GOLDEN) & 0xffff_ffff;
        self.added += 1;
        let phase = (self.interval(&key).as_nanos() * u128::from(share)) >> 32;
        let first = now + Duration::from_nanos(u64::try_from(phase).unwrap_or(u64::MAX));
        let (test, flow) = (self.rng.next_u64(), self.rng.next_u32());
        self.by_test.insert(test, key.clone());
        self.probes.set(&key, Some(first));
        self.news.set(&key, Some(now));
        self.paths.insert(key, PathProbe::new(test, flow, now, first));
        share
    }

    fn remove_path(&mut self, key: &PathKey) {
        if let Some(path) = self.paths.remove(key) {
            self.by_test.remove(&path.test);
        }
        self.slots_of(&key.0).reserved.remove(key);
        self.probes.set(key, None);
        self.expiries.set(key, None);
        self.news.set(key, None);
    }

    /// Makes every path due now.
    pub fn probe_now(&mut self, now: Timestamp) {
        self.quiet_until = now;
        let all: Vec<PathKey> = self.probes.keys().cloned().collect();
        for key in all {
            let at = self.probes.time_of(&key).map(|at| at.min(now));
            self.probes.set(&key, at);
        }
    }

    // ===== time =====

    /// Sends probes and tasks that are due, and counts missing answers.
    pub fn handle_timeout(&mut self, now: Timestamp, send: &mut Vec<Transmit>, out: &mut Outbox) {
        while let Some((_, key)) = self.expiries.pop_due(now) {
            self.on_path(&key, out, |path, timers| path.expire(now, timers));
        }
        while let Some((at, target)) = self.tasks.pop_due(now) {
            if let Some(slot) = self.origin_of(&target).and_then(|origin| origin.tasks.take(now, &(target.clone(), 0)))
            {
                self.tasks.set(&target, Some(slot));
                continue;
            }
            send.push(self.task((at, now), &target, out));
        }
        while now >= self.quiet_until
            && let Some((at, key)) = self.probes.pop_due(now)
        {
            if let Some(slot) = self.slots_of(&key.0).take(now, &key) {
                self.probes.set(&key, Some(slot));
                continue;
            }
            self.send_probe((at, now), &key, send, out);
        }
    }

    /// Slots of the probes to a target, plain and by labels, or to a pool.
    fn slots_of(&mut self, destination: &Name) -> &mut Slots {
        let origin = self.targets.get(destination).and_then(|target| self.origins.get_mut(&target.origin));
        origin.map_or(&mut self.of_pools, |origin| &mut origin.probes)
    }

    fn origin_of(&mut self, target: &Name) -> Option<&mut Origin> {
        self.origins.get_mut(&self.targets.get(target)?.origin)
    }

    /// Does something about a path, and lets its timers and the health of its target follow. False where it is unknown.
    fn on_path(&mut self, key: &PathKey, out: &mut Outbox, act: impl FnOnce(&mut PathProbe, &Timers)) -> bool {
        self.looked_at += 1;
        let Some(path) = self.paths.get_mut(key) else { return false };
        act(path, &self.timers);
        if !path.answers(&self.timers) {
            path.lost();
        }
        self.expiries.set(key, path.next_expiry(&self.timers));
        self.news.set(key, Some(path.newest()));
        if key.1 == 0 {
            self.judge(&key.0, out);
        }
        true
    }

    /// Sends a probe or a train that was due at `due`. The phase stays, whatever it had to keep clear of.
    fn send_probe(
        &mut self,
        (due, now): (Timestamp, Timestamp),
        key: &PathKey,
        send: &mut Vec<Transmit>,
        out: &mut Outbox,
    ) {
        let interval = self.interval(key);
        self.probes.set(key, Some(if due + interval > now { due + interval } else { now + interval }));
        let busy = self.train.as_ref().and_then(|key| self.paths.get(key)).is_some_and(PathProbe::train_under_way);
        let (target, label) = key;
        let fixed = PROBE_OVERHEAD + self.own_name_len + target.wire().len();
        let padding = usize::from(self.timers.train_bytes).saturating_sub(fixed);
        let (mut is_train, mut clear) = (false, PROBE_GAP);
        self.on_path(key, out, |path, timers| {
            is_train = !busy && path.wants_train(now, timers);
            if is_train {
                let probes = path.train(now, timers, u16::try_from(padding).unwrap_or(0));
                clear = path.train_duration(timers);
                send.extend(probes.into_iter().map(|probe| transmit(target, *label, path.flow, probe)));
            } else {
                let probe = path.single(now);
                send.push(transmit(target, *label, path.flow, probe));
            }
        });
        if is_train {
            self.train = Some(key.clone());
        }
        self.quiet_until = now + clear;
    }

    /// A task for a target, which counts as missed where the one before it was not answered.
    fn task(&mut self, (due, now): (Timestamp, Timestamp), name: &Name, out: &mut Outbox) -> Transmit {
        self.looked_at += 1;
        let interval = self.task_interval(name);
        self.tasks.set(name, Some((due + interval).max(now + interval / 2)));
        let (task, flow) = (self.rng.next_u64(), self.rng.next_u32());
        if let Some(target) = self.targets.get_mut(name) {
            if target.outstanding.iter().any(|(_, sent)| now >= *sent + interval / 2) {
                target.misses = target.misses.saturating_add(1);
            }
            if target.outstanding.len() == TASKS_KEPT {
                let (oldest, _) = target.outstanding.remove(0);
                self.by_task.remove(&oldest);
            }
            target.outstanding.push((task, now));
            self.by_task.insert(task, name.clone());
        }
        self.judge(name, out);
        Transmit { destination: name.clone(), message: Message::Task(Task { task }), flow, label: 0 }
    }

    // ===== answers =====

    /// Handles a reflected probe; returns false if it is not awaited.
    pub fn on_reply(&mut self, received_at: Timestamp, reply: &Probe, out: &mut Outbox) -> bool {
        let Some(key) = self.by_test.get(&reply.test).cloned() else { return false };
        self.on_path(&key, out, |path, timers| path.reflected(received_at, reply, timers))
    }

    /// Handles a target's report on itself; returns false if it is not awaited.
    pub fn on_report(&mut self, report: &TaskReport, out: &mut Outbox) -> bool {
        let Some(name) = self.by_task.get(&report.task).cloned() else { return false };
        self.looked_at += 1;
        let Some(target) = self.targets.get_mut(&name) else { return false };
        let answered = target.outstanding.iter().position(|(task, _)| *task == report.task);
        // Those before it are answered too.
        for (task, _) in target.outstanding.drain(..answered.map_or(0, |at| at + 1)) {
            self.by_task.remove(&task);
        }
        target.misses = 0;
        target.report = Some(report.clone());
        self.judge(&name, out);
        true
    }

    /// Handles a negative reply to a probe or task; returns false if it answers neither.
    pub fn on_nack(&mut self, now: Timestamp, nack: &Nack, out: &mut Outbox) -> bool {
        match nack.answered {
            MessageType::Probe => {
                // The body of a probe starts with its test number.
                let test = nack.body.first_chunk().map(|b| u64::from_be_bytes(*b));
                if let Some(key) = test.and_then(|test| self.by_test.get(&test)).cloned() {
                    self.on_path(&key, out, |path, _| path.undeliverable(now));
                }
                true
            }
            MessageType::Task => true,
            _ => false,
        }
    }

    /// Lets the availability of a target follow its path and its health.
    fn judge(&mut self, name: &Name, out: &mut Outbox) {
        let Some(path) = self.paths.get(&(name.clone(), 0)) else { return };
        let Some(target) = self.targets.get_mut(name) else { return };
        let healthy = target.misses < self.timers.miss_limit && target.report.as_ref().is_none_or(|r| r.healthy);
        if target.available != (path.answers(&self.timers) && healthy) {
            target.available = !target.available;
            out.event(EventKind::Availability { target: name.to_string(), available: target.available });
        }
    }

    // ===== questions =====

    /// Measurements of every path.
    #[must_use]
    pub fn measurements(&self) -> Vec<Measured> {
        self.paths.iter().map(|((target, label), path)| self.measured(target, *label, path)).collect()
    }

    /// Measurements of the paths that are probed at present: what is worth a report.
    #[must_use]
    pub fn news(&self, now: Timestamp) -> Vec<Measured> {
        let span = Duration::from_millis(self.timers.probe_interval_ms.max(self.timers.telemetry_interval_ms)) * NEWS;
        let from = Timestamp(now.nanos().saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)));
        let mut keys: Vec<&PathKey> = self.news.since(from).collect();
        keys.sort_unstable();
        let path = |key: &&PathKey| Some((*key).clone()).zip(self.paths.get(*key));
        keys.iter().filter_map(path).map(|((target, label), path)| self.measured(&target, label, path)).collect()
    }

    fn measured(&self, target: &Name, label: u32, path: &PathProbe) -> Measured {
        let health = self.targets.get(target).filter(|_| label == 0);
        let available = path.answers(&self.timers) && health.is_none_or(|h| h.available);
        let metrics = path.metrics(label != 0, path.answers(&self.timers));
        let report = PathReport {
            target: target.clone(),
            label,
            delay_ns: metrics.delay_ns,
            jitter_ns: metrics.jitter_ns,
            bandwidth_bps: metrics.bandwidth_bps,
            loss_ppm: path.loss_ppm(),
            available,
            self_load_ppm: health.and_then(|h| h.report.as_ref()).map(|r| r.load_ppm),
            age: Millis(0),
        };
        Measured { report, at: path.newest() }
    }

    /// Time at which [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let probes = self.probes.first().map(|at| at.max(self.quiet_until));
        [probes, self.expiries.first(), self.tasks.first()].into_iter().flatten().min()
    }
}
