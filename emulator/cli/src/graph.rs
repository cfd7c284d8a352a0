//! `damc graph`.

use crate::exit::{Outcome, not_available};

/// Draw a topology.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
}

pub fn run(_args: &Args) -> Outcome {
    not_available("graph")
}
