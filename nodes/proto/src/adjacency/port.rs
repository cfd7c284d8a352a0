//! The adjacency of one port: three-way check with sessions, liveness, hop security.
//!
//! A *fresh* hello names this node and its current session. Only fresh hellos create, keep or restart an adjacency, so
//! a replayed hello has no effect. A hello that is not fresh is answered at once (rate-limited) by one that names its
//! sender. First contact and a restart of the neighbour therefore take one round trip.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use damc_forward::LinkKeys;
use damc_mgmt::words::{AdjacencyState, DownReason};
use damc_trust::{HopKey, ReplayWindow};
use damc_wire::registry::DropReason;
use damc_wire::{NodeId, Timestamp};

use super::echo::EchoState;
use super::{LinkQuality, Neighbour};
use crate::nack::TokenBucket;

/// Shortest interval between two answers to hellos that are not fresh; doubles up to the hello period.
const ANSWER_GAP: Duration = Duration::from_millis(10);
/// Most former sessions of the neighbour that are remembered within one session of ours: a replayed hello of one of
/// them must not restart the adjacency.
const RETIRED: usize = 8;
/// Hellos of a port whose signatures are checked: the mean number per second, and the burst. A starting neighbour needs
/// a tenth of that. A sender of more delays only its own port.
const VERIFICATIONS: u64 = 100;

/// The other end, two-way.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) neighbour: Neighbour,
    pub(super) key: HopKey,
    /// Of the routed PDUs between the two.
    pub(super) link_keys: LinkKeys,
    pub(super) counter: u64,
    pub(super) window: ReplayWindow,
    pub(super) echo: Option<EchoState>,
    /// A frame under the hop MAC came: the neighbour is two-way as well. Until then its hellos are answered, because
    /// the hello that told it so may be lost.
    confirmed: bool,
    dead_at: Timestamp,
}

/// A hello to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HelloOut {
    pub(super) session: u64,
    pub(super) heard: Option<(NodeId, u64)>,
}

#[derive(Debug)]
pub(super) struct PortMachine {
    pub(super) carrier: bool,
    /// Time at which the carrier last came.
    pub(super) carrier_at: Timestamp,
    pub(super) state: AdjacencyState,
    pub(super) since: Timestamp,
    pub(super) session: u64,
    pub(super) peer: Option<Peer>,
    pub(super) flaps: u64,
    pub(super) last_down: Option<DownReason>,
    /// Sender of the last hello while there is no peer, and the time to forget it.
    heard: Option<((NodeId, u64), Timestamp)>,
    retired: VecDeque<u64>,
    hello_at: Timestamp,
    hello_gap: Duration,
    answer: Option<(NodeId, u64)>,
    answer_at: Timestamp,
    answer_gap: Duration,
    /// Budget of checks of hello signatures.
    pub(super) verifications: TokenBucket,
}

impl PortMachine {
    pub(super) fn new(session: u64) -> Self {
        Self {
            carrier: false,
            carrier_at: Timestamp::ZERO,
            state: AdjacencyState::Down,
            since: Timestamp::ZERO,
            session,
            peer: None,
            flaps: 0,
            last_down: None,
            heard: None,
            retired: VecDeque::new(),
            hello_at: Timestamp::FAR_FUTURE,
            hello_gap: Duration::ZERO,
            answer: None,
            answer_at: Timestamp::ZERO,
            answer_gap: ANSWER_GAP,
            verifications: TokenBucket::new(VERIFICATIONS, VERIFICATIONS),
        }
    }

    /// Returns to the initial state with a new session; `gap` is the first interval between hellos, 0 without carrier.
    pub(super) fn restart(&mut self, now: Timestamp, session: u64, gap: Duration) {
        self.session = session;
        self.peer = None;
        self.heard = None;
        self.answer = None;
        self.retired.clear();
        self.set_state(now, AdjacencyState::Down);
        self.hello_at = if self.carrier { now } else { Timestamp::FAR_FUTURE };
        self.hello_gap = gap;
        self.answer_at = now;
        self.answer_gap = ANSWER_GAP;
    }

    pub(super) fn set_state(&mut self, now: Timestamp, state: AdjacencyState) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    /// Whether a fresh hello of this session may (re)start the adjacency.
    pub(super) fn is_retired(&self, session: u64) -> bool {
        self.retired.contains(&session)
    }

    /// Retires the neighbour's session. Returns whether there are too many retired ones: then the caller must draw a
    /// new session of our own.
    pub(super) fn retire_peer(&mut self) -> bool {
        if let Some(peer) = self.peer.take() {
            self.retired.push_back(peer.neighbour.session);
        }
        self.retired.len() > RETIRED
    }

    /// Handles a hello that does not prove two-way connectivity: schedules an answer and names its sender in our own
    /// hellos.
    pub(super) fn heard_stale(&mut self, now: Timestamp, who: (NodeId, u64), forget_after: Duration) {
        if self.peer.is_none() {
            self.heard = Some((who.clone(), now + forget_after));
            if self.state == AdjacencyState::Down {
                self.set_state(now, AdjacencyState::Init);
            }
        }
        self.answer = Some(who);
    }

    /// Two-way from now on.
    pub(super) fn begin(&mut self, now: Timestamp, peer: Peer, state: AdjacencyState) {
        self.answer = Some((peer.neighbour.node.clone(), peer.neighbour.session));
        self.answer_at = now;
        self.answer_gap = ANSWER_GAP;
        self.heard = None;
        self.peer = Some(peer);
        self.set_state(now, state);
    }

    /// Handles a fresh hello of the current peer.
    pub(super) fn keep_alive(&mut self, now: Timestamp, dead_interval: Duration) {
        if let Some(peer) = &mut self.peer {
            peer.dead_at = now + dead_interval;
            if !peer.confirmed {
                self.answer = Some((peer.neighbour.node.clone(), peer.neighbour.session));
            }
        }
    }

    /// Hellos that are due now.
    pub(super) fn hellos_due(&mut self, now: Timestamp, interval: Duration) -> Vec<HelloOut> {
        let mut due = Vec::new();
        if !self.carrier {
            return due;
        }
        if self.answer.is_some() && self.answer_at <= now {
            due.push(HelloOut { session: self.session, heard: self.answer.take() });
            self.answer_at = now + self.answer_gap;
            self.answer_gap = (self.answer_gap * 2).min(interval);
        }
        if self.hello_at <= now {
            let heard = match &self.peer {
                Some(peer) => Some((peer.neighbour.node.clone(), peer.neighbour.session)),
                None => self.heard.as_ref().map(|(who, _)| who.clone()),
            };
            let hello = HelloOut { session: self.session, heard };
            // Without a neighbour, hellos start at short intervals, so that a lost one does not cost a whole period.
            self.hello_gap = if self.peer.is_some() { interval } else { (self.hello_gap * 2).min(interval) };
            self.hello_at = now + self.hello_gap;
            if !due.contains(&hello) {
                due.push(hello);
            }
        }
        due
    }

    /// Forgets a silent sender, or returns the reason why the adjacency is over.
    pub(super) fn check_silence(&mut self, now: Timestamp) -> Option<DownReason> {
        if self.heard.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.heard = None;
            self.set_state(now, AdjacencyState::Down);
        }
        let peer = self.peer.as_mut()?;
        if peer.dead_at <= now {
            return Some(DownReason::HelloSilence);
        }
        peer.echo.as_mut().is_some_and(|e| e.is_silent(now)).then_some(DownReason::EchoSilence)
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        if !self.carrier {
            return None;
        }
        let mut next = self.hello_at;
        if self.answer.is_some() {
            next = next.min(self.answer_at);
        }
        if let Some((_, until)) = &self.heard {
            next = next.min(*until);
        }
        if let Some(peer) = &self.peer {
            next = next.min(peer.dead_at);
            if let Some(echo) = &peer.echo {
                next = next.min(echo.next_timeout());
            }
        }
        Some(next)
    }

    pub(super) fn quality(&self) -> LinkQuality {
        self.peer.as_ref().and_then(|p| p.echo.as_ref()).map(EchoState::quality).unwrap_or_default()
    }
}

impl Peer {
    pub(super) fn new(
        own: &NodeId,
        neighbour: Neighbour,
        key: HopKey,
        echo: Option<EchoState>,
        dead_at: Timestamp,
    ) -> Self {
        let link_keys = LinkKeys { inbound: key.link_key(&neighbour.node), outbound: key.link_key(own) };
        let window = ReplayWindow::default();
        Self { neighbour, key, link_keys, counter: 0, window, echo, confirmed: false, dead_at }
    }

    /// Checks hop security of a PDU from this peer: MAC, then counter (check-list 20).
    pub(super) fn admit(&mut self, now: Timestamp, pdu: &[u8]) -> Result<(), DropReason> {
        let (covered, security) = damc_wire::frame::open(pdu).ok_or(DropReason::MissingMac)?;
        if !self.key.verify(&self.neighbour.node, covered, &security.mac) {
            return Err(DropReason::BadMac);
        }
        if !self.window.accept(security.counter) {
            return Err(DropReason::Replayed);
        }
        self.confirmed = true;
        if let Some(echo) = &mut self.echo {
            echo.alive(now);
        }
        Ok(())
    }

    /// Appends hop security to an encoded PDU.
    pub(super) fn seal(&mut self, sender: &NodeId, pdu: Vec<u8>) -> Vec<u8> {
        self.counter += 1;
        damc_wire::frame::seal(pdu, self.counter, |covered| self.key.mac(sender, covered))
    }
}

/// The neighbour described by a verified hello.
pub(super) fn neighbour_of(hello: &damc_wire::message::Hello, own_session: u64) -> Neighbour {
    Neighbour {
        node: hello.certificate.node.clone(),
        role: hello.certificate.role,
        certificate: Arc::new(hello.certificate.clone()),
        session: hello.session,
        own_session,
    }
}
