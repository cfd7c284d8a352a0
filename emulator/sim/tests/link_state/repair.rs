//! Local repair: what goes on reaching its destination from the moment a link is cut (RFC 5286), and that no frame goes in
//! circles while the others learn of it.

use core::time::Duration;

use damc_mgmt::words::{ProtocolCounter, RouteSource};
use damc_sim::{Network, Sim, Walk};
use damc_wire::DropReason;

use crate::oracle::{Plan, found};

const SECOND: Duration = Duration::from_secs(1);

fn own_name(node: &str) -> String {
    format!("/damc/example/{node}")
}

/// `near`'s short way to `far` is their link; the way by `side` is longer, and `side` does not send back.
fn triangle() -> Sim {
    let network = Network::new().sr("near").sr("far").sr("side");
    let network = network.link("near", "far", 1).link("near", "side", 2).link("side", "far", 2);
    let mut sim = Sim::new(&network.configs(1), 1).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(300), 10 * SECOND).unwrap();
    sim
}

#[test]
fn a_cut_link_is_gone_round_before_anybody_computes() {
    let mut sim = triangle();
    let far = own_name("far");
    let entry = |sim: &Sim| sim.fib("near").entries.into_iter().find(|e| e.prefix == far).unwrap();
    let before = entry(&sim);
    assert_eq!((before.next_hops[0].node.as_str(), before.backups[0].node.as_str()), ("far", "side"));
    assert_eq!(sim.walk("near", &far, 1), Walk::Arrived(vec!["near".into(), "far".into()]));
    let runs = sim.counter("near", ProtocolCounter::SpfRuns);
    sim.cut_plane("near", "far");
    assert_eq!(sim.counter("near", ProtocolCounter::SpfRuns), runs, "nothing was computed");
    assert_eq!(sim.walk("near", &far, 1), Walk::Arrived(["near", "side", "far"].map(String::from).to_vec()));
    sim.set_link("near", "far", false);
    // So soon after the start the delay machine makes the computation wait.
    let meanwhile = entry(&sim);
    assert_eq!((meanwhile.source, meanwhile.next_hops[0].node.as_str()), (RouteSource::Backup, "side"));
    sim.run_until(|sim| entry(sim).source == RouteSource::Spf, SECOND).unwrap();
    let after = entry(&sim);
    assert_eq!((after.cost, after.next_hops[0].node.as_str()), (4, "side"));
}

#[test]
fn a_neighbour_that_would_send_back_is_no_alternate() {
    // side's own way to far is over near.
    let network = Network::new().sr("near").sr("far").sr("side").link("near", "far", 1).link("near", "side", 1);
    let network = network.link("side", "far", 9);
    let mut sim = Sim::new(&network.configs(1), 1).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(300), 10 * SECOND).unwrap();
    let entry = sim.fib("near").entries.into_iter().find(|e| e.prefix == own_name("far")).unwrap();
    assert_eq!(entry.backups, vec![]);
    sim.cut_plane("near", "far");
    let dropped = Walk::Dropped(DropReason::PortDown, vec!["near".into()]);
    assert_eq!(sim.walk("near", &own_name("far"), 1), dropped);
}

#[test]
fn equal_next_hops_stand_in_for_each_other_and_need_no_backup() {
    let network = Network::new().sr("a").sr("b").sr("c").sr("d");
    let network = network.link("a", "b", 1).link("a", "c", 1).link("b", "d", 1).link("c", "d", 1);
    let mut sim = Sim::new(&network.configs(1), 1).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(300), 10 * SECOND).unwrap();
    let entry = sim.fib("a").entries.into_iter().find(|e| e.prefix == own_name("d")).unwrap();
    assert_eq!((entry.next_hops.len(), entry.backups.len()), (2, 0));
    sim.cut_plane("a", "b");
    for flow in 0..20 {
        assert!(matches!(sim.walk("a", &own_name("d"), flow), Walk::Arrived(path) if path == ["a", "c", "d"]));
    }
}

#[test]
fn while_a_cut_is_learned_no_frame_goes_in_circles_and_protected_ones_arrive() {
    let (mut walks, mut repaired, mut unprotected) = (0, 0, 0);
    for seed in 0..12 {
        let mut plan = Plan::random(9000 + seed, 9);
        let mut sim = Sim::new(&plan.network().configs(1), seed).unwrap();
        sim.start();
        // Longer than the hold-down of the delay machine: the first computation after the cut is not delayed.
        sim.settle(Duration::from_millis(600), 10 * SECOND).unwrap();
        let links: Vec<_> = plan.cost.keys().filter(|(a, b)| a < b).cloned().collect();
        let (a, b) = links[usize::try_from(seed).unwrap() % links.len()].clone();
        // The instant of the cut: only the two ends know, and only their forwarding planes.
        let protected: Vec<_> =
            sim.fib(&a).entries.into_iter().filter(|e| e.next_hops.iter().all(|h| h.node == b)).collect();
        sim.cut_plane(&a, &b);
        for entry in protected {
            match sim.walk(&a, &entry.prefix, 1) {
                Walk::Arrived(_) => repaired += 1,
                other if !entry.backups.is_empty() => panic!("graph {seed}: {} from {a}: {other:?}", entry.prefix),
                _ => unprotected += 1,
            }
        }
        sim.set_link(&a, &b, false);
        plan.cost.remove(&(a.clone(), b.clone()));
        plan.cost.remove(&(b.clone(), a.clone()));
        // A link takes 100 µs: nothing is learned between two looks that a third could not see.
        for _ in 0..100 {
            for from in plan.nodes.keys() {
                for to in plan.nodes.keys().filter(|to| *to != from) {
                    walks += 1;
                    if let Walk::Dropped(DropReason::HopLimitExceeded, path) = sim.walk(from, &own_name(to), 1) {
                        panic!("graph {seed}: {from} to {to} at {} goes in circles: {:?}", sim.now(), &path[..8]);
                    }
                }
            }
            sim.run_for(Duration::from_micros(50));
        }
        sim.run_until(|sim| found(sim, &plan) == plan.expected(), SECOND)
            .unwrap_or_else(|e| panic!("graph {seed}: {e:?}"));
    }
    assert!(walks > 1000 && repaired > 3 && unprotected > 0, "{walks} walks, {repaired} repaired, {unprotected} not");
}
