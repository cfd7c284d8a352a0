//! Adjacencies on all ports of a node: discovery, three-way check, liveness, hop security. Every role uses it.

use std::collections::VecDeque;
use std::sync::Arc;

use damc_mgmt::view::NeighborsView;
use damc_wire::security::Certificate;
use damc_wire::{Message, NodeId, Role, Timestamp};

use crate::context::Context;
use crate::io::{Outbox, PortId};

/// State of a port's adjacency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nobody is heard, or no carrier.
    Down,
    /// A neighbour is heard, it has not confirmed hearing us.
    Init,
    /// Two-way; SG and SR synchronise their databases.
    Exchange,
    /// In use.
    Full,
}

/// The other end of an adjacency that is at least two-way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who.
    pub node: NodeId,
    /// Its role.
    pub role: Role,
    /// Its certificate, verified.
    pub certificate: Arc<Certificate>,
    /// Its session.
    pub session: u64,
    /// Our session it has confirmed.
    pub own_session: u64,
}

/// A hop-local message from an adjacent neighbour: MAC checked, not replayed, allowed for the pair of roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where.
    pub port: PortId,
    /// From whom.
    pub neighbour: NodeId,
    /// Its role.
    pub role: Role,
    /// Its certificate, verified.
    pub certificate: Arc<Certificate>,
    /// Its session.
    pub session: u64,
    /// What.
    pub message: Message,
}

/// A change that matters to users of the adjacency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Two-way. For SG–SG, SG–SR and SR–SR the state is now `Exchange` until [`Adjacencies::synchronised`], for all
    /// others `Full`.
    Up {
        /// Where.
        port: PortId,
        /// Who.
        node: NodeId,
        /// Its role.
        role: Role,
    },
    /// Gone: carrier, silence, restart of the neighbour.
    Down {
        /// Where.
        port: PortId,
        /// Who.
        node: NodeId,
        /// Its role.
        role: Role,
    },
}

/// What the echo measured on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkQuality {
    /// Round trip / 2, ns (smoothed); none without a sample.
    pub delay_ns: Option<u64>,
    /// RFC 3550 jitter of it, ns.
    pub jitter_ns: Option<u64>,
    /// Lost echoes of the last window, parts per million.
    pub loss_ppm: u32,
}

/// The adjacencies of a node, one per port.
#[derive(Debug)]
pub struct Adjacencies {
    context: Arc<Context>,
    changes: VecDeque<Change>,
}

impl Adjacencies {
    /// All ports down. `seed` feeds the sessions.
    #[must_use]
    pub fn new(context: Arc<Context>, _seed: u64) -> Self {
        Self { context, changes: VecDeque::new() }
    }

    /// Carrier came or went.
    pub fn handle_port(&mut self, _now: Timestamp, _port: PortId, _up: bool, _out: &mut Outbox) {}

    /// Takes a hop-local PDU; returns the message where it is not one of the adjacency's own (hello, echo).
    pub fn handle_frame(
        &mut self,
        _now: Timestamp,
        _port: PortId,
        _received_at: Timestamp,
        _pdu: &[u8],
        _out: &mut Outbox,
    ) -> Option<Received> {
        None
    }

    /// Sends what is due, takes silent neighbours down.
    pub fn handle_timeout(&mut self, _now: Timestamp, _out: &mut Outbox) {}

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The next change, oldest first.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Sends a hop-local message under the hop MAC; false (and nothing sent) without an adjacency on the port.
    pub fn send(&mut self, _now: Timestamp, _port: PortId, _message: Message, _out: &mut Outbox) -> bool {
        false
    }

    /// The database exchange of a port is over: `Exchange` becomes `Full`.
    pub fn synchronised(&mut self, _now: Timestamp, _port: PortId, _out: &mut Outbox) {}

    /// The neighbour on a port, where two-way.
    #[must_use]
    pub fn neighbour(&self, _port: PortId) -> Option<&Neighbour> {
        None
    }

    /// State of a port.
    #[must_use]
    pub fn state(&self, _port: PortId) -> State {
        State::Down
    }

    /// What the echo measured.
    #[must_use]
    pub fn link_quality(&self, _port: PortId) -> LinkQuality {
        LinkQuality::default()
    }

    /// `/neighbors`.
    #[must_use]
    pub fn view(&self, _now: Timestamp) -> NeighborsView {
        NeighborsView { node: self.context.node.to_string(), neighbors: Vec::new() }
    }
}
