//! What a change began with: a deed, an order, or what a node noticed first.

use damc_mgmt::command::Command;
use damc_mgmt::event::{Event, EventKind};
use damc_mgmt::words::AdjacencyState;

use super::deeds::{Change as Turn, Deed};
use crate::evidence::{Evidence, Witness};

/// What a change began with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Root {
    /// World's clock, ns.
    pub(super) at_ns: u64,
    /// Where; of a link one end.
    pub(super) node: String,
    pub(super) what: String,
}

/// Finds roots in evidence.
pub(super) struct Roots<'e> {
    pub(super) e: &'e Evidence,
    pub(super) deeds: &'e [Deed],
}

/// The prefix of an LSA by its name in events; none of a topology LSA.
pub(super) fn prefix_of(id: &str) -> Option<&str> {
    id.starts_with('/').then(|| id.split_once(" at ").map_or(id, |(prefix, _)| prefix))
}

/// The port of an LSA by its name in events.
fn port_of(id: &str) -> Option<&str> {
    id.split_once(" at ").map(|(_, port)| port)
}

/// Whether an event changes the topology that its node speaks of.
pub(super) fn is_topological(kind: &EventKind) -> bool {
    match kind {
        EventKind::Adjacency { .. } | EventKind::Carrier { .. } => true,
        EventKind::Ordered { order } => matches!(order, Command::Cost { .. } | Command::Overload { .. }),
        _ => false,
    }
}

impl<'e> Roots<'e> {
    pub(super) fn witness(&self, node: &str) -> Option<&'e Witness> {
        self.e.nodes.get(node)
    }

    /// Event of `node` that made it originate an LSA, by the places of both.
    pub(super) fn detection(&self, node: &str, originated: usize) -> Option<usize> {
        let events = &self.witness(node)?.events;
        let EventKind::LsaOriginated { id, .. } = &events.get(originated)?.kind else { return None };
        let before = || events[..originated].iter().enumerate().rev();
        let Some(wanted) = prefix_of(id) else {
            let mut since = before()
                .take_while(|(_, e)| !matches!(&e.kind, EventKind::LsaOriginated { id: other, .. } if other == id));
            let found = since.find(|(_, e)| is_topological(&e.kind)).map(|(at, _)| at)?;
            return Some(first_sign(events, found));
        };
        let pod = port_of(id);
        let about = |kind: &EventKind| match kind {
            EventKind::Announced { prefix, .. }
            | EventKind::GrantExpired { prefix, .. }
            | EventKind::Revoked { prefix, .. } => prefix == wanted,
            EventKind::Adjacency { port, .. } | EventKind::Carrier { port, .. } => Some(port.as_str()) == pod,
            _ => false,
        };
        let found = before().find(|(_, e)| about(&e.kind)).map(|(at, _)| at)?;
        Some(first_sign(events, found))
    }

    /// What an event of `node` began with: the event itself where nothing before it is known.
    pub(super) fn root(&self, node: &str, at: usize) -> Option<Root> {
        let events = &self.witness(node)?.events;
        let event = events.get(at)?;
        let found = match &event.kind {
            EventKind::Adjacency { port, state, .. } => {
                self.deed(events, at, (node, port), *state == AdjacencyState::Full)
            }
            EventKind::Carrier { port, up } => self.deed(events, at, (node, port), *up),
            EventKind::Announced { pod, prefix, .. } => self.announced(events, at, pod, prefix),
            EventKind::Revoked { pod, prefix } => self.revoked(pod, prefix, event.at_ns),
            _ => None,
        };
        Some(found.unwrap_or_else(|| Root { at_ns: event.at_ns, node: node.to_owned(), what: text(node, &event.kind) }))
    }

    /// The newest deed that gives or takes an adjacency, after the last time it was gained or lost the same way.
    fn deed(&self, events: &[Event], at: usize, (near, far): (&str, &str), back: bool) -> Option<Root> {
        let same = |kind: &EventKind| match kind {
            EventKind::Adjacency { port, state, .. } => port == far && (*state == AdjacencyState::Full) == back,
            EventKind::Carrier { port, up } => port == far && *up == back,
            _ => false,
        };
        let until_ns = events[at].at_ns;
        // What follows the first sign closely is the same loss.
        let mut before = events[..at].iter().rev().filter(|e| e.at_ns < until_ns);
        let since_ns = before.find(|e| same(&e.kind)).map_or(0, |e| e.at_ns);
        let newest = self.deeds.iter().rev().find(|deed| deed.at_ns <= until_ns && deed.touches(near, far))?;
        let fits = (newest.change == Turn::Back) == back && newest.at_ns >= since_ns;
        fits.then(|| Root { at_ns: newest.at_ns, node: newest.ends.0.clone(), what: newest.text() })
    }

    /// The order or the end of a service that made its pod announce or withdraw.
    fn announced(&self, events: &[Event], at: usize, pod: &str, prefix: &str) -> Option<Root> {
        let until_ns = events[at].at_ns;
        let same = |e: &&Event| matches!(&e.kind, EventKind::Announced { pod: p, prefix: other, .. } if p == pod && other == prefix);
        let since_ns = events[..at].iter().rev().find(same).map_or(0, |e| e.at_ns);
        let told = self.witness(pod)?.events.iter().rev().filter(|e| e.at_ns <= until_ns && e.at_ns >= since_ns);
        let mut service = None;
        for event in told {
            match &event.kind {
                EventKind::Ordered { order } if speaks_of(order, prefix) => {
                    return Some(Root { at_ns: event.at_ns, node: pod.to_owned(), what: text(pod, &event.kind) });
                }
                EventKind::Service { prefix: other, .. } if other == prefix => {
                    service.get_or_insert(event);
                }
                _ => {}
            }
        }
        service.map(|event| Root { at_ns: event.at_ns, node: pod.to_owned(), what: text(pod, &event.kind) })
    }

    /// The order by which an SPA took a licence back.
    fn revoked(&self, pod: &str, prefix: &str, until_ns: u64) -> Option<Root> {
        let of = |(node, event): &(&'e String, &'e Event)| {
            let taken = matches!(&event.kind, EventKind::Ordered { order: Command::RevokeLicence { pod: p, prefix: of } }
                if p.as_str() == pod && of.to_string() == prefix);
            taken && event.at_ns <= until_ns && node.as_str() != pod
        };
        let all = self.e.nodes.iter().flat_map(|(node, witness)| witness.events.iter().map(move |event| (node, event)));
        let (node, event) = all.filter(of).max_by_key(|(_, event)| event.at_ns)?;
        Some(Root { at_ns: event.at_ns, node: node.clone(), what: text(node, &event.kind) })
    }
}

/// Whether an order to a pod is about a prefix.
fn speaks_of(order: &Command, prefix: &str) -> bool {
    serde_json::to_value(order).is_ok_and(|order| order.get("prefix").and_then(|p| p.as_str()) == Some(prefix))
}

/// The carrier that went just before an adjacency did is the first sign of the same loss.
fn first_sign(events: &[Event], at: usize) -> usize {
    let EventKind::Adjacency { port, state, .. } = &events[at].kind else { return at };
    if *state == AdjacencyState::Full {
        return at;
    }
    let of_port = |e: &EventKind| matches!(e, EventKind::Adjacency { port: p, .. } | EventKind::Carrier { port: p, .. } if p == port);
    let before = events[..at].iter().rposition(|e| of_port(&e.kind));
    before.filter(|before| matches!(events[*before].kind, EventKind::Carrier { up: false, .. })).unwrap_or(at)
}

/// An event for people.
pub(super) fn text(node: &str, kind: &EventKind) -> String {
    match kind {
        EventKind::Adjacency { port, state: AdjacencyState::Full, .. } => {
            format!("{node} has a full adjacency with {port}")
        }
        EventKind::Adjacency { port, reason: Some(reason), .. } => {
            format!("{node} lost its adjacency with {port}: {reason}")
        }
        EventKind::Adjacency { port, state, .. } => format!("{node}'s adjacency with {port} is {state}"),
        EventKind::Carrier { port, up: true } => format!("{node} has carrier to {port}"),
        EventKind::Carrier { port, up: false } => format!("{node} lost the carrier to {port}"),
        EventKind::Announced { pod, prefix, withdrawn: false } => format!("{pod} announced {prefix} to {node}"),
        EventKind::Announced { pod, prefix, withdrawn: true } => format!("{pod} withdrew {prefix} from {node}"),
        EventKind::GrantExpired { pod, prefix } => format!("the grant of {pod} for {prefix} expired at {node}"),
        EventKind::Revoked { pod, prefix } => format!("the grant of {pod} for {prefix} was revoked at {node}"),
        EventKind::Service { prefix, running: true, .. } => format!("{node} runs {prefix}"),
        EventKind::Service { prefix, running: false, .. } => format!("{prefix} ended at {node}"),
        EventKind::LsaOriginated { origin, id, purge, .. } => format!("{origin} {} {id}", said(*purge)),
        EventKind::LsaAccepted { origin, id, purge, .. } => format!("{node} heard that {origin} {} {id}", said(*purge)),
        EventKind::LsaExpired { origin, id } => format!("the LSA {id} of {origin} expired at {node}"),
        EventKind::Policy { prefix, action, active, .. } => {
            format!("policy {action} for {prefix} {} at {node}", if *active { "holds" } else { "ends" })
        }
        EventKind::Ordered { order } => {
            let json = serde_json::to_value(order).unwrap_or_default();
            let members = json.as_object().cloned().unwrap_or_default();
            let words = members.values().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            format!("{node} was ordered: {}", words.collect::<Vec<_>>().join(" "))
        }
        _ => format!("{node} computed its routes anew"),
    }
}

const fn said(purge: bool) -> &'static str {
    if purge { "purged" } else { "originated" }
}
