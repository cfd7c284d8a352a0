//! `damc shell`.

use crate::exec::inside;
use crate::exit::Outcome;

/// Open a shell inside a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let shell = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".to_owned());
    inside(args.lab.as_deref(), &args.node, &[shell])
}
