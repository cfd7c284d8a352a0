//! A star of a hundred, whose centre says what it has in several fragments.

use core::time::Duration;

use damc_mgmt::words::ProtocolCounter;
use damc_proto::router::PORTS_PER_FRAGMENT;
use damc_sim::{Network, Sim};

const LEAVES: usize = 100;

fn leaf(at: usize) -> String {
    format!("leaf-{at:02}")
}

/// Numbers of the centre's fragments, as a leaf holds them.
fn fragments(sim: &Sim) -> Vec<(String, u64, usize)> {
    let lsdb = sim.lsdb(&leaf(LEAVES - 1));
    let of_hub = lsdb.lsas.into_iter().filter(|l| l.origin == "hub" && !l.purged);
    of_hub.map(|l| (l.id, l.sequence, l.links.len())).collect()
}

#[test]
fn a_star_of_100_spans_fragments_and_a_link_event_changes_one_of_them() {
    let mut network = Network::new().sr("hub").timers(|t| t.echo_interval_ms = 0);
    for at in 0..LEAVES {
        network = network.sr(&leaf(at)).link("hub", &leaf(at), 1);
    }
    let mut sim = Sim::new(&network.configs(1), 1).unwrap().without_events();
    sim.start();
    let routed = |s: &Sim, at: usize| s.fib(&leaf(at)).entries.len();
    let all = |s: &Sim| (0..LEAVES).all(|at| routed(s, at) == LEAVES + 1);
    sim.run_until(all, Duration::from_secs(60)).expect("every leaf knows the way to every other");
    sim.run_for(Duration::from_secs(2));
    let before = fragments(&sim);
    assert_eq!(before.len(), LEAVES.div_ceil(PORTS_PER_FRAGMENT), "{before:?}");
    assert_eq!(before.iter().map(|(_, _, links)| links).sum::<usize>(), LEAVES);
    let compared = sim.counter(&leaf(99), ProtocolCounter::LinksCompared);
    sim.set_link("hub", &leaf(50), false);
    let gone = |s: &Sim| routed(s, 99) == LEAVES;
    sim.run_until(gone, Duration::from_secs(5)).expect("one leaf is gone");
    sim.run_for(Duration::from_secs(1));
    let after = fragments(&sim);
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(changed, 1, "{before:?} {after:?}");
    let work = sim.counter(&leaf(99), ProtocolCounter::LinksCompared) - compared;
    assert!(work <= PORTS_PER_FRAGMENT as u64, "{work} links compared");
    sim.set_link("hub", &leaf(50), true);
    sim.run_until(all, Duration::from_secs(10)).expect("and back");
}
