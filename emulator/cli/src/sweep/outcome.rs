//! What a sweep leaves: tables, statistics and plots, and how it ends.

use std::collections::BTreeSet;
use std::fs;

use anyhow::anyhow;
use damc_sweep::{
    Quality, RunVerdict, SweepFindings, SweepPlan, SweepRun, SweepTables, plots, summary_csv, summary_markdown,
};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::folder::SweepFolder;
use crate::exit::{Exit, Failure, Outcome};

/// Writes what the runs that are there have found. The sweep has failed where a case has, and is inconclusive where runs are
/// missing or left out.
///
/// # Errors
/// Something cannot be written.
pub fn write(folder: &SweepFolder, plan: &SweepPlan) -> Outcome {
    let runs: Vec<SweepRun> = plan.runs().filter_map(|id| folder.result(plan, id)).collect();
    let tables = SweepTables::new(plan, &runs);
    let findings = SweepFindings::of(&tables);
    folder.write("runs.csv", &tables.runs_csv()?)?;
    folder.write("samples.csv", &tables.samples_csv()?)?;
    folder.write("timing.csv", &tables.timing_csv()?)?;
    folder.write("summary.csv", &summary_csv(&tables, &findings)?)?;
    folder.write("summary.md", &summary_markdown(&tables, &findings))?;
    draw(folder, plan, &findings)?;
    println!("{}", points(&tables));
    let missing = plan.size() - runs.len();
    if missing > 0 {
        println!("\n{missing} of {} runs are missing; the same damc sweep makes them", plan.size());
    }
    println!("\nresults: {}", folder.path().display());
    Ok(exit(&runs, missing))
}

fn draw(folder: &SweepFolder, plan: &SweepPlan, findings: &SweepFindings<'_>) -> Result<(), Failure> {
    let plots = plots(plan, findings).map_err(|error| anyhow!("cannot draw {error}"))?;
    for plot in &plots {
        folder.write(&format!("plots/{}", plot.file), &plot.svg)?;
    }
    // Figures that an earlier call found and this one did not.
    let kept: BTreeSet<&str> = plots.iter().map(|plot| plot.file.as_str()).collect();
    let entries = fs::read_dir(folder.path().join("plots")).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| !kept.contains(&*entry.file_name().to_string_lossy())) {
        fs::remove_file(entry.path())?;
    }
    Ok(())
}

fn exit(runs: &[SweepRun], missing: usize) -> Exit {
    if runs.iter().any(|run| run.verdict == RunVerdict::Failed) {
        Exit::Failed
    } else if missing > 0 || runs.iter().any(|run| !run.counts()) {
        Exit::Inconclusive
    } else {
        Exit::Passed
    }
}

/// How the runs of each point ended.
fn points(tables: &SweepTables<'_>) -> String {
    let mut builder = Builder::default();
    builder.push_record(["point", "values", "runs", "passed", "failed", "unfaithful", "inconclusive"]);
    let plan = tables.plan();
    for point in 1..=plan.points.len() {
        let runs: Vec<&SweepRun> = tables.runs().iter().copied().filter(|run| run.point == point).collect();
        let count = |wanted: &dyn Fn(&SweepRun) -> bool| runs.iter().filter(|run| wanted(run)).count().to_string();
        builder.push_record([
            point.to_string(),
            plan.label(point),
            runs.len().to_string(),
            count(&|run| run.verdict == RunVerdict::Passed),
            count(&|run| run.verdict == RunVerdict::Failed),
            count(&|run| run.quality == Quality::Unfaithful),
            count(&|run| run.quality == Quality::Inconclusive),
        ]);
    }
    builder.build().with(Style::sharp()).to_string()
}
