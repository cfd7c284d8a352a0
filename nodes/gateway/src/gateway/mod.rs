//! The gateway of an SG: what becomes of a pod's packet, and of a frame for a pod.

mod egress;
mod own;

use core::net::Ipv6Addr;
use std::collections::BTreeMap;
use std::ops::Range;

use damc_wire::frame::{PACKET_OVERHEAD, write_packet};
use damc_wire::registry::MAX_PDU;
use damc_wire::{DropReason, Name, address};
use etherparse::TcpSlice;

use crate::book::Book;
use crate::errors::{self, PROHIBITED, Problem};
use crate::flows::{FlowCounts, Flows};
use crate::inquiry::Inquiries;
use crate::packet::{FlowKey, View};
use crate::{Mac, reset};

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
    /// Something answers TCP at the addresses of class 1 ([`address::of_gateway`]) and of the DNS ([`address::of_dns`]).
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
    inquiries: Inquiries,
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
            inquiries: Inquiries::default(),
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
            self.end(now_ns, port, &view.flow());
        }
        let Some(problem) = Problem::of_drop(reason) else { return false };
        self.tell(now_ns, &view, problem, out)
    }

    /// Routes are gone: forgets flows to names that `lives` denies and gives a reset for each of their connections.
    /// Their other ends are asked later ([`Gateway::inquire`]).
    pub fn sweep(&mut self, now_ns: u64, lives: impl Fn(&Name) -> bool, mut each: impl FnMut(u16, &[u8])) {
        let inquiries = &mut self.inquiries;
        self.flows.sweep(now_ns, lives, |flow| {
            each(flow.port, &reset::unasked(flow.key, flow.expects));
            inquiries.add(now_ns, flow.into());
        });
    }

    /// Whether [`Gateway::inquire`] may have something to say.
    #[must_use]
    pub fn has_inquiries(&self) -> bool {
        !self.inquiries.is_empty()
    }

    /// Asks the other ends of connections that were reset here, as soon as they `live` again, whether they still wait. Gives
    /// at most `most` PDUs, each with the port of the pod in whose name it is.
    pub fn inquire(
        &mut self,
        now_ns: u64,
        book: &Book,
        most: usize,
        lives: impl Fn(&Name) -> bool,
        mut each: impl FnMut(u16, &mut Vec<u8>),
    ) {
        let mut pdu = Vec::new();
        for ended in self.inquiries.due(now_ns, most, lives) {
            let Some(speaker) = book.speaker(ended.port, &ended.key.source) else { continue };
            let (hash, packet) = (self.flows.hash(&ended.key), reset::question(ended.key, ended.numbers));
            if write_packet(&mut pdu, (&ended.instance, speaker), hash as u32, errors::HOP_LIMIT, &packet) {
                each(ended.port, &mut pdu);
            }
        }
    }

    /// Forgets a flow whose other end is gone, and remembers to ask that end.
    fn end(&mut self, now_ns: u64, port: u16, key: &FlowKey) {
        if let Some(flow) = self.flows.forget(port, key) {
            self.inquiries.add(now_ns, (&flow).into());
        }
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
        reply(&packet, out);
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
}

/// Copies an answer into the output, whose memory the next packet will want.
fn reply(packet: &[u8], out: &mut Vec<u8>) -> Step {
    out.clear();
    out.extend_from_slice(packet);
    Step::Reply
}
