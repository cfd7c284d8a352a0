//! Two runs.

use std::collections::{BTreeMap, BTreeSet};

use damc_conformance::report::{Report, summary_line};
use damc_conformance::verdict::{CaseResult, Verdict};

use crate::facts::{FibRow, FibRows, RunFacts};
use crate::figures::{Pair, of_one};
use crate::model::{
    Compared, Comparison, Conclusion, Differs, FibChange, Figures, SCHEMA, Shift, Side, Tally, VerdictChange, Verdicts,
};
use crate::verdicts;

/// Figures of one side by case, name and unit.
type ByName<'a> = BTreeMap<(&'a str, &'a str, &'a str), Vec<f64>>;

/// Compares two runs.
#[must_use]
pub fn runs(a: &RunFacts, b: &RunFacts) -> Comparison {
    let differs = differs(a, b);
    let mut comparison = Comparison {
        schema: SCHEMA,
        of: Compared::Runs,
        a: side(a),
        b: side(b),
        notes: Vec::new(),
        verdicts: verdicts(&a.report, &b.report),
        figures: figures(&measured(&a.report), &measured(&b.report)),
        timings: figures(&timed(&a.report), &timed(&b.report)),
        fibs: fibs(&a.fibs, &b.fibs),
        differs,
        conclusion: Conclusion::NoRegression,
    };
    comparison.notes = notes(a, b, &comparison);
    comparison.concluded()
}

fn side(facts: &RunFacts) -> Side {
    let Report { run, lab, .. } = &facts.report;
    let world = facts.world.as_deref().unwrap_or("world not known");
    let started = run.started.split('.').next().unwrap_or_default().trim_end_matches('Z');
    Side {
        name: facts.name.clone(),
        what: format!("{}, {world}, seed {}, {started}Z", lab.topology, run.seed),
        ended: summary_line(&facts.report),
    }
}

/// What was run differently.
fn differs(a: &RunFacts, b: &RunFacts) -> Vec<Differs> {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let world = |facts: &RunFacts| facts.world.clone().unwrap_or_else(|| "not known".into());
    let filter = |report: &Report| report.run.case_filter.clone().unwrap_or_else(|| "all".into());
    let (x, y) = (&a.report, &b.report);
    let mut rows = vec![
        ("topology".to_owned(), x.lab.topology.clone(), y.lab.topology.clone()),
        ("topology file, SHA-256".into(), short(&x.lab.topology_sha256), short(&y.lab.topology_sha256)),
        ("version".into(), x.run.version.clone(), y.run.version.clone()),
        ("world".into(), world(a), world(b)),
        ("seed".into(), x.run.seed.to_string(), y.run.seed.to_string()),
        ("links by".into(), x.lab.backend.clone(), y.lab.backend.clone()),
        ("kernel".into(), x.lab.kernel.clone(), y.lab.kernel.clone()),
        ("suites".into(), x.run.suites.join(" "), y.run.suites.join(" ")),
        ("cases".into(), filter(x), filter(y)),
    ];
    let programs = |report: &Report| -> BTreeMap<String, String> {
        let said =
            |version: &Option<String>| version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
        report.lab.nodes.iter().map(|n| (n.name.clone(), format!("{}{}", n.program, said(&n.version)))).collect()
    };
    let (of_a, of_b) = (programs(x), programs(y));
    let nodes: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
    let program =
        |side: &BTreeMap<String, String>, node: &String| side.get(node).cloned().unwrap_or_else(|| "-".into());
    rows.extend(nodes.into_iter().map(|node| (node.clone(), program(&of_a, node), program(&of_b, node))));
    let mut found: Vec<Differs> =
        rows.into_iter().filter(|(_, a, b)| a != b).map(|(what, a, b)| Differs { what, a, b }).collect();
    if a.timers != b.timers {
        let (a, b) = ("see env.json".to_owned(), "see env.json".to_owned());
        found.push(Differs { what: "timers of the nodes".into(), a, b });
    }
    found
}

/// What noise can and cannot explain.
fn notes(a: &RunFacts, b: &RunFacts, comparison: &Comparison) -> Vec<String> {
    let (x, y) = (&a.report, &b.report);
    let is_virtual = |facts: &RunFacts| facts.world.as_deref() == Some("virtual");
    let same_network = x.lab.topology_sha256 == y.lab.topology_sha256 && x.run.seed == y.run.seed;
    let mut notes = Vec::new();
    if is_virtual(a) && is_virtual(b) && same_network && a.timers == b.timers {
        notes.push(
            "Both ran in virtual time with the same topology, seed and timers: none of this is noise. What differs, \
             the nodes, the suites or the options changed. Other seeds may show something else: compare two sweeps."
                .to_owned(),
        );
    } else if !comparison.figures.changed.is_empty() || !comparison.timings.changed.is_empty() {
        notes.push(
            "One run each: no figure and no timing here can be told from noise. Two sweeps of six seeds or more can \
             be compared beyond noise: damc sweep."
                .to_owned(),
        );
    }
    let unfaithful = |facts: &RunFacts| facts.report.calibration.as_ref().is_some_and(|found| !found.faithful);
    for (name, facts) in [("A", a), ("B", b)] {
        if unfaithful(facts) || !facts.report.lab.bypassed.is_empty() {
            notes.push(format!(
                "The links of {name} did not do what was asked of them: its figures are of another network."
            ));
        }
        if let Some(aborted) = &facts.report.run.aborted {
            notes.push(format!("{name} ended early: {aborted}"));
        }
    }
    notes
}

fn verdicts(a: &Report, b: &Report) -> Verdicts {
    let of = |report: &Report| -> BTreeMap<String, Verdict> {
        report.cases.iter().map(|case| (case.id.clone(), case.verdict.clone())).collect()
    };
    let (of_a, of_b) = (of(a), of(b));
    let cases: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
    let mut found = Verdicts::default();
    for case in cases {
        let (a, b) = (of_a.get(case), of_b.get(case));
        let tallies = (Tally::of(a.into_iter()), Tally::of(b.into_iter()));
        match verdicts::of_one(tallies.0, tallies.1) {
            None => found.same += 1,
            Some(shift) => found.changed.push(VerdictChange {
                shift,
                case: case.clone(),
                values: None,
                a: tallies.0,
                b: tallies.1,
                reason: [b, a]
                    .into_iter()
                    .flatten()
                    .map(Verdict::reason)
                    .find(|r| !r.is_empty())
                    .unwrap_or("")
                    .to_owned(),
            }),
        }
    }
    found.changed.sort_by_key(|change| change.shift);
    (found.requirements_worse, found.requirements_better) = requirements(a, b);
    found
}

/// Rows that got worse and better.
fn requirements(a: &Report, b: &Report) -> (Vec<String>, Vec<String>) {
    let before: BTreeMap<&str, &Verdict> = a.coverage.iter().map(|row| (row.id.as_str(), &row.verdict)).collect();
    let shift = |row: &&damc_conformance::report::RowResult| {
        let before = before.get(row.id.as_str())?;
        verdicts::of_one(Tally::of(std::iter::once(*before)), Tally::of(std::iter::once(&row.verdict)))
    };
    let with = |wanted| b.coverage.iter().filter(|row| shift(row) == Some(wanted)).map(|row| row.id.clone()).collect();
    (with(Shift::Worse), with(Shift::Better))
}

fn figures(a: &ByName<'_>, b: &ByName<'_>) -> Figures {
    let both = a.iter().filter_map(|(key, of_a)| Some((key, of_a.clone(), b.get(key)?.clone())));
    let pairs: Vec<Pair<'_>> =
        both.map(|(&(case, figure, unit), a, b)| Pair { case, figure, unit, values: None, a, b }).collect();
    let unmatched = a.len() + b.len() - 2 * pairs.len();
    of_one(&pairs, unmatched)
}

/// What cases measured: the median, where one measured something several times.
fn measured(report: &Report) -> ByName<'_> {
    let mut found = ByName::new();
    for (case, figure) in report.cases.iter().flat_map(|case| case.figures.iter().map(move |figure| (case, figure))) {
        found.entry((&case.id, &figure.name, &figure.unit)).or_default().push(figure.value);
    }
    found.values_mut().for_each(|values| *values = damc_sweep::median(values).into_iter().collect());
    found
}

/// How long things took.
fn timed(report: &Report) -> ByName<'_> {
    let of_run = [("ready", report.lab.ready_ms), ("converged", report.lab.converged_ms)];
    let of_run = of_run.into_iter().filter_map(|(what, ms)| Some((("run", what, "ms"), vec![ms?])));
    let ran = |case: &&CaseResult| !matches!(case.verdict, Verdict::Exception(_) | Verdict::NotRun | Verdict::Todo);
    let of_cases = report.cases.iter().filter(ran);
    of_run.chain(of_cases.map(|case| ((case.id.as_str(), "duration", "ms"), vec![case.duration_ms as f64]))).collect()
}

fn fibs(a: &BTreeMap<String, FibRows>, b: &BTreeMap<String, FibRows>) -> Vec<FibChange> {
    let nodes: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    nodes.into_iter().filter_map(|node| fib_change(node, a.get(node), b.get(node))).collect()
}

/// What became of a node's table; none where it is the same.
pub(crate) fn fib_change(node: &str, a: Option<&FibRows>, b: Option<&FibRows>) -> Option<FibChange> {
    let none = FibRows::new();
    let (a, b) = (a.unwrap_or(&none), b.unwrap_or(&none));
    let line = |row: &FibRow| format!("{} {}", row.prefix, row.rest.join(" "));
    let [only_a, only_b] = [a.difference(b), b.difference(a)].map(|rows| rows.map(line).collect::<Vec<_>>());
    let change = FibChange { node: node.to_owned(), values: None, pairs: None, only_a, only_b };
    (a != b).then_some(change)
}
