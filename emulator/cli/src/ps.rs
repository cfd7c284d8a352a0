//! `damc ps`.

use damc_lab::control::{LabState, Status};
use damc_lab::{Lab, rundir};
use tabled::builder::Builder;

use crate::exit::{Exit, Outcome};
use crate::session::{block_on, of_lab};
use crate::table::with_states;

/// List the labs that are up and their nodes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON: an array with the whole state of each lab.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    block_on(async {
        let mut labs = Vec::new();
        for directory in rundir::live_labs().map_err(of_lab)? {
            // One that is being built or is ending does not answer; it is no news either.
            if let Ok(lab) = Lab::attach(Some(&directory.lab()))
                && let Ok(status) = lab.status().await
            {
                labs.push(status);
            }
        }
        if args.json {
            println!("{}", serde_json::to_string(&labs)?);
        } else if labs.is_empty() {
            println!("no lab is up");
        } else {
            labs.iter().for_each(print);
        }
        Ok(Exit::Passed)
    })
}

fn print(status: &Status) {
    println!(
        "{} ({}): {}, {} nodes, {} links, impairments by {}, {} frames recorded",
        status.lab,
        status.topology,
        match status.state {
            LabState::Starting => "starting",
            LabState::Running => "running",
            LabState::Failed => "failed",
        },
        status.nodes.len(),
        status.links.len(),
        status.backend.label(),
        status.recording.frames,
    );
    if let Some(failure) = &status.failure {
        println!("{failure}");
    }
    let mut table = Builder::new();
    table.push_record(["node", "kind", "state", "pid", "starts", "ready", "memory", "ports"]);
    for node in &status.nodes {
        let ports: Vec<_> = node.ports.iter().map(|port| port.name.as_str()).collect();
        table.push_record([
            node.name.clone(),
            node.kind.clone(),
            node.state.label().to_owned(),
            node.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            node.starts.to_string(),
            format!("{:.0} ms", node.ready_ms),
            format!("{:.1} MB", node.resident_bytes as f64 / 1e6),
            ports.join(" "),
        ]);
    }
    println!("{}", with_states(table, 2));
}
