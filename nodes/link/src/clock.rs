//! One clock for everything: `CLOCK_MONOTONIC`. The kernel stamps frames with the realtime clock.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, ns. Comparable between all processes of one kernel.
#[must_use]
pub fn monotonic_now() -> u64 {
    now(ClockId::CLOCK_MONOTONIC)
}

/// Realtime minus monotonic, ns. Measured per batch, because the realtime clock may be set or slewed at any time.
pub(crate) fn realtime_offset() -> i64 {
    let before = monotonic_now();
    let realtime = now(ClockId::CLOCK_REALTIME);
    let after = monotonic_now();
    realtime.cast_signed() - (before + (after - before) / 2).cast_signed()
}

fn now(clock: ClockId) -> u64 {
    // Neither clock can fail to be read on Linux; zero is as good as any answer.
    clock_gettime(clock).map_or(0, |t| t.tv_sec().unsigned_abs() * 1_000_000_000 + t.tv_nsec().unsigned_abs())
}
