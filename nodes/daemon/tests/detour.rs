//! A link that loses its carrier: the forwarding plane takes the loop-free alternate at once (RFC 5286), as real processes.

#[allow(dead_code, reason = "each test needs a part of it")]
mod domain;
#[allow(dead_code, reason = "each test needs a part of it")]
#[path = "../../link/tests/namespace/mod.rs"]
mod namespace;

use std::collections::BTreeMap;

use domain::{Folder, Node, configurations, interface, until};
use namespace::in_private_namespace;
use serde_json::Value;

/// Two ways from sg-1 to sg-2: by sr-1, and by sr-2, which costs more.
const LINKS: [(&str, &str); 8] = [
    ("sg-1", "sr-1"),
    ("sr-1", "sg-2"),
    ("sg-1", "sr-2"),
    ("sr-2", "sg-2"),
    ("pod-1", "sg-1"),
    ("spa-1", "sg-1"),
    ("pod-2", "sg-2"),
    ("spa-2", "sg-2"),
];
/// What sg-1 waits before it computes paths: far longer than a call takes.
const PATIENT_MS: u64 = 1500;

fn events(node: &Node) -> Vec<Value> {
    let (_, text) = node.http("GET", "/events?follow=false", "");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn computes_paths(event: &Value) -> bool {
    event["event"] == "computed" && event["full"] == true
}

/// When a node computed paths last, ns.
fn newest_computation(node: &Node) -> u64 {
    events(node).iter().filter(|e| computes_paths(e)).filter_map(|e| e["at_ns"].as_u64()).max().unwrap_or(u64::MAX / 2)
}

/// What a node has noted since a carrier went.
fn since_carrier_loss(node: &Node) -> Vec<Value> {
    let lost = |e: &Value| e["event"] == "carrier" && e["up"] == false;
    events(node).into_iter().skip_while(|e| !lost(e)).collect()
}

#[test]
fn the_alternate_takes_over_before_paths_are_computed() {
    in_private_namespace(|links| {
        for (a, b) in LINKS {
            links.pair(&interface(a, b), &interface(b, a));
        }
        let folder = Folder::new("detour");
        let services: [(&str, &[&str]); 2] = [("pod-1", &["/A/1"]), ("pod-2", &["/B/2"])];
        let mut configs = configurations(folder.path(), &LINKS, &services);
        let sg = configs.get_mut("sg-1").unwrap();
        sg.ports.iter_mut().filter(|port| port.name == "sr-2").for_each(|port| port.cost = 3);
        sg.timers.spf_initial_ms = PATIENT_MS;
        sg.timers.spf_short_ms = PATIENT_MS;
        sg.timers.spf_long_ms = PATIENT_MS;
        // A neighbour whose link is gone is not to be found silent before.
        sg.timers.echo_interval_ms = 10_000;
        let start = |config: &_| Node::start(folder.path(), config);
        let nodes: BTreeMap<&str, Node> = configs.iter().map(|(name, config)| (name.as_str(), start(config))).collect();
        let (pod, sg) = (&nodes["pod-1"], &nodes["sg-1"]);
        let by = |sr: &str| {
            let path = ["sg-1", sr, "sg-2"];
            until(&format!("calls by {sr}"), || pod.call("/B/2", "add", &["2", "3"]), |r| r.path == path)
        };
        by("sr-1");
        // Calm: what is computed from now on is computed for the cut.
        until(
            "a table with the alternate",
            || sg.get("/fib"),
            |fib| {
                let entries = fib["entries"].as_array().into_iter().flatten();
                entries.filter(|e| e["prefix"] == "/B/2").any(|e| e["backups"][0]["node"] == "sr-2")
            },
        );
        until(
            "nothing computed for a while",
            || newest_computation(sg),
            |at| damc_link::monotonic_now() > at + 2 * PATIENT_MS * 1_000_000,
        );
        links.set(&interface("sr-1", "sg-1"), false);
        let reply = by("sr-2");
        assert_eq!(reply.result.as_deref(), Some("5"));
        let noted = since_carrier_loss(sg);
        assert!(noted.iter().any(|e| e["event"] == "fib"), "the table changed: {noted:?}");
        assert!(!noted.iter().any(computes_paths), "and nothing was computed for it: {noted:?}");
        until("paths computed", || since_carrier_loss(sg), |noted| noted.iter().any(computes_paths));
    });
}
