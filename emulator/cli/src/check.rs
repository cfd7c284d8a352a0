//! `damc check`.

use std::collections::BTreeMap;

use damc_lab::topology_file;
use damc_topology::timeline::TimelineEvent;
use damc_topology::{Mistake, MistakeKind, Mistakes, Topology};
use damc_wire::registry::Role;
use serde::Serialize;
use tabled::builder::Builder;

use crate::exit::{Exit, Failure, Outcome};
use crate::table::with_states;
use crate::topology_argument::{locate, render};

/// Check topologies: a table of what they hold, or every mistake with its place and remedy. Needs no privilege.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Paths or bare names of topologies.
    #[arg(required = true, value_name = "TOPOLOGY")]
    pub topologies: Vec<String>,
    /// Print JSON: an array with what each holds, or its mistakes.
    #[arg(long)]
    pub json: bool,
}

/// What `--json` says of one argument.
#[derive(Debug, Serialize)]
struct Checked {
    topology: String,
    valid: bool,
    /// What a valid file holds.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    holds: Option<Holds>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mistakes: Vec<Listed>,
}

/// What a topology holds.
#[derive(Debug, Serialize)]
struct Holds {
    name: String,
    domain: String,
    nodes: usize,
    /// Number of nodes of each kind there is.
    kinds: BTreeMap<&'static str, usize>,
    links: usize,
    services: usize,
    thresholds: usize,
    events: usize,
    /// Events that only the live world can do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    live_only: Vec<LiveOnly>,
}

/// An event that only the live world can do.
#[derive(Debug, Serialize)]
struct LiveOnly {
    line: usize,
    what: String,
    needs: &'static str,
}

/// A mistake. Lines and columns count from 1; none where the file as a whole is meant.
#[derive(Debug, Serialize)]
struct Listed {
    kind: &'static str,
    message: String,
    help: String,
    line: Option<usize>,
    column: Option<usize>,
}

pub fn run(args: &Args) -> Outcome {
    let checked: Vec<(&String, Result<Topology, Wrong>)> =
        args.topologies.iter().map(|argument| (argument, check(argument))).collect();
    if args.json {
        let checked: Vec<Checked> = checked.iter().map(|(argument, outcome)| as_json(argument, outcome)).collect();
        println!("{}", serde_json::to_string(&checked)?);
    } else {
        for wrong in checked.iter().filter_map(|(_, outcome)| outcome.as_ref().err()) {
            match wrong {
                Wrong::NotFound(failure) => eprintln!("damc: {:#}", failure.error),
                Wrong::Mistakes(mistakes) => eprint!("{}", render(mistakes)),
            }
        }
        let valid: Vec<Holds> = checked.iter().filter_map(|(_, outcome)| outcome.as_ref().ok().map(holds)).collect();
        if !valid.is_empty() {
            println!("{}", table(&valid));
        }
        for topology in &valid {
            for LiveOnly { line, what, needs } in &topology.live_only {
                println!("{}: line {line}: only in the live world, for {needs}: {what}", topology.name);
            }
        }
    }
    Ok(if checked.iter().all(|(_, outcome)| outcome.is_ok()) { Exit::Passed } else { Exit::Usage })
}

/// Why there is no topology.
enum Wrong {
    NotFound(Failure),
    Mistakes(Mistakes),
}

fn check(argument: &str) -> Result<Topology, Wrong> {
    let path = locate(argument).map_err(Wrong::NotFound)?;
    topology_file::load(&path).map_err(Wrong::Mistakes)
}

fn as_json(argument: &str, outcome: &Result<Topology, Wrong>) -> Checked {
    let listed = |mistakes: &Mistakes| -> Vec<Listed> {
        let place = |mistake| mistakes.place(mistake).unzip();
        let listed = mistakes.listed().iter().map(|mistake| (mistake, place(mistake)));
        listed.map(|(mistake, (line, column))| Listed::new(mistake, line, column)).collect()
    };
    let mistakes = match outcome {
        Ok(_) => Vec::new(),
        Err(Wrong::Mistakes(mistakes)) => listed(mistakes),
        Err(Wrong::NotFound(failure)) => {
            let message = format!("{:#}", failure.error);
            let kind = MistakeKind::Unreadable;
            vec![Listed::new(&Mistake::of_file(kind, message, String::new()), None, None)]
        }
    };
    Checked { topology: argument.to_owned(), valid: outcome.is_ok(), holds: outcome.as_ref().ok().map(holds), mistakes }
}

impl Listed {
    fn new(mistake: &Mistake, line: Option<usize>, column: Option<usize>) -> Self {
        let (message, help) = (mistake.message.clone(), mistake.help.clone());
        Self { kind: mistake.kind.label(), message, help, line, column }
    }
}

fn holds(topology: &Topology) -> Holds {
    let counts = Role::ALL.iter().map(|kind| (kind.label(), topology.of_kind(*kind).count()));
    let qos = topology.qos();
    Holds {
        name: topology.name().to_string(),
        domain: topology.domain().to_string(),
        nodes: topology.nodes().len(),
        kinds: counts.filter(|(_, count)| *count > 0).collect(),
        links: topology.links().len(),
        services: topology.nodes().values().map(|node| node.services.len()).sum(),
        thresholds: usize::from(qos.default.is_some()) + qos.by_prefix.len(),
        events: topology.events().len(),
        live_only: topology.events().iter().filter_map(live_only).collect(),
    }
}

fn live_only(event: &TimelineEvent) -> Option<LiveOnly> {
    let needs = event.act.needs_live()?;
    Some(LiveOnly { line: event.line, what: event.act.to_string(), needs })
}

fn table(topologies: &[Holds]) -> String {
    let mut builder = Builder::default();
    builder.push_record(["topology", "verdict", "domain", "nodes", "links", "services", "presets", "events"]);
    for topology in topologies {
        builder.push_record([
            topology.name.clone(),
            "ok".to_owned(),
            topology.domain.clone(),
            topology.nodes.to_string(),
            topology.links.to_string(),
            topology.services.to_string(),
            topology.thresholds.to_string(),
            topology.events.to_string(),
        ]);
    }
    with_states(builder, 1)
}
