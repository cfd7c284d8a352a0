//! `damc down`.

use crate::exit::{Outcome, not_available};

/// Tear a lab down.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab; the only one where absent.
    pub name: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("down")
}
