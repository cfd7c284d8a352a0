//! `damc man`.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::Cli;
use crate::exit::{Exit, Failure, Outcome};

/// Print a man page, or write all of them.
///
/// To read one without installing it: damc man run | man -l -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command that the page is of; `damc` itself where absent.
    pub command: Option<String>,
    /// Write the pages of all commands into this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub to: Option<PathBuf>,
}

pub fn run(args: &Args) -> Outcome {
    let all = all();
    if let Some(folder) = &args.to {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        for (name, page) in all {
            let file = folder.join(format!("{name}.1"));
            std::fs::write(&file, page).with_context(|| format!("write {}", file.display()))?;
        }
        return Ok(Exit::Passed);
    }
    let wanted = args.command.as_ref().map_or_else(|| "damc".to_owned(), |command| format!("damc-{command}"));
    let Some((_, page)) = all.iter().find(|(name, _)| *name == wanted) else {
        let known: Vec<_> = all.iter().filter_map(|(name, _)| name.strip_prefix("damc-")).collect();
        let command = args.command.as_deref().unwrap_or_default();
        return Err(Failure::usage(anyhow!("there is no command `{command}`; there are {}", known.join(", "))));
    };
    print!("{}", String::from_utf8_lossy(page));
    Ok(Exit::Passed)
}

/// Each page with its name: that of the command, then those of its subcommands.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let subcommands: Vec<_> = whole.get_subcommands().cloned().collect();
    [whole].into_iter().chain(subcommands).map(page).collect()
}

fn page(command: Command) -> (String, Vec<u8>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    // Writing into a vector does not fail.
    let _ = Man::new(command).manual("DAMC testbed").render(&mut page);
    (name, page)
}
