//! The graph of the domain and shortest paths on it (REQUIREMENTS RIB-02).
//!
//! Nodes are dense indices, so that a computation touches only flat arrays. [`Graph`] is a snapshot of a database.
//! [`LiveGraph`] follows the database, and a [`Tree`] follows the graph.

mod live;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;

use damc_wire::NodeId;
use damc_wire::lsa::{LsaContent, LsaId, LsaKey};

pub use self::live::{Change, LiveGraph};
pub use self::tree::{Tree, Update};

use crate::lsdb::Lsdb;

/// Directed graph of the links that both ends advertise. Nodes are indexed densely in order of their identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<NodeId>,
    /// `edges[first[n]..first[n + 1]]` leave node `n`, sorted by far end.
    first: Vec<u32>,
    edges: Vec<Edge>,
    transit: Vec<bool>,
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Index of the far end.
    pub to: u32,
    /// Cost.
    pub cost: u32,
}

/// Links of a node, as it advertises them in all its fragments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLinks {
    /// Paths may pass through it (neither stub nor overloaded).
    pub transit: bool,
    /// Neighbour and cost, in any order.
    pub links: Vec<(NodeId, u32)>,
}

impl Graph {
    /// The two-way-checked graph of a database.
    #[must_use]
    pub fn from_lsdb(lsdb: &Lsdb) -> Self {
        Self::new(&lsdb.origins().filter_map(|node| Some((node, NodeLinks::of(lsdb, node)?))).collect())
    }

    /// Keeps the links that both ends claim (two-way check); costs are those of the sending end.
    #[must_use]
    pub fn new(claims: &BTreeMap<&NodeId, NodeLinks>) -> Self {
        let nodes: Vec<NodeId> = claims.keys().map(|n| (*n).clone()).collect();
        let index = |node: &NodeId| nodes.binary_search(node).ok().and_then(|i| u32::try_from(i).ok());
        let claimed: Vec<Vec<Edge>> = claims
            .values()
            .map(|c| {
                let edge = |(to, cost): &(NodeId, u32)| index(to).map(|to| Edge { to, cost: *cost });
                let mut edges: Vec<Edge> = c.links.iter().filter_map(edge).collect();
                edges.sort_unstable();
                edges.dedup_by_key(|e| e.to);
                edges
            })
            .collect();
        let mut graph = Self { nodes, transit: claims.values().map(|c| c.transit).collect(), ..Self::default() };
        graph.first.push(0);
        for (from, edges) in (0u32..).zip(&claimed) {
            let confirmed =
                |e: &&Edge| e.to != from && claimed[e.to as usize].binary_search_by_key(&from, |back| back.to).is_ok();
            graph.edges.extend(edges.iter().filter(confirmed));
            graph.first.push(u32::try_from(graph.edges.len()).unwrap_or(u32::MAX));
        }
        graph
    }

    /// Identities by index.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Index of a node.
    #[must_use]
    pub fn index(&self, node: &NodeId) -> Option<u32> {
        self.nodes.binary_search(node).ok().and_then(|i| u32::try_from(i).ok())
    }

    /// Edges out of a node, sorted by far end.
    #[must_use]
    pub fn edges(&self, node: u32) -> &[Edge] {
        let n = node as usize;
        match (self.first.get(n), self.first.get(n + 1)) {
            (Some(&from), Some(&to)) => &self.edges[from as usize..to as usize],
            _ => &[],
        }
    }

    /// Whether paths may pass through the node (neither stub nor overloaded).
    #[must_use]
    pub fn transit(&self, node: u32) -> bool {
        self.transit.get(node as usize).copied().unwrap_or(false)
    }
}

impl NodeLinks {
    /// What the fragments of one node say together; none where it has no fragment 0. Flags are those of fragment 0.
    #[must_use]
    pub fn of(lsdb: &Lsdb, node: &NodeId) -> Option<Self> {
        let mut known = Self::of_fragment(lsdb, node, 0)?;
        let links = lsdb.topology_of(node).flat_map(|(_, lsa)| &lsa.links);
        known.links = links.map(|l| (l.neighbour.clone(), l.cost)).collect();
        Some(known)
    }

    /// What one fragment says.
    #[must_use]
    pub fn of_fragment(lsdb: &Lsdb, node: &NodeId, fragment: u16) -> Option<Self> {
        match &lsdb.get(&LsaKey { origin: node.clone(), id: LsaId::Topology(fragment) })?.content {
            LsaContent::Topology(lsa) => Some(Self {
                transit: !(lsa.overload || lsa.stub),
                links: lsa.links.iter().map(|l| (l.neighbour.clone(), l.cost)).collect(),
            }),
            _ => None,
        }
    }
}
