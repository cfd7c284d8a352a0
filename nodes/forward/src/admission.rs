//! Which routed frames a port may bring in.

use damc_wire::Name;

/// What the control plane says about a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Nothing comes in: there is no adjacency, or the neighbour has no business with routed frames.
    #[default]
    Nothing,
    /// Everything comes in: the neighbour forwards for others.
    All,
    /// Frames whose source is one of these names or below it: the neighbour is a pod.
    Sources(Vec<Name>),
}

/// [`Admission`], ready for the forwarding path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    #[default]
    Closed,
    Open,
    Pod(Sources),
}

/// Names of which none lies under another, sorted by wire form: then the only name that can cover a source is its
/// predecessor in that order, and one binary search decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(Vec<Name>);

impl Sources {
    fn new(mut names: Vec<Name>) -> Self {
        names.sort_by(|a, b| a.wire().cmp(b.wire()));
        // A name sorts directly or indirectly behind the shortest name that covers it.
        let mut kept: Vec<Name> = Vec::with_capacity(names.len());
        for name in names {
            if !kept.last().is_some_and(|cover| cover.is_prefix_of(&name)) {
                kept.push(name);
            }
        }
        Self(kept)
    }

    /// Whether `source` (wire form, checked) is one of the names or lies below one.
    pub(crate) fn cover(&self, source: &[u8]) -> bool {
        let behind = self.0.partition_point(|name| name.wire() <= source);
        // Component boundaries agree as long as the bytes do: lengths are part of the wire form.
        behind.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|name| source.starts_with(name.wire()))
    }
}

impl From<Admission> for Gate {
    fn from(rule: Admission) -> Self {
        match rule {
            Admission::Nothing => Self::Closed,
            Admission::All => Self::Open,
            Admission::Sources(names) => Self::Pod(Sources::new(names)),
        }
    }
}
