//! Class 2 from neighbours: LSAs by the steps of RFC 2328 section 13, acknowledgements, summaries, requests.

use core::cmp::Ordering;
use core::time::Duration;

use damc_mgmt::event::EventKind;
use damc_trust::Verified;
use damc_wire::lsa::{Lsa, LsaHeader};
use damc_wire::message::DbSummary;
use damc_wire::registry::DropReason;
use damc_wire::{Message, Millis, Timestamp};

use super::{Router, RouterEvent};
use crate::adjacency::Received;
use crate::io::{Outbox, PortId};

impl Router {
    /// Takes a message of an adjacent neighbour; what is not class 2 is the role's.
    pub(super) fn receive(&mut self, now: Timestamp, received: Received, out: &mut Outbox) {
        let port = received.port;
        match received.message {
            Message::LsUpdate(lsas) => {
                for lsa in lsas {
                    self.receive_lsa(now, port, lsa, out);
                }
            }
            Message::LsAck(headers) | Message::TopologyAck(headers) => self.receive_acks(now, port, &headers),
            Message::DbSummary(summary) => self.receive_summary(now, port, &summary),
            Message::LsRequest(headers) => self.receive_request(port, headers),
            Message::Attach(attachment) => self.receive_attachment(now, (port, &received.neighbour), attachment, out),
            _ => self.events.push_back(RouterEvent::Message(Box::new(received))),
        }
    }

    /// RFC 2328 section 13, steps numbered as there. Step 1 (validity) comes last before installation, because a
    /// signature costs more than all other checks: only what would be installed is verified, and nothing else that is
    /// done with an LSA needs it to be true. Step 2 and 3 (type, scope) are the decoder's.
    fn receive_lsa(&mut self, now: Timestamp, port: PortId, lsa: Lsa, out: &mut Outbox) {
        let header = lsa.header();
        let outcome = match self.lsdb.compare(&header) {
            // Step 4: no time left, here with or without a copy.
            _ if lsa.remaining == Millis(0) => Err(DropReason::StaleLsa),
            // Step 5: newer than ours, or unknown here.
            Ordering::Greater => self.receive_newer(now, port, lsa, out),
            // Step 7: the same. An implied acknowledgement of ours, or to be acknowledged.
            Ordering::Equal => {
                self.receive_same(now, port, &header);
                Ok(())
            }
            // Step 8: older than ours. The neighbour gets ours and no acknowledgement.
            Ordering::Less => {
                self.send_back(port, &header);
                Err(DropReason::StaleLsa)
            }
        };
        if let Err(reason) = outcome {
            self.refuse(port, &header, reason, out);
        }
    }

    /// Step 7. Nobody signs the time left: a forwarder that shortens it would have the LSA die behind it. So a copy that has
    /// much more time than ours prolongs ours, here and at those who have it from us, and the bearer of one that has much
    /// less gets ours.
    fn receive_same(&mut self, now: Timestamp, port: PortId, header: &LsaHeader) {
        self.counters.lsa_duplicate += 1;
        if let Some(session) = self.flood.session(port) {
            if let Some(sync) = &mut session.sync {
                sync.answered(&header.key);
            }
            if !session.outgoing.acknowledged(now, header) {
                session.acknowledge(header.clone());
            }
        }
        match self.lsdb.compare_age(now, header) {
            Ordering::Greater => {
                self.lsdb.prolong(now, header);
                self.counters.lsa_prolonged += 1;
                self.flood.spread(now, header, Some(port));
            }
            Ordering::Less => self.send_back(port, header),
            Ordering::Equal => {}
        }
    }

    /// Step 5. What is dropped here is not acknowledged: the neighbour keeps it on its list and sends it again
    /// (check-list 7).
    fn receive_newer(&mut self, now: Timestamp, port: PortId, lsa: Lsa, out: &mut Outbox) -> Result<(), DropReason> {
        let header = lsa.header();
        let own = header.key.origin == self.context.node;
        // Step 5a: too soon after the instance before it.
        let min_arrival = Duration::from_millis(self.context.timers.lsa_min_arrival_ms);
        let too_soon = self.lsdb.stored(&header.key).is_some_and(|s| now.since(s.installed_at()) < min_arrival);
        if too_soon && !own {
            return Err(DropReason::MinArrival);
        }
        if !self.lsdb.has_room(&lsa) {
            return Err(DropReason::ResourceLimit);
        }
        // Step 1: origin's certificate and signature, proof of a prefix.
        let lsa = self.verify(now, lsa)?;
        let purge = lsa.is_purge();
        // Step 5f, before installation: our own word of an earlier life is never taken as truth. A purge with the last number
        // is, because there is nothing to outbid it with.
        let last_word = purge && header.sequence == u64::MAX;
        if own && !last_word {
            self.hear_own(now, port, &header, out);
            return Ok(());
        }
        let after = lsa.content.clone();
        // Steps 5b to 5d: flood, take older instances off all lists, install.
        let clock = Some(self.verifier.clock());
        let before = self.lsdb.install(now, lsa, clock).map_err(|_| DropReason::ResourceLimit)?;
        if own {
            self.own.rest(&header.key.id);
        }
        self.flood.spread(now, &header, Some(port));
        self.apply(&header.key, before.as_ref().map(|l| &l.content), Some(&after));
        // Step 5e: acknowledge.
        if let Some(session) = self.flood.session(port) {
            session.acknowledge(header.clone());
        }
        self.counters.lsa_accepted += 1;
        out.event(EventKind::LsaAccepted {
            origin: header.key.origin.to_string(),
            id: header.key.id.to_string(),
            sequence: header.sequence,
            purge,
            port: self.context.port_label(port),
        });
        Ok(())
    }

    /// Checks an LSA. What the issuer of its proof says of the time counts for all that this one issued (GAP-07).
    pub(super) fn verify(&mut self, now: Timestamp, lsa: Lsa) -> Result<Verified<Lsa>, DropReason> {
        let issuer = lsa.proof().map(|proof| proof.issuer().clone());
        let verified = self.verifier.verify_lsa(now, lsa).map_err(|e| e.drop_reason());
        if let Some(issuer) = issuer {
            self.lsdb.clock_moved(&issuer, self.verifier.clock());
        }
        verified
    }

    /// A newer instance under our name: outbid or purge it (check-list 10). While its bearer still exchanges databases with
    /// us more of the kind is to come, and the topology is about to change: one instance for all.
    fn hear_own(&mut self, now: Timestamp, port: PortId, header: &LsaHeader, out: &mut Outbox) {
        let mut not_before = now;
        if let Some(session) = self.flood.session(port) {
            if let Some(sync) = &mut session.sync {
                sync.answered(&header.key);
                not_before = now + Duration::from_millis(self.context.timers.lsa_min_origination_ms);
            }
            session.acknowledge(header.clone());
        }
        if self.own.fight_back(now, &header.key.id, header.sequence, not_before) {
            self.refuse(port, header, DropReason::DuplicateIdentity, out);
        }
    }

    fn send_back(&mut self, port: PortId, theirs: &LsaHeader) {
        let Some(version) = self.lsdb.get(&theirs.key).map(|ours| ours.header().version()) else { return };
        if let Some(session) = self.flood.session(port) {
            if let Some(sync) = &mut session.sync {
                sync.answered(&theirs.key);
            }
            session.outgoing.enqueue(&theirs.key, version);
        }
    }

    fn refuse(&mut self, port: PortId, header: &LsaHeader, reason: DropReason, out: &mut Outbox) {
        self.counters.lsa_refused += 1;
        out.dropped(Some(port), reason);
        out.event(EventKind::LsaRefused {
            origin: header.key.origin.to_string(),
            id: header.key.id.to_string(),
            sequence: header.sequence,
            reason,
            port: self.context.port_label(port),
        });
        // What will not be believed the next time either must not keep the exchange from its end.
        if reason != DropReason::MinArrival
            && let Some(sync) = self.flood.session(port).and_then(|s| s.sync.as_mut())
        {
            sync.answered(&header.key);
        }
    }

    fn receive_acks(&mut self, now: Timestamp, port: PortId, headers: &[LsaHeader]) {
        let Some(session) = self.flood.session(port) else { return };
        for header in headers {
            session.outgoing.acknowledged(now, header);
            if header.sequence == 0
                && let Some(sync) = &mut session.sync
            {
                sync.answered(&header.key);
            }
        }
    }

    /// A page of the neighbour's summary, or one of ours returned as its acknowledgement.
    fn receive_summary(&mut self, now: Timestamp, port: PortId, summary: &DbSummary) {
        let Some(session) = self.flood.session(port) else { return };
        if session.is_own_page(summary) {
            session.page_acknowledged(now, summary.page);
            return;
        }
        if let Some(sync) = &mut session.sync
            && sync.page_received(summary)
        {
            let newer = |h: &&LsaHeader| {
                let fresher = || self.lsdb.compare_age(now, h) == Ordering::Greater;
                h.remaining > Millis(0) && (self.lsdb.compare(h) == Ordering::Greater || fresher())
            };
            for header in summary.headers.iter().filter(newer) {
                sync.request(header);
            }
        }
        // Also after the exchange is over here: the neighbour waits for the acknowledgement that was lost.
        session.acknowledge_page(summary);
    }

    /// Answers with what is in the database: the LSA by reliable flooding, or an acknowledgement with sequence 0.
    fn receive_request(&mut self, port: PortId, headers: Vec<LsaHeader>) {
        let Some(session) = self.flood.session(port) else { return };
        for header in headers {
            match self.lsdb.get(&header.key) {
                Some(ours) => session.outgoing.enqueue(&header.key, ours.header().version()),
                None => session.acknowledge(LsaHeader { sequence: 0, digest: 0, ..header }),
            }
        }
    }
}
