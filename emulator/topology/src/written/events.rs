//! The timeline of a topology as the `events` section of a file.

use std::path::Path;

use damc_impair::{DirectionChange, Reorder};
use damc_wire::{Name, NodeId};

use super::{list, losing, map, quoted, reordering};
use crate::Topology;
use crate::file::{Rate, Share, Time, distribution_label};
use crate::timeline::{Act, Expected, FibState, Hold, LinkEvent, Load, LoadKind, ServiceStep, Start, TimelineEvent};

type Part = (&'static str, String);

/// One line for each entry; nothing where there is none.
pub(super) fn write(text: &mut String, topology: &Topology) {
    let events = &topology.events;
    if !events.is_empty() {
        text.push_str("\nevents:\n");
    }
    for event in events {
        let mut parts = act(&event.act, &topology.folder, events);
        parts.extend(start(event, events));
        parts.extend(lasting(event).map(|ns| ("for", Time(ns).to_string())));
        if let Some(repeat) = event.repeat {
            parts.extend([("every", Time(repeat.every_ns).to_string()), ("times", repeat.times.to_string())]);
        }
        parts.extend(event.label.as_ref().map(|label| ("as", quoted(label))));
        text.push_str("  - ");
        text.push_str(&map(parts));
        text.push('\n');
    }
}

/// What judges a load waits for it without saying so.
fn start(event: &TimelineEvent, events: &[TimelineEvent]) -> Option<Part> {
    match (event.start, &event.act) {
        (_, Act::Expect { what: Expected::Lost { .. } | Expected::Latency { .. }, .. }) => None,
        (Start::At(ns), _) => Some(("at", Time(ns).to_string())),
        (Start::After(number), _) => Some(("after", label_of(number, events))),
    }
}

/// Entries that others refer to have a label: it is how a file refers to them.
fn label_of(number: usize, events: &[TimelineEvent]) -> String {
    events.get(number).and_then(|event| event.label.as_ref()).map(|label| quoted(label)).unwrap_or_default()
}

/// A recorded link lasts as long as its recording where nobody says otherwise.
fn lasting(event: &TimelineEvent) -> Option<u64> {
    let own = match &event.act {
        Act::Link { change, .. } => match change.as_ref() {
            LinkEvent::Follow(trace) => Some(trace.lasts_ns()),
            _ => None,
        },
        _ => None,
    };
    event.lasts_ns.filter(|lasts| own != Some(*lasts))
}

fn act(act: &Act, folder: &Path, events: &[TimelineEvent]) -> Vec<Part> {
    match act {
        Act::Link { a, b, change } => vec![("link", list([a, b])), link_event(change, folder)],
        Act::Node { node, step } => vec![("node", quoted(node)), ("do", step.label().to_owned())],
        Act::Service { pod, prefix, step } => service(pod, prefix, *step),
        Act::Licence { pod, prefix, grant } => {
            vec![("licence", quoted(pod)), (if *grant { "grant" } else { "revoke" }, quoted(prefix))]
        }
        Act::Partition { groups, .. } => {
            let groups: Vec<String> = groups.iter().map(list).collect();
            vec![("partition", format!("[{}]", groups.join(", ")))]
        }
        Act::Load(of) => vec![("load", load(of))],
        Act::Run { pod, command } => vec![("run", map([("in", quoted(pod)), ("command", list(command))]))],
        Act::Expect { what, hold } => {
            let hold = match hold {
                Hold::Now => None,
                Hold::Within(ns) => Some(("within", Time(*ns).to_string())),
                Hold::Throughout => Some(("throughout", "true".to_owned())),
            };
            [Some(("expect", expected(what, events))), hold].into_iter().flatten().collect()
        }
    }
}

fn service(pod: &NodeId, prefix: &Name, step: ServiceStep) -> Vec<Part> {
    let on_pod = || quoted(&format!("{prefix} on {pod}"));
    let step = match step {
        ServiceStep::Announce => return vec![("announce", on_pod())],
        ServiceStep::Withdraw => return vec![("withdraw", on_pod())],
        ServiceStep::Stop => "stop",
        ServiceStep::Start => "start",
        ServiceStep::Restart => "restart",
    };
    vec![("service", quoted(prefix)), ("do", step.to_owned())]
}

fn load(Load { from, to, per_second, size, kind }: &Load) -> String {
    let mut parts = vec![
        ("from", quoted(from)),
        ("to", quoted(to)),
        ("rate", format!("{per_second}/s")),
        ("size", format!("{size}B")),
    ];
    if *kind != LoadKind::Rmi {
        parts.push(("kind", kind.label().to_owned()));
    }
    map(parts)
}

fn link_event(event: &LinkEvent, folder: &Path) -> Part {
    match event {
        LinkEvent::Down => ("set", "down".to_owned()),
        LinkEvent::Up => ("set", "up".to_owned()),
        LinkEvent::Silent => ("set", "silent".to_owned()),
        LinkEvent::Clear => ("clear", "true".to_owned()),
        LinkEvent::Follow(trace) => ("follow", quoted(&folder.join(&trace.file).display())),
        LinkEvent::Set { forward, backward } => {
            let (there, back) = (changes(forward), changes(backward));
            let both = if there == back { map(there) } else { map([("forward", map(there)), ("backward", map(back))]) };
            ("set", both)
        }
    }
}

/// What a change says; what it leaves as it is, it leaves out.
fn changes(change: &DirectionChange) -> Vec<Part> {
    let time = |name, ns: Option<u64>| ns.map(|ns| (name, Time(ns).to_string()));
    let share = |name, share: Option<f64>| share.map(|share| (name, Share(share).to_string()));
    [
        time("delay", change.delay_ns),
        time("jitter", change.jitter_ns),
        change.distribution.map(|distribution| ("distribution", distribution_label(distribution).to_owned())),
        change.loss.map(|loss| ("loss", losing(loss))),
        share("duplicate", change.duplicate),
        share("corrupt", change.corrupt),
        change.reorder.map(|Reorder { probability, gap }| ("reorder", reordering(probability, gap))),
        change.rate_bps.map(|rate| ("rate", Rate(rate).to_string())),
        change.limit.map(|limit| ("limit", limit.to_string())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn expected(what: &Expected, events: &[TimelineEvent]) -> String {
    let judged = |of: usize, at_most: String| map([("of", label_of(of, events)), ("at_most", at_most)]);
    let called = |from: &NodeId, name: &Name| map([("from", quoted(from)), ("name", quoted(name))]);
    let at = |node: &NodeId, prefix: &Name| vec![("node", quoted(node)), ("prefix", quoted(prefix))];
    let absent = || ("absent", "true".to_owned());
    let (kind, value) = match what {
        Expected::Reachable { from, name } => ("reachable", called(from, name)),
        Expected::Unreachable { from, name } => ("unreachable", called(from, name)),
        Expected::Path { from, name, nodes, exact } => {
            let nodes = (if *exact { "nodes" } else { "via" }, list(nodes));
            ("path", map([("from", quoted(from)), ("name", quoted(name)), nodes]))
        }
        Expected::Fib { node, prefix, entry } => {
            let entry = match entry {
                FibState::Present => None,
                FibState::Absent => Some(absent()),
                FibState::Through(next) => Some(("next", list(next))),
            };
            ("fib", map(at(node, prefix).into_iter().chain(entry)))
        }
        Expected::Policy { node, prefix, present } => {
            ("policy", map(at(node, prefix).into_iter().chain((!present).then(absent))))
        }
        Expected::SilentLink { a, b } => ("silent", list([a, b])),
        Expected::SilentNode { node } => ("silent", quoted(node)),
        Expected::Lost { of, at_most } => ("lost", judged(*of, at_most.to_string())),
        Expected::Latency { of, percentile, at_most_ns } => {
            (percentile.label(), judged(*of, Time(*at_most_ns).to_string()))
        }
        Expected::Invariants => ("invariants", "true".to_owned()),
    };
    map([(kind, value)])
}
