//! The SCSC's view of the domain's quality: the newest report of every path and link, with age and recent history.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use damc_mgmt::config::Timers;
use damc_wire::message::{LinkReport, PathReport, Telemetry};
use damc_wire::{Name, NodeId, Role, Timestamp};

use super::threshold::PathMetrics;

/// Number of sequence numbers below the newest among which duplicates are recognised; more than a reporter keeps.
const SEQUENCE_WINDOW: u64 = 1024;
/// Most metrics remembered for one path.
const HISTORY_LIMIT: usize = 32;
/// A sender that was silent for this many staleness times may restart its numbers.
const FORGET_SENDER: u32 = 3;

/// Key of a path: measuring SG, target, label (0: plain).
pub type PathKey = (NodeId, Name, u32);

/// Newest report of one path.
#[derive(Clone, Debug)]
pub struct PathState {
    /// Newest report.
    pub report: PathReport,
    /// Time of its newest sample on the SCSC's clock (without the transit time of the report).
    pub measured_at: Timestamp,
    sequence: u64,
    /// Metrics of the last fresh reports, oldest first.
    history: VecDeque<PathMetrics>,
}

impl PathState {
    /// Metrics of the newest report.
    #[must_use]
    pub const fn metrics(&self) -> PathMetrics {
        metrics_of(&self.report)
    }

    /// Whether the last `count` fresh reports all satisfy `condition`.
    pub fn last_all(&self, count: usize, condition: impl FnMut(&PathMetrics) -> bool) -> bool {
        let count = count.clamp(1, HISTORY_LIMIT);
        self.history.len() >= count && self.history.iter().rev().take(count).all(condition)
    }
}

const fn metrics_of(report: &PathReport) -> PathMetrics {
    PathMetrics {
        bandwidth_bps: report.bandwidth_bps,
        delay_ns: report.delay_ns,
        jitter_ns: report.jitter_ns,
        available: report.available,
    }
}

/// Newest report of one direction of a link, as its near end measured it.
#[derive(Clone, Debug)]
pub struct LinkState {
    /// Newest report.
    pub report: LinkReport,
    /// Time at which it came.
    pub at: Timestamp,
    sequence: u64,
}

/// Duplicate detection for one sender.
#[derive(Clone, Debug, Default)]
struct Sender {
    newest: u64,
    seen: BTreeSet<u64>,
    heard_at: Timestamp,
}

impl Sender {
    /// Whether this number is new.
    fn take(&mut self, now: Timestamp, sequence: u64, forget_after: Duration) -> bool {
        if now.since(self.heard_at) > forget_after {
            *self = Self::default();
        }
        if sequence + SEQUENCE_WINDOW <= self.newest || !self.seen.insert(sequence) {
            return false;
        }
        self.heard_at = now;
        self.newest = self.newest.max(sequence);
        let floor = self.newest.saturating_sub(SEQUENCE_WINDOW);
        self.seen = self.seen.split_off(&floor);
        true
    }
}

/// Newest reports of all paths and links.
#[derive(Debug)]
pub struct PathTable {
    staleness: Duration,
    senders: BTreeMap<NodeId, Sender>,
    paths: BTreeMap<PathKey, PathState>,
    links: BTreeMap<(NodeId, NodeId), LinkState>,
}

impl PathTable {
    /// An empty table.
    #[must_use]
    pub fn new(timers: &Timers) -> Self {
        Self {
            staleness: Duration::from_millis(timers.staleness_ms),
            senders: BTreeMap::new(),
            paths: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// Stores a report; returns the paths it has news of, or `None` for a duplicate. Path reports of an SR are ignored:
    /// it has no targets.
    pub fn take(&mut self, now: Timestamp, from: &NodeId, role: Role, telemetry: &Telemetry) -> Option<Vec<PathKey>> {
        let sender = self.senders.entry(from.clone()).or_default();
        if !sender.take(now, telemetry.sequence, self.staleness * FORGET_SENDER) {
            return None;
        }
        for link in &telemetry.links {
            let key = (from.clone(), link.neighbour.clone());
            if self.links.get(&key).is_none_or(|known| known.sequence < telemetry.sequence) {
                self.links.insert(key, LinkState { report: link.clone(), at: now, sequence: telemetry.sequence });
            }
        }
        let paths = if role == Role::Sg { telemetry.paths.as_slice() } else { &[] };
        Some(paths.iter().filter_map(|report| self.take_path(now, from, telemetry.sequence, report)).collect())
    }

    fn take_path(&mut self, now: Timestamp, from: &NodeId, sequence: u64, report: &PathReport) -> Option<PathKey> {
        let key = (from.clone(), report.target.clone(), report.label);
        let measured_at = now - report.age.duration();
        let fresh = report.age.duration() <= self.staleness;
        match self.paths.get_mut(&key) {
            Some(known) if known.sequence > sequence => return None,
            Some(known) => {
                (known.report, known.measured_at, known.sequence) = (report.clone(), measured_at, sequence);
            }
            None => {
                let history = VecDeque::new();
                let state = PathState { report: report.clone(), measured_at, sequence, history };
                self.paths.insert(key.clone(), state);
            }
        }
        // A backlog after an outage is a record of the past, not a basis of decisions (POL-14).
        if fresh && let Some(known) = self.paths.get_mut(&key) {
            if known.history.len() == HISTORY_LIMIT {
                known.history.pop_front();
            }
            known.history.push_back(metrics_of(report));
        }
        Some(key)
    }

    /// A path's state, if it is fresh.
    #[must_use]
    pub fn fresh(&self, now: Timestamp, source: &NodeId, target: &Name, label: u32) -> Option<&PathState> {
        let state = self.paths.get(&(source.clone(), target.clone(), label))?;
        (now.since(state.measured_at) <= self.staleness).then_some(state)
    }

    /// All fresh paths.
    pub fn all_fresh(&self, now: Timestamp) -> impl Iterator<Item = (&PathKey, &PathState)> {
        self.paths.iter().filter(move |(_, s)| now.since(s.measured_at) <= self.staleness)
    }

    /// All paths, fresh or not.
    pub fn all(&self) -> impl Iterator<Item = (&PathKey, &PathState)> {
        self.paths.iter()
    }

    /// Delay and jitter of a link: the worse of the fresh measurements of both ends.
    #[must_use]
    pub fn link(&self, now: Timestamp, a: &NodeId, b: &NodeId) -> (Option<u64>, Option<u64>) {
        let ends = [(a.clone(), b.clone()), (b.clone(), a.clone())];
        let fresh = ends.iter().filter_map(|key| self.links.get(key)).filter(|l| now.since(l.at) <= self.staleness);
        fresh.fold((None, None), |(delay, jitter), l| (l.report.delay_ns.max(delay), l.report.jitter_ns.max(jitter)))
    }

    /// Forgets paths and links that were not reported for a long time.
    pub fn prune(&mut self, now: Timestamp) {
        let keep = self.staleness * 20;
        self.paths.retain(|_, s| now.since(s.measured_at) <= keep);
        self.links.retain(|_, l| now.since(l.at) <= keep);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use damc_wire::Millis;

    pub(in crate::qos) fn path(target: &str, label: u32, delay_ms: u64) -> PathReport {
        PathReport {
            target: target.parse().unwrap(),
            label,
            delay_ns: Some(delay_ms * 1_000_000),
            jitter_ns: Some(0),
            bandwidth_bps: None,
            loss_ppm: 0,
            available: true,
            self_load_ppm: None,
            age: Millis(0),
        }
    }

    fn telemetry(sequence: u64, paths: Vec<PathReport>) -> Telemetry {
        Telemetry { sequence, paths, links: Vec::new() }
    }

    fn table() -> (PathTable, NodeId) {
        (PathTable::new(&Timers::default()), NodeId::new("sg-1").unwrap())
    }

    #[test]
    fn duplicates_are_known_and_late_reports_do_not_undo_newer_ones() {
        let (mut t, sg) = table();
        let now = Timestamp::from_millis(1000);
        assert!(t.take(now, &sg, Role::Sg, &telemetry(5, vec![path("/A/1", 0, 50)])).is_some());
        assert!(t.take(now, &sg, Role::Sg, &telemetry(5, vec![path("/A/1", 0, 50)])).is_none());
        assert_eq!(t.take(now, &sg, Role::Sg, &telemetry(4, vec![path("/A/1", 0, 3)])), Some(vec![]));
        let state = t.fresh(now, &sg, &"/A/1".parse().unwrap(), 0).unwrap();
        assert_eq!(state.metrics().delay_ns, Some(50_000_000));
        assert!(t.take(now, &sg, Role::Sg, &telemetry(5000, vec![])).is_some());
        assert!(t.take(now, &sg, Role::Sg, &telemetry(6, vec![])).is_none(), "too old to tell");
        let later = now + Duration::from_secs(10);
        assert!(t.take(later, &sg, Role::Sg, &telemetry(1, vec![])).is_some(), "silent for long: a new life");
    }

    #[test]
    fn pol_14_old_measurements_are_stale_and_make_no_history() {
        let (mut t, sg) = table();
        let now = Timestamp::from_millis(60_000);
        let name: Name = "/A/1".parse().unwrap();
        let old = PathReport { age: Millis(5000), ..path("/A/1", 0, 99) };
        t.take(now, &sg, Role::Sg, &telemetry(1, vec![old]));
        assert!(t.fresh(now, &sg, &name, 0).is_none());
        t.take(now, &sg, Role::Sg, &telemetry(2, vec![path("/A/1", 0, 9)]));
        let state = t.fresh(now, &sg, &name, 0).unwrap();
        assert!(state.last_all(1, |m| m.delay_ns == Some(9_000_000)) && !state.last_all(2, |_| true));
        assert!(t.fresh(now + Duration::from_millis(3001), &sg, &name, 0).is_none());
    }

    #[test]
    fn pol_12_an_sr_reports_links_but_no_paths() {
        let (mut t, _) = table();
        let (sr, sg) = (NodeId::new("sr-left").unwrap(), NodeId::new("sg-1").unwrap());
        let now = Timestamp::from_millis(1);
        let link = |delay| LinkReport {
            neighbour: sg.clone(),
            delay_ns: Some(delay),
            jitter_ns: None,
            loss_ppm: 0,
            tx_bps: 0,
            rx_bps: 0,
            bandwidth_bps: None,
        };
        let report = Telemetry { sequence: 1, paths: vec![path("/A/1", 0, 1)], links: vec![link(7)] };
        assert_eq!(t.take(now, &sr, Role::Sr, &report), Some(vec![]));
        assert_eq!(t.all().count(), 0);
        let other =
            Telemetry { sequence: 1, paths: vec![], links: vec![LinkReport { neighbour: sr.clone(), ..link(9) }] };
        t.take(now, &sg, Role::Sg, &other);
        assert_eq!(t.link(now, &sr, &sg), (Some(9), None), "the worse of both ends");
    }
}
