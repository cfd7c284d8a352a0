//! A description of a small network, and the node configurations it stands for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use damc_mgmt::config::{IdentityConfig, NodeConfig, PortConfig, ServiceConfig, Thresholds, Timers};
use damc_trust::{NodeSecrets, RootSecret, certificate_to_hex, narrowest, to_hex};
use damc_wire::security::CertifiedName;
use damc_wire::{NodeId, Role};

/// Nodes and links. Methods take and return it, so that a network is written as one expression.
#[derive(Clone, Debug)]
pub struct Network {
    domain: String,
    timers: Timers,
    nodes: BTreeMap<String, Member>,
    links: Vec<(String, String, u32, u32)>,
    thresholds: BTreeMap<String, Thresholds>,
}

#[derive(Clone, Debug)]
struct Member {
    role: Role,
    transit: bool,
    services: Vec<ServiceConfig>,
    licences: Option<Vec<String>>,
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    /// No nodes yet; domain `example`, default timers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            domain: "example".to_owned(),
            timers: Timers::default(),
            nodes: BTreeMap::new(),
            links: Vec::new(),
            thresholds: BTreeMap::new(),
        }
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, name: &str, role: Role) -> Self {
        let member = Member { role, transit: false, services: Vec::new(), licences: None };
        self.nodes.insert(name.to_owned(), member);
        self
    }

    /// Adds an SR.
    #[must_use]
    pub fn sr(self, name: &str) -> Self {
        self.node(name, Role::Sr)
    }

    /// Adds an SG.
    #[must_use]
    pub fn sg(self, name: &str) -> Self {
        self.node(name, Role::Sg)
    }

    /// Adds a pod with services `(prefix, pool)`.
    #[must_use]
    pub fn pod(self, name: &str, services: &[(&str, Option<&str>)]) -> Self {
        let mut this = self.node(name, Role::Pod);
        if let Some(member) = this.nodes.get_mut(name) {
            let service = |(prefix, pool): &(&str, Option<&str>)| ServiceConfig {
                prefix: (*prefix).to_owned(),
                pool: pool.map(str::to_owned),
                weight: 1,
                run: None,
            };
            member.services = services.iter().map(service).collect();
        }
        this
    }

    /// Says what SPAs may grant a pod; left out: what it lists.
    #[must_use]
    pub fn licence(mut self, pod: &str, names: &[&str]) -> Self {
        if let Some(member) = self.nodes.get_mut(pod) {
            member.licences = Some(names.iter().map(|n| (*n).to_owned()).collect());
        }
        self
    }

    /// Lets an SG be used for transit.
    #[must_use]
    pub fn transit(mut self, sg: &str) -> Self {
        if let Some(member) = self.nodes.get_mut(sg) {
            member.transit = true;
        }
        self
    }

    /// Joins two nodes at one cost both ways.
    #[must_use]
    pub fn link(self, a: &str, b: &str, cost: u32) -> Self {
        self.asymmetric(a, b, cost, cost)
    }

    /// Joins two nodes at a cost each way.
    #[must_use]
    pub fn asymmetric(mut self, a: &str, b: &str, there: u32, back: u32) -> Self {
        self.links.push((a.to_owned(), b.to_owned(), there, back));
        self
    }

    /// Changes the timers.
    #[must_use]
    pub fn timers(mut self, change: impl FnOnce(&mut Timers)) -> Self {
        change(&mut self.timers);
        self
    }

    /// Sets the thresholds of a prefix, or of `default`.
    #[must_use]
    pub fn threshold(mut self, prefix: &str, thresholds: Thresholds) -> Self {
        self.thresholds.insert(prefix.to_owned(), thresholds);
        self
    }

    /// The configuration of every node, with keys made from `seed`.
    ///
    /// # Panics
    /// A name is no node identity: descriptions are written by hand.
    #[must_use]
    pub fn configs(&self, seed: u64) -> Vec<NodeConfig> {
        let mut key_seed = [0; 32];
        key_seed[..8].copy_from_slice(&seed.to_be_bytes());
        let root = RootSecret::from_seed(&key_seed);
        self.nodes.iter().map(|(name, member)| self.config(name, member, &root, &key_seed)).collect()
    }

    fn config(&self, name: &str, member: &Member, root: &RootSecret, seed: &[u8; 32]) -> NodeConfig {
        let node = NodeId::new(name).expect("names in descriptions are node identities");
        let domain = NodeId::new(&self.domain).expect("names in descriptions are node identities");
        let secrets = NodeSecrets::derive(seed, &node);
        let is_spa = member.role == Role::Spa;
        let certificate = if is_spa {
            root.issue_spa(&domain, &node, &secrets, self.certified())
        } else {
            root.issue(&domain, &node, member.role, &secrets)
        };
        NodeConfig {
            node: name.to_owned(),
            role: member.role.label().to_owned(),
            domain: self.domain.clone(),
            admin_socket: PathBuf::new(),
            ports: self.ports(name),
            identity: IdentityConfig {
                root_key: to_hex(&root.public().to_bytes()),
                signing_secret: to_hex(&secrets.signing),
                agreement_secret: to_hex(&secrets.agreement),
                certificate: certificate_to_hex(&certificate),
            },
            timers: self.timers.clone(),
            services: member.services.clone(),
            licences: if is_spa { self.licences() } else { BTreeMap::new() },
            pools: if is_spa { self.pools() } else { Vec::new() },
            thresholds: self.thresholds.clone(),
            transit: member.transit,
            link_macs: true,
            gateway: None,
            confine: None,
            interfaces_within_ms: 0,
        }
    }

    fn ports(&self, name: &str) -> Vec<PortConfig> {
        let mut ports = Vec::new();
        for (a, b, there, back) in &self.links {
            let (other, cost) = match name {
                _ if name == a => (b, there),
                _ if name == b => (a, back),
                _ => continue,
            };
            ports.push(PortConfig {
                name: other.clone(),
                interface: format!("p{}", ports.len()),
                cost: *cost,
                peer_role: self.nodes.get(other).map_or("?", |m| m.role.label()).to_owned(),
            });
        }
        ports
    }

    fn licences(&self) -> BTreeMap<String, Vec<String>> {
        let pods = self.nodes.iter().filter(|(_, m)| m.role == Role::Pod);
        pods.map(|(name, member)| (name.clone(), member.licences.clone().unwrap_or_else(|| names_of(member)))).collect()
    }

    /// What the root lets all SPAs grant: what pods are licensed for.
    fn certified(&self) -> Vec<CertifiedName> {
        let pools = self.pools();
        let names = self.licences().into_values().flatten().map(|name| CertifiedName {
            exact: pools.contains(&name),
            name: name.parse().expect("names in descriptions are well formed"),
        });
        narrowest(names).expect("names in descriptions have few first components")
    }

    fn pools(&self) -> Vec<String> {
        let mut pools: Vec<String> =
            self.nodes.values().flat_map(|m| m.services.iter().filter_map(|s| s.pool.clone())).collect();
        pools.sort();
        pools.dedup();
        pools
    }
}

fn names_of(member: &Member) -> Vec<String> {
    member.services.iter().flat_map(|s| [Some(s.prefix.clone()), s.pool.clone()]).flatten().collect()
}
