//! Clocks that are years apart and run at different speeds: nobody compares two of them.

use core::time::Duration;

use damc_mgmt::words::ProtocolCounter;
use damc_sim::Sim;
use damc_wire::Role;

use crate::{SECOND, call, everywhere, small, text};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Adjacencies that went down so far, at all nodes.
fn flaps(sim: &Sim) -> u64 {
    sim.node_names().iter().map(|node| sim.counter(node, ProtocolCounter::AdjacencyFlaps)).sum()
}

/// A network whose grants live two seconds, with an SCSC.
fn off(skews: &[(&str, u32)], drifts: &[(&str, i32)]) -> Sim {
    let network = small().node("scsc", Role::Scsc).link("sr-1", "scsc", 1).timers(|t| t.grant_lifetime_ms = 2000);
    let mut sim = Sim::new(&network.configs(1), 1).expect("valid configurations");
    for (node, years) in skews {
        sim.skew_clock(node, YEAR * *years);
    }
    for (node, ppm) in drifts {
        sim.drift_clock(node, *ppm);
    }
    sim.start();
    sim
}

/// Every name is everywhere through ten lives of its grant, no adjacency goes down, and calls pass.
fn goes_on(mut sim: Sim) {
    let names = ["/A/1", "/A/2", "/B/1", "/C/3", "/damc/example/scsc"];
    let all = |s: &Sim| names.iter().all(|name| everywhere(s, name));
    sim.run_until(all, 10 * SECOND).expect("registered");
    for _ in 0..200 {
        sim.run_for(Duration::from_millis(100));
        let missing: Vec<_> = names.iter().filter(|name| !everywhere(&sim, name)).collect();
        assert!(missing.is_empty(), "{missing:?} at {:?}", sim.now());
    }
    assert_eq!(flaps(&sim), 0);
    let (outcome, _) = call(&mut sim, "pod-2", "/C/3", "add", "4 5");
    assert_eq!(text(&outcome), Ok("9".into()));
    let (outcome, _) = call(&mut sim, "pod-1", "/A/2", "echo", "x");
    assert_eq!(text(&outcome), Ok("x".into()));
}

#[test]
fn clocks_years_apart_change_nothing() {
    goes_on(off(&[("spa-1", 10), ("scsc", 3), ("sr-1", 1), ("pod-2", 20), ("sg-2", 5)], &[]));
}

#[test]
fn clocks_that_run_at_different_speeds_change_nothing() {
    // A hundred times what the worst crystals do.
    let drifts = [("spa-1", 20_000), ("spa-2", -20_000), ("scsc", 10_000), ("sr-1", -20_000), ("sg-1", 20_000)];
    goes_on(off(&[("spa-2", 2), ("sr-2", 1)], &drifts));
}

#[test]
fn an_spa_that_restarts_with_an_earlier_clock_is_believed_again() {
    let mut sim = off(&[("spa-1", 10)], &[]);
    sim.run_until(|s| everywhere(s, "/A/1"), 10 * SECOND).expect("registered");
    sim.kill("spa-1");
    sim.run_for(SECOND / 2);
    // Its clock is ten years behind what it said before: to everybody its grants are over when they come.
    sim.skew_clock("spa-1", Duration::ZERO);
    sim.start_node("spa-1");
    sim.run_for(3 * SECOND);
    assert!(!everywhere(&sim, "/A/1"), "what is over by what the SPA itself has said stays over");
    assert!(everywhere(&sim, "/A/2"), "another SPA is not concerned");
    sim.kill("spa-1");
    sim.skew_clock("spa-1", 11 * YEAR);
    sim.start_node("spa-1");
    sim.run_until(|s| everywhere(s, "/A/1"), 10 * SECOND)
        .expect("believed as soon as its clock is not behind any more");
}
