//! What `lab-init` is asked to build: the plan of a topology together with the choices of this run. Written to `lab.json`
//! in the run directory, where it also tells other commands what the lab is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use damc_impair::DirectionSpec;

/// A lab to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Name of the lab.
    pub lab: String,
    /// Name of the topology.
    pub topology: String,
    /// Trust domain.
    pub domain: String,
    /// Seed of link randomness.
    pub seed: u64,
    /// What serves impaired links.
    pub links_by: LinksBy,
    /// Serve every link so that any impairment can be set later, plain ones too.
    pub all_relayed: bool,
    /// The executable that knows the hidden commands.
    pub program: PathBuf,
    /// When the caller began, `CLOCK_MONOTONIC`, ns.
    pub began_at_ns: u64,
    /// Bytes that the recording keeps, the newest ones; 0 for no recording.
    pub record_bytes: u64,
    /// How long recorded frames may gather before they are taken, ms.
    pub record_every_ms: u64,
    /// How long nodes may take to become ready, ms.
    pub ready_within_ms: u64,
    /// Nodes in start order.
    pub nodes: Vec<NodeJob>,
    /// Links in the order of the topology file.
    pub links: Vec<LinkJob>,
}

/// Which backend is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinksBy {
    /// netem where the kernel has it, else the relay.
    #[default]
    Auto,
    /// netem or nothing.
    Netem,
    /// The relay.
    Relay,
}

impl std::str::FromStr for LinksBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "netem" => Ok(Self::Netem),
            "relay" => Ok(Self::Relay),
            other => Err(format!("links are served by auto, netem or relay, not by `{other}`")),
        }
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeJob {
    /// Name.
    pub name: String,
    /// `sg`, `sr`, `spa`, `scsc` or `pod`.
    pub kind: String,
    /// Program and arguments; empty for a namespace without a process.
    pub argv: Vec<String>,
    /// Names a pod announces: instances and pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkJob {
    /// One end.
    pub a: EndJob,
    /// The other end.
    pub b: EndJob,
    /// What happens to frames from `a` to `b`.
    pub forward: DirectionSpec,
    /// What happens to frames from `b` to `a`.
    pub backward: DirectionSpec,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndJob {
    /// Node.
    pub node: String,
    /// Interface in the node's namespace.
    pub interface: String,
    /// Hardware address.
    pub address: [u8; 6],
}

impl Job {
    /// The port of `node` towards `neighbour`: the interface there.
    #[must_use]
    pub fn interface(&self, node: &str, neighbour: &str) -> Option<&str> {
        self.links.iter().find_map(|link| match (&link.a, &link.b) {
            (a, b) if a.node == node && b.node == neighbour => Some(a.interface.as_str()),
            (a, b) if b.node == node && a.node == neighbour => Some(b.interface.as_str()),
            _ => None,
        })
    }

    /// Ends at `node`, in order, each with the neighbour's name.
    pub fn ends_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a str, &'a EndJob)> {
        self.links.iter().filter_map(move |link| {
            if link.a.node == node {
                Some((link.b.node.as_str(), &link.a))
            } else if link.b.node == node {
                Some((link.a.node.as_str(), &link.b))
            } else {
                None
            }
        })
    }
}

/// A hardware address as it is usually written.
#[must_use]
pub fn format_address(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
