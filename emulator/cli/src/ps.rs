//! `damc ps`.

use crate::exit::{Outcome, not_available};

/// List labs and their processes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn run(_args: Args) -> Outcome {
    not_available("ps")
}
