//! What follows from a change of claims: advertisements, admission, replies, notices.

use std::collections::BTreeSet;

use damc_mgmt::event::EventKind;
use damc_mgmt::words::ProtocolCounter;
use damc_wire::message::{AnnounceReply, Outcome};
use damc_wire::{DropReason, Message, Name, NodeId, Timestamp};

use super::claims::Notice;
use super::{Action, Registrar};
use crate::io::PortId;

/// How often an unsolicited reply is sent.
const NOTICES: u8 = 3;
/// Outcomes in one unsolicited reply: with the longest names they still fit one PDU.
const NOTICE_PAGE: usize = 5;
/// Names that are remembered as gone.
const DEPARTED_LIMIT: usize = 1024;

impl Registrar {
    /// Brings advertisements, admission and replies in line with the claims of a pod. Advertisements come first: a
    /// positive answer leads directly to the LSA (AUT-05).
    pub(super) fn reconcile(&mut self, now: Timestamp, pod: &NodeId) {
        let Some(record) = self.pods.get_mut(pod) else { return };
        let (gone, changed) = record.readvertise(pod);
        let withdrawn = gone.iter().map(|name| Action::Withdraw { prefix: name.clone(), pod: pod.clone() });
        self.actions.extend(withdrawn);
        let mut returned = BTreeSet::new();
        for claim in changed {
            self.suspended.remove(&(pod.clone(), claim.prefix.clone()));
            returned.insert(claim.prefix.clone());
            self.actions.push_back(Action::Originate(claim));
        }
        let sources = record.sources();
        let pools = record.memberships();
        if (&record.admitted, &record.memberships) != (&sources, &pools) {
            record.admitted.clone_from(&sources);
            record.memberships.clone_from(&pools);
            self.actions.push_back(Action::Admit { port: record.port, sources, pools });
        }
        let port = record.port;
        let open: Vec<u64> = record.transactions.iter().filter(|(_, t)| !t.replied).map(|(id, _)| *id).collect();
        for id in open {
            if let Some(reply) = record.reply(id) {
                if let Some(t) = record.transactions.get_mut(&id) {
                    t.replied = true;
                }
                self.actions.push_back(Action::Send { port, message: Message::AnnounceReply(reply) });
            }
        }
        for name in gone {
            self.depart(now, name);
        }
        if !returned.is_empty() {
            self.departed.retain(|(_, gone)| !returned.contains(gone));
        }
    }

    /// Purges the names of silent pods that have not come back with them.
    pub(super) fn purge_suspended(&mut self, now: Timestamp) {
        let over: Vec<_> =
            self.suspended.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.suspended.remove(&key);
            let (pod, prefix) = key;
            self.actions.push_back(Action::Withdraw { prefix, pod });
        }
    }

    pub(super) fn depart(&mut self, now: Timestamp, name: Name) {
        if self.departed.len() >= DEPARTED_LIMIT {
            self.departed.pop_front();
        }
        self.departed.push_back((now, name));
    }

    /// Has the pod told, unasked, how it stands with a name.
    pub(super) fn notify(&mut self, now: Timestamp, pod: &NodeId, name: &Name) {
        let interval = self.retransmit;
        if let Some(record) = self.pods.get_mut(pod) {
            record.notices.insert(name.clone(), Notice { left: NOTICES, next: now, interval });
        }
        self.repeat_notices(now);
    }

    pub(super) fn repeat_notices(&mut self, now: Timestamp) {
        for record in self.pods.values_mut() {
            let due: Vec<Name> = record.notices.iter().filter(|(_, n)| now >= n.next).map(|(n, _)| n.clone()).collect();
            let mut outcomes = Vec::new();
            for name in due {
                if let Some(notice) = record.notices.get_mut(&name) {
                    notice.left -= 1;
                    notice.next = now + notice.interval;
                    notice.interval *= 2;
                    if notice.left == 0 {
                        record.notices.remove(&name);
                    }
                }
                // Undecided or withdrawn since: there is nothing to tell any more.
                if let Some(refusal) = record.outcome(&name).filter(|_| record.claims.contains_key(&name)) {
                    outcomes.push(Outcome { prefix: name, refusal });
                }
            }
            for page in outcomes.chunks(NOTICE_PAGE) {
                let message = Message::AnnounceReply(AnnounceReply { request: 0, outcomes: page.to_vec() });
                self.actions.push_back(Action::Send { port: record.port, message });
            }
        }
    }

    pub(super) fn send(&mut self, port: PortId, message: Message) {
        self.actions.push_back(Action::Send { port, message });
    }

    pub(super) fn event(&mut self, event: EventKind) {
        self.actions.push_back(Action::Event(event));
    }

    pub(super) fn dropped(&mut self, port: PortId, reason: DropReason) {
        self.actions.push_back(Action::Dropped { port, reason });
    }

    pub(super) fn count(&mut self, counter: ProtocolCounter) {
        self.counters.count(counter);
    }
}
