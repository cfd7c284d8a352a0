//! What the topology offers a case: neighbours by role, and pairs that are far apart.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use damc_impair::DirectionChange;
use damc_mgmt::command::Command;
use damc_mgmt::view::FibView;
use damc_testbed::WorldError;
use damc_topology::set_property;
use damc_wire::{NodeId, Role};

use super::Testbed;
use crate::case::Stop;
use crate::oracle::Failures;

/// Link properties as the command line writes them.
///
/// # Errors
/// One of them is not a link property.
pub fn properties(pairs: &[(&str, &str)]) -> Result<DirectionChange, Stop> {
    let mut change = DirectionChange::default();
    for (key, value) in pairs {
        set_property(&mut change, key, value).map_err(|e| Stop::Inconclusive(format!("{key}={value}: {e}")))?;
    }
    Ok(change)
}

impl Testbed {
    /// A number that no other call on this testbed gets.
    #[must_use]
    pub fn unique(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Neighbours of a node that have this role, in file order.
    ///
    /// # Errors
    /// The topology has no such node.
    pub fn beside(&self, node: &str, kind: Role) -> Result<Vec<String>, Stop> {
        let (id, _) = self.role(node)?;
        let far = self.topology.links_of(&id).map(|(_, far)| far);
        Ok(far.filter(|far| self.topology.nodes()[*far].kind == kind).map(ToString::to_string).collect())
    }

    fn first_beside(&self, node: &str, kind: Role) -> Result<String, Stop> {
        let nothing = || Stop::NotApplicable(format!("{node} has no {kind} as a neighbour"));
        self.beside(node, kind)?.into_iter().next().ok_or_else(nothing)
    }

    /// The SG of a pod.
    ///
    /// # Errors
    /// There is none.
    pub fn sg_of(&self, pod: &str) -> Result<String, Stop> {
        self.first_beside(pod, Role::Sg)
    }

    /// The SPA of an SG.
    ///
    /// # Errors
    /// There is none.
    pub fn spa_of(&self, sg: &str) -> Result<String, Stop> {
        self.first_beside(sg, Role::Spa)
    }

    /// The first pod of an SG.
    ///
    /// # Errors
    /// There is none.
    pub fn pod_of(&self, sg: &str) -> Result<String, Stop> {
        self.first_beside(sg, Role::Pod)
    }

    /// An SG with a pod that has a service, and the pod.
    ///
    /// # Errors
    /// There is none.
    pub fn sg_with_pod(&self) -> Result<(String, String), Stop> {
        let pod = self.topology.of_kind(Role::Pod).find(|p| !p.services.is_empty());
        let pod = pod.ok_or_else(|| Stop::NotApplicable("no pod with a service".into()))?.id.to_string();
        Ok((self.sg_of(&pod)?, pod))
    }

    /// The first service of a pod.
    ///
    /// # Errors
    /// It has none.
    pub fn service_of(&self, pod: &str) -> Result<String, Stop> {
        let (id, _) = self.role(pod)?;
        let service = self.topology.nodes()[&id].services.first();
        service.map(|s| s.prefix.to_string()).ok_or_else(|| Stop::NotApplicable(format!("{pod} has no service")))
    }

    /// A service in the caller's pod, one in another pod of its SG where there is one, and one far away.
    ///
    /// # Errors
    /// The caller has no SG or no service.
    pub fn near_and_far(&self, caller: &str, far: String) -> Result<Vec<(&'static str, String)>, Stop> {
        let mut places = vec![("in its own pod", self.service_of(caller)?)];
        let beside = self.beside(&self.sg_of(caller)?, Role::Pod)?.into_iter().filter(|p| p != caller);
        places.extend(beside.filter_map(|p| self.service_of(&p).ok()).take(1).map(|s| ("behind the same SG", s)));
        places.push(("far away", far));
        Ok(places)
    }

    /// A pod, a service far away from it, and the hop chain between their SGs.
    ///
    /// # Errors
    /// There is no second SG with a service.
    pub async fn far_pair(&self) -> Result<(String, String, Vec<String>), Stop> {
        let (_, caller) = self.sg_with_pod()?;
        let mut best: Option<(String, Vec<String>)> = None;
        for pod in self.topology.of_kind(Role::Pod) {
            let Some(service) = pod.services.first() else { continue };
            let target = service.prefix.to_string();
            let reply = self.call(&caller, &target, "echo", &["far"]).await?;
            if reply.path.len() > best.as_ref().map_or(1, |(_, path)| path.len()) {
                best = Some((target, reply.path));
            }
        }
        let (target, path) = best.ok_or_else(|| Stop::NotApplicable("no service on another SG".into()))?;
        Ok((caller, target, path))
    }

    /// FIBs of the SGs and SRs that are up.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn fibs_except(&self, failures: &Failures) -> Result<BTreeMap<String, FibView>, WorldError> {
        let mut fibs = BTreeMap::new();
        for node in self.routers().into_iter().filter(|n| !failures.has_node(n)) {
            fibs.insert(node.clone(), self.lab.fib(&node).await?);
        }
        Ok(fibs)
    }

    /// Number of times that adjacencies of these nodes went down so far.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn flaps(&self, nodes: &[&str]) -> Result<u64, WorldError> {
        let mut sum = 0;
        for node in nodes {
            sum += self.lab.neighbors(node).await?.neighbors.iter().map(|n| n.flaps).sum::<u64>();
        }
        Ok(sum)
    }

    /// Sets the cost of the direction from `near` to `far`.
    ///
    /// # Errors
    /// The node refuses.
    pub async fn set_cost(&self, near: &str, far: &str, cost: u32) -> Result<(), WorldError> {
        let port = NodeId::new(far).map_err(|e| WorldError::Lab(format!("{far}: {e}")))?;
        let configured = Command::Cost { port: port.clone(), cost: self.configured_cost(near, far) };
        self.undo_later((near.into(), configured));
        self.order(near, &Command::Cost { port, cost }).await.map(drop)
    }

    /// Cost of that direction in the topology file; 1 where no link joins the nodes.
    #[must_use]
    pub fn configured_cost(&self, near: &str, far: &str) -> u32 {
        let (Ok(near), Ok(far)) = (NodeId::new(near), NodeId::new(far)) else { return 1 };
        self.topology.link(&near, &far).and_then(|l| l.from(&near)).map_or(1, |d| d.cost)
    }
}
