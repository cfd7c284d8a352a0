//! The matrix fault × case as a document, and what it says about the suites.

use std::fmt::Write as _;

use damc_conformance::verdict::{Kind, Verdict};

use crate::catalogue::Fault;
use crate::trial::Outcome;

/// What became of one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catch {
    /// The case meant failed.
    Caught,
    /// A check of the case meant failed in every attempt, but the host was overloaded, so that its verdict is inconclusive.
    Seen,
    /// Only other cases failed.
    Elsewhere,
    /// No case failed.
    Missed,
}

impl Catch {
    /// Its word in the document.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Seen => "check failed, host overloaded",
            Self::Elsewhere => "caught elsewhere only",
            Self::Missed => "MISSED",
        }
    }

    /// Of a run with this fault.
    #[must_use]
    pub fn of(fault: &Fault, outcome: &Outcome) -> Self {
        match outcome.of(&fault.case).map(Verdict::kind) {
            Some(Kind::Fail) => Self::Caught,
            Some(Kind::Inconclusive) if outcome.of(&fault.case).is_some_and(names_a_check) => Self::Seen,
            _ if outcome.failed().next().is_some() => Self::Elsewhere,
            _ => Self::Missed,
        }
    }
}

/// Whether an inconclusive verdict stands for a check that failed: such a line says what was expected.
fn names_a_check(verdict: &Verdict) -> bool {
    verdict.reason().contains("expected")
}

/// A row: subject, fault, what happened with it planted.
pub type Row = (&'static str, Fault, Outcome);

/// The document. `world` says how the runs were made, `clean` what the nodes without a fault did.
#[must_use]
pub fn document(world: &str, clean: &Outcome, rows: &[Row]) -> String {
    let count = |wanted: Catch| rows.iter().filter(|(_, fault, outcome)| Catch::of(fault, outcome) == wanted).count();
    let mut text = String::from(
        "# Planted faults\n\nWritten by `just faults`. Each row is one run of the suites on nodes with one fault; \
         `conformance/faults/catalogue` says where it is planted.\n\n",
    );
    let failed: Vec<_> = clean.failed().collect();
    let _ = writeln!(text, "- Runs: {world}.");
    let _ = writeln!(text, "- Faults: {}, of these caught by the case meant {}.", rows.len(), count(Catch::Caught));
    if count(Catch::Seen) > 0 {
        let _ = writeln!(
            text,
            "- In {} more a check of the case meant failed in every attempt, on a host too busy for a verdict.",
            count(Catch::Seen)
        );
    }
    let _ =
        writeln!(text, "- Caught by other cases only: {}; missed: {}.", count(Catch::Elsewhere), count(Catch::Missed));
    let cases = clean.verdicts.len();
    let _ = writeln!(text, "- Without a fault: {} of {cases} cases failed{}.\n", failed.len(), list(&failed, ": "));
    let mut subject = "";
    for (of, fault, outcome) in rows {
        if *of != subject {
            subject = of;
            let _ = writeln!(
                text,
                "\n## {subject}\n\n| fault | what the implementer did | rows | case meant | outcome | also failed | what the case said |\n|---|---|---|---|---|---|---|"
            );
        }
        let also: Vec<_> = outcome.failed().filter(|case| *case != fault.case).collect();
        let said = outcome.of(&fault.case).map_or("the case did not run", Verdict::reason);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            fault.name,
            fault.did,
            fault.rows.join(" "),
            fault.case,
            Catch::of(fault, outcome).label(),
            also.join(" "),
            cell(said)
        );
    }
    text
}

fn list(cases: &[&str], before: &str) -> String {
    if cases.is_empty() { String::new() } else { format!("{before}{}", cases.join(", ")) }
}

/// A text as one cell of a table: one line, short enough to read.
fn cell(text: &str) -> String {
    const LONGEST: usize = 200;
    let line = text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault {
            name: "deaf".into(),
            did: "Hears nothing.".into(),
            rows: vec!["GAP-02".into()],
            case: "meant".into(),
            live: false,
            edit: Vec::new(),
        }
    }

    fn outcome(verdicts: &[(&str, Verdict)]) -> Outcome {
        Outcome { verdicts: verdicts.iter().map(|(c, v)| ((*c).to_owned(), v.clone())).collect(), ..Outcome::default() }
    }

    #[test]
    fn only_a_failure_of_the_case_meant_is_a_catch() {
        let fail = || Verdict::Fail("expected: an answer; saw: none | nothing".into());
        let caught = outcome(&[("meant", fail()), ("other", Verdict::Pass)]);
        let elsewhere = outcome(&[("meant", Verdict::Inconclusive("busy".into())), ("other", fail())]);
        let missed = outcome(&[("meant", Verdict::Pass)]);
        let busy = outcome(&[("meant", Verdict::Inconclusive("overloaded: expected: no answer; saw: one".into()))]);
        let catches = [&caught, &busy, &elsewhere, &missed].map(|o| Catch::of(&fault(), o));
        assert_eq!(catches, [Catch::Caught, Catch::Seen, Catch::Elsewhere, Catch::Missed]);
        let rows = [("adjacency", fault(), caught), ("adjacency", fault(), elsewhere)];
        let text = document("virtual", &outcome(&[("meant", Verdict::Pass)]), &rows);
        assert!(
            text.contains(
                "| deaf | Hears nothing. | GAP-02 | meant | caught |  | expected: an answer; saw: none \\| nothing |"
            ),
            "{text}"
        );
        assert!(text.contains("| caught elsewhere only | other | busy |"), "{text}");
        assert!(text.contains("of these caught by the case meant 1"), "{text}");
    }
}
