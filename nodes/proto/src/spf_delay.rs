//! Delays of the computation of shortest paths: the back-off algorithm of RFC 8405.
//!
//! The first event after a quiet time is served after the initial delay (0: at once). Further events are served after
//! the short delay during the learning time, then after the long delay, until no event comes for the hold-down time.

use core::time::Duration;

use damc_mgmt::config::Timers;
use damc_wire::Timestamp;

/// RFC 8405 section 5, figure 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing happened for the hold-down time.
    Quiet,
    /// Few events: probably one failure, several reports.
    ShortWait,
    /// Events keep coming: the network is unstable.
    LongWait,
}

/// The delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// `INITIAL_SPF_DELAY`.
    pub initial: Duration,
    /// `SHORT_SPF_DELAY`.
    pub short: Duration,
    /// `LONG_SPF_DELAY`.
    pub long: Duration,
    /// `TIME_TO_LEARN_INTERVAL`.
    pub learn: Duration,
    /// `HOLDDOWN_INTERVAL`.
    pub holddown: Duration,
}

impl From<&Timers> for Delays {
    fn from(timers: &Timers) -> Self {
        let ms = Duration::from_millis;
        Self {
            initial: ms(timers.spf_initial_ms),
            short: ms(timers.spf_short_ms),
            long: ms(timers.spf_long_ms),
            learn: ms(timers.spf_learn_ms),
            holddown: ms(timers.spf_holddown_ms),
        }
    }
}

/// The machine. Feed events and time; ask [`Self::take_due`] whether to compute now.
#[derive(Clone, Debug)]
pub struct SpfDelay {
    delays: Delays,
    phase: Phase,
    spf_at: Option<Timestamp>,
    learn_at: Option<Timestamp>,
    holddown_at: Option<Timestamp>,
}

impl SpfDelay {
    /// Quiet.
    #[must_use]
    pub const fn new(delays: Delays) -> Self {
        Self { delays, phase: Phase::Quiet, spf_at: None, learn_at: None, holddown_at: None }
    }

    /// Current phase (after [`Self::advance`]).
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// A change that asks for a computation (transitions 1, 2 and 5 of RFC 8405).
    pub fn event(&mut self, now: Timestamp) {
        self.advance(now);
        let delay = match self.phase {
            Phase::Quiet => {
                self.learn_at = Some(now + self.delays.learn);
                self.phase = Phase::ShortWait;
                self.delays.initial
            }
            Phase::ShortWait => self.delays.short,
            Phase::LongWait => self.delays.long,
        };
        self.holddown_at = Some(now + self.delays.holddown);
        self.spf_at.get_or_insert(now + delay);
    }

    /// Whether a computation is waiting for its time.
    #[must_use]
    pub const fn pending(&self) -> bool {
        self.spf_at.is_some()
    }

    /// Whether to compute now; true once for each computation.
    pub fn take_due(&mut self, now: Timestamp) -> bool {
        self.advance(now);
        let due = self.spf_at.is_some_and(|at| at <= now);
        if due {
            self.spf_at = None;
        }
        due
    }

    /// When the machine has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.spf_at
    }

    /// Lets the learn and hold-down timers expire (transitions 3, 4 and 6). They have no outside effect, so that it is
    /// enough to look at them when something happens; they are taken in time order.
    fn advance(&mut self, now: Timestamp) {
        let learned = self.learn_at.filter(|at| *at <= now);
        let held = self.holddown_at.filter(|at| *at <= now);
        match (learned, held) {
            (_, Some(_)) => {
                self.phase = Phase::Quiet;
                self.learn_at = None;
                self.holddown_at = None;
            }
            (Some(_), None) => {
                self.phase = Phase::LongWait;
                self.learn_at = None;
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: Delays = Delays {
        initial: Duration::ZERO,
        short: Duration::from_millis(50),
        long: Duration::from_millis(2000),
        learn: Duration::from_millis(500),
        holddown: Duration::from_millis(5000),
    };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// Runs a train of events (ms) and returns when computations ran (ms).
    fn runs(delays: Delays, events: &[u64], until: u64) -> Vec<u64> {
        let mut machine = SpfDelay::new(delays);
        let mut out = Vec::new();
        for ms in 0..=until {
            for _ in events.iter().filter(|e| **e == ms) {
                machine.event(at(ms));
            }
            if machine.take_due(at(ms)) {
                out.push(ms);
            }
        }
        out
    }

    #[test]
    fn checklist_17_first_event_at_once() {
        assert_eq!(runs(DELAYS, &[7], 1000), [7]);
        let slow = Delays { initial: Duration::from_millis(30), ..DELAYS };
        assert_eq!(runs(slow, &[7, 20], 1000), [37], "events within the initial delay share its run");
    }

    #[test]
    fn checklist_17_short_then_long_then_quiet() {
        // 0: initial; 10, 60: short; from 500 (learned) on: long; hold-down 5 s after the last event: quiet again.
        assert_eq!(runs(DELAYS, &[0, 10, 70, 600, 700], 3000), [0, 60, 120, 2600]);
        // 5009 comes within the hold-down of 10 (until 5010): long delay. 10 008 comes within that of 5009 (until 10
        // 009): long delay.
        assert_eq!(runs(DELAYS, &[0, 10, 5009, 10_008, 15_008], 16_000), [0, 60, 7009, 12_008, 15_008]);
    }

    #[test]
    fn checklist_17_phases_follow_the_rfc() {
        let mut machine = SpfDelay::new(DELAYS);
        assert_eq!(machine.phase(), Phase::Quiet);
        machine.event(at(0));
        assert_eq!(machine.phase(), Phase::ShortWait);
        assert!(machine.take_due(at(0)));
        assert!(!machine.take_due(at(499)), "one run per need");
        assert_eq!(machine.phase(), Phase::ShortWait);
        assert!(!machine.take_due(at(500)));
        assert_eq!(machine.phase(), Phase::LongWait);
        machine.event(at(4000));
        assert_eq!(machine.next_timeout(), Some(at(6000)));
        assert!(machine.take_due(at(6000)));
        assert!(!machine.take_due(at(8999)));
        assert_eq!(machine.phase(), Phase::LongWait, "hold-down counts from the last event");
        assert!(!machine.take_due(at(9000)));
        assert_eq!(machine.phase(), Phase::Quiet);
    }

    #[test]
    fn checklist_17_quiet_event_starts_learning_afresh() {
        let short_hold = Delays { holddown: Duration::from_millis(100), ..DELAYS };
        // Quiet again before the learning time is over: the learning timer is stopped with it.
        assert_eq!(runs(short_hold, &[0, 200, 250, 490, 510], 1000), [0, 200, 300, 490, 560]);
    }

    #[test]
    fn gap_23_a_storm_costs_a_bounded_number_of_runs() {
        let storm: Vec<u64> = (0..100).map(|i| i * 10).collect();
        let ran = runs(DELAYS, &storm, 10_000);
        assert!(ran.len() <= 12, "{ran:?}");
        assert!(*ran.last().unwrap() >= 990, "the last event is served: {ran:?}");
    }
}
