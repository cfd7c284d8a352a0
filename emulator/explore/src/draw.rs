//! Drawing trials: one seed and one number, one trial.

use damc_topology::Topology;
use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::event::{Change, Event, Happening};
use crate::network::network;
use crate::trial::Trial;

/// Most events of a schedule, loads aside.
const MOST_EVENTS: usize = 10;
/// Spans that all begins of a schedule lie in, ms: what happens at once, within a round of messages, or within seconds.
const SPANS: [u64; 4] = [1, 100, 1500, 5000];
/// Longest time that something lasts, ms.
const LONGEST: f64 = 5000.0;
/// Shortest.
const SHORTEST: f64 = 3.0;
/// Two things happen that close to each other in one case of three, ms.
const CLOSE: u64 = 25;

/// What is drawn from.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Seed of the whole exploration.
    pub seed: u64,
    /// The network; a random one each time where absent.
    pub topology: Option<Topology>,
}

impl Draw {
    /// The trial of this number.
    ///
    /// # Panics
    /// Never: a generated network is valid.
    #[must_use]
    pub fn trial(&self, number: u64) -> Trial {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number);
        let topology = self.topology.clone();
        let topology = topology.unwrap_or_else(|| network(&mut rng).expect("invariant: generated networks are valid"));
        let events = Schedule { topology: &topology, rng: &mut rng, span: 0, begun: Vec::new(), fresh: 0 }.events();
        Trial { events, seed: rng.random_range(1..1_000_000), topology }
    }
}

/// A schedule while it is drawn.
struct Schedule<'a> {
    topology: &'a Topology,
    rng: &'a mut ChaCha8Rng,
    span: u64,
    /// When events begin so far.
    begun: Vec<u64>,
    /// New names so far.
    fresh: u32,
}

impl Schedule<'_> {
    fn events(mut self) -> Vec<Event> {
        self.span = *SPANS.choose(self.rng).unwrap_or(&SPANS[0]);
        let mut events = Vec::new();
        for _ in 0..self.rng.random_range(1..=MOST_EVENTS) {
            let drawn = self.happening();
            events.extend(drawn);
        }
        for _ in 0..self.rng.random_range(0..=2) {
            events.extend(self.load());
        }
        events.sort_by_key(|event| event.at_ms);
        events
    }

    fn at(&mut self) -> u64 {
        let at = match self.begun.choose(self.rng) {
            Some(before) if self.rng.random_bool(0.33) => before + self.rng.random_range(0..=CLOSE),
            _ => self.rng.random_range(0..=self.span),
        };
        self.begun.push(at);
        at
    }

    /// A time between the shortest and the longest, short ones as likely as long ones.
    fn lasting(&mut self) -> u64 {
        let exponent = self.rng.random_range(SHORTEST.ln()..LONGEST.ln());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands at most")]
        let ms = exponent.exp() as u64;
        ms.max(1)
    }

    fn happening(&mut self) -> Vec<Event> {
        match self.rng.random_range(0..100) {
            0..35 => self.link(),
            35..55 => self.node(),
            55..62 => self.service(),
            62..74 => self.announcement(),
            74..78 => self.revocation(),
            78..86 => self.partition(),
            _ => self.impairment(),
        }
    }

    fn one(&mut self, what: Happening, may_stay: bool) -> Vec<Event> {
        let at_ms = self.at();
        let lasts_ms = if may_stay && self.rng.random_bool(0.3) { None } else { Some(self.lasting()) };
        vec![Event { at_ms, lasts_ms, what }]
    }

    fn ends(&mut self) -> Option<(NodeId, NodeId)> {
        let link = self.topology.links().choose(self.rng)?;
        Some((link.a.clone(), link.b.clone()))
    }

    fn kind(&self, node: &NodeId) -> Option<Role> {
        self.topology.nodes().get(node).map(|node| node.kind)
    }

    fn link(&mut self) -> Vec<Event> {
        let Some((a, b)) = self.ends() else { return Vec::new() };
        let state = if self.rng.random_bool(0.6) { "down" } else { "silent" };
        // Without its SPA nobody can say what a gateway's pods should have.
        let stays = ![&a, &b].into_iter().any(|node| self.kind(node) == Some(Role::Spa));
        self.one(Happening::Link(a, b, Change::State(state)), stays)
    }

    fn impairment(&mut self) -> Vec<Event> {
        let Some((a, b)) = self.ends() else { return Vec::new() };
        let set = match self.rng.random_range(0..4) {
            0 => format!("loss: {}%", self.rng.random_range(5..=60)),
            1 => format!("duplicate: {}%", self.rng.random_range(10..=60)),
            2 => format!("delay: {}ms, jitter: {}ms", self.rng.random_range(5..=60), self.rng.random_range(0..=40)),
            _ => format!("corrupt: {}%", self.rng.random_range(5..=40)),
        };
        self.one(Happening::Link(a, b, Change::Properties(set)), false)
    }

    fn node(&mut self) -> Vec<Event> {
        let nodes: Vec<&NodeId> = self.topology.nodes().keys().collect();
        let Some(node) = nodes.choose(self.rng).map(|node| (*node).clone()) else { return Vec::new() };
        let kind = self.kind(&node);
        let routes = matches!(kind, Some(Role::Sg | Role::Sr));
        let step = match self.rng.random_range(0..10) {
            0..4 => "kill",
            4..6 => "stop",
            6..8 if routes => "overload",
            _ => "pause",
        };
        let stays = step != "pause" && kind != Some(Role::Spa);
        self.one(Happening::Node(node, step), stays)
    }

    /// A pod and one of its services.
    fn holder(&mut self) -> Option<(NodeId, Name)> {
        let pods: Vec<_> = self.topology.of_kind(Role::Pod).filter(|pod| !pod.services.is_empty()).collect();
        let pod = pods.choose(self.rng)?;
        Some((pod.id.clone(), pod.services.choose(self.rng)?.prefix.clone()))
    }

    fn service(&mut self) -> Vec<Event> {
        let Some((_, prefix)) = self.holder() else { return Vec::new() };
        if self.rng.random_bool(0.5) {
            return self.one(Happening::Service(prefix, "stop"), true);
        }
        let at_ms = self.at();
        vec![Event { at_ms, lasts_ms: None, what: Happening::Service(prefix, "restart") }]
    }

    /// A new name: under a licence, with a licence that comes with it, or without one.
    fn announcement(&mut self) -> Vec<Event> {
        let Some((pod, prefix)) = self.holder() else { return Vec::new() };
        self.fresh += 1;
        let below = format!("{prefix}/new-{}", self.fresh).parse::<Name>();
        // Below what another pod has: the longest prefix decides.
        let other = self.holder().filter(|_| self.rng.random_bool(0.5)).map(|(_, prefix)| prefix);
        let beside = format!("{}/new-{}", other.map_or_else(|| format!("/{pod}"), |o| o.to_string()), self.fresh);
        let beside = beside.parse::<Name>();
        let (Ok(below), Ok(beside)) = (below, beside) else { return Vec::new() };
        match self.rng.random_range(0..10) {
            0..6 => self.one(Happening::Announce(below, pod), true),
            6..8 => {
                let mut events = self.one(Happening::Announce(beside.clone(), pod.clone()), true);
                let at_ms = events[0].at_ms.saturating_sub(self.rng.random_range(1..=CLOSE));
                let what = Happening::Licence(pod, "grant", beside);
                events.insert(0, Event { at_ms, lasts_ms: None, what });
                events
            }
            _ => self.one(Happening::Announce(beside, pod), true),
        }
    }

    fn revocation(&mut self) -> Vec<Event> {
        let Some((pod, prefix)) = self.holder() else { return Vec::new() };
        let at_ms = self.at();
        vec![Event { at_ms, lasts_ms: None, what: Happening::Licence(pod, "revoke", prefix) }]
    }

    /// Some neighbours of each other against the rest.
    fn partition(&mut self) -> Vec<Event> {
        let nodes: Vec<&NodeId> = self.topology.nodes().keys().collect();
        let Some(first) = nodes.choose(self.rng) else { return Vec::new() };
        let mut group = vec![(*first).clone()];
        for _ in 0..self.rng.random_range(0..=nodes.len() / 2) {
            let around = group.iter().flat_map(|node| self.topology.links_of(node)).map(|(_, far)| far);
            let around: Vec<NodeId> = around.filter(|far| !group.contains(far)).cloned().collect();
            group.extend(around.choose(self.rng).cloned());
        }
        if group.len() >= nodes.len() {
            return Vec::new();
        }
        self.one(Happening::Partition(group), false)
    }

    fn load(&mut self) -> Option<Event> {
        let pods: Vec<NodeId> = self.topology.of_kind(Role::Pod).map(|pod| pod.id.clone()).collect();
        let from = pods.choose(self.rng)?.clone();
        let (_, to) = self.holder()?;
        let what = Happening::Load(from, to, self.rng.random_range(10..=60));
        Some(Event { at_ms: 0, lasts_ms: Some(self.span + self.rng.random_range(100..=1500)), what })
    }
}
