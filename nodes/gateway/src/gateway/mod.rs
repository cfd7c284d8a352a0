//! The gateway of an SG: what becomes of a pod's packet, and of a frame for a pod.

use core::net::Ipv6Addr;
use std::collections::BTreeMap;
use std::ops::Range;

use damc_wire::frame::{PACKET_OVERHEAD, RoutedView, nack_about, write_packet};
use damc_wire::registry::MAX_PDU;
use damc_wire::{DropReason, Frame, Message, MessageType, Name, address};
use etherparse::TcpSlice;

use crate::book::Book;
use crate::errors::{self, PORT, PROHIBITED, Problem};
use crate::flows::{FlowCounts, Flows};
use crate::packet::{View, set_hop_limit};
use crate::{Mac, dns, neighbour, reset};

/// Port of the DNS.
const DNS_PORT: u16 = 53;
/// ICMPv6 errors and resets to pods in a second, on the average, and at once.
const ERROR_INTERVAL_NS: u64 = 1_000_000;
const ERROR_BURST: u64 = 256;

/// What a gateway is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Trust domain.
    pub domain: String,
    /// The SG's own name: the gateway's errors come from its address.
    pub node: Name,
    /// Key of the hash over flows, to be random.
    pub key: (u64, u64),
    /// Something answers at the address of class 1 ([`address::of_gateway`]).
    pub serves: bool,
}

/// What becomes of a packet from a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The output is a PDU for the forwarding plane, to be treated like one that came in by this port.
    Forward,
    /// The output is a packet for the same pod.
    Reply,
    /// It is for what serves at the gateway's own address.
    Own,
    /// Nothing, and nothing is wrong.
    Ignore,
    /// It is dropped; with `reply` the output is a packet for the same pod.
    Drop {
        /// Why.
        reason: DropReason,
        /// The pod is told.
        reply: bool,
    },
}

/// What becomes of a frame that is to leave by the port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It leaves as it is: it is no business of the gateway.
    Frame,
    /// This part of it leaves as a packet.
    Packet(Range<usize>),
    /// The output leaves as a packet instead.
    Reply,
    /// Nothing leaves.
    Drop(DropReason),
    /// Nothing leaves, and nothing is wrong.
    Ignore,
}

/// What becomes of a packet of what serves at the gateway's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnStep {
    /// It leaves by the port of a pod; its length without padding.
    ToPod(u16, usize),
    /// The output is a packet for it.
    Reply,
    /// Nothing.
    Ignore,
}

/// Clients of what serves at the own address that are remembered.
const CLIENT_LIMIT: usize = 4096;

/// The gateway of an SG.
#[derive(Debug)]
pub struct Gateway {
    own: Ipv6Addr,
    dns: Ipv6Addr,
    class1: Ipv6Addr,
    serves: bool,
    flows: Flows,
    /// Who speaks with what serves at the own address, and by which port.
    clients: BTreeMap<Ipv6Addr, u16>,
    /// The time up to which errors are used up (a token bucket).
    errors_used_ns: u64,
}

impl Gateway {
    /// A gateway without flows.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let dns = address::of_dns(&options.domain);
        Self {
            own: address::of_name(&options.domain, &options.node).unwrap_or(dns),
            dns,
            class1: address::of_gateway(&options.domain),
            serves: options.serves,
            flows: Flows::new(options.key),
            clients: BTreeMap::new(),
            errors_used_ns: 0,
        }
    }

    /// Numbers of the flow table.
    #[must_use]
    pub const fn flow_counts(&self) -> FlowCounts {
        self.flows.counts
    }

    /// Takes a packet that a pod sent by `port`, whose own hardware address is `mac`.
    pub fn from_pod(
        &mut self,
        now_ns: u64,
        book: &Book,
        (port, mac): (u16, Mac),
        packet: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let Some(view) = View::parse(packet) else {
            return Step::Drop { reason: DropReason::Malformed, reply: false };
        };
        if view.destination.is_multicast() || view.destination.is_unicast_link_local() {
            return self.local(mac, &view, out);
        }
        if [self.dns, self.class1, self.own].contains(&view.destination) {
            return self.own(now_ns, book, (port, mac), &view, out);
        }
        let Some(source) = book.speaker(port, &view.source) else {
            return self.drop(now_ns, &view, DropReason::SourceNotAuthorised, out);
        };
        let key = view.flow();
        let hash = self.flows.hash(&key);
        let running = self.flows.sent(now_ns, (port, hash), &key, view.tcp().as_ref());
        let Some(destination) = running.or_else(|| book.name_at(&view.destination)) else {
            return self.drop(now_ns, &view, DropReason::NoRoute, out);
        };
        if destination.is_reserved() {
            let reply = self.tell(now_ns, &view, Problem::Unreachable(PROHIBITED), out);
            return Step::Drop { reason: DropReason::NoRoute, reply };
        }
        if write_packet(out, (destination, source), hash as u32, view.hop_limit, view.bytes) {
            return Step::Forward;
        }
        let room = MAX_PDU - PACKET_OVERHEAD - destination.wire().len() - source.wire().len();
        // Names that have addresses leave room for the least MTU.
        let reply = self.tell(now_ns, &view, Problem::TooBig(u32::try_from(room).unwrap_or(0)), out);
        Step::Drop { reason: DropReason::Oversized, reply }
    }

    /// The forwarding plane dropped the PDU that [`Gateway::from_pod`] made of this packet. True where the output is a
    /// packet that tells the pod.
    pub fn refused(&mut self, now_ns: u64, port: u16, packet: &[u8], reason: DropReason, out: &mut Vec<u8>) -> bool {
        let Some(view) = View::parse(packet) else { return false };
        if matches!(reason, DropReason::NoRoute | DropReason::NoSuchInstance) {
            self.flows.forget(port, &view.flow());
        }
        let Some(problem) = Problem::of_drop(reason) else { return false };
        self.tell(now_ns, &view, problem, out)
    }

    /// Takes a PDU that the forwarding plane would send out by the port of a pod.
    pub fn to_pod(&mut self, now_ns: u64, book: &Book, port: u16, pdu: &mut [u8], out: &mut Vec<u8>) -> Delivery {
        match pdu.get(1).copied() {
            Some(code) if code == MessageType::Packet.code() => self.deliver(now_ns, book, port, pdu),
            Some(code) if code == MessageType::Nack.code() => self.translate(now_ns, book, port, pdu, out),
            _ => Delivery::Frame,
        }
    }

    /// Routes are gone: forgets flows to names that `lives` denies and gives a reset for each of their connections.
    pub fn sweep(&mut self, now_ns: u64, lives: impl Fn(&Name) -> bool, mut each: impl FnMut(u16, &[u8])) {
        self.flows.sweep(now_ns, lives, |flow| each(flow.port, &reset::unasked(flow.key, flow.expects)));
    }

    /// A packet that is not to leave the link: only solicitations are answered.
    fn local(&self, mac: Mac, view: &View<'_>, out: &mut Vec<u8>) -> Step {
        let known = [address::ROUTER, self.dns, self.class1, self.own];
        match neighbour::answer(view, mac, &known).or_else(|| self.echo(view)) {
            Some(packet) => reply(packet, out),
            None => Step::Ignore,
        }
    }

    fn echo(&self, view: &View<'_>) -> Option<Vec<u8>> {
        (!view.destination.is_multicast()).then(|| errors::echo(view)).flatten()
    }

    /// A packet to the gateway itself.
    fn own(&mut self, now_ns: u64, book: &Book, (port, mac): (u16, Mac), view: &View<'_>, out: &mut Vec<u8>) -> Step {
        let own = [self.dns, self.class1, self.own];
        if let Some(packet) = neighbour::answer(view, mac, &own).or_else(|| self.echo(view)) {
            return reply(packet, out);
        }
        // Names can be resolved before there is anything to speak as; everything else needs a name.
        if let Some(udp) = view.udp().filter(|udp| view.destination == self.dns && udp.destination_port() == DNS_PORT) {
            let answer = if book.covers(&view.source) { dns::answer(view, &udp, book) } else { None };
            return answer.map_or(Step::Ignore, |packet| reply(packet, out));
        }
        if self.serves && view.destination == self.class1 && view.tcp().is_some() {
            return self.client(book, port, view);
        }
        if let Some(segment) = view.tcp() {
            return if segment.rst() || !self.may_speak(now_ns) {
                Step::Ignore
            } else {
                reply(reset::answering(view.flow(), &segment), out)
            };
        }
        if self.tell(now_ns, view, Problem::Unreachable(PORT), out) { Step::Reply } else { Step::Ignore }
    }

    /// Takes note of who speaks with what serves here. A pod without names yet may: what it says is signed. Nobody may in
    /// a name of another port.
    fn client(&mut self, book: &Book, port: u16, view: &View<'_>) -> Step {
        let known = self.clients.get(&view.source).copied();
        let owns = book.speaker(port, &view.source).is_some();
        let refused = Step::Drop { reason: DropReason::SourceNotAuthorised, reply: false };
        if !book.covers(&view.source)
            || (!owns && (book.is_spoken_elsewhere(port, &view.source) || known.is_some_and(|p| p != port)))
        {
            return refused;
        }
        if known != Some(port) {
            if self.clients.len() >= CLIENT_LIMIT {
                self.clients.clear();
            }
            self.clients.insert(view.source, port);
        }
        Step::Own
    }

    /// Takes a packet of what serves at the own address; `mac` is that of the gateway on this link. A port where the packet
    /// is for the pod there, an output where it is answered at once.
    pub fn from_own(&mut self, mac: Mac, packet: &[u8], out: &mut Vec<u8>) -> OwnStep {
        let Some(view) = View::parse(packet) else { return OwnStep::Ignore };
        if let Some(packet) = neighbour::answer(&view, mac, &[address::ROUTER]) {
            *out = packet;
            return OwnStep::Reply;
        }
        let to = self.clients.get(&view.destination).filter(|_| view.source == self.class1);
        to.map_or(OwnStep::Ignore, |port| OwnStep::ToPod(*port, view.bytes.len()))
    }

    fn drop(&mut self, now_ns: u64, view: &View<'_>, reason: DropReason, out: &mut Vec<u8>) -> Step {
        let reply = match Problem::of_drop(reason) {
            Some(problem) => self.tell(now_ns, view, problem, out),
            None => false,
        };
        Step::Drop { reason, reply }
    }

    /// Tells the pod about its packet: a reset where a connection has nobody at the other end any more, else an error.
    fn tell(&mut self, now_ns: u64, view: &View<'_>, problem: Problem, out: &mut Vec<u8>) -> bool {
        let gone = matches!(problem, Problem::Unreachable(errors::NO_ROUTE | errors::ADDRESS));
        let segment = view.tcp();
        if !view.may_be_answered() || segment.as_ref().is_some_and(TcpSlice::rst) || !self.may_speak(now_ns) {
            return false;
        }
        let packet = match segment {
            Some(segment) if gone && !segment.syn() => reset::answering(view.flow(), &segment),
            _ => errors::problem(self.own, view.source, view.bytes, problem),
        };
        reply(packet, out);
        true
    }

    /// Takes a token of the bucket.
    fn may_speak(&mut self, now_ns: u64) -> bool {
        let used = self.errors_used_ns.max(now_ns.saturating_sub(ERROR_INTERVAL_NS * ERROR_BURST)) + ERROR_INTERVAL_NS;
        let allowed = used <= now_ns.max(ERROR_INTERVAL_NS * ERROR_BURST);
        if allowed {
            self.errors_used_ns = used;
        }
        allowed
    }

    /// Makes an IPv6 packet of a packet message.
    fn deliver(&mut self, now_ns: u64, book: &Book, port: u16, pdu: &mut [u8]) -> Delivery {
        let Ok(routed) = RoutedView::parse(pdu) else { return Delivery::Drop(DropReason::Malformed) };
        let Some(place) = routed.inner_packet(pdu) else { return Delivery::Drop(DropReason::Malformed) };
        if !routed.checksum_holds(pdu) {
            return Delivery::Drop(DropReason::BadChecksum);
        }
        let Some(view) = View::parse(&pdu[place.clone()]) else { return Delivery::Drop(DropReason::Malformed) };
        // Its names brought it here; its addresses have to be theirs.
        if book.speaker(port, &view.destination).is_none() {
            return Delivery::Drop(DropReason::NoSuchInstance);
        }
        match book.name_at(&view.source) {
            None => return Delivery::Drop(DropReason::NoRoute),
            Some(name) if name.wire() != routed.source => {
                // It answers in the name of a pool. What an instance of a pool may be called is not for us to judge: its
                // own SG has.
                let key = view.flow().reversed();
                self.flows.delivered(now_ns, port, &key, routed.source, view.tcp().as_ref());
            }
            Some(_) => {
                if let Some(segment) = view.tcp() {
                    let key = view.flow().reversed();
                    self.flows.delivered(now_ns, port, &key, routed.source, Some(&segment));
                }
            }
        }
        let (hop_limit, place) = (routed.header.hop_limit, place.start..place.start + view.bytes.len());
        set_hop_limit(&mut pdu[place.clone()], hop_limit);
        Delivery::Packet(place)
    }

    /// Makes an ICMPv6 error, or a reset, of a negative reply about a packet.
    fn translate(&mut self, now_ns: u64, book: &Book, port: u16, pdu: &[u8], out: &mut Vec<u8>) -> Delivery {
        // Most negative replies are about calls: those are looked at no further.
        if nack_about(pdu) != Some(MessageType::Packet) {
            return Delivery::Frame;
        }
        let Ok(Frame { message: Message::Nack(nack), .. }) = Frame::decode(pdu) else {
            return Delivery::Drop(DropReason::Malformed);
        };
        // The quoted packet is cut off: its length does not agree any more.
        let quoted = &nack.body;
        let address = |at: usize| quoted.get(at..)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
        let Some(source) = address(8) else { return Delivery::Drop(DropReason::Malformed) };
        if book.speaker(port, &source).is_none() {
            return Delivery::Drop(DropReason::Unsolicited);
        }
        let speaker = Name::of_node(book.domain(), &nack.node).ok();
        let speaker = speaker.and_then(|name| address::of_name(book.domain(), &name)).unwrap_or(self.own);
        let problem = Problem::of_refusal(nack.reason);
        let gone = matches!(problem, Problem::Unreachable(errors::NO_ROUTE | errors::ADDRESS));
        let whole = restored(quoted);
        let view = View::parse(&whole);
        let segment = view.as_ref().and_then(View::tcp);
        if view.is_some_and(|v| !v.may_be_answered()) || segment.as_ref().is_some_and(TcpSlice::rst) {
            return Delivery::Ignore;
        }
        if !self.may_speak(now_ns) {
            return Delivery::Ignore;
        }
        if gone && let Some(view) = &view {
            self.flows.forget(port, &view.flow());
        }
        let packet = match (segment, &view) {
            (Some(segment), Some(view)) if gone && !segment.syn() => reset::answering(view.flow(), &segment),
            _ => errors::problem(speaker, source, quoted, problem),
        };
        reply(packet, out);
        Delivery::Reply
    }
}

/// A quoted packet with its length made to agree with what is left of it.
fn restored(quoted: &[u8]) -> Vec<u8> {
    let mut whole = quoted.to_vec();
    let length = u16::try_from(quoted.len().saturating_sub(crate::packet::HEADER)).unwrap_or(u16::MAX);
    if let Some(field) = whole.get_mut(4..6) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    whole
}

fn reply(packet: Vec<u8>, out: &mut Vec<u8>) -> Step {
    *out = packet;
    Step::Reply
}
