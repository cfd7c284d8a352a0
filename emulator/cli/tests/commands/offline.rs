//! Commands that need no lab and no privilege, and mistakes in their use.

use crate::transcript::Transcript;

#[test]
fn check() {
    let mut said = Transcript::new("check");
    let bad = said.folder().join("bad.yaml");
    let text =
        "name: bad\ndomain: example\nnodes:\n  sr-1: { kind: sr }\n  pod-1: { kind: pods }\nlinks:\n  - [sr-1, sr-2]\n";
    std::fs::write(bad, text).expect("our own folder");
    said.damc("check line")
        .damc("check line fig2 tiered")
        .damc("check --json line")
        .damc("check FOLDER/bad.yaml")
        .damc("check line FOLDER/bad.yaml --json")
        .damc("check fig3")
        .damc("check FOLDER/none.yaml")
        .damc("check");
    insta::assert_snapshot!(said.text());
}

#[test]
fn plan_graph_and_generate() {
    let mut said = Transcript::new("plan");
    said.damc("plan line")
        .damc("plan line --lab other --seed 7")
        .damc("plan line --seed x")
        .damc("graph line --format mermaid")
        .damc("graph line --format dot --path sg-1,sr-1,sg-2")
        .damc("graph line --path sg-1,sg-2")
        .damc("graph line --format png")
        .damc("generate ring --nodes 3 --gateways 2")
        .damc("generate tree --nodes 0")
        .damc("import FOLDER/none.gml")
        .damc("import topologies/line.yaml");
    insta::assert_snapshot!(said.text());
}

#[test]
fn simulate_repeats_itself() {
    let mut said = Transcript::new("simulate").vary(r"\b\d+(\.\d+)?\b", "N");
    said.damc("simulate line").damc("simulate line --seed 2 --within 0").damc("simulate nowhere");
    insta::assert_snapshot!(said.text());
    let json = |line| said.run(line).stdout;
    let (first, again) = (json("simulate line --seed 3 --json"), json("simulate line --seed 3 --json"));
    assert!(!first.is_empty());
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
    // What the run cost this machine is set apart from what happened in virtual time.
    let result = |mut value: serde_json::Value| {
        assert!(value.as_object_mut().expect("an object").remove("host").is_some(), "no host in {value}");
        value
    };
    assert_eq!(result(parse(&first)), result(parse(&again)));
}

#[test]
fn without_a_lab() {
    let mut said = Transcript::new("nolab");
    said.damc("ps")
        .damc("ps --json")
        .damc("down")
        .damc("down nope")
        .damc("show sr-1 fib")
        .damc("logs sr-1")
        .damc("exec sr-1 -- true")
        .damc("link a b show")
        .damc("node sr-1 kill")
        .damc("call pod-1 /B/2 ping")
        .damc("capture sr-1")
        .damc("show sr-1 fib --lab nope");
    insta::assert_snapshot!(said.text());
}

#[test]
fn mistakes_of_usage() {
    let mut said = Transcript::new("usage");
    said.damc("")
        .damc("emulate fig2")
        .damc("run")
        .damc("run fig3")
        .damc("run line --suite everything")
        .damc("run line --links rope")
        .damc("run line --kernel minix")
        .damc("run line --case no-such-case")
        .damc("up line --seed -1")
        .damc("show sr-1")
        .damc("node sr-1 hug")
        .damc("link a b twist");
    insta::assert_snapshot!(said.text());
}
