//! `damc up`.

use crate::exit::{Outcome, not_available};

/// Bring a lab up to play with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
    /// Return when the lab has converged, and leave it running.
    #[arg(long)]
    pub detach: bool,
    /// Name of the lab; the name in the topology where absent.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
    /// What serves impaired links: auto, netem or relay.
    #[arg(long, default_value = "auto")]
    pub links: String,
    /// Seed of keys and link randomness; drawn where absent.
    #[arg(long)]
    pub seed: Option<u64>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("up")
}
