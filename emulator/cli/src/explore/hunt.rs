//! Playing schedules on all processors until something fails, and shrinking that.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use damc_conformance::runner::Trial as Played;
use damc_explore::{Answer, Draw, Shrunk, Trial, shrink};

use super::progress::Progress;
use super::verdict::{Broken, play, quietly};
use super::{Report, Violation};

/// States that are remembered; some hundred megabytes.
const MOST_STATES: usize = 8_000_000;
/// Time that shrinking may take.
const SHRINK_WITHIN: Duration = Duration::from_secs(280);
/// Times that what was shrunk is run again, to see that it always shows.
const REPEATS: u32 = 10;

/// When an exploration ends.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After so many schedules.
    Schedules(u64),
    /// After this time.
    Time(Duration),
}

/// An exploration.
pub struct Hunt<'a> {
    draw: Draw,
    limit: Limit,
    keep_going: bool,
    out: &'a Path,
    began: Instant,
    next: AtomicU64,
    over: AtomicBool,
    found: Mutex<Found>,
}

struct Found {
    report: Report,
    states: HashSet<u64>,
    /// States after nine tenths of the work.
    before_last: Option<usize>,
    rules: BTreeSet<String>,
    progress: Progress,
    error: Option<anyhow::Error>,
}

impl<'a> Hunt<'a> {
    pub fn new(draw: Draw, limit: Limit, keep_going: bool, out: &'a Path) -> Self {
        let found = Found {
            report: Report::default(),
            states: HashSet::new(),
            before_last: None,
            rules: BTreeSet::new(),
            progress: Progress::new(limit),
            error: None,
        };
        let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { draw, limit, keep_going, out, began: Instant::now(), next, over, found: Mutex::new(found) }
    }

    /// Plays schedules, so many at once.
    ///
    /// # Errors
    /// A file of what was found cannot be written.
    pub fn run(self, jobs: usize) -> Result<Report> {
        quietly(|| {
            std::thread::scope(|scope| {
                for _ in 0..jobs {
                    scope.spawn(|| self.work());
                }
            });
        });
        let found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.progress.clear();
        if let Some(error) = found.error {
            return Err(error);
        }
        let mut report = found.report;
        report.states = found.states.len();
        report.more_states = report.states >= MOST_STATES;
        report.new_at_last = report.states - found.before_last.unwrap_or(report.states);
        report.violations.sort_by_key(|violation| violation.schedule);
        report.wall_ms = millis(self.began.elapsed());
        Ok(report)
    }

    fn work(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let over = match self.limit {
                Limit::Schedules(all) => number >= all,
                Limit::Time(time) => self.began.elapsed() >= time,
            };
            if over {
                return;
            }
            let trial = self.draw.trial(number);
            let Some(topology) = trial.runnable() else { continue };
            let (played, broken) = play(&topology, trial.seed);
            let new = self.take(&trial, &played, broken.as_ref());
            if let Some(broken) = broken.filter(|_| new) {
                self.over.fetch_or(!self.keep_going, Ordering::Relaxed);
                if let Err(error) = self.tell(number, trial, &broken) {
                    self.found().error = Some(error);
                    self.over.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what a trial showed; whether it broke a rule that none before did.
    fn take(&self, trial: &Trial, played: &Played, broken: Option<&Broken>) -> bool {
        let mut found = self.found();
        let found = &mut *found;
        found.report.schedules += 1;
        let done = match self.limit {
            Limit::Schedules(all) => found.report.schedules as f64 / all as f64,
            Limit::Time(time) => self.began.elapsed().as_secs_f64() / time.as_secs_f64(),
        };
        if done >= 0.9 && found.before_last.is_none() {
            found.before_last = Some(found.states.len());
        }
        let room = MOST_STATES.saturating_sub(found.states.len());
        found.states.extend(played.witnessed.states.iter().take(room));
        found.report.looks += played.witnessed.looks;
        for event in &trial.events {
            *found.report.events.entry(event.kind()).or_default() += 1;
        }
        // A load on a dead pod, a node that is killed twice: the schedule says so, and all else is judged.
        let unjudged = played.unjudged.iter().find(|(case, _)| case != "events");
        if let Some((case, why)) = unjudged {
            found.report.unjudged += 1;
            found.report.unjudged_first.get_or_insert_with(|| format!("{case}: {why}"));
        }
        found.progress.played(found.report.schedules, found.states.len());
        broken.is_some_and(|broken| found.rules.insert(broken.rule.clone()))
    }

    /// Makes a trial that broke a rule smaller, and leaves it as a file.
    fn tell(&self, number: u64, trial: Trial, broken: &Broken) -> Result<()> {
        let found_ms = millis(self.began.elapsed());
        self.found().progress.say(&format!("schedule {number} breaks a rule ({}); making it smaller", broken.rule));
        let began = Instant::now();
        let shrunk = smaller(trial, broken, began + SHRINK_WITHIN);
        let shrunk_ms = millis(began.elapsed());
        let file = self.out.join(format!("{}-{number}.yaml", broken.rule.replace(' ', "-")));
        let violation = left(&shrunk, (number, file), (found_ms, shrunk_ms))?;
        self.found().report.violations.push(violation);
        Ok(())
    }
}

fn smaller(trial: Trial, broken: &Broken, until: Instant) -> Shrunk {
    shrink(trial, &mut |candidate| {
        if Instant::now() >= until {
            return Answer::Enough;
        }
        let Some(topology) = candidate.runnable() else { return Answer::Other };
        let (_, now) = play(&topology, candidate.seed);
        if now.is_some_and(|now| now.rule == broken.rule) { Answer::Same } else { Answer::Other }
    })
}

/// Writes the file of a shrunk trial, and runs what it says again.
fn left(shrunk: &Shrunk, (number, file): (u64, PathBuf), (found_ms, shrunk_ms): (u64, u64)) -> Result<Violation> {
    let Shrunk { trial, tried, complete } = shrunk;
    let runs = (0..REPEATS).filter_map(|_| play(&trial.runnable()?, trial.seed).1);
    let runs: Vec<Broken> = runs.collect();
    let first =
        runs.first().cloned().unwrap_or_else(|| Broken { rule: "gone".into(), why: "it did not come again".into() });
    let again = runs.iter().filter(|broken| **broken == first).count();
    let notes = [
        format!("Found by `damc explore`, schedule {number}: {}", first.why),
        format!("Again: damc run {} --virtual --seed {}", file.display(), trial.seed),
    ];
    std::fs::write(&file, trial.text(&notes)).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Violation {
        rule: first.rule,
        why: first.why,
        schedule: number,
        file,
        run_seed: trial.seed,
        events: trial.events.len(),
        nodes: trial.topology.nodes().len(),
        tried: *tried,
        complete: *complete,
        repeated: (u32::try_from(again).unwrap_or(u32::MAX), REPEATS),
        found_ms,
        shrunk_ms,
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
