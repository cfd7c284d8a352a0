//! Reports of SG and SR to the SCSC: numbered, kept until acknowledged, sent again in order (QOS-04, QOS-07).

use core::time::Duration;
use std::collections::VecDeque;

use damc_mgmt::config::Timers;
use damc_wire::message::{LinkReport, PathReport, Telemetry};
use damc_wire::{Millis, Timestamp};

use super::prober::Measured;

/// Bytes of reports that fit one frame: a PDU without header, names, certificate and signature at their longest.
const FRAME_BUDGET: usize = 850;
/// Bytes of a path report without its name, and of a link report, including the TLV header.
const REPORT_BYTES: usize = 72;
/// Most unacknowledged reports kept once an SCSC was seen; the oldest are dropped first.
const KEPT: usize = 512;
/// Most unacknowledged reports kept before an SCSC was seen.
const KEPT_WITHOUT_SCSC: usize = 8;
/// Most reports in transit from the oldest unacknowledged one on.
const WINDOW: usize = 8;

/// A report that is not acknowledged yet.
#[derive(Clone, Debug)]
struct Pending {
    sequence: u64,
    made_at: Timestamp,
    paths: Vec<Measured>,
    links: Vec<LinkReport>,
    sent_at: Option<Timestamp>,
}

/// Keeps and sends the reports of one node.
#[derive(Debug)]
pub struct Reporter {
    first_retransmit: Duration,
    max_retransmit: Duration,
    sequence: u64,
    pending: VecDeque<Pending>,
    /// Number of times that the oldest report was sent again.
    attempts: u32,
    scsc_seen: bool,
}

impl Reporter {
    /// A reporter whose numbers start at `now`. A restarted node therefore continues above its earlier numbers, as its
    /// clock does.
    #[must_use]
    pub fn new(timers: &Timers, now: Timestamp) -> Self {
        Self {
            first_retransmit: Duration::from_millis(timers.retransmit_ms.max(1)),
            max_retransmit: Duration::from_millis(timers.retransmit_max_ms.max(timers.retransmit_ms.max(1))),
            sequence: now.nanos() / 1000,
            pending: VecDeque::new(),
            attempts: 0,
            scsc_seen: false,
        }
    }

    /// Adds measurements, split into reports that fit a frame.
    pub fn submit(&mut self, now: Timestamp, paths: Vec<Measured>, links: Vec<LinkReport>) {
        let mut budget = 0;
        for path in paths {
            let size = REPORT_BYTES + path.report.target.wire().len();
            self.open(now, &mut budget, size).paths.push(path);
        }
        for link in links {
            let size = REPORT_BYTES + link.neighbour.as_str().len();
            self.open(now, &mut budget, size).links.push(link);
        }
        let keep = if self.scsc_seen { KEPT } else { KEPT_WITHOUT_SCSC };
        while self.pending.len() > keep {
            self.pending.pop_front();
        }
    }

    /// The report that has room for `size` more bytes: the last one, or a new one if `budget` is used up.
    fn open(&mut self, now: Timestamp, budget: &mut usize, size: usize) -> &mut Pending {
        if *budget < size || self.pending.is_empty() {
            self.sequence += 1;
            *budget = FRAME_BUDGET;
            self.pending.push_back(Pending {
                sequence: self.sequence,
                made_at: now,
                paths: Vec::new(),
                links: Vec::new(),
                sent_at: None,
            });
        }
        *budget = budget.saturating_sub(size);
        let last = self.pending.len() - 1;
        &mut self.pending[last]
    }

    /// The next report to send while the SCSC has a route: new ones within the window, and the oldest again when its
    /// acknowledgement is overdue (then the rest of the window follows it, in order).
    pub fn poll_transmit(&mut self, now: Timestamp) -> Option<Telemetry> {
        self.scsc_seen = true;
        let overdue = self.front_due().is_some_and(|due| now >= due);
        if overdue {
            self.attempts = self.attempts.saturating_add(1);
            for pending in self.pending.iter_mut().take(WINDOW) {
                pending.sent_at = None;
            }
        }
        // While the SCSC is silent, only the oldest is sent: one report is enough to learn that it is back.
        let window = if self.attempts > 0 { 1 } else { WINDOW };
        let pending = self.pending.iter_mut().take(window).find(|p| p.sent_at.is_none())?;
        pending.sent_at = Some(now);
        Some(pending.encode(now))
    }

    /// Handles an acknowledgement; returns false if no report waits for it.
    pub fn on_ack(&mut self, sequence: u64) -> bool {
        let Some(at) = self.pending.iter().position(|p| p.sequence == sequence) else { return false };
        self.pending.remove(at);
        self.attempts = 0;
        true
    }

    /// Time at which [`Self::poll_transmit`] has something to send, while the SCSC has a route.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.front_due()
    }

    fn front_due(&self) -> Option<Timestamp> {
        let back_off = self.first_retransmit * (1 << self.attempts.min(16));
        Some(self.pending.front()?.sent_at? + back_off.min(self.max_retransmit))
    }

    /// Reports waiting for their acknowledgement.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.pending.len()
    }
}

impl Pending {
    /// The report as sent at `now`, with ages up to then.
    fn encode(&self, now: Timestamp) -> Telemetry {
        let aged = |m: &Measured| {
            let age = u64::try_from(now.since(m.at.min(self.made_at)).as_millis()).unwrap_or(u64::MAX);
            PathReport { age: Millis(age), ..m.report.clone() }
        };
        Telemetry { sequence: self.sequence, paths: self.paths.iter().map(aged).collect(), links: self.links.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn measured(target: &str, ms: u64) -> Measured {
        let report = PathReport {
            target: target.parse().unwrap(),
            label: 0,
            delay_ns: Some(ms),
            jitter_ns: None,
            bandwidth_bps: None,
            loss_ppm: 0,
            available: true,
            self_load_ppm: None,
            age: Millis(0),
        };
        Measured { report, at: at(ms) }
    }

    #[test]
    fn qos_04_reports_are_kept_and_delivered_in_order_with_their_ages() {
        let mut r = Reporter::new(&Timers::default(), at(0));
        r.submit(at(10), vec![measured("/A/1", 10)], vec![]);
        assert_eq!(r.poll_transmit(at(10)).unwrap().paths[0].age, Millis(0));
        for i in 2..=150 {
            r.submit(at(i * 200), vec![measured("/A/1", i * 200)], vec![]);
            while r.poll_transmit(at(i * 200)).is_some() {}
        }
        assert_eq!(r.backlog(), 150, "30 s without the SCSC");
        // The SCSC is back: its acknowledgements pull the rest, oldest first.
        let (mut now, mut delivered) = (31_000, Vec::new());
        while r.backlog() > 0 {
            now += 1;
            while let Some(t) = r.poll_transmit(at(now)) {
                delivered.push((t.sequence, t.paths[0].delay_ns.unwrap(), t.paths[0].age.0));
                assert!(r.on_ack(t.sequence));
            }
        }
        let sorted: Vec<_> = delivered.iter().map(|(s, ..)| *s).collect();
        assert!(sorted.is_sorted() && sorted.len() == 150);
        assert!(delivered.iter().all(|(_, taken, age)| taken + age <= now && taken + age >= 31_000));
    }

    #[test]
    fn gap_09_an_overdue_report_goes_again_with_back_off() {
        let mut r = Reporter::new(&Timers::default(), at(0));
        r.submit(at(0), vec![measured("/A/1", 0)], vec![]);
        let mut sent = Vec::new();
        for ms in 0..4000 {
            if r.poll_transmit(at(ms)).is_some() {
                sent.push(ms);
            }
        }
        // Doubles from 50 ms up to one second, the bound of the back-off.
        assert_eq!(sent, [0, 50, 150, 350, 750, 1550, 2550, 3550]);
    }

    #[test]
    fn reports_are_split_to_fit_a_frame_and_bounded() {
        let mut r = Reporter::new(&Timers::default(), at(0));
        let long = format!("/{}", "x".repeat(60));
        r.submit(at(0), (0..40).map(|_| measured(&long, 0)).collect(), vec![]);
        let mut total = 0;
        while let Some(t) = r.poll_transmit(at(0)) {
            assert!(t.paths.len() <= FRAME_BUDGET / (REPORT_BYTES + 61));
            total += t.paths.len();
        }
        assert_eq!(total, 40);
        for i in 0..2000 {
            r.submit(at(i), vec![measured("/A/1", i)], vec![]);
        }
        assert_eq!(r.backlog(), KEPT);
    }

    #[test]
    fn a_restarted_reporter_numbers_above_its_former_self() {
        let mut before = Reporter::new(&Timers::default(), at(1000));
        before.submit(at(1000), vec![measured("/A/1", 1000)], vec![]);
        let mut after = Reporter::new(&Timers::default(), at(1100));
        after.submit(at(1100), vec![measured("/A/1", 1100)], vec![]);
        assert!(after.poll_transmit(at(1100)).unwrap().sequence > before.poll_transmit(at(1000)).unwrap().sequence);
    }
}
