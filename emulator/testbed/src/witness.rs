//! What a world that sees all its states at once can witness of them.

use std::collections::BTreeSet;

/// In the argument of a call that must be executed once at most. It is followed by what tells the call from all others.
pub const ONCE: &str = "once-";

/// Something that must never be, in any state that a network passes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// When, on the world's clock, ns.
    pub at_ns: u64,
    /// Which rule it breaks, in a word or two.
    pub rule: &'static str,
    /// What was seen.
    pub saw: String,
}

/// What was witnessed since the world was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// What must never be and was, oldest first. The first of each rule at a node is kept.
    pub breaches: Vec<Breach>,
    /// The states that all forwarding tables together were in, each as a number that tells it from others.
    pub states: BTreeSet<u64>,
    /// Tables that were looked at, each after a change.
    pub looks: u64,
}
