//! Class 3: what the SPA is asked, what it answers, what it takes back, and the times that follow from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use damc_mgmt::event::EventKind;
use damc_mgmt::words::ProtocolCounter;
use damc_wire::message::{Announce, AuthReply, AuthRequest, AuthResult, Outcome, Revoke, RevokeAck};
use damc_wire::security::Grant;
use damc_wire::{DropReason, Message, Name, NodeId, RefusalReason, Timestamp};

use super::claims::{ClaimState, Held};
use super::class1::names_of;
use super::{Action, Directory, Registrar};
use crate::io::PortId;

/// A question to the SPA.
#[derive(Debug)]
pub(super) struct Ask {
    pub pod: NodeId,
    announce: Arc<Announce>,
    waiting: BTreeSet<Name>,
    /// Grants of this question were issued later than this: their lifetimes are counted from here.
    pub started: Timestamp,
    pub next_send: Timestamp,
    pub interval: Duration,
}

impl Ask {
    /// The name needs no answer any more.
    pub fn forget(&mut self, name: &Name) {
        self.waiting.remove(name);
    }
}

impl Registrar {
    /// Class 3 from an SPA: grant or refusal of one name.
    pub fn handle_reply(
        &mut self,
        now: Timestamp,
        port: PortId,
        spa: &NodeId,
        reply: &AuthReply,
        lsdb: &dyn Directory,
    ) {
        self.count(ProtocolCounter::AuthReplies);
        let (name, exact) = match &reply.result {
            AuthResult::Granted(grant) => (&grant.prefix, Some(grant.exact)),
            AuthResult::Refused(outcome) => (&outcome.prefix, None),
        };
        let Some(ask) = self.asks.get(&reply.request) else {
            return self.dropped(port, DropReason::Unsolicited);
        };
        if !ask.waiting.contains(name) {
            // The SPA answers every name of the announcement each time it is asked.
            if !names_of(&ask.announce).contains(&name) {
                self.dropped(port, DropReason::NotAuthorised);
            }
            return;
        }
        let (pod, started) = (ask.pod.clone(), ask.started);
        let state = match &reply.result {
            AuthResult::Granted(grant) => match self.judge_grant(now, spa, &pod, grant) {
                Ok(()) => {
                    if self.conflicts(&pod, name, exact == Some(true), lsdb, false) {
                        ClaimState::Refused(RefusalReason::Conflict)
                    } else {
                        ClaimState::Granted(Box::new(hold(started, grant)))
                    }
                }
                Err(reason) => return self.dropped(port, reason),
            },
            AuthResult::Refused(Outcome { refusal: Some(reason), .. }) => ClaimState::Refused(*reason),
            AuthResult::Refused(_) => return self.dropped(port, DropReason::Malformed),
        };
        self.answered(now, reply.request, &pod, &name.clone(), state);
    }

    /// Class 3 from an SPA: a grant is void. Acknowledged however often it comes.
    pub fn handle_revoke(&mut self, now: Timestamp, port: PortId, spa: &NodeId, revoke: &Revoke) {
        self.count(ProtocolCounter::Revocations);
        self.send(port, Message::RevokeAck(RevokeAck { serial: revoke.serial }));
        let key = (spa.clone(), revoke.pod.clone(), revoke.prefix.clone());
        let floor = self.revoked.entry(key).or_insert((0, now));
        *floor = (floor.0.max(revoke.serial), now);
        let claim = self.pods.get_mut(&revoke.pod).and_then(|r| r.claims.get_mut(&revoke.prefix));
        let Some(claim) = claim else { return };
        let hit = claim.held().is_some_and(|h| h.grant.certificate.node == *spa && h.grant.serial <= revoke.serial);
        if !hit {
            return;
        }
        if let Some(ask) = claim.ask.take() {
            self.asks.get_mut(&ask).map(|a| a.waiting.remove(&revoke.prefix));
        }
        claim.state = ClaimState::Refused(RefusalReason::Revoked);
        self.event(EventKind::Revoked { pod: revoke.pod.to_string(), prefix: revoke.prefix.to_string() });
        self.notify(now, &revoke.pod, &revoke.prefix);
        self.reconcile(now, &revoke.pod);
    }

    /// Asks the SPA about the undecided claims of an announcement.
    pub(super) fn open_ask(&mut self, now: Timestamp, pod: &NodeId, announce: &Arc<Announce>) {
        let Some(record) = self.pods.get(pod) else { return };
        let waiting: BTreeSet<Name> = record
            .claims
            .iter()
            .filter(|(_, c)| c.state == ClaimState::Pending && c.ask.is_none() && Arc::ptr_eq(&c.announce, announce))
            .map(|(name, _)| name.clone())
            .collect();
        self.ask(now, pod, announce, waiting);
    }

    fn ask(&mut self, now: Timestamp, pod: &NodeId, announce: &Arc<Announce>, waiting: BTreeSet<Name>) {
        let ask = Ask {
            pod: pod.clone(),
            announce: announce.clone(),
            waiting,
            started: now,
            next_send: now,
            interval: self.retransmit,
        };
        self.reopen(now, ask);
    }

    /// Gives a question a new number, so that its grants' lifetimes count from now.
    pub(super) fn reopen(&mut self, now: Timestamp, mut ask: Ask) {
        let Some(record) = self.pods.get_mut(&ask.pod) else { return };
        if ask.waiting.is_empty() {
            return;
        }
        let id = self.next_ask;
        self.next_ask = self.next_ask.wrapping_add(1);
        ask.started = now;
        for name in &ask.waiting {
            if let Some(claim) = record.claims.get_mut(name) {
                claim.ask = Some(id);
            }
        }
        self.asks.insert(id, ask);
    }

    pub(super) fn send_due(&mut self, now: Timestamp) {
        self.asks.retain(|_, ask| !ask.waiting.is_empty());
        let Some(port) = self.spas.values().next().copied() else { return };
        for (id, ask) in &mut self.asks {
            if now < ask.next_send {
                continue;
            }
            let Some(record) = self.pods.get(&ask.pod) else { continue };
            ask.next_send = now + ask.interval;
            ask.interval = (ask.interval * 2).min(self.retransmit_max);
            let message = Message::AuthRequest(AuthRequest {
                request: *id,
                certificate: (*record.certificate).clone(),
                announce: (*ask.announce).clone(),
            });
            self.actions.push_back(Action::Send { port, message });
        }
    }

    /// Believes a grant only after checking all it says.
    fn judge_grant(&mut self, now: Timestamp, spa: &NodeId, pod: &NodeId, grant: &Grant) -> Result<(), DropReason> {
        let record = self.pods.get(pod).ok_or(DropReason::NoAdjacency)?;
        let claim = record.claims.get(&grant.prefix).ok_or(DropReason::NotAuthorised)?;
        let fits = grant.sg == self.sg
            && grant.pod == *pod
            && grant.pod_key == record.certificate.signing_key
            && grant.exact == claim.is_pool()
            && grant.certificate.node == *spa
            && grant.expires_at > grant.issued_at;
        if !fits {
            return Err(DropReason::NotAuthorised);
        }
        let key = (spa.clone(), pod.clone(), grant.prefix.clone());
        if self.revoked.get(&key).is_some_and(|(serial, _)| grant.serial <= *serial) {
            return Err(DropReason::GrantExpired);
        }
        self.verifier.verify_grant(now, grant).map_err(|e| e.drop_reason())
    }

    fn answered(&mut self, now: Timestamp, request: u64, pod: &NodeId, name: &Name, state: ClaimState) {
        if let Some(ask) = self.asks.get_mut(&request) {
            ask.waiting.remove(name);
            if ask.waiting.is_empty() {
                self.asks.remove(&request);
            }
        }
        let Some(claim) = self.pods.get_mut(pod).and_then(|r| r.claims.get_mut(name)) else { return };
        let (refusal, serial) = match &state {
            ClaimState::Refused(reason) => (Some(*reason), None),
            ClaimState::Granted(held) => (None, Some(held.grant.serial)),
            ClaimState::Pending | ClaimState::Waiting => (None, None),
        };
        let before = core::mem::replace(&mut claim.state, state);
        claim.ask = None;
        // The pod knows of a pending claim from the reply to come, of all other changes only if it is told.
        let told = match (&before, &refusal) {
            (ClaimState::Pending, _) | (ClaimState::Granted(_), None) => true,
            (ClaimState::Granted(_) | ClaimState::Waiting | ClaimState::Refused(_), _) => false,
        };
        self.event(EventKind::Authenticated { pod: pod.to_string(), prefix: name.to_string(), refusal, serial });
        if !told {
            self.notify(now, pod, name);
        }
        self.reconcile(now, pod);
    }

    /// Questions nobody answered in time: the pod hears of it, the SPA is asked on under a new number.
    pub(super) fn give_up(&mut self, now: Timestamp) {
        let late: Vec<u64> =
            self.asks.iter().filter(|(_, a)| now >= a.started + self.auth_timeout).map(|(id, _)| *id).collect();
        for id in late {
            let Some(ask) = self.asks.remove(&id) else { continue };
            let pod = ask.pod.clone();
            for name in &ask.waiting {
                self.event(EventKind::AuthUnanswered { pod: pod.to_string(), prefix: name.to_string() });
            }
            if let Some(record) = self.pods.get_mut(&pod) {
                for name in &ask.waiting {
                    if let Some(claim) = record.claims.get_mut(name).filter(|c| c.state == ClaimState::Pending) {
                        claim.state = ClaimState::Waiting;
                    }
                }
            }
            self.count(ProtocolCounter::AuthTimeouts);
            self.reopen(now, ask);
            self.reconcile(now, &pod);
        }
    }

    pub(super) fn renew(&mut self, now: Timestamp) {
        let mut due: Vec<(NodeId, Arc<Announce>)> = Vec::new();
        for (pod, record) in &self.pods {
            for claim in record.claims.values().filter(|c| c.ask.is_none()) {
                let renew = claim.held().is_some_and(|h| now >= h.renew_at);
                if renew && !due.iter().any(|(_, a)| Arc::ptr_eq(a, &claim.announce)) {
                    due.push((pod.clone(), claim.announce.clone()));
                }
            }
        }
        for (pod, announce) in due {
            let Some(record) = self.pods.get(&pod) else { continue };
            let waiting: BTreeSet<Name> = record
                .claims
                .iter()
                .filter(|(_, c)| c.ask.is_none() && c.held().is_some() && Arc::ptr_eq(&c.announce, &announce))
                .map(|(name, _)| name.clone())
                .collect();
            self.count(ProtocolCounter::GrantRenewals);
            self.ask(now, &pod, &announce, waiting);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let mut over = Vec::new();
        for (pod, record) in &mut self.pods {
            for (name, claim) in &mut record.claims {
                if claim.held().is_some_and(|h| now >= h.expires_at) {
                    claim.state = ClaimState::Waiting;
                    over.push((pod.clone(), name.clone(), claim.ask.is_none().then(|| claim.announce.clone())));
                }
            }
        }
        for (pod, name, unasked) in over {
            if let Some(announce) = unasked {
                self.ask(now, &pod, &announce, BTreeSet::from([name.clone()]));
            }
            self.count(ProtocolCounter::GrantsExpired);
            self.event(EventKind::GrantExpired { pod: pod.to_string(), prefix: name.to_string() });
            self.notify(now, &pod, &name);
            self.reconcile(now, &pod);
        }
    }
}

fn hold(started: Timestamp, grant: &Grant) -> Held {
    let lifetime = Duration::from_millis(grant.expires_at.0.saturating_sub(grant.issued_at.0));
    Held { grant: grant.clone(), renew_at: started + lifetime / 2, expires_at: started + lifetime }
}
