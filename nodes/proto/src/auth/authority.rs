//! The SPA: judges which pod may have which name, signs grants, takes them back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use damc_mgmt::config::Timers;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{AnnouncementView, AnnouncementsView, ProtocolCounters};
use damc_mgmt::words::{AnnouncementState, ProtocolCounter};
use damc_trust::{NodeKeys, Verifier};
use damc_wire::message::{AuthReply, AuthRequest, AuthResult, Outcome, Revoke, RevokeAck};
use damc_wire::security::Grant;
use damc_wire::{DropReason, Message, Millis, Name, NodeId, RefusalReason, Timestamp};

use super::intake::Bucket;
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
/// Answers remembered for retransmitted requests: names in them.
const ANSWERED_LIMIT: usize = 8192;
/// Grants in force; over it the authority refuses.
const ISSUED_LIMIT: usize = 65_536;
/// Grants in force of one pod; over it the authority refuses.
pub const GRANTS_PER_POD: usize = 4096;
/// Judgements of one pod that are shown; the oldest names' go first.
const DECISIONS_PER_POD: usize = 4096;

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
    answered_for: Duration,
    answered: BTreeMap<(NodeId, u64), Answered>,
    answered_order: VecDeque<(NodeId, u64)>,
    answered_names: usize,
    pods: BTreeMap<NodeId, PodRecord>,
    revoking: BTreeMap<(NodeId, u64), Revoking>,
    sgs: BTreeMap<NodeId, PortId>,
    counters: ProtocolCounters,
    actions: VecDeque<Action>,
}

/// What is remembered of one pod.
#[derive(Debug, Default)]
struct PodRecord {
    bucket: Bucket,
    /// Grants by name and SG.
    issued: BTreeMap<(Name, NodeId), Issued>,
    decisions: BTreeMap<Name, Decision>,
    /// Names of `decisions`, in the order in which they came.
    decided: VecDeque<Name>,
}

impl PodRecord {
    /// Whether another grant may be issued; takes a token if so.
    fn admit(&mut self, now: Timestamp) -> Result<(), RefusalReason> {
        if self.issued.len() >= GRANTS_PER_POD {
            let clock = Millis(now.millis());
            self.issued.retain(|_, issued| issued.expires_at > clock);
            if self.issued.len() >= GRANTS_PER_POD {
                return Err(RefusalReason::Overloaded);
            }
        }
        self.bucket.take(now).then_some(()).ok_or(RefusalReason::RateLimited)
    }

    fn decide(&mut self, name: &Name, decision: Decision) {
        if self.decisions.insert(name.clone(), decision).is_none() {
            self.decided.push_back(name.clone());
        }
        if self.decided.len() > DECISIONS_PER_POD
            && let Some(oldest) = self.decided.pop_front()
        {
            self.decisions.remove(&oldest);
        }
    }
}

#[derive(Debug)]
struct Answered {
    at: Timestamp,
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
    pub fn new(keys: NodeKeys, verifier: Verifier, licences: Licences, timers: &Timers) -> Self {
        Self {
            keys,
            verifier,
            licences,
            lifetime: Millis(timers.grant_lifetime_ms),
            retransmit: Duration::from_millis(timers.retransmit_ms.max(1)),
            retransmit_max: Duration::from_millis(timers.retransmit_max_ms.max(1)),
            last_serial: 0,
            // A question is repeated for the auth timeout, then it gets a new number.
            answered_for: Duration::from_millis(timers.auth_timeout_ms) * 2,
            answered: BTreeMap::new(),
            answered_order: VecDeque::new(),
            answered_names: 0,
            pods: BTreeMap::new(),
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
                let pod = request.announce.pod.clone();
                self.remember(key, Answered { at: now, pod, signature, results: results.clone() });
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
        let record = self.pods.entry(pod.clone()).or_default();
        let licensed = |name: &Name, issued: &Issued| self.licences.judge(pod, name, issued.exact).is_ok();
        let (kept, void): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut record.issued).into_iter().partition(|((name, _), issued)| licensed(name, issued));
        record.issued = kept;
        let void = void.into_iter().filter(|(_, issued)| issued.expires_at > clock);
        for ((prefix, sg), issued) in void {
            let (of, what) = (pod.to_string(), prefix.to_string());
            self.actions.push_back(Action::Event(EventKind::Revoked { pod: of, prefix: what }));
            let decision = Decision { exact: issued.exact, result: Err(RefusalReason::Revoked) };
            self.pods.entry(pod.clone()).or_default().decide(&prefix, decision);
            self.count(ProtocolCounter::GrantsRevoked);
            let revoke = Revoke { prefix, pod: pod.clone(), serial: issued.serial };
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
        let mut decisions: Vec<(&Name, &NodeId, &Decision)> = Vec::new();
        for (pod, record) in &self.pods {
            decisions.extend(record.decisions.iter().map(|(name, decision)| (name, pod, decision)));
        }
        decisions.sort_by_key(|(name, pod, _)| (*name, *pod));
        let row = |(name, pod, decision): (&Name, &NodeId, &Decision)| AnnouncementView {
            prefix: name.to_string(),
            pod: pod.to_string(),
            exact: decision.exact,
            state: match decision.result {
                Ok(_) => AnnouncementState::Accepted,
                Err(_) => AnnouncementState::Refused,
            },
            reason: decision.result.err(),
            grant: decision.result.ok(),
        };
        let announcements = decisions.into_iter().map(row).collect();
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
                    .and_then(|()| self.within_certificate(name, pool))
                    .and_then(|()| self.grant(now, sg, request, name, pool));
                self.decided(&announce.pod, name, pool, verdict)
            })
            .collect()
    }

    /// A licence outside of what the root certified is worth nothing: every router would refuse the grant.
    fn within_certificate(&self, name: &Name, pool: bool) -> Result<(), RefusalReason> {
        let certified = self.keys.certificate().may_grant(name, pool);
        certified.then_some(()).ok_or(RefusalReason::NotLicensed)
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
        let full = self.pods.values().map(|record| record.issued.len()).sum::<usize>() >= ISSUED_LIMIT;
        let record = self.pods.entry(request.announce.pod.clone()).or_default();
        let key = (name.clone(), sg.clone());
        if !record.issued.contains_key(&key) {
            let room = if full { Err(RefusalReason::Overloaded) } else { Ok(()) };
            room.and_then(|()| record.admit(now))?;
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
        record.issued.insert(key, Issued { serial: grant.serial, exact: pool, expires_at });
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
        // Of pods that somebody made up nothing is kept.
        if result != Err(RefusalReason::BadIdentity) {
            self.pods.entry(pod.clone()).or_default().decide(name, Decision { exact: pool, result });
        }
        match verdict {
            Ok(grant) => AuthResult::Granted(grant),
            Err(reason) => AuthResult::Refused(Outcome { prefix: name.clone(), refusal: Some(reason) }),
        }
    }

    fn remember(&mut self, key: (NodeId, u64), answered: Answered) {
        let now = answered.at;
        self.answered_names += answered.results.len();
        match self.answered.insert(key.clone(), answered) {
            Some(before) => self.answered_names -= before.results.len(),
            None => self.answered_order.push_back(key),
        }
        while let Some(oldest) = self.answered_order.front().and_then(|key| self.answered.get(key)) {
            let old = now.since(oldest.at) > self.answered_for;
            if !old && self.answered_names <= ANSWERED_LIMIT {
                break;
            }
            self.answered_names -= oldest.results.len();
            self.answered_order.pop_front().map(|key| self.answered.remove(&key));
        }
    }

    /// A change of licence changes the answers, to retransmitted questions too.
    fn forget_answers(&mut self, pod: &NodeId) {
        self.answered.retain(|_, a| a.pod != *pod);
        self.answered_order.retain(|key| self.answered.contains_key(key));
        self.answered_names = self.answered.values().map(|a| a.results.len()).sum();
    }

    fn count(&mut self, counter: ProtocolCounter) {
        self.counters.count(counter);
    }
}
