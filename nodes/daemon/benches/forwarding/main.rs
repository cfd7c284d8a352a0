//! What one SR carries and adds, beside a bare relay and the kernel's own ways over the same chain of links:
//! `cargo bench -p damc-daemon --bench forwarding [-- --out FOLDER] [--rounds N]`.
//!
//! Frames go as fast as they can from one end of a chain A → R → B, and are counted by B's interface. The sender has one
//! processor for itself, whatever forwards in R another. A bare relay takes frames from a receive ring and sends them on
//! unread: the limit of what a program can do here. The kernel's ways have no thread; they run on the sender's processor.
//! A second SR stands in a domain without link MACs, which tells what they cost.
//! For latencies the scheduler chooses processors. Rounds of all ways alternate, so that a busy moment of the machine
//! meets them alike.

mod chain;
mod compared_paths;
#[allow(dead_code, reason = "the bench needs a part of it")]
#[path = "../../tests/domain/mod.rs"]
mod domain;
#[allow(dead_code, reason = "the bench needs a part of it")]
#[path = "../../../link/tests/namespace/mod.rs"]
mod namespace;
mod sender;

use std::path::PathBuf;

use damc_bench::{Figure, Report};
use namespace::in_private_namespace;

use crate::compared_paths::Way;

/// Rounds of every way.
const ROUNDS: usize = 7;
/// Bytes of the Ethernet frames sent.
const SIZES: [usize; 2] = [100, 1400];

fn main() {
    let options = Options::read();
    in_private_namespace(move |links| {
        let mut report = Report::new();
        let mut lab = compared_paths::Lab::bring_up(links);
        lab.separate(false);
        latency(&lab, &mut report);
        report.add(Figure::new("latency", "call of pod-1 to pod-2 and back, SG, SR, SG each way", lab.calls()));
        lab.separate(true);
        throughput(&lab, &[Way::Mesh], options.rounds, &mut report);
        lab.leave_alone();
        throughput(&lab, &lab.ways(), options.rounds, &mut report);
        println!("{}", report.table());
        lab.absent().iter().for_each(|(peer, why)| println!("not measured: {peer}: {why}"));
        if let Some(folder) = &options.out {
            report.write(folder, "forwarding", "Forwarding, one core").expect("the figures can be written");
        }
    });
}

struct Options {
    out: Option<PathBuf>,
    rounds: usize,
}

impl Options {
    /// From the arguments; cargo's own `--bench` is ignored.
    fn read() -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |key: &str| arguments.iter().skip_while(|a| *a != key).nth(1);
        let rounds = value("--rounds").map(|n| n.parse().expect("--rounds takes a number"));
        Self { out: value("--out").map(PathBuf::from), rounds: rounds.unwrap_or(ROUNDS) }
    }
}

/// Time of one frame behind R at full speed, by way and size.
fn throughput(lab: &compared_paths::Lab, ways: &[Way], rounds: usize, report: &mut Report) {
    for size in SIZES {
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
        for _ in 0..rounds {
            for (way, samples) in ways.iter().zip(&mut samples) {
                samples.push(lab.flood(*way, size));
            }
        }
        let figure =
            |(way, samples): (&Way, Vec<f64>)| (*way, Figure::new("frames through", &name(*way, size), samples));
        let figures: Vec<(Way, Figure)> = ways.iter().zip(samples).map(figure).collect();
        let rate = |way: Way| figures.iter().find(|(w, _)| *w == way).map(|(_, f)| f.per_second());
        for (way, figure) in figures.clone() {
            let ratio = |to: Way| rate(to).map(|other| format!("{:.2} × {}", figure.per_second() / other, to.label()));
            let beside = [Way::Bare, Way::Ipv6, Way::Unsealed].into_iter().filter(|to| *to != way).filter_map(ratio);
            let note = beside.collect::<Vec<_>>().join(", ");
            let target =
                if way == Way::Sr && size == SIZES[0] { "≥ 0.85 × bare relay, ≥ 1.2 × kernel IPv6" } else { "" };
            report.add(figure.note(note).target(target));
        }
    }
}

fn name(way: Way, size: usize) -> String {
    format!("{}, {size} B", way.label())
}

/// Time of a frame from before it is sent until the kernel stamps it behind R, at 1000 frames a second.
fn latency(lab: &compared_paths::Lab, report: &mut Report) {
    let direct = Figure::new("latency", "one link, nothing between", lab.trickle(None));
    let base = direct.median_ns;
    report.add(direct);
    for way in lab.ways() {
        let figure = Figure::new("latency", &way.label(), lab.trickle(Some(way)));
        let added = |ns: f64| (ns - base) / 1000.0;
        let note = format!("adds p50 {:.1} µs, p99 {:.1} µs", added(figure.median_ns), added(figure.p99_ns));
        let target = if way == Way::Sr { "adds p50 ≤ 15 µs, p99 ≤ 100 µs" } else { "" };
        report.add(figure.note(note).target(target));
    }
}
