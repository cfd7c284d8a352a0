//! The graph of the domain and shortest paths on it (REQUIREMENTS RIB-02).
//!
//! Nodes are dense indices, so that a computation touches flat arrays only. Next hops of the root are a bit set over its
//! first hops, so that joining equal paths is an OR.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use damc_wire::NodeId;

use crate::lsdb::Lsdb;

/// Directed graph of the links both ends advertise, nodes indexed densely in order of their identity.
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

/// What one node says of itself, fragments joined.
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
        Self::new(&joined(lsdb))
    }

    /// The graph as `root` sees it: its own links are those in use right now, whatever its LSA still says.
    #[must_use]
    pub fn with_own_links(lsdb: &Lsdb, root: &NodeId, own: NodeLinks) -> Self {
        let mut claims = joined(lsdb);
        claims.insert(root, own);
        Self::new(&claims)
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

    /// Shortest paths from `root` to everywhere, with all equal first hops. Nodes that are not for transit end paths;
    /// the root itself may always send.
    #[must_use]
    pub fn shortest_paths(&self, root: u32) -> Paths {
        let first_hops: Vec<u32> = self.edges(root).iter().map(|e| e.to).collect();
        let stride = first_hops.len().div_ceil(64).max(1);
        let mut paths = Paths {
            root,
            stride,
            distance: vec![UNREACHABLE; self.nodes.len()],
            hops: vec![0; self.nodes.len() * stride],
            first_hops,
        };
        let mut heap = BinaryHeap::with_capacity(self.nodes.len());
        paths.distance[root as usize] = 0;
        heap.push(Reverse((0u64, root)));
        while let Some(Reverse((distance, node))) = heap.pop() {
            if distance > paths.distance[node as usize] || (node != root && !self.transit(node)) {
                continue;
            }
            for (i, edge) in self.edges(node).iter().enumerate() {
                let through = distance + u64::from(edge.cost);
                let known = paths.distance[edge.to as usize];
                if through > known {
                    continue;
                }
                if through < known {
                    paths.distance[edge.to as usize] = through;
                    paths.clear_hops(edge.to);
                    heap.push(Reverse((through, edge.to)));
                }
                // Costs are at least 1: `node` is final before anything it leads to, so its set is complete here.
                if node == root {
                    paths.add_hop(edge.to, i);
                } else {
                    paths.join_hops(edge.to, node);
                }
            }
        }
        paths
    }
}

fn joined(lsdb: &Lsdb) -> BTreeMap<&NodeId, NodeLinks> {
    let mut claims: BTreeMap<&NodeId, NodeLinks> = BTreeMap::new();
    for (origin, lsa) in lsdb.topology() {
        let transit = !(lsa.overload || lsa.stub);
        let claim = claims.entry(origin).or_insert_with(|| NodeLinks { transit: true, links: Vec::new() });
        claim.transit &= transit;
        claim.links.extend(lsa.links.iter().map(|l| (l.neighbour.clone(), l.cost)));
    }
    claims
}

/// Distance of a node that cannot be reached.
pub const UNREACHABLE: u64 = u64::MAX;

/// Shortest paths from one root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    root: u32,
    stride: usize,
    distance: Vec<u64>,
    first_hops: Vec<u32>,
    hops: Vec<u64>,
}

impl Paths {
    /// Cost of the shortest path to a node, if there is one.
    #[must_use]
    pub fn distance(&self, node: u32) -> Option<u64> {
        self.distance.get(node as usize).copied().filter(|d| *d != UNREACHABLE)
    }

    /// Neighbours of the root on shortest paths to a node, in order of their index.
    pub fn first_hops(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let start = node as usize * self.stride;
        let words = self.hops.get(start..start + self.stride).unwrap_or(&[]);
        words.iter().enumerate().flat_map(move |(w, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| self.first_hops[w * 64 + bit])
        })
    }

    /// Whether changing the cost of `from` → `to` between these two values (`None`: no such edge) leaves all distances
    /// and first hops as they are.
    #[must_use]
    fn indifferent_to(&self, from: u32, to: u32, one: Option<u32>, other: Option<u32>) -> bool {
        let Some(distance) = self.distance(from) else { return true };
        let known = self.distance.get(to as usize).copied().unwrap_or(UNREACHABLE);
        [one, other].into_iter().flatten().all(|cost| distance + u64::from(cost) > known)
    }

    /// Whether the result for `old` also holds for `new`: every changed edge lies off all shortest paths before and
    /// after (check-list 15).
    #[must_use]
    pub fn unaffected(&self, old: &Graph, new: &Graph) -> bool {
        if old.nodes != new.nodes || old.transit != new.transit || old.edges(self.root) != new.edges(self.root) {
            return false;
        }
        (0u32..).take(old.nodes.len()).all(|node| {
            let (a, b) = (old.edges(node), new.edges(node));
            if a == b || (node != self.root && !old.transit(node)) {
                return true;
            }
            let cost = |edges: &[Edge], to: u32| edges.binary_search_by_key(&to, |e| e.to).ok().map(|i| edges[i].cost);
            a.iter().chain(b).all(|e| {
                let (before, after) = (cost(a, e.to), cost(b, e.to));
                before == after || self.indifferent_to(node, e.to, before, after)
            })
        })
    }

    fn clear_hops(&mut self, node: u32) {
        let start = node as usize * self.stride;
        self.hops[start..start + self.stride].fill(0);
    }

    fn add_hop(&mut self, node: u32, hop: usize) {
        self.hops[node as usize * self.stride + hop / 64] |= 1 << (hop % 64);
    }

    fn join_hops(&mut self, node: u32, from: u32) {
        for w in 0..self.stride {
            self.hops[node as usize * self.stride + w] |= self.hops[from as usize * self.stride + w];
        }
    }
}
