//! `damc sweep`: a topology many times, over seeds and values.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};
use damc_sweep::{Jobs, RunId, SweepPlan};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::block_on;

mod check;
pub mod folder;
mod local;
mod one;
mod outcome;
mod progress;
mod slurm;

use folder::SweepFolder;

/// Run a topology many times, over seeds and values, and leave tables, statistics and plots. The same command again goes on
/// where it was stopped.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Path or bare name of a topology.
    #[arg(required = true)]
    topology: Option<String>,
    /// The seeds: a range whose last one counts, or several with commas.
    #[arg(long, default_value = "1..10", value_name = "A..B")]
    seeds: String,
    /// Values to try, for example `links.wan.delay=10ms,20ms`; may be repeated, all combinations are run. A link is addressed
    /// by its `name`.
    #[arg(long = "set", value_name = "PATH=V1,V2")]
    settings: Vec<String>,
    /// In virtual time: no privilege, and the same results every time.
    #[arg(long = "virtual", conflicts_with = "links")]
    in_virtual_time: bool,
    /// Which suite, as in `damc run`.
    #[arg(long, value_name = "SUITE")]
    suite: Option<String>,
    /// Only cases whose id matches, for example `qos-*`.
    #[arg(long, value_name = "GLOB")]
    case: Option<String>,
    /// What serves links, as in `damc run`.
    #[arg(long, value_parser = ["auto", "netem", "relay"])]
    links: Option<String>,
    /// How much slower than on a quiet host the runs go, 1 to 20; measured by each run where absent.
    #[arg(long, value_name = "FACTOR")]
    pace: Option<f64>,
    /// At most so many runs at once; the number of processors where absent. Live runs become more only while all are faithful.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,
    /// Folder for results.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Forget the runs of the same sweep that are there already.
    #[arg(long)]
    fresh: bool,
    /// Where runs are made: on this machine, or as a job array of the Slurm cluster this machine belongs to.
    #[arg(long, value_enum, default_value_t = On::Local)]
    on: On,
    /// An option of `sbatch`, for example `--sbatch=--partition=short`; may be repeated.
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    Local,
    Slurm,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Write tables, statistics and plots of the runs that a sweep has made so far, wherever they were made.
    Collect {
        /// Folder of the sweep.
        folder: PathBuf,
    },
    /// One task of a job array: every run whose number leaves `task` when divided by `of`.
    #[command(hide = true)]
    Task {
        /// Folder of the sweep.
        folder: PathBuf,
        /// Number of the task, from 0.
        task: usize,
        /// Number of tasks.
        of: usize,
    },
}

pub fn run(args: Args) -> Outcome {
    match args.part {
        Some(Part::Collect { folder }) => collect(folder),
        Some(Part::Task { folder, task, of }) => task_of_array(folder, task, of),
        None => sweep(&args),
    }
}

fn sweep(args: &Args) -> Outcome {
    let plan = check::plan(args)?;
    let folder = SweepFolder::made(&args.results.join("sweeps").join(format!("{}-{}", plan.topology, plan.id())))?;
    let lock = folder.locked()?;
    folder.prepare(&plan, args.fresh)?;
    let missing = missing(&folder, &plan, plan.runs());
    progress::say(&format!(
        "damc {}: {}, {} runs ({}, seeds {}), {} of them made already",
        env!("CARGO_PKG_VERSION"),
        plan.topology,
        plan.size(),
        plan.combinations(),
        plan.seeds,
        plan.size() - missing.len()
    ));
    if args.on == On::Slurm && !missing.is_empty() {
        // The tasks hold it while they are at work.
        drop(lock);
        return slurm::submit(&folder, &plan, &args.sbatch);
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = args.jobs.map_or(processors, usize::from);
    let jobs = if plan.in_virtual_time { Jobs::fixed(most) } else { Jobs::following(most) };
    let (folder, plan) = (Arc::new(folder), Arc::new(plan));
    block_on(async {
        local::all(&folder, &plan, plan.size(), missing, jobs).await?;
        outcome::write(&folder, &plan)
    })
}

/// Those runs that have no whole result.
fn missing(folder: &SweepFolder, plan: &SweepPlan, runs: impl Iterator<Item = RunId>) -> Vec<RunId> {
    runs.filter(|id| folder.result(plan, *id).is_none()).collect()
}

fn collect(folder: PathBuf) -> Outcome {
    let folder = SweepFolder::at(folder);
    let plan = folder.plan()?;
    outcome::write(&folder, &plan)
}

fn task_of_array(folder: PathBuf, task: usize, of: usize) -> Outcome {
    let folder = SweepFolder::at(folder);
    let plan = folder.plan()?;
    check::unchanged(&plan)?;
    if task >= of {
        return Err(Failure::usage(anyhow!("there is no task {task} of {of}")));
    }
    let _lock = folder.shared()?;
    let ours = plan.runs().skip(task).step_by(of);
    let (all, missing) = (ours.clone().count(), missing(&folder, &plan, ours));
    let (folder, plan) = (Arc::new(folder), Arc::new(plan));
    block_on(async {
        local::all(&folder, &plan, all, missing, Jobs::fixed(1)).await?;
        Ok(Exit::Passed)
    })
}

/// Has this process killed when the one that started it ends, whatever ends it.
pub fn end_with(pid: i32) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have ended before.
    if nix::unistd::getppid().as_raw() == pid { Ok(()) } else { Err(anyhow!("process {pid} has ended").into()) }
}
