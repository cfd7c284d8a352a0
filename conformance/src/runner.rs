//! A run: calibrate, bring the lab up, wait for convergence, judge, report, take the lab down.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use damc_lab::control::Status;
use damc_lab::job::LinksBy;
use damc_lab::up::UpOptions;
use damc_lab::{Lab, LabError};
use damc_topology::Topology;
use damc_topology::timers::Calibration as PaceCalibration;
use damc_trust::to_hex;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use wildmatch::WildMatch;

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::forge::Forge;
use crate::load::{self, LoadWatch};
use crate::report::{LabInfo, NodeInfo, Report, RunFolder, RunInfo};
use crate::testbed::Testbed;
use crate::verdict::{CaseResult, Verdict};
use crate::{artefacts, suite};

/// Choices of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Only this suite.
    pub suite: Option<Suite>,
    /// Only cases whose id matches this pattern (`*` any characters, `?` one).
    pub case: Option<String>,
    /// What serves links.
    pub links: LinksBy,
    /// Seed of keys and link randomness.
    pub seed: u64,
    /// Folder of results.
    pub results: PathBuf,
    /// Leave the lab up when a case failed.
    pub keep_on_failure: bool,
    /// Factor by which timers and limits are stretched for a slow host; measured where absent.
    pub stretch: Option<f64>,
    /// Echo period, ms, in place of the derived one. Three echoes without an answer make a silent failure.
    pub echo_ms: Option<u64>,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// The topology file, for its hash.
    pub source: PathBuf,
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

/// Runs the suites on a topology.
///
/// # Errors
/// The lab could not be brought up. Later errors are part of the report.
pub async fn run(topology: &Topology, options: &RunOptions, watcher: &mut dyn Watcher) -> Result<Finished, LabError> {
    let started = Timestamp::now();
    let clock = Instant::now();
    let cases = chosen(options);
    watcher.phase("calibrating the links of this host");
    let calibration = artefacts::calibrate(options).await;
    watcher.phase("bringing the lab up");
    let reaction =
        options.stretch.map_or_else(|| damc_lab::host_speed::measure().unwrap_or_default(), PaceCalibration::of);
    let up = UpOptions {
        lab: Some(format!("{}-{}", topology.name(), short_id())),
        seed: options.seed,
        links_by: options.links,
        all_relayed: true,
        calibration: reaction,
        echo_ms: options.echo_ms,
        ready_within: reaction.stretched(UpOptions::default().ready_within),
        ..UpOptions::default()
    };
    let id = short_id();
    let lab = match Lab::up(topology, &up).await {
        Ok(lab) => lab,
        Err(error) => {
            let mut folder = RunFolder::create(&options.results, topology.name().as_str(), started, &id);
            folder.finish_without_lab(topology.name().as_str(), &error.one_line(), &options.results);
            return Err(error);
        }
    };
    let status = lab.status().await?;
    watcher.phase(&format!("{} processes ready after {:.0} ms; converging", status.nodes.len(), status.ready_ms));
    let mut folder = RunFolder::create(&options.results, topology.name().as_str(), started, &id);
    let timers = damc_topology::timers::derive(topology, up.calibration, up.echo_ms);
    let forge = Forge::new(topology.clone(), options.seed);
    let recording = lab.recording().await?;
    let testbed = Testbed::new(lab, topology.clone(), timers, forge, recording).on_host(reaction);
    let within = (testbed.t_conv() * FIRST_CONVERGENCE).max(reaction.stretched(FIRST_CONVERGENCE_AT_LEAST))
        + reaction.stretched(topology.longest_start());
    let converged = testbed.lab.wait_converged(within).await;
    let mut aborted = converged.as_ref().err().map(ToString::to_string);
    let mut results = Vec::new();
    if aborted.is_none() {
        artefacts::tables(&testbed, &mut folder).await;
        watcher.cases(cases.len());
        let judging = Judging { testbed: &testbed, unfaithful: unfaithful(calibration.as_ref()) };
        aborted = judging.all(&cases, &mut folder, &mut results, watcher).await;
    }
    watcher.phase("writing results and taking the lab down");
    artefacts::environment(&testbed, &status, calibration.as_ref(), options, &mut folder);
    artefacts::logs(&testbed, &status, &mut folder);
    let bypassed = bypassed(&testbed).await;
    let kept = finish_lab(testbed, options, &results).await;
    let run = RunInfo {
        id,
        started: started.to_string(),
        duration_ms: millis(clock.elapsed()),
        version: env!("CARGO_PKG_VERSION").into(),
        command: options.command.clone(),
        seed: options.seed,
        suites: options
            .suite
            .map_or_else(|| vec!["conformance".into(), "qos".into(), "insider".into()], |s| vec![s.label().into()]),
        case_filter: options.case.clone(),
        aborted,
    };
    let info = LabInfo { bypassed, ..lab_info(topology, &options.source, &status, converged.ok()) };
    let mut report = Report::new(run, info, calibration, results);
    folder.finish(&mut report, &options.results);
    Ok(Finished { report, folder: folder.path().map(Path::to_path_buf), kept })
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

/// How the links differ from what was asked; `None` where they do not, or where that could not be measured.
fn unfaithful(calibration: Option<&damc_lab::relay::calibrate::Calibration>) -> Option<String> {
    calibration.filter(|c| !c.faithful).map(|c| c.reasons.join("; "))
}

/// Context in which cases are judged.
struct Judging<'a> {
    testbed: &'a Testbed,
    unfaithful: Option<String>,
}

impl Judging<'_> {
    /// Judges all cases in turn; returns why it ended early, or `None`.
    async fn all(
        &self,
        cases: &[Case],
        folder: &mut RunFolder,
        results: &mut Vec<CaseResult>,
        watcher: &mut dyn Watcher,
    ) -> Option<String> {
        let watch = match LoadWatch::start(self.testbed.detection(), self.testbed.host.stretched(load::PERIOD)) {
            Ok(watch) => watch,
            Err(e) => return Some(format!("cannot watch the host's load: {e}")),
        };
        for case in cases {
            watcher.begin(case);
            if let Err(e) = self.testbed.forget_passing_frames().await {
                return Some(format!("before {}: {e}", case.id));
            }
            let from = self.testbed.now_ns();
            let mut result = self.one(case, &watch).await;
            // A process that ended by itself fails any case, and later results would mean little.
            let ended = self.testbed.lab.check().await.err().map(|e| e.to_string());
            if let Some(why) = &ended {
                result.verdict = Verdict::Fail(why.clone());
            }
            if matches!(result.verdict, Verdict::Fail(_) | Verdict::Inconclusive(_)) {
                artefacts::capture(self.testbed, case.id, from, folder, &mut result).await;
            }
            watcher.end(&result);
            results.push(result);
            if ended.is_some() {
                return ended;
            }
            if case.impact != Impact::Calm
                && let Err(e) = self.testbed.restore().await
            {
                return Some(format!("after {}: the lab did not return to its topology: {e}", case.id));
            }
        }
        None
    }

    /// Judges one case. A case that fails while the host is overloaded is tried once more. A second failure under
    /// overload is inconclusive, because late wake-ups look the same as late nodes. A failure of the QoS suite is
    /// inconclusive too where calibration found that the links differ from what was asked.
    async fn one(&self, case: &Case, watch: &LoadWatch) -> CaseResult {
        let began = Instant::now();
        let mut evidence = Vec::new();
        let mut attempt = self.attempt(case, watch).await;
        if let (Verdict::Fail(why), Some(load)) = (&attempt.verdict, &attempt.overload)
            && self.testbed.restore().await.is_ok()
        {
            evidence.push(format!("first attempt not counted, the host was overloaded ({load}): {why}"));
            evidence.append(&mut attempt.findings.evidence);
            attempt = self.attempt(case, watch).await;
        }
        let verdict = match (attempt.verdict, attempt.overload, &self.unfaithful) {
            (Verdict::Fail(why), Some(load), _) => {
                Verdict::Inconclusive(format!("the host was overloaded ({load}): {why}"))
            }
            (Verdict::Fail(why), None, Some(links)) if case.suite == Suite::Qos => {
                Verdict::Inconclusive(format!("links were not as asked ({links}): {why}"))
            }
            (verdict, _, _) => verdict,
        };
        evidence.append(&mut attempt.findings.evidence);
        CaseResult {
            id: case.id.into(),
            title: case.title.into(),
            requirements: case.rows.iter().map(ToString::to_string).collect(),
            suite: case.suite.label().into(),
            verdict,
            duration_ms: millis(began.elapsed()),
            evidence,
            figures: attempt.findings.figures,
            attachments: Vec::new(),
        }
    }

    async fn attempt(&self, case: &Case, watch: &LoadWatch) -> Attempt {
        let lost_before = self.frames_lost().await;
        watch.take();
        let mut findings = Findings::default();
        let limit = self.testbed.host.stretched(case.limit);
        let outcome = tokio::time::timeout(limit, (case.run)(self.testbed, &mut findings)).await;
        let lateness = watch.take();
        let lost = self.frames_lost().await.saturating_sub(lost_before);
        let verdict = verdict(limit, outcome, &findings);
        let overload = match lost {
            0 => lateness.overloaded().then(|| lateness.to_string()),
            // The recording, the first witness, has gaps.
            lost => Some(format!("{lost} frames were not recorded; {lateness}")),
        };
        Attempt { verdict, overload, findings }
    }

    /// Lower bound of the number of frames that the recording lacks so far.
    async fn frames_lost(&self) -> u64 {
        let complete = self.testbed.recording_is_complete();
        let lost = self.testbed.lab.status().await.map_or(0, |s| s.recording.lost + u64::from(s.recording.stopped));
        lost + u64::from(!complete)
    }
}

/// One attempt at a case.
struct Attempt {
    verdict: Verdict,
    /// How the host was overloaded during the attempt; `None` where it was not.
    overload: Option<String>,
    findings: Findings,
}

fn verdict(
    limit: Duration,
    outcome: Result<Result<(), Stop>, tokio::time::error::Elapsed>,
    findings: &Findings,
) -> Verdict {
    let failed = findings.failures().join("; ");
    match outcome {
        Ok(Ok(())) if failed.is_empty() => Verdict::Pass,
        Ok(Ok(())) => Verdict::Fail(failed),
        Ok(Err(Stop::Failed(why))) if failed.is_empty() => Verdict::Fail(why),
        Ok(Err(Stop::Failed(why))) => Verdict::Fail(format!("{failed}; {why}")),
        Ok(Err(_)) | Err(_) if !failed.is_empty() => Verdict::Fail(failed),
        Ok(Err(Stop::Inconclusive(why))) => Verdict::Inconclusive(why),
        Ok(Err(Stop::NotApplicable(why))) => Verdict::Exception(format!("not on this topology: {why}")),
        Err(_) => Verdict::Fail(format!("not finished within {} s", limit.as_secs())),
    }
}

async fn finish_lab(testbed: Testbed, options: &RunOptions, results: &[CaseResult]) -> Option<String> {
    let failed = results.iter().any(|r| matches!(r.verdict, Verdict::Fail(_)));
    let mut lab = testbed.lab;
    if options.keep_on_failure && failed {
        let name = lab.name().to_owned();
        lab.detach();
        return Some(name);
    }
    // A lab that does not end in order ends with its supervisor; no verdict depends on it any more.
    let _ = lab.down().await;
    None
}

/// Links whose shaping some frames went around, with direction and number.
async fn bypassed(testbed: &Testbed) -> Vec<String> {
    let mut found = Vec::new();
    for link in testbed.topology.links() {
        let Ok(status) = testbed.lab.link_status(link.a.as_str(), link.b.as_str()).await else { continue };
        let ways = status.bypassed();
        found.extend(
            ways.into_iter()
                .map(|(from, to, frames)| format!("{frames} frames of {from} to {to} went around the link's shaping")),
        );
    }
    found
}

fn lab_info(topology: &Topology, source: &Path, status: &Status, converged: Option<Duration>) -> LabInfo {
    let text = std::fs::read(source).unwrap_or_default();
    LabInfo {
        topology: topology.name().to_string(),
        topology_sha256: to_hex(&Sha256::digest(&text)),
        backend: status.backend.label().into(),
        kernel: artefacts::kernel(),
        nodes: status
            .nodes
            .iter()
            .map(|n| NodeInfo { name: n.name.clone(), kind: n.kind.clone(), program: format!("damc-{}", n.kind) })
            .collect(),
        links: topology.links().len(),
        ready_ms: Some(status.ready_ms),
        converged_ms: converged.map(|d| d.as_secs_f64() * 1e3),
        bypassed: Vec::new(),
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Eight hexadecimal digits that differ from run to run.
fn short_id() -> String {
    let seed = (Timestamp::now().as_nanosecond(), std::process::id());
    to_hex(&Sha256::digest(format!("{seed:?}"))[..4])
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
