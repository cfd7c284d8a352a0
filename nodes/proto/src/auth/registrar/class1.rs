//! Class 1: what pods announce and withdraw, executed once and in the order in which it was said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use damc_mgmt::event::EventKind;
use damc_mgmt::words::ProtocolCounter;
use damc_wire::message::{Announce, AnnounceEntry, AnnounceReply, Outcome};
use damc_wire::{DropReason, Message, Name, NodeId, RefusalReason, Timestamp};

use super::claims::{Claim, ClaimKind, ClaimState, Transaction};
use super::{Announcer, Directory, Registrar};

impl Registrar {
    /// Class 1 from a pod.
    pub fn handle_announce(&mut self, now: Timestamp, from: &Announcer, announce: Announce, lsdb: &dyn Directory) {
        self.count(ProtocolCounter::AnnounceReceived);
        if announce.pod != from.pod || announce.sg != self.sg {
            return self.refuse_identity(from, &announce, DropReason::NotAuthorised);
        }
        if announce.sg_session != from.own_session || announce.request == 0 {
            return self.drop_announcement(from, DropReason::Replayed);
        }
        if let Err(e) = self.verifier.verify_announce(&announce, &from.certificate) {
            return self.refuse_identity(from, &announce, e.drop_reason());
        }
        let Some(record) = self.pods.get_mut(&from.pod) else {
            return self.drop_announcement(from, DropReason::NoAdjacency);
        };
        if let Some(known) = record.transactions.get(&announce.request) {
            if known.announce.signature != announce.signature {
                return self.drop_announcement(from, DropReason::Replayed);
            }
            self.count(ProtocolCounter::AnnounceRepeated);
            if let Some(reply) = self.pods.get(&from.pod).and_then(|r| r.reply(announce.request)) {
                self.send(from.port, Message::AnnounceReply(reply));
            }
            return;
        }
        if announce.request <= record.floor(announce.request) {
            return self.drop_announcement(from, DropReason::Replayed);
        }
        if !record.make_room(self.limits.transactions_per_pod) {
            self.dropped(from.port, DropReason::ResourceLimit);
            let reply = refuse_all(&announce, RefusalReason::Overloaded);
            return self.send(from.port, Message::AnnounceReply(reply));
        }
        self.execute(now, &from.pod, announce, lsdb);
    }

    fn execute(&mut self, now: Timestamp, pod: &NodeId, announce: Announce, lsdb: &dyn Directory) {
        let announce = Arc::new(announce);
        let request = announce.request;
        let mut fixed = BTreeMap::new();
        for name in &announce.withdraw {
            self.withdraw(now, pod, request, name);
            fixed.insert(name.clone(), None);
        }
        for entry in &announce.add {
            self.add(now, pod, &announce, entry, &mut fixed, lsdb);
        }
        let names: Vec<Name> = names_of(&announce).into_iter().cloned().collect();
        if let Some(record) = self.pods.get_mut(pod) {
            record.drop_empty_pools();
            let transaction = Transaction { announce: announce.clone(), names, fixed, replied: false };
            record.transactions.insert(request, transaction);
        }
        self.tell_refusals(pod, &announce);
        self.open_ask(now, pod, &announce);
        self.reconcile(now, pod);
        self.send_due(now);
    }

    /// Tells which names of an announcement are refused before an SPA is asked.
    fn tell_refusals(&mut self, pod: &NodeId, announce: &Announce) {
        let Some(record) = self.pods.get(pod) else { return };
        let fixed = record.transactions.get(&announce.request).map(|t| &t.fixed);
        let reason = |name: &Name| match record.claims.get(name).map(|claim| &claim.state) {
            Some(ClaimState::Refused(reason)) => Some(*reason),
            _ => fixed.and_then(|fixed| fixed.get(name).copied().flatten()),
        };
        let refused = names_of(announce).into_iter().filter_map(|name| Some((name, reason(name)?)));
        let events: Vec<EventKind> = refused.map(|(name, reason)| refusal(pod, name, reason)).collect();
        events.into_iter().for_each(|event| self.event(event));
    }

    fn withdraw(&mut self, now: Timestamp, pod: &NodeId, request: u64, name: &Name) {
        let Some(record) = self.pods.get_mut(pod) else { return };
        if record.last_request.get(name).is_some_and(|last| *last > request) {
            return;
        }
        record.last_request.insert(name.clone(), request);
        let Some(claim) = record.claims.remove(name) else { return };
        if claim.held().is_some() {
            self.intakes.entry(pod.clone()).or_default().withdrawn(now, name);
        }
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
            ask.forget(name);
        }
        self.event(EventKind::Announced { pod: pod.to_string(), prefix: name.to_string(), withdrawn: true });
    }

    fn add(
        &mut self,
        now: Timestamp,
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
        fixed.remove(&entry.prefix);
        self.event(EventKind::Announced { pod: pod.to_string(), prefix: entry.prefix.to_string(), withdrawn: false });
        // A name is an instance or a pool of a pod, never both.
        let pool = entry.pool.clone().filter(|pool| *pool != entry.prefix);
        let instance = ClaimKind::Instance { pool: pool.clone(), weight: entry.weight };
        if pool != entry.pool {
            self.claim(now, (pod, announce), &entry.prefix, instance, fixed, Some(RefusalReason::BadPrefix));
            return;
        }
        let refusal = self.local_refusal(pod, &entry.prefix, false, lsdb);
        self.claim(now, (pod, announce), &entry.prefix, instance, fixed, refusal);
        if let Some(pool) = pool {
            let refusal = self.local_refusal(pod, &pool, true, lsdb);
            self.claim(now, (pod, announce), &pool, ClaimKind::Pool, fixed, refusal);
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
        now: Timestamp,
        (pod, announce): (&NodeId, &Arc<Announce>),
        name: &Name,
        kind: ClaimKind,
        fixed: &mut BTreeMap<Name, Option<RefusalReason>>,
        refusal: Option<RefusalReason>,
    ) {
        let names: usize = self.pods.values().map(|record| record.claims.len()).sum();
        let Some(record) = self.pods.get_mut(pod) else { return };
        let intake = self.intakes.entry(pod.clone()).or_default();
        if let Some(claim) = record.claims.get_mut(name) {
            if claim.is_pool() != (kind == ClaimKind::Pool) {
                fixed.insert(name.clone(), Some(RefusalReason::BadPrefix));
                return;
            }
            claim.kind = kind;
            match (&claim.state, refusal) {
                // Held, or being asked for: what is new is only its place in a pool.
                (ClaimState::Granted(_) | ClaimState::Pending, None) => {}
                (state, None) => {
                    // Who was refused asks the SPA anew.
                    let refused = matches!(state, ClaimState::Refused(_));
                    if let Some(reason) = refused.then(|| intake.admit(now, name).err()).flatten() {
                        claim.state = ClaimState::Refused(reason);
                        return;
                    }
                    claim.state = ClaimState::Pending;
                    claim.announce = announce.clone();
                    if let Some(ask) = claim.ask.take().and_then(|id| self.asks.get_mut(&id)) {
                        ask.forget(name);
                    }
                }
                (_, Some(reason)) => claim.state = ClaimState::Refused(reason),
            }
            return;
        }
        let room = record.claims.len() < self.limits.names_per_pod && names < self.limits.names;
        let admitted = if room { intake.admit(now, name) } else { Err(RefusalReason::Overloaded) };
        if let Err(reason) = admitted {
            fixed.insert(name.clone(), Some(reason));
            return;
        }
        let state = refusal.map_or(ClaimState::Pending, ClaimState::Refused);
        record.claims.insert(name.clone(), Claim { kind, state, announce: announce.clone(), ask: None });
    }

    /// Whether another pod holds `name`. Pools are shared, with pools only. With `settle` the smaller identity wins.
    pub(super) fn conflicts(&self, pod: &NodeId, name: &Name, pool: bool, lsdb: &dyn Directory, settle: bool) -> bool {
        let beside = self.pods.iter().filter(|(other, _)| *other != pod).any(|(_, record)| {
            !settle
                && record
                    .claims
                    .get(name)
                    .is_some_and(|c| !(pool && c.is_pool() || matches!(c.state, ClaimState::Refused(_))))
        });
        beside || lsdb.holders(name).iter().any(|h| h.pod != *pod && !(pool && h.exact) && (!settle || h.pod < *pod))
    }

    fn drop_announcement(&mut self, from: &Announcer, reason: DropReason) {
        self.dropped_announcements += 1;
        self.dropped(from.port, reason);
    }

    fn refuse_identity(&mut self, from: &Announcer, announce: &Announce, reason: DropReason) {
        self.dropped(from.port, reason);
        for name in names_of(announce) {
            self.event(refusal(&from.pod, name, RefusalReason::BadIdentity));
        }
        let reply = refuse_all(announce, RefusalReason::BadIdentity);
        self.send(from.port, Message::AnnounceReply(reply));
    }
}

fn refusal(pod: &NodeId, name: &Name, reason: RefusalReason) -> EventKind {
    EventKind::AnnouncementRefused { pod: pod.to_string(), prefix: name.to_string(), reason }
}

/// Every name an announcement speaks of, once: withdrawals, prefixes, pools.
pub(super) fn names_of(announce: &Announce) -> Vec<&Name> {
    let added = announce.add.iter().flat_map(|e| core::iter::once(&e.prefix).chain(&e.pool));
    let mut seen = BTreeSet::new();
    announce.withdraw.iter().chain(added).filter(|name| seen.insert(*name)).collect()
}

fn refuse_all(announce: &Announce, reason: RefusalReason) -> AnnounceReply {
    let refused = |name: &Name| Outcome { prefix: name.clone(), refusal: Some(reason) };
    AnnounceReply { request: announce.request, outcomes: names_of(announce).into_iter().map(refused).collect() }
}
