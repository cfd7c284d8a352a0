//! `damc`: builds DAMC networks out of namespaces, lets one play with them, and judges them.
//!
//! One file per sub-command. Nothing here starts a thread before a command asks for it: `lab-sandbox` has to enter its
//! user namespace single-threaded.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As the standard library's, but a reader that went away (`damc up fig2 | head -1`) is no reason to end in the middle of
/// something: what it would have read is lost, the rest is done.
macro_rules! println {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($argument)*);
    }};
}

/// As [`println!`], without an end of line.
macro_rules! print {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout(), $($argument)*);
    }};
}

mod exit;
mod foreign;
mod guest;
mod session;
mod shipped;
mod table;
mod terminal;
mod threshold;
mod topology_argument;
mod wait;

mod call;
mod capture;
mod check;
mod compare;
mod completions;
mod decode;
mod doctor;
mod down;
mod exec;
mod explore;
mod export;
mod generate;
mod graph;
mod init;
mod link;
mod logs;
mod man;
mod metrics;
mod node;
mod plan;
mod ps;
mod requirements;
mod run;
mod save;
mod shell;
mod show;
mod simulate;
mod sweep;
mod top;
mod trace;
mod up;
mod why;

/// The version, with the commit that the command is built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DAMC_BUILT_FROM"), ")");

/// Emulate, inspect and judge networks that speak DAMC (draft-li-icnrg-damc).
///
/// A TOPOLOGY is the path of a YAML file or the bare name of a shipped one, such as `fig2`.
/// Exit codes: 0 passed, 1 a case failed, 2 the input or the usage is wrong, 3 inconclusive: the environment could not
/// emulate faithfully.
#[derive(Debug, Parser)]
#[command(name = "damc", version = VERSION, propagate_version = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Sweep(sweep::Args),
    Explore(explore::Args),
    Up(up::Args),
    Down(down::Args),
    Ps(ps::Args),
    Top(top::Args),
    Exec(exec::Args),
    Shell(shell::Args),
    Logs(logs::Args),
    Capture(capture::Args),
    Decode(decode::Args),
    Show(show::Args),
    Why(why::Args),
    WhyNot(why::NotArgs),
    Compare(compare::Args),
    Link(link::Args),
    Node(node::Args),
    Threshold(threshold::Args),
    Call(call::Args),
    Trace(trace::Args),
    Metrics(metrics::Args),
    Save(save::Args),
    Init(init::Args),
    Check(check::Args),
    Plan(plan::Args),
    Graph(graph::Args),
    Generate(generate::Args),
    Import(generate::ImportArgs),
    Export(export::Args),
    Simulate(simulate::Args),
    Requirements(requirements::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

fn main() -> ExitCode {
    if let Some(code) = damc_lab::reexec::dispatch() {
        return code;
    }
    let command = Cli::parse().command;
    // A lab and its results outlive whoever reads what is printed about them.
    if !matches!(command, Command::Run(_) | Command::Up(_) | Command::Sweep(_)) {
        damc_lab::exec::process::end_on_broken_pipe();
    }
    let outcome = match command {
        Command::Run(args) => run::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Explore(args) => explore::run(&args),
        Command::Up(args) => up::run(&args),
        Command::Down(args) => down::run(args),
        Command::Ps(args) => ps::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Why(args) => why::run(&args),
        Command::WhyNot(args) => why::run_not(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Link(args) => link::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Threshold(args) => threshold::run(&args),
        Command::Call(args) => call::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Save(args) => save::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Import(args) => generate::run_import(&args),
        Command::Export(args) => export::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Requirements(args) => requirements::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    exit::report(outcome)
}
