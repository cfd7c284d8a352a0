//! The delay distributions of netem, as tables of deviations.
//!
//! netem draws a deviation by picking a random entry of a table that samples the inverse of the cumulative
//! distribution; 8192 stands for one sigma and entries end at four of them. The tables here are computed, so both
//! link backends draw from the same ones, installed files or not.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Entries of a table.
pub const TABLE_LEN: usize = 4096;
/// One sigma in a table.
pub const SCALE: f64 = 8192.0;

/// Shape of the jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Evenly between minus and plus the jitter.
    #[default]
    Uniform,
    /// Gaussian, cut at about 3.7 sigma by the table's resolution.
    Normal,
    /// Pareto with shape 3, moved to mean 0 and stretched by 4/3; cut at four sigma, so its mean lies 0.03 sigma low.
    Pareto,
    /// A quarter normal, three quarters Pareto.
    ParetoNormal,
}

impl Distribution {
    /// The table; none for uniform, which needs none.
    #[must_use]
    pub fn table(self) -> Option<&'static [i16; TABLE_LEN]> {
        static TABLES: OnceLock<[Box<[i16; TABLE_LEN]>; 3]> = OnceLock::new();
        let tables = TABLES.get_or_init(|| {
            let normal = normal_quantiles();
            let pareto: Vec<f64> = (0..TABLE_LEN).map(|i| pareto_quantile(midpoint(i))).collect();
            let mixed: Vec<f64> = normal.iter().zip(&pareto).map(|(n, p)| 0.25 * n + 0.75 * p).collect();
            [quantise(&normal), quantise(&pareto), quantise(&mixed)]
        });
        match self {
            Self::Uniform => None,
            Self::Normal => Some(&tables[0]),
            Self::Pareto => Some(&tables[1]),
            Self::ParetoNormal => Some(&tables[2]),
        }
    }

    /// Standard deviation of what the table holds, in units of the jitter.
    #[must_use]
    pub fn deviation_of_table(self) -> f64 {
        let table = self.kernel_table();
        let moment = |power: i32, around: f64| {
            table.iter().map(|&v| (f64::from(v) / SCALE - around).powi(power)).sum::<f64>() / table.len() as f64
        };
        moment(2, moment(1, 0.0)).sqrt()
    }

    /// The table that has the kernel draw from this distribution. Uniform too: a kernel that was given a table keeps it
    /// until it is given another one, whatever else is changed.
    #[must_use]
    pub fn kernel_table(self) -> Vec<i16> {
        let uniform = || (0..TABLE_LEN).map(|i| ((2.0 * midpoint(i) - 1.0) * SCALE).round() as i16).collect();
        self.table().map_or_else(uniform, |table| table.to_vec())
    }

    /// The deviation for a random number, in nanoseconds, for a jitter in nanoseconds.
    #[must_use]
    pub fn deviation(self, random: u64, jitter_ns: u64) -> i64 {
        if jitter_ns == 0 {
            return 0;
        }
        let sigma = i128::from(jitter_ns);
        let deviation = match self.table() {
            None => i128::from(random) * 2 * sigma / (1_i128 << 64) - sigma,
            Some(table) => {
                let entry = table[usize::try_from(random % TABLE_LEN as u64).unwrap_or(0)];
                sigma * i128::from(entry) / 8192
            }
        };
        i64::try_from(deviation).unwrap_or(i64::MAX)
    }
}

/// Probability in the middle of a table entry.
fn midpoint(index: usize) -> f64 {
    (index as f64 + 0.5) / TABLE_LEN as f64
}

/// Standard normal quantiles, by integrating the density and reading the integral backwards.
fn normal_quantiles() -> Vec<f64> {
    const STEP: f64 = 1.0 / 4096.0;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let mut x = -6.0_f64;
    let mut below = 0.0;
    (0..TABLE_LEN)
        .map(|i| {
            let wanted = midpoint(i);
            let mut slice = 0.0;
            while below < wanted {
                slice = STEP * density(x + STEP / 2.0);
                below += slice;
                x += STEP;
            }
            // Interpolate inside the last slice.
            if slice > 0.0 { x - STEP * (below - wanted) / slice } else { x }
        })
        .collect()
}

/// Quantile of a Pareto variable with minimum 1 and shape 3 (mean 1.5), centred and stretched as netem's table is.
fn pareto_quantile(u: f64) -> f64 {
    ((1.0 - u).powf(-1.0 / 3.0) - 1.5) * 4.0 / 3.0
}

fn quantise(values: &[f64]) -> Box<[i16; TABLE_LEN]> {
    let mut table = Box::new([0_i16; TABLE_LEN]);
    for (entry, value) in table.iter_mut().zip(values) {
        *entry = (value * SCALE).round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(distribution: Distribution) -> (f64, f64) {
        let table = distribution.table().expect("has a table");
        let n = TABLE_LEN as f64;
        let mean = table.iter().map(|&v| f64::from(v) / SCALE).sum::<f64>() / n;
        let variance = table.iter().map(|&v| (f64::from(v) / SCALE - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn the_normal_table_has_mean_zero_and_deviation_one() {
        let (mean, sigma) = moments(Distribution::Normal);
        assert!(mean.abs() < 1e-3, "mean {mean}");
        assert!((sigma - 1.0).abs() < 2e-3, "sigma {sigma}");
        let table = Distribution::Normal.table().expect("has a table");
        // Quartiles of the standard normal distribution lie at 0.6745.
        assert!((f64::from(table[TABLE_LEN * 3 / 4]) / SCALE - 0.6745).abs() < 2e-3);
    }

    #[test]
    fn the_pareto_tables_are_skewed_to_the_right_and_nearly_centred() {
        for distribution in [Distribution::Pareto, Distribution::ParetoNormal] {
            let (mean, sigma) = moments(distribution);
            let table = distribution.table().expect("has a table");
            assert!(mean.abs() < 0.04, "{distribution:?} mean {mean}");
            assert!((0.6..1.2).contains(&sigma), "{distribution:?} sigma {sigma}");
            assert!(table[TABLE_LEN / 2] < 0, "{distribution:?} median is below the mean");
            assert!(table.windows(2).all(|w| w[0] <= w[1]), "{distribution:?} is monotone");
        }
    }

    #[test]
    fn the_kernels_uniform_table_spans_one_jitter_either_way() {
        let table = Distribution::Uniform.kernel_table();
        assert_eq!((table.len(), table[0], table[TABLE_LEN - 1]), (TABLE_LEN, -8190, 8190));
        assert!(table.windows(2).all(|w| (3..=5).contains(&(w[1] - w[0]))));
        assert_eq!(Distribution::Normal.kernel_table(), Distribution::Normal.table().expect("has one").to_vec());
    }

    #[test]
    fn uniform_deviations_span_the_jitter() {
        assert_eq!(Distribution::Uniform.deviation(0, 1_000), -1_000);
        assert_eq!(Distribution::Uniform.deviation(u64::MAX, 1_000), 999);
        assert_eq!(Distribution::Normal.deviation(7, 0), 0);
    }
}
