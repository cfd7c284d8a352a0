//! Body of `POST /order`: what an operator or a suite can have a node do.

use damc_wire::{Name, NodeId, Role};
use serde::{Deserialize, Serialize};

use crate::text;

/// A command, `{"order": "overload", "on": true}`. A node refuses those its role does not know (HTTP status 422).
///
/// This one type is what a tool writes, what the socket carries and what the machine takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// SG, SR: set or clear the overload bit.
    Overload {
        /// Set it.
        on: bool,
    },
    /// SG, SR: set the cost of sending over a port.
    Cost {
        /// Port: the neighbour's name.
        #[serde(with = "text::plain")]
        port: NodeId,
        /// Cost, 1 to 16777215; out of range it is held to it.
        cost: u32,
    },
    /// All: end in order, as on SIGTERM.
    Stop,
    /// SPA: take a licence away and revoke its grants.
    RevokeLicence {
        /// Pod.
        #[serde(with = "text::plain")]
        pod: NodeId,
        /// Prefix.
        #[serde(with = "text::plain")]
        prefix: Name,
    },
    /// SPA: add a licence.
    AddLicence {
        /// Pod.
        #[serde(with = "text::plain")]
        pod: NodeId,
        /// Prefix.
        #[serde(with = "text::plain")]
        prefix: Name,
    },
    /// SG: probe all targets now.
    Probe,
    /// SG: ask the SCSC for its path to a service or pool; answered by [`PathAnswer`].
    QueryPath {
        /// Service or pool.
        #[serde(with = "text::plain")]
        target: Name,
    },
    /// SCSC: preset other conditions from now on, without a restart; they are judged at once. What is not named is judged
    /// as it was configured; with no metric named the conditions are those of the configuration again.
    Thresholds {
        /// The services concerned: this name and all below it, unless a longer prefix has conditions of its own. Absent: all
        /// that have none.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "text::optional")]
        prefix: Option<Name>,
        /// The SG whose traffic is concerned; absent: all SGs. At one prefix, what is said of one SG goes first.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "text::optional")]
        source: Option<NodeId>,
        /// The conditions.
        #[serde(default)]
        preset: Preset,
    },
    /// Pod: start the process of a service, configured or new.
    StartService {
        /// Its prefix.
        #[serde(with = "text::plain")]
        prefix: Name,
        /// Its pool; that of the configuration where absent.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "text::optional")]
        pool: Option<Name>,
    },
    /// Pod: end the process of a service; it stays down until it is started.
    StopService {
        /// Its prefix.
        #[serde(with = "text::plain")]
        prefix: Name,
    },
    /// Pod: kill the process of a service as a fault; the agent restarts it.
    KillService {
        /// Its prefix.
        #[serde(with = "text::plain")]
        prefix: Name,
    },
}

impl Command {
    /// The roles that know it.
    #[must_use]
    pub const fn roles(&self) -> &'static [Role] {
        match self {
            Self::Overload { .. } | Self::Cost { .. } => &[Role::Sg, Role::Sr],
            Self::Stop => Role::ALL,
            Self::RevokeLicence { .. } | Self::AddLicence { .. } => &[Role::Spa],
            Self::Probe | Self::QueryPath { .. } => &[Role::Sg],
            Self::Thresholds { .. } => &[Role::Scsc],
            Self::StartService { .. } | Self::StopService { .. } | Self::KillService { .. } => &[Role::Pod],
        }
    }
}

/// Conditions of paths, as far as they are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Violated at this bandwidth and below, bit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bps: Option<u64>,
    /// Violated at this delay and above, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ns: Option<u64>,
    /// Violated at this jitter and above, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_ns: Option<u64>,
}

impl Preset {
    /// Whether no condition is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bandwidth_bps.is_none() && self.delay_ns.is_none() && self.jitter_ns.is_none()
    }

    /// Takes from `other` what is not named here.
    pub const fn fill(&mut self, other: &Self) {
        if self.bandwidth_bps.is_none() {
            self.bandwidth_bps = other.bandwidth_bps;
        }
        if self.delay_ns.is_none() {
            self.delay_ns = other.delay_ns;
        }
        if self.jitter_ns.is_none() {
            self.jitter_ns = other.jitter_ns;
        }
    }
}

/// Answer to [`Command::QueryPath`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathAnswer {
    /// Nodes; empty where unreachable.
    pub path: Vec<String>,
    /// Sum of the link costs.
    pub cost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_can_be_told_to_stop_and_only_some_the_rest() {
        let roles = |json: &str| serde_json::from_str::<Command>(json).unwrap().roles();
        assert_eq!(roles(r#"{"order": "stop"}"#), Role::ALL);
        assert_eq!(roles(r#"{"order": "cost", "port": "sr-1", "cost": 1}"#), [Role::Sg, Role::Sr]);
        assert_eq!(roles(r#"{"order": "probe"}"#), [Role::Sg]);
        assert_eq!(roles(r#"{"order": "add-licence", "pod": "pod-1", "prefix": "/A"}"#), [Role::Spa]);
        assert_eq!(roles(r#"{"order": "kill-service", "prefix": "/A"}"#), [Role::Pod]);
    }
}
