//! The SG's prober: which paths are probed when (drafts section 6 (3); QOS-01 to QOS-05).
//!
//! Every path has its own period and a phase of its own, so that probes spread evenly over the interval whatever the
//! number of targets. Every few probes a packet train takes the place of a single probe; an SG has one train under way at
//! a time, keeps its other probes clear of it, and spaces trains so that they take at most a twentieth of the path.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::Pace;
use damc_mgmt::event::EventKind;
use damc_wire::message::{Message, Nack, PathReport, Probe, Task, TaskReport};
use damc_wire::{MessageType, Millis, Name, Timestamp};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::path_probe::PathProbe;
use crate::io::Outbox;

/// Bytes of a probe PDU besides padding and its two names: header, TLV headers and body.
const PROBE_OVERHEAD: usize = 80;
/// Golden ratio in 1/2^32: multiples of it modulo 1 spread evenly for any count.
const GOLDEN: u64 = 2_654_435_769;
/// Tasks of one target that may still be answered.
const TASKS_KEPT: usize = 4;

/// A routed message the prober wants sent from the SG's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Destination.
    pub destination: Name,
    /// What.
    pub message: Message,
    /// Flow.
    pub flow: u32,
    /// Label, 0 for the plain path.
    pub label: u32,
}

/// A measurement with its time; its age is filled in when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The report, with age 0.
    pub report: PathReport,
    /// When the newest sample was taken.
    pub at: Timestamp,
}

fn transmit(target: &Name, label: u32, flow: u32, probe: Probe) -> Transmit {
    Transmit { destination: target.clone(), message: Message::Probe(probe), flow, label }
}

/// Which path: target and label.
type PathKey = (Name, u32);

/// What tasks told about a target.
#[derive(Clone, Debug)]
struct Health {
    next_task: Timestamp,
    outstanding: Vec<(u64, Timestamp)>,
    misses: u32,
    report: Option<TaskReport>,
    available: bool,
}

/// The prober of one SG.
#[derive(Debug)]
pub struct Prober {
    pace: Pace,
    own_name_len: usize,
    rng: ChaCha8Rng,
    paths: BTreeMap<PathKey, PathProbe>,
    health: BTreeMap<Name, Health>,
    /// Paths added so far: numbers the phases.
    added: u64,
    quiet_until: Timestamp,
    next: Option<Timestamp>,
}

impl Prober {
    /// Probes nothing yet. `own_name` is the source of all probes.
    #[must_use]
    pub fn new(pace: &Pace, own_name: &Name, seed: u64) -> Self {
        Self {
            pace: pace.clone(),
            own_name_len: own_name.wire().len(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            paths: BTreeMap::new(),
            health: BTreeMap::new(),
            added: 0,
            quiet_until: Timestamp::ZERO,
            next: None,
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.pace.probe_interval_ms.max(1))
    }

    fn task_interval(&self) -> Duration {
        Duration::from_millis(self.pace.task_interval_ms.max(1))
    }

    /// Sets the targets of plain probes and tasks: every known service instance.
    pub fn set_targets(&mut self, now: Timestamp, targets: &BTreeSet<Name>) {
        self.paths.retain(|(name, label), _| *label != 0 || targets.contains(name));
        self.health.retain(|name, _| targets.contains(name));
        for target in targets {
            if !self.paths.contains_key(&(target.clone(), 0)) {
                let first = self.add_path(now, (target.clone(), 0), 0);
                let share = first.since(now) * u32::try_from(self.pace.task_interval_ms).unwrap_or(u32::MAX)
                    / u32::try_from(self.pace.probe_interval_ms.max(1)).unwrap_or(1);
                let health = Health {
                    next_task: now + share,
                    outstanding: Vec::new(),
                    misses: 0,
                    report: None,
                    available: true,
                };
                self.health.insert(target.clone(), health);
            }
        }
        self.plan();
    }

    /// Sets the label paths to probe: label → prefix and policy version. A new version starts a new measurement.
    pub fn set_labels(&mut self, now: Timestamp, labels: &BTreeMap<u32, (Name, u64)>) {
        self.paths.retain(|(name, label), path| {
            *label == 0 || labels.get(label).is_some_and(|(prefix, version)| prefix == name && *version == path.version)
        });
        for (&label, (prefix, version)) in labels {
            if !self.paths.contains_key(&(prefix.clone(), label)) {
                self.add_path(now, (prefix.clone(), label), *version);
            }
        }
        self.plan();
    }

    fn add_path(&mut self, now: Timestamp, key: PathKey, version: u64) -> Timestamp {
        let phase = self.added.wrapping_mul(GOLDEN) & 0xffff_ffff;
        self.added += 1;
        let interval = u128::from(self.pace.probe_interval_ms) * 1_000_000;
        let first = now + Duration::from_nanos(u64::try_from((interval * u128::from(phase)) >> 32).unwrap_or(0));
        let (test, flow) = (self.rng.next_u64(), self.rng.next_u32());
        self.paths.insert(key, PathProbe::new(test, flow, version, now, first));
        first
    }

    /// Makes every path due at once.
    pub fn probe_now(&mut self, now: Timestamp) {
        self.quiet_until = now;
        for path in self.paths.values_mut() {
            path.next_probe = path.next_probe.min(now);
        }
        self.plan();
    }

    /// Sends what is due and counts what is missing.
    pub fn handle_timeout(&mut self, now: Timestamp, send: &mut Vec<Transmit>, out: &mut Outbox) {
        for path in self.paths.values_mut() {
            path.expire(now, &self.pace);
        }
        self.send_tasks(now, send);
        if now >= self.quiet_until {
            self.send_probes(now, send);
        }
        self.update_availability(out);
        self.plan();
    }

    fn send_probes(&mut self, now: Timestamp, send: &mut Vec<Transmit>) {
        let train_under_way = self.paths.values().any(PathProbe::train_under_way);
        let interval = self.interval();
        for ((target, label), path) in &mut self.paths {
            if now < path.next_probe {
                continue;
            }
            path.next_probe = path.next_probe + interval;
            if path.next_probe <= now {
                path.next_probe = now + interval;
            }
            if !train_under_way && path.wants_train(now, &self.pace) {
                let fixed = PROBE_OVERHEAD + self.own_name_len + target.wire().len();
                let padding = usize::from(self.pace.train_bytes).saturating_sub(fixed);
                let probes = path.train(now, &self.pace, u16::try_from(padding).unwrap_or(0));
                self.quiet_until = now + path.train_duration(&self.pace);
                send.extend(probes.into_iter().map(|probe| transmit(target, *label, path.flow, probe)));
                break;
            }
            let probe = path.single(now);
            send.push(transmit(target, *label, path.flow, probe));
        }
    }

    fn send_tasks(&mut self, now: Timestamp, send: &mut Vec<Transmit>) {
        let interval = self.task_interval();
        for (target, health) in &mut self.health {
            if now < health.next_task {
                continue;
            }
            health.next_task = (health.next_task + interval).max(now + interval / 2);
            if health.outstanding.iter().any(|(_, sent)| now >= *sent + interval / 2) {
                health.misses = health.misses.saturating_add(1);
            }
            if health.outstanding.len() == TASKS_KEPT {
                health.outstanding.remove(0);
            }
            let task = self.rng.next_u64();
            health.outstanding.push((task, now));
            let flow = self.rng.next_u32();
            send.push(Transmit { destination: target.clone(), message: Message::Task(Task { task }), flow, label: 0 });
        }
    }

    /// Takes a reflected probe; false where nobody waits for it.
    pub fn on_reply(&mut self, received_at: Timestamp, reply: &Probe, out: &mut Outbox) -> bool {
        let Some(path) = self.paths.values_mut().find(|p| p.test == reply.test) else { return false };
        path.reflected(received_at, reply, &self.pace);
        self.update_availability(out);
        true
    }

    /// Takes a target's report on itself; false where nobody waits for it.
    pub fn on_report(&mut self, report: &TaskReport, out: &mut Outbox) -> bool {
        let waiting = |h: &Health| h.outstanding.iter().position(|(task, _)| *task == report.task);
        let Some((health, at)) = self.health.values_mut().find_map(|h| waiting(h).map(|at| (h, at))) else {
            return false;
        };
        health.outstanding.drain(..=at);
        health.misses = 0;
        health.report = Some(report.clone());
        self.update_availability(out);
        true
    }

    /// Takes a negative reply to a probe or task; false where it answers neither.
    pub fn on_nack(&mut self, now: Timestamp, nack: &Nack, out: &mut Outbox) -> bool {
        match nack.answered {
            MessageType::Probe => {
                // The body of a probe starts with its test number.
                let test = nack.body.first_chunk().map(|b| u64::from_be_bytes(*b));
                if let Some(path) = self.paths.values_mut().find(|p| Some(p.test) == test) {
                    path.undeliverable(now);
                    self.update_availability(out);
                }
                true
            }
            MessageType::Task => true,
            _ => false,
        }
    }

    fn update_availability(&mut self, out: &mut Outbox) {
        for path in self.paths.values_mut().filter(|p| !p.answers(&self.pace)) {
            path.lost();
        }
        for (target, health) in &mut self.health {
            let key = (target.clone(), 0);
            let Some(path) = self.paths.get(&key) else { continue };
            let answers = path.answers(&self.pace);
            let healthy = health.misses < self.pace.miss_limit && health.report.as_ref().is_none_or(|r| r.healthy);
            if health.available != (answers && healthy) {
                health.available = !health.available;
                out.event(EventKind::Availability { target: target.to_string(), available: health.available });
            }
        }
    }

    /// What is known of every path.
    #[must_use]
    pub fn measurements(&self) -> Vec<Measured> {
        self.paths.iter().map(|((target, label), path)| self.measured(target, *label, path)).collect()
    }

    fn measured(&self, target: &Name, label: u32, path: &PathProbe) -> Measured {
        let health = self.health.get(target).filter(|_| label == 0);
        let available = path.answers(&self.pace) && health.is_none_or(|h| h.available);
        let metrics = path.metrics(label != 0, path.answers(&self.pace));
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

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Timestamp> {
        self.next
    }

    fn plan(&mut self) {
        let probes = self.paths.values().map(|p| p.next_probe.max(self.quiet_until)).min();
        let expiries = self.paths.values().filter_map(|p| p.next_expiry(&self.pace)).min();
        let tasks = self.health.values().map(|h| h.next_task).min();
        self.next = [probes, expiries, tasks].into_iter().flatten().min();
    }
}
