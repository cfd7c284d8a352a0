//! When LSAs end with the grants and attachments they stand on, by the clocks of those who issued these.
//!
//! An issuer's clock is known from what it signed only ([`IssuerClock`]), and a router that has just started knows little: it
//! may take an old grant for a new one. So ends are kept as the issuer wrote them, in their order, and only when the first of
//! them is due depends on the own clock: what an issuer says later than was known moves one timer, however much it issued.

use std::collections::{BTreeMap, BTreeSet};

use damc_trust::IssuerClock;
use damc_wire::lsa::{LsaKey, Proof};
use damc_wire::{Millis, NodeId, Timestamp};

#[derive(Debug, Default)]
struct OfIssuer {
    ends: BTreeSet<(Millis, LsaKey)>,
    due: Option<Timestamp>,
}

/// Ends of all proofs in the database.
#[derive(Debug, Default)]
pub(super) struct ProofEnds {
    by_issuer: BTreeMap<NodeId, OfIssuer>,
    timers: BTreeSet<(Timestamp, NodeId)>,
}

impl ProofEnds {
    pub(super) fn insert(&mut self, proof: &Proof, key: &LsaKey, clock: &IssuerClock) {
        let issuer = proof.issuer();
        self.by_issuer.entry(issuer.clone()).or_default().ends.insert((proof.expires_at(), key.clone()));
        self.follow(issuer, clock);
    }

    /// Its timer stays: it finds nothing, or the next one not due yet.
    pub(super) fn remove(&mut self, proof: &Proof, key: &LsaKey) {
        let issuer = proof.issuer();
        let Some(of_issuer) = self.by_issuer.get_mut(issuer) else { return };
        of_issuer.ends.remove(&(proof.expires_at(), key.clone()));
        if of_issuer.ends.is_empty() {
            self.set_timer(issuer, None);
            self.by_issuer.remove(issuer);
        }
    }

    /// Sets the timer of an issuer by what is known of its clock now.
    pub(super) fn follow(&mut self, issuer: &NodeId, clock: &IssuerClock) {
        let Some(first) = self.by_issuer.get(issuer).and_then(|of_issuer| of_issuer.ends.first()) else { return };
        self.set_timer(issuer, clock.when(issuer, first.0));
    }

    /// The next LSA whose proof is over.
    pub(super) fn due(&mut self, now: Timestamp, clock: &IssuerClock) -> Option<LsaKey> {
        while let Some((_, issuer)) = self.timers.first().cloned().filter(|(at, _)| *at <= now) {
            let first = self.by_issuer.get(&issuer).and_then(|of_issuer| of_issuer.ends.first());
            if let Some((end, key)) = first
                && clock.has_reached(now, &issuer, *end)
            {
                return Some(key.clone());
            }
            self.follow(&issuer, clock);
        }
        None
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn set_timer(&mut self, issuer: &NodeId, at: Option<Timestamp>) {
        let Some(of_issuer) = self.by_issuer.get_mut(issuer) else { return };
        if let Some(before) = std::mem::replace(&mut of_issuer.due, at) {
            self.timers.remove(&(before, issuer.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, issuer.clone()));
        }
    }
}
