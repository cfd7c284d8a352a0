//! `damc check`.

use std::fmt::Write as _;

use damc_lab::topology_file;
use damc_topology::{Mistakes, Topology};
use damc_wire::registry::Role;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::exit::{Exit, Outcome};
use crate::topology_argument::{locate, render};

/// Check topologies: a table of what they hold, or every mistake with its place and remedy. Needs no privilege.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Paths or bare names of topologies.
    #[arg(required = true, value_name = "TOPOLOGY")]
    pub topologies: Vec<String>,
}

pub fn run(args: &Args) -> Outcome {
    let mut valid = Vec::new();
    let mut exit = Exit::Passed;
    for argument in &args.topologies {
        let checked: Result<Topology, Mistakes> = match locate(argument) {
            Ok(path) => topology_file::load(&path),
            Err(failure) => {
                eprintln!("damc: {:#}", failure.error);
                exit = Exit::Usage;
                continue;
            }
        };
        match checked {
            Ok(topology) => valid.push(topology),
            Err(mistakes) => {
                eprint!("{}", render(&mistakes));
                exit = Exit::Usage;
            }
        }
    }
    if !valid.is_empty() {
        println!("{}", table(&valid));
    }
    Ok(exit)
}

fn table(topologies: &[Topology]) -> String {
    let mut builder = Builder::default();
    builder.push_record(["topology", "verdict", "domain", "nodes", "links", "services", "thresholds", "events"]);
    for topology in topologies {
        let services: usize = topology.nodes().values().map(|node| node.services.len()).sum();
        let qos = topology.qos();
        builder.push_record([
            topology.name().to_string(),
            "ok".to_owned(),
            topology.domain().to_string(),
            kinds(topology),
            topology.links().len().to_string(),
            services.to_string(),
            (usize::from(qos.default.is_some()) + qos.by_prefix.len()).to_string(),
            topology.events().len().to_string(),
        ]);
    }
    builder.build().with(Style::sharp()).to_string()
}

/// How many nodes there are, and of which kinds: `16 (3 sr, 4 sg, …)`.
fn kinds(topology: &Topology) -> String {
    let mut text = topology.nodes().len().to_string();
    let counts: Vec<_> = Role::ALL
        .iter()
        .map(|kind| (topology.of_kind(*kind).count(), kind))
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    let _ = write!(text, " ({})", counts.join(", "));
    text
}
