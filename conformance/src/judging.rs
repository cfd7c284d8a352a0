//! Judging case after case on one testbed, and on a fresh one where the last could not be restored.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use damc_testbed::WorldKind;
use futures::future::{Either, select};

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::chronicle::Chronicle;
use crate::experiment::{self, Played};
use crate::report::{Happened, RunFolder};
use crate::runner::{Builder, Watcher, millis};
use crate::testbed::Testbed;
use crate::verdict::{CaseResult, Verdict};
use crate::{artefacts, explained};

/// Attempts at a case whose failures the environment may have caused.
const ATTEMPTS: usize = 3;
/// Networks that a run builds at most, the first included.
const NETWORKS: u32 = 5;

/// Context in which cases are judged.
pub(crate) struct Judging<'a> {
    testbed: Testbed,
    builder: Builder<'a>,
    /// Networks built so far.
    networks: u32,
    /// How the links differ from what was asked.
    unfaithful: Option<String>,
    results: Vec<CaseResult>,
    /// What happened in the experiment.
    events: Vec<Happened>,
    chronicle: Chronicle,
}

impl<'a> Judging<'a> {
    pub(crate) fn new(testbed: Testbed, builder: Builder<'a>, unfaithful: Option<String>) -> Self {
        let chronicle = Chronicle::of(&testbed);
        Self { testbed, builder, networks: 1, unfaithful, results: Vec::new(), events: Vec::new(), chronicle }
    }

    pub(crate) fn testbed(&self) -> &Testbed {
        &self.testbed
    }

    /// What was judged, what happened in the experiment, the testbed that is left, and what was noted on it.
    pub(crate) async fn end(mut self) -> (Testbed, Vec<CaseResult>, Vec<Happened>, Chronicle) {
        self.chronicle.note(&self.testbed).await;
        (self.testbed, self.results, self.events, self.chronicle)
    }

    /// Plays the timeline of the topology, on a fresh network again where the environment was disturbed and something
    /// failed. `wanted` chooses among its cases. Returns why it ended early, or `None`.
    pub(crate) async fn experiment(
        &mut self,
        wanted: &dyn Fn(&str) -> bool,
        folder: &mut RunFolder,
        watcher: &mut dyn Watcher,
    ) -> Option<String> {
        let mut from = self.testbed.now_ns();
        let (mut played, mut disturbed) = self.played(watcher).await;
        for number in 1..ATTEMPTS {
            let failed = played.results.iter().any(|result| matches!(result.verdict, Verdict::Fail(_)));
            let Some(load) = disturbed.as_ref().filter(|_| failed && !played.broken) else { break };
            let why = format!("attempt {number} does not count, the host was overloaded ({load})");
            if let Err(why) = self.afresh(watcher, "the experiment", &why).await {
                return Some(why);
            }
            from = self.testbed.now_ns();
            (played, disturbed) = self.played(watcher).await;
        }
        if let (Some(load), false) = (&disturbed, played.broken) {
            played.results.iter_mut().for_each(|result| excuse(result, load));
        }
        for (name, content) in &played.files {
            folder.write(name, content);
        }
        self.events = played.events;
        watcher.cases(played.results.iter().filter(|result| wanted(&result.id)).count());
        for mut result in played.results.into_iter().filter(|result| wanted(&result.id)) {
            if matches!(result.verdict, Verdict::Fail(_)) {
                artefacts::capture(&self.testbed, from, folder, &mut result).await;
            }
            self.tell(result, watcher);
        }
        self.testbed.lab.check().await.err().map(|e| e.to_string())
    }

    async fn played(&self, watcher: &mut dyn Watcher) -> (Played, Option<String>) {
        watcher.phase(&format!("playing {} events", self.testbed.topology.events().len()));
        self.testbed.lab.disturbed().await;
        let played = experiment::play(&self.testbed).await;
        (played, self.testbed.lab.disturbed().await)
    }

    /// Brings the network back to what the topology says.
    pub(crate) async fn restored(&mut self, watcher: &mut dyn Watcher) -> Option<String> {
        let why = self.testbed.restore().await.err()?.to_string();
        self.afresh(watcher, "the experiment", &why).await.err()
    }

    /// Judges all cases in turn; returns why it ended early, or `None`.
    pub(crate) async fn all(
        &mut self,
        cases: &[Case],
        kind: WorldKind,
        folder: &mut RunFolder,
        watcher: &mut dyn Watcher,
    ) -> Option<String> {
        watcher.cases(cases.len());
        for case in cases {
            watcher.begin(case);
            if let Some(why) = case.worlds.lacking(kind) {
                self.tell(result(case, Verdict::Exception(why)), watcher);
                continue;
            }
            self.chronicle.note(&self.testbed).await;
            if let Err(e) = self.testbed.forget_passing_frames().await {
                return Some(format!("before {}: {e}", case.id));
            }
            let from = self.testbed.now_ns();
            self.testbed.take_marks();
            let mut result = self.one(case).await;
            // A process that ended by itself fails any case.
            let ended = self.testbed.lab.check().await.err().map(|e| e.to_string());
            if let Some(why) = &ended {
                result.verdict = Verdict::Fail(why.clone());
            }
            if matches!(result.verdict, Verdict::Fail(_) | Verdict::Inconclusive(_)) {
                artefacts::capture(&self.testbed, from, folder, &mut result).await;
                explained::of_case(&self.testbed, from, folder, &mut result).await;
            }
            self.chronicle.case(case.id, result.verdict.kind(), from, self.testbed.now_ns());
            self.tell(result, watcher);
            let restored = match ended {
                Some(why) => Err(why),
                None if case.impact == Impact::Calm => Ok(()),
                None => self.testbed.restore().await.map_err(|e| e.to_string()),
            };
            if let Err(why) = restored
                && let Err(e) = self.afresh(watcher, case.id, &why).await
            {
                return Some(format!("after {}: {why}; {e}", case.id));
            }
        }
        None
    }

    fn tell(&mut self, result: CaseResult, watcher: &mut dyn Watcher) {
        watcher.end(&result);
        self.results.push(result);
    }

    /// Goes on with a fresh network in place of one that did not return to its topology.
    async fn afresh(&mut self, watcher: &mut dyn Watcher, after: &str, why: &str) -> Result<(), String> {
        self.networks += 1;
        if self.networks > NETWORKS {
            return Err(format!("{NETWORKS} networks were not enough"));
        }
        watcher.phase(&format!("building a fresh lab: after {after} it did not return to its topology: {why}"));
        let fresh = self.builder.converged(self.networks).await;
        let fresh = fresh.map_err(|e| format!("no fresh lab: {}", e.one_line()))?;
        let old = std::mem::replace(&mut self.testbed, fresh);
        self.chronicle = Chronicle::of(&self.testbed);
        old.lab.end(false).await;
        if let Some(last) = self.results.last_mut() {
            last.evidence.push(format!("the lab did not return to its topology ({why}); the run went on with another"));
        }
        Ok(())
    }

    /// Judges one case. A case that fails while the environment was disturbed is tried again. What fails every time under
    /// disturbance is inconclusive, because late wake-ups look the same as late nodes; what must never be and was seen
    /// fails whatever the load. A failure of the QoS suite is inconclusive too where calibration found that the links
    /// differ from what was asked.
    async fn one(&self, case: &Case) -> CaseResult {
        let began = self.testbed.now_ns();
        let mut evidence = Vec::new();
        let mut attempt = self.attempt(case).await;
        for number in 1..ATTEMPTS {
            let Some(excuse) = attempt.excuse() else { break };
            if self.testbed.restore().await.is_err() {
                break;
            }
            evidence.push(format!("attempt {number} not counted, {excuse}"));
            evidence.append(&mut attempt.findings.evidence);
            attempt = self.attempt(case).await;
        }
        if let Some(load) = &attempt.disturbed {
            attempt.findings.note(format!("the environment meanwhile: {load}"));
        }
        let broken = attempt.findings.is_broken();
        let verdict = match (attempt.verdict, attempt.disturbed, &self.unfaithful) {
            (Verdict::Fail(why), Some(load), _) if !broken => {
                Verdict::Inconclusive(format!("the host was overloaded ({load}): {why}"))
            }
            (Verdict::Fail(why), None, Some(links)) if case.suite == Suite::Qos && !broken => {
                Verdict::Inconclusive(format!("links were not as asked ({links}): {why}"))
            }
            (verdict, _, _) => verdict,
        };
        evidence.append(&mut attempt.findings.evidence);
        let duration_ms = millis(self.testbed.since(began));
        CaseResult { duration_ms, evidence, figures: attempt.findings.figures, ..result(case, verdict) }
    }

    async fn attempt(&self, case: &Case) -> Attempt {
        self.testbed.lab.disturbed().await;
        let mut findings = Findings::default();
        let limit = self.testbed.host.stretched(case.limit);
        let outcome = limited(&self.testbed, limit, (case.run)(&self.testbed, &mut findings)).await;
        let disturbed = self.testbed.lab.disturbed().await;
        Attempt { verdict: verdict(limit, outcome, &self.testbed.take_awaited(), &findings), disturbed, findings }
    }
}

/// A failure under disturbance says nothing of the nodes.
fn excuse(result: &mut CaseResult, load: &str) {
    result.evidence.push(format!("the environment meanwhile: {load}"));
    if let Verdict::Fail(why) = &result.verdict {
        result.verdict = Verdict::Inconclusive(format!("the host was overloaded ({load}): {why}"));
    }
}

/// The outcome of a future; `None` where it has none within `limit` on the testbed's clock.
async fn limited<T>(testbed: &Testbed, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), testbed.lab.sleep(limit)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

/// One attempt at a case.
struct Attempt {
    verdict: Verdict,
    /// How the environment was disturbed during the attempt; `None` where it was not.
    disturbed: Option<String>,
    findings: Findings,
}

impl Attempt {
    /// Why its failure does not count; `None` where it does, or where there is none.
    fn excuse(&self) -> Option<String> {
        match (&self.verdict, &self.disturbed) {
            (Verdict::Fail(why), Some(load)) if !self.findings.is_broken() => {
                Some(format!("the host was overloaded ({load}): {why}"))
            }
            _ => None,
        }
    }
}

fn verdict(limit: Duration, outcome: Option<Result<(), Stop>>, awaited: &str, findings: &Findings) -> Verdict {
    let failed = findings.failures().join("; ");
    match outcome {
        Some(Ok(())) if failed.is_empty() => Verdict::Pass,
        Some(Ok(())) => Verdict::Fail(failed),
        Some(Err(Stop::Failed(why))) if failed.is_empty() => Verdict::Fail(why),
        Some(Err(Stop::Failed(why))) => Verdict::Fail(format!("{failed}; {why}")),
        Some(Err(_)) | None if !failed.is_empty() => Verdict::Fail(failed),
        Some(Err(Stop::Inconclusive(why))) => Verdict::Inconclusive(why),
        Some(Err(Stop::NotApplicable(why))) => Verdict::Exception(format!("not on this topology: {why}")),
        None => {
            let saw = if awaited.is_empty() { "none".to_owned() } else { format!("it waits for {awaited}") };
            Verdict::Fail(format!("expected: the end of the case within {} s; saw: {saw}", limit.as_secs()))
        }
    }
}

/// The result of a case of which nothing is known but its verdict.
fn result(case: &Case, verdict: Verdict) -> CaseResult {
    CaseResult {
        id: case.id.into(),
        title: case.title.into(),
        requirements: case.rows.iter().map(ToString::to_string).collect(),
        suite: case.suite.label().into(),
        verdict,
        duration_ms: 0,
        evidence: Vec::new(),
        figures: Vec::new(),
        attachments: Vec::new(),
        frames: Vec::new(),
    }
}
