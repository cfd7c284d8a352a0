//! The link-state database: the newest verified LSA of every key. Also the SCSC's passive replica.
//!
//! There is one order of instances, [`LsaHeader::version`], and it is used here only (check-list 8). Ages are relative:
//! an entry lives as long as its sender said it had left, on the own monotonic clock (check-list 11), and no longer than
//! its grant by the clock of the SPA. A purge stays as a
//! tombstone for its own lifetime, so that a late copy of what it purged is recognised as older.

mod proof_ends;

use core::cmp::Ordering;
use core::hash::Hasher as _;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::view::{LinkView, LsaView, LsdbView};
use damc_mgmt::words::LsaKind;
use damc_trust::{IssuerClock, Verified};
use damc_wire::lsa::{
    Lsa, LsaContent, LsaHeader, LsaId, LsaKey, MAX_LIFETIME, PrefixLsa, Proof, TopologyLsa, UNREACHABLE,
};
use damc_wire::{Millis, Name, NodeId, Timestamp};
use siphasher::sip::SipHasher13;

use self::proof_ends::ProofEnds;

/// Topology fragments of one origin.
pub const FRAGMENTS_PER_ORIGIN: u16 = 64;
/// Prefix LSAs in force of one origin. Of tombstones there may be as many again.
pub const NAMES_PER_ORIGIN: usize = 4096;

/// Bounds on what others can make this node keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// LSAs in all, tombstones included.
    pub total: usize,
    /// Fragment numbers of one origin.
    pub fragments: u16,
    /// Prefix LSAs in force of one origin.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 262_144, fragments: FRAGMENTS_PER_ORIGIN, names: NAMES_PER_ORIGIN }
    }
}

/// What is held of one origin.
#[derive(Clone, Copy, Debug, Default)]
struct OfOrigin {
    topology: usize,
    names: usize,
    tombstones: usize,
}

impl OfOrigin {
    fn count(&mut self, lsa: &Lsa) -> &mut usize {
        match (&lsa.key.id, lsa.is_purge()) {
            (LsaId::Topology(_), _) => &mut self.topology,
            (LsaId::Prefix(..), false) => &mut self.names,
            (LsaId::Prefix(..), true) => &mut self.tombstones,
        }
    }

    const fn is_empty(self) -> bool {
        self.topology + self.names + self.tombstones == 0
    }
}

/// One prefix LSA that is in force.
#[derive(Clone, Copy, Debug)]
pub struct PrefixEntry<'a> {
    /// The prefix.
    pub prefix: &'a Name,
    /// Who advertises it.
    pub origin: &'a NodeId,
    /// The port there it lies behind, named after the attached node.
    pub port: &'a NodeId,
    /// Metric, weight, pool, proof.
    pub body: &'a PrefixLsa,
}

/// An LSA in the database.
#[derive(Clone, Debug)]
pub struct Stored {
    lsa: Verified<Lsa>,
    installed_at: Timestamp,
    expires_at: Timestamp,
}

impl Stored {
    /// The LSA; its `remaining` is that at installation.
    #[must_use]
    pub fn lsa(&self) -> &Lsa {
        &self.lsa
    }

    /// When it was installed.
    #[must_use]
    pub const fn installed_at(&self) -> Timestamp {
        self.installed_at
    }

    /// Time left.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Millis {
        Millis(u64::try_from(self.expires_at.since(now).as_millis()).unwrap_or(u64::MAX))
    }

    fn longest(&self) -> Millis {
        longest_life(&self.lsa)
    }

    fn header(&self, now: Timestamp) -> LsaHeader {
        LsaHeader { remaining: self.remaining(now), ..self.lsa.header() }
    }
}

/// A bound of the database is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link-state database is full")]
pub struct Full;

/// The database.
#[derive(Debug, Default)]
pub struct Lsdb {
    entries: BTreeMap<LsaKey, Stored>,
    /// Origin and port of every prefix in force.
    by_prefix: BTreeMap<Name, BTreeSet<(NodeId, NodeId)>>,
    per_origin: BTreeMap<NodeId, OfOrigin>,
    expiries: BTreeSet<(Timestamp, LsaKey)>,
    proof_ends: ProofEnds,
    limits: Limits,
}

impl Lsdb {
    /// Empty, with bounds.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    // ===== changes =====

    /// How the received instance stands to ours: `Greater` is newer (or unknown here).
    #[must_use]
    pub fn compare(&self, received: &LsaHeader) -> Ordering {
        match self.entries.get(&received.key) {
            Some(ours) => received.version().cmp(&ours.lsa.header().version()),
            None => Ordering::Greater,
        }
    }

    /// How the time left of another copy of our instance stands to that of ours. Nobody signs it, and copies differ by what
    /// they took to come: only more than [`age_tolerance`] counts.
    #[must_use]
    pub fn compare_age(&self, now: Timestamp, copy: &LsaHeader) -> Ordering {
        let Some(ours) = self.entries.get(&copy.key).filter(|s| s.lsa.header().version() == copy.version()) else {
            return Ordering::Equal;
        };
        let (theirs, own) = (copy.remaining.min(ours.longest()), ours.remaining(now));
        let tolerance = age_tolerance(ours.longest());
        if theirs.0 > own.0 + tolerance {
            Ordering::Greater
        } else if theirs.0 + tolerance < own.0 {
            Ordering::Less
        } else {
            Ordering::Equal
        }
    }

    /// Lets our instance live as long as a copy of it does, but no longer than it might if it had been new when it came.
    pub fn prolong(&mut self, now: Timestamp, copy: &LsaHeader) {
        let Some(ours) = self.entries.get_mut(&copy.key) else { return };
        let longest = ours.longest();
        let until = (now + copy.remaining.min(longest).duration()).min(ours.installed_at + longest.duration());
        if until > ours.expires_at {
            self.expiries.remove(&(ours.expires_at, copy.key.clone()));
            self.expiries.insert((until, copy.key.clone()));
            ours.expires_at = until;
        }
    }

    /// Whether [`Self::install`] would take it: worth a look before signatures are verified. What is held can always be
    /// purged.
    #[must_use]
    pub fn has_room(&self, lsa: &Lsa) -> bool {
        let held = self.entries.get(&lsa.key);
        let of_origin = self.per_origin.get(&lsa.key.origin).copied().unwrap_or_default();
        let of_origin = match lsa.key.id {
            LsaId::Topology(fragment) => fragment < self.limits.fragments,
            LsaId::Prefix(..) if lsa.is_purge() => held.is_some() || of_origin.tombstones < self.limits.names,
            LsaId::Prefix(..) => held.is_some_and(|held| !held.lsa.is_purge()) || of_origin.names < self.limits.names,
        };
        of_origin && (held.is_some() || self.entries.len() < self.limits.total)
    }

    /// Takes an instance whatever its age; the caller compares first. One with a proof leaves with that, by the clock of its
    /// issuer; without a clock it is the own one, which ends with the registration. Returns the instance it replaces.
    ///
    /// # Errors
    /// [`Full`], nothing is changed then.
    pub fn install(
        &mut self,
        now: Timestamp,
        lsa: Verified<Lsa>,
        clock: Option<&IssuerClock>,
    ) -> Result<Option<Verified<Lsa>>, Full> {
        let key = lsa.key.clone();
        if !self.has_room(&lsa) {
            return Err(Full);
        }
        let expires_at = now + lsa.remaining.min(longest_life(&lsa)).duration();
        let replaced = self.remove(&key);
        if let (LsaId::Prefix(prefix, port), LsaContent::Prefix(_)) = (&key.id, &lsa.content) {
            let advertisers = self.by_prefix.entry(prefix.clone()).or_default();
            advertisers.insert((key.origin.clone(), port.clone()));
        }
        if let (Some(clock), Some(proof)) = (clock, lsa.proof()) {
            self.proof_ends.insert(proof, &key, clock);
        }
        *self.per_origin.entry(key.origin.clone()).or_default().count(&lsa) += 1;
        self.expiries.insert((expires_at, key.clone()));
        self.entries.insert(key, Stored { lsa, installed_at: now, expires_at });
        Ok(replaced)
    }

    /// An SPA or the SCSC may have said that it is later than was known: what it issued is judged again.
    pub fn clock_moved(&mut self, issuer: &NodeId, clock: &IssuerClock) {
        self.proof_ends.follow(issuer, clock);
    }

    /// Takes out what has no time left, oldest first, then what has outlived its proof.
    pub fn expire(&mut self, now: Timestamp, clock: &IssuerClock) -> Vec<Verified<Lsa>> {
        let mut gone = Vec::new();
        while let Some((at, key)) = self.expiries.first().cloned().filter(|(at, _)| *at <= now) {
            match self.remove(&key) {
                Some(lsa) => gone.push(lsa),
                None => {
                    self.expiries.remove(&(at, key));
                }
            }
        }
        while let Some(key) = self.proof_ends.due(now, clock) {
            gone.extend(self.remove(&key));
        }
        gone
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let own = self.expiries.first().map(|(at, _)| *at);
        own.into_iter().chain(self.proof_ends.next_timeout()).min()
    }

    fn remove(&mut self, key: &LsaKey) -> Option<Verified<Lsa>> {
        let stored = self.entries.remove(key)?;
        self.expiries.remove(&(stored.expires_at, key.clone()));
        if let Some(proof) = stored.lsa.proof() {
            self.proof_ends.remove(proof, key);
        }
        if let Some(of_origin) = self.per_origin.get_mut(&key.origin) {
            *of_origin.count(&stored.lsa) -= 1;
            if of_origin.is_empty() {
                self.per_origin.remove(&key.origin);
            }
        }
        if let LsaId::Prefix(prefix, port) = &key.id
            && let Some(advertisers) = self.by_prefix.get_mut(prefix)
        {
            advertisers.remove(&(key.origin.clone(), port.clone()));
            if advertisers.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
        Some(stored.lsa)
    }

    // ===== questions =====

    /// Number of LSAs, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An LSA by key, purges included.
    #[must_use]
    pub fn get(&self, key: &LsaKey) -> Option<&Lsa> {
        self.entries.get(key).map(Stored::lsa)
    }

    /// An LSA by key with its times, purges included.
    #[must_use]
    pub fn stored(&self, key: &LsaKey) -> Option<&Stored> {
        self.entries.get(key)
    }

    /// A copy for a neighbour: at least 1 ms older than here, so that no copy can live for ever on its way in circles.
    /// None where it has no time left.
    #[must_use]
    pub fn copy_to_send(&self, now: Timestamp, key: &LsaKey) -> Option<Lsa> {
        let stored = self.entries.get(key)?;
        let remaining = stored.remaining(now).0.checked_sub(1).filter(|left| *left > 0)?;
        Some(Lsa { remaining: Millis(remaining), ..stored.lsa().clone() })
    }

    /// Headers of everything, in key order.
    pub fn headers(&self, now: Timestamp) -> impl Iterator<Item = LsaHeader> + '_ {
        self.entries.values().map(move |stored| stored.header(now))
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &LsaKey> {
        self.entries.keys()
    }

    /// All origins that have an LSA here, in order.
    pub fn origins(&self) -> impl Iterator<Item = &NodeId> {
        self.per_origin.keys()
    }

    /// All prefixes in force and reachable at their origin, in order of prefix, origin, port.
    pub fn prefixes(&self) -> impl Iterator<Item = PrefixEntry<'_>> {
        self.by_prefix.iter().flat_map(|(prefix, advertisers)| self.entries_of(prefix, advertisers))
    }

    /// All advertisements of exactly this name that are in force and reachable at their origin, in order of origin, port.
    pub fn prefix<'a>(&'a self, name: &Name) -> impl Iterator<Item = PrefixEntry<'a>> {
        let found = self.by_prefix.get_key_value(name);
        found.into_iter().flat_map(|(prefix, advertisers)| self.entries_of(prefix, advertisers))
    }

    fn entries_of<'a>(
        &'a self,
        prefix: &'a Name,
        advertisers: &'a BTreeSet<(NodeId, NodeId)>,
    ) -> impl Iterator<Item = PrefixEntry<'a>> {
        advertisers.iter().filter_map(move |(origin, port)| {
            let key = LsaKey { origin: origin.clone(), id: LsaId::Prefix(prefix.clone(), port.clone()) };
            match &self.entries.get(&key)?.lsa().content {
                LsaContent::Prefix(body) if body.metric != UNREACHABLE => {
                    Some(PrefixEntry { prefix, origin, port, body })
                }
                _ => None,
            }
        })
    }

    /// All topology LSA fragments in force, in order of origin, fragment. Costs nothing per prefix.
    pub fn topology(&self) -> impl Iterator<Item = (&NodeId, &TopologyLsa)> {
        self.per_origin.keys().flat_map(|origin| self.topology_of(origin))
    }

    /// The topology LSA fragments of one origin.
    pub fn topology_of(&self, origin: &NodeId) -> impl Iterator<Item = (&NodeId, &TopologyLsa)> {
        let key = |fragment| LsaKey { origin: origin.clone(), id: LsaId::Topology(fragment) };
        self.entries.range(key(0)..=key(u16::MAX)).filter_map(|(key, stored)| match &stored.lsa().content {
            LsaContent::Topology(lsa) => Some((&key.origin, lsa)),
            _ => None,
        })
    }

    /// Hash over key, sequence and digest of all LSAs in force in key order: equal databases, equal digests. Tombstones
    /// take no part: they say nothing any more, and leave at slightly different times.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hash = SipHasher13::new_with_keys(0, 0);
        for (key, stored) in self.entries.iter().filter(|(_, s)| !s.lsa().is_purge()) {
            let (sequence, digest) = stored.lsa().header().version();
            let (kind, id, port) = key_words(&key.id);
            for text in [key.origin.as_str(), kind.label(), &id, &port] {
                hash.write(text.as_bytes());
                hash.write_u8(0);
            }
            hash.write_u64(sequence);
            hash.write_u64(digest);
        }
        hash.finish()
    }

    /// [`Self::digest`] in hexadecimal.
    #[must_use]
    pub fn digest_text(&self) -> String {
        format!("{:016x}", self.digest())
    }

    /// `/lsdb`.
    #[must_use]
    pub fn view(&self, now: Timestamp, node: &NodeId) -> LsdbView {
        LsdbView {
            node: node.to_string(),
            digest: self.digest_text(),
            lsas: self.entries.values().map(|stored| lsa_view(stored, now)).collect(),
        }
    }
}

/// Time an LSA has at origination, as holders count it.
fn longest_life(lsa: &Lsa) -> Millis {
    lsa.lifetime.min(MAX_LIFETIME)
}

/// How much, in ms, copies of one instance may differ in the time they have left and mean the same: a 64th of the
/// lifetime, 1 s at least. An instance is prolonged 64 times at most.
fn age_tolerance(lifetime: Millis) -> u64 {
    (lifetime.0 / 64).max(1000)
}

/// Kind, and id and port as text.
fn key_words(id: &LsaId) -> (LsaKind, String, String) {
    match id {
        LsaId::Topology(fragment) => (LsaKind::Topology, fragment.to_string(), String::new()),
        LsaId::Prefix(prefix, port) => (LsaKind::Prefix, prefix.to_string(), port.to_string()),
    }
}

fn lsa_view(stored: &Stored, now: Timestamp) -> LsaView {
    let lsa = stored.lsa();
    let (kind, id, port) = key_words(&lsa.key.id);
    let mut view = LsaView {
        origin: lsa.key.origin.to_string(),
        kind,
        id,
        port: Some(port).filter(|p| !p.is_empty()),
        sequence: lsa.sequence,
        remaining_ms: stored.remaining(now).0,
        purged: lsa.is_purge(),
        links: Vec::new(),
        overload: false,
        stub: false,
        metric: None,
        exact: false,
        grant: None,
    };
    match &lsa.content {
        LsaContent::Topology(topology) => {
            let link = |l: &damc_wire::lsa::LinkEntry| LinkView { neighbour: l.neighbour.to_string(), cost: l.cost };
            view.links = topology.links.iter().map(link).collect();
            view.overload = topology.overload;
            view.stub = topology.stub;
        }
        LsaContent::Prefix(prefix) => {
            view.metric = Some(prefix.metric);
            view.exact = prefix.exact;
            view.grant = match &prefix.proof {
                Proof::Grant(grant) => Some(grant.serial),
                Proof::Attached(_) => None,
            };
        }
        LsaContent::Purge => {}
    }
    view
}
