//! One network with one schedule of events.

use std::path::Path;

use damc_topology::{Topology, parse, written};

use crate::event::Event;

/// How long a network may take until it is quiet and everything holds, s. An announcement that is lost comes again, a silent
/// neighbour is noticed, a name out of reach is given up, a policy ends: all of that is over by then.
const QUIET_WITHIN_S: u64 = 20;

/// A network, what happens to it, and the seed of all chance in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The network.
    pub topology: Topology,
    /// What happens.
    pub events: Vec<Event>,
    /// Seed of the run.
    pub seed: u64,
}

impl Trial {
    /// The text of a topology file that does this. `notes` become comments in front.
    #[must_use]
    pub fn text(&self, notes: &[String]) -> String {
        let mut text = written(&self.topology, notes);
        text.push_str("\nevents:\n");
        for event in &self.events {
            text.push_str(&format!("  - {event}\n"));
        }
        let end = self.events.iter().map(Event::ends_ms).max().unwrap_or(0);
        text.push_str(&format!("  - {{ at: {end}ms, expect: {{ invariants: true }}, within: {QUIET_WITHIN_S}s }}\n"));
        text
    }

    /// The topology with these events, as it is run; none where that is no network any more.
    #[must_use]
    pub fn runnable(&self) -> Option<Topology> {
        parse("explored", &self.text(&[]), Path::new("")).ok()
    }
}
