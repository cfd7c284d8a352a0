//! Dependencies of the workspace: each is used, and licence, ban and source are as `deny.toml` says.
//!
//! `cargo machete` and `cargo deny` find the same and more, but take minutes to compile on a fresh machine. What only
//! `cargo deny` knows is advisories, whose database has to be fetched: `just deny`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

fn toml_of(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `cargo metadata` says of all that is built here. What other platforms would need may not have been downloaded.
fn metadata() -> Value {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &host])
        .current_dir(workspace())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Packages of the workspace, and all others.
fn packages(metadata: &Value) -> (Vec<&Value>, Vec<&Value>) {
    let all = metadata["packages"].as_array().expect("packages");
    all.iter().partition(|package| package["source"].is_null())
}

/// Every Rust file of a package.
fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.join("Cargo.toml").exists() && !path.ends_with("target") {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        }
    }
}

/// Dependencies of a package whose name stands in none of its files.
fn unused(package: &Value) -> Vec<String> {
    let manifest = Path::new(text(package, "manifest_path"));
    let mut files = Vec::new();
    sources(manifest.parent().expect("a manifest lies in a folder"), &mut files);
    // Used by generated code only; `cargo machete` reads the same list.
    let generated = package["metadata"]["cargo-machete"]["ignored"].as_array().cloned().unwrap_or_default();
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    let names = dependencies.iter().map(|dependency| dependency["rename"].as_str().unwrap_or(text(dependency, "name")));
    let used = |name: &str| {
        let word = Regex::new(&format!(r"\b{}\b", name.replace('-', "_"))).expect("a name");
        files.iter().any(|file| word.is_match(file))
    };
    names
        .filter(|name| !used(name) && !generated.iter().any(|known| known == name))
        .map(|name| format!("{}: {name}", text(package, "name")))
        .collect()
}

#[test]
fn every_dependency_is_used() {
    let metadata = metadata();
    let (own, _) = packages(&metadata);
    let found: Vec<String> = own.iter().flat_map(|package| unused(package)).collect();
    assert!(found.is_empty(), "declared and not used: {found:#?}");
    let declared = toml_of(&workspace().join("Cargo.toml"));
    let declared = declared["workspace"]["dependencies"].as_table().expect("a table");
    let taken: BTreeSet<&str> = own
        .iter()
        .flat_map(|package| package["dependencies"].as_array().into_iter().flatten())
        .map(|dependency| dependency["rename"].as_str().unwrap_or(text(dependency, "name")))
        .collect();
    let idle: Vec<_> = declared.keys().filter(|name| !taken.contains(name.as_str())).collect();
    assert!(idle.is_empty(), "in workspace.dependencies and taken by no crate: {idle:?}");
}

#[test]
fn every_licence_is_allowed() {
    let deny = toml_of(&workspace().join("deny.toml"));
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    let metadata = metadata();
    let (_, foreign) = packages(&metadata);
    let refused: Vec<String> = foreign
        .iter()
        .filter(|package| {
            let licence = spdx::Expression::parse_mode(text(package, "license"), spdx::ParseMode::LAX);
            !licence.is_ok_and(|licence| licence.evaluate(|wanted| allowed.contains(&wanted.to_string().as_str())))
        })
        .map(|package| format!("{} {}: {}", text(package, "name"), text(package, "version"), package["license"]))
        .collect();
    assert!(refused.is_empty(), "licences that deny.toml does not allow: {refused:#?}");
}

#[test]
fn nothing_is_banned_or_from_elsewhere() {
    let deny = toml_of(&workspace().join("deny.toml"));
    let banned = deny["bans"]["deny"].as_array().expect("a list").iter();
    let banned: Vec<&str> = banned.filter_map(|entry| entry["crate"].as_str()).collect();
    let metadata = metadata();
    let (own, foreign) = packages(&metadata);
    assert!(own.len() > 10 && foreign.len() > 100, "{} and {} packages", own.len(), foreign.len());
    let found: Vec<&str> = foreign.iter().map(|package| text(package, "name")).filter(|n| banned.contains(n)).collect();
    assert!(found.is_empty(), "banned by deny.toml: {found:?}");
    let registries: BTreeSet<&str> = foreign.iter().map(|package| text(package, "source")).collect();
    assert!(registries.len() == 1 && registries.iter().all(|from| from.starts_with("registry+")), "{registries:?}");
    let wild: Vec<&str> = own
        .iter()
        .flat_map(|package| package["dependencies"].as_array().into_iter().flatten())
        .filter(|dependency| text(dependency, "req") == "*" && dependency["path"].is_null())
        .map(|dependency| text(dependency, "name"))
        .collect();
    assert!(wild.is_empty(), "any version would do for {wild:?}");
}
