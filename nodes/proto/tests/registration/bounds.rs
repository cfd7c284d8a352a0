//! Bounds: pods with more names than they may have, and names without end.

use std::collections::BTreeSet;

use damc_mgmt::words::ProtocolCounter;
use damc_proto::auth::announcer::Standing;
use damc_proto::auth::registrar::{Limits, Registrar};
use damc_wire::message::{AnnounceEntry, AuthRequest};
use damc_wire::{Message, RefusalReason};
use proptest::prelude::*;

use crate::parts::{Bench, SG_SESSION, To, name, node, verifier};
use crate::{bench, standing};

#[test]
fn a_pod_over_its_bound_is_told_so_and_others_are_not_affected() {
    let mut b = bench();
    let limits = Limits { names_per_pod: 2, transactions_per_pod: 8, ..Limits::default() };
    b.registrar = Registrar::new(node("sg-1"), verifier(), &b.timers, 1).with_limits(limits);
    b.link_spa();
    let greedy = b.pod("pod-3");
    let other = b.pod("pod-2");
    for i in 0..30 {
        b.service(greedy, &format!("/shop/{i:02}"), None);
    }
    b.service(other, "/C/2", None);
    b.run(200);
    assert_eq!(b.advertised_by("pod-3"), ["/shop/00", "/shop/01"]);
    assert_eq!(standing(&b, greedy, "/shop/29"), Standing::Refused(RefusalReason::Overloaded));
    assert_eq!(b.advertised_by("pod-2"), ["/C/2"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever services do, in any order, over bad links: in the end exactly what runs and is licensed is advertised.
    #[test]
    fn gap_09_the_end_state_does_not_depend_on_the_way(
        seed in any::<u64>(),
        steps in prop::collection::vec((0_usize..4, any::<bool>(), any::<bool>(), 0_u64..300), 1..25),
    ) {
        let services = ["/A/1", "/B/1", "/C/2", "/B/1/deep"];
        let mut b = bench().seeded(seed);
        b.loss = 20;
        b.duplicate = 10;
        b.jitter_ms = 60;
        let pod = b.pod("pod-1");
        let mut running = std::collections::BTreeMap::new();
        for (which, up, pooled, wait) in steps {
            let service = services[which];
            if up {
                let pool = (pooled && which < 2).then(|| &service[..2]);
                b.service(pod, service, pool);
                running.insert(service, pool);
            } else {
                b.end_service(pod, service);
                running.remove(service);
            }
            b.run(wait);
        }
        b.loss = 0;
        b.run(20_000);
        let mut expected = BTreeSet::new();
        for (service, pool) in running {
            if service != "/C/2" {
                expected.insert(service.to_owned());
                expected.extend(pool.map(str::to_owned));
            }
        }
        prop_assert_eq!(b.advertised_by("pod-1").into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

/// An attack that was made: 390 new names each second, as many withdrawn.
#[test]
fn new_names_without_end_end_with_bounded_grants_and_memory() {
    let mut b = Bench::new(&[("pod-1", &["/load"]), ("pod-2", &["/A/1"])], &[]);
    let (greedy, modest) = (b.pod("pod-1"), b.pod("pod-2"));
    let mut last: Vec<String> = Vec::new();
    for round in 0..600 {
        for gone in last.drain(..) {
            b.end_service(greedy, &gone);
        }
        last = (0..39).map(|i| format!("/load/{round}-{i}")).collect();
        for name in &last {
            b.service(greedy, name, None);
        }
        b.run(100);
    }
    // A burst, eight each second, and what its last round still waits for.
    let most = 2048 + 61 * 8;
    let issued = b.authority.counters().get(ProtocolCounter::GrantsIssued);
    assert!((2048..=most).contains(&issued), "{issued} grants");
    assert!(b.originations.len() as u64 <= most, "{} LSAs", b.originations.len());
    assert_eq!(standing(&b, greedy, &last[38]), Standing::Refused(RefusalReason::RateLimited));
    assert!(b.authority.view().announcements.len() <= 4096);
    b.service(modest, "/A/1", None);
    b.run(100);
    assert_eq!(standing(&b, modest, "/A/1"), Standing::Accepted, "others are not affected");
    for gone in &last[1..] {
        b.end_service(greedy, gone);
    }
    b.run(20_000);
    assert_eq!(standing(&b, greedy, &last[0]), Standing::Accepted, "later it may");
}

#[test]
fn a_new_adjacency_brings_no_new_tokens_and_a_restart_gets_its_names_back() {
    let mut b = Bench::new(&[("pod-1", &["/load"])], &[]);
    let pod = b.pod("pod-1");
    let names: Vec<String> = (0..600).map(|i| format!("/load/{i}")).collect();
    for name in &names {
        b.service(pod, name, None);
    }
    b.run(2000);
    let accepted = |b: &Bench| names.iter().filter(|n| standing(b, pod, n) == Standing::Accepted).count();
    assert_eq!(accepted(&b), 600);
    for restart in 1..=2 {
        b.detach(pod);
        b.attach(pod);
        b.run(2000);
        assert_eq!(accepted(&b), 600, "all at once after restart {restart}");
    }
    b.detach(pod);
    b.attach(pod);
    b.run(2000);
    assert!((248..350).contains(&accepted(&b)), "{}", accepted(&b));
}

#[test]
fn a_name_that_flaps_is_held_down_for_a_while() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    for _ in 0..100 {
        b.service(pod, "/A/1", None);
        b.run(50);
        b.end_service(pod, "/A/1");
        b.run(50);
    }
    let originated = b.originations[&name("/A/1")];
    assert!(originated <= 15, "{originated} LSAs in 10 s");
    b.service(pod, "/A/1", None);
    b.service(pod, "/B/1", None);
    b.run(50);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Refused(RefusalReason::HeldDown));
    assert_eq!(standing(&b, pod, "/B/1"), Standing::Accepted);
    b.run(12_000);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Accepted, "by itself");
}

/// An SG that a pod has captured asks on: the SPA has a bucket of its own.
#[test]
fn an_spa_bounds_the_grants_of_a_pod_by_itself() {
    let mut b = Bench::new(&[("pod-1", &["/load"])], &[]);
    let pod = b.pod("pod-1");
    let keys = b.pods[&pod].keys.clone();
    for request in 1..=300_u64 {
        let entry = |i: u64| AnnounceEntry { prefix: name(&format!("/load/{request}-{i}")), pool: None, weight: 1 };
        let announce = keys.sign_announce(request, (node("sg-1"), SG_SESSION), (0..10).map(entry).collect(), vec![]);
        let certificate = keys.certificate().clone();
        b.inject(To::Spa, Message::AuthRequest(AuthRequest { request, certificate, announce }));
    }
    assert_eq!(
        (
            b.authority.counters().get(ProtocolCounter::GrantsIssued),
            b.authority.counters().get(ProtocolCounter::Refusals)
        ),
        (2048, 952)
    );
}
