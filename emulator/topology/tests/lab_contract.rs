//! `nodes/LAB.md` shows the configurations that a lab writes and the JSON that nodes serve, example by example.
//! `DAMC_BLESS=1` writes the examples anew.

use std::path::{Path, PathBuf};

use damc_mgmt::label::Label;
use damc_mgmt::words::{
    AdjacencyState, AnnouncementState, DownReason, GatewayCounter, LsaKind, Metric, PolicyActionKind, ProtocolCounter,
    RouteSource, ServiceState, Trigger,
};
use damc_topology::parse;
use damc_topology::plan::{KeySeed, PlanOptions, plan};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The configuration of a node of `line`, its keys described and not shown.
fn config(node: &str) -> String {
    let folder = root().join("topologies");
    let text = std::fs::read_to_string(folder.join("line.yaml")).unwrap();
    let topology = parse("line", &text, &folder).unwrap();
    let options = PlanOptions { run_dir: "/run/user/1000/damc/line".into(), ..PlanOptions::default() };
    let configs = plan(&topology, &options).configs(&KeySeed::from_bytes([7; 32])).unwrap();
    let config = configs.iter().find(|config| config.node == node).unwrap();
    let mut value = serde_json::to_value(config).unwrap();
    for (_, key) in value["identity"].as_object_mut().unwrap() {
        *key = format!("{} hexadecimal digits", key.as_str().unwrap().len()).into();
    }
    if node != "sr-1" {
        // One example shows all of them.
        value["pace"] = Value::Object(serde_json::Map::new());
    }
    serde_json::to_string_pretty(&value).unwrap()
}

fn labels<T: Label>(all: &[T]) -> Value {
    all.iter().map(|word| word.label()).collect()
}

/// Every word that a field of the management interface can hold.
fn words() -> String {
    let words = serde_json::json!({
        "state of an adjacency": labels(AdjacencyState::ALL),
        "why it went down": labels(DownReason::ALL),
        "source of a route": labels(RouteSource::ALL),
        "kind of an LSA": labels(LsaKind::ALL),
        "trigger of a computation": labels(Trigger::ALL),
        "action of a policy": labels(PolicyActionKind::ALL),
        "violated metric": labels(Metric::ALL),
        "state of a name": labels(AnnouncementState::ALL),
        "state of a service": labels(ServiceState::ALL),
        "protocol counter": labels(ProtocolCounter::ALL),
        "counter of a gateway": labels(GatewayCounter::ALL),
    });
    serde_json::to_string_pretty(&words).unwrap()
}

/// What stands under the mark of this name.
fn example(name: &str) -> String {
    match name.strip_prefix("config-") {
        None if name == "words" => words(),
        Some("sr") => config("sr-1"),
        Some("scsc") => config("scsc"),
        Some(role) => config(&format!("{role}-1")),
        None => {
            let path = root().join(format!("nodes/mgmt/tests/formats/{name}.json"));
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim_end().to_owned()
        }
    }
}

/// The text with every example as it has to be, and the names of the examples.
fn with_examples(text: &str) -> (String, Vec<String>) {
    let (mut out, mut names) = (String::new(), Vec::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        out += &format!("{line}\n");
        let Some(name) = line.strip_prefix("<!-- example ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        // What was there goes, with the blank line before it.
        if lines.peek() == Some(&"```json") {
            let _ = lines.by_ref().find(|line| *line == "```");
        }
        out += &format!("```json\n{}\n```\n", example(name));
        names.push(name.to_owned());
    }
    (out, names)
}

#[test]
fn the_contract_shows_what_labs_write_and_nodes_serve() {
    let path = root().join("nodes/LAB.md");
    let there = std::fs::read_to_string(&path).unwrap();
    let (expected, shown) = with_examples(&there);
    if std::env::var_os("DAMC_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    for (number, (there, expected)) in there.lines().zip(expected.lines()).enumerate() {
        assert_eq!(there, expected, "nodes/LAB.md, line {}", number + 1);
    }
    assert_eq!(there.len(), expected.len());
    let mut formats: Vec<String> = std::fs::read_dir(root().join("nodes/mgmt/tests/formats"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .chain(["words".to_owned()])
        .chain(["sr", "sg", "spa", "scsc", "pod"].map(|role| format!("config-{role}")))
        .collect();
    formats.sort();
    let mut shown = shown;
    shown.sort();
    assert_eq!(shown, formats, "every format is shown once");
}
