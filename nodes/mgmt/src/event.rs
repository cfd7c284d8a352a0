//! The stream of `/events`: one JSON object a line, oldest first, starting with what the node still remembers.

use damc_wire::{DropReason, RefusalReason};
use serde::{Deserialize, Serialize};

use crate::label;
use crate::words::{AdjacencyState, DownReason, Metric, PolicyActionKind, Trigger};

/// A timestamped change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Node's monotonic clock, ns.
    pub at_ns: u64,
    /// Rises by one with every event of the process: a gap is a lost event.
    pub sequence: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "fields carry the names of the protocol's terms; units are in the names")]
pub enum EventKind {
    /// The process is ready: ports open, management socket listening.
    Ready,
    /// Adjacency state changed.
    Adjacency { port: String, state: AdjacencyState, reason: Option<DownReason> },
    /// Carrier changed.
    Carrier { port: String, up: bool },
    /// LSA originated or purged by this node.
    LsaOriginated {
        origin: String,
        id: String,
        #[serde(rename = "lsa_sequence")]
        sequence: u64,
        purge: bool,
    },
    /// LSA installed from a neighbour.
    LsaAccepted {
        origin: String,
        id: String,
        #[serde(rename = "lsa_sequence")]
        sequence: u64,
        purge: bool,
        port: String,
    },
    /// LSA refused.
    LsaRefused {
        origin: String,
        id: String,
        #[serde(rename = "lsa_sequence")]
        sequence: u64,
        #[serde(with = "label::plain")]
        reason: DropReason,
        port: String,
    },
    /// LSA left by age.
    LsaExpired { origin: String, id: String },
    /// Routes computed: full SPF, or partial (prefix only). `duration_ns` is how long the machine worked on the input that
    /// made it compute, up to this event; 0 in a simulation, whose time does not pass meanwhile.
    Computed { full: bool, duration_ns: u64, prefixes: usize, trigger: Trigger },
    /// FIB published.
    Fib { version: u64, changed: usize },
    /// Class 1 received or sent.
    Announced { pod: String, prefix: String, withdrawn: bool },
    /// Class 3 outcome at SG or SPA.
    Authenticated {
        pod: String,
        prefix: String,
        #[serde(default, with = "label::optional")]
        refusal: Option<RefusalReason>,
        serial: Option<u64>,
    },
    /// A grant was revoked.
    Revoked { pod: String, prefix: String },
    /// A path metric crossed a threshold (SCSC), either way.
    Violation { source: String, target: String, metrics: Vec<Metric> },
    /// A policy was issued (SCSC) or changed state (SG, SR).
    Policy { label: u32, version: u64, prefix: String, action: PolicyActionKind, active: bool, reason: Option<String> },
    /// A frame was dropped by the control plane.
    Dropped {
        port: String,
        #[serde(with = "label::plain")]
        reason: DropReason,
        detail: String,
    },
    /// A target's availability changed (SG).
    Availability { target: String, available: bool },
    /// A service process ended or came back (pod).
    Service { prefix: String, running: bool, detail: String },
}
