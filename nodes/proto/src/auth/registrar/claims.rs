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

    /// The granted instances in each pool, with their weights. One look at each claim: a pod may have as many pools as names.
    fn granted_members(&self) -> BTreeMap<&Name, Vec<(&Name, u16)>> {
        let mut members: BTreeMap<&Name, Vec<(&Name, u16)>> = BTreeMap::new();
        for (name, claim) in self.claims.iter().filter(|(_, claim)| claim.held().is_some()) {
            if let ClaimKind::Instance { pool: Some(pool), weight } = &claim.kind {
                members.entry(pool).or_default().push((name, *weight));
            }
        }
        members
    }

    /// What is to be advertised under a claimed name: weight, instance and grant. Granted instances, and granted pools with at
    /// least one of them.
    fn wanted<'a>(
        &'a self,
        name: &Name,
        members: &BTreeMap<&Name, Vec<(&'a Name, u16)>>,
    ) -> Option<(u16, Option<&'a Name>, &'a Grant)> {
        let claim = self.claims.get(name)?;
        let grant = &claim.held()?.grant;
        let ClaimKind::Instance { weight, .. } = &claim.kind else {
            let of = members.get(name)?;
            let weight = of.iter().fold(0_u16, |sum, (_, weight)| sum.saturating_add(*weight));
            return Some((weight, of.first().map(|(instance, _)| *instance), grant));
        };
        Some((*weight, None, grant))
    }

    /// Lets what is advertised for this pod be what is to be. Returns the names that are advertised no more, and the claims that
    /// are new or say something else.
    pub fn readvertise(&mut self, pod: &NodeId) -> (Vec<Name>, Vec<PrefixClaim>) {
        let members = self.granted_members();
        let advertised = self.advertised.keys();
        let gone: Vec<Name> = advertised.filter(|name| self.wanted(name, &members).is_none()).cloned().collect();
        let mut changed = Vec::new();
        for (name, claim) in &self.claims {
            let Some((weight, instance, grant)) = self.wanted(name, &members) else { continue };
            let said = self.advertised.get(name).is_some_and(|said| {
                let same = (said.weight, said.exact, said.instance.as_ref()) == (weight, claim.is_pool(), instance);
                same && matches!(&said.proof, Proof::Grant(said) if said == grant)
            });
            if !said {
                changed.push(PrefixClaim {
                    prefix: name.clone(),
                    port: pod.clone(),
                    metric: 0,
                    weight,
                    exact: claim.is_pool(),
                    instance: instance.cloned(),
                    proof: Proof::Grant(grant.clone()),
                });
            }
        }
        for name in &gone {
            self.advertised.remove(name);
        }
        self.advertised.extend(changed.iter().map(|claim| (claim.prefix.clone(), claim.clone())));
        (gone, changed)
    }

    /// Source names the pod may use: its granted instances. Never a pool, below which other pods' instances lie.
    pub fn sources(&self) -> Vec<Name> {
        let granted = self.claims.iter().filter(|(_, c)| !c.is_pool() && c.held().is_some());
        granted.map(|(name, _)| name.clone()).collect()
    }

    /// Granted pools, each with its granted instances.
    pub fn memberships(&self) -> Vec<(Name, Name)> {
        let granted = |pool: &Name| self.claims.get(pool).is_some_and(|c| c.is_pool() && c.held().is_some());
        let pools = self.granted_members().into_iter().filter(|(pool, _)| granted(pool));
        pools.flat_map(|(pool, of)| of.into_iter().map(|(m, _)| (pool.clone(), m.clone()))).collect()
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
