//! Timelines on one axis: cases, deeds, links, announcements, tables, policies, troubles, measurements and calls.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use damc_explain::{CourseMark, LinkState};
use maud::{Markup, html};

use crate::report::Timelines;
use crate::verdict::Kind;

/// Units of the axis, and of the height of a lane.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// Measured services shown.
const TARGETS: usize = 8;

/// From times to places on the axis.
#[derive(Clone, Copy)]
struct Axis {
    ended_ns: f64,
}

impl Axis {
    fn x(self, at_ns: u64) -> f64 {
        (at_ns as f64 / self.ended_ns * WIDTH).clamp(0.0, WIDTH)
    }
}

/// The section.
pub(super) fn lanes(timelines: &Timelines) -> Markup {
    let course = &timelines.course;
    let axis = Axis { ended_ns: course.ended_ns.max(1) as f64 };
    let ticks = |kind: &str| {
        let of: Vec<u64> = course.marks.iter().filter(|mark| mark.kind == kind).map(|mark| mark.at_ns).collect();
        (of.len(), columns(axis, of.into_iter()))
    };
    let lane_of = |name: &str, kind: &str, class: &str| {
        let (count, path) = ticks(kind);
        html! { @if count > 0 { (lane(name, &count.to_string(), class, &path)) } }
    };
    html! {
        section #timelines {
            h2 { "Timelines" }
            p .quiet { "One axis, from when the lab was ready. Click into a lane, or use the slider below, to see a moment." }
            div #lanes data-end=(course.ended_ns / 1000) {
                (ruler(axis))
                (cases(timelines, axis))
                (lane_of("done and ordered", "done", "done"))
                (broken(timelines, axis))
                (lane_of("adjacencies", "adjacency", "adjacency"))
                (lane_of("announcements", "name", "name"))
                @for fib in course.fibs.iter().filter(|fib| !fib.at_ns.is_empty()) {
                    (lane(&format!("FIB of {}", fib.node), &format!("{} versions", fib.at_ns.len()), "fib", &columns(axis, fib.at_ns.iter().copied())))
                }
                (lane_of("policies", "policy", "policy"))
                (lane_of("thresholds crossed", "violation", "violation"))
                (troubles(timelines, axis))
                (measured(timelines, axis))
                (calls(timelines, axis))
                (lane_of("lost and refused", "lost", "lost"))
                div #cursor hidden {}
            }
        }
    }
}

/// A lane with one path.
fn lane(name: &str, value: &str, class: &str, path: &str) -> Markup {
    frame(name, value, "thin", &html! { path class=(class) d=(path) {} })
}

fn frame(name: &str, value: &str, size: &str, inside: &Markup) -> Markup {
    html! {
        div class={ "lane " (size) } {
            div .lane-name { (name) " " span .quiet { (value) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label={ (name) ": " (value) } { (inside) }
        }
    }
}

/// A tick at each time, one for all that fall on the same column.
fn columns(axis: Axis, times: impl Iterator<Item = u64>) -> String {
    let columns: std::collections::BTreeSet<u64> = times.map(|at_ns| axis.x(at_ns).round() as u64).collect();
    columns.into_iter().map(|x| format!("M{x} 8V92")).collect()
}

/// Round seconds below the axis.
fn ruler(axis: Axis) -> Markup {
    let seconds = axis.ended_ns / 1e9;
    let steps = [0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0];
    let step = steps.into_iter().find(|step| seconds / step <= 6.0).unwrap_or(20_000.0);
    let count = (seconds / step).floor() as u32;
    html! {
        div .ruler aria-hidden="true" {
            @for tick in 0..=count {
                @let at = f64::from(tick) * step;
                span style={ "left:" (format!("{:.3}", at / seconds * 100.0)) "%" } { (format!("{at}")) " s" }
            }
        }
    }
}

fn cases(timelines: &Timelines, axis: Axis) -> Markup {
    let bar = |case: &crate::chronicle::CaseSpan| {
        let (from, to) = (axis.x(case.from_ns), axis.x(case.to_ns));
        let class = match case.verdict {
            Kind::Fail => "bar fail",
            Kind::Inconclusive => "bar inconclusive",
            _ => "bar",
        };
        html! { rect class=(class) x=(format!("{from:.1}")) y="15" width=(format!("{:.1}", (to - from).max(1.0))) height="70" { title { (case.id) ": " (case.verdict.label()) } } }
    };
    html! {
        @if !timelines.cases.is_empty() {
            (frame("cases", &timelines.cases.len().to_string(), "thin", &html! { @for case in &timelines.cases { (bar(case)) } }))
        }
    }
}

/// How many links are without an adjacency, as an area.
fn broken(timelines: &Timelines, axis: Axis) -> Markup {
    let mut down: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    let mut steps: Vec<(f64, usize)> = vec![(0.0, 0)];
    for mark in &timelines.course.links {
        down.insert((&mark.a, &mark.b), mark.state != LinkState::Full);
        let (x, count) = (axis.x(mark.at_ns), down.values().filter(|down| **down).count());
        match steps.last_mut().filter(|(last, _)| (x - *last).abs() < 0.2) {
            // Within one column the worst is what must be seen.
            Some(last) if x > 0.5 => last.1 = last.1.max(count),
            Some(last) => last.1 = count,
            None => steps.push((x, count)),
        }
    }
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let mut path = format!("M0 {HEIGHT}");
    for (x, count) in &steps {
        let _ = write!(path, "H{x:.1}V{:.1}", HEIGHT - *count as f64 / most.max(1) as f64 * 90.0);
    }
    let _ = write!(path, "H{WIDTH}V{HEIGHT}Z");
    html! { @if most > 0 { (lane("links without adjacency", &format!("at most {most}"), "area", &path)) } }
}

fn troubles(timelines: &Timelines, axis: Axis) -> Markup {
    let troubles = &timelines.course.troubles;
    html! {
        @if !troubles.is_empty() {
            (frame("loops and black holes", &troubles.len().to_string(), "thin", &html! {
                @for trouble in troubles.iter().take(400) {
                    @let (from, to) = (axis.x(trouble.at_ns), axis.x(trouble.at_ns + trouble.lasted_ns));
                    rect class="bar fail" x=(format!("{from:.1}")) y="15" width=(format!("{:.1}", (to - from).max(1.5))) height="70" {
                        title { (trouble.kind.label()) ": " (trouble.what) }
                    }
                }
            }))
        }
    }
}

/// Delays of paths to each service against its preset. Round caps make a dot of a line without length.
fn measured(timelines: &Timelines, axis: Axis) -> Markup {
    let mut targets: BTreeMap<&str, Vec<&crate::chronicle::PathSeries>> = BTreeMap::new();
    for path in &timelines.paths {
        targets.entry(&path.target).or_default().push(path);
    }
    html! {
        @for (target, paths) in targets.iter().take(TARGETS) {
            @let most = paths.iter().flat_map(|path| path.delays.iter().map(|(_, ns)| *ns)).max().unwrap_or(1);
            @let preset = paths.iter().find_map(|path| path.threshold_ns);
            @let top = preset.map_or(most, |preset| most.max(preset)).max(1) as f64 * 1.1;
            @let y = |ns: u64| HEIGHT - ns as f64 / top * HEIGHT;
            @let dots = paths.iter().flat_map(|path| &path.delays).fold(String::new(), |mut dots, (at_ns, ns)| {
                let _ = write!(dots, "M{:.0} {:.0}h0", axis.x(*at_ns), y(*ns));
                dots
            });
            @let value = format!("most {:.1} ms{}", most as f64 / 1e6, preset.map(|ns| format!(", preset {:.1} ms", ns as f64 / 1e6)).unwrap_or_default());
            (frame(&format!("delay to {target}"), &value, "tall", &html! {
                @if let Some(preset) = preset { path class="preset" d={ "M0 " (format!("{:.1}", y(preset))) "H" (WIDTH) } {} }
                path class="dots" d=(dots) {}
            }))
        }
    }
}

/// How long calls took, on a logarithmic scale from 0.1 ms to 10 s; those without an answer at the top.
fn calls(timelines: &Timelines, axis: Axis) -> Markup {
    let y = |ns: u64| HEIGHT - ((ns as f64 / 1e6).clamp(0.1, 10_000.0).log10() + 1.0) / 5.0 * HEIGHT;
    let (mut dots, mut lost, mut took) = (String::new(), String::new(), Vec::new());
    for call in &timelines.calls {
        let x = axis.x(call.at_ns);
        match call.took_ns {
            Some(ns) => {
                took.push(ns);
                let _ = write!(dots, "M{x:.0} {:.0}h0", y(ns));
            }
            None => {
                let _ = write!(lost, "M{x:.0} 2V14");
            }
        }
    }
    took.sort_unstable();
    let median = took.get(took.len() / 2).map_or_else(String::new, |ns| format!(", median {:.1} ms", *ns as f64 / 1e6));
    let without = timelines.calls.iter().filter(|call| call.took_ns.is_none()).count();
    let value =
        format!("{} shown{median}, {without} without an answer; 0.1 ms to 10 s, logarithmic", timelines.calls.len());
    html! {
        @if !timelines.calls.is_empty() {
            (frame("calls", &value, "tall", &html! {
                @for decade in [1_000_000, 10_000_000, 100_000_000, 1_000_000_000] {
                    path class="grid" d={ "M0 " (format!("{:.1}", y(decade))) "H" (WIDTH) } {}
                }
                path class="dots" d=(dots) {}
                path class="lost" d=(lost) {}
            }))
        }
    }
}

/// The newest marks are kept where there are too many for a page.
pub(super) fn kept(marks: &[CourseMark]) -> &[CourseMark] {
    const KEPT: usize = 4000;
    &marks[marks.len().saturating_sub(KEPT)..]
}
