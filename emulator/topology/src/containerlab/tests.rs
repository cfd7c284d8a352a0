use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::generate::{Format, import};
use crate::plan::KeySeed;
use crate::{Topology, parse, shipped};

fn exported(topology: &Topology) -> Export {
    export(topology, "damc-nodes:1", &KeySeed::of_simulation(1), true).unwrap()
}

fn again(text: &str) -> Topology {
    let whole = restored(text).unwrap().expect("one of ours");
    parse("again", &whole, Path::new("/topologies")).unwrap_or_else(|m| panic!("{:?}\n{whole}", miette::Report::new(m)))
}

/// What containerlab accepts, of what we write: its published schema (schemas/clab.schema.json) in our words, without the
/// keys that we do not use. Nodes and the whole have no other keys there either.
fn schema() -> Value {
    let texts = json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string" } });
    let node = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "kind": { "enum": ["linux"] },
            "image": { "type": "string" },
            "cmd": { "type": "string" },
            "binds": texts,
            "labels": { "type": "object", "additionalProperties": { "type": ["string", "number"] } },
            "config": { "type": "object", "properties": { "vars": { "type": "object" } } },
        },
    });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "topology"],
        "properties": {
            "name": { "type": "string" },
            "topology": {
                "type": "object",
                "required": ["nodes"],
                "properties": {
                    "defaults": node,
                    "nodes": { "type": "object", "additionalProperties": node },
                    "links": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "properties": {
                                "endpoints": {
                                    "type": "array",
                                    "minItems": 2,
                                    "uniqueItems": true,
                                    "items": { "type": "string", "pattern": "^\\S+:\\S+$" },
                                },
                                "vars": { "type": "object" },
                            },
                        },
                    },
                },
            },
        },
    })
}

#[test]
fn every_shipped_topology_is_a_file_of_containerlab_and_returns() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for name in shipped::names() {
        let topology = shipped::topology(name);
        let text = exported(&topology).topology;
        let value: Value = serde_yaml::from_str(&text).unwrap();
        let errors: Vec<String> = schema.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}\n{text}");
        // Paths of programs have become absolute: written once more they stay as they are.
        let (one, other) = (crate::written(&topology, &[]), crate::written(&again(&text), &[]));
        assert_eq!(one, other, "{name}");
    }
}

#[test]
fn fig2_returns_as_the_same_graph_with_the_same_words() {
    let topology = shipped::topology("fig2");
    let again = again(&exported(&topology).topology);
    assert_eq!(again.nodes(), topology.nodes());
    assert_eq!(again.links(), topology.links());
    assert_eq!((again.licences(), again.qos()), (topology.licences(), topology.qos()));
    assert_eq!((again.name(), again.domain()), (topology.name(), topology.domain()));
}

#[test]
fn nodes_find_their_configuration_and_their_interfaces() {
    let topology = shipped::topology("fig2");
    let export = exported(&topology);
    let value: Value = serde_yaml::from_str(&export.topology).unwrap();
    assert_eq!(export.configs.len(), topology.nodes().len());
    for config in &export.configs {
        let node = &value["topology"]["nodes"][&config.node];
        assert_eq!(node["cmd"], format!("damc-{} /damc/config.json", config.role));
        assert_eq!(node["binds"], json!([format!("nodes/{}:/damc", config.node)]));
        assert!(config.gateway.is_none() && config.interfaces_within_ms > 0, "{config:?}");
        assert!(config.admin_socket.starts_with("/damc") && !config.identity.signing_secret.is_empty());
        let ends: Vec<&str> = value["topology"]["links"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|l| l["endpoints"].as_array().unwrap())
            .map(|e| e.as_str().unwrap())
            .collect();
        for port in &config.ports {
            let end = format!("{}:{}", config.node, port.interface);
            assert_eq!(ends.iter().filter(|e| **e == end).count(), 1, "{end} in {ends:?}");
        }
    }
}

#[test]
fn links_get_their_properties_from_a_script_and_notes_say_what_it_cannot() {
    let source = r#"
name: pair
domain: d
nodes:
  sr-1: { kind: sr, overload: true }
  sr-2: { kind: sr }
  sg-1: { kind: sg }
  spa-1: { kind: spa }
  pod-1: { kind: pod, services: [{ prefix: /A }] }
links:
  - between: [sr-1, sr-2]
    forward: { delay: 5ms, jitter: 1ms, loss: 0.5%, corrupt: 1%, rate: 10mbit }
    backward: { delay: 1ms, loss: { model: gilbert-elliott, p: 1%, r: 10% }, duplicate: 1%, reorder: 1% }
  - [sg-1, sr-1]
  - [spa-1, sg-1]
  - [pod-1, sg-1]
events:
  - { at: 1s, run: { in: pod-1, command: [sh, -c, "echo $HOME ${HOME}"] } }
"#;
    let topology = parse("pair", source, Path::new("/")).unwrap_or_else(|m| panic!("{:?}", miette::Report::new(m)));
    let export = exported(&topology);
    assert!(
        export.netem.contains(
            "containerlab tools netem set --node clab-pair-sr-1 --interface sr-2 --delay 5000us --jitter 1000us \
             --loss 0.500 --corruption 1.000 --rate 10000\n"
        ),
        "{}",
        export.netem
    );
    let notes = export.notes.join("\n");
    for note in
        ["losses in bursts, duplicates, reordering of sr-1 at sr-2", "overload bit is not set: sr-1", "The events"]
    {
        assert!(notes.contains(note), "no {note} in {notes}");
    }
    // Containerlab would put its own variables in the place of these.
    assert!(!export.topology.contains('$'), "{}", export.topology);
    let (again, mut wanted) = (again(&export.topology), topology.events().to_vec());
    wanted[0].line = again.events()[0].line;
    assert_eq!(again.events(), wanted);
}

#[test]
fn programs_are_refused_unless_ours_may_take_their_place() {
    let shop = shipped::topology("shop");
    let keys = KeySeed::of_simulation(1);
    let refused = export(&shop, "x:1", &keys, false).unwrap_err();
    assert!(matches!(&refused, NotExported::Programs(what) if what.contains("/shop/")), "{refused}");
    let export = export(&shop, "x:1", &keys, true).unwrap();
    assert!(export.configs.iter().flat_map(|config| &config.services).all(|service| service.run.is_none()));
    assert!(export.notes[0].contains("/shop/web of front"), "{:?}", export.notes);
}

#[test]
fn a_neighbour_may_not_be_called_like_the_interface_of_the_engine() {
    let source = "name: p\ndomain: d\nnodes: { eth0: { kind: sr }, sr-2: { kind: sr } }\nlinks: [[eth0, sr-2]]\n";
    let topology = parse("p", source, Path::new("/")).unwrap();
    let error = export(&topology, "x", &KeySeed::of_simulation(1), false).unwrap_err();
    assert_eq!(error, NotExported::TakenInterface("sr-2".to_owned()));
}

/// As others write them.
const FOREIGN: &str = r#"
name: leafs
topology:
  defaults: { kind: linux, image: "alpine:3" }
  nodes:
    leaf1:
      labels: { graph-geoCoordinateLat: "52.52", graph-geoCoordinateLng: 13.40 }
    leaf2: { labels: { graph-geoCoordinateLat: 48.86, graph-geoCoordinateLng: "2.35" } }
    spine: { kind: nokia_srlinux, image: srl }
    br-1: { kind: bridge }
  links:
    - endpoints: ["leaf1:eth1", "leaf2:eth1"]
    - endpoints: ["leaf1:eth2", "spine:e1-1"]
      mtu: 1500
    - type: veth
      endpoints: [{ node: leaf2, interface: eth2 }, { node: spine, interface: e1-2 }]
    - endpoints: ["br-1:eth1", "leaf1:eth3"]
    - endpoints: ["spine:e1-9", "host:veth9"]
    - { type: macvlan, endpoint: { node: spine, interface: e1-8 }, host-interface: enp0s3 }
"#;

#[test]
fn files_of_others_are_maps() {
    assert_eq!(restored(FOREIGN), Ok(None));
    let backbone = import(FOREIGN, Format::Containerlab, "x").unwrap();
    let labels: Vec<&str> = backbone.routers.iter().map(|router| router.label.as_str()).collect();
    assert_eq!(labels, ["leaf1", "leaf2", "spine", "br-1"]);
    let ends: Vec<(usize, usize)> = backbone.trunks.iter().map(|trunk| (trunk.a, trunk.b)).collect();
    assert_eq!(ends, [(0, 1), (0, 2), (1, 2), (3, 0)]);
    // Berlin to Paris: 878 km of fibre.
    assert!((4_300..4_500).contains(&backbone.trunks[0].delay_us.unwrap()), "{:?}", backbone.trunks[0]);
    assert_eq!(backbone.trunks[1].delay_us, None);
    let text = backbone.dress(None, None).unwrap();
    for note in ["2 linux", "1 bridge", "1 nokia_srlinux", "2 links to the host"] {
        assert!(text.contains(note), "no {note} in\n{text}");
    }
    let topology = parse("leafs", &text, Path::new("/")).unwrap();
    assert_eq!(topology.of_kind(damc_wire::Role::Sr).count(), 4);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let map = |text: &str| import(text, Format::Containerlab, "x").unwrap_err();
    let starts = |text: &str, start: &str| assert!(map(text).starts_with(start), "{:?} for {text:?}", map(text));
    starts("name: [", "line 1: this is no YAML");
    starts("name: x\nkind: y\n", "line 1: there is no `topology:`");
    starts("topology:\n  nodes: 5\n", "line 2: `nodes` is a map of nodes by name, and here is a number");
    starts("topology:\n  nodes:\n    a: 5\n", "line 3: a is a map");
    starts("topology:\n  nodes:\n    a:\n    a:\n", "line 4: there already is a node a");
    let with = |link: &str| format!("topology:\n  nodes:\n    a:\n    b:\n  links:\n    - {link}\n");
    starts(&with("endpoints: [\"a:1\"]"), "line 6: a link has two `endpoints`");
    starts(&with("endpoints: [\"a:1\", b]"), "line 6: a link has two `endpoints`");
    starts(&with("endpoints: [\"a:1\", \"z:1\"]"), "line 6: there is no node z");
    starts(&with("{}"), "line 6: a link has two `endpoints`");
    starts("topology:\n  nodes:\n    a:\n    b:\n", "no two nodes of it are linked");
    let own = |text: &str| restored(text).unwrap_err();
    let mixed = "topology:\n  nodes:\n    a: { config: { vars: { damc: { kind: sr } } } }\n    b: {}\n";
    assert!(own(mixed).starts_with("line 4: b is no node of a DAMC network"), "{}", own(mixed));
    let listed = "topology:\n  nodes:\n    a: { config: { vars: { damc: [sr] } } }\n";
    assert_eq!(own(listed), "line 3: `damc` is a map, and here is a list");
    let twice = "topology:\n  nodes:\n    a: { config: { vars: { damc: { kind: sr, kind: sg } } } }\n";
    assert_eq!(own(twice), "line 3: `kind` is there already");
}

#[test]
fn what_was_changed_in_an_exported_file_counts() {
    let text = exported(&shipped::topology("line")).topology;
    let changed = text.replacen("\"delay\":\"1ms\"", "\"delay\":\"7ms\"", 1);
    assert_ne!(text, changed);
    let delays = |topology: &Topology| topology.links().iter().filter(|l| l.forward.spec.delay_ns == 7_000_000).count();
    assert_eq!((delays(&again(&text)), delays(&again(&changed))), (0, 1));
}
