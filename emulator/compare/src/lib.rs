//! Comparing two runs or two sweeps, without I/O: [`runs`] and [`sweeps`] give a [`Comparison`], which is printed as
//! [`text`] or as JSON.
//!
//! A verdict is no matter of chance: suites call what the environment may have caused inconclusive. A figure of a single run
//! is one: nothing tells it from noise. In sweeps a figure has changed where the 95 % interval of the difference of the
//! medians leaves out zero, and the rank-sum test holds for all compared figures together (Holm's procedure, 5 %). So a
//! comparison of a sweep with a repetition of itself finds a change in at most 5 of 100 cases, however many figures there are.
#![forbid(unsafe_code)]

mod facts;
mod figures;
mod model;
mod runs;
mod sweeps;
mod tables;
mod text;
mod verdicts;

pub use facts::{FibRow, FibRows, RunDetail, RunFacts, SweepFacts, fib_rows};
pub use figures::{Sense, sense};
pub use model::{
    Compared, Comparison, Conclusion, Differs, FibChange, FigureChange, Figures, Judgement, Quantity, Shift, Side,
    Tally, VerdictChange, Verdicts,
};
pub use runs::runs;
pub use sweeps::sweeps;
pub use text::text;
