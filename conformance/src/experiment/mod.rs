//! The experiment suite: the timeline of a topology file, played on a converged network, and what it expects.
//!
//! It is played once, all entries beside each other as their times ask. Each expectation and each load becomes a case; one
//! more case says whether everything happened, and when.

mod act;
mod expect;
mod ground;
mod invariants;
mod load;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_testbed::WorldKind;
use damc_testbed::timeline::{Due, Step, Timeline, is_endless};
use damc_topology::timeline::{Act, Expected, LinkEvent, TimelineEvent};
use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::{FuturesUnordered, StreamExt as _};

use self::ground::Ground;
use self::load::Loaded;
use crate::case::{Findings, Stop, Suite};
use crate::report::Happened;
use crate::runner::millis;
use crate::testbed::Testbed;
use crate::verdict::{CaseResult, Verdict};

/// What playing a timeline found.
pub(crate) struct Played {
    pub results: Vec<CaseResult>,
    /// What happened when, in order of the asked times.
    pub events: Vec<Happened>,
    /// Files for the results: name and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Something was seen that must never be.
    pub broken: bool,
}

/// A timeline that is being played.
struct Play<'a> {
    testbed: &'a Testbed,
    events: &'a [TimelineEvent],
    /// The moment from which times are counted, ns.
    zero_ns: u64,
    /// What became of the loads so far, by entry.
    loads: RefCell<BTreeMap<usize, Loaded>>,
    /// What the expectations found so far, by entry, and why they stopped early.
    found: RefCell<BTreeMap<usize, Judged>>,
    files: RefCell<Vec<(String, Vec<u8>)>>,
    /// What the events made of the topology.
    ground: RefCell<Ground>,
    /// Everything is over but what lasts until then.
    over: Cell<bool>,
}

/// What became of an expectation.
#[derive(Default)]
struct Judged {
    findings: Findings,
    stop: Option<Stop>,
    took: Duration,
}

/// One half of one time of an entry that was done.
struct Done {
    due: Due,
    began_ns: u64,
    ended_ns: u64,
    error: Option<String>,
}

/// Plays the timeline of the testbed's topology.
pub(crate) async fn play(testbed: &Testbed) -> Played {
    let events = testbed.topology.events();
    let play = Play {
        testbed,
        events,
        zero_ns: testbed.now_ns(),
        loads: RefCell::default(),
        found: RefCell::default(),
        files: RefCell::default(),
        ground: RefCell::new(Ground::of(&testbed.topology)),
        over: Cell::new(false),
    };
    let done = play.all().await;
    play.report(&done)
}

impl<'a> Play<'a> {
    /// Now, ns since the begin.
    fn now(&self) -> u64 {
        self.testbed.now_ns().saturating_sub(self.zero_ns)
    }

    /// Waits until this time, ns since the begin.
    async fn until(&self, at_ns: u64) {
        let left = at_ns.saturating_sub(self.now());
        if left > 0 {
            self.testbed.lab.sleep(Duration::from_nanos(left)).await;
        }
    }

    async fn all(&'a self) -> Vec<Done> {
        let mut timeline = Timeline::new(self.events);
        let mut running: FuturesUnordered<LocalBoxFuture<'a, Done>> = FuturesUnordered::new();
        let (mut busy, mut held, mut all) = (BTreeSet::new(), Vec::new(), Vec::new());
        while !timeline.is_over() {
            while let Some(due) = timeline.take(self.now()) {
                // What is not done cannot be taken back yet.
                if due.step == Step::End && busy.contains(&(due.entry, due.time)) {
                    held.push(due);
                    continue;
                }
                busy.insert((due.entry, due.time));
                running.push(Box::pin(self.perform(due)));
            }
            self.over.set(timeline.is_over_but_endless());
            let Some(done) = self.next(&mut running, timeline.next_at()).await else { continue };
            busy.remove(&(done.due.entry, done.due.time));
            if let Some(at) = held.iter().position(|due: &Due| (due.entry, due.time) == (done.due.entry, done.due.time))
            {
                let due = held.swap_remove(at);
                busy.insert((due.entry, due.time));
                running.push(Box::pin(self.perform(due)));
            }
            timeline.done(done.due, self.now());
            all.push(done);
        }
        all
    }

    /// The next that is done; none where something else is due before.
    async fn next(&self, running: &mut FuturesUnordered<LocalBoxFuture<'a, Done>>, due: Option<u64>) -> Option<Done> {
        match (running.is_empty(), due) {
            (true, None) => None,
            (true, Some(at)) => {
                self.until(at).await;
                None
            }
            (false, None) => running.next().await,
            (false, Some(at)) => match select(running.next(), std::pin::pin!(self.until(at))).await {
                Either::Left((done, _)) => done,
                Either::Right(_) => None,
            },
        }
    }

    async fn perform(&self, due: Due) -> Done {
        let began_ns = self.now();
        let event = &self.events[due.entry];
        let outcome = match &event.act {
            act if act.needs_live().is_some() && self.testbed.lab.kind() == WorldKind::Virtual => Ok(()),
            Act::Expect { what, hold } => {
                self.judge(due.entry, event, what, *hold).await;
                Ok(())
            }
            Act::Load(load) => {
                self.load(due, load, event.lasts_ns.unwrap_or(0)).await;
                Ok(())
            }
            Act::Run { pod, command } => self.run_program(due, pod, command, event.lasts_ns).await,
            Act::Link { a, b, change } => match change.as_ref() {
                LinkEvent::Follow(trace) => self.follow(a, b, trace, due.at_ns, event.lasts_ns.unwrap_or(0)).await,
                change => self.change_link(a, b, change, due.step).await,
            },
            act => self.act(act, due.step).await,
        };
        Done { due, began_ns, ended_ns: self.now(), error: outcome.err().map(|error| error.one_line()) }
    }
}

// ===== what is told of it =====

impl Play<'_> {
    fn report(&self, done: &[Done]) -> Played {
        let mut events: Vec<Happened> = done
            .iter()
            .filter(|done| !self.events[done.due.entry].act.is_expectation())
            .map(|d| self.told(d))
            .collect();
        events.sort_by(|a, b| a.asked_ms.total_cmp(&b.asked_ms).then(a.line.cmp(&b.line)));
        let mut results = vec![self.timeline_result(&events)];
        let (mut loads, mut expectations, mut broken) = (0, 0, false);
        for (entry, event) in self.events.iter().enumerate() {
            let id = |kind: &str, number: usize| match &event.label {
                Some(label) => format!("{kind}-{label}"),
                None => format!("{kind}-{number}"),
            };
            match &event.act {
                Act::Load(_) => {
                    loads += 1;
                    results.push(self.load_result(entry, event, id("load", loads)));
                }
                Act::Expect { what, .. } => {
                    expectations += 1;
                    let judged = self.found.borrow_mut().remove(&entry).unwrap_or_default();
                    broken |= judged.findings.is_broken();
                    results.push(self.expectation_result(event, what, judged, id("expect", expectations)));
                }
                _ => {}
            }
        }
        Played { results, events, files: self.files.take(), broken }
    }

    fn told(&self, done: &Done) -> Happened {
        let event = &self.events[done.due.entry];
        let what = match done.due.step {
            Step::Begin => event.act.to_string(),
            Step::End => format!("back: {}", event.act),
        };
        let ms = |ns: u64| ns as f64 / 1e6;
        Happened {
            line: event.line,
            label: event.label.clone(),
            what,
            asked_ms: ms(done.due.at_ns),
            began_ms: ms(done.began_ns),
            ended_ms: ms(done.ended_ns),
            error: done.error.clone().or_else(|| self.left_out(event)),
        }
    }

    /// Why an entry is left out in this world.
    fn left_out(&self, event: &TimelineEvent) -> Option<String> {
        let needs = event.act.needs_live().filter(|_| self.testbed.lab.kind() == WorldKind::Virtual)?;
        Some(format!("left out, needs the live world: {needs}"))
    }

    /// Whether everything happened, and how late.
    fn timeline_result(&self, events: &[Happened]) -> CaseResult {
        let mut findings = Findings::default();
        let mut late: Vec<f64> = events.iter().map(|event| event.began_ms - event.asked_ms).collect();
        late.sort_by(f64::total_cmp);
        for event in events {
            let error = event.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            let (line, what, asked) = (event.line, &event.what, event.asked_ms);
            findings.note(format_args!(
                "line {line}, asked at {asked:.3} ms, began {:.3} ms late, took {:.3} ms: {what}{error}",
                event.began_ms - asked,
                event.ended_ms - event.began_ms
            ));
        }
        findings.figure("events", events.len() as f64, "");
        if let Some(most) = late.last() {
            let rank = (late.len() * 99).div_ceil(100) - 1;
            findings.figure("lateness p50", late[late.len() / 2], "ms");
            findings.figure("lateness p99", late[rank], "ms");
            findings.figure("lateness max", *most, "ms");
        }
        // What a world leaves out is told by the cases that rest on it.
        let failed = events.iter().filter(|event| event.error.as_ref().is_some_and(|e| !e.starts_with("left out")));
        let failed: Vec<String> = failed
            .map(|e| format!("line {}: {}: {}", e.line, e.what, e.error.as_deref().unwrap_or_default()))
            .collect();
        let verdict = if failed.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Inconclusive(format!("not everything happened: {}", failed.join("; ")))
        };
        let title = "Every event of the timeline happens".to_owned();
        CaseResult { duration_ms: self.now() / 1_000_000, ..case_result("events".to_owned(), title, verdict, findings) }
    }

    fn load_result(&self, entry: usize, event: &TimelineEvent, id: String) -> CaseResult {
        let loads = self.loads.borrow();
        let (mut findings, title) = (Findings::default(), event.act.to_string());
        let verdict = match (self.left_out(event), loads.get(&entry)) {
            (Some(why), _) => Verdict::Exception(why),
            (None, None) => Verdict::Inconclusive("the load did not begin".to_owned()),
            (None, Some(loaded)) => {
                loaded.tell(&mut findings);
                Verdict::Pass
            }
        };
        let duration_ms = event.lasts_ns.unwrap_or(0) / 1_000_000;
        CaseResult { duration_ms, ..case_result(id, title, verdict, findings) }
    }

    fn expectation_result(&self, event: &TimelineEvent, what: &Expected, judged: Judged, id: String) -> CaseResult {
        let of_load = what.load().map(|of| &self.events[of]);
        let of = of_load.and_then(|load| load.label.as_ref()).map_or_else(String::new, |label| format!(" of {label}"));
        let title = format!("{}{of}", event.act);
        if let Some(why) = of_load.and_then(|load| self.left_out(load)) {
            return case_result(id, title, Verdict::Exception(why), judged.findings);
        }
        let failed = judged.findings.failures().join("; ");
        let verdict = match judged.stop {
            _ if !failed.is_empty() => Verdict::Fail(failed),
            Some(Stop::Failed(why)) => Verdict::Fail(why),
            Some(Stop::Inconclusive(why)) => Verdict::Inconclusive(why),
            Some(Stop::NotApplicable(why)) => Verdict::Exception(format!("not on this topology: {why}")),
            None if judged.findings.evidence.is_empty() => Verdict::Inconclusive("it was not judged".to_owned()),
            None => Verdict::Pass,
        };
        CaseResult { duration_ms: millis(judged.took), ..case_result(id, title, verdict, judged.findings) }
    }

    /// How long an entry lasts that began at `began_ns`: the moment it ends at, none where that is the end of everything.
    fn ends_at(&self, event: &TimelineEvent, began_ns: u64) -> Option<u64> {
        (!is_endless(event)).then(|| began_ns.saturating_add(event.lasts_ns.unwrap_or(0)))
    }
}

fn case_result(id: String, title: String, verdict: Verdict, findings: Findings) -> CaseResult {
    CaseResult {
        id,
        title,
        requirements: Vec::new(),
        suite: Suite::Experiment.label().into(),
        verdict,
        duration_ms: 0,
        evidence: findings.evidence,
        figures: findings.figures,
        attachments: Vec::new(),
        frames: Vec::new(),
    }
}
