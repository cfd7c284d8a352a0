//! REG and ARC-08: what pods announce and what becomes of it.

use core::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::words::AnnouncementState;
use damc_sim::Network;
use damc_wire::{RefusalReason, Role};

use crate::{SECOND, announcements, call, everywhere, nowhere, routed, routers, service, small, standing, text, up};

#[test]
fn reg_05_every_router_knows_what_one_sg_registered() {
    let sim = up(&small(), 1);
    for prefix in ["/A/1", "/A", "/B/1", "/A/2", "/shop", "/C/3"] {
        assert!(everywhere(&sim, prefix), "{prefix}");
    }
    let lsdb = sim.lsdb("sr-2");
    let pool = lsdb.lsas.iter().find(|l| l.id == "/A" && l.origin == "sg-1").expect("the pool at sg-1");
    assert!(pool.exact);
    assert_eq!(pool.port.as_deref(), Some("pod-1"));
}

#[test]
fn reg_02_arc_08_one_service_ends_then_the_pod() {
    let mut sim = up(&small(), 1);
    let rows = announcements(&sim, "sg-1");
    assert_eq!(rows.iter().filter(|r| r.pod == "pod-1").count(), 3, "two services, one pool: {rows:?}");
    service(&mut sim, "pod-1", "/B/1", false);
    let begin = sim.now();
    let end = sim.run_until(|s| nowhere(s, "/B/1"), SECOND).expect("withdrawn everywhere");
    assert!(end.since(begin) <= Duration::from_millis(50), "{:?}", end.since(begin));
    assert!(everywhere(&sim, "/A/1"));
    sim.kill("pod-1");
    sim.run_until(|s| nowhere(s, "/A/1"), SECOND).expect("gone with its pod");
    assert!(everywhere(&sim, "/A"), "the pool lives on at the other SG");
    assert!(everywhere(&sim, "/C/3"), "another pod of the same SG is not affected");
    sim.start_node("pod-1");
    sim.run_until(|s| everywhere(s, "/A/1") && everywhere(s, "/B/1"), 5 * SECOND).expect("registered anew");
}

#[test]
fn reg_01_a_restarted_sg_is_told_everything_again() {
    let mut sim = up(&small(), 1);
    sim.kill("sg-1");
    sim.run_for(SECOND);
    sim.start_node("sg-1");
    let accepted =
        |s: &damc_sim::Sim, pod: &str, prefix: &str| standing(s, pod, prefix).0 == AnnouncementState::Accepted;
    sim.run_until(|s| accepted(s, "pod-1", "/A/1") && accepted(s, "pod-3", "/C/3"), 10 * SECOND).expect("told again");
    sim.run_until(|s| everywhere(s, "/A/1") && everywhere(s, "/C/3"), SECOND).expect("registered anew");
    let (outcome, _) = call(&mut sim, "pod-2", "/C/3", "add", "4 5");
    assert_eq!(text(&outcome), Ok("9".into()));
}

#[test]
fn reg_03_a_namespace_covers_what_lies_below_it() {
    let mut sim = up(&small(), 1);
    let (outcome, _) = call(&mut sim, "pod-1", "/shop/cart/add", "whoami", "");
    assert_eq!(text(&outcome), Ok("/shop".into()));
    let (outcome, _) = call(&mut sim, "pod-1", "/shopping", "whoami", "");
    assert_eq!(outcome.result.unwrap_err().0, Some(RefusalReason::NoRoute));
}

#[test]
fn reg_06_the_same_instance_name_at_two_sgs_is_refused_to_the_second() {
    let network = small().licence("pod-2", &["/A/2", "/A", "/shop", "/B/1"]);
    let mut sim = up(&network, 1);
    service(&mut sim, "pod-2", "/B/1", true);
    sim.run_for(SECOND);
    assert_eq!(standing(&sim, "pod-2", "/B/1"), (AnnouncementState::Refused, Some(RefusalReason::Conflict)));
    let (outcome, _) = call(&mut sim, "pod-3", "/B/1", "whoami", "");
    assert_eq!(outcome.path.len(), 1, "still the first one, at the caller's own SG");
    service(&mut sim, "pod-1", "/B/1", false);
    let origin = |s: &damc_sim::Sim| {
        let entry = s.fib("sr-1").entries.into_iter().find(|e| e.prefix == "/B/1");
        entry.is_some_and(|e| e.origin == ["sg-2"])
    };
    sim.run_until(origin, 20 * SECOND).expect("the second has it when the first lets go");
}

#[test]
fn reg_06_two_pods_race_for_one_name_and_one_keeps_it() {
    for seed in 0..20 {
        let network = small()
            .licence("pod-2", &["/A/2", "/A", "/shop", "/race"])
            .licence("pod-1", &["/A/1", "/A", "/B/1", "/race"]);
        let mut sim = up(&network, seed);
        service(&mut sim, "pod-1", "/race", true);
        service(&mut sim, "pod-2", "/race", true);
        sim.run_for(3 * SECOND);
        let lsdb = sim.lsdb("sr-1");
        let holders = lsdb.lsas.iter().filter(|l| l.id == "/race" && !l.purged).count();
        assert_eq!(holders, 1, "seed {seed}");
    }
}

/// REG-07: 4 SGs × 50 services at the same moment.
#[test]
fn reg_07_two_hundred_services_at_once() {
    let mut network = Network::new().sr("sr-1").sr("sr-2").link("sr-1", "sr-2", 1);
    for i in 1..=4 {
        let (sg, spa, pod) = (format!("sg-{i}"), format!("spa-{i}"), format!("pod-{i}"));
        network = network
            .sg(&sg)
            .node(&spa, Role::Spa)
            .pod(&pod, &[])
            .licence(&pod, &[&format!("/load/{i}")])
            .link(&sg, "sr-1", 1)
            .link(&sg, "sr-2", 1)
            .link(&sg, &spa, 1)
            .link(&pod, &sg, 1);
    }
    let mut sim = up(&network, 1);
    for i in 1..=4 {
        for s in 0..50 {
            service(&mut sim, &format!("pod-{i}"), &format!("/load/{i}/{s}"), true);
        }
    }
    let begin = sim.now();
    let all = |sim: &damc_sim::Sim| {
        routers(sim).iter().all(|n| sim.fib(n).entries.iter().filter(|e| e.prefix.starts_with("/load/")).count() == 200)
    };
    let end = sim.run_until(all, 10 * SECOND).expect("all 200 everywhere");
    println!("200 registrations everywhere after {:?}", end.since(begin));
    assert_eq!(sim.lsdb("sr-1").lsas.iter().filter(|l| l.id.starts_with("/load/")).count(), 200, "none doubled");
}

#[test]
fn registration_to_everywhere_takes_a_few_round_trips() {
    let mut sim = up(&small(), 1);
    service(&mut sim, "pod-1", "/A/1/fresh", true);
    let begin = sim.now();
    let end = sim.run_until(|s| everywhere(s, "/A/1/fresh"), SECOND).expect("everywhere");
    assert!(end.since(begin) <= Duration::from_millis(20), "{:?}", end.since(begin));
}

#[test]
fn a_stopped_pod_takes_its_names_along_at_once() {
    let mut sim = up(&small(), 1);
    sim.command("pod-1", &Command::Stop);
    sim.run_until(|s| nowhere(s, "/A/1") && nowhere(s, "/B/1"), Duration::from_millis(50)).expect("withdrawn");
    assert!(!routed(&sim, "sg-1", "/B/1"));
}
