//! `cargo bench -p damc-bench --bench scale [-- NODES…]`: random networks of NODES SRs in virtual time, from start to
//! convergence. Prints a line for each network, with its wall time, its memory and the cost of a received LSA.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use damc_bench::resident_bytes;
use damc_sim::{Network, Sim};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Links for each SR.
const DENSITY: usize = 2;

fn main() {
    let wanted: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let wanted = if wanted.is_empty() { vec![100, 300, 1000] } else { wanted };
    println!(
        "nodes  links  converged ms  messages     MiB  LSAs taken  duplicates  SPF runs  wall s  µs/LSA  memory MiB"
    );
    for nodes in wanted {
        let begin = Instant::now();
        let network = network(nodes);
        let mut sim = Sim::new(&network.configs(1), 1).expect("a network by construction").without_events();
        sim.start();
        let converged = sim.converge(Duration::from_secs(3), Duration::from_secs(600));
        let wall = begin.elapsed().as_secs_f64();
        let memory = resident_bytes() >> 20;
        let s = sim.summary();
        assert!(converged.is_ok() && s.databases_equal, "not converged: {s:?}");
        let received = s.lsas_accepted + s.lsas_duplicate;
        println!(
            "{nodes:>5}  {:>5}  {:>12.1}  {:>8}  {:>6}  {:>10}  {:>10}  {:>8}  {wall:>6.1}  {:>6.1}  {memory:>10}",
            s.links,
            s.converged_ms,
            s.messages,
            s.bytes >> 20,
            s.lsas_accepted,
            s.lsas_duplicate,
            s.spf.runs,
            wall * 1e6 / received as f64
        );
    }
}

/// A random tree, and as many random links again. Hellos and echoes are as rare as in a lab of that size.
fn network(nodes: usize) -> Network {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let name = |i: usize| format!("sr-{i}");
    let mut network = (0..nodes).fold(Network::new(), |network, i| network.sr(&name(i)));
    let mut links = BTreeSet::new();
    while links.len() < nodes * DENSITY {
        let a = if links.len() + 1 < nodes { links.len() + 1 } else { rng.random_range(0..nodes) };
        let b = if links.len() + 1 < nodes { rng.random_range(0..a) } else { rng.random_range(0..nodes) };
        if a != b && links.insert((a.min(b), a.max(b))) {
            network = network.link(&name(a), &name(b), rng.random_range(1..=10));
        }
    }
    network.timers(|timers| {
        timers.echo_interval_ms = 2500;
        timers.hello_interval_ms = 10_000;
        timers.dead_interval_ms = 80_000;
    })
}
