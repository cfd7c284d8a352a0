//! What was found out about a case and about a requirement.

use serde::{Deserialize, Serialize};

use crate::capture::CitedFrame;

/// A verdict. Variants are in order of weight: of several cases on one requirement, the first verdict here counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "snake_case")]
pub enum Verdict {
    /// Not met.
    Fail(String),
    /// The environment did not allow a judgement.
    Inconclusive(String),
    /// Met.
    Pass,
    /// Deliberately not judged here.
    Exception(String),
    /// Cases judge it, but this run left them out.
    NotRun,
    /// No case judges it yet.
    Todo,
}

/// A verdict without its reason, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// See [`Verdict::Fail`].
    Fail,
    /// See [`Verdict::Inconclusive`].
    Inconclusive,
    /// See [`Verdict::Pass`].
    Pass,
    /// See [`Verdict::Exception`].
    Exception,
    /// See [`Verdict::NotRun`].
    NotRun,
    /// See [`Verdict::Todo`].
    Todo,
}

impl Kind {
    /// Every kind, in the order people want to read them.
    pub const ALL: [Self; 6] = [Self::Pass, Self::Fail, Self::Inconclusive, Self::Exception, Self::NotRun, Self::Todo];

    /// Its name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Pass => "pass",
            Self::Exception => "exception",
            Self::NotRun => "not run",
            Self::Todo => "todo",
        }
    }
}

impl Verdict {
    /// The verdict without its reason.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fail(_) => Kind::Fail,
            Self::Inconclusive(_) => Kind::Inconclusive,
            Self::Pass => Kind::Pass,
            Self::Exception(_) => Kind::Exception,
            Self::NotRun => Kind::NotRun,
            Self::Todo => Kind::Todo,
        }
    }

    /// The reason; empty for verdicts without one.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Fail(reason) | Self::Inconclusive(reason) | Self::Exception(reason) => reason,
            Self::Pass | Self::NotRun | Self::Todo => "",
        }
    }

    /// The verdict on a requirement from the verdicts of the cases that judge it; `None` without cases.
    pub fn combined(verdicts: impl IntoIterator<Item = Self>) -> Option<Self> {
        verdicts.into_iter().min()
    }
}

/// A measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: String,
}

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Short identifier.
    pub id: String,
    /// What was judged.
    pub title: String,
    /// Requirement ids.
    pub requirements: Vec<String>,
    /// `conformance`, `qos`, `insider` or `experiment`.
    pub suite: String,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// From start to end, ms.
    pub duration_ms: u64,
    /// What was seen, in order.
    pub evidence: Vec<String>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Files of the run folder that belong to the case, such as a capture.
    pub attachments: Vec<String>,
    /// Frames of the capture that checks rest on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<CitedFrame>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_outweighs_everything_and_a_pass_outweighs_an_exception() {
        let fail = Verdict::Fail("lost".into());
        let unclear = Verdict::Inconclusive("busy".into());
        let exception = Verdict::Exception("no pool".into());
        let all = [Verdict::Todo, exception.clone(), Verdict::Pass, unclear.clone(), fail.clone()];
        assert_eq!(Verdict::combined(all), Some(fail));
        assert_eq!(Verdict::combined([Verdict::Pass, unclear.clone()]), Some(unclear));
        assert_eq!(Verdict::combined([exception, Verdict::Pass]), Some(Verdict::Pass));
        assert_eq!(Verdict::combined([]), None);
    }

    #[test]
    fn the_json_form_carries_verdict_and_reason_side_by_side() {
        let json = serde_json::to_value(Verdict::Fail("lost".into())).unwrap();
        assert_eq!(json, serde_json::json!({"verdict": "fail", "reason": "lost"}));
        assert_eq!(serde_json::to_value(Verdict::Pass).unwrap(), serde_json::json!({"verdict": "pass"}));
    }
}
