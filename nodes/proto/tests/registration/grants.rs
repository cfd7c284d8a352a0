//! GAP-07: the life of a grant, from renewal to revocation.

use damc_proto::auth::announcer::Standing;
use damc_wire::lsa::Proof;
use damc_wire::message::{AuthReply, AuthResult, Revoke};
use damc_wire::{DropReason, Message, RefusalReason};

use crate::parts::{Bench, SPA_PORT, Step, To, name, node};
use crate::{bench, standing};

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
