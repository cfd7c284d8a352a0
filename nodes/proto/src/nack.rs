//! Negative replies: what could not be forwarded or delivered is answered with the reason, in one round trip (GAP-10).
//!
//! Only what somebody waits for is answered: requests, probes, tasks and signalling that is retransmitted. Never a
//! negative reply itself, an acknowledgement or an answer, so that two nodes cannot talk about failures for ever.

use std::time::Duration;

use damc_mgmt::view::ProtocolCounters;
use damc_mgmt::words::ProtocolCounter;
use damc_wire::frame::body_of;
use damc_wire::message::{DataKind, Nack};
use damc_wire::{DropReason, Frame, Message, Name, NodeId, RefusalReason, Timestamp};

use crate::io::{Outbox, PortId};
use crate::router::Router;

/// Negative replies in a second, on the average.
const RATE: u64 = 1000;
/// Negative replies at once.
const BURST: u64 = 256;

/// Allows `rate` events a second and `burst` at once.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    interval: Duration,
    burst: Duration,
    /// The time up to which tokens are used up, never longer ago than a full bucket.
    used: Timestamp,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 counts as 1.
    #[must_use]
    pub fn new(rate: u64, burst: u64) -> Self {
        let interval = Duration::from_nanos(1_000_000_000 / rate.max(1));
        let burst = interval * u32::try_from(burst.max(1)).unwrap_or(u32::MAX);
        Self { interval, burst, used: Timestamp::ZERO }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let used = self.used.max(now - self.burst) + self.interval;
        // The clock may be younger than a full bucket; then the bucket has only what fits.
        if used > now.max(Timestamp::ZERO + self.burst) {
            return false;
        }
        self.used = used;
        true
    }
}

/// Makes the negative replies of a node.
#[derive(Debug)]
pub struct Nacks {
    node: NodeId,
    bucket: TokenBucket,
    sent: u64,
    suppressed: u64,
}

/// A negative reply and whom it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegativeReply {
    /// Source of the message it answers.
    pub to: Name,
    /// Flow of the message it answers.
    pub flow: u32,
    /// The reply.
    pub nack: Nack,
}

impl Nacks {
    /// Replies in the name of `node`.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { node, bucket: TokenBucket::new(RATE, BURST), sent: 0, suppressed: 0 }
    }

    /// The reply to a PDU that met `reason`, if it is to have one.
    pub fn reply(&mut self, now: Timestamp, reason: RefusalReason, pdu: &[u8]) -> Option<NegativeReply> {
        let frame = Frame::decode(pdu).ok()?;
        let (destination, source) = frame.names?;
        if !is_waited_for(&frame.message) {
            return None;
        }
        let body = body_of(pdu)?.to_vec();
        if !self.bucket.take(now) {
            self.suppressed += 1;
            return None;
        }
        self.sent += 1;
        let answered = frame.header.message_type;
        let nack = Nack { reason, node: self.node.clone(), answered, destination, body };
        Some(NegativeReply { to: source, flow: frame.header.flow, nack })
    }

    /// Answers [`crate::io::Input::Undeliverable`] at an SG or SR.
    pub fn handle(
        &mut self,
        now: Timestamp,
        router: &mut Router,
        (port, reason): (Option<PortId>, RefusalReason),
        pdu: &[u8],
        out: &mut Outbox,
    ) {
        let Some(reply) = self.reply(now, reason, pdu) else { return };
        match port {
            // By its name the reply would go to the true owner of the source name: only the port leads to the sender.
            Some(port) if reason == RefusalReason::SourceNotAuthorised => {
                let source = router.context().name.clone();
                let frame = Frame::plain(reply.to, source, reply.flow, Message::Nack(reply.nack));
                if let Ok(pdu) = frame.encode() {
                    router.send_routed(port, pdu, out);
                }
            }
            _ => router.route(now, &reply.to, Message::Nack(reply.nack), reply.flow, 0, out),
        }
    }

    /// Takes a routed message that was for this very node and that nobody here has a use for. Who calls a router is told
    /// that it serves nothing; everything else is dropped.
    pub fn unserved(
        &mut self,
        now: Timestamp,
        router: &mut Router,
        port: Option<PortId>,
        frame: &Frame,
        out: &mut Outbox,
    ) {
        let called = matches!(&frame.message, Message::Data(data) if matches!(data.kind, DataKind::Request { .. }));
        if !called {
            return out.dropped(port, DropReason::Unsolicited);
        }
        out.dropped(port, DropReason::NoSuchInstance);
        if let Ok(pdu) = frame.encode() {
            self.handle(now, router, (port, RefusalReason::NoSuchInstance), &pdu, out);
        }
    }

    /// Replies sent, and replies suppressed by the rate limit.
    #[must_use]
    pub fn counters(&self) -> ProtocolCounters {
        ProtocolCounters::from_iter([
            (ProtocolCounter::NacksSent, self.sent),
            (ProtocolCounter::NacksSuppressed, self.suppressed),
        ])
    }
}

/// What the source is told about a frame that the forwarding plane gave up; none where it is told nothing.
#[must_use]
pub const fn refusal_for(reason: DropReason) -> Option<RefusalReason> {
    Some(match reason {
        DropReason::NoRoute | DropReason::PortDown | DropReason::Looped => RefusalReason::NoRoute,
        DropReason::NoSuchInstance => RefusalReason::NoSuchInstance,
        DropReason::HopLimitExceeded => RefusalReason::HopLimitExceeded,
        DropReason::SourceNotAuthorised => RefusalReason::SourceNotAuthorised,
        DropReason::QueueFull => RefusalReason::Overloaded,
        DropReason::Oversized => RefusalReason::TooLarge,
        _ => return None,
    })
}

/// Whether the sender of this message waits for something.
fn is_waited_for(message: &Message) -> bool {
    match message {
        Message::Data(data) => matches!(data.kind, DataKind::Request { .. }),
        Message::Telemetry(_)
        | Message::Policy(_)
        | Message::Probe(_)
        | Message::Task(_)
        | Message::PathQuery(_)
        | Message::Packet(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use damc_wire::message::{Data, Probe};
    use damc_wire::{MessageType, Millis};

    use super::*;

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    fn node(s: &str) -> NodeId {
        NodeId::new(s).unwrap()
    }

    fn pdu(message: Message) -> Vec<u8> {
        Frame::plain(name("/B/4"), name("/A/1"), 7, message).encode().unwrap()
    }

    fn data(kind: DataKind) -> Message {
        Message::Data(Data { correlation: 99, kind, payload: b"2 3".to_vec(), hops: Vec::new() })
    }

    fn request() -> Message {
        data(DataKind::Request { method: "add".into(), deadline: Millis(1000), context: None })
    }

    #[test]
    fn gap_10_a_request_without_route_is_answered_with_reason_node_and_correlation() {
        let mut nacks = Nacks::new(node("sr-left"));
        let reply = nacks.reply(Timestamp::from_millis(1), RefusalReason::NoRoute, &pdu(request())).unwrap();
        assert_eq!(reply.to, name("/A/1"));
        assert_eq!(reply.nack.node, node("sr-left"));
        assert_eq!(reply.nack.destination, name("/B/4"));
        assert_eq!(reply.nack.call(), Some(99));
        let probe = Probe { test: 1, sequence: 1, train_index: 0, train_length: 1, t1: 1, t2: 0, t3: 0, padding: 0 };
        let reply =
            nacks.reply(Timestamp::from_millis(1), RefusalReason::NoRoute, &pdu(Message::Probe(probe))).unwrap();
        assert_eq!(reply.nack.answered, MessageType::Probe);
        assert_eq!(reply.nack.call(), None);
    }

    #[test]
    fn gap_10_answers_and_negative_replies_are_never_answered() {
        let mut nacks = Nacks::new(node("sg-1"));
        let now = Timestamp::from_millis(1);
        let nack = nacks.reply(now, RefusalReason::NoRoute, &pdu(request())).unwrap().nack;
        let report = damc_wire::message::TaskReport { task: 1, healthy: true, load_ppm: 0, served: 0, self_test_ns: 0 };
        for message in [
            Message::Nack(nack),
            data(DataKind::Response),
            data(DataKind::Error { reason: RefusalReason::Failed }),
            Message::TaskReport(report),
        ] {
            assert_eq!(nacks.reply(now, RefusalReason::NoRoute, &pdu(message)), None);
        }
    }

    #[test]
    fn gap_10_a_flood_of_undeliverables_is_answered_at_a_bounded_rate() {
        let mut nacks = Nacks::new(node("sg-1"));
        let pdu = pdu(request());
        // 100 000 frames in one second.
        let start = Timestamp::from_millis(5000);
        let sent = (0..100_000_u64)
            .filter(|i| nacks.reply(start + Duration::from_micros(i * 10), RefusalReason::NoRoute, &pdu).is_some())
            .count() as u64;
        assert!((RATE..=RATE + BURST).contains(&sent), "{sent}");
        assert_eq!((nacks.sent, nacks.suppressed), (sent, 100_000 - sent));
    }

    #[test]
    fn a_bucket_is_full_at_the_origin_of_time_too() {
        let mut bucket = TokenBucket::new(10, 3);
        let taken = (0..10).filter(|_| bucket.take(Timestamp::ZERO)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(Timestamp::from_millis(99)));
    }
}
