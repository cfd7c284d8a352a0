//! The prefix table: open addressing over keyed hashes, in shards that snapshots share.
//!
//! A look-up at random costs one miss of the cache and of the translation of addresses: what a slot holds, the name too, is
//! one cache line. Only names longer than that lie elsewhere. A shard is two pieces of memory, so that a snapshot copies
//! a changed one by two copies and touches no reference count of any entry.

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
/// Slots of the smallest shard that holds something.
const FEWEST: usize = 4;

/// A closed hash table with linear probing, at most half full.
#[derive(Clone, Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
    /// Names too long for a slot, one after the other.
    long: Vec<u8>,
    /// Bytes of long names that were removed.
    garbage: usize,
}

/// One place of a shard, as large as a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Slot {
    tag: u32,
    group: u32,
    /// Bytes of the name; 0 for a free slot.
    len: u8,
    /// The wire form of the name, or where it begins in `long` (4 bytes).
    bytes: [u8; INLINE],
}

/// Longest name that a slot holds.
const INLINE: usize = 55;

impl Slot {
    const FREE: Self = Self { tag: 0, group: 0, len: 0, bytes: [0; INLINE] };

    const fn is_free(&self) -> bool {
        self.len == 0
    }

    const fn len(&self) -> usize {
        self.len as usize
    }

    const fn is_long(&self) -> bool {
        self.len() > INLINE
    }

    /// Where a long name begins.
    const fn begin(&self) -> usize {
        let [a, b, c, d, ..] = self.bytes;
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    fn set_begin(&mut self, begin: usize) {
        let begin = u32::try_from(begin).expect("invariant: a node has no room for 4 GiB of names");
        self.bytes[..4].copy_from_slice(&begin.to_le_bytes());
    }
}

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
        shard.find(tag_of(probe.hash), prefix).map(|place| shard.slots[place].group)
    }

    /// A byte of the slot that a look-up reads first. Many look-ups that begin so wait for memory side by side.
    pub(crate) fn touch(&self, hash: u64) -> u8 {
        let shard = &*self.shards[shard_of(hash)];
        shard.slots.get(shard.home(tag_of(hash))).map_or(0, |slot| slot.len)
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
        self.entries -= 1;
        Some(Arc::make_mut(shard).remove(slot))
    }

    /// Most slots that any look-up has to read, whether it finds something or not.
    pub(crate) fn longest_run(&self) -> usize {
        self.shards.iter().map(|shard| shard.longest_run()).max().unwrap_or(0)
    }
}

impl Shard {
    /// The place where an entry with this tag is if no other was there before it.
    const fn home(&self, tag: u32) -> usize {
        // The upper half of the product: below the number of slots, whatever that is.
        ((tag as u64 * self.slots.len() as u64) >> 32) as usize
    }

    const fn after(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() { 0 } else { place + 1 }
    }

    /// How many places `to` lies after `from`, around the end.
    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    fn name<'a>(&'a self, slot: &'a Slot) -> &'a [u8] {
        let (from, begin) = if slot.is_long() { (&self.long[..], slot.begin()) } else { (&slot.bytes[..], 0) };
        from.get(begin..begin + slot.len()).unwrap_or_default()
    }

    /// The slot of a prefix.
    fn find(&self, tag: u32, prefix: &[u8]) -> Option<usize> {
        let mut place = self.home(tag);
        // Never endless: a full round ends it.
        for _ in 0..self.slots.len() {
            let slot = &self.slots[place];
            if slot.is_free() {
                return None;
            }
            if slot.tag == tag && self.name(slot) == prefix {
                return Some(place);
            }
            place = self.after(place);
        }
        None
    }

    fn insert(&mut self, tag: u32, prefix: &[u8], group: u32) -> Option<u32> {
        if let Some(place) = self.find(tag, prefix) {
            return Some(std::mem::replace(&mut self.slots[place].group, group));
        }
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let len = u8::try_from(prefix.len()).expect("invariant: names are at most 255 bytes");
        let mut slot = Slot { tag, group, len, ..Slot::FREE };
        if slot.is_long() {
            slot.set_begin(self.long.len());
            self.long.extend(prefix);
        } else {
            slot.bytes[..prefix.len()].copy_from_slice(prefix);
        }
        self.place(slot);
        self.used += 1;
        None
    }

    /// Half as many slots again.
    fn grow(&mut self) {
        let larger = (self.slots.len() + self.slots.len() / 2).max(FEWEST);
        let slots = std::mem::replace(&mut self.slots, vec![Slot::FREE; larger]);
        slots.into_iter().filter(|slot| !slot.is_free()).for_each(|slot| self.place(slot));
    }

    /// Puts a slot into the first free place. There always is one.
    fn place(&mut self, slot: Slot) {
        let mut place = self.home(slot.tag);
        while !self.slots[place].is_free() {
            place = self.after(place);
        }
        self.slots[place] = slot;
    }

    /// Takes an entry out and closes the gap, so that the table needs no tombstones.
    fn remove(&mut self, place: usize) -> u32 {
        let old = self.slots[place];
        let (mut hole, mut next) = (place, place);
        loop {
            next = self.after(next);
            let slot = self.slots[next];
            if slot.is_free() {
                break;
            }
            // It may move up if it stays behind the place its tag asks for.
            if self.distance(self.home(slot.tag), next) >= self.distance(hole, next) {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = Slot::FREE;
        self.used -= 1;
        if old.is_long() {
            self.garbage += old.len();
            if self.garbage * 2 > self.long.len() {
                self.compact();
            }
        }
        old.group
    }

    /// Forgets removed long names.
    fn compact(&mut self) {
        let mut long = Vec::with_capacity(self.long.len() - self.garbage);
        for slot in self.slots.iter_mut().filter(|slot| slot.is_long()) {
            let begin = slot.begin();
            slot.set_begin(long.len());
            long.extend(&self.long[begin..begin + slot.len()]);
        }
        self.long = long;
        self.garbage = 0;
    }

    fn longest_run(&self) -> usize {
        let (mut longest, mut run) = (0, 0);
        // Twice around, for the run over the end.
        for slot in self.slots.iter().chain(&self.slots) {
            run = if slot.is_free() { 0 } else { run + 1 };
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
