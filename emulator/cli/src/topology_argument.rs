//! TOPOLOGY arguments: a path, or the bare name of a file in `topologies/` or inside the command.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use damc_lab::topology_file;
use damc_topology::{Mistakes, Setting, Topology, with_settings};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::exit::{Exit, Failure};
use crate::shipped;

/// Environment variable with a folder of topologies, searched first.
const FOLDER_VARIABLE: &str = "DAMC_TOPOLOGIES";

/// The file a TOPOLOGY argument means.
///
/// Anything with a `/` or an extension is a path. A bare name is looked up in `$DAMC_TOPOLOGIES`, in `./topologies`, in the
/// `topologies` folder of the workspace that the executable lies in, where packages put topologies, and inside the command; in
/// each of them below `experiments` too.
///
/// # Errors
/// Nothing of that has it; the message says what was searched and what is offered.
pub fn locate(argument: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(argument);
    if argument.contains('/') || path.extension().is_some() || path.is_file() {
        return Ok(path.to_owned());
    }
    let folders = folders();
    let places = |folder: &PathBuf| {
        let file = format!("{argument}.yaml");
        [folder.join(shipped::EXPERIMENTS).join(&file), folder.join(file)]
    };
    if let Some(file) = folders.iter().flat_map(places).find(|file| file.is_file()) {
        return Ok(file);
    }
    if shipped::names().any(|name| name == argument) {
        return shipped::file(argument).map_err(|error| Failure { exit: Exit::Inconclusive, error });
    }
    let mut searched: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    searched.push("inside the command".to_owned());
    let experiments = |folder: &PathBuf| names_in(&folder.join(shipped::EXPERIMENTS));
    let mut offered: Vec<_> =
        folders.iter().flat_map(|folder| [names_in(folder), experiments(folder)].concat()).collect();
    offered.extend(shipped::names().map(str::to_owned));
    offered.sort();
    offered.dedup();
    Err(Failure::usage(anyhow::anyhow!(
        "there is no topology `{argument}` (searched {}; there are: {})",
        searched.join(", "),
        offered.join(", ")
    )))
}

fn folders() -> Vec<PathBuf> {
    let configured = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let executable = std::env::current_exe().ok();
    let around = executable.iter().flat_map(|file| file.ancestors().skip(1));
    let around = around.flat_map(|folder| ["topologies", "share/damc/topologies"].map(|name| folder.join(name)));
    configured
        .into_iter()
        .chain([PathBuf::from("topologies")])
        .chain(around)
        .enumerate()
        // The first is named in messages even where it is missing.
        .filter(|(index, folder)| *index < 1 || folder.is_dir())
        .map(|(_, folder)| folder)
        .fold(Vec::new(), |mut folders, folder| {
            // The executable may lie in the workspace that is the current folder.
            let new = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            if !folders.iter().any(|known: &PathBuf| known.canonicalize().is_ok_and(|known| known == new)) {
                folders.push(folder);
            }
            folders
        })
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .filter_map(|file| file.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect()
}

/// Reads the topology an argument means.
///
/// # Errors
/// There is none, or it has mistakes: all of them, ready to be printed.
pub fn load(argument: &str) -> Result<Topology, Failure> {
    topology_file::load(&locate(argument)?).map_err(|mistakes| refused(&mistakes))
}

/// Reads the topology an argument means, to be brought up.
///
/// # Errors
/// As [`load`]; what this version cannot do yet counts as a mistake.
pub fn load_runnable(argument: &str) -> Result<Topology, Failure> {
    let topology = topology_file::load_runnable(&locate(argument)?).map_err(|mistakes| refused(&mistakes))?;
    warn_of_programs(&topology);
    Ok(topology)
}

/// Reads the topology an argument means, to be brought up, with values put into it; and its text.
///
/// # Errors
/// As [`load_runnable`], of the text with the values in it.
pub fn load_with(argument: &str, settings: &[Setting]) -> Result<(Topology, String), Failure> {
    let path = locate(argument)?;
    let text = topology_file::read(&path).map_err(|mistakes| refused(&mistakes))?;
    let text = with_settings(&text, settings).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(|error| format!("--set {error}")).collect();
        Failure::usage(anyhow::anyhow!("{}", errors.join("\n")))
    })?;
    let topology = topology_file::runnable(&name_with(&path, settings), &text, &path);
    let topology = topology.map_err(|mistakes| refused(&mistakes))?;
    warn_of_programs(&topology);
    Ok((topology, text))
}

/// What a file with values put into it is called in messages.
pub fn name_with(path: &Path, settings: &[Setting]) -> String {
    let said: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let with = if said.is_empty() { "" } else { " with " };
    format!("{}{with}{}", path.display(), said.join(" and "))
}

fn warn_of_programs(topology: &Topology) {
    let runs_programs = topology.nodes().values().flat_map(|node| &node.services).any(|service| service.run.is_some());
    if runs_programs && nix::unistd::geteuid().is_root() {
        eprintln!(
            "damc: warning: this topology has programs (`run:`), and you are root. They get no permission and write in a \
             folder of their own, but they read what root may read: bring up what you trust, or do it as another user"
        );
    }
}

/// All mistakes, as wrong usage.
pub fn refused(mistakes: &Mistakes) -> Failure {
    Failure::usage(anyhow::anyhow!("{}", render(mistakes).trim()))
}

/// All mistakes with the lines they are in: in colour on a terminal, plain elsewhere.
pub fn render(mistakes: &Mistakes) -> String {
    let terminal = std::io::stderr().is_terminal() && crate::table::colour_wanted();
    let theme = if terminal { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = GraphicalReportHandler::new_themed(theme).with_links(false).render_report(&mut text, mistakes);
    text
}
