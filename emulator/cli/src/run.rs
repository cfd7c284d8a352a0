//! `damc run`.

use std::path::PathBuf;

use anyhow::anyhow;
use damc_conformance::case::Suite;
use damc_conformance::report::{Headline, cases_table, coverage_table, figures_table, summary_line, unmet};
use damc_conformance::runner::{self, Finished, RunOptions};
use damc_lab::job::LinksBy;
use damc_lab::world::LiveMaker;
use damc_sim::VirtualMaker;
use damc_topology::Setting;
use tabled::settings::Color;

use crate::exit::{Exit, Failure, Outcome};
use crate::guest::{self, KernelOptions};
use crate::session::{block_on, of_lab};
use crate::table;
use crate::terminal::{Audience, Event};
use crate::topology_argument::{load_with, locate};

/// Bring a topology up, wait for convergence, run suites, write results, tear down.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology.
    pub topology: String,
    /// Which suite: conformance, qos, insider, experiment, or all. By default all, but only experiment where the topology has
    /// `events:`.
    #[arg(long, value_parser = ["all", "conformance", "qos", "insider", "experiment"])]
    pub suite: Option<String>,
    /// Only cases whose id matches, for example `aut-*`.
    #[arg(long, value_name = "GLOB")]
    pub case: Option<String>,
    /// What serves links: auto, netem or relay.
    #[arg(long, default_value = "auto")]
    pub links: LinksBy,
    #[command(flatten)]
    pub kernel: KernelOptions,
    /// Seed of link randomness and flows; drawn and printed where absent.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub keys: crate::up::KeysOption,
    /// How much slower than on a quiet host the run goes, 1 to 20; measured where absent.
    #[arg(long, value_name = "FACTOR")]
    pub pace: Option<f64>,
    #[command(flatten)]
    pub foreign: crate::foreign::ForeignOption,
    #[command(flatten)]
    pub echo: crate::up::EchoOption,
    /// Folder for results.
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Leave the lab up when a case fails.
    #[arg(long)]
    pub keep_on_failure: bool,
    /// In virtual time, in this process: no privilege, the same seed gives the same run. Cases that need real programs or
    /// the kernel are left out.
    #[arg(long = "virtual", conflicts_with_all = ["keep_on_failure", "kernel"])]
    pub in_virtual_time: bool,
    /// Put a value into the topology before it is checked, for example `links.wan.delay=20ms`; may be repeated. A link is
    /// addressed by its `name`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub settings: Vec<Setting>,
    /// End when this process does: it started this one.
    #[arg(long, value_name = "PID", hide = true)]
    pub ends_with: Option<i32>,
    /// Show report.html in the browser at the end.
    #[arg(long)]
    pub open: bool,
}

pub fn run(args: Args) -> Outcome {
    if args.kernel.wants_guest() && args.keep_on_failure {
        return Err(Failure::usage(anyhow!("--keep-on-failure needs --kernel host: a guest ends with its run")));
    }
    if let Some(pid) = args.ends_with {
        crate::sweep::end_with(pid)?;
    }
    let (links, pace) = (args.links, args.pace);
    let source = locate(&args.topology)?;
    let (topology, text) = load_with(&args.topology, &args.settings)?;
    let topology = args.foreign.put_in(topology)?;
    if let Some(foreign) = topology.nodes().values().find(|node| node.exec.is_some() && args.in_virtual_time) {
        return Err(Failure::usage(anyhow!("{} is a foreign program: it has no place in virtual time", foreign.id)));
    }
    let options = RunOptions {
        suite: match args.suite.as_deref() {
            Some("conformance") => Some(Suite::Conformance),
            Some("qos") => Some(Suite::Qos),
            Some("insider") => Some(Suite::Insider),
            Some("experiment") => Some(Suite::Experiment),
            None if !topology.events().is_empty() => Some(Suite::Experiment),
            _ => None,
        },
        case: args.case,
        seed: args.seed.unwrap_or_else(crate::up::drawn_seed),
        keys: args.keys.read()?,
        results: args.results,
        keep_on_failure: args.keep_on_failure,
        echo_ms: args.echo.echo,
        command: std::env::args().collect(),
        source,
        text: Some(text),
    };
    if options.suite == Some(Suite::Experiment) && topology.events().is_empty() {
        return Err(Failure::usage(anyhow!("{} has no `events:`, which the experiment suite plays", topology.name())));
    }
    if runner::chosen(&options).is_empty() && !runner::plays(&options, &topology) {
        let ids: Vec<_> = damc_conformance::suite::all().iter().map(|c| c.id).collect();
        let pattern = options.case.as_deref().unwrap_or("*");
        return Err(Failure::usage(anyhow!(
            "no case of this choice matches {pattern} (`*` is any characters, `?` one); there are {}",
            ids.join(", ")
        )));
    }
    if args.kernel.wants_guest() {
        return guest::run_again(args.kernel, Some(&options.results));
    }
    let open = args.open;
    let mut audience = Audience::find()?;
    let (version, name, seed) = (env!("CARGO_PKG_VERSION"), topology.name(), options.seed);
    audience.tell(&Event::Said(format!("damc {version}: {name}, seed {seed}")));
    if args.in_virtual_time {
        let maker = VirtualMaker::new(pace.unwrap_or(1.0));
        let finished = damc_sim::block_on(&maker, runner::run(&maker, &topology, &options, &mut audience));
        audience.clear();
        return end(&finished.map_err(|error| of_lab(error.into()))?, open);
    }
    // Where a signal ends this, the lab dies with the handle that the abandoned run held.
    block_on(async move {
        let maker = LiveMaker::new(links, pace);
        let finished = runner::run(&maker, &topology, &options, &mut audience).await;
        audience.clear();
        end(&finished.map_err(|error| of_lab(error.into()))?, open)
    })
}

fn end(finished: &Finished, open: bool) -> Outcome {
    let outcome = conclude(finished);
    if open {
        show(finished);
    }
    outcome
}

/// Hands the page to whatever shows pages here. The run is over by then, and its exit code stays what it is.
fn show(finished: &Finished) {
    let Some(page) = finished.folder.as_ref().map(|folder| folder.join("report.html")) else { return };
    match std::process::Command::new("xdg-open").arg(&page).status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("damc: xdg-open {}: {status}", page.display()),
        Err(error) => eprintln!("damc: xdg-open does not start ({error}); the report is {}", page.display()),
    }
}

fn conclude(finished: &Finished) -> Outcome {
    let (report, look) = (&finished.report, table::look());
    println!("{}", cases_table(&report.cases, look));
    if report.cases.iter().any(|c| !c.figures.is_empty()) {
        println!("\n{}", figures_table(&report.cases, look));
    }
    if report.judges_requirements() {
        println!("\n{}", coverage_table(report, look));
    }
    if let Some(aborted) = &report.run.aborted {
        println!("\nthe run ended early: {aborted}");
    }
    let unmet = unmet(&report.cases);
    if !unmet.is_empty() {
        print!("\n{unmet}");
    }
    for bypassed in &report.lab.bypassed {
        println!("\nnot faithful: {bypassed}");
    }
    let colour = match report.summary.headline {
        Headline::Passed => Color::FG_GREEN,
        Headline::Failed => Color::FG_RED,
        Headline::Inconclusive => Color::FG_YELLOW,
    };
    println!("\n{}", table::painted(&summary_line(report), &colour));
    match &finished.folder {
        Some(folder) => println!("results: {}", folder.display()),
        None => println!("results: not written"),
    }
    for error in &report.write_errors {
        eprintln!("damc: results are incomplete: {error}");
    }
    if let Some(lab) = &finished.kept {
        println!("the lab is still up: damc ps, damc show NODE fib --lab {lab}, damc down {lab}");
    }
    Ok(Exit::Code(report.exit_code()))
}
