//! Preset conditions of paths and their violation (drafts section 6 (3); QOS-06).

use std::collections::BTreeMap;

use damc_mgmt::command::Preset;
use damc_mgmt::config::Thresholds;
use damc_mgmt::view::OrderedPreset;
pub use damc_mgmt::words::Metric;
use damc_wire::{Name, NodeId};

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

/// Thresholds by prefix, longest match by component; of one SG before those of all. What was ordered at run time goes before
/// what is configured for the same prefix, metric by metric.
#[derive(Clone, Debug)]
pub struct ThresholdTable {
    default: Thresholds,
    by_prefix: BTreeMap<Name, Thresholds>,
    ordered: BTreeMap<Concerned, Preset>,
}

/// Prefix and source SG that an order names; none: all.
type Concerned = (Option<Name>, Option<NodeId>);

impl ThresholdTable {
    /// Thresholds of a configuration: by prefix, and `default` for all other names. Without `default`, only
    /// availability is judged there.
    ///
    /// # Errors
    /// A key that is neither a name nor `default`.
    pub fn new(config: &BTreeMap<String, Thresholds>) -> Result<Self, ConfigError> {
        let mut table = Self { default: UNLIMITED, by_prefix: BTreeMap::new(), ordered: BTreeMap::new() };
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

    /// Puts conditions beside the configured ones; empty ones take them away.
    pub fn order(&mut self, prefix: Option<Name>, source: Option<NodeId>, preset: Preset) {
        if preset.is_empty() {
            self.ordered.remove(&(prefix, source));
        } else {
            self.ordered.insert((prefix, source), preset);
        }
    }

    /// What was ordered.
    #[must_use]
    pub fn ordered(&self) -> Vec<OrderedPreset> {
        let text = |((prefix, source), preset): (&Concerned, &Preset)| OrderedPreset {
            prefix: prefix.as_ref().map(ToString::to_string),
            source: source.as_ref().map(ToString::to_string),
            preset: *preset,
        };
        self.ordered.iter().map(text).collect()
    }

    /// The thresholds of the traffic of an SG to a service or pool.
    #[must_use]
    pub fn of(&self, source: &NodeId, name: &Name) -> Thresholds {
        let mut found = Preset::default();
        let mut at = Some(name.clone());
        while let Some(prefix) = at {
            let configured = self.by_prefix.get(&prefix);
            at = prefix.parent();
            self.fill_ordered(&mut found, Some(prefix), source);
            if let Some(configured) = configured {
                return completed(found, configured);
            }
        }
        self.fill_ordered(&mut found, None, source);
        completed(found, &self.default)
    }

    fn fill_ordered(&self, found: &mut Preset, prefix: Option<Name>, source: &NodeId) {
        if self.ordered.is_empty() {
            return;
        }
        let mut concerned = (prefix, Some(source.clone()));
        for _ in 0..2 {
            if let Some(preset) = self.ordered.get(&concerned) {
                found.fill(preset);
            }
            concerned.1 = None;
        }
    }
}

/// Named conditions, and the configured ones for what is not named.
fn completed(named: Preset, configured: &Thresholds) -> Thresholds {
    Thresholds {
        bandwidth_bps: named.bandwidth_bps.unwrap_or(configured.bandwidth_bps),
        delay_ns: named.delay_ns.unwrap_or(configured.delay_ns),
        jitter_ns: named.jitter_ns.unwrap_or(configured.jitter_ns),
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
        let of = |n: &str| table.of(&NodeId::new("sg-1").unwrap(), &n.parse().unwrap());
        assert_eq!((of("/A/1"), of("/B"), of("/B/1"), of("/B/4"), of("/B/4/x")), (PRESET, b, b, b4, b4));
        assert_eq!(of("/Bx/1"), PRESET, "component-wise");
        assert!(ThresholdTable::new(&[("B".to_owned(), b)].into()).is_err());
    }

    #[test]
    fn gap_15_ordered_thresholds_go_before_the_configured_ones_of_their_prefix_alone() {
        let b4 = Thresholds { delay_ns: 4, ..PRESET };
        let config = [("default", PRESET), ("/B/4", b4)].map(|(k, v)| (k.to_owned(), v)).into();
        let mut table = ThresholdTable::new(&config).unwrap();
        let (near, far) = (NodeId::new("sg-1").unwrap(), NodeId::new("sg-2").unwrap());
        let name = |n: &str| n.parse::<Name>().unwrap();
        let delay = |delay_ns: u64| Preset { delay_ns: Some(delay_ns), ..Preset::default() };
        table.order(Some(name("/B")), None, delay(7));
        table.order(Some(name("/B")), Some(near.clone()), delay(6));
        table.order(None, None, Preset { jitter_ns: Some(1), ..delay(9) });
        let of = |table: &ThresholdTable, source: &NodeId, n: &str| table.of(source, &name(n));
        assert_eq!(of(&table, &near, "/B/1"), Thresholds { delay_ns: 6, jitter_ns: 1, ..PRESET });
        assert_eq!(of(&table, &far, "/B/1"), Thresholds { delay_ns: 7, jitter_ns: 1, ..PRESET });
        assert_eq!(of(&table, &near, "/B/4"), b4, "configured for a longer prefix");
        assert_eq!(of(&table, &near, "/A"), Thresholds { delay_ns: 9, jitter_ns: 1, ..PRESET });
        assert_eq!(table.ordered().len(), 3);
        table.order(Some(name("/B")), Some(near.clone()), Preset::default());
        assert_eq!(of(&table, &near, "/B/1").delay_ns, 7, "taken back");
        table.order(Some(name("/B")), None, Preset::default());
        table.order(None, None, Preset::default());
        assert_eq!((of(&table, &near, "/B/1"), table.ordered()), (PRESET, Vec::new()));
    }
}
