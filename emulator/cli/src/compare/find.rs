//! The folder that a word of the command line means.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::exit::Failure;

/// A folder of results.
pub(super) enum Folder {
    Run(PathBuf),
    Sweep(PathBuf),
}

impl Folder {
    /// What it is, in words.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Run(_) => "a run",
            Self::Sweep(_) => "a sweep",
        }
    }

    fn at(path: &Path) -> Option<Self> {
        if path.join("sweep.json").is_file() {
            return Some(Self::Sweep(path.to_owned()));
        }
        path.join("report.json").is_file().then(|| Self::Run(path.to_owned()))
    }
}

/// Finds the folder of a run or of a sweep: by its path, as `latest`, or by the end of its name.
///
/// # Errors
/// There is none, or several have that end; says which.
pub(super) fn folder(word: &str, results: &Path) -> Result<Folder, Failure> {
    let path = Path::new(word);
    if let Some(folder) = Folder::at(path).or_else(|| Folder::at(&results.join(word))) {
        return Ok(folder);
    }
    if path.is_dir() {
        return Err(Failure::usage(anyhow!(
            "{word} has neither report.json nor sweep.json: no folder of a run or sweep"
        )));
    }
    let found = if word.contains('/') { Vec::new() } else { named(word, results) };
    match &*found {
        [one] => Folder::at(one).ok_or_else(|| Failure::usage(anyhow!("{} has no report.json", one.display()))),
        [] => Err(Failure::usage(anyhow!(
            "no run or sweep `{word}`: name a folder, `latest`, or an id that a folder in {} ends with",
            results.display()
        ))),
        several => {
            let list: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::usage(anyhow!("`{word}` may be any of {}", list.join(", "))))
        }
    }
}

/// Folders `results/*/*` whose name is the word or ends with it after a hyphen.
fn named(word: &str, results: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        // `latest` is the name of a folder that is found anyway.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir() && !path.is_symlink()).collect()
    };
    let ends = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == word || name.strip_suffix(word).is_some_and(|before| before.ends_with('-'))
    };
    let mut found: Vec<PathBuf> = inside(results).iter().flat_map(|folder| inside(folder)).filter(ends).collect();
    found.sort();
    found
}
