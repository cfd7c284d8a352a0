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

mod claims;
mod class1;
mod class3;
mod follow;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use damc_mgmt::config::Timers;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{AnnouncementView, AnnouncementsView, ProtocolCounters};
use damc_mgmt::words::{AnnouncementState, DownReason};
use damc_trust::Verifier;
use damc_wire::security::Certificate;
use damc_wire::{DropReason, Message, Name, NodeId, RefusalReason, Timestamp};

use self::claims::{ClaimState, PodRecord};
use self::class3::Ask;
use super::intake::Intake;
use crate::io::PortId;
use crate::lsdb::NAMES_PER_ORIGIN;
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
    /// Say of a prefix that it cannot be reached now.
    Suspend {
        /// The prefix.
        prefix: Name,
        /// The pod it lies behind.
        pod: NodeId,
    },
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
        /// Accepted pools, each with an accepted name in it.
        pools: Vec<(Name, Name)>,
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
    /// Names of all pods: more of one origin no router keeps.
    pub names: usize,
    /// Transactions of one pod that are remembered.
    pub transactions_per_pod: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { names_per_pod: 1024, names: NAMES_PER_ORIGIN, transactions_per_pod: 256 }
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

/// The registrar of an SG.
#[derive(Debug)]
pub struct Registrar {
    sg: NodeId,
    verifier: Verifier,
    limits: Limits,
    retransmit: Duration,
    retransmit_max: Duration,
    auth_timeout: Duration,
    grant_lifetime: Duration,
    grace: Duration,
    pods: BTreeMap<NodeId, PodRecord>,
    /// Stays when a pod goes: else it might come back with a full bucket.
    intakes: BTreeMap<NodeId, Intake>,
    asks: BTreeMap<u64, Ask>,
    next_ask: u64,
    spas: BTreeMap<NodeId, PortId>,
    /// Serials up to which grants of an SPA for a pod and name are void, and when that was learnt.
    revoked: BTreeMap<(NodeId, NodeId, Name), (u64, Timestamp)>,
    /// Names that were served here a short while ago, oldest first.
    departed: VecDeque<(Timestamp, Name)>,
    /// Prefixes of pods whose links are silent, and when they are purged unless the pod is back with them.
    suspended: BTreeMap<(NodeId, Name), Timestamp>,
    counters: ProtocolCounters,
    actions: VecDeque<Action>,
    dropped_announcements: u64,
}

/// Names served here are remembered as gone for this long.
const DEPARTED_FOR: Duration = Duration::from_secs(60);

impl Registrar {
    /// A registrar without pods. `first_ask` is where its transaction numbers start: a random number, so that answers to
    /// a former life of this SG match nothing.
    #[must_use]
    pub fn new(sg: NodeId, verifier: Verifier, timers: &Timers, first_ask: u64) -> Self {
        Self {
            sg,
            verifier,
            limits: Limits::default(),
            retransmit: Duration::from_millis(timers.retransmit_ms.max(1)),
            retransmit_max: Duration::from_millis(timers.retransmit_max_ms.max(1)),
            auth_timeout: Duration::from_millis(timers.auth_timeout_ms.max(1)),
            grant_lifetime: Duration::from_millis(timers.grant_lifetime_ms),
            grace: Duration::from_millis(timers.unreachable_grace_ms),
            pods: BTreeMap::new(),
            intakes: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_ask: first_ask,
            spas: BTreeMap::new(),
            revoked: BTreeMap::new(),
            departed: VecDeque::new(),
            suspended: BTreeMap::new(),
            counters: ProtocolCounters::default(),
            actions: VecDeque::new(),
            dropped_announcements: 0,
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
        self.actions.push_back(Action::Admit { port, sources: Vec::new(), pools: Vec::new() });
        self.pods.insert(pod, PodRecord::new(port, certificate));
    }

    /// A pod's adjacency is gone: all its names are. Where the pod has only fallen silent they stay its own for the grace
    /// time, and nobody can reach them meanwhile; where it has ended or started again they are purged.
    pub fn pod_down(&mut self, now: Timestamp, pod: &NodeId, reason: DownReason) {
        let silent = matches!(reason, DownReason::Carrier | DownReason::HelloSilence | DownReason::EchoSilence);
        let Some(record) = self.pods.remove(pod) else { return };
        self.asks.retain(|_, ask| ask.pod != *pod);
        self.intakes.retain(|other, intake| other == pod || self.pods.contains_key(other) || !intake.is_idle(now));
        let intake = self.intakes.entry(pod.clone()).or_default();
        for (name, _) in record.claims.iter().filter(|(_, claim)| claim.held().is_some()) {
            intake.withdrawn(now, name);
        }
        for prefix in record.advertised.into_keys() {
            self.depart(now, prefix.clone());
            if silent && !self.grace.is_zero() {
                self.suspended.insert((pod.clone(), prefix.clone()), now + self.grace);
                self.actions.push_back(Action::Suspend { prefix, pod: pod.clone() });
            } else {
                self.actions.push_back(Action::Withdraw { prefix, pod: pod.clone() });
            }
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

    /// What the LSDB says of these prefixes has changed: where two SGs granted one instance name at the same moment, the pod with the smaller identity
    /// keeps it and the other one is told.
    pub fn handle_routes(&mut self, now: Timestamp, prefixes: &BTreeSet<Name>, lsdb: &dyn Directory) {
        let mut lost = Vec::new();
        for (pod, record) in &self.pods {
            for (name, claim) in prefixes.iter().filter_map(|name| record.claims.get_key_value(name)) {
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
        self.purge_suspended(now);
        let keep = self.grant_lifetime;
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
        asks.chain(claims).chain(notices).chain(self.suspended.values().copied()).min()
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
                        None => (AnnouncementState::Pending, None),
                        Some(None) => (AnnouncementState::Accepted, None),
                        Some(Some(reason @ RefusalReason::SpaUnreachable)) => {
                            (AnnouncementState::Pending, Some(reason))
                        }
                        Some(Some(reason)) => (AnnouncementState::Refused, Some(reason)),
                    };
                    AnnouncementView {
                        prefix: name.to_string(),
                        pod: pod.to_string(),
                        exact: claim.is_pool(),
                        state,
                        reason,
                        grant: claim.held().map(|h| h.grant.serial),
                    }
                })
            })
            .collect();
        announcements.sort_by(|a, b| (&a.prefix, &a.pod).cmp(&(&b.prefix, &b.pod)));
        AnnouncementsView { node: self.sg.to_string(), announcements }
    }

    /// Announcements that were dropped without a reply.
    #[must_use]
    pub const fn dropped_announcements(&self) -> u64 {
        self.dropped_announcements
    }

    /// Protocol counters.
    #[must_use]
    pub const fn counters(&self) -> &ProtocolCounters {
        &self.counters
    }
}
