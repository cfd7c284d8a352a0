//! Longest-prefix match: the same few names again and again, names at random, and what an adversary would ask for.

use damc_bench::{Report, measure, resident_bytes};
use damc_forward::{Fib, FibBuilder, HashKey, NextHop, Op, PortId, Route};
use damc_wire::Name;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Names that are looked up in turn where few are.
const HOT: usize = 64;
/// Lookups of one call: the loop around it is not what is measured.
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
        // As many names as there are prefixes: each is new to the caches where the table is larger than they are.
        let mut random: Vec<Name> = Vec::with_capacity(prefixes);
        random.extend((0..prefixes).map(|_| below(&names[rng.random_range(0..prefixes)])));
        let note = if prefixes < 10_000 { String::new() } else { format!("{bytes} B per prefix, name included") };
        add(report, &fib, &random, &format!("{label} prefixes, random"), wanted[1], note);
    }
    hostile(report);
}

/// Deepest names, a prefix of every depth in the table, and never a match that is short to find.
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
    // As the forwarding thread does it: a batch of frames is warmed, then looked up.
    let figure = measure("lpm", what, |round| {
        let name = |i: usize| &names[(round * ROUND + i) % names.len()];
        fib.warm((0..ROUND).map(|i| name(i).wire()));
        (0..ROUND).filter(|i| fib.serves(name(*i))).count()
    });
    report.add(figure.each_of(ROUND).target(target).note(note));
}

/// Such as `/zone-3/service-17/instance-1234`.
fn name(i: usize) -> Name {
    format!("/zone-{}/service-{}/instance-{i}", i % 16, i % 512).parse().unwrap()
}

/// What frames ask for: something below the prefix.
fn below(prefix: &Name) -> Name {
    Name::from_components(prefix.components().chain(["cart"])).unwrap()
}

/// A copy that shares no memory, as a name that came in a message.
fn fresh(name: &Name) -> Name {
    Name::from_wire(name.wire()).unwrap()
}

fn set(prefix: Name) -> Op {
    let next_hops = vec![NextHop { port: PortId(1), weight: 1 }, NextHop { port: PortId(2), weight: 1 }];
    Op::Set(Route::plain(prefix, next_hops))
}
