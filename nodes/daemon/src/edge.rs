//! The edge of the forwarding plane: packets of programs in pods, in and out. No socket here: what a batch leads to lies
//! in queues until [`crate::pods::Pods`] has sent it.

use std::ops::Range;
use std::sync::Arc;

use damc_forward::{Fib, Ingress, PortId, Verdict};
use damc_gateway::{Book, Delivery, FlowCounts, Gateway, OwnStep, Step};
use damc_link::{Mac, Pdus};
use damc_wire::DropReason;
use damc_wire::frame::RoutedView;
use damc_wire::registry::MAX_PDU;

use crate::counters::{Counters, GatewayCount};

/// Where the bytes of a packet lie until they are sent.
enum Place {
    /// In a received frame: its index, and which part of its PDU.
    Received(usize, Range<usize>),
    /// In the output of a packet: its index, and which part.
    Made(usize, Range<usize>),
    /// By itself, among the answers.
    Answer(usize),
}

/// What a batch of packets is looked at with.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    /// Monotonic clock, ns.
    pub(crate) now: u64,
    pub(crate) fib: &'a Fib,
    pub(crate) book: &'a Book,
}

/// Everything the forwarding thread needs for pods but their sockets. Its queues keep their memory from batch to batch, so
/// that the steady state allocates nothing.
pub(crate) struct Edge {
    gateway: Gateway,
    /// By port: our hardware address there, where it leads to a pod.
    pods: Vec<Option<Mac>>,
    /// Our hardware address towards what serves at the gateway's own address.
    own: Option<Mac>,
    counters: Arc<Counters>,
    /// What each packet of a batch became: a PDU, or a packet that answers it.
    made: Vec<Vec<u8>>,
    /// PDUs that leave by ports to other nodes, as indices of `made`.
    pdus: Vec<(u16, usize)>,
    /// Packets for pods.
    packets: Vec<(u16, Place)>,
    /// Packets for what serves at the own address.
    to_own: Vec<Place>,
    /// Packets of our own that do not answer one; those in use come first.
    answers: Vec<Vec<u8>>,
    answered: usize,
}

impl Edge {
    /// An edge for batches of at most `batch` packets.
    pub(crate) fn new(
        gateway: Gateway,
        pods: Vec<Option<Mac>>,
        own: Option<Mac>,
        counters: Arc<Counters>,
        batch: usize,
    ) -> Self {
        let made = (0..batch).map(|_| Vec::with_capacity(MAX_PDU)).collect();
        let (pdus, packets, to_own) = (Vec::with_capacity(batch), Vec::with_capacity(batch), Vec::with_capacity(batch));
        Self { gateway, pods, own, counters, made, pdus, packets, to_own, answers: Vec::new(), answered: 0 }
    }

    /// Whether a port leads to a pod.
    pub(crate) fn leads_to_pod(&self, port: u16) -> bool {
        self.pods.get(usize::from(port)).is_some_and(Option::is_some)
    }

    /// How the flow table stands.
    pub(crate) const fn flow_counts(&self) -> FlowCounts {
        self.gateway.flow_counts()
    }

    // ===== a batch comes =====

    /// Empties the queues. Called before each batch.
    pub(crate) fn clear(&mut self) {
        self.pdus.clear();
        self.packets.clear();
        self.to_own.clear();
        self.answered = 0;
    }

    /// Takes one batch of `count` packets that the pod behind `port` sent.
    pub(crate) fn take(&mut self, tables: Tables<'_>, port: u16, batch: &impl Pdus, count: usize) {
        self.clear();
        let Some(Some(mac)) = self.pods.get(usize::from(port)).copied() else { return };
        for index in 0..count.min(self.made.len()) {
            self.take_one(tables, (port, mac), (index, batch.pdu(index)));
        }
    }

    /// Takes one batch of `count` packets of what serves at the own address.
    pub(crate) fn take_own(&mut self, batch: &impl Pdus, count: usize) {
        self.clear();
        let Some(mac) = self.own else { return };
        for (index, out) in self.made.iter_mut().enumerate().take(count) {
            match self.gateway.from_own(mac, batch.pdu(index), out) {
                OwnStep::ToPod(port, length) => self.packets.push((port, Place::Received(index, 0..length))),
                OwnStep::Reply => self.to_own.push(Place::Made(index, 0..out.len())),
                OwnStep::Ignore => {}
            }
        }
    }

    /// One packet of a pod.
    fn take_one(&mut self, tables: Tables<'_>, from: (u16, Mac), (index, packet): (usize, &[u8])) {
        self.counters.gateway(GatewayCount::FromPods);
        let mut out = std::mem::take(&mut self.made[index]);
        match self.gateway.from_pod(tables.now, tables.book, from, packet, &mut out) {
            Step::Forward => self.forward(tables, from.0, (index, packet), &mut out),
            Step::Reply => self.answer(from.0, index, &out),
            Step::Own => {
                let length = packet.len();
                self.to_own.push(Place::Received(index, 0..length));
            }
            Step::Ignore => {}
            Step::Drop { reason, reply } => {
                self.counters.dropped(reason, 1);
                if reply {
                    self.answer(from.0, index, &out);
                }
            }
        }
        self.made[index] = out;
    }

    /// Sends the PDU made of a packet on its way. Where it has none, what the pod is told takes the place of the PDU.
    fn forward(&mut self, tables: Tables<'_>, port: u16, (index, packet): (usize, &[u8]), out: &mut Vec<u8>) {
        let verdict = match RoutedView::parse(&mut out[..]) {
            Ok(mut frame) => {
                let verdict = damc_forward::decide(tables.fib, Ingress::Made(PortId(port)), &mut frame);
                if let Verdict::Send(PortId(to)) = verdict {
                    self.send(tables, to, index, &mut frame);
                }
                verdict
            }
            Err(error) => Verdict::Drop { reason: error.drop_reason(), reply: false },
        };
        match verdict {
            Verdict::Send(_) => {}
            // Names of nodes are refused before.
            Verdict::Deliver => self.counters.dropped(DropReason::Unsolicited, 1),
            Verdict::Drop { reason, .. } => {
                self.counters.dropped(reason, 1);
                if self.gateway.refused(tables.now, tables.book, port, packet, reason, out) {
                    self.answer(port, index, out);
                }
            }
        }
    }

    /// Notes a PDU made here that leaves by `to`: as it is, or as a packet where that port leads to a pod.
    fn send(&mut self, tables: Tables<'_>, to: u16, index: usize, frame: &mut RoutedView<&mut [u8]>) {
        if self.leads_to_pod(to) {
            if let Some(range) = self.deliver_packet(tables, to, frame) {
                self.packets.push((to, Place::Made(index, range)));
            }
        } else {
            self.counters.sent(frame.pdu());
            tables.fib.seal(PortId(to), frame.pdu_mut());
            self.pdus.push((to, index));
        }
    }

    /// Takes a received frame that is to leave by the port of a pod; false where it leaves as it is.
    pub(crate) fn deliver(
        &mut self,
        tables: Tables<'_>,
        to: u16,
        index: usize,
        frame: &mut RoutedView<&mut [u8]>,
    ) -> bool {
        let mut answer = std::mem::take(self.spare_answer());
        let delivery = self.gateway.to_pod(tables.now, tables.book, to, frame, &mut answer);
        self.answers[self.answered] = answer;
        match delivery {
            Delivery::Frame => return false,
            Delivery::Packet(range) => self.packets.push((to, Place::Received(index, range))),
            Delivery::Reply => self.push_answer(to),
            Delivery::Drop(reason) => self.counters.dropped(reason, 1),
            Delivery::Ignore => {}
        }
        true
    }

    /// Makes a packet of a PDU that was made of one here: the part of it that leaves, if any does.
    fn deliver_packet(
        &mut self,
        tables: Tables<'_>,
        to: u16,
        frame: &mut RoutedView<&mut [u8]>,
    ) -> Option<Range<usize>> {
        // Only negative replies are answered, and this is none.
        match self.gateway.to_pod(tables.now, tables.book, to, frame, &mut Vec::new()) {
            Delivery::Packet(range) => return Some(range),
            Delivery::Drop(reason) => self.counters.dropped(reason, 1),
            Delivery::Frame | Delivery::Reply | Delivery::Ignore => {}
        }
        None
    }

    /// Notes that the output of a packet answers it.
    fn answer(&mut self, port: u16, index: usize, packet: &[u8]) {
        self.counters.gateway(GatewayCount::Answers);
        self.packets.push((port, Place::Made(index, 0..packet.len())));
    }

    /// The answer that is not in use yet.
    fn spare_answer(&mut self) -> &mut Vec<u8> {
        if self.answers.len() == self.answered {
            self.answers.push(Vec::new());
        }
        &mut self.answers[self.answered]
    }

    /// Notes that the spare answer leaves by a port.
    fn push_answer(&mut self, port: u16) {
        self.packets.push((port, Place::Answer(self.answered)));
        self.answered += 1;
    }

    // ===== routes come and go =====

    /// Names have gone or are back, or the grace of some is over: ends the flows to those that are gone.
    pub(crate) fn sweep(&mut self, tables: Tables<'_>) {
        self.clear();
        let Self { gateway, packets, answers, answered, .. } = self;
        let lives = |name: &damc_wire::Name| tables.fib.serves(name);
        gateway.sweep(tables.now, tables.book, lives, |port, packet| {
            answers.truncate(*answered);
            answers.push(packet.to_vec());
            packets.push((port, Place::Answer(*answered)));
            *answered += 1;
        });
    }

    /// When [`Edge::sweep`] is due though no name comes or goes, ns.
    pub(crate) const fn sweep_at(&self) -> Option<u64> {
        self.gateway.sweep_at_ns()
    }

    /// Whether [`Edge::inquire`] may have something to do.
    pub(crate) fn has_inquiries(&self) -> bool {
        self.gateway.has_inquiries()
    }

    /// Asks the other ends of connections that were reset here.
    pub(crate) fn inquire(&mut self, tables: Tables<'_>) {
        self.clear();
        let Self { gateway, made, .. } = self;
        let lives = |name: &damc_wire::Name| tables.fib.serves(name);
        let mut speakers = Vec::new();
        gateway.inquire(tables.now, tables.book, made.len(), lives, |port, pdu| {
            made[speakers.len()].clone_from(pdu);
            speakers.push(port);
        });
        for (index, port) in speakers.into_iter().enumerate() {
            let mut pdu = std::mem::take(&mut self.made[index]);
            if let Ok(mut frame) = RoutedView::parse(&mut pdu[..])
                && let Verdict::Send(PortId(to)) =
                    damc_forward::decide(tables.fib, Ingress::Made(PortId(port)), &mut frame)
            {
                self.counters.gateway(GatewayCount::Questions);
                self.send(tables, to, index, &mut frame);
            }
            self.made[index] = pdu;
        }
    }

    // ===== what a batch leads to =====

    /// PDUs that leave by ports to other nodes, those of one port that follow each other together.
    pub(crate) fn pdus(&self) -> impl Iterator<Item = (u16, impl Iterator<Item = &[u8]>)> {
        let groups = self.pdus.chunk_by(|a, b| a.0 == b.0);
        groups.map(|group| (group[0].0, group.iter().map(|(_, index)| &self.made[*index][..])))
    }

    /// Packets for pods, those of one port that follow each other together. `batch` is the one that led to them.
    pub(crate) fn packets<'a>(
        &'a self,
        batch: &'a impl Pdus,
    ) -> impl Iterator<Item = (u16, impl Iterator<Item = &'a [u8]>)> {
        let groups = self.packets.chunk_by(|a, b| a.0 == b.0);
        groups.map(move |group| (group[0].0, group.iter().map(move |(_, place)| self.at(place, batch))))
    }

    /// Packets for what serves at the own address.
    pub(crate) fn to_own<'a>(&'a self, batch: &'a impl Pdus) -> impl Iterator<Item = &'a [u8]> {
        self.to_own.iter().map(move |place| self.at(place, batch))
    }

    fn at<'a>(&'a self, place: &Place, batch: &'a impl Pdus) -> &'a [u8] {
        match place {
            Place::Received(index, range) => batch.pdu(*index).get(range.clone()).unwrap_or_default(),
            Place::Made(index, range) => self.made[*index].get(range.clone()).unwrap_or_default(),
            Place::Answer(index) => &self.answers[*index],
        }
    }
}
