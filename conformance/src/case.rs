//! What a case is, and what it finds.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use damc_testbed::WorldKind;

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
    /// Does the network do what the timeline of its topology file expects?
    Experiment,
}

impl Suite {
    /// As on the command line and in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Conformance => "conformance",
            Self::Qos => "qos",
            Self::Insider => "insider",
            Self::Experiment => "experiment",
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

/// Which worlds a case can be judged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worlds {
    /// Every world.
    All,
    /// The live one only, and what for.
    Live(&'static str),
}

impl Worlds {
    /// Why a case is not judged in this kind of world; `None` where it is.
    #[must_use]
    pub fn lacking(self, kind: WorldKind) -> Option<String> {
        match self {
            Self::Live(needs) if kind == WorldKind::Virtual => Some(format!("needs the live world: {needs}")),
            _ => None,
        }
    }
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
    /// Where it can be judged.
    pub worlds: Worlds,
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

impl From<damc_testbed::WorldError> for Stop {
    /// The harness could not do what the case asked for. That alone is not the node's fault: inconclusive.
    fn from(e: damc_testbed::WorldError) -> Self {
        match e {
            damc_testbed::WorldError::Unsupported(why) => Self::NotApplicable(why),
            lacking @ damc_testbed::WorldError::NotOffered { .. } => Self::Inconclusive(lacking.to_string()),
            other => Self::Inconclusive(format!("the lab could not serve the case: {other}")),
        }
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
    /// Something that must never be was seen.
    broken: bool,
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

    /// Records a rule that nothing may ever break, with what was seen. No load excuses what broke it.
    pub fn never(&mut self, holds: bool, rule: impl Display, saw: impl Display) {
        if holds {
            self.evidence.push(format!("✓ {rule}: {saw}"));
        } else {
            self.broken = true;
            self.failed(format!("expected, whatever the load: {rule}; saw: {saw}"));
        }
    }

    /// Records a rule that allows none of something: zero, or an empty list. No load excuses what was seen.
    pub fn none<T: PartialEq + Default + std::fmt::Debug>(&mut self, seen: &T, rule: impl Display) {
        self.never(*seen == T::default(), rule, format_args!("{seen:?}"));
    }

    /// Records when something came that had to come within a limit.
    pub fn within(&mut self, took: Duration, limit: Duration, what: impl Display) {
        let (took_ms, limit_ms) = (took.as_secs_f64() * 1e3, limit.as_secs_f64() * 1e3);
        if took <= limit {
            self.evidence.push(format!("✓ {what}: within {limit_ms:.1} ms, after {took_ms:.1} ms"));
        } else {
            self.failed(format!("expected within {limit_ms:.1} ms: {what}; saw: after {took_ms:.1} ms"));
        }
    }

    /// Records a measured quantity beside the bound it must not pass, with the number of samples it rests on.
    pub fn bound(&mut self, value: f64, most: f64, unit: &str, samples: usize, what: impl Display) {
        let line = format!("{what}: at most {most:.3} {unit}");
        if value <= most {
            self.evidence.push(format!("✓ {line}, saw {value:.3} {unit} over {samples} samples"));
        } else {
            self.failed(format!("expected: {line}; saw: {value:.3} {unit} over {samples} samples"));
        }
    }

    /// Adds what was found later.
    pub fn append(&mut self, later: Self) {
        self.evidence.extend(later.evidence);
        self.figures.extend(later.figures);
        self.failures.extend(later.failures);
        self.broken |= later.broken;
    }

    /// Whether something was seen that must never be.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
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

/// Ends a case of which a part could not be judged. What was found before still counts.
///
/// # Errors
/// Always [`Stop::Inconclusive`].
pub fn unjudged<T>(what: impl Display) -> Result<T, Stop> {
    Err(Stop::Inconclusive(format!("not judged: {what}")))
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
        assert!(!findings.is_broken());
        findings.within(Duration::from_millis(7), Duration::from_millis(5), "an answer");
        findings.bound(1.5, 1.25, "ms", 40, "median delay");
        assert!(!findings.is_broken(), "what came late may be excused");
        findings.none(&0, "no frame of pod-8 passes sr-1");
        assert!(!findings.is_broken());
        findings.none(&3, "no frame of pod-9 passes sr-1");
        assert!(findings.is_broken());
        let failed = [
            "expected: a cheapest path back; saw: sg-2 → sg-1",
            "expected: no adjacency goes down",
            "no LSA advertises /A/9: expected 0, saw 1",
            "expected within 5.0 ms: an answer; saw: after 7.0 ms",
            "expected: median delay: at most 1.250 ms; saw: 1.500 ms over 40 samples",
            "expected, whatever the load: no frame of pod-9 passes sr-1; saw: 3",
        ];
        assert_eq!(findings.failures(), failed);
        assert_eq!(findings.evidence[0], "✓ a cheapest path back: sg-2 → sr-left → sg-1");
        let told: Vec<_> = findings.evidence.iter().filter(|line| line.starts_with('✗')).collect();
        assert_eq!(told, failed.map(|line| format!("✗ {line}")).iter().collect::<Vec<_>>());
        assert!(findings.evidence.contains(&"✓ no frame of pod-8 passes sr-1: 0".to_owned()));
    }
}
