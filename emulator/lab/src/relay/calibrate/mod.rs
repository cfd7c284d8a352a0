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
use serde::{Deserialize, Serialize};

pub use statistics::Interval;

/// A private link to measure.
pub struct CalibrationLink<'a> {
    /// Bound to the near end.
    pub sender: damc_link::RawSocket,
    /// Bound to the far end, opened with [`damc_link::Filter::Everything`].
    pub receiver: damc_link::RawSocket,
    /// Puts a spec on the direction from sender to receiver.
    pub apply: &'a mut dyn FnMut(&DirectionSpec) -> Result<(), String>,
}

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// About a second: before every run.
    Short,
    /// About ten seconds, every property: for `damc doctor --calibrate`.
    Long,
    /// Half a minute, thirty specs: to compare what serves links.
    Grid,
}

/// A property of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// What a link without any impairment adds, ms.
    Base,
    /// Mean delay, ms.
    Delay,
    /// Standard deviation of the delay, ms.
    Jitter,
    /// Share of frames lost independently.
    Loss,
    /// Share of frames lost in bursts.
    BurstLoss,
    /// Mean length of a burst of losses, frames.
    BurstLength,
    /// Bits of Ethernet frames per second.
    Rate,
    /// Share of frames doubled.
    Duplicate,
    /// Share of frames damaged.
    Corrupt,
    /// Share of frames that overtook.
    Reorder,
}

/// One property, asked and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What the link was told, whole.
    pub spec: DirectionSpec,
    /// Which.
    pub property: Property,
    /// What was asked, in the property's unit.
    pub asked: f64,
    /// What was measured.
    pub measured: f64,
    /// Confidence interval of the measurement: 95 % for means, 99 % binomial for shares.
    pub interval: Interval,
    /// Frames it rests on.
    pub samples: u64,
    /// Median, where the property has one.
    pub p50: Option<f64>,
    /// 99th percentile, where the property has one.
    pub p99: Option<f64>,
    /// What RFC 3550's interarrival jitter (section 6.4.1) settles at, ms: the mean difference of the transit times of
    /// frames that arrived one after the other. Where delays were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rfc3550_ms: Option<f64>,
    /// Within [`Tolerance`].
    pub within: bool,
}

/// What a link may be off by and still count as faithful.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Of the mean delay, ms.
    pub delay_ms: f64,
    /// Of the delay's 99th percentile, ms.
    pub delay_p99_ms: f64,
    /// Of the deviation of the delay, as share of what was asked.
    pub jitter: f64,
    /// Of the rate, as share.
    pub rate: f64,
}

impl Default for Tolerance {
    /// Enough for the suites, whose thresholds lie milliseconds apart; a quiet machine does far better.
    fn default() -> Self {
        Self { delay_ms: 0.5, delay_p99_ms: 3.0, jitter: 0.15, rate: 0.03 }
    }
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// How much was measured.
    pub depth: Depth,
    /// What it was judged by.
    pub tolerance: Tolerance,
    /// Property by property.
    pub measurements: Vec<Measurement>,
    /// Every measurement is within tolerance.
    pub faithful: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// How long it took, ms.
    pub took_ms: u64,
}

impl Calibration {
    /// The measurement of a property, if it was made.
    #[must_use]
    pub fn of(&self, property: Property) -> Option<&Measurement> {
        self.measurements.iter().find(|m| m.property == property)
    }
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

impl Measurement {
    fn complaint(&self) -> String {
        let Self { property, asked, measured, interval, samples, p99, .. } = self;
        let p99 = p99.map_or_else(String::new, |p99| format!(", p99 {p99:.3}"));
        format!(
            "{property:?}: asked {asked:.4}, measured {measured:.4} [{:.4}, {:.4}]{p99} over {samples} frames",
            interval.low, interval.high
        )
    }
}
