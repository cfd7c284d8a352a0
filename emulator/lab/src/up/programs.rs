//! Whether the programs that a topology asks for are there: nothing is created before that is known.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use damc_topology::plan::{Place, Plan, Process, Program};

use crate::error::{LabError, Result};

/// Says where our programs lie: those of nodes, and those that `{bin}` in a command or a variable of a service means.
pub(super) fn find_own_programs(plan: &mut Plan, folders: &[PathBuf]) {
    for process in &mut plan.processes {
        if let Program::Own(name) = &mut process.program {
            *name = find(name, folders).display().to_string();
        }
    }
    let services = plan.processes.iter_mut().flat_map(|process| process.config.services_mut());
    for run in services.filter_map(|service| service.run.as_mut()) {
        for word in run.argv.iter_mut().chain(run.env.values_mut()) {
            if let Some((before, name)) = word.split_once("{bin}/") {
                *word = format!("{before}{}", find(name, folders).display());
            }
        }
    }
}

/// The program in the first folder that has it; where none has, in the last.
#[must_use]
pub fn find(name: &str, folders: &[PathBuf]) -> PathBuf {
    let mut places = folders.iter().map(|folder| folder.join(name));
    let found = places.clone().find(|path| is_program(path)).or_else(|| places.next_back());
    found.unwrap_or_else(|| PathBuf::from(name))
}

/// Whether a file is there and may be executed by somebody.
#[must_use]
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The program that a word without a slash starts: the first on the path.
#[must_use]
pub fn program_on_path(word: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(word)).find(|file| is_program(file))
}

/// Every program is there, or an error names all that are not.
pub(super) fn check_programs(plan: &Plan) -> Result<()> {
    let foreign = plan.processes.iter().filter(|process| process.program.is_foreign());
    let missing: Vec<_> = foreign.filter_map(|p| Some((p.node.clone(), missing_program(p)?))).collect();
    if !missing.is_empty() {
        return Err(LabError::MissingForeign(missing));
    }
    let mut missing: Vec<PathBuf> = plan.processes.iter().filter_map(missing_program).collect();
    missing.sort();
    missing.dedup();
    if !missing.is_empty() {
        return Err(LabError::MissingPrograms(missing));
    }
    let services = plan.processes.iter().flat_map(|process| &process.config.services);
    let programs = services.filter_map(|service| Some((service.prefix.clone(), service.run.as_ref()?)));
    let missing = programs.filter_map(|(prefix, run)| Some((prefix, missing_word(run.argv.first()?, &run.cwd)?)));
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(LabError::MissingServices(missing)) }
}

fn missing_program(process: &Process) -> Option<PathBuf> {
    let nowhere = Path::new("");
    let argv = process.program.argv(Place { node: &process.node, config: nowhere, directory: nowhere });
    absent(PathBuf::from(argv.first()?))
}

/// The program of a service: a path is one from its working directory.
fn missing_word(word: &str, cwd: &Path) -> Option<PathBuf> {
    let by_path = Path::new(word).components().count() > 1;
    absent(if by_path { cwd.join(word) } else { PathBuf::from(word) })
}

/// The program that a word starts: the file where it is a path, else the first on the path of that name.
#[must_use]
pub fn find_program(word: &Path) -> Option<PathBuf> {
    if word.components().count() > 1 {
        return is_program(word).then(|| word.to_owned());
    }
    program_on_path(word.to_str()?)
}

fn absent(wanted: PathBuf) -> Option<PathBuf> {
    find_program(&wanted).is_none().then_some(wanted)
}
