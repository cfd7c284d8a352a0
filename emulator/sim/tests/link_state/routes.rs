//! Rows 14, 15, 23, 27: routes, and what it takes to change them.

use core::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::view::FibEntryView;
use damc_mgmt::words::ProtocolCounter;
use damc_proto::io::Order;
use damc_sim::{Call, Network, Sim};
use damc_wire::Role;

use crate::basics::fig2;

const SECOND: Duration = Duration::from_secs(1);

fn settled(network: &Network, seed: u64) -> Sim {
    let mut sim = Sim::new(&network.configs(1), seed).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(700), 10 * SECOND).unwrap();
    sim.run_for(2 * SECOND); // The delay machines are quiet again.
    sim
}

fn entry(sim: &Sim, node: &str, prefix: &str) -> Option<FibEntryView> {
    sim.fib(node).entries.into_iter().find(|e| e.prefix == prefix)
}

fn hops(sim: &Sim, node: &str, prefix: &str) -> Vec<String> {
    entry(sim, node, prefix).map(|e| e.next_hops.into_iter().map(|h| h.node).collect()).unwrap_or_default()
}

#[test]
fn checklist_15_prefix_changes_cost_no_shortest_path_run() {
    let mut sim = settled(&fig2().timers(|p| p.probe_interval_ms = 3_600_000), 1);
    let routers = ["sr-left", "sr-right", "sr-bottom", "sg-1", "sg-2", "sg-3", "sg-4"];
    let before: Vec<u64> = routers.iter().map(|n| sim.counter(n, ProtocolCounter::SpfRuns)).collect();
    let partial = sim.counter("sr-left", ProtocolCounter::PartialRuns);
    for i in 0..300 {
        let order = |running| Order::Service {
            prefix: format!("/flap/{}", i % 7).parse().unwrap(),
            pool: None,
            weight: 1,
            running,
        };
        sim.order("pod-1", order(true));
        sim.run_for(Duration::from_millis(1));
        // Each name once: one that flaps is held down.
        let prefix = format!("/C/2/{}", i / 2).parse().unwrap();
        sim.order("pod-2", Order::Service { prefix, pool: None, weight: 1, running: i % 2 == 0 });
        sim.run_for(Duration::from_millis(60));
    }
    let after: Vec<u64> = routers.iter().map(|n| sim.counter(n, ProtocolCounter::SpfRuns)).collect();
    assert_eq!(after, before);
    assert!(sim.counter("sr-left", ProtocolCounter::PartialRuns) >= partial + 250, "they did arrive");
}

#[test]
fn checklist_15_a_cost_off_all_shortest_paths_costs_no_run() {
    let network = Network::new()
        .sr("a")
        .sr("b")
        .sr("c")
        .sr("d")
        .link("a", "b", 1)
        .link("b", "c", 1)
        .link("a", "c", 10)
        .link("c", "d", 1);
    let mut sim = settled(&network, 1);
    let runs = |s: &Sim| ["a", "b", "d"].map(|n| s.counter(n, ProtocolCounter::SpfRuns));
    let before = runs(&sim);
    sim.set_cost("c", "a", 12);
    sim.run_for(2 * SECOND);
    assert_eq!(sim.lsdb("d").lsas.iter().find(|l| l.origin == "c").unwrap().links[0].cost, 12);
    assert_eq!(runs(&sim), before);
    sim.set_cost("c", "b", 12);
    sim.run_for(2 * SECOND);
    assert_eq!(runs(&sim)[2], before[2] + 1, "on d's shortest path to b and a");
}

#[test]
fn checklist_17_first_event_is_computed_at_once() {
    let mut sim = settled(&fig2(), 1);
    sim.set_link("sg-1", "sr-right", false);
    let cut = sim.now();
    assert_eq!(sim.seen("sg-1").fib_changed_at, cut, "no timer between event and table");
    assert_eq!(hops(&sim, "sg-1", "/damc/example/sr-right"), ["sr-left"]);
    sim.run_for(Duration::from_millis(2));
    assert_eq!(hops(&sim, "sr-bottom", "/damc/example/sg-1"), ["sr-left"], "two hops away: the time of two links");
}

#[test]
fn checklist_23_an_overloaded_node_is_not_passed_through_but_served() {
    let mut sim = settled(&fig2(), 1);
    let left = hops(&sim, "sg-3", "/damc/example/sg-1");
    assert_eq!(left, ["sr-left"]);
    sim.command("sr-left", &Command::Overload { on: true });
    sim.settle(Duration::from_millis(600), 3 * SECOND).unwrap();
    assert_eq!(hops(&sim, "sg-3", "/damc/example/sg-1"), ["sr-bottom"]);
    assert_eq!(hops(&sim, "sg-3", "/damc/example/sr-left"), ["sr-left"], "it is still reachable itself");
    let handle = sim.call("pod-1", Call::echo("/D/3"));
    sim.run_for(SECOND);
    let outcome = &sim.seen("pod-1").calls[&handle];
    assert!(outcome.result.is_ok());
    assert!(!outcome.path.iter().any(|n| n.as_str() == "sr-left"), "{:?}", outcome.path);
    sim.command("sr-left", &Command::Overload { on: false });
    sim.settle(Duration::from_millis(600), 3 * SECOND).unwrap();
    assert_eq!(hops(&sim, "sg-3", "/damc/example/sg-1"), left);
}

#[test]
fn con_07_an_sg_is_never_passed_through_unless_configured() {
    let network = || Network::new().sr("a").sr("b").sg("g").link("a", "g", 1).link("g", "b", 1).link("a", "b", 9);
    assert_eq!(hops(&settled(&network(), 1), "a", "/damc/example/b"), ["b"]);
    assert_eq!(hops(&settled(&network().transit("g"), 1), "a", "/damc/example/b"), ["g"]);
}

#[test]
fn checklist_27_a_pool_is_reached_at_its_nearest_instances() {
    let sim = settled(&fig2(), 1);
    let at = |node: &str| entry(&sim, node, "/A").map(|e| (e.cost, e.origin, e.exact)).unwrap();
    assert_eq!(at("sg-1"), (1, vec!["sg-1".into()], true));
    assert_eq!(at("sr-left"), (2, vec!["sg-1".into()], true));
    assert_eq!(at("sr-bottom"), (2, vec!["sg-4".into()], true));
    assert_eq!(at("sr-right"), (2, vec!["sg-1".into(), "sg-4".into()], true), "equally near: both");
    assert_eq!(hops(&sim, "sr-right", "/A"), ["sg-1", "sg-4"]);
    assert_eq!(at("sg-3"), (3, vec!["sg-1".into(), "sg-4".into()], true));
    assert_eq!(hops(&sim, "sg-3", "/A"), ["sr-bottom", "sr-left"]);
}

#[test]
fn checklist_27_losing_the_nearest_falls_back_to_the_next() {
    let mut sim = settled(&fig2(), 1);
    sim.kill("pod-1");
    sim.run_until(|s| entry(s, "sg-1", "/A").is_some_and(|e| e.origin == ["sg-4"]), 2 * SECOND).unwrap();
    sim.settle(Duration::from_millis(600), 3 * SECOND).unwrap();
    assert_eq!(hops(&sim, "sr-right", "/A"), ["sg-4"]);
    assert_eq!(entry(&sim, "sr-left", "/A/1"), None);
}

#[test]
fn fig_17_the_scsc_is_reached_by_name_over_either_sr() {
    let mut sim = settled(&fig2(), 1);
    let scsc = "/damc/example/scsc";
    assert_eq!(hops(&sim, "sr-left", scsc), ["scsc"]);
    assert_eq!(hops(&sim, "sg-3", scsc), ["sr-left"]);
    sim.kill("sr-left");
    sim.run_until(|s| hops(s, "sg-3", scsc) == ["sr-bottom"], 2 * SECOND).unwrap();
}

#[test]
fn rib_03_every_fib_entry_has_its_rib_parent() {
    let sim = settled(&fig2(), 1);
    for node in ["sr-left", "sr-right", "sr-bottom", "sg-1", "sg-2", "sg-3", "sg-4"] {
        let rib = sim.rib(node).routes;
        for entry in sim.fib(node).entries {
            let chosen: Vec<_> = rib.iter().filter(|r| r.prefix == entry.prefix && r.chosen).collect();
            let origins: Vec<String> = chosen.iter().map(|r| r.origin.clone()).collect();
            assert_eq!(origins, entry.origin, "{node} {}", entry.prefix);
            assert!(chosen.iter().all(|r| r.cost == entry.cost));
        }
    }
    assert!(sim.rib("sr-left").routes.iter().any(|r| !r.chosen), "candidates that were not chosen are listed too");
}

#[test]
fn fragments_carry_more_links_than_one_frame_holds() {
    let mut network = Network::new().sr("hub");
    for i in 0..70 {
        let leaf = format!("a-leaf-with-quite-a-long-name-{i:02}");
        network = network.node(&leaf, Role::Sr).link("hub", &leaf, 1);
    }
    let sim = settled(&network.timers(|p| p.echo_interval_ms = 0), 1);
    let fragments: Vec<usize> = sim
        .lsdb("a-leaf-with-quite-a-long-name-33")
        .lsas
        .iter()
        .filter(|l| l.origin == "hub")
        .map(|l| l.links.len())
        .collect();
    assert_eq!(fragments, [24, 24, 22]);
    assert_eq!(sim.fib("a-leaf-with-quite-a-long-name-00").entries.len(), 71);
}
