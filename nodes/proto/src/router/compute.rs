//! From topology to routes: whether to compute, when, and with what result.

use std::collections::BTreeSet;

use damc_forward::{NextHop, Op, Route};
use damc_mgmt::config::Timers;
use damc_mgmt::event::{EventKind, PREFIXES_TOLD, Via};
use damc_mgmt::words::Trigger;
use damc_wire::{NodeId, Timestamp};

use super::Router;
use crate::io::{Outbox, Output, PortId};
use crate::lfa::Alternates;
use crate::rib::Reach;
use crate::spf::{LiveGraph, NodeLinks, Tree, Update};
use crate::spf_delay::{Delays, SpfDelay};

/// The graph the routes stand on, and the need for new paths on it.
#[derive(Debug)]
pub(super) struct Computation {
    delay: SpfDelay,
    graph: LiveGraph,
    tree: Tree,
    /// Fragments of nodes that may say something else than the graph has of them.
    touched: BTreeSet<(NodeId, u16)>,
    /// Something changed since the last look.
    changed: bool,
    alternates: Alternates,
}

impl Computation {
    pub(super) fn new(timers: &Timers, node: &NodeId) -> Self {
        let mut graph = LiveGraph::default();
        graph.set(node, Some(NodeLinks { transit: true, links: Vec::new() }));
        let tree = Tree::new(&graph, graph.index(node).unwrap_or_default());
        Self {
            delay: SpfDelay::new(Delays::from(timers)),
            graph,
            tree,
            touched: BTreeSet::new(),
            changed: false,
            alternates: Alternates::default(),
        }
    }

    /// A topology fragment of a node came, went or changed.
    pub(super) fn topology_changed(&mut self, node: &NodeId, fragment: u16) {
        self.touched.insert((node.clone(), fragment));
        self.changed = true;
    }

    /// Links compared to follow what others say.
    pub(super) const fn links_compared(&self) -> u64 {
        self.graph.compared()
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.delay.next_timeout()
    }
}

impl Router {
    /// Brings routes up to date: shortest paths where and when needed, then only the prefixes concerned.
    pub(super) fn compute(&mut self, now: Timestamp, out: &mut Outbox) {
        let full = self.compute_paths(now);
        if full {
            self.counters.spf_runs += 1;
        }
        let partial = !full && self.rib.is_dirty();
        let Computation { graph, tree, alternates, .. } = &self.computation;
        let context = &self.context;
        let (ops, prefixes) = self.rib.recompute(|advertisers, cost, primary| {
            let primary = &context.port(primary)?.name;
            let known = advertisers.iter().filter_map(|(origin, metric)| Some((graph.index(origin)?, *metric)));
            alternates.choose(graph, tree.root(), &known.collect::<Vec<_>>(), cost, primary)
        });
        if partial {
            self.counters.partial_runs += 1;
        }
        if full || partial {
            let trigger = if full { Trigger::Topology } else { Trigger::Prefix };
            // A machine has no clock: whoever runs it knows how long this took.
            out.event(EventKind::Computed { full, duration_ns: 0, prefixes, trigger });
        }
        self.publish(ops, out);
    }

    pub(super) fn publish(&mut self, ops: Vec<Op>, out: &mut Outbox) {
        if !ops.is_empty() {
            self.fib_version += 1;
            out.event(self.told(&ops));
            out.push(Output::Fib(ops));
        }
    }

    /// Brings the shortest paths up to date where a change asks for it and the delay machine lets it. A change that
    /// touches no shortest path asks for nothing, unless others wait already.
    fn compute_paths(&mut self, now: Timestamp) -> bool {
        if std::mem::take(&mut self.computation.changed) {
            if self.computation.delay.pending() {
                self.computation.delay.event(now);
            } else {
                self.follow_topology();
                let Computation { graph, tree, delay, .. } = &mut self.computation;
                if tree.unaffected(graph, graph.changes()) {
                    self.counters.spf_spared += 1;
                    self.follow_alternates();
                    self.computation.graph.forget_changes();
                } else {
                    delay.event(now);
                }
            }
        }
        if !self.computation.delay.take_due(now) {
            return false;
        }
        self.follow_topology();
        let Computation { graph, tree, .. } = &mut self.computation;
        if graph.compact() {
            let Some(root) = graph.index(&self.context.node) else { return false };
            *tree = Tree::new(graph, root);
            self.computation.alternates.clear();
            self.set_all_reach();
            self.follow_alternates();
            return true;
        }
        let update = tree.update(graph, graph.changes());
        self.follow_alternates();
        self.computation.graph.forget_changes();
        match update {
            Update::Full => self.set_all_reach(),
            Update::Nodes(nodes) => {
                self.counters.spf_incremental += 1;
                for node in nodes {
                    let reach = self.reach(node);
                    self.rib.set_reach(self.computation.graph.name(node), reach);
                }
            }
        }
        true
    }

    /// Brings the paths of the neighbours up to date, and marks the prefixes whose alternates may be others.
    fn follow_alternates(&mut self) {
        let neighbours: Vec<(NodeId, PortId, u32)> =
            self.links().map(|(port, link)| (link.neighbour, port, link.cost)).collect();
        let Computation { graph, alternates, .. } = &mut self.computation;
        let rib = &mut self.rib;
        if alternates.set_neighbours(graph, neighbours.into_iter()) {
            rib.all_detours_changed();
        }
        alternates.follow(graph, graph.changes(), |node| match node {
            Some(node) => rib.detours_changed(graph.name(node)),
            None => rib.all_detours_changed(),
        });
    }

    /// Lets the graph have what the touched nodes say now. The node itself is believed what it uses right now, whatever its
    /// LSA still says.
    fn follow_topology(&mut self) {
        for (node, fragment) in std::mem::take(&mut self.computation.touched) {
            if node == self.context.node {
                let links = self.links().map(|(_, link)| (link.neighbour, link.cost)).collect();
                self.computation.graph.set(&node, Some(NodeLinks { transit: true, links }));
            } else {
                let said = NodeLinks::of_fragment(&self.lsdb, &node, fragment);
                self.computation.graph.set_fragment(&node, fragment, said);
            }
        }
    }

    /// Where everything was computed anew.
    fn set_all_reach(&mut self) {
        let graph = &self.computation.graph;
        let all =
            (0..u32::try_from(graph.len()).unwrap_or(u32::MAX)).filter_map(|node| Some((node, self.reach(node)?)));
        let reach = all.map(|(node, reach)| (graph.name(node).clone(), reach)).collect();
        self.rib.set_all_reach(reach);
    }

    /// The way to a node of the graph, if there is one.
    fn reach(&self, node: u32) -> Option<Reach> {
        let Computation { graph, tree, .. } = &self.computation;
        let cost = tree.distance(node)?;
        let hop = |first: u32| {
            let (port, _) = self.full.get(graph.name(first))?;
            Some(NextHop::new(*port, 1))
        };
        let mut next_hops: Vec<NextHop> = tree.first_hops(node).filter_map(hop).collect();
        next_hops.sort();
        Some(Reach { cost, next_hops })
    }

    /// The event of a new version of the table.
    fn told(&self, ops: &[Op]) -> EventKind {
        let (mut set, mut via, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for op in ops {
            match op {
                Op::Set(route) if set.len() < PREFIXES_TOLD => {
                    set.push(route.prefix.to_string());
                    via.push(self.via(route));
                }
                Op::Remove { prefix, .. } if gone.len() < PREFIXES_TOLD => gone.push(prefix.to_string()),
                _ => {}
            }
        }
        EventKind::Fib { version: self.fib_version, changed: ops.len(), set, via, gone }
    }

    /// Where a route sends frames, by the names of ports.
    fn via(&self, route: &Route) -> Via {
        let named = |hops: &[NextHop]| {
            hops.iter().filter_map(|hop| Some(self.context.port(hop.port)?.name.to_string())).collect()
        };
        Via { to: named(&route.next_hops), backup: named(&route.backups), exact: route.exact }
    }
}
