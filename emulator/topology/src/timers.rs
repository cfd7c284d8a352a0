//! The timers of a run: every period and deadline, derived here and nowhere else.
//!
//! Small labs on quiet hosts run at the protocol's own defaults ([`Timers::default`]). Periods stretch where the lab is so
//! large that their sum would load the host by itself, where links are so slow that answers take longer, and where
//! calibration found the host slow.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use damc_mgmt::config::Timers;
use damc_wire::registry::Role;
use serde::Serialize;

use crate::{Direction, Topology};

/// Echo frames a whole lab may send, per second: each link carries one each way per echo interval.
const ECHO_BUDGET: u64 = 1_600;
/// Frames that path probes and their answers may put on all links of a lab, per second.
const PROBE_BUDGET: u64 = 1_200;
/// Frames that bandwidth trains and their answers may put on all links of a lab, per second: they come in batches,
/// which costs each of them less.
const TRAIN_BUDGET: u64 = 7_000;
/// Detection tasks a whole lab may send, per second.
const TASK_BUDGET: u64 = 200;
/// What an LSA costs a router that takes it for the first time: its signature, its origin's certificate, what follows.
const LSA_COST: Duration = Duration::from_micros(80);
/// No more missed echoes than this, however large the lab.
const MAX_MULTIPLIER: u64 = 10;
/// How far calibration may stretch periods. What is slower than that is inconclusive anyway.
const MAX_STRETCH: f64 = 20.0;

/// Round trips between two threads from which on periods stretch, when two CPUs share the work: the protocol's own periods
/// put so many wake-ups on a lab like Figure 2's that a fifth of the time goes into them then.
const QUIET_ROUND_TRIP_US: f64 = 60.0;
/// More CPUs than this do not help a small lab.
const USEFUL_CPUS: usize = 2;

/// What calibration found about the host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// How much slower than a quiet host this one reacts: 1 for not at all, at most 20.
    pub stretch: f64,
    /// A byte to another thread and back, µs: four system calls and two wake-ups. None where it was not measured.
    pub round_trip_us: Option<f64>,
    /// CPUs that this process may use.
    pub cpus: usize,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { stretch: 1.0, round_trip_us: None, cpus: 0 }
    }
}

impl Calibration {
    /// What follows from a byte's round trip between two threads of a host, and from its CPUs.
    #[must_use]
    pub fn of_host(round_trip: Duration, cpus: usize) -> Self {
        let round_trip_us = round_trip.as_secs_f64() * 1e6;
        let shared = round_trip_us * USEFUL_CPUS as f64 / cpus.clamp(1, USEFUL_CPUS) as f64;
        let stretch = (shared / QUIET_ROUND_TRIP_US).clamp(1.0, MAX_STRETCH);
        Self { stretch, round_trip_us: Some(round_trip_us), cpus }
    }

    /// As somebody wants it, whatever the host is like.
    #[must_use]
    pub fn of(stretch: f64) -> Self {
        Self { stretch, ..Self::default() }
    }

    /// A duration of a quiet host on this one.
    #[must_use]
    pub fn stretched(self, duration: Duration) -> Duration {
        duration.mul_f64(self.factor())
    }

    /// How many of `count` things to do at once, so that each takes as long as on a quiet host: one at least.
    #[must_use]
    pub fn fewer(self, count: u64) -> u64 {
        scaled(count, 1.0 / self.factor()).max(1)
    }

    /// A quantity that has to grow as this host is slower than a quiet one.
    #[must_use]
    pub fn more(self, count: u64) -> u64 {
        scaled(count, self.factor())
    }

    fn factor(self) -> f64 {
        if self.stretch.is_finite() { self.stretch.clamp(1.0, MAX_STRETCH) } else { 1.0 }
    }

    fn scale(self, ms: u64) -> u64 {
        scaled(ms, self.factor())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "periods and counts are far below 2^52 and not negative"
)]
fn scaled(value: u64, factor: f64) -> u64 {
    (value as f64 * factor).ceil() as u64
}

/// The timers of a lab. `echo_ms` is the echo period that somebody asked for: it is taken as it is.
#[must_use]
pub fn derive(topology: &Topology, calibration: Calibration, echo_ms: Option<u64>) -> Timers {
    let base = Timers::default();
    let ms = |ms| calibration.scale(ms);
    let load = Load::of(topology);
    let round_trip = slowest_round_trip_ms(topology);

    let by_size = period(2 * load.links, ECHO_BUDGET);
    let echo = echo_ms.unwrap_or_else(|| ms(base.echo_interval_ms.max(by_size)));
    // What is sent again while the neighbour has not had its turn yet only makes everybody's turn later.
    let retransmit = ms(base.retransmit_ms.max(by_size)).max(round_trip + round_trip / 2);
    let hello = ms(base.hello_interval_ms).max(4 * echo);
    let wanted = topology.qos().probe_interval_ns.map_or(base.probe_interval_ms, |ns| ns.div_ceil(1_000_000));
    let frames = load.paths * load.frames_per_probe;
    let probe = ms(wanted.max(period(frames, PROBE_BUDGET)));
    let train_packets = frames * u64::from(base.train_length);
    let train_every = (period(train_packets, TRAIN_BUDGET)).div_ceil(probe).max(u64::from(base.train_every));
    // Judgement keeps its proportions: so many reports to notice, to hold, to forget, however far apart they are.
    let telemetry = probe.max(ms(base.telemetry_interval_ms));
    let reports = |default_ms: u64| default_ms.max(default_ms / base.telemetry_interval_ms * telemetry);

    Timers {
        hello_interval_ms: hello,
        dead_interval_ms: base.dead_interval_ms.div_ceil(base.hello_interval_ms) * hello,
        echo_interval_ms: echo,
        echo_multiplier: echo_ms.map_or_else(|| multiplier(&load, calibration, echo), |_| base.echo_multiplier),
        retransmit_ms: retransmit,
        retransmit_max_ms: ms(base.retransmit_max_ms).max(4 * retransmit),
        auth_timeout_ms: ms(base.auth_timeout_ms).max(4 * round_trip),
        unreachable_grace_ms: ms(base.unreachable_grace_ms),
        probe_interval_ms: probe,
        train_every: u32::try_from(train_every).unwrap_or(u32::MAX),
        task_interval_ms: ms(base.task_interval_ms.max(period(load.paths, TASK_BUDGET))),
        telemetry_interval_ms: telemetry,
        policy_lifetime_ms: reports(base.policy_lifetime_ms),
        policy_hold_ms: reports(base.policy_hold_ms),
        staleness_ms: reports(base.staleness_ms),
        ..base
    }
}

/// Missed echoes that end an adjacency. While a network starts each router takes the LSAs of all others: a neighbour that
/// has not had its turn yet is not dead.
fn multiplier(load: &Load, calibration: Calibration, echo_ms: u64) -> u8 {
    let cpus = u32::try_from(calibration.cpus).unwrap_or(u32::MAX).max(1);
    let lsas = u32::try_from(load.routers * load.routers).unwrap_or(u32::MAX);
    let busy_ms = calibration.scale(u64::try_from((LSA_COST * lsas / cpus).as_millis()).unwrap_or(u64::MAX));
    let base = u64::from(Timers::default().echo_multiplier);
    u8::try_from(busy_ms.div_ceil(echo_ms.max(1)).clamp(base, MAX_MULTIPLIER)).unwrap_or(u8::MAX)
}

/// The period in ms at which `count` things a period stay within `budget` a second.
fn period(count: u64, budget: u64) -> u64 {
    (count * 1000).div_ceil(budget)
}

/// What grows with a lab.
struct Load {
    /// SGs and SRs.
    routers: u64,
    links: u64,
    /// SGs times the service instances each of them probes.
    paths: u64,
    /// Frames that one probe and its answer put on links, on average.
    frames_per_probe: u64,
}

impl Load {
    fn of(topology: &Topology) -> Self {
        let instances: usize = topology.nodes().values().map(|node| node.services.len()).sum();
        let sgs = topology.of_kind(Role::Sg).count();
        Self {
            routers: (sgs + topology.of_kind(Role::Sr).count()) as u64,
            links: topology.links().len() as u64,
            paths: (sgs * instances) as u64,
            frames_per_probe: 2 * (mean_sg_distance(topology) + 1),
        }
    }
}

/// Links between two different SGs on average, rounded down; 0 for fewer than two. A few SGs stand for all.
fn mean_sg_distance(topology: &Topology) -> u64 {
    let (mut sum, mut count) = (0, 0);
    for from in topology.of_kind(Role::Sg).take(8) {
        let mut distance = BTreeMap::from([(&from.id, 0_u64)]);
        let mut queue = VecDeque::from([&from.id]);
        while let Some(node) = queue.pop_front() {
            let next = distance[node] + 1;
            for (_, far) in topology.links_of(node) {
                if !distance.contains_key(far) {
                    distance.insert(far, next);
                    queue.push_back(far);
                }
            }
        }
        for to in topology.of_kind(Role::Sg).filter(|to| to.id != from.id) {
            sum += distance.get(&to.id).copied().unwrap_or(0);
            count += 1;
        }
    }
    sum.checked_div(count).unwrap_or(0)
}

/// The longest time to a neighbour and back: delays, and jitter where it comes late both ways.
fn slowest_round_trip_ms(topology: &Topology) -> u64 {
    let late = |direction: &Direction| direction.spec.delay_ns + 2 * direction.spec.jitter_ns;
    let round_trips = topology.links().iter().map(|link| late(&link.forward) + late(&link.backward));
    round_trips.max().unwrap_or(0).div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::shipped::topology as shipped;

    fn chain(srs: usize, properties: &str) -> Topology {
        let nodes: String = (0..srs).map(|i| format!("  r{i}: {{ kind: sr }}\n")).collect();
        let links: String = (1..srs).map(|i| format!("  - {{ between: [r{}, r{i}]{properties} }}\n", i - 1)).collect();
        crate::parse("x", &format!("name: x\ndomain: d\nnodes:\n{nodes}links:\n{links}"), Path::new("")).unwrap()
    }

    #[test]
    fn fig2_on_a_quiet_host_runs_at_the_defaults() {
        assert_eq!(derive(&shipped("fig2"), Calibration::default(), None), Timers::default());
    }

    #[test]
    fn slow_round_trips_stretch_and_a_second_cpu_halves_that() {
        let of = |us, cpus| Calibration::of_host(Duration::from_micros(us), cpus).stretch;
        assert_eq!((of(1, 2), of(60, 2), of(60, 1), of(120, 8)), (1.0, 1.0, 2.0, 2.0));
        assert_eq!(of(1_000_000, 2), MAX_STRETCH);
        assert_eq!(Calibration::of(2.5).stretched(Duration::from_secs(2)), Duration::from_secs(5));
    }

    #[test]
    fn echoes_of_a_large_lab_stay_within_their_budget() {
        for srs in [2, 101, 1000, 4000] {
            let topology = chain(srs, "");
            let timers = derive(&topology, Calibration::default(), None);
            let per_second = 2 * topology.links().len() as u64 * 1000 / timers.echo_interval_ms;
            assert!(per_second <= ECHO_BUDGET, "{per_second} echo frames/s for {srs} SRs");
            assert!(timers.echo_interval_ms >= 50);
            assert!(timers.dead_interval_ms > u64::from(timers.echo_multiplier) * timers.echo_interval_ms);
        }
    }

    #[test]
    fn a_slow_host_stretches_what_depends_on_its_reactions() {
        let timers = derive(&shipped("fig2"), Calibration::of(3.0), None);
        let base = Timers::default();
        assert_eq!(timers.echo_interval_ms, 3 * base.echo_interval_ms);
        assert_eq!(timers.probe_interval_ms, 3 * base.probe_interval_ms);
        assert_eq!(timers.policy_hold_ms, 3 * base.policy_hold_ms);
        assert_eq!(timers.lsa_lifetime_ms, base.lsa_lifetime_ms);
        let mad = derive(&shipped("fig2"), Calibration::of(f64::NAN), None);
        assert_eq!(mad, base);
    }

    #[test]
    fn slow_links_lengthen_the_waits_for_answers() {
        let timers = derive(&chain(2, ", delay: 400ms"), Calibration::default(), None);
        assert!(timers.retransmit_ms >= 800, "{}", timers.retransmit_ms);
        assert!(timers.auth_timeout_ms >= 3200, "{}", timers.auth_timeout_ms);
    }

    #[test]
    fn trains_of_a_large_lab_stay_within_their_budget() {
        let topology = shipped("grid");
        let timers = derive(&topology, Calibration::default(), None);
        let load = Load::of(&topology);
        assert_eq!(load.paths, 144, "12 SGs, 12 services");
        let frames = load.paths * load.frames_per_probe * u64::from(timers.train_length);
        let per_second = frames * 1000 / (u64::from(timers.train_every) * timers.probe_interval_ms);
        assert!(per_second <= TRAIN_BUDGET, "{per_second} train frames/s");
    }
}
