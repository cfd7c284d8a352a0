//! A short exploration of fixed seeds, and that what is explored is what a run does.

use std::path::{Path, PathBuf};

use damc_conformance::case::Suite;
use damc_conformance::runner::{self, Trial as Played};
use damc_explore::{Change, Draw, Event, Happening, Trial};
use damc_sim::VirtualMaker;
use damc_topology::Topology;
use damc_wire::NodeId;

mod virtually;

use virtually::Results;

/// Schedules of random networks that every test run plays. A longer exploration is `just explore`.
const SCHEDULES: u64 = 24;

fn play(topology: &Topology, seed: u64) -> Played {
    let maker = VirtualMaker::new(1.0);
    let played = damc_sim::block_on(&maker, runner::trial(&maker, topology, seed));
    played.unwrap_or_else(|e| panic!("{}", e.one_line()))
}

fn runnable(trial: &Trial) -> Topology {
    trial.runnable().unwrap_or_else(|| panic!("no topology:\n{}", trial.text(&[])))
}

#[test]
fn a_short_exploration_breaks_no_rule() {
    let draw = Draw { seed: 1, topology: None };
    for number in 0..SCHEDULES {
        let trial = draw.trial(number);
        let played = play(&runnable(&trial), trial.seed);
        assert_eq!(played.failures, [], "schedule {number}, seed {}:\n{}", trial.seed, trial.text(&[]));
        assert!(played.witnessed.looks > 10 && played.witnessed.states.len() > 10, "{number} was not watched");
    }
}

/// `damc run --virtual` of the text is the same run as the one that was explored: to the nanosecond, so that whatever an
/// exploration finds is there again.
#[test]
fn a_run_of_the_text_is_what_was_explored() {
    let trial = Draw { seed: 3, topology: None }.trial(5);
    let topology = runnable(&trial);
    let results = Results::new("explored");
    let chosen = (Some(Suite::Experiment), None);
    // Seed 7 is that of these runs.
    let report = virtually::run(&topology, PathBuf::from("explored.yaml"), chosen, &results).report;
    let case = report.cases.iter().find(|case| case.id == "expect-1").expect("the invariants are a case");
    let figure = |name: &str| case.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    let played = play(&topology, 7);
    assert_eq!(figure("states"), Some(played.witnessed.states.len() as f64));
    assert_eq!(figure("looks at tables"), Some(played.witnessed.looks as f64));
    assert_eq!(play(&topology, 7).witnessed, played.witnessed, "one seed, one run");
    assert_ne!(play(&topology, 8).witnessed.states, played.witnessed.states, "another seed");
}

fn line(events: &str) -> Topology {
    let source = format!(
        "name: line\ndomain: example\ndefaults: {{ link: {{ delay: 1ms }} }}\nnodes:\n  sr-1: {{ kind: sr }}\n  \
         sg-1: {{ kind: sg }}\n  sg-2: {{ kind: sg }}\n  spa-1: {{ kind: spa }}\n  spa-2: {{ kind: spa }}\n  \
         pod-1: {{ kind: pod, services: [{{ prefix: /A/1 }}] }}\n  pod-2: {{ kind: pod, services: [{{ prefix: /B/2 }}] }}\n\
         links: [ [sg-1, sr-1], [sg-2, sr-1], [spa-1, sg-1], [spa-2, sg-2], [pod-1, sg-1], [pod-2, sg-2] ]\nevents:\n{events}"
    );
    damc_topology::parse("line.yaml", &source, Path::new("")).unwrap_or_else(|e| panic!("{e:?}"))
}

/// What the events leave is what is expected, for every kind of them; and what is expected is not met where it is looked at
/// before the network has followed.
#[test]
fn the_invariants_follow_what_happened() {
    let events = [
        "{ at: 0s, link: [sg-2, sr-1], set: down }",
        "{ at: 0s, link: [pod-2, sg-2], set: silent }",
        "{ at: 0s, node: pod-2, do: kill }",
        "{ at: 0s, node: sr-1, do: pause }",
        "{ at: 0s, node: sr-1, do: overload }",
        "{ at: 0s, service: /B/2, do: stop }",
        "{ at: 0s, announce: /B/2/new on pod-2 }",
        "{ at: 0s, licence: pod-2, revoke: /B/2 }",
    ];
    for event in events {
        let at_once = line(&format!("  - {event}\n  - {{ at: 0s, expect: {{ invariants: true }} }}\n"));
        assert_ne!(play(&at_once, 1).failures, [], "at once after {event}");
        let later = line(&format!("  - {event}\n  - {{ at: 0s, expect: {{ invariants: true }}, within: 20s }}\n"));
        assert_eq!(play(&later, 1).failures, [], "some time after {event}");
    }
}

/// A refused name is no violation, and a name that nobody licensed is not expected.
#[test]
fn an_announcement_without_a_licence_changes_nothing() {
    let events = "  - { at: 0s, announce: /other/1 on pod-2 }\n  - { at: 2s, expect: { invariants: true } }\n";
    assert_eq!(play(&line(events), 1).failures, []);
}

/// The nodes break no rule, so this test has one of its own, which a link that stays down breaks.
#[test]
fn what_fails_shrinks_to_what_it_needs() {
    let id = |name: &str| NodeId::new(name).expect("a name");
    let mut trial = Draw { seed: 5, topology: Some(line("  []\n")) }.trial(3);
    let what = Happening::Link(id("sg-2"), id("sr-1"), Change::State("down"));
    trial.events.push(Event { at_ms: 1234, lasts_ms: None, what });
    let before = trial.events.len();
    let mut tried = 0;
    let shrunk = damc_explore::shrink(trial, &mut |candidate| {
        tried += 1;
        let events =
            format!("{}\n  - {{ at: 9s, expect: {{ fib: {{ node: sr-1, prefix: /B/2 }} }} }}\n", candidate.text(&[]));
        let topology = damc_topology::parse("shrinking", &events, Path::new(""));
        let fails = topology
            .is_ok_and(|topology| play(&topology, candidate.seed).failures.iter().any(|(id, _)| id == "expect-2"));
        if fails { damc_explore::Answer::Same } else { damc_explore::Answer::Other }
    });
    assert!(before > 2 && shrunk.complete && shrunk.tried == tried, "{before} {tried}");
    assert_eq!(shrunk.trial.events.len(), 1, "{}", shrunk.trial.text(&[]));
    assert!(shrunk.trial.topology.nodes().len() <= 5, "{}", shrunk.trial.text(&[]));
}
