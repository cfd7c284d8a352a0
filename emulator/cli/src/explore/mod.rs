//! `damc explore`.

mod hunt;
mod progress;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use damc_explore::Draw;
use serde::Serialize;
use tabled::builder::Builder;

use self::hunt::{Hunt, Limit};
use crate::exit::{Exit, Failure, Outcome};
use crate::table;
use crate::topology_argument::load;

/// Try random events and schedules in virtual time, on a topology or on random ones, and judge them by what holds in every
/// network.
///
/// No forwarding loop in any state on the way, no call executed twice; once it is quiet: tables as the topology and the events
/// lead to, equal databases, every licensed service registered and no other, every reachable name answers. What fails is made
/// smaller and left as a topology file with `events:`, which `damc run FILE --virtual --seed N` repeats.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path or bare name of a topology; a random one for each schedule where absent. Its `events:` are left out.
    pub topology: Option<String>,
    /// End after so many schedules.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub schedules: u64,
    /// End after this time instead, such as `90s`, `10min` or `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, conflicts_with = "schedules")]
    pub lasts: Option<Duration>,
    /// Seed of everything; schedule N of a seed is always the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Schedules at once; as many as there are processors where absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Folder for the files of what fails.
    #[arg(long, value_name = "DIR", default_value = "results/explored")]
    pub out: PathBuf,
    /// Go on after a violation; the first of each kind is told.
    #[arg(long)]
    pub keep_going: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| "write a number and a unit, such as `90s`".to_owned())?;
    let seconds = match &text[digits..] {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        unit => return Err(format!("`{unit}` is no unit of time: s, min or h")),
    };
    let span = number.checked_mul(seconds).filter(|seconds| (1..=7 * 86_400).contains(seconds));
    span.map(Duration::from_secs).ok_or_else(|| "from 1s to a week".to_owned())
}

/// What an exploration came to.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The topology; none for random ones.
    topology: Option<String>,
    seed: u64,
    /// Schedules that were played.
    schedules: u64,
    /// States that all forwarding tables of a network together were in.
    states: usize,
    /// Of these, such as no schedule before the last tenth had.
    new_at_last: usize,
    /// There were more states than are remembered.
    more_states: bool,
    /// Looks at tables, each for loops after a change.
    looks: u64,
    /// Events by kind.
    events: BTreeMap<&'static str, u64>,
    /// Schedules that could not be judged, by the reason of the first.
    unjudged: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unjudged_first: Option<String>,
    violations: Vec<Violation>,
    /// Wall-clock time, ms.
    wall_ms: u64,
}

/// A broken rule, with what shows it.
#[derive(Debug, Serialize)]
pub struct Violation {
    /// What kind of rule.
    rule: String,
    /// What was expected and seen.
    why: String,
    /// Number of the schedule that showed it.
    schedule: u64,
    /// The file that shows it.
    file: PathBuf,
    /// Seed of the run that shows it.
    run_seed: u64,
    /// What the file has left.
    events: usize,
    nodes: usize,
    /// Trials on the way there.
    tried: u32,
    /// Nothing more could be taken away; false where the time was over.
    complete: bool,
    /// Runs of the file that showed it again, and all runs of it.
    repeated: (u32, u32),
    /// What finding and shrinking it took, ms of wall-clock time.
    found_ms: u64,
    shrunk_ms: u64,
}

pub fn run(args: &Args) -> Outcome {
    let topology = args.topology.as_deref().map(load).transpose()?;
    if let Some(foreign) = topology.iter().flat_map(|t| t.nodes().values()).find(|node| node.exec.is_some()) {
        return Err(Failure::usage(anyhow!("{} is a foreign program: it has no place in virtual time", foreign.id)));
    }
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))
        .map_err(|error| Failure { exit: Exit::Inconclusive, error })?;
    let name = topology.as_ref().map(|topology| topology.name().to_string());
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let hunt = Hunt::new(
        Draw { seed: args.seed, topology },
        args.lasts.map_or(Limit::Schedules(args.schedules), Limit::Time),
        args.keep_going,
        &args.out,
    );
    let report = Report { topology: name, seed: args.seed, ..hunt.run(args.jobs.map_or(processors, usize::from))? };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", text(&report));
    }
    Ok(if report.violations.is_empty() { Exit::Passed } else { Exit::Failed })
}

fn text(report: &Report) -> String {
    let seconds = Duration::from_millis(report.wall_ms).as_secs_f64();
    let per_minute = report.schedules as f64 * 60.0 / seconds.max(0.001);
    let on = report.topology.as_deref().unwrap_or("random networks");
    let more = if report.more_states { "more than " } else { "" };
    let kinds: Vec<String> = report.events.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let mut rows = vec![
        ("schedules", format!("{} of seed {} on {on}", report.schedules, report.seed)),
        ("events", kinds.join(", ")),
        ("states seen", format!("{more}{}, {} of them in the last tenth only", report.states, report.new_at_last)),
        ("looks for loops", report.looks.to_string()),
        ("violations", report.violations.len().to_string()),
        ("wall time", format!("{seconds:.1} s, {per_minute:.0} schedules a minute")),
    ];
    if let Some(first) = &report.unjudged_first {
        rows.insert(4, ("not judged", format!("{}, the first: {first}", report.unjudged)));
    }
    let mut builder = Builder::default();
    builder.push_record(["what", "value"]);
    rows.into_iter().for_each(|(what, value)| builder.push_record([what.to_owned(), value]));
    let mut text = table::look().of(builder) + "\n";
    for violation in &report.violations {
        text.push_str(&told(violation));
    }
    text
}

fn told(violation: &Violation) -> String {
    let Violation { rule, why, schedule, events, nodes, tried, .. } = violation;
    let (file, seed) = (violation.file.display(), violation.run_seed);
    let end = if violation.complete { "" } else { ", and then the time was over" };
    let (again, of) = violation.repeated;
    format!(
        "\nviolation ({rule}): {why}\n  found in schedule {schedule}, shrunk to {events} events on {nodes} nodes in {tried} \
         trials{end}\n  file: {file}\n  again: damc run {file} --virtual --seed {seed}\n  repeated: {again} of {of} times\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "90", "s", "5 min", "0s", "8000000h", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_violation_says_where_it_is_and_how_to_see_it_again() {
        let violation = Violation {
            rule: "tables".into(),
            why: "sg-1 has no way to /A".into(),
            schedule: 7,
            file: "out/tables-7.yaml".into(),
            run_seed: 4711,
            events: 2,
            nodes: 5,
            tried: 80,
            complete: true,
            repeated: (10, 10),
            found_ms: 1,
            shrunk_ms: 2,
        };
        let text = told(&violation);
        for expected in ["damc run out/tables-7.yaml --virtual --seed 4711", "2 events on 5 nodes", "10 of 10"] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
