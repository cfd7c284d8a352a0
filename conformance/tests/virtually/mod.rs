//! Runs in virtual time, with results that go with the test.

use std::path::PathBuf;

use damc_conformance::case::{Case, Suite};
use damc_conformance::runner::{self, Finished, RunOptions, Watcher};
use damc_conformance::verdict::CaseResult;
use damc_sim::VirtualMaker;
use damc_topology::Topology;

struct Nobody;

impl Watcher for Nobody {
    fn phase(&mut self, _: &str) {}
    fn cases(&mut self, _: usize) {}
    fn begin(&mut self, _: &Case) {}
    fn end(&mut self, _: &CaseResult) {}
}

/// A folder of its own, which goes with the value.
pub struct Results(PathBuf);

impl Results {
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("damc-virtual-{name}-{}", std::process::id())))
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs what is chosen of a topology with seed 7, and writes the whole of its results.
pub fn run(
    topology: &Topology,
    source: PathBuf,
    (suite, case): (Option<Suite>, Option<&str>),
    results: &Results,
) -> Finished {
    let name = topology.name().to_string();
    let options = RunOptions {
        suite,
        case: case.map(str::to_owned),
        results: results.0.clone(),
        command: vec!["damc".into(), "run".into(), name.clone(), "--virtual".into()],
        source,
        ..RunOptions::of(7)
    };
    let maker = VirtualMaker::new(1.0);
    let finished = damc_sim::block_on(&maker, runner::run(&maker, topology, &options, &mut Nobody));
    let finished = finished.unwrap_or_else(|e| panic!("{name}: {}", e.one_line()));
    assert_eq!(finished.report.write_errors, Vec::<String>::new());
    finished
}
