//! Whether links do what they are told: property by property, what was asked beside what was measured.

use damc_impair::DirectionSpec;
use serde::{Deserialize, Serialize};

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// Around a value.
    #[must_use]
    pub fn around(value: f64, half: f64) -> Self {
        Self { low: value - half, high: value + half }
    }

    /// Whether a value lies in it.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
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

impl Measurement {
    /// What is wrong with it, for people.
    #[must_use]
    pub fn complaint(&self) -> String {
        let Self { property, asked, measured, interval, samples, p99, .. } = self;
        let p99 = p99.map_or_else(String::new, |p99| format!(", p99 {p99:.3}"));
        format!(
            "{property:?}: asked {asked:.4}, measured {measured:.4} [{:.4}, {:.4}]{p99} over {samples} frames",
            interval.low, interval.high
        )
    }
}
