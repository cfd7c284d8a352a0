//! The outcome of a comparison as a value; `--json` prints it.

use serde::Serialize;

/// Version of the JSON form; grows when a reader of the last version would misread.
pub(crate) const SCHEMA: u32 = 1;

/// What differs between `a` and `b`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of the form.
    pub schema: u32,
    /// What is compared.
    pub of: Compared,
    /// The one that was before, or that is held against.
    pub a: Side,
    /// The other.
    pub b: Side,
    /// What was run differently.
    pub differs: Vec<Differs>,
    /// What noise can and cannot explain here, in words.
    pub notes: Vec<String>,
    /// Verdicts.
    pub verdicts: Verdicts,
    /// What cases measured.
    pub figures: Figures,
    /// How long things took: start, convergence, cases. Never a regression.
    pub timings: Figures,
    /// Entries of FIBs, as the network had converged.
    pub fibs: Vec<FibChange>,
    /// All of it in one word.
    pub conclusion: Conclusion,
}

/// What can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Two runs.
    Runs,
    /// Two sweeps.
    Sweeps,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// What its user calls it.
    pub name: String,
    /// What it is, in words: topology, world, seeds, time.
    pub what: String,
    /// How it ended, in words.
    pub ended: String,
}

/// Something that was not the same for both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// What.
    pub what: String,
    /// In `a`.
    pub a: String,
    /// In `b`.
    pub b: String,
}

/// What became of the verdicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdicts {
    /// Cases with the same verdict in both.
    pub same: usize,
    /// Cases with another one, the worst first.
    pub changed: Vec<VerdictChange>,
    /// Rows of the requirement catalogue whose verdict got worse.
    pub requirements_worse: Vec<String>,
    /// Rows whose verdict got better.
    pub requirements_better: Vec<String>,
}

/// What became of a verdict. In order of weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// It fails, and did not: or, in sweeps, fails more often than chance explains.
    Worse,
    /// It passed, and nothing is known now: inconclusive, left out, or gone.
    Unjudged,
    /// It fails, and was not judged before.
    NewlyFailing,
    /// It passes, or is judged at last.
    Better,
    /// Otherwise another one.
    Other,
}

/// A case whose verdict is another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictChange {
    /// What became of it.
    pub shift: Shift,
    /// The case.
    pub case: String,
    /// Sweeps: the combination of values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// Verdicts in `a`.
    pub a: Tally,
    /// Verdicts in `b`.
    pub b: Tally,
    /// Why it failed or could not be judged in `b`, else in `a`.
    pub reason: String,
}

/// How often a case had which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Passed.
    pub pass: usize,
    /// Failed.
    pub fail: usize,
    /// Could not be judged.
    pub inconclusive: usize,
    /// Deliberately not judged.
    pub exception: usize,
}

/// Figures of both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Figures that both have.
    pub compared: usize,
    /// Those that are the same in all runs of both.
    pub constant: usize,
    /// Figures that only one side has.
    pub unmatched: usize,
    /// Those that differ: what is told from noise first, then by their relative change.
    pub changed: Vec<FigureChange>,
}

/// What a change of a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Beyond noise, and worse.
    Worse,
    /// Beyond noise, and better.
    Better,
    /// Beyond noise; nothing says which is better.
    Changed,
    /// By itself beyond noise; among so many figures it may be chance.
    Perhaps,
    /// Not told from noise.
    Noise,
    /// One run each: nothing tells it from noise.
    Untold,
}

/// A figure that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FigureChange {
    /// What the change is.
    pub judgement: Judgement,
    /// The case, or `run`.
    pub case: String,
    /// What was measured.
    pub figure: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// Sweeps: the combination of values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// In `a`.
    pub a: Quantity,
    /// In `b`.
    pub b: Quantity,
    /// Median of `b` less that of `a`.
    pub by: f64,
    /// The 95 % interval of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// The p-value of the rank-sum test, where there are several runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

/// What one side says about a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantity {
    /// Number of runs.
    pub runs: usize,
    /// Their median.
    pub median: f64,
    /// Its 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// What became of a node's FIB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FibChange {
    /// The node.
    pub node: String,
    /// Sweeps: the combination of values, and the seeds of the runs that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// Sweeps: in how many of so many pairs of runs with the same seed the table differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<[usize; 2]>,
    /// Entries that only `a` has, in sweeps of the first such pair.
    pub only_a: Vec<String>,
    /// Entries that only `b` has, likewise.
    pub only_b: Vec<String>,
}

/// All of it in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// A verdict got worse, or a figure beyond noise.
    Regression,
    /// No, as far as was judged; but something that passed is not judged any more.
    Unclear,
    /// No.
    NoRegression,
}

impl Comparison {
    /// Draws the conclusion from everything else.
    #[must_use]
    pub(crate) fn concluded(mut self) -> Self {
        let shifted = |shift| self.verdicts.changed.iter().any(|change| change.shift == shift);
        let worse = self.figures.changed.iter().any(|change| change.judgement == Judgement::Worse);
        self.conclusion = if shifted(Shift::Worse) || worse {
            Conclusion::Regression
        } else if shifted(Shift::Unjudged) {
            Conclusion::Unclear
        } else {
            Conclusion::NoRegression
        };
        self
    }
}
