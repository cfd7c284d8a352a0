//! Reliable flooding, one session per neighbour: LSAs out, acknowledgements, and the database exchange before `Full`.

pub mod outgoing;
pub mod rto;
pub mod sync;

use std::collections::BTreeMap;

use damc_mgmt::config::Timers;
use damc_wire::frame::HOP_LOCAL_ROOM;
use damc_wire::lsa::{LsaHeader, LsaKey};
use damc_wire::message::DbSummary;
use damc_wire::{Message, Timestamp};

use self::outgoing::{Backoff, Outgoing, pack_headers};
use self::sync::Sync;
use crate::io::PortId;
use crate::lsdb::Lsdb;

/// What a neighbour is to flooding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SG or SR: both directions.
    Router,
    /// SCSC: gets every LSA as class 4 for its passive replica.
    Replica,
}

/// Flooding with one neighbour.
#[derive(Debug)]
pub struct Session {
    kind: Kind,
    /// What has to reach it.
    pub outgoing: Outgoing,
    /// The database exchange, until it is over.
    pub sync: Option<Sync>,
    /// Its own number, by which pages of ours are known when they come back.
    exchange: u32,
    acks: Vec<LsaHeader>,
    page_acks: Vec<DbSummary>,
}

impl Session {
    /// Starts with everything that is in the database: by exchange of summaries with a router, outright to a replica.
    #[must_use]
    pub fn new(now: Timestamp, kind: Kind, exchange: u32, timers: &Timers, lsdb: &Lsdb) -> Self {
        let backoff = Backoff::new(timers);
        let mut outgoing = Outgoing::new(backoff);
        let sync = match kind {
            Kind::Router => Some(Sync::new(exchange, backoff, lsdb.headers(now))),
            Kind::Replica => {
                for header in lsdb.headers(now) {
                    outgoing.enqueue(&header.key, header.version());
                }
                None
            }
        };
        Self { kind, outgoing, sync, exchange, acks: Vec::new(), page_acks: Vec::new() }
    }

    /// Whether this page is one of ours, returned as its acknowledgement.
    #[must_use]
    pub const fn is_own_page(&self, summary: &DbSummary) -> bool {
        summary.exchange == self.exchange
    }

    /// Acknowledges an LSA with the next frames.
    pub fn acknowledge(&mut self, header: LsaHeader) {
        self.acks.push(header);
    }

    /// The neighbour returned one of our pages.
    pub fn page_acknowledged(&mut self, now: Timestamp, page: u16) {
        if let Some(round_trip) = self.sync.as_mut().and_then(|sync| sync.page_acknowledged(now, page)) {
            self.outgoing.answered_after(round_trip);
        }
    }

    /// Acknowledges a summary page with the next frames.
    pub fn acknowledge_page(&mut self, summary: &DbSummary) {
        self.page_acks.push(DbSummary { headers: Vec::new(), ..*summary });
    }

    /// Messages to send now. Acknowledgements and summaries go first: they are short, and others wait for them.
    fn take_messages(&mut self, now: Timestamp, lsdb: &Lsdb) -> Vec<Message> {
        let mut messages = Vec::new();
        messages.extend(self.page_acks.drain(..).map(Message::DbSummary));
        messages.extend(pack_headers(self.acks.drain(..), HOP_LOCAL_ROOM).into_iter().map(Message::LsAck));
        if let Some(sync) = &mut self.sync {
            let due = sync.take_due(now, self.outgoing.rto());
            messages.extend(due.pages.into_iter().map(Message::DbSummary));
            messages.extend(due.requests.into_iter().map(Message::LsRequest));
        }
        let wrap = match self.kind {
            Kind::Router => Message::LsUpdate,
            Kind::Replica => Message::Topology,
        };
        messages.extend(self.outgoing.take_frames(now, lsdb).into_iter().map(wrap));
        messages
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let sync = self.sync.as_ref().and_then(Sync::next_timeout);
        sync.into_iter().chain(self.outgoing.next_timeout()).min()
    }
}

/// Flooding with all neighbours.
#[derive(Debug, Default)]
pub struct Flood {
    sessions: BTreeMap<PortId, Session>,
    retransmitted_before: u64,
}

impl Flood {
    /// A neighbour came.
    pub fn open(&mut self, port: PortId, session: Session) {
        self.close(port);
        self.sessions.insert(port, session);
    }

    /// A neighbour went.
    pub fn close(&mut self, port: PortId) {
        if let Some(session) = self.sessions.remove(&port) {
            self.retransmitted_before += session.outgoing.retransmitted();
        }
    }

    /// Flooding with the neighbour on a port.
    pub fn session(&mut self, port: PortId) -> Option<&mut Session> {
        self.sessions.get_mut(&port)
    }

    /// LSAs on a port that are not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self, port: PortId) -> usize {
        self.sessions.get(&port).map_or(0, |s| s.outgoing.len())
    }

    /// Whether all neighbours have acknowledged what they were sent of a key.
    #[must_use]
    pub fn is_acknowledged(&self, key: &LsaKey) -> bool {
        self.sessions.values().all(|s| s.outgoing.version(key).is_none())
    }

    /// A new instance is in the database: it goes to everybody but the neighbour it came from, and replaces older
    /// instances on all lists. Nobody needs to be asked for it any more.
    pub fn spread(&mut self, now: Timestamp, header: &LsaHeader, from: Option<PortId>) {
        for (port, session) in &mut self.sessions {
            if let Some(sync) = &mut session.sync {
                sync.satisfied(&header.key, header.version());
            }
            if Some(*port) == from {
                session.outgoing.acknowledged(now, header); // Implicit: it has this one, so older ones are pointless.
            } else {
                session.outgoing.enqueue(&header.key, header.version());
            }
        }
    }

    /// Sends without regard for bounds on what is in flight: the node is about to leave.
    pub fn rush(&mut self) {
        for session in self.sessions.values_mut() {
            session.outgoing.rush();
        }
    }

    /// Everything that is to be sent now.
    pub fn take_messages(&mut self, now: Timestamp, lsdb: &Lsdb) -> Vec<(PortId, Message)> {
        let mut all = Vec::new();
        for (port, session) in &mut self.sessions {
            all.extend(session.take_messages(now, lsdb).into_iter().map(|m| (*port, m)));
        }
        all
    }

    /// Ports whose database exchange has just become complete; the exchange is forgotten.
    pub fn take_synchronised(&mut self) -> Vec<PortId> {
        let mut done = Vec::new();
        for (port, session) in &mut self.sessions {
            if session.sync.as_ref().is_some_and(Sync::is_complete) {
                session.sync = None;
                done.push(*port);
            }
        }
        done
    }

    /// When [`Self::take_messages`] has something to send again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.sessions.values().filter_map(Session::next_timeout).min()
    }

    /// LSAs sent again since start.
    #[must_use]
    pub fn retransmitted(&self) -> u64 {
        self.retransmitted_before + self.sessions.values().map(|s| s.outgoing.retransmitted()).sum::<u64>()
    }
}
