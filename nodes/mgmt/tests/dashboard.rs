//! The dashboard asks for nothing that nodes do not export.

use std::collections::BTreeSet;
use std::path::Path;

use damc_mgmt::label::Label;
use damc_mgmt::metrics::FAMILIES;
use damc_mgmt::words::{GatewayCounter, ProtocolCounter};
use damc_wire::MessageType;
use serde_json::Value;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies/apps/grafana").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Words of a text that name families.
fn families(text: &str) -> BTreeSet<&str> {
    text.split(|c| !is_word(c)).filter(|word| word.starts_with("damc_")).collect()
}

/// Labels with the values that they are compared with, those of an alternative one by one.
fn compared(expression: &str) -> Vec<(&str, &str)> {
    let parts = expression.split('{').skip(1).filter_map(|part| part.split('}').next());
    let pairs = parts.flat_map(|part| part.split(',')).filter_map(|pair| pair.split_once('='));
    pairs
        .flat_map(|(label, value)| value.trim_matches(['~', '"']).split('|').map(move |value| (label, value)))
        .collect()
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("expr").and_then(Value::as_str).map(ToOwned::to_owned));
            map.values().for_each(|value| expressions(value, found));
        }
        Value::Array(parts) => parts.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn every_metric_of_the_dashboard_is_exported() {
    let text = file("damc.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert_eq!(found.len(), dashboard["panels"].as_array().expect("panels").len(), "one for each panel");
    assert!(found.len() >= 10);
    for expression in &found {
        let named = families(expression);
        assert_eq!(named.len(), 1, "{expression}");
        let family = FAMILIES.iter().find(|family| named.contains(family.name));
        let family = family.unwrap_or_else(|| panic!("no node exports {named:?}"));
        let over_time = expression.contains("rate(") || expression.contains("increase(");
        assert_eq!(over_time, family.rises, "{expression}");
        for (label, value) in compared(expression) {
            let known = match (family.name, label) {
                (_, "node") => value == "$node",
                ("damc_protocol_total" | "damc_protocol", _) => ProtocolCounter::from_label(value).is_some(),
                ("damc_gateway_total" | "damc_gateway", _) => GatewayCounter::from_label(value).is_some(),
                (_, "type") => MessageType::ALL.iter().any(|kind| kind.label() == value),
                _ => false,
            };
            assert!(known && (label == "node" || family.label == Some(label)), "{label}={value} in {expression}");
        }
    }
}

#[test]
fn every_family_is_in_the_dashboard_and_in_its_readme() {
    let (dashboard, readme) = (file("damc.json"), file("README.md"));
    for family in &FAMILIES {
        assert!(families(&dashboard).contains(family.name), "{} is in no panel", family.name);
        assert!(families(&readme).contains(family.name), "{} is not described", family.name);
    }
    assert!(families(&readme).iter().all(|name| FAMILIES.iter().any(|family| family.name == *name)));
}
