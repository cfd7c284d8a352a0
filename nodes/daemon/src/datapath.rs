//! What the forwarding thread does with a batch of frames. No socket and no clock here: a batch comes in, and what it leads
//! to lies in queues until the thread has sent it.
//!
//! A frame is parsed once: the whole batch first, so that memory for look-ups is waited for once, then each frame is decided
//! about and edited through the same view. The queues keep their memory, so that the steady state allocates nothing; only
//! frames that leave the batch do (for this node, refused, or traced).

use std::sync::Arc;

use damc_forward::{Fib, Ingress, PortId, Verdict};
use damc_gateway::Book;
use damc_link::{Pdus, RingBatch};
use damc_wire::frame::{HeaderView, RoutedLayout, RoutedView, append_hop, without_padding};
use damc_wire::{DropReason, MessageType, NodeId, Timestamp};

use crate::counters::Counters;
use crate::edge::{Edge, Tables};

/// Frames taken from one port before the next one has its turn.
pub(crate) const BATCH: usize = 64;

/// Received frames, to be changed in place.
pub(crate) trait Batch: Pdus {
    /// Number of frames.
    fn len(&self) -> usize;
    /// The PDU of the `index`-th frame; empty where there is none.
    fn pdu_mut(&mut self, index: usize) -> &mut [u8];
    /// Receive stamp of the `index`-th frame on the monotonic clock, ns.
    fn received_at(&self, index: usize) -> u64;
}

impl Batch for RingBatch<'_> {
    fn len(&self) -> usize {
        RingBatch::len(self)
    }

    fn pdu_mut(&mut self, index: usize) -> &mut [u8] {
        RingBatch::pdu_mut(self, index)
    }

    fn received_at(&self, index: usize) -> u64 {
        RingBatch::received_at(self, index)
    }
}

/// A routed frame for the control thread.
#[derive(Debug)]
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

/// Decides about frames, and queues what follows.
pub(crate) struct Datapath {
    node: NodeId,
    counters: Arc<Counters>,
    /// What parsing found, by frame of the batch.
    layouts: Vec<Result<RoutedLayout, DropReason>>,
    /// Frames of the batch to send, by port.
    sends: Vec<Vec<u8>>,
    /// Ports with frames to send.
    busy: Vec<u16>,
    /// Traced frames, which grow by a hop and leave their slots for that.
    traced: Vec<(u16, Vec<u8>)>,
    /// Frames for this node.
    pub(crate) deliveries: Vec<Delivery>,
    /// Frames whose source is to be told that they went nowhere.
    pub(crate) refusals: Vec<Delivery>,
}

impl Datapath {
    /// A datapath between so many ports.
    pub(crate) fn new(node: NodeId, ports: usize, counters: Arc<Counters>) -> Self {
        Self {
            node,
            counters,
            layouts: Vec::with_capacity(BATCH),
            sends: (0..ports).map(|_| Vec::with_capacity(BATCH)).collect(),
            busy: Vec::with_capacity(ports),
            traced: Vec::new(),
            deliveries: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Takes one batch, of at most [`BATCH`] frames, that came in by `port`. `edge` is that of an SG, with its names.
    pub(crate) fn take(
        &mut self,
        (now, fib): (u64, &Fib),
        port: u16,
        batch: &mut impl Batch,
        mut edge: Option<(&mut Edge, &Book)>,
    ) {
        self.clear();
        if let Some((edge, _)) = &mut edge {
            edge.clear();
        }
        self.parse(edge.as_ref().is_some_and(|(edge, _)| edge.leads_to_pod(port)), batch);
        let layouts = self.layouts.iter().enumerate();
        fib.warm(layouts.filter_map(|(index, layout)| Some(layout.as_ref().ok()?.destination_in(batch.pdu(index)))));
        for index in 0..self.layouts.len() {
            let received_at = Timestamp(batch.received_at(index));
            let whole = batch.pdu_mut(index);
            let length = without_padding(whole).len();
            let mut frame = match self.layouts[index] {
                Ok(layout) => layout.view(&mut whole[..length]),
                Err(reason) => {
                    self.counters.dropped(reason, 1);
                    continue;
                }
            };
            let keep = |undeliverable, frame: &RoutedView<&mut [u8]>| Delivery {
                port: PortId(port),
                received_at,
                undeliverable,
                pdu: frame.pdu().to_vec(),
            };
            match damc_forward::decide(fib, Ingress::Port(PortId(port)), &mut frame) {
                Verdict::Send(PortId(to)) => {
                    let edge = edge.as_mut().filter(|(edge, _)| edge.leads_to_pod(to));
                    let taken =
                        edge.is_some_and(|(edge, book)| edge.deliver(Tables { now, fib, book }, to, index, &mut frame));
                    if !taken {
                        self.queue(fib, PortId(to), index, &mut frame);
                    }
                }
                Verdict::Deliver => {
                    self.counters.delivered();
                    self.deliveries.push(keep(None, &frame));
                }
                Verdict::Drop { reason, reply } => {
                    self.counters.dropped(reason, 1);
                    if reply {
                        self.refusals.push(keep(Some(reason), &frame));
                    }
                }
            }
        }
    }

    /// Parses the whole batch.
    fn parse(&mut self, from_pod: bool, batch: &impl Batch) {
        for index in 0..batch.len().min(BATCH) {
            let pdu = without_padding(batch.pdu(index));
            self.counters.received(pdu);
            // Pods send IPv6; what their addresses are is looked at where Packets are made.
            let refused = from_pod && HeaderView::of(pdu).message_type() == Some(MessageType::Packet);
            let layout = RoutedLayout::of(pdu).map_err(|error| error.drop_reason());
            self.layouts.push(if refused { Err(DropReason::WrongRole) } else { layout });
        }
    }

    /// Notes a frame to send.
    fn queue(&mut self, fib: &Fib, port: PortId, index: usize, frame: &mut RoutedView<&mut [u8]>) {
        self.counters.sent(frame.pdu());
        let PortId(to) = port;
        let Some(sends) = self.sends.get_mut(usize::from(to)) else { return };
        if let Some(on_return) = frame.trace() {
            let mut traced = frame.pdu().to_vec();
            append_hop(&mut traced, &self.node, on_return);
            fib.seal(port, &mut traced);
            self.traced.push((to, traced));
            return;
        }
        fib.seal(port, frame.pdu_mut());
        if sends.is_empty() {
            self.busy.push(to);
        }
        // A batch has at most BATCH frames, so that an index always fits.
        sends.push(u8::try_from(index).unwrap_or(u8::MAX));
    }

    fn clear(&mut self) {
        self.layouts.clear();
        for to in self.busy.drain(..) {
            self.sends[usize::from(to)].clear();
        }
        self.traced.clear();
        self.deliveries.clear();
        self.refusals.clear();
    }

    // ===== what a batch leads to =====

    /// Frames of the batch to send, by port. `batch` is the one that was taken.
    pub(crate) fn frames<'a>(
        &'a self,
        batch: &'a impl Pdus,
    ) -> impl Iterator<Item = (u16, impl Iterator<Item = &'a [u8]>)> {
        self.busy.iter().map(move |to| {
            let sends = self.sends[usize::from(*to)].iter();
            (*to, sends.map(move |index| without_padding(batch.pdu(usize::from(*index)))))
        })
    }

    /// Traced frames to send, each with its port.
    pub(crate) fn traced(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.traced.iter().map(|(to, pdu)| (*to, &pdu[..]))
    }
}

#[cfg(test)]
mod tests;
