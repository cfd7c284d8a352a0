//! The timeline: its mistakes, and that everything it can say is read.

use std::path::Path;

use damc_topology::timeline::{Start, TimelineEvent};
use damc_topology::{MistakeKind, Time};

use super::{BASE, parse, render};

/// Events of every verb, and every kind of expectation, on the base.
pub const EVENTS: &str = "\
events:
  - { at: 1s, link: [sg-1, sr-1], set: { delay: 80ms, loss: 1%, forward: { rate: 1mbit } }, for: 2s }
  - { at: 1s, link: [sg-1, sr-1], set: down, for: 200ms, every: 1s, times: 5, as: flaps }
  - { at: 1s, link: [sg-1, sr-1], set: silent }
  - { after: flaps, link: [sr-1, sg-1], set: up }
  - { at: 2min, link: [sg-1, sr-1], clear: true }
  - { at: 5s, link: [sg-2, sr-1], follow: lte.csv, as: mobile }
  - { at: 6s, node: sr-1, do: kill, for: 3s }
  - { at: 6s, node: sr-1, do: overload }
  - { at: 7s, service: /A/1, do: stop, for: 1s }
  - { at: 7s, service: /A/1, do: restart }
  - { at: 8s, licence: pod-1, grant: /X/9 }
  - { at: 9s, announce: /X/9 on pod-1 }
  - { at: 10s, withdraw: /X/9 }
  - { at: 11s, licence: pod-1, revoke: /X/9 }
  - { at: 12s, partition: [[sg-1, spa-1, pod-1], rest], for: 2s }
  - { at: 0s, load: { from: pod-1, to: /A, rate: 200/s, size: 1kB }, for: 10s, as: calls }
  - { after: mobile, run: { in: pod-1, command: [echo, hello] } }
  - { at: 1s, expect: { reachable: { from: pod-1, name: /A/1 } }, within: 150ms }
  - { at: 1s, expect: { unreachable: { from: pod-1, name: /nobody } }, throughout: true, for: 3s }
  - { at: 1s, expect: { path: [pod-1, sg-1, pod-1] }, throughout: true }
  - { at: 1s, expect: { path: { from: pod-1, name: /A, via: [sg-1] } } }
  - { at: 1s, expect: { fib: { node: sr-1, prefix: /A/1, next: sg-1 } } }
  - { at: 1s, expect: { fib: { node: sg-2, prefix: /X/9, absent: true } } }
  - { at: 1s, expect: { policy: { node: sg-2, prefix: /A, absent: true } } }
  - expect: { lost: { of: calls, at_most: 3 } }
  - expect: { p50: { of: calls, at_most: 20ms } }
  - expect: { p99.9: { of: calls, at_most: 1s } }
  - { at: 13s, expect: { silent: [sg-2, sr-1] }, for: 1s }
  - { at: 13s, expect: { silent: sg-2 }, for: 1s }
  - { at: 13s, expect: { invariants: true }, within: 15s }
";

/// What the files that topologies name hold here.
pub fn other(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some("lte.csv") => Ok("time,rate\n0s,5mbit\n2s,1mbit\n4s,1mbit\n".to_owned()),
        Some("bad.csv") => Ok("time,rate\n0s,5mbit\n2s,fast\n".to_owned()),
        _ => Err("no such file".to_owned()),
    }
}

/// Cases of the `events` section.
pub fn cases() -> Vec<(&'static str, Vec<MistakeKind>, String)> {
    use MistakeKind as K;
    let and = |more: &str| format!("{BASE}{more}");
    let events = |lines: &[&str]| {
        let lines: String = lines.iter().map(|line| format!("  - {line}\n")).collect();
        format!("{BASE}events:\n{lines}")
    };
    vec![
        (
            "event_of_an_unknown_link",
            vec![K::UnknownLink, K::UnknownNode],
            and(
                "events:\n  - { at: 5s, link: [sg-1, sg-2], set: down }\n  - { at: 5s, link: [sg-1, sr-2], set: down }\n",
            ),
        ),
        (
            "event_of_nothing",
            vec![K::WrongShape, K::MissingKey],
            and("events:\n  - { at: 5s }\n  - { node: sr-1, do: kill }\n"),
        ),
        (
            "event_without_meaning",
            vec![K::UnknownValue, K::UnknownValue, K::UnknownKey],
            and(
                "events:\n  - { at: 5s, link: [sg-1, sr-1], set: broken }\n  - { at: 6s, node: sr-1, do: explode }\n  - { at: 7s, link: [sg-1, sr-1], set: { cost: 7 } }\n",
            ),
        ),
        (
            "event_of_two_things",
            vec![K::WrongShape, K::NotForThisKind, K::WrongShape],
            events(&[
                "{ at: 1s, link: [sg-1, sr-1], set: down, node: sr-1 }",
                "{ at: 1s, node: sr-1, do: kill, set: down }",
                "{ at: 1s, link: [sg-1, sr-1], set: down, clear: true }",
            ]),
        ),
        (
            "event_times",
            vec![
                K::Contradiction,
                K::MissingKey,
                K::Contradiction,
                K::NotForThisKind,
                K::MissingKey,
                K::OutOfRange,
                K::BadUnit,
            ],
            events(&[
                "{ at: 1s, after: x, node: sr-1, do: kill, as: x }",
                "{ at: 1s, node: sr-1, do: kill, every: 1s }",
                "{ at: 1s, link: [sg-1, sr-1], set: down, for: 2s, every: 1s, times: 3 }",
                "{ at: 1s, node: sr-1, do: start, for: 2s }",
                "{ at: 1s, load: { from: pod-1, to: /A, rate: 10/s } }",
                "{ at: 2h, node: sr-1, do: kill }",
                "{ at: 1, node: sr-1, do: kill }",
            ]),
        ),
        (
            "event_invariants",
            vec![K::UnknownValue, K::NotForThisKind],
            events(&[
                "{ at: 1s, expect: { invariants: false } }",
                "{ at: 1s, expect: { invariants: true }, throughout: true, for: 2s }",
            ]),
        ),
        (
            "event_labels",
            vec![K::DuplicateLabel, K::UnknownLabel, K::BadName, K::NotForThisKind],
            events(&[
                "{ at: 1s, node: sr-1, do: kill, as: dead }",
                "{ at: 2s, node: sr-1, do: start, as: dead }",
                "{ after: daed, node: sr-1, do: kill, as: Bad Label }",
                "{ expect: { lost: { of: dead, at_most: 0 } } }",
            ]),
        ),
        (
            "events_that_wait_for_each_other",
            vec![K::Contradiction, K::Contradiction, K::Contradiction],
            events(&[
                "{ after: b, node: sr-1, do: kill, as: a }",
                "{ after: a, node: sr-1, do: start, as: b }",
                "{ after: c, node: sr-1, do: start, as: c }",
                "{ at: 1s, expect: { reachable: { from: pod-1, name: /A } }, throughout: true, as: d }",
                "{ after: d, node: sr-1, do: start }",
            ]),
        ),
        (
            "event_services",
            vec![K::UnknownPrefix, K::UnknownPrefix, K::WrongShape, K::UnknownNode, K::NotForThisKind, K::WrongShape],
            events(&[
                "{ at: 1s, service: /A, do: stop }",
                "{ at: 1s, service: /A/2, do: stop }",
                "{ at: 1s, announce: /X/9 }",
                "{ at: 1s, announce: /X/9 on pod-7 }",
                "{ at: 1s, licence: sg-1, grant: /X }",
                "{ at: 1s, licence: pod-1 }",
            ]),
        ),
        (
            "event_partitions",
            vec![K::WrongShape, K::Contradiction, K::UnknownNode, K::Contradiction],
            events(&[
                "{ at: 1s, partition: [[sg-1]] }",
                "{ at: 1s, partition: [[sg-1, sg-1], rest] }",
                "{ at: 1s, partition: [[sg-7], rest] }",
                "{ at: 1s, partition: [[sg-1], [sg-2]] }",
            ]),
        ),
        (
            "event_loads",
            vec![K::MissingKey, K::BadUnit, K::OutOfRange, K::OutOfRange, K::UnknownValue, K::OutOfRange],
            events(&[
                "{ at: 1s, load: { from: pod-1, rate: 10/s }, for: 1s }",
                "{ at: 1s, load: { from: pod-1, to: /A, rate: 10 }, for: 1s }",
                "{ at: 1s, load: { from: pod-1, to: /A, rate: 20000/s }, for: 1s }",
                "{ at: 1s, load: { from: pod-1, to: /A, rate: 10/s, size: 2kB }, for: 1s }",
                "{ at: 1s, load: { from: pod-1, to: /A, rate: 10/s, kind: grpc }, for: 1s }",
                "{ at: 1s, load: { from: pod-1, to: /A, rate: 10000/s }, for: 10min }",
            ]),
        ),
        (
            "event_expectations",
            vec![
                K::WrongShape,
                K::UnknownKey,
                K::MissingKey,
                K::Contradiction,
                K::NotForThisKind,
                K::NotForThisKind,
                K::NotForThisKind,
                K::Contradiction,
            ],
            events(&[
                "{ at: 1s, expect: {} }",
                "{ at: 1s, expect: { reachable: { from: pod-1, name: /A, via: sg-1 } } }",
                "{ at: 1s, expect: { reachable: { from: pod-1 } } }",
                "{ at: 1s, expect: { reachable: { from: pod-1, name: /A } }, within: 1s, throughout: true }",
                "{ at: 1s, expect: { path: { from: sg-1, name: /A, nodes: [sr-1] } } }",
                "{ at: 1s, expect: { silent: sr-1 }, within: 1s, for: 1s }",
                "{ at: 1s, load: { from: pod-1, to: /A, rate: 10/s }, for: 1s, as: l }",
                "{ at: 9s, expect: { p99: { of: l, at_most: 5ms } } }",
                "{ at: 1s, expect: { fib: { node: sr-1, prefix: /A/1, next: sg-1, absent: true } } }",
            ]),
        ),
        (
            "event_traces",
            vec![K::BadTrace, K::BadTrace],
            events(&[
                "{ at: 1s, link: [sg-1, sr-1], follow: none.csv }",
                "{ at: 1s, link: [sg-1, sr-1], follow: bad.csv }",
            ]),
        ),
    ]
}

#[test]
fn what_is_described_and_not_available_is_refused_where_it_is_to_run() {
    let load = |kind: &str| {
        format!("{BASE}events:\n  - {{ at: 1s, load: {{ from: pod-1, to: /A, rate: 9/s, kind: {kind} }}, for: 1s }}\n")
    };
    let runnable = |source: &str| damc_topology::parse_runnable("later.yaml", source, Path::new(""), &other);
    assert!(runnable(&load("rmi")).is_ok());
    let topology = parse("later.yaml", &load("http")).unwrap();
    assert_eq!(topology.events()[0].act.needs_live(), Some("its requests are those of programs"));
    let mistakes = runnable(&load("http")).unwrap_err();
    let kinds: Vec<_> = mistakes.listed().iter().map(|mistake| (mistake.kind, mistake.span.is_some())).collect();
    assert_eq!(kinds, [(MistakeKind::NotAvailable, true)]);
}

#[test]
fn every_verb_and_every_expectation_is_read() {
    let topology = parse("events.yaml", &format!("{BASE}{EVENTS}")).unwrap_or_else(|e| panic!("{}", render(&e)));
    let line = |event: &TimelineEvent| {
        let when = match event.start {
            Start::At(ns) => Time(ns).to_string(),
            Start::After(number) => format!("after {number}"),
        };
        let lasts = event.lasts_ns.map_or_else(String::new, |ns| format!(" for {}", Time(ns)));
        let repeat =
            event.repeat.map_or_else(String::new, |r| format!(" {} times, one each {}", r.times, Time(r.every_ns)));
        format!("{}: {when}{lasts}{repeat}: {}\n", event.line, event.act)
    };
    insta::assert_snapshot!("every_verb", topology.events().iter().map(line).collect::<String>());
}
