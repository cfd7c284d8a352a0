//! `damc exec`.

use std::process::{Command, Stdio};

use anyhow::Context as _;
use damc_lab::lab::program;
use damc_lab::{Lab, LabError};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::of_lab;

/// The exit code of a shell where there is no such program.
const NOT_FOUND: u8 = 127;

/// Run a command inside a node: in its namespaces, as its root, on this terminal.
///
/// With --all in every node, one after the other: each line is preceded by the node's name, the input is empty, and the
/// exit code is the first that is not 0.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub node: Option<String>,
    /// In every node.
    #[arg(long)]
    pub all: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    match &args.node {
        Some(node) => inside(args.lab.as_deref(), node, &args.command),
        None => everywhere(args.lab.as_deref(), &args.command),
    }
}

/// Runs a command in every node by this program again: a process that has entered a node cannot leave it.
fn everywhere(lab: Option<&str>, command: &[String]) -> Outcome {
    let lab = Lab::attach(lab).map_err(of_lab)?;
    let program = program().map_err(of_lab)?;
    let mut exit = Exit::Passed;
    for node in lab.nodes() {
        let mut one = Command::new(&program);
        one.args(["exec", node, "--lab", lab.name(), "--"]).args(command).stdin(Stdio::null());
        let output = one.output().with_context(|| format!("run {}", program.display()))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("{node}: {line}");
        }
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            eprintln!("{node}: {line}");
        }
        let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        if exit == Exit::Passed && code != 0 {
            exit = Exit::Code(code);
        }
    }
    Ok(exit)
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
