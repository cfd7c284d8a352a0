//! A node that leaves a rule out is named, with the rule. What the real machines say is changed to what a node with the
//! planted fault of that name (`conformance/faults/catalogue`) would say.

use damc_explain::{Chain, Evidence, Frames, Mark, Step, why, why_not};
use damc_mgmt::event::{Event, EventKind};
use damc_mgmt::view::{LinkView, LsaView};
use damc_mgmt::words::{AdjacencyState, LsaKind};
use damc_testbed::{Act, Deed, NodeAction};
use damc_wire::DropReason;

use crate::stage::{SECOND, Stage, rooted, stepped};

/// The step at which a rule is broken.
#[track_caller]
fn broken<'c>(chain: &'c Chain, node: &str, section: u8, what: &str) -> &'c Step {
    let step = rooted(chain, node, what);
    assert_eq!((step.mark, step.rule.map(|rule| rule.section)), (Mark::Broken, Some(section)), "{chain}");
    step
}

fn asked(evidence: &Evidence, node: &str, name: &str) -> Chain {
    why(evidence, &Frames::default(), node, name).expect("an answer")
}

fn lsa<'e>(evidence: &'e mut Evidence, at: &str, origin: &str, id: &str) -> &'e mut LsaView {
    let lsdb = evidence.nodes.get_mut(at).expect("a node").lsdb.as_mut().expect("a database");
    lsdb.lsas.iter_mut().find(|lsa| lsa.origin == origin && lsa.id == id).expect("an LSA")
}

/// What all routers say of their tables becomes what they said before.
fn tables_of(evidence: &mut Evidence, before: &Evidence) {
    for (node, witness) in &mut evidence.nodes {
        witness.fib.clone_from(&before.nodes[node].fib);
        witness.lsdb.clone_from(&before.nodes[node].lsdb);
    }
}

fn forget(evidence: &mut Evidence, node: &str, which: impl Fn(&EventKind) -> bool) {
    evidence.nodes.get_mut(node).expect("a node").events.retain(|event| !which(&event.kind));
}

fn tell(evidence: &mut Evidence, node: &str, kind: EventKind) {
    let at_ns = evidence.at_ns - evidence.grace_ms * 2_000_000;
    let events = &mut evidence.nodes.get_mut(node).expect("a node").events;
    let sequence = events.last().map_or(0, |event| event.sequence + 1);
    events.push(Event { at_ns, sequence, kind });
}

fn purges(kind: &EventKind) -> bool {
    matches!(kind, EventKind::LsaOriginated { purge: true, .. } | EventKind::LsaAccepted { purge: true, .. })
}

#[test]
fn lsa_signature_unchecked() {
    let stage = Stage::of("fig2");
    let mut evidence = stage.evidence();
    let forged = LsaView { sequence: 99, ..lsa(&mut evidence, "sr-left", "sg-1", "/A/1").clone() };
    *lsa(&mut evidence, "sr-left", "sg-1", "/A/1") = forged;
    let accepted = EventKind::LsaAccepted {
        origin: "sg-1".into(),
        id: "/A/1 at pod-1".into(),
        sequence: 99,
        purge: false,
        port: "sr-right".into(),
    };
    tell(&mut evidence, "sr-left", accepted);
    let refused = EventKind::LsaRefused {
        origin: "sg-1".into(),
        id: "/A/1 at pod-1".into(),
        sequence: 99,
        reason: DropReason::BadSignature,
        port: "sr-left".into(),
    };
    tell(&mut evidence, "sr-bottom", refused);
    let deed = Deed::Injected { node: "sr-right".into(), port: "sr-left".into(), frames: 1 };
    evidence.acts.push(Act { at_ns: evidence.at_ns - evidence.grace_ms * 3_000_000, deed });
    let chain = asked(&evidence, "sr-left", "/A/1");
    broken(&chain, "sr-left", 10, "sg-1 never originated it");
    stepped(&chain, "sr-bottom", "bad-signature");
    stepped(&chain, "sr-right", "somebody sent 1 frames to sr-left in its name");
}

#[test]
fn one_sided_link_used() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    lsa(&mut evidence, "sg-1", "sg-2", "0").links.clear();
    broken(&asked(&evidence, "sg-1", "/B/2"), "sg-1", 13, "uses the link sr-1 – sg-2, which sg-2 does not list");
}

#[test]
fn overloaded_router_passed() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    lsa(&mut evidence, "sg-1", "sr-1", "0").overload = true;
    broken(&asked(&evidence, "sg-1", "/B/2"), "sg-1", 13, "passes through sr-1, which is overloaded");
}

#[test]
fn link_not_listed_at_its_end() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    for at in ["sg-1", "sr-1", "sg-2"] {
        lsa(&mut evidence, at, "sr-1", "0").links.retain(|link| link.neighbour != "sg-2");
    }
    evidence
        .nodes
        .get_mut("sg-1")
        .expect("a node")
        .fib
        .as_mut()
        .expect("a table")
        .entries
        .retain(|e| e.prefix != "/B/2");
    let chain = why_not(&evidence, &Frames::default(), "sg-1", "/B/2").expect("an answer");
    broken(&chain, "sr-1", 10, "has a full adjacency with sg-2 and does not list it");
}

#[test]
fn no_purge() {
    let stage = Stage::of("fig2");
    let before = stage.evidence();
    stage.order("pod-1", r#"{"order": "stop-service", "prefix": "/A/1"}"#);
    stage.pass(10 * SECOND);
    let mut evidence = stage.evidence();
    tables_of(&mut evidence, &before);
    evidence.nodes.keys().cloned().collect::<Vec<_>>().iter().for_each(|node| forget(&mut evidence, node, purges));
    broken(&asked(&evidence, "sr-left", "/A/1"), "sg-1", 12, "still advertises /A/1");
}

#[test]
fn withdrawal_ignored() {
    let stage = Stage::of("fig2");
    let before = stage.evidence();
    stage.order("pod-1", r#"{"order": "stop-service", "prefix": "/A/1"}"#);
    stage.pass(10 * SECOND);
    let mut evidence = stage.evidence();
    tables_of(&mut evidence, &before);
    evidence.nodes.keys().cloned().collect::<Vec<_>>().iter().for_each(|node| forget(&mut evidence, node, purges));
    forget(&mut evidence, "sg-1", |kind| matches!(kind, EventKind::Announced { withdrawn: true, .. }));
    let chain = why(&evidence, &stage.frames(None), "sr-left", "/A/1").expect("an answer");
    broken(&chain, "sg-1", 15, "did not execute the withdrawal of /A/1 by pod-1");
    // Without a recording nobody saw the withdrawal: the pod may as well not have said it.
    broken(&asked(&evidence, "sr-left", "/A/1"), "pod-1", 15, "did not withdraw the name");
}

#[test]
fn revocation_ignored() {
    let stage = Stage::of("fig2");
    let before = stage.evidence();
    stage.order("spa-1", r#"{"order": "revoke-licence", "pod": "pod-1", "prefix": "/A/1"}"#);
    stage.pass(10 * SECOND);
    let mut evidence = stage.evidence();
    tables_of(&mut evidence, &before);
    evidence.nodes.keys().cloned().collect::<Vec<_>>().iter().for_each(|node| forget(&mut evidence, node, purges));
    forget(&mut evidence, "sg-1", |kind| matches!(kind, EventKind::Revoked { .. }));
    let chain = asked(&evidence, "sr-left", "/A/1");
    broken(&chain, "sg-1", 15, "did not take the revocation of /A/1 by spa-1");
    stepped(&chain, "spa-1", "somebody took the licence");
}

#[test]
fn expired_grant_kept() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    let expired = EventKind::GrantExpired { pod: "pod-2".into(), prefix: "/B/2".into() };
    tell(&mut evidence, "sg-2", expired);
    broken(&asked(&evidence, "sr-1", "/B/2"), "sg-2", 12, "has an expired grant for it");
}

#[test]
fn dead_pod_kept() {
    let stage = Stage::of("fig2");
    let before = stage.evidence();
    stage.node("pod-1", NodeAction::Kill);
    stage.pass(10 * SECOND);
    let mut evidence = stage.evidence();
    tables_of(&mut evidence, &before);
    let chain = asked(&evidence, "sr-left", "/A/1");
    broken(&chain, "sg-1", 12, "still advertises /A/1 although its adjacency with pod-1 is down");
    stepped(&chain, "pod-1", "somebody told it to kill");
}

#[test]
fn advertised_before_the_grant() {
    let stage = Stage::of("fig2");
    let mut evidence = stage.evidence();
    let said = evidence.nodes["sg-1"].events.iter().find_map(|event| match &event.kind {
        EventKind::LsaOriginated { id, .. } if id == "/A/1 at pod-1" => Some(event.at_ns),
        _ => None,
    });
    for event in &mut evidence.nodes.get_mut("sg-1").expect("a node").events {
        if matches!(&event.kind, EventKind::Authenticated { prefix, .. } if prefix == "/A/1") {
            event.at_ns = said.expect("an origination") + 1_000_000;
        }
    }
    broken(&asked(&evidence, "sr-left", "/A/1"), "sg-1", 15, "without a grant before it");
}

#[test]
fn licence_unchecked_by_the_sg() {
    let stage = Stage::of("fig2");
    let mut evidence = stage.evidence();
    forget(&mut evidence, "sg-1", |kind| matches!(kind, EventKind::Authenticated { prefix, .. } if prefix == "/A/1"));
    broken(&asked(&evidence, "sr-left", "/A/1"), "sg-1", 15, "without a grant before it");
}

#[test]
fn two_holders_of_a_name() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    let mut second = lsa(&mut evidence, "sr-1", "sg-2", "/B/2").clone();
    (second.origin, second.port) = ("sg-1".into(), Some("pod-1".into()));
    evidence.nodes.get_mut("sr-1").expect("a node").lsdb.as_mut().expect("a database").lsas.push(second);
    let id = "/B/2 at pod-1".to_owned();
    tell(&mut evidence, "sg-1", EventKind::LsaOriginated { origin: "sg-1".into(), id, sequence: 1, purge: false });
    broken(&asked(&evidence, "sr-1", "/B/2"), "sg-1", 15, "although pod-2 at sg-2 holds it");
}

#[test]
fn older_instance_installed() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    let held = lsa(&mut evidence, "sr-1", "sg-2", "/B/2").sequence;
    let newer = EventKind::LsaAccepted {
        origin: "sg-2".into(),
        id: "/B/2 at pod-2".into(),
        sequence: held + 1,
        purge: false,
        port: "sg-2".into(),
    };
    tell(&mut evidence, "sr-1", newer);
    broken(&asked(&evidence, "sr-1", "/B/2"), "sr-1", 10, "went back to sequence");
}

#[test]
fn lsa_never_ages() {
    let stage = Stage::of("line");
    stage.pass(60 * SECOND);
    let mut evidence = stage.evidence();
    let lifetime = evidence.lsa_lifetime_ms;
    lsa(&mut evidence, "sr-1", "sg-2", "/B/2").remaining_ms = lifetime;
    broken(&asked(&evidence, "sr-1", "/B/2"), "sr-1", 12, "ms more, although it is");
}

#[test]
fn purged_name_kept_in_the_table() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    lsa(&mut evidence, "sr-1", "sg-2", "/B/2").purged = true;
    broken(&asked(&evidence, "sr-1", "/B/2"), "sr-1", 12, "keeps /B/2 although it is purged");
}

#[test]
fn withdrawn_policy_kept() {
    let stage = Stage::of("fig2");
    let mut evidence = stage.evidence();
    let witness = evidence.nodes.get_mut("sg-1").expect("a node");
    let entry =
        witness.fib.as_mut().expect("a table").entries.iter_mut().find(|e| e.prefix == "/B/4").expect("an entry");
    (entry.source, entry.label) = (damc_mgmt::words::RouteSource::Policy, Some(4711));
    broken(&asked(&evidence, "sg-1", "/B/4"), "sg-1", 18, "policy 4711, which is withdrawn or expired");
}

#[test]
fn not_flooded_on() {
    let stage = Stage::of("line");
    stage.frames(None);
    stage.order("pod-2", r#"{"order": "start-service", "prefix": "/B/2/x"}"#);
    stage.pass(5 * SECOND);
    let mut evidence = stage.evidence();
    // The name came to the SR, and as far as the recording tells it never left it.
    for node in ["sg-1", "sr-1"] {
        let witness = evidence.nodes.get_mut(node).expect("a node");
        witness.fib.as_mut().expect("a table").entries.retain(|entry| !entry.prefix.starts_with("/B/2"));
    }
    let without = |l: &LsaView| !l.id.starts_with("/B/2");
    evidence.nodes.get_mut("sg-1").expect("a node").lsdb.as_mut().expect("a database").lsas.retain(without);
    let frames = stage.frames(None);
    let chain = why_not(&evidence, &frames, "sg-1", "/B/2").expect("an answer");
    // The recording is that of a network in order, in which the LSA was sent before this recording began.
    broken(&chain, "sr-1", 10, "never sent it to sg-1");
}

#[test]
fn no_route_computed() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    let witness = evidence.nodes.get_mut("sg-1").expect("a node");
    witness.fib.as_mut().expect("a table").entries.retain(|entry| entry.prefix != "/B/2");
    let chain = why_not(&evidence, &Frames::default(), "sg-1", "/B/2").expect("an answer");
    broken(&chain, "sg-1", 13, "has a path to it, and no route");
}

#[test]
fn spa_that_does_not_answer() {
    let stage = Stage::of("line");
    stage.node("spa-2", NodeAction::Kill);
    stage.order("pod-2", r#"{"order": "start-service", "prefix": "/N/2"}"#);
    stage.pass(20 * SECOND);
    let mut evidence = stage.evidence();
    let before = evidence.nodes["sg-1"].neighbors.clone();
    evidence.nodes.get_mut("spa-2").expect("a node").state = Some(damc_testbed::NodeState::Ready);
    evidence.nodes.get_mut("spa-2").expect("a node").silent = None;
    for (node, port) in [("sg-2", "spa-2"), ("spa-2", "sg-2")] {
        let mut view = before.clone().expect("neighbours");
        let row = view.neighbors.iter_mut().find(|row| row.state == AdjacencyState::Full).expect("a full one");
        row.port = port.to_owned();
        let witness = evidence.nodes.get_mut(node).expect("a node");
        match &mut witness.neighbors {
            Some(own) => own.neighbors.iter_mut().filter(|r| r.port == port).for_each(|r| r.clone_from(row)),
            none => *none = Some(view),
        }
    }
    let chain = why_not(&evidence, &Frames::default(), "sr-1", "/N/2").expect("an answer");
    broken(&chain, "spa-2", 15, "has an adjacency with sg-2 and does not answer");
}

#[test]
fn entry_from_nowhere() {
    let stage = Stage::of("line");
    let mut evidence = stage.evidence();
    let fib = evidence.nodes.get_mut("sr-1").expect("a node").fib.as_mut().expect("a table");
    let mut entry = fib.entries.iter().find(|entry| entry.prefix == "/B/2").expect("an entry").clone();
    entry.prefix = "/evil".to_owned();
    fib.entries.push(entry);
    broken(&asked(&evidence, "sr-1", "/evil"), "sr-1", 13, "that no LSA in its database carries");
    // And a next hop that no shortest path has.
    let link = LinkView { neighbour: "sg-2".into(), cost: 50 };
    let view = lsa(&mut evidence, "sr-1", "sr-1", "0");
    view.links.iter_mut().filter(|l| l.neighbour == "sg-2").for_each(|l| l.clone_from(&link));
    assert_eq!(view.kind, LsaKind::Topology);
    broken(&asked(&evidence, "sr-1", "/B/2"), "sr-1", 13, "its database says /B/2 by sg-2 at cost 5");
}
