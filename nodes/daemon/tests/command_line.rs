//! What a node says when it cannot start.

#[allow(dead_code, reason = "each test needs a part of it")]
mod domain;
#[allow(dead_code, reason = "this test makes no links")]
#[path = "../../link/tests/namespace/mod.rs"]
mod namespace;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use damc_mgmt::config::PortConfig;
use domain::{Folder, configuration};
use namespace::in_private_namespace;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_damc-sg")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn start(folder: &Folder, text: &str) -> Output {
    let path = folder.path().join("sg-1.json");
    std::fs::write(&path, text).unwrap();
    run(&[path.to_str().unwrap()])
}

#[test]
fn mistakes_in_the_configuration_name_file_and_field() {
    let folder = Folder::new("mistakes");
    let good = serde_json::to_value(configuration(folder.path(), "sg-1")).unwrap();
    let with = |field: &str, value: &str| {
        let mut config = good.clone();
        config[field] = value.into();
        config.to_string()
    };
    let mut without = good.clone();
    without.as_object_mut().unwrap().remove("pace");
    for (text, expected) in [
        (with("role", "sr"), "role"),
        (with("node", "SG 1"), "node"),
        (with("colour", "red"), "colour"),
        (without.to_string(), "pace"),
        ("not JSON".to_owned(), "line 1"),
        (String::new(), "line 1"),
    ] {
        let output = start(&folder, &text);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("sg-1.json") && said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["/no/such/file"]).status.code(), Some(2));
}

#[test]
fn a_missing_interface_names_the_port() {
    in_private_namespace(|_| {
        let folder = Folder::new("interface");
        let mut config = configuration(folder.path(), "sg-1");
        let port = PortConfig { name: "sr-1".into(), interface: "nowhere0".into(), cost: 1, peer_role: "sr".into() };
        config.ports.push(port);
        let output = start(&folder, &serde_json::to_string(&config).unwrap());
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("sr-1") && said.contains("nowhere0"), "{said}");
    });
}

#[test]
fn a_node_waits_for_its_interfaces_as_long_as_it_was_told() {
    in_private_namespace(|links| {
        let folder = Folder::new("late");
        let mut config = configuration(folder.path(), "sg-1");
        let port = PortConfig { name: "sr-1".into(), interface: "late0".into(), cost: 1, peer_role: "sr".into() };
        config.ports.push(port);
        config.interfaces_within_ms = 1;
        let output = start(&folder, &serde_json::to_string(&config).unwrap());
        assert!(said(&output).contains("late0"), "{}", said(&output));
        config.interfaces_within_ms = 60_000;
        let path = folder.path().join("sg-1.json");
        std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_damc-sg")).arg(&path).stdout(Stdio::piped()).spawn();
        let mut node = program.unwrap();
        links.pair("late0", "late1");
        let lines: Vec<String> =
            BufReader::new(node.stdout.take().unwrap()).lines().map_while(Result::ok).take(2).collect();
        node.kill().unwrap();
        node.wait().unwrap();
        assert_eq!(lines.last().map(String::as_str), Some("ready"), "{lines:?}");
    });
}
