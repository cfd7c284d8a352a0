//! Timers by key, each key with one at most: what is due is found without a look at what is not.

use std::collections::{BTreeMap, BTreeSet};

use damc_wire::Timestamp;

/// Times at which something is to be done about keys.
#[derive(Clone, Debug)]
pub(super) struct Agenda<K> {
    times: BTreeMap<K, Timestamp>,
    due: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { times: BTreeMap::new(), due: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Agenda<K> {
    /// Sets the time of a key, or takes it off.
    pub(super) fn set(&mut self, key: &K, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.times.insert(key.clone(), at),
            None => self.times.remove(key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.due.insert((at, key.clone()));
        }
    }

    /// Takes off the first key whose time has come, with that time.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        let (at, key) = self.due.first().filter(|(at, _)| *at <= now)?.clone();
        self.set(&key, None);
        Some((at, key))
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The time of a key.
    pub(super) fn time_of(&self, key: &K) -> Option<Timestamp> {
        self.times.get(key).copied()
    }

    /// Keys whose time is `from` or later, latest first.
    pub(super) fn since(&self, from: Timestamp) -> impl Iterator<Item = &K> {
        self.due.iter().rev().take_while(move |(at, _)| *at >= from).map(|(_, key)| key)
    }

    /// All keys, in their own order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.times.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_one_time_and_comes_when_it_is_due() {
        let at = Timestamp::from_millis;
        let mut agenda = Agenda::default();
        for (key, ms) in [("a", 30), ("b", 10), ("c", 20), ("a", 5), ("b", 40)] {
            agenda.set(&key, Some(at(ms)));
        }
        assert_eq!((agenda.first(), agenda.pop_due(at(4))), (Some(at(5)), None));
        assert_eq!((agenda.pop_due(at(25)), agenda.pop_due(at(25))), (Some((at(5), "a")), Some((at(20), "c"))));
        assert_eq!(agenda.pop_due(at(25)), None);
        assert_eq!((agenda.time_of(&"b"), agenda.time_of(&"a")), (Some(at(40)), None));
        agenda.set(&"d", Some(at(50)));
        assert_eq!(agenda.since(at(41)).collect::<Vec<_>>(), [&"d"]);
        agenda.set(&"b", None);
        assert_eq!(agenda.first(), Some(at(50)));
    }
}
