//! Shortest paths: a full computation, and one after a link changed its cost, broke or came back.

use std::cell::RefCell;
use std::collections::BTreeMap;

use damc_bench::{Report, measure, measure_each};
use damc_proto::spf::{LiveGraph, NodeLinks, Tree, Update};
use damc_wire::NodeId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Links for each node.
const DENSITY: usize = 4;
const EDITS: usize = 2000;

pub fn run(report: &mut Report) {
    for nodes in [100, 1000, 10_000] {
        let mut network = Network::random(nodes);
        let (full, incremental) = if nodes == 1000 { ("≤ 1 ms", "≤ 100 µs") } else { ("", "") };
        let size = format!("{nodes} nodes, {} links", nodes * DENSITY);
        report.add(measure("spf", &format!("full, {size}"), |_| Tree::new(&network.graph, 0)).target(full));
        let mut tree = Tree::new(&network.graph, 0);
        let mut fallbacks = 0;
        let shared = RefCell::new(&mut network);
        let follow = |(a, b, costs)| {
            let network = &mut **shared.borrow_mut();
            network.tell(a, b, costs);
            fallbacks += usize::from(tree.update(&network.graph, network.graph.changes()) == Update::Full);
            network.graph.forget_changes();
        };
        let draw = || shared.borrow_mut().draw();
        let figure = measure_each("spf", &format!("incremental, {size}"), EDITS, draw, follow);
        report.add(figure.target(incremental).note(format!("{fallbacks} of {EDITS} computed anew")));
    }
}

struct Network {
    rng: ChaCha8Rng,
    names: Vec<NodeId>,
    links: Vec<(usize, usize)>,
    /// Costs by sending end and far end.
    costs: Vec<BTreeMap<usize, u32>>,
    graph: LiveGraph,
}

impl Network {
    fn random(nodes: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let names: Vec<NodeId> = (0..nodes).map(|i| NodeId::new(&format!("sr-{i}")).unwrap()).collect();
        let mut costs: Vec<BTreeMap<usize, u32>> = vec![BTreeMap::new(); nodes];
        let mut links: Vec<(usize, usize)> = Vec::new();
        while links.len() < nodes * DENSITY {
            // A tree first, so that the graph is connected.
            let a = if links.len() + 1 < nodes { links.len() + 1 } else { rng.random_range(0..nodes) };
            let b = if links.len() + 1 < nodes { rng.random_range(0..a) } else { rng.random_range(0..nodes) };
            if a != b && !costs[a].contains_key(&b) {
                let cost = rng.random_range(1..=20);
                costs[a].insert(b, cost);
                costs[b].insert(a, cost);
                links.push((a, b));
            }
        }
        let mut network = Self { rng, names, links, costs, graph: LiveGraph::default() };
        for node in 0..nodes {
            network.say(node);
        }
        network.graph.forget_changes();
        network
    }

    /// A link and its new cost; `None` if it breaks.
    fn draw(&mut self) -> (usize, usize, Option<u32>) {
        let (a, b) = self.links[self.rng.random_range(0..self.links.len())];
        let broken = !self.costs[a].contains_key(&b);
        let cost = self.rng.random_range(1..=20);
        (a, b, (broken || self.rng.random_range(0..2) == 0).then_some(cost))
    }

    /// Changes both ends, as two LSAs would.
    fn tell(&mut self, a: usize, b: usize, cost: Option<u32>) {
        for (from, to) in [(a, b), (b, a)] {
            match cost {
                Some(cost) => self.costs[from].insert(to, cost),
                None => self.costs[from].remove(&to),
            };
            self.say(from);
        }
    }

    fn say(&mut self, node: usize) {
        let links = self.costs[node].iter().map(|(to, cost)| (self.names[*to].clone(), *cost)).collect();
        self.graph.set(&self.names[node], Some(NodeLinks { transit: true, links }));
    }
}
