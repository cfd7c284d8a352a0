//! The link-state database: the newest verified LSA of every key. Also the SCSC's passive replica.
//!
//! There is one order of instances, [`LsaHeader::version`], and it is used here only (check-list 8). Ages are relative:
//! an entry lives as long as its sender said it had left, on the own monotonic clock (check-list 11). A purge stays as a
//! tombstone for its own lifetime, so that a late copy of what it purged is recognised as older.

use core::cmp::Ordering;
use core::hash::Hasher as _;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::view::{LinkView, LsaView, LsdbView};
use damc_mgmt::words::LsaKind;
use damc_trust::Verified;
use damc_wire::lsa::{Lsa, LsaContent, LsaHeader, LsaId, LsaKey, PrefixLsa, Proof, TopologyLsa};
use damc_wire::{Millis, Name, NodeId, Timestamp};
use siphasher::sip::SipHasher13;

/// Bounds on what others can make this node keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// LSAs in all, tombstones included.
    pub total: usize,
    /// LSAs of one origin, tombstones included.
    pub per_origin: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 262_144, per_origin: 65_536 }
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
    per_origin: BTreeMap<NodeId, usize>,
    expiries: BTreeSet<(Timestamp, LsaKey)>,
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

    /// Takes an instance whatever its age; the caller compares first. It lives `cap` at most (end of its grant). Returns
    /// the instance it replaces.
    ///
    /// # Errors
    /// [`Full`], nothing is changed then.
    pub fn install(
        &mut self,
        now: Timestamp,
        lsa: Verified<Lsa>,
        cap: Option<Duration>,
    ) -> Result<Option<Verified<Lsa>>, Full> {
        let key = lsa.key.clone();
        let of_origin = self.per_origin.get(&key.origin).copied().unwrap_or(0);
        let is_new = !self.entries.contains_key(&key);
        if is_new && (self.entries.len() >= self.limits.total || of_origin >= self.limits.per_origin) {
            return Err(Full);
        }
        let lifetime = lsa.remaining.min(lsa.lifetime).duration();
        let expires_at = now + cap.map_or(lifetime, |cap| cap.min(lifetime));
        let replaced = self.remove(&key);
        if let (LsaId::Prefix(prefix, port), LsaContent::Prefix(_)) = (&key.id, &lsa.content) {
            let advertisers = self.by_prefix.entry(prefix.clone()).or_default();
            advertisers.insert((key.origin.clone(), port.clone()));
        }
        *self.per_origin.entry(key.origin.clone()).or_default() += 1;
        self.expiries.insert((expires_at, key.clone()));
        self.entries.insert(key, Stored { lsa, installed_at: now, expires_at });
        Ok(replaced)
    }

    /// Takes out what has no time left, oldest first.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Verified<Lsa>> {
        let mut gone = Vec::new();
        while let Some((at, key)) = self.expiries.first().cloned().filter(|(at, _)| *at <= now) {
            match self.remove(&key) {
                Some(lsa) => gone.push(lsa),
                None => {
                    self.expiries.remove(&(at, key));
                }
            }
        }
        gone
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    fn remove(&mut self, key: &LsaKey) -> Option<Verified<Lsa>> {
        let stored = self.entries.remove(key)?;
        self.expiries.remove(&(stored.expires_at, key.clone()));
        if let Some(count) = self.per_origin.get_mut(&key.origin) {
            *count -= 1;
            if *count == 0 {
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

    /// All prefixes in force, in order of prefix, origin, port.
    pub fn prefixes(&self) -> impl Iterator<Item = PrefixEntry<'_>> {
        self.by_prefix.iter().flat_map(|(prefix, advertisers)| self.entries_of(prefix, advertisers))
    }

    /// All advertisements of exactly this name, in order of origin, port.
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
                LsaContent::Prefix(body) => Some(PrefixEntry { prefix, origin, port, body }),
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

/// Kind, and id and port as text.
fn key_words(id: &LsaId) -> (LsaKind, String, String) {
    match id {
        LsaId::Topology(fragment) => (LsaKind::Topology, fragment.to_string(), String::new()),
        LsaId::Prefix(prefix, port) => (LsaKind::Prefix, prefix.to_string(), port.to_string()),
    }
}

/// Id of an LSA as events name it.
#[must_use]
pub fn id_text(id: &LsaId) -> String {
    match id {
        LsaId::Topology(fragment) => format!("topology {fragment}"),
        LsaId::Prefix(prefix, port) => format!("{prefix} at {port}"),
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
