//! Tables for the terminal.

use tabled::builder::Builder;

use super::{Headline, Look, Report, colour_of};
use crate::catalogue::Catalogue;
use crate::verdict::{CaseResult, Kind};

/// The outcome in one line.
#[must_use]
pub fn summary_line(report: &Report) -> String {
    let headline = match report.summary.headline {
        Headline::Passed => "PASSED",
        Headline::Failed => "FAILED",
        Headline::Inconclusive => "INCONCLUSIVE",
    };
    let cases = counted(|kind| report.summary.cases_with(kind));
    if !report.judges_requirements() {
        return format!("{headline} {}: cases {cases}", report.lab.topology);
    }
    let rows = counted(|kind| report.summary.requirements_with(kind));
    format!("{headline} {}: cases {cases}; requirements {rows}", report.lab.topology)
}

/// `3 pass, 1 fail`, without the kinds that did not occur.
pub(super) fn counted(count: impl Fn(Kind) -> usize) -> String {
    let parts: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| (count(kind), kind.label()))
        .filter(|(n, _)| *n > 0)
        .map(|(n, label)| format!("{n} {label}"))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// Every case.
#[must_use]
pub fn cases_table(cases: &[CaseResult], look: Look) -> String {
    let mut table = Builder::new();
    table.push_record(["case", "verdict", "ms", "requirements", "reason"]);
    for case in cases {
        table.push_record([
            case.id.as_str(),
            case.verdict.kind().label(),
            &case.duration_ms.to_string(),
            &case.requirements.join(" "),
            first_line(case.verdict.reason()),
        ]);
    }
    look.coloured(table, 1, colour_of)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The cases that did not pass, each with its whole reason, for the end of a long log.
#[must_use]
pub fn unmet(cases: &[CaseResult]) -> String {
    let unmet = cases.iter().filter(|c| matches!(c.verdict.kind(), Kind::Fail | Kind::Inconclusive));
    let line = |c: &CaseResult| {
        let rows = if c.requirements.is_empty() { String::new() } else { format!(" ({})", c.requirements.join(" ")) };
        format!("{} {}{rows}: {}\n", c.verdict.kind().label(), c.id, c.verdict.reason())
    };
    unmet.map(line).collect()
}

/// Verdicts by section of the catalogue.
#[must_use]
pub fn coverage_table(report: &Report, look: Look) -> String {
    let mut table = Builder::new();
    table.push_record(["section", "rows", "pass", "fail", "inconcl.", "exception", "not run", "todo"]);
    let mut sections: Vec<char> = report.coverage.iter().map(|r| r.section).collect();
    sections.dedup();
    for section in sections {
        let rows: Vec<Kind> =
            report.coverage.iter().filter(|r| r.section == section).map(|r| r.verdict.kind()).collect();
        let mut record = vec![format!("{section} {}", Catalogue::get().section_title(section)), rows.len().to_string()];
        record.extend(Kind::ALL.map(|kind| rows.iter().filter(|k| **k == kind).count().to_string()));
        table.push_record(record);
    }
    look.of(table)
}

/// What was measured.
#[must_use]
pub fn figures_table(cases: &[CaseResult], look: Look) -> String {
    let mut table = Builder::new();
    table.push_record(["figure", "value", "unit", "case"]);
    for case in cases {
        for figure in &case.figures {
            table.push_record([figure.name.as_str(), &number(figure.value), &figure.unit, &case.id]);
        }
    }
    look.of(table)
}

/// A number with at most three decimals and without trailing zeros.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
