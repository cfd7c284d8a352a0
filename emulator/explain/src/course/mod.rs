//! The course of a run: how long each change took to reach the tables, where the tables together led astray meanwhile, and
//! what state links, nodes and paths were in at any time.
//!
//! Everything comes from what nodes remember ([`Evidence`]) and from what crossed links ([`Crossing`]). Times of a [`Course`]
//! are nanoseconds since the lab was ready.

mod deeds;
mod marks;
mod phases;
mod replay;
mod root;
mod trouble;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use marks::{FibChanges, LinkMark, LinkState, Mark, NodeMark, NodeState, Route, RouteMark};
pub use phases::{Change, PrefixChange, Split};
pub use trouble::{Met, Trouble, TroubleKind};

use crate::evidence::Evidence;

/// A frame between names at one end of a link, as far as a course looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// World's clock, ns.
    pub at_ns: u64,
    /// The node.
    pub node: Arc<str>,
    /// Its port: the neighbour's name.
    pub port: Arc<str>,
    /// It leaves the node.
    pub sent: bool,
    /// Destination name.
    pub name: Arc<str>,
}

/// What happened in a run, on one axis of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// When the evidence was gathered, ns.
    pub ended_ns: u64,
    /// Since when the network had converged for the first time, ns; changes and troubles count from there.
    pub converged_ns: u64,
    /// Changes that reached tables, by time.
    pub changes: Vec<Change>,
    /// Loops and black holes, by time.
    pub troubles: Vec<Trouble>,
    /// Routers whose events do not say where entries lead: nothing is said about frames that they forward.
    pub untold: Vec<String>,
    /// What was done, ordered, announced, refused or lost, by time.
    pub marks: Vec<Mark>,
    /// States of links, by time.
    pub links: Vec<LinkMark>,
    /// States of nodes, by time.
    pub nodes: Vec<NodeMark>,
    /// Where services are to be found, by name.
    pub routes: Vec<Route>,
    /// When each router published tables.
    pub fibs: Vec<FibChanges>,
}

/// The course that the evidence tells. The network converged `converged_ns` after the lab was ready. Frames are looked at
/// for those that met a loop or a black hole.
#[must_use]
pub fn course(evidence: &Evidence, converged_ns: u64, crossings: &[Crossing]) -> Course {
    let deeds = deeds::deeds(evidence);
    let clock = Clock { began_ns: evidence.began_ns };
    let from_ns = evidence.began_ns.saturating_add(converged_ns);
    let changes = phases::changes(evidence, &deeds, from_ns, clock);
    let replayed = replay::replay(evidence, &deeds, from_ns);
    let troubles = trouble::told(&replayed, &changes, crossings, clock);
    Course {
        ended_ns: clock.of(evidence.at_ns),
        converged_ns,
        changes,
        troubles,
        untold: replayed.untold,
        marks: marks::marks(evidence, &deeds, clock),
        links: marks::links(evidence, &deeds, clock),
        nodes: marks::nodes(evidence, &deeds, clock),
        routes: marks::routes(replayed.routes, clock),
        fibs: marks::fibs(evidence, clock),
    }
}

/// From the world's clock to times since the lab was ready.
#[derive(Clone, Copy)]
struct Clock {
    began_ns: u64,
}

impl Clock {
    const fn of(self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.began_ns)
    }
}
