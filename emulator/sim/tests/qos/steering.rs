//! Measuring, violation, policy, traffic, return.

use core::time::Duration;

use damc_impair::DirectionSpec;
use damc_mgmt::event::EventKind;
use damc_mgmt::words::{PolicyActionKind, ProtocolCounter};
use damc_sim::{Call, Sim, delayed};

use crate::{DEADLINE, NODES, fig2, holders, ingress, model, ms, path, policies_at, policy_frames, started, way};

const GOOD_WAY: &str = "sg-1 sr-right sg-4";
const ALTERNATIVE: &str = "sg-1 sr-left sr-bottom sg-4";

pub(crate) fn steer(sim: &mut Sim) {
    sim.set_spec("sg-1", "sr-right", model(80));
    sim.run_until(|s| ingress(s, "sg-1", "/B/4").is_some(), DEADLINE).unwrap();
}

#[test]
fn pol_01_a_healthy_domain_carries_no_policy_frame() {
    let mut sim = started(&fig2());
    sim.run_for(Duration::from_secs(10));
    assert_eq!(policy_frames(&sim), 0);
}

#[test]
fn pol_02_pol_05_a_slow_link_moves_traffic_and_tells_exactly_the_nodes_of_both_paths() {
    let mut sim = started(&fig2());
    assert_eq!(way(&mut sim, "pod-1", "/B/4"), GOOD_WAY);
    let begin = sim.now();
    steer(&mut sim);
    assert!(sim.now().since(begin) < Duration::from_millis(1200), "two probes, two reports and the way to the nodes");
    assert_eq!(way(&mut sim, "pod-1", "/B/4"), ALTERNATIVE);
    let label = ingress(&sim, "sg-1", "/B/4").unwrap().label;
    sim.run_until(|s| holders(s, label).len() == 5, DEADLINE).unwrap();
    let expected = [
        ("sg-1", PolicyActionKind::Ingress),
        ("sg-4", PolicyActionKind::Egress),
        ("sr-bottom", PolicyActionKind::Transit),
        ("sr-left", PolicyActionKind::Transit),
        ("sr-right", PolicyActionKind::Released),
    ];
    assert_eq!(holders(&sim, label), expected.map(|(n, a)| (n.to_owned(), a.to_owned())));
    let scsc = policies_at(&sim, "scsc");
    assert!(scsc.policies.iter().filter(|p| p.label == label).all(|p| p.active), "all have acknowledged");
}

#[test]
fn pol_06_traffic_returns_when_the_link_heals_and_policies_are_gone_everywhere() {
    let mut sim = started(&fig2());
    steer(&mut sim);
    let steered_at = sim.now();
    sim.set_spec("sg-1", "sr-right", model(1));
    sim.run_until(|s| ingress(s, "sg-1", "/B/4").is_none(), DEADLINE).unwrap();
    assert!(sim.now().since(steered_at) >= ms(1900), "not before the hold time is over");
    assert_eq!(way(&mut sim, "pod-1", "/B/4"), GOOD_WAY);
    sim.run_for(Duration::from_secs(7));
    assert!(NODES.iter().all(|n| policies_at(&sim, n).policies.is_empty()));
    let before = policy_frames(&sim);
    sim.run_for(Duration::from_secs(3));
    assert_eq!(policy_frames(&sim), before);
}

#[test]
fn pol_06_a_wobble_around_the_threshold_does_not_flap() {
    let mut sim = started(&fig2());
    for i in 0..40 {
        let delay = if i % 2 == 0 { 17_100 } else { 18_900 };
        sim.set_spec("sg-1", "sr-right", delayed(Duration::from_micros(delay)));
        sim.run_for(ms(700));
    }
    let issued = sim.seen("scsc").events.iter().filter(|(_, e)| {
        let EventKind::Policy { prefix, action, active: true, .. } = e else { return false };
        prefix == "/B/4" && *action == PolicyActionKind::Ingress
    });
    assert!(issued.count() <= 2, "28 s of wobble: one change of sg-1, at most one of another SG");
}

#[test]
fn qos_06_a_narrow_link_is_measured_and_avoided() {
    let mut sim = started(&fig2());
    sim.set_spec("sg-4", "sr-right", DirectionSpec { rate_bps: Some(50_000_000), ..model(1) });
    sim.run_until(|s| path(s, "sg-1", "/B/4").bandwidth_bps.is_some(), DEADLINE).unwrap();
    sim.run_for(Duration::from_secs(5));
    let measured = path(&sim, "sg-1", "/B/4").bandwidth_bps.unwrap();
    assert!(measured.abs_diff(50_000_000) < 5_000_000, "QOS-05: {measured}");
    assert_eq!(policy_frames(&sim), 0);
    sim.set_spec("sg-4", "sr-right", DirectionSpec { rate_bps: Some(8_000_000), ..model(1) });
    sim.run_until(|s| ingress(s, "sg-1", "/B/4").is_some(), DEADLINE).unwrap();
    assert_eq!(way(&mut sim, "pod-1", "/B/4"), ALTERNATIVE);
}

#[test]
fn qos_06_an_unsteady_link_is_measured_and_avoided() {
    let mut sim = started(&fig2());
    sim.set_spec("sg-1", "sr-right", DirectionSpec { jitter_ns: 12_000_000, ..model(13) });
    sim.run_until(|s| ingress(s, "sg-1", "/B/4").is_some(), DEADLINE).unwrap();
    assert_eq!(way(&mut sim, "pod-1", "/B/4"), ALTERNATIVE);
}

#[test]
fn goal_03_without_the_scsc_policies_expire_and_traffic_never_stops() {
    let mut sim = started(&fig2());
    steer(&mut sim);
    sim.kill("scsc");
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(sim.call("pod-1", Call::echo("/B/4")));
        sim.run_for(ms(100));
    }
    sim.run_for(Duration::from_secs(1));
    let answered = calls.iter().filter(|h| sim.seen("pod-1").calls.get(h).is_some_and(|c| c.result.is_ok()));
    assert_eq!(answered.count(), 100);
    assert_eq!(way(&mut sim, "pod-1", "/B/4"), GOOD_WAY, "plain again, slow as it is");
    assert!(NODES.iter().all(|n| policies_at(&sim, n).policies.is_empty()));
}

#[test]
fn a_restarted_scsc_takes_over_without_a_gap_in_steering() {
    let mut sim = started(&fig2());
    steer(&mut sim);
    let before = ingress(&sim, "sg-1", "/B/4").unwrap();
    sim.kill("scsc");
    sim.run_for(ms(300));
    sim.start_node("scsc");
    sim.run_until(|s| ingress(s, "sg-1", "/B/4").is_some_and(|p| p.label != before.label), DEADLINE).unwrap();
    let after = ingress(&sim, "sg-1", "/B/4").unwrap();
    assert!(after.version > before.version, "POL-05: versions rise over restarts");
    assert_eq!(way(&mut sim, "pod-1", "/B/4"), ALTERNATIVE);
}

#[test]
fn pol_03_a_pool_leaves_a_bad_instance_for_a_good_one_and_returns() {
    let mut sim = started(&fig2());
    sim.set_spec("pod-4", "sg-4", model(40));
    sim.run_until(|s| ingress(s, "sg-2", "/A").is_some(), DEADLINE).unwrap();
    for _ in 0..5 {
        assert!(way(&mut sim, "pod-2", "/A").ends_with("sg-1"), "no call of the pool goes to A/4");
    }
    assert!(ingress(&sim, "sg-2", "/A/4").is_none(), "no path mends what lies behind the serving SG");
    sim.set_spec("pod-4", "sg-4", model(1));
    sim.run_until(|s| ingress(s, "sg-2", "/A").is_none(), DEADLINE).unwrap();
}

#[test]
fn qos_04_reports_made_while_the_scsc_is_away_arrive_when_it_is_back() {
    let mut sim = started(&fig2());
    for sr in ["sr-left", "sr-right"] {
        sim.set_link("scsc", sr, false);
    }
    sim.run_for(Duration::from_secs(5));
    assert!(sim.counter("sg-1", ProtocolCounter::TelemetryBacklog) > 20);
    let accepted = sim.counter("scsc", ProtocolCounter::TelemetryAccepted);
    for sr in ["sr-left", "sr-right"] {
        sim.set_link("scsc", sr, true);
    }
    sim.run_until(|s| NODES.iter().all(|n| s.counter(n, ProtocolCounter::TelemetryBacklog) < 8), DEADLINE).unwrap();
    sim.run_until(|s| path(s, "sg-1", "/B/4").age_ms < 600, DEADLINE).unwrap();
    assert!(sim.counter("scsc", ProtocolCounter::TelemetryAccepted) > accepted + 100, "25 periods of 7 nodes");
}

#[test]
fn pol_10_the_replica_equals_the_database_of_the_nodes() {
    let mut sim = started(&fig2());
    let equal = |s: &Sim| NODES.iter().all(|n| s.lsdb(n).digest == s.lsdb("scsc").digest);
    sim.run_until(equal, DEADLINE).unwrap();
    sim.set_link("sg-1", "sr-right", false);
    sim.run_for(ms(200));
    sim.run_until(equal, DEADLINE).unwrap();
}

#[test]
fn con_05_the_scsc_never_carries_a_call() {
    let mut sim = started(&fig2());
    steer(&mut sim);
    for pod in ["pod-1", "pod-2", "pod-3"] {
        way(&mut sim, pod, "/B/4");
    }
    let of_users = |sim: &Sim| sim.seen("scsc").sent.keys().filter(|t| t.class().is_none()).count();
    assert!(of_users(&sim) <= 2, "hello and echo only: {:?}", sim.seen("scsc").sent);
    assert!(!sim.seen("scsc").sent.contains_key(&damc_wire::MessageType::Data));
}
