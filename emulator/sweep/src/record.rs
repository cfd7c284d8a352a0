//! What a run found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::RunId;

/// Whether what was measured is of the network that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// It is.
    Faithful,
    /// Links did not do what was asked of them.
    Unfaithful,
    /// The environment did not allow a judgement of everything.
    Inconclusive,
}

impl Quality {
    /// Its name in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Faithful => "faithful",
            Self::Unfaithful => "unfaithful",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// How the cases of a run ended, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    /// All that were judged passed.
    Passed,
    /// One failed at least.
    Failed,
    /// None failed, and not all could be judged.
    Inconclusive,
}

impl RunVerdict {
    /// Its name in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Something a run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The case, or `run` for the run as a whole.
    pub of: String,
    /// What.
    pub figure: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// The value.
    pub value: f64,
}

/// The whole result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepRun {
    /// Number of its point, from 1.
    pub point: usize,
    /// Its seed.
    pub seed: u64,
    /// Whether it counts.
    pub quality: Quality,
    /// How its cases ended.
    pub verdict: RunVerdict,
    /// Why it does not count, or the first case that failed and why.
    pub reason: Option<String>,
    /// Cases by verdict.
    pub cases: BTreeMap<String, usize>,
    /// What was measured, in the order of the report.
    pub samples: Vec<Sample>,
    /// SHA-256 of the text of its topology.
    pub topology_sha256: String,
    /// How long it took on this host, ms.
    pub wall_ms: u64,
    /// How many runs went on at once when it began.
    pub at_once: usize,
    /// How often it was made, until it was faithful or nothing helped.
    pub attempts: u32,
}

impl SweepRun {
    /// Which it is.
    #[must_use]
    pub fn id(&self) -> RunId {
        RunId { point: self.point, seed: self.seed }
    }

    /// Whether statistics take it in.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.quality == Quality::Faithful
    }

    /// Cases with a verdict.
    #[must_use]
    pub fn cases_with(&self, verdict: &str) -> usize {
        self.cases.get(verdict).copied().unwrap_or(0)
    }
}
