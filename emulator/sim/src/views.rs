//! What a simulated network can be asked.

use damc_impair::DirectionCounters;
use damc_mgmt::view::{FibView, LsdbView, NeighborsView, ProtocolCounters, RibView, Shown, View, ViewKind};
use damc_mgmt::words::{AdjacencyState, ProtocolCounter};

use crate::node::Seen;
use crate::sim::Sim;

impl Sim {
    /// Names of all nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// What was seen of a node.
    #[must_use]
    pub fn seen(&self, node: &str) -> &Seen {
        &self.nodes[self.index(node)].seen
    }

    /// A view of a living node's machine; none where its role has no such view.
    #[must_use]
    pub fn view(&self, node: &str, kind: ViewKind) -> Option<View> {
        let index = self.index(node);
        self.nodes[index].machine.as_ref()?.view(self.local_time(index), kind)
    }

    /// What a node shows; empty for a dead node, and where its role has no such view.
    #[must_use]
    pub fn show<T: Shown + Default>(&self, node: &str) -> T {
        self.view(node, T::KIND).and_then(T::of).unwrap_or_default()
    }

    /// `/fib`; empty for a dead node.
    #[must_use]
    pub fn fib(&self, node: &str) -> FibView {
        self.show(node)
    }

    /// `/rib`; empty for a dead node.
    #[must_use]
    pub fn rib(&self, node: &str) -> RibView {
        self.show(node)
    }

    /// `/lsdb`; empty for a dead node.
    #[must_use]
    pub fn lsdb(&self, node: &str) -> LsdbView {
        self.show(node)
    }

    /// `/neighbors`; empty for a dead node.
    #[must_use]
    pub fn neighbors(&self, node: &str) -> NeighborsView {
        self.show(node)
    }

    /// State of the adjacency of `node` with `neighbour`; none for a dead node.
    #[must_use]
    pub fn adjacency(&self, node: &str, neighbour: &str) -> Option<AdjacencyState> {
        let view = self.neighbors(node);
        view.neighbors.iter().find(|n| n.port == neighbour).map(|n| n.state)
    }

    /// A protocol counter; 0 for a dead node.
    #[must_use]
    pub fn counter(&self, node: &str, counter: ProtocolCounter) -> u64 {
        self.show::<ProtocolCounters>(node).get(counter)
    }

    /// What the link did to the frames that `a` sent to `b`.
    #[must_use]
    pub fn link_counters(&self, a: &str, b: &str) -> DirectionCounters {
        let (link, from) = self.direction(a, b);
        *self.links[link].directions[from].counters()
    }
}
