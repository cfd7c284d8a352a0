//! Packets of a pod to the gateway itself: neighbour discovery, echo, DNS, class 1.

use damc_wire::{DropReason, address};

use super::{CLIENT_LIMIT, Client, DNS_PORT, Gateway, NAMELESS_LIMIT, NAMELESS_SILENCE, OwnStep, Step, reply};
use crate::book::Book;
use crate::errors::{self, PORT, Problem};
use crate::packet::View;
use crate::{Mac, dns, neighbour, reset};

impl Gateway {
    /// Handles a packet that must not leave the link: only solicitations are answered.
    pub(super) fn local(&self, mac: Mac, view: &View<'_>, out: &mut Vec<u8>) -> Step {
        let known = [address::ROUTER, self.dns, self.class1, self.own];
        match neighbour::answer(view, mac, &known).or_else(|| self.echo(view)) {
            Some(packet) => reply(&packet, out),
            None => Step::Ignore,
        }
    }

    fn echo(&self, view: &View<'_>) -> Option<Vec<u8>> {
        (!view.destination.is_multicast()).then(|| errors::echo(view)).flatten()
    }

    /// Handles a packet to the gateway itself.
    pub(super) fn own(
        &mut self,
        now_ns: u64,
        book: &Book,
        (port, mac): (u16, Mac),
        view: &View<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        let own = [self.dns, self.class1, self.own];
        if let Some(packet) = neighbour::answer(view, mac, &own).or_else(|| self.echo(view)) {
            return reply(&packet, out);
        }
        // A pod without names can resolve names; everything else needs a name.
        if let Some(udp) = view.udp().filter(|udp| view.destination == self.dns && udp.destination_port() == DNS_PORT) {
            let answer = if book.covers(&view.source) { dns::answer(view, &udp, book) } else { None };
            return answer.map_or(Step::Ignore, |packet| reply(&packet, out));
        }
        if let Some(segment) = view.tcp() {
            let asks = view.destination == self.dns && segment.destination_port() == DNS_PORT;
            if self.serves && (asks || view.destination == self.class1) {
                return self.client(now_ns, book, port, view);
            }
            return if segment.rst() || !self.may_speak(now_ns) {
                Step::Ignore
            } else {
                reply(&reset::answering(view.flow(), &segment), out)
            };
        }
        if self.tell(now_ns, view, (Problem::Unreachable(PORT), false), out) { Step::Reply } else { Step::Ignore }
    }

    /// Records a client of the server at the gateway's own address. A pod without names may be one: its requests are
    /// signed. No pod may use the address of a name behind another port, nor many addresses without a name: the server
    /// gives each of them places of its own.
    fn client(&mut self, now_ns: u64, book: &Book, port: u16, view: &View<'_>) -> Step {
        let known = self.clients.get(&view.source).copied();
        let owns = book.speaker(port, &view.source).is_some();
        let refused = Step::Drop { reason: DropReason::SourceNotAuthorised, reply: false };
        if !book.covers(&view.source)
            || (!owns
                && (book.is_spoken_elsewhere(port, &view.source) || known.is_some_and(|client| client.port != port)))
        {
            return refused;
        }
        if !owns && known.is_none_or(|client| client.named) && !self.has_room_for_nameless(now_ns, port) {
            return refused;
        }
        if known.is_none() && self.clients.len() >= CLIENT_LIMIT {
            self.clients.clear();
        }
        self.clients.insert(view.source, Client { port, named: owns, last_ns: now_ns });
        Step::Own
    }

    /// Whether the pod behind a port may use one more address without a name. One that was silent for long makes room.
    fn has_room_for_nameless(&mut self, now_ns: u64, port: u16) -> bool {
        let of_port = self.clients.iter().filter(|(_, client)| client.port == port && !client.named);
        let (count, oldest) = (of_port.clone().count(), of_port.min_by_key(|(_, client)| client.last_ns));
        let Some((address, oldest)) = oldest.filter(|_| count >= NAMELESS_LIMIT) else { return true };
        let (address, silent) = (*address, now_ns.saturating_sub(oldest.last_ns) >= NAMELESS_SILENCE);
        if silent {
            self.clients.remove(&address);
        }
        silent
    }

    /// Handles a packet from the server at the gateway's own address, whose hardware address on this link is `mac`. It
    /// is for the pod at a port, or it is answered at once.
    pub fn from_own(&mut self, mac: Mac, packet: &[u8], out: &mut Vec<u8>) -> OwnStep {
        let Some(view) = View::parse(packet) else { return OwnStep::Ignore };
        if let Some(packet) = neighbour::answer(&view, mac, &[address::ROUTER]) {
            reply(&packet, out);
            return OwnStep::Reply;
        }
        let to = self.clients.get(&view.destination).filter(|_| [self.class1, self.dns].contains(&view.source));
        to.map_or(OwnStep::Ignore, |client| OwnStep::ToPod(client.port, view.bytes.len()))
    }
}
