//! GAP-09: announcements and questions that are lost, repeated and late.

use damc_proto::auth::announcer::Standing;
use damc_wire::Message;
use damc_wire::message::{AnnounceEntry, AuthReply, AuthResult};

use crate::parts::{SG_SESSION, Step, To, name, node};
use crate::{bench, standing};

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
