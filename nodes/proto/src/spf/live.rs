//! The graph of the domain as it changes: the links that each node claims, and which of them both ends claim.
//!
//! An LSA does not cause the graph to be rebuilt. It replaces the claims of one node, and the changes of edges are
//! recorded for the [`super::Tree`] on the graph.

use std::collections::BTreeMap;

use damc_wire::NodeId;

use super::NodeLinks;

/// An edge as its sending end claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    to: u32,
    cost: u32,
    /// Cost that the far end claims for the reverse direction; 0 while it claims none (two-way check). Costs are at
    /// least 1.
    back: u32,
}

#[derive(Clone, Debug)]
struct Vertex {
    name: NodeId,
    /// Paths may pass through it (neither stub nor overloaded).
    transit: bool,
    /// It has an LSA; other nodes are only named as neighbours.
    present: bool,
    /// Sorted by far end.
    claims: Vec<Claim>,
}

/// One direction of a link that changed since the trees were last updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Sending end.
    pub from: u32,
    /// Far end.
    pub to: u32,
    /// Cost before, if both ends claimed it.
    pub before: Option<u32>,
}

/// Directed graph of the links that both ends claim. A node keeps its index until [`Self::compact`].
#[derive(Clone, Debug, Default)]
pub struct LiveGraph {
    vertices: Vec<Vertex>,
    by_name: BTreeMap<NodeId, u32>,
    changes: Vec<Change>,
    present: usize,
}

/// From this many nodes without LSA on, it is worth looking for some that no node names any more.
const SPARE_NAMES: usize = 1024;

impl LiveGraph {
    // ===== changes =====

    /// Replaces the claims of a node; `None` if it has no LSA any more.
    pub fn set(&mut self, node: &NodeId, links: Option<NodeLinks>) {
        if links.is_none() && !self.by_name.contains_key(node) {
            return;
        }
        let from = self.intern(node);
        let present = links.is_some();
        let NodeLinks { transit, links } = links.unwrap_or_default();
        let mut claims: Vec<Claim> = Vec::with_capacity(links.len());
        for (to, cost) in &links {
            let to = self.intern(to);
            if to != from {
                claims.push(Claim { to, cost: (*cost).max(1), back: 0 });
            }
        }
        claims.sort_unstable_by_key(|c| (c.to, c.cost));
        claims.dedup_by_key(|c| c.to);
        let vertex = &mut self.vertices[from as usize];
        self.present = self.present + usize::from(present) - usize::from(vertex.present);
        vertex.present = present;
        let was_transit = std::mem::replace(&mut vertex.transit, transit);
        let old = std::mem::take(&mut vertex.claims);
        for claim in &mut claims {
            let known = old.binary_search_by_key(&claim.to, |c| c.to).ok().map(|i| old[i]);
            claim.back = self.confirm(claim.to, from, claim.cost).unwrap_or(0);
            let before = known.filter(|k| k.back != 0).map(|k| k.cost);
            let after = (claim.back != 0).then_some(claim.cost);
            self.note(from, claim.to, before, after, was_transit != transit);
            // The reverse direction counts only while we claim the link. If we did not claim it before, it counts from
            // now on.
            if known.is_none() && claim.back != 0 {
                self.changes.push(Change { from: claim.to, to: from, before: None });
            }
        }
        for gone in old.iter().filter(|o| claims.binary_search_by_key(&o.to, |c| c.to).is_err()) {
            if gone.back != 0 {
                self.confirm(gone.to, from, 0);
                self.changes.push(Change { from, to: gone.to, before: Some(gone.cost) });
                self.changes.push(Change { from: gone.to, to: from, before: Some(gone.back) });
            }
        }
        self.vertices[from as usize].claims = claims;
    }

    /// Records at `at` the cost that `from` claims (0: none any more); returns the cost of the reverse direction, if
    /// claimed.
    fn confirm(&mut self, at: u32, from: u32, cost: u32) -> Option<u32> {
        let claims = &mut self.vertices[at as usize].claims;
        let i = claims.binary_search_by_key(&from, |c| c.to).ok()?;
        claims[i].back = cost;
        Some(claims[i].cost)
    }

    fn note(&mut self, from: u32, to: u32, before: Option<u32>, after: Option<u32>, transit_changed: bool) {
        if before != after || (transit_changed && after.is_some()) {
            self.changes.push(Change { from, to, before });
        }
    }

    fn intern(&mut self, node: &NodeId) -> u32 {
        if let Some(index) = self.by_name.get(node) {
            return *index;
        }
        let index = u32::try_from(self.vertices.len()).unwrap_or(u32::MAX);
        self.vertices.push(Vertex { name: node.clone(), transit: false, present: false, claims: Vec::new() });
        self.by_name.insert(node.clone(), index);
        index
    }

    /// Directed edges that changed since [`Self::forget_changes`]. An edge may occur several times.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Forgets the changes: all trees on the graph are up to date.
    pub fn forget_changes(&mut self) {
        self.changes.clear();
    }

    /// Forgets nodes that no node names any more, if there are many. Returns whether it did: then indices are new, and
    /// trees must be recomputed.
    pub fn compact(&mut self) -> bool {
        if self.vertices.len() <= 2 * self.present + SPARE_NAMES {
            return false;
        }
        let old = std::mem::take(self);
        let names: Vec<NodeId> = old.vertices.iter().map(|v| v.name.clone()).collect();
        let mut kept = false;
        for vertex in old.vertices.into_iter().filter(|v| v.present) {
            let links = vertex.claims.iter().map(|c| (names[c.to as usize].clone(), c.cost)).collect();
            self.set(&vertex.name, Some(NodeLinks { transit: vertex.transit, links }));
            kept = true;
        }
        self.changes.clear();
        kept || !names.is_empty()
    }

    // ===== questions =====

    /// Number of indices in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether no node is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// Identity of the node with an index of this graph.
    #[must_use]
    pub fn name(&self, index: u32) -> &NodeId {
        &self.vertices[index as usize].name
    }

    /// Index of a node.
    #[must_use]
    pub fn index(&self, node: &NodeId) -> Option<u32> {
        self.by_name.get(node).copied()
    }

    /// Whether paths may pass through a node.
    #[must_use]
    pub fn transit(&self, node: u32) -> bool {
        self.vertices[node as usize].transit
    }

    /// Cost of an edge that both ends claim.
    #[must_use]
    pub fn cost(&self, from: u32, to: u32) -> Option<u32> {
        let claims = &self.vertices[from as usize].claims;
        let i = claims.binary_search_by_key(&to, |c| c.to).ok()?;
        (claims[i].back != 0).then_some(claims[i].cost)
    }

    /// Far ends of the edges out of a node, with their costs.
    pub fn edges_from(&self, node: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.vertices[node as usize].claims.iter().filter(|c| c.back != 0).map(|c| (c.to, c.cost))
    }

    /// Near ends of the edges into a node, with their costs. By the two-way check, they are the far ends of its own
    /// edges.
    pub fn edges_into(&self, node: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.vertices[node as usize].claims.iter().filter(|c| c.back != 0).map(|c| (c.to, c.back))
    }
}
