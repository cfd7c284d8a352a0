//! AUT: who may announce what, and what an SPA's answer is worth.

use damc_proto::auth::announcer::Standing;
use damc_wire::message::{AnnounceEntry, AuthReply, AuthRequest, AuthResult, Outcome};
use damc_wire::{DropReason, Message, Millis, RefusalReason, Role};

use crate::parts::{SG_SESSION, SPA_PORT, Step, To, authority_with, keys, name, node};
use crate::{LICENCES, bench, standing};

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
