//! Keyed hashes of all prefixes of a name in one pass.

use core::hash::Hasher as _;

use damc_wire::name::MAX_COMPONENTS;
use siphasher::sip::SipHasher13;

/// Key of the hash, drawn at random by each node: who does not know it can neither fill one bucket of the table with
/// names nor make all nodes choose the same of several equal paths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub u64, pub u64);

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl HashKey {
    /// Hash of a whole name in wire form.
    pub(crate) fn name(self, wire: &[u8]) -> u64 {
        let mut hasher = self.hasher();
        hasher.write(wire);
        hasher.finish()
    }

    /// Hash that spreads flows over equal paths. All frames of one flow of one source get the same.
    pub(crate) fn flow(self, flow: u32, source: &[u8]) -> u64 {
        let mut hasher = self.hasher();
        hasher.write(&flow.to_be_bytes());
        hasher.write(source);
        hasher.finish()
    }

    fn hasher(self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// Set of name depths, 1 to 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depths(u64);

impl Depths {
    pub(crate) const fn insert(&mut self, depth: usize) {
        self.0 |= 1 << depth;
    }

    pub(crate) const fn remove(&mut self, depth: usize) {
        self.0 &= !(1 << depth);
    }

    const fn contains(self, depth: usize) -> bool {
        self.0 & (1 << depth) != 0
    }
}

/// One prefix of a name: its hash and where it ends in the wire form.
#[derive(Clone, Copy, Default)]
pub(crate) struct Probe {
    pub(crate) hash: u64,
    pub(crate) end: usize,
}

/// The prefixes of a name that are worth looking up.
pub(crate) struct Probes {
    probes: [Probe; MAX_COMPONENTS],
    count: usize,
}

impl Probes {
    /// Hashes `wire`, a checked name, once; keeps the prefixes of the wanted depths, and the whole name where its depth is
    /// among the exact ones.
    pub(crate) fn new(key: HashKey, wire: &[u8], (wanted, exact): (Depths, Depths)) -> Self {
        let mut this = Self { probes: [Probe::default(); MAX_COMPONENTS], count: 0 };
        let mut hasher = key.hasher();
        let (mut hashed, mut end, mut depth) = (0, 0, 0);
        while end < wire.len() && this.count < MAX_COMPONENTS {
            end = (end + 1 + usize::from(wire[end])).min(wire.len());
            depth += 1;
            if wanted.contains(depth) || (end == wire.len() && exact.contains(depth)) {
                hasher.write(&wire[hashed..end]);
                hashed = end;
                this.probes[this.count] = Probe { hash: hasher.finish(), end };
                this.count += 1;
            }
        }
        this
    }

    /// Longest first.
    pub(crate) fn longest_first(&self) -> impl Iterator<Item = Probe> + '_ {
        self.probes[..self.count].iter().rev().copied()
    }
}
