//! What is compared: the contents of folders, read by somebody else.

use std::collections::{BTreeMap, BTreeSet};

use damc_conformance::report::Report;
use damc_conformance::verdict::Verdict;
use damc_sweep::{RunId, SweepPlan, SweepRun};

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// What its user calls it.
    pub name: String,
    /// `report.json`.
    pub report: Report,
    /// `world` of `env.json`: `live` or `virtual`, where it is known.
    pub world: Option<String>,
    /// `pace` of `env.json`: the timers of the nodes, as one line, where it is known.
    pub timers: Option<String>,
    /// FIB of each node when the suites began.
    pub fibs: BTreeMap<String, FibRows>,
}

/// The folder of a sweep.
#[derive(Clone, Debug)]
pub struct SweepFacts {
    /// What its user calls it.
    pub name: String,
    /// `sweep.json`.
    pub plan: SweepPlan,
    /// The runs that are whole.
    pub runs: Vec<SweepRun>,
    /// What their folders hold in addition.
    pub details: BTreeMap<RunId, RunDetail>,
}

/// What the folder of a run in a sweep holds.
#[derive(Clone, Debug, Default)]
pub struct RunDetail {
    /// Verdict on each case.
    pub verdicts: BTreeMap<String, Verdict>,
    /// FIB of each node when the suites began.
    pub fibs: BTreeMap<String, FibRows>,
}

/// An entry of a FIB as its table shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FibRow {
    /// Name prefix.
    pub prefix: String,
    /// Everything else: source, cost, origins, next hops.
    pub rest: Vec<String>,
}

/// The entries of a FIB.
pub type FibRows = BTreeSet<FibRow>;

/// Reads `fib/<node>.txt`: a heading, the names of the columns, a rule, then a line for each entry.
#[must_use]
pub fn fib_rows(text: &str) -> FibRows {
    let rows = text.lines().skip_while(|line| !line.starts_with("--")).skip(1);
    rows.filter_map(|line| {
        let mut cells = line.split('|').map(|cell| cell.trim().to_owned());
        let prefix = cells.next().filter(|prefix| !prefix.is_empty())?;
        Some(FibRow { prefix, rest: cells.collect() })
    })
    .collect()
}
