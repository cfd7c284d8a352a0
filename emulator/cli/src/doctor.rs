//! `damc doctor`.

use crate::exit::{Outcome, not_available};

/// Say what this host can emulate and what is missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure the accuracy of link emulation too.
    #[arg(long)]
    pub calibrate: bool,
}

pub fn run(_args: Args) -> Outcome {
    not_available("doctor")
}
