//! Longest-prefix match: a few names again and again, random names, and names that an adversary would choose.

use damc_bench::{Report, measure, resident_bytes};
use damc_forward::{Fib, FibBuilder, HashKey, NextHop, Op, PortId, Route};
use damc_wire::Name;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Number of names in the case with few names, which are looked up in turn.
const HOT: usize = 64;
/// Lookups in one call, so that the loop around them does not count.
const ROUND: usize = 64;
const MISSES: usize = 4096;

pub fn run(report: &mut Report) {
    for (prefixes, label) in [(1000_usize, "1 k"), (100_000, "100 k"), (1_000_000, "1 M")] {
        let names: Vec<Name> = (0..prefixes).map(name).collect();
        let before = resident_bytes();
        let mut builder = FibBuilder::new(HashKey(0x0123_4567, 0x89ab_cdef));
        let fib = builder.apply(names.iter().map(|n| set(fresh(n))));
        let bytes = resident_bytes().saturating_sub(before) / prefixes;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let wanted = if prefixes == 1_000_000 { ["≥ 10 M/s", "≥ 5 M/s, ≤ 200 B"] } else { ["", ""] };
        let hot: Vec<Name> = (0..HOT).map(|_| below(&names[rng.random_range(0..prefixes)])).collect();
        add(report, &fib, &hot, &format!("{label} prefixes, hot"), wanted[0], String::new());
        // As many names as prefixes: if the table is larger than the caches, each name is new to them.
        let mut random: Vec<Name> = Vec::with_capacity(prefixes);
        random.extend((0..prefixes).map(|_| below(&names[rng.random_range(0..prefixes)])));
        let note = if prefixes < 10_000 { String::new() } else { format!("{bytes} B per prefix, name included") };
        add(report, &fib, &random, &format!("{label} prefixes, random"), wanted[1], note);
    }
    hostile(report);
}

/// Names of the greatest depth, a table with prefixes of every depth, and never a match that is quick to find.
fn hostile(report: &mut Report) {
    let deep: Vec<Name> = (1..=32).map(|depth| Name::from_components(vec!["a"; depth]).unwrap()).collect();
    let mut builder = FibBuilder::new(HashKey(3, 4));
    let fib = builder.apply(deep.iter().cloned().map(set));
    let miss = |i: usize| {
        let first = format!("{i:x}");
        Name::from_components(std::iter::once(first.as_str()).chain(vec!["a"; 31])).unwrap()
    };
    let misses: Vec<Name> = (0..MISSES).map(miss).collect();
    let note = "prefixes at all 32 depths, no match at any".to_owned();
    add(report, &fib, &misses, "32 components, worst case", "", note);
}

fn add(report: &mut Report, fib: &Fib, names: &[Name], what: &str, target: &str, note: String) {
    // Like the forwarding thread: warms a batch of frames, then looks them up.
    let figure = measure("lpm", what, |round| {
        let name = |i: usize| &names[(round * ROUND + i) % names.len()];
        fib.warm((0..ROUND).map(|i| name(i).wire()));
        (0..ROUND).filter(|i| fib.serves(name(*i))).count()
    });
    report.add(figure.each_of(ROUND).target(target).note(note));
}

/// The `i`-th name, such as `/zone-3/service-17/instance-1234`.
fn name(i: usize) -> Name {
    format!("/zone-{}/service-{}/instance-{i}", i % 16, i % 512).parse().unwrap()
}

/// A destination of frames: a name below the prefix.
fn below(prefix: &Name) -> Name {
    Name::from_components(prefix.components().chain(["cart"])).unwrap()
}

/// A copy that shares no memory, like a name from a message.
fn fresh(name: &Name) -> Name {
    Name::from_wire(name.wire()).unwrap()
}

fn set(prefix: Name) -> Op {
    let next_hops = vec![NextHop::new(PortId(1), 1), NextHop::new(PortId(2), 1)];
    Op::Set(Route::plain(prefix, next_hops))
}
