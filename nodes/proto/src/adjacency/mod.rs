//! Adjacencies on all ports of a node: discovery, three-way check, liveness, hop security. Every role uses it.

mod echo;
mod port;
pub mod roles;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use damc_forward::LinkKeys;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{NeighborView, NeighborsView};
use damc_mgmt::words::{AdjacencyState, DownReason};
use damc_trust::{SignatureMemory, Verifier};
use damc_wire::message::Hello;
use damc_wire::registry::DropReason;
use damc_wire::security::Certificate;
use damc_wire::{Frame, Message, Millis, NodeId, Role, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::echo::EchoState;
use self::port::{HelloOut, Peer, PortMachine, neighbour_of};
use crate::context::Context;
use crate::io::{Outbox, Output, PortId};

/// The other end of an adjacency that is at least two-way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its identity.
    pub node: NodeId,
    /// Its role.
    pub role: Role,
    /// Its certificate, verified.
    pub certificate: Arc<Certificate>,
    /// Its session.
    pub session: u64,
    /// Our session that it has confirmed.
    pub own_session: u64,
}

/// A hop-local message from an adjacent neighbour: MAC checked, not replayed, allowed for the pair of roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The port.
    pub port: PortId,
    /// The neighbour that sent it.
    pub neighbour: NodeId,
    /// Its role.
    pub role: Role,
    /// Its certificate, verified.
    pub certificate: Arc<Certificate>,
    /// Its session.
    pub session: u64,
    /// The message.
    pub message: Message,
}

/// A change that matters to users of the adjacency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Two-way. For SG–SG, SG–SR and SR–SR the state is now `Exchange` until [`Adjacencies::synchronised`], for all
    /// others `Full`.
    Up {
        /// The port.
        port: PortId,
        /// Its identity.
        node: NodeId,
        /// Its role.
        role: Role,
    },
    /// The adjacency is gone: carrier lost, silence, or restart of the neighbour.
    Down {
        /// The port.
        port: PortId,
        /// Its identity.
        node: NodeId,
        /// Its role.
        role: Role,
        /// Why.
        reason: DownReason,
    },
}

/// Quality of a link, measured by the echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkQuality {
    /// Half the round-trip time, ns (smoothed); `None` without a sample.
    pub delay_ns: Option<u64>,
    /// RFC 3550 jitter of the delay, ns.
    pub jitter_ns: Option<u64>,
    /// Lost echoes of the last window, parts per million.
    pub loss_ppm: u32,
}

/// The adjacencies of a node, one per port.
#[derive(Debug)]
pub struct Adjacencies {
    context: Arc<Context>,
    verifier: Verifier,
    rng: ChaCha8Rng,
    ports: Vec<PortMachine>,
    changes: VecDeque<Change>,
}

impl Adjacencies {
    /// Adjacencies with all ports down. Sessions are drawn from `seed`, which must be new at every start of the node.
    #[must_use]
    pub fn new(context: Arc<Context>, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ports = context.ports.iter().map(|_| PortMachine::new(draw_session(&mut rng))).collect();
        Self { verifier: context.verifier(), context, rng, ports, changes: VecDeque::new() }
    }

    /// Shares the work of verifying hellos.
    pub fn share_signatures(&mut self, memory: &SignatureMemory) {
        self.verifier.share(memory);
    }

    // ===== inputs =====

    /// Carrier came or went.
    pub fn handle_port(&mut self, now: Timestamp, port: PortId, up: bool, out: &mut Outbox) {
        let Some(machine) = self.ports.get_mut(usize::from(port.0)) else { return };
        if machine.carrier == up {
            return;
        }
        machine.carrier = up;
        out.event(EventKind::Carrier { port: self.context.port_label(port), up });
        if up {
            machine.carrier_at = now;
            self.restart(now, port);
            self.send_hellos(now, port, out);
        } else {
            self.take_down(now, port, DownReason::Carrier, out);
        }
    }

    /// Handles a hop-local PDU; returns the message unless it is the adjacency's own (hello, echo).
    pub fn handle_frame(
        &mut self,
        now: Timestamp,
        port: PortId,
        received_at: Timestamp,
        pdu: &[u8],
        out: &mut Outbox,
    ) -> Option<Received> {
        match self.receive(now, port, received_at, pdu, out) {
            Ok(received) => received,
            Err(reason) => {
                out.dropped(Some(port), reason);
                None
            }
        }
    }

    /// Sends what is due, and takes the adjacencies of silent neighbours down.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut Outbox) {
        for port in self.context.port_ids() {
            let machine = &mut self.ports[usize::from(port.0)];
            if machine.next_timeout().is_none_or(|at| at > now) {
                continue;
            }
            if let Some(reason) = machine.check_silence(now) {
                self.take_down(now, port, reason, out);
            }
            self.send_hellos(now, port, out);
            self.send_echo(now, port, out);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.ports.iter().filter_map(PortMachine::next_timeout).min()
    }

    /// Whether [`Self::poll_change`] has one.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Whether an adjacency that exchanges LSAs may soon be `Full`: its neighbour was heard, or the carrier came within
    /// `lately`.
    #[must_use]
    pub fn is_forming(&self, now: Timestamp, lately: Duration) -> bool {
        self.context.ports.iter().zip(&self.ports).any(|(config, machine)| {
            let counts = machine.carrier && roles::exchanges_lsas(self.context.role, config.peer_role);
            counts
                && machine.state != AdjacencyState::Full
                && (machine.state != AdjacencyState::Down || now.since(machine.carrier_at) < lately)
        })
    }

    /// The next change, oldest first.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Sends a hop-local message under the hop MAC; false (and nothing sent) without an adjacency on the port.
    pub fn send(&mut self, _now: Timestamp, port: PortId, message: Message, out: &mut Outbox) -> bool {
        let Some(peer) = self.ports.get_mut(usize::from(port.0)).and_then(|m| m.peer.as_mut()) else {
            return false;
        };
        let message_type = message.message_type();
        let Ok(pdu) = Frame::hop_local(message).encode() else {
            out.dropped(Some(port), DropReason::Oversized);
            return false;
        };
        *out.sent.entry(message_type).or_default() += 1;
        out.push(Output::Send { port, pdu: peer.seal(&self.context.node, pdu) });
        true
    }

    /// Sends a routed PDU by a port, whatever its destination, sealed for it: pods and the SCSC have one way for each frame.
    pub fn send_routed(&self, port: PortId, mut pdu: Vec<u8>, out: &mut Outbox) {
        if let Some(keys) = self.link_keys(port) {
            keys.outbound.seal(&mut pdu);
        }
        out.push(Output::Send { port, pdu });
    }

    /// Checks the link MAC of a routed PDU that came in by a port, at a node without a forwarding plane.
    ///
    /// # Errors
    /// Why it is to be dropped.
    pub fn check_routed(&self, port: PortId, pdu: &[u8]) -> Result<(), DropReason> {
        if self.neighbour(port).is_none() {
            return Err(DropReason::NoAdjacency);
        }
        self.link_keys(port).map_or(Ok(()), |keys| keys.inbound.check(pdu))
    }

    /// Handles the end of a port's database exchange: `Exchange` becomes `Full`.
    pub fn synchronised(&mut self, now: Timestamp, port: PortId, out: &mut Outbox) {
        if self.state(port) == AdjacencyState::Exchange {
            self.ports[usize::from(port.0)].set_state(now, AdjacencyState::Full);
            self.report(port, None, out);
        }
    }

    /// Tells all neighbours that this node stops: they drop the adjacency at once instead of after a silence.
    pub fn stop(&mut self, now: Timestamp, out: &mut Outbox) {
        for port in self.context.port_ids() {
            let machine = &self.ports[usize::from(port.0)];
            if let Some(peer) = &machine.peer {
                let heard = Some((peer.neighbour.node.clone(), peer.neighbour.session));
                let hello = HelloOut { session: machine.session, heard };
                self.send_hello(port, hello, Millis(0), out);
            }
            self.take_down(now, port, DownReason::Stopped, out);
            self.ports[usize::from(port.0)].carrier = false;
        }
    }

    // ===== questions =====

    /// The neighbour on a port, if the adjacency is two-way.
    #[must_use]
    pub fn neighbour(&self, port: PortId) -> Option<&Neighbour> {
        Some(&self.ports.get(usize::from(port.0))?.peer.as_ref()?.neighbour)
    }

    /// The keys of routed PDUs on a port, if the adjacency is two-way and the domain uses link MACs.
    #[must_use]
    pub fn link_keys(&self, port: PortId) -> Option<&LinkKeys> {
        let peer = self.ports.get(usize::from(port.0))?.peer.as_ref()?;
        self.context.link_macs.then_some(&peer.link_keys)
    }

    /// State of a port.
    #[must_use]
    pub fn state(&self, port: PortId) -> AdjacencyState {
        self.ports.get(usize::from(port.0)).map_or(AdjacencyState::Down, |m| m.state)
    }

    /// Number of times that adjacencies went down since the start.
    #[must_use]
    pub fn flaps(&self) -> u64 {
        self.ports.iter().map(|m| m.flaps).sum()
    }

    /// Quality of the link, measured by the echo.
    #[must_use]
    pub fn link_quality(&self, port: PortId) -> LinkQuality {
        self.ports.get(usize::from(port.0)).map(PortMachine::quality).unwrap_or_default()
    }

    /// `/neighbors`.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> NeighborsView {
        let row = |(config, machine): (&crate::context::Port, &PortMachine)| {
            let quality = machine.quality();
            NeighborView {
                port: config.name.to_string(),
                state: machine.state,
                role: machine.peer.as_ref().map(|p| p.neighbour.role),
                since_ms: u64::try_from(now.since(machine.since).as_millis()).unwrap_or(u64::MAX),
                delay_ns: quality.delay_ns,
                jitter_ns: quality.jitter_ns,
                unacknowledged: 0,
                flaps: machine.flaps,
                last_down: machine.last_down,
            }
        };
        let mut neighbors: Vec<NeighborView> = self.context.ports.iter().zip(&self.ports).map(row).collect();
        neighbors.sort_by(|a, b| a.port.cmp(&b.port));
        NeighborsView { node: self.context.node.to_string(), neighbors }
    }

    // ===== receiving =====

    fn receive(
        &mut self,
        now: Timestamp,
        port: PortId,
        received_at: Timestamp,
        pdu: &[u8],
        out: &mut Outbox,
    ) -> Result<Option<Received>, DropReason> {
        let index = usize::from(port.0);
        let expected = self.context.ports.get(index).ok_or(DropReason::NoAdjacency)?.peer_role;
        let frame = Frame::decode(pdu).map_err(|e| e.drop_reason())?;
        if let Message::Hello(hello) = frame.message {
            self.receive_hello(now, port, &hello, out)?;
            return Ok(None);
        }
        // The role the port is configured for decides the types allowed: a wrong type is wrong with any MAC.
        if !roles::may_send(expected, self.context.role, frame.header.message_type) {
            return Err(DropReason::WrongRole);
        }
        let peer = self.ports[index].peer.as_mut().ok_or(DropReason::NoAdjacency)?;
        peer.admit(now, pdu)?;
        if let Message::Echo(echo) = &frame.message {
            if let Some(state) = &mut peer.echo {
                state.received(received_at, echo);
                // By the round trip as it is known now.
                state.alive(now);
            }
            return Ok(None);
        }
        Ok(Some(Received {
            port,
            neighbour: peer.neighbour.node.clone(),
            role: peer.neighbour.role,
            certificate: Arc::clone(&peer.neighbour.certificate),
            session: peer.neighbour.session,
            message: frame.message,
        }))
    }

    /// Three-way check (check-list 1). Steps: sender, signature, parameters, freshness.
    fn receive_hello(
        &mut self,
        now: Timestamp,
        port: PortId,
        hello: &Hello,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        self.check_sender(now, port, hello)?;
        let machine = &mut self.ports[usize::from(port.0)];
        if !machine.carrier {
            return Err(DropReason::PortDown);
        }
        let who = (hello.certificate.node.clone(), hello.session);
        let fresh = hello.heard.as_ref().is_some_and(|(id, s)| *id == self.context.node && *s == machine.session);
        let known = machine.peer.as_ref().is_some_and(|p| p.neighbour.session == hello.session);
        if fresh && known && hello.dead_interval == Millis(0) {
            self.take_down(now, port, DownReason::Goodbye, out);
            return Ok(());
        }
        self.check_parameters(hello)?;
        let machine = &mut self.ports[usize::from(port.0)];
        if !fresh {
            machine.heard_stale(now, who, hello.dead_interval.duration());
        } else if known {
            machine.keep_alive(now, hello.dead_interval.duration());
        } else if machine.is_retired(hello.session) {
            return Err(DropReason::Replayed);
        } else {
            self.begin(now, port, hello, out)?;
        }
        self.send_hellos(now, port, out);
        self.send_echo(now, port, out);
        Ok(())
    }

    /// Checks that a hello verifies and comes from the node the port is named after, in its role. Cheap checks come
    /// first.
    fn check_sender(&mut self, now: Timestamp, port: PortId, hello: &Hello) -> Result<(), DropReason> {
        let config = &self.context.ports[usize::from(port.0)];
        let sender = &hello.certificate;
        if sender.node == self.context.node && sender.domain == self.context.domain {
            let own = self.ports.iter().any(|m| m.session == hello.session);
            return Err(if own { DropReason::Looped } else { DropReason::DuplicateIdentity });
        }
        if sender.role != config.peer_role || !roles::may_neighbour(self.context.role, sender.role) {
            return Err(DropReason::WrongRole);
        }
        if sender.node != config.name || hello.session == 0 {
            return Err(DropReason::ParameterMismatch);
        }
        if !self.ports[usize::from(port.0)].verifications.take(now) {
            return Err(DropReason::ResourceLimit);
        }
        self.verifier.verify_hello(hello).map_err(|e| e.drop_reason())
    }

    fn check_parameters(&self, hello: &Hello) -> Result<(), DropReason> {
        let timers = &self.context.timers;
        let fits = hello.hello_interval == Millis(timers.hello_interval_ms)
            && hello.dead_interval == Millis(timers.dead_interval_ms);
        if fits { Ok(()) } else { Err(DropReason::ParameterMismatch) }
    }

    /// Handles a fresh hello of a session other than the current one: the adjacency becomes two-way, or the neighbour
    /// restarted.
    fn begin(&mut self, now: Timestamp, port: PortId, hello: &Hello, out: &mut Outbox) -> Result<(), DropReason> {
        let own_session = self.ports[usize::from(port.0)].session;
        let key = self.context.keys.hop_key(own_session, &hello.certificate, hello.session);
        let key = key.map_err(|e| e.drop_reason())?;
        if self.ports[usize::from(port.0)].peer.is_some() {
            self.note_down(now, port, DownReason::Restarted, out);
            if self.ports[usize::from(port.0)].retire_peer() {
                // The memory of left sessions is full: a new own session makes all recorded hellos stale.
                self.restart(now, port);
                return Ok(());
            }
        }
        let timers = &self.context.timers;
        let echo = EchoState::new(
            now,
            Duration::from_millis(timers.echo_interval_ms),
            hello.echo_interval.duration(),
            timers.echo_multiplier.max(hello.echo_multiplier),
        );
        let neighbour = neighbour_of(hello, own_session);
        let (node, role) = (neighbour.node.clone(), neighbour.role);
        let state = if roles::exchanges_lsas(self.context.role, role) {
            AdjacencyState::Exchange
        } else {
            AdjacencyState::Full
        };
        let peer = Peer::new(&self.context.node, neighbour, key, echo, now + hello.dead_interval.duration());
        self.ports[usize::from(port.0)].begin(now, peer, state);
        self.changes.push_back(Change::Up { port, node, role });
        self.report(port, None, out);
        Ok(())
    }

    // ===== going down =====

    /// Takes an adjacency down and draws a new session of our own, so that no recorded hello is fresh.
    fn take_down(&mut self, now: Timestamp, port: PortId, reason: DownReason, out: &mut Outbox) {
        self.note_down(now, port, reason, out);
        self.restart(now, port);
    }

    fn note_down(&mut self, now: Timestamp, port: PortId, reason: DownReason, out: &mut Outbox) {
        let machine = &mut self.ports[usize::from(port.0)];
        let Some(peer) = &machine.peer else { return };
        let (node, role) = (peer.neighbour.node.clone(), peer.neighbour.role);
        machine.flaps += 1;
        machine.last_down = Some(reason);
        machine.set_state(now, AdjacencyState::Down);
        self.changes.push_back(Change::Down { port, node, role, reason });
        self.report(port, Some(reason), out);
    }

    fn restart(&mut self, now: Timestamp, port: PortId) {
        let session = draw_session(&mut self.rng);
        let gap =
            Duration::from_millis(self.context.timers.retransmit_ms.clamp(1, self.context.timers.hello_interval_ms));
        self.ports[usize::from(port.0)].restart(now, session, gap / 2);
    }

    fn report(&self, port: PortId, reason: Option<DownReason>, out: &mut Outbox) {
        let (port, state) = (self.context.port_label(port), self.state(port));
        out.event(EventKind::Adjacency { port, state, reason });
    }

    // ===== sending =====

    fn send_hellos(&mut self, now: Timestamp, port: PortId, out: &mut Outbox) {
        let interval = Duration::from_millis(self.context.timers.hello_interval_ms);
        for hello in self.ports[usize::from(port.0)].hellos_due(now, interval) {
            self.send_hello(port, hello, Millis(self.context.timers.dead_interval_ms), out);
        }
    }

    fn send_hello(&self, port: PortId, hello: HelloOut, dead_interval: Millis, out: &mut Outbox) {
        let timers = &self.context.timers;
        let signed = self.context.keys.sign_hello(Hello {
            certificate: self.context.keys.certificate().clone(),
            session: hello.session,
            heard: hello.heard,
            hello_interval: Millis(timers.hello_interval_ms),
            dead_interval,
            echo_interval: Millis(timers.echo_interval_ms),
            echo_multiplier: timers.echo_multiplier,
            signature: [0; 64],
        });
        let message = Message::Hello(signed);
        *out.sent.entry(message.message_type()).or_default() += 1;
        match Frame::hop_local(message).encode() {
            Ok(pdu) => out.push(Output::Send { port, pdu }),
            Err(_) => out.dropped(Some(port), DropReason::Oversized),
        }
    }

    fn send_echo(&mut self, now: Timestamp, port: PortId, out: &mut Outbox) {
        let peer = self.ports[usize::from(port.0)].peer.as_mut();
        if let Some(echo) = peer.and_then(|p| p.echo.as_mut()).and_then(|e| e.take_due(now)) {
            self.send(now, port, Message::Echo(echo), out);
        }
    }
}

fn draw_session(rng: &mut ChaCha8Rng) -> u64 {
    rng.random_range(1..=u64::MAX)
}
