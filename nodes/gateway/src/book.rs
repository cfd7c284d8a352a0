//! The book: addresses and host names of names, and the names behind each port. It is a snapshot; the builder leads
//! from one snapshot to the next.

use core::net::Ipv6Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use damc_wire::{Name, address};

/// Number of shards of a map. A change copies one of them.
const SHARDS: usize = 256;

/// The names behind a port. There are few: a port leads to one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PortNames {
    /// By address: the instance that speaks from it. For a pool's address that is the pod's first member.
    speakers: BTreeMap<Ipv6Addr, Name>,
    /// Addresses of the pod's own names only, because pools are shared.
    instances: BTreeSet<Ipv6Addr>,
}

/// All names that the SG knows. A snapshot never changes; its copies share what did not change.
#[derive(Clone, Debug)]
pub struct Book {
    domain: Arc<str>,
    prefix: [u8; 6],
    /// By the bytes of an address after the prefix. Names with the same address are sorted; the first one owns it.
    addresses: Vec<Arc<BTreeMap<[u8; 10], Vec<Name>>>>,
    /// By host name.
    hosts: Vec<Arc<BTreeMap<String, Vec<Name>>>>,
    ports: BTreeMap<u16, Arc<PortNames>>,
    /// Addresses of names that nobody can be reached by any more and that may come back, and since when, ns.
    lost: Arc<BTreeMap<[u8; 10], u64>>,
    names: usize,
    collisions: usize,
}

/// Meaning of a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// No known name.
    Unknown,
    /// A name.
    Known(&'a Name),
    /// Several names that differ only in case.
    Ambiguous,
}

impl Book {
    fn new(domain: &str) -> Self {
        Self {
            domain: Arc::from(domain),
            prefix: address::prefix_of(domain),
            addresses: vec![Arc::default(); SHARDS],
            hosts: vec![Arc::default(); SHARDS],
            ports: BTreeMap::new(),
            lost: Arc::default(),
            names: 0,
            collisions: 0,
        }
    }

    /// The trust domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether an address belongs to this domain.
    #[must_use]
    pub fn covers(&self, address: &Ipv6Addr) -> bool {
        address.octets().starts_with(&self.prefix)
    }

    /// The known name of an address.
    #[must_use]
    pub fn name_at(&self, address: &Ipv6Addr) -> Option<&Name> {
        let key = self.key_of(address)?;
        self.addresses[shard_of(&key)].get(&key)?.first()
    }

    /// Since when, ns, a name with this address has been unreachable without having been withdrawn.
    #[must_use]
    pub fn lost_since(&self, address: &Ipv6Addr) -> Option<u64> {
        self.lost.get(&self.key_of(address)?).copied()
    }

    /// The name in which a pod behind `port` speaks from this address, if it may.
    #[must_use]
    pub fn speaker(&self, port: u16, address: &Ipv6Addr) -> Option<&Name> {
        self.ports.get(&port)?.speakers.get(address)
    }

    /// Whether the pod behind another port speaks from this address.
    #[must_use]
    pub fn is_spoken_elsewhere(&self, port: u16, address: &Ipv6Addr) -> bool {
        self.ports.iter().any(|(other, names)| *other != port && names.instances.contains(address))
    }

    /// The port whose pod speaks from this address in its own name.
    #[must_use]
    pub fn port_of(&self, address: &Ipv6Addr) -> Option<u16> {
        self.ports.iter().find(|(_, names)| names.instances.contains(address)).map(|(port, _)| *port)
    }

    /// The address of a name, if the name is known and owns the address.
    #[must_use]
    pub fn address_of(&self, name: &Name) -> Option<Ipv6Addr> {
        let address = address::below(self.prefix, name)?;
        (self.name_at(&address) == Some(name)).then_some(address)
    }

    /// The meaning of a host name (lower case, without a dot at the end).
    #[must_use]
    pub fn host(&self, host: &str) -> Host<'_> {
        match self.hosts[shard_of(host.as_bytes())].get(host).map(Vec::as_slice) {
            None | Some([]) => Host::Unknown,
            Some([name]) => Host::Known(name),
            Some(_) => Host::Ambiguous,
        }
    }

    /// All names with an address.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.addresses.iter().flat_map(|shard| shard.values().flatten())
    }

    /// Number of names with an address, and of those among them whose address another name owns.
    #[must_use]
    pub const fn counts(&self) -> (usize, usize) {
        (self.names, self.collisions)
    }

    fn key_of(&self, address: &Ipv6Addr) -> Option<[u8; 10]> {
        address.octets().strip_prefix(&self.prefix)?.first_chunk().copied()
    }
}

/// Makes books.
#[derive(Debug)]
pub struct BookBuilder {
    current: Book,
}

impl BookBuilder {
    /// A book without names.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self { current: Book::new(domain) }
    }

    /// The present state as a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Book {
        self.current.clone()
    }

    /// Adds a name; false if it was known already.
    pub fn add(&mut self, name: &Name) -> bool {
        let book = &mut self.current;
        let Some(key) = address::below(book.prefix, name).and_then(|a| book.key_of(&a)) else { return false };
        if book.addresses[shard_of(&key)].get(&key).is_some_and(|names| names.contains(name)) {
            return false;
        }
        if book.lost.contains_key(&key) {
            Arc::make_mut(&mut book.lost).remove(&key);
        }
        let names = Arc::make_mut(&mut book.addresses[shard_of(&key)]).entry(key).or_default();
        insert(names, name);
        book.collisions += usize::from(names.len() > 1);
        book.names += 1;
        if let Some(host) = address::host_name(&book.domain, name) {
            insert(Arc::make_mut(&mut book.hosts[shard_of(host.as_bytes())]).entry(host).or_default(), name);
        }
        true
    }

    /// Whether a name is lost ([`Self::lose`]).
    #[must_use]
    pub fn is_lost(&self, name: &Name) -> bool {
        address::below(self.current.prefix, name).is_some_and(|address| self.current.lost_since(&address).is_some())
    }

    /// Removes a name that may come back; false if it was not known. `now_ns` is the time of a monotonic clock, ns.
    pub fn lose(&mut self, now_ns: u64, name: &Name) -> bool {
        let known = self.remove(name);
        let book = &mut self.current;
        if let Some(key) = address::below(book.prefix, name).and_then(|a| book.key_of(&a)).filter(|_| known) {
            Arc::make_mut(&mut book.lost).insert(key, now_ns);
        }
        known
    }

    /// Removes a name, for good; false if it was neither known nor lost.
    pub fn remove(&mut self, name: &Name) -> bool {
        let book = &mut self.current;
        let Some(key) = address::below(book.prefix, name).and_then(|a| book.key_of(&a)) else { return false };
        let lost = book.lost.contains_key(&key) && Arc::make_mut(&mut book.lost).remove(&key).is_some();
        if !book.addresses[shard_of(&key)].get(&key).is_some_and(|names| names.contains(name)) {
            return lost;
        }
        let shard = Arc::make_mut(&mut book.addresses[shard_of(&key)]);
        let left = take(shard, &key, name);
        book.collisions -= usize::from(left > 0);
        book.names -= 1;
        if let Some(host) = address::host_name(&book.domain, name) {
            take(Arc::make_mut(&mut book.hosts[shard_of(host.as_bytes())]), &host, name);
        }
        true
    }

    /// Sets what lies behind a port: the names in which its pod may speak, and their pools, each as (pool, instance).
    pub fn set_port(&mut self, port: u16, instances: &[Name], pools: &[(Name, Name)]) {
        let prefix = self.current.prefix;
        let mut speakers = BTreeMap::new();
        let mut sorted: Vec<_> = pools.iter().collect();
        sorted.sort_by(|a, b| a.1.wire().cmp(b.1.wire()));
        // An instance's own address takes precedence over an equal address of a pool.
        for (pool, instance) in sorted.into_iter().rev() {
            speakers.extend(address::below(prefix, pool).map(|a| (a, instance.clone())));
        }
        let own = || instances.iter().filter_map(|name| Some((address::below(prefix, name)?, name.clone())));
        speakers.extend(own());
        let instances = own().map(|(address, _)| address).collect();
        self.current.ports.insert(port, Arc::new(PortNames { speakers, instances }));
    }
}

fn insert(names: &mut Vec<Name>, name: &Name) {
    let at = names.partition_point(|other| other.wire() < name.wire());
    names.insert(at, name.clone());
}

/// Removes a name from a shard; returns how many others remain at the same key.
fn take<K: Ord>(shard: &mut BTreeMap<K, Vec<Name>>, key: &K, name: &Name) -> usize {
    let Some(names) = shard.get_mut(key) else { return 0 };
    names.retain(|other| other != name);
    let left = names.len();
    if left == 0 {
        shard.remove(key);
    }
    left
}

/// The shard of a key. Addresses are hashes already; FNV-1a mixes host names.
fn shard_of(key: &[u8]) -> usize {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn names_come_and_go() {
        let mut builder = BookBuilder::new("example");
        assert!(builder.add(&name("/B/4")) && !builder.add(&name("/B/4")));
        let book = builder.snapshot();
        let address = book.address_of(&name("/B/4")).unwrap();
        assert_eq!(book.name_at(&address), Some(&name("/B/4")));
        assert_eq!(book.host("4.b.example.damc"), Host::Known(&name("/B/4")));
        assert_eq!(book.address_of(&name("/B")), None);
        assert!(builder.remove(&name("/B/4")) && !builder.remove(&name("/B/4")));
        assert_eq!(builder.snapshot().name_at(&address), None);
        assert_eq!(builder.snapshot().host("4.b.example.damc"), Host::Unknown);
        // The older snapshot has not changed.
        assert_eq!(book.name_at(&address), Some(&name("/B/4")));
    }

    #[test]
    fn a_lost_name_is_unknown_and_remembered_until_it_is_back_or_withdrawn() {
        let mut builder = BookBuilder::new("example");
        let address = address::of_name("example", &name("/B/4")).unwrap();
        assert!(!builder.lose(5, &name("/B/4")), "never known");
        assert_eq!(builder.snapshot().lost_since(&address), None);
        builder.add(&name("/B/4"));
        assert!(builder.lose(7, &name("/B/4")) && builder.is_lost(&name("/B/4")));
        let lost = builder.snapshot();
        assert_eq!((lost.name_at(&address), lost.lost_since(&address)), (None, Some(7)));
        assert!(builder.add(&name("/B/4")));
        assert_eq!(builder.snapshot().lost_since(&address), None);
        builder.lose(9, &name("/B/4"));
        assert!(builder.remove(&name("/B/4")), "withdrawn after it was lost");
        assert!(!builder.remove(&name("/B/4")));
        assert_eq!(builder.snapshot().lost_since(&address), None);
    }

    #[test]
    fn names_that_differ_in_case_share_a_host_name_and_nothing_else() {
        let mut builder = BookBuilder::new("example");
        builder.add(&name("/B/4"));
        builder.add(&name("/b/4"));
        let book = builder.snapshot();
        assert_eq!(book.host("4.b.example.damc"), Host::Ambiguous);
        assert_ne!(book.address_of(&name("/B/4")), book.address_of(&name("/b/4")));
        builder.remove(&name("/B/4"));
        assert_eq!(builder.snapshot().host("4.b.example.damc"), Host::Known(&name("/b/4")));
        assert_eq!(builder.snapshot().counts(), (1, 0));
    }

    #[test]
    fn a_port_speaks_in_its_names_and_in_the_first_member_of_a_pool() {
        let mut builder = BookBuilder::new("example");
        let pools = [(name("/B"), name("/B/9")), (name("/B"), name("/B/4"))];
        builder.set_port(3, &[name("/B/4"), name("/B/9")], &pools);
        let book = builder.snapshot();
        let at = |text: &str| address::of_name("example", &name(text)).unwrap();
        assert_eq!(book.speaker(3, &at("/B/9")), Some(&name("/B/9")));
        assert_eq!(book.speaker(3, &at("/B")), Some(&name("/B/4")));
        assert_eq!(book.speaker(2, &at("/B/9")), None);
        assert_eq!(book.speaker(3, &at("/B/1")), None);
        builder.set_port(3, &[], &[]);
        assert_eq!(builder.snapshot().speaker(3, &at("/B/9")), None);
    }
}
