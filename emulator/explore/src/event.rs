//! What can happen to a network, as the entries of a timeline.

use std::fmt;

use damc_wire::{Name, NodeId};

/// An entry of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, ms after convergence.
    pub at_ms: u64,
    /// How long it lasts, ms, before it is taken back; none: it stays.
    pub lasts_ms: Option<u64>,
    /// What happens.
    pub what: Happening,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A link changes.
    Link(NodeId, NodeId, Change),
    /// A node does something: a word of topology files.
    Node(NodeId, &'static str),
    /// A service stops, or crashes and starts again.
    Service(Name, &'static str),
    /// A pod announces something new.
    Announce(Name, NodeId),
    /// A licence comes (`grant`) or goes (`revoke`).
    Licence(NodeId, &'static str, Name),
    /// These nodes are cut off from all others; carriers stay.
    Partition(Vec<NodeId>),
    /// A pod calls a name so many times each second.
    Load(NodeId, Name, u32),
}

/// How a link changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A word of topology files: `down` or `silent`.
    State(&'static str),
    /// Properties as topology files write them.
    Properties(String),
}

impl Event {
    /// When it is over at the latest, ms after convergence.
    #[must_use]
    pub fn ends_ms(&self) -> u64 {
        self.at_ms + self.lasts_ms.unwrap_or(0)
    }

    /// Whether it is about a node.
    #[must_use]
    pub fn names(&self, node: &NodeId) -> bool {
        match &self.what {
            Happening::Link(a, b, _) => a == node || b == node,
            Happening::Node(other, _)
            | Happening::Announce(_, other)
            | Happening::Licence(other, ..)
            | Happening::Load(other, ..) => other == node,
            Happening::Partition(group) => group.contains(node),
            Happening::Service(..) => false,
        }
    }

    /// Whether it is about the link between two nodes.
    #[must_use]
    pub fn is_of_link(&self, a: &NodeId, b: &NodeId) -> bool {
        matches!(&self.what, Happening::Link(one, other, _) if (one, other) == (a, b) || (one, other) == (b, a))
    }

    /// The kind of what happens, for counts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.what {
            Happening::Link(_, _, Change::State(state)) => state,
            Happening::Link(..) => "impaired",
            Happening::Node(_, step) | Happening::Service(_, step) | Happening::Licence(_, step, _) => step,
            Happening::Announce(..) => "announce",
            Happening::Partition(_) => "partition",
            Happening::Load(..) => "load",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ at: {}ms, ", self.at_ms)?;
        match &self.what {
            Happening::Link(a, b, Change::State(state)) => write!(f, "link: [{a}, {b}], set: {state}")?,
            Happening::Link(a, b, Change::Properties(set)) => write!(f, "link: [{a}, {b}], set: {{ {set} }}")?,
            Happening::Node(node, step) => write!(f, "node: {node}, do: {step}")?,
            Happening::Service(prefix, step) => write!(f, "service: {prefix}, do: {step}")?,
            Happening::Announce(name, pod) => write!(f, "announce: {name} on {pod}")?,
            Happening::Licence(pod, step, name) => write!(f, "licence: {pod}, {step}: {name}")?,
            Happening::Partition(group) => {
                let group: Vec<&str> = group.iter().map(NodeId::as_str).collect();
                write!(f, "partition: [[{}], rest]", group.join(", "))?;
            }
            Happening::Load(from, to, rate) => write!(f, "load: {{ from: {from}, to: {to}, rate: {rate}/s }}")?,
        }
        self.lasts_ms.map_or(Ok(()), |ms| write!(f, ", for: {ms}ms"))?;
        f.write_str(" }")
    }
}
