//! Random networks: a graph of a few routers, gateways at one or two of them, links with costs and delays.

use std::fmt::Write as _;
use std::path::Path;

use damc_topology::generate::{Request, Shape, generate};
use damc_topology::{Topology, parse};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Routers without services.
const ROUTERS: core::ops::RangeInclusive<usize> = 3..=7;
/// Gateways, each with a pod and an SPA.
const GATEWAYS: core::ops::RangeInclusive<usize> = 2..=4;
/// Costs other than 1, of one trunk in three.
const COSTS: core::ops::RangeInclusive<u32> = 2..=5;

/// A network. The generator's own are valid by construction, and so are these; none would be a mistake of this program.
pub(crate) fn network(rng: &mut ChaCha8Rng) -> Option<Topology> {
    // A fat tree has five routers at least, which is as large as the others.
    let shape = Shape::ALL[rng.random_range(0..Shape::ALL.len())];
    let routers = if shape == Shape::FatTree { 5 } else { rng.random_range(ROUTERS) };
    let request = Request { shape, routers, degree: None, seed: rng.random_range(1..1_000_000) };
    let gateways = rng.random_range(GATEWAYS).min(routers);
    let text = generate(&request).ok()?.dress(Some("explored"), Some(gateways)).ok()?;
    let topology = parse("generated", &dressed(&text, rng), Path::new("")).ok()?;
    Some(if rng.random_bool(0.7) { topology.without_qos() } else { topology })
}

/// The text with costs, second homes of gateways, and links whose frames overtake each other's.
fn dressed(text: &str, rng: &mut ChaCha8Rng) -> String {
    let of_router = text.lines().filter_map(|line| line.trim().split_once(": { kind: sr"));
    let routers: Vec<&str> = of_router.map(|(name, _)| name).collect();
    let (delay, jitter) = (rng.random_range(1..=50_u32) * 100, rng.random_range(0..=20_u32) * 100);
    let link = format!("link: {{ delay: {delay}us, jitter: {}us }}", jitter.min(delay));
    let mut out = String::new();
    for line in text.lines() {
        let ends =
            line.trim().strip_prefix("- [").and_then(|line| line.strip_suffix(']')).and_then(|l| l.split_once(", "));
        match ends {
            Some((a, b)) if routers.contains(&a) && routers.contains(&b) && rng.random_bool(0.33) => {
                let _ = writeln!(out, "  - {{ between: [{a}, {b}], cost: {} }}", rng.random_range(COSTS));
            }
            Some((sg, home)) if sg.starts_with("sg-") && rng.random_bool(0.6) => {
                let _ = writeln!(out, "{line}");
                let second = routers[rng.random_range(0..routers.len())];
                if second != home {
                    let _ = writeln!(out, "  - [{sg}, {second}]");
                }
            }
            _ => {
                let _ = writeln!(out, "{}", line.replace("link: { delay: 1ms, rate: 1gbit }", &link));
            }
        }
    }
    out
}
