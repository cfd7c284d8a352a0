//! The SPA: judges which pod may have which name, signs grants, takes them back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use damc_mgmt::config::Pace;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{AnnouncementView, AnnouncementsView, ProtocolCounters};
use damc_mgmt::words::{AnnouncementState, ProtocolCounter};
use damc_trust::{NodeKeys, Verifier};
use damc_wire::message::{AuthReply, AuthRequest, AuthResult, Outcome, Revoke, RevokeAck};
use damc_wire::security::Grant;
use damc_wire::{DropReason, Message, Millis, Name, NodeId, RefusalReason, Timestamp};

use super::licence::Licences;
use crate::io::PortId;

/// What the authority wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a hop-local message.
    Send {
        /// Where.
        port: PortId,
        /// What.
        message: Box<Message>,
    },
    /// Tell.
    Event(EventKind),
    /// Count.
    Dropped {
        /// Where.
        port: PortId,
        /// Why.
        reason: DropReason,
    },
}

/// Depth of a grant that covers every name below its prefix.
const ANY_DEPTH: u8 = 255;
/// Answers remembered for retransmitted requests.
const ANSWERED_LIMIT: usize = 8192;
/// Grants in force; over it the authority refuses.
const ISSUED_LIMIT: usize = 65_536;

/// The SPA's judgement and memory.
#[derive(Debug)]
pub struct Authority {
    keys: NodeKeys,
    verifier: Verifier,
    licences: Licences,
    lifetime: Millis,
    retransmit: Duration,
    retransmit_max: Duration,
    last_serial: u64,
    answered: BTreeMap<(NodeId, u64), Answered>,
    answered_order: VecDeque<(NodeId, u64)>,
    issued: BTreeMap<(NodeId, Name, NodeId), Issued>,
    decisions: BTreeMap<(Name, NodeId), Decision>,
    revoking: BTreeMap<(NodeId, u64), Revoking>,
    sgs: BTreeMap<NodeId, PortId>,
    counters: ProtocolCounters,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Answered {
    pod: NodeId,
    signature: damc_wire::security::Signature,
    results: Vec<AuthResult>,
}

#[derive(Debug)]
struct Issued {
    serial: u64,
    exact: bool,
    expires_at: Millis,
}

#[derive(Debug)]
struct Decision {
    exact: bool,
    result: Result<u64, RefusalReason>,
}

#[derive(Debug)]
struct Revoking {
    revoke: Revoke,
    /// No need to insist longer than the grant would have lived.
    until: Millis,
    next: Timestamp,
    interval: Duration,
}

impl Authority {
    /// An authority with these licences and no memory.
    #[must_use]
    pub fn new(keys: NodeKeys, verifier: Verifier, licences: Licences, pace: &Pace) -> Self {
        Self {
            keys,
            verifier,
            licences,
            lifetime: Millis(pace.grant_lifetime_ms),
            retransmit: Duration::from_millis(pace.retransmit_ms.max(1)),
            retransmit_max: Duration::from_millis(pace.retransmit_max_ms.max(1)),
            last_serial: 0,
            answered: BTreeMap::new(),
            answered_order: VecDeque::new(),
            issued: BTreeMap::new(),
            decisions: BTreeMap::new(),
            revoking: BTreeMap::new(),
            sgs: BTreeMap::new(),
            counters: ProtocolCounters::default(),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// An SG's adjacency is up: pending revocations go at once.
    pub fn sg_up(&mut self, now: Timestamp, sg: NodeId, port: PortId) {
        for ((_, _), r) in self.revoking.iter_mut().filter(|((of, _), _)| *of == sg) {
            r.next = now;
            r.interval = self.retransmit;
        }
        self.sgs.insert(sg, port);
        self.handle_timeout(now);
    }

    /// An SG's adjacency is gone.
    pub fn sg_down(&mut self, sg: &NodeId) {
        self.sgs.remove(sg);
    }

    /// Class 3 from an SG. One answer for every name; the same question gets the same answers (GAP-09).
    pub fn handle_request(&mut self, now: Timestamp, port: PortId, sg: &NodeId, request: &AuthRequest) {
        self.count(ProtocolCounter::AuthRequests);
        let key = (sg.clone(), request.request);
        let signature = request.announce.signature;
        let results = match self.answered.get(&key).filter(|a| a.signature == signature) {
            Some(known) => {
                let results = known.results.clone();
                self.count(ProtocolCounter::AuthRepeated);
                results
            }
            None => {
                let results = self.judge(now, port, sg, request);
                let answered = Answered { pod: request.announce.pod.clone(), signature, results: results.clone() };
                self.remember(key, answered);
                results
            }
        };
        for result in results {
            let message = Box::new(Message::AuthReply(AuthReply { request: request.request, result }));
            self.actions.push_back(Action::Send { port, message });
        }
    }

    /// Class 3 from an SG: it has heard the revocation.
    pub fn handle_revoke_ack(&mut self, port: PortId, sg: &NodeId, ack: &RevokeAck) {
        if self.revoking.remove(&(sg.clone(), ack.serial)).is_none() {
            self.actions.push_back(Action::Dropped { port, reason: DropReason::Unsolicited });
        }
    }

    /// Licenses a pod for a name from now on.
    pub fn add_licence(&mut self, pod: NodeId, name: Name) {
        self.forget_answers(&pod);
        self.licences.add(pod, name);
    }

    /// Takes a licence away and revokes every grant that no other licence of the pod covers.
    pub fn revoke_licence(&mut self, now: Timestamp, pod: &NodeId, name: &Name) {
        self.licences.remove(pod, name);
        self.forget_answers(pod);
        let clock = Millis(now.millis());
        let void: Vec<(NodeId, Name, NodeId)> = self
            .issued
            .iter()
            .filter(|((p, n, _), i)| p == pod && self.licences.judge(p, n, i.exact).is_err())
            .map(|(key, _)| key.clone())
            .collect();
        for key in void {
            let Some(issued) = self.issued.remove(&key).filter(|i| i.expires_at > clock) else { continue };
            let (pod, prefix, sg) = key;
            self.actions
                .push_back(Action::Event(EventKind::Revoked { pod: pod.to_string(), prefix: prefix.to_string() }));
            self.decisions.insert(
                (prefix.clone(), pod.clone()),
                Decision { exact: issued.exact, result: Err(RefusalReason::Revoked) },
            );
            self.count(ProtocolCounter::GrantsRevoked);
            let revoke = Revoke { prefix, pod, serial: issued.serial };
            let revoking = Revoking { revoke, until: issued.expires_at, next: now, interval: self.retransmit };
            self.revoking.insert((sg, issued.serial), revoking);
        }
        self.handle_timeout(now);
    }

    /// Retransmits revocations.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let clock = Millis(now.millis());
        self.revoking.retain(|_, r| r.until > clock);
        for ((sg, _), r) in &mut self.revoking {
            let Some(port) = self.sgs.get(sg).filter(|_| now >= r.next) else { continue };
            r.next = now + r.interval;
            r.interval = (r.interval * 2).min(self.retransmit_max);
            let message = Box::new(Message::Revoke(r.revoke.clone()));
            self.actions.push_back(Action::Send { port: *port, message });
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.revoking.iter().filter(|((sg, _), _)| self.sgs.contains_key(sg)).map(|(_, r)| r.next).min()
    }

    /// `/announcements`: the newest judgement of each name and pod.
    #[must_use]
    pub fn view(&self) -> AnnouncementsView {
        let announcements = self
            .decisions
            .iter()
            .map(|((name, pod), decision)| AnnouncementView {
                prefix: name.to_string(),
                pod: pod.to_string(),
                exact: decision.exact,
                state: match decision.result {
                    Ok(_) => AnnouncementState::Accepted,
                    Err(_) => AnnouncementState::Refused,
                },
                reason: decision.result.err(),
                grant: decision.result.ok(),
            })
            .collect();
        AnnouncementsView { node: self.keys.certificate().node.to_string(), announcements }
    }

    /// Protocol counters.
    #[must_use]
    pub const fn counters(&self) -> &ProtocolCounters {
        &self.counters
    }
}

// ===== judgement =====

impl Authority {
    fn judge(&mut self, now: Timestamp, port: PortId, sg: &NodeId, request: &AuthRequest) -> Vec<AuthResult> {
        let announce = &request.announce;
        let identity = if announce.sg == *sg {
            self.verifier.verify_announce(announce, &request.certificate).map_err(|e| e.drop_reason())
        } else {
            Err(DropReason::NotAuthorised)
        };
        if let Err(reason) = identity {
            self.actions.push_back(Action::Dropped { port, reason });
        }
        let mut names: Vec<(&Name, bool)> = Vec::new();
        for entry in &announce.add {
            for name in core::iter::once((&entry.prefix, false)).chain(entry.pool.iter().map(|p| (p, true))) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
            .into_iter()
            .map(|(name, pool)| {
                let verdict = identity
                    .map_err(|_| RefusalReason::BadIdentity)
                    .and_then(|()| self.licences.judge(&announce.pod, name, pool))
                    .and_then(|()| self.grant(now, sg, request, name, pool));
                self.decided(&announce.pod, name, pool, verdict)
            })
            .collect()
    }

    fn grant(
        &mut self,
        now: Timestamp,
        sg: &NodeId,
        request: &AuthRequest,
        name: &Name,
        pool: bool,
    ) -> Result<Grant, RefusalReason> {
        let issued_at = Millis(now.millis());
        let key = (request.announce.pod.clone(), name.clone(), sg.clone());
        if self.issued.len() >= ISSUED_LIMIT && !self.issued.contains_key(&key) {
            self.issued.retain(|_, i| i.expires_at > issued_at);
            if self.issued.len() >= ISSUED_LIMIT {
                return Err(RefusalReason::Overloaded);
            }
        }
        // Rises across a restart too, as the clock does.
        self.last_serial = (self.last_serial + 1).max(now.nanos() / 1000);
        let expires_at = Millis(issued_at.0.saturating_add(self.lifetime.0));
        let grant = Grant {
            prefix: name.clone(),
            exact: pool,
            depth: if pool { 0 } else { ANY_DEPTH },
            pod: request.announce.pod.clone(),
            pod_key: request.certificate.signing_key,
            sg: sg.clone(),
            issued_at,
            expires_at,
            serial: self.last_serial,
            certificate: self.keys.certificate().clone(),
            signature: [0; 64],
        };
        self.issued.insert(key, Issued { serial: grant.serial, exact: pool, expires_at });
        Ok(self.keys.sign_grant(grant))
    }

    fn decided(&mut self, pod: &NodeId, name: &Name, pool: bool, verdict: Result<Grant, RefusalReason>) -> AuthResult {
        let result = verdict.as_ref().map(|g| g.serial).map_err(|r| *r);
        self.count(if result.is_ok() { ProtocolCounter::GrantsIssued } else { ProtocolCounter::Refusals });
        self.actions.push_back(Action::Event(EventKind::Authenticated {
            pod: pod.to_string(),
            prefix: name.to_string(),
            refusal: result.err(),
            serial: result.ok(),
        }));
        if self.decisions.len() < ISSUED_LIMIT {
            self.decisions.insert((name.clone(), pod.clone()), Decision { exact: pool, result });
        }
        match verdict {
            Ok(grant) => AuthResult::Granted(grant),
            Err(reason) => AuthResult::Refused(Outcome { prefix: name.clone(), refusal: Some(reason) }),
        }
    }

    fn remember(&mut self, key: (NodeId, u64), answered: Answered) {
        if self.answered.insert(key.clone(), answered).is_none() {
            self.answered_order.push_back(key);
        }
        if self.answered_order.len() > ANSWERED_LIMIT
            && let Some(oldest) = self.answered_order.pop_front()
        {
            self.answered.remove(&oldest);
        }
    }

    /// A change of licence changes the answers, to retransmitted questions too.
    fn forget_answers(&mut self, pod: &NodeId) {
        self.answered.retain(|_, a| a.pod != *pod);
        self.answered_order.retain(|key| self.answered.contains_key(key));
    }

    fn count(&mut self, counter: ProtocolCounter) {
        self.counters.count(counter);
    }
}
