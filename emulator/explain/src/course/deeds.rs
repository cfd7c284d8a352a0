//! What was done to links and nodes, as far as it takes the way from frames or gives it back.

use std::collections::BTreeMap;

use damc_testbed::{Deed as WorldDeed, Direction, LinkChange, NodeAction};

use crate::evidence::Evidence;

/// A deed that took a link or node away, or gave it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    /// World's clock, ns.
    pub(super) at_ns: u64,
    /// The ends of a link in the evidence's order; twice the same for a node.
    pub(super) ends: (String, String),
    pub(super) change: Change,
}

/// What a deed made of a link or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Frames pass, or the process runs, again.
    Back,
    /// The carrier is gone, or the process is.
    Gone,
    /// Frames are lost with the carrier up, or the process stands still.
    Silent,
}

impl Deed {
    pub(super) fn is_of_node(&self) -> bool {
        self.ends.0 == self.ends.1
    }

    /// Whether it can be why `near` gains or loses its adjacency with `far`.
    pub(super) fn touches(&self, near: &str, far: &str) -> bool {
        let (a, b) = (self.ends.0.as_str(), self.ends.1.as_str());
        if a == b { a == near || a == far } else { (a, b) == (near, far) || (b, a) == (near, far) }
    }

    pub(super) fn text(&self) -> String {
        let (a, b) = (&self.ends.0, &self.ends.1);
        match (self.is_of_node(), self.change) {
            (true, Change::Gone) => format!("{a} was ended"),
            (true, Change::Silent) => format!("{a} was paused"),
            (true, Change::Back) => format!("{a} was started or resumed"),
            (false, Change::Gone) => format!("the link {a} – {b} was cut"),
            (false, Change::Silent) => format!("the link {a} – {b} was silenced"),
            (false, Change::Back) => format!("the link {a} – {b} came back"),
        }
    }
}

/// A link as deeds leave it.
#[derive(Clone, Copy, Default)]
struct Link {
    down: bool,
    silent: [bool; 2],
}

impl Link {
    fn state(self) -> Change {
        match self {
            Self { down: true, .. } => Change::Gone,
            Self { silent: [false, false], .. } => Change::Back,
            _ => Change::Silent,
        }
    }

    /// `turned`: the change names the ends the other way round.
    fn change(&mut self, change: &LinkChange, turned: bool) {
        match change {
            LinkChange::Down => self.down = true,
            LinkChange::Up => self.down = false,
            LinkChange::Clear => *self = Self::default(),
            LinkChange::Set { direction, properties } => {
                let Some(silent) = properties.silent else { return };
                let ways = match (direction, turned) {
                    (Direction::Both, _) => [true, true],
                    (Direction::Forward, false) | (Direction::Backward, true) => [true, false],
                    (Direction::Backward, false) | (Direction::Forward, true) => [false, true],
                };
                for (is, way) in self.silent.iter_mut().zip(ways) {
                    *is = if way { silent } else { *is };
                }
            }
            LinkChange::SetEach { forward, backward } => {
                let (first, second) = if turned { (backward, forward) } else { (forward, backward) };
                self.silent[0] = first.silent.unwrap_or(self.silent[0]);
                self.silent[1] = second.silent.unwrap_or(self.silent[1]);
            }
        }
    }
}

/// The deeds of the evidence that changed something, oldest first.
pub(super) fn deeds(evidence: &Evidence) -> Vec<Deed> {
    let mut links: BTreeMap<(String, String), Link> = BTreeMap::new();
    let mut nodes: BTreeMap<&str, Change> = BTreeMap::new();
    let mut found = Vec::new();
    for act in &evidence.acts {
        match &act.deed {
            WorldDeed::Link { a, b, change } => {
                let turned = evidence.links.iter().any(|link| link.a == *b && link.b == *a);
                let ends = if turned { (b.clone(), a.clone()) } else { (a.clone(), b.clone()) };
                let link = links.entry(ends.clone()).or_default();
                let before = link.state();
                link.change(change, turned);
                if link.state() != before {
                    found.push(Deed { at_ns: act.at_ns, ends, change: link.state() });
                }
            }
            WorldDeed::Node { node, action } => {
                let after = match action {
                    NodeAction::Kill | NodeAction::Stop => Change::Gone,
                    NodeAction::Pause => Change::Silent,
                    NodeAction::Start | NodeAction::Resume => Change::Back,
                };
                if nodes.insert(node, after).unwrap_or(Change::Back) != after {
                    found.push(Deed { at_ns: act.at_ns, ends: (node.clone(), node.clone()), change: after });
                }
            }
            WorldDeed::Injected { .. } => {}
        }
    }
    found
}
