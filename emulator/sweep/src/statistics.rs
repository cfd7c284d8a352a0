//! Medians and what they may be off by.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Samples drawn anew for an interval.
pub(crate) const RESAMPLES: usize = 2000;
/// Runs below which not even the span from the least to the most covers the median in 95 of 100 sweeps: 1 - 2^(1 - n).
pub(crate) const FEWEST: usize = 6;

/// Where the median of all runs that could be made lies, as far as those that were made tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MedianInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the runs of a point say about a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistic {
    /// Number of runs.
    pub runs: usize,
    /// Their median.
    pub median: f64,
    /// Its 95 % interval, by the bootstrap. None where there are fewer than six runs: no interval can be had of them.
    pub interval: Option<MedianInterval>,
    /// The least value.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Statistic {
    /// Of one value for each run; `seed` draws the resamples. None where there are no values.
    #[must_use]
    pub fn of(values: &[f64], seed: u64) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let interval = (sorted.len() >= FEWEST).then(|| bootstrap(&sorted, seed));
        Some(Self { runs: sorted.len(), median: middle(&sorted), interval, least, most })
    }
}

/// The median; none of no values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| middle(&sorted))
}

/// Of values in order, one at least.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// The 95 % interval of the median of `sorted` values (one at least) by Efron's percentile bootstrap.
#[must_use]
pub fn bootstrap(sorted: &[f64], seed: u64) -> MedianInterval {
    if sorted.first() == sorted.last() {
        return MedianInterval { low: sorted[0], high: sorted[0] };
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    percentile_interval((0..RESAMPLES).map(|_| resampled_median(sorted, &mut random)).collect())
}

/// The median of as many values drawn anew, with replacement, from `sorted` values (one at least).
pub(crate) fn resampled_median(sorted: &[f64], random: &mut ChaCha8Rng) -> f64 {
    let mut counts = vec![0_usize; sorted.len()];
    (0..sorted.len()).for_each(|_| counts[random.random_range(0..sorted.len())] += 1);
    middle_drawn(sorted, &counts)
}

/// What lies between the 2.5 % and the 97.5 % percentile of [`RESAMPLES`] statistics.
pub(crate) fn percentile_interval(mut resampled: Vec<f64>) -> MedianInterval {
    resampled.sort_by(f64::total_cmp);
    let cut = RESAMPLES / 40;
    MedianInterval { low: resampled[cut], high: resampled[RESAMPLES - 1 - cut] }
}

/// The median of a resample in which each of the sorted values occurs as often as its count says.
fn middle_drawn(sorted: &[f64], counts: &[usize]) -> f64 {
    let at = |rank: usize| {
        let mut passed = 0;
        let index = counts.iter().position(|count| {
            passed += count;
            passed > rank
        });
        sorted[index.unwrap_or(sorted.len() - 1)]
    };
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half - 1), at(half)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn a_statistic_says_what_the_runs_say() {
        let all = Statistic::of(&[5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 7.0], 1).unwrap();
        assert_eq!((all.runs, all.median, all.least, all.most), (7, 4.0, 1.0, 7.0));
        assert!(Statistic::of(&[1.0, 2.0, 3.0, 4.0, 5.0], 1).unwrap().interval.is_none(), "five runs are too few");
        assert_eq!(Statistic::of(&[], 1), None);
        assert_eq!(Statistic::of(&[f64::NAN], 1), None);
        let equal = Statistic::of(&[2.0; 9], 1).unwrap();
        assert_eq!(equal.interval, Some(MedianInterval { low: 2.0, high: 2.0 }));
    }

    /// Of an odd number of values the bootstrapped median is an order statistic, whose distribution is known exactly:
    /// P(median* <= x(k)) = P(Binomial(n, k/n) >= (n+1)/2).
    #[test]
    fn the_interval_is_that_of_the_exact_bootstrap() {
        let at_most = |n: u32, k: u32| {
            let share = f64::from(k) / f64::from(n);
            let choose = |j: u32| (0..j).fold(1.0, |product, i| product * f64::from(n - i) / f64::from(i + 1));
            let term = |j: u32| choose(j) * share.powi(j as i32) * (1.0 - share).powi((n - j) as i32);
            (n.div_ceil(2)..=n).map(term).sum::<f64>()
        };
        for n in [7, 15, 31, 101] {
            let sorted: Vec<f64> = (1..=n).map(f64::from).collect();
            let exact = |level: f64| f64::from((1..=n).find(|k| at_most(n, *k) >= level).unwrap());
            let found = bootstrap(&sorted, 7);
            // Two thousand resamples hit the next value at most.
            assert!((found.low - exact(0.025)).abs() <= 1.0, "{n}: {found:?}, exactly {}", exact(0.025));
            assert!((found.high - exact(0.975)).abs() <= 1.0, "{n}: {found:?}, exactly {}", exact(0.975));
        }
    }

    /// The interval of 25 runs has to cover the true median about 95 times out of 100.
    #[test]
    fn intervals_cover_the_truth() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let covered = (0..400).filter(|&sweep| {
            let mut sorted: Vec<f64> = (0..25).map(|_| -f64::ln(1.0 - random.random::<f64>())).collect();
            sorted.sort_by(f64::total_cmp);
            let interval = bootstrap(&sorted, sweep);
            (interval.low..=interval.high).contains(&core::f64::consts::LN_2)
        });
        let covered = covered.count();
        assert!((365..=395).contains(&covered), "{covered} of 400");
    }

    proptest! {
        #[test]
        fn order_and_repetition_change_nothing(mut values in prop::collection::vec(-1e6..1e6, 6..40), seed: u64) {
            let first = Statistic::of(&values, seed).unwrap();
            values.reverse();
            prop_assert_eq!(Statistic::of(&values, seed).unwrap(), first);
            let interval = first.interval.unwrap();
            prop_assert!(first.least <= interval.low && interval.low <= interval.high && interval.high <= first.most);
        }
    }
}
