//! From topology to routes: whether to compute, when, and with what result.

use std::collections::BTreeMap;

use damc_mgmt::config::Pace;
use damc_mgmt::event::EventKind;
use damc_wire::{NodeId, Timestamp};

use super::Router;
use crate::io::{NextHop, Outbox};
use crate::rib::Reach;
use crate::spf::{Graph, NodeLinks, Paths};
use crate::spf_delay::{Delays, SpfDelay};

/// The graph the routes stand on, and the need for a new one.
#[derive(Debug)]
pub(super) struct Computation {
    delay: SpfDelay,
    graph: Graph,
    paths: Paths,
    /// Something changed since the last look.
    changed: bool,
}

impl Computation {
    pub(super) fn new(pace: &Pace, node: &NodeId) -> Self {
        let graph = Graph::new(&BTreeMap::from([(node, NodeLinks { transit: true, links: Vec::new() })]));
        let paths = graph.shortest_paths(0);
        Self { delay: SpfDelay::new(Delays::from(pace)), graph, paths, changed: false }
    }

    /// A link or node came, went or changed.
    pub(super) fn topology_changed(&mut self) {
        self.changed = true;
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
        let (ops, prefixes) = self.rib.recompute();
        if partial {
            self.counters.partial_runs += 1;
        }
        if full || partial {
            let trigger = if full { "topology" } else { "prefix" }.to_owned();
            out.event(EventKind::Computed { full, duration_ns: 0, prefixes, trigger });
        }
        self.routes_changed |= !ops.is_empty();
        self.publish(ops, out);
    }

    /// Runs Dijkstra where a change asks for it and the delay machine lets it.
    fn compute_paths(&mut self, now: Timestamp) -> bool {
        let mut graph = None;
        if std::mem::take(&mut self.computation.changed) {
            if self.computation.delay.pending() {
                self.computation.delay.event(now);
            } else {
                let new = self.current_graph();
                if self.computation.paths.unaffected(&self.computation.graph, &new) {
                    self.counters.spf_spared += 1; // The next change is compared with what was computed on, too.
                } else {
                    self.computation.delay.event(now);
                    graph = Some(new);
                }
            }
        }
        if !self.computation.delay.take_due(now) {
            return false;
        }
        let graph = graph.unwrap_or_else(|| self.current_graph());
        let Some(root) = graph.index(&self.context.node) else { return false };
        let paths = graph.shortest_paths(root);
        let reach = self.reach(&graph, &paths);
        self.rib.set_reach(reach);
        self.computation.graph = graph;
        self.computation.paths = paths;
        true
    }

    fn current_graph(&self) -> Graph {
        let links = self.links().map(|(_, link)| (link.neighbour, link.cost)).collect();
        Graph::with_own_links(&self.lsdb, &self.context.node, NodeLinks { transit: true, links })
    }

    fn reach(&self, graph: &Graph, paths: &Paths) -> BTreeMap<NodeId, Reach> {
        let mut reach = BTreeMap::new();
        for (index, node) in (0u32..).zip(graph.nodes()) {
            let Some(cost) = paths.distance(index) else { continue };
            let hop = |first: u32| {
                let node = graph.nodes().get(first as usize)?;
                let (port, _) = self.full.get(node)?;
                Some(NextHop { node: node.clone(), port: *port, weight: 1 })
            };
            reach.insert(node.clone(), Reach { cost, next_hops: paths.first_hops(index).filter_map(hop).collect() });
        }
        reach
    }
}
