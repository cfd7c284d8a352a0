//! `damc node`.

use crate::exit::{Outcome, not_available};

/// Kill, stop, start, pause or resume the process of a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// kill, stop, start, pause or resume.
    pub action: String,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("node")
}
