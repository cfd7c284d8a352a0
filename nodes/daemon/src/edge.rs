//! The forwarding thread's side towards programs in pods: their IPv6 packets, in and out.

use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use damc_forward::{Fib, Ingress, Verdict};
use damc_gateway::{Book, Delivery, Gateway, OwnStep, Step};
use damc_link::{ETHERNET_HEADER, Mac, Pdus, RawSocket, ReceiveArena, Transmit, monotonic_now};
use damc_wire::DropReason;
use nix::sys::eventfd::EventFd;

use crate::counters::{Counters, GatewayCount};

/// EtherType of IPv6.
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The hardware address of the neighbour on a port, as its hop-local frames tell it. Written by the control thread.
#[derive(Debug, Default)]
pub(crate) struct PeerAddress(AtomicU64);

impl PeerAddress {
    /// Set in the number of an address that is known.
    const KNOWN: u64 = 1 << 48;

    pub(crate) fn set(&self, mac: Mac) {
        let [a, b, c, d, e, f] = mac;
        self.0.store(u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | Self::KNOWN, Relaxed);
    }

    fn get(&self) -> Option<Mac> {
        let value = self.0.load(Relaxed);
        let [_, _, a, b, c, d, e, f] = value.to_be_bytes();
        (value & Self::KNOWN != 0).then_some([a, b, c, d, e, f])
    }
}

/// A port that leads to a pod.
pub(crate) struct PodPort {
    pub(crate) socket: RawSocket,
    pub(crate) own: Mac,
    pub(crate) peer: Arc<PeerAddress>,
}

impl PodPort {
    fn header(&self) -> Option<[u8; ETHERNET_HEADER]> {
        let mut header = [0; ETHERNET_HEADER];
        header[..6].copy_from_slice(&self.peer.get()?);
        header[6..12].copy_from_slice(&self.own);
        header[12..].copy_from_slice(&IPV6);
        Some(header)
    }
}

/// Where the bytes of a packet for a pod lie until they are sent.
enum Place {
    /// In a received frame: its index, and which part of its PDU.
    Arena(usize, Range<usize>),
    /// In a PDU made here.
    Made(usize, Range<usize>),
    /// By itself.
    Own(Vec<u8>),
}

/// Everything the thread needs for pods. Its queues are emptied after every batch and keep their memory.
pub(crate) struct Edge {
    gateway: Gateway,
    book: Arc<ArcSwap<Book>>,
    ports: Vec<Option<PodPort>>,
    /// What serves at the gateway's own address, behind an interface of its own.
    own: Option<PodPort>,
    to_own: Vec<usize>,
    /// Rung by the control thread when names have gone.
    gone: Arc<EventFd>,
    counters: Arc<Counters>,
    /// PDUs made of packets, and where each goes.
    made: Vec<Vec<u8>>,
    pdus: Vec<(u16, usize)>,
    packets: Vec<(u16, Place)>,
    answer: Vec<u8>,
}

impl Edge {
    pub(crate) fn new(
        gateway: Gateway,
        book: Arc<ArcSwap<Book>>,
        ports: Vec<Option<PodPort>>,
        gone: Arc<EventFd>,
        counters: Arc<Counters>,
        own: Option<PodPort>,
        batch: usize,
    ) -> Self {
        let made = (0..batch).map(|_| Vec::with_capacity(damc_wire::registry::MAX_PDU)).collect();
        Self {
            gateway,
            book,
            ports,
            own,
            to_own: Vec::new(),
            gone,
            counters,
            made,
            pdus: Vec::new(),
            packets: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// The sockets for packets, with their ports.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (u16, BorrowedFd<'_>)> {
        (0..).zip(&self.ports).filter_map(|(number, port)| Some((number, port.as_ref()?.socket.as_fd())))
    }

    /// Becomes readable when names have gone.
    pub(crate) fn gone(&self) -> BorrowedFd<'_> {
        self.gone.as_fd()
    }

    /// Whether a port leads to a pod.
    pub(crate) fn leads_to_pod(&self, port: u16) -> bool {
        self.ports.get(usize::from(port)).is_some_and(Option::is_some)
    }

    /// Takes one batch of packets that a pod sent by `port`; [`Edge::pdus`] are to be sent next.
    pub(crate) fn receive(&mut self, port: u16, table: &Fib, arena: &mut ReceiveArena) {
        let Some(Some(pod)) = self.ports.get(usize::from(port)) else { return };
        let count = match arena.receive(&pod.socket) {
            Ok(count) => count,
            Err(e) => return tracing::warn!("receiving packets failed: {e}"),
        };
        if count == arena.capacity() {
            self.counters.dropped(DropReason::QueueFull, pod.socket.take_drops().unwrap_or(0));
        }
        let from = (port, pod.own);
        let (now, book) = (monotonic_now(), self.book.load_full());
        self.pdus.clear();
        for index in 0..count {
            self.take(now, &book, from, table, (index, arena.pdu(index)));
        }
        self.flush(arena);
        if let Some((own, header)) = self.own.as_ref().and_then(|own| Some((own, own.header()?))) {
            let bodies = self.to_own.iter().map(|index| arena.pdu(*index));
            self.counters.transmitted(own.socket.send(bodies.map(|body| Transmit {
                interface: 0,
                header: &header,
                body,
            })));
        }
        self.to_own.clear();
    }

    /// The socket towards what serves at the own address.
    pub(crate) fn own_socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.own.as_ref()?.socket.as_fd())
    }

    /// Takes one batch of what serves at the own address.
    pub(crate) fn receive_own(&mut self, arena: &mut ReceiveArena) {
        let Some(own) = &self.own else { return };
        let count = match arena.receive(&own.socket) {
            Ok(count) => count,
            Err(e) => return tracing::warn!("receiving packets failed: {e}"),
        };
        for index in 0..count {
            match self.gateway.from_own(own.own, arena.pdu(index), &mut self.answer) {
                OwnStep::ToPod(port, length) => self.packets.push((port, Place::Arena(index, 0..length))),
                OwnStep::Reply => {
                    if let Some(header) = own.header() {
                        let answer = Transmit { interface: 0, header: &header, body: &self.answer };
                        self.counters.transmitted(own.socket.send([answer]));
                    }
                }
                OwnStep::Ignore => {}
            }
        }
        self.flush(arena);
    }

    /// PDUs of the latest batch that leave by ports to other nodes, those of one port that follow each other together.
    pub(crate) fn pdus(&self) -> impl Iterator<Item = (u16, impl Iterator<Item = &[u8]>)> {
        let groups = self.pdus.chunk_by(|a, b| a.0 == b.0);
        groups.map(|group| (group[0].0, group.iter().map(|(_, index)| &self.made[*index][..])))
    }

    /// One packet of a pod.
    fn take(&mut self, now: u64, book: &Book, from: (u16, Mac), table: &Fib, (index, packet): (usize, &[u8])) {
        self.counters.gateway(GatewayCount::FromPods);
        let mut pdu = std::mem::take(&mut self.made[index]);
        match self.gateway.from_pod(now, book, from, packet, &mut pdu) {
            Step::Forward => self.forward(now, book, from.0, table, (index, packet), &mut pdu),
            Step::Reply => self.reply(from.0, std::mem::take(&mut pdu)),
            Step::Own => self.to_own.push(index),
            Step::Ignore => {}
            Step::Drop { reason, reply } => {
                self.counters.dropped(reason, 1);
                if reply {
                    self.reply(from.0, std::mem::take(&mut pdu));
                }
            }
        }
        self.made[index] = pdu;
    }

    /// Sends the PDU made of a packet on its way.
    fn forward(
        &mut self,
        now: u64,
        book: &Book,
        port: u16,
        table: &Fib,
        (index, packet): (usize, &[u8]),
        pdu: &mut [u8],
    ) {
        match damc_forward::forward(table, Ingress::Port(port), pdu) {
            Verdict::Send(to) if self.leads_to_pod(to) => {
                self.convert(now, book, to, (index, pdu));
            }
            Verdict::Send(to) => {
                self.counters.sent(pdu);
                self.pdus.push((to, index));
            }
            // Names of nodes are refused before.
            Verdict::Deliver => self.counters.dropped(DropReason::Unsolicited, 1),
            Verdict::Drop { reason, .. } => {
                self.counters.dropped(reason, 1);
                let mut answer = std::mem::take(&mut self.answer);
                if self.gateway.refused(now, port, packet, reason, &mut answer) {
                    self.reply(port, std::mem::take(&mut answer));
                }
                self.answer = answer;
            }
        }
    }

    fn reply(&mut self, port: u16, packet: Vec<u8>) {
        self.counters.gateway(GatewayCount::Answers);
        self.packets.push((port, Place::Own(packet)));
    }

    /// Takes a received frame that is to leave by the port of a pod; false where it leaves as it is.
    pub(crate) fn deliver(&mut self, to: u16, index: usize, pdu: &mut [u8]) -> bool {
        let (now, book) = (monotonic_now(), self.book.load_full());
        let mut answer = std::mem::take(&mut self.answer);
        let delivery = self.gateway.to_pod(now, &book, to, pdu, &mut answer);
        let place = match delivery {
            Delivery::Frame => {
                self.answer = answer;
                return false;
            }
            Delivery::Packet(range) => Some(Place::Arena(index, range)),
            Delivery::Reply => Some(Place::Own(std::mem::take(&mut answer))),
            Delivery::Drop(reason) => {
                self.counters.dropped(reason, 1);
                None
            }
            Delivery::Ignore => None,
        };
        self.answer = answer;
        self.packets.extend(place.map(|place| (to, place)));
        true
    }

    /// Takes a PDU made here that is for another pod, or the same: a part of it leaves, or a packet of its own.
    fn convert(&mut self, now: u64, book: &Book, to: u16, (index, pdu): (usize, &mut [u8])) {
        let mut answer = Vec::new();
        match self.gateway.to_pod(now, book, to, pdu, &mut answer) {
            Delivery::Packet(range) => self.packets.push((to, Place::Made(index, range))),
            Delivery::Reply => self.packets.push((to, Place::Own(answer))),
            Delivery::Drop(reason) => self.counters.dropped(reason, 1),
            Delivery::Frame | Delivery::Ignore => {}
        }
    }

    /// Names have gone: ends the flows to them.
    pub(crate) fn sweep(&mut self, table: &Fib, arena: &impl Pdus) {
        // Only quiets the descriptor.
        let _ = self.gone.read();
        let packets = &mut self.packets;
        self.gateway.sweep(
            monotonic_now(),
            |name| table.serves(name),
            |port, packet| packets.push((port, Place::Own(packet.to_vec()))),
        );
        self.flush(arena);
    }

    /// Whether [`Edge::inquire`] may have something to do.
    pub(crate) fn has_inquiries(&self) -> bool {
        self.gateway.has_inquiries()
    }

    /// Asks the other ends of connections that were reset here; [`Edge::pdus`] are to be sent next.
    pub(crate) fn inquire(&mut self, table: &Fib, arena: &impl Pdus) {
        let (now, book) = (monotonic_now(), self.book.load_full());
        self.pdus.clear();
        let mut questions = Vec::new();
        let lives = |name: &damc_wire::Name| table.serves(name);
        self.gateway.inquire(now, &book, self.made.len(), lives, |port, pdu| {
            if let Verdict::Send(to) = damc_forward::forward(table, Ingress::Port(port), pdu) {
                questions.push((to, std::mem::take(pdu)));
            }
        });
        for (index, (to, mut pdu)) in questions.into_iter().enumerate() {
            self.counters.gateway(GatewayCount::Questions);
            if self.leads_to_pod(to) {
                self.convert(now, &book, to, (index, &mut pdu));
            } else {
                self.counters.sent(&pdu);
                self.pdus.push((to, index));
            }
            self.made[index] = pdu;
        }
        self.flush(arena);
    }

    /// Sends the packets for pods.
    pub(crate) fn flush(&mut self, arena: &impl Pdus) {
        for group in self.packets.chunk_by(|a, b| a.0 == b.0) {
            let Some(Some(pod)) = self.ports.get(usize::from(group[0].0)) else { continue };
            // A pod is known by its hello before any name of it is.
            let Some(header) = pod.header() else {
                self.counters.dropped(DropReason::NoAdjacency, group.len() as u64);
                continue;
            };
            let bodies = group.iter().map(|(_, place)| match place {
                Place::Arena(index, range) => arena.pdu(*index).get(range.clone()).unwrap_or_default(),
                Place::Made(index, range) => self.made[*index].get(range.clone()).unwrap_or_default(),
                Place::Own(packet) => packet,
            });
            let report = pod.socket.send(bodies.map(|body| Transmit { interface: 0, header: &header, body }));
            self.counters.forwarded(report.sent);
            self.counters.gateway_many(GatewayCount::ToPods, report.sent);
            self.counters.transmitted(report);
        }
        self.packets.clear();
        let flows = self.gateway.flow_counts();
        self.counters.flows(flows);
    }
}
