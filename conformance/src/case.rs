//! What a case is, and what it finds.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::testbed::Testbed;
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

/// How much a case disturbs the lab. Cases run in this order, calm ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// Only observes and makes calls.
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
    /// Longest time it may take.
    pub limit: Duration,
    /// The case.
    pub run: for<'a> fn(&'a Testbed, &'a mut Findings) -> CaseFuture<'a>,
}

/// Why a case ended early.
#[derive(Debug)]
pub enum Stop {
    /// The requirement is not met.
    Failed(String),
    /// The environment did not allow a judgement.
    Inconclusive(String),
    /// The topology lacks what the case needs, for example a pool.
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
    /// The harness could not do what the case asked for. That alone is not the node's fault: inconclusive.
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
    /// Records an observation.
    pub fn note(&mut self, line: impl Display) {
        self.evidence.push(line.to_string());
    }

    /// Records a check of what is expected. A check that does not hold fails the case, which goes on to find more.
    pub fn check(&mut self, holds: bool, expected: impl Display) {
        if holds {
            self.evidence.push(format!("✓ {expected}"));
        } else {
            self.failed(format!("expected: {expected}"));
        }
    }

    /// Records a check with what was seen; a failed line says `expected: …; saw: …`.
    pub fn check_saw(&mut self, holds: bool, expected: impl Display, saw: impl Display) {
        if holds {
            self.evidence.push(format!("✓ {expected}: {saw}"));
        } else {
            self.failed(format!("expected: {expected}; saw: {saw}"));
        }
    }

    /// Checks that two values are equal; a failed line shows both.
    pub fn check_eq<T: PartialEq + std::fmt::Debug>(&mut self, seen: &T, expected: &T, what: impl Display) {
        if seen == expected {
            self.evidence.push(format!("✓ {what}"));
        } else {
            self.failed(format!("{what}: expected {expected:?}, saw {seen:?}"));
        }
    }

    fn failed(&mut self, line: String) {
        self.evidence.push(format!("✗ {line}"));
        self.failures.push(line);
    }

    /// Records a figure.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        self.figures.push(Figure { name: name.into(), value, unit: unit.into() });
    }

    /// The checks that did not hold.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }
}

/// Fails the case at once.
pub fn fail<T>(why: impl Display) -> Result<T, Stop> {
    Err(Stop::Failed(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_lines_say_what_was_expected_and_what_was_seen() {
        let mut findings = Findings::default();
        findings.check_saw(true, "a cheapest path back", "sg-2 → sr-left → sg-1");
        assert!(findings.failures().is_empty());
        findings.check_saw(false, "a cheapest path back", "sg-2 → sg-1");
        findings.check(false, "no adjacency goes down");
        findings.check_eq(&1, &0, "no LSA advertises /A/9");
        let failed = [
            "expected: a cheapest path back; saw: sg-2 → sg-1",
            "expected: no adjacency goes down",
            "no LSA advertises /A/9: expected 0, saw 1",
        ];
        assert_eq!(findings.failures(), failed);
        assert_eq!(findings.evidence[0], "✓ a cheapest path back: sg-2 → sr-left → sg-1");
        assert_eq!(findings.evidence[1..], failed.map(|line| format!("✗ {line}")));
    }
}
