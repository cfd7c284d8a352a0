//! Flooding, database exchange and purge, explored: every way in which a few frames of a change may go wrong.
//!
//! The routers are the real ones, and a run is a whole run: the state of a router is too large to be kept and compared. What is
//! explored is every schedule that differs from the undisturbed one in at most so many places (after the delay-bounded
//! scheduling of Emmi, Qadeer and Rakamarić, POPL 2011): at each frame of class 2 after the change one of
//! [`Deviation::ALL`]. After each run the network comes to rest, and all databases are the same and true.
//!
//! `DAMC_MODEL_DEPTH=2` explores two places; `just model` does. Without it one place is explored.

mod net;

use core::time::Duration;

use net::{Deviation, Net, Shape};

/// A change that is followed under all schedules.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The prefix is withdrawn.
    Purge,
    /// The prefix is withdrawn, and advertised again while its purge spreads.
    PurgeAndBack,
    /// A link costs more, twice in a row.
    Flooding,
    /// The first router comes back to the others. Meanwhile it has withdrawn its prefix, and the last one has another cost.
    Exchange,
}

/// A network: routers and links.
type Graph = (&'static str, usize, &'static [(usize, usize)]);

const LINE: Graph = ("three in a line", 3, &[(0, 1), (1, 2)]);
const TRIANGLE: Graph = ("three in a triangle", 3, &[(0, 1), (1, 2), (0, 2)]);
const RING: Graph = ("four in a ring", 4, &[(0, 1), (1, 2), (2, 3), (0, 3)]);
const KITE: Graph = ("four, two of them joined by all", 4, &[(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]);

/// One run of a change under a plan; how many points of choice it had.
fn run(shape: &Shape, change: Change, plan: &[(usize, Deviation)]) -> Result<usize, String> {
    let mut net = Net::up(shape);
    let last = shape.len() - 1;
    let before_last = last - 1;
    match change {
        Change::Purge => {
            net.follow(plan);
            net.advertise(false);
        }
        Change::PurgeAndBack => {
            net.follow(plan);
            net.advertise(false);
            net.pass(Duration::from_millis(60));
            net.advertise(true);
        }
        Change::Flooding => {
            net.follow(plan);
            net.set_cost(last, before_last, 7);
            net.pass(Duration::from_millis(60));
            net.set_cost(last, before_last, 9);
        }
        Change::Exchange => {
            let links: Vec<usize> = shape.neighbours(0).collect();
            links.iter().for_each(|far| net.set_link(0, *far, false));
            net.rest()?;
            net.advertise(false);
            net.set_cost(last, before_last, 7);
            net.rest()?;
            net.follow(plan);
            links.iter().for_each(|far| net.set_link(0, *far, true));
        }
    }
    net.rest()?;
    net.judge()?;
    Ok(net.points.unwrap_or(0))
}

/// What an exploration has seen.
#[derive(Debug, Default)]
struct Explored {
    runs: usize,
    points: usize,
}

/// All plans that begin with this one and have `depth` deviations at most.
fn explore(shape: &Shape, change: Change, plan: &mut Vec<(usize, Deviation)>, depth: usize, seen: &mut Explored) {
    let points = run(shape, change, plan).unwrap_or_else(|why| panic!("{change:?} under {plan:?}: {why}"));
    seen.runs += 1;
    seen.points = seen.points.max(points);
    if plan.len() == depth {
        return;
    }
    let from = plan.last().map_or(0, |(at, _)| at + 1);
    for at in from..points {
        for deviation in Deviation::ALL {
            plan.push((at, deviation));
            explore(shape, change, plan, depth, seen);
            plan.pop();
        }
    }
}

/// Deviations that the environment asks for, or as many as a test has time for.
fn depth() -> usize {
    std::env::var("DAMC_MODEL_DEPTH").map_or(1, |text| text.parse().expect("DAMC_MODEL_DEPTH is a number"))
}

fn all(change: Change, graphs: &[Graph]) {
    let depth = depth();
    for (name, count, links) in graphs {
        let shape = Shape::new(*count, links);
        let mut seen = Explored::default();
        explore(&shape, change, &mut Vec::new(), depth, &mut seen);
        println!("{change:?}, {name}: {} runs, {} frames at most, {depth} deviations", seen.runs, seen.points);
        let undisturbed = run(&shape, change, &[]).expect("it passed before");
        assert!(undisturbed > 3 && seen.runs > undisturbed * Deviation::ALL.len(), "{undisturbed} frames, {seen:?}");
    }
}

#[test]
fn a_withdrawal_reaches_everybody() {
    all(Change::Purge, &[LINE, TRIANGLE, RING, KITE]);
}

#[test]
fn what_comes_back_while_its_purge_spreads_is_back_everywhere() {
    all(Change::PurgeAndBack, &[LINE, TRIANGLE, RING]);
}

#[test]
fn the_newest_of_two_changes_is_everywhere() {
    all(Change::Flooding, &[LINE, TRIANGLE, RING, KITE]);
}

#[test]
fn two_databases_become_one() {
    all(Change::Exchange, &[LINE, TRIANGLE, RING]);
}
