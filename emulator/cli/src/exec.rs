//! `damc exec`.

use damc_lab::{Lab, LabError};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::of_lab;

/// The exit code of a shell where there is no such program.
const NOT_FOUND: u8 = 127;

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
    match entry.run(command) {
        Ok(code) => Ok(Exit::Code(code)),
        Err(error @ LabError::Io { .. }) if is_missing(&error) => {
            Err(Failure { exit: Exit::Code(NOT_FOUND), error: error.into() })
        }
        Err(error) => Err(of_lab(error)),
    }
}

fn is_missing(error: &LabError) -> bool {
    matches!(error, LabError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}
