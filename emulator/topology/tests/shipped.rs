//! The files in `topologies/`: valid, described by the schema, and what their headers say they are.

use std::path::{Path, PathBuf};

use damc_topology::{Topology, parse, parse_with, schema};
use damc_wire::registry::Role;

const NAMES: [&str; 8] = ["calculator", "fig2", "fig2-http", "grid", "line", "ring", "shop", "tiered"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies")
}

fn load(name: &str) -> Topology {
    let path = folder().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap();
    parse(name, &text, &folder()).unwrap_or_else(|mistakes| panic!("{:?}", miette::Report::new(mistakes)))
}

#[test]
fn every_shipped_file_is_named_here() {
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, NAMES);
}

#[test]
fn every_shipped_file_is_valid_and_complete() {
    for name in NAMES {
        let topology = load(name);
        assert_eq!(topology.name().as_str(), name);
        assert_eq!(topology.of_kind(Role::Scsc).count(), 1, "{name}: one SCSC");
        for sg in topology.of_kind(Role::Sg) {
            let spas = topology.links_of(&sg.id).filter(|(_, far)| topology.nodes()[*far].kind == Role::Spa).count();
            assert_eq!(spas, 1, "{name}: one SPA for {}", sg.id);
        }
        let text = std::fs::read_to_string(folder().join(format!("{name}.yaml"))).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema=topology.schema.json\n"), "{name}: schema line");
    }
}

#[test]
fn the_readme_counts_nodes_and_links() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for name in NAMES {
        let topology = load(name);
        let row = format!("| [`{name}`]({name}.yaml) | {} | {} |", topology.nodes().len(), topology.links().len());
        assert!(readme.contains(&row), "the README lacks: {row}");
    }
}

/// FIG-01 to FIG-15: the figure link by link, written here once more.
#[test]
fn fig_01_to_15_fig2_is_the_figure() {
    let topology = load("fig2");
    let mut links: Vec<String> = topology.links().iter().map(|link| format!("{} {}", link.a, link.b)).collect();
    links.sort();
    let mut expected: Vec<String> = [
        "sg-1 sr-left",
        "sg-1 sr-right",
        "sg-2 sr-right",
        "sg-2 sr-left",
        "sg-3 sr-left",
        "sg-3 sr-bottom",
        "sg-4 sr-bottom",
        "sg-4 sr-right",
        "sr-left sr-right",
        "sr-left sr-bottom",
        "sr-right sr-bottom",
        "scsc sr-left",
        "scsc sr-right",
    ]
    .map(str::to_owned)
    .into();
    expected.extend((1..=4).flat_map(|n| [format!("spa-{n} sg-{n}"), format!("pod-{n} sg-{n}")]));
    expected.sort();
    assert_eq!(links, expected);
    assert_eq!(links.len(), 21);
    assert_eq!(topology.nodes().len(), 16);
}

#[test]
fn the_schema_is_the_shipped_one() {
    let path = folder().join("topology.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("DAMC_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(shipped == text, "topology.schema.json is stale: run the test once with DAMC_BLESS=1");
}

/// Editors and validators that keep schemas know this one, in this version, by its identity.
#[test]
fn the_schema_has_an_identity() {
    assert_eq!(schema()["$id"], "urn:damc-testbed:schema:topology:1");
    assert_eq!(schema()["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn every_shipped_file_meets_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for name in NAMES {
        let text = std::fs::read_to_string(folder().join(format!("{name}.yaml"))).unwrap();
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn every_shipped_experiment_is_valid_and_meets_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let folder = folder().join("experiments");
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(name) = file.file_stem().filter(|_| file.extension().is_some_and(|e| e == "yaml")) else { continue };
        let (name, text) = (name.to_string_lossy(), std::fs::read_to_string(&file).unwrap());
        let topology = parse_with(&name, &text, &folder, &read)
            .unwrap_or_else(|mistakes| panic!("{:?}", miette::Report::new(mistakes)));
        assert!(topology.events().iter().any(|event| event.act.is_expectation()), "{name} expects nothing");
        assert!(text.starts_with("# yaml-language-server: $schema=../topology.schema.json\n"), "{name}: schema line");
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        count += 1;
    }
    assert!(count >= 10, "{count} experiments");
}

/// The schema and the reader must agree on what is wrong as well, as far as a schema can tell.
#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let base = "name: x\ndomain: d\nnodes: { a: { kind: sr }, b: { kind: sr } }\nlinks: [ LINK ]\n";
    for (link, right) in [
        ("[a, b]", true),
        ("{ between: [a, b], delay: 5ms, loss: { model: gilbert-elliott, p: 1%, r: 10% }, limit: 10 }", true),
        ("{ between: [a, b], forward: { reorder: { probability: 5%, gap: 3 }, delay: 1ms } }", true),
        ("{ between: [a, b], dealy: 5ms }", false),
        ("{ between: [a, b], delay: 5 }", false),
        ("{ between: [a, b], delay: 5mbit }", false),
        ("{ between: [a, b], loss: { model: gilbert-elliott, p: 1% } }", false),
        ("{ between: [a, b], distribution: gauss }", false),
        ("[a, b, a]", false),
    ] {
        let source = base.replace("LINK", link);
        let value: serde_json::Value = serde_yaml::from_str(&source).unwrap();
        assert_eq!(parse("x.yaml", &source, &folder()).is_ok(), right, "reader on {link}");
        assert_eq!(validator.is_valid(&value), right, "schema on {link}");
    }
    for (event, right) in [
        ("{ at: 5s, link: [a, b], set: { delay: 80ms }, for: 2min }", true),
        ("{ at: 5s, link: [a, b], set: silent, every: 2s, times: 3, as: x }", true),
        ("{ at: 5s, node: a, do: overload }", true),
        ("{ at: 5s, partition: [[a], rest] }", true),
        ("{ at: 5s, expect: { silent: [a, b] }, for: 1s }", true),
        ("{ at: 5s, link: [a, b], set: { cost: 7 } }", false),
        ("{ at: 5, node: a, do: kill }", false),
        ("{ at: 5s, node: a, do: explode }", false),
        ("{ at: 5s, expect: { quiet: [a, b] } }", false),
    ] {
        let source = base.replace("LINK", "[a, b]") + "events: [ " + event + " ]\n";
        let value: serde_json::Value = serde_yaml::from_str(&source).unwrap();
        assert_eq!(parse("x.yaml", &source, &folder()).is_ok(), right, "reader on {event}");
        assert_eq!(validator.is_valid(&value), right, "schema on {event}");
    }
}
