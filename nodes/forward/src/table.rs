//! The prefix table: open addressing over keyed hashes, in shards that snapshots share.

use std::sync::Arc;

use damc_wire::Name;

use crate::hash::Probe;
use crate::{NextHop, Stamp};

/// A route as it lies in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hash: u64,
    pub(crate) prefix: Name,
    pub(crate) exact: bool,
    pub(crate) local: bool,
    pub(crate) deliver: bool,
    pub(crate) next_hops: Arc<[NextHop]>,
    pub(crate) stamp: Option<Stamp>,
}

/// All routes. A copy shares every shard with its original until one of them changes it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    shards: Vec<Arc<Shard>>,
    entries: usize,
}

/// Number of shards: the highest byte of the hash chooses one.
const SHARDS: usize = 256;

/// A closed hash table with linear probing, at most half full, rebuilt at every change.
#[derive(Clone, Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
}

/// One place of a shard. The hash beside the pointer spares nearly every look at a wrong entry.
#[derive(Clone, Debug, Default)]
struct Slot {
    hash: u64,
    entry: Option<Arc<Entry>>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], entries: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    /// The entry whose prefix is the first `probe.end` bytes of `name`.
    pub(crate) fn find(&self, probe: Probe, name: &[u8]) -> Option<&Entry> {
        let prefix = name.get(..probe.end)?;
        self.shards[shard_of(probe.hash)].find(probe.hash, prefix)
    }

    /// Sets an entry; gives the one it replaces.
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<Arc<Entry>> {
        let shard = Arc::make_mut(&mut self.shards[shard_of(entry.hash)]);
        let old = shard.replace(entry);
        self.entries += usize::from(old.is_none());
        old
    }

    /// Removes the entry of a prefix.
    pub(crate) fn remove(&mut self, hash: u64, prefix: &Name) -> Option<Arc<Entry>> {
        let shard = &mut self.shards[shard_of(hash)];
        shard.find(hash, prefix.wire())?;
        let old = Arc::make_mut(shard).remove(hash, prefix);
        self.entries -= usize::from(old.is_some());
        old
    }
}

impl Shard {
    fn find(&self, hash: u64, prefix: &[u8]) -> Option<&Entry> {
        for slot in self.probe(hash).map(|i| &self.slots[i]) {
            let entry = slot.entry.as_deref()?;
            if slot.hash == hash && entry.prefix.wire() == prefix {
                return Some(entry);
            }
        }
        None
    }

    /// Places where an entry with this hash may be, in order. Never endless: a full round ends it.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<'_> {
        let mask = self.slots.len().wrapping_sub(1);
        (0..self.slots.len()).map(move |step| (low_bits(hash).wrapping_add(step)) & mask)
    }

    fn replace(&mut self, entry: Entry) -> Option<Arc<Entry>> {
        let old = self.remove(entry.hash, &entry.prefix);
        let used = self.slots.iter().filter(|s| s.entry.is_some()).count() + 1;
        if used * 2 > self.slots.len() {
            self.rebuild((used * 2).next_power_of_two());
        }
        self.place(Arc::new(entry));
        old
    }

    /// Takes an entry out and closes the gap, so that the table needs no tombstones.
    fn remove(&mut self, hash: u64, prefix: &Name) -> Option<Arc<Entry>> {
        let at = self
            .probe(hash)
            .find(|i| self.slots[*i].entry.as_deref().is_none_or(|e| e.hash == hash && e.prefix == *prefix))?;
        let old = self.slots[at].entry.take()?;
        self.rebuild(self.slots.len());
        Some(old)
    }

    /// Sorts all entries anew into `size` slots.
    fn rebuild(&mut self, size: usize) {
        let slots = core::mem::replace(&mut self.slots, vec![Slot::default(); size]);
        for entry in slots.into_iter().filter_map(|slot| slot.entry) {
            self.place(entry);
        }
    }

    /// Puts an entry into the first free place. There always is one.
    fn place(&mut self, entry: Arc<Entry>) {
        let free = self.probe(entry.hash).find(|i| self.slots[*i].entry.is_none());
        if let Some(at) = free {
            self.slots[at] = Slot { hash: entry.hash, entry: Some(entry) };
        }
    }
}

/// The shard of a hash.
const fn shard_of(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// Bits that choose the place in a shard.
const fn low_bits(hash: u64) -> usize {
    hash as usize
}
