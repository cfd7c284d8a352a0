//! What is said about every kind of mistake in a topology file, as users see it, and that nothing in a file can make the
//! reader panic, hang or fill the memory.

use std::collections::BTreeSet;
use std::path::Path;

use damc_topology::{MAX_NODES, MistakeKind, Mistakes, Topology};
use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;

mod events;

use events::{EVENTS, other};

/// A valid file. Cases replace or extend parts of it.
const BASE: &str = "\
name: small
domain: example
nodes:
  sr-1: { kind: sr }
  sg-1: { kind: sg }
  sg-2: { kind: sg }
  spa-1: { kind: spa }
  pod-1: { kind: pod, services: [{ prefix: /A/1, pool: /A }] }
  scsc: { kind: scsc }
links:
  - [sg-1, sr-1]
  - [sg-2, sr-1]
  - [spa-1, sg-1]
  - [pod-1, sg-1]
  - [scsc, sr-1]
";

fn parse(file: &str, source: &str) -> Result<Topology, Mistakes> {
    damc_topology::parse_with(file, source, Path::new(""), &other)
}

fn render(mistakes: &Mistakes) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(120);
    let mut text = String::new();
    handler.render_report(&mut text, mistakes).unwrap();
    text
}

/// Each case: its name, the kinds it must show, the file.
fn cases() -> Vec<(&'static str, Vec<MistakeKind>, String)> {
    use MistakeKind as K;
    let with = |old: &str, new: &str| {
        assert_eq!(BASE.matches(old).count(), 1, "the base has one `{old}`");
        BASE.replace(old, new)
    };
    let and = |more: &str| format!("{BASE}{more}");
    let link = |properties: &str| with("- [sg-2, sr-1]", &format!("- {{ between: [sg-2, sr-1], {properties} }}"));
    let mut cases = vec![
        ("empty", vec![K::Empty], String::new()),
        ("only_comments", vec![K::Empty], "# nothing\n".to_owned()),
        ("no_yaml", vec![K::NotYaml], "name: [small\nnodes: }\n".to_owned()),
        ("two_documents", vec![K::NotYaml], format!("{BASE}---\n{BASE}")),
        ("a_list", vec![K::WrongShape], "- name: small\n".to_owned()),
        ("nothing_but_a_name", vec![K::MissingKey; 3], "name: small\n".to_owned()),
        ("unknown_key", vec![K::UnknownKey], and("liks: []\n")),
        ("unknown_node_key", vec![K::UnknownKey], with("{ kind: sr }", "{ kind: sr, color: red }")),
        ("unknown_link_key", vec![K::UnknownKey], link("dealy: 5ms")),
        (
            "duplicate_key",
            vec![K::DuplicateKey],
            with("  sg-2: { kind: sg }", "  sg-2: { kind: sg }\n  sg-2: { kind: sg }"),
        ),
        (
            "key_is_no_text",
            vec![K::WrongShape],
            with("  sr-1: { kind: sr }", "  sr-1: { kind: sr }\n  17: { kind: sr }"),
        ),
        ("kind_missing", vec![K::MissingKey], with("{ kind: scsc }", "{}")),
        ("unknown_kind", vec![K::UnknownValue], with("kind: scsc", "kind: scs")),
        ("bad_node_identity", vec![K::BadName], BASE.replace("scsc: ", "SCSC: ").replace("[scsc, ", "[SCSC, ")),
        (
            "node_identity_too_long",
            vec![K::BadName],
            with("  scsc:", "  a-node-with-a-name-of-more-than-32-bytes: { kind: sr }\n  scsc:"),
        ),
        ("node_identity_like_an_option", vec![K::BadName], with("  scsc:", "  -x: { kind: sr }\n  scsc:")),
        ("bad_domain", vec![K::BadName], with("domain: example", "domain: Example Org")),
        ("bad_service_name", vec![K::BadName], with("/A/1", "A//1")),
        ("service_name_too_long", vec![K::BadName], with("/A/1", &format!("/A/{}", "x".repeat(65)))),
        ("reserved_name", vec![K::ReservedName], with("prefix: /A/1, pool: /A", "prefix: /damc/example/sg-9")),
        ("unknown_node", vec![K::UnknownNode], with("[sg-2, sr-1]", "[sg-2, sr1]")),
        ("unknown_node_without_a_near_one", vec![K::UnknownNode], with("[sg-2, sr-1]", "[sg-2, backbone]")),
        ("three_ends", vec![K::WrongShape], with("[sg-2, sr-1]", "[sg-2, sr-1, sg-1]")),
        ("duplicate_link", vec![K::DuplicateLink], and("  - { between: [sr-1, sg-2], delay: 5ms }\n")),
        ("two_links_of_one_name", vec![K::DuplicateLink], {
            let named = link("name: wan");
            named.replace("- [spa-1, sg-1]", "- { name: wan, between: [spa-1, sg-1] }")
        }),
        ("bad_link_name", vec![K::BadName], link("name: to the north")),
        ("self_link", vec![K::SelfLink], and("  - [sr-1, sr-1]\n")),
        ("pod_on_an_sr", vec![K::ForbiddenLink], with("[pod-1, sg-1]", "[pod-1, sr-1]")),
        ("spa_on_an_sr", vec![K::ForbiddenLink, K::MissingAttachment], with("[spa-1, sg-1]", "[spa-1, sr-1]")),
        ("sg_on_an_sg", vec![K::ForbiddenLink], and("  - [sg-1, sg-2]\n")),
        ("pod_on_two_sgs", vec![K::SeveralAttachments, K::MissingAttachment], and("  - [pod-1, sg-2]\n")),
        ("spa_on_two_sgs", vec![K::SeveralAttachments], and("  - [spa-1, sg-2]\n")),
        (
            "sg_with_two_spas",
            vec![K::SeveralAttachments],
            with("  scsc:", "  spa-2: { kind: spa }\n  scsc:") + "  - [spa-2, sg-1]\n",
        ),
        (
            "pods_without_spa",
            vec![K::MissingAttachment],
            with("  spa-1: { kind: spa }\n", "").replace("  - [spa-1, sg-1]\n", ""),
        ),
        ("pod_without_sg", vec![K::MissingAttachment], with("  - [pod-1, sg-1]\n", "")),
        ("scsc_without_sr", vec![K::MissingAttachment], with("[scsc, sr-1]", "[scsc, sg-1]")),
        (
            "two_scscs",
            vec![K::SeveralScscs],
            with("  scsc:", "  other: { kind: scsc }\n  scsc:") + "  - [other, sr-1]\n",
        ),
        (
            "thresholds_without_scsc",
            vec![K::MissingAttachment],
            with("  scsc: { kind: scsc }\n", "").replace("  - [scsc, sr-1]\n", "")
                + "qos: { thresholds: { default: { delay: 50ms } } }\n",
        ),
        ("node_without_link", vec![K::Disconnected], with("  scsc:", "  sr-9: { kind: sr }\n  scsc:")),
        (
            "two_islands",
            vec![K::Disconnected],
            with("  scsc:", "  sr-8: { kind: sr }\n  sr-9: { kind: sr }\n  scsc:") + "  - [sr-8, sr-9]\n",
        ),
        (
            "services_of_an_sr",
            vec![K::NotForThisKind],
            with("{ kind: sr }", "{ kind: sr, services: [{ prefix: /X }] }"),
        ),
        (
            "env_without_exec",
            vec![K::MissingKey],
            with("sg-2: { kind: sg }", "sg-2: { kind: sg, env: { LEVEL: debug } }"),
        ),
        ("transit_of_a_pod", vec![K::NotForThisKind], with("kind: pod,", "kind: pod, transit: true,")),
        (
            "prefix_twice",
            vec![K::DuplicatePrefix],
            with("[{ prefix: /A/1, pool: /A }]", "[{ prefix: /A/1 }, { prefix: /A/1 }]"),
        ),
        ("pool_elsewhere", vec![K::BadPool], with("pool: /A ", "pool: /B ")),
        ("pool_is_a_service", vec![K::BadPool], with("pool: /A }", "pool: /A }, { prefix: /A }")),
        ("service_without_prefix", vec![K::MissingKey], with("prefix: /A/1, ", "")),
        ("weight_zero", vec![K::OutOfRange], with("pool: /A ", "pool: /A, weight: 0 ")),
        ("no_unit", vec![K::BadUnit], link("delay: 5")),
        ("wrong_unit", vec![K::BadUnit, K::BadUnit], link("delay: 5mbit, rate: 10ms")),
        ("no_number", vec![K::BadUnit], link("delay: fast")),
        (
            "shares_out_of_range",
            vec![K::OutOfRange, K::BadUnit, K::BadUnit],
            link("loss: 101%, corrupt: 0.5, duplicate: -1%"),
        ),
        (
            "rate_and_cost_zero",
            vec![K::OutOfRange, K::OutOfRange, K::OutOfRange],
            link("rate: 0mbit, cost: 0, limit: 0"),
        ),
        ("delay_too_long", vec![K::OutOfRange], link("forward: { delay: 2000s }")),
        ("unknown_distribution", vec![K::UnknownValue], link("jitter: 1ms, distribution: gauss")),
        ("half_a_loss_model", vec![K::MissingKey], link("loss: { model: gilbert-elliott, p: 1% }")),
        ("unknown_loss_model", vec![K::UnknownValue], link("loss: { model: gilbert, p: 1%, r: 10% }")),
        ("reorder_without_delay", vec![K::Contradiction], link("reorder: 1%")),
        ("loss_is_a_list", vec![K::WrongShape], link("loss: [1%]")),
        (
            "licence_of_nobody",
            vec![K::UnknownNode, K::NotForThisKind],
            and("licences: { pod-2: [/A/1], sg-1: [/A] }\n"),
        ),
        (
            "threshold_of_nothing",
            vec![K::UnknownPrefix],
            and("qos: { thresholds: { /A: { delay: 5ms }, /C: { delay: 5ms } } }\n"),
        ),
        ("threshold_key", vec![K::UnknownKey], and("qos: { thresholds: { default: { delay: 5ms, loss: 1% } } }\n")),
        ("probe_too_fast", vec![K::OutOfRange], and("qos: { probe: { interval: 10us } }\n")),
        ("tagged", vec![K::NotYaml], with("name: small", "name: !name small")),
        (
            "non_ascii_before_the_mistake",
            vec![K::UnknownKey],
            format!("# Größe: 三\nname: small # ñ\nfärbe: 1\n{}", BASE.replace("name: small\n", "")),
        ),
    ];
    cases.extend(events::cases());
    cases
}

#[test]
fn the_base_is_valid() {
    assert!(parse("small.yaml", BASE).is_ok());
}

/// Issue: every kind of mistake, with file, line, column, underlined text and remedy.
#[test]
fn every_mistake_says_where_what_and_what_would_be_right() {
    let mut wrong = String::new();
    for (name, mut expected, source) in cases() {
        let Err(mistakes) = parse("small.yaml", &source) else {
            wrong += &format!("{name} is accepted\n");
            continue;
        };
        let mut found: Vec<_> = mistakes.listed().iter().map(|mistake| mistake.kind).collect();
        found.sort();
        expected.sort();
        if found != expected {
            wrong += &format!("{name}: expected {expected:?}, found {found:?}\n{}\n", render(&mistakes));
            continue;
        }
        for mistake in mistakes.listed() {
            assert!(!mistake.help.is_empty(), "{name}: no remedy for {mistake}");
        }
        insta::assert_snapshot!(name, render(&mistakes));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_kind_of_mistake_has_a_case() {
    let mut covered: BTreeSet<_> = cases().into_iter().flat_map(|(_, kinds, _)| kinds).collect();
    // Those have tests of their own below.
    covered.extend([MistakeKind::Unreadable, MistakeKind::TooLarge, MistakeKind::NotAvailable]);
    assert_eq!(covered, MistakeKind::ALL.into_iter().collect());
}

#[test]
fn one_file_with_many_mistakes_shows_them_all() {
    let source = "\
name: Many Mistakes
domian: example
nodes:
  sr-1: { kind: sr }
  sr-2: { kind: router }
  sg-1: { kind: sg }
  sg-2: { kind: sg, overlaod: true }
  pod-1: { kind: pod, services: [{ prefix: A/1 }, { prefix: /damc/x }, { prefix: /B/1, pool: /A }] }
  pod-1: { kind: pod }
  sr-7: { kind: sr }
links:
  - [sg-1, sr-1]
  - [sg-1, sr-1]
  - [sr-1, sr-1]
  - [sg-2, sr-3]
  - [pod-1, sg-1]
  - [pod-1, sr-1]
  - { between: [sg-2, sr-1], delay: 5, loss: 200%, forward: { rate: 0mbit }, cost: 0 }
";
    let mistakes = parse("many.yaml", source).unwrap_err();
    insta::assert_snapshot!("many", render(&mistakes));
    let places: Vec<_> = mistakes.listed().iter().map(|mistake| mistakes.place(mistake)).collect();
    assert!(places.is_sorted(), "mistakes come in the order of their places: {places:?}");
}

#[test]
fn very_many_mistakes_are_counted() {
    let keys: String = (0..1000).map(|i| format!("key{i}: 1\n")).collect();
    let mistakes = parse("x.yaml", &format!("{BASE}{keys}")).unwrap_err();
    assert_eq!((mistakes.count(), mistakes.listed().len()), (1000, 100));
    assert_eq!(mistakes.to_string(), "x.yaml: 1000 mistakes, the first 100 are listed");
}

#[test]
fn a_hundred_thousand_nodes_are_refused_with_the_limit() {
    let nodes: String = (0..100_000).map(|i| format!("  n{i}: {{ kind: sr }}\n")).collect();
    let links: String = (1..100_000).map(|i| format!("  - [n{}, n{i}]\n", i - 1)).collect();
    let mistakes = parse("huge.yaml", &format!("name: huge\ndomain: d\nnodes:\n{nodes}links:\n{links}")).unwrap_err();
    assert_eq!(mistakes.count(), 1);
    assert_eq!(mistakes.listed()[0].to_string(), format!("100000 nodes, at most {MAX_NODES} are accepted"));
}

#[test]
fn as_many_nodes_as_accepted_are_accepted() {
    let nodes: String = (0..MAX_NODES).map(|i| format!("  n{i}: {{ kind: sr }}\n")).collect();
    let links: String = (1..MAX_NODES).map(|i| format!("  - [n{}, n{i}]\n", i - 1)).collect();
    let source = format!("name: large\ndomain: d\nnodes:\n{nodes}links:\n{links}");
    assert_eq!(parse("large.yaml", &source).unwrap().nodes().len(), MAX_NODES);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Whatever becomes of a valid file, the reader ends, and every mistake can be shown.
    #[test]
    fn damaged_files_never_panic(cuts in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\n\u{e9}\u{4e09}]{0,3}"), 1..6)) {
        let mut source: Vec<char> = BASE.chars().chain(EVENTS.chars()).collect();
        for (at, replacement) in cuts {
            let at = at.index(source.len());
            source.splice(at..(at + 1), replacement.chars());
            if source.is_empty() { source.push('x'); }
        }
        let source: String = source.into_iter().collect();
        if let Err(mistakes) = parse("damaged.yaml", &source) {
            prop_assert!(mistakes.count() > 0);
            for mistake in mistakes.listed() {
                if let Some(span) = &mistake.span {
                    prop_assert!(source.get(span.clone()).is_some(), "{span:?} is no part of the file");
                }
            }
            render(&mistakes);
        }
    }

    #[test]
    fn any_text_never_panics(source in "\\PC*") {
        if let Err(mistakes) = parse("any.yaml", &source) {
            render(&mistakes);
        }
    }
}
