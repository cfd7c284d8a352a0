//! What a run shows while it works: on a terminal, as lines elsewhere, or, from inside a guest, as events for the host.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use damc_conformance::case::Case;
use damc_conformance::runner::Watcher;
use damc_conformance::verdict::{CaseResult, Kind};
use damc_lab::uml::exchange::Exchange;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// What happens in a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// To be told once.
    Said(String),
    /// A phase began.
    Phase(String),
    /// So many cases will be judged.
    Cases(usize),
    /// A case began: what it is called.
    Begun(String),
    /// A case ended.
    Ended {
        /// Its id.
        case: String,
        /// Its verdict.
        verdict: Kind,
        /// Why.
        reason: String,
    },
}

/// A progress bar on a terminal, a line for each phase and each case that does not pass elsewhere.
pub struct Terminal {
    bar: ProgressBar,
    lines: bool,
}

impl Terminal {
    pub fn new() -> Self {
        let lines = !std::io::stderr().is_terminal();
        let bar = if lines { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, lines }
    }

    /// Takes the bar away; what is printed from here on stands by itself.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: &str) {
        if self.lines {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    pub fn show(&self, event: &Event) {
        match event {
            Event::Said(text) => self.say(text),
            Event::Phase(text) => {
                self.bar.set_message(text.clone());
                if self.lines {
                    eprintln!("… {text}");
                }
            }
            Event::Cases(count) => {
                self.bar.set_length(*count as u64);
                if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}") {
                    self.bar.set_style(style);
                }
                if self.lines {
                    eprintln!("… judging {count} cases");
                }
            }
            Event::Begun(case) => self.bar.set_message(case.clone()),
            Event::Ended { case, verdict, reason } => {
                self.bar.inc(1);
                if !matches!(verdict, Kind::Pass | Kind::Exception) {
                    self.say(&format!("{} {case}: {reason}", verdict.label()));
                }
            }
        }
    }
}

/// Where the events of a run go.
pub enum Audience {
    /// The user's terminal.
    Terminal(Terminal),
    /// The host of the guest this run is in.
    Host(File),
}

impl Audience {
    /// The host in a guest, the terminal elsewhere.
    ///
    /// # Errors
    /// The guest's folder is not there.
    pub fn find() -> std::io::Result<Self> {
        match Exchange::of_this_guest() {
            None => Ok(Self::Terminal(Terminal::new())),
            Some(exchange) => OpenOptions::new().append(true).open(exchange.progress()).map(Self::Host),
        }
    }

    pub fn tell(&mut self, event: &Event) {
        match self {
            Self::Terminal(terminal) => terminal.show(event),
            Self::Host(file) => {
                let mut line = serde_json::to_vec(event).unwrap_or_default();
                line.push(b'\n');
                // A run goes on when nobody can be told about it.
                let _ = file.write_all(&line);
            }
        }
    }

    /// The run is over.
    pub fn clear(&self) {
        if let Self::Terminal(terminal) = self {
            terminal.clear();
        }
    }
}

impl Watcher for Audience {
    fn phase(&mut self, text: &str) {
        self.tell(&Event::Phase(text.to_owned()));
    }

    fn cases(&mut self, count: usize) {
        self.tell(&Event::Cases(count));
    }

    fn begin(&mut self, case: &Case) {
        self.tell(&Event::Begun(format!("{}: {}", case.id, case.title)));
    }

    fn end(&mut self, result: &CaseResult) {
        let (case, verdict) = (result.id.clone(), result.verdict.kind());
        self.tell(&Event::Ended { case, verdict, reason: result.verdict.reason().to_owned() });
    }
}
