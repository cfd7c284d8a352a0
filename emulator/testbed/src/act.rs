//! What was done to a world, for whoever asks why something is as it is.

use std::collections::VecDeque;

use damc_topology::NodeAction;
use serde::{Deserialize, Serialize};

use crate::LinkChange;

/// Acts that a world remembers; older ones leave.
const REMEMBERED: usize = 1024;

/// Something an operator, a suite or a timeline did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// When it began, on the world's clock, ns.
    pub at_ns: u64,
    /// What it was.
    #[serde(flatten)]
    pub deed: Deed,
}

/// What can be done to a world. Orders to nodes are events of the nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Deed {
    /// A link was changed; forward is what `a` sends.
    Link {
        /// One end.
        a: String,
        /// The other end.
        b: String,
        /// How.
        change: Box<LinkChange>,
    },
    /// A node was killed, stopped, started, paused or resumed.
    Node {
        /// The node.
        node: String,
        /// Which of it.
        action: NodeAction,
    },
    /// Frames were sent out of a port as if the node had sent them.
    Injected {
        /// The node.
        node: String,
        /// Port: the neighbour's name.
        port: String,
        /// How many. Of several acts in a row at one port the first has them all.
        frames: usize,
    },
}

/// The newest acts.
#[derive(Clone, Debug, Default)]
pub struct Acts {
    kept: VecDeque<Act>,
}

impl Acts {
    /// Adds an act.
    pub fn push(&mut self, at_ns: u64, deed: Deed) {
        if let Deed::Injected { node, port, frames } = &deed
            && let Some(Act { deed: Deed::Injected { node: n, port: p, frames: so_far }, .. }) = self.kept.back_mut()
            && (&*n, &*p) == (node, port)
        {
            *so_far += frames;
            return;
        }
        if self.kept.len() == REMEMBERED {
            self.kept.pop_front();
        }
        self.kept.push_back(Act { at_ns, deed });
    }

    /// All that are remembered, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Act> {
        self.kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected(port: &str) -> Deed {
        Deed::Injected { node: "sr-1".into(), port: port.into(), frames: 2 }
    }

    #[test]
    fn a_flood_of_frames_is_one_act_and_old_acts_leave() {
        let mut acts = Acts::default();
        (0..5000).for_each(|at| acts.push(at, injected("sr-2")));
        assert_eq!(acts.all().len(), 1);
        assert!(matches!(acts.all()[0].deed, Deed::Injected { frames: 10_000, .. }));
        (0..2000).for_each(|at| acts.push(at, injected(if at % 2 == 0 { "a" } else { "b" })));
        assert_eq!((acts.all().len(), acts.all()[0].at_ns), (REMEMBERED, 2000 - REMEMBERED as u64));
    }

    #[test]
    fn acts_are_read_as_they_are_written() {
        let link = Deed::Link { a: "sg-1".into(), b: "sr-1".into(), change: Box::new(LinkChange::Down) };
        let node = Deed::Node { node: "sg-1".into(), action: NodeAction::Kill };
        for deed in [link, node, injected("sr-2")] {
            let act = Act { at_ns: 7, deed };
            let json = serde_json::to_string(&act).unwrap();
            assert_eq!(serde_json::from_str::<Act>(&json).unwrap(), act, "{json}");
        }
    }
}
