//! The path_computation on the drafts' Figure 2, with nodes that hold policies and links with given delays. Tests what is
//! decided, which nodes are told, and where traffic goes. Frames and loss belong to the multi-node tests.

mod model;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::Thresholds;
use damc_mgmt::event::EventKind;
use damc_mgmt::words::{Metric, PolicyActionKind};
use damc_wire::message::{Policy, PolicyAction, QosAck};
use damc_wire::{DropReason, NodeId, Role};

use self::model::{GOOD, MS, Model, Quality, id, name};
use super::path_computation::PathComputation;
use super::threshold::ThresholdTable;

fn told(pairs: &[(&str, PolicyActionKind)]) -> BTreeMap<String, PolicyActionKind> {
    pairs.iter().map(|(n, a)| ((*n).to_owned(), *a)).collect()
}

#[test]
fn pol_01_all_healthy_no_policy_frame() {
    let mut m = Model::new();
    m.run(60);
    assert!(m.sent.is_empty() && m.events.is_empty());
}

#[test]
fn pol_02_recipients_are_exactly_the_nodes_of_the_old_and_the_new_path() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.period();
    assert!(m.sent.is_empty(), "one report is no reason yet");
    m.period();
    assert_eq!(m.steered("sg-1", "/B/4").as_deref(), Some("sg-1 sr-left sr-bottom sg-4"));
    let told_of_b4 = told(&[
        ("sg-1", PolicyActionKind::Ingress),
        ("sr-left", PolicyActionKind::Transit),
        ("sr-bottom", PolicyActionKind::Transit),
        ("sg-4", PolicyActionKind::Egress),
        ("sr-right", PolicyActionKind::Released),
    ]);
    assert_eq!(m.recipients("sg-1", "/B/4"), told_of_b4);
    let for_b4 = m.sent.iter().filter(|(_, p)| p.prefix == name("/B/4")).map(|(_, p)| p.source.to_string());
    assert_eq!(for_b4.collect::<BTreeSet<_>>(), ["sg-1".to_owned()].into(), "no other SG has a bad path to B/4");
}

#[test]
fn pol_06_traffic_returns_after_the_path_is_clear_and_the_hold_time_is_over() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    let bad_at = m.now;
    while m.steered("sg-1", "/B/4").is_none() {
        m.period();
        assert!(m.now.since(bad_at) < Duration::from_secs(1), "never steered");
    }
    let steered_at = m.now;
    m.set_delay("sg-1", "sr-right", 1);
    while m.steered("sg-1", "/B/4").is_some() {
        m.period();
        assert!(m.now.since(steered_at) < Duration::from_secs(5), "never returned");
    }
    assert!(m.now.since(steered_at) >= Duration::from_millis(1000));
    m.run(10);
    assert!(m.nodes.values().all(|n| n.iter().all(|h| h.policy.action == PolicyAction::Released)));
}

#[test]
fn pol_06_a_wobble_of_five_percent_around_the_threshold_moves_traffic_once() {
    let mut m = Model::new();
    m.run(2);
    for i in 0..300 {
        // The path to B/4 has two links and 0.1 ms behind them.
        let delay_ns = if i % 2 == 0 { 17_900_000 } else { 19_900_000 };
        m.set("sg-1", "sr-right", Quality { delay_ns, ..GOOD });
        m.period();
        m.period();
    }
    assert!(m.issued() > 0, "half of the time it is over the threshold for two reports");
    let issues = m.sent.iter().filter(|(_, p)| p.source == id("sg-1") && p.prefix == name("/B/4"));
    let labels: BTreeSet<u32> = issues.map(|(_, p)| p.label).collect();
    assert_eq!(labels.len(), 1, "moved once, and stays: the re-entry margin is never reached");
}

#[test]
fn pol_06_traffic_follows_each_ramp_across_the_threshold() {
    let mut m = Model::new();
    m.run(2);
    for _ in 0..3 {
        for step in 0..10 {
            m.set_delay("sg-1", "sr-right", 1 + step * 5);
            m.run(1);
        }
        assert!(m.steered("sg-1", "/B/4").is_some());
        for step in 0..10 {
            m.set_delay("sg-1", "sr-right", 46 - step * 5);
            m.run(1);
        }
        m.run(3);
        assert_eq!(m.steered("sg-1", "/B/4"), None);
    }
}

#[test]
fn pol_04_two_sgs_get_different_policies_for_one_pool() {
    let mut m = Model::new();
    m.run(2);
    // Plain routing takes SG-2 and SG-3 to A/1 or A/4. Their near links are bad in different respects.
    m.set_delay("sg-1", "sr-right", 60);
    m.set_delay("sg-1", "sr-left", 60);
    m.set_delay("sg-2", "sr-right", 30);
    m.run(2);
    let of = |m: &Model, sg: &str| m.steered(sg, "/A");
    assert_eq!(of(&m, "sg-2").as_deref(), Some("sg-2 sr-left sr-bottom sg-4"));
    assert_eq!(of(&m, "sg-3").as_deref(), Some("sg-3 sr-bottom sg-4"));
}

#[test]
fn pol_03_pol_07_a_pool_leaves_a_dead_instance_and_returns() {
    let mut m = Model::new();
    m.run(2);
    m.dead.insert(name("/A/1"));
    m.run(1);
    assert_eq!(m.steered("sg-2", "/A").as_deref(), Some("sg-2 sr-right sg-4"));
    assert_eq!(m.steered("sg-1", "/A").as_deref(), Some("sg-1 sr-right sg-4"), "its own instance is the dead one");
    assert_eq!(m.steered("sg-2", "/A/1"), None, "no path helps a dead instance");
    m.dead.clear();
    m.run(5);
    assert_eq!((m.steered("sg-2", "/A"), m.steered("sg-1", "/A")), (None, None));
}

#[test]
fn qos_06_bandwidth_alone_moves_traffic_off_the_narrow_link() {
    let mut m = Model::new();
    m.run(2);
    m.set("sg-4", "sr-right", Quality { bandwidth_bps: 5_000_000, ..GOOD });
    m.run(1);
    for sg in ["sg-1", "sg-2"] {
        let path = m.steered(sg, "/B/4").unwrap();
        assert!(path.ends_with("sr-bottom sg-4"), "{sg}: {path}");
    }
    assert_eq!(m.steered("sg-3", "/B/4"), None, "its path was never narrow");
    m.set("sg-4", "sr-right", GOOD);
    m.run(5);
    assert_eq!(m.steered("sg-1", "/B/4"), None);
}

#[test]
fn qos_06_jitter_alone_moves_traffic_off_the_unsteady_link() {
    let mut m = Model::new();
    m.run(2);
    m.set("sg-1", "sr-right", Quality { jitter_ns: 5 * MS, ..GOOD });
    m.run(1);
    assert_eq!(m.steered("sg-1", "/B/4").as_deref(), Some("sg-1 sr-left sr-bottom sg-4"));
}

#[test]
fn qos_06_at_the_threshold_is_a_violation_and_just_below_is_none() {
    for (delay_ns, violated) in [(20 * MS - MS - MS / 10, true), (20 * MS - MS - MS / 10 - 1, false)] {
        let mut m = Model::new();
        m.run(2);
        m.set("sg-1", "sr-right", Quality { delay_ns, ..GOOD });
        m.run(1);
        assert_eq!(m.steered("sg-1", "/B/4").is_some(), violated, "{delay_ns}");
    }
}

#[test]
fn pol_14_without_fresh_telemetry_nothing_new_is_decided_and_policies_run_out() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.run(1);
    assert!(m.steered("sg-1", "/B/4").is_some());
    m.mute = m.nodes.keys().map(ToString::to_string).collect();
    let before = m.issued();
    m.set_delay("sg-2", "sr-right", 80);
    m.run(4);
    assert!(m.steered("sg-1", "/B/4").is_some(), "still within its lifetime");
    m.run(8);
    assert_eq!((m.steered("sg-1", "/B/4"), m.issued()), (None, before));
    assert!(m.path_computation.policies_view(m.now).is_empty(), "the SCSC knows that it ran out");
}

#[test]
fn policies_are_refreshed_as_long_as_the_reason_lasts() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.run(1);
    let label = m.sent[0].1.label;
    m.run(60);
    assert!(m.steered("sg-1", "/B/4").is_some());
    assert!(m.sent.iter().filter(|(_, p)| p.label == label).count() > 60, "every 2 s, to each node of the path");
}

#[test]
fn a_broken_course_is_left_at_once_without_waiting_for_the_hold_time() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.period();
    m.period();
    assert_eq!(m.steered("sg-1", "/B/4").as_deref(), Some("sg-1 sr-left sr-bottom sg-4"));
    m.cut("sr-left", "sr-bottom");
    m.deliver();
    assert_eq!(m.steered("sg-1", "/B/4").as_deref(), Some("sg-1 sr-left sr-right sg-4"));
    let gone = m.sent.iter().filter(|(_, p)| p.action == PolicyAction::Withdrawn).map(|(_, p)| p.recipient.as_str());
    assert!({ gone }.any(|n| n == "sr-bottom"), "the node that traffic left is told");
}

#[test]
fn a_path_that_turns_out_bad_is_left_alone_for_a_while() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.run(3);
    assert_eq!(m.steered("sg-1", "/B/4").as_deref(), Some("sg-1 sr-left sr-bottom sg-4"));
    m.set_delay("sr-left", "sr-bottom", 60);
    m.run(3);
    assert_eq!(m.steered("sg-1", "/B/4").as_deref(), Some("sg-1 sr-left sr-right sg-4"));
    let before = m.issued();
    m.set_delay("sg-1", "sr-left", 90);
    m.run(12);
    assert!(m.issued() <= before + 8, "no better path: nothing to run after");
}

#[test]
fn con_04_a_self_report_plays_no_part_in_the_judgement_of_a_path() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.run(1);
    // All reports of the model have load 0 and are available.
    let violation = m.events.iter().any(|e| {
        matches!(e, EventKind::Violation { source, target, metrics }
            if source == "sg-1" && target == "/B/4" && metrics == &[Metric::Delay])
    });
    assert!(violation && m.steered("sg-1", "/B/4").is_some());
}

#[test]
fn pol_09_path_answers_follow_policies_and_cuts() {
    let mut m = Model::new();
    m.run(1);
    let ask = |m: &Model| {
        let (path, cost) = m.path_computation.path(&id("sg-1"), &name("/B/4"), &m.ted);
        (path.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" "), cost)
    };
    assert_eq!(ask(&m), ("sg-1 sr-right sg-4".to_owned(), 2));
    m.set_delay("sg-1", "sr-right", 80);
    m.run(1);
    assert_eq!(ask(&m), ("sg-1 sr-left sr-bottom sg-4".to_owned(), 3));
    m.cut("sr-left", "sr-bottom");
    m.cut("sg-4", "sr-right");
    assert_eq!(ask(&m), ("sg-1 sr-right sr-bottom sg-4".to_owned(), 3));
    m.cut("sg-4", "sr-bottom");
    assert_eq!(ask(&m), (String::new(), 0));
}

#[test]
fn pol_05_a_restarted_scsc_outbids_its_former_policies() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.run(1);
    let before = m.sent.last().unwrap().1.version;
    let thresholds = ThresholdTable::new(
        &[("default".to_owned(), Thresholds { bandwidth_bps: 0, delay_ns: 20 * MS, jitter_ns: MS })].into(),
    );
    m.path_computation = PathComputation::new(&m.timers, thresholds.unwrap(), 2);
    m.sent.clear();
    m.run(1);
    assert!(m.sent.iter().all(|(_, p)| p.version > before));
    assert!(m.steered("sg-1", "/B/4").is_some());
    let ingress = m.nodes[&id("sg-1")]
        .iter()
        .filter(|h| matches!(h.policy.action, PolicyAction::Ingress { .. }) && h.policy.prefix == name("/B/4"));
    assert_eq!(ingress.count(), 1, "the new label took the place of the old one");
}

#[test]
fn a_refused_policy_is_taken_back_everywhere() {
    let mut m = Model::new();
    m.run(2);
    m.set_delay("sg-1", "sr-right", 80);
    m.period();
    m.now += Duration::from_millis(200);
    m.sequence += 1;
    let telemetry = m.telemetry(&id("sg-1"));
    m.path_computation.on_telemetry(m.now, (&id("sg-1"), Role::Sg), &telemetry, &m.ted, &mut m.out);
    let first = m.path_computation.poll(m.now, &m.ted, &mut m.out);
    let (label, version) = (first[0].label, first[0].version);
    let refusal = QosAck { sequence: version, label, refusal: Some(DropReason::PolicyUnreachable) };
    assert!(m.path_computation.on_ack(m.now, &first[0].recipient, &refusal));
    m.deliver();
    let ingress = |p: &Policy| p.label == label && matches!(p.action, PolicyAction::Ingress { .. });
    assert!(!m.sent.iter().any(|(_, p)| ingress(p)), "the ingress was never told of it");
    assert!(m.sent.iter().any(|(_, p)| p.label == label && p.action == PolicyAction::Withdrawn));
}
