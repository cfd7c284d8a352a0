//! `damc exec`.

use crate::exit::{Outcome, not_available};

/// Run a command inside a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("exec")
}
