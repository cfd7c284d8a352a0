//! Does a link do what it is told? Known trains of frames over a private link, one property after the other, and what
//! was asked beside what was measured.
//!
//! The link is whatever backend serves the lab: the caller opens a socket at either end and says how a spec is put on
//! the direction between them. Delays are taken from just before the sending system call to the kernel's receive
//! stamp, so they include what crossing two veth pairs and the relay costs.

mod plan;
mod statistics;
mod train;

use std::time::Instant;

use damc_impair::DirectionSpec;
pub use damc_testbed::calibration::{Calibration, Depth, Interval, Measurement, Property, Tolerance};

/// A private link to measure.
pub struct CalibrationLink<'a> {
    /// Bound to the near end.
    pub sender: damc_link::RawSocket,
    /// Bound to the far end, opened with [`damc_link::Filter::Everything`].
    pub receiver: damc_link::RawSocket,
    /// Puts a spec on the direction from sender to receiver.
    pub apply: &'a mut dyn FnMut(&DirectionSpec) -> Result<(), String>,
}

/// How often a property that came out wrong is measured again. A right link leaves a 99 % interval once in a hundred
/// measurements, and a loaded host spoils a tenth of a second now and then.
const REPEATS: usize = 2;
/// … and how often where backends are compared: each of thirty specs has to come out right on both.
const REPEATS_OF_GRID: usize = 8;
/// How late the latest hundredth of frames may be there, ms: two backends that are compared may be 1 ms apart.
const DELAY_P99_OF_GRID: f64 = 0.9;

/// Measures a link. Takes as long as [`Depth`] says, a little longer where something has to be measured again.
pub fn calibrate(link: CalibrationLink<'_>, depth: Depth, tolerance: Tolerance) -> Result<Calibration, String> {
    let start = Instant::now();
    let (repeats, tolerance) = match depth {
        Depth::Grid => (REPEATS_OF_GRID, Tolerance { delay_p99_ms: DELAY_P99_OF_GRID, ..tolerance }),
        _ => (REPEATS, tolerance),
    };
    let measurements = measure(link, depth, &tolerance, repeats)?;
    let reasons: Vec<_> = measurements.iter().filter(|m| !m.within).map(Measurement::complaint).collect();
    let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Calibration { depth, tolerance, measurements, faithful: reasons.is_empty(), reasons, took_ms })
}

/// Measures every property once, whatever comes out: for those who judge a number of measurements together.
pub fn measure_once(link: CalibrationLink<'_>, depth: Depth, tolerance: Tolerance) -> Result<Vec<Measurement>, String> {
    measure(link, depth, &tolerance, 0)
}

fn measure(
    link: CalibrationLink<'_>,
    depth: Depth,
    tolerance: &Tolerance,
    repeats: usize,
) -> Result<Vec<Measurement>, String> {
    let CalibrationLink { sender, receiver, apply } = link;
    let mut bench = train::CalibrationLab::new(sender, receiver);
    let mut measurements = Vec::new();
    for step in plan::steps(depth) {
        let mut outcome = Vec::new();
        for _ in 0..=repeats {
            apply(&step.spec)?;
            let train = bench.send(&step.train).map_err(|e| format!("calibration link: {e}"))?;
            outcome = step.measure(&train, tolerance);
            if outcome.iter().all(|m| m.within) {
                break;
            }
        }
        measurements.extend(outcome);
    }
    apply(&DirectionSpec::default())?;
    Ok(measurements)
}
