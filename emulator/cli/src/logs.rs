//! `damc logs`.

use crate::exit::{Outcome, not_available};

/// Print the log of a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// Go on as it grows.
    #[arg(short, long)]
    pub follow: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("logs")
}
