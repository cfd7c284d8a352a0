//! What one direction of a link does to the frames that cross it, and how a change of it is said.

use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;

/// One direction of a link. The default is a perfect wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectionSpec {
    /// Delay, in nanoseconds. Starts when the last bit is serialised.
    pub delay_ns: u64,
    /// Deviation of the delay, in nanoseconds: half width of the uniform distribution, sigma of the others. Frames
    /// are delivered in the order of their delivery times, so jitter reorders, as netem does.
    pub jitter_ns: u64,
    /// Shape of the jitter.
    pub distribution: Distribution,
    /// Loss.
    pub loss: Loss,
    /// Probability that a frame is delivered twice. Each copy meets loss, corruption and jitter by itself.
    pub duplicate: f64,
    /// Probability that one random bit of a frame is flipped.
    pub corrupt: f64,
    /// Frames that overtake.
    pub reorder: Option<Reorder>,
    /// Rate in bit/s, counted over the whole Ethernet frame without FCS, preamble and gap, as netem and tbf count.
    /// None is unlimited.
    pub rate_bps: Option<u64>,
    /// Frames held at most, waiting and in flight together; more are dropped at the tail. None: see
    /// [`DirectionSpec::limit_frames`].
    pub limit: Option<u32>,
    /// Lose everything without taking the carrier away.
    pub silent: bool,
}

/// How frames are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Loss {
    /// Not at all.
    #[default]
    None,
    /// Each by itself with this probability.
    Random {
        /// 0 to 1.
        probability: f64,
    },
    /// The two-state model of Gilbert and Elliott, evaluated once per frame.
    GilbertElliott {
        /// Probability to go from the good to the bad state.
        to_bad: f64,
        /// Probability to go back.
        to_good: f64,
        /// Loss probability in the bad state (1 − h).
        bad_loss: f64,
        /// Loss probability in the good state (1 − k).
        good_loss: f64,
    },
}

impl Loss {
    /// Long-run share of frames lost.
    #[must_use]
    pub fn expected(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Random { probability } => probability,
            Self::GilbertElliott { to_bad, to_good, bad_loss, good_loss } => {
                let bad = if to_bad + to_good > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 };
                bad * bad_loss + (1.0 - bad) * good_loss
            }
        }
    }
}

/// Frames that skip the delay and so overtake the ones before them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reorder {
    /// Probability that a frame which may overtake does so.
    pub probability: f64,
    /// One frame in `gap` may overtake; 1 is every frame.
    pub gap: u32,
}

/// Smallest default queue, in frames.
const MIN_LIMIT: u64 = 1_000;
/// Largest default queue, in frames: a bound on memory, beyond what a user-space wire can carry in a second.
const MAX_LIMIT: u64 = 1_000_000;
/// Smallest frame without FCS, in bits.
const MIN_FRAME_BITS: u64 = 60 * 8;
/// What a link without a rate is taken to carry at most, in frames per second.
const UNLIMITED_PPS: u64 = 1_000_000;

impl DirectionSpec {
    /// The queue limit in force, in frames. By default what the delay holds in flight at full rate in the smallest
    /// frames, plus 1000 waiting: so a long delay never drops by itself.
    #[must_use]
    pub fn limit_frames(&self) -> usize {
        let limit = self.limit.map_or_else(|| default_limit(self.rate_bps, self.delay_ns, self.jitter_ns), u64::from);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Whether frames pass unchanged and at once.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        *self == Self { distribution: self.distribution, limit: self.limit, ..Self::default() }
    }

    /// Whether a plain pair of interfaces, with a token bucket for a rate, does all of this.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        Self { rate_bps: None, ..*self }.is_perfect()
    }

    /// This spec with what `change` names replaced, and nothing else.
    #[must_use]
    pub fn with(mut self, change: &DirectionChange) -> Self {
        fn replace<T: Copy>(slot: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *slot = new;
            }
        }
        replace(&mut self.delay_ns, change.delay_ns);
        replace(&mut self.jitter_ns, change.jitter_ns);
        replace(&mut self.distribution, change.distribution);
        replace(&mut self.loss, change.loss);
        replace(&mut self.duplicate, change.duplicate);
        replace(&mut self.corrupt, change.corrupt);
        replace(&mut self.silent, change.silent);
        replace(&mut self.reorder, change.reorder.map(|r| Some(r).filter(|r| r.probability > 0.0)));
        replace(&mut self.rate_bps, change.rate_bps.map(|r| Some(r).filter(|&r| r > 0)));
        replace(&mut self.limit, change.limit.map(|l| Some(l).filter(|&l| l > 0)));
        self
    }
}

/// Default queue limit in frames for a rate (bit/s), a delay and a jitter (ns). The kernel backend uses the same.
#[must_use]
pub fn default_limit(rate_bps: Option<u64>, delay_ns: u64, jitter_ns: u64) -> u64 {
    let pps = rate_bps.map_or(UNLIMITED_PPS, |rate| (rate / MIN_FRAME_BITS + 1).min(UNLIMITED_PPS));
    // Four deviations: the tables of the shaped distributions end there.
    let held_ns = u128::from(delay_ns) + 4 * u128::from(jitter_ns);
    let in_flight = u64::try_from(u128::from(pps) * held_ns / 1_000_000_000).unwrap_or(MAX_LIMIT);
    (MIN_LIMIT + in_flight).min(MAX_LIMIT)
}

/// A change of one direction: what is not named stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectionChange {
    /// See [`DirectionSpec::delay_ns`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ns: Option<u64>,
    /// See [`DirectionSpec::jitter_ns`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ns: Option<u64>,
    /// See [`DirectionSpec::distribution`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// See [`DirectionSpec::loss`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// See [`DirectionSpec::duplicate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<f64>,
    /// See [`DirectionSpec::corrupt`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<f64>,
    /// See [`DirectionSpec::reorder`]; probability 0 ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Reorder>,
    /// See [`DirectionSpec::rate_bps`]; 0 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_bps: Option<u64>,
    /// See [`DirectionSpec::limit`]; 0 is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// See [`DirectionSpec::silent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
}

impl From<&DirectionSpec> for DirectionChange {
    /// The change that turns any spec into this one.
    fn from(spec: &DirectionSpec) -> Self {
        Self {
            delay_ns: Some(spec.delay_ns),
            jitter_ns: Some(spec.jitter_ns),
            distribution: Some(spec.distribution),
            loss: Some(spec.loss),
            duplicate: Some(spec.duplicate),
            corrupt: Some(spec.corrupt),
            reorder: Some(spec.reorder.unwrap_or(Reorder { probability: 0.0, gap: 1 })),
            rate_bps: Some(spec.rate_bps.unwrap_or(0)),
            limit: Some(spec.limit.unwrap_or(0)),
            silent: Some(spec.silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let before = DirectionSpec {
            delay_ns: 5_000_000,
            loss: Loss::Random { probability: 0.1 },
            rate_bps: Some(10_000_000),
            ..DirectionSpec::default()
        };
        let after = before.with(&DirectionChange { delay_ns: Some(9), ..DirectionChange::default() });
        assert_eq!(after, DirectionSpec { delay_ns: 9, ..before });
        let cleared = after.with(&DirectionChange { rate_bps: Some(0), ..DirectionChange::default() });
        assert_eq!(cleared, DirectionSpec { rate_bps: None, ..after });
    }

    #[test]
    fn a_spec_read_as_a_change_replaces_everything() {
        let wanted = DirectionSpec {
            jitter_ns: 7,
            reorder: Some(Reorder { probability: 0.25, gap: 5 }),
            limit: Some(12),
            ..DirectionSpec::default()
        };
        let other = DirectionSpec { silent: true, rate_bps: Some(1), corrupt: 0.5, ..DirectionSpec::default() };
        assert_eq!(other.with(&DirectionChange::from(&wanted)), wanted);
    }

    #[test]
    fn the_default_limit_holds_what_the_delay_holds() {
        assert_eq!(default_limit(None, 0, 0), 1_000);
        assert_eq!(default_limit(Some(1_000_000_000), 50_000_000, 0), 1_000 + 50_000);
        assert_eq!(default_limit(Some(10_000_000), 10_000_000, 0), 1_000 + 208);
        assert_eq!(default_limit(None, u64::MAX, u64::MAX), 1_000_000);
    }

    #[test]
    fn expected_loss_of_gilbert_elliott_weighs_both_states() {
        let loss = Loss::GilbertElliott { to_bad: 0.01, to_good: 0.19, bad_loss: 1.0, good_loss: 0.0 };
        assert!((loss.expected() - 0.05).abs() < 1e-12);
    }
}
