//! `damc up`.

use std::path::PathBuf;
use std::time::Duration;

use damc_lab::control::{Backend, Status};
use damc_lab::job::LinksBy;
use damc_lab::{Lab, LabError, UpOptions};
use damc_topology::plan::KeySeed;
use serde::Serialize;

use crate::exit::{Exit, Failure, Outcome};
use crate::foreign::ForeignOption;
use crate::session::{block_on, of_lab};
use crate::topology_argument::load_runnable;

/// Bring a lab up to play with.
///
/// Stays until Ctrl-C, which ends the lab; with --detach it returns when the lab has converged, and `damc down` ends it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
    /// Return when the lab has converged, and leave it running.
    #[arg(long)]
    pub detach: bool,
    /// Name of the lab; the name in the topology where absent.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
    /// What serves impaired links: auto, netem or relay.
    #[arg(long, default_value = "auto")]
    pub links: LinksBy,
    /// Serve links without impairment in the same way, so that any can be set on them later.
    #[arg(long)]
    pub all_relayed: bool,
    /// Seed of link randomness; drawn where absent.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub keys: KeysOption,
    #[command(flatten)]
    pub foreign: ForeignOption,
    #[command(flatten)]
    pub echo: EchoOption,
    /// Longest wait for convergence, in seconds, beside the time programs of services may take to be ready.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub converge_within: u64,
    /// Print one JSON object when the lab has converged, and nothing else.
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Converged<'a> {
    lab: &'a str,
    topology: &'a str,
    seed: u64,
    /// Number of nodes.
    nodes: usize,
    /// Number of links.
    links: usize,
    /// What serves impaired links, and why.
    backend: Backend,
    backend_reason: &'a str,
    /// From the command to the last node's readiness, ms.
    ready_ms: f64,
    /// From there until every FIB was right, ms.
    converged_ms: f64,
    /// Where sockets, configurations, logs and the recording are.
    directory: PathBuf,
}

/// How soon a lab notices silent failures.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct EchoOption {
    /// Period of the echo on every link, 5 to 10000; by the size of the lab and the host where absent. Three without an
    /// answer make a silent failure.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(5..=10_000))]
    pub echo: Option<u64>,
}

/// Where the keys of a lab come from.
#[derive(Clone, Debug, clap::Args)]
pub struct KeysOption {
    /// File with what the nodes' keys are made of, for labs that are to have the same ones; it is made where it is not
    /// there. New keys where absent.
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
}

impl KeysOption {
    /// What the file holds, if one is named.
    pub fn read(&self) -> Result<Option<KeySeed>, Failure> {
        self.keys.as_deref().map(damc_lab::up::keys::of_file).transpose().map_err(of_lab)
    }
}

pub fn run(args: &Args) -> Outcome {
    let topology = args.foreign.put_in(load_runnable(&args.topology)?)?;
    if !topology.events().is_empty() && !args.json {
        let (name, count) = (topology.name(), topology.events().len());
        eprintln!("damc: {name} has {count} events, which `damc up` leaves out; `damc run` plays them");
    }
    let options = UpOptions {
        lab: args.lab.clone(),
        seed: args.seed.unwrap_or_else(drawn_seed),
        keys: args.keys.read()?,
        links_by: args.links,
        all_relayed: args.all_relayed,
        detached: args.detach,
        echo_ms: args.echo.echo,
        ..UpOptions::default()
    };
    block_on(async {
        let mut lab = Lab::up(&topology, &options).await.map_err(of_lab)?;
        let status = lab.status().await.map_err(of_lab)?;
        if !args.json {
            tell_ready(&status);
        }
        let within = Duration::from_secs(args.converge_within) + topology.longest_start();
        let took = match lab.wait_converged(within).await {
            Ok(took) => took.as_secs_f64() * 1e3,
            Err(error) => return ended(args, lab, error).await,
        };
        if args.json {
            println!("{}", serde_json::to_string(&converged(&lab, &status, took))?);
        } else {
            println!("converged {took:.0} ms after that");
        }
        if args.detach {
            lab.detach();
        }
        if !args.json {
            println!("{}`damc down {}` ends it", if args.detach { "" } else { "Ctrl-C or " }, status.lab);
        }
        if args.detach {
            return Ok(Exit::Passed);
        }
        let error = lab.failed().await;
        ended(args, lab, error).await
    })
}

fn tell_ready(status: &Status) {
    println!(
        "lab {} is ready after {:.0} ms: {} nodes, {} links, impairments by {} ({}), seed {}",
        status.lab,
        status.ready_ms,
        status.nodes.len(),
        status.links.len(),
        status.backend.label(),
        status.backend_reason,
        status.seed
    );
}

fn converged<'a>(lab: &Lab, status: &'a Status, converged_ms: f64) -> Converged<'a> {
    Converged {
        lab: &status.lab,
        topology: &status.topology,
        seed: status.seed,
        nodes: status.nodes.len(),
        links: status.links.len(),
        backend: status.backend,
        backend_reason: &status.backend_reason,
        ready_ms: status.ready_ms,
        converged_ms,
        directory: lab.directory().path().to_owned(),
    }
}

/// Ends a lab that is no longer in good order.
async fn ended(args: &Args, lab: Lab, error: LabError) -> Outcome {
    if let LabError::Ended(name) = error {
        drop(lab);
        if !args.json {
            println!("lab {name} was ended");
        }
        return Ok(Exit::Passed);
    }
    let logs = lab.keep_logs();
    lab.down().await.map_err(of_lab)?;
    Err(of_lab(match logs {
        Some(logs) => LabError::NotBuilt { error: Box::new(error), logs },
        None => error,
    }))
}

/// A seed nobody chose: it is printed, so that the run can be repeated.
pub fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hash maps from the system; that is random enough here. Short enough to type.
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000
}
