//! The graph of the domain and shortest paths on it.

use damc_wire::NodeId;

use crate::lsdb::Lsdb;

/// Directed graph of the links both ends advertise, nodes indexed densely in order of their identity.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<NodeId>,
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Index of the far end.
    pub to: u32,
    /// Cost.
    pub cost: u32,
}

impl Graph {
    /// The two-way-checked graph of a database.
    #[must_use]
    pub fn from_lsdb(_lsdb: &Lsdb) -> Self {
        Self::default()
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

    /// Edges out of a node.
    #[must_use]
    pub fn edges(&self, _node: u32) -> &[Edge] {
        &[]
    }

    /// Whether paths may pass through the node (neither stub nor overloaded).
    #[must_use]
    pub fn transit(&self, _node: u32) -> bool {
        false
    }
}
