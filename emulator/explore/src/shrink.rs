//! Making a trial that fails smaller: everything is taken away that it fails without.
//!
//! Events go by delta debugging (Zeller and Hildebrandt, 2002), then nodes, links, services and measurement, then times and
//! links become round ones. That is repeated until nothing more can go.

use damc_impair::DirectionSpec;
use damc_topology::{Topology, parse};
use damc_wire::NodeId;

use crate::event::Event;
use crate::trial::Trial;

/// What became of a smaller trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It fails in the same way.
    Same,
    /// It does not fail, or in another way.
    Other,
    /// There is no more time to try anything.
    Enough,
}

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest trial that fails in the same way.
    pub trial: Trial,
    /// Trials that were tried.
    pub tried: u32,
    /// Nothing more can go; false where the time was over first.
    pub complete: bool,
}

/// Steps that times are rounded down to, ms: the roundest that does is taken.
const ROUND_MS: [u64; 4] = [5000, 1000, 100, 10];
/// A link as it is where nothing is said: 0.1 ms.
const PLAIN_DELAY_NS: u64 = 100_000;

/// Makes a failing trial smaller. `judge` runs a trial that it has not seen yet and compares.
pub fn shrink(trial: Trial, judge: &mut dyn FnMut(&Trial) -> Answer) -> Shrunk {
    let mut shrinking = Shrinking { best: trial, judge, tried: 0, over: false };
    loop {
        let before = shrinking.best.clone();
        shrinking.events();
        shrinking.nodes();
        shrinking.links();
        shrinking.rest();
        shrinking.times();
        if shrinking.over || shrinking.best == before {
            return Shrunk { complete: !shrinking.over, trial: shrinking.best, tried: shrinking.tried };
        }
    }
}

struct Shrinking<'a> {
    best: Trial,
    judge: &'a mut dyn FnMut(&Trial) -> Answer,
    tried: u32,
    over: bool,
}

impl Shrinking<'_> {
    /// Takes a candidate for the best so far, if it fails in the same way.
    fn take(&mut self, candidate: Trial) -> bool {
        if self.over || candidate == self.best || candidate.runnable().is_none() {
            return false;
        }
        self.tried += 1;
        match (self.judge)(&candidate) {
            Answer::Same => self.best = candidate,
            Answer::Other => return false,
            Answer::Enough => self.over = true,
        }
        !self.over
    }

    fn with(&self, events: Vec<Event>) -> Trial {
        Trial { events, ..self.best.clone() }
    }

    /// Fewer events: first large parts of them go, then smaller ones.
    fn events(&mut self) {
        let none = self.with(Vec::new());
        self.take(none);
        let mut size = self.best.events.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.best.events.len() {
                let end = (at + size).min(self.best.events.len());
                let rest = [&self.best.events[..at], &self.best.events[end..]].concat();
                let candidate = self.with(rest);
                if !self.take(candidate) {
                    at = end;
                }
            }
            size /= 2;
        }
    }

    /// A topology in place of the present one, without the events that it has no nodes for. Its text is read again, because
    /// a topology that is written must be read as the same.
    fn topology(&mut self, topology: &Topology, dropped: impl Fn(&Event) -> bool) -> bool {
        let events = self.best.events.iter().filter(|event| !dropped(event)).cloned().collect();
        let candidate = Trial { topology: topology.clone(), events, seed: self.best.seed };
        let text = damc_topology::written(&candidate.topology, &[]);
        let Ok(topology) = parse("explored", &text, std::path::Path::new("")) else { return false };
        self.take(Trial { topology, ..candidate })
    }

    fn nodes(&mut self) {
        let nodes: Vec<NodeId> = self.best.topology.nodes().keys().cloned().collect();
        for node in nodes.iter().filter(|node| !node.as_str().is_empty()) {
            if !self.best.topology.nodes().contains_key(node) {
                continue;
            }
            let less = self.best.topology.without_node(node);
            self.topology(&less, |event| nodes.iter().any(|n| !less.nodes().contains_key(n) && event.names(n)));
        }
    }

    fn links(&mut self) {
        let links: Vec<_> = self.best.topology.links().iter().map(|link| (link.a.clone(), link.b.clone())).collect();
        for (a, b) in links {
            let less = self.best.topology.without_link(&a, &b);
            self.topology(&less, |event| event.is_of_link(&a, &b));
        }
    }

    fn rest(&mut self) {
        let less = self.best.topology.without_qos();
        self.topology(&less, |_| false);
        let plain = DirectionSpec { delay_ns: PLAIN_DELAY_NS, ..DirectionSpec::default() };
        let plain = self.best.topology.with_links_that(plain);
        self.topology(&plain, |_| false);
        let pods = self.best.topology.nodes().values();
        let services: Vec<_> =
            pods.flat_map(|pod| pod.services.iter().map(|s| (pod.id.clone(), s.prefix.clone()))).collect();
        for (pod, prefix) in services {
            let less = self.best.topology.without_service(&pod, &prefix);
            self.topology(&less, |_| false);
        }
    }

    /// Rounder times, and things that stay where they need not be taken back.
    fn times(&mut self) {
        for at in 0..self.best.events.len() {
            self.change(at, |event| event.at_ms = 0);
            for step in ROUND_MS {
                self.change(at, |event| event.at_ms -= event.at_ms % step);
                self.change(at, |event| {
                    let rounded = event.lasts_ms.map(|ms| ms - ms % step).filter(|ms| *ms > 0);
                    event.lasts_ms = rounded.or(event.lasts_ms);
                });
            }
        }
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Event)) {
        let mut events = self.best.events.clone();
        if let Some(event) = events.get_mut(at) {
            change(event);
        }
        let candidate = self.with(events);
        self.take(candidate);
    }
}
