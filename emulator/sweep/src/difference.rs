//! What two sets of runs say about a change from one to the other.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::statistics::{FEWEST, MedianInterval, RESAMPLES, Statistic, percentile_interval, resampled_median};

/// Runs of both sides together up to which the rank-sum test is computed exactly.
const EXACT: usize = 40;

/// The change of a metric from the runs `a` to the runs `b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// What `a` says.
    pub a: Statistic,
    /// What `b` says.
    pub b: Statistic,
    /// Median of `b` less median of `a`.
    pub by: f64,
    /// The 95 % interval of that, by the bootstrap. None where a side has fewer than six runs.
    pub interval: Option<MedianInterval>,
    /// Probability of values as different as these if both sides were draws from the same: Wilcoxon's rank-sum test, two-sided.
    pub p: f64,
}

impl Difference {
    /// Of one value for each run; `seed` draws the resamples. None where a side has no value.
    #[must_use]
    pub fn of(a: &[f64], b: &[f64], seed: u64) -> Option<Self> {
        let (a, b) = (sorted(a), sorted(b));
        let (of_a, of_b) = (Statistic::of(&a, seed)?, Statistic::of(&b, seed)?);
        let interval = (a.len().min(b.len()) >= FEWEST).then(|| interval(&a, &b, seed));
        Some(Self { a: of_a, b: of_b, by: of_b.median - of_a.median, interval, p: rank_sum(&a, &b) })
    }

    /// Whether every run of both sides has the same value, so that there is nothing to test.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.a.least == self.b.most && self.b.least == self.a.most
    }

    /// Whether the 95 % interval leaves out that nothing changed.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.interval.is_some_and(|interval| interval.low > 0.0 || interval.high < 0.0)
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The 95 % interval of the difference of the medians. Both sides are resampled by themselves.
fn interval(a: &[f64], b: &[f64], seed: u64) -> MedianInterval {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn = |_| resampled_median(b, &mut random) - resampled_median(a, &mut random);
    percentile_interval((0..RESAMPLES).map(drawn).collect())
}

/// The two-sided p-value of Wilcoxon's rank-sum test: exact with ties for few runs, by the normal distribution (with the
/// correction for ties) for many. 1 where a side is empty.
#[must_use]
pub fn rank_sum(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 1.0;
    }
    let (ranks, of_a) = doubled_ranks(a, b);
    if ranks.len() <= EXACT { exact(&ranks, a.len(), of_a) } else { normal(&ranks, a.len(), of_a) }
}

/// Twice the midrank of each value of both sides, and the sum over those of `a`.
fn doubled_ranks(a: &[f64], b: &[f64]) -> (Vec<usize>, usize) {
    let mut all: Vec<(f64, bool)> = a.iter().map(|v| (*v, true)).chain(b.iter().map(|v| (*v, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut ranks, mut of_a) = (Vec::with_capacity(all.len()), 0);
    for tied in all.chunk_by(|x, y| x.0 == y.0) {
        // The mean of the ranks first + 1 to first + n, doubled.
        let rank = 2 * ranks.len() + tied.len() + 1;
        of_a += rank * tied.iter().filter(|(_, from_a)| *from_a).count();
        ranks.extend(std::iter::repeat_n(rank, tied.len()));
    }
    (ranks, of_a)
}

/// The share of all ways to choose `n` of these ranks whose sum is at least as far from the expected one as `seen`.
fn exact(ranks: &[usize], n: usize, seen: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    // ways[k][s]: choices of k ranks whose sum is s. Binomials of 40 are below 2^38: close enough as floating point.
    let mut ways = vec![vec![0.0_f64; total + 1]; n + 1];
    ways[0][0] = 1.0;
    for (taken, &rank) in ranks.iter().enumerate() {
        for k in (1..=n.min(taken + 1)).rev() {
            let (fewer, more) = ways.split_at_mut(k);
            for (to, from) in more[0][rank..].iter_mut().zip(&fewer[k - 1]) {
                *to += from;
            }
        }
    }
    // Distances times the number of ranks, so that the expected sum is a whole number.
    let far = |sum: usize| (sum * ranks.len()).abs_diff(n * total);
    let all: f64 = ways[n].iter().sum();
    let as_far: f64 = ways[n].iter().enumerate().filter(|(sum, _)| far(*sum) >= far(seen)).map(|(_, ways)| ways).sum();
    (as_far / all).min(1.0)
}

fn normal(ranks: &[usize], n: usize, seen: usize) -> f64 {
    let (all, n) = (ranks.len() as f64, n as f64);
    let mean = ranks.iter().sum::<usize>() as f64 / all;
    let variance = ranks.iter().map(|rank| (*rank as f64 - mean).powi(2)).sum::<f64>() / (all - 1.0);
    let deviation = (n * (all - n) / all * variance).sqrt();
    if deviation == 0.0 {
        return 1.0;
    }
    // One half step of a doubled sum is the correction for continuity.
    let z = (((seen as f64 - n * mean).abs() - 1.0) / deviation).max(0.0);
    (2.0 * upper_tail(z)).min(1.0)
}

/// P(Z > z) of the standard normal distribution for z ≥ 0: its continued fraction, and the series near 0.
fn upper_tail(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / (2.0 * core::f64::consts::PI).sqrt();
    if z < 3.0 {
        let series = (1..100).scan(z, |term, k| {
            let now = *term;
            *term *= z * z / f64::from(2 * k + 1);
            Some(now)
        });
        return 0.5 - density * series.sum::<f64>();
    }
    density / (1..100).rev().fold(z, |fraction, k| z + f64::from(k) / fraction)
}

/// Which of these p-values hold together: the chance that any of those is wrong is at most `level` (Holm's procedure).
#[must_use]
pub fn holm(p: &[f64], level: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|x, y| p[*x].total_cmp(&p[*y]));
    let mut holds = vec![false; p.len()];
    for (place, index) in order.into_iter().enumerate() {
        if p[index] > level / (p.len() - place) as f64 {
            break;
        }
        holds[index] = true;
    }
    holds
}

/// Runs that each side needs at least so that one figure among this many can be told from chance, six or more.
#[must_use]
pub fn runs_needed(comparisons: usize, level: f64) -> usize {
    // With n runs each, the least p-value is 2 / C(2n, n).
    let (mut n, mut ways) = (1, 2.0);
    while 2.0 / ways > level / comparisons.max(1) as f64 {
        n += 1;
        ways *= (4 * n - 2) as f64 / n as f64;
    }
    n.max(FEWEST)
}

/// The one-sided p-value of Fisher's exact test: how likely `b` of `of_b` runs or more fail when `a` of `of_a` did, if all are
/// equally likely to. 1 where a count exceeds its number of runs.
#[must_use]
pub fn fisher_more(a: usize, of_a: usize, b: usize, of_b: usize) -> f64 {
    let failed = a + b;
    if a > of_a || b > of_b {
        return 1.0;
    }
    let ln_choose = |n: usize, k: usize| (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum::<f64>();
    let all = ln_choose(of_a + of_b, failed);
    let term = |k: usize| (ln_choose(of_b, k) + ln_choose(of_a, failed - k) - all).exp();
    (b..=failed.min(of_b)).filter(|k| failed - k <= of_a).map(term).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "{found}, not {expected}");
    }

    /// Values worked out by hand: of C(6,3) = 20 ways two are as far apart, of C(12,6) = 924 two.
    #[test]
    fn rank_sums_are_exact() {
        close(rank_sum(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 2.0 / 20.0, 1e-12);
        close(rank_sum(&[5.0; 6], &[4.0; 6]), 2.0 / 924.0, 1e-12);
        close(rank_sum(&[1.0, 2.0], &[1.0, 2.0]), 1.0, 1e-12);
        close(rank_sum(&[7.0; 3], &[7.0; 9]), 1.0, 1e-12);
        // {1,2,4} of {1..6}: sums 6, 7 and their mirrors 14, 15 are as far from 10.5.
        close(rank_sum(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0]), 4.0 / 20.0, 1e-12);
    }

    #[test]
    fn many_runs_agree_with_few() {
        let a: Vec<f64> = (0..30).map(|i| f64::from(i * 7 % 30)).collect();
        for shift in [0.5, 4.5, 8.5, 12.5] {
            let b: Vec<f64> = a.iter().map(|value| value + shift).collect();
            let (ranks, of_a) = doubled_ranks(&a, &b);
            let exact = exact(&ranks, a.len(), of_a);
            // In the tails the approximation says somewhat more: it errs to the safe side.
            close(normal(&ranks, a.len(), of_a), exact, exact / 3.0 + 1e-4);
        }
        // Quantiles of every table of the normal distribution.
        for (z, tail) in [(0.0, 0.5), (1.959_964, 0.025), (2.999_9, 0.001_350_3), (3.090_232, 0.001), (6.0, 9.866e-10)]
        {
            close(upper_tail(z) / tail, 1.0, 1e-3);
        }
    }

    #[test]
    fn holm_bounds_all_together() {
        assert_eq!(holm(&[0.04, 0.001, 0.02], 0.05), [true, true, true]);
        assert_eq!(holm(&[0.04, 0.001, 0.03], 0.05), [false, true, false]);
        assert_eq!(holm(&[0.03, 0.03], 0.05), [false, false]);
        assert!(holm(&[], 0.05).is_empty());
    }

    #[test]
    fn the_runs_needed_are_those_that_can_show_something() {
        for comparisons in [1, 10, 100, 1000] {
            let n = runs_needed(comparisons, 0.05);
            let least = |n: usize| rank_sum(&vec![1.0; n], &vec![2.0; n]) * comparisons as f64;
            assert!(least(n) <= 0.05, "{comparisons}: {n}");
            assert!(n == FEWEST || least(n - 1) > 0.05, "{comparisons}: {n}");
        }
    }

    /// Fisher's tea: of 4 cups each, 3 right and 1 wrong, p = 17/70.
    #[test]
    fn the_lady_tastes_tea() {
        close(fisher_more(1, 4, 3, 4), 17.0 / 70.0, 1e-12);
        close(fisher_more(0, 20, 0, 20), 1.0, 1e-12);
        close(fisher_more(0, 3, 3, 3), 1.0 / 20.0, 1e-12);
        close(fisher_more(3, 3, 0, 3), 1.0, 1e-12);
    }

    /// Of comparisons of the same with itself, 20 figures each, at most 5 in 100 may find anything; of a clear change, all do.
    #[test]
    fn noise_is_not_taken_for_a_change() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut draws = |by: f64| -> Vec<f64> { (0..12).map(|_| by - f64::ln(1.0 - random.random::<f64>())).collect() };
        let mut alarms = 0;
        for _ in 0..200 {
            let p: Vec<f64> = (0..20).map(|_| rank_sum(&draws(0.0), &draws(0.0))).collect();
            alarms += usize::from(holm(&p, 0.05).contains(&true));
        }
        assert!(alarms <= 20, "{alarms} of 200 comparisons of the same find a change");
        let clear = Difference::of(&draws(0.0), &draws(10.0), 1).unwrap();
        assert!(clear.excludes_zero() && clear.p < 1e-4 && clear.interval.unwrap().low > 5.0, "{clear:?}");
    }

    proptest! {
        #[test]
        fn sides_are_alike(a in prop::collection::vec(-9..9_i32, 1..20), b in prop::collection::vec(-9..9_i32, 1..20)) {
            let floats = |values: &[i32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
            let (a, b) = (floats(&a), floats(&b));
            let (p, back) = (rank_sum(&a, &b), rank_sum(&b, &a));
            prop_assert!((p - back).abs() < 1e-9 && p > 0.0 && p <= 1.0, "{} {}", p, back);
        }
    }
}
