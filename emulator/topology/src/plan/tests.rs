use std::path::Path;

use super::*;
use crate::shipped::{self, topology as shipped};

fn options(seed: u64) -> PlanOptions {
    PlanOptions { seed, run_dir: PathBuf::from("/run/damc/lab"), ..PlanOptions::default() }
}

fn keys(number: u8) -> KeySeed {
    KeySeed::from_bytes([number; KeySeed::BYTES])
}

#[test]
fn a_key_seed_is_written_as_digits_and_never_shown() {
    let seed = keys(0xab);
    assert_eq!(seed.to_hex(), "ab".repeat(32));
    assert_eq!(KeySeed::from_hex(&seed.to_hex()).unwrap().to_hex(), seed.to_hex());
    for wrong in ["", "ab", &"ab".repeat(33), &"xy".repeat(32)] {
        assert!(KeySeed::from_hex(wrong).is_none(), "{wrong}");
    }
    assert!(!format!("{seed:?}").contains("ab"));
}

#[test]
fn the_plan_of_every_shipped_topology_reads_like_this() {
    for name in shipped::names() {
        insta::assert_snapshot!(format!("plan_{name}"), plan(&shipped(name), &options(7)).to_string());
    }
}

#[test]
fn the_configuration_of_an_sg_in_line_looks_like_this() {
    let plan = plan(&shipped("line"), &options(7));
    let sg = plan.configs(&keys(7)).unwrap().into_iter().find(|config| config.node == "sg-1").unwrap();
    let mut value = serde_json::to_value(&sg).unwrap();
    // Keys are held by the tests below; here they would only be noise.
    for (_, key) in value["identity"].as_object_mut().unwrap() {
        *key = format!("{} hexadecimal digits", key.as_str().unwrap().len()).into();
    }
    value["pace"] = "…".into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn the_same_choices_give_the_same_plan() {
    let topology = shipped("fig2");
    let first = plan(&topology, &options(7));
    assert_eq!(first, plan(&topology, &options(7)));
    let json = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), first);
    let other = plan(&topology, &options(8));
    assert_eq!(first.configs(&keys(1)), serde_json::from_str::<Plan>(&json).unwrap().configs(&keys(1)));
    for (a, b) in first.configs(&keys(1)).unwrap().iter().zip(&first.configs(&keys(2)).unwrap()) {
        assert_ne!(a.identity.signing_secret, b.identity.signing_secret);
        assert_ne!(a.identity.root_key, b.identity.root_key);
    }
    for (a, b) in first.configs(&keys(1)).unwrap().iter().zip(&other.configs(&keys(1)).unwrap()) {
        assert_eq!(a.identity, b.identity, "the seed of a run, which everybody may know, has no part in keys");
    }
}

/// What a plan shows, configurations hold as well, and nothing of a plan is secret.
#[test]
fn a_plan_holds_no_keys() {
    let plan = plan(&shipped("fig2"), &options(7));
    let json = serde_json::to_string(&plan).unwrap();
    assert!(!json.contains("identity") && !json.contains("secret"));
    for (process, config) in plan.processes.iter().zip(plan.configs(&keys(7)).unwrap()) {
        for secret in [&config.identity.signing_secret, &config.identity.agreement_secret] {
            assert_eq!(secret.len(), 64);
            assert!(!json.contains(secret.as_str()), "a secret of {} is in the plan", config.node);
        }
        let mut shown = serde_json::to_value(&process.config).unwrap();
        shown["identity"] = serde_json::to_value(&config.identity).unwrap();
        assert_eq!(shown, serde_json::to_value(&config).unwrap(), "{}", config.node);
        assert_eq!(KeylessConfig::from(config), process.config);
    }
}

/// TRU: every node's certificate is good under the root key every node holds, and is for its own keys.
#[test]
fn certificates_fit_keys_names_and_roles() {
    let topology = shipped("fig2");
    let plan = plan(&topology, &options(7));
    for config in plan.configs(&keys(7)).unwrap() {
        let identity = &config.identity;
        let bytes = |text: &str| -> [u8; 32] { damc_trust::from_hex("key", text).unwrap().try_into().unwrap() };
        let root = damc_trust::RootKey::from_bytes(&bytes(&identity.root_key)).unwrap();
        let certificate = damc_trust::certificate_from_hex(&identity.certificate).unwrap();
        let mut verifier = damc_trust::Verifier::new(root, topology.domain().clone());
        verifier.verify_certificate(&certificate).unwrap();
        assert_eq!(certificate.node.as_str(), config.node);
        assert_eq!(certificate.role.label(), config.role);
        let secrets = damc_trust::NodeSecrets {
            signing: bytes(&identity.signing_secret),
            agreement: bytes(&identity.agreement_secret),
        };
        damc_trust::NodeKeys::new(&secrets, certificate).unwrap();
    }
}

/// Every port must have a counterpart: same link, roles crosswise, interface in the right namespace.
#[test]
fn ports_of_two_neighbours_fit_each_other() {
    for name in shipped::names() {
        let plan = plan(&shipped(name), &options(1));
        let configs: BTreeMap<_, _> = plan.processes.iter().map(|p| (p.node.as_str(), &p.config)).collect();
        let mut ends = 0;
        for link in &plan.links {
            for (near, far) in [(&link.a, &link.b), (&link.b, &link.a)] {
                let port = configs[near.node.as_str()].ports.iter().find(|port| port.name == far.node).unwrap();
                assert_eq!((port.interface.as_str(), port.cost), (near.interface.as_str(), near.cost));
                assert_eq!(port.peer_role, configs[far.node.as_str()].role);
                ends += 1;
            }
        }
        assert_eq!(ends, configs.values().map(|config| config.ports.len()).sum::<usize>());
        let addresses: BTreeSet<_> = plan.links.iter().flat_map(|l| [l.a.address, l.b.address]).collect();
        assert_eq!(addresses.len(), ends, "hardware addresses are unique");
    }
}

#[test]
fn interface_names_fit_and_are_unique() {
    let source = "name: x\ndomain: d\nnodes: { hub: { kind: sr }, lo: { kind: sr }, port0: { kind: sr }, \
                  a-name-longer-than-fifteen: { kind: sr }, a-name-longer-than-sixteen: { kind: sr } }\n\
                  links: [[hub, lo], [hub, port0], [hub, a-name-longer-than-fifteen], [hub, a-name-longer-than-sixteen]]\n";
    let plan = plan(&crate::parse("x", source, Path::new("")).unwrap(), &options(1));
    let names: Vec<_> = plan.links.iter().map(|link| link.a.interface.as_str()).collect();
    assert_eq!(names, ["port1", "port0", "port2", "port3"]);
    let names: Vec<_> = plan.links.iter().map(|link| link.b.interface.as_str()).collect();
    assert_eq!(names, ["hub"; 4]);
}

#[test]
fn an_spa_holds_the_licences_of_its_own_pods_only() {
    let plan = plan(&shipped("fig2"), &options(1));
    let spa = plan.processes.iter().find(|process| process.node == "spa-1").unwrap();
    let expected: Vec<String> = ["/A", "/A/1", "/B", "/B/1"].map(str::to_owned).into();
    assert_eq!(spa.config.licences, BTreeMap::from([("pod-1".to_owned(), expected)]));
    assert_eq!(spa.config.pools, ["/A", "/B"]);
}

#[test]
fn asymmetric_costs_reach_the_ports() {
    let plan = plan(&shipped("ring"), &options(1));
    let cost = |node: &str, far: &str| {
        let process = plan.processes.iter().find(|process| process.node == node).unwrap();
        process.config.ports.iter().find(|port| port.name == far).unwrap().cost
    };
    assert_eq!((cost("sr-1", "sr-2"), cost("sr-2", "sr-1")), (1, 5));
}

#[test]
fn links_with_rate_alone_are_plain() {
    let source = "name: x\ndomain: d\nnodes: { a: { kind: sr }, b: { kind: sr }, c: { kind: sr } }\n\
                  links: [{ between: [a, b], rate: 1mbit }, { between: [b, c], backward: { loss: 1% } }]\n";
    let plan = plan(&crate::parse("x", source, Path::new("")).unwrap(), &options(1));
    assert_eq!(plan.links.iter().map(|link| link.impaired).collect::<Vec<_>>(), [false, true]);
}

fn foreign(argv: &[&str], env: &[(&str, &str)]) -> Program {
    Program::Foreign(ForeignProgram {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        folder: "/topologies".into(),
    })
}

#[test]
fn a_program_is_told_its_place() {
    let place = Place { node: "sg-9", config: Path::new("/run/x/config/sg-9.json"), directory: Path::new("/run/x") };
    let program = foreign(&["./their-sg", "--config={config}", "{node}"], &[("STATE", "{dir}/{node}.state")]);
    assert_eq!(program.argv(place), ["/topologies/./their-sg", "--config=/run/x/config/sg-9.json", "sg-9"]);
    assert_eq!(program.env(place), [("STATE".to_owned(), "/run/x/sg-9.state".to_owned())]);
    assert_eq!(program.folder(), Some(Path::new("/topologies")));
    // What names no configuration gets it as its last argument; a word without a slash is looked for on the path.
    let program = foreign(&["python3", "their/sg.py"], &[]);
    assert_eq!(program.argv(place), ["python3", "their/sg.py", "/run/x/config/sg-9.json"]);
    let program = foreign(&["their-sg"], &[("CONFIG", "{config}")]);
    assert_eq!(program.argv(place), ["their-sg"]);
    let own = Program::Own("/opt/damc-sg".into());
    assert_eq!(own.argv(place), ["/opt/damc-sg", "/run/x/config/sg-9.json"]);
    assert_eq!((own.to_string().as_str(), own.folder()), ("damc-sg", None));
}

#[test]
fn a_node_is_replaced_in_the_file_or_later() {
    let source = "name: x\ndomain: d\nnodes: { a: { kind: sr, exec: [./a, \"{node}\"], env: { V: 1 } }, b: { kind: sr } }\n\
                  links: [[a, b]]\n";
    let mut topology = crate::parse("x", source, Path::new("/where/it/lies")).unwrap();
    let later = crate::Foreign { argv: vec!["./b".into()], env: BTreeMap::new(), folder: Some("/here".into()) };
    assert!(topology.replace("b", later));
    let nobody = crate::Foreign { argv: vec!["./c".into()], env: BTreeMap::new(), folder: None };
    assert!(!topology.replace("c", nobody));
    let plan = plan(&topology, &options(1));
    let program = |node: &str| &plan.process(node).unwrap().program;
    let place = Place { node: "a", config: Path::new("/c"), directory: Path::new("/d") };
    assert_eq!(program("a").argv(place), ["/where/it/lies/./a", "a", "/c"]);
    assert_eq!(program("a").env(place), [("V".to_owned(), "1".to_owned())]);
    assert_eq!(program("b").argv(place), ["/here/./b", "/c"]);
}
