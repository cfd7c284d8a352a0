//! `damc run`.

use crate::exit::{Outcome, not_available};

/// Bring a topology up, wait for convergence, run suites, write results, tear down.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
    /// Which suite: conformance, qos or all.
    #[arg(long, default_value = "all")]
    pub suite: String,
    /// Only cases whose id matches.
    #[arg(long, value_name = "GLOB")]
    pub case: Option<String>,
    /// What serves impaired links: auto, netem or relay.
    #[arg(long, default_value = "auto")]
    pub links: String,
    /// The kernel to run on: host or uml.
    #[arg(long, default_value = "host")]
    pub kernel: String,
    /// Seed of keys, link randomness and flows; drawn and printed where absent.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder for results.
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: std::path::PathBuf,
    /// Leave the lab up when a case fails.
    #[arg(long)]
    pub keep_on_failure: bool,
}

pub fn run(_args: Args) -> Outcome {
    not_available("run")
}
