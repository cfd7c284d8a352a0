//! `damc exec`.

use damc_lab::Lab;

use crate::exit::{Exit, Outcome};
use crate::session::of_lab;

/// Run a command inside a node: in its namespaces, as its root, on this terminal.
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

pub fn run(args: &Args) -> Outcome {
    inside(args.lab.as_deref(), &args.node, &args.command)
}

/// Runs a command inside a node; its exit code becomes ours. Nothing here may start a thread: a user namespace can only
/// be entered without.
pub fn inside(lab: Option<&str>, node: &str, command: &[String]) -> Outcome {
    let entry = Lab::attach(lab).and_then(|lab| lab.enter(node)).map_err(of_lab)?;
    Ok(Exit::Code(entry.run(command).map_err(of_lab)?))
}
