//! What a simulated network can be asked.

use damc_impair::DirectionCounters;
use damc_mgmt::view::{FibView, LsdbView, NeighborsView, RibView};

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

    /// A view of a living node's machine as JSON.
    #[must_use]
    pub fn view(&self, node: &str, what: &str) -> Option<serde_json::Value> {
        let index = self.index(node);
        self.nodes[index].machine.as_ref()?.view(self.local_time(index), what)
    }

    fn typed<T: serde::de::DeserializeOwned + Default>(&self, node: &str, what: &str) -> T {
        self.view(node, what).and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default()
    }

    /// `/fib`; empty for a dead node.
    #[must_use]
    pub fn fib(&self, node: &str) -> FibView {
        self.typed(node, "fib")
    }

    /// `/rib`; empty for a dead node.
    #[must_use]
    pub fn rib(&self, node: &str) -> RibView {
        self.typed(node, "rib")
    }

    /// `/lsdb`; empty for a dead node.
    #[must_use]
    pub fn lsdb(&self, node: &str) -> LsdbView {
        self.typed(node, "lsdb")
    }

    /// `/neighbors`; empty for a dead node.
    #[must_use]
    pub fn neighbors(&self, node: &str) -> NeighborsView {
        self.typed(node, "neighbors")
    }

    /// State of the adjacency of `node` with `neighbour`.
    #[must_use]
    pub fn adjacency(&self, node: &str, neighbour: &str) -> String {
        let view = self.neighbors(node);
        view.neighbors.iter().find(|n| n.port == neighbour).map(|n| n.state.clone()).unwrap_or_default()
    }

    /// A protocol counter.
    #[must_use]
    pub fn counter(&self, node: &str, name: &str) -> u64 {
        self.view(node, "protocol").and_then(|v| v.get(name)?.as_u64()).unwrap_or(0)
    }

    /// What the link did to the frames that `a` sent to `b`.
    #[must_use]
    pub fn link_counters(&self, a: &str, b: &str) -> DirectionCounters {
        let (link, from) = self.direction(a, b);
        *self.links[link].directions[from].counters()
    }
}
