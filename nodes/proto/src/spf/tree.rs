//! Shortest paths from one root, computed in full or updated after changes (RIB-02).
//!
//! An update follows a change only as far as it reaches (Ramalingam and Reps). First it finds the nodes whose distance
//! grows because no shortest path is left to them, in order of their old distance. Then it computes new distances of
//! these and of nodes that became nearer, as Dijkstra does; then first hops, in order of the new distance. All costs
//! are at least 1, so in that order everything a node depends on is final before it. If more than half of the nodes are
//! affected, a full computation is cheaper.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::live::{Change, LiveGraph};

/// Distance of a node that cannot be reached.
const UNREACHABLE: u64 = u64::MAX;
/// Number of changed edges up to which an update is tried in a graph of any size.
const FEW_CHANGES: usize = 64;

type Queue = BinaryHeap<Reverse<(u64, u32)>>;

/// Result of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Everything was recomputed.
    Full,
    /// Distance or first hops of these nodes changed; each occurs once.
    Nodes(Vec<u32>),
}

/// Shortest paths from one root. First hops are a bit set, so that joining equal paths is an OR.
#[derive(Clone, Debug)]
pub struct Tree {
    root: u32,
    distance: Vec<u64>,
    /// Words of a node's bit set.
    stride: usize,
    hops: Vec<u64>,
    /// Neighbour of the root by bit. A neighbour keeps its bit until the next full computation.
    neighbours: Vec<u32>,
    /// Step of an update in which a node was last handled. Steps rise, so that marks need no clearing.
    mark: Vec<u32>,
    step: u32,
}

impl Tree {
    /// Shortest paths from `root` to all nodes, with all equal first hops. No path leads through a node without
    /// transit; the root itself may always send.
    #[must_use]
    pub fn new(graph: &LiveGraph, root: u32) -> Self {
        let mut tree = Self {
            root,
            distance: Vec::new(),
            stride: 1,
            hops: Vec::new(),
            neighbours: Vec::new(),
            mark: Vec::new(),
            step: 0,
        };
        tree.compute(graph);
        tree
    }

    /// The node at which the paths begin.
    #[must_use]
    pub const fn root(&self) -> u32 {
        self.root
    }

    /// Cost of the shortest path to a node, if there is one.
    #[must_use]
    pub fn distance(&self, node: u32) -> Option<u64> {
        self.distance.get(node as usize).copied().filter(|d| *d != UNREACHABLE)
    }

    /// Neighbours of the root on shortest paths to a node, in no particular order.
    pub fn first_hops(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        self.bits(node).iter().enumerate().flat_map(move |(w, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| self.neighbours[w * 64 + bit])
        })
    }

    /// The first hops of a node as words; equal for nodes with equal first hops until the next computation.
    #[must_use]
    pub fn bits(&self, node: u32) -> &[u64] {
        let start = node as usize * self.stride;
        self.hops.get(start..start + self.stride).unwrap_or(&[])
    }

    /// Whether the tree is still correct after these changes: no changed edge was or is on a shortest path (check-list
    /// 15).
    #[must_use]
    pub fn unaffected(&self, graph: &LiveGraph, changes: &[Change]) -> bool {
        changes.iter().all(|change| {
            let Some(start) = self.distance(change.from) else { return true };
            let known = self.distance.get(change.to as usize).copied().unwrap_or(UNREACHABLE);
            let was = change.before.map(|cost| start + u64::from(cost));
            let is = self.usable(graph, change.from).then(|| graph.cost(change.from, change.to)).flatten();
            was != Some(known) && is.is_none_or(|cost| start + u64::from(cost) > known)
        })
    }

    /// Updates the tree after changes of the graph. They must contain every edge that differs from the state the tree
    /// was computed on.
    pub fn update(&mut self, graph: &LiveGraph, changes: &[Change]) -> Update {
        self.grow(graph);
        let incremental =
            if changes.len() <= FEW_CHANGES.max(graph.len() / 8) { self.follow(graph, changes) } else { None };
        match incremental {
            Some(nodes) => Update::Nodes(nodes),
            None => {
                self.compute(graph);
                Update::Full
            }
        }
    }

    // ===== all at once =====

    fn compute(&mut self, graph: &LiveGraph) {
        self.neighbours = graph.edges_from(self.root).map(|(to, _)| to).collect();
        self.stride = self.neighbours.len().div_ceil(64).max(1);
        self.distance = vec![UNREACHABLE; graph.len()];
        self.hops = vec![0; graph.len() * self.stride];
        self.mark = vec![0; graph.len()];
        self.step = 0;
        let mut queue = Queue::with_capacity(graph.len());
        self.distance[self.root as usize] = 0;
        queue.push(Reverse((0, self.root)));
        while let Some(Reverse((distance, node))) = queue.pop() {
            if distance > self.distance[node as usize] || !self.usable(graph, node) {
                continue;
            }
            for (bit, (to, cost)) in graph.edges_from(node).enumerate() {
                let through = distance + u64::from(cost);
                let known = self.distance[to as usize];
                if through > known {
                    continue;
                }
                if through < known {
                    self.distance[to as usize] = through;
                    self.bits_mut(to).fill(0);
                    queue.push(Reverse((through, to)));
                }
                if node == self.root {
                    self.bits_mut(to)[bit / 64] |= 1 << (bit % 64);
                } else {
                    self.join(to, node);
                }
            }
        }
    }

    // ===== step by step =====

    /// The nodes whose distance or first hops changed; `None` if too many nodes are affected.
    fn follow(&mut self, graph: &LiveGraph, changes: &[Change]) -> Option<Vec<u32>> {
        let lost = self.lost(graph, changes)?;
        let old: Vec<(u32, u64)> = lost.iter().map(|node| (*node, self.distance[*node as usize])).collect();
        for node in &lost {
            self.distance[*node as usize] = UNREACHABLE;
        }
        let moved = self.settle(graph, changes, old);
        self.redirect(graph, changes, &moved)
    }

    /// Nodes to which no shortest path of the old length is left.
    fn lost(&mut self, graph: &LiveGraph, changes: &[Change]) -> Option<Vec<u32>> {
        let (checked, gone) = self.next_steps();
        let mut queue = Queue::new();
        let mut lost = Vec::new();
        let reachable = changes.iter().filter(|c| c.to != self.root && self.distance[c.to as usize] != UNREACHABLE);
        queue.extend(reachable.map(|c| Reverse((self.distance[c.to as usize], c.to))));
        while let Some(Reverse((distance, node))) = queue.pop() {
            if self.mark[node as usize] >= checked {
                continue;
            }
            self.mark[node as usize] = checked;
            let mut into = graph.edges_into(node);
            let supported = into.any(|(from, cost)| {
                self.mark[from as usize] != gone
                    && self.usable(graph, from)
                    && self.through(from, cost).is_some_and(|through| through <= distance)
            });
            if supported {
                continue;
            }
            self.mark[node as usize] = gone;
            lost.push(node);
            if lost.len() > FEW_CHANGES.max(graph.len() / 2) {
                return None;
            }
            let beyond = graph
                .edges_from(node)
                .filter(|(to, cost)| *to != self.root && self.distance[*to as usize] == distance + u64::from(*cost));
            queue.extend(beyond.map(|(to, cost)| Reverse((distance + u64::from(cost), to))));
        }
        Some(lost)
    }

    /// Computes the distances of lost nodes and of those that became nearer; returns all nodes whose distance changed.
    fn settle(&mut self, graph: &LiveGraph, changes: &[Change], mut old: Vec<(u32, u64)>) -> Vec<u32> {
        let (noted, _) = self.next_steps();
        let mut queue = Queue::new();
        for (node, _) in &old {
            self.mark[*node as usize] = noted;
            let into = graph.edges_into(*node).filter(|(from, _)| self.usable(graph, *from));
            let best = into.filter_map(|(from, cost)| self.through(from, cost)).min();
            queue.extend(best.map(|distance| Reverse((distance, *node))));
        }
        for change in changes.iter().filter(|c| self.usable(graph, c.from)) {
            let through = graph.cost(change.from, change.to).and_then(|cost| self.through(change.from, cost));
            let nearer = through.filter(|distance| *distance < self.distance[change.to as usize]);
            queue.extend(nearer.map(|distance| Reverse((distance, change.to))));
        }
        while let Some(Reverse((distance, node))) = queue.pop() {
            let known = self.distance[node as usize];
            if distance >= known {
                continue;
            }
            if self.mark[node as usize] != noted {
                self.mark[node as usize] = noted;
                old.push((node, known));
            }
            self.distance[node as usize] = distance;
            if !self.usable(graph, node) {
                continue;
            }
            for (to, cost) in graph.edges_from(node) {
                let through = distance + u64::from(cost);
                if through < self.distance[to as usize] {
                    queue.push(Reverse((through, to)));
                }
            }
        }
        // A node that was lost and found again at its old distance is included, because its first hops may have
        // changed.
        old.into_iter().map(|(node, _)| node).collect()
    }

    /// Computes first hops where they can have changed; returns all changed nodes. `None` if the root has more
    /// neighbours than there are bits.
    fn redirect(&mut self, graph: &LiveGraph, changes: &[Change], moved: &[u32]) -> Option<Vec<u32>> {
        let (done, _) = self.next_steps();
        let mut queue = Queue::new();
        let mut changed = moved.to_vec();
        let is_moved: std::collections::BTreeSet<u32> = moved.iter().copied().collect();
        for node in moved {
            if self.distance[*node as usize] == UNREACHABLE {
                self.bits_mut(*node).fill(0);
            }
            let around = graph.edges_from(*node).map(|(to, _)| to).chain([*node]);
            queue.extend(around.filter_map(|to| self.distance(to).map(|d| Reverse((d, to)))));
        }
        queue.extend(changes.iter().filter_map(|c| self.distance(c.to).map(|d| Reverse((d, c.to)))));
        let mut bits = vec![0; self.stride];
        while let Some(Reverse((distance, node))) = queue.pop() {
            if node == self.root || self.mark[node as usize] == done {
                continue;
            }
            self.mark[node as usize] = done;
            bits.fill(0);
            if graph.cost(self.root, node).map(u64::from) == Some(distance) {
                let bit = self.bit_of(node)?;
                bits[bit / 64] |= 1 << (bit % 64);
            }
            let others = graph.edges_into(node).filter(|(from, _)| *from != self.root && graph.transit(*from));
            for (from, _) in others.filter(|(from, cost)| self.through(*from, *cost) == Some(distance)) {
                bits.iter_mut().zip(self.bits(from)).for_each(|(word, other)| *word |= other);
            }
            if bits == self.bits(node) {
                continue;
            }
            self.bits_mut(node).copy_from_slice(&bits);
            if !is_moved.contains(&node) {
                changed.push(node);
            }
            let beyond =
                graph.edges_from(node).filter(|(to, cost)| self.distance(*to) == Some(distance + u64::from(*cost)));
            queue.extend(beyond.map(|(to, cost)| Reverse((distance + u64::from(cost), to))));
        }
        Some(changed)
    }

    // ===== small things =====

    /// Makes room for new nodes.
    fn grow(&mut self, graph: &LiveGraph) {
        self.distance.resize(graph.len(), UNREACHABLE);
        self.hops.resize(graph.len() * self.stride, 0);
        self.mark.resize(graph.len(), 0);
    }

    /// Two marks that no node has yet; the second is higher.
    fn next_steps(&mut self) -> (u32, u32) {
        if self.step >= u32::MAX - 2 {
            self.mark.fill(0);
            self.step = 0;
        }
        self.step += 2;
        (self.step - 1, self.step)
    }

    /// Bit of a neighbour of the root; a new neighbour gets the next free bit, if there is one.
    fn bit_of(&mut self, neighbour: u32) -> Option<usize> {
        if let Some(bit) = self.neighbours.iter().position(|n| *n == neighbour) {
            return Some(bit);
        }
        if self.neighbours.len() >= self.stride * 64 {
            return None;
        }
        self.neighbours.push(neighbour);
        Some(self.neighbours.len() - 1)
    }

    fn usable(&self, graph: &LiveGraph, node: u32) -> bool {
        node == self.root || graph.transit(node)
    }

    /// Length of the path to the far end of an edge.
    fn through(&self, from: u32, cost: u32) -> Option<u64> {
        self.distance(from).map(|distance| distance + u64::from(cost))
    }

    fn bits_mut(&mut self, node: u32) -> &mut [u64] {
        let start = node as usize * self.stride;
        &mut self.hops[start..start + self.stride]
    }

    fn join(&mut self, node: u32, from: u32) {
        for w in 0..self.stride {
            self.hops[node as usize * self.stride + w] |= self.hops[from as usize * self.stride + w];
        }
    }
}
