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

    fn id(&self, node: u32) -> &NodeId {
        &self.nodes[node as usize]
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

fn cost_to(edges: (&Graph, &[Edge]), to: &NodeId) -> Option<u32> {
    let to = edges.0.index(to)?;
    edges.1.binary_search_by_key(&to, |e| e.to).ok().map(|i| edges.1[i].cost)
}

fn same_edges(a: (&Graph, &[Edge]), b: (&Graph, &[Edge])) -> bool {
    a.1.len() == b.1.len() && a.1.iter().zip(b.1).all(|(x, y)| x.cost == y.cost && a.0.id(x.to) == b.0.id(y.to))
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

    /// Whether the result for `old` also holds for `new`: every changed edge lies off all shortest paths before and
    /// after (check-list 15).
    #[must_use]
    pub fn unaffected(&self, old: &Graph, new: &Graph) -> bool {
        // Nodes that cannot be reached lead nowhere, whatever they say: it is enough to look at those that can.
        let same_nodes = old.nodes == new.nodes;
        (0u32..).zip(&old.nodes).filter(|(node, _)| self.distance(*node).is_some()).all(|(node, id)| {
            if same_nodes && old.edges(node) == new.edges(node) && old.transit(node) == new.transit(node) {
                return true; // Nearly all of them, nearly always.
            }
            let is_root = node == self.root;
            let (before, after) = (old.edges(node), new.index(id).map_or(&[][..], |n| new.edges(n)));
            let transit = new.index(id).is_some_and(|n| new.transit(n));
            if is_root {
                return same_edges((old, before), (new, after));
            }
            if old.transit(node) != transit {
                return before.len() <= 1 && after.len() <= 1; // A leaf is never passed through.
            }
            !transit || self.indifferent(node, (old, before), (new, after))
        })
    }

    /// Whether no edge out of `from` that differs touches a shortest path.
    fn indifferent(&self, from: u32, before: (&Graph, &[Edge]), after: (&Graph, &[Edge])) -> bool {
        let gone = before.1.iter().filter(|e| cost_to(after, before.0.id(e.to)) != Some(e.cost));
        let come = after.1.iter().filter(|e| cost_to(before, after.0.id(e.to)) != Some(e.cost));
        let gone = gone.map(|e| (Some(e.to), e.cost));
        let come = come.map(|e| (before.0.index(after.0.id(e.to)), e.cost));
        let start = self.distance(from).unwrap_or(UNREACHABLE);
        gone.chain(come).all(|(to, cost)| {
            let known = to.and_then(|to| self.distance(to)).unwrap_or(UNREACHABLE);
            start.saturating_add(u64::from(cost)) > known
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

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(links: &[(&str, &str, u32)]) -> Graph {
        let id = |s: &str| NodeId::new(s).unwrap();
        let names: std::collections::BTreeSet<NodeId> = links.iter().flat_map(|(a, b, _)| [id(a), id(b)]).collect();
        let mut claims: BTreeMap<&NodeId, NodeLinks> = names
            .iter()
            .map(|n| (n, NodeLinks { transit: !n.as_str().starts_with("sg"), links: Vec::new() }))
            .collect();
        for (a, b, cost) in links {
            claims.get_mut(&id(a)).unwrap().links.push((id(b), *cost));
        }
        Graph::new(&claims)
    }

    fn both(links: &[(&'static str, &'static str, u32)]) -> Vec<(&'static str, &'static str, u32)> {
        links.iter().flat_map(|(a, b, c)| [(*a, *b, *c), (*b, *a, *c)]).collect()
    }

    fn result(graph: &Graph, from: &str, to: &str) -> (Option<u64>, Vec<String>) {
        let index = |s: &str| graph.index(&NodeId::new(s).unwrap()).unwrap();
        let paths = graph.shortest_paths(index(from));
        let hops = paths.first_hops(index(to)).map(|h| graph.nodes()[h as usize].to_string()).collect();
        (paths.distance(index(to)), hops)
    }

    #[test]
    fn checklist_13_an_edge_counts_only_if_both_ends_claim_it() {
        let g = graph(&[("a", "b", 1), ("b", "a", 1), ("b", "c", 1), ("a", "c", 9), ("c", "a", 9)]);
        assert_eq!(result(&g, "a", "c"), (Some(9), vec!["c".into()]), "c does not confirm b");
    }

    #[test]
    fn checklist_14_all_equal_first_hops() {
        let g =
            graph(&both(&[("a", "b", 1), ("a", "c", 1), ("b", "d", 2), ("c", "d", 2), ("a", "d", 3), ("d", "e", 1)]));
        assert_eq!(result(&g, "a", "e"), (Some(4), vec!["b".into(), "c".into(), "d".into()]));
    }

    #[test]
    fn checklist_14_more_than_64_first_hops() {
        let names: Vec<&'static str> = (0..150).map(|i| &*Box::leak(format!("m{i:03}").into_boxed_str())).collect();
        let links: Vec<_> = names.iter().flat_map(|m| [("a", *m, 1), (*m, "z", 1)]).collect();
        assert_eq!(result(&graph(&both(&links)), "a", "z").1, names);
    }

    #[test]
    fn con_07_stubs_end_paths_but_may_send() {
        let g = graph(&both(&[("a", "sg1", 1), ("sg1", "b", 1), ("a", "b", 5)]));
        assert_eq!(result(&g, "a", "b"), (Some(5), vec!["b".into()]));
        assert_eq!(result(&g, "sg1", "b"), (Some(1), vec!["b".into()]));
    }

    #[test]
    fn checklist_15_changes_off_all_paths_do_not_affect() {
        let base = [("a", "b", 1), ("b", "c", 1), ("a", "c", 5), ("c", "d", 1)];
        let old = graph(&both(&base));
        let paths = old.shortest_paths(old.index(&NodeId::new("a").unwrap()).unwrap());
        let with = |change: (&'static str, &'static str, u32)| {
            let mut links = both(&base);
            links.retain(|(a, b, _)| (*a, *b) != (change.0, change.1));
            links.push(change);
            graph(&links)
        };
        assert!(paths.unaffected(&old, &old));
        assert!(paths.unaffected(&old, &with(("d", "c", 7))), "towards the root");
        assert!(!paths.unaffected(&old, &with(("b", "c", 2))), "on the path");
        assert!(!paths.unaffected(&old, &with(("b", "c", 5))), "worse than another one");
        let mut isolated = both(&base);
        isolated.push(("x", "a", 1));
        assert!(paths.unaffected(&old, &graph(&isolated)), "claimed by one end only");
        isolated.push(("a", "x", 1));
        assert!(!paths.unaffected(&old, &graph(&isolated)), "a new node");
    }

    #[test]
    fn checklist_15_unaffected_never_lies() {
        // Every single change of a small graph: where the old result is kept, a new computation must agree.
        let base =
            [("a", "b", 2), ("a", "c", 3), ("b", "c", 1), ("b", "d", 4), ("c", "d", 3), ("d", "e", 1), ("c", "sg1", 2)];
        let old = graph(&both(&base));
        let mut kept = 0;
        for root in ["a", "b", "sg1"] {
            let root_index = old.index(&NodeId::new(root).unwrap()).unwrap();
            let paths = old.shortest_paths(root_index);
            for i in 0..both(&base).len() {
                for cost in [0, 1, 2, 3, 4, 9] {
                    let mut links = both(&base);
                    if cost == 0 {
                        links.remove(i);
                    } else {
                        links[i].2 = cost;
                    }
                    let new = graph(&links);
                    if paths.unaffected(&old, &new) {
                        kept += 1;
                        assert_eq!(new.shortest_paths(root_index), paths, "{root}: {:?} to {cost}", both(&base)[i]);
                    }
                }
            }
        }
        assert!(kept > 30, "{kept}");
    }
}
