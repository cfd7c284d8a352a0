//! Next-hop groups: everything a route says beside its prefix, kept once for all routes that say the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::route::{NextHop, Stamp};

/// What is done with frames for a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) exact: bool,
    pub(crate) local: bool,
    pub(crate) deliver: bool,
    pub(crate) next_hops: Box<[NextHop]>,
    /// Used while no next hop's port is usable.
    pub(crate) backups: Box<[NextHop]>,
    /// As frames carry it: 0 where it is not known or more than they can say.
    pub(crate) cost: u16,
    pub(crate) stamp: Option<Stamp>,
}

/// The groups in use by number, and how many prefixes use each.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Shared with snapshots: a change copies the list of pointers and no group.
    pub(crate) current: Arc<Vec<Arc<Group>>>,
    numbers: BTreeMap<Arc<Group>, u32>,
    uses: Vec<usize>,
    free: Vec<u32>,
}

impl Groups {
    /// The number of a group, for one more prefix.
    pub(crate) fn take(&mut self, group: Group) -> u32 {
        if let Some(number) = self.numbers.get(&group) {
            self.uses[*number as usize] += 1;
            return *number;
        }
        let group = Arc::new(group);
        let current = Arc::make_mut(&mut self.current);
        let number = match self.free.pop() {
            Some(number) => {
                current[number as usize] = Arc::clone(&group);
                number
            }
            None => {
                current.push(Arc::clone(&group));
                self.uses.push(0);
                u32::try_from(current.len() - 1).expect("invariant: there are no more groups than prefixes")
            }
        };
        self.uses[number as usize] = 1;
        self.numbers.insert(group, number);
        number
    }

    /// One prefix less uses it.
    pub(crate) fn release(&mut self, number: u32) {
        let uses = &mut self.uses[number as usize];
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(&self.current[number as usize]);
            self.free.push(number);
        }
    }
}
