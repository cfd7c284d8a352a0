//! Figure 2 as drawn, and that it works at all.

use core::time::Duration;

use damc_sim::{Call, Network, Sim};

const SECOND: Duration = Duration::from_secs(1);

pub fn fig2() -> Network {
    let mut n = Network::new().node("scsc", damc_wire::Role::Scsc);
    for sr in ["sr-left", "sr-right", "sr-bottom"] {
        n = n.sr(sr);
    }
    for i in 1..=4 {
        n = n.sg(&format!("sg-{i}")).node(&format!("spa-{i}"), damc_wire::Role::Spa);
    }
    n.pod("pod-1", &[("/A/1", Some("/A")), ("/B/1", Some("/B"))])
        .pod("pod-2", &[("/C/2", None)])
        .pod("pod-3", &[("/D/3", None)])
        .pod("pod-4", &[("/A/4", Some("/A")), ("/B/4", Some("/B"))])
        .link("sg-1", "sr-left", 1)
        .link("sg-1", "sr-right", 1)
        .link("sg-2", "sr-right", 1)
        .link("sg-2", "sr-left", 1)
        .link("sg-3", "sr-left", 1)
        .link("sg-3", "sr-bottom", 1)
        .link("sg-4", "sr-bottom", 1)
        .link("sg-4", "sr-right", 1)
        .link("sr-left", "sr-right", 1)
        .link("sr-left", "sr-bottom", 1)
        .link("sr-right", "sr-bottom", 1)
        .link("scsc", "sr-left", 1)
        .link("scsc", "sr-right", 1)
        .link("spa-1", "sg-1", 1)
        .link("spa-2", "sg-2", 1)
        .link("spa-3", "sg-3", 1)
        .link("spa-4", "sg-4", 1)
        .link("pod-1", "sg-1", 1)
        .link("pod-2", "sg-2", 1)
        .link("pod-3", "sg-3", 1)
        .link("pod-4", "sg-4", 1)
}

#[test]
fn two_routers_find_each_other_in_milliseconds() {
    let network = Network::new().sr("a").sr("b").link("a", "b", 3);
    let mut sim = Sim::new(&network.configs(1), 1).unwrap();
    sim.start();
    let started = sim.now();
    let both = |s: &Sim| s.fib("a").entries.len() == 2 && s.fib("b").entries.len() == 2;
    let at = sim.run_until(both, SECOND).unwrap();
    assert!(at.since(started) < Duration::from_millis(5), "{:?}", at.since(started));
    assert_eq!(sim.fib("a").entries[1].cost, 3);
}

#[test]
fn figure_2_converges_and_carries_calls() {
    let mut sim = Sim::new(&fig2().configs(1), 1).unwrap();
    sim.start();
    let settled = sim.settle(Duration::from_millis(700), 5 * SECOND).unwrap();
    assert!(settled.millis() < 1000, "{settled}");
    let routers = ["sr-left", "sr-right", "sr-bottom", "sg-1", "sg-2", "sg-3", "sg-4"];
    for node in routers {
        assert_eq!(sim.fib(node).entries.len(), 7 + 1 + 6 + 2, "{node}: nodes, SCSC, services, pools");
        assert_eq!(sim.lsdb(node).digest, sim.lsdb("sr-left").digest);
    }
    let handle = sim.call("pod-1", Call::echo("/B/4"));
    sim.run_for(SECOND);
    let outcome = &sim.seen("pod-1").calls[&handle];
    assert_eq!(outcome.result, Ok(b"ping".to_vec()));
    let path: Vec<&str> = outcome.path.iter().map(damc_wire::NodeId::as_str).collect();
    assert_eq!(path, ["sg-1", "sr-right", "sg-4"], "FIG-18");
}
