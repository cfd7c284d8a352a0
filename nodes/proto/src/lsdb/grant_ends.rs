//! When LSAs end with their grants, by the clocks of the SPAs that granted.
//!
//! An SPA's clock is known from what it signed only ([`SpaClock`]), and a router that has just started knows little: it may
//! take an old grant for a new one. So ends are kept as the SPA wrote them, in their order, and only when the first of them
//! is due depends on the own clock: what an SPA says later than was known moves one timer, however many its grants are.

use std::collections::{BTreeMap, BTreeSet};

use damc_trust::SpaClock;
use damc_wire::lsa::LsaKey;
use damc_wire::security::Grant;
use damc_wire::{Millis, NodeId, Timestamp};

#[derive(Debug, Default)]
struct OfSpa {
    ends: BTreeSet<(Millis, LsaKey)>,
    due: Option<Timestamp>,
}

/// Ends of all grants in the database.
#[derive(Debug, Default)]
pub(super) struct GrantEnds {
    by_spa: BTreeMap<NodeId, OfSpa>,
    timers: BTreeSet<(Timestamp, NodeId)>,
}

impl GrantEnds {
    pub(super) fn insert(&mut self, grant: &Grant, key: &LsaKey, clock: &SpaClock) {
        let spa = &grant.certificate.node;
        self.by_spa.entry(spa.clone()).or_default().ends.insert((grant.expires_at, key.clone()));
        self.follow(spa, clock);
    }

    /// Its timer stays: it finds nothing, or the next one not due yet.
    pub(super) fn remove(&mut self, grant: &Grant, key: &LsaKey) {
        let spa = &grant.certificate.node;
        let Some(of_spa) = self.by_spa.get_mut(spa) else { return };
        of_spa.ends.remove(&(grant.expires_at, key.clone()));
        if of_spa.ends.is_empty() {
            self.set_timer(spa, None);
            self.by_spa.remove(spa);
        }
    }

    /// Sets the timer of an SPA by what is known of its clock now.
    pub(super) fn follow(&mut self, spa: &NodeId, clock: &SpaClock) {
        let Some(first) = self.by_spa.get(spa).and_then(|of_spa| of_spa.ends.first()) else { return };
        self.set_timer(spa, clock.when(spa, first.0));
    }

    /// The next LSA whose grant is over.
    pub(super) fn due(&mut self, now: Timestamp, clock: &SpaClock) -> Option<LsaKey> {
        while let Some((_, spa)) = self.timers.first().cloned().filter(|(at, _)| *at <= now) {
            let first = self.by_spa.get(&spa).and_then(|of_spa| of_spa.ends.first());
            if let Some((end, key)) = first
                && clock.at(now, &spa).is_some_and(|at| at >= *end)
            {
                return Some(key.clone());
            }
            self.follow(&spa, clock);
        }
        None
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn set_timer(&mut self, spa: &NodeId, at: Option<Timestamp>) {
        let Some(of_spa) = self.by_spa.get_mut(spa) else { return };
        if let Some(before) = std::mem::replace(&mut of_spa.due, at) {
            self.timers.remove(&(before, spa.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, spa.clone()));
        }
    }
}
