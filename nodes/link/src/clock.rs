//! One clock for everything: `CLOCK_MONOTONIC`. The kernel stamps frames with the realtime clock.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, ns. Comparable between all processes of one kernel.
#[must_use]
pub fn monotonic_now() -> u64 {
    now(ClockId::CLOCK_MONOTONIC)
}

/// Realtime minus monotonic. Both clocks are slewed alike, so it changes only when somebody sets the realtime clock;
/// what else seems to change is the time between two readings, which may be long where the thread is interrupted. A
/// narrow measurement is therefore kept until one contradicts it or is narrower; and because reading clocks is dear on
/// some kernels, it is not measured for every batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealtimeOffset {
    /// Where the offset lies: the middle, ns, and how far it may be from there.
    known: Option<(i64, u64)>,
    /// Batches so far.
    batches: u32,
}

/// Batches at the beginning that measure, to find a narrow measurement.
const EAGER: u32 = 8;
/// Of the later ones every so many.
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
    // Neither clock can fail to be read on Linux; zero is as good as any answer.
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
