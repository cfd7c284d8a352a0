//! What every part of a machine knows about its node: the validated form of its configuration file.

use damc_mgmt::config::{IdentityConfig, NodeConfig, Timers};
use damc_trust::{NodeKeys, NodeSecrets, RootKey, Verifier, certificate_from_hex, from_hex};
use damc_wire::message::Signed;
use damc_wire::{Name, NodeId, Role};

use crate::io::PortId;
use crate::lsdb::FRAGMENTS_PER_ORIGIN;
use crate::router::PORTS_PER_FRAGMENT;

/// One configured port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Named after the neighbour expected there.
    pub name: NodeId,
    /// Cost of sending over it.
    pub cost: u32,
    /// Role expected at the other end.
    pub peer_role: Role,
}

/// A node's identity, ports and timers. Valid by construction; shared by the parts of a machine.
#[derive(Clone, Debug)]
pub struct Context {
    /// Own identity.
    pub node: NodeId,
    /// Trust domain.
    pub domain: NodeId,
    /// Own role.
    pub role: Role,
    /// Own name, `/damc/<domain>/<node>`.
    pub name: Name,
    /// Ports by [`PortId`].
    pub ports: Vec<Port>,
    /// Periods and deadlines.
    pub timers: Timers,
    /// SG that is used for transit all the same.
    pub transit: bool,
    /// Routed frames carry link MACs.
    pub link_macs: bool,
    /// Own keys and certificate.
    pub keys: NodeKeys,
    /// The domain's root key.
    pub root: RootKey,
}

/// Why a configuration cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A field does not parse.
    #[error("{field}: {problem}")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// The configuration is for another role than the machine.
    #[error("this is a configuration for role {found}, expected {expected}")]
    Role {
        /// Role of the machine.
        expected: Role,
        /// Role in the file.
        found: Role,
    },
}

impl ConfigError {
    /// A field that does not parse.
    pub fn field(field: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Field { field: field.into(), problem: problem.to_string() }
    }
}

impl Context {
    /// Whether the signer of a routed message speaks under its own name. Free of cryptography, so it is asked first.
    pub(crate) fn speaks_in_own_name<T>(&self, source: &Name, signed: &Signed<T>) -> bool {
        Name::of_node(self.domain.as_str(), &signed.certificate.node).as_ref() == Ok(source)
    }

    /// Validates a configuration.
    ///
    /// # Errors
    /// The first field that does not parse or contradicts another.
    pub fn from_config(config: &NodeConfig) -> Result<Self, ConfigError> {
        let node = NodeId::new(&config.node).map_err(|e| ConfigError::field("node", e))?;
        let domain = NodeId::new(&config.domain).map_err(|e| ConfigError::field("domain", e))?;
        let role = parse_role("role", &config.role)?;
        let name = Name::of_node(domain.as_str(), &node).map_err(|e| ConfigError::field("node", e))?;
        let mut ports: Vec<Port> = Vec::with_capacity(config.ports.len());
        for (i, p) in config.ports.iter().enumerate() {
            let at = |field: &str| format!("ports[{i}].{field}");
            let port = Port {
                name: NodeId::new(&p.name).map_err(|e| ConfigError::field(at("name"), e))?,
                cost: p.cost,
                peer_role: parse_role(&at("peer_role"), &p.peer_role)?,
            };
            if !(1..=damc_wire::lsa::MAX_COST).contains(&port.cost) {
                return Err(ConfigError::field(at("cost"), "must be 1 to 16777215"));
            }
            if port.name == node || ports.iter().any(|other| other.name == port.name) {
                return Err(ConfigError::field(at("name"), "must name another node, and each node once"));
            }
            let is_link = matches!(port.peer_role, Role::Sg | Role::Sr);
            if is_link && i >= PORTS_PER_FRAGMENT * usize::from(FRAGMENTS_PER_ORIGIN) {
                return Err(ConfigError::field(at("peer_role"), "SG and SR have to be among the first 1536 ports"));
            }
            ports.push(port);
        }
        let (keys, root) = read_identity(&config.identity)?;
        let certificate = keys.certificate();
        if certificate.node != node || certificate.domain != domain || certificate.role != role {
            return Err(ConfigError::field("identity.certificate", "is for another node, domain or role"));
        }
        let (timers, transit, link_macs) = (config.timers.clone(), config.transit, config.link_macs);
        Ok(Self { node, domain, role, name, ports, timers, transit, link_macs, keys, root })
    }

    /// A verifier of its own for a part of the machine; it believes the domain's root key.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.root.clone(), self.domain.clone())
    }

    /// Fails unless the configuration is for `expected`.
    ///
    /// # Errors
    /// [`ConfigError::Role`].
    pub fn require_role(&self, expected: Role) -> Result<(), ConfigError> {
        if self.role == expected { Ok(()) } else { Err(ConfigError::Role { expected, found: self.role }) }
    }

    /// A port by number.
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<&Port> {
        self.ports.get(usize::from(port.0))
    }

    /// The port towards a neighbour.
    #[must_use]
    pub fn port_named(&self, neighbour: &NodeId) -> Option<PortId> {
        let index = self.ports.iter().position(|p| p.name == *neighbour)?;
        u16::try_from(index).ok().map(PortId)
    }

    /// All port numbers.
    pub fn port_ids(&self) -> impl Iterator<Item = PortId> + use<> {
        (0..u16::try_from(self.ports.len()).unwrap_or(u16::MAX)).map(PortId)
    }

    /// Name of a port for events; `?` where it is not configured.
    #[must_use]
    pub fn port_label(&self, port: PortId) -> String {
        self.port(port).map_or_else(|| "?".to_owned(), |p| p.name.to_string())
    }
}

fn read_identity(identity: &IdentityConfig) -> Result<(NodeKeys, RootKey), ConfigError> {
    let bytes = |field: &'static str, text: &str| -> Result<[u8; 32], ConfigError> {
        let at = || format!("identity.{field}");
        let bytes = from_hex(field, text).map_err(|e| ConfigError::field(at(), e))?;
        bytes.try_into().map_err(|_| ConfigError::field(at(), "must be 32 bytes"))
    };
    let root = RootKey::from_bytes(&bytes("root_key", &identity.root_key)?)
        .map_err(|e| ConfigError::field("identity.root_key", e))?;
    let secrets = NodeSecrets {
        signing: bytes("signing_secret", &identity.signing_secret)?,
        agreement: bytes("agreement_secret", &identity.agreement_secret)?,
    };
    let certificate =
        certificate_from_hex(&identity.certificate).map_err(|e| ConfigError::field("identity.certificate", e))?;
    let keys = NodeKeys::new(&secrets, certificate).map_err(|e| ConfigError::field("identity.certificate", e))?;
    Ok((keys, root))
}

fn parse_role(field: &str, text: &str) -> Result<Role, ConfigError> {
    Role::from_label(text).ok_or_else(|| ConfigError::field(field, "must be sr, sg, spa, scsc or pod"))
}
