//! The hidden commands: programs of a lab that are this very executable, started again.
//!
//! `damc` offers them beside its own commands; a test program that builds labs calls [`dispatch`] first thing in `main`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::with_causes;
use crate::init::{InitArgs, run_init};
use crate::sandbox::{SandboxArgs, run_sandbox};
use crate::uml::{KeeperArgs, run_init as run_guest_init, run_keeper};

/// Runs the hidden command this process was started as; none where it was started as something else.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next()?;
    let arguments: Vec<String> = arguments.collect();
    match command.as_str() {
        "lab-sandbox" => Some(lab_sandbox(&arguments)),
        "lab-init" => Some(lab_init(&arguments)),
        "lab-relay" => Some(lab_relay()),
        "uml-keeper" => Some(uml_keeper(&arguments)),
        "uml-init" => Some(arguments.first().map_or_else(misused, |folder| run_guest_init(folder.as_ref()))),
        _ => None,
    }
}

/// `lab-sandbox --directory DIR --lock FD [--parent PID]`.
fn lab_sandbox(arguments: &[String]) -> ExitCode {
    let parsed = (|| {
        Some(SandboxArgs {
            directory: PathBuf::from(value(arguments, "--directory")?),
            lock: value(arguments, "--lock")?.parse().ok()?,
            parent: value(arguments, "--parent").and_then(|pid| pid.parse().ok()),
        })
    })();
    parsed.map_or_else(misused, |arguments| run_sandbox(&arguments))
}

/// `lab-init --directory DIR --lock FD`.
fn lab_init(arguments: &[String]) -> ExitCode {
    let parsed = (|| {
        Some(InitArgs {
            directory: PathBuf::from(value(arguments, "--directory")?),
            lock: value(arguments, "--lock")?.parse().ok()?,
        })
    })();
    parsed.map_or_else(misused, |arguments| run_init(&arguments))
}

/// `lab-relay`: its control connection is its standard input.
fn lab_relay() -> ExitCode {
    match crate::relay::main_on_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-relay: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// `uml-keeper --directory DIR --kernel FILE --memory-mib N --turn N [--inner]`.
fn uml_keeper(arguments: &[String]) -> ExitCode {
    let parsed = (|| {
        Some(KeeperArgs {
            directory: PathBuf::from(value(arguments, "--directory")?),
            kernel: PathBuf::from(value(arguments, "--kernel")?),
            memory_mib: value(arguments, "--memory-mib")?.parse().ok()?,
            turn: value(arguments, "--turn")?.parse().ok()?,
            inner: arguments.iter().any(|argument| argument == "--inner"),
        })
    })();
    parsed.map_or_else(misused, |arguments| run_keeper(&arguments))
}

fn value<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == option)?;
    arguments.get(at + 1).map(String::as_str)
}

fn misused() -> ExitCode {
    eprintln!("damc: this command is started by a lab, never by hand");
    ExitCode::from(2)
}
