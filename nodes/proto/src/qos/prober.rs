//! The SG's prober: which paths are probed, and when (drafts, section 6 (3); QOS-01 to QOS-05).
//!
//! Every path has its own period and phase, so that probes spread evenly over the interval for any number of targets.
//! Every few probes, a packet train replaces a single probe. An SG has one train in progress at a time and keeps its
//! other probes clear of it. It spaces trains so that they take at most a twentieth of the path's capacity.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::Timers;
use damc_mgmt::event::EventKind;
use damc_wire::message::{Message, Nack, PathReport, Probe, Task, TaskReport};
use damc_wire::{MessageType, Millis, Name, Timestamp};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::path_probe::PathProbe;
use crate::io::Outbox;

/// Bytes of a probe PDU without padding and names: header, TLV headers and body.
const PROBE_OVERHEAD: usize = 75;
/// Golden ratio in 1/2^32: multiples of it modulo 1 spread evenly for any count.
const GOLDEN: u64 = 2_654_435_769;
/// Most tasks of one target that may still be answered.
const TASKS_KEPT: usize = 4;

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

/// Health of a target, by its task reports.
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
    timers: Timers,
    own_name_len: usize,
    rng: ChaCha8Rng,
    paths: BTreeMap<PathKey, PathProbe>,
    health: BTreeMap<Name, Health>,
    /// Number of paths added so far; determines the phases.
    added: u64,
    quiet_until: Timestamp,
    next: Option<Timestamp>,
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
            health: BTreeMap::new(),
            added: 0,
            quiet_until: Timestamp::ZERO,
            next: None,
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.timers.probe_interval_ms.max(1))
    }

    fn task_interval(&self) -> Duration {
        Duration::from_millis(self.timers.task_interval_ms.max(1))
    }

    /// Sets the targets of plain probes and tasks: every known service instance.
    pub fn set_targets(&mut self, now: Timestamp, targets: &BTreeSet<Name>) {
        self.paths.retain(|(name, label), _| *label != 0 || targets.contains(name));
        self.health.retain(|name, _| targets.contains(name));
        for target in targets {
            if !self.paths.contains_key(&(target.clone(), 0)) {
                let first = self.add_path(now, (target.clone(), 0));
                let share = first.since(now) * u32::try_from(self.timers.task_interval_ms).unwrap_or(u32::MAX)
                    / u32::try_from(self.timers.probe_interval_ms.max(1)).unwrap_or(1);
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

    /// Sets the label paths to probe: label → prefix. A label never changes its path, so its measurements stay valid.
    pub fn set_labels(&mut self, now: Timestamp, labels: &BTreeMap<u32, Name>) {
        self.paths.retain(|(name, label), _| *label == 0 || labels.get(label) == Some(name));
        for (&label, prefix) in labels {
            if !self.paths.contains_key(&(prefix.clone(), label)) {
                self.add_path(now, (prefix.clone(), label));
            }
        }
        self.plan();
    }

    fn add_path(&mut self, now: Timestamp, key: PathKey) -> Timestamp {
        let phase = self.added.wrapping_mul(GOLDEN) & 0xffff_ffff;
        self.added += 1;
        let interval = u128::from(self.timers.probe_interval_ms) * 1_000_000;
        let first = now + Duration::from_nanos(u64::try_from((interval * u128::from(phase)) >> 32).unwrap_or(0));
        let (test, flow) = (self.rng.next_u64(), self.rng.next_u32());
        self.paths.insert(key, PathProbe::new(test, flow, now, first));
        first
    }

    /// Makes every path due now.
    pub fn probe_now(&mut self, now: Timestamp) {
        self.quiet_until = now;
        for path in self.paths.values_mut() {
            path.next_probe = path.next_probe.min(now);
        }
        self.plan();
    }

    /// Sends probes and tasks that are due, and counts missing answers.
    pub fn handle_timeout(&mut self, now: Timestamp, send: &mut Vec<Transmit>, out: &mut Outbox) {
        for path in self.paths.values_mut() {
            path.expire(now, &self.timers);
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
            path.next_probe += interval;
            if path.next_probe <= now {
                path.next_probe = now + interval;
            }
            if !train_under_way && path.wants_train(now, &self.timers) {
                let fixed = PROBE_OVERHEAD + self.own_name_len + target.wire().len();
                let padding = usize::from(self.timers.train_bytes).saturating_sub(fixed);
                let probes = path.train(now, &self.timers, u16::try_from(padding).unwrap_or(0));
                self.quiet_until = now + path.train_duration(&self.timers);
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

    /// Handles a reflected probe; returns false if it is not awaited.
    pub fn on_reply(&mut self, received_at: Timestamp, reply: &Probe, out: &mut Outbox) -> bool {
        let Some(path) = self.paths.values_mut().find(|p| p.test == reply.test) else { return false };
        path.reflected(received_at, reply, &self.timers);
        self.update_availability(out);
        true
    }

    /// Handles a target's report on itself; returns false if it is not awaited.
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

    /// Handles a negative reply to a probe or task; returns false if it answers neither.
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
        for path in self.paths.values_mut().filter(|p| !p.answers(&self.timers)) {
            path.lost();
        }
        for (target, health) in &mut self.health {
            let key = (target.clone(), 0);
            let Some(path) = self.paths.get(&key) else { continue };
            let answers = path.answers(&self.timers);
            let healthy = health.misses < self.timers.miss_limit && health.report.as_ref().is_none_or(|r| r.healthy);
            if health.available != (answers && healthy) {
                health.available = !health.available;
                out.event(EventKind::Availability { target: target.to_string(), available: health.available });
            }
        }
    }

    /// Measurements of every path.
    #[must_use]
    pub fn measurements(&self) -> Vec<Measured> {
        self.paths.iter().map(|((target, label), path)| self.measured(target, *label, path)).collect()
    }

    fn measured(&self, target: &Name, label: u32, path: &PathProbe) -> Measured {
        let health = self.health.get(target).filter(|_| label == 0);
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
    pub const fn next_timeout(&self) -> Option<Timestamp> {
        self.next
    }

    fn plan(&mut self) {
        let probes = self.paths.values().map(|p| p.next_probe.max(self.quiet_until)).min();
        let expiries = self.paths.values().filter_map(|p| p.next_expiry(&self.timers)).min();
        let tasks = self.health.values().map(|h| h.next_task).min();
        self.next = [probes, expiries, tasks].into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use damc_wire::Frame;

    const MS: u64 = 1_000_000;

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    fn targets(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|n| name(n)).collect()
    }

    /// A prober in virtual time, with the messages it sent and the reflections in transit.
    struct Bench {
        prober: Prober,
        now: Timestamp,
        out: Outbox,
        sent: Vec<(Timestamp, Transmit)>,
        flying: Vec<(Timestamp, Probe)>,
    }

    impl Bench {
        fn new(timers: &Timers) -> Self {
            let prober = Prober::new(timers, &name("/damc/example/sg-1"), 1);
            Self { prober, now: Timestamp::ZERO, out: Outbox::default(), sent: Vec::new(), flying: Vec::new() }
        }

        /// Runs until `end_ms`; `path` returns a probe's delays in both directions, or `None` if it is lost.
        fn run(&mut self, end_ms: u64, mut path: impl FnMut(&Transmit, &Probe) -> Option<(u64, u64)>) {
            let end = Timestamp::from_millis(end_ms);
            loop {
                let reply = self.flying.iter().map(|(at, _)| *at).min();
                let next = self.prober.next_timeout().into_iter().chain(reply).min().unwrap_or(end);
                if next > end {
                    break;
                }
                self.now = self.now.max(next);
                let arrived: Vec<Probe> =
                    self.flying.extract_if(.., |(at, _)| *at <= self.now).map(|(_, p)| p).collect();
                for probe in arrived {
                    assert!(self.prober.on_reply(self.now, &probe, &mut self.out));
                }
                let mut send = Vec::new();
                self.prober.handle_timeout(self.now, &mut send, &mut self.out);
                for t in send {
                    if let Message::Probe(p) = &t.message
                        && let Some((there, back)) = path(&t, p)
                    {
                        let t2 = 5_000 * MS + self.now.nanos() + there;
                        let reply = Probe { t2, t3: t2 + MS, padding: 0, ..p.clone() };
                        self.flying.push((Timestamp(self.now.nanos() + there + MS + back), reply));
                    }
                    self.sent.push((self.now, t));
                }
            }
            self.now = end;
        }

        fn answer_tasks(&mut self, healthy: bool, self_test_ns: u64) {
            for (_, t) in &self.sent {
                if let Message::Task(task) = &t.message {
                    let report = TaskReport { task: task.task, healthy, load_ppm: 1, served: 0, self_test_ns };
                    self.prober.on_report(&report, &mut self.out);
                }
            }
        }

        fn report(&self, target: &str, label: u32) -> PathReport {
            let all = self.prober.measurements();
            all.into_iter().find(|m| m.report.target == name(target) && m.report.label == label).unwrap().report
        }
    }

    fn quiet() -> Timers {
        Timers { task_interval_ms: 3_600_000, ..Timers::default() }
    }

    #[test]
    fn qos_01_each_target_is_probed_at_the_period_and_probes_never_bunch() {
        let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
        b.prober.set_targets(b.now, &targets(&["/A/1", "/A/4", "/B/1", "/B/4", "/C/2", "/D/3"]));
        b.run(4000, |_, _| Some((MS, MS)));
        let of_b4: Vec<u64> =
            b.sent.iter().filter(|(_, t)| t.destination == name("/B/4")).map(|(at, _)| at.millis()).collect();
        assert!((19..=21).contains(&of_b4.len()), "{}", of_b4.len());
        assert!(of_b4.windows(2).all(|w| (180..=220).contains(&(w[1] - w[0]))), "{of_b4:?}");
        b.sent.retain(|(_, t)| matches!(t.message, Message::Probe(_)));
        let gaps: Vec<u64> = b.sent.windows(2).map(|w| w[1].0.millis() - w[0].0.millis()).collect();
        assert!(gaps.iter().all(|g| *g >= 10), "two probes at one time: {gaps:?}");
    }

    #[test]
    fn qos_01_new_targets_and_probe_now_need_no_waiting() {
        let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
        b.prober.set_targets(b.now, &targets(&["/A/1"]));
        b.run(1000, |_, _| Some((MS, MS)));
        b.prober.set_targets(b.now, &targets(&["/A/1", "/D/3"]));
        b.run(1250, |_, _| Some((MS, MS)));
        assert!(b.sent.iter().any(|(_, t)| t.destination == name("/D/3")));
        let before = b.sent.len();
        b.prober.probe_now(b.now);
        let mut send = Vec::new();
        b.prober.handle_timeout(b.now, &mut send, &mut b.out);
        let hit: BTreeSet<Name> = send.into_iter().map(|t| t.destination).collect();
        assert_eq!((hit, before > 5), (targets(&["/A/1", "/D/3"]), true));
    }

    #[test]
    fn qos_05_delay_and_bandwidth_of_a_path_are_measured() {
        let mut b = Bench::new(&quiet());
        b.prober.set_targets(b.now, &targets(&["/B/4"]));
        let gap = 1214 * 8 * 1000 / 50;
        b.run(6000, |_, p| Some((20 * MS + u64::from(p.train_index) * gap, 20 * MS)));
        let r = b.report("/B/4", 0);
        assert_eq!((r.delay_ns, r.jitter_ns, r.loss_ppm, r.available), (Some(20 * MS), Some(0), 0, true));
        assert!(r.bandwidth_bps.unwrap().abs_diff(50_000_000) < 500_000, "{:?}", r.bandwidth_bps);
        let trains = b.sent.iter().filter(|(_, t)| matches!(&t.message, Message::Probe(p) if p.train_length > 1));
        assert_eq!(trains.count() % 32, 0);
    }

    #[test]
    fn trains_have_the_asked_size_and_come_one_at_a_time() {
        let mut b = Bench::new(&quiet());
        b.prober.set_targets(b.now, &targets(&["/A/1", "/B/4", "/C/2"]));
        b.run(5000, |_, p| Some((150 * MS + u64::from(p.train_index) * MS, MS)));
        let source = name("/damc/example/sg-1");
        let mut under_way: Option<(u64, u32, Timestamp)> = None;
        for (at, t) in &b.sent {
            let Message::Probe(p) = &t.message else { continue };
            if p.train_length == 1 {
                continue;
            }
            let pdu = Frame::plain(t.destination.clone(), source.clone(), t.flow, t.message.clone()).encode().unwrap();
            assert_eq!(pdu.len(), 1200);
            if let Some((test, sequence, since)) = under_way.replace((p.test, p.sequence, *at))
                && (test, sequence) != (p.test, p.sequence)
            {
                assert!(at.since(since).as_millis() >= 180, "a second train while one is under way");
            }
        }
        assert!(under_way.is_some());
    }

    #[test]
    fn qos_03_silence_is_noticed_within_three_periods_and_so_is_the_return() {
        let mut b = Bench::new(&quiet());
        b.prober.set_targets(b.now, &targets(&["/B/4"]));
        b.run(2000, |_, _| Some((MS, MS)));
        assert!(b.report("/B/4", 0).available);
        b.run(2000 + 3 * 200 + 210, |_, _| None);
        let r = b.report("/B/4", 0);
        assert_eq!((r.available, r.delay_ns), (false, None), "what was measured before the outage is void");
        b.run(3300, |_, _| Some((MS, MS)));
        let r = b.report("/B/4", 0);
        assert_eq!((r.available, r.delay_ns), (true, Some(MS)));
    }

    #[test]
    fn qos_02_a_target_that_ignores_or_fails_its_tasks_is_unavailable() {
        let mut b = Bench::new(&Timers { train_every: 0, ..Timers::default() });
        b.prober.set_targets(b.now, &targets(&["/B/4"]));
        b.run(1100, |_, _| Some((MS, MS)));
        b.answer_tasks(true, 1);
        assert!(b.report("/B/4", 0).available);
        b.run(5100, |_, _| Some((MS, MS)));
        assert!(!b.report("/B/4", 0).available, "it reflects probes, but three tasks went unanswered");
        b.answer_tasks(true, 1);
        assert!(b.report("/B/4", 0).available);
        b.run(6000, |_, _| Some((MS, MS)));
        b.answer_tasks(false, 1);
        assert!(!b.report("/B/4", 0).available, "ill by its own judgement");
    }

    #[test]
    fn con_04_neither_a_rosy_self_report_nor_a_claimed_holding_time_hides_the_path() {
        let mut b = Bench::new(&Timers { train_every: 0, ..Timers::default() });
        b.prober.set_targets(b.now, &targets(&["/B/4"]));
        b.run(3000, |_, _| Some((50 * MS, 50 * MS)));
        b.answer_tasks(true, 100_000);
        assert_eq!(b.report("/B/4", 0).delay_ns, Some(50 * MS), "the self-test took 0.1 ms, it says");
        let mut path = PathProbe::new(1, 1, Timestamp::ZERO, Timestamp::ZERO);
        let probe = path.single(Timestamp::ZERO);
        let lie = Probe { t1: 99 * MS, t2: 0, t3: 98 * MS, ..probe };
        path.reflected(Timestamp::from_millis(100), &lie, &Timers::default());
        assert_eq!(path.metrics(false, true).delay_ns, Some(40 * MS), "at most 20 ms of holding are believed");
    }

    #[test]
    fn label_paths_are_probed_beside_the_plain_path() {
        let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
        b.prober.set_targets(b.now, &targets(&["/A/1"]));
        b.prober.set_labels(b.now, &[(7, name("/A/1"))].into());
        b.run(2000, |t, _| Some(if t.label == 7 { (3 * MS, 3 * MS) } else { (40 * MS, 40 * MS) }));
        assert_eq!(b.report("/A/1", 0).delay_ns, Some(40 * MS));
        assert_eq!(b.report("/A/1", 7).delay_ns, Some(3 * MS));
        b.prober.set_labels(b.now, &BTreeMap::new());
        assert_eq!(b.prober.measurements().len(), 1);
    }

    #[test]
    fn negative_replies_count_as_misses_at_once() {
        let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
        b.prober.set_targets(b.now, &targets(&["/A/1"]));
        b.run(650, |_, _| None);
        let probes = |(_, t): &(Timestamp, Transmit)| match &t.message {
            Message::Probe(p) => Some(p.clone()),
            _ => None,
        };
        let p = b.sent.iter().find_map(probes).unwrap();
        let nack = Nack {
            reason: damc_wire::RefusalReason::NoRoute,
            node: damc_wire::NodeId::new("sr-left").unwrap(),
            answered: MessageType::Probe,
            destination: name("/A/1"),
            body: p.test.to_be_bytes().to_vec(),
        };
        for _ in 0..3 {
            assert!(b.prober.on_nack(b.now, &nack, &mut b.out));
        }
        assert!(!b.report("/A/1", 0).available);
        assert!(!b.prober.on_nack(b.now, &Nack { answered: MessageType::Data, ..nack }, &mut b.out));
    }
}
