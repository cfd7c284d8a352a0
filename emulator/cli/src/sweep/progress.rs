//! What is said while a sweep is going: a bar on a terminal, a line for each run elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use damc_sweep::{Estimate, Quality, RunVerdict, SweepRun};
use indicatif::{ProgressBar, ProgressStyle};

/// Says a line. A sweep goes on when nobody reads any more what it says.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The progress of a sweep.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    all: usize,
    estimate: Estimate,
}

impl Progress {
    /// Of so many runs, some of which were made before.
    pub fn new(all: usize, made: usize) -> Self {
        let lines = !std::io::stderr().is_terminal();
        let bar = if lines { ProgressBar::hidden() } else { ProgressBar::new(all as u64).with_position(made as u64) };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, lines, all, estimate: Estimate::default() }
    }

    fn say(&self, text: &str) {
        if self.lines { say(text) } else { self.bar.println(text) }
    }

    /// A run has ended, and `left` are not made yet.
    pub fn ended(&mut self, run: &SweepRun, left: usize, at_once: usize) {
        self.estimate.took(Duration::from_millis(run.wall_ms));
        let remaining = match self.estimate.left(left, at_once) {
            Some(time) if left > 0 => format!(", {} left with {at_once} at once", rough(time)),
            _ => String::new(),
        };
        self.bar.inc(1);
        self.bar.set_message(remaining.trim_start_matches(", ").to_owned());
        let told = !(run.quality == Quality::Faithful && run.verdict == RunVerdict::Passed);
        let reason = run.reason.as_deref().filter(|_| told).map(|reason| format!(": {reason}")).unwrap_or_default();
        let made = self.all - left;
        if self.lines {
            say(&format!("{} {} of {}{remaining}{reason}", label(run), made, self.all));
        } else if told {
            self.bar.println(format!("{}{reason}", label(run)));
        }
    }

    /// A run is made again.
    pub fn again(&mut self, run: &SweepRun) {
        let reason = run.reason.as_deref().unwrap_or_default();
        self.say(&format!("{}, is made again: {reason}", label(run)));
    }

    /// The host does not carry as many as were going on.
    pub fn fewer(&self, at_once: usize) {
        self.say(&format!("this host does not carry so many runs faithfully: {at_once} at once from here on"));
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn label(run: &SweepRun) -> String {
    let quality = if run.counts() { String::new() } else { format!(" ({})", run.quality.label()) };
    format!("{} {}{quality}", run.id(), run.verdict.label())
}

/// A time as one would say it.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{} s", seconds.max(1)),
        seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}
