//! The forwarding table as a snapshot.

use std::sync::Arc;

use damc_wire::Name;

use crate::admission::Gate;
use crate::group::Group;
use crate::hash::{Depths, HashKey, Probes};
use crate::route::{LabelRoute, LinkKeys, PortId};
use crate::table::Table;

/// Prefixes from which on a table is larger than caches are.
const LARGE: usize = 1 << 14;
/// Prefixes that are warmed at once: the two longest of each name.
const WARMED: usize = 128;

/// A snapshot of the forwarding table.
#[derive(Clone, Debug)]
pub struct Fib {
    pub(crate) version: u64,
    pub(crate) key: HashKey,
    pub(crate) table: Table,
    /// By the numbers in the table.
    pub(crate) groups: Arc<Vec<Arc<Group>>>,
    /// Depths that prefixes of longer names have; only those are worth a probe.
    pub(crate) depths: Depths,
    /// Depths that exact prefixes have: worth a probe for names of that depth.
    pub(crate) exact_depths: Depths,
    /// Sorted by label.
    pub(crate) labels: Arc<Vec<LabelRoute>>,
    /// By port number.
    pub(crate) ports: Vec<Port>,
}

/// State of a port.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) usable: bool,
    pub(crate) gate: Arc<Gate>,
    pub(crate) keys: Option<Arc<LinkKeys>>,
}

impl Default for Port {
    fn default() -> Self {
        Self { usable: true, gate: Arc::default(), keys: None }
    }
}

impl Fib {
    pub(crate) fn new(key: HashKey) -> Self {
        Self {
            version: 0,
            key,
            table: Table::new(),
            groups: Arc::default(),
            depths: Depths::default(),
            exact_depths: Depths::default(),
            labels: Arc::default(),
            ports: Vec::new(),
        }
    }

    /// Rises by one with every snapshot of a builder.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Number of prefixes.
    #[must_use]
    pub const fn prefixes(&self) -> usize {
        self.table.len()
    }

    /// The prefix of the route that serves `destination`, if any. For tests and tools; [`crate::forward`] does it all.
    #[must_use]
    pub fn longest_match(&self, destination: &Name) -> Option<Name> {
        let (end, _) = self.find(destination.wire())?;
        Name::from_wire(&destination.wire()[..end]).ok()
    }

    /// Whether some route serves `destination`: what a look-up costs, without a copy of anything.
    #[must_use]
    pub fn serves(&self, destination: &Name) -> bool {
        self.find(destination.wire()).is_some()
    }

    /// Most slots that one probe of the table has to read, over all names. A look-up probes once for each depth that
    /// prefixes have, 32 times at most.
    #[must_use]
    pub fn longest_probe(&self) -> usize {
        self.table.longest_run()
    }

    /// Reads what look-ups of these destinations will read, side by side: a batch then waits for memory once and
    /// not for each of its names in turn. Of use, and done, only where the table is larger than caches are.
    pub fn warm<'a>(&self, destinations: impl IntoIterator<Item = &'a [u8]>) {
        if self.table.len() < LARGE {
            return;
        }
        let probes = destinations.into_iter().flat_map(|name| {
            let probes = Probes::new(self.key, name, (self.depths, self.exact_depths));
            let mut longest = probes.longest_first();
            [longest.next(), longest.next()].into_iter().flatten()
        });
        // All hashes before all reads: nothing between two reads keeps the second one waiting.
        let mut hashes = [0; WARMED];
        let count = hashes.iter_mut().zip(probes).map(|(hash, probe)| *hash = probe.hash).count();
        let read = hashes[..count].iter().fold(0_u8, |all, hash| all ^ self.table.touch(*hash));
        // The reading is the purpose.
        std::hint::black_box(read);
    }

    pub(crate) const fn depths(&mut self, exact: bool) -> &mut Depths {
        if exact { &mut self.exact_depths } else { &mut self.depths }
    }

    /// Longest-prefix match of a destination in wire form, checked.
    pub(crate) fn lookup(&self, destination: &[u8]) -> Option<&Group> {
        self.find(destination).map(|(_, group)| group)
    }

    /// Where the longest matching prefix ends, and its group.
    fn find(&self, destination: &[u8]) -> Option<(usize, &Group)> {
        Probes::new(self.key, destination, (self.depths, self.exact_depths)).longest_first().find_map(|probe| {
            let group: &Group = self.groups.get(self.table.find(probe, destination)? as usize)?;
            (!group.exact || probe.end == destination.len()).then_some((probe.end, group))
        })
    }

    /// Writes the link MAC into a routed PDU that leaves by a port: the last thing that is done to it.
    pub fn seal(&self, port: PortId, pdu: &mut [u8]) {
        if let Some(keys) = self.ports.get(usize::from(port.0)).and_then(|p| p.keys.as_ref()) {
            keys.outbound.seal(pdu);
        }
    }

    /// Whether frames can leave by this port.
    pub(crate) fn is_usable(&self, port: PortId) -> bool {
        self.ports.get(usize::from(port.0)).is_none_or(|p| p.usable)
    }

    /// Port of a label that is good for this destination.
    pub(crate) fn label_port(&self, label: u32, destination: &[u8]) -> Option<PortId> {
        let at = self.labels.binary_search_by_key(&label, |l| l.label).ok()?;
        let route = &self.labels[at];
        let prefix = route.prefix.wire();
        let covered = if route.exact { destination == prefix } else { destination.starts_with(prefix) };
        covered.then_some(route.port)
    }
}
