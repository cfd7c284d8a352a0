//! `report.md`: for people who were not there.

use std::collections::BTreeMap;
use std::fmt::Write;

use damc_testbed::calibration::{Calibration, Measurement, Property};

use super::text::{counted, number};
use super::timelines::some;
use super::{Happened, Headline, NodeInfo, Report, RowResult, Timelines};
use crate::catalogue::Catalogue;
use crate::verdict::{CaseResult, Kind, Verdict};

/// The whole report; of the course of the run what it says about convergence.
#[must_use]
pub fn markdown(report: &Report, timelines: Option<&Timelines>) -> String {
    let mut out = String::new();
    headline(&mut out, report);
    what_ran(&mut out, report);
    calibration(&mut out, report.calibration.as_ref());
    cases(&mut out, &report.cases);
    figures(&mut out, &report.cases);
    timeline(&mut out, &report.events);
    if let Some(timelines) = timelines {
        convergence(&mut out, timelines);
    }
    if report.judges_requirements() {
        coverage(&mut out, report);
    }
    out.push_str(HOW_TO_READ);
    out
}

const HOW_TO_READ: &str = "\
## How to read this

A case is judged first by the frames recorded at both ends of every link, and second by what nodes say about themselves.
A line with ✓ or ✗ is a check, other lines are observations. A failed check says what was expected and what was seen.

* **pass**: every check of every case on the row held.
* **fail**: a check did not hold. The capture named with the case shows the frames around it.
* **inconclusive**: the environment could not carry the case (calibration off, host overloaded, a tool of the testbed
  failed). It says nothing about the nodes. Run it again on a quieter host.
* **exception**: deliberately not judged here, with the reason.
* **not run**: cases judge the row, but the run was told to leave them out.
* **todo**: no case judges the row yet.

Section L holds readings of passages that contradict each other, section M decisions where the drafts are silent.
`report.json` holds the same for programs, `junit.xml` for build servers, `logs/` and `fib/` the nodes' own view.
";

fn headline(out: &mut String, report: &Report) {
    let word = match report.summary.headline {
        Headline::Passed => "passed",
        Headline::Failed => "FAILED",
        Headline::Inconclusive => "inconclusive",
    };
    let summary = &report.summary;
    line(out, format_args!("# {}: {word}\n", report.lab.topology));
    line(out, format_args!("Cases: {}.  ", counted(|kind| summary.cases_with(kind))));
    if report.judges_requirements() {
        let requirements = counted(|kind| summary.requirements_with(kind));
        line(out, format_args!("Requirements (sections A to K): {requirements}."));
    }
    out.push('\n');
    if let Some(why) = &report.run.aborted {
        line(out, format_args!("**The run ended early:** {}\n", cell(why)));
    }
    for bypassed in &report.lab.bypassed {
        line(out, format_args!("**Not faithful:** {}\n", cell(bypassed)));
    }
    let failed = report.cases.iter().filter(|c| c.verdict.kind() == Kind::Fail);
    for case in failed {
        line(out, format_args!("* **{}** {}: {}", cell(&case.id), cell(&case.title), cell(case.verdict.reason())));
    }
    let unclear = report.cases.iter().filter(|c| c.verdict.kind() == Kind::Inconclusive);
    for case in unclear {
        let (id, title, reason) = (cell(&case.id), cell(&case.title), cell(case.verdict.reason()));
        line(out, format_args!("* **{id}** {title}: inconclusive: {reason}"));
    }
    for error in &report.write_errors {
        line(out, format_args!("* not written: {}", cell(error)));
    }
    out.push('\n');
}

fn what_ran(out: &mut String, report: &Report) {
    let (run, lab) = (&report.run, &report.lab);
    let ms = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), |ms| format!("{ms:.0} ms"));
    out.push_str("## What ran on what\n\n| | |\n|---|---|\n");
    let kinds = |kind: &str| lab.nodes.iter().filter(|n| n.kind == kind).count();
    let rows = [
        ("topology", format!("{} (SHA-256 `{}`)", lab.topology, short(&lab.topology_sha256))),
        (
            "nodes",
            format!(
                "{} SG, {} SR, {} SPA, {} SCSC, {} pods; {} links",
                kinds("sg"),
                kinds("sr"),
                kinds("spa"),
                kinds("scsc"),
                kinds("pod"),
                lab.links
            ),
        ),
        ("links served by", lab.backend.clone()),
        ("kernel", lab.kernel.clone()),
        ("seed", run.seed.to_string()),
        ("suites", run.suites.join(", ")),
        ("started", run.started.clone()),
        ("ready · converged", format!("{} · {} later", ms(lab.ready_ms), ms(lab.converged_ms))),
        ("took", format!("{:.1} s", run.duration_ms as f64 / 1_000.0)),
        ("command", format!("`{}`", run.command.join(" "))),
        ("version", run.version.clone()),
    ];
    for (name, value) in rows {
        line(out, format_args!("| {name} | {} |", cell(&value)));
    }
    out.push('\n');
    let mut programs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for node in lab.nodes.iter().filter(|n| !n.program.is_empty()) {
        programs.entry(program_of(node)).or_default().push(&node.name);
    }
    let ran: Vec<String> =
        programs.iter().map(|(program, nodes)| format!("{program} ran {}", nodes.join(", "))).collect();
    if !ran.is_empty() {
        line(out, format_args!("{}.\n", ran.join("; ")));
    }
}

/// What a node ran: what the program says it is, and the command of one that is not ours.
fn program_of(node: &NodeInfo) -> String {
    match &node.version {
        Some(version) if version.starts_with(&node.program) => format!("`{version}`"),
        Some(version) => format!("`{version}` (`{}`)", node.program),
        None => format!("`{}`", node.program),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn calibration(out: &mut String, calibration: Option<&Calibration>) {
    out.push_str("## Calibration\n\n");
    let Some(calibration) = calibration else {
        out.push_str("Not calibrated.\n\n");
        return;
    };
    let verdict =
        if calibration.faithful { "The links behave as asked." } else { "**The links differ from what was asked:**" };
    line(out, format_args!("{verdict} Measured on a private link in {} ms.\n", calibration.took_ms));
    for reason in &calibration.reasons {
        line(out, format_args!("* {}", cell(reason)));
    }
    out.push('\n');
    for (index, row) in measured(calibration).iter().enumerate() {
        line(out, format_args!("| {} |", row.join(" | ")));
        if index == 0 {
            line(out, format_args!("|{}", "---|".repeat(row.len())));
        }
    }
    out.push('\n');
}

/// What calibration asked and measured: a head, then a row for each property.
pub(super) fn measured(calibration: &Calibration) -> Vec<Vec<String>> {
    let head = ["property", "asked", "measured", "interval", "p99", "frames", ""].map(str::to_owned).to_vec();
    std::iter::once(head).chain(calibration.measurements.iter().map(measurement)).collect()
}

fn measurement(m: &Measurement) -> Vec<String> {
    let (factor, unit) = match m.property {
        Property::Base | Property::Delay | Property::Jitter => (1.0, "ms"),
        Property::Rate => (1e-6, "Mbit/s"),
        Property::BurstLength => (1.0, "frames"),
        Property::Loss | Property::BurstLoss | Property::Duplicate | Property::Corrupt | Property::Reorder => {
            (100.0, "%")
        }
    };
    let shown = |value: f64| format!("{:.3}", value * factor);
    vec![
        format!("{:?}", m.property),
        format!("{} {unit}", shown(m.asked)),
        format!("{} {unit}", shown(m.measured)),
        format!("{} to {}", shown(m.interval.low), shown(m.interval.high)),
        m.p99.map_or_else(String::new, shown),
        m.samples.to_string(),
        if m.within { "✓" } else { "✗" }.to_owned(),
    ]
}

fn cases(out: &mut String, cases: &[CaseResult]) {
    out.push_str("## Cases\n\n| case | judged | requirements | verdict | ms |\n|---|---|---|---|---|\n");
    for case in cases {
        line(
            out,
            format_args!(
                "| {} | {} | {} | {} | {} |",
                cell(&case.id),
                cell(&case.title),
                case.requirements.join(" "),
                verdict(&case.verdict),
                case.duration_ms
            ),
        );
    }
    out.push_str("\n## Evidence\n\n");
    // What did not pass is what a reader looks for.
    let mut cases: Vec<&CaseResult> = cases.iter().collect();
    cases.sort_by_key(|case| !matches!(case.verdict.kind(), Kind::Fail | Kind::Inconclusive));
    for case in cases {
        line(out, format_args!("### {} — {}\n", cell(&case.id), case.verdict.kind().label()));
        for evidence in &case.evidence {
            line(out, format_args!("* {}", cell(evidence)));
        }
        for attachment in &case.attachments {
            line(out, format_args!("* file: [{0}]({0})", cell(attachment)));
        }
        out.push('\n');
    }
}

fn figures(out: &mut String, cases: &[CaseResult]) {
    if cases.iter().all(|c| c.figures.is_empty()) {
        return;
    }
    out.push_str("## Figures\n\n| figure | value | case |\n|---|---|---|\n");
    for case in cases {
        for f in &case.figures {
            line(out, format_args!("| {} | {} {} | {} |", cell(&f.name), number(f.value), f.unit, cell(&case.id)));
        }
    }
    out.push('\n');
}

fn timeline(out: &mut String, events: &[Happened]) {
    if events.is_empty() {
        return;
    }
    out.push_str("## Timeline\n\nTimes count from convergence.\n\n");
    out.push_str("| line | asked, ms | late by, ms | took, ms | what |\n|---|---|---|---|---|\n");
    for event in events {
        let error = event.error.as_ref().map_or_else(String::new, |error| format!(" **{}**", cell(error)));
        let (asked, late) = (number(event.asked_ms), number(event.began_ms - event.asked_ms));
        let (took, what) = (number(event.ended_ms - event.began_ms), cell(&event.what));
        line(out, format_args!("| {} | {asked} | {late} | {took} | {what}{error} |", event.line));
    }
    out.push('\n');
}

/// The slowest changes and the troubles of a run.
fn convergence(out: &mut String, timelines: &Timelines) {
    const SHOWN: usize = 10;
    let (told, course) = (timelines.convergence(), &timelines.course);
    let ms = |ns: u64| format!("{:.3}", ns as f64 / 1e6);
    out.push_str("## Convergence\n\n");
    if told.pairs == 0 {
        out.push_str("No table changed after the network had converged.\n\n");
    } else {
        let (changes, pairs) = (course.changes.len(), told.pairs);
        line(
            out,
            format_args!(
                "{changes} changes reached tables, {pairs} times a prefix. From a change to the last table, ms:\n"
            ),
        );
        out.push_str("| part | median | most |\n|---|---|---|\n");
        for (name, median, most) in &told.parts {
            line(out, format_args!("| {name} | {} | {} |", ms(*median), ms(*most)));
        }
        out.push_str("\nSlowest changes, split for the prefix that took longest, ms:\n\n");
        out.push_str(
            "| at, s | change | prefix | last router | detect | originate | flood | compute | install | all |\n",
        );
        out.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
        for change in told.slowest.iter().take(SHOWN) {
            let Some(one) = change.prefixes.first() else { continue };
            let parts = one.split.parts().map(|(_, ns)| ms(ns)).join(" | ");
            let (at, what, all) = (change.at_ns as f64 / 1e9, cell(&change.what), ms(one.split.total_ns()));
            line(out, format_args!("| {at:.3} | {what} | {} | {} | {parts} | {all} |", one.prefix, one.last));
        }
        out.push('\n');
    }
    troubles(out, timelines);
}

fn troubles(out: &mut String, timelines: &Timelines) {
    const SHOWN: usize = 20;
    let (told, course) = (timelines.convergence(), &timelines.course);
    if told.troubles.is_empty() {
        out.push_str("No loop and no black hole: at every moment the tables together led frames to where their name was served.\n\n");
    } else {
        out.push_str("Loops and black holes:\n\n| at, s | what | for | lasted, ms | frames that met it |\n|---|---|---|---|---|\n");
        for trouble in told.troubles.iter().take(SHOWN) {
            let (at, lasted) = (trouble.at_ns as f64 / 1e9, trouble.lasted_ns as f64 / 1e6);
            let (kind, what) = (trouble.kind.label(), cell(&trouble.what));
            let names = some(&trouble.prefixes);
            line(out, format_args!("| {at:.3} | {kind}: {what} | {names} | {lasted:.3} | {} |", trouble.met.frames));
        }
        let more = course.troubles.len().saturating_sub(SHOWN);
        if more > 0 {
            line(out, format_args!("\n… and {more} more, in course.json."));
        }
        out.push('\n');
    }
    if !course.untold.is_empty() {
        line(out, format_args!("These routers do not tell where their entries lead: {}.\n", some(&course.untold)));
    }
}

fn coverage(out: &mut String, report: &Report) {
    out.push_str("## Coverage\n\n");
    let mut last = None;
    for row in &report.coverage {
        if last.replace(row.section) != Some(row.section) {
            let title = Catalogue::get().section_title(row.section);
            line(
                out,
                format_args!("\n### {} {title}\n\n| requirement | | verdict | cases |\n|---|---|---|---|", row.section),
            );
        }
        coverage_row(out, row);
    }
    out.push('\n');
}

fn coverage_row(out: &mut String, row: &RowResult) {
    line(
        out,
        format_args!("| {} | {} | {} | {} |", row.id, cell(&row.title), verdict(&row.verdict), row.cases.join(", ")),
    );
}

fn verdict(verdict: &Verdict) -> String {
    let label = verdict.kind().label();
    match verdict {
        Verdict::Pass | Verdict::NotRun | Verdict::Todo => label.to_owned(),
        other => format!("**{label}**: {}", cell(other.reason())),
    }
}

/// Text for a table cell: one line, with column separators escaped.
fn cell(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = writeln!(out, "{text}");
}
