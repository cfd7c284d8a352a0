//! Sockets towards the programs in pods: their IPv6 packets, in and out.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use damc_gateway::Book;
use damc_link::{ETHERNET_HEADER, Mac, Pdus, RawSocket, ReceiveArena, Transmit};
use damc_wire::DropReason;
use nix::sys::eventfd::EventFd;

use crate::counters::{Counters, GatewayCount};
use crate::edge::Edge;

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

/// The forwarding thread's sockets towards pods, and what the control thread tells it about their names.
pub(crate) struct Pods {
    /// By port.
    pub(crate) ports: Vec<Option<PodPort>>,
    /// What serves at the gateway's own address, behind an interface of its own.
    pub(crate) own: Option<PodPort>,
    pub(crate) book: Arc<ArcSwap<Book>>,
    /// Rung by the control thread when names have gone or are back.
    pub(crate) gone: Arc<EventFd>,
    pub(crate) counters: Arc<Counters>,
}

impl Pods {
    /// The sockets for packets, with their ports.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (u16, BorrowedFd<'_>)> {
        (0..).zip(&self.ports).filter_map(|(number, port)| Some((number, port.as_ref()?.socket.as_fd())))
    }

    /// The socket towards what serves at the own address.
    pub(crate) fn own_socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.own.as_ref()?.socket.as_fd())
    }

    /// Becomes readable when names have gone or are back.
    pub(crate) fn gone(&self) -> BorrowedFd<'_> {
        self.gone.as_fd()
    }

    /// Makes [`Pods::gone`] quiet again.
    pub(crate) fn quiet(&self) {
        // Fails only where it has not been rung.
        let _ = self.gone.read();
    }

    /// Receives one batch of packets of the pod behind `port`; returns how many.
    pub(crate) fn receive(&self, port: u16, arena: &mut ReceiveArena) -> usize {
        self.ports.get(usize::from(port)).and_then(Option::as_ref).map_or(0, |pod| self.receive_by(pod, arena))
    }

    /// Receives one batch of packets of what serves at the own address; returns how many.
    pub(crate) fn receive_own(&self, arena: &mut ReceiveArena) -> usize {
        self.own.as_ref().map_or(0, |own| self.receive_by(own, arena))
    }

    fn receive_by(&self, pod: &PodPort, arena: &mut ReceiveArena) -> usize {
        let count = arena.receive(&pod.socket).unwrap_or_else(|e| {
            tracing::warn!("receiving packets failed: {e}");
            0
        });
        if count == arena.capacity() {
            self.counters.dropped(DropReason::QueueFull, pod.socket.take_drops().unwrap_or(0));
        }
        count
    }

    /// Sends what a batch led to for pods and for what serves at the own address.
    pub(crate) fn send(&self, edge: &Edge, batch: &impl Pdus) {
        for (to, packets) in edge.packets(batch) {
            let Some(Some(pod)) = self.ports.get(usize::from(to)) else { continue };
            // A pod is known by its hello before any name of it is.
            let Some(header) = pod.header() else {
                self.counters.dropped(DropReason::NoAdjacency, packets.count() as u64);
                continue;
            };
            let report = pod.socket.send(packets.map(|body| Transmit { interface: 0, header: &header, body }));
            self.counters.forwarded(report.sent);
            self.counters.gateway_many(GatewayCount::ToPods, report.sent);
            self.counters.transmitted(report);
        }
        if let Some((own, header)) = self.own.as_ref().and_then(|own| Some((own, own.header()?))) {
            let packets = edge.to_own(batch);
            let report = own.socket.send(packets.map(|body| Transmit { interface: 0, header: &header, body }));
            self.counters.transmitted(report);
        }
        self.counters.flows(edge.flow_counts());
    }
}
