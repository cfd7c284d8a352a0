//! A link that is silent for a moment: what lies behind it is unreachable, and it is nobody's to withdraw.

use core::time::Duration;

use damc_mgmt::event::EventKind;
use damc_sim::Sim;

use crate::{SECOND, everywhere, nowhere, small, up};

fn silence(sim: &mut Sim, a: &str, b: &str, silent: bool) {
    sim.set_silent(a, b, silent);
    sim.set_silent(b, a, silent);
}

/// Purges that an SG has originated.
fn purges(sim: &Sim, sg: &str) -> usize {
    let purge = |(_, event): &&(_, EventKind)| matches!(event, EventKind::LsaOriginated { purge: true, .. });
    sim.seen(sg).events.iter().filter(purge).count()
}

/// Silences every link of the small network for so long, one after the other; gives how many adjacencies were lost.
fn blips(sim: &mut Sim, span: Duration) -> u64 {
    let links = [("pod-1", "sg-1"), ("pod-2", "sg-2"), ("sg-1", "sr-1"), ("sr-1", "sr-2"), ("sg-1", "spa-1")];
    let flaps = |sim: &Sim| -> u64 {
        let views = sim.node_names().into_iter().map(|node| sim.neighbors(&node));
        views.flat_map(|view| view.neighbors).map(|neighbor| neighbor.flaps).sum()
    };
    let before = flaps(sim);
    for (a, b) in links {
        silence(sim, a, b, true);
        sim.run_for(span);
        silence(sim, a, b, false);
        let back = |s: &Sim| ["/A/1", "/A", "/B/1", "/A/2", "/shop", "/C/3"].iter().all(|name| everywhere(s, name));
        sim.run_until(back, 2 * SECOND).unwrap_or_else(|e| panic!("{a}-{b}: {e:?}"));
        sim.run_for(SECOND);
    }
    flaps(sim) - before
}

#[test]
fn a_silence_of_150_ms_withdraws_nothing() {
    let mut sim = up(&small(), 1);
    blips(&mut sim, Duration::from_millis(150));
    assert_eq!((purges(&sim, "sg-1"), purges(&sim, "sg-2")), (0, 0));
}

#[test]
fn a_silence_that_takes_adjacencies_down_withdraws_nothing_within_the_grace() {
    let mut sim = up(&small(), 1);
    assert!(blips(&mut sim, Duration::from_millis(400)) >= 10, "every adjacency went down at both ends");
    assert_eq!((purges(&sim, "sg-1"), purges(&sim, "sg-2")), (0, 0));
}

#[test]
fn a_silent_pod_is_unreachable_at_once_and_withdrawn_after_the_grace() {
    let mut sim = up(&small(), 1);
    let known = |sim: &Sim| {
        let lsas = sim.lsdb("sr-2").lsas;
        lsas.into_iter().find(|lsa| lsa.id == "/shop").is_some_and(|lsa| !lsa.purged)
    };
    silence(&mut sim, "pod-2", "sg-2", true);
    let begin = sim.now();
    let end = sim.run_until(|s| nowhere(s, "/shop"), SECOND).expect("unreachable everywhere");
    assert!(end.since(begin) <= Duration::from_millis(260), "{:?}", end.since(begin));
    assert!(everywhere(&sim, "/A"), "the pool has another member");
    assert!(known(&sim), "but still the pod's own");
    sim.run_for(Duration::from_millis(2900));
    assert!(known(&sim));
    sim.run_until(|s| !known(s), SECOND).expect("withdrawn when the grace is over");
    silence(&mut sim, "pod-2", "sg-2", false);
    sim.run_until(|s| everywhere(s, "/shop"), 2 * SECOND).expect("registered anew");
}
