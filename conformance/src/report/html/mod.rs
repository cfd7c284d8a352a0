//! `report.html`: the run in one file that needs no network, for people who were not there.
//!
//! Verdicts come first, then the story of every case that did not pass. Everything below is there to look things up.

mod annex;
mod convergence;
mod lanes;
mod lookup;
mod moment;
mod story;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::text::{counted, number};
use super::{Headline, Report};
use crate::verdict::{CaseResult, Kind};

pub use annex::Annex;

/// Most bytes of the file. What does not fit is named and stays in the folder.
pub const BOUND: usize = 3_000_000;

/// The page.
#[must_use]
pub fn html(report: &Report, annex: &Annex) -> String {
    let unmet: Vec<&CaseResult> = report.cases.iter().filter(|c| is_unmet(c)).collect();
    let head = html! {
        (banner(report))
        @if !unmet.is_empty() {
            section #stories {
                h2 { "What did not pass" }
                @for case in &unmet { (story::story(case, annex)) }
            }
        }
        (cases(&report.cases))
        @if report.judges_requirements() { (lookup::coverage(report)) }
        (lookup::figures(&report.cases))
        (lookup::timeline(&report.events))
        @if let Some(timelines) = &annex.timelines {
            (convergence::convergence(timelines))
            (lanes::lanes(timelines))
        }
        (lookup::topology(annex))
        (lookup::calibration(report.calibration.as_ref()))
        (lookup::environment(report, annex))
    };
    let room = BOUND.saturating_sub(head.0.len() + STYLE.len() + SCRIPT.len() + MOMENT.len() + 4096);
    let data = annex.timelines.as_ref().filter(|_| annex.drawing.is_some());
    let data = data.map(|timelines| moment::data(timelines, &report.lab.nodes));
    // The slider takes half of what is left at most; the tables have the rest.
    let data = data.map(|data| if data.0.len() <= room / 2 { data } else { moment::too_long() });
    let tables = lookup::tables(annex, room.saturating_sub(data.as_ref().map_or(0, |data| data.0.len())));
    page(report, annex, &html! { (head) (tables) @if let Some(data) = data { (data) } }).into_string()
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const MOMENT: &str = include_str!("moment.js");

fn page(report: &Report, annex: &Annex, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.lab.topology) ": " (word(report.summary.headline)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a .skip href="#main" { "Skip to the verdicts" }
                (navigation(report, annex))
                main #main { (body) }
                script { (PreEscaped(SCRIPT)) }
                script { (PreEscaped(MOMENT)) }
            }
        }
    }
}

fn navigation(report: &Report, annex: &Annex) -> Markup {
    let unmet = report.cases.iter().filter(|c| is_unmet(c)).count();
    html! {
        nav aria-label="Parts of the report" {
            @if unmet > 0 { a href="#stories" { (unmet) " not passed" } }
            a href="#cases" { "Cases" }
            @if report.judges_requirements() { a href="#coverage" { "Coverage" } }
            @if report.cases.iter().any(|c| !c.figures.is_empty()) { a href="#figures" { "Figures" } }
            @if !report.events.is_empty() { a href="#timeline" { "Timeline" } }
            @if annex.timelines.is_some() {
                a href="#convergence" { "Convergence" }
                a href="#timelines" { "Timelines" }
            }
            a href="#topology" { "Topology" }
            a href="#calibration" { "Calibration" }
            a href="#environment" { "Environment" }
            a href="#tables" { "Tables" }
        }
    }
}

const fn word(headline: Headline) -> &'static str {
    match headline {
        Headline::Passed => "passed",
        Headline::Failed => "FAILED",
        Headline::Inconclusive => "inconclusive",
    }
}

fn is_unmet(case: &CaseResult) -> bool {
    matches!(case.verdict.kind(), Kind::Fail | Kind::Inconclusive)
}

/// A verdict as a badge; its colour is not all that tells it.
fn badge(kind: Kind) -> Markup {
    html! { span class={ "badge " (kind.label()) } { (kind.label()) } }
}

fn banner(report: &Report) -> Markup {
    let (summary, run) = (&report.summary, &report.run);
    let class = match summary.headline {
        Headline::Passed => "pass",
        Headline::Failed => "fail",
        Headline::Inconclusive => "inconclusive",
    };
    html! {
        header class={ "banner " (class) } {
            h1 { (report.lab.topology) ": " (word(summary.headline)) }
            p { "Cases: " (counted(|kind| summary.cases_with(kind))) "." }
            @if report.judges_requirements() {
                p { "Requirements (sections A to K): " (counted(|kind| summary.requirements_with(kind))) "." }
            }
            p .quiet {
                (run.started.split(['.', 'Z']).next().unwrap_or_default()) " UTC, " (number(run.duration_ms as f64 / 1e3)) " s, seed " (run.seed)
                ", links by " (report.lab.backend) ", damc " (run.version)
            }
        }
        @if let Some(why) = &run.aborted { p .warning { strong { "The run ended early: " } (why) } }
        @for bypassed in &report.lab.bypassed { p .warning { strong { "Not faithful: " } (bypassed) } }
        @for error in &report.write_errors { p .warning { strong { "Not written: " } (error) } }
    }
}

fn cases(cases: &[CaseResult]) -> Markup {
    html! {
        section #cases {
            h2 { "Cases" }
            form .filter role="search" {
                label { "Find " input #find type="search" placeholder="case, requirement, words" autocomplete="off"; }
                @for kind in Kind::ALL {
                    @let count = cases.iter().filter(|c| c.verdict.kind() == kind).count();
                    @if count > 0 {
                        label { input type="checkbox" name="kind" value=(kind.label()) checked; " " (kind.label()) " " (count) }
                    }
                }
                output #found for="find" {}
            }
            div .wide {
                table #case-table {
                    thead { tr { th { "case" } th { "judged" } th { "requirements" } th { "verdict" } th .number { "ms" } } }
                    tbody { @for case in cases { (case_row(case)) } }
                }
            }
        }
    }
}

fn case_row(case: &CaseResult) -> Markup {
    html! {
        tr id={ "case-" (case.id) } data-kind=(case.verdict.kind().label()) {
            td {
                @if is_unmet(case) { a href={ "#story-" (case.id) } { (case.id) } } @else { (case.id) }
            }
            td {
                details {
                    summary { (case.title) }
                    @if !case.verdict.reason().is_empty() { p { (case.verdict.reason()) } }
                    (story::evidence(&case.evidence))
                }
            }
            td { @for row in &case.requirements { a href={ "#row-" (row) } { (row) } " " } }
            td { (badge(case.verdict.kind())) }
            td .number { (case.duration_ms) }
        }
    }
}

#[cfg(test)]
mod tests;
