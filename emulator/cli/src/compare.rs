//! `damc compare`.

mod find;
mod read;

use std::path::PathBuf;

use anyhow::anyhow;
use damc_compare::{Comparison, Conclusion};

use crate::exit::{Exit, Failure, Outcome};
use crate::table;
use find::Folder;

/// Say what changed between two runs, or between two sweeps, and what of it is more than noise.
///
/// A RUN is `latest`, the path of a folder, or the id at the end of a folder's name; likewise a sweep. Of single runs,
/// verdicts and FIBs can be compared, but no figure can be told from noise. Of sweeps, a figure is called worse or better
/// where the 95 % interval of the difference of its medians leaves out zero, and a rank-sum test holds for all figures together.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run or sweep that was before.
    #[arg(value_name = "RUN")]
    pub a: String,
    /// The run or sweep that is held against it.
    #[arg(value_name = "RUN")]
    pub b: String,
    /// End with 1 where a verdict got worse, or a figure beyond noise; with 3 where none did, but a case that passed is not
    /// judged any more.
    #[arg(long)]
    pub fail_on_regression: bool,
    /// Show all rows of long tables.
    #[arg(long)]
    pub all: bool,
    /// Folder of results, in which `latest` and ids are looked for.
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let comparison = compared(args)?;
    if args.json {
        println!("{}", serde_json::to_string(&comparison)?);
    } else {
        print!("{}", damc_compare::text(&comparison, table::look(), args.all));
    }
    Ok(match comparison.conclusion {
        _ if !args.fail_on_regression => Exit::Passed,
        Conclusion::Regression => Exit::Failed,
        Conclusion::Unclear => Exit::Inconclusive,
        Conclusion::NoRegression => Exit::Passed,
    })
}

fn compared(args: &Args) -> Result<Comparison, Failure> {
    match (find::folder(&args.a, &args.results)?, find::folder(&args.b, &args.results)?) {
        (Folder::Run(a), Folder::Run(b)) => Ok(damc_compare::runs(&read::run(&a)?, &read::run(&b)?)),
        (Folder::Sweep(a), Folder::Sweep(b)) => damc_compare::sweeps(&read::sweep(&a)?, &read::sweep(&b)?)
            .map_err(|reason| Failure::usage(anyhow!("these sweeps cannot be compared: {reason}"))),
        (a, b) => Err(Failure::usage(anyhow!(
            "{} is {} and {} is {}; compare two runs or two sweeps",
            args.a,
            a.what(),
            args.b,
            b.what()
        ))),
    }
}
