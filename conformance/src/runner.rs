//! A run: calibrate, bring the lab up, wait for convergence, judge, report, take the lab down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use damc_testbed::{Asked, Maker, Witnessed, WorldError, WorldKind, WorldStatus};
use damc_topology::Topology;
use damc_topology::plan::KeySeed;
use damc_trust::to_hex;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use wildmatch::WildMatch;

use crate::case::{Case, Suite};
use crate::forge::Forge;
use crate::judging::Judging;
use crate::report::{LabInfo, NodeInfo, Report, RunFolder, RunInfo};
use crate::testbed::Testbed;
use crate::verdict::{CaseResult, Verdict};
use crate::{artefacts, experiment, explained, suite};

/// Choices of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Only this suite.
    pub suite: Option<Suite>,
    /// Only cases whose id matches this pattern (`*` any characters, `?` one).
    pub case: Option<String>,
    /// Seed of link randomness.
    pub seed: u64,
    /// What the keys of the lab are made of; new ones where absent.
    pub keys: Option<KeySeed>,
    /// Folder of results.
    pub results: PathBuf,
    /// Leave the lab up when a case failed.
    pub keep_on_failure: bool,
    /// Echo period, ms, in place of the derived one. Three echoes without an answer make a silent failure.
    pub echo_ms: Option<u64>,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// The topology file, for its hash.
    pub source: PathBuf,
    /// The topology's text, where it is not that of the file: values were put into it.
    pub text: Option<String>,
}

impl RunOptions {
    /// A run of all cases with this seed, that keeps nothing.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self {
            suite: None,
            case: None,
            seed,
            keys: None,
            results: PathBuf::new(),
            keep_on_failure: false,
            echo_ms: None,
            command: Vec::new(),
            source: PathBuf::new(),
            text: None,
        }
    }
}

/// Receives the progress of a run.
pub trait Watcher {
    /// A phase began.
    fn phase(&mut self, text: &str);
    /// The cases are known.
    fn cases(&mut self, count: usize);
    /// A case begins.
    fn begin(&mut self, case: &Case);
    /// A case ended.
    fn end(&mut self, result: &CaseResult);
}

/// A finished run.
pub struct Finished {
    /// The report, including what could not be written.
    pub report: Report,
    /// Its folder; `None` where it could not be created.
    pub folder: Option<PathBuf>,
    /// Name of the lab, where it was left up.
    pub kept: Option<String>,
}

/// Time a lab may take to converge for the first time, as a multiple of the convergence budget.
const FIRST_CONVERGENCE: u32 = 4;
/// Lower bound of that time, for large labs whose last processes start late.
const FIRST_CONVERGENCE_AT_LEAST: Duration = Duration::from_secs(30);

/// What builds the network of a run, again where it must be.
pub(crate) struct Builder<'a> {
    maker: &'a dyn Maker,
    topology: &'a Topology,
    options: &'a RunOptions,
    id: &'a str,
}

impl Builder<'_> {
    /// A fresh network whose nodes are ready; `number` tells it from others of the run.
    async fn build(&self, number: u32) -> Result<Testbed, WorldError> {
        let name = match number {
            1 => format!("{}-{}", self.topology.name(), self.id),
            more => format!("{}-{}-{more}", self.topology.name(), self.id),
        };
        let reaction = self.maker.reaction();
        let (seed, echo_ms) = (self.options.seed, self.options.echo_ms);
        let keys = self.options.keys.as_ref();
        let asked = Asked { topology: self.topology, name: &name, seed, keys, reaction, echo_ms };
        let world = self.maker.make(&asked).await?;
        let forge = Forge::new(self.topology.clone(), world.keys().clone());
        Ok(Testbed::new(world, self.topology.clone(), asked.timers(), forge).on_host(reaction))
    }

    /// A fresh network that has converged.
    ///
    /// # Errors
    /// It could not be built, or does not converge in time.
    pub(crate) async fn converged(&self, number: u32) -> Result<Testbed, WorldError> {
        let testbed = self.build(number).await?;
        first_convergence(&testbed).await?;
        Ok(testbed)
    }
}

/// Waits until a new network has converged; how long after readiness that was.
async fn first_convergence(testbed: &Testbed) -> Result<Duration, WorldError> {
    let host = testbed.host;
    let within = (testbed.t_conv() * FIRST_CONVERGENCE).max(host.stretched(FIRST_CONVERGENCE_AT_LEAST))
        + host.stretched(testbed.topology.longest_start());
    let ready_at_ns = testbed.lab.status().await?.ready_at_ns;
    testbed.lab.wait_converged(within).await?;
    Ok(testbed.since(ready_at_ns))
}

/// Runs the suites on a topology, in worlds that `maker` makes.
///
/// # Errors
/// The first world could not be made. Later errors are part of the report.
pub async fn run(
    maker: &dyn Maker,
    topology: &Topology,
    options: &RunOptions,
    watcher: &mut dyn Watcher,
) -> Result<Finished, WorldError> {
    let (started, began) = (Timestamp::now(), maker.elapsed());
    let id = maker.run_id(options.seed);
    if maker.kind() == WorldKind::Live {
        watcher.phase("calibrating the links of this host");
    }
    let calibration = maker.calibrate().await;
    watcher.phase("bringing the lab up");
    let builder = Builder { maker, topology, options, id: &id };
    let testbed = match builder.build(1).await {
        Ok(testbed) => testbed,
        Err(error) => {
            let mut folder = RunFolder::create(&options.results, topology.name().as_str(), started, &id);
            folder.finish_without_lab(topology.name().as_str(), &error.one_line(), &options.results);
            return Err(error);
        }
    };
    let status = testbed.lab.status().await?;
    watcher.phase(&format!("{} nodes ready after {:.0} ms; converging", status.nodes.len(), status.ready_ms));
    let mut folder = RunFolder::create(&options.results, topology.name().as_str(), started, &id);
    let converged = first_convergence(&testbed).await;
    let mut judging = Judging::new(testbed, builder, unfaithful(calibration.as_ref()));
    let mut aborted = converged.as_ref().err().map(ToString::to_string);
    if aborted.is_none() {
        artefacts::tables(judging.testbed(), &mut folder).await;
        aborted = judge(&mut judging, options, maker.kind(), &mut folder, watcher).await;
    }
    watcher.phase("writing results and taking the lab down");
    let (testbed, results, events, chronicle) = judging.end().await;
    artefacts::environment(&testbed, &status, calibration.as_ref(), options, &mut folder).await;
    explained::at_end(&testbed, &chronicle, &mut folder).await;
    artefacts::logs(&testbed, &mut folder);
    let (bypassed, converged_ms) = (bypassed(&testbed).await, converged.ok().map(|d| d.as_secs_f64() * 1e3));
    let lab = lab_info(topology, options, &testbed, &status);
    let lab = LabInfo { bypassed, converged_ms, ..lab };
    let keep = options.keep_on_failure && results.iter().any(|r| matches!(r.verdict, Verdict::Fail(_)));
    let kept = testbed.lab.end(keep).await;
    let took = maker.elapsed().saturating_sub(began);
    let run = run_info(options, id, started, took, aborted);
    let mut report = Report { events, ..Report::new(run, lab, calibration, results) };
    folder.finish(&mut report, &options.results);
    Ok(Finished { report, folder: folder.path().map(Path::to_path_buf), kept })
}

/// What one timeline in one world came to.
#[derive(Debug, Default)]
pub struct Trial {
    /// What failed: the case and why. Empty where everything holds.
    pub failures: Vec<(String, String)>,
    /// What could not be judged, with its reason.
    pub unjudged: Vec<(String, String)>,
    /// What the world saw of its states, where it can.
    pub witnessed: Witnessed,
}

/// Plays the timeline of a topology and leaves nothing behind. What happens is what [`run`] has happen with the same seed,
/// to the same nanosecond of virtual time.
///
/// # Errors
/// The world could not be made.
pub async fn trial(maker: &dyn Maker, topology: &Topology, seed: u64) -> Result<Trial, WorldError> {
    let (id, options) = (maker.run_id(seed), RunOptions::of(seed));
    let testbed = Builder { maker, topology, options: &options, id: &id }.build(1).await?;
    testbed.lab.status().await?;
    let mut trial = Trial::default();
    if let Err(error) = first_convergence(&testbed).await {
        trial.failures.push(("convergence".into(), error.one_line()));
        return Ok(trial);
    }
    artefacts::tables(&testbed, &mut RunFolder::nowhere()).await;
    for case in experiment::play(&testbed).await.results {
        match case.verdict {
            Verdict::Fail(why) => trial.failures.push((case.id, why)),
            Verdict::Inconclusive(why) => trial.unjudged.push((case.id, why)),
            _ => {}
        }
    }
    trial.witnessed = testbed.lab.witnessed().unwrap_or_default();
    testbed.lab.end(false).await;
    Ok(trial)
}

/// Plays the timeline where it was chosen, then judges the chosen cases; returns why it ended early, or `None`.
async fn judge(
    judging: &mut Judging<'_>,
    options: &RunOptions,
    kind: WorldKind,
    folder: &mut RunFolder,
    watcher: &mut dyn Watcher,
) -> Option<String> {
    let cases = chosen(options);
    if plays(options, &judging.testbed().topology) {
        let wanted = |id: &str| options.case.as_ref().is_none_or(|glob| glob_matches(glob, id));
        if let Some(why) = judging.experiment(&wanted, folder, watcher).await {
            return Some(why);
        }
        if cases.is_empty() {
            return None;
        }
        if let Some(why) = judging.restored(watcher).await {
            return Some(why);
        }
    }
    judging.all(&cases, kind, folder, watcher).await
}

/// Whether a run plays the timeline of this topology.
#[must_use]
pub fn plays(options: &RunOptions, topology: &Topology) -> bool {
    !topology.events().is_empty() && options.suite.is_none_or(|suite| suite == Suite::Experiment)
}

fn run_info(options: &RunOptions, id: String, started: Timestamp, took: Duration, aborted: Option<String>) -> RunInfo {
    let every = || vec!["conformance".into(), "qos".into(), "insider".into(), "experiment".into()];
    RunInfo {
        id,
        started: started.to_string(),
        duration_ms: millis(took),
        version: env!("CARGO_PKG_VERSION").into(),
        command: options.command.clone(),
        seed: options.seed,
        suites: options.suite.map_or_else(every, |s| vec![s.label().into()]),
        case_filter: options.case.clone(),
        aborted,
    }
}

/// How the links differ from what was asked; `None` where they do not, or where that could not be measured.
fn unfaithful(calibration: Option<&damc_testbed::calibration::Calibration>) -> Option<String> {
    calibration.filter(|c| !c.faithful).map(|c| c.reasons.join("; "))
}

/// Links whose shaping some frames went around, with direction and number.
async fn bypassed(testbed: &Testbed) -> Vec<String> {
    let mut found = Vec::new();
    for link in testbed.topology.links() {
        let Ok(status) = testbed.lab.link_status(link.a.as_str(), link.b.as_str()).await else { continue };
        let ways = status.bypassed.iter();
        found.extend(
            ways.map(|(from, to, frames)| format!("{frames} frames of {from} to {to} went around the link's shaping")),
        );
    }
    found
}

/// The cases to run, calm ones first. An empty list is the caller's mistake: a run without cases would pass.
#[must_use]
pub fn chosen(options: &RunOptions) -> Vec<Case> {
    let wanted = |c: &Case| {
        options.suite.is_none_or(|s| s == c.suite) && options.case.as_ref().is_none_or(|glob| glob_matches(glob, c.id))
    };
    let mut cases: Vec<Case> = suite::all().into_iter().filter(wanted).collect();
    cases.sort_by_key(|c| (c.suite, c.impact));
    cases
}

fn lab_info(topology: &Topology, options: &RunOptions, testbed: &Testbed, status: &WorldStatus) -> LabInfo {
    let of_file = || std::fs::read(&options.source).unwrap_or_default();
    let text = options.text.clone().map_or_else(of_file, String::into_bytes);
    LabInfo {
        topology: topology.name().to_string(),
        topology_sha256: to_hex(&Sha256::digest(&text)),
        backend: status.backend.clone(),
        kernel: artefacts::ground(testbed.lab.kind()),
        nodes: status
            .nodes
            .iter()
            .map(|n| NodeInfo {
                name: n.name.clone(),
                kind: n.kind.clone(),
                program: n.program.clone(),
                version: n.version.clone(),
            })
            .collect(),
        links: topology.links().len(),
        ready_ms: Some(status.ready_ms),
        converged_ms: None,
        bypassed: Vec::new(),
    }
}

pub(crate) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// `*` matches any run of characters, `?` one, everything else itself.
fn glob_matches(glob: &str, text: &str) -> bool {
    WildMatch::new(glob).matches(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_choose_cases() {
        assert!(glob_matches("aut-*", "aut-01"));
        assert!(glob_matches("*", "anything"));
        assert!(glob_matches("fig-1?", "fig-15"));
        assert!(!glob_matches("fig-1?", "fig-1"));
        assert!(!glob_matches("aut", "aut-01"));
    }

    #[test]
    fn every_case_names_rows_of_the_catalogue_and_has_an_id_of_its_own() {
        let mut ids = std::collections::BTreeSet::new();
        for case in suite::all() {
            assert!(ids.insert(case.id), "{} twice", case.id);
            assert!(!case.rows.is_empty(), "{} judges nothing", case.id);
            for row in case.rows {
                assert!(crate::catalogue::Catalogue::get().row(row).is_some(), "{}: no row {row}", case.id);
            }
        }
    }
}
