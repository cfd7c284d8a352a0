//! How long changes took to reach the tables, and where tables led frames astray meanwhile.

use damc_explain::{Change, Split, Trouble};
use maud::{Markup, html};

use crate::report::Timelines;
use crate::report::timelines::some;

/// The section.
pub(super) fn convergence(timelines: &Timelines) -> Markup {
    let told = timelines.convergence();
    let course = &timelines.course;
    html! {
        section #convergence {
            h2 { "Convergence" }
            @if told.pairs == 0 {
                p { "No table changed after the network had converged." }
            } @else {
                p {
                    (course.changes.len()) " changes reached tables, " (told.pairs) " times a prefix. The time from a change to the last table, in ms:"
                }
                div .wide { table .compact {
                    thead { tr { th { "part" } th .number { "median" } th .number { "most" } th { "what it is" } } }
                    tbody {
                        @for (name, median, most) in &told.parts {
                            tr { td style="white-space:nowrap" { @if *name != "all" { (key(name)) } (name) } td .number { (ms(*median)) } td .number { (ms(*most)) } td .quiet { (meaning(name)) } }
                        }
                    }
                } }
                h3 { "Slowest changes" }
                @for change in &told.slowest { (slow(change)) }
                @if course.changes.len() > told.slowest.len() {
                    p .quiet { "… and " (course.changes.len() - told.slowest.len()) " quicker ones, in course.json." }
                }
            }
            h3 { "Loops and black holes" }
            (troubles(&told.troubles, course.troubles.len()))
            @if !course.untold.is_empty() {
                p .warning { "These routers do not tell where their entries lead, so nothing is said of frames they forward: " (some(&course.untold)) "." }
            }
        }
    }
}

/// What a part of the time is.
fn meaning(name: &str) -> &'static str {
    match name {
        "detect" => "until a node noticed",
        "originate" => "until it said so in an LSA, authentication included",
        "flood" => "until the last router had the LSA",
        "compute" => "until that router had its routes, SPF hold-down included",
        "install" => "until its forwarding table had the entry",
        _ => "from the change to the last table",
    }
}

fn key(part: &str) -> Markup {
    html! { span class={ "key part-" (part) } {} " " }
}

fn slow(change: &Change) -> Markup {
    let longest = change.prefixes.first();
    html! {
        details .change {
            summary {
                (at(change.at_ns)) " " (change.what)
                @if let Some(one) = longest { " — " strong { (ms(one.split.total_ns())) " ms" } ", " (prefixes(change.prefixes.len())) }
                @if let Some(one) = longest { (bar(&one.split)) }
            }
            div .wide { table .compact {
                thead { tr {
                    th { "prefix" } th { "last router" } th .number { "routers" }
                    @for (name, _) in Split::default().parts() { th .number { (name) } }
                    th .number { "all, ms" }
                } }
                tbody {
                    @for one in change.prefixes.iter().take(PREFIXES) {
                        tr {
                            td { (one.prefix) } td { (one.last) } td .number { (one.routers) }
                            @for (_, ns) in one.split.parts() { td .number { (ms(ns)) } }
                            td .number { (ms(one.split.total_ns())) }
                        }
                    }
                }
            } }
            @if change.prefixes.len() > PREFIXES { p .quiet { "… and " (change.prefixes.len() - PREFIXES) " more." } }
        }
    }
}

fn prefixes(count: usize) -> String {
    if count == 1 { "1 prefix".to_owned() } else { format!("{count} prefixes") }
}

/// Prefixes shown of each change.
const PREFIXES: usize = 12;

/// The parts of a time side by side.
fn bar(split: &Split) -> Markup {
    let total = split.total_ns().max(1) as f64;
    let parts = split.parts();
    let label = parts.map(|(name, ns)| format!("{name} {} ms", ms(ns))).join(", ");
    html! {
        span .split role="img" aria-label=(label) title=(label) {
            @for (name, ns) in parts {
                @if ns > 0 { span class={ "part-" (name) } style={ "flex-grow:" (format!("{:.4}", ns as f64 / total)) } {} }
            }
        }
    }
}

fn troubles(troubles: &[&Trouble], all: usize) -> Markup {
    html! {
        @if troubles.is_empty() {
            p { "None: at every moment the tables together led frames to where their name was served." }
        } @else {
            div .wide { table .compact .troubles {
                thead { tr {
                    th { "when" } th { "what" } th { "for" } th .number { "lasted, ms" } th .number { "frames that met it" } th { "after" }
                } }
                tbody {
                    @for trouble in troubles {
                        tr {
                            td { (at(trouble.at_ns)) }
                            td { strong { (trouble.kind.label()) } ": " (trouble.what) }
                            td { (some(&trouble.prefixes)) }
                            td .number { (ms(trouble.lasted_ns)) @if !trouble.over { " (not over)" } }
                            td .number {
                                (trouble.met.frames)
                                @if let Some(first) = trouble.met.first_ns { " (first " (at(first)) ")" }
                            }
                            td { @if let Some(after) = &trouble.after { (after) } }
                        }
                    }
                }
            } }
            @if all > troubles.len() { p .quiet { "… and " (all - troubles.len()) " more, in course.json." } }
            p .quiet { "Frames are those between names that were recorded and kept; of very busy cases only the first are." }
        }
    }
}

/// A time on the axis, as a button that moves the slider there where there is one.
pub(super) fn at(at_ns: u64) -> Markup {
    html! { button .at type="button" data-at=(at_ns / 1000) title="show this moment" { (format!("{:.3} s", at_ns as f64 / 1e9)) } }
}

/// Milliseconds for people.
fn ms(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    if ms >= 100.0 {
        format!("{ms:.0}")
    } else if ms >= 1.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.3}")
    }
}
