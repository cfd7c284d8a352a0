//! The network at a moment: the drawing with a slider, and the data that its script reads.

use std::collections::BTreeMap;

use damc_explain::{CourseNodeState, LinkState, RouteMark};
use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

use super::lanes::kept;
use crate::report::{NodeInfo, Timelines};

/// The controls; the script shows them.
pub(super) fn controls(timelines: &Timelines) -> Markup {
    let end_us = timelines.course.ended_ns / 1000;
    html! {
        div #moment hidden {
            div .row {
                button #before type="button" aria-label="change before" title="change before (,)" { "◀" }
                input #slider type="range" min="0" max=(end_us) value=(end_us) step="1" aria-label="moment";
                button #next type="button" aria-label="next change" title="next change (.)" { "▶" }
                output #clock for="slider" {}
            }
            div .row {
                label { "path from " select #from {} }
                label { "to " select #to {} }
                button #converged type="button" { "as it converged" }
            }
            p #state aria-live="polite" {}
            ol #around {}
        }
    }
}

/// What the script needs, in µs since the lab was ready. Nodes are numbers here: the same few names occur very often.
pub(super) fn data(timelines: &Timelines, nodes: &[NodeInfo]) -> Markup {
    let course = &timelines.course;
    let number: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
    let of = |name: &str| number.get(name).copied();
    let us = |ns: u64| ns / 1000;
    let links: Vec<Value> = course
        .links
        .iter()
        .filter_map(|mark| {
            let state = match mark.state {
                LinkState::Full => 0,
                LinkState::Partial => 1,
                LinkState::Broken => 2,
            };
            Some(json!([us(mark.at_ns), of(&mark.a)?, of(&mark.b)?, state]))
        })
        .collect();
    let states: Vec<Value> = course
        .nodes
        .iter()
        .filter_map(|mark| {
            let state = match mark.state {
                CourseNodeState::Running => 0,
                CourseNodeState::Paused => 1,
                CourseNodeState::Gone => 2,
            };
            Some(json!([us(mark.at_ns), of(&mark.node)?, state]))
        })
        .collect();
    let route = |mark: &RouteMark| {
        let to = mark.to.as_ref().map(|to| to.iter().filter_map(|hop| of(hop)).collect::<Vec<_>>());
        Some(json!([us(mark.at_ns), of(&mark.node)?, to]))
    };
    let routes: serde_json::Map<String, Value> = course
        .routes
        .iter()
        .map(|one| (one.name.clone(), one.marks.iter().filter_map(route).collect::<Vec<_>>().into()))
        .collect();
    let marks: Vec<Value> =
        kept(&course.marks).iter().map(|mark| json!([us(mark.at_ns), mark.kind, mark.what])).collect();
    let json = json!({
        "end": us(course.ended_ns),
        "nodes": nodes.iter().map(|node| [node.name.as_str(), node.kind.as_str()]).collect::<Vec<_>>(),
        "links": links,
        "states": states,
        "routes": routes,
        "marks": marks,
    });
    // In a script element only `<` could end it.
    html! { script #course type="application/json" { (PreEscaped(json.to_string().replace('<', "\\u003c"))) } }
}

/// In place of the data where it does not fit.
pub(super) fn too_long() -> Markup {
    html! { p .quiet { "The run has too many changes for a slider in this page: course.json has them." } }
}
