//! The suites in virtual time: what a run of shipped topologies finds, without privilege, and that it is the same each time.

use std::path::{Path, PathBuf};

use damc_conformance::case::Case;
use damc_conformance::report::Report;
use damc_conformance::runner::{self, RunOptions, Watcher};
use damc_conformance::verdict::{CaseResult, Verdict};
use damc_sim::VirtualMaker;

mod shipped;

struct Nobody;

impl Watcher for Nobody {
    fn phase(&mut self, _: &str) {}
    fn cases(&mut self, _: usize) {}
    fn begin(&mut self, _: &Case) {}
    fn end(&mut self, _: &CaseResult) {}
}

/// A folder of its own, which goes with the value.
struct Results(PathBuf);

impl Results {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("damc-virtual-{name}-{}", std::process::id())))
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn judged(name: &str, case: Option<&str>) -> Report {
    let results = Results::new(name);
    let options = RunOptions {
        suite: None,
        case: case.map(str::to_owned),
        seed: 7,
        keys: None,
        results: results.0.clone(),
        keep_on_failure: false,
        echo_ms: None,
        command: vec!["damc".into(), "run".into(), name.into(), "--virtual".into()],
        source: Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies").join(format!("{name}.yaml")),
        text: None,
    };
    let maker = VirtualMaker::new(1.0);
    let topology = shipped::load(name);
    let finished = damc_sim::block_on(&maker, runner::run(&maker, &topology, &options, &mut Nobody));
    let report = finished.unwrap_or_else(|e| panic!("{name}: {}", e.one_line())).report;
    assert_eq!(report.write_errors, Vec::<String>::new());
    report
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
