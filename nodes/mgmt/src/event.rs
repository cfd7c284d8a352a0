//! The stream of `/events`: one JSON object a line, oldest first, starting with what the node still remembers.

use damc_wire::{DropReason, RefusalReason};
use serde::{Deserialize, Serialize};

use crate::command::Command;
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
    /// FIB published: `changed` operations. `set` and `gone` name prefixes that have a new entry, or none any more; of
    /// many only the first [`PREFIXES_TOLD`]. `via` says of each in `set` where its frames go now.
    Fib {
        version: u64,
        changed: usize,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        set: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        via: Vec<Via>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<String>,
    },
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
    /// Class 1 refused by the SG itself, without a question to the SPA.
    AnnouncementRefused {
        pod: String,
        prefix: String,
        #[serde(with = "label::plain")]
        reason: RefusalReason,
    },
    /// No SPA answered in time (SG); it is asked on.
    AuthUnanswered { pod: String, prefix: String },
    /// The time of a grant was over (SG).
    GrantExpired { pod: String, prefix: String },
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
    /// An operator or a suite had the node do something.
    Ordered { order: Command },
    /// A call failed (pod). `call` is its correlation on the wire, 16 hexadecimal digits; `reason` is null where the caller's
    /// time was over, and `detail` for negative replies the deciding node.
    CallFailed {
        call: String,
        source: String,
        name: String,
        #[serde(default, with = "label::optional")]
        reason: Option<RefusalReason>,
        detail: String,
    },
}

/// Where a new FIB entry sends frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// Ports of its equal next hops, named after the neighbours; none where the node itself is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Ports that stand in while none of those is up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backup: Vec<String>,
    /// Matches the name itself only (pools).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
}

/// Most prefixes that [`EventKind::Fib`] names in each of its lists.
pub const PREFIXES_TOLD: usize = 32;

/// Events of one incessant kind that are told in a second.
pub const TOLD_PER_SECOND: u32 = 20;
const SECOND_NS: u64 = 1_000_000_000;

/// Which events a node tells. What others can cause at any rate is told a few times a second, each kind for itself: a flood
/// must neither push other events out of the memory nor cost a line each. Counters count all.
#[derive(Debug, Default)]
pub struct Told {
    second: u64,
    in_second: [u32; 3],
}

impl Told {
    /// Whether an event is to be told.
    pub fn takes(&mut self, at_ns: u64, kind: &EventKind) -> bool {
        let incessant = match kind {
            EventKind::Dropped { .. } => 0,
            EventKind::LsaRefused { .. } => 1,
            EventKind::CallFailed { .. } => 2,
            _ => return true,
        };
        let second = at_ns / SECOND_NS;
        if self.second != second {
            *self = Self { second, in_second: [0; 3] };
        }
        let told = &mut self.in_second[incessant];
        *told = told.saturating_add(1);
        *told <= TOLD_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_takes_no_room_of_another() {
        let dropped = EventKind::Dropped { port: "p".into(), reason: DropReason::Malformed, detail: String::new() };
        let refused = EventKind::LsaRefused {
            origin: "sg-1".into(),
            id: "topology 0".into(),
            sequence: 1,
            reason: DropReason::StaleLsa,
            port: "p".into(),
        };
        let mut told = Told::default();
        let passed = (0..1000).filter(|at| told.takes(*at, &dropped)).count();
        assert_eq!(passed, TOLD_PER_SECOND as usize);
        assert!(told.takes(1000, &refused) && told.takes(1000, &EventKind::Ready));
        assert!(!told.takes(1001, &dropped) && told.takes(SECOND_NS, &dropped), "a new second");
    }
}
