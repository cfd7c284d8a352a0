//! What people, links and nodes did is what chains end at.

use damc_explain::Mark;
use damc_testbed::{Direction, LinkChange, NodeAction};

use crate::stage::{SECOND, Stage, hops, rooted, stepped};

fn section(step: &damc_explain::Step) -> Option<u8> {
    step.rule.map(|rule| rule.section)
}

#[test]
fn a_route_leads_back_over_every_hop_to_grant_and_announcement() {
    let stage = Stage::of("fig2");
    let chain = stage.why("sr-bottom", "/A/1");
    let hop = stepped(&chain, "sr-bottom", "accepted the LSA /A/1 at pod-1");
    assert!(hop.at_ns.is_some() && hop.frame.is_some() && section(hop) == Some(10), "{chain}");
    let said = stepped(&chain, "sg-1", "originated the LSA /A/1 at pod-1");
    let granted = stepped(&chain, "sg-1", "has a grant for /A/1 to pod-1");
    assert!(granted.frame.is_some() && granted.at_ns <= said.at_ns, "{chain}");
    stepped(&chain, "spa-1", "granted /A/1 to pod-1");
    stepped(&chain, "sg-1", "pod-1 announced /A/1");
    rooted(&chain, "pod-1", "/A/1");
    assert!(chain.steps.iter().all(|step| step.mark != Mark::Broken), "{chain}");
    insta::assert_snapshot!("route", chain.to_string());
}

#[test]
fn no_entry_of_a_network_in_order_breaks_a_rule() {
    let stage = Stage::of("fig2");
    let (evidence, frames) = (stage.evidence(), stage.frames(None));
    let mut asked = 0;
    for (node, witness) in &evidence.nodes {
        for entry in witness.fib.iter().flat_map(|fib| &fib.entries) {
            let chain = damc_explain::why(&evidence, &frames, node, &entry.prefix).expect("an answer");
            assert!(chain.roots().count() > 0, "{chain}");
            assert!(chain.steps.iter().all(|step| step.mark != Mark::Broken), "{node} {}:\n{chain}", entry.prefix);
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked} entries");
}

#[test]
fn a_name_without_a_licence_is_refused_by_the_spa() {
    let stage = Stage::of("fig2");
    stage.order("pod-2", r#"{"order": "start-service", "prefix": "/X/9"}"#);
    stage.pass(5 * SECOND);
    let chain = stage.why_not("sr-left", "/X/9");
    let root = rooted(&chain, "spa-2", "refused /X/9 to pod-2: not-licensed");
    assert_eq!(section(root), Some(15), "{chain}");
    stepped(&chain, "sg-2", "spa-2 refused /X/9").frame.as_ref().expect("a frame");
    insta::assert_snapshot!("unlicensed", chain.to_string());
}

#[test]
fn a_reserved_name_is_refused_by_the_sg_itself() {
    let stage = Stage::of("line");
    stage.order("pod-2", r#"{"order": "start-service", "prefix": "/damc/mine"}"#);
    stage.pass(3 * SECOND);
    let refused = |event: &&damc_mgmt::event::Event| matches!(&event.kind, damc_mgmt::event::EventKind::AnnouncementRefused { prefix, .. } if prefix == "/damc/mine");
    assert_eq!(stage.evidence().nodes["sg-2"].events.iter().filter(refused).count(), 1, "told once");
    let chain = stage.why_not("sr-1", "/damc/mine");
    assert_eq!(section(stepped(&chain, "sg-2", "refused /damc/mine of pod-2 itself: bad-prefix")), Some(15), "{chain}");
    rooted(&chain, "pod-2", "somebody had it start /damc/mine");
}

#[test]
fn a_licence_that_was_given_back_is_a_root() {
    let stage = Stage::of("line");
    stage.order("spa-2", r#"{"order": "revoke-licence", "pod": "pod-2", "prefix": "/B/2"}"#);
    stage.pass(3 * SECOND);
    stage.order("spa-2", r#"{"order": "add-licence", "pod": "pod-2", "prefix": "/B/2"}"#);
    stage.order("pod-2", r#"{"order": "stop-service", "prefix": "/B/2"}"#);
    stage.order("pod-2", r#"{"order": "start-service", "prefix": "/B/2"}"#);
    stage.pass(10 * SECOND);
    rooted(&stage.why("sr-1", "/B/2"), "spa-2", "somebody licensed pod-2 for /B/2");
}

#[test]
fn a_revoked_licence_is_the_root_of_what_is_gone() {
    let stage = Stage::of("fig2");
    stage.order("spa-1", r#"{"order": "revoke-licence", "pod": "pod-1", "prefix": "/A/1"}"#);
    stage.pass(3 * SECOND);
    let chain = stage.why_not("sr-left", "/A/1");
    rooted(&chain, "spa-1", "took the licence for /A/1 from pod-1");
    let revoked = stepped(&chain, "sg-1", "spa-1 revoked the grant");
    assert!(revoked.frame.is_some() && section(revoked) == Some(15), "{chain}");
    insta::assert_snapshot!("revoked", chain.to_string());
}

#[test]
fn a_stopped_service_is_withdrawn_and_purged() {
    let stage = Stage::of("fig2");
    stage.order("pod-1", r#"{"order": "stop-service", "prefix": "/A/1"}"#);
    stage.pass(3 * SECOND);
    let chain = stage.why_not("sr-right", "/A/1");
    rooted(&chain, "pod-1", "somebody had it stop /A/1");
    assert_eq!(section(stepped(&chain, "sg-1", "purged /A/1 of pod-1")), Some(12));
}

#[test]
fn a_killed_pod_makes_its_names_unreachable() {
    let stage = Stage::of("fig2");
    stage.node("pod-1", NodeAction::Kill);
    stage.pass(5 * SECOND);
    let chain = stage.why_not("sr-left", "/A/1");
    rooted(&chain, "pod-1", "somebody told it to kill");
    assert_eq!(section(stepped(&chain, "sg-1", "has no adjacency with pod-1")), Some(9), "{chain}");
}

#[test]
fn a_killed_router_is_the_root_where_no_path_is_left() {
    let stage = Stage::of("line");
    stage.node("sg-2", NodeAction::Kill);
    stage.pass(10 * SECOND);
    rooted(&stage.why_not("sg-1", "/B/2"), "sg-2", "somebody told it to kill");
    stage.node("sr-1", NodeAction::Pause);
    stage.pass(10 * SECOND);
    rooted(&stage.why("sr-1", "/A/1"), "sr-1", "somebody told it to pause");
}

#[test]
fn a_cut_link_is_the_root_where_no_path_is_left() {
    let stage = Stage::of("line");
    stage.link("sr-1", "sg-2", LinkChange::Down);
    stage.pass(10 * SECOND);
    let chain = stage.why_not("sg-1", "/B/2");
    rooted(&chain, "sr-1", "somebody changed the link sr-1 – sg-2: down");
    insta::assert_snapshot!("cut", chain.to_string());
}

#[test]
fn a_silent_link_is_found_by_the_echoes_that_it_lost() {
    let stage = Stage::of("line");
    stage.silence("sr-1", "sg-2");
    stage.pass(10 * SECOND);
    let chain = stage.why_not("sg-1", "/B/2");
    rooted(&chain, "sr-1", "somebody changed the link sr-1 – sg-2: silent true");
    assert_eq!(section(stepped(&chain, "sr-1", "lost it: echo-silence")), Some(9), "{chain}");
}

#[test]
fn an_overloaded_router_is_the_root_where_nobody_passes_it() {
    let stage = Stage::of("line");
    stage.order("sr-1", r#"{"order": "overload", "on": true}"#);
    stage.pass(5 * SECOND);
    let chain = stage.why_not("sg-1", "/B/2");
    rooted(&chain, "sr-1", "somebody set its overload bit");
    assert_eq!(section(stepped(&chain, "sr-1", "is overloaded")), Some(13));
}

#[test]
fn a_dead_spa_is_the_root_of_a_name_that_waits() {
    let stage = Stage::of("line");
    stage.node("spa-2", NodeAction::Kill);
    stage.order("pod-2", r#"{"order": "start-service", "prefix": "/B/2/more"}"#);
    stage.pass(20 * SECOND);
    // The longer name is covered by the shorter one, so the SG itself is asked about what it holds.
    let evidence = stage.evidence();
    let waits = |event: &damc_mgmt::event::Event| matches!(&event.kind, damc_mgmt::event::EventKind::AuthUnanswered { prefix, .. } if prefix == "/B/2/more");
    assert!(evidence.nodes["sg-2"].events.iter().any(waits));
    stage.order("pod-2", r#"{"order": "start-service", "prefix": "/N/2"}"#);
    stage.pass(20 * SECOND);
    let chain = stage.why_not("sr-1", "/N/2");
    rooted(&chain, "spa-2", "somebody told it to kill");
    assert_eq!(section(stepped(&chain, "sg-2", "no SPA answered for /N/2")), Some(15), "{chain}");
}

#[test]
fn a_name_nobody_has_is_nobodys() {
    let stage = Stage::of("line");
    let chain = stage.why_not("sr-1", "/nowhere");
    rooted(&chain, "sr-1", "no pod of line offers /nowhere");
    assert!(damc_explain::why(&stage.evidence(), &stage.frames(None), "sr-9", "/A").is_err());
    assert!(damc_explain::why(&stage.evidence(), &stage.frames(None), "pod-1", "/A").is_err());
    assert!(damc_explain::why(&stage.evidence(), &stage.frames(None), "sr-1", "A").is_err());
}

#[test]
fn a_policy_leads_back_to_the_link_that_became_slow() {
    let stage = Stage::of("fig2");
    let delay_ns = Some(80_000_000);
    let properties = damc_impair::DirectionChange { delay_ns, ..Default::default() };
    for sr in hops(&stage.evidence(), "sg-1", "/B/4") {
        stage.link("sg-1", &sr, LinkChange::Set { direction: Direction::Both, properties });
    }
    let mut waited = 0;
    let by_policy = |stage: &Stage| {
        let evidence = stage.evidence();
        let fib = evidence.nodes["sg-1"].fib.clone().expect("a table");
        fib.entries.iter().any(|e| e.prefix == "/B/4" && e.source == damc_mgmt::words::RouteSource::Policy)
    };
    while !by_policy(&stage) {
        waited += 1;
        assert!(waited < 60, "no policy within a minute");
        stage.pass(SECOND);
    }
    let chain = stage.why("sg-1", "/B/4");
    rooted(&chain, "sg-1", "delay 80 ms");
    assert_eq!(section(stepped(&chain, "scsc", "violate its delay")), Some(18), "{chain}");
}
