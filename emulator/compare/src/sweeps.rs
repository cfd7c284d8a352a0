//! Two sweeps.

use std::collections::{BTreeMap, BTreeSet};

use damc_conformance::verdict::Verdict;
use damc_sweep::{RunVerdict, SweepRun, SweepTables, runs_needed};

use crate::facts::{RunDetail, SweepFacts};
use crate::figures::{LEVEL, Pair, of_many};
use crate::model::{
    Compared, Comparison, Conclusion, Differs, FibChange, Figures, SCHEMA, Side, Tally, VerdictChange, Verdicts,
};
use crate::runs::fib_change;
use crate::verdicts;

/// The figure that says how long a case took.
const DURATION: &str = "duration";

/// A combination of values that both sweeps have: what it is called, its number in each.
struct Point {
    label: String,
    a: usize,
    b: usize,
}

/// Compares two sweeps, each combination of values with the same one of the other.
///
/// # Errors
/// They have no combination of values in common; says which each has.
pub fn sweeps(a: &SweepFacts, b: &SweepFacts) -> Result<Comparison, String> {
    let points = points(a, b)?;
    let (measured, timed) = figures(a, b, &points);
    let comparison = Comparison {
        schema: SCHEMA,
        of: Compared::Sweeps,
        a: side(a),
        b: side(b),
        differs: differs(a, b, &points),
        notes: notes(a, b, &measured),
        verdicts: verdicts(a, b, &points),
        figures: measured,
        timings: timed,
        fibs: points.iter().flat_map(|point| fibs(a, b, point)).collect(),
        conclusion: Conclusion::NoRegression,
    };
    Ok(comparison.concluded())
}

fn points(a: &SweepFacts, b: &SweepFacts) -> Result<Vec<Point>, String> {
    let labels = |facts: &SweepFacts| (1..=facts.plan.points.len()).map(|n| facts.plan.label(n)).collect::<Vec<_>>();
    let (of_a, of_b) = (labels(a), labels(b));
    if let ([one], [other]) = (&*of_a, &*of_b) {
        let label = if one == other { one.clone() } else { format!("{one} → {other}") };
        return Ok(vec![Point { label, a: 1, b: 1 }]);
    }
    let common = of_a.iter().enumerate().filter_map(|(index, label)| {
        let other = of_b.iter().position(|other| other == label)?;
        Some(Point { label: label.clone(), a: index + 1, b: other + 1 })
    });
    let common: Vec<Point> = common.collect();
    if common.is_empty() {
        let list = |labels: &[String]| labels.join("; ");
        return Err(format!("no combination of values is in both: A has {}, B has {}", list(&of_a), list(&of_b)));
    }
    Ok(common)
}

fn side(facts: &SweepFacts) -> Side {
    let plan = &facts.plan;
    let world = if plan.in_virtual_time { "virtual" } else { "live" };
    let with = |verdict| facts.runs.iter().filter(|run| run.verdict == verdict).count();
    let uncounted = facts.runs.iter().filter(|run| !run.counts()).count();
    let (passed, failed) = (with(RunVerdict::Passed), with(RunVerdict::Failed));
    Side {
        name: facts.name.clone(),
        what: format!("sweep of {}, {world}, {}, seeds {}", plan.topology, plan.combinations(), plan.seeds),
        ended: format!(
            "{} of {} runs: {passed} passed, {failed} failed, {} inconclusive; {uncounted} not counted",
            facts.runs.len(),
            plan.size(),
            with(RunVerdict::Inconclusive),
        ),
    }
}

fn differs(a: &SweepFacts, b: &SweepFacts, points: &[Point]) -> Vec<Differs> {
    let text = |facts: &SweepFacts, number: usize| {
        let hash = facts.plan.point(number).map(|point| point.topology_sha256.chars().take(12).collect::<String>());
        hash.unwrap_or_default()
    };
    let world = |facts: &SweepFacts| if facts.plan.in_virtual_time { "virtual" } else { "live" }.to_owned();
    let mut rows = vec![
        ("topology".to_owned(), a.plan.topology.clone(), b.plan.topology.clone()),
        ("executable".into(), a.plan.program.clone(), b.plan.program.clone()),
        ("world".into(), world(a), world(b)),
        ("options".into(), a.plan.arguments.join(" "), b.plan.arguments.join(" ")),
        ("seeds".into(), a.plan.seeds.to_string(), b.plan.seeds.to_string()),
    ];
    if let [one] = points {
        rows.push(("values".into(), a.plan.label(one.a), b.plan.label(one.b)));
    }
    rows.extend(
        points.iter().map(|point| (format!("topology text, {}", point.label), text(a, point.a), text(b, point.b))),
    );
    rows.into_iter().filter(|(_, a, b)| a != b).map(|(what, a, b)| Differs { what, a, b }).collect()
}

/// What cases measured, and how long things took.
fn figures(a: &SweepFacts, b: &SweepFacts, points: &[Point]) -> (Figures, Figures) {
    let (tables_a, tables_b) = (SweepTables::new(&a.plan, &a.runs), SweepTables::new(&b.plan, &b.runs));
    let (of_a, of_b) = (samples(&tables_a), samples(&tables_b));
    let several = points.len() > 1;
    let mut kinds = [(Vec::new(), 0), (Vec::new(), 0)];
    for point in points {
        let values = several.then(|| point.label.clone());
        let keys: BTreeSet<_> = [(&of_a, point.a), (&of_b, point.b)]
            .into_iter()
            .flat_map(|(side, number)| side.keys().filter(move |(p, _)| *p == number).map(|(_, key)| *key))
            .collect();
        for key @ (case, figure, unit) in keys {
            let (pairs, unmatched) = &mut kinds[usize::from(figure == DURATION)];
            match (of_a.get(&(point.a, key)), of_b.get(&(point.b, key))) {
                (Some(a), Some(b)) => {
                    let (a, b, values) = (a.clone(), b.clone(), values.clone());
                    pairs.push(Pair { case, figure, unit, values, a, b });
                }
                _ => *unmatched += 1,
            }
        }
    }
    let [(measured, no_pair), (timed, no_time)] = kinds;
    (of_many(measured, no_pair, true), of_many(timed, no_time, false))
}

/// Case, figure and unit.
type Key<'a> = (&'a str, &'a str, &'a str);

/// One value for each run that counts, by point and what was measured.
fn samples<'a>(tables: &'a SweepTables<'_>) -> BTreeMap<(usize, Key<'a>), Vec<f64>> {
    let mut found: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for (index, metric) in tables.metrics().iter().enumerate() {
        let key = (metric.of.as_str(), metric.figure.as_str(), metric.unit.as_str());
        for (run, value) in tables.values(index).filter(|(run, _)| run.counts()) {
            found.entry((run.point, key)).or_default().extend(value);
        }
    }
    found.retain(|_, values| !values.is_empty());
    found
}

fn notes(a: &SweepFacts, b: &SweepFacts, figures: &Figures) -> Vec<String> {
    let mut notes = Vec::new();
    let open = figures.compared - figures.constant;
    let runs = |change: &crate::model::FigureChange| change.a.runs.min(change.b.runs);
    let fewest = figures.changed.iter().map(runs).min().unwrap_or(usize::MAX);
    let needed = runs_needed(open, LEVEL);
    if open > 0 && fewest < needed {
        notes.push(format!(
            "Some figures have {fewest} runs on a side. To tell a change of one among {open} figures from chance takes \
             {needed} or more on each side: add seeds."
        ));
    }
    for (name, facts) in [("A", a), ("B", b)] {
        let missing = facts.plan.size() - facts.runs.len().min(facts.plan.size());
        if missing > 0 {
            notes.push(format!("{missing} runs of {name} are missing; the same damc sweep makes them."));
        }
        let uncounted = facts.runs.iter().filter(|run| !run.counts()).count();
        if uncounted > 0 {
            notes.push(format!("{uncounted} runs of {name} are not in the figures: unfaithful or inconclusive."));
        }
    }
    notes
}

/// The verdicts of a point on a case, with the first reason.
#[derive(Default)]
struct OfCase<'a> {
    verdicts: Vec<&'a Verdict>,
}

impl OfCase<'_> {
    fn reason(&self) -> Option<&str> {
        let worst = self.verdicts.iter().min()?;
        Some(worst.reason()).filter(|reason| !reason.is_empty())
    }
}

fn verdicts(a: &SweepFacts, b: &SweepFacts, points: &[Point]) -> Verdicts {
    let mut rows = Vec::new();
    for point in points {
        let (of_a, of_b) = (by_case(a, point.a), by_case(b, point.b));
        let cases: BTreeSet<&str> = of_a.keys().chain(of_b.keys()).copied().collect();
        for case in cases {
            let tally = |side: &BTreeMap<&str, OfCase<'_>>| {
                Tally::of(side.get(case).into_iter().flat_map(|of| of.verdicts.iter().copied()))
            };
            let reason = [&of_b, &of_a].into_iter().find_map(|side| side.get(case)?.reason()).unwrap_or_default();
            let values = (points.len() > 1).then(|| point.label.clone());
            rows.push((case.to_owned(), values, tally(&of_a), tally(&of_b), reason.to_owned()));
        }
    }
    // All cases whose failures chance could decide share the level.
    let open = rows.iter().filter(|(_, _, a, b, _)| a.is_open(*b)).count();
    let level = LEVEL / open.max(1) as f64;
    let mut found = Verdicts::default();
    for (case, values, a, b, reason) in rows {
        match verdicts::of_many(a, b, level) {
            None => found.same += 1,
            Some(shift) => found.changed.push(VerdictChange { shift, case, values, a, b, reason }),
        }
    }
    found.changed.sort_by_key(|change| change.shift);
    found
}

fn by_case(facts: &SweepFacts, point: usize) -> BTreeMap<&str, OfCase<'_>> {
    let mut found: BTreeMap<&str, OfCase<'_>> = BTreeMap::new();
    let details = facts.runs.iter().filter(|run| run.point == point).filter_map(|run| facts.details.get(&run.id()));
    for (case, verdict) in details.flat_map(|detail| &detail.verdicts) {
        found.entry(case).or_default().verdicts.push(verdict);
    }
    found
}

/// What became of FIBs, in pairs of runs with the same seed.
fn fibs(a: &SweepFacts, b: &SweepFacts, point: &Point) -> Vec<FibChange> {
    let (of_a, of_b) = (by_seed(a, point.a), by_seed(b, point.b));
    let pairs: Vec<_> = of_a.iter().filter_map(|(seed, a)| Some((seed, a, of_b.get(seed)?))).collect();
    let nodes: BTreeSet<&String> = pairs.iter().flat_map(|(_, a, b)| a.fibs.keys().chain(b.fibs.keys())).collect();
    let of_node = |node: &String| {
        let mut changed =
            pairs.iter().filter_map(|(seed, a, b)| Some((seed, fib_change(node, a.fibs.get(node), b.fibs.get(node))?)));
        let (seed, first) = changed.next()?;
        let values = Some(format!("{}, for example seed {seed}", point.label));
        Some(FibChange { values, pairs: Some([1 + changed.count(), pairs.len()]), ..first })
    };
    nodes.into_iter().filter_map(of_node).collect()
}

fn by_seed(facts: &SweepFacts, point: usize) -> BTreeMap<u64, &RunDetail> {
    let of_point = facts.runs.iter().filter(|run: &&SweepRun| run.point == point);
    of_point.filter_map(|run| Some((run.seed, facts.details.get(&run.id())?))).collect()
}
