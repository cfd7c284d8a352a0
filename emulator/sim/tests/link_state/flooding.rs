//! Rows 5 to 13, 21 and 22: what gets into the database, how it spreads, how it leaves.

use core::time::Duration;
use std::collections::BTreeSet;

use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::LsdbView;
use damc_mgmt::words::{AdjacencyState, ProtocolCounter};
use damc_proto::io::Order;
use damc_sim::{Network, Sim, lossy};
use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey};
use damc_wire::registry::DropReason;
use damc_wire::{Message, Millis, Role};

use crate::puppet::{SEED, Stage, id, keys, topology_of};

const SECOND: Duration = Duration::from_secs(1);

/// Digests of all databases of living SGs and SRs.
pub fn digests(sim: &Sim, nodes: &[&str]) -> BTreeSet<String> {
    nodes.iter().map(|n| sim.lsdb(n).digest).collect()
}

fn names(services: usize) -> Vec<String> {
    (0..services).map(|i| format!("/svc/{i}")).collect()
}

/// Two SRs, an SG with a pod of many services, and a late SR at both SRs.
fn with_many_prefixes(services: usize) -> Network {
    let names = names(services);
    let services: Vec<(&str, Option<&str>)> = names.iter().map(|n| (n.as_str(), None)).collect();
    Network::new()
        .sr("a")
        .sr("b")
        .sr("late")
        .sg("sg")
        .node("spa", Role::Spa)
        .pod("pod", &services)
        .link("a", "b", 1)
        .link("sg", "a", 1)
        .link("sg", "b", 1)
        .link("spa", "sg", 1)
        .link("pod", "sg", 1)
        .link("late", "a", 1)
        .link("late", "b", 1)
}

fn start_all_but(sim: &mut Sim, but: &[&str]) {
    for node in sim.node_names() {
        if !but.contains(&node.as_str()) {
            sim.start_node(&node);
        }
    }
}

// ===== row 5: database exchange =====

#[test]
fn checklist_05_late_joiner_gets_all_before_full_from_two_partners_at_once() {
    let mut sim = Sim::new(&with_many_prefixes(150).configs(1), 1).unwrap();
    start_all_but(&mut sim, &["late"]);
    sim.run_until(|s| s.lsdb("a").lsas.len() >= 153 && s.lsdb("b").lsas.len() >= 153, 10 * SECOND).unwrap();
    let full = sim.lsdb("a").lsas.len();
    sim.start_node("late");
    let either = |s: &Sim| {
        s.adjacency("late", "a") == Some(AdjacencyState::Full) || s.adjacency("late", "b") == Some(AdjacencyState::Full)
    };
    sim.run_until(either, SECOND).unwrap();
    assert!(sim.lsdb("late").lsas.len() >= full, "all there before the first adjacency is full");
    let both = |s: &Sim| {
        s.adjacency("late", "a") == Some(AdjacencyState::Full) && s.adjacency("late", "b") == Some(AdjacencyState::Full)
    };
    sim.run_until(both, SECOND).unwrap();
    sim.settle(Duration::from_millis(200), 2 * SECOND).unwrap();
    assert_eq!(digests(&sim, &["a", "b", "late", "sg"]).len(), 1);
}

#[test]
fn checklist_05_exchange_survives_loss_reordering_and_duplication() {
    for seed in 0..4 {
        let mut sim = Sim::new(&with_many_prefixes(60).configs(1), seed).unwrap();
        sim.set_all_specs(lossy(0.3));
        sim.start();
        let all = |s: &Sim| ["a", "b", "late", "sg"].iter().all(|n| s.lsdb(n).lsas.len() == 64);
        sim.run_until(all, 60 * SECOND).unwrap();
        let same = |s: &Sim| digests(s, &["a", "b", "late", "sg"]).len() == 1;
        sim.run_until(same, 30 * SECOND).unwrap();
    }
}

#[test]
fn checklist_05_a_request_for_what_is_gone_is_answered() {
    let mut stage = Stage::sr(1);
    let header = topology_of(&keys("ghost", Role::Sr, SEED), "ghost", 5, &[]).header();
    stage.say(0, Message::LsRequest(vec![header.clone()]));
    assert_eq!(stage.puppets[0].acks(), [damc_wire::lsa::LsaHeader { sequence: 0, digest: 0, ..header }]);
}

// ===== row 6: reliable flooding =====

#[test]
fn checklist_06_half_of_all_frames_lost_both_ways() {
    let network = Network::new().sr("a").sr("b").sr("c").link("a", "b", 1).link("b", "c", 1).link("c", "a", 7);
    let mut sim = Sim::new(&network.configs(2), 5).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(200), 5 * SECOND).unwrap();
    // Keepalives would not survive this: only the flooding is to be tried.
    let network = network.timers(|p| {
        p.echo_interval_ms = 0;
        p.dead_interval_ms = 600_000;
    });
    let mut sim = Sim::new(&network.configs(2), 5).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(200), 5 * SECOND).unwrap();
    sim.set_all_specs(lossy(0.5));
    for (round, cost) in (0..20).zip(2..) {
        sim.set_cost("c", "a", cost);
        let cost_at = |s: &Sim, n: &str| {
            let lsas = s.lsdb(n).lsas;
            lsas.iter().find(|l| l.origin == "c").unwrap().links.iter().find(|l| l.neighbour == "a").unwrap().cost
        };
        sim.run_until(|s| ["a", "b", "c"].iter().all(|n| cost_at(s, n) == cost), 20 * SECOND)
            .unwrap_or_else(|late| panic!("round {round}: {late:?}"));
    }
    assert!(sim.counter("c", ProtocolCounter::LsaRetransmitted) > 0);
}

#[test]
fn checklist_06_retransmitted_until_acknowledged_with_back_off() {
    let mut stage = Stage::sr(2);
    stage.puppets[1].acknowledges = false;
    let lsa = stage.puppets[0].topology(1, &["sr"]);
    stage.flood(0, &lsa);
    let mut at = Vec::new();
    for ms in 0..1000 {
        at.extend(std::iter::repeat_n(ms, stage.puppets[1].updates().len()));
        stage.clear();
        stage.advance(1);
    }
    assert_eq!(at, [0, 50, 150, 350, 750], "50 ms, doubling");
    stage.say(1, Message::LsAck(vec![lsa.header()]));
    stage.clear();
    stage.advance(3000);
    assert_eq!(stage.puppets[1].updates(), []);
}

#[test]
fn checklist_06_a_newer_copy_from_the_neighbour_acknowledges() {
    let mut stage = Stage::sr(2);
    stage.puppets[1].acknowledges = false;
    let third = keys("p9", Role::Sr, SEED);
    stage.flood(0, &topology_of(&third, "p9", 1, &["p0"]));
    stage.advance(20);
    stage.flood(1, &topology_of(&third, "p9", 2, &["p1"]));
    stage.clear();
    stage.advance(1000);
    assert_eq!(stage.puppets[1].updates(), [], "it has a newer one itself");
}

// ===== rows 7, 8: RFC 2328 section 13, a test for each step =====

#[test]
fn rfc2328_13_step_1_what_does_not_verify_is_dropped_unacknowledged() {
    let mut stage = Stage::sr(2);
    let mut lsa = stage.puppets[0].topology(1, &["sr"]);
    lsa.signature[20] ^= 1;
    stage.flood(0, &lsa);
    assert_eq!(stage.dropped, [DropReason::BadSignature]);
    assert_eq!((stage.puppets[0].acks(), stage.puppets[1].updates()), (vec![], vec![]));
    assert_eq!(stage.sequence("p0", "0"), None);
}

#[test]
fn rfc2328_13_step_4_no_time_left() {
    let mut stage = Stage::sr(2);
    let mut lsa = stage.puppets[0].topology(1, &["sr"]);
    let held = lsa.clone();
    lsa.remaining = Millis(0);
    stage.flood(0, &lsa);
    stage.advance(20);
    assert_eq!(stage.dropped, [DropReason::StaleLsa]);
    assert_eq!((stage.sequence("p0", "0"), stage.puppets[0].acks()), (None, vec![]));
    stage.flood(0, &held);
    stage.advance(20);
    stage.clear();
    // Neither is a copy of what is held an acknowledgement, or the end of it.
    stage.flood(1, &lsa);
    stage.advance(20);
    assert_eq!((stage.dropped.as_slice(), stage.puppets[1].acks()), (&[DropReason::StaleLsa][..], vec![]));
    assert_eq!(stage.sequence("p0", "0"), Some(1));
}

#[test]
fn checklist_07_rfc2328_13_step_5a_too_soon_is_dropped_and_not_acknowledged() {
    let mut stage = Stage::sr(1);
    let (first, second) = (stage.puppets[0].topology(1, &["sr"]), stage.puppets[0].topology(2, &["sr", "x"]));
    stage.flood(0, &first);
    stage.clear();
    stage.flood(0, &second);
    assert_eq!(stage.dropped, [DropReason::MinArrival]);
    assert_eq!(stage.puppets[0].acks(), [], "an acknowledgement would pin the old instance here");
    assert_eq!(stage.sequence("p0", "0"), Some(1));
    stage.advance(10);
    stage.flood(0, &second);
    assert_eq!(stage.puppets[0].acks(), [second.header()]);
    assert_eq!(stage.sequence("p0", "0"), Some(2));
}

#[test]
fn rfc2328_13_step_5b_newer_goes_to_all_others_and_not_back() {
    let mut stage = Stage::sr(3);
    let lsa = stage.puppets[0].topology(1, &["sr"]);
    stage.flood(0, &lsa);
    assert_eq!(stage.puppets[0].updates(), []);
    for other in [1, 2] {
        let got = stage.puppets[other].updates();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].header().version(), lsa.header().version());
        assert!(got[0].remaining < lsa.remaining, "at least 1 ms older");
    }
}

#[test]
fn rfc2328_13_step_5c_older_instances_leave_all_lists() {
    let mut stage = Stage::sr(2);
    stage.puppets[1].acknowledges = false;
    let lsas: Vec<Lsa> = (1..=2).map(|n| stage.puppets[0].topology(n, &["sr"])).collect();
    stage.flood(0, &lsas[0]);
    stage.advance(20);
    stage.flood(0, &lsas[1]);
    stage.clear();
    stage.advance(2000);
    let versions: BTreeSet<u64> = stage.puppets[1].updates().iter().map(|l| l.sequence).collect();
    assert_eq!(versions, BTreeSet::from([2]));
}

#[test]
fn rfc2328_13_step_5e_what_is_installed_is_acknowledged() {
    let mut stage = Stage::sr(1);
    let lsa = stage.puppets[0].topology(1, &["sr"]);
    stage.flood(0, &lsa);
    assert_eq!(stage.puppets[0].acks(), [lsa.header()]);
    assert_eq!(stage.sequence("p0", "0"), Some(1));
}

#[test]
fn checklist_10_rfc2328_13_step_5f_own_word_of_an_earlier_life_is_outbid() {
    let mut stage = Stage::sr(2);
    stage.advance(100);
    stage.clear();
    let earlier = topology_of(&keys("sr", Role::Sr, SEED), "sr", 1000, &["p0", "gone"]);
    stage.flood(0, &earlier);
    assert_eq!(stage.puppets[0].acks(), [earlier.header()]);
    assert_eq!(stage.sequence("sr", "0"), Some(1001), "within the same moment");
    for puppet in &stage.puppets {
        let said = puppet.updates();
        assert_eq!((said.len(), said[0].sequence), (1, 1001));
        let LsaContent::Topology(t) = &said[0].content else { panic!() };
        assert_eq!(t.links.len(), 2, "what is true now");
    }
}

#[test]
fn checklist_10_own_lsa_that_is_unknown_is_purged() {
    let mut stage = Stage::sr(2);
    let key = LsaKey { origin: id("sr"), id: LsaId::Topology(3) };
    let content = LsaContent::Topology(damc_wire::lsa::TopologyLsa::default());
    let earlier = keys("sr", Role::Sr, SEED).sign_lsa(key, 40, Millis(3_600_000), content);
    stage.flood(0, &earlier);
    for puppet in &stage.puppets {
        let said = puppet.updates();
        assert_eq!((said.len(), said[0].sequence, said[0].is_purge()), (1, 41, true));
    }
}

#[test]
fn rfc2328_13_step_7_the_same_again_is_acknowledged_or_an_acknowledgement() {
    let mut stage = Stage::sr(2);
    stage.puppets[1].acknowledges = false;
    let lsa = stage.puppets[0].topology(1, &["sr"]);
    stage.flood(0, &lsa);
    stage.clear();
    stage.flood(0, &lsa);
    assert_eq!(stage.puppets[0].acks(), [lsa.header()], "a duplicate");
    stage.flood(1, &lsa);
    assert_eq!(stage.puppets[1].acks(), [], "on its list: the copy is the acknowledgement");
    stage.clear();
    stage.advance(2000);
    assert_eq!(stage.puppets[1].updates(), []);
    assert!(stage.dropped.is_empty());
}

#[test]
fn checklist_08_rfc2328_13_step_8_older_is_answered_with_ours() {
    let mut stage = Stage::sr(2);
    let (old, new) = (stage.puppets[0].topology(1, &["sr"]), stage.puppets[0].topology(2, &["sr"]));
    stage.flood(0, &new);
    stage.advance(20);
    stage.clear();
    stage.flood(1, &old);
    assert_eq!(stage.puppets[1].acks(), []);
    assert_eq!(stage.puppets[1].updates().iter().map(|l| l.sequence).collect::<Vec<_>>(), [2]);
    assert_eq!(stage.sequence("p0", "0"), Some(2));
}

#[test]
fn checklist_08_one_order_whatever_comes_first() {
    // Two instances of one number (a restart without memory): all nodes keep the same one.
    let (a, b) = {
        let k = keys("p9", Role::Sr, SEED);
        (topology_of(&k, "p9", 5, &["x"]), topology_of(&k, "p9", 5, &["y"]))
    };
    let kept = |first: &Lsa, second: &Lsa| {
        let mut stage = Stage::sr(2);
        stage.flood(0, first);
        stage.advance(20);
        stage.flood(1, second);
        stage.show::<LsdbView>().digest
    };
    let (ab, ba) = (kept(&a, &b), kept(&b, &a));
    let own_part_differs = ab == ba;
    assert!(own_part_differs, "{ab} {ba}");
}

// ===== rows 10, 11, 12: leaving =====

#[test]
fn checklist_10_restart_with_lost_state_wins_within_a_moment() {
    let mut sim = Sim::new(&with_many_prefixes(10).configs(1), 4).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
    // Make the old life's numbers high, so that the new one has to outbid them.
    for cost in 2..12 {
        sim.set_cost("b", "a", cost);
        sim.run_for(Duration::from_millis(100));
    }
    let old = sim.lsdb("a").lsas.iter().find(|l| l.origin == "b").unwrap().sequence;
    assert!(old > 5);
    sim.kill("b");
    sim.start_node("b");
    let reborn = |s: &Sim| {
        ["a", "late", "sg", "b"].iter().all(|n| {
            let lsas = s.lsdb(n).lsas;
            let b = lsas.iter().find(|l| l.origin == "b");
            b.is_some_and(|b| b.sequence > old && b.links.len() == 3 && b.links.iter().all(|l| l.cost == 1))
        })
    };
    let started = sim.now();
    sim.run_until(reborn, SECOND).unwrap();
    assert!(sim.now().since(started) < Duration::from_millis(200), "{:?}", sim.now().since(started));
    sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
    assert_eq!(digests(&sim, &["a", "b", "late", "sg"]).len(), 1);
}

#[test]
fn checklist_11_clocks_a_day_apart_change_nothing() {
    let run = |skewed: bool| {
        let mut sim = Sim::new(&with_many_prefixes(3).configs(1), 4).unwrap();
        if skewed {
            sim.skew_clock("a", Duration::from_secs(86_400));
            sim.skew_clock("sg", Duration::from_secs(2 * 86_400));
            sim.skew_clock("spa", Duration::from_secs(3 * 86_400));
        }
        sim.start();
        sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
        ["a", "b", "late", "sg"].map(|n| sim.fib(n).entries)
    };
    let plain = run(false);
    assert!(plain.iter().all(|f| f.len() == 4 + 3));
    assert_eq!(run(true), plain);
}

#[test]
fn checklist_11_refresh_keeps_and_age_removes() {
    let network = with_many_prefixes(3).timers(|p| {
        p.lsa_lifetime_ms = 3000;
        p.lsa_refresh_ms = 1000;
    });
    let mut sim = Sim::new(&network.configs(1), 4).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
    let changed = sim.seen("a").fib_changed_at;
    let spf = sim.counter("a", ProtocolCounter::SpfRuns);
    sim.run_for(10 * SECOND);
    assert_eq!(sim.lsdb("a").lsas.len(), 7);
    assert_eq!(
        (sim.seen("a").fib_changed_at, sim.counter("a", ProtocolCounter::SpfRuns)),
        (changed, spf),
        "refreshes change nothing"
    );
    sim.kill("late");
    sim.run_until(|s| s.lsdb("a").lsas.iter().all(|l| l.origin != "late"), 4 * SECOND).unwrap();
    let expired = |(_, e): &(_, EventKind)| matches!(e, EventKind::LsaExpired { origin, .. } if origin == "late");
    assert!(sim.seen("a").events.iter().any(expired));
}

#[test]
fn checklist_12_withdrawal_is_gone_everywhere_within_100_ms() {
    let mut sim = Sim::new(&with_many_prefixes(3).configs(1), 4).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
    let stop = |running| Order::Service { prefix: "/svc/1".parse().unwrap(), pool: None, weight: 1, running };
    let has = |s: &Sim, n: &str| s.fib(n).entries.iter().any(|e| e.prefix == "/svc/1");
    let routers = ["a", "b", "late", "sg"];
    assert!(routers.iter().all(|n| has(&sim, n)));
    sim.order("pod", stop(false));
    sim.run_until(|s| !routers.iter().any(|n| has(s, n)), Duration::from_millis(100)).unwrap();
    assert!(sim.lsdb("late").lsas.iter().any(|l| l.id == "/svc/1" && l.purged), "a tombstone stands");
    sim.order("pod", stop(true));
    sim.run_until(|s| routers.iter().all(|n| has(s, n)), Duration::from_millis(150)).unwrap();
}

#[test]
fn checklist_12_purge_survives_loss() {
    for seed in 0..5 {
        let network = with_many_prefixes(3).timers(|p| p.echo_interval_ms = 0);
        let mut sim = Sim::new(&network.configs(1), seed).unwrap();
        sim.start();
        sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
        sim.set_all_specs(lossy(0.4));
        let order = Order::Service { prefix: "/svc/1".parse().unwrap(), pool: None, weight: 1, running: false };
        sim.order("pod", order);
        let gone =
            |s: &Sim| ["a", "b", "late", "sg"].iter().all(|n| !s.fib(n).entries.iter().any(|e| e.prefix == "/svc/1"));
        sim.run_until(gone, 20 * SECOND).unwrap();
        sim.run_for(5 * SECOND);
        assert!(gone(&sim), "no late copy brings it back");
    }
}

#[test]
fn checklist_12_an_orderly_stop_leaves_nothing_behind() {
    let mut sim = Sim::new(&with_many_prefixes(3).configs(1), 4).unwrap();
    sim.start();
    sim.settle(Duration::from_millis(300), 5 * SECOND).unwrap();
    sim.command("sg", &Command::Stop);
    let gone = |s: &Sim| ["a", "b", "late"].iter().all(|n| s.lsdb(n).lsas.iter().all(|l| l.origin != "sg" || l.purged));
    sim.run_until(gone, Duration::from_millis(100)).unwrap();
    assert_eq!(sim.adjacency("a", "sg"), Some(AdjacencyState::Down), "it said goodbye");
    assert!(sim.fib("late").entries.iter().all(|e| !e.prefix.starts_with("/svc")));
}

#[test]
fn checklist_12_a_late_copy_meets_the_tombstone() {
    let mut stage = Stage::sr(2);
    let lsa = stage.puppets[0].topology(1, &["sr"]);
    let purge = stage.puppets[0].keys.sign_lsa(lsa.key.clone(), 2, Millis(60_000), LsaContent::Purge);
    stage.flood(0, &purge);
    stage.advance(20);
    stage.clear();
    stage.flood(1, &lsa);
    assert_eq!(stage.dropped, [DropReason::StaleLsa]);
    assert_eq!(stage.puppets[1].updates().iter().map(Lsa::is_purge).collect::<Vec<_>>(), [true], "and is corrected");
    stage.advance(60_100);
    assert_eq!(stage.sequence("p0", "0"), None, "the tombstone is bounded in time");
}
