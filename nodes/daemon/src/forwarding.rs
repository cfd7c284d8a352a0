//! The forwarding thread of SG and SR: routed frames in, by the newest table, out.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use damc_forward::{Fib, Ingress, Verdict};
use damc_link::priority::{Level, Urgency};
use damc_link::{Pdus, ReceiveArena, ReceiveRing};
use damc_proto::io::PortId;
use damc_wire::frame::{FLAG_TRACE, RoutedView, append_hop, without_padding};
use damc_wire::{DropReason, MessageType, NodeId, Timestamp};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::counters::Counters;
use crate::edge::Edge;
use crate::error::NodeError;
use crate::mailbox::Mailbox;
use crate::ports::PortSocket;

/// Frames taken from one port before the next one has its turn.
pub(crate) const BATCH: usize = 64;
/// Frames that the receive rings of all ports together hold, about a megabyte, on a node with up to eight ports.
const RINGS: usize = 640;
/// What one port gets of them, at least and at most.
const RING: core::ops::RangeInclusive<usize> = 80..=320;
/// Stack of the thread: the arguments of a batch, with room to spare.
const STACK: usize = 256 << 10;

/// What epoll carries: the kind of a source above the number of its port.
const FRAMES: u64 = 0;
const PACKETS: u64 = 1 << 16;
const GONE: u64 = 2 << 16;
const OWN: u64 = 3 << 16;
/// How often routes to connections that are to be asked are looked for, ms.
const INQUIRE: u16 = 250;

/// A routed frame for the control thread.
pub(crate) struct Delivery {
    /// Where it came in.
    pub(crate) port: PortId,
    /// Kernel receive stamp.
    pub(crate) received_at: Timestamp,
    /// Why it could not be forwarded; none where it is for this node.
    pub(crate) undeliverable: Option<DropReason>,
    /// The bytes.
    pub(crate) pdu: Vec<u8>,
}

/// The thread's state.
pub(crate) struct Forwarder {
    pub(crate) node: NodeId,
    pub(crate) ports: Vec<PortSocket>,
    pub(crate) table: Arc<ArcSwap<Fib>>,
    pub(crate) counters: Arc<Counters>,
    /// Frames for this node.
    pub(crate) deliveries: Arc<Mailbox<Delivery>>,
    /// Frames whose source is to be told that they went nowhere. A queue of its own and a short one: junk must not crowd
    /// out what is for this node.
    pub(crate) refusals: Arc<Mailbox<Delivery>>,
    /// SG: the programs in its pods.
    pub(crate) edge: Option<Edge>,
}

/// What a batch leads to. Reused, so that the steady state allocates nothing.
#[derive(Default)]
struct Outcome {
    /// Frames of the batch to send, by port.
    sends: Vec<Vec<u8>>,
    /// Ports with frames to send.
    busy: Vec<u16>,
    /// Traced frames, which grow by a hop and leave their slots for that.
    traced: Vec<(u16, Vec<u8>)>,
    deliveries: Vec<Delivery>,
    refusals: Vec<Delivery>,
}

impl Forwarder {
    /// Starts the thread. It runs as long as the process.
    pub(crate) fn spawn(self) -> Result<(), NodeError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(NodeError::system("make an epoll"))?;
        for (number, port) in (0..).zip(&self.ports) {
            epoll
                .add(port.socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))
                .map_err(NodeError::system("watch a socket"))?;
        }
        for (number, socket) in self.edge.iter().flat_map(Edge::sockets) {
            epoll
                .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, PACKETS | u64::from(number)))
                .map_err(NodeError::system("watch a socket"))?;
        }
        if let Some(edge) = &self.edge {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, GONE);
            epoll.add(edge.gone(), event).map_err(NodeError::system("watch an event descriptor"))?;
        }
        if let Some(socket) = self.edge.as_ref().and_then(Edge::own_socket) {
            epoll
                .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, OWN))
                .map_err(NodeError::system("watch a socket"))?;
        }
        let rings = rings(&self.ports)?;
        let thread = thread::Builder::new().name("forwarding".into()).stack_size(STACK);
        thread.spawn(move || self.run(&epoll, rings)).map_err(NodeError::system("start the forwarding thread"))?;
        Ok(())
    }

    fn run(mut self, epoll: &Epoll, mut rings: Vec<ReceiveRing>) {
        let mut edge = self.edge.take();
        let mut arena = ReceiveArena::new(BATCH);
        let mut outcome = Outcome { sends: vec![Vec::with_capacity(BATCH); self.ports.len()], ..Outcome::default() };
        let mut ready = [EpollEvent::empty(); 64];
        let mut urgency = Urgency::new(Level::Forwarding);
        loop {
            let inquires = edge.as_ref().is_some_and(Edge::has_inquiries);
            let timeout = if inquires { EpollTimeout::from(INQUIRE) } else { EpollTimeout::NONE };
            // Level-triggered: a port with more frames than a batch comes round again after the others.
            let timeout = |blocks| if blocks { timeout } else { EpollTimeout::ZERO };
            let count = match urgency.wait(|blocks| epoll.wait(&mut ready, timeout(blocks)), |count| *count == 0) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => continue,
                Err(e) => return tracing::error!("forwarding stopped: {e}"),
            };
            for event in &ready[..count] {
                let port = (event.data() & u64::from(u16::MAX)) as u16;
                match (event.data() & !u64::from(u16::MAX), &mut edge) {
                    (FRAMES, edge) => {
                        if let Some(ring) = rings.get_mut(usize::from(port)) {
                            self.receive(port, ring, &mut outcome, edge.as_mut());
                        }
                    }
                    (PACKETS, Some(edge)) => self.receive_packets(port, &mut arena, edge),
                    (OWN, Some(edge)) => edge.receive_own(&mut arena),
                    (_, Some(edge)) => edge.sweep(&self.table.load(), &arena),
                    (_, None) => {}
                }
            }
            if let Some(edge) = edge.as_mut().filter(|_| inquires) {
                edge.inquire(&self.table.load(), &arena);
                self.send_made(edge);
            }
        }
    }

    /// Moves one batch of frames that came in by `port`.
    fn receive(&self, port: u16, ring: &mut ReceiveRing, outcome: &mut Outcome, mut edge: Option<&mut Edge>) {
        let mut batch = ring.batch(BATCH);
        // Only a ring that is not emptied at once can have overflown.
        if batch.is_full() {
            let drops = self.ports[usize::from(port)].socket.take_drops();
            self.counters.dropped(DropReason::QueueFull, drops.unwrap_or(0));
        }
        if batch.is_empty() {
            // Readable without a frame: the interface went down, which the carrier watch tells as well.
            if let Ok(Some(error)) = self.ports[usize::from(port)].socket.take_error() {
                tracing::debug!("{}: {error}", self.ports[usize::from(port)].name());
            }
            return;
        }
        let table = self.table.load();
        table.warm((0..batch.len()).filter_map(|index| Some(RoutedView::parse(batch.pdu(index)).ok()?.destination)));
        for index in 0..batch.len() {
            let whole = batch.pdu_mut(index);
            self.counters.received(whole);
            let length = without_padding(whole).len();
            let pdu = &mut whole[..length];
            if edge.as_deref().is_some_and(|edge| edge.leads_to_pod(port) && is_packet(pdu)) {
                // Pods send IPv6; what their addresses are is looked at where Packets are made.
                self.counters.dropped(DropReason::WrongRole, 1);
                continue;
            }
            match damc_forward::forward(&table, Ingress::Port(port), pdu) {
                Verdict::Send(to) => {
                    let pod = edge.as_deref_mut().filter(|edge| edge.leads_to_pod(to));
                    if !pod.is_some_and(|edge| edge.deliver(to, index, pdu)) {
                        self.queue(to, index, pdu, outcome);
                    }
                }
                Verdict::Deliver => {
                    self.counters.delivered();
                    let pdu = pdu.to_vec();
                    let received_at = Timestamp(batch.received_at(index));
                    outcome.deliveries.push(Delivery { port: PortId(port), received_at, undeliverable: None, pdu });
                }
                Verdict::Drop { reason, reply } => {
                    self.counters.dropped(reason, 1);
                    if reply {
                        let (undeliverable, pdu) = (Some(reason), pdu.to_vec());
                        let received_at = Timestamp(batch.received_at(index));
                        outcome.refusals.push(Delivery { port: PortId(port), received_at, undeliverable, pdu });
                    }
                }
            }
        }
        self.flush(port, &batch, outcome);
        if let Some(edge) = edge {
            edge.flush(&batch);
        }
    }

    /// Moves one batch of packets of a pod.
    fn receive_packets(&self, port: u16, arena: &mut ReceiveArena, edge: &mut Edge) {
        edge.receive(port, &self.table.load(), arena);
        self.send_made(edge);
    }

    /// Sends the PDUs that the edge made.
    fn send_made(&self, edge: &Edge) {
        for (to, pdus) in edge.pdus() {
            if let Some(port) = self.ports.get(usize::from(to)) {
                self.account(port.send(pdus));
            }
        }
    }

    /// Notes a frame to send.
    fn queue(&self, to: u16, index: usize, pdu: &[u8], outcome: &mut Outcome) {
        self.counters.sent(pdu);
        let Some(sends) = outcome.sends.get_mut(usize::from(to)) else { return };
        if pdu.get(2).is_some_and(|flags| flags & FLAG_TRACE != 0)
            && let Some(on_return) = RoutedView::parse(pdu).ok().and_then(|view| view.trace(pdu))
        {
            let mut traced = pdu.to_vec();
            append_hop(&mut traced, &self.node, on_return);
            outcome.traced.push((to, traced));
            return;
        }
        if sends.is_empty() {
            outcome.busy.push(to);
        }
        // A batch has at most BATCH frames, so that an index always fits.
        sends.push(u8::try_from(index).unwrap_or(u8::MAX));
    }

    /// Sends and delivers what a batch from `port` led to.
    fn flush(&self, port: u16, batch: &impl Pdus, outcome: &mut Outcome) {
        for to in outcome.busy.drain(..) {
            let sends = &mut outcome.sends[usize::from(to)];
            let pdus = sends.iter().map(|index| without_padding(batch.pdu(usize::from(*index))));
            self.account(self.ports[usize::from(to)].send(pdus));
            sends.clear();
        }
        for (to, pdu) in outcome.traced.drain(..) {
            self.account(self.ports[usize::from(to)].send([&pdu[..]]));
        }
        if !outcome.deliveries.is_empty() {
            let refused = self.deliveries.put_into(usize::from(port), outcome.deliveries.drain(..));
            self.counters.dropped(DropReason::QueueFull, refused);
        }
        if !outcome.refusals.is_empty() {
            // Already counted as dropped for their own reason.
            self.refusals.put_into(usize::from(port), outcome.refusals.drain(..));
        }
    }

    fn account(&self, report: damc_link::SendReport) {
        self.counters.forwarded(report.sent);
        self.counters.transmitted(report);
    }
}

/// A receive ring for each port. The kernel lets some milliseconds pass for each (an RCU grace period), so they are made
/// side by side.
fn rings(ports: &[PortSocket]) -> Result<Vec<ReceiveRing>, NodeError> {
    let frames = (RINGS / ports.len().max(1)).clamp(*RING.start(), *RING.end());
    thread::scope(|scope| {
        let making =
            |port| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || PortSocket::ring(port, frames));
        let making: Vec<_> = ports.iter().map(making).collect();
        let made = making.into_iter().map(|thread| {
            let thread = thread.map_err(NodeError::system("start a thread"))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        made.collect()
    })
}

/// Whether a routed frame is a Packet.
fn is_packet(pdu: &[u8]) -> bool {
    pdu.get(1) == Some(&MessageType::Packet.code())
}
