//! The suites in virtual time: what a run of shipped topologies finds, without privilege, and that it is the same each time.

use std::path::Path;

use damc_conformance::report::Report;
use damc_conformance::verdict::Verdict;

mod shipped;
mod virtually;

use virtually::Results;

fn judged(name: &str, case: Option<&str>) -> Report {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies").join(format!("{name}.yaml"));
    virtually::run(&shipped::load(name), source, (None, case), &Results::new(name)).report
}

/// Every case that applies passes, and enough of them apply.
fn passes(name: &str, at_least: usize) {
    let report = judged(name, None);
    assert_eq!(report.run.aborted, None, "{name}");
    let unmet: Vec<String> = report
        .cases
        .iter()
        .filter(|c| matches!(c.verdict, Verdict::Fail(_) | Verdict::Inconclusive(_)))
        .map(|c| format!("{} {}: {}", c.verdict.kind().label(), c.id, c.verdict.reason()))
        .collect();
    assert!(unmet.is_empty(), "{name}:\n{}", unmet.join("\n"));
    let passed = report.cases.iter().filter(|c| c.verdict == Verdict::Pass).count();
    assert!(passed >= at_least, "{name}: only {passed} cases passed");
}

#[test]
fn line_passes_in_virtual_time() {
    passes("line", 30);
}

#[test]
fn ring_passes_in_virtual_time() {
    passes("ring", 30);
}

#[test]
fn tiered_passes_in_virtual_time() {
    passes("tiered", 30);
}

#[test]
fn figure_2_passes_in_virtual_time() {
    passes("fig2", 60);
}

#[test]
fn one_seed_gives_one_report() {
    let report = || {
        let mut report = judged("ring", None);
        report.run.started = String::new();
        report.to_json().unwrap()
    };
    let (first, second) = (report(), report());
    let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(first, second);
}
