//! RMI, GAP-10 and GAP-29 across the network.

use core::time::Duration;

use damc_impair::{DirectionSpec, Loss};
use damc_mgmt::words::ProtocolCounter;
use damc_sim::{Call, usual};
use damc_wire::{DropReason, MessageType, RefusalReason};

use crate::{SECOND, call, node, service, small, text, up};

/// What a built-in service says to a method it does not have.
const NO_DIVIDE: &str = "no method \"divide\"; there are echo, add, bulk, whoami, trace, sleep and fail";

/// RMI-02: the same results and errors wherever the target is; only the path differs.
#[test]
fn rmi_01_rmi_02_calls_look_the_same_wherever_the_target_is() {
    let mut sim = up(&small(), 1);
    let far = ["sg-1", "sr-1", "sr-2", "sg-2"].map(node).to_vec();
    let places = [("/A/1", vec![node("sg-1")]), ("/C/3", vec![node("sg-1")]), ("/shop", far)];
    for (target, path) in places {
        let (outcome, _) = call(&mut sim, "pod-1", target, "add", "2 3");
        assert_eq!(text(&outcome), Ok("5".into()), "{target}");
        assert_eq!(outcome.path, path, "{target}");
        assert_eq!(outcome.return_path, path.iter().rev().cloned().collect::<Vec<_>>(), "{target}");
        let (outcome, _) = call(&mut sim, "pod-1", target, "divide", "2 3");
        assert_eq!(text(&outcome), Err((Some(RefusalReason::NoSuchMethod), NO_DIVIDE.into())), "{target}");
    }
}

#[test]
fn rmi_03_the_first_frame_is_the_request() {
    let mut sim = up(&small(), 1);
    let before = sim.seen("pod-1").sent.get(&MessageType::Data).copied().unwrap_or(0);
    let (outcome, _) = call(&mut sim, "pod-1", "/shop", "echo", "hello");
    assert_eq!(text(&outcome), Ok("hello".into()));
    assert_eq!(sim.seen("pod-1").sent[&MessageType::Data], before + 1);
    assert_eq!(sim.seen("pod-2").sent[&MessageType::Data], 1);
}

#[test]
fn a_pool_is_served_by_its_nearest_instance() {
    let mut sim = up(&small(), 1);
    let (outcome, _) = call(&mut sim, "pod-3", "/A", "whoami", "");
    assert_eq!(text(&outcome), Ok("/A/1".into()));
    let (outcome, _) = call(&mut sim, "pod-2", "/A", "whoami", "");
    assert_eq!(text(&outcome), Ok("/A/2".into()), "of its own pod, by way of its SG");
    service(&mut sim, "pod-1", "/A/1", false);
    sim.run_for(SECOND);
    let (outcome, _) = call(&mut sim, "pod-3", "/A", "whoami", "");
    assert_eq!(text(&outcome), Ok("/A/2".into()), "the other one, once the nearest is gone");
}

/// GAP-10: a name nobody has is refused by the first node, in one round trip to it.
#[test]
fn gap_10_an_unknown_name_is_refused_in_one_round_trip() {
    let mut sim = up(&small(), 1);
    let (outcome, took) = call(&mut sim, "pod-1", "/nobody/has/this", "echo", "x");
    assert_eq!(text(&outcome), Err((Some(RefusalReason::NoRoute), "sg-1".into())));
    assert!(took <= Duration::from_micros(300), "{took:?}: a round trip of 100 µs each way and no timer");
    let (outcome, _) = call(&mut sim, "pod-1", "/A/7", "echo", "x");
    assert_eq!(text(&outcome), Err((Some(RefusalReason::NoRoute), "sg-1".into())), "a pool covers nothing below it");
}

#[test]
fn gap_10_an_instance_that_has_just_gone_is_refused_by_its_sg() {
    let mut sim = up(&small(), 1);
    // The purge cannot leave sg-2: the others still believe in the route.
    sim.set_silent("sg-2", "sr-2", true);
    service(&mut sim, "pod-2", "/shop", false);
    sim.run_for(Duration::from_millis(20));
    sim.set_silent("sg-2", "sr-2", false);
    let (outcome, _) = call(&mut sim, "pod-1", "/shop", "echo", "x");
    assert_eq!(text(&outcome), Err((Some(RefusalReason::NoSuchInstance), "sg-2".into())));
}

#[test]
fn gap_10_a_pod_that_is_cut_off_says_so_at_once() {
    let mut sim = up(&small(), 1);
    sim.set_link("pod-1", "sg-1", false);
    let (outcome, took) = call(&mut sim, "pod-1", "/shop", "echo", "x");
    assert_eq!(outcome.result.unwrap_err().0, Some(RefusalReason::NoRoute));
    assert_eq!(took, Duration::ZERO);
    let (outcome, _) = call(&mut sim, "pod-3", "/B/1", "echo", "x");
    assert!(outcome.result.is_err());
}

/// RMI-04: at 1 % loss on every link no call fails, and nothing is executed twice.
#[test]
fn rmi_04_one_per_cent_loss_fails_no_call() {
    let mut sim = up(&small(), 1);
    let loss = Loss::Random { probability: 0.01 };
    sim.set_all_specs(DirectionSpec { loss, duplicate: 0.01, ..usual() });
    let mut handles = Vec::new();
    for i in 0..1000 {
        let call = Call { method: "add".into(), payload: format!("{i} 1").into_bytes(), ..Call::echo("/shop") };
        handles.push(sim.call("pod-1", call));
        sim.run_for(Duration::from_millis(5));
    }
    sim.run_for(3 * SECOND);
    for (i, handle) in handles.iter().enumerate() {
        let outcome = &sim.seen("pod-1").calls[handle];
        assert_eq!(text(outcome), Ok((i + 1).to_string()), "call {i}");
    }
    assert_eq!(sim.counter("pod-2", ProtocolCounter::Invocations), 1000);
    let repeated = sim.counter("pod-2", ProtocolCounter::RequestsRepeated);
    assert!(repeated > 0, "some were repeated and not executed again");
    assert!(sim.seen("pod-1").dropped.contains_key(&DropReason::Unsolicited), "duplicate answers are counted");
}

#[test]
fn calls_take_the_way_round_after_a_cut() {
    let network = small().sr("sr-3").link("sg-1", "sr-3", 5).link("sr-3", "sg-2", 5);
    let mut sim = up(&network, 1);
    // Past the hold-down of the start-up, so that the cut is a first event (RFC 8405).
    sim.run_for(10 * SECOND);
    sim.set_link("sr-1", "sr-2", false);
    let (outcome, _) = call(&mut sim, "pod-1", "/shop", "echo", "x");
    // Either the way round is found in time, or the node at the cut says so.
    let refused = outcome.result.as_ref().err().map(|(reason, _)| *reason);
    assert!(matches!(refused, None | Some(Some(RefusalReason::NoRoute))), "{:?}", outcome.result);
    sim.run_for(SECOND);
    let (outcome, _) = call(&mut sim, "pod-1", "/shop", "echo", "x");
    assert_eq!(outcome.path, ["sg-1", "sr-3", "sg-2"].map(node));
}
