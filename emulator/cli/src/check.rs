//! `damc check`.

use crate::exit::{Outcome, not_available};

/// Check topologies: one line each, or every mistake.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    #[arg(required = true)]
    pub topologies: Vec<String>,
}

pub fn run(_args: &Args) -> Outcome {
    not_available("check")
}
