//! `damc up`.

use std::time::Duration;

use damc_lab::job::LinksBy;
use damc_lab::{Lab, LabError, UpOptions};

use crate::exit::{Exit, Outcome};
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
    /// Seed of keys and link randomness; drawn where absent.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub echo: EchoOption,
    /// Longest wait for convergence, in seconds, beside the time programs of services may take to be ready.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub converge_within: u64,
}

/// How soon a lab notices silent failures.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct EchoOption {
    /// Period of the echo on every link, 5 to 10000; by the size of the lab and the host where absent. Three without an
    /// answer make a silent failure.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(5..=10_000))]
    pub echo: Option<u64>,
}

pub fn run(args: &Args) -> Outcome {
    let topology = load_runnable(&args.topology)?;
    let options = UpOptions {
        lab: args.lab.clone(),
        seed: args.seed.unwrap_or_else(drawn_seed),
        links_by: args.links,
        all_relayed: args.all_relayed,
        detached: args.detach,
        echo_ms: args.echo.echo,
        ..UpOptions::default()
    };
    block_on(async {
        let mut lab = Lab::up(&topology, &options).await.map_err(of_lab)?;
        let status = lab.status().await.map_err(of_lab)?;
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
        let within = Duration::from_secs(args.converge_within) + topology.longest_start();
        let took = match lab.wait_converged(within).await {
            Ok(took) => took,
            Err(error) => return ended(lab, error).await,
        };
        println!("converged {:.0} ms after that", took.as_secs_f64() * 1e3);
        if args.detach {
            lab.detach();
            println!("`damc down {}` ends it", status.lab);
            return Ok(Exit::Passed);
        }
        println!("Ctrl-C or `damc down {}` ends it", status.lab);
        let error = lab.failed().await;
        ended(lab, error).await
    })
}

/// Ends a lab that is no longer in good order.
async fn ended(lab: Lab, error: LabError) -> Outcome {
    if let LabError::Ended(name) = error {
        drop(lab);
        println!("lab {name} was ended");
        return Ok(Exit::Passed);
    }
    lab.down().await.map_err(of_lab)?;
    Err(of_lab(error))
}

/// A seed nobody chose: it is printed, so that the run can be repeated.
pub fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hash maps from the system; that is random enough here. Short enough to type.
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000
}
