//! What happened when, and the states of links, nodes, tables and paths over time.

use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::event::EventKind;
use damc_mgmt::words::AdjacencyState;
use serde::{Deserialize, Serialize};

use super::Clock;
use super::deeds::{Change, Deed};
use super::root::text;
use crate::evidence::Evidence;
use crate::frames::is_router;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When, ns since the lab was ready.
    pub at_ns: u64,
    /// `done`, `adjacency`, `name`, `policy`, `violation` or `lost` (a call, a frame, an LSA).
    pub kind: String,
    /// Where.
    pub node: String,
    /// What.
    pub what: String,
}

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Both ends have an adjacency.
    Full,
    /// Not both ends have one.
    Partial,
    /// Cut or silenced by a deed.
    Broken,
}

/// A link from some time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkMark {
    /// When, ns since the lab was ready.
    pub at_ns: u64,
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// Its state.
    pub state: LinkState,
}

/// State of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It runs.
    Running,
    /// It stands still.
    Paused,
    /// Its process is gone.
    Gone,
}

/// A node from some time on; it runs until told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMark {
    /// When, ns since the lab was ready.
    pub at_ns: u64,
    /// The node.
    pub node: String,
    /// Its state.
    pub state: NodeState,
}

/// Where frames to a name go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The name.
    pub name: String,
    /// At each router, by time.
    pub marks: Vec<RouteMark>,
}

/// A router's next hops from some time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteMark {
    /// When, ns since the lab was ready.
    pub at_ns: u64,
    /// The router.
    pub node: String,
    /// Its next hops: empty where it is meant itself, absent where frames go nowhere or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
}

/// When a router published tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FibChanges {
    /// The router.
    pub node: String,
    /// Times, ns since the lab was ready.
    pub at_ns: Vec<u64>,
}

/// Deeds, orders, adjacencies, announcements, policies, violations and losses, by time.
pub(super) fn marks(e: &Evidence, deeds: &[Deed], clock: Clock) -> Vec<Mark> {
    let mut found: Vec<(u64, Mark)> = Vec::new();
    let mut mark = |at_ns: u64, kind: &str, node: &str, what: String| {
        let mark = Mark { at_ns: clock.of(at_ns), kind: kind.to_owned(), node: node.to_owned(), what };
        found.push((at_ns, mark));
    };
    for deed in deeds {
        mark(deed.at_ns, "done", &deed.ends.0, deed.text());
    }
    for (node, witness) in &e.nodes {
        for event in &witness.events {
            if let Some((kind, what)) = told(node, &event.kind) {
                mark(event.at_ns, kind, node, what);
            }
        }
    }
    found.retain(|(at_ns, _)| *at_ns >= e.began_ns);
    found.sort_by_key(|(at_ns, _)| *at_ns);
    found.into_iter().map(|(_, mark)| mark).collect()
}

/// The kind of a mark, and what it says.
fn told(node: &str, kind: &EventKind) -> Option<(&'static str, String)> {
    Some(match kind {
        EventKind::Ordered { .. } => ("done", text(node, kind)),
        EventKind::Adjacency { .. } | EventKind::Carrier { .. } => ("adjacency", text(node, kind)),
        EventKind::Announced { .. } | EventKind::GrantExpired { .. } | EventKind::Revoked { .. } => {
            ("name", text(node, kind))
        }
        EventKind::AnnouncementRefused { pod, prefix, reason } => {
            ("name", format!("{node} refused {prefix} of {pod}: {reason}"))
        }
        EventKind::Policy { .. } => ("policy", text(node, kind)),
        EventKind::Violation { source, target, metrics } => {
            let metrics: Vec<_> = metrics.iter().map(ToString::to_string).collect();
            let state = if metrics.is_empty() {
                "keeps its thresholds again".to_owned()
            } else {
                format!("violates {}", metrics.join(", "))
            };
            ("violation", format!("the path {source} to {target} {state}"))
        }
        EventKind::CallFailed { source, name, reason, detail, .. } => {
            let why = reason.map_or_else(|| detail.clone(), |reason| format!("{reason} {detail}"));
            ("lost", format!("call of {source} to {name} failed: {}", why.trim()))
        }
        EventKind::Dropped { port, reason, detail } => {
            ("lost", format!("{node} dropped a frame of {port}: {reason} {detail}").trim().to_owned())
        }
        EventKind::LsaRefused { origin, id, reason, .. } => {
            ("lost", format!("{node} refused {id} of {origin}: {reason}"))
        }
        _ => return None,
    })
}

/// States of links, by time. A link is first told when its state is known.
pub(super) fn links(e: &Evidence, deeds: &[Deed], clock: Clock) -> Vec<LinkMark> {
    let (mut states, mut steps) = at_first(e);
    for (index, link) in e.links.iter().enumerate() {
        let ends = [(&link.a, &link.b), (&link.b, &link.a)];
        for (side, (near, far)) in ends.into_iter().enumerate() {
            let Some(witness) = e.nodes.get(near) else { continue };
            for event in &witness.events {
                let full = match &event.kind {
                    EventKind::Adjacency { port, state, .. } if port == far => *state == AdjacencyState::Full,
                    EventKind::Ready | EventKind::Carrier { up: false, .. } => false,
                    _ => continue,
                };
                if matches!(&event.kind, EventKind::Carrier { port, .. } if port != far) {
                    continue;
                }
                steps.push((event.at_ns, index, Side::Adjacency(side, full)));
            }
        }
        for deed in deeds.iter().filter(|deed| !deed.is_of_node() && deed.touches(&link.a, &link.b)) {
            steps.push((deed.at_ns, index, Side::Deed(deed.change != Change::Back)));
        }
    }
    steps.sort_by_key(|(at_ns, ..)| *at_ns);
    let mut found = Vec::new();
    let begun = (0..e.links.len()).map(|index| (e.began_ns, index, Side::Deed(false)));
    for (at_ns, index, side) in begun.chain(steps) {
        let (full, broken, last) = &mut states[index];
        match side {
            Side::Adjacency(side, is) => full[side] = Some(is),
            Side::Deed(is) => *broken = is,
        }
        let state = match (*broken, *full) {
            (true, _) => LinkState::Broken,
            (false, [Some(true), Some(true)]) => LinkState::Full,
            (false, [Some(false), _] | [_, Some(false)]) => LinkState::Partial,
            (false, _) => continue,
        };
        if last.replace(state) != Some(state) {
            let link = &e.links[index];
            found.push(LinkMark { at_ns: clock.of(at_ns), a: link.a.clone(), b: link.b.clone(), state });
        }
    }
    found.sort_by_key(|mark| mark.at_ns);
    found
}

/// What a step says of a link: an end's adjacency, or that a deed broke it.
enum Side {
    Adjacency(usize, bool),
    Deed(bool),
}

/// What is known of a link: the adjacency of each end, whether a deed broke it, and the state that was told last.
type Known = ([Option<bool>; 2], bool, Option<LinkState>);

/// What is known of each link at first, and what becomes known where a node has forgotten its earlier events: it tells from
/// its first one on.
fn at_first(e: &Evidence) -> (Vec<Known>, Vec<(u64, usize, Side)>) {
    let mut states: Vec<Known> = vec![Default::default(); e.links.len()];
    let mut steps = Vec::new();
    for (index, (state, link)) in states.iter_mut().zip(&e.links).enumerate() {
        for (side, (near, far)) in [(&link.a, &link.b), (&link.b, &link.a)].into_iter().enumerate() {
            let full = first_full(e, near, far);
            match known_from(e, near) {
                Some(at_ns) => steps.extend(full.map(|full| (at_ns, index, Side::Adjacency(side, full)))),
                None => state.0[side] = full,
            }
        }
    }
    (states, steps)
}

/// Since when a node tells its events, on the world's clock, where it has forgotten earlier ones.
fn known_from(e: &Evidence, node: &str) -> Option<u64> {
    e.nodes.get(node)?.events.first().filter(|first| first.sequence > 0).map(|first| first.at_ns)
}

/// Whether `near` had an adjacency with `far` before its first event about it.
fn first_full(e: &Evidence, near: &str, far: &str) -> Option<bool> {
    let witness = e.nodes.get(near)?;
    if witness.events.first().is_some_and(|event| event.sequence == 0) {
        return Some(false);
    }
    let first = witness.events.iter().find_map(|event| match &event.kind {
        EventKind::Adjacency { port, state, .. } if port == far => Some(*state != AdjacencyState::Full),
        _ => None,
    });
    first.or_else(|| witness.neighbour(far).map(|row| row.state == AdjacencyState::Full))
}

/// States of nodes, by time.
pub(super) fn nodes(e: &Evidence, deeds: &[Deed], clock: Clock) -> Vec<NodeMark> {
    let mut found: Vec<(u64, NodeMark)> = Vec::new();
    let mut mark = |at_ns: u64, node: &str, state: NodeState| {
        found.push((at_ns, NodeMark { at_ns: clock.of(at_ns), node: node.to_owned(), state }));
    };
    for deed in deeds.iter().filter(|deed| deed.is_of_node()) {
        let state = match deed.change {
            Change::Gone => NodeState::Gone,
            Change::Silent => NodeState::Paused,
            Change::Back => NodeState::Running,
        };
        mark(deed.at_ns, &deed.ends.0, state);
    }
    for (node, witness) in &e.nodes {
        for event in witness.events.iter().filter(|e| matches!(e.kind, EventKind::Ready)) {
            mark(event.at_ns, node, NodeState::Running);
        }
    }
    found.sort_by_key(|(at_ns, _)| *at_ns);
    let mut last: BTreeMap<String, NodeState> = BTreeMap::new();
    let told = found.into_iter().map(|(_, mark)| mark);
    told.filter(|m| last.insert(m.node.clone(), m.state).unwrap_or(NodeState::Running) != m.state).collect()
}

/// Routes as they are told; they come with times on the world's clock.
pub(super) fn routes(found: BTreeMap<String, Vec<RouteMark>>, clock: Clock) -> Vec<Route> {
    let told = |marks: Vec<RouteMark>| {
        marks.into_iter().map(|mark| RouteMark { at_ns: clock.of(mark.at_ns), ..mark }).collect()
    };
    found.into_iter().map(|(name, marks)| Route { name, marks: told(marks) }).collect()
}

/// When routers published tables.
pub(super) fn fibs(e: &Evidence, clock: Clock) -> Vec<FibChanges> {
    let routers = e.nodes.iter().filter(|(_, witness)| is_router(&witness.kind));
    let changes = routers.map(|(node, witness)| {
        let fibs = witness.events.iter().filter(|event| matches!(event.kind, EventKind::Fib { .. }));
        let at_ns: BTreeSet<u64> = fibs.map(|event| clock.of(event.at_ns)).collect();
        FibChanges { node: node.clone(), at_ns: at_ns.into_iter().collect() }
    });
    changes.collect()
}
