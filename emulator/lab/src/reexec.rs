//! The hidden commands: programs of a lab that are this very executable, started again.
//!
//! `damc` offers them beside its own commands; a test program that builds labs calls [`dispatch`] first thing in `main`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use tracing_subscriber::EnvFilter;

use crate::error::with_causes;
use crate::init::{InitArgs, run_init};
use crate::sandbox::{SandboxArgs, run_sandbox};
use crate::uml::{KeeperArgs, run_init as run_guest_init, run_keeper};

/// Variable with the log filter, in the syntax of `tracing`; `info` where it is not set. Nodes have the same.
const LOG_VARIABLE: &str = "DAMC_LOG";

#[derive(Debug, Parser)]
enum Hidden {
    LabSandbox(SandboxArgs),
    LabInit(InitArgs),
    /// Its control connection is its standard input.
    LabRelay,
    UmlKeeper(KeeperArgs),
    UmlInit {
        /// The exchange folder.
        folder: PathBuf,
        /// Words that the guest's kernel adds to its own command line, and so to this one.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _added: Vec<OsString>,
    },
}

/// Runs the hidden command this process was started as; none where it was started as something else.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    Some(match parse(std::env::args_os())? {
        Ok(Hidden::LabSandbox(arguments)) => run_sandbox(&arguments),
        Ok(Hidden::LabInit(arguments)) => run_init(&arguments),
        Ok(Hidden::LabRelay) => run_relay(),
        Ok(Hidden::UmlKeeper(arguments)) => run_keeper(&arguments),
        Ok(Hidden::UmlInit { folder, .. }) => run_guest_init(&folder),
        Err(_) => {
            eprintln!("damc: this command is started by a lab, never by hand");
            ExitCode::from(2)
        }
    })
}

/// The hidden command in a command line; none where its first word is no such command.
fn parse(arguments: impl Iterator<Item = OsString>) -> Option<Result<Hidden, clap::Error>> {
    let arguments: Vec<OsString> = arguments.collect();
    let name = arguments.get(1)?.to_str()?;
    // Not by parsing: everything else is somebody else's command line.
    Hidden::command()
        .get_subcommands()
        .any(|command| command.get_name() == name)
        .then(|| Hidden::try_parse_from(arguments))
}

fn run_relay() -> ExitCode {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match crate::relay::main_on_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-relay: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(words: &str) -> Option<Result<Hidden, clap::Error>> {
        parse(words.split(' ').map(OsString::from))
    }

    #[test]
    fn hidden_commands_are_told_from_others() {
        for other in ["damc", "damc up fig2", "damc help", "damc --version", "damc lab"] {
            assert!(parsed(other).is_none(), "{other}");
        }
        for wrong in ["damc lab-init", "damc lab-sandbox --directory d --lock x", "damc lab-relay now", "damc uml-init"]
        {
            assert!(parsed(wrong).is_some_and(|parsed| parsed.is_err()), "{wrong}");
        }
    }

    #[test]
    fn arguments_are_what_was_written() {
        let Some(Ok(Hidden::LabSandbox(arguments))) = parsed("damc lab-sandbox --directory /d --lock 5 --parent 77")
        else {
            panic!("a sandbox");
        };
        assert_eq!((arguments.directory.as_path(), arguments.lock, arguments.parent), (Path::new("/d"), 5, Some(77)));
        let Some(Ok(Hidden::UmlKeeper(arguments))) =
            parsed("damc uml-keeper --directory /d --kernel /k --memory-mib 512 --guest-number 3 --inner")
        else {
            panic!("a keeper");
        };
        assert_eq!((arguments.memory_mib, arguments.guest_number, arguments.inner), (512, 3, true));
        for added in ["", " root=98:0", " --root 98:0"] {
            let Some(Ok(Hidden::UmlInit { folder, .. })) = parsed(&format!("/proc/self/exe uml-init /x{added}")) else {
                panic!("a guest's first process, with{added}");
            };
            assert_eq!(folder, Path::new("/x"));
        }
        assert!(matches!(parsed("damc lab-relay"), Some(Ok(Hidden::LabRelay))));
    }
}
