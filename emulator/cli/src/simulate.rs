//! `damc simulate`.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use damc_conformance::oracle::{Failures, Oracle};
use damc_conformance::report::Look;
use damc_sim::{Sim, Summary, quiet};
use damc_topology::Topology;
use damc_topology::plan::{PlanOptions, plan};
use damc_wire::registry::Role;
use serde::Serialize;
use tabled::builder::Builder;

use crate::exit::{Exit, Failure, Outcome};
use crate::table;
use crate::topology_argument::{load, refused};

/// Routers up to which every forwarding table is compared with the oracle's: its work grows with their cube.
const COMPARED: usize = 400;
/// What a topology says and a simulation leaves out.
const LEFT_OUT: &str = "programs are not run: their services count as ready and answer by themselves";

/// Run the nodes of a topology in virtual time until their routes stand still, and say what it took. Needs no privilege;
/// the same seed gives the same run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology; `-` for standard input, as in `damc generate grid --nodes 100 | damc simulate -`.
    pub topology: String,
    /// Seed of keys, start order and link randomness.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Give up after so many seconds of virtual time.
    #[arg(long, default_value_t = 600, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub within: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is told about a simulation. All but `host` follows from topology and seed alone.
#[derive(Debug, Serialize)]
struct Report {
    topology: String,
    seed: u64,
    /// Whether routes stood still in time.
    converged: bool,
    #[serde(flatten)]
    summary: Summary,
    oracle: Compared,
    notes: Vec<&'static str>,
    host: Host,
}

/// How the forwarding tables stand to those the topology file alone leads to.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Compared {
    /// So many tables are as they should be.
    Equal { tables: usize },
    /// The first difference.
    Different(String),
    /// There are too many routers for it.
    Skipped,
}

#[derive(Debug, Serialize)]
struct Host {
    /// Wall-clock time of the simulation, ms.
    wall_ms: u64,
    /// Largest resident memory of the process, bytes; none where the kernel does not tell.
    peak_rss_bytes: Option<u64>,
}

pub fn run(args: &Args) -> Outcome {
    let topology = if args.topology == "-" { read_stdin()? } else { load(&args.topology)? };
    let begin = Instant::now();
    let (converged, summary, oracle) = simulate(&topology, args.seed, Duration::from_secs(args.within))?;
    let wall_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = Report {
        topology: topology.name().to_string(),
        seed: args.seed,
        converged,
        summary,
        oracle,
        notes: notes(&topology),
        host: Host { wall_ms, peak_rss_bytes: peak_rss_bytes() },
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", table(&report, table::look()));
    }
    let well = report.converged && report.summary.databases_equal && !matches!(report.oracle, Compared::Different(_));
    Ok(if well { Exit::Passed } else { Exit::Failed })
}

fn read_stdin() -> Result<Topology, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input").map_err(Failure::usage)?;
    damc_topology::parse("standard input", &text, Path::new("")).map_err(|mistakes| refused(&mistakes))
}

/// Whether it converged, what it took, and whether the tables are right.
fn simulate(topology: &Topology, seed: u64, within: Duration) -> Result<(bool, Summary, Compared), Failure> {
    let options = PlanOptions { lab: None, seed, run_dir: PathBuf::new(), ..PlanOptions::default() };
    let plan = plan(topology, &options);
    let mut sim = Sim::of_plan(&plan).map_err(Failure::usage)?.without_events();
    sim.start();
    let converged = sim.converge(quiet(&plan.timers), within).is_ok();
    let routers = topology.of_kind(Role::Sg).count() + topology.of_kind(Role::Sr).count();
    let oracle = if routers <= COMPARED { compare(topology, &sim) } else { Compared::Skipped };
    Ok((converged, sim.summary(), oracle))
}

fn notes(topology: &Topology) -> Vec<&'static str> {
    let services = topology.nodes().values().flat_map(|node| &node.services);
    if services.filter_map(|service| service.run.as_ref()).next().is_some() { vec![LEFT_OUT] } else { Vec::new() }
}

fn compare(topology: &Topology, sim: &Sim) -> Compared {
    let routers = topology.of_kind(Role::Sg).chain(topology.of_kind(Role::Sr));
    let fibs: BTreeMap<_, _> = routers.map(|node| (node.id.to_string(), sim.fib(node.id.as_str()))).collect();
    match Oracle::new(topology, &Failures::default()).first_difference(&fibs) {
        None => Compared::Equal { tables: fibs.len() },
        Some(difference) => Compared::Different(difference),
    }
}

fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn table(report: &Report, look: Look) -> String {
    let Report { summary: s, host, .. } = report;
    let mebibytes =
        |bytes: u64| format!("{:.1} MiB", Duration::from_millis(bytes / 1024).as_secs_f64() * 1000.0 / 1024.0);
    let converged = if report.converged { "" } else { "not " };
    let mut rows = vec![
        (
            "topology",
            format!("{} ({} nodes, {} of them routers, {} links)", report.topology, s.nodes, s.routers, s.links),
        ),
        ("seed", report.seed.to_string()),
        ("converged", format!("{converged}{:.1} ms after the start, in virtual time", s.converged_ms)),
        ("databases", format!("{} LSAs, {}", s.lsas, if s.databases_equal { "all equal" } else { "not equal" })),
        ("forwarding tables", format!("{} entries", s.fib_entries)),
        ("compared with the oracle", compared(&report.oracle)),
        ("messages", format!("{}, {}", s.messages, mebibytes(s.bytes))),
    ];
    let mut by_type: Vec<_> = s.messages_by_type.iter().collect();
    by_type.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
    rows.push((
        "by type",
        by_type.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "),
    ));
    rows.push((
        "LSAs",
        format!(
            "{} originated, {} accepted, {} duplicates, {} sent again",
            s.lsas_originated, s.lsas_accepted, s.lsas_duplicate, s.lsas_retransmitted
        ),
    ));
    let spf = s.spf;
    rows.push((
        "SPF runs",
        format!(
            "{} ({} incremental), {} spared, {} for prefixes only",
            spf.runs, spf.incremental, spf.spared, spf.prefixes_only
        ),
    ));
    rows.push(("wall time", format!("{:.1} s", Duration::from_millis(host.wall_ms).as_secs_f64())));
    rows.push(("peak memory", host.peak_rss_bytes.map_or_else(|| "?".to_owned(), mebibytes)));
    rows.extend(report.notes.iter().map(|note| ("note", (*note).to_owned())));
    let mut builder = Builder::default();
    builder.push_record(["what", "value"]);
    rows.into_iter().for_each(|(what, value)| builder.push_record([what.to_owned(), value]));
    look.of(builder)
}

fn compared(oracle: &Compared) -> String {
    match oracle {
        Compared::Equal { tables } => format!("{tables} tables equal"),
        Compared::Different(difference) => difference.clone(),
        Compared::Skipped => format!("not compared: more than {COMPARED} routers"),
    }
}

#[cfg(test)]
mod tests {
    use damc_topology::generate::{Request, Shape, generate};

    use super::*;

    fn waxman() -> Topology {
        let request = Request { shape: Shape::Waxman, routers: 12, degree: None, seed: 5 };
        let text = generate(&request).unwrap().dress(None, Some(3)).unwrap();
        damc_topology::parse("generated", &text, Path::new("")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn run(seed: u64) -> (bool, Summary, Compared) {
        simulate(&waxman(), seed, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{:#}", e.error))
    }

    #[test]
    fn one_seed_one_run_and_every_seed_converges_to_the_oracle() {
        let first = run(1);
        let summary = &first.1;
        assert!(first.0 && summary.databases_equal, "{summary:?}");
        assert_eq!((summary.nodes, summary.routers), (22, 15));
        assert_eq!(first.2, Compared::Equal { tables: 15 });
        assert!(summary.converged_ms > 1.0 && summary.spf.runs > 15 && summary.messages > 500, "{summary:?}");
        assert_eq!(run(1), first, "the same seed");
        let other = run(2);
        assert_ne!(other.1, first.1, "another seed");
        assert!(other.0 && other.1.databases_equal);
        assert_eq!(other.2, Compared::Equal { tables: 15 });
    }

    #[test]
    fn the_table_says_it_all() {
        let (converged, summary, oracle) = run(1);
        let host = Host { wall_ms: 1234, peak_rss_bytes: Some(3 << 20) };
        let report = Report { topology: "t".into(), seed: 1, converged, summary, oracle, notes: vec![LEFT_OUT], host };
        let table = table(&report, Look { width: 200, colour: false });
        for expected in ["22 nodes, 15 of them routers", "15 tables equal", "1.2 s", "3.0 MiB", "all equal", LEFT_OUT] {
            assert!(table.contains(expected), "{expected} is not in\n{table}");
        }
    }
}
