//! The runs of a sweep on this machine: as many at once as it carries.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::Context as _;
use damc_sweep::{Jobs, Next, RunId, SweepPlan};
use tokio::task::JoinSet;

use super::folder::SweepFolder;
use super::one;
use super::progress::Progress;
use crate::exit::Failure;

/// A run that waits: for which time it is made.
#[derive(Clone, Copy)]
struct Waiting {
    id: RunId,
    attempts: u32,
}

/// Makes those of `all` runs that are missing.
///
/// # Errors
/// The first error that keeps the sweep from going on. Runs that were going on are ended.
pub async fn all(
    folder: &Arc<SweepFolder>,
    plan: &Arc<SweepPlan>,
    all: usize,
    missing: Vec<RunId>,
    mut jobs: Jobs,
) -> Result<(), Failure> {
    let mut progress = Progress::new(all, all - missing.len());
    let mut waiting: VecDeque<Waiting> = missing.into_iter().map(|id| Waiting { id, attempts: 1 }).collect();
    let mut going = JoinSet::new();
    loop {
        while going.len() < jobs.at_once() {
            let Some(next) = waiting.pop_front() else { break };
            let (folder, plan) = (Arc::clone(folder), Arc::clone(plan));
            let at_once = jobs.at_once().min(going.len() + waiting.len() + 1);
            going.spawn(async move { one::make(&folder, &plan, next.id, at_once, next.attempts).await });
        }
        let Some(ended) = going.join_next().await else { break };
        let run = ended.context("a run was lost")??;
        let before = jobs.at_once();
        let next = jobs.ended(run.counts(), run.at_once, run.attempts);
        if jobs.at_once() < before {
            progress.fewer(jobs.at_once());
        }
        match next {
            Next::Keep => progress.ended(&run, waiting.len() + going.len(), jobs.at_once()),
            Next::Again => {
                progress.again(&run);
                waiting.push_front(Waiting { id: run.id(), attempts: run.attempts + 1 });
            }
        }
    }
    progress.clear();
    Ok(())
}
