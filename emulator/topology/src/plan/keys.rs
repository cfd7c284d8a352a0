//! The keys of a run. They are made apart from the plan, which never holds them: only the configuration file of a node does.

use core::ops::Deref;
use std::collections::BTreeMap;
use std::path::PathBuf;

use damc_mgmt::config::{
    ConfineConfig, GatewayConfig, IdentityConfig, NodeConfig, PortConfig, ServiceConfig, Thresholds, Timers, is_yes,
    is_zero, yes,
};
use damc_trust::{NodeSecrets, RootKey, RootSecret, certificate_to_hex, from_hex, to_hex};
use damc_wire::NodeId;
use damc_wire::registry::Role;
use damc_wire::security::{Certificate, CertifiedName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Plan, Process, certified_names};

/// What all keys of a domain are made of. It is a secret, and independent of the seed of a run, which is short and
/// printed.
#[derive(Clone)]
pub struct KeySeed([u8; Self::BYTES]);

impl KeySeed {
    /// Bytes of a seed.
    pub const BYTES: usize = 32;

    /// A seed out of the system's randomness.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The seed of a network that exists in memory only: the same number, the same keys. Whoever tries a million numbers
    /// has the keys, so no process of its own may have them.
    #[must_use]
    pub fn of_simulation(seed: u64) -> Self {
        Self(Sha256::new().chain_update(b"damc simulated keys\0").chain_update(seed.to_be_bytes()).finalize().into())
    }

    /// What [`Self::to_hex`] gave; none for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex("key seed", text).ok()?.try_into().ok().map(Self)
    }

    /// 64 hexadecimal digits, for a file that only its owner reads.
    #[must_use]
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }
}

impl core::fmt::Debug for KeySeed {
    /// Never what it is.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeySeed(…)")
    }
}

/// The domain's root, and the seed of every node's keys.
pub struct Authority {
    domain: NodeId,
    node_seed: [u8; 32],
    root: RootSecret,
}

impl Authority {
    /// That of a lab: one domain and one seed, one set of keys.
    #[must_use]
    pub fn new(domain: &NodeId, seed: &KeySeed) -> Self {
        let derive = |purpose: &str| -> [u8; 32] {
            let parts = [purpose.as_bytes(), &seed.0, domain.as_str().as_bytes()];
            parts.into_iter().fold(Sha256::new(), Digest::chain_update).finalize().into()
        };
        Self {
            domain: domain.clone(),
            node_seed: derive("damc node seed\0"),
            root: RootSecret::from_seed(&derive("damc root seed\0")),
        }
    }

    /// The key under which every certificate of the domain verifies.
    #[must_use]
    pub fn root(&self) -> RootKey {
        self.root.public()
    }

    /// A node's secrets, and its certificate in this role. An SPA's certificate carries the names that it may grant.
    #[must_use]
    pub fn certify(&self, node: &NodeId, role: Role, names: Vec<CertifiedName>) -> (NodeSecrets, Certificate) {
        let secrets = NodeSecrets::derive(&self.node_seed, node);
        let certificate = match role {
            Role::Spa => self.root.issue_spa(&self.domain, node, &secrets, names),
            _ => self.root.issue(&self.domain, node, role, &secrets),
        };
        (secrets, certificate)
    }

    fn identity(&self, node: &NodeId, role: Role, config: &NodeConfig, later: &[String]) -> IdentityConfig {
        let names = certified_names(&config.licences, &config.pools, later);
        let (secrets, certificate) = self.certify(node, role, names);
        IdentityConfig {
            root_key: to_hex(&self.root.public().to_bytes()),
            signing_secret: to_hex(&secrets.signing),
            agreement_secret: to_hex(&secrets.agreement),
            certificate: certificate_to_hex(&certificate),
        }
    }
}

/// A plan that was read back names something that no plan names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node}: `{value}` is no {what}")]
pub struct NoPlan {
    /// The node.
    pub node: String,
    /// What is wrong with it.
    pub value: String,
    /// What it should be.
    pub what: &'static str,
}

impl Plan {
    /// The configuration of every node, in start order, with its keys: what its file holds, for its owner's eyes.
    /// One seed gives the same keys every time.
    ///
    /// # Errors
    /// A name or role in the plan is none; never in one that [`super::plan`] made.
    pub fn configs(&self, keys: &KeySeed) -> Result<Vec<NodeConfig>, NoPlan> {
        let id = |node: &str, text: &str| {
            NodeId::new(text).map_err(|_| NoPlan {
                node: node.to_owned(),
                value: text.to_owned(),
                what: "node identity",
            })
        };
        let authority = Authority::new(&id("the domain", &self.domain)?, keys);
        let keyed = |process: &Process| {
            let config = &process.config;
            let role = Role::from_label(&config.role).ok_or_else(|| NoPlan {
                node: config.node.clone(),
                value: config.role.clone(),
                what: "role",
            })?;
            let node = id(&config.node, &config.node)?;
            Ok(config.with_keys(authority.identity(&node, role, config, &process.granted_later)))
        };
        self.processes.iter().map(keyed).collect()
    }
}

/// A node's configuration without its keys, which is all that a plan says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeylessConfig(#[serde(with = "Keyless")] NodeConfig);

impl KeylessConfig {
    /// The configuration as its file holds it.
    #[must_use]
    pub fn with_keys(&self, identity: IdentityConfig) -> NodeConfig {
        NodeConfig { identity, ..self.0.clone() }
    }

    /// The services, to complete them.
    pub fn services_mut(&mut self) -> &mut [ServiceConfig] {
        &mut self.0.services
    }
}

impl From<NodeConfig> for KeylessConfig {
    /// Forgets the keys.
    fn from(config: NodeConfig) -> Self {
        Self(NodeConfig { identity: no_keys(), ..config })
    }
}

impl Deref for KeylessConfig {
    type Target = NodeConfig;

    fn deref(&self) -> &NodeConfig {
        &self.0
    }
}

/// The identity of a configuration that has none.
pub(super) const fn no_keys() -> IdentityConfig {
    IdentityConfig {
        root_key: String::new(),
        signing_secret: String::new(),
        agreement_secret: String::new(),
        certificate: String::new(),
    }
}

/// The members of [`NodeConfig`] for serde, without the identity. The compiler holds both against each other.
#[derive(Serialize, Deserialize)]
#[serde(remote = "NodeConfig", deny_unknown_fields)]
struct Keyless {
    node: String,
    role: String,
    domain: String,
    admin_socket: PathBuf,
    ports: Vec<PortConfig>,
    #[serde(skip, default = "no_keys")]
    identity: IdentityConfig,
    #[serde(rename = "pace")]
    timers: Timers,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    services: Vec<ServiceConfig>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    licences: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pools: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    thresholds: BTreeMap<String, Thresholds>,
    #[serde(default)]
    transit: bool,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    link_macs: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<GatewayConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confine: Option<ConfineConfig>,
    #[serde(default, skip_serializing_if = "is_zero")]
    interfaces_within_ms: u64,
}
