//! The SG's side of registration: takes pods' announcements, has the SPA judge them, and only then advertises.
//!
//! ```text
//! pod            SG                         SPA
//!  | Announce --> | conflict? reserved?      |
//!  |              | AuthRequest -----------> | licence?
//!  |              | <------------- AuthReply | one for each name
//!  |              | verify grant, LSA, FIB, admission
//!  | <-- AnnounceReply                       |
//! ```
//!
//! An announcement is executed once, however often and in whatever order its copies arrive (GAP-09). The registrar never
//! touches router or wire itself: what it wants done is in its queue of [`Action`]s.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use damc_mgmt::config::Pace;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{AnnouncementView, AnnouncementsView};
use damc_trust::Verifier;
use damc_wire::message::{
    Announce, AnnounceEntry, AnnounceReply, AuthReply, AuthRequest, AuthResult, Outcome, Revoke, RevokeAck,
};
use damc_wire::security::{Certificate, Grant};
use damc_wire::{DropReason, Message, Name, NodeId, RefusalReason, Timestamp};

use super::claims::{Claim, ClaimKind, ClaimState, Held, Notice, PodRecord, Transaction};
use crate::io::PortId;
use crate::router::PrefixClaim;

/// What the registrar wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a hop-local message.
    Send {
        /// Where.
        port: PortId,
        /// What.
        message: Message,
    },
    /// Advertise a prefix, or change what is said of it.
    Originate(PrefixClaim),
    /// Purge a prefix of a pod.
    Withdraw {
        /// The prefix.
        prefix: Name,
        /// The pod it lay behind.
        pod: NodeId,
    },
    /// Let frames with these sources, and those below them, in by the pod's port.
    Admit {
        /// Where.
        port: PortId,
        /// Accepted names.
        sources: Vec<Name>,
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

/// Who else advertises a name, as far as the LSDB tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The pod behind the other SG.
    pub pod: NodeId,
    /// It holds the name as a pool.
    pub exact: bool,
}

/// The registrar's view of the LSDB.
pub trait Directory {
    /// Advertisements of exactly this name by other SGs.
    fn holders(&self, name: &Name) -> Vec<Holder>;
}

/// Bounds of an SG against its pods; over them it answers [`RefusalReason::Overloaded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Names (instances and pools) of one pod.
    pub names_per_pod: usize,
    /// Transactions of one pod that are remembered.
    pub transactions_per_pod: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { names_per_pod: 1024, transactions_per_pod: 256 }
    }
}

/// Where an announcement came from.
#[derive(Clone, Debug)]
pub struct Announcer {
    /// The port.
    pub port: PortId,
    /// The neighbour there.
    pub pod: NodeId,
    /// Its certificate, verified by the adjacency.
    pub certificate: Arc<Certificate>,
    /// The SG's own session of this adjacency.
    pub own_session: u64,
}

/// A question to the SPA.
#[derive(Debug)]
struct Ask {
    pod: NodeId,
    announce: Arc<Announce>,
    waiting: BTreeSet<Name>,
    /// Grants of this question were issued later than this: their lifetimes are counted from here.
    started: Timestamp,
    next_send: Timestamp,
    interval: Duration,
}

/// The registrar of an SG.
#[derive(Debug)]
pub struct Registrar {
    sg: NodeId,
    verifier: Verifier,
    limits: Limits,
    retransmit: Duration,
    retransmit_max: Duration,
    auth_timeout: Duration,
    pods: BTreeMap<NodeId, PodRecord>,
    asks: BTreeMap<u64, Ask>,
    next_ask: u64,
    spas: BTreeMap<NodeId, PortId>,
    /// Serials up to which grants of an SPA for a pod and name are void, and when that was learnt.
    revoked: BTreeMap<(NodeId, NodeId, Name), (u64, Timestamp)>,
    /// Names that were served here a short while ago, oldest first.
    departed: VecDeque<(Timestamp, Name)>,
    counters: BTreeMap<&'static str, u64>,
    actions: VecDeque<Action>,
}

/// Names served here are remembered as gone for this long, and this many.
const DEPARTED_FOR: Duration = Duration::from_secs(60);
const DEPARTED_LIMIT: usize = 1024;
/// How often an unsolicited reply is sent.
const NOTICES: u8 = 3;

impl Registrar {
    /// A registrar without pods. `first_ask` is where its transaction numbers start: a random number, so that answers to
    /// a former life of this SG match nothing.
    #[must_use]
    pub fn new(sg: NodeId, verifier: Verifier, pace: &Pace, first_ask: u64) -> Self {
        Self {
            sg,
            verifier,
            limits: Limits::default(),
            retransmit: Duration::from_millis(pace.retransmit_ms.max(1)),
            retransmit_max: Duration::from_millis(pace.retransmit_max_ms.max(1)),
            auth_timeout: Duration::from_millis(pace.auth_timeout_ms.max(1)),
            pods: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_ask: first_ask,
            spas: BTreeMap::new(),
            revoked: BTreeMap::new(),
            departed: VecDeque::new(),
            counters: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Sets other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The next thing to do, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A pod's adjacency is up: nothing of it is admitted yet.
    pub fn pod_up(&mut self, pod: NodeId, port: PortId, certificate: Arc<Certificate>) {
        self.actions.push_back(Action::Admit { port, sources: Vec::new() });
        self.pods.insert(pod, PodRecord::new(port, certificate));
    }

    /// A pod's adjacency is gone: all its names are.
    pub fn pod_down(&mut self, now: Timestamp, pod: &NodeId) {
        let Some(record) = self.pods.remove(pod) else { return };
        self.asks.retain(|_, ask| ask.pod != *pod);
        for prefix in record.advertised.into_keys() {
            self.depart(now, prefix.clone());
            self.actions.push_back(Action::Withdraw { prefix, pod: pod.clone() });
        }
    }

    /// An SPA is there (again): everything that waits is asked at once.
    pub fn spa_up(&mut self, now: Timestamp, spa: NodeId, port: PortId) {
        self.spas.insert(spa, port);
        let waiting: Vec<u64> = self.asks.keys().copied().collect();
        for id in waiting {
            if let Some(mut ask) = self.asks.remove(&id) {
                ask.interval = self.retransmit;
                ask.next_send = now;
                self.reopen(now, ask);
            }
        }
        self.send_due(now);
    }

    /// An SPA is gone. Grants stay until they expire.
    pub fn spa_down(&mut self, spa: &NodeId) {
        self.spas.remove(spa);
    }

    /// Class 1 from a pod.
    pub fn handle_announce(&mut self, now: Timestamp, from: &Announcer, announce: Announce, lsdb: &dyn Directory) {
        self.count("announce_received");
        if announce.pod != from.pod || announce.sg != self.sg {
            return self.refuse_identity(from, &announce, DropReason::NotAuthorised);
        }
        if announce.sg_session != from.own_session || announce.request == 0 {
            return self.dropped(from.port, DropReason::Replayed);
        }
        if let Err(e) = self.verifier.verify_announce(&announce, &from.certificate) {
            return self.refuse_identity(from, &announce, e.drop_reason());
        }
        let Some(record) = self.pods.get_mut(&from.pod) else {
            return self.dropped(from.port, DropReason::NoAdjacency);
        };
        if let Some(known) = record.transactions.get(&announce.request) {
            if known.announce.signature != announce.signature {
                return self.dropped(from.port, DropReason::Replayed);
            }
            self.count("announce_repeated");
            if let Some(reply) = record_reply(self.pods.get(&from.pod), announce.request) {
                self.send(from.port, Message::AnnounceReply(reply));
            }
            return;
        }
        if announce.request <= record.floor {
            return self.dropped(from.port, DropReason::Replayed);
        }
        if !record.make_room(self.limits.transactions_per_pod) {
            self.dropped(from.port, DropReason::ResourceLimit);
            let reply = refuse_all(&announce, RefusalReason::Overloaded);
            return self.send(from.port, Message::AnnounceReply(reply));
        }
        self.execute(now, &from.pod, announce, lsdb);
    }

    /// Class 3 from an SPA: grant or refusal of one name.
    pub fn handle_reply(
        &mut self,
        now: Timestamp,
        port: PortId,
        spa: &NodeId,
        reply: &AuthReply,
        lsdb: &dyn Directory,
    ) {
        self.count("auth_replies");
        let (name, exact) = match &reply.result {
            AuthResult::Granted(grant) => (&grant.prefix, Some(grant.exact)),
            AuthResult::Refused(outcome) => (&outcome.prefix, None),
        };
        let Some(ask) = self.asks.get(&reply.request) else {
            return self.dropped(port, DropReason::Unsolicited);
        };
        if !ask.waiting.contains(name) {
            // The SPA answers every name of the announcement each time it is asked.
            if !names_of(&ask.announce).any(|n| n == name) {
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
        self.count("revocations");
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

    /// The LSDB changed: where two SGs granted one instance name at the same moment, the pod with the smaller identity
    /// keeps it and the other one is told.
    pub fn handle_routes(&mut self, now: Timestamp, lsdb: &dyn Directory) {
        let mut lost = Vec::new();
        for (pod, record) in &self.pods {
            for (name, claim) in &record.claims {
                if claim.held().is_some() && self.conflicts(pod, name, claim.is_pool(), lsdb, true) {
                    lost.push((pod.clone(), name.clone()));
                }
            }
        }
        for (pod, name) in lost {
            if let Some(claim) = self.pods.get_mut(&pod).and_then(|r| r.claims.get_mut(&name)) {
                claim.state = ClaimState::Refused(RefusalReason::Conflict);
            }
            self.notify(now, &pod, &name);
            self.reconcile(now, &pod);
        }
    }

    /// Retransmissions, renewals, expiries, timeouts.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.give_up(now);
        self.expire(now);
        self.renew(now);
        self.send_due(now);
        self.repeat_notices(now);
        let keep = self.auth_timeout * 4;
        self.revoked.retain(|_, (_, learnt)| now.since(*learnt) < keep);
        while self.departed.front().is_some_and(|(at, _)| now.since(*at) >= DEPARTED_FOR) {
            self.departed.pop_front();
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let reachable = !self.spas.is_empty();
        let asks = self.asks.values().flat_map(|a| {
            let send = reachable.then_some(a.next_send);
            [Some(a.started + self.auth_timeout), send].into_iter().flatten()
        });
        let claims = self.pods.values().flat_map(|r| r.claims.values()).filter_map(|c| {
            let held = c.held()?;
            Some(if c.ask.is_none() { held.renew_at.min(held.expires_at) } else { held.expires_at })
        });
        let notices = self.pods.values().flat_map(|r| r.notices.values()).map(|n| n.next);
        asks.chain(claims).chain(notices).min()
    }

    /// Whether a name below one that was served here until a short while ago is meant.
    #[must_use]
    pub fn served_lately(&self, name: &Name) -> bool {
        self.departed.iter().any(|(_, gone)| gone.is_prefix_of(name))
    }

    /// `/announcements`.
    #[must_use]
    pub fn view(&self) -> AnnouncementsView {
        let mut announcements: Vec<AnnouncementView> = self
            .pods
            .iter()
            .flat_map(|(pod, record)| {
                record.claims.iter().map(move |(name, claim)| {
                    let (state, reason) = match record.outcome(name) {
                        None => ("pending", None),
                        Some(None) => ("accepted", None),
                        Some(Some(RefusalReason::SpaUnreachable)) => ("pending", Some(RefusalReason::SpaUnreachable)),
                        Some(Some(reason)) => ("refused", Some(reason)),
                    };
                    AnnouncementView {
                        prefix: name.to_string(),
                        pod: pod.to_string(),
                        exact: claim.is_pool(),
                        state: state.to_owned(),
                        reason: reason.map(|r| r.label().to_owned()),
                        grant: claim.held().map(|h| h.grant.serial),
                    }
                })
            })
            .collect();
        announcements.sort_by(|a, b| (&a.prefix, &a.pod).cmp(&(&b.prefix, &b.pod)));
        AnnouncementsView { node: self.sg.to_string(), announcements }
    }

    /// Protocol counters.
    #[must_use]
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }
}

// ===== class 1 =====

impl Registrar {
    fn execute(&mut self, now: Timestamp, pod: &NodeId, announce: Announce, lsdb: &dyn Directory) {
        let announce = Arc::new(announce);
        let request = announce.request;
        let mut fixed = BTreeMap::new();
        for name in &announce.withdraw {
            self.withdraw(pod, request, name);
            fixed.insert(name.clone(), None);
        }
        for entry in &announce.add {
            self.add(now, pod, &announce, entry, &mut fixed, lsdb);
        }
        let names: Vec<Name> = names_of(&announce).cloned().collect();
        if let Some(record) = self.pods.get_mut(pod) {
            record.drop_empty_pools();
            let transaction = Transaction { announce: announce.clone(), names, fixed, replied: false };
            record.transactions.insert(request, transaction);
        }
        self.open_ask(now, pod, &announce);
        self.reconcile(now, pod);
        self.send_due(now);
    }

    fn withdraw(&mut self, pod: &NodeId, request: u64, name: &Name) {
        let Some(record) = self.pods.get_mut(pod) else { return };
        if record.last_request.get(name).is_some_and(|last| *last > request) {
            return;
        }
        record.last_request.insert(name.clone(), request);
        let Some(claim) = record.claims.remove(name) else { return };
        if claim.is_pool() {
            for member in record.claims.values_mut() {
                if let ClaimKind::Instance { pool, .. } = &mut member.kind
                    && pool.as_ref() == Some(name)
                {
                    *pool = None;
                }
            }
        }
        if let Some(ask) = claim.ask.and_then(|id| self.asks.get_mut(&id)) {
            ask.waiting.remove(name);
        }
        self.event(EventKind::Announced { pod: pod.to_string(), prefix: name.to_string(), withdrawn: true });
    }

    fn add(
        &mut self,
        _now: Timestamp,
        pod: &NodeId,
        announce: &Arc<Announce>,
        entry: &AnnounceEntry,
        fixed: &mut BTreeMap<Name, Option<RefusalReason>>,
        lsdb: &dyn Directory,
    ) {
        let Some(record) = self.pods.get_mut(pod) else { return };
        if record.last_request.get(&entry.prefix).is_some_and(|last| *last > announce.request) {
            return;
        }
        record.last_request.insert(entry.prefix.clone(), announce.request);
        self.event(EventKind::Announced { pod: pod.to_string(), prefix: entry.prefix.to_string(), withdrawn: false });
        // A name is an instance or a pool of a pod, never both.
        let pool = entry.pool.clone().filter(|pool| *pool != entry.prefix);
        let instance = ClaimKind::Instance { pool: pool.clone(), weight: entry.weight };
        if pool != entry.pool {
            self.claim(pod, announce, &entry.prefix, instance, fixed, Some(RefusalReason::BadPrefix));
            return;
        }
        let refusal = self.local_refusal(pod, &entry.prefix, false, lsdb);
        self.claim(pod, announce, &entry.prefix, instance, fixed, refusal);
        if let Some(pool) = pool {
            let refusal = self.local_refusal(pod, &pool, true, lsdb);
            self.claim(pod, announce, &pool, ClaimKind::Pool, fixed, refusal);
        }
    }

    /// What needs no SPA to be refused.
    fn local_refusal(&self, pod: &NodeId, name: &Name, pool: bool, lsdb: &dyn Directory) -> Option<RefusalReason> {
        if name.is_reserved() {
            return Some(RefusalReason::BadPrefix);
        }
        self.conflicts(pod, name, pool, lsdb, false).then_some(RefusalReason::Conflict)
    }

    /// Makes or changes the claim of one name.
    fn claim(
        &mut self,
        pod: &NodeId,
        announce: &Arc<Announce>,
        name: &Name,
        kind: ClaimKind,
        fixed: &mut BTreeMap<Name, Option<RefusalReason>>,
        refusal: Option<RefusalReason>,
    ) {
        let Some(record) = self.pods.get_mut(pod) else { return };
        if let Some(claim) = record.claims.get_mut(name) {
            if claim.is_pool() != (kind == ClaimKind::Pool) {
                fixed.insert(name.clone(), Some(RefusalReason::BadPrefix));
                return;
            }
            claim.kind = kind;
            match (&claim.state, refusal) {
                // Held, or being asked for: what is new is only its place in a pool.
                (ClaimState::Granted(_) | ClaimState::Pending, None) => {}
                (_, None) => {
                    claim.state = ClaimState::Pending;
                    claim.announce = announce.clone();
                    if let Some(ask) = claim.ask.take().and_then(|id| self.asks.get_mut(&id)) {
                        ask.waiting.remove(name);
                    }
                }
                (_, Some(reason)) => claim.state = ClaimState::Refused(reason),
            }
            return;
        }
        if record.claims.len() >= self.limits.names_per_pod {
            fixed.insert(name.clone(), Some(RefusalReason::Overloaded));
            return;
        }
        let state = refusal.map_or(ClaimState::Pending, ClaimState::Refused);
        record.claims.insert(name.clone(), Claim { kind, state, announce: announce.clone(), ask: None });
    }

    /// Whether another pod holds `name`. Pools are shared, with pools only. With `settle` the smaller identity wins.
    fn conflicts(&self, pod: &NodeId, name: &Name, pool: bool, lsdb: &dyn Directory, settle: bool) -> bool {
        let beside = self.pods.iter().filter(|(other, _)| *other != pod).any(|(_, record)| {
            !settle
                && record
                    .claims
                    .get(name)
                    .is_some_and(|c| !(pool && c.is_pool()) && !matches!(c.state, ClaimState::Refused(_)))
        });
        beside || lsdb.holders(name).iter().any(|h| h.pod != *pod && !(pool && h.exact) && (!settle || h.pod < *pod))
    }

    fn refuse_identity(&mut self, from: &Announcer, announce: &Announce, reason: DropReason) {
        self.dropped(from.port, reason);
        let reply = refuse_all(announce, RefusalReason::BadIdentity);
        self.send(from.port, Message::AnnounceReply(reply));
    }
}

// ===== class 3 =====

impl Registrar {
    /// Asks the SPA about the undecided claims of an announcement.
    fn open_ask(&mut self, now: Timestamp, pod: &NodeId, announce: &Arc<Announce>) {
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
    fn reopen(&mut self, now: Timestamp, mut ask: Ask) {
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

    fn send_due(&mut self, now: Timestamp) {
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
            ClaimState::Refused(reason) => (Some(reason.label().to_owned()), None),
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
    fn give_up(&mut self, now: Timestamp) {
        let late: Vec<u64> =
            self.asks.iter().filter(|(_, a)| now >= a.started + self.auth_timeout).map(|(id, _)| *id).collect();
        for id in late {
            let Some(ask) = self.asks.remove(&id) else { continue };
            let pod = ask.pod.clone();
            if let Some(record) = self.pods.get_mut(&pod) {
                for name in &ask.waiting {
                    if let Some(claim) = record.claims.get_mut(name).filter(|c| c.state == ClaimState::Pending) {
                        claim.state = ClaimState::Waiting;
                    }
                }
            }
            self.count("auth_timeouts");
            self.reopen(now, ask);
            self.reconcile(now, &pod);
        }
    }

    fn renew(&mut self, now: Timestamp) {
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
            self.count("grant_renewals");
            self.ask(now, &pod, &announce, waiting);
        }
    }

    fn expire(&mut self, now: Timestamp) {
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
            self.count("grants_expired");
            self.notify(now, &pod, &name);
            self.reconcile(now, &pod);
        }
    }
}

// ===== what follows from a change =====

impl Registrar {
    /// Brings advertisements, admission and replies in line with the claims of a pod. Advertisements come first: a
    /// positive answer leads directly to the LSA (AUT-05).
    fn reconcile(&mut self, now: Timestamp, pod: &NodeId) {
        let Some(record) = self.pods.get_mut(pod) else { return };
        let desired = record.desired(pod);
        let mut gone = Vec::new();
        for name in record.advertised.keys().filter(|name| !desired.contains_key(*name)) {
            gone.push(name.clone());
            self.actions.push_back(Action::Withdraw { prefix: name.clone(), pod: pod.clone() });
        }
        for (name, claim) in &desired {
            if record.advertised.get(name) != Some(claim) {
                self.actions.push_back(Action::Originate(claim.clone()));
            }
        }
        record.advertised = desired;
        let sources = record.sources();
        if record.admitted != sources {
            record.admitted.clone_from(&sources);
            self.actions.push_back(Action::Admit { port: record.port, sources });
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
        for name in self.pods.get(pod).into_iter().flat_map(|r| r.advertised.keys()) {
            self.departed.retain(|(_, gone)| gone != name);
        }
    }

    fn depart(&mut self, now: Timestamp, name: Name) {
        if self.departed.len() >= DEPARTED_LIMIT {
            self.departed.pop_front();
        }
        self.departed.push_back((now, name));
    }

    /// Has the pod told, unasked, how it stands with a name.
    fn notify(&mut self, now: Timestamp, pod: &NodeId, name: &Name) {
        let interval = self.retransmit;
        if let Some(record) = self.pods.get_mut(pod) {
            record.notices.insert(name.clone(), Notice { left: NOTICES, next: now, interval });
        }
        self.repeat_notices(now);
    }

    fn repeat_notices(&mut self, now: Timestamp) {
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

    fn send(&mut self, port: PortId, message: Message) {
        self.actions.push_back(Action::Send { port, message });
    }

    fn event(&mut self, event: EventKind) {
        self.actions.push_back(Action::Event(event));
    }

    fn dropped(&mut self, port: PortId, reason: DropReason) {
        self.actions.push_back(Action::Dropped { port, reason });
    }

    fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }
}

/// Outcomes in one unsolicited reply: with the longest names they still fit one PDU.
const NOTICE_PAGE: usize = 5;

fn hold(started: Timestamp, grant: &Grant) -> Held {
    let lifetime = Duration::from_millis(grant.expires_at.0.saturating_sub(grant.issued_at.0));
    Held { grant: grant.clone(), renew_at: started + lifetime / 2, expires_at: started + lifetime }
}

fn record_reply(record: Option<&PodRecord>, request: u64) -> Option<AnnounceReply> {
    record?.reply(request)
}

/// Every name an announcement speaks of, once each entry: withdrawals, prefixes, pools.
fn names_of(announce: &Announce) -> impl Iterator<Item = &Name> {
    let added = announce.add.iter().flat_map(|e| core::iter::once(&e.prefix).chain(&e.pool));
    announce.withdraw.iter().chain(added)
}

fn refuse_all(announce: &Announce, reason: RefusalReason) -> AnnounceReply {
    let outcomes = names_of(announce).map(|n| Outcome { prefix: n.clone(), refusal: Some(reason) }).collect();
    AnnounceReply { request: announce.request, outcomes }
}
