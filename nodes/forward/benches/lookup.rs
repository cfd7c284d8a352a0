//! Time of a lookup, of a whole verdict, of an update and of link MACs, printed as nanoseconds: `cargo bench -p damc-forward`.

use std::hint::black_box;
use std::time::Instant;

use damc_forward::{
    Admission, Fib, FibBuilder, HashKey, Ingress, LinkKeys, NextHop, Op, PortId, Route, Verdict, forward,
};
use damc_wire::frame::{HeaderView, LinkKey};
use damc_wire::message::{Data, DataKind, Message};
use damc_wire::{Frame, Millis, Name};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Lookups in a row that are timed together; the best of several rounds counts, the machine may be busy.
const LOOKUPS: u32 = 200_000;
const ROUNDS: usize = 7;

fn main() {
    println!(
        "{:>9}  {:>10}  {:>12}  {:>11}  {:>10}",
        "prefixes", "lookup ns", "forward() ns", "update ns", "state B/pfx"
    );
    for prefixes in [100, 10_000, 100_000] {
        let (mut builder, names) = table(prefixes);
        let before = resident_bytes();
        let (copy, _) = table(prefixes);
        let bytes = resident_bytes().saturating_sub(before) / prefixes as usize;
        drop(copy);
        let fib = builder.apply([]);
        let (lookup, verdict) = (lookup_ns(&fib, &names), forward_ns(&fib, &names));
        let update = best(200, |i| drop(black_box(builder.apply([set(names[i as usize % names.len()].clone())]))));
        println!("{prefixes:>9}  {lookup:>10.1}  {verdict:>12.1}  {update:>11.1}  {bytes:>10}");
    }
    for size in [128, 1400] {
        let [without, with] = macs(size);
        println!("{size} B frame, link MACs off: {without:.1} ns, on: {with:.1} ns, {:.1} ns more", with - without);
    }
    let (mut builder, _) = table(1000);
    let deep: Vec<Name> = (1..=32).map(|depth| Name::from_components(vec!["a"; depth]).unwrap()).collect();
    let fib = builder.apply(deep[..31].iter().cloned().map(set));
    let hostile = Name::from_components((0..32).map(|i| if i < 31 { "a" } else { "b" })).unwrap();
    println!("32 components, a prefix of every depth: {:.1} ns", lookup_ns(&fib, &[hostile]));
    let miss = Name::from_components((0..32).map(|i| if i < 1 { "z" } else { "a" })).unwrap();
    println!("32 components, no match at any of 32 depths: {:.1} ns", lookup_ns(&fib, &[miss]));
}

/// Time of a verdict with all that is done to a frame that passes, without link MACs and with them.
fn macs(size: usize) -> [f64; 2] {
    [false, true].map(|with| {
        let (mut builder, names) = table(100);
        let key = LinkKey::new(&[7; 32]);
        let keys = |port| Op::Keys {
            port: PortId(port),
            keys: Some(LinkKeys { inbound: key.clone(), outbound: key.clone() }),
        };
        let fib = if with { builder.apply([keys(0), keys(1), keys(2)]) } else { builder.apply([]) };
        let frame = |payload: usize| {
            let data = Data { correlation: 1, kind: DataKind::Response, payload: vec![0; payload], hops: vec![] };
            Frame::plain(names[0].clone(), "/A/1".parse().unwrap(), 7, Message::Data(data)).encode().unwrap()
        };
        let mut pristine = frame(size - frame(0).len() - ETHERNET);
        key.seal(&mut pristine);
        let mut pdu = pristine.clone();
        best(LOOKUPS, |_| {
            pdu.copy_from_slice(&pristine);
            let verdict = forward(&fib, Ingress::Port(PortId(0)), &mut pdu);
            let Verdict::Send(port) = verdict else { panic!("{verdict:?}") };
            fib.seal(port, black_box(&mut pdu));
        })
    })
}

/// Names such as `/zone-3/service-17/instance-1234` with a route each.
fn table(prefixes: u32) -> (FibBuilder, Vec<Name>) {
    let name = |i: u32| format!("/zone-{}/service-{}/instance-{i}", i % 16, i % 512).parse().unwrap();
    let names: Vec<Name> = (0..prefixes).map(name).collect();
    let mut builder = FibBuilder::new(HashKey(0x0123_4567, 0x89ab_cdef));
    builder.apply([Op::Admit { port: PortId(0), rule: Admission::All }]);
    builder.apply(names.iter().cloned().map(set));
    (builder, names)
}

fn set(prefix: Name) -> Op {
    let next_hops = vec![NextHop::new(PortId(1), 1), NextHop::new(PortId(2), 1)];
    Op::Set(Route::plain(prefix, next_hops))
}

fn lookup_ns(fib: &Fib, names: &[Name]) -> f64 {
    best(LOOKUPS, |i| {
        black_box(fib.serves(&names[(i as usize * 7919) % names.len()]));
    })
}

fn forward_ns(fib: &Fib, names: &[Name]) -> f64 {
    let frame = |name: &Name| {
        let kind = DataKind::Request { method: "echo".into(), deadline: Millis(1000), context: None };
        let data = Data { correlation: 1, kind, payload: vec![0; 64], hops: vec![] };
        let below = Name::from_components(name.components().chain(["cart"])).unwrap();
        Frame::plain(below, "/A/1".parse().unwrap(), 7, Message::Data(data)).encode().unwrap()
    };
    let mut pdus: Vec<Vec<u8>> = names.iter().take(1024).map(frame).collect();
    best(LOOKUPS, |i| {
        let at = i as usize % pdus.len();
        let pdu = &mut pdus[at];
        HeaderView::of(&mut *pdu).set_hop_limit(64);
        black_box(forward(fib, Ingress::Port(PortId(0)), pdu));
    })
}

/// Nanoseconds of one `work`, best round.
fn best(count: u32, mut work: impl FnMut(u32)) -> f64 {
    let mut round = || {
        let begin = Instant::now();
        (0..count).for_each(&mut work);
        begin.elapsed().as_nanos() as f64 / f64::from(count)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Resident memory of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
