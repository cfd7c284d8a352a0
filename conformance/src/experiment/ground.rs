//! What the events of a timeline have made of a topology: what runs where, who may announce what.
//!
//! Links and processes are asked of the world itself. The rest is kept here, because only who gave an order knows it.

use std::collections::{BTreeMap, BTreeSet};

use damc_topology::timeline::{NodeStep, ServiceStep};
use damc_topology::{NodeAction, Topology};
use damc_wire::{Name, NodeId, Role};

/// The state that events lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    pub overloaded: BTreeSet<NodeId>,
    /// Services that run, with their pools.
    pub served: BTreeMap<NodeId, BTreeMap<Name, Option<Name>>>,
    licences: BTreeMap<NodeId, BTreeSet<Name>>,
    /// Names of pools.
    pools: BTreeSet<Name>,
    /// Names that were refused for want of a licence which came later. Nobody announces them again before the service or an
    /// adjacency starts anew.
    pub unsure: BTreeSet<Name>,
}

impl Ground {
    pub fn of(topology: &Topology) -> Self {
        let services = topology.nodes().values().flat_map(|node| &node.services);
        let pools = services.filter_map(|service| service.pool.clone()).collect();
        let mut ground = Self { licences: topology.licences().clone(), pools, ..Self::default() };
        for pod in topology.of_kind(Role::Pod) {
            ground.configure(topology, &pod.id);
        }
        ground
    }

    fn configure(&mut self, topology: &Topology, pod: &NodeId) {
        let services = topology.nodes().get(pod).map(|node| node.services.as_slice()).unwrap_or_default();
        let services = services.iter().map(|service| (service.prefix.clone(), service.pool.clone())).collect();
        self.served.insert(pod.clone(), services);
    }

    /// A node did this.
    pub fn node(&mut self, topology: &Topology, node: &NodeId, step: NodeStep) {
        match step {
            NodeStep::Overload(true) => drop(self.overloaded.insert(node.clone())),
            NodeStep::Overload(false) => drop(self.overloaded.remove(node)),
            NodeStep::Process(NodeAction::Start) => {
                self.overloaded.remove(node);
                match topology.nodes().get(node).map(|node| node.kind) {
                    Some(Role::Pod) => self.configure(topology, node),
                    // It reads its configuration again.
                    Some(Role::Spa) => self.forget_licences(topology, node),
                    _ => {}
                }
            }
            NodeStep::Process(_) => {}
        }
    }

    fn forget_licences(&mut self, topology: &Topology, spa: &NodeId) {
        let gateways = topology.links_of(spa).map(|(_, far)| far);
        for pod in gateways.flat_map(|gateway| topology.links_of(gateway)).map(|(_, far)| far) {
            let Some(licences) = topology.licences().get(pod) else { continue };
            let before = self.allowed(pod);
            self.licences.insert(pod.clone(), licences.clone());
            // What was granted before goes on until its time is over.
            self.unsure.extend(before.symmetric_difference(&self.allowed(pod)).cloned().collect::<Vec<_>>());
        }
    }

    /// A service of a pod did this, or what it did was taken back.
    pub fn service(&mut self, topology: &Topology, (pod, prefix): (&NodeId, &Name), step: ServiceStep, back: bool) {
        let runs = match step {
            ServiceStep::Stop | ServiceStep::Withdraw => back,
            ServiceStep::Announce => !back,
            ServiceStep::Start | ServiceStep::Restart => true,
        };
        let configured = topology.nodes().get(pod).into_iter().flat_map(|node| &node.services);
        let pool = configured.filter(|service| service.prefix == *prefix).find_map(|service| service.pool.clone());
        let services = self.served.entry(pod.clone()).or_default();
        if runs {
            services.insert(prefix.clone(), pool);
        } else {
            services.remove(prefix);
        }
    }

    /// A licence came or went.
    pub fn licence(&mut self, pod: &NodeId, prefix: &Name, grant: bool) {
        let before = self.allowed(pod);
        let licences = self.licences.entry(pod.clone()).or_default();
        if grant {
            licences.insert(prefix.clone());
            let later = self.allowed(pod).into_iter().filter(|name| !before.contains(name));
            self.unsure.extend(later.collect::<Vec<_>>());
        } else {
            licences.remove(prefix);
        }
    }

    /// The names that a pod may announce of those that it serves, pools included: an instance at or below a licence that is
    /// no pool's, its pool by a licence of its own.
    pub fn allowed(&self, pod: &NodeId) -> BTreeSet<Name> {
        let nothing = BTreeSet::new();
        let licences = self.licences.get(pod).unwrap_or(&nothing);
        let covers = |licence: &Name, name: &Name| !self.pools.contains(licence) && licence.is_prefix_of(name);
        let mut allowed = BTreeSet::new();
        for (prefix, pool) in self.served.get(pod).into_iter().flatten() {
            if licences.iter().any(|licence| covers(licence, prefix)) {
                allowed.insert(prefix.clone());
                allowed.extend(pool.iter().filter(|pool| licences.contains(pool)).cloned());
            }
        }
        allowed
    }
}
