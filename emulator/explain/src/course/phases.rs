//! How long a change took to reach the tables, and with what.

use std::collections::BTreeMap;

use damc_mgmt::event::{Event, EventKind};
use serde::{Deserialize, Serialize};

use super::Clock;
use super::deeds::Deed;
use super::root::{Root, Roots, is_topological, prefix_of};
use crate::evidence::Evidence;
use crate::frames::is_router;

/// Something that changed tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it began, ns since the lab was ready.
    pub at_ns: u64,
    /// Where; of a link one end.
    pub node: String,
    /// What it was.
    pub what: String,
    /// The prefixes that it changed, the slowest first.
    pub prefixes: Vec<PrefixChange>,
}

/// A prefix that a change reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixChange {
    /// The prefix.
    pub prefix: String,
    /// Routers that changed their entry.
    pub routers: usize,
    /// The last of them; the time it took is split below.
    pub last: String,
    /// Where its time went.
    pub split: Split,
}

/// The time from a change to the last table, in parts that add up to it, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Until a node noticed.
    pub detect_ns: u64,
    /// From there until it originated the LSA that says so; authentication of an announcement included.
    pub originate_ns: u64,
    /// From there until the last router had that LSA.
    pub flood_ns: u64,
    /// From there until it had computed its routes, its SPF hold-down included.
    pub compute_ns: u64,
    /// From there until its forwarding table had the entry.
    pub install_ns: u64,
}

impl Split {
    /// All of it, ns.
    #[must_use]
    pub const fn total_ns(&self) -> u64 {
        self.detect_ns + self.originate_ns + self.flood_ns + self.compute_ns + self.install_ns
    }

    /// The parts with their names, in order.
    #[must_use]
    pub const fn parts(&self) -> [(&'static str, u64); 5] {
        [
            ("detect", self.detect_ns),
            ("originate", self.originate_ns),
            ("flood", self.flood_ns),
            ("compute", self.compute_ns),
            ("install", self.install_ns),
        ]
    }
}

/// An entry that reached one table.
struct Installed {
    at_ns: u64,
    node: String,
    split: Split,
}

/// The changes whose first sign came after `from_ns`.
pub(super) fn changes(e: &Evidence, deeds: &[Deed], from_ns: u64, clock: Clock) -> Vec<Change> {
    let finder = Finder::new(e, deeds);
    let mut found: BTreeMap<Root, BTreeMap<&str, Vec<Installed>>> = BTreeMap::new();
    for (node, witness) in e.nodes.iter().filter(|(_, witness)| is_router(&witness.kind)) {
        for (at, event) in witness.events.iter().enumerate() {
            let EventKind::Fib { set, gone, .. } = &event.kind else { continue };
            for prefix in set.iter().chain(gone) {
                let Some((root, split)) = finder.split(node, &witness.events, at, prefix) else { continue };
                if root.at_ns >= from_ns {
                    let installed = Installed { at_ns: event.at_ns, node: node.clone(), split };
                    found.entry(root).or_default().entry(prefix).or_default().push(installed);
                }
            }
        }
    }
    let change = |(root, prefixes): (Root, BTreeMap<&str, Vec<Installed>>)| {
        let mut prefixes: Vec<PrefixChange> = prefixes.into_iter().filter_map(prefix_change).collect();
        prefixes.sort_by(|a, b| (b.split.total_ns(), &a.prefix).cmp(&(a.split.total_ns(), &b.prefix)));
        Change { at_ns: clock.of(root.at_ns), node: root.node, what: root.what, prefixes }
    };
    found.into_iter().map(change).collect()
}

fn prefix_change((prefix, mut installed): (&str, Vec<Installed>)) -> Option<PrefixChange> {
    installed.sort_by(|a, b| (a.at_ns, &a.node).cmp(&(b.at_ns, &b.node)));
    let last = installed.pop()?;
    let mut routers: Vec<&str> = installed.iter().map(|one| one.node.as_str()).chain([last.node.as_str()]).collect();
    routers.sort_unstable();
    routers.dedup();
    let routers = routers.len();
    Some(PrefixChange { prefix: prefix.to_owned(), routers, last: last.node, split: last.split })
}

struct Finder<'e> {
    roots: Roots<'e>,
    /// Where each LSA was originated: by node, name and sequence the place among the node's events.
    originated: BTreeMap<(&'e str, &'e str, u64), usize>,
}

impl<'e> Finder<'e> {
    fn new(e: &'e Evidence, deeds: &'e [Deed]) -> Self {
        let mut originated = BTreeMap::new();
        for (node, witness) in &e.nodes {
            for (at, event) in witness.events.iter().enumerate() {
                if let EventKind::LsaOriginated { id, sequence, .. } = &event.kind {
                    originated.insert((node.as_str(), id.as_str(), *sequence), at);
                }
            }
        }
        Self { roots: Roots { e, deeds }, originated }
    }

    /// What an entry of the table published at `fib` began with, and where the time went.
    fn split(&self, node: &str, events: &[Event], fib: usize, prefix: &str) -> Option<(Root, Split)> {
        let computed =
            events[..fib].iter().rposition(|e| matches!(e.kind, EventKind::Computed { .. } | EventKind::Fib { .. }))?;
        let EventKind::Computed { duration_ns, .. } = events[computed].kind else { return None };
        let trigger = trigger(events, (computed, fib), prefix).unwrap_or(computed);
        let (origin, originated) = self.origin(node, events, trigger);
        let detected = match originated {
            Some(at) => self.roots.detection(origin, at).unwrap_or(at),
            None => trigger,
        };
        let (near, told) = if originated.is_some() {
            (origin, self.roots.witness(origin)?)
        } else {
            (node, self.roots.witness(node)?)
        };
        let root = self.roots.root(near, detected)?;
        // Clocks of the nodes are that of the host; a root may be told a little late.
        let published = events[fib].at_ns;
        let began = root.at_ns.min(told.events[detected].at_ns).min(published);
        let at = |index: usize| told.events[index].at_ns.clamp(began, published);
        let (seen, computed_ns, installed_ns) = (at(detected), events[computed].at_ns, published);
        let said = originated.map_or(seen, at);
        // A machine tells what it heard when it is done; the work on it is not flooding.
        let heard = events[trigger].at_ns.min(computed_ns.saturating_sub(duration_ns)).max(said);
        let split = Split {
            detect_ns: seen - began,
            originate_ns: said.saturating_sub(seen),
            flood_ns: heard.saturating_sub(said.max(seen)),
            compute_ns: computed_ns.saturating_sub(heard),
            install_ns: installed_ns.saturating_sub(computed_ns.max(heard)),
        };
        Some((Root { at_ns: began, ..root }, split))
    }

    /// Who originated the LSA that an event tells of, and at which of its events; none where that is not remembered.
    fn origin<'a>(&self, node: &'a str, events: &'a [Event], trigger: usize) -> (&'a str, Option<usize>) {
        match &events[trigger].kind {
            EventKind::LsaAccepted { origin, id, sequence, .. } => {
                (origin.as_str(), self.originated.get(&(origin.as_str(), id.as_str(), *sequence)).copied())
            }
            EventKind::LsaOriginated { .. } => (node, Some(trigger)),
            _ => (node, None),
        }
    }
}

/// The event that made a router compute an entry: the newest word about the prefix itself since it computed last, else the
/// newest about the topology, unless it tells of a policy for the prefix at the same time.
fn trigger(events: &[Event], (computed, fib): (usize, usize), prefix: &str) -> Option<usize> {
    let policy = of_policy(events, fib, prefix);
    let mut topological = None;
    let mut earlier = false;
    for (at, event) in events[..computed].iter().enumerate().rev() {
        match &event.kind {
            EventKind::LsaAccepted { id, .. }
            | EventKind::LsaOriginated { id, .. }
            | EventKind::LsaExpired { id, .. } => {
                match prefix_of(id) {
                    Some(of) if of == prefix && !earlier => return Some(at),
                    // What the node says of itself follows from what it noticed.
                    None if !matches!(event.kind, EventKind::LsaOriginated { .. }) => {
                        topological.get_or_insert(at);
                    }
                    _ => {}
                }
            }
            EventKind::Computed { full, .. } => {
                if topological.is_some() || (earlier && *full) {
                    return policy.or(topological);
                }
                earlier = true;
            }
            kind if is_topological(kind) => {
                topological.get_or_insert(at);
            }
            _ => {}
        }
    }
    policy.or(topological)
}

/// The event of a policy for the prefix that a router tells with a table, be it just before or just after it.
fn of_policy(events: &[Event], fib: usize, prefix: &str) -> Option<usize> {
    const NEAR: usize = 16;
    const NEAR_NS: u64 = 1_000_000;
    let around = fib.saturating_sub(NEAR)..(fib + NEAR).min(events.len());
    let is_it = |at: &usize| {
        let event = &events[*at];
        let near = event.at_ns.abs_diff(events[fib].at_ns) <= NEAR_NS;
        near && matches!(&event.kind, EventKind::Policy { prefix: of, .. } if of == prefix)
    };
    around.filter(is_it).min_by_key(|at| at.abs_diff(fib))
}
