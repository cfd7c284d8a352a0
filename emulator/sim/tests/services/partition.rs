//! A network in two parts that both go on changing, for longer than tombstones stand.

use core::time::Duration;

use damc_sim::Sim;

use crate::{SECOND, call, everywhere, nowhere, service, small, text, up};

/// Tombstones are gone from every database.
const OUTLASTING: Duration = Duration::from_secs(65);

fn digests(sim: &Sim) -> Vec<String> {
    let mut digests: Vec<String> = ["sr-1", "sr-2", "sg-1", "sg-2"].map(|n| sim.lsdb(n).digest).to_vec();
    digests.dedup();
    digests
}

/// Both sides withdraw and register, then they are one again; after so long.
fn heals(apart: Duration) {
    let mut sim = up(&small(), 3);
    sim.set_link("sr-1", "sr-2", false);
    sim.run_for(SECOND);
    service(&mut sim, "pod-1", "/B/1", false);
    service(&mut sim, "pod-2", "/shop", false);
    service(&mut sim, "pod-1", "/A/1/new", true);
    service(&mut sim, "pod-2", "/A/2/new", true);
    sim.run_for(apart);
    let stale = sim.lsdb("sr-2").lsas.iter().any(|l| l.id == "/B/1" && !l.purged);
    assert!(stale, "the other side has not heard of the withdrawal");
    sim.set_link("sr-1", "sr-2", true);
    let new = |s: &Sim| everywhere(s, "/A/1/new") && everywhere(s, "/A/2/new");
    let old = |s: &Sim| nowhere(s, "/B/1") && nowhere(s, "/shop");
    sim.run_until(|s| new(s) && old(s), 2 * SECOND).expect("both sides know all");
    // What is gone stays gone, also when the tombstones of the two sides end at different times.
    for _ in 0..70 {
        sim.run_for(SECOND);
        assert!(old(&sim) && new(&sim), "at {:?}", sim.now());
    }
    for node in ["sr-1", "sr-2", "sg-1", "sg-2"] {
        let back: Vec<_> = sim.lsdb(node).lsas.into_iter().filter(|l| l.id == "/B/1" || l.id == "/shop").collect();
        assert!(back.is_empty(), "{node}: {back:?}");
    }
    assert_eq!(digests(&sim).len(), 1);
    let (outcome, _) = call(&mut sim, "pod-2", "/A/1", "echo", "one");
    assert_eq!(text(&outcome), Ok("one".into()));
}

#[test]
fn a_partition_that_heals_while_tombstones_stand() {
    heals(SECOND);
}

#[test]
fn a_partition_that_outlasts_the_tombstones() {
    heals(OUTLASTING);
}
