//! The experiment suite in virtual time: that every kind of expectation passes where the network does what is expected and
//! fails where it does not, and what the shipped experiments find.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use damc_conformance::case::Suite;
use damc_conformance::report::Report;
use damc_conformance::verdict::Kind;
use damc_lab::topology_file;
use damc_topology::Topology;

mod virtually;

use virtually::Results;

/// Plays the events of a topology; `also` looks at the folder of the run.
fn played(topology: &Topology, results: &Results, also: impl FnOnce(&Path)) -> Report {
    let chosen = (Some(Suite::Experiment), None);
    let finished = virtually::run(topology, PathBuf::from("topology.yaml"), chosen, results);
    also(&finished.folder.expect("a folder"));
    finished.report
}

const LINE: &str = "\
name: line
domain: example
defaults: { link: { delay: 1ms } }
nodes:
  sr-1: { kind: sr }
  scsc: { kind: scsc }
  sg-1: { kind: sg }
  sg-2: { kind: sg }
  spa-1: { kind: spa }
  spa-2: { kind: spa }
  pod-1: { kind: pod, services: [{ prefix: /A/1 }] }
  pod-2: { kind: pod, services: [{ prefix: /B/2 }] }
links: [ [sg-1, sr-1], [sg-2, sr-1], [scsc, sr-1], [spa-1, sg-1], [spa-2, sg-2], [pod-1, sg-1], [pod-2, sg-2] ]
events:
";

fn line(events: &[&str]) -> Topology {
    let events: String = events.iter().map(|event| format!("  - {event}\n")).collect();
    let source = format!("{LINE}{events}");
    damc_topology::parse("line.yaml", &source, Path::new("")).unwrap_or_else(|e| panic!("{:?}", miette(&e)))
}

fn miette(mistakes: &damc_topology::Mistakes) -> Vec<String> {
    mistakes.listed().iter().map(|mistake| format!("{mistake}: {}", mistake.help)).collect()
}

fn verdicts(report: &Report) -> BTreeMap<&str, Kind> {
    report.cases.iter().map(|case| (case.id.as_str(), case.verdict.kind())).collect()
}

/// Every kind of expectation, first on a network that does so, then on one that is broken for it.
const KINDS: [(&str, &str, &str); 17] = [
    ("reachable", "{ reachable: { from: pod-1, name: /B/2 } }", ""),
    ("reachable-soon", "{ reachable: { from: pod-1, name: /B/2 } }", ", within: 1s"),
    ("reachable-always", "{ reachable: { from: pod-1, name: /B/2 } }", ", throughout: true, for: 500ms"),
    ("unreachable", "{ unreachable: { from: pod-1, name: /nobody } }", ""),
    ("unreachable-soon", "{ unreachable: { from: pod-1, name: /nobody } }", ", within: 1s"),
    ("path", "{ path: [pod-1, sg-1, sr-1, sg-2, pod-2] }", ""),
    ("via", "{ path: { from: pod-1, name: /B/2, via: [sg-2] } }", ""),
    ("fib", "{ fib: { node: sr-1, prefix: /B/2, next: sg-2 } }", ""),
    ("fib-present", "{ fib: { node: sr-1, prefix: /B/2 } }", ""),
    ("policy", "{ policy: { node: sg-1, prefix: /B/2, absent: true } }", ""),
    ("lost", "{ lost: { of: calls, at_most: 0 } }", ""),
    ("p50", "{ p50: { of: calls, at_most: 20ms } }", ""),
    ("p99", "{ p99: { of: calls, at_most: 20ms } }", ""),
    ("p999", "{ p99.9: { of: calls, at_most: 20ms } }", ""),
    ("silent-link", "{ silent: [sg-2, sr-1] }", ", for: 500ms"),
    ("silent-node", "{ silent: sg-2 }", ", for: 500ms"),
    ("invariants", "{ invariants: true }", ""),
];

fn expectation(name: &str, what: &str, more: &str, at: &str) -> String {
    let judges_load = ["lost", "p50", "p99", "p999"].contains(&name);
    let at = if judges_load { String::new() } else { format!("at: {at}, ") };
    format!("{{ {at}expect: {what}{more}, as: {name} }}")
}

#[test]
fn every_expectation_passes_where_it_is_met() {
    // Nothing is silent while calls are made: those two have a time of their own, in which the node is dead.
    let at = |name: &str| if name.starts_with("silent") { "6s" } else { "1s" };
    let mut events = vec![
        "{ at: 0s, load: { from: pod-1, to: /B/2, rate: 100/s }, for: 4s, as: calls }".to_owned(),
        "{ at: 5s, node: sg-2, do: kill }".to_owned(),
    ];
    events.extend(KINDS.map(|(name, what, more)| expectation(name, what, more, at(name))));
    let topology = line(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let report = played(&topology, &Results::new("met"), |folder| {
        let table = std::fs::read_to_string(folder.join("loads/calls.csv")).unwrap();
        assert_eq!(table.lines().count(), 401, "a header and a line for each request");
    });
    let wrong: Vec<_> = report.cases.iter().filter(|case| case.verdict.kind() != Kind::Pass).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(report.cases.len(), KINDS.len() + 2);
    let load = report.cases.iter().find(|case| case.id == "load-calls").unwrap();
    let figure = |name: &str| load.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert_eq!((figure("sent"), figure("answered"), figure("lost")), (Some(400.0), Some(400.0), Some(0.0)));
    // Four links of 1 ms there and back.
    assert!(figure("p50").is_some_and(|ms| (8.0..10.0).contains(&ms)), "{:?}", load.figures);
    assert_eq!(
        report.events.iter().map(|event| event.what.as_str()).collect::<Vec<_>>(),
        ["100 rmi requests/s of 16 B from pod-1 to /B/2", "kill sg-2"]
    );
    assert!(report.events.iter().all(|event| event.began_ms >= event.asked_ms && event.error.is_none()));
}

/// What is planted: no frame passes between sg-2 and sr-1 for the first six seconds, so that calls are lost; after that every
/// frame takes 40 ms, and the expectations are the wrong ones.
#[test]
fn every_expectation_fails_where_it_is_broken() {
    const BROKEN: [(&str, &str, &str, &str); 17] = [
        ("reachable", "{ reachable: { from: pod-1, name: /B/2 } }", "", "3s"),
        ("reachable-soon", "{ reachable: { from: pod-1, name: /B/2 } }", ", within: 500ms", "3s"),
        ("reachable-always", "{ reachable: { from: pod-1, name: /B/2 } }", ", throughout: true, for: 500ms", "3s"),
        ("unreachable", "{ unreachable: { from: pod-1, name: /B/2 } }", "", "12s"),
        ("unreachable-soon", "{ unreachable: { from: pod-1, name: /B/2 } }", ", within: 500ms", "12s"),
        ("path", "{ path: [pod-1, sg-1, sg-2, pod-2] }", "", "12s"),
        ("via", "{ path: { from: pod-1, name: /B/2, via: [sg-2, sr-1] } }", "", "12s"),
        ("fib", "{ fib: { node: sr-1, prefix: /B/2, next: sg-1 } }", "", "12s"),
        ("fib-present", "{ fib: { node: sr-1, prefix: /B/2, absent: true } }", ", within: 300ms", "12s"),
        ("policy", "{ policy: { node: sg-1, prefix: /B/2 } }", ", within: 300ms", "12s"),
        ("lost", "{ lost: { of: early, at_most: 0 } }", "", ""),
        ("p50", "{ p50: { of: calls, at_most: 20ms } }", "", ""),
        ("p99", "{ p99: { of: calls, at_most: 20ms } }", "", ""),
        ("p999", "{ p99.9: { of: calls, at_most: 20ms } }", "", ""),
        ("silent-link", "{ silent: [sg-1, sr-1] }", ", for: 500ms", "12s"),
        ("silent-node", "{ silent: sg-1 }", ", for: 500ms", "12s"),
        // It is silent, and its neighbours have not noticed yet.
        ("invariants", "{ invariants: true }", "", "20ms"),
    ];
    assert_eq!(BROKEN.map(|(name, ..)| name), KINDS.map(|(name, ..)| name), "every kind is here");
    let mut events = vec![
        "{ at: 0s, link: [sg-2, sr-1], set: silent, for: 6s }".to_owned(),
        "{ at: 1s, load: { from: pod-1, to: /B/2, rate: 10/s }, for: 1s, as: early }".to_owned(),
        "{ at: 6s, link: [sg-2, sr-1], set: { delay: 40ms } }".to_owned(),
        "{ at: 12s, load: { from: pod-1, to: /B/2, rate: 50/s }, for: 2s, as: calls }".to_owned(),
    ];
    events.extend(BROKEN.map(|(name, what, more, at)| expectation(name, what, more, at)));
    let topology = line(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let report = played(&topology, &Results::new("broken"), |folder| {
        let junit = std::fs::read_to_string(folder.join("junit.xml")).unwrap();
        assert!(junit.contains("tests=\"20\"") && junit.contains("failures=\"17\""), "{junit}");
    });
    let verdicts = verdicts(&report);
    let passed: Vec<_> =
        BROKEN.iter().filter(|(name, ..)| verdicts[format!("expect-{name}").as_str()] != Kind::Fail).collect();
    assert!(passed.is_empty(), "{passed:#?}\n{verdicts:#?}");
    assert_eq!((verdicts["events"], verdicts["load-calls"], report.exit_code()), (Kind::Pass, Kind::Pass, 1));
    for case in report.cases.iter().filter(|case| case.verdict.kind() == Kind::Fail) {
        let reason = case.verdict.reason();
        assert!(reason.contains("expected") && reason.contains("saw"), "{}: {reason}", case.id);
    }
}

#[test]
fn an_event_that_cannot_happen_leaves_the_run_inconclusive_and_says_so() {
    let report = played(&line(&["{ at: 1s, node: sg-2, do: start }"]), &Results::new("cannot"), |_| ());
    assert_eq!(report.exit_code(), 3);
    assert!(report.events[0].error.is_some());
    let case = &report.cases[0];
    assert_eq!((case.id.as_str(), case.verdict.kind()), ("events", Kind::Inconclusive));
    assert!(case.verdict.reason().contains("start sg-2"), "{}", case.verdict.reason());
}

#[test]
fn what_only_the_live_world_can_do_is_an_exception_in_virtual_time() {
    let topology = line(&[
        "{ at: 1s, run: { in: pod-1, command: [\"true\"] } }",
        "{ at: 1s, load: { from: pod-1, to: /B/2, rate: 10/s, kind: http }, for: 1s, as: web }",
        "{ expect: { lost: { of: web, at_most: 0 } } }",
        "{ at: 1s, expect: { reachable: { from: pod-1, name: /B/2 } } }",
    ]);
    let report = played(&topology, &Results::new("live"), |_| ());
    let verdicts = verdicts(&report);
    assert_eq!((verdicts["load-web"], verdicts["expect-1"]), (Kind::Exception, Kind::Exception));
    assert_eq!((verdicts["expect-2"], report.exit_code()), (Kind::Pass, 0));
}

#[test]
fn everything_that_lasts_is_taken_back() {
    let topology = line(&[
        "{ at: 1s, link: [sg-2, sr-1], set: { delay: 200ms }, for: 1s, as: slow }",
        "{ at: 3s, link: [sg-2, sr-1], set: down, for: 500ms, every: 1s, times: 2, as: flaps }",
        "{ after: flaps, partition: [[sg-2, pod-2, spa-2], rest], for: 3s, as: apart }",
        "{ after: apart, node: sg-2, do: pause, for: 1s, as: paused }",
        "{ after: paused, service: /B/2, do: stop, for: 1s, as: stopped }",
        "{ after: apart, expect: { reachable: { from: pod-1, name: /B/2 } }, within: 5s }",
        "{ after: stopped, expect: { reachable: { from: pod-1, name: /B/2 } }, within: 5s, as: back }",
        "{ after: back, load: { from: pod-1, to: /B/2, rate: 50/s }, for: 1s, as: calls }",
        "{ expect: { p99: { of: calls, at_most: 10ms } } }",
        "{ expect: { lost: { of: calls, at_most: 0 } } }",
    ]);
    let report = played(&topology, &Results::new("back"), |_| ());
    let wrong: Vec<_> = report.cases.iter().filter(|case| case.verdict.kind() != Kind::Pass).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let backs = report.events.iter().filter(|event| event.what.starts_with("back: ")).count();
    assert_eq!(backs, 6);
}

// ===== the shipped experiments =====

fn shipped(name: &str) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../topologies/experiments/{name}.yaml"));
    let topology = topology_file::load(&path).unwrap_or_else(|e| panic!("{name}: {:?}", miette(&e)));
    assert_eq!(topology.name().as_str(), name);
    played(&topology, &Results::new(name), |_| ())
}

/// Every case passes, and one seed gives one report.
fn answers(name: &str) {
    let (first, second) = (shipped(name), shipped(name));
    let unmet: Vec<_> = first.cases.iter().filter(|case| case.verdict.kind() != Kind::Pass).collect();
    assert!(unmet.is_empty(), "{name}: {unmet:#?}");
    let text = |mut report: Report| {
        report.run.started = String::new();
        report.to_json().unwrap()
    };
    let (first, second) = (text(first), text(second));
    let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None, "{name}");
}

#[test]
fn instance_degrades() {
    answers("instance-degrades");
}

#[test]
fn sg_dies() {
    answers("sg-dies");
}

#[test]
fn flap_storm() {
    answers("flap-storm");
}

#[test]
fn partition() {
    answers("partition");
}

#[test]
fn scsc_lost() {
    answers("scsc-lost");
}

#[test]
fn wan_brownout() {
    answers("wan-brownout");
}

#[test]
fn rolling_restart() {
    answers("rolling-restart");
}

#[test]
fn registration_storm() {
    answers("registration-storm");
}

#[test]
fn service_moves() {
    answers("service-moves");
}

#[test]
fn mobile_link() {
    answers("mobile-link");
}

#[test]
fn every_shipped_experiment_is_played_here_and_asks_a_question() {
    let source = include_str!("experiments.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/experiments");
    let answered = std::fs::read_to_string(folder.join("../../results/published/experiments.md")).unwrap();
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(name) = file.file_stem().filter(|_| file.extension().is_some_and(|e| e == "yaml")) else { continue };
        let name = name.to_string_lossy();
        assert!(source.contains(&format!("answers(\"{name}\")")), "{name} is not played");
        assert!(answered.contains(&format!("`{name}`")), "{name} has no answer");
        assert!(std::fs::read_to_string(&file).unwrap().contains("\n# Question: "), "{name} asks nothing");
    }
}
