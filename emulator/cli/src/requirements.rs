//! `damc requirements`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use damc_conformance::report::Report;
use damc_conformance::requirements::{judged, table};

use crate::exit::{Exit, Failure, Outcome};

/// Show which case judges which requirement of which role, and what a run said.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a run, or its report.json; the cases have no verdicts without one.
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Exit with 1 if a requirement that the drafts state has neither a case nor a reason why it has none.
    #[arg(long)]
    pub strict: bool,
    /// Print JSON: an array of rows, each with its roles and cases.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let report = args.run.as_deref().map(read).transpose().map_err(Failure::usage)?;
    let rows = judged(report.as_ref());
    let lacking: Vec<&str> = rows.iter().filter(|r| r.lacks_judge()).map(|r| r.id.as_str()).collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", table(&rows, crate::table::look()));
    }
    if !lacking.is_empty() {
        eprintln!("damc: {} stated requirements have no case and no exception: {}", lacking.len(), lacking.join(", "));
    }
    Ok(if args.strict && !lacking.is_empty() { Exit::Failed } else { Exit::Passed })
}

fn read(run: &Path) -> anyhow::Result<Report> {
    let file = if run.is_dir() { run.join("report.json") } else { run.to_owned() };
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report of damc run", file.display()))
}
