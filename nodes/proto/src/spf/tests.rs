//! Shortest paths compared with a second, slower algorithm, and the requirements one by one.

use std::collections::{BTreeMap, BTreeSet};

use damc_wire::NodeId;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Graph, LiveGraph, NodeLinks, Tree, Update};

/// The claims of all nodes by name: the input of both algorithms.
type Claims = BTreeMap<NodeId, NodeLinks>;
/// Distance and first hops by name.
type Found = BTreeMap<NodeId, (u64, BTreeSet<NodeId>)>;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn live(claims: &Claims) -> LiveGraph {
    let mut graph = LiveGraph::default();
    for (node, links) in claims {
        graph.set(node, Some(links.clone()));
    }
    graph.forget_changes();
    graph
}

fn found(graph: &LiveGraph, tree: &Tree) -> Found {
    let all = 0..u32::try_from(graph.len()).unwrap();
    let reached = all.filter_map(|n| Some((n, tree.distance(n)?)));
    reached
        .map(|(n, distance)| {
            (graph.name(n).clone(), (distance, tree.first_hops(n).map(|h| graph.name(h).clone()).collect()))
        })
        .collect()
}

/// Shortest paths by iterating Bellman's equations on names. Shares no code with the tree.
fn expected(claims: &Claims, root: &NodeId) -> Found {
    let mut edges: Vec<(&NodeId, &NodeId, u64)> = Vec::new();
    for (from, said) in claims {
        for to in said.links.iter().map(|(to, _)| to).collect::<BTreeSet<_>>() {
            let back = claims.get(to).is_some_and(|other| other.links.iter().any(|(n, _)| n == from));
            if to != from && back && (from == root || said.transit) {
                let cost = said.links.iter().filter(|(n, _)| n == to).map(|(_, c)| *c).min().unwrap();
                edges.push((from, to, u64::from(cost)));
            }
        }
    }
    let mut distance: BTreeMap<&NodeId, u64> = BTreeMap::from([(root, 0)]);
    while edges.iter().fold(false, |better, (from, to, cost)| {
        let Some(through) = distance.get(from).map(|d| d + cost) else { return better };
        let known = distance.entry(to).or_insert(u64::MAX);
        let nearer = through < *known;
        *known = through.min(*known);
        better || nearer
    }) {}
    let mut hops: BTreeMap<&NodeId, BTreeSet<NodeId>> = BTreeMap::new();
    let mut order: Vec<_> = distance.iter().map(|(n, d)| (*d, *n)).collect();
    order.sort();
    for (total, node) in order {
        for (from, to, cost) in edges.iter().filter(|(from, to, _)| *to == node && from != to) {
            if distance.get(from).map(|d| d + cost) == Some(total) {
                let first = if *from == root { BTreeSet::from([(*to).clone()]) } else { hops[from].clone() };
                hops.entry(node).or_default().extend(first);
            }
        }
    }
    distance.iter().map(|(n, d)| ((*n).clone(), (*d, hops.get(n).cloned().unwrap_or_default()))).collect()
}

// ===== by hand =====

fn claims(links: &[(&str, &str, u32)]) -> Claims {
    let mut claims = Claims::new();
    for (a, b, cost) in links {
        for end in [a, b] {
            let transit = !end.starts_with("sg");
            claims.entry(id(end)).or_insert_with(|| NodeLinks { transit, links: Vec::new() });
        }
        claims.get_mut(&id(a)).unwrap().links.push((id(b), *cost));
    }
    claims
}

fn both(links: &[(&'static str, &'static str, u32)]) -> Vec<(&'static str, &'static str, u32)> {
    links.iter().flat_map(|(a, b, c)| [(*a, *b, *c), (*b, *a, *c)]).collect()
}

fn result(claims: &Claims, from: &str, to: &str) -> (u64, Vec<String>) {
    let graph = live(claims);
    let tree = Tree::new(&graph, graph.index(&id(from)).unwrap());
    let (distance, hops) = found(&graph, &tree)[&id(to)].clone();
    (distance, hops.iter().map(ToString::to_string).collect())
}

#[test]
fn checklist_13_an_edge_counts_only_if_both_ends_claim_it() {
    let one_sided = [("a", "b", 1), ("b", "a", 1), ("b", "c", 1), ("a", "c", 9), ("c", "a", 9)];
    assert_eq!(result(&claims(&one_sided), "a", "c"), (9, vec!["c".into()]), "c does not confirm b");
}

#[test]
fn checklist_14_all_equal_first_hops() {
    let g = claims(&both(&[("a", "b", 1), ("a", "c", 1), ("b", "d", 2), ("c", "d", 2), ("a", "d", 3), ("d", "e", 1)]));
    assert_eq!(result(&g, "a", "e"), (4, vec!["b".into(), "c".into(), "d".into()]));
}

#[test]
fn checklist_14_more_than_64_first_hops() {
    let names: Vec<&'static str> = (0..150).map(|i| &*Box::leak(format!("m{i:03}").into_boxed_str())).collect();
    let links: Vec<_> = names.iter().flat_map(|m| [("a", *m, 1), (*m, "z", 1)]).collect();
    assert_eq!(result(&claims(&both(&links)), "a", "z").1, names);
}

#[test]
fn con_07_stubs_end_paths_but_may_send() {
    let g = claims(&both(&[("a", "sg1", 1), ("sg1", "b", 1), ("a", "b", 5)]));
    assert_eq!(result(&g, "a", "b"), (5, vec!["b".into()]));
    assert_eq!(result(&g, "sg1", "b"), (1, vec!["b".into()]));
}

#[test]
fn a_picture_and_the_live_graph_have_the_same_edges() {
    let claims = claims(&[("a", "b", 1), ("b", "a", 4), ("b", "c", 1), ("a", "c", 9), ("c", "a", 9)]);
    let (picture, live) = (Graph::new(&claims.iter().map(|(n, c)| (n, c.clone())).collect()), live(&claims));
    for (from, name) in (0u32..).zip(picture.nodes()) {
        let edges: BTreeSet<_> =
            picture.edges(from).iter().map(|e| (&picture.nodes()[e.to as usize], e.cost)).collect();
        let same = live.index(name).unwrap();
        assert_eq!(live.edges_from(same).map(|(to, cost)| (live.name(to), cost)).collect::<BTreeSet<_>>(), edges);
    }
}

#[test]
fn checklist_15_changes_off_all_paths_do_not_affect() {
    let base = both(&[("a", "b", 1), ("b", "c", 1), ("a", "c", 5), ("c", "d", 1)]);
    let affected = |change: &[(&'static str, &'static str, u32)]| {
        let mut links = base.clone();
        links.retain(|(a, b, _)| !change.iter().any(|(x, y, _)| (a, b) == (x, y)));
        links.extend(change);
        let mut graph = live(&claims(&base));
        let tree = Tree::new(&graph, graph.index(&id("a")).unwrap());
        for (node, said) in claims(&links) {
            graph.set(&node, Some(said));
        }
        !tree.unaffected(&graph, graph.changes())
    };
    assert!(!affected(&[]));
    assert!(!affected(&[("d", "c", 7)]), "towards the root");
    assert!(!affected(&[("a", "c", 6)]), "off the paths");
    assert!(affected(&[("b", "c", 2)]), "on the path");
    assert!(affected(&[("b", "c", 5)]), "worse than another one");
    assert!(affected(&[("a", "c", 2)]), "as good as the path");
    assert!(!affected(&[("x", "a", 1)]), "claimed by one end only");
    assert!(affected(&[("x", "a", 1), ("a", "x", 1)]), "a new node");
}

// ===== at random =====

/// A connected graph of `nodes` with many equal costs, some of them asymmetric, and some nodes without transit.
fn random(rng: &mut impl Rng, nodes: usize, extra: usize) -> Claims {
    let name = |i: usize| id(&format!("n{i:03}"));
    let mut claims: Claims =
        (0..nodes).map(|i| (name(i), NodeLinks { transit: rng.random_range(0..8) > 0, links: Vec::new() })).collect();
    let spanning: Vec<(usize, usize)> = (1..nodes).map(|i| (i, rng.random_range(0..i))).collect();
    let more: Vec<(usize, usize)> =
        (0..extra).map(|_| (rng.random_range(0..nodes), rng.random_range(0..nodes))).collect();
    for (a, b) in spanning.into_iter().chain(more).filter(|(a, b)| a != b) {
        let there = rng.random_range(1..6);
        let back = if rng.random_range(0..3) == 0 { rng.random_range(1..6) } else { there };
        set_link(&mut claims, &name(a), &name(b), Some(there));
        set_link(&mut claims, &name(b), &name(a), Some(back));
    }
    claims
}

fn set_link(claims: &mut Claims, from: &NodeId, to: &NodeId, cost: Option<u32>) {
    let Some(said) = claims.get_mut(from) else { return };
    said.links.retain(|(n, _)| n != to);
    said.links.extend(cost.map(|cost| (to.clone(), cost)));
}

/// Makes one change in a network; returns the nodes whose claims changed.
fn edit(rng: &mut impl Rng, claims: &mut Claims, all: &[NodeId], root: &NodeId) -> Vec<NodeId> {
    let (a, b) = (all[rng.random_range(0..all.len())].clone(), all[rng.random_range(0..all.len())].clone());
    let b = if rng.random_range(0..5) == 0 { root.clone() } else { b };
    match rng.random_range(0..10) {
        // A cost changes, if possible of an existing link.
        0..4 => {
            let there = claims.get(&a).and_then(|said| said.links.first()).map_or(b, |(to, _)| to.clone());
            set_link(claims, &a, &there, Some(rng.random_range(1..9)));
            vec![a]
        }
        4..6 => {
            set_link(claims, &a, &b, Some(rng.random_range(1..6)));
            set_link(claims, &b, &a, Some(rng.random_range(1..6)));
            vec![a, b]
        }
        // A link breaks; one of the ends may not have noticed yet.
        6..8 => {
            let gone = claims.get(&a).and_then(|said| said.links.last()).map_or(b, |(to, _)| to.clone());
            set_link(claims, &a, &gone, None);
            if rng.random_range(0..3) > 0 {
                set_link(claims, &gone, &a, None);
            }
            vec![a, gone]
        }
        8 => {
            if let Some(said) = claims.get_mut(&a) {
                said.transit = !said.transit;
            }
            vec![a]
        }
        // A node leaves, or comes back with links that the others still claim.
        _ => {
            if a == *root {
                return Vec::new();
            }
            if claims.remove(&a).is_none() {
                let claimed = claims.iter().filter(|(_, said)| said.links.iter().any(|(n, _)| *n == a));
                let links = claimed.map(|(n, _)| (n.clone(), rng.random_range(1..6))).collect();
                claims.insert(a.clone(), NodeLinks { transit: true, links });
            }
            vec![a]
        }
    }
}

/// Follows `edits` in a graph and compares the tree with the oracle, or with a new tree if the oracle would take too
/// long. Returns how many updates were incremental, and how many were skipped because nothing was affected.
fn follow(seed: u64, nodes: usize, edits: usize, oracle: bool) -> (usize, usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut claims = random(&mut rng, nodes, nodes * 2);
    let all: Vec<NodeId> = claims.keys().cloned().collect();
    let root = all[rng.random_range(0..all.len())].clone();
    let mut graph = live(&claims);
    let mut tree = Tree::new(&graph, graph.index(&root).unwrap());
    let (mut incremental, mut spared) = (0, 0);
    for step in 0..edits {
        // Now and then several at a time, as if collected by a delay.
        for _ in 0..if step % 7 == 0 { rng.random_range(2..12) } else { 1 } {
            for node in edit(&mut rng, &mut claims, &all, &root) {
                graph.set(&node, claims.get(&node).cloned());
            }
        }
        let before = found(&graph, &tree);
        let unaffected = tree.unaffected(&graph, graph.changes());
        let update = tree.update(&graph, graph.changes());
        let after = found(&graph, &tree);
        if unaffected {
            spared += 1;
            assert_eq!(before, after, "seed {seed}, step {step}: nothing is affected");
        } else if let Update::Nodes(changed) = update {
            incremental += 1;
            let told: BTreeSet<&NodeId> = changed.iter().map(|n| graph.name(*n)).collect();
            assert_eq!(told.len(), changed.len(), "each node once");
            let differing = before.keys().chain(after.keys()).filter(|n| before.get(*n) != after.get(*n));
            for node in differing {
                assert!(told.contains(node), "seed {seed}, step {step}: {node} changed untold");
            }
        }
        graph.forget_changes();
        if oracle {
            assert_eq!(after, expected(&claims, &root), "seed {seed}, step {step}");
        }
        let afresh = Tree::new(&graph, graph.index(&root).unwrap());
        assert_eq!(after, found(&graph, &afresh), "seed {seed}, step {step}");
    }
    (incremental, spared)
}

#[test]
fn rib_02_incremental_equals_full_equals_the_oracle_on_more_than_10_000_edits() {
    let (mut incremental, mut spared) = (0, 0);
    for seed in 0..300 {
        let (i, s) = follow(seed, 4 + usize::try_from(seed).unwrap() % 28, 100, true);
        (incremental, spared) = (incremental + i, spared + s);
    }
    assert!(incremental > 4_000 && spared > 1_000, "both must occur: {incremental} incremental, {spared} skipped");
}

#[test]
fn rib_02_incremental_equals_full_in_larger_graphs() {
    let (incremental, _) = follow(7, 400, 400, false);
    assert!(incremental > 100, "{incremental}");
}

#[test]
fn where_most_is_concerned_all_is_computed_anew() {
    let names: Vec<&'static str> = (0..300).map(|i| &*Box::leak(format!("n{i:03}").into_boxed_str())).collect();
    let line: Vec<_> = names.windows(2).map(|pair| (pair[0], pair[1], 1)).collect();
    let mut said = claims(&both(&line));
    let mut graph = live(&said);
    let mut tree = Tree::new(&graph, graph.index(&id("n000")).unwrap());
    set_link(&mut said, &id("n004"), &id("n005"), None);
    graph.set(&id("n004"), said.get(&id("n004")).cloned());
    assert_eq!(tree.update(&graph, graph.changes()), Update::Full, "a cut near the root");
    assert_eq!(found(&graph, &tree), expected(&said, &id("n000")));
}

#[test]
fn names_nobody_speaks_of_are_forgotten() {
    let mut graph = live(&claims(&both(&[("a", "b", 1), ("b", "c", 2)])));
    for i in 0..3000 {
        let said = NodeLinks { transit: true, links: vec![(id("b"), 1), (id(&format!("made-up-{i}")), 1)] };
        graph.set(&id("a"), Some(said));
    }
    assert!(graph.compact());
    assert!(graph.len() <= 4, "{}", graph.len());
    let tree = Tree::new(&graph, graph.index(&id("a")).unwrap());
    assert_eq!(found(&graph, &tree)[&id("c")], (3, BTreeSet::from([id("b")])));
    assert!(!graph.compact(), "once is enough");
}
