//! JUnit XML, for build servers.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use crate::verdict::{CaseResult, Kind, Verdict};

/// The text of `junit.xml`. Inconclusive cases and exceptions are skips with their reason: a build server must not
/// blame a node because the host was busy. The type of a skip tells them apart, and each suite counts the inconclusive ones.
///
/// # Errors
/// The XML writer fails, which it does not do on a string.
pub fn junit(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let mut junit = JUnit::new(format!("damc {}", report.lab.topology));
    let mut suites: Vec<&str> = Vec::new();
    for case in &report.cases {
        if !suites.contains(&case.suite.as_str()) {
            suites.push(&case.suite);
        }
    }
    for suite in suites {
        let mut written = TestSuite::new(suite);
        for (name, value) in of_run(report) {
            written.add_property((name, value.as_str()));
        }
        for node in &report.lab.nodes {
            let said = node.version.as_deref().unwrap_or(&node.program);
            written.add_property((format!("node.{}", node.name).as_str(), said));
        }
        let cases = report.cases.iter().filter(|c| c.suite == suite);
        let unclear = cases.clone().filter(|case| case.verdict.kind() == Kind::Inconclusive).count();
        written.add_property(("inconclusive", unclear.to_string().as_str()));
        written.set_time(cases.clone().map(|c| Duration::from_millis(c.duration_ms)).sum());
        written.add_test_cases(cases.map(|case| test_case(&report.lab.topology, case)));
        junit.add_test_suite(written);
    }
    junit.set_time(Duration::from_millis(report.run.duration_ms));
    junit.to_string()
}

/// What a run was, for whoever wants to repeat it.
fn of_run(report: &Report) -> [(&'static str, String); 8] {
    let (run, lab) = (&report.run, &report.lab);
    [
        ("run", run.id.clone()),
        ("started", run.started.clone()),
        ("damc", run.version.clone()),
        ("command", run.command.join(" ")),
        ("seed", run.seed.to_string()),
        ("topology_sha256", lab.topology_sha256.clone()),
        ("links", lab.backend.clone()),
        ("kernel", lab.kernel.clone()),
    ]
}

/// `junit.xml` of a run whose lab could not be set up: one error, with the reason.
///
/// # Errors
/// As [`junit`].
pub fn junit_of_set_up(topology: &str, reason: &str) -> Result<String, quick_junit::SerializeError> {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(reason);
    let mut case = TestCase::new("set-up", status);
    case.set_classname(format!("damc.{topology}"));
    let mut suite = TestSuite::new("set-up");
    suite.add_test_case(case);
    let mut junit = JUnit::new(format!("damc {topology}"));
    junit.add_test_suite(suite);
    junit.to_string()
}

fn test_case(topology: &str, case: &CaseResult) -> TestCase {
    let status = match &case.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail(reason) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(format!("{}: {reason}", case.title)).set_description(case.evidence.join("\n"));
            status
        }
        other => {
            let mut status = TestCaseStatus::skipped();
            status.set_type(other.kind().label()).set_message(format!("{}: {}", other.kind().label(), other.reason()));
            status
        }
    };
    let mut written = TestCase::new(case.id.as_str(), status);
    written
        .set_classname(format!("damc.{topology}.{}", case.suite))
        .set_time(Duration::from_millis(case.duration_ms))
        .set_system_out(case.evidence.join("\n"));
    written.add_property(("title", case.title.as_str()));
    written.add_property(("requirements", case.requirements.join(" ").as_str()));
    for figure in &case.figures {
        written.add_property((figure.name.as_str(), format!("{} {}", figure.value, figure.unit).as_str()));
    }
    written
}
