//! What a case is, and what it finds.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::bench::Bench;
use crate::verdict::Figure;

/// Which suite a case belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// Does the node do what the drafts state?
    Conformance,
    /// Do thresholds, policies and traffic follow the measured quality?
    Qos,
    /// Does the network stand what a member with valid keys can do to it?
    Insider,
}

impl Suite {
    /// As on the command line and in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Conformance => "conformance",
            Self::Qos => "qos",
            Self::Insider => "insider",
        }
    }
}

/// How a case judges: told by the order cases run in, calm ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// Looks and calls only.
    Calm,
    /// Injects hostile frames or changes registrations; leaves links and nodes alone.
    Guest,
    /// Changes links.
    Links,
    /// Kills or stops nodes.
    Nodes,
}

/// The future of a case.
pub type CaseFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Stop>> + 'a>>;

/// A case of a suite.
#[derive(Clone, Copy)]
pub struct Case {
    /// Short identifier, unique, for `--case`.
    pub id: &'static str,
    /// What is judged, one line.
    pub title: &'static str,
    /// Requirement ids it gives a verdict on.
    pub rows: &'static [&'static str],
    /// Suite.
    pub suite: Suite,
    /// What it does to the lab.
    pub impact: Impact,
    /// The longest it may take.
    pub limit: Duration,
    /// The case.
    pub run: for<'a> fn(&'a Bench, &'a mut Findings) -> CaseFuture<'a>,
}

/// Why a case ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// What was found is decisive: the requirement is not met.
    Failed(String),
    /// The environment did not allow to judge.
    Inconclusive(String),
    /// The topology has nothing to judge this by (for example no pool).
    NotApplicable(String),
}

impl Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) | Self::Inconclusive(why) | Self::NotApplicable(why) => f.write_str(why),
        }
    }
}

impl From<damc_lab::LabError> for Stop {
    /// The harness could not do what the case asked for: never the node's fault by itself, so no verdict.
    fn from(e: damc_lab::LabError) -> Self {
        Self::Inconclusive(format!("the lab could not serve the case: {e}"))
    }
}

/// What a case found: evidence in the order it was seen.
#[derive(Debug, Default)]
pub struct Findings {
    /// Lines for the report.
    pub evidence: Vec<String>,
    /// Measured figures.
    pub figures: Vec<Figure>,
    failures: Vec<String>,
}

impl Findings {
    /// Notes what was seen.
    pub fn note(&mut self, line: impl Display) {
        self.evidence.push(line.to_string());
    }

    /// Notes what was checked; a check that does not hold fails the case, which goes on to find more.
    pub fn check(&mut self, holds: bool, what: impl Display) {
        let line = format!("{} {what}", if holds { "✓" } else { "✗" });
        if !holds {
            self.failures.push(what.to_string());
        }
        self.evidence.push(line);
    }

    /// Checks that two values are equal and shows both where not.
    pub fn check_eq<T: PartialEq + std::fmt::Debug>(&mut self, seen: &T, expected: &T, what: impl Display) {
        if seen == expected {
            self.check(true, what);
        } else {
            self.check(false, format!("{what}: expected {expected:?}, saw {seen:?}"));
        }
    }

    /// Records a figure.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        self.figures.push(Figure { name: name.into(), value, unit: unit.into() });
    }

    /// What does not hold.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }
}

/// Fails the case at once.
pub fn fail<T>(why: impl Display) -> Result<T, Stop> {
    Err(Stop::Failed(why.to_string()))
}
