//! The prefix table: open addressing over keyed hashes, in shards that snapshots share.
//!
//! A look-up at random costs two misses of the cache: one for the slot, one for the record, which holds the name itself and
//! the number of its group. What a shard holds lies in two pieces of memory, so that a snapshot copies a changed shard by
//! two copies and touches no reference count of any entry.

use std::sync::Arc;

use crate::hash::Probe;

/// All prefixes, each with the number of its group. A copy shares every shard with its original until one of them changes
/// it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    shards: Vec<Arc<Shard>>,
    entries: usize,
}

/// Number of shards: the highest byte of the hash chooses one.
const SHARDS: usize = 256;

/// A closed hash table with linear probing, at most half full.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    slots: Vec<Slot>,
    used: usize,
    /// Group (4 bytes), length (1 byte) and wire form of each name, one after the other.
    records: Vec<u8>,
    /// Bytes of records that were removed.
    garbage: usize,
}

/// One place of a shard. The bits of the hash beside the place of the record spare nearly every look at a wrong one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    tag: u32,
    /// Where the record begins, plus 1; 0 for a free slot.
    at: u32,
}

/// Bytes of a record before the name.
const HEAD: usize = 5;

impl Table {
    pub(crate) fn new() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], entries: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    /// The group of the prefix that is the first `probe.end` bytes of `name`.
    pub(crate) fn find(&self, probe: Probe, name: &[u8]) -> Option<u32> {
        let prefix = name.get(..probe.end)?;
        let shard = &self.shards[shard_of(probe.hash)];
        let slot = shard.find(tag_of(probe.hash), prefix)?;
        shard.record(shard.slots[slot]).map(|(group, _)| group)
    }

    /// The slot that a look-up reads first, and what it is for. Two look-ups that begin so wait for memory side by side.
    pub(crate) fn first_slot(&self, hash: u64) -> Option<(&Shard, Slot)> {
        let shard = &*self.shards[shard_of(hash)];
        let place = tag_of(hash) as usize & shard.slots.len().wrapping_sub(1);
        let slot = shard.slots.get(place).filter(|slot| slot.at != 0 && slot.tag == tag_of(hash))?;
        Some((shard, *slot))
    }

    /// Sets the group of a prefix; gives the one it had.
    pub(crate) fn insert(&mut self, hash: u64, prefix: &[u8], group: u32) -> Option<u32> {
        let old = Arc::make_mut(&mut self.shards[shard_of(hash)]).insert(tag_of(hash), prefix, group);
        self.entries += usize::from(old.is_none());
        old
    }

    /// Removes a prefix; gives the group it had.
    pub(crate) fn remove(&mut self, hash: u64, prefix: &[u8]) -> Option<u32> {
        let shard = &mut self.shards[shard_of(hash)];
        let slot = shard.find(tag_of(hash), prefix)?;
        let old = Arc::make_mut(shard).remove(slot);
        self.entries -= usize::from(old.is_some());
        old
    }

    /// Most slots that any look-up has to read, whether it finds something or not.
    pub(crate) fn longest_run(&self) -> usize {
        self.shards.iter().map(|shard| shard.longest_run()).max().unwrap_or(0)
    }
}

impl Shard {
    /// The slot of a prefix.
    fn find(&self, tag: u32, prefix: &[u8]) -> Option<usize> {
        for place in self.places(tag) {
            let slot = self.slots[place];
            if slot.at == 0 {
                return None;
            }
            if slot.tag == tag && self.record(slot).is_some_and(|(_, name)| name == prefix) {
                return Some(place);
            }
        }
        None
    }

    /// Places where an entry with this tag may be, in order. Never endless: a full round ends it.
    fn places(&self, tag: u32) -> impl Iterator<Item = usize> + use<> {
        let (count, mask) = (self.slots.len(), self.slots.len().wrapping_sub(1));
        (0..count).map(move |step| (tag as usize).wrapping_add(step) & mask)
    }

    /// A byte of the record at a slot in use.
    pub(crate) fn touch(&self, slot: Slot) -> u8 {
        self.records.get(slot.at as usize).copied().unwrap_or(0)
    }

    /// Group and name at a slot in use.
    fn record(&self, slot: Slot) -> Option<(u32, &[u8])> {
        let (group, rest) = self.records.get(slot.at as usize - 1..)?.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first()?;
        Some((u32::from_le_bytes(*group), rest.get(..usize::from(*len))?))
    }

    fn insert(&mut self, tag: u32, prefix: &[u8], group: u32) -> Option<u32> {
        if let Some(place) = self.find(tag, prefix) {
            let at = self.slots[place].at as usize - 1;
            let old = self.record(self.slots[place]).map(|(group, _)| group);
            self.records[at..at + 4].copy_from_slice(&group.to_le_bytes());
            return old;
        }
        if (self.used + 1) * 2 > self.slots.len() {
            let larger = vec![Slot::default(); ((self.used + 1) * 2).next_power_of_two()];
            let slots = std::mem::replace(&mut self.slots, larger);
            slots.into_iter().filter(|slot| slot.at != 0).for_each(|slot| self.place(slot));
        }
        let at = u32::try_from(self.records.len() + 1).expect("invariant: a node has no room for 4 GiB of names");
        let len = u8::try_from(prefix.len()).expect("invariant: names are at most 255 bytes");
        self.records.extend(group.to_le_bytes());
        self.records.push(len);
        self.records.extend(prefix);
        self.place(Slot { tag, at });
        self.used += 1;
        None
    }

    /// Puts a slot into the first free place. There always is one.
    fn place(&mut self, slot: Slot) {
        if let Some(free) = self.places(slot.tag).find(|place| self.slots[*place].at == 0) {
            self.slots[free] = slot;
        }
    }

    /// Takes an entry out and closes the gap, so that the table needs no tombstones.
    fn remove(&mut self, place: usize) -> Option<u32> {
        let (old, len) = self.record(self.slots[place]).map(|(group, name)| (group, HEAD + name.len()))?;
        let mask = self.slots.len() - 1;
        let (mut hole, mut next) = (place, place);
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot.at == 0 {
                break;
            }
            // It may move up if it stays behind the place its tag asks for.
            let home = slot.tag as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = Slot::default();
        self.used -= 1;
        self.garbage += len;
        if self.garbage * 2 > self.records.len() {
            self.compact();
        }
        Some(old)
    }

    /// Forgets removed records.
    fn compact(&mut self) {
        let mut records = Vec::with_capacity(self.records.len() - self.garbage);
        for place in 0..self.slots.len() {
            let slot = self.slots[place];
            if slot.at == 0 {
                continue;
            }
            let begin = slot.at as usize - 1;
            let end = begin + HEAD + usize::from(self.records[begin + 4]);
            // Never beyond what the old place was, which had room.
            self.slots[place].at = u32::try_from(records.len() + 1).unwrap_or(u32::MAX);
            records.extend(&self.records[begin..end]);
        }
        self.records = records;
        self.garbage = 0;
    }

    fn longest_run(&self) -> usize {
        let (mut longest, mut run) = (0, 0);
        // Twice around, for the run over the end.
        for slot in self.slots.iter().chain(&self.slots) {
            run = if slot.at == 0 { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        longest.min(self.slots.len()) + usize::from(!self.slots.is_empty())
    }
}

/// The shard of a hash.
const fn shard_of(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// Bits of a hash that choose the place in a shard and tell entries apart.
const fn tag_of(hash: u64) -> u32 {
    (hash & 0xffff_ffff) as u32
}
