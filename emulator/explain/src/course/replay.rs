//! The tables of all routers together, as they were after each event, and what frames would have met there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use damc_mgmt::event::{Event, EventKind, PREFIXES_TOLD, Via};
use damc_mgmt::view::NextHopView;
use damc_mgmt::words::AdjacencyState;

use super::deeds::{Change, Deed};
use super::marks::RouteMark;
use super::trouble::Finding;
use crate::evidence::{Evidence, Witness};
use crate::frames::is_router;

/// What a replay finds.
#[derive(Default)]
pub(super) struct Replayed {
    /// What was wrong, from when until when, world's clock; none where it was not over at the end.
    pub(super) episodes: Vec<(Finding, u64, Option<u64>)>,
    /// Names of services, and where each router sent their frames from when on, world's clock.
    pub(super) routes: BTreeMap<String, Vec<RouteMark>>,
    /// Routers that do not tell where entries lead.
    pub(super) untold: Vec<String>,
    /// When the evidence ends, world's clock.
    pub(super) ended_ns: u64,
}

/// Names of which the routes are told, at most.
const NAMES: usize = 24;

/// One thing that changes the network, in the order of time.
enum Step<'e> {
    Event(&'e str, &'e EventKind),
    Deed(&'e Deed),
}

/// Plays the evidence. What was over before `from_ns` is left out.
pub(super) fn replay(e: &Evidence, deeds: &[Deed], from_ns: u64) -> Replayed {
    let mut network = Network::of(e);
    let mut steps: Vec<(u64, Step<'_>)> = deeds.iter().map(|deed| (deed.at_ns, Step::Deed(deed))).collect();
    for (node, witness) in &e.nodes {
        steps.extend(
            witness.events.iter().filter(|e| is_step(&e.kind)).map(|e| (e.at_ns, Step::Event(node.as_str(), &e.kind))),
        );
    }
    steps.sort_by_key(|(at_ns, _)| *at_ns);
    let mut watch = Watch::new(e);
    for same in steps.chunk_by(|a, b| a.0 == b.0) {
        let mut touched = Touched::default();
        for (_, step) in same {
            network.take(step, &mut touched);
        }
        watch.look(&network, &touched, same[0].0);
    }
    watch.end(network.untold(e), e.at_ns, from_ns)
}

fn is_step(kind: &EventKind) -> bool {
    use EventKind::{Adjacency, Carrier, Fib, Ready};
    matches!(kind, Ready | Adjacency { .. } | Carrier { .. } | Fib { .. })
}

/// The prefixes that a step can have changed.
#[derive(Default)]
struct Touched {
    all: bool,
    prefixes: BTreeSet<String>,
}

/// A router's table and ports.
#[derive(Clone, Debug, Default)]
struct Router {
    /// An entry that is there and not known is none.
    table: BTreeMap<String, Option<Via>>,
    /// What is not in the table is not there; else it is not known.
    complete: bool,
    /// Ports that its forwarding does not use.
    closed: BTreeSet<String>,
}

/// What a router does with a name.
enum Lookup<'t> {
    Entry(&'t Via),
    Nothing,
    Unknown,
}

impl Router {
    /// As it was before the first event that is remembered.
    fn before(node: &str, witness: &Witness) -> Self {
        let events = &witness.events;
        if events.first().is_none_or(|first| first.sequence == 0) {
            return Self::default();
        }
        let (mut table, mut truncated) = (BTreeMap::new(), false);
        let shown = witness.fib.iter().flat_map(|fib| &fib.entries);
        for entry in shown.filter(|entry| entry.label.is_none()) {
            // Of its own name a table shows the node itself.
            let names =
                |hops: &[NextHopView]| hops.iter().map(|hop| hop.port.clone()).filter(|port| port != node).collect();
            let via = Via { to: names(&entry.next_hops), backup: names(&entry.backups), exact: entry.exact };
            table.insert(entry.prefix.clone(), Some(via));
        }
        for event in events {
            if let EventKind::Fib { set, gone, .. } = &event.kind {
                truncated |= set.len() == PREFIXES_TOLD || gone.len() == PREFIXES_TOLD;
                for prefix in set.iter().chain(gone) {
                    table.insert(prefix.clone(), None);
                }
            }
        }
        let table = if truncated { BTreeMap::new() } else { table };
        Self { table, complete: !truncated, closed: closed_before(witness) }
    }

    fn find(&self, name: &str) -> Lookup<'_> {
        let mut at = name;
        while !at.is_empty() {
            match self.table.get(at) {
                Some(Some(via)) if at == name || !via.exact => return Lookup::Entry(via),
                Some(None) => return Lookup::Unknown,
                None if !self.complete => return Lookup::Unknown,
                _ => {}
            }
            at = at.rsplit_once('/').map_or("", |(above, _)| above);
        }
        Lookup::Nothing
    }

    /// The ports that frames take: none where there is no way, and none in the list where the router itself is meant.
    fn hops<'v>(&self, via: &'v Via) -> Option<Vec<&'v str>> {
        let open = |ports: &'v [String]| -> Vec<&'v str> {
            ports.iter().map(String::as_str).filter(|port| !self.closed.contains(*port)).collect()
        };
        if via.to.is_empty() {
            return Some(Vec::new());
        }
        let first = open(&via.to);
        let hops = if first.is_empty() { open(&via.backup) } else { first };
        (!hops.is_empty()).then_some(hops)
    }
}

/// Ports that were closed before the first event: those whose first event opens them, and those without events that are
/// closed at the end.
fn closed_before(witness: &Witness) -> BTreeSet<String> {
    let mut first: BTreeMap<&str, bool> = BTreeMap::new();
    for event in &witness.events {
        match &event.kind {
            EventKind::Adjacency { port, state, .. } => {
                first.entry(port).or_insert(*state != AdjacencyState::Full);
            }
            EventKind::Carrier { port, up } => {
                first.entry(port).or_insert(!up);
            }
            _ => {}
        }
    }
    let rows = witness.neighbors.iter().flat_map(|view| &view.neighbors);
    for row in rows {
        first.entry(&row.port).or_insert(row.state == AdjacencyState::Full);
    }
    first.into_iter().filter(|(_, open)| !open).map(|(port, _)| port.to_owned()).collect()
}

/// All routers, and what deeds left of links and nodes.
struct Network<'e> {
    routers: BTreeMap<&'e str, Router>,
    broken: BTreeSet<(String, String)>,
    dead: BTreeSet<String>,
}

impl<'e> Network<'e> {
    fn of(e: &'e Evidence) -> Self {
        let routers = e.nodes.iter().filter(|(_, witness)| is_router(&witness.kind));
        let routers = routers.map(|(node, witness)| (node.as_str(), Router::before(node, witness))).collect();
        Self { routers, broken: BTreeSet::new(), dead: BTreeSet::new() }
    }

    /// Routers with entries of which no event ever said where they lead.
    fn untold(&self, e: &Evidence) -> Vec<String> {
        let tells = |event: &Event| matches!(&event.kind, EventKind::Fib { via, .. } if !via.is_empty());
        let silent = |node: &&&str| !e.nodes[**node].events.iter().any(tells);
        self.routers.keys().filter(silent).map(ToString::to_string).collect()
    }

    fn take(&mut self, step: &Step<'_>, touched: &mut Touched) {
        match step {
            Step::Deed(deed) => {
                match (deed.is_of_node(), deed.change == Change::Back) {
                    (true, true) => {
                        self.dead.remove(&deed.ends.0);
                    }
                    (true, false) => {
                        self.dead.insert(deed.ends.0.clone());
                    }
                    (false, true) => {
                        self.broken.remove(&deed.ends);
                    }
                    (false, false) => {
                        self.broken.insert(deed.ends.clone());
                    }
                }
                touched.all = true;
            }
            Step::Event(node, kind) => {
                if matches!(kind, EventKind::Ready) {
                    self.dead.remove(*node);
                }
                if let Some(router) = self.routers.get_mut(*node) {
                    router.take(kind, touched);
                }
            }
        }
    }

    fn is_broken(&self, a: &str, b: &str) -> bool {
        !self.broken.is_empty()
            && (self.broken.contains(&(a.into(), b.into())) || self.broken.contains(&(b.into(), a.into())))
    }

    /// Where a router sends frames to a name: none where it sends them nowhere, or where that is not known.
    fn sends(&self, node: &str, name: &str) -> Option<Vec<&str>> {
        let router = self.routers.get(node).filter(|_| !self.dead.contains(node))?;
        match router.find(name) {
            Lookup::Entry(via) => router.hops(via),
            Lookup::Nothing | Lookup::Unknown => None,
        }
    }

    /// What is wrong with a name now.
    fn findings(&self, name: &str) -> Vec<Finding> {
        let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let (mut served, mut holes) = (false, Vec::new());
        for (&node, router) in &self.routers {
            if self.dead.contains(node) {
                continue;
            }
            let Lookup::Entry(via) = router.find(name) else { continue };
            let Some(hops) = router.hops(via) else {
                holes.push(Finding::hole(name, &[node], format!("{node} has an entry and no port that is up")));
                continue;
            };
            served |= hops.is_empty();
            for hop in hops {
                match self.routers.get(hop) {
                    // A pod, an SPA or an SCSC: what it does with the frame is not routing.
                    None => served |= !self.dead.contains(hop) && !self.is_broken(node, hop),
                    Some(_) if self.dead.contains(hop) => {
                        holes.push(Finding::hole(
                            name,
                            &[node, hop],
                            format!("{node} sends to {hop}, which does not run"),
                        ));
                    }
                    Some(_) if self.is_broken(node, hop) => {
                        holes.push(Finding::hole(
                            name,
                            &[node, hop],
                            format!("{node} sends into the broken link to {hop}"),
                        ));
                    }
                    Some(next) => {
                        edges.entry(node).or_default().push(hop);
                        if matches!(next.find(name), Lookup::Nothing) {
                            holes.push(Finding::hole(
                                name,
                                &[node, hop],
                                format!("{node} sends to {hop}, which has no entry"),
                            ));
                        }
                    }
                }
            }
        }
        // Where nobody serves a name any more, frames to it have nowhere to go, whatever tables say.
        holes.retain(|_| served);
        holes.extend(cycles(&edges).into_iter().map(|cycle| Finding::cycle(name, &cycle)));
        holes
    }
}

impl Router {
    fn take(&mut self, kind: &EventKind, touched: &mut Touched) {
        match kind {
            EventKind::Ready => {
                *self = Self { complete: true, ..Self::default() };
                touched.all = true;
            }
            EventKind::Adjacency { port, state, .. } => {
                touched.all |= self.port(port, *state == AdjacencyState::Full);
            }
            EventKind::Carrier { port, up: false } => touched.all |= self.port(port, false),
            EventKind::Fib { set, via, gone, .. } => {
                if set.len() == PREFIXES_TOLD || gone.len() == PREFIXES_TOLD {
                    (self.complete, touched.all) = (false, true);
                    self.table.clear();
                }
                for (at, prefix) in set.iter().enumerate() {
                    let via = via.get(at).filter(|_| via.len() == set.len()).cloned();
                    self.table.insert(prefix.clone(), via);
                }
                for prefix in gone {
                    self.table.remove(prefix);
                }
                touched.prefixes.extend(set.iter().chain(gone).cloned());
            }
            _ => {}
        }
    }

    /// Opens or closes a port; whether that is new.
    fn port(&mut self, port: &str, open: bool) -> bool {
        if open { self.closed.remove(port) } else { self.closed.insert(port.to_owned()) }
    }
}

/// The cycles of a graph: each once, from its first node on.
fn cycles<'g>(edges: &BTreeMap<&'g str, Vec<&'g str>>) -> BTreeSet<Vec<&'g str>> {
    let mut found = BTreeSet::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for &start in edges.keys() {
        // The way from the start, each node with the place of the edge to take next.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((node, next)) = way.last_mut() {
            let (node, hop) = (*node, edges.get(*node).and_then(|hops| hops.get(*next)).copied());
            *next += 1;
            match hop {
                None => {
                    done.insert(node);
                    way.pop();
                }
                Some(hop) => match way.iter().position(|(at, _)| *at == hop) {
                    Some(from) => {
                        let mut cycle: Vec<&str> = way[from..].iter().map(|(at, _)| *at).collect();
                        let least = cycle.iter().enumerate().min_by_key(|(_, at)| **at).map_or(0, |(index, _)| index);
                        cycle.rotate_left(least);
                        found.insert(cycle);
                    }
                    None if !done.contains(hop) => way.push((hop, 0)),
                    None => {}
                },
            }
        }
    }
    found
}

/// What is wrong at the moment, and what was.
struct Watch {
    open: BTreeMap<Finding, u64>,
    known: BTreeSet<String>,
    /// Where each router sends the frames of each service, by name and router.
    last: BTreeMap<(String, String), Option<Vec<String>>>,
    replayed: Replayed,
}

impl Watch {
    fn new(e: &Evidence) -> Self {
        let services: BTreeSet<&String> = e.nodes.values().flat_map(|witness| &witness.services).collect();
        let routes = services.into_iter().take(NAMES).map(|name| (name.clone(), Vec::new())).collect();
        let replayed = Replayed { routes, ..Replayed::default() };
        Self { open: BTreeMap::new(), known: BTreeSet::new(), last: BTreeMap::new(), replayed }
    }

    fn look(&mut self, network: &Network<'_>, touched: &Touched, at_ns: u64) {
        let concerned: BTreeSet<String> = if touched.all {
            let all = network.routers.values().flat_map(|router| router.table.keys());
            all.cloned().chain(self.open.keys().map(|finding| finding.prefix.clone())).collect()
        } else {
            // A prefix above a name decides where the name has no entry of its own.
            let below = touched.prefixes.iter().flat_map(|p| {
                self.known
                    .range::<str, _>((Bound::Included(p.as_str()), Bound::Unbounded))
                    .take_while(move |name| name.starts_with(p.as_str()))
            });
            below.chain(&touched.prefixes).cloned().collect()
        };
        for name in &concerned {
            let found = network.findings(name);
            let over: Vec<Finding> =
                self.open.keys().filter(|open| open.prefix == *name && !found.contains(open)).cloned().collect();
            for finding in over {
                if let Some(began_ns) = self.open.remove(&finding) {
                    self.replayed.episodes.push((finding, began_ns, Some(at_ns)));
                }
            }
            for finding in found {
                self.open.entry(finding).or_insert(at_ns);
            }
        }
        self.known.extend(concerned);
        self.note_routes(network, touched, at_ns);
    }

    /// Notes where routers send frames to services, where that is not as it was.
    fn note_routes(&mut self, network: &Network<'_>, touched: &Touched, at_ns: u64) {
        for (name, changes) in &mut self.replayed.routes {
            if !touched.all && !touched.prefixes.iter().any(|p| name.starts_with(p.as_str())) {
                continue;
            }
            for node in network.routers.keys() {
                let hops = network.sends(node, name).map(|hops| hops.into_iter().map(str::to_owned).collect());
                let last = self.last.entry((name.clone(), (*node).to_owned())).or_default();
                if *last != hops {
                    last.clone_from(&hops);
                    changes.push(RouteMark { at_ns, node: (*node).to_owned(), to: hops });
                }
            }
        }
    }

    fn end(self, untold: Vec<String>, ended_ns: u64, from_ns: u64) -> Replayed {
        let Replayed { mut episodes, routes, .. } = self.replayed;
        episodes.extend(self.open.into_iter().map(|(finding, began_ns)| (finding, began_ns, None)));
        episodes.retain(|(_, began_ns, ended)| ended.is_none_or(|ended| ended > from_ns && ended > *began_ns));
        Replayed { episodes, routes, untold, ended_ns }
    }
}
