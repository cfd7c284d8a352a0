//! The report as a value; `report.json` is this, and `results/README.md` describes it.

use std::collections::BTreeMap;

use damc_testbed::calibration::Calibration;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, Requirement, Strength};
use crate::verdict::{CaseResult, Kind, Verdict};

/// Version of the schema; grows when a reader of the last version would misread.
const SCHEMA: u32 = 1;

/// Everything a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the schema.
    pub schema: u32,
    /// What ran.
    pub run: RunInfo,
    /// The lab it ran on.
    pub lab: LabInfo,
    /// How faithful the links were; absent where none were impaired or the run ended before.
    pub calibration: Option<Calibration>,
    /// The outcome in numbers.
    pub summary: Summary,
    /// Case by case, in the order they ran.
    pub cases: Vec<CaseResult>,
    /// What happened when in the experiment, in the order it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Happened>,
    /// Row by row of the catalogue.
    pub coverage: Vec<RowResult>,
    /// Files of the run that could not be written, and why.
    pub write_errors: Vec<String>,
}

/// Something that happened on a timeline. Times count from convergence, ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// Line of the topology file.
    pub line: usize,
    /// Its label, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What.
    pub what: String,
    /// When the file asks for it.
    pub asked_ms: f64,
    /// When it was begun.
    pub began_ms: f64,
    /// When it was done.
    pub ended_ms: f64,
    /// Why it did not happen, where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Short identifier, part of the folder's name.
    pub id: String,
    /// UTC, RFC 3339.
    pub started: String,
    /// From start to the end of the last case, ms.
    pub duration_ms: u64,
    /// Version of `damc`.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// Seed of link randomness and flows.
    pub seed: u64,
    /// Suites that ran.
    pub suites: Vec<String>,
    /// `--case`, where given.
    pub case_filter: Option<String>,
    /// Why the run ended early, where it did.
    pub aborted: Option<String>,
}

/// The lab.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabInfo {
    /// Name of the topology.
    pub topology: String,
    /// SHA-256 of its file.
    pub topology_sha256: String,
    /// What served impaired links: `netem`, `relay`, or `plain` where none was impaired.
    pub backend: String,
    /// Kernel release, and whether it was the host's or a guest's.
    pub kernel: String,
    /// The nodes, in file order.
    pub nodes: Vec<NodeInfo>,
    /// Number of links.
    pub links: usize,
    /// From start to all processes up, ms.
    pub ready_ms: Option<f64>,
    /// From ready to converged, ms.
    pub converged_ms: Option<f64>,
    /// Links whose shaping some frames went around, and how many: measurements there are not of the link as asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypassed: Vec<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// Its role.
    pub kind: String,
    /// The program it ran: the file name of ours, the command of a foreign one.
    pub program: String,
    /// What the program said it is: its name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How it went, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Headline {
    /// Every case that ran passed.
    Passed,
    /// A case failed.
    Failed,
    /// No case failed, but the environment did not allow a judgement of all of them.
    Inconclusive,
}

/// The outcome in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// In one word.
    pub headline: Headline,
    /// Cases by verdict.
    pub cases: BTreeMap<Kind, usize>,
    /// Rows of sections A to K by verdict.
    pub requirements: BTreeMap<Kind, usize>,
}

/// A requirement and what the run says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    /// Its id.
    pub id: String,
    /// Letter of its section.
    pub section: char,
    /// Its title.
    pub title: String,
    /// How firmly the drafts say it.
    pub strength: Strength,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The cases that judged it.
    pub cases: Vec<String>,
}

impl Report {
    /// Puts a report together.
    #[must_use]
    pub fn new(run: RunInfo, lab: LabInfo, calibration: Option<Calibration>, cases: Vec<CaseResult>) -> Self {
        let coverage = coverage(&cases);
        let summary = Summary::of(&run, &lab, &cases, &coverage);
        let (events, write_errors) = (Vec::new(), Vec::new());
        Self { schema: SCHEMA, run, lab, calibration, summary, cases, events, coverage, write_errors }
    }

    /// Whether a case judged any requirement.
    #[must_use]
    pub fn judges_requirements(&self) -> bool {
        self.cases.iter().any(|case| !case.requirements.is_empty())
    }

    /// The exit code of the run: 1 a case failed, 2 the results could not all be written, 3 inconclusive, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.summary.headline {
            Headline::Failed => 1,
            _ if !self.write_errors.is_empty() => 2,
            Headline::Inconclusive => 3,
            Headline::Passed => 0,
        }
    }

    /// `report.json`.
    ///
    /// # Errors
    /// A figure is not a number, which no case records.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

impl Summary {
    fn of(run: &RunInfo, lab: &LabInfo, cases: &[CaseResult], coverage: &[RowResult]) -> Self {
        let case_kinds = count(cases.iter().map(|c| c.verdict.kind()));
        let requirements = count(coverage.iter().filter(|r| r.section <= 'K').map(|r| r.verdict.kind()));
        // A run in which no case could be judged says nothing.
        let judged = case_kinds.contains_key(&Kind::Pass);
        let unclear = case_kinds.contains_key(&Kind::Inconclusive) || run.aborted.is_some() || !lab.bypassed.is_empty();
        let headline = if case_kinds.contains_key(&Kind::Fail) {
            Headline::Failed
        } else if unclear || !judged {
            Headline::Inconclusive
        } else {
            Headline::Passed
        };
        Self { headline, cases: case_kinds, requirements }
    }

    /// Cases with a verdict.
    #[must_use]
    pub fn cases_with(&self, kind: Kind) -> usize {
        self.cases.get(&kind).copied().unwrap_or(0)
    }

    /// Rows of sections A to K with a verdict.
    #[must_use]
    pub fn requirements_with(&self, kind: Kind) -> usize {
        self.requirements.get(&kind).copied().unwrap_or(0)
    }
}

fn count(kinds: impl Iterator<Item = Kind>) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for kind in kinds {
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// The verdict on every row of the catalogue. A row that no case of the run judged shows that its cases were not run, or
/// its exception where it has no cases, or `todo`; no row is absent.
#[must_use]
pub fn coverage(cases: &[CaseResult]) -> Vec<RowResult> {
    let suites = crate::suite::all();
    Catalogue::get()
        .rows()
        .map(|(section, row)| {
            let judging: Vec<&CaseResult> = cases.iter().filter(|c| c.requirements.contains(&row.id)).collect();
            let verdict = Verdict::combined(judging.iter().map(|c| c.verdict.clone()))
                .unwrap_or_else(|| unjudged(row, suites.iter().any(|c| c.rows.contains(&row.id.as_str()))));
            RowResult {
                id: row.id.clone(),
                section,
                title: row.title.clone(),
                strength: row.strength,
                verdict,
                cases: judging.iter().map(|c| c.id.clone()).collect(),
            }
        })
        .collect()
}

/// The verdict on a row that no case of a run judged.
fn unjudged(row: &Requirement, has_cases: bool) -> Verdict {
    match &row.exception {
        _ if has_cases => Verdict::NotRun,
        Some(reason) => Verdict::Exception(reason.clone()),
        None => Verdict::Todo,
    }
}
