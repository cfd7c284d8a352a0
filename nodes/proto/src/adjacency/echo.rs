//! The fast echo of one adjacency: it detects failures within a few echo periods and measures the link's round trip.
//!
//! Three lost echoes in a row must not end an adjacency on a lossy link (at 20 % loss that is once in six seconds). So
//! an end that misses an echo sends five times as often, and its echoes say for how long it has heard nothing (`held`).
//! An end that learns from them that its own echoes do not arrive answers at once. A dead neighbour is detected no
//! later.
//!
//! How long a silence is waited out follows the link (after RFC 6298): the missed periods, and beside them the round trip
//! and four times its deviation. Without that a link of 65 ms would leave 35 ms of three periods of 50 ms, and a link of
//! 80 ms could never begin.

use core::time::Duration;

use damc_wire::Timestamp;
use damc_wire::message::Echo;

use super::LinkQuality;

/// Number of echoes over which loss is measured.
const LOSS_WINDOW: u32 = 64;

/// Factor by which an end sends more often while it misses echoes.
const PRESSING: u32 = 5;

/// How long an answer is waited for before any round trip was measured, and at most (RFC 6298, section 2.1).
const UNKNOWN: Duration = Duration::from_secs(1);

/// An echo that comes every `interval` is missing after this time.
fn overdue(interval: Duration) -> Duration {
    interval + interval / 4
}

/// Echo state of one adjacency. If one of the ends has no echo period, there is no echo and no fast detection.
#[derive(Clone, Debug)]
pub(super) struct EchoState {
    interval: Duration,
    their_interval: Duration,
    /// As long as the echoes take that may be missed.
    periods: Duration,
    /// Smoothed round trip and its mean deviation, once there is a sample.
    round_trip: Option<(Duration, Duration)>,
    sequence: u32,
    next_at: Timestamp,
    sent_at: Timestamp,
    /// Time of the neighbour's last echo; before the first, the beginning of the adjacency.
    heard_at: Timestamp,
    silent_at: Timestamp,
    /// Whether the deadline was moved once because this node itself was late.
    graced: bool,
    /// The neighbour's newest `sent_at`, and the time it came.
    theirs: Option<(u64, Timestamp)>,
    highest: u32,
    /// Bit `i`: echo `highest - i` came.
    came: u64,
    smoothed_ns: Option<f64>,
    previous_ns: Option<f64>,
    jitter_ns: f64,
}

impl EchoState {
    /// State that starts now, with the first echo due at once. `None` if either end sends no echo.
    pub(super) fn new(now: Timestamp, ours: Duration, theirs: Duration, multiplier: u8) -> Option<Self> {
        if ours.is_zero() || theirs.is_zero() {
            return None;
        }
        Some(Self {
            interval: ours,
            their_interval: theirs,
            periods: ours.max(theirs) * u32::from(multiplier.max(1)),
            round_trip: None,
            sequence: 0,
            next_at: now,
            sent_at: now,
            heard_at: now,
            // Nothing can have come yet, and nobody knows how far away the neighbour is: its hellos have a time of their own.
            silent_at: Timestamp::FAR_FUTURE,
            graced: false,
            theirs: None,
            highest: 0,
            came: 0,
            smoothed_ns: None,
            previous_ns: None,
            jitter_ns: 0.0,
        })
    }

    /// Time from which [`Self::is_silent`] or [`Self::take_due`] may have a result.
    pub(super) fn next_timeout(&self) -> Timestamp {
        self.send_at().min(self.silent_at)
    }

    /// Time at which the next echo is due: as planned, or sooner while an echo of the neighbour is missing.
    fn send_at(&self) -> Timestamp {
        let missing_at = self.heard_at + overdue(self.their_interval);
        self.next_at.min(missing_at.max(self.sent_at + self.interval / PRESSING))
    }

    /// Whether the neighbour has been silent for the detection time. A node that itself asks late (it was paused, or
    /// starved of CPU) may have unread frames: it waits one more period, once.
    pub(super) fn is_silent(&mut self, now: Timestamp) -> bool {
        if now < self.silent_at {
            return false;
        }
        if !self.graced && now.since(self.silent_at) > self.interval / 2 {
            self.graced = true;
            self.silent_at = now + self.interval;
            return false;
        }
        true
    }

    /// Records a sign of life: any frame under the hop MAC proves that neighbour and link work.
    pub(super) fn alive(&mut self, now: Timestamp) {
        self.silent_at = now + self.detection();
        self.graced = false;
    }

    /// Silence that ends the adjacency.
    fn detection(&self) -> Duration {
        let answer = self.round_trip.map_or(UNKNOWN, |(smoothed, deviation)| smoothed + deviation * 4);
        self.periods + answer.min(UNKNOWN)
    }

    /// The echo to send now, if one is due. Echoes that this node missed to send are not made up for.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Echo> {
        if now < self.send_at() {
            return None;
        }
        self.sent_at = now;
        while self.next_at <= now {
            self.next_at = (self.next_at + self.interval).max(now + self.interval / 2);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let (their_sent_at, held) = match self.theirs {
            Some((sent_at, came)) => (sent_at, u64::try_from(now.since(came).as_nanos()).unwrap_or(u64::MAX)),
            None => (0, 0),
        };
        Some(Echo { sequence: self.sequence, sent_at: now.nanos(), their_sent_at, held })
    }

    /// Handles the neighbour's echo.
    pub(super) fn received(&mut self, received_at: Timestamp, echo: &Echo) {
        self.count(echo.sequence);
        self.heard_at = received_at;
        if echo.their_sent_at != 0 && Duration::from_nanos(echo.held) > overdue(self.interval) {
            self.next_at = self.next_at.min(self.sent_at + self.interval / (2 * PRESSING));
        }
        if self.theirs.is_none_or(|(sent_at, _)| echo.sent_at > sent_at) {
            self.theirs = Some((echo.sent_at, received_at));
        }
        if echo.their_sent_at == 0 {
            return;
        }
        let round_trip = received_at.nanos().checked_sub(echo.their_sent_at).and_then(|t| t.checked_sub(echo.held));
        if let Some(ns) = round_trip {
            self.sample(ns as f64 / 2.0);
            self.answered(Duration::from_nanos(ns));
        }
    }

    fn count(&mut self, sequence: u32) {
        if sequence > self.highest {
            let shift = sequence - self.highest;
            self.came = if shift < LOSS_WINDOW { self.came << shift } else { 0 } | 1;
            self.highest = sequence;
        } else if self.highest - sequence < LOSS_WINDOW {
            self.came |= 1 << (self.highest - sequence);
        }
    }

    /// A round trip took this long. It took the neighbour's clock for `held`: what is longer than can be waited for says
    /// no more than that.
    fn answered(&mut self, round_trip: Duration) {
        let sample = round_trip.min(UNKNOWN);
        self.round_trip = Some(match self.round_trip {
            None => (sample, sample / 2),
            Some((smoothed, deviation)) => {
                ((smoothed * 7 + sample) / 8, (deviation * 3 + smoothed.abs_diff(sample)) / 4)
            }
        });
    }

    fn sample(&mut self, delay_ns: f64) {
        // RFC 3550 section 6.4.1 for the jitter; the delay follows within a few echoes.
        if let Some(previous) = self.previous_ns {
            self.jitter_ns += ((delay_ns - previous).abs() - self.jitter_ns) / 16.0;
        }
        self.previous_ns = Some(delay_ns);
        self.smoothed_ns = Some(self.smoothed_ns.map_or(delay_ns, |s| s + (delay_ns - s) / 4.0));
    }

    /// The measured quality.
    pub(super) fn quality(&self) -> LinkQuality {
        let seen = self.highest.min(LOSS_WINDOW);
        let lost = seen - self.came.count_ones().min(seen);
        LinkQuality {
            delay_ns: self.smoothed_ns.map(|ns| ns as u64),
            jitter_ns: self.smoothed_ns.map(|_| self.jitter_ns as u64),
            loss_ppm: (lost * 1_000_000).checked_div(seen).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(50);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// A machine at 0 ms that has measured a round trip many times, and heard of the neighbour at 0 ms.
    fn measured(theirs: Duration, round_trip_ms: u64) -> EchoState {
        let mut echo = EchoState::new(at(0), PERIOD, theirs, 3).unwrap();
        for _ in 0..100 {
            echo.answered(Duration::from_millis(round_trip_ms));
        }
        echo.alive(at(0));
        echo
    }

    #[test]
    fn checklist_04_silence_is_detected_after_the_multiple_of_the_larger_period() {
        let mut echo = measured(Duration::from_millis(80), 0);
        assert!(!echo.is_silent(at(239)));
        assert!(echo.is_silent(at(240)));
        echo.alive(at(200));
        assert!(!echo.is_silent(at(439)));
        assert!(echo.is_silent(at(440)));
        assert!(EchoState::new(at(0), PERIOD, Duration::ZERO, 3).is_none());
    }

    #[test]
    fn checklist_04_a_long_link_has_as_much_slack_as_a_short_one() {
        for round_trip in [0, 2, 130, 600] {
            let mut echo = measured(PERIOD, round_trip);
            assert!(!echo.is_silent(at(149 + round_trip)), "round trip {round_trip} ms");
            assert!(echo.is_silent(at(160 + round_trip)), "round trip {round_trip} ms");
        }
    }

    #[test]
    fn checklist_04_jitter_lengthens_the_wait_and_a_liar_does_not_beyond_a_second() {
        let mut echo = EchoState::new(at(0), PERIOD, PERIOD, 3).unwrap();
        for sample in (0..100).map(|i| if i % 2 == 0 { 10 } else { 50 }) {
            echo.answered(Duration::from_millis(sample));
        }
        let detection = echo.detection();
        // A mean of 30 ms and a deviation of 20 ms.
        assert!((at(240).since(at(0))..at(280).since(at(0))).contains(&detection), "{detection:?}");
        for _ in 0..100 {
            echo.answered(Duration::from_secs(3600));
        }
        assert_eq!(echo.detection(), Duration::from_millis(1150));
    }

    #[test]
    fn checklist_04_nothing_is_missed_before_anything_can_have_come() {
        let mut echo = EchoState::new(at(0), PERIOD, PERIOD, 3).unwrap();
        assert!(!echo.is_silent(at(3000)), "the hello's dead interval judges");
        echo.alive(at(3000));
        assert!(!echo.is_silent(at(4149)), "no round trip is known");
        let answer = Echo { sequence: 1, sent_at: 777, their_sent_at: at(3000).nanos(), held: 0 };
        echo.received(at(3100), &answer);
        echo.alive(at(3100));
        assert!(!echo.is_silent(at(3100 + 449)));
        assert!(echo.is_silent(at(3100 + 450)), "100 ms, and four times the half of them");
    }

    #[test]
    fn checklist_04_own_lateness_is_not_the_neighbours_death() {
        let mut echo = measured(PERIOD, 0);
        assert!(!echo.is_silent(at(1150)), "asked a second late: wait one period more");
        assert!(!echo.is_silent(at(1199)));
        assert!(echo.is_silent(at(1200)), "but only once");
    }

    #[test]
    fn checklist_04_a_missing_echo_is_pressed_for_and_answered() {
        let mut echo = EchoState::new(at(0), PERIOD, PERIOD, 3).unwrap();
        assert!(echo.take_due(at(0)).is_some());
        assert!(echo.take_due(at(49)).is_none());
        assert!(echo.take_due(at(50)).is_some(), "as planned");
        assert!(echo.take_due(at(62)).is_none());
        assert!(echo.take_due(at(63)).is_some(), "theirs of 50 is missing");
        assert!(echo.take_due(at(73)).is_some());
        let fine = Echo { sequence: 1, sent_at: 1, their_sent_at: 1, held: 10_000_000 };
        echo.received(at(74), &fine);
        assert!(echo.take_due(at(84)).is_none(), "heard again");
        let missing = Echo { sequence: 2, sent_at: 2, their_sent_at: 1, held: 70_000_000 };
        echo.received(at(85), &missing);
        assert!(echo.take_due(at(85)).is_some(), "ours do not arrive: answered at once");
    }

    #[test]
    fn round_trip_excludes_the_time_held_at_the_neighbour() {
        let mut echo = EchoState::new(at(0), PERIOD, PERIOD, 3).unwrap();
        let first = echo.take_due(at(0)).unwrap();
        assert_eq!((first.sequence, first.their_sent_at), (1, 0));
        assert!(echo.take_due(at(24)).is_none());
        let answer = Echo { sequence: 1, sent_at: 777, their_sent_at: at(10).nanos(), held: 30_000_000 };
        echo.received(at(60), &answer);
        assert_eq!(echo.quality().delay_ns, Some(10_000_000), "(60 - 10 - 30) / 2 ms");
        let second = echo.take_due(at(70)).unwrap();
        assert_eq!((second.their_sent_at, second.held), (777, 10_000_000));
    }

    #[test]
    fn loss_counts_the_gaps() {
        let mut echo = EchoState::new(at(0), PERIOD, PERIOD, 3).unwrap();
        for sequence in (1..=100).filter(|s| s % 4 != 0) {
            echo.received(at(1), &Echo { sequence, sent_at: 1, their_sent_at: 0, held: 0 });
        }
        let loss = echo.quality().loss_ppm;
        assert!((240_000..260_000).contains(&loss), "{loss}");
    }
}
