//! REG, ARC: services that come, go and share names.

use std::collections::BTreeSet;

use damc_mgmt::words::DownReason;
use damc_proto::auth::announcer::Standing;
use damc_proto::auth::registrar::Holder;
use damc_wire::RefusalReason;
use damc_wire::lsa::Proof;

use crate::parts::{Bench, Step, name, node};
use crate::{bench, standing};

#[test]
fn reg_02_arc_08_services_come_and_go_one_by_one_and_all_with_their_pod() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", Some("/A"));
    b.service(pod, "/B/1", Some("/B"));
    b.run(100);
    assert_eq!(b.advertised_by("pod-1"), ["/A", "/A/1", "/B", "/B/1"]);
    b.end_service(pod, "/B/1");
    b.run(100);
    assert_eq!(b.advertised_by("pod-1"), ["/A", "/A/1"]);
    assert_eq!(b.admitted[&pod], [name("/A/1")]);
    assert!(b.registrar.served_lately(&name("/B/1/x")));
    assert!(!b.registrar.served_lately(&name("/A/1")));
    b.detach(pod);
    assert!(b.advertised.is_empty());
    b.attach(pod);
    b.run(100);
    assert_eq!(b.advertised_by("pod-1"), ["/A", "/A/1"]);
    assert!(!b.registrar.served_lately(&name("/A/1")));
}

#[test]
fn the_names_of_a_silent_pod_wait_for_it_and_those_of_one_that_started_again_do_not() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", Some("/A"));
    b.run(100);
    for blip in [DownReason::Carrier, DownReason::HelloSilence, DownReason::EchoSilence] {
        b.steps.clear();
        b.lose(pod, blip);
        assert_eq!(b.steps, [Step::Suspended(name("/A")), Step::Suspended(name("/A/1"))], "{blip:?}");
        assert!(b.registrar.served_lately(&name("/A/1")));
        b.run(2900);
        b.attach(pod);
        b.run(3000);
        let purged = b.steps.iter().filter(|step| matches!(step, Step::Purged(_))).count();
        assert_eq!((purged, b.advertised_by("pod-1").len()), (0, 2), "{blip:?}");
    }
    b.lose(pod, DownReason::EchoSilence);
    b.run(2999);
    assert_eq!(b.advertised_by("pod-1").len(), 2);
    b.run(2);
    assert_eq!(b.advertised_by("pod-1").len(), 0, "the grace is over");
    for end in [DownReason::Goodbye, DownReason::Restarted] {
        b.attach(pod);
        b.run(100);
        assert_eq!(b.advertised_by("pod-1").len(), 2);
        b.lose(pod, end);
        assert_eq!(b.advertised_by("pod-1").len(), 0, "{end:?}");
    }
}

#[test]
fn a_name_that_a_pod_does_not_bring_back_is_purged_and_no_other() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.service(pod, "/B/1", None);
    b.run(100);
    b.lose(pod, DownReason::EchoSilence);
    b.end_service(pod, "/B/1");
    b.attach(pod);
    b.run(2800);
    assert_eq!(b.advertised_by("pod-1"), ["/A/1", "/B/1"]);
    b.run(300);
    assert_eq!(b.advertised_by("pod-1"), ["/A/1"]);
}

#[test]
fn reg_05_weight_and_instance_arrive_unchanged() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    let now = b.now;
    let announcer = &mut b.pods.get_mut(&pod).unwrap().announcer;
    announcer.service_up(now, name("/A/1"), Some(name("/A")), 7);
    b.run(100);
    let pool = &b.advertised[&(name("/A"), node("pod-1"))];
    assert_eq!((pool.weight, pool.exact, &pool.instance), (7, true, &Some(name("/A/1"))));
    let instance = &b.advertised[&(name("/A/1"), node("pod-1"))];
    assert_eq!((instance.weight, instance.exact, &instance.instance), (7, false, &None));
    let Proof::Grant(grant) = &pool.proof else { panic!("a grant") };
    assert_eq!((grant.exact, grant.depth), (true, 0));
    // A changed weight is a changed LSA and no new question to the SPA.
    let asked = b.steps.iter().filter(|s| **s == Step::AuthRequest).count();
    let now = b.now;
    let announcer = &mut b.pods.get_mut(&pod).unwrap().announcer;
    announcer.service_up(now, name("/A/1"), Some(name("/A")), 9);
    b.run(100);
    assert_eq!(b.advertised[&(name("/A"), node("pod-1"))].weight, 9);
    assert_eq!(b.steps.iter().filter(|s| **s == Step::AuthRequest).count(), asked);
}

#[test]
fn reg_06_one_instance_name_one_pod_and_pools_are_shared() {
    let licences: &[(&str, &[&str])] = &[("pod-1", &["/A/1", "/A"]), ("pod-2", &["/A/1", "/A/2", "/A"])];
    let mut b = Bench::new(licences, &["/A"]);
    let one = b.pod("pod-1");
    let two = b.pod("pod-2");
    b.service(one, "/A/1", Some("/A"));
    b.run(50);
    b.service(two, "/A/1", None);
    b.service(two, "/A/2", Some("/A"));
    b.run(50);
    assert_eq!(standing(&b, two, "/A/1"), Standing::Refused(RefusalReason::Conflict));
    assert_eq!(b.advertised_by("pod-1"), ["/A", "/A/1"]);
    assert_eq!(b.advertised_by("pod-2"), ["/A", "/A/2"]);
    // The name becomes free: the second pod has it without doing anything.
    b.end_service(one, "/A/1");
    b.run(2 * b.timers.retransmit_max_ms);
    assert_eq!(b.advertised_by("pod-2"), ["/A", "/A/1", "/A/2"]);
}

#[test]
fn reg_06_an_instance_name_held_behind_another_sg_is_a_conflict() {
    let mut b = bench();
    b.elsewhere.0.push((name("/A/1"), Holder { pod: node("pod-9"), exact: false }));
    b.elsewhere.0.push((name("/B"), Holder { pod: node("pod-9"), exact: true }));
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.service(pod, "/B/1", Some("/B"));
    b.run(50);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Refused(RefusalReason::Conflict));
    assert_eq!(b.advertised_by("pod-1"), ["/B", "/B/1"]);
}

#[test]
fn reg_06_a_race_of_two_sgs_for_one_name_ends_with_one_holder() {
    for (other, keeps) in [("pod-0", false), ("pod-9", true)] {
        let mut b = bench();
        let pod = b.pod("pod-1");
        b.service(pod, "/A/1", None);
        b.run(50);
        b.elsewhere.0.push((name("/A/1"), Holder { pod: node(other), exact: false }));
        b.registrar.handle_routes(b.now, &BTreeSet::from([name("/A/1")]), &b.elsewhere);
        b.run(50);
        assert_eq!(b.advertised_by("pod-1").len(), usize::from(keeps), "against {other}");
        let expected = if keeps { Standing::Accepted } else { Standing::Refused(RefusalReason::Conflict) };
        assert_eq!(standing(&b, pod, "/A/1"), expected, "against {other}");
    }
}

/// REG-07: four pods with fifty services each, all at the same moment, over lossy links.
#[test]
fn reg_07_two_hundred_services_at_once() {
    let names: Vec<Vec<String>> =
        (0..4).map(|p| (0..50).map(|s| format!("/load/p{p}/service-{s}")).collect()).collect();
    let refs: Vec<Vec<&str>> = names.iter().map(|v| v.iter().map(String::as_str).collect()).collect();
    let pods = ["pod-0", "pod-1", "pod-2", "pod-3"];
    let licences: Vec<(&str, &[&str])> = pods.iter().zip(&refs).map(|(p, n)| (*p, n.as_slice())).collect();
    let mut b = Bench::new(&licences, &[]);
    b.loss = 10;
    b.jitter_ms = 3;
    let ports: Vec<_> = pods.iter().map(|p| b.pod(p)).collect();
    for (port, services) in ports.iter().zip(&refs) {
        for service in services {
            b.service(*port, service, None);
        }
    }
    b.run(5000);
    for (pod, services) in pods.iter().zip(&refs) {
        let expected: BTreeSet<String> = services.iter().map(|s| (*s).to_owned()).collect();
        let got: BTreeSet<String> = b.advertised_by(pod).into_iter().collect();
        assert_eq!(got, expected);
    }
    assert!(b.originations.values().all(|n| *n == 1), "none doubled");
}

#[test]
fn reg_03_a_full_page_of_the_longest_names_fits_every_message() {
    // The bench encodes every message, AuthRequest with certificate and announcement included.
    let long = |i: u32| {
        let filler = "x".repeat(62);
        format!("/{filler}/{filler}/{filler}/{i:0>62}")
    };
    let names: Vec<String> = (0..40).map(long).collect();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut b = Bench::new(&[("pod-1", &refs)], &[]);
    let pod = b.pod("pod-1");
    b.detach(pod);
    for n in refs.chunks(2) {
        b.service(pod, n[0], Some(n[1]));
    }
    b.attach(pod);
    b.run(1000);
    assert_eq!(b.advertised_by("pod-1").len(), 40);
}
