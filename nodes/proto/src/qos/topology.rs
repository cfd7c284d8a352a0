//! The SCSC's basis of decisions: the two-way-checked graph of its LSDB replica, and the members of each name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use damc_wire::{Name, NodeId};

use crate::lsdb::Lsdb;
use crate::spf::Graph;

/// One direction of a link, by node index.
pub type Link = (u32, u32);

/// The graph. Nodes are indexed in order of their identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    nodes: Vec<NodeId>,
    transit: Vec<bool>,
    /// Costs of the edges of each node, by far end.
    edges: Vec<BTreeMap<u32, u32>>,
}

/// Shortest distances from one node.
#[derive(Clone, Debug)]
pub struct Distances {
    from: u32,
    cost: Vec<Option<u64>>,
}

impl Distances {
    /// Cost to a node; `None` if there is no path.
    #[must_use]
    pub fn to(&self, node: u32) -> Option<u64> {
        self.cost.get(node as usize).copied().flatten()
    }
}

/// All equally short paths between two nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainPaths {
    /// Sum of costs.
    pub cost: u64,
    /// Nodes on any of them, both ends included.
    pub nodes: BTreeSet<u32>,
    /// Links on any of them.
    pub links: BTreeSet<Link>,
}

impl PlainPaths {
    /// Whether there is exactly one path.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.links.len() + 1 == self.nodes.len()
    }
}

impl Topology {
    /// Derived from the replica.
    #[must_use]
    pub fn from_lsdb(lsdb: &Lsdb) -> Self {
        let graph = Graph::from_lsdb(lsdb);
        let count = u32::try_from(graph.nodes().len()).unwrap_or(u32::MAX);
        Self {
            nodes: graph.nodes().to_vec(),
            transit: (0..count).map(|n| graph.transit(n)).collect(),
            edges: (0..count).map(|n| graph.edges(n).iter().map(|e| (e.to, e.cost)).collect()).collect(),
        }
    }

    /// A graph of two-way links with equal costs in both directions; `stubs` are never transit.
    #[cfg(test)]
    pub(super) fn from_links(links: &[(&str, &str, u32)], stubs: &[&str]) -> Self {
        let id = |s: &str| NodeId::new(s).unwrap();
        let nodes: BTreeSet<NodeId> = links.iter().flat_map(|(a, b, _)| [id(a), id(b)]).collect();
        let nodes: Vec<NodeId> = nodes.into_iter().collect();
        let mut t = Self {
            transit: nodes.iter().map(|n| !stubs.contains(&n.as_str())).collect(),
            edges: vec![BTreeMap::new(); nodes.len()],
            nodes,
        };
        for (a, b, cost) in links {
            let (a, b) = (t.index(&id(a)).unwrap(), t.index(&id(b)).unwrap());
            t.edges[a as usize].insert(b, *cost);
            t.edges[b as usize].insert(a, *cost);
        }
        t
    }

    /// Index of a node.
    #[must_use]
    pub fn index(&self, node: &NodeId) -> Option<u32> {
        self.nodes.binary_search(node).ok().and_then(|i| u32::try_from(i).ok())
    }

    /// Identity of the node with an index of this graph.
    #[must_use]
    pub fn node(&self, index: u32) -> &NodeId {
        &self.nodes[index as usize]
    }

    /// Cost of a link; `None` if it does not exist (any more).
    #[must_use]
    pub fn cost(&self, (from, to): Link) -> Option<u32> {
        self.edges.get(from as usize)?.get(&to).copied()
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = (Link, u32)> {
        let numbered = self.edges.iter().enumerate();
        numbered.flat_map(|(from, edges)| {
            edges.iter().map(move |(to, cost)| ((u32::try_from(from).unwrap_or(u32::MAX), *to), *cost))
        })
    }

    /// Dijkstra's algorithm from `from`; a weight of `None` excludes a link. No path leads through a stub or overloaded
    /// node.
    pub fn distances(&self, from: u32, weight: impl Fn(Link, u32) -> Option<u64>) -> Distances {
        let mut cost: Vec<Option<u64>> = vec![None; self.nodes.len()];
        let mut queue = BinaryHeap::new();
        if let Some(start) = cost.get_mut(from as usize) {
            *start = Some(0);
            queue.push(Reverse((0_u64, from)));
        }
        while let Some(Reverse((at, node))) = queue.pop() {
            if cost[node as usize] != Some(at) || (node != from && !self.transit[node as usize]) {
                continue;
            }
            for (&to, &link_cost) in &self.edges[node as usize] {
                let Some(w) = weight((node, to), link_cost) else { continue };
                let through = at.saturating_add(w);
                if cost[to as usize].is_none_or(|known| through < known) {
                    cost[to as usize] = Some(through);
                    queue.push(Reverse((through, to)));
                }
            }
        }
        Distances { from, cost }
    }

    /// All nodes with a path from the origin of `distances`, and its cost.
    pub fn reached<'a>(&'a self, distances: &'a Distances) -> impl Iterator<Item = (&'a NodeId, u64)> {
        self.nodes.iter().zip(&distances.cost).filter_map(|(node, cost)| Some((node, (*cost)?)))
    }

    /// Distances by configured cost.
    #[must_use]
    pub fn plain_distances(&self, from: u32) -> Distances {
        self.distances(from, |_, cost| Some(u64::from(cost)))
    }

    /// All shortest paths by configured cost.
    #[must_use]
    pub fn plain_paths(&self, distances: &Distances, to: u32) -> Option<PlainPaths> {
        let mut paths = PlainPaths { cost: distances.to(to)?, nodes: [to].into(), links: BTreeSet::new() };
        let mut open = vec![to];
        while let Some(node) = open.pop() {
            for before in self.predecessors(distances, node, &|_, cost| Some(u64::from(cost))) {
                paths.links.insert((before, node));
                if paths.nodes.insert(before) {
                    open.push(before);
                }
            }
        }
        Some(paths)
    }

    /// The path of least weight; among equal ones that with the lowest identities, compared from the far end.
    pub fn least(&self, from: u32, to: u32, weight: impl Fn(Link, u32) -> Option<u64>) -> Option<Vec<u32>> {
        let distances = self.distances(from, &weight);
        distances.to(to)?;
        let mut path = vec![to];
        let mut node = to;
        while node != from {
            node = self.predecessors(&distances, node, &weight).into_iter().find(|n| !path.contains(n))?;
            path.push(node);
        }
        path.reverse();
        Some(path)
    }

    /// Nodes before `node` on shortest paths from the origin of `distances`.
    fn predecessors(&self, distances: &Distances, node: u32, weight: &impl Fn(Link, u32) -> Option<u64>) -> Vec<u32> {
        let Some(at) = distances.to(node).filter(|_| node != distances.from) else { return Vec::new() };
        // Links are two-way checked: every node with an edge to `node` is a far end of `node`.
        let reached_by = |&before: &u32| {
            let carries = before == distances.from || self.transit[before as usize];
            let cost = self.cost((before, node)).filter(|_| carries)?;
            Some(distances.to(before)?.saturating_add(weight((before, node), cost)?))
        };
        self.edges[node as usize].keys().copied().filter(|before| reached_by(before) == Some(at)).collect()
    }

    /// Whether a path is still usable: its links exist and its inner nodes are transit.
    #[must_use]
    pub fn carries(&self, path: &[NodeId]) -> bool {
        let Some(indices) = path.iter().map(|n| self.index(n)).collect::<Option<Vec<u32>>>() else { return false };
        let inner = indices.get(1..indices.len().saturating_sub(1)).unwrap_or_default();
        inner.iter().all(|n| self.transit[*n as usize])
            && indices.windows(2).all(|pair| self.cost((pair[0], pair[1])).is_some())
    }
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its own prefix.
    pub instance: Name,
    /// The SG that advertises it.
    pub origin: NodeId,
    /// Added to the cost of reaching that SG.
    pub metric: u32,
}

/// Members of each name: one for an instance prefix, all members for a pool. Reserved names are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    services: BTreeMap<Name, Vec<Member>>,
}

impl Catalogue {
    /// Derived from the replica.
    #[must_use]
    pub fn from_lsdb(lsdb: &Lsdb) -> Self {
        let mut services: BTreeMap<Name, Vec<Member>> = BTreeMap::new();
        for entry in lsdb.prefixes().filter(|e| !e.prefix.is_reserved()) {
            services.entry(entry.prefix.clone()).or_default().push(Member {
                instance: entry.body.instance.clone().unwrap_or_else(|| entry.prefix.clone()),
                origin: entry.origin.clone(),
                metric: entry.body.metric,
            });
        }
        for members in services.values_mut() {
            members.sort();
        }
        Self { services }
    }

    /// A catalogue of (name, instance, origin).
    #[cfg(test)]
    pub(super) fn from_entries(entries: &[(&str, &str, &str)]) -> Self {
        let mut services: BTreeMap<Name, Vec<Member>> = BTreeMap::new();
        for (name, instance, origin) in entries {
            services.entry(name.parse().unwrap()).or_default().push(Member {
                instance: instance.parse().unwrap(),
                origin: NodeId::new(origin).unwrap(),
                metric: 0,
            });
        }
        Self { services }
    }

    /// Members of a service or pool; empty for an unknown name.
    #[must_use]
    pub fn members(&self, name: &Name) -> &[Member] {
        self.services.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names by which an instance is reached: its own prefix and its pools.
    pub fn names_of<'a>(&'a self, instance: &'a Name) -> impl Iterator<Item = &'a Name> {
        self.services.iter().filter(move |(_, m)| m.iter().any(|m| m.instance == *instance)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diamond() -> Topology {
        Topology::from_links(
            &[("a", "b", 1), ("a", "c", 1), ("b", "d", 1), ("c", "d", 1), ("a", "s", 1), ("s", "d", 1), ("d", "e", 5)],
            &["s"],
        )
    }

    #[test]
    fn plain_paths_hold_all_equal_paths_and_never_cross_a_stub() {
        let t = diamond();
        let at = |n: &str| t.index(&NodeId::new(n).unwrap()).unwrap();
        let paths = t.plain_paths(&t.plain_distances(at("a")), at("e")).unwrap();
        let names: Vec<&str> = paths.nodes.iter().map(|n| t.node(*n).as_str()).collect();
        assert_eq!((paths.cost, names), (7, vec!["a", "b", "c", "d", "e"]));
        assert!(!paths.is_single());
        let to_stub = t.plain_paths(&t.plain_distances(at("a")), at("s")).unwrap();
        assert!(to_stub.is_single() && to_stub.cost == 1);
        let own = t.plain_paths(&t.plain_distances(at("a")), at("a")).unwrap();
        assert!(own.is_single() && own.links.is_empty());
    }

    #[test]
    fn the_least_path_is_deterministic_and_respects_exclusions() {
        let t = diamond();
        let at = |n: &str| t.index(&NodeId::new(n).unwrap()).unwrap();
        let plain = |_: Link, c: u32| Some(u64::from(c));
        let (a, b, c, d, e) = (at("a"), at("b"), at("c"), at("d"), at("e"));
        assert_eq!(t.least(a, e, plain), Some(vec![a, b, d, e]));
        assert_eq!(t.least(a, e, |l, w| (l != (a, b)).then_some(u64::from(w))), Some(vec![a, c, d, e]));
        assert_eq!(t.least(a, e, |l, w| (l != (d, e)).then_some(u64::from(w))), None);
        let ids = |p: &[&str]| p.iter().map(|n| NodeId::new(n).unwrap()).collect::<Vec<_>>();
        assert!(t.carries(&ids(&["a", "b", "d"])));
        assert!(!t.carries(&ids(&["a", "s", "d"])), "through a stub");
        assert!(!t.carries(&ids(&["a", "d"])), "no such link");
        assert!(!t.carries(&ids(&["a", "b", "gone"])));
    }
}
