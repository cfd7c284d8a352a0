//! From changes to snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use damc_wire::Name;

use crate::admission::Gate;
use crate::fib::{Fib, LabelRoute, NextHop, Op, Port, Route};
use crate::hash::HashKey;
use crate::table::Entry;

/// Makes snapshots. A snapshot shares with its predecessor all that did not change, so that it costs time and memory in
/// proportion to the changes, plus a few microseconds.
#[derive(Debug)]
pub struct FibBuilder {
    current: Fib,
    /// Number of non-exact prefixes by depth.
    by_depth: [usize; damc_wire::name::MAX_COMPONENTS + 1],
    /// Next-hop sets in use: thousands of prefixes share a few.
    groups: BTreeMap<Vec<NextHop>, Arc<[NextHop]>>,
    /// Sets nobody uses any more are swept out when there are this many.
    sweep_at: usize,
}

/// Fewest next-hop sets worth a sweep.
const LEAST_SWEEP: usize = 64;

impl FibBuilder {
    /// An empty table. `key` is to be random.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        let by_depth = [0; damc_wire::name::MAX_COMPONENTS + 1];
        Self { current: Fib::new(key), by_depth, groups: BTreeMap::new(), sweep_at: LEAST_SWEEP }
    }

    /// Applies changes in order and gives the snapshot after all of them.
    pub fn apply(&mut self, ops: impl IntoIterator<Item = Op>) -> Arc<Fib> {
        for op in ops {
            match op {
                Op::Set(route) => self.set(route),
                Op::Remove(prefix) => self.remove(&prefix),
                Op::SetLabel(route) => self.set_label(route),
                Op::RemoveLabel(label) => Arc::make_mut(&mut self.current.labels).retain(|l| l.label != label),
                Op::Admit(port, rule) => self.port(port).gate = Arc::new(Gate::from(rule)),
                Op::PortState(port, usable) => self.port(port).usable = usable,
            }
        }
        self.current.version += 1;
        Arc::new(self.current.clone())
    }

    fn set(&mut self, route: Route) {
        let hash = self.current.key.name(route.prefix.wire());
        let next_hops = self.group(route.next_hops);
        let depth = (!route.exact).then(|| route.prefix.depth());
        let Route { prefix, exact, local, deliver, stamp, .. } = route;
        let old = self.current.table.insert(Entry { hash, prefix, exact, local, deliver, next_hops, stamp });
        if let Some(depth) = depth {
            self.by_depth[depth] += 1;
            self.current.depths.insert(depth);
        }
        self.forget(old.as_deref());
    }

    fn remove(&mut self, prefix: &Name) {
        let hash = self.current.key.name(prefix.wire());
        let old = self.current.table.remove(hash, prefix);
        self.forget(old.as_deref());
    }

    /// Corrects the count of depths for an entry that left.
    fn forget(&mut self, old: Option<&Entry>) {
        let Some(depth) = old.filter(|entry| !entry.exact).map(|entry| entry.prefix.depth()) else { return };
        self.by_depth[depth] -= 1;
        if self.by_depth[depth] == 0 {
            self.current.depths.remove(depth);
        }
    }

    fn set_label(&mut self, route: LabelRoute) {
        let labels = Arc::make_mut(&mut self.current.labels);
        match labels.binary_search_by_key(&route.label, |l| l.label) {
            Ok(at) => labels[at] = route,
            Err(at) => labels.insert(at, route),
        }
    }

    fn port(&mut self, port: u16) -> &mut Port {
        let ports = &mut self.current.ports;
        if ports.len() <= usize::from(port) {
            ports.resize_with(usize::from(port) + 1, Port::default);
        }
        &mut ports[usize::from(port)]
    }

    /// The shared copy of a next-hop set.
    fn group(&mut self, next_hops: Vec<NextHop>) -> Arc<[NextHop]> {
        if let Some(group) = self.groups.get(&next_hops) {
            return Arc::clone(group);
        }
        if self.groups.len() >= self.sweep_at {
            self.groups.retain(|_, group| Arc::strong_count(group) > 1);
            self.sweep_at = (self.groups.len() * 2).max(LEAST_SWEEP);
        }
        let group: Arc<[NextHop]> = Arc::from(next_hops.as_slice());
        self.groups.insert(next_hops, Arc::clone(&group));
        group
    }
}
