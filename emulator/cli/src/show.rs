//! `damc show`.

use crate::exit::{Outcome, not_available};

/// Print the state of a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// fib, rib, lsdb, neighbors, policies or counters.
    pub what: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("show")
}
