//! Which cases judge which row of the catalogue, and what a run said: row × role × case × verdict.

use serde::Serialize;
use tabled::builder::Builder;

use crate::catalogue::Catalogue;
use crate::report::{Look, Report, colour_of};
use crate::verdict::Verdict;

/// A row with its judges.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgedRow {
    /// Its id.
    pub id: String,
    /// Letter of its section.
    pub section: char,
    /// Its title.
    pub title: String,
    /// The kinds of node that it binds.
    pub roles: Vec<String>,
    /// Why no case judges it, where that is deliberate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The cases that judge it.
    pub cases: Vec<Judge>,
}

/// A case that judges a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judge {
    /// Its id.
    pub id: String,
    /// What the run said; absent where no run was asked about.
    #[serde(flatten)]
    pub verdict: Option<Verdict>,
}

impl JudgedRow {
    /// Whether the drafts state it, and neither a case judges it nor a reason says why not.
    #[must_use]
    pub fn lacks_judge(&self) -> bool {
        self.section <= 'K' && self.cases.is_empty() && self.exception.is_none()
    }
}

/// Every row with the cases that judge it. With a report, each case has its verdict there; one that the run left out is
/// [`Verdict::NotRun`].
#[must_use]
pub fn judged(report: Option<&Report>) -> Vec<JudgedRow> {
    let suites = crate::suite::all();
    let verdict = |case: &str| {
        let cases = &report?.cases;
        Some(cases.iter().find(|c| c.id == case).map_or(Verdict::NotRun, |c| c.verdict.clone()))
    };
    let row = |(section, row): (char, &crate::catalogue::Requirement)| JudgedRow {
        id: row.id.clone(),
        section,
        title: row.title.clone(),
        roles: row.roles.clone(),
        exception: row.exception.clone(),
        cases: suites
            .iter()
            .filter(|case| case.rows.contains(&row.id.as_str()))
            .map(|case| Judge { id: case.id.into(), verdict: verdict(case.id) })
            .collect(),
    };
    Catalogue::get().rows().map(row).collect()
}

/// The rows as a table: one line for each case of a row.
#[must_use]
pub fn table(rows: &[JudgedRow], look: Look) -> String {
    let mut table = Builder::new();
    table.push_record(["row", "", "roles", "case", "verdict"]);
    for row in rows {
        let roles = row.roles.join(" ");
        let unjudged = match &row.exception {
            Some(_) => "exception",
            None if row.lacks_judge() => "NO JUDGE",
            None => "todo",
        };
        if row.cases.is_empty() {
            table.push_record([&row.id, &row.title, &roles, "", unjudged]);
        }
        for case in &row.cases {
            let verdict = case.verdict.as_ref().map_or("", |v| v.kind().label());
            table.push_record([&row.id, &row.title, &roles, &case.id, verdict]);
        }
    }
    look.coloured(table, 4, colour_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{LabInfo, RunInfo};
    use crate::verdict::CaseResult;

    fn report() -> Report {
        let case = CaseResult {
            id: "aut-01".into(),
            title: "order".into(),
            requirements: vec!["AUT-01".into()],
            suite: "conformance".into(),
            verdict: Verdict::Fail("no answer".into()),
            duration_ms: 1,
            evidence: Vec::new(),
            figures: Vec::new(),
            attachments: Vec::new(),
            frames: Vec::new(),
        };
        Report::new(RunInfo::default(), LabInfo::default(), None, vec![case])
    }

    #[test]
    fn a_filtered_run_says_not_run_of_what_it_left_out() {
        let rows = judged(Some(&report()));
        let row = rows.iter().find(|r| r.id == "AUT-01").unwrap();
        let of = |id: &str| row.cases.iter().find(|c| c.id == id).and_then(|c| c.verdict.clone());
        assert_eq!(of("aut-01"), Some(Verdict::Fail("no answer".into())));
        assert_eq!(of("aut-01-blackhole"), Some(Verdict::NotRun));
        assert!(rows.iter().flat_map(|r| &r.cases).all(|c| c.verdict != Some(Verdict::Todo)));
        let json = serde_json::to_value(row).unwrap();
        assert_eq!(json["cases"][0]["verdict"], "fail");
        assert_eq!(json["cases"][0]["reason"], "no answer");
    }

    #[test]
    fn a_stated_row_without_case_and_reason_lacks_a_judge() {
        let bare = JudgedRow {
            id: "ARC-01".into(),
            section: 'A',
            title: String::new(),
            roles: Vec::new(),
            exception: None,
            cases: Vec::new(),
        };
        assert!(bare.lacks_judge());
        assert!(!JudgedRow { exception: Some("why".into()), ..bare.clone() }.lacks_judge());
        assert!(!JudgedRow { section: 'M', ..bare.clone() }.lacks_judge(), "our own decision");
        let judge = Judge { id: "arc-01".into(), verdict: None };
        assert!(!JudgedRow { cases: vec![judge], ..bare }.lacks_judge());
    }

    #[test]
    fn the_table_has_a_line_for_each_case_of_a_row() {
        let rows = judged(Some(&report()));
        let text = table(&rows, Look { width: 200, colour: false });
        let line = text.lines().find(|l| l.contains("aut-01-blackhole") && l.contains("AUT-01")).unwrap();
        assert!(line.contains("not run") && line.contains("sg"), "{line}");
        assert_eq!(text.matches("NO JUDGE").count(), rows.iter().filter(|r| r.lacks_judge()).count());
    }
}
