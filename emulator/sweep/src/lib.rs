//! Sweeps without I/O: what runs there are, what they found, and what that says.
//!
//! A [`SweepPlan`] is the product of [`Parameter`]s and [`Seeds`]. Each of its runs leaves a [`SweepRun`]. [`SweepTables`],
//! [`SweepFindings`] and [`plots`] are made of those. [`Difference`] is what two sweeps say about a figure. [`Jobs`] decides how many runs go at once. Nothing here reads a file or
//! a clock; the random numbers of the bootstrap follow from a seed.
#![forbid(unsafe_code)]

mod difference;
mod grid;
mod jobs;
mod parameter;
mod plan;
mod plot;
mod record;
mod seeds;
mod statistics;
mod summary;
mod tables;

pub use difference::{Difference, fisher_more, holm, rank_sum, runs_needed};
pub use grid::{Combination, GridError, MAX_RUNS, grid};
pub use jobs::{Estimate, Jobs, Next};
pub use parameter::{Parameter, ParameterError};
pub use plan::{PlannedPoint, RunId, SweepPlan, hash};
pub use plot::{Plot, plots};
pub use record::{Quality, RunVerdict, Sample, SweepRun};
pub use seeds::{Seeds, SeedsError};
pub use statistics::{MedianInterval, Statistic, bootstrap, median};
pub use summary::{Finding, SweepFindings, summary_csv, summary_markdown};
pub use tables::{Metric, SweepTables};
