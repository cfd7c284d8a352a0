//! One run of a sweep: a `damc run` of its own, and what its report says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use damc_conformance::report::{Headline, Report};
use damc_conformance::verdict::{Kind, Verdict as CaseVerdict};
use damc_sweep::{PlannedPoint, Quality, RunId, RunVerdict, Sample, SweepPlan, SweepRun};
use tokio::process::Command;

use super::check;
use super::folder::SweepFolder;
use crate::exit::{Exit, Failure};

/// Bytes of a run's output that are shown where it could not be made.
const SHOWN: usize = 4000;

/// Makes a run and keeps its result. `at_once` runs go on together, and it is made for the `attempts`-th time.
///
/// # Errors
/// The sweep cannot go on: the run was refused, or the folder cannot be written.
pub async fn make(
    folder: &SweepFolder,
    plan: &SweepPlan,
    id: RunId,
    at_once: usize,
    attempts: u32,
) -> Result<SweepRun, Failure> {
    let planned = plan.point(id.point).ok_or_else(|| anyhow!("the plan has no point {}", id.point))?;
    let part = folder.begin(id).with_context(|| format!("cannot write to {}", folder.path().display()))?;
    let output = part.join("output.txt");
    let begin = Instant::now();
    let status = command(plan, planned, id, &part, &output)?.status().await.context("cannot start damc run")?;
    let wall = begin.elapsed();
    match status.code() {
        Some(2) => return Err(Failure::usage(anyhow!("{id} was refused: {}", end_of(&output)))),
        Some(130) => return Err(Failure { exit: Exit::Interrupted, error: anyhow!("{id} was interrupted") }),
        _ => {}
    }
    let made = made(&part);
    let report = made.as_deref().map(read).transpose()?;
    let made = made.unwrap_or_else(|| part.join("nothing"));
    fs::create_dir_all(&made)?;
    fs::rename(&output, made.join("output.txt"))?;
    let said = || format!("{status}: {}", end_of(&made.join("output.txt")));
    let found = report.as_ref().map_or_else(|| Found::nothing(said()), Found::of);
    if report.is_some_and(|report| report.lab.topology_sha256 != planned.topology_sha256) {
        return Err(check::changed(&plan.file));
    }
    let run = found.run(id, planned, wall, at_once, attempts);
    folder.commit(&part, &made, &run)?;
    Ok(run)
}

fn command(plan: &SweepPlan, point: &PlannedPoint, id: RunId, part: &Path, output: &Path) -> Result<Command, Failure> {
    let output = File::create(output)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(&plan.file).args(&plan.arguments);
    command.arg(format!("--seed={}", id.seed)).arg("--results").arg(part);
    command.args(point.settings.iter().map(|setting| format!("--set={setting}")));
    // A sweep that is killed leaves no run behind.
    command.arg(format!("--ends-with={}", std::process::id())).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    Ok(command)
}

/// The folder that a run left, `<topology>/<time>-<id>`, where it has a report.
fn made(part: &Path) -> Option<PathBuf> {
    let inside =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    // `latest` points to the run, and would be dead where the run goes.
    let topologies = inside(part).filter(|path| !path.is_symlink());
    topologies.flat_map(|topology| inside(&topology).collect::<Vec<_>>()).find(|run| run.join("report.json").is_file())
}

fn read(folder: &Path) -> Result<Report, Failure> {
    let path = folder.join("report.json");
    let read = || Ok(serde_json::from_str(&fs::read_to_string(&path)?)?);
    read().map_err(|error: anyhow::Error| error.context(format!("cannot read {}", path.display())).into())
}

/// The end of what a run printed, as one line.
fn end_of(output: &Path) -> String {
    let text = fs::read(output).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).into_owned();
    // The reason why a command gives up is what it says last.
    let last = text.rfind("damc: ").map_or(text.as_str(), |at| &text[at + "damc: ".len()..]);
    last.trim().to_owned()
}

/// What a report says.
struct Found {
    quality: Quality,
    verdict: RunVerdict,
    reason: Option<String>,
    cases: Vec<(Kind, usize)>,
    samples: Vec<Sample>,
}

impl Found {
    /// Of a run that left no report.
    fn nothing(reason: String) -> Self {
        let (quality, verdict) = (Quality::Inconclusive, RunVerdict::Inconclusive);
        Self { quality, verdict, reason: Some(reason), cases: Vec::new(), samples: Vec::new() }
    }

    fn of(report: &Report) -> Self {
        let verdict = match report.summary.headline {
            Headline::Passed => RunVerdict::Passed,
            Headline::Failed => RunVerdict::Failed,
            Headline::Inconclusive => RunVerdict::Inconclusive,
        };
        let (quality, reason) = quality(report);
        let failed = || first(report, Kind::Fail);
        let cases = report.summary.cases.iter().map(|(kind, count)| (*kind, *count)).collect();
        Self { quality, verdict, reason: reason.or_else(failed), cases, samples: samples(report) }
    }

    fn run(self, id: RunId, planned: &PlannedPoint, wall: Duration, at_once: usize, attempts: u32) -> SweepRun {
        SweepRun {
            point: id.point,
            seed: id.seed,
            quality: self.quality,
            verdict: self.verdict,
            reason: self.reason,
            cases: self.cases.into_iter().map(|(kind, count)| (kind.label().to_owned(), count)).collect(),
            samples: self.samples,
            topology_sha256: planned.topology_sha256.clone(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            at_once,
            attempts,
        }
    }
}

/// Whether a run counts, and if not, why.
fn quality(report: &Report) -> (Quality, Option<String>) {
    if let Some(calibration) = report.calibration.as_ref().filter(|calibration| !calibration.faithful) {
        return (Quality::Unfaithful, Some(calibration.reasons.join("; ")));
    }
    if !report.lab.bypassed.is_empty() {
        return (Quality::Unfaithful, Some(report.lab.bypassed.join("; ")));
    }
    if let Some(aborted) = &report.run.aborted {
        return (Quality::Inconclusive, Some(aborted.clone()));
    }
    if let Some(reason) = first(report, Kind::Inconclusive) {
        return (Quality::Inconclusive, Some(reason));
    }
    if report.summary.headline == Headline::Inconclusive {
        return (Quality::Inconclusive, Some("no case could be judged".to_owned()));
    }
    (Quality::Faithful, None)
}

/// The first case with a verdict, and its reason.
fn first(report: &Report, kind: Kind) -> Option<String> {
    let case = report.cases.iter().find(|case| case.verdict.kind() == kind)?;
    Some(format!("{}: {}", case.id, case.verdict.reason()))
}

fn samples(report: &Report) -> Vec<Sample> {
    let sample = |of: &str, figure: &str, unit: &str, value: f64| Sample {
        of: of.to_owned(),
        figure: figure.to_owned(),
        unit: unit.to_owned(),
        value,
    };
    let mut samples: Vec<Sample> =
        report.lab.converged_ms.map(|ms| sample("run", "converged", "ms", ms)).into_iter().collect();
    for case in &report.cases {
        if !matches!(case.verdict, CaseVerdict::Pass | CaseVerdict::Fail(_) | CaseVerdict::Inconclusive(_)) {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "a case takes less than a millennium")]
        samples.push(sample(&case.id, "duration", "ms", case.duration_ms as f64));
        samples.extend(case.figures.iter().map(|figure| sample(&case.id, &figure.name, &figure.unit, figure.value)));
    }
    samples
}

#[cfg(test)]
mod tests {
    use damc_conformance::report::{LabInfo, RunInfo};
    use damc_conformance::verdict::{CaseResult, Figure};

    use super::*;

    fn case(id: &str, verdict: CaseVerdict) -> CaseResult {
        CaseResult {
            id: id.into(),
            title: String::new(),
            requirements: Vec::new(),
            suite: "qos".into(),
            verdict,
            duration_ms: 40,
            evidence: Vec::new(),
            figures: vec![Figure { name: "delay".into(), value: 2.5, unit: "ms".into() }],
            attachments: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn found(
        cases: Vec<CaseResult>,
        change: impl FnOnce(&mut RunInfo, &mut LabInfo),
    ) -> (Quality, RunVerdict, Option<String>) {
        let (mut run, mut lab) = (RunInfo::default(), LabInfo::default());
        change(&mut run, &mut lab);
        let found = Found::of(&Report::new(run, lab, None, cases));
        (found.quality, found.verdict, found.reason)
    }

    #[test]
    fn only_a_run_in_which_everything_could_be_judged_counts() {
        let (pass, fail) = (|| case("a", CaseVerdict::Pass), || case("b", CaseVerdict::Fail("lost".into())));
        let unclear = || case("c", CaseVerdict::Inconclusive("busy".into()));
        let as_it_is = |_: &mut RunInfo, _: &mut LabInfo| {};
        assert_eq!(found(vec![pass()], as_it_is), (Quality::Faithful, RunVerdict::Passed, None));
        let failed = found(vec![pass(), fail()], as_it_is);
        assert_eq!(failed, (Quality::Faithful, RunVerdict::Failed, Some("b: lost".into())));
        let both = found(vec![unclear(), fail()], as_it_is);
        assert_eq!(both, (Quality::Inconclusive, RunVerdict::Failed, Some("c: busy".into())));
        let none = found(vec![case("d", CaseVerdict::Exception("no pool".into()))], as_it_is);
        assert_eq!(none.0, Quality::Inconclusive);
        let bypassed = found(vec![pass()], |_, lab| lab.bypassed.push("3 frames".into()));
        assert_eq!(bypassed, (Quality::Unfaithful, RunVerdict::Inconclusive, Some("3 frames".into())));
        let aborted = found(vec![pass()], |run, _| run.aborted = Some("the lab died".into()));
        assert_eq!((aborted.0, aborted.2.as_deref()), (Quality::Inconclusive, Some("the lab died")));
    }

    #[test]
    fn figures_and_durations_of_cases_that_ran_are_samples() {
        let lab = LabInfo { converged_ms: Some(12.5), ..LabInfo::default() };
        let cases = vec![case("a", CaseVerdict::Pass), case("d", CaseVerdict::Exception("no pool".into()))];
        let samples = samples(&Report::new(RunInfo::default(), lab, None, cases));
        let said: Vec<_> = samples.iter().map(|s| format!("{} {} {} {}", s.of, s.figure, s.value, s.unit)).collect();
        assert_eq!(said, ["run converged 12.5 ms", "a duration 40 ms", "a delay 2.5 ms"]);
    }
}
