//! Preset conditions of paths and their violation (drafts section 6 (3); QOS-06).

use std::collections::BTreeMap;

use damc_mgmt::config::Thresholds;
pub use damc_mgmt::words::Metric;
use damc_wire::Name;

use crate::context::ConfigError;

/// Metrics of a path, measured or estimated. A missing one was not sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMetrics {
    /// Bandwidth, bit/s.
    pub bandwidth_bps: Option<u64>,
    /// Delay, ns.
    pub delay_ns: Option<u64>,
    /// Jitter, ns.
    pub jitter_ns: Option<u64>,
    /// Whether the target answers.
    pub available: bool,
}

impl PathMetrics {
    /// Metrics of an unmeasured path.
    pub const UNKNOWN: Self = Self { bandwidth_bps: None, delay_ns: None, jitter_ns: None, available: true };

    /// The conditions that are not met: bandwidth ≤, delay ≥ or jitter ≥ the preset, equality included. A metric
    /// without a sample violates nothing. An unavailable target is a violation of its own.
    #[must_use]
    pub fn violations(&self, preset: &Thresholds) -> Vec<Metric> {
        let mut violated = Vec::new();
        if self.bandwidth_bps.is_some_and(|b| b <= preset.bandwidth_bps) {
            violated.push(Metric::Bandwidth);
        }
        if self.delay_ns.is_some_and(|d| d >= preset.delay_ns) {
            violated.push(Metric::Delay);
        }
        if self.jitter_ns.is_some_and(|j| j >= preset.jitter_ns) {
            violated.push(Metric::Jitter);
        }
        if !self.available {
            violated.push(Metric::Availability);
        }
        violated
    }

    /// Whether the path is good enough to return to: delay and jitter below `percent` of their presets, bandwidth above
    /// its preset by the same factor, the target answers, and the delay is known.
    #[must_use]
    pub fn is_clear_of(&self, preset: &Thresholds, percent: u64) -> bool {
        let percent = u128::from(percent.clamp(1, 100));
        let below = |value: u64, limit: u64| u128::from(value) * 100 < u128::from(limit) * percent;
        self.available
            && self.delay_ns.is_some_and(|d| below(d, preset.delay_ns))
            && self.jitter_ns.is_none_or(|j| below(j, preset.jitter_ns))
            && self.bandwidth_bps.is_none_or(|b| u128::from(b) * percent > u128::from(preset.bandwidth_bps) * 100)
    }
}

/// Thresholds that no metric violates.
const UNLIMITED: Thresholds = Thresholds { bandwidth_bps: 0, delay_ns: u64::MAX, jitter_ns: u64::MAX };

/// Thresholds by prefix, longest match by component.
#[derive(Clone, Debug)]
pub struct ThresholdTable {
    default: Thresholds,
    by_prefix: BTreeMap<Name, Thresholds>,
}

impl ThresholdTable {
    /// Thresholds of a configuration: by prefix, and `default` for all other names. Without `default`, only
    /// availability is judged there.
    ///
    /// # Errors
    /// A key that is neither a name nor `default`.
    pub fn new(config: &BTreeMap<String, Thresholds>) -> Result<Self, ConfigError> {
        let mut table = Self { default: UNLIMITED, by_prefix: BTreeMap::new() };
        for (key, thresholds) in config {
            if key == "default" {
                table.default = *thresholds;
            } else {
                let prefix = key
                    .parse()
                    .map_err(|e: damc_wire::name::NameError| ConfigError::field(format!("thresholds.{key}"), e))?;
                table.by_prefix.insert(prefix, *thresholds);
            }
        }
        Ok(table)
    }

    /// The thresholds of a service or pool.
    #[must_use]
    pub fn of(&self, name: &Name) -> &Thresholds {
        let mut at = Some(name.clone());
        while let Some(prefix) = at {
            if let Some(found) = self.by_prefix.get(&prefix) {
                return found;
            }
            at = prefix.parent();
        }
        &self.default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESET: Thresholds = Thresholds { bandwidth_bps: 10_000_000, delay_ns: 50_000_000, jitter_ns: 10_000_000 };

    fn metrics(bandwidth: Option<u64>, delay: Option<u64>, jitter: Option<u64>) -> PathMetrics {
        PathMetrics { bandwidth_bps: bandwidth, delay_ns: delay, jitter_ns: jitter, available: true }
    }

    #[test]
    fn qos_06_each_metric_alone_at_its_threshold_and_one_unit_off() {
        use Metric::{Bandwidth, Delay, Jitter};
        let good = (PRESET.bandwidth_bps + 1, PRESET.delay_ns - 1, PRESET.jitter_ns - 1);
        for (offset, bandwidth, upper) in [(-1, true, false), (0, true, true), (1, false, true)] {
            let b = PRESET.bandwidth_bps.checked_add_signed(offset);
            let d = PRESET.delay_ns.checked_add_signed(offset);
            let j = PRESET.jitter_ns.checked_add_signed(offset);
            let alone = |v: Option<Metric>| v.into_iter().collect::<Vec<_>>();
            let expect = |hit: bool, metric| alone(hit.then_some(metric));
            assert_eq!(
                metrics(b, Some(good.1), Some(good.2)).violations(&PRESET),
                expect(bandwidth, Bandwidth),
                "{offset}"
            );
            assert_eq!(metrics(Some(good.0), d, Some(good.2)).violations(&PRESET), expect(upper, Delay), "{offset}");
            assert_eq!(metrics(Some(good.0), Some(good.1), j).violations(&PRESET), expect(upper, Jitter), "{offset}");
            assert_eq!(
                metrics(b, None, None).violations(&PRESET),
                expect(bandwidth, Bandwidth),
                "{offset}, alone known"
            );
        }
    }

    #[test]
    fn qos_06_every_combination_of_the_three_metrics_around_their_thresholds() {
        for (bo, b_hit) in [(-1, true), (0, true), (1, false)] {
            for (d_off, d_hit) in [(-1, false), (0, true), (1, true)] {
                for (jo, j_hit) in [(-1, false), (0, true), (1, true)] {
                    let m = metrics(
                        PRESET.bandwidth_bps.checked_add_signed(bo),
                        PRESET.delay_ns.checked_add_signed(d_off),
                        PRESET.jitter_ns.checked_add_signed(jo),
                    );
                    let expected: Vec<Metric> =
                        [(b_hit, Metric::Bandwidth), (d_hit, Metric::Delay), (j_hit, Metric::Jitter)]
                            .into_iter()
                            .filter_map(|(hit, metric)| hit.then_some(metric))
                            .collect();
                    assert_eq!(m.violations(&PRESET), expected, "{bo} {d_off} {jo}");
                }
            }
        }
    }

    #[test]
    fn qos_06_missing_samples_violate_nothing_but_silence_does() {
        assert_eq!(PathMetrics::UNKNOWN.violations(&PRESET), []);
        let silent = PathMetrics { available: false, ..PathMetrics::UNKNOWN };
        assert_eq!(silent.violations(&PRESET), [Metric::Availability]);
        assert_eq!(silent.violations(&UNLIMITED), [Metric::Availability]);
    }

    #[test]
    fn gap_16_re_entry_needs_a_margin_on_every_metric() {
        let clear = metrics(Some(12_500_001), Some(39_999_999), Some(7_999_999));
        assert!(clear.is_clear_of(&PRESET, 80));
        assert!(!PathMetrics { bandwidth_bps: Some(12_500_000), ..clear }.is_clear_of(&PRESET, 80));
        assert!(!PathMetrics { delay_ns: Some(40_000_000), ..clear }.is_clear_of(&PRESET, 80));
        assert!(!PathMetrics { jitter_ns: Some(8_000_000), ..clear }.is_clear_of(&PRESET, 80));
        assert!(!PathMetrics { delay_ns: None, ..clear }.is_clear_of(&PRESET, 80), "nothing measured is not good");
        assert!(!PathMetrics { available: false, ..clear }.is_clear_of(&PRESET, 80));
    }

    #[test]
    fn gap_15_thresholds_are_found_by_longest_prefix() {
        let b = Thresholds { delay_ns: 20, ..PRESET };
        let b4 = Thresholds { delay_ns: 4, ..PRESET };
        let config = [("default", PRESET), ("/B", b), ("/B/4", b4)].map(|(k, v)| (k.to_owned(), v)).into();
        let table = ThresholdTable::new(&config).unwrap();
        let of = |n: &str| *table.of(&n.parse().unwrap());
        assert_eq!((of("/A/1"), of("/B"), of("/B/1"), of("/B/4"), of("/B/4/x")), (PRESET, b, b, b4, b4));
        assert_eq!(of("/Bx/1"), PRESET, "component-wise");
        assert!(ThresholdTable::new(&[("B".to_owned(), b)].into()).is_err());
    }
}
