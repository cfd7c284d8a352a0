//! One clock for everything: `CLOCK_MONOTONIC`. The kernel stamps frames with the realtime clock.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, ns. Comparable between all processes of one kernel.
#[must_use]
pub fn monotonic_now() -> u64 {
    now(ClockId::CLOCK_MONOTONIC)
}

/// Realtime minus monotonic. Both clocks are slewed alike, so the offset changes only when the realtime clock is set.
/// Every other apparent change is the time between two readings, which is long if the thread is interrupted. A narrow
/// measurement is therefore kept until another contradicts it or is narrower. Reading clocks is expensive on some
/// kernels, so it is not measured for every batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealtimeOffset {
    /// The offset as an interval, ns: its middle and half its width.
    known: Option<(i64, u64)>,
    /// Batches so far.
    batches: u32,
}

/// Number of first batches that all measure, to find a narrow measurement.
const EAGER: u32 = 8;
/// Of the later batches, every n-th measures.
const MEASURED: u32 = 16;

impl RealtimeOffset {
    /// The offset for a batch, ns.
    pub(crate) fn of_batch(&mut self) -> i64 {
        self.batches = self.batches.wrapping_add(1);
        match self.known {
            Some((kept, _)) if self.batches > EAGER && !self.batches.is_multiple_of(MEASURED) => kept,
            _ => self.measure(),
        }
    }

    fn measure(&mut self) -> i64 {
        let before = monotonic_now();
        let realtime = now(ClockId::CLOCK_REALTIME);
        self.learn(before, realtime, monotonic_now())
    }

    fn learn(&mut self, before: u64, realtime: u64, after: u64) -> i64 {
        let half = after.saturating_sub(before).div_ceil(2);
        let middle = realtime.cast_signed() - (before + half).cast_signed();
        match self.known {
            Some((kept, margin)) if margin <= half && kept.abs_diff(middle) <= margin + half => kept,
            _ => {
                self.known = Some((middle, half));
                middle
            }
        }
    }
}

fn now(clock: ClockId) -> u64 {
    // Reading these clocks cannot fail on Linux.
    clock_gettime(clock).map_or(0, |t| t.tv_sec().unsigned_abs() * 1_000_000_000 + t.tv_nsec().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::RealtimeOffset;

    #[test]
    fn an_interrupted_measurement_does_not_move_the_offset() {
        let mut offset = RealtimeOffset::default();
        assert_eq!(offset.learn(1_000, 500_100, 1_200), 499_000);
        // Interrupted for 10 µs, before or after the realtime clock was read.
        assert_eq!(offset.learn(2_000, 511_100, 12_200), 499_000);
        assert_eq!(offset.learn(20_000, 519_100, 30_200), 499_000);
        assert_eq!(offset.learn(40_000, 539_030, 40_060), 499_000, "narrower");
        assert_eq!(offset.learn(50_000, 549_130, 50_200), 499_000, "wider again");
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let mut offset = RealtimeOffset::default();
        offset.learn(1_000, 500_100, 1_200);
        assert_eq!(offset.learn(2_000, 1_000, 2_200), -1_100);
        assert_eq!(offset.learn(3_000, 900_000, 8_000), 894_500);
    }
}
