//! What the registrar knows of one pod: its claims, what became of them and what follows for routes and admission.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use damc_wire::lsa::Proof;
use damc_wire::message::{Announce, AnnounceReply, Outcome};
use damc_wire::security::{Certificate, Grant};
use damc_wire::{Name, NodeId, RefusalReason, Timestamp};

use crate::io::{OUT_OF_BAND_REQUESTS, PortId};
use crate::router::PrefixClaim;

/// What a claimed name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClaimKind {
    /// A service's own prefix.
    Instance {
        /// The pool it joins.
        pool: Option<Name>,
        /// Its share there.
        weight: u16,
    },
    /// A pool that at least one instance of the pod joins.
    Pool,
}

/// How far a claim is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClaimState {
    /// The SPA is being asked.
    Pending,
    /// The SPA does not answer; it is asked on.
    Waiting,
    /// A verified grant is held.
    Granted(Box<Held>),
    /// Refused by the SPA, by a conflict or by a bound; nobody is asked any more.
    Refused(RefusalReason),
}

/// A grant with its times on the SG's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub grant: Grant,
    pub renew_at: Timestamp,
    pub expires_at: Timestamp,
}

/// One claimed name.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub kind: ClaimKind,
    pub state: ClaimState,
    /// The pod's signed words that claim it: what the SPA is shown, at renewal again.
    pub announce: Arc<Announce>,
    /// The outstanding question to the SPA.
    pub ask: Option<u64>,
}

impl Claim {
    pub fn is_pool(&self) -> bool {
        self.kind == ClaimKind::Pool
    }

    pub fn held(&self) -> Option<&Held> {
        match &self.state {
            ClaimState::Granted(held) => Some(held),
            _ => None,
        }
    }

    fn pool(&self) -> Option<&Name> {
        match &self.kind {
            ClaimKind::Instance { pool, .. } => pool.as_ref(),
            ClaimKind::Pool => None,
        }
    }
}

/// One class-1 transaction: kept so that a retransmission is answered and never executed again.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub announce: Arc<Announce>,
    /// Names the reply lists, in the order of the announcement.
    pub names: Vec<Name>,
    /// Outcomes that no claim holds (withdrawals, bounds).
    pub fixed: BTreeMap<Name, Option<RefusalReason>>,
    pub replied: bool,
}

/// An unsolicited reply is not acknowledged, so it is said more than once.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub left: u8,
    pub next: Timestamp,
    pub interval: core::time::Duration,
}

/// One pod with a full adjacency.
#[derive(Debug)]
pub(super) struct PodRecord {
    pub port: PortId,
    pub certificate: Arc<Certificate>,
    pub claims: BTreeMap<Name, Claim>,
    /// Newest request that said anything of a name, so that reordered requests cannot undo newer ones.
    pub last_request: BTreeMap<Name, u64>,
    pub transactions: BTreeMap<u64, Transaction>,
    /// Requests up to these that are not in `transactions` any more are old: those of the pod's agent, and those that come
    /// beside the adjacency.
    pub floors: [u64; 2],
    pub notices: BTreeMap<Name, Notice>,
    pub advertised: BTreeMap<Name, PrefixClaim>,
    pub admitted: Vec<Name>,
    pub memberships: Vec<(Name, Name)>,
}

impl PodRecord {
    pub fn new(port: PortId, certificate: Arc<Certificate>) -> Self {
        Self {
            port,
            certificate,
            claims: BTreeMap::new(),
            last_request: BTreeMap::new(),
            transactions: BTreeMap::new(),
            floors: [0; 2],
            notices: BTreeMap::new(),
            advertised: BTreeMap::new(),
            admitted: Vec::new(),
            memberships: Vec::new(),
        }
    }

    /// What the pod is told of a name: `None` while it is undecided. A pool is only as good as an instance in it.
    pub fn outcome(&self, name: &Name) -> Option<Option<RefusalReason>> {
        let Some(claim) = self.claims.get(name) else {
            return Some(None);
        };
        match &claim.state {
            ClaimState::Pending => None,
            ClaimState::Waiting => Some(Some(RefusalReason::SpaUnreachable)),
            ClaimState::Refused(reason) => Some(Some(*reason)),
            ClaimState::Granted(_) if !claim.is_pool() => Some(None),
            ClaimState::Granted(_) => {
                let mut best = Some(Some(RefusalReason::BadPrefix));
                for (member, _) in self.members(name) {
                    match self.outcome(member) {
                        Some(None) => return Some(None),
                        None => best = None,
                        refused if best.is_some() => best = refused,
                        Some(_) => {}
                    }
                }
                best
            }
        }
    }

    /// The reply to a transaction, once everything in it is decided.
    pub fn reply(&self, request: u64) -> Option<AnnounceReply> {
        let transaction = self.transactions.get(&request)?;
        let outcomes = transaction
            .names
            .iter()
            .map(|name| {
                let refusal = match transaction.fixed.get(name) {
                    Some(fixed) => *fixed,
                    None => self.outcome(name)?,
                };
                Some(Outcome { prefix: name.clone(), refusal })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(AnnounceReply { request, outcomes })
    }

    /// Instances of the pod that join `pool`, with their weights.
    fn members<'a>(&'a self, pool: &'a Name) -> impl Iterator<Item = (&'a Name, u16)> {
        self.claims.iter().filter_map(move |(name, claim)| match &claim.kind {
            ClaimKind::Instance { pool: Some(p), weight } if p == pool => Some((name, *weight)),
            _ => None,
        })
    }

    /// Forgets pools that no instance joins any more.
    pub fn drop_empty_pools(&mut self) {
        let joined: BTreeSet<Name> = self.claims.values().filter_map(|c| c.pool().cloned()).collect();
        self.claims.retain(|name, claim| !claim.is_pool() || joined.contains(name));
    }

    /// What is to be advertised for this pod now: granted instances, and granted pools with at least one of them.
    pub fn desired(&self, pod: &NodeId) -> BTreeMap<Name, PrefixClaim> {
        let mut desired = BTreeMap::new();
        for (name, claim) in &self.claims {
            let Some(held) = claim.held() else { continue };
            let (weight, instance) = match &claim.kind {
                ClaimKind::Instance { weight, .. } => (*weight, None),
                ClaimKind::Pool => {
                    let mut granted =
                        self.members(name).filter(|(m, _)| self.claims.get(*m).is_some_and(|c| c.held().is_some()));
                    let Some((first, weight)) = granted.next() else { continue };
                    (granted.fold(weight, |sum, (_, w)| sum.saturating_add(w)), Some(first.clone()))
                }
            };
            desired.insert(
                name.clone(),
                PrefixClaim {
                    prefix: name.clone(),
                    port: pod.clone(),
                    metric: 0,
                    weight,
                    exact: claim.is_pool(),
                    instance,
                    proof: Proof::Grant(held.grant.clone()),
                },
            );
        }
        desired
    }

    /// Source names the pod may use: its granted instances. Never a pool, below which other pods' instances lie.
    pub fn sources(&self) -> Vec<Name> {
        let granted = self.claims.iter().filter(|(_, c)| !c.is_pool() && c.held().is_some());
        granted.map(|(name, _)| name.clone()).collect()
    }

    /// Granted pools, each with its granted instances.
    pub fn memberships(&self) -> Vec<(Name, Name)> {
        let pools = self.claims.iter().filter(|(_, c)| c.is_pool() && c.held().is_some());
        let granted = |name: &Name| self.claims.get(name).is_some_and(|c| c.held().is_some());
        let members = |pool: &Name| self.members(pool).map(|(m, _)| m.clone()).filter(granted).collect::<Vec<_>>();
        pools.flat_map(|(pool, _)| members(pool).into_iter().map(|m| (pool.clone(), m))).collect()
    }

    /// The floor that holds for a request.
    pub const fn floor(&self, request: u64) -> u64 {
        self.floors[(request >= OUT_OF_BAND_REQUESTS) as usize]
    }

    /// Makes room for one more transaction; false where all of them still wait for their outcome.
    pub fn make_room(&mut self, limit: usize) -> bool {
        while self.transactions.len() >= limit {
            let Some(oldest) = self.transactions.iter().find(|(_, t)| t.replied).map(|(request, _)| *request) else {
                return false;
            };
            self.transactions.remove(&oldest);
            let floor = &mut self.floors[usize::from(oldest >= OUT_OF_BAND_REQUESTS)];
            *floor = oldest.max(*floor);
        }
        let (floors, claims) = (self.floors, &self.claims);
        let floor = |request: u64| floors[usize::from(request >= OUT_OF_BAND_REQUESTS)];
        self.last_request.retain(|name, request| *request > floor(*request) || claims.contains_key(name));
        true
    }
}
