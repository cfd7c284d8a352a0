//! Measures short pieces of work and reports the median and spread of many samples, with the machine they were taken
//! on.
//!
//! A sample is a batch of operations. It is long enough for the clock and much shorter than a time slice, so that on a
//! busy machine a preemption spoils one sample, not the median.
#![forbid(unsafe_code)]

mod document;
mod machine;
mod report;
mod summary;

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use document::{Cell, Document, Measured, Table, Told};
pub use machine::{Machine, frames_received, resident_bytes};
pub use report::Report;
pub use summary::Summary;

/// Number of samples of a figure, unless operations are timed one by one.
const SAMPLES: usize = 301;
/// Shortest duration of a sample.
const SAMPLE: Duration = Duration::from_micros(200);

/// Time of one operation, ns.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Group of the figure, such as `spf`.
    pub group: String,
    /// The operation.
    pub name: String,
    /// Half of the samples are below.
    pub median_ns: f64,
    /// A quarter of the samples is below.
    pub p25_ns: f64,
    /// A quarter of the samples is above.
    pub p75_ns: f64,
    /// One sample in a hundred is above.
    pub p99_ns: f64,
    /// Number of samples.
    pub samples: usize,
    /// The target, in words; empty for none.
    pub target: String,
    /// Other figures of the same run, such as bytes per prefix.
    pub note: String,
}

impl Figure {
    /// A figure of samples in ns, in any order.
    ///
    /// # Panics
    /// There are no samples.
    #[must_use]
    pub fn new(group: &str, name: &str, mut samples: Vec<f64>) -> Self {
        let summary = Summary::of(&mut samples);
        let Some(Summary { count, median, p25, p75, p99, .. }) = summary else {
            panic!("{group} {name}: nothing was measured")
        };
        Self {
            group: group.to_owned(),
            name: name.to_owned(),
            median_ns: median,
            p25_ns: p25,
            p75_ns: p75,
            p99_ns: p99,
            samples: count,
            target: String::new(),
            note: String::new(),
        }
    }

    /// Operations a second at the median.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        1e9 / self.median_ns
    }

    /// The figure for one operation, if each sample stands for `count` operations.
    #[must_use]
    pub fn each_of(mut self, count: usize) -> Self {
        for quantile in [&mut self.median_ns, &mut self.p25_ns, &mut self.p75_ns, &mut self.p99_ns] {
            *quantile /= as_f64(count);
        }
        self
    }

    /// Sets the target.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Sets the note.
    #[must_use]
    pub fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }
}

/// Times `work` in batches; its argument rises with every call.
pub fn measure<T>(group: &str, name: &str, mut work: impl FnMut(usize) -> T) -> Figure {
    let mut done = 0;
    let mut batch = |count: usize| {
        let begin = Instant::now();
        for i in done..done + count {
            black_box(work(i));
        }
        done += count;
        begin.elapsed()
    };
    let mut count = 1;
    while batch(count) < SAMPLE {
        count *= 2;
    }
    let samples = (0..SAMPLES).map(|_| nanos(batch(count)) / as_f64(count)).collect();
    Figure::new(group, name, samples)
}

/// Times each of `count` operations separately, for work that cannot be repeated. `prepare` is not timed.
pub fn measure_each<P, T>(
    group: &str,
    name: &str,
    count: usize,
    mut prepare: impl FnMut() -> P,
    mut work: impl FnMut(P) -> T,
) -> Figure {
    let sample = |_| {
        let prepared = prepare();
        let begin = Instant::now();
        black_box(work(prepared));
        nanos(begin.elapsed())
    };
    Figure::new(group, name, (0..count).map(sample).collect())
}

fn nanos(span: Duration) -> f64 {
    span.as_secs_f64() * 1e9
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_own_number() {
        let mut seen = Vec::new();
        measure("g", "n", |i| {
            seen.push(i);
            std::thread::yield_now();
        });
        assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
}
