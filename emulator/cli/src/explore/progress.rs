//! What is said while schedules are played: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::hunt::Limit;

/// From one line to the next, where there is no terminal.
const LINE_EACH: Duration = Duration::from_secs(30);

/// The progress of an exploration.
pub struct Progress {
    bar: ProgressBar,
    /// When a line was printed last, where lines are.
    lines: Option<Instant>,
    began: Instant,
    limit: Limit,
}

impl Progress {
    pub fn new(limit: Limit) -> Self {
        let (terminal, began) = (std::io::stderr().is_terminal(), Instant::now());
        let length = match limit {
            Limit::Schedules(schedules) => schedules,
            Limit::Time(time) => time.as_secs(),
        };
        let bar = if terminal { ProgressBar::new(length) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self { bar, lines: (!terminal).then_some(began), began, limit }
    }

    /// So many schedules were played, and so many states seen.
    pub fn played(&mut self, schedules: u64, states: usize) {
        let elapsed = self.began.elapsed();
        self.bar.set_position(match self.limit {
            Limit::Schedules(_) => schedules,
            Limit::Time(_) => elapsed.as_secs(),
        });
        let text = format!("{schedules} schedules, {states} states");
        if self.lines.is_some_and(|last| last.elapsed() >= LINE_EACH) {
            self.lines = Some(Instant::now());
            eprintln!("… {text}");
        }
        self.bar.set_message(text);
    }

    pub fn say(&self, text: &str) {
        if self.lines.is_some() { eprintln!("{text}") } else { self.bar.println(text) }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
