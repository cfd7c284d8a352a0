//! What a run did on one axis of time; `course.json` is this, and `results/README.md` describes it.

use damc_explain::{Change, Course, Split, Trouble};
use serde::{Deserialize, Serialize};

use crate::chronicle::{CallDot, CaseSpan, PathSeries};

/// The course of a run with its cases, calls and measurements. Times are ns since the lab was ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timelines {
    /// Changes, troubles, and states of links, nodes and paths.
    #[serde(flatten)]
    pub course: Course,
    /// Cases, in the order they ran.
    #[serde(default)]
    pub cases: Vec<CaseSpan>,
    /// Calls of pods by time, thinned out where there are many.
    #[serde(default)]
    pub calls: Vec<CallDot>,
    /// Delays that SGs reported of their paths to services, thinned out where there are many.
    #[serde(default)]
    pub paths: Vec<PathSeries>,
}

/// Changes and troubles shown at most.
const SHOWN: usize = 20;

/// What a report says about convergence.
pub(super) struct Convergence<'t> {
    /// The slowest changes, slowest first: with the prefix that took longest.
    pub(super) slowest: Vec<&'t Change>,
    /// Loops and black holes, those that frames met first, then by how long they lasted.
    pub(super) troubles: Vec<&'t Trouble>,
    /// Parts of the time, over all changes and prefixes: name, median, most, ns.
    pub(super) parts: Vec<(&'static str, u64, u64)>,
    /// Pairs of a change and a prefix.
    pub(super) pairs: usize,
}

impl Timelines {
    pub(super) fn convergence(&self) -> Convergence<'_> {
        let course = &self.course;
        let splits: Vec<Split> = course.changes.iter().flat_map(|c| c.prefixes.iter().map(|one| one.split)).collect();
        let named = Split::default().parts().map(|(name, _)| name).into_iter().enumerate();
        let mut parts: Vec<_> =
            named.map(|(at, name)| of_part(name, splits.iter().map(|split| split.parts()[at].1))).collect();
        parts.push(of_part("all", splits.iter().map(Split::total_ns)));
        let took = |change: &Change| change.prefixes.first().map_or(0, |one| one.split.total_ns());
        // What a router decided by itself takes no time that could be split.
        let mut slowest: Vec<&Change> = course.changes.iter().filter(|change| took(change) > 0).collect();
        slowest.sort_by_key(|change| std::cmp::Reverse(took(change)));
        let mut troubles: Vec<&Trouble> = course.troubles.iter().collect();
        troubles.sort_by_key(|t| std::cmp::Reverse((t.met.frames.min(1), t.lasted_ns)));
        slowest.truncate(SHOWN);
        troubles.truncate(SHOWN);
        Convergence { slowest, troubles, parts, pairs: splits.len() }
    }
}

fn of_part(name: &'static str, values: impl Iterator<Item = u64>) -> (&'static str, u64, u64) {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let median = values.get(values.len() / 2).copied().unwrap_or_default();
    (name, median, values.last().copied().unwrap_or_default())
}

/// Names in one line, of many the first.
pub(super) fn some(names: &[String]) -> String {
    const NAMED: usize = 4;
    let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(" ");
    if names.len() > NAMED { format!("{first} and {} more", names.len() - NAMED) } else { first }
}
