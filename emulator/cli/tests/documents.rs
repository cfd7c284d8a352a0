//! What the documents say of the tree is so: the table of crates, the numbering of decisions, the paths that are named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A crate of the workspace as cargo knows it.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    folder: String,
    /// Crates of the workspace that it depends on, other than for tests.
    stands_on: BTreeSet<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn short(name: &str) -> String {
    name.strip_prefix("damc-").unwrap_or(name).to_owned()
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn members() -> BTreeMap<String, Member> {
    let packages = packages();
    let ours: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let member = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok()).unwrap();
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let stands_on = dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| text(&dependency["name"]))
            .filter(|name| ours.contains(name))
            .map(|name| short(&name));
        let member = Member { folder: folder.display().to_string(), stands_on: stands_on.collect() };
        (short(&text(&package["name"])), member)
    };
    packages.iter().map(member).collect()
}

/// The rows of the table whose first heading is `crate`.
fn table() -> BTreeMap<String, Member> {
    let document = read("ARCHITECTURE.md");
    let rows = document.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let unquoted = |cell: &str| cell.trim_matches(['*', '`']).trim_matches('/').to_owned();
        let stands_on = cells[2].split([',', ' ']).filter(|name| !name.is_empty() && *name != "-").map(str::to_owned);
        (unquoted(cells[0]), Member { folder: unquoted(cells[1]), stands_on: stands_on.collect() })
    };
    rows.map(row).collect()
}

#[test]
fn the_table_of_crates_is_what_cargo_knows() {
    let (said, known) = (table(), members());
    for (name, member) in &known {
        assert_eq!(said.get(name), Some(member), "ARCHITECTURE.md, table of crates, row {name}");
    }
    let unknown: Vec<_> = said.keys().filter(|name| !known.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "ARCHITECTURE.md has rows of crates that do not exist: {unknown:?}");
}

#[test]
fn every_crate_says_what_it_is() {
    for package in packages() {
        let description = text(&package["description"]);
        assert!(description.len() > 20, "{} has the description `{description}`", text(&package["name"]));
    }
}

#[test]
fn decisions_are_numbered_once_and_in_order() {
    let document = read("ARCHITECTURE.md");
    let decisions = document.lines().skip_while(|line| *line != "## Decisions");
    let numbers = decisions.filter_map(|line| line.split_once(". **")?.0.parse::<usize>().ok());
    let numbers: Vec<_> = numbers.collect();
    assert!(numbers.len() > 20, "{numbers:?}");
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}

/// Words in backquotes that begin with one of the folders of the project are paths, and are there.
#[test]
fn paths_in_documents_exist() {
    let folders = ["nodes/", "emulator/", "conformance/", "topologies/", "results/", ".ci/", ".github/"];
    let mut missing = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "emulator/README.md", "topologies/README.md"] {
        for word in read(document).split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| word.starts_with(folder));
            let is_pattern = word.contains(['*', '<', '{', ' ', '…'])
                || word.chars().any(|c| c.is_ascii_uppercase() && word.contains("NAME"));
            // Results of runs are not kept.
            let is_made = word.starts_with("results/")
                && !word.starts_with("results/README")
                && !word.starts_with("results/published");
            if is_path && !is_pattern && !is_made && !root().join(word).exists() {
                missing.push(format!("{document}: `{word}`"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
