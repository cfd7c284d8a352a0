//! The graph of the domain as it changes: the links that each node claims, and which of them both ends claim.
//!
//! Nothing is built anew when an LSA comes: what one fragment of one node said is compared with what it says now, and what that does to edges is written down for
//! the [`super::Tree`] that stands on the graph.

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
    /// Has a fragment 0; others are only spoken of, or have said nothing that counts.
    present: bool,
    /// What its fragments say, by far end and fragment: costs.
    said: BTreeMap<(u32, u16), u32>,
    /// Far ends in each fragment.
    fragments: BTreeMap<u16, Vec<u32>>,
    /// What counts of it: the lowest cost to each far end, sorted by that.
    claims: Vec<Claim>,
}

impl Vertex {
    /// What is claimed of a link: the lowest cost that a fragment says.
    fn said_of(&self, to: u32) -> Option<u32> {
        self.said.range((to, 0)..=(to, u16::MAX)).map(|(_, cost)| *cost).min().filter(|_| self.present)
    }
}

/// One direction of a link that is not what it was when a tree was last brought up to date.
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
    compared: u64,
}

/// From this many nodes without LSA on, it is worth looking for some that no node names any more.
const SPARE_NAMES: usize = 1024;

impl LiveGraph {
    // ===== changes =====

    /// What a node says now, all in one fragment; none where it says nothing any more.
    pub fn set(&mut self, node: &NodeId, links: Option<NodeLinks>) {
        self.set_fragment(node, 0, links);
    }

    /// What a fragment of a node says now; none where it is not there any more. Flags of other fragments than 0 do not
    /// count, and nothing does without fragment 0. The work is that of the links in this fragment, before and after; of
    /// all links where fragment 0 comes or goes, or its flags change.
    pub fn set_fragment(&mut self, node: &NodeId, fragment: u16, links: Option<NodeLinks>) {
        if links.is_none() && !self.by_name.contains_key(node) {
            return;
        }
        let from = self.intern(node);
        let flags = links.as_ref().map(|links| links.transit);
        let mut said: Vec<(u32, u32)> = Vec::new();
        for (to, cost) in links.into_iter().flat_map(|links| links.links) {
            said.push((self.intern(&to), cost.max(1)));
        }
        said.retain(|(to, _)| *to != from);
        said.sort_unstable();
        said.dedup_by_key(|(to, _)| *to);
        let vertex = &mut self.vertices[from as usize];
        let mut concerned = vertex.fragments.remove(&fragment).unwrap_or_default();
        for to in &concerned {
            vertex.said.remove(&(*to, fragment));
        }
        if flags.is_some() {
            vertex.said.extend(said.iter().map(|(to, cost)| ((*to, fragment), *cost)));
            vertex.fragments.insert(fragment, said.iter().map(|(to, _)| *to).collect());
        }
        concerned.extend(said.iter().map(|(to, _)| *to));
        if fragment == 0 {
            let before = (vertex.present, vertex.transit);
            (vertex.present, vertex.transit) = (flags.is_some(), flags.unwrap_or(false));
            self.present = self.present + usize::from(vertex.present) - usize::from(before.0);
            if before != (vertex.present, vertex.transit) {
                concerned.extend(vertex.said.keys().map(|(to, _)| *to));
            }
            let transit_changed = before.1 != vertex.transit;
            self.compare(from, concerned, transit_changed);
        } else {
            self.compare(from, concerned, false);
        }
    }

    /// Brings the claims of a node on these links in line with what its fragments say.
    fn compare(&mut self, from: u32, mut concerned: Vec<u32>, transit_changed: bool) {
        concerned.sort_unstable();
        concerned.dedup();
        self.compared += concerned.len() as u64;
        for to in concerned {
            let vertex = &self.vertices[from as usize];
            let place = vertex.claims.binary_search_by_key(&to, |c| c.to);
            let old = place.ok().map(|i| vertex.claims[i]);
            match (vertex.said_of(to), place) {
                (None, Err(_)) => {}
                (None, Ok(i)) => {
                    let gone = self.vertices[from as usize].claims.remove(i);
                    if gone.back != 0 {
                        self.confirm(to, from, 0);
                        self.changes.push(Change { from, to, before: Some(gone.cost) });
                        self.changes.push(Change { from: to, to: from, before: Some(gone.back) });
                    }
                }
                (Some(cost), place) => {
                    let claim = Claim { to, cost, back: self.confirm(to, from, cost).unwrap_or(0) };
                    let claims = &mut self.vertices[from as usize].claims;
                    match place {
                        Ok(i) => claims[i] = claim,
                        Err(i) => claims.insert(i, claim),
                    }
                    let before = old.filter(|old| old.back != 0).map(|old| old.cost);
                    self.note(from, to, before, (claim.back != 0).then_some(cost), transit_changed);
                    // The way back counts only while we claim the link: it has just come where we claimed nothing before.
                    if old.is_none() && claim.back != 0 {
                        self.changes.push(Change { from: to, to: from, before: None });
                    }
                }
            }
        }
    }

    /// Links compared so far: the cost of following the database.
    #[must_use]
    pub const fn compared(&self) -> u64 {
        self.compared
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
        self.vertices.push(Vertex {
            name: node.clone(),
            transit: false,
            present: false,
            said: BTreeMap::new(),
            fragments: BTreeMap::new(),
            claims: Vec::new(),
        });
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
        self.compared = old.compared;
        let names: Vec<NodeId> = old.vertices.iter().map(|v| v.name.clone()).collect();
        let mut kept = false;
        for vertex in old.vertices.iter().filter(|v| !v.fragments.is_empty()) {
            for (fragment, far_ends) in &vertex.fragments {
                let link = |to: &u32| (names[*to as usize].clone(), vertex.said[&(*to, *fragment)]);
                let links = far_ends.iter().map(link).collect();
                self.set_fragment(&vertex.name, *fragment, Some(NodeLinks { transit: vertex.transit, links }));
            }
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
