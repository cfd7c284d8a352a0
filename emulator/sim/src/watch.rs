//! A witness of every state that a network passes through: loops in the forwarding tables taken together, and calls that
//! are executed twice.
//!
//! It looks whenever a forwarding table has changed, at the routes that changed, in no time. A loop that comes into being
//! leads through the table that changed last, so it is enough to begin there.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};

use damc_forward::{Op, Route};
use damc_testbed::{Breach, ONCE, Witnessed};
use damc_wire::{DropReason, Name};

use crate::sim::Sim;
use crate::walk::Walk;

/// Flows of which each may take another of several equal ways.
const FLOWS: [u32; 4] = [1, 2, 3, 4];
/// A plain frame may come by a node twice while tables contradict each other, and then ends (`nodes/WIRE.md`, section 14,
/// step 11).
const MOST_TIMES: usize = 2;
/// A labelled one may have come by before its label ended.
const MOST_TIMES_WITH_LABEL: usize = 3;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// A number for each entry of a node's table.
    tables: Vec<BTreeMap<Key, u64>>,
    /// All numbers of all tables together.
    state: u64,
    executed: HashMap<(Name, Vec<u8>), u32>,
    /// Rules that were broken, with the node that showed it.
    told: BTreeSet<(&'static str, usize)>,
    seen: Witnessed,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Prefix(Vec<u8>),
    Label(u32),
    Port(u16),
}

impl Watch {
    pub(crate) fn of(nodes: usize) -> Self {
        Self { tables: vec![BTreeMap::new(); nodes], ..Self::default() }
    }

    pub(crate) fn seen(&self) -> Witnessed {
        self.seen.clone()
    }

    /// Takes changes of a table into the state; the destinations they concern, each with
    /// the label that frames to it carry here, 0 for none.
    fn take(&mut self, node: usize, ops: &[Op]) -> Vec<(Name, u32)> {
        let mut changed = Vec::new();
        for op in ops {
            let (key, value) = match op {
                Op::Set(route) => {
                    changed.push((route.prefix.clone(), 0));
                    changed.extend(route.stamp.map(|stamp| (route.prefix.clone(), stamp.label)));
                    (Key::Prefix(route.prefix.wire().to_vec()), Some(number(route)))
                }
                Op::Remove { prefix, .. } => (Key::Prefix(prefix.wire().to_vec()), None),
                Op::SetLabel(label) => {
                    changed.push((label.prefix.clone(), label.label));
                    (Key::Label(label.label), Some(u64::from(label.port.0) + 1))
                }
                Op::RemoveLabel(label) => (Key::Label(*label), None),
                Op::PortState { port, up } => {
                    let all = self.tables[node].keys();
                    let names = all.filter_map(|key| if let Key::Prefix(wire) = key { Some(wire) } else { None });
                    changed.extend(names.filter_map(|wire| Some((Name::from_wire(wire).ok()?, 0))));
                    (Key::Port(port.0), (!up).then_some(1))
                }
                Op::Admit { .. } | Op::Keys { .. } => continue,
            };
            self.enter(node, &key, value);
        }
        self.seen.states.insert(self.state);
        changed.sort();
        changed.dedup();
        changed
    }

    fn enter(&mut self, node: usize, key: &Key, value: Option<u64>) {
        let mark = |key: &Key, value: u64| {
            let mut hasher = DefaultHasher::new();
            node.hash(&mut hasher);
            match key {
                Key::Prefix(wire) => wire.hash(&mut hasher),
                Key::Label(label) => (1_u8, label).hash(&mut hasher),
                Key::Port(port) => (2_u8, port).hash(&mut hasher),
            }
            value.hash(&mut hasher);
            hasher.finish()
        };
        if let Some(value) = value {
            self.state ^= mark(key, value);
            if let Some(before) = self.tables[node].insert(key.clone(), value) {
                self.state ^= mark(key, before);
            }
        } else if let Some(before) = self.tables[node].remove(key) {
            self.state ^= mark(key, before);
        }
    }

    fn broken(&mut self, at_ns: u64, rule: &'static str, node: usize, saw: String) {
        if self.told.insert((rule, node)) {
            self.seen.breaches.push(Breach { at_ns, rule, saw });
        }
    }
}

/// What tells a route from others of its prefix.
fn number(route: &Route) -> u64 {
    let mut hasher = DefaultHasher::new();
    (route.exact, route.local, route.deliver, route.cost).hash(&mut hasher);
    for hop in route.next_hops.iter().chain(&route.backups) {
        (hop.port.0, hop.weight).hash(&mut hasher);
    }
    route.next_hops.len().hash(&mut hasher);
    route.stamp.map(|stamp| (stamp.label, stamp.port.0)).hash(&mut hasher);
    hasher.finish()
}

impl Sim {
    /// Changes a node's forwarding table, and looks at what comes of it where somebody watches.
    pub(crate) fn apply(&mut self, node: usize, ops: Vec<Op>) {
        let changed = self.watch.as_mut().map(|watch| watch.take(node, &ops));
        self.nodes[node].plane.apply(ops);
        let (Some(changed), Some(mut watch)) = (changed, self.watch.take()) else { return };
        for (destination, label) in changed {
            watch.seen.looks += 1;
            if let Some(saw) = self.loop_from(node, &destination, label) {
                let rule = if label == 0 { "loop" } else { "policy loop" };
                watch.broken(self.now.nanos(), rule, node, saw);
            }
        }
        self.watch = Some(watch);
    }

    /// How a frame from a node to a destination goes in circles by the tables of this moment, if one does.
    fn loop_from(&self, node: usize, destination: &Name, label: u32) -> Option<String> {
        let most = if label == 0 { MOST_TIMES } else { MOST_TIMES_WITH_LABEL };
        FLOWS.into_iter().find_map(|flow| {
            let (passed, reason) = match self.walk_name(node, destination, flow, label) {
                Walk::Arrived(passed) | Walk::Lost(passed) => (passed, None),
                Walk::Dropped(reason, mut passed) => {
                    // It came to that node and did not pass it.
                    passed.pop();
                    (passed, Some(reason))
                }
            };
            let often = |name: &String| passed.iter().filter(|other| *other == name).count() > most;
            let circles = reason == Some(DropReason::HopLimitExceeded) || passed.iter().any(often);
            circles.then(|| {
                let way: Vec<&str> = passed.iter().take(12).map(String::as_str).collect();
                format!("a frame to {destination} goes {} …", way.join(" → "))
            })
        })
    }

    /// A pod executes a call.
    pub(crate) fn executes(&mut self, node: usize, source: &Name, payload: &[u8]) {
        let marked = payload.starts_with(ONCE.as_bytes());
        let (now, Some(watch)) = (self.now.nanos(), self.watch.as_mut().filter(|_| marked)) else { return };
        let times = watch.executed.entry((source.clone(), payload.to_vec())).or_default();
        *times += 1;
        let times = *times;
        if times > 1 {
            let call = String::from_utf8_lossy(payload);
            let saw = format!("{} executes the call {call:?} of {source} for the {times}. time", self.nodes[node].id);
            watch.broken(now, "executed twice", node, saw);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use damc_forward::NextHop;

    use super::*;
    use crate::Network;
    use crate::sim::port_id;

    /// Three routers in a ring that know each other, watched.
    fn ring() -> Sim {
        let network = Network::new().sr("a").sr("b").sr("c").link("a", "b", 1).link("b", "c", 1).link("c", "a", 1);
        let mut sim = Sim::new(&network.configs(1), 1).expect("a network");
        sim.watch = Some(Watch::of(3));
        sim.start();
        sim.run_for(Duration::from_secs(2));
        sim
    }

    /// Sends frames to a made-up name from one router to another, at this cost.
    fn route(sim: &mut Sim, from: &str, to: &str, cost: u64) {
        let node = sim.index(from);
        let port = sim.nodes[node].config.ports.iter().position(|port| port.name == to).expect("a port");
        let hop = NextHop::new(port_id(port), 1);
        let route = Route { cost, ..Route::plain("/made/up".parse().expect("a name"), vec![hop]) };
        sim.apply(node, vec![Op::Set(route)]);
    }

    fn rules(sim: &Sim) -> Vec<&'static str> {
        sim.watch.as_ref().expect("a watch").seen.breaches.iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn a_loop_is_seen_when_the_table_that_closes_it_changes() {
        let mut sim = ring();
        let before = sim.watch.as_ref().expect("a watch").seen.states.len();
        assert!(before > 3, "{before} states while three routers get to know each other");
        route(&mut sim, "a", "b", 0);
        route(&mut sim, "b", "c", 0);
        assert_eq!(rules(&sim), Vec::<&str>::new());
        route(&mut sim, "c", "a", 0);
        assert_eq!(rules(&sim), ["loop"]);
        assert_eq!(sim.watch.as_ref().expect("a watch").seen.states.len(), before + 3);
    }

    #[test]
    fn tables_that_contradict_each_other_are_no_loop_where_frames_say_how_far_they_have_to_go() {
        let mut sim = ring();
        for (from, to, cost) in [("a", "b", 3), ("b", "c", 2), ("c", "a", 1)] {
            route(&mut sim, from, to, cost);
        }
        assert_eq!(rules(&sim), Vec::<&str>::new());
    }

    #[test]
    fn a_state_that_comes_again_counts_once() {
        let mut sim = ring();
        route(&mut sim, "a", "b", 1);
        let states = |sim: &Sim| sim.watch.as_ref().expect("a watch").seen.states.len();
        let before = states(&sim);
        route(&mut sim, "a", "c", 1);
        route(&mut sim, "a", "b", 1);
        assert_eq!(states(&sim), before + 1);
    }

    #[test]
    fn a_call_that_is_executed_again_is_seen_and_others_are_not() {
        let mut sim = ring();
        let [one, other]: [Name; 2] = ["/a/1", "/a/2"].map(|name| name.parse().expect("a name"));
        sim.executes(0, &one, b"once-0-1-x");
        sim.executes(1, &other, b"once-0-1-x");
        sim.executes(0, &one, b"once-0-2-x");
        sim.executes(0, &one, b"unmarked");
        sim.executes(0, &one, b"unmarked");
        assert_eq!(rules(&sim), Vec::<&str>::new());
        sim.executes(2, &one, b"once-0-1-x");
        assert_eq!(rules(&sim), ["executed twice"]);
    }
}
