//! `damc save`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use damc_lab::control::{NodeState, Status};
use damc_lab::{Lab, topology_file};
use damc_topology::written;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};
use crate::topology_argument::refused;

/// Write a running lab back as a topology: its nodes, and its links as they are now.
///
/// What a file cannot say is in comments at its top: links that are down or silent, nodes that do not run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; standard output where absent.
    pub file: Option<PathBuf>,
    /// Overwrite the file.
    #[arg(long, requires = "file")]
    pub force: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let status = lab.status().await.map_err(of_lab)?;
        let built = lab.directory().topology();
        let mut topology = topology_file::load(&built).map_err(|mistakes| refused(&mistakes))?;
        for link in &status.links {
            topology.set_link(&link.a, &link.b, link.forward, link.backward);
        }
        let text = written(&topology, &notes(&status));
        let Some(path) = &args.file else {
            print!("{text}");
            return Ok(Exit::Passed);
        };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).create_new(!args.force);
        let unwritable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow!("{} is there already: --force overwrites it", path.display()),
            _ => anyhow!("{}: {error}", path.display()),
        };
        let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::usage(unwritable(error)))?;
        Ok(Exit::Passed)
    })
}

fn notes(status: &Status) -> Vec<String> {
    let mut notes = vec![format!("Written by `damc save` from the lab {}, seed {}.", status.lab, status.seed)];
    for link in &status.links {
        let (a, b) = (&link.a, &link.b);
        let silent = [(a, b, &link.forward), (b, a, &link.backward)].into_iter().filter(|(_, _, spec)| spec.silent);
        notes.extend((!link.up).then(|| format!("The link {a}–{b} was down.")));
        notes.extend(silent.map(|(from, to, _)| format!("The link {a}–{b} was silent from {from} to {to}.")));
    }
    let idle = status.nodes.iter().filter(|node| node.state != NodeState::Ready);
    notes.extend(idle.map(|node| format!("The node {} was {}.", node.name, node.state.label())));
    notes
}
