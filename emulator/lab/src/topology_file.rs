//! Topology files on disk: reading them, within bounds, for [`damc_topology`] to check.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use damc_topology::{MAX_FILE_LEN, MistakeKind, Mistakes, Topology, parse_runnable, parse_with};

/// Reads and checks a topology file.
///
/// # Errors
/// All mistakes of the file.
pub fn load(path: &Path) -> Result<Topology, Mistakes> {
    parse_with(&path.display().to_string(), &read(path)?, &folder_of(path), &other)
}

/// Checks a text in the place of that of the file at `path`, as [`load`] does; `name` is what messages call it.
///
/// # Errors
/// As [`load`].
pub fn checked(name: &str, text: &str, path: &Path) -> Result<Topology, Mistakes> {
    parse_with(name, text, &folder_of(path), &other)
}

/// Reads and checks a topology file that is to be brought up: what this version describes but cannot do yet counts as a
/// mistake too.
///
/// # Errors
/// All mistakes of the file; of a file without mistakes, all places that ask for what is not available.
pub fn load_runnable(path: &Path) -> Result<Topology, Mistakes> {
    runnable(&path.display().to_string(), &read(path)?, path)
}

/// Checks a text in the place of that of the file at `path`, as [`load_runnable`] does; `name` is what messages call it.
///
/// # Errors
/// As [`load_runnable`].
pub fn runnable(name: &str, text: &str, path: &Path) -> Result<Topology, Mistakes> {
    parse_runnable(name, text, &folder_of(path), &other)
}

/// The folder a file lies in, the current one where that cannot be told.
fn folder_of(path: &Path) -> PathBuf {
    let own = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    own.or_else(|| std::env::current_dir().ok()).unwrap_or_default()
}

/// Reads a file that a topology names.
fn other(path: &Path) -> Result<String, String> {
    let bytes = within_limit(path).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(format!("it is longer than {} MiB", MAX_FILE_LEN >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())
}

/// The content of a file. One byte over the limit tells a file of exactly that length from a longer one (and from an
/// endless device).
fn within_limit(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a topology file.
///
/// # Errors
/// It cannot be read, is too long or no text.
pub fn read(path: &Path) -> Result<String, Mistakes> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| {
        Mistakes::of_file(
            &name,
            MistakeKind::Unreadable,
            format!("{name}: {error}"),
            "give the path of a readable YAML file, or the bare name of a shipped topology",
        )
    };
    let bytes = within_limit(path).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(Mistakes::of_file(
            &name,
            MistakeKind::TooLarge,
            format!("{name} is longer than {} MiB", MAX_FILE_LEN >> 20),
            "a topology file of the largest accepted size stays far below that; is it the right file?",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        Mistakes::of_file(
            &name,
            MistakeKind::NotYaml,
            format!("{name} is no text: byte {} is not UTF-8", error.utf8_error().valid_up_to()),
            "a topology is a YAML file in UTF-8",
        )
    })
}
