//! The JSON that nodes of each role show, pinned: whoever reads `/fib` and its kind relies on it.
//!
//! Measured and counted values are replaced by their type: here it is about names, structure and words.

use std::collections::BTreeMap;

use damc_mgmt::view::ViewKind;
use damc_sim::Sim;
use serde_json::{Value, json};

use crate::steering::steer;
use crate::{DEADLINE, fig2, model, ms, paths};

/// What a machine may be asked.
const VIEWS: [ViewKind; 9] = [
    ViewKind::Fib,
    ViewKind::Rib,
    ViewKind::Lsdb,
    ViewKind::Neighbors,
    ViewKind::Policies,
    ViewKind::Announcements,
    ViewKind::Protocol,
    ViewKind::Sessions,
    ViewKind::Digest,
];
/// Members whose values depend on time, keys or chance.
const VARYING: [&str; 17] = [
    "age_ms",
    "bandwidth_bps",
    "delay_ns",
    "digest",
    "duration_ns",
    "expires_in_ms",
    "grant",
    "jitter_ns",
    "label",
    "loss_ppm",
    "lsa_sequence",
    "remaining_ms",
    "sequence",
    "serial",
    "since_ms",
    "unacknowledged",
    "version",
];

/// Figure 2 with a name that is refused, while a policy leads the traffic of `sg-1` to `/B/4` around a slow link.
fn steered() -> Sim {
    let mut sim = Sim::new(&fig2().licence("pod-2", &[]).configs(7), 7).unwrap();
    sim.set_all_specs(model(1));
    sim.start();
    sim.run_until(|s| paths(s).iter().filter(|p| p.delay_ns.is_some()).count() == 20, DEADLINE).expect("measured");
    steer(&mut sim);
    sim.run_for(ms(400));
    sim
}

/// Puts types in place of varying values.
fn masked(value: Value, varies: bool) -> Value {
    match value {
        Value::Object(members) => {
            let member = |(key, value): (String, Value)| {
                let varies = varies || VARYING.contains(&key.as_str());
                (key, masked(value, varies))
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| masked(item, varies)).collect()),
        Value::Number(_) if varies => json!("<number>"),
        Value::String(_) if varies => json!("<text>"),
        other => other,
    }
}

fn show(sim: &Sim, node: &str) -> Value {
    let view = |kind: ViewKind| {
        let view = serde_json::to_value(sim.view(node, kind)?).expect("views are JSON");
        let varies = matches!(kind, ViewKind::Protocol | ViewKind::Sessions | ViewKind::Digest);
        Some((kind.label().to_owned(), masked(view, varies)))
    };
    Value::Object(VIEWS.into_iter().filter_map(view).collect())
}

/// The first event of each kind.
fn events(sim: &Sim, node: &str) -> BTreeMap<String, Value> {
    let mut first = BTreeMap::new();
    for (_, event) in &sim.seen(node).events {
        let event = masked(serde_json::to_value(event).expect("events are JSON"), false);
        let kind = event["event"].as_str().expect("a kind").to_owned();
        first.entry(kind).or_insert(event);
    }
    first
}

#[test]
fn every_role_shows_what_it_always_showed() {
    let sim = steered();
    for node in ["sg-1", "sr-right", "spa-2", "scsc", "pod-2"] {
        let text = serde_json::to_string_pretty(&show(&sim, node)).expect("JSON");
        insta::assert_snapshot!(format!("views_{node}"), text);
    }
}

#[test]
fn every_role_tells_what_happens_as_it_always_did() {
    let sim = steered();
    for node in ["sg-1", "sg-2", "sr-right", "spa-2", "scsc", "pod-2"] {
        let text = serde_json::to_string_pretty(&events(&sim, node)).expect("JSON");
        insta::assert_snapshot!(format!("events_{node}"), text);
    }
}
