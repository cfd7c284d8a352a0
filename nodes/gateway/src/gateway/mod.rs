//! The gateway of an SG: handles packets from pods and frames for pods.

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
use crate::flows::{Fate, FlowCounts, Flows};
use crate::inquiry::Inquiries;
use crate::packet::{FlowKey, View};
use crate::{Mac, reset};

/// Port of the DNS.
const DNS_PORT: u16 = 53;
/// Rate of ICMPv6 errors and resets to pods: the mean interval, ns, and the burst.
const ERROR_INTERVAL_NS: u64 = 1_000_000;
const ERROR_BURST: u64 = 256;

/// Options of a gateway.
#[derive(Clone, Debug)]
pub struct Options {
    /// Trust domain.
    pub domain: String,
    /// The SG's own name. Its address is the source of the gateway's errors.
    pub node: Name,
    /// Key of the hash over flows; must be random.
    pub key: (u64, u64),
    /// Whether a server answers TCP at the addresses of class 1 ([`address::of_gateway`]) and of the DNS
    /// ([`address::of_dns`]).
    pub serves: bool,
    /// How long connections to a name without a route are kept, ns: it may come back.
    pub grace_ns: u64,
}

/// What to do with a packet from a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The output is a PDU for the forwarding plane, which treats it as received by this port.
    Forward,
    /// The output is a packet for the same pod.
    Reply,
    /// It is for the server at the gateway's own address.
    Own,
    /// Ignore it; nothing is wrong.
    Ignore,
    /// Drop it; with `reply` the output is a packet for the same pod.
    Drop {
        /// Why.
        reason: DropReason,
        /// Whether the pod is told.
        reply: bool,
    },
}

/// What to do with a frame that is to leave by the port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Send it unchanged: it does not concern the gateway.
    Frame,
    /// Send this part of it as a packet.
    Packet(Range<usize>),
    /// Send the output as a packet instead.
    Reply,
    /// Send nothing; count a drop.
    Drop(DropReason),
    /// Send nothing; nothing is wrong.
    Ignore,
}

/// What to do with a packet from the server at the gateway's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnStep {
    /// Send it by this port of a pod; the second value is its length without padding.
    ToPod(u16, usize),
    /// The output is a packet for the server.
    Reply,
    /// Nothing.
    Ignore,
}

/// Most clients of the server at the gateway's own address that are remembered.
const CLIENT_LIMIT: usize = 4096;
/// Addresses without a name from which one pod may reach the server at one time.
const NAMELESS_LIMIT: usize = 4;
/// Such an address that was silent for so long makes room for another, ns.
const NAMELESS_SILENCE: u64 = 60_000_000_000;

/// A client of the server at the gateway's own address.
#[derive(Clone, Copy, Debug)]
struct Client {
    port: u16,
    /// Its address is that of a name of its pod.
    named: bool,
    last_ns: u64,
}

/// The gateway of an SG.
#[derive(Debug)]
pub struct Gateway {
    own: Ipv6Addr,
    dns: Ipv6Addr,
    class1: Ipv6Addr,
    serves: bool,
    grace_ns: u64,
    /// When the grace of a flow ends, ns, if one's instance is lost.
    sweep_at_ns: Option<u64>,
    flows: Flows,
    inquiries: Inquiries,
    /// Clients of the server at the gateway's own address, by client address.
    clients: BTreeMap<Ipv6Addr, Client>,
    /// Time up to which the budget of errors is spent (a token bucket), ns.
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
            grace_ns: options.grace_ns,
            sweep_at_ns: None,
            flows: Flows::new(options.key),
            inquiries: Inquiries::default(),
            clients: BTreeMap::new(),
            errors_used_ns: 0,
        }
    }

    /// Counts of the flow table.
    #[must_use]
    pub const fn flow_counts(&self) -> FlowCounts {
        self.flows.counts
    }

    /// Handles a packet that a pod sent by `port`. `mac` is our hardware address there.
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
            return self.drop(now_ns, &view, (DropReason::SourceNotAuthorised, false), out);
        };
        let key = view.flow();
        let hash = self.flows.hash(&key);
        let running = self.flows.sent(now_ns, (port, hash), &key, view.tcp().as_ref());
        let Some(destination) = running.or_else(|| book.name_at(&view.destination)) else {
            let over = !self.may_return(now_ns, book, &view.destination);
            return self.drop(now_ns, &view, (DropReason::NoRoute, over), out);
        };
        if destination.is_reserved() {
            let reply = self.tell(now_ns, &view, (Problem::Unreachable(PROHIBITED), false), out);
            return Step::Drop { reason: DropReason::NoRoute, reply };
        }
        if write_packet(out, (destination, source), hash as u32, view.hop_limit, view.bytes) {
            return Step::Forward;
        }
        let room = MAX_PDU - PACKET_OVERHEAD - destination.wire().len() - source.wire().len();
        // Names with an address leave room for the least MTU.
        let reply = self.tell(now_ns, &view, (Problem::TooBig(u32::try_from(room).unwrap_or(0)), false), out);
        Step::Drop { reason: DropReason::Oversized, reply }
    }

    /// Handles the drop, by the forwarding plane, of the PDU that [`Gateway::from_pod`] made of this packet. Returns
    /// true if the output is a packet that tells the pod.
    pub fn refused(
        &mut self,
        now_ns: u64,
        book: &Book,
        port: u16,
        packet: &[u8],
        reason: DropReason,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(view) = View::parse(packet) else { return false };
        let Some(problem) = Problem::of_drop(reason) else { return false };
        let over = problem.is_absence() && self.is_over(now_ns, book, port, &view.flow());
        self.tell(now_ns, &view, (problem, over), out)
    }

    /// Handles the coming and going of routes. Forgets flows to names for which `lives` is false, except in the grace of
    /// a name that is lost, and calls `each` with a reset for each of their connections. The other ends of these, and of
    /// connections to names that are back, are asked later ([`Gateway::inquire`]).
    pub fn sweep(&mut self, now_ns: u64, book: &Book, lives: impl Fn(&Name) -> bool, mut each: impl FnMut(u16, &[u8])) {
        let Self { inquiries, flows, grace_ns, .. } = self;
        let mut sweep_at_ns: Option<u64> = None;
        let fate = |instance: &Name| {
            if lives(instance) {
                return Fate::Lives;
            }
            let ends = address::of_name(book.domain(), instance).and_then(|a| book.lost_since(&a));
            match ends.map(|since| since + *grace_ns).filter(|at| now_ns < *at) {
                Some(at) => {
                    sweep_at_ns = Some(sweep_at_ns.map_or(at, |first| first.min(at)));
                    Fate::Lost
                }
                None => Fate::Gone,
            }
        };
        flows.sweep(now_ns, fate, |flow, fate| {
            if fate == Fate::Gone {
                each(flow.port, &reset::unasked(flow.key, flow.expects));
            }
            inquiries.add(now_ns, flow.into());
        });
        self.sweep_at_ns = sweep_at_ns;
    }

    /// When [`Gateway::sweep`] is due though no route comes or goes, ns.
    #[must_use]
    pub const fn sweep_at_ns(&self) -> Option<u64> {
        self.sweep_at_ns
    }

    /// Whether [`Gateway::inquire`] may have something to ask.
    #[must_use]
    pub fn has_inquiries(&self) -> bool {
        !self.inquiries.is_empty()
    }

    /// Asks the other ends of connections that were reset here, as soon as they `live` again, whether they still wait.
    /// Calls back with at most `most` PDUs, each with the port of the pod in whose name it is.
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

    /// Whether the name of this address is lost and may come back.
    fn may_return(&self, now_ns: u64, book: &Book, address: &Ipv6Addr) -> bool {
        book.lost_since(address).is_some_and(|since| now_ns < since + self.grace_ns)
    }

    /// Handles a packet of a flow for which there was no way, here or elsewhere. Returns true if the flow is over: its
    /// other end is gone, or the grace is. Then it is forgotten, and an inquiry at that end is scheduled.
    fn is_over(&mut self, now_ns: u64, book: &Book, port: u16, key: &FlowKey) -> bool {
        let refused = self.flows.refused(now_ns, port, key);
        let refused = refused.map(|(instance, since)| (address::of_name(book.domain(), instance), since));
        let over = match refused {
            // A name that is known while a packet to it goes nowhere is one whose tables are about to agree.
            Some((Some(end), since)) => {
                let may_return = book.name_at(&end).is_some() || self.may_return(now_ns, book, &end);
                !may_return || now_ns.saturating_sub(since) >= self.grace_ns
            }
            // What is not remembered cannot be waited for, except by name.
            Some((None, _)) | None => !self.may_return(now_ns, book, &key.destination),
        };
        if over && let Some(flow) = self.flows.forget(port, key) {
            self.inquiries.add(now_ns, (&flow).into());
        }
        over
    }

    fn drop(&mut self, now_ns: u64, view: &View<'_>, (reason, over): (DropReason, bool), out: &mut Vec<u8>) -> Step {
        let reply = match Problem::of_drop(reason) {
            Some(problem) => self.tell(now_ns, view, (problem, over), out),
            None => false,
        };
        Step::Drop { reason, reply }
    }

    /// Tells the pod about its packet: a reset if the connection is over, otherwise an error.
    fn tell(&mut self, now_ns: u64, view: &View<'_>, (problem, over): (Problem, bool), out: &mut Vec<u8>) -> bool {
        let segment = view.tcp();
        if !view.may_be_answered() || segment.as_ref().is_some_and(TcpSlice::rst) || !self.may_speak(now_ns) {
            return false;
        }
        let packet = match segment {
            Some(segment) if over && !segment.syn() => reset::answering(view.flow(), &segment),
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
