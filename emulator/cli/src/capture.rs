//! `damc capture`.

use crate::exit::{Outcome, not_available};

/// Watch the frames of a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// One port, named after the neighbour; all where absent.
    pub port: Option<String>,
    /// Write pcapng.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<std::path::PathBuf>,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("capture")
}
