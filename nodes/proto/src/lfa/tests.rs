//! The chosen alternates against all pairs of distances, computed another way.

use damc_wire::NodeId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Advertiser, Alternates};
use crate::io::PortId;
use crate::spf::{LiveGraph, NodeLinks, Tree};

const FAR: u64 = u64::MAX / 4;

/// Directed costs and who forwards, by number.
struct Net {
    cost: Vec<Vec<Option<u32>>>,
    transit: Vec<bool>,
    graph: LiveGraph,
}

fn id(node: usize) -> NodeId {
    NodeId::new(&format!("n{node:02}")).unwrap()
}

impl Net {
    #[expect(clippy::needless_range_loop, reason = "both directions of a matrix are set")]
    fn random(rng: &mut ChaCha8Rng, nodes: usize) -> Self {
        let mut cost = vec![vec![None; nodes]; nodes];
        for a in 1..nodes {
            let mut others = vec![rng.random_range(0..a)];
            others.extend((0..rng.random_range(0..3)).map(|_| rng.random_range(0..nodes)));
            for b in others.into_iter().filter(|b| *b != a) {
                let there = rng.random_range(1..6);
                cost[a][b] = Some(there);
                cost[b][a] = Some(if rng.random_range(0..3) == 0 { rng.random_range(1..6) } else { there });
            }
        }
        let transit = (0..nodes).map(|_| rng.random_range(0..8) > 0).collect();
        let mut net = Self { cost, transit, graph: LiveGraph::default() };
        (0..nodes).for_each(|node| net.tell(node));
        net.graph.forget_changes();
        net
    }

    fn tell(&mut self, node: usize) {
        let costs = self.cost[node].iter().enumerate();
        let links = costs.filter_map(|(to, cost)| Some((id(to), (*cost)?))).collect();
        self.graph.set(&id(node), Some(NodeLinks { transit: self.transit[node], links }));
    }

    /// Floyd and Warshall; no path passes a node that does not forward.
    fn distances(&self) -> Vec<Vec<u64>> {
        let all = 0..self.cost.len();
        let cost = |a: usize, b: usize| if a == b { 0 } else { self.cost[a][b].map_or(FAR, u64::from) };
        let mut d: Vec<Vec<u64>> = all.clone().map(|a| all.clone().map(|b| cost(a, b)).collect()).collect();
        for via in all.clone().filter(|via| self.transit[*via]) {
            for a in all.clone() {
                for b in all.clone() {
                    d[a][b] = d[a][b].min(d[a][via] + d[via][b]);
                }
            }
        }
        d
    }

    /// Whether a frame that `at` has for `to` may come to `avoid` by shortest paths.
    fn may_meet(&self, d: &[Vec<u64>], at: usize, to: usize, avoid: usize) -> bool {
        let ahead = (0..d.len()).filter(|next| {
            let cost = self.cost[at][*next].map(u64::from);
            at != to
                && (self.transit[*next] || *next == to)
                && cost.is_some_and(|cost| cost + d[*next][to] == d[at][to])
        });
        at == avoid || ahead.into_iter().any(|next| self.may_meet(d, next, to, avoid))
    }

    fn index(&self, node: usize) -> u32 {
        self.graph.index(&id(node)).unwrap()
    }

    fn neighbours(&self, root: usize) -> impl Iterator<Item = (NodeId, PortId, u32)> {
        let costs = self.cost[root].iter().enumerate().zip(0u16..);
        costs.filter_map(|((to, cost), port)| Some((id(to), PortId(port), (*cost)?)))
    }
}

#[test]
fn rfc5286_alternates_are_loop_free_the_best_and_found_where_there_is_one() {
    let (mut found, mut none, mut protecting) = (0, 0, 0);
    for seed in 0..150 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let nodes = rng.random_range(4..14);
        let net = Net::random(&mut rng, nodes);
        let d = net.distances();
        let root = rng.random_range(0..nodes);
        let tree = Tree::new(&net.graph, net.index(root));
        let mut alternates = Alternates::default();
        assert!(alternates.set_neighbours(&net.graph, net.neighbours(root)));
        for to in (0..nodes).filter(|to| *to != root && d[root][*to] < FAR) {
            let hops: Vec<u32> = tree.first_hops(net.index(to)).collect();
            let [primary] = hops.as_slice() else { continue };
            let e: usize = net.graph.name(*primary).as_str()[1..].parse().unwrap();
            let advertisers: [Advertiser; 1] = [(net.index(to), 0)];
            let chosen = alternates.choose(&net.graph, tree.root(), &advertisers, d[root][to], &id(e));
            // RFC 5286, inequalities 1 and 3, for every neighbour that may forward to there.
            let qualified: Vec<(bool, u64, usize)> = (0..nodes)
                .filter(|n| *n != e && net.cost[root][*n].is_some() && (net.transit[*n] || *n == to))
                .filter(|n| d[*n][to] < FAR && d[*n][to] < d[*n][root] + d[root][to])
                .map(|n| {
                    let avoids = (net.transit[e] || e == to) && d[n][to] < d[n][e] + d[e][to];
                    (!avoids, u64::from(net.cost[root][n].unwrap()) + d[n][to], n)
                })
                .collect();
            let best = qualified.iter().min();
            let port = |n: usize| PortId(u16::try_from(n).unwrap());
            assert_eq!(chosen.map(|hop| hop.port), best.map(|b| port(b.2)), "seed {seed}, to {to}");
            match best {
                Some((link_only, _, n)) => {
                    found += 1;
                    assert!(!net.may_meet(&d, *n, to, root), "seed {seed}: {n} would send frames for {to} back");
                    if !link_only {
                        protecting += 1;
                        assert!(!net.may_meet(&d, *n, to, e), "seed {seed}: {n} passes {e}");
                    }
                }
                None => none += 1,
            }
        }
    }
    assert!(found > 200 && none > 100 && protecting > 50, "{found} found, {protecting} of them around, {none} not");
}

#[test]
fn alternates_follow_changes() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut net = Net::random(&mut rng, 12);
    let mut alternates = Alternates::default();
    alternates.set_neighbours(&net.graph, net.neighbours(0));
    let mut told = 0;
    for _ in 0..200 {
        let (a, b) = (rng.random_range(0..12), rng.random_range(0..12));
        if net.cost[a][b].is_some() {
            net.cost[a][b] = Some(rng.random_range(1..9));
            net.tell(a);
        }
        alternates.set_neighbours(&net.graph, net.neighbours(0));
        alternates.follow(&net.graph, net.graph.changes(), |_| told += 1);
        net.graph.forget_changes();
        let mut fresh = Alternates::default();
        fresh.set_neighbours(&net.graph, net.neighbours(0));
        let tree = Tree::new(&net.graph, net.index(0));
        for to in 1..12 {
            let Some(cost) = tree.distance(net.index(to)) else { continue };
            let hop = tree.first_hops(net.index(to)).next().unwrap();
            let choose =
                |a: &Alternates| a.choose(&net.graph, tree.root(), &[(net.index(to), 0)], cost, net.graph.name(hop));
            assert_eq!(choose(&alternates), choose(&fresh));
        }
    }
    assert!(told > 50, "{told}");
}
