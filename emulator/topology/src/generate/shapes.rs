//! Regular and random graphs. One request, one graph: random ones follow from their seed alone.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::backbone::parts;
use super::{Backbone, MOST_ROUTERS, Router, Trunk};

/// Shape of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As square as it can be.
    Grid,
    /// Each router has two neighbours.
    Ring,
    /// Each router has `degree` below it.
    Tree,
    /// Three layers of switches with k ports each (Al-Fares, Loukissas and Vahdat, 2008).
    FatTree,
    /// Routers strewn over a square, near ones linked more likely (Waxman, 1988); four links each on average.
    Waxman,
    /// Each new router picks `degree` neighbours, well-linked ones more likely (Barabási and Albert, 1999).
    Barabasi,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 6] = [Self::Grid, Self::Ring, Self::Tree, Self::FatTree, Self::Waxman, Self::Barabasi];

    /// Its name on the command line and in files.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Ring => "ring",
            Self::Tree => "tree",
            Self::FatTree => "fat-tree",
            Self::Waxman => "waxman",
            Self::Barabasi => "barabasi",
        }
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Shape.
    pub shape: Shape,
    /// Number of SRs.
    pub routers: usize,
    /// Children in a tree, links of each new router in a Barabási graph; 2 where absent.
    pub degree: Option<usize>,
    /// Seed of random shapes.
    pub seed: u64,
}

/// Mean number of links of a router in a Waxman graph.
const WAXMAN_DEGREE: f64 = 4.0;
/// How far links reach in a Waxman graph, in sides of the square times the diagonal.
const WAXMAN_REACH: f64 = 0.2;
/// Delay along a side of the square, µs.
const WAXMAN_SIDE_US: f64 = 10_000.0;

/// Makes a graph.
///
/// # Errors
/// There is none of this shape and size; the message says which sizes there are.
pub fn generate(request: &Request) -> Result<Backbone, String> {
    let n = request.routers;
    if n > MOST_ROUTERS {
        return Err(format!("{n} routers: at most {MOST_ROUTERS} are generated"));
    }
    let least = if request.shape == Shape::Ring { 3 } else { 2 };
    if n < least {
        return Err(format!("{n} routers: a {} has {least} at least", request.shape.label()));
    }
    let degree = request.degree.unwrap_or(2);
    if degree == 0 || degree >= n {
        return Err(format!("a degree of {degree} with {n} routers: from 1 to {} there is a graph", n - 1));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
    let (positions, trunks) = match request.shape {
        Shape::Grid => grid(n),
        Shape::Ring => ring(n),
        Shape::Tree => (vec![None; n], (1..n).map(|i| Trunk::between((i - 1) / degree, i)).collect()),
        Shape::FatTree => fat_tree(n)?,
        Shape::Waxman => waxman(n, &mut rng),
        Shape::Barabasi => (vec![None; n], barabasi(n, degree, &mut rng)),
    };
    let routers = positions.into_iter().enumerate().map(|(i, at)| Router { label: format!("sr-{}", i + 1), at });
    let seeded = match request.shape {
        Shape::Waxman | Shape::Barabasi => format!(", seed {}", request.seed),
        _ => String::new(),
    };
    let note = format!("Generated: a {} of {n} SRs{seeded}.", request.shape.label());
    Ok(Backbone {
        label: format!("{}-{n}", request.shape.label()),
        notes: vec![note],
        routers: routers.collect(),
        trunks,
    })
}

type Graph = (Vec<Option<(f64, f64)>>, Vec<Trunk>);

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 routers")]
fn grid(n: usize) -> Graph {
    let columns = (1..).find(|c| c * c >= n).unwrap_or(1);
    let positions = (0..n).map(|i| Some(((i % columns) as f64, (i / columns) as f64)));
    let right = (0..n).filter(|i| (i + 1) % columns != 0 && i + 1 < n).map(|i| Trunk::between(i, i + 1));
    let down = (0..n).filter(|i| i + columns < n).map(|i| Trunk::between(i, i + columns));
    (positions.collect(), right.chain(down).collect())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 routers")]
fn ring(n: usize) -> Graph {
    let angle = |i: usize| i as f64 / n as f64 * std::f64::consts::TAU;
    let positions = (0..n).map(|i| Some((angle(i).sin(), -angle(i).cos())));
    (positions.collect(), (0..n).map(|i| Trunk::between(i, (i + 1) % n)).collect())
}

/// Cores first, then pod by pod its aggregation and its edge switches.
fn fat_tree(n: usize) -> Result<Graph, String> {
    let switches = |k: usize| 5 * k * k / 4;
    let Some(k) = (2..).step_by(2).take_while(|k| switches(*k) <= n).find(|k| switches(*k) == n) else {
        let larger = (2..).step_by(2).map(switches).find(|s| *s > n).unwrap_or(5);
        let smaller = (2..).step_by(2).map(switches).take_while(|s| *s < n).last();
        let offer = smaller.map_or_else(|| larger.to_string(), |smaller| format!("{smaller} or {larger}"));
        return Err(format!("{n} routers: a fat tree has 5, 20, 45, 80, 125, … of them (5k²/4); ask for {offer}"));
    };
    let half = k / 2;
    let cores = half * half;
    let mut trunks = Vec::new();
    for pod in 0..k {
        let aggregation = cores + pod * k;
        let edge = aggregation + half;
        for i in 0..half {
            trunks.extend((0..half).map(|j| Trunk::between(i * half + j, aggregation + i)));
            trunks.extend((0..half).map(|j| Trunk::between(aggregation + i, edge + j)));
        }
    }
    Ok((vec![None; n], trunks))
}

fn barabasi(n: usize, degree: usize, rng: &mut ChaCha8Rng) -> Vec<Trunk> {
    // A router is in here once for each of its links, so a draw prefers the well-linked.
    let mut ends = Vec::new();
    let mut trunks = Vec::new();
    for new in 1..n {
        let mut chosen = std::collections::BTreeSet::new();
        while chosen.len() < degree.min(new) {
            let pick = if new <= degree || ends.is_empty() {
                rng.random_range(0..new)
            } else {
                ends[rng.random_range(0..ends.len())]
            };
            chosen.insert(pick);
        }
        for old in chosen {
            trunks.push(Trunk::between(old, new));
            ends.extend([old, new]);
        }
    }
    trunks
}

fn waxman(n: usize, rng: &mut ChaCha8Rng) -> Graph {
    let at: Vec<(f64, f64)> = (0..n).map(|_| (rng.random::<f64>(), rng.random::<f64>())).collect();
    let distance = |a: usize, b: usize| (at[a].0 - at[b].0).hypot(at[a].1 - at[b].1);
    let reach = WAXMAN_REACH * std::f64::consts::SQRT_2;
    let weight = |a: usize, b: usize| (-distance(a, b) / reach).exp();
    let pairs = || (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
    let total: f64 = pairs().map(|(a, b)| weight(a, b)).sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 routers")]
    let scale = WAXMAN_DEGREE * n as f64 / 2.0 / total;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most some milliseconds")]
    let trunk =
        |a, b| Trunk { delay_us: Some(((distance(a, b) * WAXMAN_SIDE_US) as u64).max(100)), ..Trunk::between(a, b) };
    let mut trunks: Vec<Trunk> =
        pairs().filter(|(a, b)| rng.random::<f64>() < scale * weight(*a, *b)).map(|(a, b)| trunk(a, b)).collect();
    // What chance left apart is joined where it is nearest.
    loop {
        let parts = parts(n, &trunks);
        let apart: Vec<usize> = (0..n).filter(|i| parts[*i] == 1).collect();
        let first: Vec<usize> = (0..n).filter(|i| parts[*i] == 0).collect();
        let bridges = apart.iter().flat_map(|a| first.iter().map(|b| (*a, *b)));
        let nearest = bridges.min_by(|x, y| distance(x.0, x.1).total_cmp(&distance(y.0, y.1)));
        let Some((a, b)) = nearest else { break };
        trunks.push(trunk(b.min(a), b.max(a)));
    }
    (at.into_iter().map(Some).collect(), trunks)
}
