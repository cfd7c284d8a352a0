//! From changes to snapshots.

use std::sync::Arc;

use damc_wire::Name;
use damc_wire::name::MAX_COMPONENTS;

use crate::admission::Gate;
use crate::fib::{Fib, Port};
use crate::group::{Group, Groups};
use crate::hash::HashKey;
use crate::route::{LabelRoute, Op, PortId, Route};

/// Makes snapshots. A snapshot shares with its predecessor all that did not change, so that it costs time and memory in
/// proportion to the changes, plus a few microseconds.
#[derive(Debug)]
pub struct FibBuilder {
    current: Fib,
    /// Number of prefixes by depth: those that match longer names, and exact ones.
    by_depth: [[usize; MAX_COMPONENTS + 1]; 2],
    groups: Groups,
}

impl FibBuilder {
    /// An empty table. `key` is to be random.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self { current: Fib::new(key), by_depth: [[0; MAX_COMPONENTS + 1]; 2], groups: Groups::default() }
    }

    /// Applies changes in order and gives the snapshot after all of them.
    pub fn apply(&mut self, ops: impl IntoIterator<Item = Op>) -> Arc<Fib> {
        for op in ops {
            match op {
                Op::Set(route) => self.set(route),
                Op::Remove { prefix, .. } => self.remove(&prefix),
                Op::SetLabel(route) => self.set_label(route),
                Op::RemoveLabel(label) => Arc::make_mut(&mut self.current.labels).retain(|l| l.label != label),
                Op::Admit { port, rule } => self.port(port).gate = Arc::new(Gate::from(rule)),
                Op::Keys { port, keys } => self.port(port).keys = keys.map(Arc::new),
                Op::PortState { port, up } => self.port(port).usable = up,
            }
        }
        self.current.version += 1;
        self.current.groups = Arc::clone(&self.groups.current);
        Arc::new(self.current.clone())
    }

    fn set(&mut self, route: Route) {
        let Route { prefix, exact, local, deliver, next_hops, backups, cost, stamp } = route;
        let hash = self.current.key.name(prefix.wire());
        let (next_hops, backups, cost) = (next_hops.into(), backups.into(), u16::try_from(cost).unwrap_or(0));
        let group = Group { exact, local, deliver, next_hops, backups, cost, stamp };
        let group = self.groups.take(group);
        let old = self.current.table.insert(hash, prefix.wire(), group);
        self.by_depth[usize::from(exact)][prefix.depth()] += 1;
        self.current.depths(exact).insert(prefix.depth());
        self.forget(&prefix, old);
    }

    fn remove(&mut self, prefix: &Name) {
        let hash = self.current.key.name(prefix.wire());
        let old = self.current.table.remove(hash, prefix.wire());
        self.forget(prefix, old);
    }

    /// Corrects the count of depths, and of the uses of its group, for an entry that left.
    fn forget(&mut self, prefix: &Name, group: Option<u32>) {
        let Some(group) = group else { return };
        let (exact, depth) = (self.groups.current[group as usize].exact, prefix.depth());
        let count = &mut self.by_depth[usize::from(exact)][depth];
        *count -= 1;
        if *count == 0 {
            self.current.depths(exact).remove(depth);
        }
        self.groups.release(group);
    }

    fn set_label(&mut self, route: LabelRoute) {
        let labels = Arc::make_mut(&mut self.current.labels);
        match labels.binary_search_by_key(&route.label, |l| l.label) {
            Ok(at) => labels[at] = route,
            Err(at) => labels.insert(at, route),
        }
    }

    fn port(&mut self, port: PortId) -> &mut Port {
        let ports = &mut self.current.ports;
        if ports.len() <= usize::from(port.0) {
            ports.resize_with(usize::from(port.0) + 1, Port::default);
        }
        &mut ports[usize::from(port.0)]
    }
}
