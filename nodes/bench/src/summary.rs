//! Median and spread: the one place where samples become figures.

use serde::Serialize;

/// What samples come to, in their own unit. Quantiles between two samples are interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of samples.
    pub count: usize,
    /// Half of the samples are below.
    pub median: f64,
    /// A quarter of the samples is below.
    pub p25: f64,
    /// A quarter of the samples is above.
    pub p75: f64,
    /// One sample in a hundred is above.
    pub p99: f64,
    /// The least sample.
    pub least: f64,
    /// The largest sample.
    pub most: f64,
}

impl Summary {
    /// Sorts the samples and sums them up; none where there is no sample.
    #[must_use]
    pub fn of(samples: &mut [f64]) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (least, most) = (*samples.first()?, *samples.last()?);
        let quantile = |percent| interpolated(samples, percent);
        let [p25, median, p75, p99] = [25, 50, 75, 99].map(quantile);
        Some(Self { count: samples.len(), median, p25, p75, p99, least, most })
    }
}

/// A quantile of sorted samples, of which there is at least one.
fn interpolated(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() - 1) * percent;
    let (below, rest) = (place / 100, place % 100);
    let above = sorted.get(below + 1).unwrap_or(&sorted[below]);
    sorted[below] + (above - sorted[below]) * crate::as_f64(rest) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_samples() {
        let mut samples: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        let summary = Summary::of(&mut samples).unwrap();
        assert_eq!((summary.median, summary.p25, summary.p75, summary.p99), (51.0, 26.0, 76.0, 100.0));
        assert_eq!((summary.least, summary.most, summary.count), (1.0, 101.0, 101));
    }

    #[test]
    fn few_samples_are_interpolated() {
        assert_eq!(Summary::of(&mut []), None);
        let one = Summary::of(&mut [7.0]).unwrap();
        assert_eq!((one.least, one.p25, one.median, one.p99, one.most), (7.0, 7.0, 7.0, 7.0, 7.0));
        let four = Summary::of(&mut [4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((four.p25, four.median, four.p75), (1.75, 2.5, 3.25));
    }
}
