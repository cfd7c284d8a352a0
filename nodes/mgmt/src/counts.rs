//! Counters by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::label::Label;

/// Counters of one kind, in JSON an object of label and count, sorted by label. A count that is not there is zero.
///
/// Counters of another implementation that have no value of `K` are kept and shown, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts<K> {
    by_label: BTreeMap<Cow<'static, str>, u64>,
    #[serde(skip)]
    kind: PhantomData<K>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { by_label: BTreeMap::new(), kind: PhantomData }
    }
}

impl<K> Counts<K> {
    /// Whether no counter is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_label.is_empty()
    }

    /// Labels and counts, sorted by label.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_label.iter().map(|(label, count)| (label.as_ref(), *count))
    }

    /// Adds the counters of another one to these.
    pub fn merge(&mut self, other: &Self) {
        for (label, count) in &other.by_label {
            *self.by_label.entry(label.clone()).or_default() += count;
        }
    }
}

impl<K: Label> Counts<K> {
    /// A count.
    #[must_use]
    pub fn get(&self, counter: K) -> u64 {
        self.by_label.get(counter.label()).copied().unwrap_or(0)
    }

    /// Adds to a counter, which is there from now on.
    pub fn add(&mut self, counter: K, count: u64) {
        *self.by_label.entry(Cow::Borrowed(counter.label())).or_default() += count;
    }

    /// Counts one more.
    pub fn count(&mut self, counter: K) {
        self.add(counter, 1);
    }
}

impl<K: Label> FromIterator<(K, u64)> for Counts<K> {
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(counts: I) -> Self {
        let mut all = Self::default();
        for (counter, count) in counts {
            all.add(counter, count);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::ProtocolCounter;

    #[test]
    fn counters_of_others_are_kept_and_known_ones_are_found() {
        let json = r#"{"lsas":3,"their_own":7}"#;
        let mut counts: Counts<ProtocolCounter> = serde_json::from_str(json).unwrap();
        assert_eq!((counts.get(ProtocolCounter::Lsas), counts.get(ProtocolCounter::SpfRuns)), (3, 0));
        assert_eq!(serde_json::to_string(&counts).unwrap(), json);
        counts.merge(&Counts::from_iter([(ProtocolCounter::Lsas, 2), (ProtocolCounter::AdjacencyFlaps, 0)]));
        assert_eq!(counts.iter().collect::<Vec<_>>(), [("adjacency_flaps", 0), ("lsas", 5), ("their_own", 7)]);
    }
}
