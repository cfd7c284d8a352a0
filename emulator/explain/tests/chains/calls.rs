//! Where calls were lost.

use damc_testbed::NodeAction;

use crate::stage::{SECOND, Stage, rooted, stepped};

#[test]
fn a_call_that_a_link_lost_ends_at_that_link() {
    let stage = Stage::of("line");
    stage.frames(None);
    stage.silence("sr-1", "sg-2");
    let reply = stage.call("pod-1", "/B/2");
    assert_eq!(reply.error.as_deref(), Some("timeout"), "{reply:?}");
    let chain = stage.why_call(&reply.call.expect("its number"));
    rooted(&chain, "sr-1", "somebody changed the link sr-1 – sg-2: silent true");
    stepped(&chain, "sr-1", "sent request echo to sg-2").frame.as_ref().expect("a frame");
    insta::assert_snapshot!("lost_call", chain.to_string());
}

#[test]
fn a_call_to_a_paused_node_ends_there() {
    let stage = Stage::of("line");
    stage.node("pod-2", NodeAction::Pause);
    let reply = stage.call("pod-1", "/B/2");
    assert!(reply.error.is_some(), "{reply:?}");
    let chain = stage.why_call(&reply.call.expect("its number"));
    rooted(&chain, "pod-2", "somebody told it to pause");
}

#[test]
fn a_call_to_an_unknown_name_leads_to_why_nobody_has_it() {
    let stage = Stage::of("line");
    let reply = stage.call("pod-1", "/nowhere");
    assert_eq!(reply.error.as_deref(), Some("no-route"), "{reply:?}");
    let chain = stage.why_call(&reply.call.expect("its number"));
    rooted(&chain, "sg-1", "no pod of line offers /nowhere");
}

#[test]
fn a_call_without_recording_is_followed_through_the_tables() {
    let stage = Stage::of("line");
    stage.silence("sr-1", "sg-2");
    let reply = stage.call("pod-1", "/B/2");
    let call = reply.call.expect("its number");
    stage.pass(SECOND);
    let frames = damc_explain::Frames::default();
    let chain = damc_explain::why_call(&stage.evidence(), &frames, &call).expect("an answer");
    rooted(&chain, "sr-1", "sr-1 – sg-2");
    assert!(damc_explain::why_call(&stage.evidence(), &frames, "0123456789abcdef").is_err(), "no such call");
}
