//! The forwarding thread of SG and SR: routed frames in, by the newest table, out. The sockets are here; what becomes of a
//! frame is decided in [`crate::datapath`] and [`crate::edge`].

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use damc_forward::Fib;
use damc_link::priority::{Level, Urgency};
use damc_link::{Pdus, ReceiveArena, ReceiveRing, SendReport, monotonic_now};
use damc_wire::DropReason;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::counters::Counters;
use crate::datapath::{BATCH, Datapath, Delivery};
use crate::edge::{Edge, Tables};
use crate::error::NodeError;
use crate::mailbox::Mailbox;
use crate::pods::Pods;
use crate::ports::PortSocket;

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

/// The thread's state.
pub(crate) struct Forwarder {
    pub(crate) ports: Vec<PortSocket>,
    pub(crate) table: Arc<ArcSwap<Fib>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) datapath: Datapath,
    /// Frames for this node.
    pub(crate) deliveries: Arc<Mailbox<Delivery>>,
    /// Frames whose source is to be told that they went nowhere. A queue of its own and a short one: junk must not crowd
    /// out what is for this node.
    pub(crate) refusals: Arc<Mailbox<Delivery>>,
    /// SG: the programs in its pods.
    pub(crate) edge: Option<(Edge, Pods)>,
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
        if let Some((_, pods)) = &self.edge {
            watch_pods(&epoll, pods)?;
        }
        let rings = rings(&self.ports)?;
        let thread = thread::Builder::new().name("forwarding".into()).stack_size(STACK);
        thread.spawn(move || self.run(&epoll, rings)).map_err(NodeError::system("start the forwarding thread"))?;
        Ok(())
    }

    fn run(mut self, epoll: &Epoll, mut rings: Vec<ReceiveRing>) {
        let mut arena = ReceiveArena::new(BATCH);
        let mut ready = [EpollEvent::empty(); 64];
        let mut urgency = Urgency::of_environment(Level::Forwarding);
        loop {
            let inquires = self.edge.as_ref().is_some_and(|(edge, _)| edge.has_inquiries());
            let sweep_at = self.edge.as_ref().and_then(|(edge, _)| edge.sweep_at());
            let timeout = patience(inquires, sweep_at.map(|at| at.saturating_sub(monotonic_now())));
            // Level-triggered: a port with more frames than a batch comes round again after the others.
            let timeout = |blocks| if blocks { timeout } else { EpollTimeout::ZERO };
            let count = match urgency.wait(|blocks| epoll.wait(&mut ready, timeout(blocks)), |count| *count == 0) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => continue,
                Err(e) => return tracing::error!("forwarding stopped: {e}"),
            };
            for event in &ready[..count] {
                let port = (event.data() & u64::from(u16::MAX)) as u16;
                match event.data() & !u64::from(u16::MAX) {
                    FRAMES => {
                        if let Some(ring) = rings.get_mut(usize::from(port)) {
                            self.receive(port, ring);
                        }
                    }
                    PACKETS => self.at_edge(&mut arena, |edge, pods, tables, arena| {
                        let count = pods.receive(port, arena);
                        edge.take(tables, port, arena, count);
                    }),
                    OWN => self.at_edge(&mut arena, |edge, pods, _, arena| {
                        let count = pods.receive_own(arena);
                        edge.take_own(arena, count);
                    }),
                    _ => self.at_edge(&mut arena, |edge, pods, tables, _| {
                        pods.quiet();
                        edge.sweep(tables);
                    }),
                }
            }
            if sweep_at.is_some_and(|at| at <= monotonic_now()) {
                self.at_edge(&mut arena, |edge, _, tables, _| edge.sweep(tables));
            }
            if inquires {
                self.at_edge(&mut arena, |edge, _, tables, _| edge.inquire(tables));
            }
        }
    }

    /// Moves one batch of frames that came in by `port`.
    fn receive(&mut self, port: u16, ring: &mut ReceiveRing) {
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
        let fib = self.table.load();
        match &mut self.edge {
            Some((edge, pods)) => {
                let book = pods.book.load();
                self.datapath.take((monotonic_now(), &fib), port, &mut batch, Some((edge, &book)));
            }
            None => self.datapath.take((monotonic_now(), &fib), port, &mut batch, None),
        }
        self.send(port, &batch);
    }

    /// Sends and delivers what a batch of frames from `port` led to.
    fn send(&mut self, port: u16, batch: &impl Pdus) {
        for (to, pdus) in self.datapath.frames(batch) {
            account(&self.counters, self.ports[usize::from(to)].send(pdus));
        }
        for (to, pdu) in self.datapath.traced() {
            account(&self.counters, self.ports[usize::from(to)].send([pdu]));
        }
        if let Some((edge, pods)) = &self.edge {
            pods.send(edge, batch);
        }
        let Datapath { deliveries, refusals, .. } = &mut self.datapath;
        if !deliveries.is_empty() {
            let refused = self.deliveries.put_into(usize::from(port), deliveries.drain(..));
            self.counters.dropped(DropReason::QueueFull, refused);
        }
        if !refusals.is_empty() {
            // Already counted as dropped for their own reason.
            self.refusals.put_into(usize::from(port), refusals.drain(..));
        }
    }

    /// Lets the edge work on a batch, and sends what that leads to.
    fn at_edge(
        &mut self,
        arena: &mut ReceiveArena,
        work: impl FnOnce(&mut Edge, &Pods, Tables<'_>, &mut ReceiveArena),
    ) {
        let Some((edge, pods)) = &mut self.edge else { return };
        let tables = Tables { now: monotonic_now(), fib: &self.table.load(), book: &pods.book.load() };
        work(edge, pods, tables, arena);
        pods.send(edge, arena);
        for (to, pdus) in edge.pdus() {
            if let Some(port) = self.ports.get(usize::from(to)) {
                account(&self.counters, port.send(pdus));
            }
        }
    }
}

/// How long to wait for something to do: not beyond the next look for routes, where anything waits for one, nor beyond
/// the end of a grace that is `left_ns` away.
fn patience(inquires: bool, left_ns: Option<u64>) -> EpollTimeout {
    let inquire = inquires.then_some(INQUIRE);
    let sweep = left_ns.map(|ns| u16::try_from(ns.div_ceil(1_000_000)).unwrap_or(u16::MAX));
    inquire.into_iter().chain(sweep).min().map_or(EpollTimeout::NONE, EpollTimeout::from)
}

fn account(counters: &Counters, report: SendReport) {
    counters.forwarded(report.sent);
    counters.transmitted(report);
}

/// Watches what the pods of an SG send.
fn watch_pods(epoll: &Epoll, pods: &Pods) -> Result<(), NodeError> {
    let event = |kind| EpollEvent::new(EpollFlags::EPOLLIN, kind);
    for (number, socket) in pods.sockets() {
        epoll.add(socket, event(PACKETS | u64::from(number))).map_err(NodeError::system("watch a socket"))?;
    }
    epoll.add(pods.gone(), event(GONE)).map_err(NodeError::system("watch an event descriptor"))?;
    if let Some(socket) = pods.own_socket() {
        epoll.add(socket, event(OWN)).map_err(NodeError::system("watch a socket"))?;
    }
    Ok(())
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
