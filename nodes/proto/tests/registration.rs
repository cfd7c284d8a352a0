//! Registration, authentication and what follows from them, between the real parts of pod, SG and SPA.

mod registration_bench;

use std::collections::BTreeSet;

use damc_mgmt::words::{DownReason, ProtocolCounter};
use damc_proto::auth::announcer::Standing;
use damc_proto::auth::registrar::{Holder, Limits, Registrar};
use damc_wire::lsa::Proof;
use damc_wire::message::{AnnounceEntry, AuthReply, AuthRequest, AuthResult, Outcome, Revoke};
use damc_wire::{DropReason, Message, Millis, RefusalReason, Role};
use proptest::prelude::*;
use registration_bench::{Bench, SG_SESSION, SPA_PORT, Step, To, authority_with, keys, name, node, verifier};

const LICENCES: &[(&str, &[&str])] =
    &[("pod-1", &["/A/1", "/A", "/B/1", "/B"]), ("pod-2", &["/C/2", "/A/2", "/A"]), ("pod-3", &["/shop"])];

fn bench() -> Bench {
    Bench::new(LICENCES, &["/A", "/B"])
}

fn standing(bench: &Bench, port: damc_proto::io::PortId, service: &str) -> Standing {
    bench.pods[&port].announcer.services()[&name(service)].standing
}

// ===== AUT =====

#[test]
fn aut_01_reg_01_announce_then_ask_then_answer_then_lsa() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(100);
    assert_eq!(
        b.steps,
        [
            Step::Announced("pod-1".into()),
            Step::AuthRequest,
            Step::Granted(name("/A/1")),
            Step::Lsa(name("/A/1")),
            Step::AnnounceReply,
        ]
    );
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Accepted);
    assert_eq!(b.admitted[&pod], [name("/A/1")]);
}

#[test]
fn aut_01_without_spa_the_prefix_appears_nowhere_and_the_pod_is_told() {
    let mut b = bench();
    b.cut_spa();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(b.timers.auth_timeout_ms + 100);
    assert!(b.advertised.is_empty());
    assert_eq!(b.admitted[&pod], []);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Refused(RefusalReason::SpaUnreachable));
    // The SPA comes back: asked at once, no waiting for a back-off or for the pod.
    b.link_spa();
    b.run(5);
    assert_eq!(b.advertised_by("pod-1"), ["/A/1"]);
    b.run(5);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Accepted);
}

/// AUT-02: what the SPA says is what the SG does, for every pod and name.
#[test]
fn aut_02_accepted_and_refused_as_licensed() {
    let cells = [
        ("pod-1", "/A/1", None),
        ("pod-1", "/A/1/x", None),
        ("pod-1", "/A/4", Some(RefusalReason::NotLicensed)),
        ("pod-1", "/A", Some(RefusalReason::NotLicensed)),
        ("pod-1", "/C/2", Some(RefusalReason::NotLicensed)),
        ("pod-1", "/damc/example/sg-2", Some(RefusalReason::BadPrefix)),
        ("pod-3", "/shop", None),
        ("pod-3", "/shop/cart", None),
        ("pod-3", "/shopping", Some(RefusalReason::NotLicensed)),
        ("pod-4", "/A/1", Some(RefusalReason::NotLicensed)),
    ];
    for (pod, prefix, refusal) in cells {
        let mut b = bench();
        let port = b.pod(pod);
        b.service(port, prefix, None);
        b.run(100);
        let expected = refusal.map_or(Standing::Accepted, Standing::Refused);
        assert_eq!(standing(&b, port, prefix), expected, "{pod} {prefix}");
        assert_eq!(b.advertised.is_empty(), refusal.is_some(), "{pod} {prefix}");
    }
}

#[test]
fn aut_02_pool_and_instance_are_judged_apart() {
    let mut b = bench();
    let pod = b.pod("pod-2");
    b.service(pod, "/C/2", Some("/B")); // may have /C/2, may not join /B
    b.run(100);
    assert_eq!(b.advertised_by("pod-2"), ["/C/2"]);
    let outcomes = &b.pods[&pod].replies[0].outcomes;
    assert_eq!(
        outcomes[..],
        [
            Outcome { prefix: name("/C/2"), refusal: None },
            Outcome { prefix: name("/B"), refusal: Some(RefusalReason::NotLicensed) },
        ]
    );
}

#[test]
fn aut_03_refusal_is_explicit_and_waits_for_no_timer() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/C/2", None);
    b.run(3); // three messages of half a millisecond each, no retransmission is due before 50 ms
    assert!(b.sent.iter().any(|(to, m)| *to == To::Sg(SPA_PORT)
        && matches!(m, Message::AuthReply(AuthReply { result: AuthResult::Refused(o), .. })
            if o.refusal == Some(RefusalReason::NotLicensed))));
    assert_eq!(standing(&b, pod, "/C/2"), Standing::Refused(RefusalReason::NotLicensed));
}

#[test]
fn aut_04_a_refused_pod_gets_no_lsa_and_no_admission() {
    let mut b = bench();
    let pod = b.pod("pod-4");
    b.service(pod, "/A/1", Some("/A"));
    b.run(20_000);
    assert!(!b.steps.iter().any(|s| matches!(s, Step::Lsa(_))));
    assert_eq!(b.admitted[&pod], []);
}

#[test]
fn aut_05_the_answer_itself_brings_the_lsa() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", Some("/A"));
    b.service(pod, "/B/1", None);
    b.run(100);
    for granted in ["/A/1", "/B/1"] {
        let at = b.steps.iter().position(|s| *s == Step::Granted(name(granted))).unwrap();
        assert_eq!(b.steps[at + 1], Step::Lsa(name(granted)), "the next thing done, in the same instant");
    }
}

#[test]
fn aut_07_a_replayed_announcement_of_another_pod_is_refused() {
    let mut b = bench();
    let one = b.pod("pod-1");
    b.service(one, "/A/1", None);
    b.run(100);
    let recorded = b.sent.iter().find_map(|(_, m)| matches!(m, Message::Announce(_)).then(|| m.clone())).unwrap();
    let two = b.pod("pod-2");
    let before = b.advertised.clone();
    b.inject(To::Sg(two), recorded);
    b.run(10_000);
    assert_eq!(b.advertised, before);
    assert_eq!(b.admitted[&two], []);
    assert_eq!(b.dropped(DropReason::NotAuthorised), 1);
    let told = b.pods[&two].replies.last().unwrap();
    assert!(told.outcomes.iter().all(|o| o.refusal == Some(RefusalReason::BadIdentity)));
}

#[test]
fn aut_07_an_announcement_of_a_former_session_is_dropped() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    let entry = AnnounceEntry { prefix: name("/A/1"), pool: None, weight: 1 };
    let old = b.pods[&pod].keys.sign_announce(1, (node("sg-1"), SG_SESSION - 1), vec![entry], vec![]);
    b.inject(To::Sg(pod), Message::Announce(old));
    b.run(10_000);
    assert!(b.advertised.is_empty());
    assert_eq!(b.dropped(DropReason::Replayed), 1);
}

#[test]
fn aut_07_one_flipped_bit_in_an_announcement_is_refused() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    let entry = AnnounceEntry { prefix: name("/A/1"), pool: None, weight: 1 };
    let mut forged = b.pods[&pod].keys.sign_announce(1, (node("sg-1"), SG_SESSION), vec![entry], vec![]);
    forged.add[0].prefix = name("/B/1"); // licensed, but not what was signed
    b.inject(To::Sg(pod), Message::Announce(forged.clone()));
    b.run(10_000);
    assert!(b.advertised.is_empty());
    assert_eq!(b.dropped(DropReason::BadSignature), 1);
    // The SPA does not take it from a lying SG either.
    let request = AuthRequest { request: 5, certificate: b.pods[&pod].keys.certificate().clone(), announce: forged };
    let mut spa = authority_with(LICENCES, &["/A", "/B"], &b.timers);
    spa.handle_request(b.now, damc_proto::io::PortId(0), &node("sg-1"), &request);
    let mut answers = Vec::new();
    while let Some(action) = spa.poll_action() {
        if let damc_proto::auth::authority::Action::Send { message, .. } = action {
            let Message::AuthReply(reply) = *message else { panic!("an answer") };
            answers.push(reply.result);
        }
    }
    assert_eq!(
        answers,
        [AuthResult::Refused(Outcome { prefix: name("/B/1"), refusal: Some(RefusalReason::BadIdentity) })]
    );
}

/// AUT-08: a set of positive answers that must not lead to an LSA.
#[test]
fn aut_08_forged_and_foreign_grants_change_nothing() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.cut_spa();
    b.service(pod, "/A/1", None);
    b.registrar.spa_up(b.now, node("spa-1"), SPA_PORT);
    b.spa_linked = true;
    b.loss = 100; // the honest SPA is silent
    b.run(100);
    let request = b
        .sent
        .iter()
        .find_map(|(_, m)| match m {
            Message::AuthRequest(r) => Some(r.clone()),
            _ => None,
        })
        .unwrap();
    let spa = keys("spa-1", Role::Spa);
    let honest = spa.sign_grant(damc_wire::security::Grant {
        prefix: name("/A/1"),
        exact: false,
        depth: 255,
        pod: node("pod-1"),
        pod_key: b.pods[&pod].keys.certificate().signing_key,
        sg: node("sg-1"),
        issued_at: Millis(b.now.millis()),
        expires_at: Millis(b.now.millis() + 60_000),
        serial: 1,
        certificate: spa.certificate().clone(),
        signature: [0; 64],
    });
    let resign = |change: &dyn Fn(&mut damc_wire::security::Grant)| {
        let mut g = honest.clone();
        change(&mut g);
        spa.sign_grant(g)
    };
    let mut flipped = honest.clone();
    flipped.signature[10] ^= 1;
    let forged = [
        (flipped, DropReason::BadSignature),
        (keys("sr-1", Role::Sr).sign_grant(honest.clone()), DropReason::NotAuthorised), // another speaker
        (keys("spa-1", Role::Sg).sign_grant(honest.clone()), DropReason::WrongRole),    // no SPA by certificate
        (resign(&|g| g.sg = node("sg-2")), DropReason::NotAuthorised),
        (resign(&|g| g.pod = node("pod-2")), DropReason::NotAuthorised),
        (resign(&|g| g.pod_key = [3; 32]), DropReason::NotAuthorised),
        (resign(&|g| g.prefix = name("/A/2")), DropReason::NotAuthorised),
        (resign(&|g| g.exact = true), DropReason::NotAuthorised),
        (resign(&|g| g.expires_at = g.issued_at), DropReason::NotAuthorised),
    ];
    for (grant, reason) in forged {
        let before = b.dropped(reason);
        let reply = AuthReply { request: request.request, result: AuthResult::Granted(grant) };
        b.inject(To::Sg(SPA_PORT), Message::AuthReply(reply));
        assert!(b.advertised.is_empty(), "{reason}");
        assert_eq!(b.dropped(reason), before + 1, "{reason}");
    }
    let before = b.dropped(DropReason::Unsolicited);
    let unasked = AuthReply { request: request.request + 1000, result: AuthResult::Granted(honest.clone()) };
    b.inject(To::Sg(SPA_PORT), Message::AuthReply(unasked));
    assert!(b.advertised.is_empty());
    assert_eq!(b.dropped(DropReason::Unsolicited), before + 1);
    // The one honest answer is still taken: the forgeries have not spoilt the transaction.
    let reply = AuthReply { request: request.request, result: AuthResult::Granted(honest) };
    b.inject(To::Sg(SPA_PORT), Message::AuthReply(reply));
    assert_eq!(b.advertised_by("pod-1"), ["/A/1"]);
}

#[test]
fn aut_08_an_old_positive_answer_is_worth_nothing_after_the_licence_is_gone() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(100);
    let recorded = b.sent.iter().find_map(|(_, m)| matches!(m, Message::AuthReply(_)).then(|| m.clone())).unwrap();
    b.authority.revoke_licence(b.now, &node("pod-1"), &name("/A/1"));
    b.run(100);
    assert!(b.advertised.is_empty());
    b.inject(To::Sg(SPA_PORT), recorded.clone());
    assert!(b.advertised.is_empty());
    // Nor while the pod's next announcement is being judged, where the transaction number is made to fit.
    b.end_service(pod, "/A/1");
    b.service(pod, "/A/1", None);
    b.loss = 100;
    b.run(10);
    let Message::AuthReply(mut reply) = recorded else { unreachable!() };
    for request in 0..20 {
        reply.request = request;
        b.inject(To::Sg(SPA_PORT), Message::AuthReply(reply.clone()));
    }
    assert!(b.advertised.is_empty());
}

#[test]
fn aut_10_approved_prefixes_outlive_their_spa() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(100);
    b.cut_spa();
    b.service(pod, "/B/1", None);
    b.run(b.timers.auth_timeout_ms + 1000);
    assert_eq!(b.advertised_by("pod-1"), ["/A/1"]);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Accepted);
    assert_eq!(standing(&b, pod, "/B/1"), Standing::Refused(RefusalReason::SpaUnreachable));
}

// ===== REG, ARC =====

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

// ===== GAP-09 =====

#[test]
fn gap_09_a_retransmitted_announcement_is_answered_and_not_executed_again() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(100);
    let recorded = b.sent[0].1.clone();
    let replies = b.pods[&pod].replies.len();
    b.inject(To::Sg(pod), recorded);
    b.run(100);
    assert_eq!(b.pods[&pod].replies.len(), replies + 1);
    assert_eq!(b.steps.iter().filter(|s| **s == Step::AuthRequest).count(), 1);
    assert_eq!(b.originations[&name("/A/1")], 1);
}

#[test]
fn gap_09_the_same_question_gets_the_same_grant() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(100);
    let question = b.sent.iter().find_map(|(_, m)| matches!(m, Message::AuthRequest(_)).then(|| m.clone())).unwrap();
    b.run(5000); // the SPA's clock has moved on
    b.inject(To::Spa, question);
    let grants: Vec<_> = b
        .sent
        .iter()
        .filter_map(|(_, m)| match m {
            Message::AuthReply(AuthReply { result: AuthResult::Granted(g), .. }) => Some(g.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(grants.len(), 2);
    assert_eq!(grants[0], grants[1]);
}

#[test]
fn gap_09_a_late_announcement_cannot_undo_a_newer_withdrawal() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    let keys = b.pods[&pod].keys.clone();
    let entry = AnnounceEntry { prefix: name("/A/1"), pool: None, weight: 1 };
    let to = || (node("sg-1"), SG_SESSION);
    let add = keys.sign_announce(1, to(), vec![entry], vec![]);
    let withdraw = keys.sign_announce(2, to(), vec![], vec![name("/A/1")]);
    b.inject(To::Sg(pod), Message::Announce(withdraw));
    b.inject(To::Sg(pod), Message::Announce(add));
    b.run(1000);
    assert!(b.advertised.is_empty());
    assert_eq!(b.pods[&pod].replies.len(), 2, "both are answered");
}

/// GAP-09: 30 % loss, duplicates and reordering on pod–SG and SG–SPA: everything registers, once.
#[test]
fn gap_09_registers_exactly_once_at_thirty_per_cent_loss() {
    for seed in 0..100 {
        let mut b = bench().seeded(seed);
        b.loss = 30;
        b.duplicate = 20;
        b.jitter_ms = 40;
        let pod = b.pod("pod-1");
        b.service(pod, "/A/1", Some("/A"));
        b.service(pod, "/B/1", Some("/B"));
        b.run(20_000);
        assert_eq!(b.advertised_by("pod-1"), ["/A", "/A/1", "/B", "/B/1"], "seed {seed}");
        assert_eq!(standing(&b, pod, "/A/1"), Standing::Accepted, "seed {seed}");
        assert!(b.originations.values().all(|n| *n == 1), "seed {seed}: {:?}", b.originations);
        b.end_service(pod, "/A/1");
        b.run(20_000);
        assert_eq!(b.advertised_by("pod-1"), ["/B", "/B/1"], "seed {seed}");
    }
}

// ===== GAP-07 =====

#[test]
fn gap_07_grants_are_renewed_at_half_life() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", Some("/A"));
    b.run(100);
    let serial = |b: &Bench| match &b.advertised[&(name("/A/1"), node("pod-1"))].proof {
        Proof::Grant(g) => g.serial,
        Proof::Attached(_) => unreachable!(),
    };
    let first = serial(&b);
    b.run(b.timers.grant_lifetime_ms / 2 - 200);
    assert_eq!(serial(&b), first, "not before half life");
    b.run(200);
    assert!(serial(&b) > first, "at half life");
    b.run(10 * b.timers.grant_lifetime_ms);
    assert_eq!(b.advertised_by("pod-1"), ["/A", "/A/1"]);
    assert!(!b.steps.iter().any(|s| matches!(s, Step::Purged(_))));
}

#[test]
fn gap_07_what_cannot_be_renewed_ends_with_its_grant_and_returns_with_the_spa() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(100);
    b.cut_spa();
    b.run(b.timers.grant_lifetime_ms - 200);
    assert_eq!(b.advertised_by("pod-1"), ["/A/1"], "good until it expires");
    b.run(200);
    assert!(b.advertised.is_empty(), "and no longer");
    assert_eq!(b.admitted[&pod], []);
    b.run(10);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Refused(RefusalReason::SpaUnreachable));
    b.link_spa();
    b.run(10);
    assert_eq!(b.advertised_by("pod-1"), ["/A/1"]);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Accepted);
}

#[test]
fn gap_07_revocation_withdraws_at_once_and_survives_loss() {
    for seed in 0..50 {
        let mut b = bench().seeded(seed);
        let pod = b.pod("pod-1");
        b.service(pod, "/A/1", Some("/A"));
        b.service(pod, "/B/1", None);
        b.run(100);
        b.loss = 30;
        b.authority.revoke_licence(b.now, &node("pod-1"), &name("/A/1"));
        b.run(10_000);
        // Without its instance the pool has nothing behind it.
        assert_eq!(b.advertised_by("pod-1"), ["/B/1"], "seed {seed}");
        assert_eq!(b.admitted[&pod], [name("/B/1")], "seed {seed}");
        assert_eq!(b.authority.next_timeout(), None, "acknowledged, no retransmission left (seed {seed})");
        b.loss = 0;
        b.authority.add_licence(node("pod-1"), name("/A/1"));
        b.end_service(pod, "/A/1");
        b.service(pod, "/A/1", Some("/A"));
        b.run(1000);
        assert_eq!(b.advertised_by("pod-1"), ["/A", "/A/1", "/B/1"], "licensed anew (seed {seed})");
    }
}

#[test]
fn gap_07_revocation_takes_one_message() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    b.run(100);
    b.authority.revoke_licence(b.now, &node("pod-1"), &name("/A/1"));
    b.run(1);
    assert!(b.advertised.is_empty());
    b.run(1);
    assert_eq!(standing(&b, pod, "/A/1"), Standing::Refused(RefusalReason::Revoked));
}

#[test]
fn gap_07_a_grant_that_is_overtaken_by_its_revocation_is_void() {
    let mut b = bench();
    let pod = b.pod("pod-1");
    b.service(pod, "/A/1", None);
    // The question reaches the SPA, its answer is still on the way when the revocation arrives.
    b.run(1);
    let answer = b.sent.iter().find_map(|(_, m)| matches!(m, Message::AuthReply(_)).then(|| m.clone())).unwrap();
    let Message::AuthReply(AuthReply { result: AuthResult::Granted(grant), .. }) = &answer else { panic!("granted") };
    assert!(b.advertised.is_empty());
    let revoke = Revoke { prefix: name("/A/1"), pod: node("pod-1"), serial: grant.serial };
    b.inject(To::Sg(SPA_PORT), Message::Revoke(revoke));
    b.inject(To::Sg(SPA_PORT), answer);
    assert!(b.advertised.is_empty());
    assert_eq!(b.dropped(DropReason::GrantExpired), 1);
}

// ===== bounds =====

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

// ===== names without end =====

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
