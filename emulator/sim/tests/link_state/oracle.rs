//! Random graphs against an oracle that shares no code with the routers: all-pairs distances by relaxation to a fixed
//! point, next hops by definition (RIB-02).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_sim::{Network, Sim, lossy, usual};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SECOND: Duration = Duration::from_secs(1);
const FAR: u64 = u64::MAX / 4;

/// Directed costs, and who may be passed through.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub cost: BTreeMap<(String, String), u32>,
    pub nodes: BTreeMap<String, bool>,
}

impl Plan {
    /// A connected random graph of SRs with SGs at its edge; costs often tie, some are asymmetric.
    pub fn random(seed: u64, max_srs: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let srs = rng.random_range(2..=max_srs);
        let sgs = rng.random_range(0..=3);
        let mut plan = Self::default();
        for i in 0..srs {
            plan.nodes.insert(format!("sr-{i}"), true);
            if i > 0 {
                let other = rng.random_range(0..i);
                plan.join(&mut rng, &format!("sr-{i}"), &format!("sr-{other}"));
            }
        }
        for _ in 0..rng.random_range(0..=srs * 2) {
            let (a, b) = (rng.random_range(0..srs), rng.random_range(0..srs));
            if a != b {
                plan.join(&mut rng, &format!("sr-{a}"), &format!("sr-{b}"));
            }
        }
        for i in 0..sgs {
            plan.nodes.insert(format!("sg-{i}"), false);
            for _ in 0..rng.random_range(1..=2) {
                let sr = rng.random_range(0..srs);
                plan.join(&mut rng, &format!("sg-{i}"), &format!("sr-{sr}"));
            }
        }
        plan
    }

    fn join(&mut self, rng: &mut ChaCha8Rng, a: &str, b: &str) {
        if self.cost.contains_key(&(a.to_owned(), b.to_owned())) {
            return;
        }
        let there = rng.random_range(1..=4);
        let back = if rng.random_range(0..4) == 0 { rng.random_range(1..=4) } else { there };
        self.cost.insert((a.to_owned(), b.to_owned()), there);
        self.cost.insert((b.to_owned(), a.to_owned()), back);
    }

    pub fn network(&self) -> Network {
        let mut network = Network::new();
        for (node, transit) in &self.nodes {
            network = if *transit { network.sr(node) } else { network.sg(node) };
        }
        for ((a, b), there) in self.cost.iter().filter(|((a, b), _)| a < b) {
            network = network.asymmetric(a, b, *there, self.cost[&(b.clone(), a.clone())]);
        }
        // Only routing is tried here; keepalives cost most of the time otherwise.
        network.timers(|p| {
            p.echo_interval_ms = 0;
            p.dead_interval_ms = 60_000;
        })
    }

    /// Distances where no path passes through a node that is not for transit.
    fn distances(&self) -> BTreeMap<(String, String), u64> {
        let mut d: BTreeMap<(String, String), u64> = BTreeMap::new();
        for node in self.nodes.keys() {
            d.insert((node.clone(), node.clone()), 0);
        }
        loop {
            let mut better = Vec::new();
            for ((from, via), cost) in &self.cost {
                for to in self.nodes.keys() {
                    let rest = match d.get(&(via.clone(), to.clone())) {
                        Some(rest) if via == to || self.nodes[via] => *rest,
                        _ => continue,
                    };
                    let total = rest + u64::from(*cost);
                    if total < d.get(&(from.clone(), to.clone())).copied().unwrap_or(FAR) {
                        better.push(((from.clone(), to.clone()), total));
                    }
                }
            }
            if better.is_empty() {
                return d;
            }
            for (key, total) in better {
                let entry = d.entry(key).or_insert(FAR);
                *entry = total.min(*entry);
            }
        }
    }

    /// Cost and next hops from every node to every other that it can reach.
    pub fn expected(&self) -> BTreeMap<(String, String), (u64, BTreeSet<String>)> {
        let d = self.distances();
        let mut expected = BTreeMap::new();
        for ((from, to), total) in d.iter().filter(|((from, to), _)| from != to) {
            let first = |((a, via), cost): (&(String, String), &u32)| {
                let passes = via == to || self.nodes[via];
                let rest = d.get(&(via.clone(), to.clone()))?;
                (a == from && passes && rest + u64::from(*cost) == *total).then(|| via.clone())
            };
            let hops: BTreeSet<String> = self.cost.iter().filter_map(first).collect();
            expected.insert((from.clone(), to.clone()), (*total, hops));
        }
        expected
    }
}

/// What the routers of a simulation found, in the oracle's terms.
pub fn found(sim: &Sim, plan: &Plan) -> BTreeMap<(String, String), (u64, BTreeSet<String>)> {
    let mut found = BTreeMap::new();
    for node in plan.nodes.keys() {
        for entry in sim.fib(node).entries {
            let to = entry.prefix.rsplit('/').next().unwrap().to_owned();
            if to != *node {
                let hops = entry.next_hops.into_iter().map(|h| h.node).collect();
                found.insert((node.clone(), to), (entry.cost, hops));
            }
        }
    }
    found
}

fn digests(sim: &Sim, plan: &Plan) -> BTreeSet<String> {
    plan.nodes.keys().map(|n| sim.lsdb(n).digest).collect()
}

#[test]
fn rib_02_checklist_14_next_hop_sets_equal_the_oracle_on_200_random_graphs() {
    let (mut pairs, mut shared) = (0, 0);
    for seed in 0..200 {
        let plan = Plan::random(seed, 9);
        let mut sim = Sim::new(&plan.network().configs(seed % 4), seed).unwrap();
        sim.start();
        sim.settle(Duration::from_millis(150), 10 * SECOND).unwrap_or_else(|e| panic!("graph {seed}: {e:?}"));
        let expected = plan.expected();
        assert_eq!(found(&sim, &plan), expected, "graph {seed}");
        pairs += expected.len();
        shared += expected.values().filter(|(_, hops)| hops.len() > 1).count();
    }
    assert!(shared > pairs / 20, "ties must be tried: {shared} of {pairs}");
}

#[test]
fn rib_02_larger_graphs_equal_the_oracle() {
    for seed in 1000..1004 {
        let plan = Plan::random(seed, 45);
        let mut sim = Sim::new(&plan.network().configs(1), seed).unwrap();
        sim.start();
        sim.settle(Duration::from_millis(800), 30 * SECOND).unwrap_or_else(|e| panic!("graph {seed}: {e:?}"));
        assert_eq!(found(&sim, &plan), plan.expected(), "graph {seed}");
        assert_eq!(digests(&sim, &plan).len(), 1, "graph {seed}");
    }
}

#[test]
fn lsa_06_digests_are_equal_after_loss_reordering_duplication_and_restarts() {
    for seed in 0..30 {
        let plan = Plan::random(5000 + seed, 7);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut sim = Sim::new(&plan.network().configs(1), seed).unwrap();
        sim.set_all_specs(lossy(0.25));
        sim.start();
        let names: Vec<String> = plan.nodes.keys().cloned().collect();
        for _ in 0..6 {
            sim.run_for(Duration::from_millis(rng.random_range(20..300)));
            let node = &names[rng.random_range(0..names.len())];
            let links: Vec<_> = plan.cost.keys().collect();
            let (a, b) = links[rng.random_range(0..links.len())];
            if rng.random_range(0..2) == 0 {
                sim.kill(node);
                sim.run_for(Duration::from_millis(rng.random_range(0..50)));
                sim.start_node(node);
            } else {
                sim.set_link(a, b, false);
                sim.run_for(Duration::from_millis(rng.random_range(0..50)));
                sim.set_link(a, b, true);
            }
        }
        sim.set_all_specs(usual());
        sim.run_until(|s| digests(s, &plan).len() == 1 && found(s, &plan) == plan.expected(), 30 * SECOND)
            .unwrap_or_else(|e| panic!("graph {seed}: {e:?}, {} digests", digests(&sim, &plan).len()));
    }
}

#[test]
fn rib_06_tables_follow_cost_changes_and_cuts() {
    for seed in 0..30 {
        let mut plan = Plan::random(7000 + seed, 8);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut sim = Sim::new(&plan.network().configs(1), seed).unwrap();
        sim.start();
        sim.settle(Duration::from_millis(150), 10 * SECOND).unwrap();
        for _ in 0..4 {
            let links: Vec<_> = plan.cost.keys().cloned().collect();
            let (a, b) = links[rng.random_range(0..links.len())].clone();
            if rng.random_range(0..3) == 0 {
                sim.set_link(&a, &b, false);
                plan.cost.remove(&(a.clone(), b.clone()));
                plan.cost.remove(&(b, a));
                if plan.cost.is_empty() {
                    break;
                }
            } else {
                let cost = rng.random_range(1..=6);
                sim.set_cost(&a, &b, cost);
                plan.cost.insert((a, b), cost);
            }
            sim.run_until(|s| found(s, &plan) == plan.expected(), 5 * SECOND)
                .unwrap_or_else(|e| panic!("graph {seed}: {e:?}"));
        }
    }
}
