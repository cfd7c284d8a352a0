//! Topologies with less in them: what is left of one when something is taken away. Whether that is still a network is seen
//! when its text is read again.

use damc_impair::DirectionSpec;
use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use crate::topology::{Qos, Topology};

impl Topology {
    /// Without a node, its links, and whatever hung on it alone.
    #[must_use]
    pub fn without_node(&self, node: &NodeId) -> Self {
        let mut less = Self { events: Vec::new(), ..self.clone() };
        less.take_node(node);
        loop {
            let routes = |kind: Role| matches!(kind, Role::Sg | Role::Sr);
            let alone = less.nodes.values().find(|n| !routes(n.kind) && less.links_of(&n.id).next().is_none());
            let Some(alone) = alone.map(|node| node.id.clone()) else { return less };
            less.take_node(&alone);
        }
    }

    fn take_node(&mut self, node: &NodeId) {
        self.nodes.remove(node);
        self.licences.remove(node);
        self.links.retain(|link| link.far(node).is_none());
    }

    /// Without the link between two nodes.
    #[must_use]
    pub fn without_link(&self, a: &NodeId, b: &NodeId) -> Self {
        let mut less = Self { events: Vec::new(), ..self.clone() };
        less.links.retain(|link| link.far(a) != Some(b));
        less
    }

    /// Without a service, and without what licensed it alone.
    #[must_use]
    pub fn without_service(&self, pod: &NodeId, prefix: &Name) -> Self {
        let mut less = Self { events: Vec::new(), ..self.clone() };
        if let Some(node) = less.nodes.get_mut(pod) {
            node.services.retain(|service| service.prefix != *prefix);
        }
        if let Some(licences) = less.licences.get_mut(pod) {
            licences.remove(prefix);
        }
        less
    }

    /// Without thresholds and periods of measurement.
    #[must_use]
    pub fn without_qos(&self) -> Self {
        Self { events: Vec::new(), qos: Qos::default(), ..self.clone() }
    }

    /// With links that all do the same to frames. Costs stay.
    #[must_use]
    pub fn with_links_that(&self, spec: DirectionSpec) -> Self {
        let mut same = Self { events: Vec::new(), ..self.clone() };
        for link in &mut same.links {
            (link.forward.spec, link.backward.spec) = (spec, spec);
        }
        same
    }
}
