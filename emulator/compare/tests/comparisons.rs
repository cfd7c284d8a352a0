//! Comparisons of made-up runs and sweeps, in which one thing is planted at a time.

use std::collections::BTreeMap;

use damc_compare::{Comparison, Conclusion, Judgement, RunDetail, RunFacts, Shift, SweepFacts, fib_rows};
use damc_conformance::report::{LabInfo, Look, Report, RunInfo};
use damc_conformance::verdict::{CaseResult, Figure, Verdict};
use damc_sweep::{Quality, RunId, RunVerdict, Sample, SweepPlan, SweepRun};

const LOOK: Look = Look { width: 80, colour: false };

const FIB: &str = "FIB of sr-1
 prefix | source | cost | origin | next hops
--------+--------+------+--------+-----------
 /A     | spf    | 2    | sg-1   | sg-1
 /B/2   | spf    | 2    | sg-2   | sg-2
";

fn case(id: &str, verdict: Verdict, figures: &[(&str, f64, &str)]) -> CaseResult {
    let figure =
        |(name, value, unit): &(&str, f64, &str)| Figure { name: (*name).into(), value: *value, unit: (*unit).into() };
    CaseResult {
        id: id.into(),
        title: format!("title of {id}"),
        requirements: Vec::new(),
        suite: "conformance".into(),
        verdict,
        duration_ms: 40,
        evidence: Vec::new(),
        figures: figures.iter().map(figure).collect(),
        attachments: Vec::new(),
        frames: Vec::new(),
    }
}

fn run(name: &str, cases: Vec<CaseResult>) -> RunFacts {
    let info = RunInfo { started: "2026-01-02T03:04:05.6Z".into(), seed: 7, ..RunInfo::default() };
    let lab = LabInfo { topology: "line".into(), converged_ms: Some(12.5), ..LabInfo::default() };
    RunFacts {
        name: name.into(),
        report: Report::new(info, lab, None, cases),
        world: Some("live".into()),
        timers: None,
        fibs: BTreeMap::from([("sr-1".to_owned(), fib_rows(FIB))]),
    }
}

fn printed(comparison: &Comparison) -> String {
    let text = damc_compare::text(comparison, LOOK, false);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns:\n{text}");
    text
}

#[test]
fn a_run_is_the_same_as_itself() {
    let a = run("a", vec![case("reg-01", Verdict::Pass, &[("calls lost", 0.0, "")])]);
    let comparison = damc_compare::runs(&a, &a);
    assert_eq!(comparison.conclusion, Conclusion::NoRegression);
    assert!(comparison.verdicts.changed.is_empty() && comparison.figures.changed.is_empty());
    assert!(comparison.fibs.is_empty() && comparison.differs.is_empty() && comparison.notes.is_empty());
    insta::assert_snapshot!(printed(&comparison));
}

#[test]
fn everything_that_can_change_in_a_run() {
    let unclear = || Verdict::Inconclusive("the host stalled".into());
    let a = vec![
        case("fwd-01", Verdict::Pass, &[]),
        case("lsa-01", Verdict::Fail("not flooded".into()), &[]),
        case("out-01", Verdict::Pass, &[("loss at a silent cut, median", 140.0, "ms"), ("looks", 3.0, "")]),
        case("pol-01", Verdict::Pass, &[]),
        case("qos-01", Verdict::Pass, &[]),
    ];
    let b = vec![
        case("fwd-01", Verdict::Fail("expected: /B/2 by sg-2 within 50 ms; saw: no route\nmore".into()), &[]),
        case("lsa-01", Verdict::Pass, &[]),
        case("out-01", Verdict::Pass, &[("loss at a silent cut, median", 350.25, "ms"), ("looks", 3.0, "")]),
        case("pol-01", unclear(), &[]),
        case("reg-01", Verdict::Fail("refused".into()), &[]),
    ];
    let (a, mut b) = (run("results/a", a), run("results/b", b));
    b.fibs = BTreeMap::from([("sr-1".to_owned(), fib_rows(&FIB.replace(" 2    | sg-2", " 3    | sg-2")))]);
    b.report.run.seed = 8;
    b.report.lab.converged_ms = Some(25.0);
    let comparison = damc_compare::runs(&a, &b);
    assert_eq!(comparison.conclusion, Conclusion::Regression);
    let shifts: Vec<_> = comparison.verdicts.changed.iter().map(|c| (c.case.as_str(), c.shift)).collect();
    let expected = [
        ("fwd-01", Shift::Worse),
        ("pol-01", Shift::Unjudged),
        ("qos-01", Shift::Unjudged),
        ("reg-01", Shift::NewlyFailing),
        ("lsa-01", Shift::Better),
    ];
    assert_eq!(shifts, expected);
    assert!(comparison.figures.changed.iter().all(|change| change.judgement == Judgement::Untold), "one run each");
    insta::assert_snapshot!(printed(&comparison));
}

#[test]
fn what_is_not_judged_any_more_is_no_regression_and_no_pass() {
    let a = run("a", vec![case("x", Verdict::Pass, &[])]);
    let b = run("b", vec![case("x", Verdict::Inconclusive("busy".into()), &[])]);
    assert_eq!(damc_compare::runs(&a, &b).conclusion, Conclusion::Unclear);
    assert_eq!(damc_compare::runs(&b, &a).conclusion, Conclusion::NoRegression);
}

#[test]
fn virtual_runs_of_one_seed_have_no_noise() {
    let mut a = run("a", vec![case("x", Verdict::Pass, &[("took", 4.0, "ms")])]);
    a.world = Some("virtual".into());
    let mut b = a.clone();
    b.report.cases[0].figures[0].value = 5.0;
    let note = |a: &RunFacts, b: &RunFacts| damc_compare::runs(a, b).notes.concat();
    assert!(note(&a, &b).contains("none of this is noise"), "{}", note(&a, &b));
    b.report.run.seed = 9;
    assert!(note(&a, &b).contains("One run each"), "{}", note(&a, &b));
    b.report.run.seed = 7;
    b.timers = Some("slower".into());
    assert!(note(&a, &b).contains("One run each"), "{}", note(&a, &b));
}

/// What a sweep of `line` with one delay finds: `of` makes the figures and the verdict of a run from its seed.
fn sweep(name: &str, seeds: &str, of: impl Fn(u64) -> (Verdict, Vec<(&'static str, f64, &'static str)>)) -> SweepFacts {
    let plan = SweepPlan {
        schema: SweepPlan::SCHEMA,
        topology: "line".into(),
        file: "/line.yaml".into(),
        arguments: vec!["--virtual".into()],
        in_virtual_time: true,
        parameters: Vec::new(),
        points: vec![damc_sweep::PlannedPoint { settings: Vec::new(), topology_sha256: "0123456789abcdef".into() }],
        seeds: seeds.parse().expect("seeds"),
        program: "damc 0.1.0".into(),
    };
    let (mut runs, mut details) = (Vec::new(), BTreeMap::new());
    for id in plan.runs() {
        let (verdict, figures) = of(id.seed);
        let sample = |(figure, value, unit): &(&str, f64, &str)| Sample {
            of: "out-01".into(),
            figure: (*figure).into(),
            unit: (*unit).into(),
            value: *value,
        };
        let failed = matches!(verdict, Verdict::Fail(_));
        runs.push(found(id, failed, figures.iter().map(sample).collect()));
        let verdicts = BTreeMap::from([("out-01".to_owned(), verdict)]);
        details.insert(id, RunDetail { verdicts, fibs: BTreeMap::from([("sr-1".to_owned(), fib_rows(FIB))]) });
    }
    SweepFacts { name: name.into(), plan, runs, details }
}

fn found(id: RunId, failed: bool, samples: Vec<Sample>) -> SweepRun {
    SweepRun {
        point: id.point,
        seed: id.seed,
        quality: Quality::Faithful,
        verdict: if failed { RunVerdict::Failed } else { RunVerdict::Passed },
        reason: None,
        cases: BTreeMap::new(),
        samples,
        topology_sha256: String::new(),
        wall_ms: 1,
        at_once: 1,
        attempts: 1,
    }
}

fn compared(a: &SweepFacts, b: &SweepFacts) -> Comparison {
    damc_compare::sweeps(a, b).unwrap_or_else(|reason| panic!("{reason}"))
}

/// A value that looks drawn, from 0 to 1.
fn scattered(seed: u64) -> f64 {
    (seed * 7919 % 101) as f64 / 101.0
}

#[test]
fn a_planted_regression_of_a_figure_is_found_and_noise_is_not() {
    let figures = |seed: u64, slower: f64| {
        let loss = ("loss at a silent cut, median", 140.0 + slower + 8.0 * scattered(seed), "ms");
        vec![loss, ("calls lost", (10.0 * scattered(seed + 3)).round(), ""), ("sent", 500.0, "")]
    };
    let a = sweep("before", "1..12", |seed| (Verdict::Pass, figures(seed, 0.0)));
    let noise = compared(&a, &sweep("again", "21..32", |seed| (Verdict::Pass, figures(seed, 0.0))));
    assert_eq!(noise.conclusion, Conclusion::NoRegression, "{:?}", noise.figures);
    assert!(noise.figures.changed.iter().all(|change| change.judgement == Judgement::Noise), "{:?}", noise.figures);
    assert_eq!((noise.figures.compared, noise.figures.constant), (3, 1));
    let slower = compared(&a, &sweep("after", "21..32", |seed| (Verdict::Pass, figures(seed, 12.0))));
    assert_eq!(slower.conclusion, Conclusion::Regression);
    assert_eq!(slower.figures.changed[0].judgement, Judgement::Worse);
    insta::assert_snapshot!(printed(&slower));
    let faster = compared(&sweep("after", "21..32", |seed| (Verdict::Pass, figures(seed, 12.0))), &a);
    assert_eq!((faster.conclusion, faster.figures.changed[0].judgement), (Conclusion::NoRegression, Judgement::Better));
}

#[test]
fn few_seeds_are_said_to_be_too_few() {
    let of = |by: f64| move |seed: u64| (Verdict::Pass, vec![("p99", by + scattered(seed), "ms")]);
    let few = compared(&sweep("a", "1..4", of(0.0)), &sweep("b", "1..4", of(50.0)));
    assert_eq!(few.figures.changed[0].judgement, Judgement::Noise, "no interval from four runs");
    assert!(few.notes.concat().contains("takes 6 or more on each side"), "{:?}", few.notes);
    let enough = compared(&sweep("a", "1..6", of(0.0)), &sweep("b", "1..6", of(50.0)));
    assert_eq!(enough.figures.changed[0].judgement, Judgement::Worse);
    assert!(enough.notes.is_empty(), "{:?}", enough.notes);
}

#[test]
fn one_of_many_figures_beyond_its_interval_is_called_perhaps() {
    // Sixty figures of six runs each, all noise but one that is apart: 2/924 times 60 is more than 5 %.
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let of = |by: f64| {
        move |seed: u64| {
            let noise = NAMES.iter().zip(1..).flat_map(|(name, n)| {
                ["ms", "s", "µs", "", "ns", "1/s"].map(|unit| (*name, scattered(seed + n * unit.len() as u64), unit))
            });
            (Verdict::Pass, noise.chain([("apart", by + scattered(seed), "ms")]).collect())
        }
    };
    let comparison = compared(&sweep("a", "1..6", of(0.0)), &sweep("b", "1..6", of(3.0)));
    assert_eq!(comparison.figures.changed[0].judgement, Judgement::Perhaps, "{:?}", comparison.figures.changed[0]);
    assert_eq!(comparison.conclusion, Conclusion::NoRegression);
    assert!(comparison.notes.concat().contains("add seeds"), "{:?}", comparison.notes);
}

#[test]
fn verdicts_and_fibs_of_sweeps() {
    let verdict = |fails: bool| if fails { Verdict::Fail("lost 3 frames".into()) } else { Verdict::Pass };
    let a = sweep("a", "1..10", |_| (verdict(false), Vec::new()));
    let mut b = sweep("b", "1..10", |seed| (verdict(seed == 4), Vec::new()));
    for detail in b.details.values_mut().take(3) {
        detail.fibs.insert("sr-1".into(), fib_rows(&FIB.replace("sg-2\n", "sr-2\n")));
    }
    let comparison = compared(&a, &b);
    assert_eq!(comparison.conclusion, Conclusion::Regression);
    insta::assert_snapshot!(printed(&comparison));
    let back = compared(&b, &a);
    assert_eq!(back.verdicts.changed[0].shift, Shift::Other, "one failure in ten may be chance");
    assert_eq!(back.conclusion, Conclusion::NoRegression);
}

#[test]
fn sweeps_without_a_common_point_are_not_compared() {
    let mut a = sweep("a", "1..2", |_| (Verdict::Pass, Vec::new()));
    let points = |values: &[&str]| {
        let setting = |value: &&str| format!("links.wan.delay={value}").parse().expect("a setting");
        let point = |value| damc_sweep::PlannedPoint { settings: vec![setting(value)], topology_sha256: String::new() };
        values.iter().map(point).collect::<Vec<_>>()
    };
    a.plan.points = points(&["1ms", "2ms"]);
    let mut b = a.clone();
    b.plan.points = points(&["3ms", "4ms"]);
    let refused = damc_compare::sweeps(&a, &b).expect_err("nothing in common");
    assert!(refused.contains("1ms") && refused.contains("4ms"), "{refused}");
    b.plan.points = points(&["3ms", "2ms"]);
    assert!(damc_compare::sweeps(&a, &b).is_ok());
    // One point each: the user wants to see what the value does.
    a.plan.points = points(&["1ms"]);
    b.plan.points = points(&["3ms"]);
    let differs = compared(&a, &b).differs;
    assert!(differs.iter().any(|row| row.what == "values" && row.b.contains("3ms")), "{differs:?}");
}
