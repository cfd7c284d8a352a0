//! The little statistics that calibration needs.

use damc_testbed::calibration::Interval;

/// Two-sided 95 % of the normal distribution.
const Z95: f64 = 1.96;
/// Two-sided 99 %.
const Z99: f64 = 2.576;

/// A sample of values.
pub(super) struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    pub(super) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    pub(super) fn len(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// Mean; not a number for an empty sample, which no tolerance accepts.
    pub(super) fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.sorted.len() as f64
    }

    pub(super) fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self.sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / self.sorted.len() as f64).sqrt()
    }

    /// 95 % interval of the mean.
    pub(super) fn interval(&self) -> Interval {
        Interval::around(self.mean(), Z95 * self.deviation() / (self.sorted.len() as f64).sqrt())
    }

    /// The value below which this share of the sample lies.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        self.sorted.get((last as f64 * share).round() as usize).copied()
    }
}

/// Least-squares slope of values over their numbers, and its standard error.
pub(super) fn slope(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, values.clone().sum::<f64>() / n);
    let points = values.enumerate().map(|(i, y)| (i as f64 - mean_x, y - mean_y));
    let spread: f64 = points.clone().map(|(x, _)| x * x).sum();
    let slope = points.clone().map(|(x, y)| x * y).sum::<f64>() / spread;
    let rest: f64 = points.map(|(x, y)| (y - slope * x).powi(2)).sum();
    (slope, (rest / (n - 2.0).max(1.0) / spread).sqrt())
}

/// 99 % interval (Wilson) of the probability behind `hits` of `trials`.
pub(super) fn binomial_interval(hits: u64, trials: u64) -> Interval {
    correlated_interval(hits, trials, 1.0)
}

/// As [`binomial_interval`], for trials that come in bursts: `inflation` is how many times larger the variance is than
/// that of independent trials.
pub(super) fn correlated_interval(hits: u64, trials: u64, inflation: f64) -> Interval {
    if trials == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let n = trials as f64 / inflation;
    let share = hits as f64 / trials as f64;
    let z2 = Z99 * Z99;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z99 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    Interval::around(centre, half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_interval_matches_the_formula_by_hand() {
        // 10 of 100 with z = 2.5758: centre 0.12489, half width 0.07886.
        let interval = binomial_interval(10, 100);
        assert!((interval.low - 0.0460).abs() < 1e-4 && (interval.high - 0.2038).abs() < 1e-4, "{interval:?}");
        assert!(binomial_interval(0, 0).contains(0.5));
        assert!(!binomial_interval(0, 10_000).contains(0.01));
    }

    #[test]
    fn the_slope_is_exact_on_a_line_and_survives_one_late_value() {
        assert_eq!(slope([1.0, 3.0, 5.0, 7.0].into_iter()), (2.0, 0.0));
        let mut late: Vec<f64> = (0..100).map(f64::from).collect();
        late[99] += 3.0;
        let (slope, error) = slope(late.into_iter());
        assert!((slope - 1.0).abs() < 0.003 && error > 0.0, "{slope} ± {error}");
    }

    #[test]
    fn a_sample_knows_its_moments_and_quantiles() {
        let sample = Sample::new([4.0, 1.0, 3.0, 2.0, 5.0]);
        assert_eq!((sample.mean(), sample.quantile(0.5), sample.quantile(1.0)), (3.0, Some(3.0), Some(5.0)));
        assert!((sample.deviation() - 2.0_f64.sqrt()).abs() < 1e-12);
        assert!(Sample::new([]).mean().is_nan());
    }
}
