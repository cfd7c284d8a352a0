//! A simulated node: its machine, its forwarding plane, and what was seen of it.

use core::time::Duration;
use std::collections::BTreeMap;

use damc_mgmt::config::NodeConfig;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::CountersView;
use damc_proto::io::{CallOutcome, Machine, PortCount, PortId, Unanswered};
use damc_wire::message::AnnounceReply;
use damc_wire::registry::{DropReason, MessageType};
use damc_wire::{Name, NodeId, Role, Timestamp};

use crate::plane::Plane;
use crate::records::EventLog;
use crate::services::Service;

/// What was seen of a node since it was made; a restart does not clear it.
#[derive(Debug, Default)]
pub struct Seen {
    /// Events with their times.
    pub events: Vec<(Timestamp, EventKind)>,
    /// Drops by reason, of both planes.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Frames sent on links by type.
    pub sent: BTreeMap<MessageType, u64>,
    /// Bytes of them, without Ethernet headers.
    pub sent_bytes: u64,
    /// When the forwarding table last changed.
    pub fib_changed_at: Timestamp,
    /// Calls that ended, by handle.
    pub calls: BTreeMap<u64, CallOutcome>,
    /// Announcements beside the adjacency that are over, by handle.
    pub announced: BTreeMap<u64, Result<AnnounceReply, Unanswered>>,
    /// Routed frames forwarded.
    pub forwarded: u64,
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whom.
    pub name: Name,
    /// Method.
    pub method: String,
    /// Argument bytes.
    pub payload: Vec<u8>,
    /// Deadline.
    pub deadline: Duration,
    /// Record the path.
    pub trace: bool,
    /// Flow; random where absent.
    pub flow: Option<u32>,
}

impl Call {
    /// A traced call of the built-in method `echo`.
    ///
    /// # Panics
    /// `name` is no name.
    #[must_use]
    pub fn echo(name: &str) -> Self {
        Self {
            name: name.parse().expect("a name"),
            method: "echo".to_owned(),
            payload: b"ping".to_vec(),
            deadline: Duration::from_secs(2),
            trace: true,
            flow: None,
        }
    }
}

const MILLION: i128 = 1_000_000;

pub(crate) struct SimNode {
    pub(crate) id: NodeId,
    pub(crate) role: Role,
    pub(crate) config: NodeConfig,
    /// None while the node is dead.
    pub(crate) machine: Option<Box<dyn Machine + Send>>,
    pub(crate) plane: Plane,
    /// Link by port.
    pub(crate) links: Vec<usize>,
    /// Bytes that passed each port.
    pub(crate) counts: Vec<PortCount>,
    /// Its machine wants to know them.
    pub(crate) to_count: bool,
    /// Times it was started.
    pub(crate) lives: u64,
    /// A wake-up is in the queue for then.
    pub(crate) wake_at: Option<Timestamp>,
    /// Does nothing and takes nothing until then: a paused process. What arrives waits.
    pub(crate) paused: bool,
    pub(crate) waiting: Vec<(PortId, Timestamp, Vec<u8>)>,
    /// Clock of the node: virtual time plus this.
    pub(crate) clock_skew: Duration,
    /// How much faster it runs than virtual time, in millionths.
    pub(crate) clock_drift_ppm: i32,
    pub(crate) seen: Seen,
    /// Its counters since it was started last.
    pub(crate) counters: CountersView,
    /// Pod: its services.
    pub(crate) services: Vec<Service>,
    /// The events it remembers since it was started last.
    pub(crate) log: EventLog,
    /// Ticks at one point in time, to notice a machine that asks for ever to be woken.
    pub(crate) ticks: (Timestamp, u32),
}

impl SimNode {
    /// Whether there is a service of this prefix, and, where `running`, one that serves.
    pub(crate) fn serves(&self, prefix: &Name, running: bool) -> bool {
        self.services.iter().any(|service| service.is(prefix, running))
    }

    /// Time by the clock of the node.
    pub(crate) fn clock(&self, at: Timestamp) -> Timestamp {
        let drifted = i128::from(at.nanos()) * i128::from(self.clock_drift_ppm) / MILLION;
        Timestamp(at.nanos().saturating_add_signed(i64::try_from(drifted).unwrap_or(0))) + self.clock_skew
    }

    /// The first moment at which the clock of the node says this, or more.
    pub(crate) fn when(&self, local: Timestamp) -> Timestamp {
        let since = local.since(Timestamp::ZERO + self.clock_skew).as_nanos();
        if self.clock_drift_ppm == 0 {
            return Timestamp(u64::try_from(since).unwrap_or(u64::MAX));
        }
        let rate = (MILLION + i128::from(self.clock_drift_ppm)).max(1).unsigned_abs();
        // Rounded up, and what the clock itself rounds off.
        let at = (since * MILLION.unsigned_abs()).div_ceil(rate) + 1;
        Timestamp(u64::try_from(at).unwrap_or(u64::MAX))
    }

    pub(crate) fn has_forwarding_plane(&self) -> bool {
        matches!(self.role, Role::Sg | Role::Sr)
    }
}

impl core::fmt::Debug for SimNode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SimNode({})", self.id)
    }
}
