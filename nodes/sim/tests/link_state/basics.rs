use core::time::Duration;

use damc_sim::{Call, Network, Sim};

const SECOND: Duration = Duration::from_secs(1);

pub fn fig2() -> Network {
    let mut n = Network::new();
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
fn two_routers_find_each_other() {
    let network = Network::new().sr("a").sr("b").link("a", "b", 3);
    let mut sim = Sim::new(&network.configs(1), 1).unwrap();
    sim.start();
    let at = sim.run_until(|s| s.fib("a").entries.len() == 2 && s.fib("b").entries.len() == 2, SECOND);
    println!("{at:?}");
    println!("{:#?}", sim.fib("a"));
    for n in ["a", "b"] {
        for (t, e) in &sim.seen(n).events {
            println!("{n} {t} {e:?}");
        }
        println!("{:?}", sim.seen(n).dropped);
    }
    at.unwrap();
}

#[test]
fn figure_2() {
    let mut sim = Sim::new(&fig2().configs(1), 1).unwrap();
    sim.start();
    let t = sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
    println!("settled {t}");
    for n in ["sr-left", "sg-1"] {
        for e in sim.fib(n).entries {
            println!("{n} {e:?}");
        }
    }
    for n in sim.node_names() {
        println!("{n} {:?} {:?} fib {}", sim.seen(&n).dropped, sim.seen(&n).sent, sim.seen(&n).fib_changed_at);
    }
    let h = sim.call("pod-1", Call::echo("/B/4"));
    sim.run_for(SECOND);
    println!("{:?}", sim.seen("pod-1").calls[&h]);
}
