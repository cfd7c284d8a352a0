//! From the mesh to a pod: Packet messages become IPv6 packets; negative replies become ICMPv6 errors or resets.

use core::net::Ipv6Addr;

use damc_wire::frame::RoutedView;
use damc_wire::{DropReason, Frame, Message, MessageType, Name, address};
use etherparse::TcpSlice;

use super::{Delivery, Gateway, reply};
use crate::book::Book;
use crate::errors::{self, Problem};
use crate::packet::{HEADER, View, set_hop_limit};
use crate::reset;

impl Gateway {
    /// Takes a frame that the forwarding plane would send out by the port of a pod.
    pub fn to_pod(
        &mut self,
        now_ns: u64,
        book: &Book,
        port: u16,
        frame: &mut RoutedView<&mut [u8]>,
        out: &mut Vec<u8>,
    ) -> Delivery {
        match frame.header().message_type {
            MessageType::Packet => self.deliver(now_ns, book, port, frame),
            MessageType::Nack => self.translate(now_ns, book, port, frame, out),
            _ => Delivery::Frame,
        }
    }

    /// Makes an IPv6 packet of a packet message.
    fn deliver(&mut self, now_ns: u64, book: &Book, port: u16, frame: &mut RoutedView<&mut [u8]>) -> Delivery {
        let Some(place) = frame.inner_packet() else { return Delivery::Drop(DropReason::Malformed) };
        if !frame.checksum_holds() {
            return Delivery::Drop(DropReason::BadChecksum);
        }
        let Some(view) = View::parse(&frame.pdu()[place.clone()]) else {
            return Delivery::Drop(DropReason::Malformed);
        };
        // Its names brought it here; its addresses have to be theirs.
        if book.speaker(port, &view.destination).is_none() {
            return Delivery::Drop(DropReason::NoSuchInstance);
        }
        let segment = view.tcp();
        let Some(name) = book.name_at(&view.source) else { return Delivery::Drop(DropReason::NoRoute) };
        // What answers in the name of a pool is remembered. What an instance of a pool may be called is not for us to
        // judge: its own SG has.
        if segment.is_some() || name.wire() != frame.source() {
            let key = view.flow().reversed();
            self.flows.delivered(now_ns, port, &key, frame.source(), segment.as_ref());
        }
        let (hop_limit, place) = (frame.header().hop_limit, place.start..place.start + view.bytes.len());
        set_hop_limit(&mut frame.pdu_mut()[place.clone()], hop_limit);
        Delivery::Packet(place)
    }

    /// Makes an ICMPv6 error, or a reset, of a negative reply about a packet.
    fn translate(
        &mut self,
        now_ns: u64,
        book: &Book,
        port: u16,
        frame: &RoutedView<&mut [u8]>,
        out: &mut Vec<u8>,
    ) -> Delivery {
        // Most negative replies are about calls: those are looked at no further.
        if frame.nack_about() != Some(MessageType::Packet) {
            return Delivery::Frame;
        }
        let Ok(Frame { message: Message::Nack(nack), .. }) = Frame::decode(frame.pdu()) else {
            return Delivery::Drop(DropReason::Malformed);
        };
        // The quoted packet is truncated: its length field is wrong.
        let quoted = &nack.body;
        let address = |at: usize| quoted.get(at..)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
        let Some(source) = address(8) else { return Delivery::Drop(DropReason::Malformed) };
        if book.speaker(port, &source).is_none() {
            return Delivery::Drop(DropReason::Unsolicited);
        }
        let speaker = Name::of_node(book.domain(), &nack.node).ok();
        let speaker = speaker.and_then(|name| address::of_name(book.domain(), &name)).unwrap_or(self.own);
        let problem = Problem::of_refusal(nack.reason);
        let whole = restored(quoted);
        let view = View::parse(&whole);
        let segment = view.as_ref().and_then(View::tcp);
        if view.is_some_and(|v| !v.may_be_answered()) || segment.as_ref().is_some_and(TcpSlice::rst) {
            return Delivery::Ignore;
        }
        if !self.may_speak(now_ns) {
            return Delivery::Ignore;
        }
        let over = problem.is_absence() && view.as_ref().is_some_and(|v| self.is_over(now_ns, book, port, &v.flow()));
        let packet = match (segment, &view) {
            (Some(segment), Some(view)) if over && !segment.syn() => reset::answering(view.flow(), &segment),
            _ => errors::problem(speaker, source, quoted, problem),
        };
        reply(&packet, out);
        Delivery::Reply
    }
}

/// A quoted packet whose length field is adapted to the bytes that are left.
fn restored(quoted: &[u8]) -> Vec<u8> {
    let mut whole = quoted.to_vec();
    let length = u16::try_from(quoted.len().saturating_sub(HEADER)).unwrap_or(u16::MAX);
    if let Some(field) = whole.get_mut(4..6) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    whole
}
