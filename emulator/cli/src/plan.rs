//! `damc plan`.

use crate::exit::{Outcome, not_available};

/// Print what a topology would be built of.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
}

pub fn run(_args: &Args) -> Outcome {
    not_available("plan")
}
