//! `damc plan`.

use std::path::PathBuf;

use damc_topology::plan::{PlanOptions, plan};

use crate::exit::{Exit, Outcome};
use crate::topology_argument::load;

/// Print what a topology would be built of: namespaces, links, processes. Needs no privilege, makes nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
    /// Seed of link randomness.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Name of the lab; the topology's where absent.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
    /// Print the whole plan as JSON, with configurations; keys are no part of a plan.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let topology = load(&args.topology)?;
    let lab = args.lab.clone().unwrap_or_else(|| topology.name().to_string());
    let run_dir = PathBuf::from("<run>").join(&lab);
    let plan = plan(&topology, &PlanOptions { lab: Some(lab), seed: args.seed, run_dir, ..PlanOptions::default() });
    if args.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        print!("{plan}");
    }
    Ok(Exit::Passed)
}
