//! The SCSC's side of attachments: it signs to each router next to it that it is attached there, for a time, and again
//! before that is over. Only a router that has such an attachment may advertise the SCSC's name.

use core::time::Duration;
use std::collections::BTreeMap;

use damc_mgmt::config::Timers;
use damc_trust::NodeKeys;
use damc_wire::message::AttachAck;
use damc_wire::security::Attachment;
use damc_wire::{Millis, NodeId, Timestamp};

use crate::io::PortId;

/// A router that is told.
#[derive(Debug)]
struct Told {
    router: NodeId,
    /// The attachment it has not acknowledged yet, and the time until it is repeated.
    unacknowledged: Option<(Attachment, Duration)>,
    /// When to repeat that, or to sign a new one.
    due: Timestamp,
}

/// Attachments of an SCSC to its neighbours.
#[derive(Debug)]
pub(crate) struct Attachments {
    lifetime: Duration,
    retransmit: Duration,
    retransmit_max: Duration,
    told: BTreeMap<PortId, Told>,
}

impl Attachments {
    /// Nobody is told yet.
    pub(crate) const fn new(timers: &Timers) -> Self {
        Self {
            lifetime: Duration::from_millis(timers.grant_lifetime_ms),
            retransmit: Duration::from_millis(timers.retransmit_ms),
            retransmit_max: Duration::from_millis(timers.retransmit_max_ms),
            told: BTreeMap::new(),
        }
    }

    /// An adjacency is up: its router is to be told.
    pub(crate) fn router_up(&mut self, now: Timestamp, port: PortId, router: NodeId) {
        self.told.insert(port, Told { router, unacknowledged: None, due: now });
    }

    /// The adjacency is down: what was signed for it ends by itself.
    pub(crate) fn router_down(&mut self, port: PortId) {
        self.told.remove(&port);
    }

    /// A router has an attachment. The next one follows at half of its life.
    pub(crate) fn acknowledged(&mut self, port: PortId, ack: AttachAck) {
        let Some(told) = self.told.get_mut(&port) else { return };
        if let Some((attachment, _)) = told.unacknowledged.take_if(|(sent, _)| sent.issued_at == ack.issued_at) {
            told.due = Timestamp::from_millis(attachment.issued_at.0) + self.lifetime / 2;
        }
    }

    /// What to send now. One that is never acknowledged is signed anew at half of its life too.
    pub(crate) fn take_due(&mut self, now: Timestamp, keys: &NodeKeys) -> Vec<(PortId, Attachment)> {
        let (lifetime, first, longest) = (self.lifetime, self.retransmit, self.retransmit_max);
        let due = self.told.iter_mut().filter(|(_, told)| told.due <= now);
        let send = |(port, told): (&PortId, &mut Told)| {
            let renewed = |sent: &Attachment| now >= Timestamp::from_millis(sent.issued_at.0) + lifetime / 2;
            let (attachment, gap) = match told.unacknowledged.take().filter(|(sent, _)| !renewed(sent)) {
                Some((sent, gap)) => (sent, (gap * 2).min(longest)),
                None => {
                    let (issued_at, expires_at) = (Millis(now.millis()), Millis((now + lifetime).millis()));
                    (keys.sign_attachment(told.router.clone(), issued_at, expires_at), first)
                }
            };
            told.due = now + gap;
            told.unacknowledged = Some((attachment.clone(), gap));
            (*port, attachment)
        };
        due.map(send).collect()
    }

    /// When [`Self::take_due`] has something.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        self.told.values().map(|told| told.due).min()
    }
}

#[cfg(test)]
mod tests {
    use damc_trust::{NodeSecrets, RootSecret};
    use damc_wire::Role;

    use super::*;

    const PORT: PortId = PortId(3);

    fn id(text: &str) -> NodeId {
        NodeId::new(text).unwrap()
    }

    fn keys() -> NodeKeys {
        let secrets = NodeSecrets { signing: [1; 32], agreement: [2; 32] };
        let certificate = RootSecret::from_seed(&[3; 32]).issue(&id("example"), &id("scsc"), Role::Scsc, &secrets);
        NodeKeys::new(&secrets, certificate).unwrap()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// What is sent when it is due, until `until`: times and issues.
    fn sent(attachments: &mut Attachments, until: u64) -> Vec<(u64, u64)> {
        let mut sent = Vec::new();
        while let Some(due) = attachments.next_timeout().filter(|due| *due <= at(until)) {
            for (port, attachment) in attachments.take_due(due, &keys()) {
                assert_eq!((port, attachment.router.as_str()), (PORT, "sr-1"));
                assert_eq!(attachment.expires_at.0, attachment.issued_at.0 + 600_000);
                sent.push((due.millis(), attachment.issued_at.0));
            }
        }
        sent
    }

    #[test]
    fn one_is_repeated_until_it_is_acknowledged_and_renewed_at_half_of_its_life() {
        let mut attachments = Attachments::new(&Timers::default()); // 600 s; repeated after 50 ms, 1 s at most
        attachments.router_up(at(1000), PORT, id("sr-1"));
        assert_eq!(sent(&mut attachments, 1400), [(1000, 1000), (1050, 1000), (1150, 1000), (1350, 1000)]);
        attachments.acknowledged(PORT, AttachAck { issued_at: Millis(999) });
        assert_eq!(sent(&mut attachments, 1750), [(1750, 1000)], "that was another one");
        attachments.acknowledged(PORT, AttachAck { issued_at: Millis(1000) });
        assert_eq!(attachments.next_timeout(), Some(at(301_000)));
        assert_eq!(sent(&mut attachments, 301_000), [(301_000, 301_000)]);
        attachments.router_down(PORT);
        assert_eq!(attachments.next_timeout(), None);
    }

    #[test]
    fn a_silent_router_gets_attachments_that_still_hold() {
        let mut attachments = Attachments::new(&Timers::default());
        attachments.router_up(at(0), PORT, id("sr-1"));
        let sent = sent(&mut attachments, 1_000_000);
        assert!(sent.iter().all(|(now, issued)| now - issued <= 300_000), "{sent:?}");
        assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 1000), "it is told again and again");
    }
}
