//! How long to wait for an acknowledgement: estimated from those that came (RFC 6298), never below the pace.
//!
//! A fixed wait does well until nodes are slower than it: then everything is sent again, which makes them slower still.

use core::time::Duration;

use damc_wire::Timestamp;

/// How long to wait before the first sample, in shortest waits: nobody knows yet how busy the neighbour is.
const UNKNOWN: u32 = 4;

/// The estimate for one neighbour.
#[derive(Clone, Copy, Debug)]
pub struct RtoEstimator {
    least: Duration,
    most: Duration,
    /// Smoothed round trip and its mean deviation, once there is a sample.
    smoothed: Option<(Duration, Duration)>,
    current: Duration,
    /// No second doubling before then: what was sent together is late together.
    doubled_until: Timestamp,
}

impl RtoEstimator {
    /// No samples yet.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, smoothed: None, current: (least * UNKNOWN).min(most), doubled_until: Timestamp(0) }
    }

    /// How long to wait for what is sent now for the first time.
    #[must_use]
    pub const fn current(&self) -> Duration {
        self.current
    }

    /// What was sent once was acknowledged after this time. What was sent twice is no sample (Karn's algorithm): nobody
    /// knows which of the two was acknowledged.
    pub fn sample(&mut self, round_trip: Duration) {
        let (smoothed, deviation) = match self.smoothed {
            None => (round_trip, round_trip / 2),
            Some((smoothed, deviation)) => {
                ((smoothed * 7 + round_trip) / 8, (deviation * 3 + smoothed.abs_diff(round_trip)) / 4)
            }
        };
        self.smoothed = Some((smoothed, deviation));
        self.current = (smoothed + deviation * 4).clamp(self.least, self.most);
    }

    /// Something was not acknowledged in time. The longer wait stays until there is a sample.
    pub fn late(&mut self, now: Timestamp) {
        if now >= self.doubled_until {
            self.current = (self.current * 2).min(self.most);
            self.doubled_until = now + self.current;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn waits_follow_round_trips_within_bounds() {
        let mut rto = RtoEstimator::new(ms(50), ms(1000));
        assert_eq!(rto.current(), ms(200), "nothing known yet");
        for _ in 0..50 {
            rto.sample(ms(2));
        }
        assert_eq!(rto.current(), ms(50), "never below the pace");
        rto.sample(ms(400));
        // 2 + 398/8 and four deviations of 398/4.
        assert!((ms(440)..ms(460)).contains(&rto.current()), "{:?}", rto.current());
        for _ in 0..50 {
            rto.sample(ms(5000));
        }
        assert_eq!(rto.current(), ms(1000));
    }

    #[test]
    fn what_is_late_together_doubles_once_and_a_sample_ends_it() {
        let mut rto = RtoEstimator::new(ms(50), ms(1000));
        let at = |ms: u64| Timestamp(ms * 1_000_000);
        rto.sample(ms(3));
        rto.late(at(50));
        rto.late(at(60));
        assert_eq!(rto.current(), ms(100));
        rto.late(at(150));
        assert_eq!(rto.current(), ms(200));
        for round in 0..10 {
            rto.late(at(1000 * (round + 1)));
        }
        assert_eq!(rto.current(), ms(1000));
        rto.sample(ms(3));
        assert_eq!(rto.current(), ms(50));
    }
}
