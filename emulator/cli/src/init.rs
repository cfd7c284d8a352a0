//! `damc init`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::exit::{Exit, Failure, Outcome};
use crate::shipped;

/// Write a topology to start from, with comments.
///
/// Puts topology.schema.json beside it, with which editors complete and check. Overwrites nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; its name without extension becomes the topology's.
    #[arg(default_value = "mine.yaml")]
    pub file: PathBuf,
}

const TEMPLATE: &str = include_str!("template.yaml");
const SCHEMA: &str = "topology.schema.json";

pub fn run(args: &Args) -> Outcome {
    let file = &args.file;
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let text = TEMPLATE.replace("NAME", name);
    // A name that no topology can have would be found at the first `check`; here it can still be told at once.
    damc_topology::parse(&file.display().to_string(), &text, Path::new("/"))
        .map_err(|mistakes| crate::topology_argument::refused(&mistakes))?;
    create(file, &text)?;
    let schema = file.with_file_name(SCHEMA);
    match create(&schema, shipped::text(SCHEMA).unwrap_or_default()) {
        Ok(()) => println!("wrote {} and {}", file.display(), schema.display()),
        Err(_) if schema.exists() => println!("wrote {}", file.display()),
        Err(failure) => return Err(failure),
    }
    println!("next: damc check {0}; damc run {0} --virtual; damc up {0} --detach", argument(file));
    Ok(Exit::Passed)
}

/// The file as a TOPOLOGY argument that a shell takes as it is.
fn argument(file: &Path) -> String {
    let text = file.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Writes a file that is not there yet.
fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::usage(anyhow!("{} is there already: give another name", path.display())))
        }
        Err(error) => Err(Failure::usage(anyhow!("{}: {error}", path.display()))),
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))?;
            Ok(())
        }
    }
}
