//! One look at a lab.

use std::collections::BTreeMap;

use damc_lab::control::{LinkStatus, NodeStatus, Status};
use damc_mgmt::view::{CountersView, NeighborsView, PathView, PolicyView};

/// What the lab and its nodes showed at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// When, `CLOCK_MONOTONIC`, ns.
    pub at_ns: u64,
    /// What the lab says.
    pub status: Status,
    /// What nodes say. One that did not answer is not there.
    pub nodes: BTreeMap<String, NodeLook>,
    /// Links with their counters, by their ends as in the status. Those that nobody asked for are not there.
    pub links: BTreeMap<(String, String), LinkStatus>,
    /// Policies that the SCSC has issued.
    pub policies: Vec<PolicyView>,
    /// Paths that violate a preset condition, as the SCSC knows them.
    pub violated: Vec<PathView>,
}

/// What a node says.
#[derive(Clone, Debug, Default)]
pub struct NodeLook {
    /// Its ports and neighbours.
    pub neighbors: Option<NeighborsView>,
    /// Its counters.
    pub counters: Option<CountersView>,
}

impl Look {
    /// The status of a node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeStatus> {
        self.status.nodes.iter().find(|node| node.name == name)
    }

    /// A link with its counters where they are known.
    #[must_use]
    pub fn link(&self, number: usize) -> Option<&LinkStatus> {
        let link = self.status.links.get(number)?;
        Some(self.links.get(&ends(link)).unwrap_or(link))
    }

    /// Counters of a node.
    pub(crate) fn counters(&self, node: &str) -> Option<&CountersView> {
        self.nodes.get(node)?.counters.as_ref()
    }

    /// What a node says of its neighbour at a port.
    pub(crate) fn delay_ns(&self, node: &str, port: &str) -> Option<u64> {
        let neighbors = self.nodes.get(node)?.neighbors.as_ref()?;
        neighbors.neighbors.iter().find(|neighbor| neighbor.port == port)?.delay_ns
    }
}

/// What tells a link from others.
pub(crate) fn ends(link: &LinkStatus) -> (String, String) {
    (link.a.clone(), link.b.clone())
}
