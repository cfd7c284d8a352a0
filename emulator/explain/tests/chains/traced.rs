//! Calls hop by hop.

use damc_explain::passage;
use damc_mgmt::call::CallRequest;

use crate::stage::Stage;

const CONTEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_call_in_a_trace_is_told_hop_by_hop_with_a_span_of_its_own() {
    let stage = Stage::of("line");
    let json = format!(r#"{{"name": "/B/2", "method": "trace", "traceparent": "{CONTEXT}"}}"#);
    let request: CallRequest = serde_json::from_str(&json).expect("a call");
    let reply = stage.make(&request);
    let (seen, sent) = (reply.result.expect("an answer"), reply.traceparent.expect("a context"));
    assert_eq!(seen, sent, "the service sees what the pod sent");
    let (trace, parent) = (&CONTEXT[..35], &CONTEXT[36..52]);
    assert!(seen.starts_with(trace) && !seen.contains(parent), "the same trace with another parent: {seen}");

    let call = reply.call.expect("its number");
    let frames = stage.frames(u64::from_str_radix(&call, 16).ok());
    let way = passage(&frames, &call).expect("a way");
    let hops: Vec<_> = way.hops.iter().map(|hop| (hop.from.as_str(), hop.to.as_str(), hop.back)).collect();
    let there = ["pod-1", "sg-1", "sr-1", "sg-2", "pod-2"];
    let links = there.windows(2).map(|pair| (pair[0], pair[1], false));
    let back = there.windows(2).rev().map(|pair| (pair[1], pair[0], true));
    assert_eq!(hops, links.chain(back).collect::<Vec<_>>());
    assert_eq!(way.traceparent.as_deref(), Some(seen.as_str()));
    // Each hop begins when the one before it has crossed its link and its node.
    for pair in way.hops.windows(2) {
        let took = pair[0].link_ns.expect("it arrived") + pair[0].node_ns.expect("it went on");
        assert_eq!(pair[0].after_ns + took, pair[1].after_ns, "{way}");
    }
    let last = way.hops.last().expect("a hop");
    assert_eq!((last.node_ns, last.after_ns + last.link_ns.expect("it arrived")), (None, way.took_ns));
}

#[test]
fn a_call_that_was_lost_ends_at_its_link_and_is_sent_again() {
    let stage = Stage::of("line");
    stage.silence("sr-1", "sg-2");
    let call = stage.call("pod-1", "/B/2").call.expect("its number");
    let way = passage(&stage.frames(u64::from_str_radix(&call, 16).ok()), &call).expect("a way");
    let lost: Vec<_> = way.hops.iter().filter(|hop| hop.from == "sr-1").collect();
    assert!(lost.iter().all(|hop| hop.to == "sg-2" && hop.link_ns.is_none() && hop.node_ns.is_none()), "{way}");
    assert!(lost.len() > 1, "an unanswered request is sent again: {way}");
    assert!(way.to_string().contains("sr-1 → sg-2"), "{way}");
    assert_eq!(way.traceparent, None);
}

#[test]
fn a_call_that_nobody_recorded_has_no_way() {
    let stage = Stage::of("line");
    assert_eq!(passage(&stage.frames(Some(1)), "1"), None);
}
