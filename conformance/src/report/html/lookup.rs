//! What one looks up: coverage, figures, topology, calibration, environment, tables of the nodes.

use damc_testbed::calibration::Calibration;
use maud::{Markup, PreEscaped, html};

use super::annex::Table;
use super::{Annex, badge};
use crate::catalogue::Catalogue;
use crate::report::markdown::measured;
use crate::report::text::number;
use crate::report::{Happened, Report, RowResult};
use crate::verdict::CaseResult;

/// The coverage matrix, a cell for each row of the catalogue, and the rows.
pub(super) fn coverage(report: &Report) -> Markup {
    let mut sections: Vec<(char, Vec<&RowResult>)> = Vec::new();
    for row in &report.coverage {
        match sections.last_mut().filter(|(letter, _)| *letter == row.section) {
            Some((_, rows)) => rows.push(row),
            None => sections.push((row.section, vec![row])),
        }
    }
    html! {
        section #coverage {
            h2 { "Coverage" }
            div .matrix {
                @for (letter, rows) in &sections {
                    div .strip {
                        span .letter { (letter) }
                        span .cells {
                            @for row in rows {
                                @let label = format!("{}: {}", row.id, row.verdict.kind().label());
                                a class={ "cell " (row.verdict.kind().label()) } href={ "#row-" (row.id) }
                                    title={ (label) ", " (row.title) } aria-label=(label) {}
                            }
                        }
                        span .name { (Catalogue::get().section_title(*letter)) }
                    }
                }
            }
            @for (letter, rows) in &sections {
                details .section {
                    summary { (letter) " " (Catalogue::get().section_title(*letter)) ", " (rows.len()) " rows" }
                    div .wide { table {
                        thead { tr { th { "requirement" } th { "what" } th { "verdict" } th { "cases" } } }
                        tbody { @for row in rows { (coverage_row(row)) } }
                    } }
                }
            }
        }
    }
}

fn coverage_row(row: &RowResult) -> Markup {
    html! {
        tr id={ "row-" (row.id) } {
            td { (row.id) }
            td { (row.title) }
            td { (badge(row.verdict.kind())) " " (row.verdict.reason()) }
            td { @for case in &row.cases { a href={ "#case-" (case) } { (case) } " " } }
        }
    }
}

/// What was measured.
pub(super) fn figures(cases: &[CaseResult]) -> Markup {
    let figures = || cases.iter().flat_map(|case| case.figures.iter().map(move |figure| (case, figure)));
    html! {
        @if figures().next().is_some() {
            section #figures {
                h2 { "Figures" }
                div .wide { table {
                    thead { tr { th { "figure" } th .number { "value" } th { "unit" } th { "case" } } }
                    tbody {
                        @for (case, figure) in figures() {
                            tr {
                                td { (figure.name) } td .number { (number(figure.value)) } td { (figure.unit) }
                                td { a href={ "#case-" (case.id) } { (case.id) } }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// What happened when in an experiment.
pub(super) fn timeline(events: &[Happened]) -> Markup {
    html! {
        @if !events.is_empty() {
            section #timeline {
                h2 { "Timeline" }
                p { "Times count from convergence." }
                div .wide { table {
                    thead { tr {
                        th .number { "line" } th .number { "asked, ms" } th .number { "late by, ms" }
                        th .number { "took, ms" } th { "what" }
                    } }
                    tbody {
                        @for event in events {
                            tr {
                                td .number { (event.line) } td .number { (number(event.asked_ms)) }
                                td .number { (number(event.began_ms - event.asked_ms)) }
                                td .number { (number(event.ended_ms - event.began_ms)) }
                                td { (event.what) @if let Some(error) = &event.error { ": " strong { (error) } } }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// The drawing.
pub(super) fn topology(annex: &Annex) -> Markup {
    html! {
        section #topology {
            h2 { "Topology" }
            @if let (Some(timelines), Some(_)) = (&annex.timelines, &annex.drawing) { (super::moment::controls(timelines)) }
            @match &annex.drawing {
                // Our own drawing, in which all text of the topology is escaped.
                Some(svg) => figure .drawing { (PreEscaped(svg)) },
                None => p { "There is no drawing: the lab did not converge." },
            }
        }
    }
}

/// How faithful the links were.
pub(super) fn calibration(calibration: Option<&Calibration>) -> Markup {
    html! {
        section #calibration {
            h2 { "Calibration" }
            @match calibration {
                None => p { "Not calibrated." },
                Some(calibration) => {
                    p { @if calibration.faithful { "The links behave as asked." } @else {
                        strong { "The links differ from what was asked." }
                    } }
                    @for reason in &calibration.reasons { p .warning { (reason) } }
                    (table(&measured(calibration)))
                }
            }
        }
    }
}

/// What ran on what.
pub(super) fn environment(report: &Report, annex: &Annex) -> Markup {
    let (run, lab) = (&report.run, &report.lab);
    let ms = |value: Option<f64>| value.map_or_else(|| "not known".to_owned(), |ms| format!("{ms:.0} ms"));
    let first = [
        ("command", run.command.join(" ")),
        ("run", run.id.clone()),
        ("topology", format!("{}, SHA-256 {}", lab.topology, lab.topology_sha256)),
        ("kernel", lab.kernel.clone()),
        ("links", format!("{}, served by {}", lab.links, lab.backend)),
        ("ready", ms(lab.ready_ms)),
        ("converged after that", ms(lab.converged_ms)),
        ("suites", run.suites.join(", ")),
    ];
    html! {
        section #environment {
            h2 { "Environment" }
            div .wide { table { tbody {
                @for (name, value) in &first { tr { th scope="row" { (name) } td { (value) } } }
            } } }
            details { summary { "Nodes and programs, " (lab.nodes.len()) }
                div .wide { table {
                    thead { tr { th { "node" } th { "role" } th { "program" } } }
                    tbody { @for node in &lab.nodes { tr { td { (node.name) } td { (node.kind) } td { (node.program) } } } }
                } }
            }
            @if !annex.environment.is_empty() {
                details { summary { "Everything in env.json" }
                    div .wide { table { tbody {
                        @for (name, value) in &annex.environment { tr { th scope="row" { (name) } td { (value) } } }
                    } } }
                }
            }
        }
    }
}

/// FIBs and LSDBs, as far as they fit into `room` bytes.
pub(super) fn tables(annex: &Annex, room: usize) -> Markup {
    let (mut left, mut out) = (room, Vec::new());
    let all = [("FIB", "fib", &annex.fibs), ("LSDB", "lsdb", &annex.lsdbs)];
    let nodes =
        all.iter().flat_map(|(what, folder, tables)| tables.iter().map(move |(node, rows)| (what, folder, node, rows)));
    for (what, folder, node, rows) in nodes {
        let entries = rows.len().saturating_sub(1);
        let one = html! { details { summary { (what) " of " (node) ", " (entries) } (table(rows)) } };
        let fits = one.0.len() <= left;
        left -= if fits { one.0.len() } else { 0 };
        out.push(if fits {
            one
        } else {
            html! { p { (what) " of " (node) ", " (entries) ": in " (folder) "/" } }
        });
    }
    html! {
        section #tables {
            h2 { "Tables of the nodes" }
            p .quiet { "As they were when the suites began." }
            @if out.is_empty() { p { "There are none." } }
            @for one in &out { (one) }
        }
    }
}

fn table(rows: &Table) -> Markup {
    html! {
        div .wide { table {
            thead { @for head in rows.iter().take(1) { tr { @for cell in head { th { (cell) } } } } }
            tbody { @for row in rows.iter().skip(1) { tr { @for cell in row { td { (cell) } } } } }
        } }
    }
}
