//! Reads the folders of runs and sweeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use damc_compare::{FibRows, RunDetail, RunFacts, SweepFacts, fib_rows};
use damc_conformance::report::Report;
use serde_json::Value;

use crate::exit::Failure;
use crate::sweep::folder::SweepFolder;

/// Reads the folder of a run.
///
/// # Errors
/// Its report cannot be read.
pub(super) fn run(folder: &Path) -> Result<RunFacts, Failure> {
    let env = fs::read_to_string(folder.join("env.json")).ok();
    // A run that was never set up has none.
    let env: Value = env.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(RunFacts {
        name: name(folder),
        report: report(folder)?,
        world: env["world"].as_str().map(str::to_owned),
        timers: env.get("pace").map(Value::to_string),
        fibs: fibs(folder),
    })
}

/// Reads the folder of a sweep with all its runs.
///
/// # Errors
/// Its plan or a report cannot be read.
pub(super) fn sweep(folder: &Path) -> Result<SweepFacts, Failure> {
    let sweep = SweepFolder::at(folder.to_owned());
    let plan = sweep.plan()?;
    let runs: Vec<_> = plan.runs().filter_map(|id| sweep.result(&plan, id)).collect();
    let mut details = BTreeMap::new();
    for id in runs.iter().map(damc_sweep::SweepRun::id) {
        let folder = sweep.of_run(id);
        // A run that ended without a report is whole nevertheless; its quality says that it does not count.
        let report = if folder.join("report.json").is_file() { Some(report(&folder)?) } else { None };
        let cases = report.into_iter().flat_map(|report| report.cases);
        let verdicts = cases.map(|case| (case.id, case.verdict)).collect();
        details.insert(id, RunDetail { verdicts, fibs: fibs(&folder) });
    }
    Ok(SweepFacts { name: name(folder), plan, runs, details })
}

/// What the folder is called; what `latest` stands for.
fn name(folder: &Path) -> String {
    let path = if folder.is_symlink() {
        let target = fs::read_link(folder).unwrap_or_default();
        folder.parent().unwrap_or(Path::new("")).join(target)
    } else {
        folder.to_owned()
    };
    path.display().to_string()
}

fn report(folder: &Path) -> Result<Report, Failure> {
    let path = folder.join("report.json");
    let named = || format!("cannot read {}", path.display());
    let text = fs::read_to_string(&path).with_context(named).map_err(Failure::usage)?;
    serde_json::from_str(&text).with_context(named).map_err(Failure::usage)
}

fn fibs(folder: &Path) -> BTreeMap<String, FibRows> {
    let files = fs::read_dir(folder.join("fib")).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter_map(|path| Some((path.file_stem()?.to_string_lossy().into_owned(), fs::read_to_string(&path).ok()?)))
        .map(|(node, text)| (node, fib_rows(&text)))
        .collect()
}
