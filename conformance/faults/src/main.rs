//! `damc-faults`: how many faults of nodes do the suites catch?
//!
//! All faults of the catalogue are planted into one copy of the sources, which is built once; an environment variable
//! chooses one for a run. What is shipped knows nothing of it. A fault counts as caught only where the case fails that is
//! meant for it; a fault that is missed, or a case that fails without a fault, fails the program.
#![forbid(unsafe_code)]

mod catalogue;
mod copy;
mod matrix;
mod trial;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use self::catalogue::Fault;
use self::matrix::{Catch, Row};
use self::trial::Setting;

/// Plants faults into a copy of the nodes and shows which case catches each.
#[derive(Debug, Parser)]
struct Arguments {
    /// Faults by name; all where none is named.
    faults: Vec<String>,
    /// Real processes and links instead of virtual time, and of each fault the case meant only.
    #[arg(long)]
    live: bool,
    /// Of each fault the case meant only, not all cases.
    #[arg(long)]
    meant_only: bool,
    /// Topology of the runs.
    #[arg(long, default_value = "fig2")]
    topology: String,
    /// Seed of the runs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the matrix is written.
    #[arg(long, default_value = "results/published/faults.md")]
    out: PathBuf,
    /// Lists the faults and ends.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match judge(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("damc-faults: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every fault was caught and the nodes without a fault passed.
fn judge(arguments: &Arguments) -> Result<bool> {
    let all = catalogue::all()?;
    if arguments.list {
        for (subject, fault) in &all {
            println!("{subject}\t{}\t{}\t{}", fault.name, fault.case, fault.did);
        }
        return Ok(true);
    }
    let chosen = chosen(&all, &arguments.faults)?;
    let root = copy::repository();
    let setting = prepare(&root, arguments, &all)?;
    let one_case = arguments.live || arguments.meant_only;
    let clean = trial::run(&setting, None, None)?;
    println!("without a fault: {} cases in {:.0} s", clean.verdicts.len(), clean.took.as_secs_f64());
    let mut rows: Vec<Row> = Vec::new();
    let (chosen, left_out): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|(_, fault)| arguments.live || !fault.live);
    for (_, fault) in &left_out {
        println!("{}: left out, {} needs real processes (--live)", fault.name, fault.case);
    }
    for (subject, fault) in chosen {
        let case = one_case.then_some(fault.case.as_str());
        let outcome = trial::run(&setting, Some(&fault.name), case).with_context(|| fault.name.clone())?;
        let also: Vec<_> = outcome.failed().filter(|case| *case != fault.case).collect();
        println!(
            "{}: {} ({}){}",
            fault.name,
            Catch::of(fault, &outcome).label(),
            fault.case,
            tail(&also, &outcome.aborted)
        );
        rows.push((subject, fault.clone(), outcome));
    }
    let world = match (arguments.live, one_case) {
        (true, _) => format!("{}, real processes, the case meant only", arguments.topology),
        (false, true) => format!("{}, virtual time, the case meant only, seed {}", arguments.topology, arguments.seed),
        (false, false) => format!("{}, virtual time, all cases, seed {}", arguments.topology, arguments.seed),
    };
    let document = matrix::document(&world, &clean, &rows);
    let out = root.join(&arguments.out);
    std::fs::write(&out, document).with_context(|| out.display().to_string())?;
    // Virtual time knows no overload.
    let caught = |catch| catch == Catch::Caught || (arguments.live && catch == Catch::Seen);
    let caught = rows.iter().all(|(_, fault, outcome)| caught(Catch::of(fault, outcome)));
    Ok(caught && clean.failed().next().is_none())
}

fn tail(also: &[&str], aborted: &Option<String>) -> String {
    let also = if also.is_empty() { String::new() } else { format!("; also failed: {}", also.join(", ")) };
    aborted.as_ref().map_or_else(|| also.clone(), |why| format!("{also}; the run ended early: {why}"))
}

fn chosen<'a>(all: &'a [(&'static str, Fault)], names: &[String]) -> Result<Vec<(&'static str, &'a Fault)>> {
    for name in names {
        if !all.iter().any(|(_, fault)| fault.name == *name) {
            bail!("no fault is called {name}; --list shows them");
        }
    }
    let wanted = |fault: &Fault| names.is_empty() || names.contains(&fault.name);
    Ok(all.iter().filter(|(_, fault)| wanted(fault)).map(|(subject, fault)| (*subject, fault)).collect())
}

/// Makes the copy, plants every fault, and builds it.
fn prepare(root: &Path, arguments: &Arguments, all: &[(&'static str, Fault)]) -> Result<Setting> {
    let place = root.join("target/faults");
    let (copy, target) = (place.join("tree"), place.join("target"));
    let changed = copy::planted(root, all.iter().map(|(_, fault)| fault))?;
    copy::write(root, &copy, &changed)?;
    println!("{} faults planted in {}", all.len(), copy.display());
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "damc-cli", "--package", "damc-daemon", "--bins"])
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(&copy)
        .status()
        .context("cargo build")?;
    if !built.success() {
        bail!("the copy with all faults does not compile: see above");
    }
    Ok(Setting {
        programs: target.join("debug"),
        copy,
        results: place.join("results"),
        topology: arguments.topology.clone(),
        live: arguments.live,
        seed: arguments.seed,
    })
}
