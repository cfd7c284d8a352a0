//! `damc completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::Cli;
use crate::exit::{Exit, Outcome};

/// Print what a shell needs to complete this command.
///
/// For bash: damc completions bash > ~/.local/share/bash-completion/completions/damc
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    pub shell: Shell,
}

pub fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "damc", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(Exit::Passed)
}
