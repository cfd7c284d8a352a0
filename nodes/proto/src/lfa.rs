//! Loop-free alternates (RFC 5286): the neighbour that takes over at once where the only next hop of a route loses its link.
//!
//! In the words of the RFC S is this node, N a neighbour, D the destination, E the next hop in use. A neighbour qualifies
//! by inequality 1, `dist(N, D) < dist(N, S) + dist(S, D)`: its own shortest path does not come back. Of several the best
//! is one whose path avoids E altogether (inequality 3), then the cheapest, then the first by name. Distances to a prefix
//! that several nodes advertise are those to the nearest of them, as the neighbour would choose (RFC 5286 section 6.1).

use damc_forward::{NextHop, PortId};
use damc_wire::NodeId;

use crate::spf::{Change, LiveGraph, Tree, Update};

/// A full neighbour that forwards, with shortest paths from its place.
#[derive(Debug)]
struct Candidate {
    node: NodeId,
    index: u32,
    port: PortId,
    /// Of the link to it.
    cost: u32,
    tree: Tree,
}

/// The full neighbours as roots.
#[derive(Debug, Default)]
pub struct Alternates {
    candidates: Vec<Candidate>,
}

/// An advertiser of a prefix: its index in the graph, and what it adds to the cost of reaching it.
pub type Advertiser = (u32, u32);

impl Alternates {
    /// Follows the set of full neighbours, given by name, port and cost. Says whether another one is among them now, or one
    /// of them is gone or costs something else.
    pub fn set_neighbours(
        &mut self,
        graph: &LiveGraph,
        neighbours: impl Iterator<Item = (NodeId, PortId, u32)>,
    ) -> bool {
        let mut known = std::mem::take(&mut self.candidates);
        let before = known.len();
        let mut changed = false;
        for (node, port, cost) in neighbours {
            // Without an LSA of its own nothing is known of its paths.
            let Some(index) = graph.index(&node) else { continue };
            match known.iter().position(|c| c.node == node && c.index == index) {
                Some(at) => {
                    let candidate = known.swap_remove(at);
                    changed |= candidate.port != port || candidate.cost != cost;
                    self.candidates.push(Candidate { port, cost, ..candidate });
                }
                None => {
                    changed = true;
                    self.candidates.push(Candidate { tree: Tree::new(graph, index), node, index, port, cost });
                }
            }
        }
        self.candidates.sort_by(|a, b| a.node.cmp(&b.node));
        changed || before != self.candidates.len()
    }

    /// Follows changes of the graph. `touched` is told every node to which some neighbour has another distance now; none
    /// stands for all.
    pub fn follow(&mut self, graph: &LiveGraph, changes: &[Change], mut touched: impl FnMut(Option<u32>)) {
        for candidate in &mut self.candidates {
            match candidate.tree.update(graph, changes) {
                Update::Full => touched(None),
                Update::Nodes(nodes) => nodes.into_iter().for_each(|node| touched(Some(node))),
            }
        }
    }

    /// Forgets everybody, because indices are new.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }

    /// The loop-free alternate for a prefix of these advertisers that costs `cost` from `root` by `primary`.
    #[must_use]
    pub fn choose(
        &self,
        graph: &LiveGraph,
        root: u32,
        advertisers: &[Advertiser],
        cost: u64,
        primary: &NodeId,
    ) -> Option<NextHop> {
        let from = |candidate: &Candidate| distance(graph, candidate, advertisers);
        let primary_at = graph.index(primary);
        let beyond = self.candidates.iter().find(|c| c.node == *primary).and_then(from);
        let qualified = self.candidates.iter().filter(|c| c.node != *primary).filter_map(|candidate| {
            let rest = from(candidate)?;
            // Where the neighbour has no way to us at all its path cannot lead here.
            let back = candidate.tree.distance(root).unwrap_or(u64::MAX);
            if rest >= back.saturating_add(cost) {
                return None;
            }
            let to_primary = primary_at.and_then(|e| candidate.tree.distance(e)).unwrap_or(u64::MAX);
            let avoids = beyond.is_some_and(|beyond| rest < to_primary.saturating_add(beyond));
            Some((!avoids, u64::from(candidate.cost) + rest, candidate))
        });
        let (.., best) = qualified.min_by(|a, b| (a.0, a.1, &a.2.node).cmp(&(b.0, b.1, &b.2.node)))?;
        Some(NextHop::new(best.port, 1))
    }
}

/// Cost from a neighbour to the nearest advertiser. One that is not for transit delivers what it advertises itself only.
fn distance(graph: &LiveGraph, candidate: &Candidate, advertisers: &[Advertiser]) -> Option<u64> {
    let forwards = graph.transit(candidate.index);
    let reached = advertisers.iter().filter(|(origin, _)| forwards || *origin == candidate.index);
    reached.filter_map(|(origin, metric)| Some(candidate.tree.distance(*origin)? + u64::from(*metric))).min()
}

#[cfg(test)]
mod tests;
