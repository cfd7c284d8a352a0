//! The report in every form, from a small run with one case of each verdict.

use std::path::Path;

use super::*;
use crate::verdict::{CaseResult, Figure, Kind, Verdict};

fn case(id: &str, requirement: &str, verdict: Verdict) -> CaseResult {
    CaseResult {
        id: id.into(),
        title: format!("title of {id} | with a bar"),
        requirements: vec![requirement.into()],
        suite: if id.starts_with('q') { "qos".into() } else { "conformance".into() },
        verdict,
        duration_ms: 120,
        evidence: vec!["✓ seen <this> & that".into()],
        figures: vec![Figure { name: "registration p99".into(), value: 12.5, unit: "ms".into() }],
        attachments: Vec::new(),
        frames: Vec::new(),
    }
}

fn report(verdicts: &[(&str, &str, Verdict)]) -> Report {
    let cases = verdicts.iter().map(|(id, row, verdict)| case(id, row, verdict.clone())).collect();
    let run = RunInfo { id: "abc".into(), duration_ms: 2_000, seed: 7, ..RunInfo::default() };
    let lab = LabInfo { topology: "fig2".into(), backend: "relay".into(), ..LabInfo::default() };
    Report::new(run, lab, None, cases)
}

pub(super) fn mixed() -> Report {
    report(&[
        ("order", "AUT-01", Verdict::Pass),
        ("matrix", "AUT-02", Verdict::Fail("pod-2 got /A/1\nand more".into())),
        ("loss", "LSA-05", Verdict::Inconclusive("host overloaded".into())),
        ("qos-pool", "POL-03", Verdict::Exception("the topology has no pool".into())),
    ])
}

#[test]
fn exit_codes_follow_the_worst_case_and_the_results_folder() {
    let pass = [("a", "AUT-01", Verdict::Pass)];
    let unclear = [("a", "AUT-01", Verdict::Pass), ("b", "AUT-02", Verdict::Inconclusive("busy".into()))];
    assert_eq!(report(&pass).exit_code(), 0);
    assert_eq!(report(&unclear).exit_code(), 3);
    assert_eq!(mixed().exit_code(), 1);
    let nothing = [("a", "AUT-01", Verdict::Exception("no pool".into()))];
    assert_eq!(report(&nothing).exit_code(), 3, "nothing was judged");
    for (mut report, code) in [(report(&pass), 2), (report(&unclear), 2), (mixed(), 1)] {
        report.write_errors.push("report.md: no space left".into());
        assert_eq!(report.exit_code(), code, "a failed case outweighs a full disk");
    }
    let aborted = RunInfo { aborted: Some("not converged".into()), ..RunInfo::default() };
    assert_eq!(Report::new(aborted, LabInfo::default(), None, Vec::new()).exit_code(), 3);
}

#[test]
fn every_row_is_in_the_coverage_once() {
    let report = mixed();
    assert_eq!(report.coverage.len(), 111 + 19 + 29);
    assert_eq!(report.summary.requirements.values().sum::<usize>(), 111);
    assert_eq!(report.summary.requirements_with(Kind::Fail), 1);
    let of = |id: &str| report.coverage.iter().find(|r| r.id == id).unwrap();
    assert_eq!(
        (of("AUT-01").verdict.kind(), of("AUT-01").cases.as_slice()),
        (Kind::Pass, ["order".to_owned()].as_slice())
    );
    assert_eq!(of("AUT-03").verdict, Verdict::NotRun, "a case judges it, and the run left it out");
    let judged: Vec<&str> = crate::suite::all().iter().flat_map(|c| c.rows.iter().copied()).collect();
    for row in report.coverage.iter().filter(|r| r.verdict == Verdict::Todo) {
        assert!(!judged.contains(&row.id.as_str()), "{} has a case", row.id);
    }
    assert_eq!(of("CON-02").verdict.kind(), Kind::Exception);
}

#[test]
fn two_cases_on_a_row_give_the_worse_verdict() {
    let report = report(&[("a", "AUT-01", Verdict::Pass), ("b", "AUT-01", Verdict::Fail("no".into()))]);
    let row = report.coverage.iter().find(|r| r.id == "AUT-01").unwrap();
    assert_eq!((row.verdict.kind(), row.cases.len()), (Kind::Fail, 2));
}

#[test]
fn json_comes_back_as_it_went() {
    let report = mixed();
    let json = report.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["summary"]["headline"], "failed");
    assert_eq!(value["cases"][1]["verdict"], "fail");
    assert_eq!(value["coverage"][0]["verdict"], "not_run");
}

#[test]
fn junit_counts_failures_and_skips() {
    let xml = junit(&mixed()).unwrap();
    assert!(xml.contains(r#"<testsuites name="damc fig2" tests="4" skipped="2" failures="1" errors="0""#), "{xml}");
    assert!(
        xml.contains(r#"type="inconclusive" message="inconclusive: host overloaded""#)
            || xml.contains(r#"message="inconclusive: host overloaded" type="inconclusive""#),
        "{xml}"
    );
    assert_eq!(xml.matches(r#"type="exception""#).count(), 1, "{xml}");
    assert_eq!(xml.matches(r#"<property name="inconclusive" value="1"/>"#).count(), 1, "{xml}");
    assert!(xml.contains(r#"<property name="title" value="title of matrix"#), "{xml}");
    for property in ["seed", "started", "command", "topology_sha256", "kernel"] {
        assert!(xml.contains(&format!(r#"<property name="{property}" value="#)), "{property}: {xml}");
    }
    assert!(xml.contains("seen &lt;this&gt; &amp; that"), "{xml}");
    assert!(xml.contains(r#"<testsuite name="qos" tests="1""#), "{xml}");
}

#[test]
fn a_set_up_that_cannot_be_made_is_an_error_for_build_servers() {
    let xml = junit_of_set_up("fig2", "cannot make the lab's namespaces: not permitted").unwrap();
    assert!(xml.contains(r#"tests="1" skipped="0" failures="0" errors="1""#), "{xml}");
    assert!(xml.contains("<error") && xml.contains("namespaces: not permitted"), "{xml}");
}

#[test]
fn markdown_keeps_tables_whole_and_says_what_failed() {
    let timelines = serde_json::from_str(include_str!("../../tests/course.json")).unwrap();
    let text = markdown(&mixed(), Some(&timelines));
    assert!(text.starts_with("# fig2: FAILED"), "{text}");
    assert!(text.contains("* **matrix** title of matrix \\| with a bar: pod-2 got /A/1 and more"), "{text}");
    let evidence = text.split_once("## Evidence").unwrap().1;
    let first = evidence.lines().find(|line| line.starts_with("### ")).unwrap();
    assert!(first.contains("fail") || first.contains("inconclusive"), "what did not pass comes first: {first}");
    assert!(text.lines().any(|line| line.starts_with("* **") && line.contains(": inconclusive: ")), "{text}");
    assert!(text.contains("| AUT-03 | Refusals are explicit | not run |  |"), "{text}");
    assert!(text.contains("| registration p99 | 12.5 ms | order |"), "{text}");
    let slow =
        "| 3.000 | the link sg-2 – sr-1 came back | /B/2 | sg-1 | 90.000 | 1.000 | 4.000 | 3.000 | 0.500 | 98.500 |";
    assert!(text.contains(slow), "{text}");
    assert!(
        text.contains("| 2.000 | black hole: sr-1 sends into the broken link to sg-2 | /B/2 | 60.000 | 3 |"),
        "{text}"
    );
    let rows = text.lines().filter(|l| l.starts_with("| LSA-"));
    assert_eq!(rows.count(), 9);
}

/// Narrower than what is in it.
const LOOK: Look = Look { width: 100, colour: false };

#[test]
fn tables_show_every_case_and_section() {
    let report = mixed();
    insta::assert_snapshot!(cases_table(&report.cases, LOOK));
    let coverage = coverage_table(&report, LOOK);
    assert!(coverage.contains("D Prefix authentication"), "{coverage}");
    assert!(summary_line(&report).starts_with("FAILED fig2: cases 1 pass, 1 fail, 1 inconclusive, 1 exception;"));
    assert!(figures_table(&report.cases, LOOK).contains("12.5"));
    for width in [80, 100, 132] {
        for table in
            [cases_table(&report.cases, Look { width, ..LOOK }), coverage_table(&report, Look { width, ..LOOK })]
        {
            let longest = table.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{longest:?} of {width} columns:\n{table}");
        }
    }
    let coloured = cases_table(&report.cases, Look { width: 80, colour: true });
    assert!(coloured.contains("\u{1b}[31m") && coloured.contains("fail"), "{coloured:?}");
}

#[test]
fn a_run_folder_holds_the_report_and_is_never_reused() {
    let root = std::env::temp_dir().join(format!("damc-report-{}", std::process::id()));
    let started = "2026-01-02T03:04:05Z".parse().unwrap();
    let mut first = RunFolder::create(&root, "fig2", started, "abc");
    let second = RunFolder::create(&root, "fig2", started, "abc");
    assert!(first.path().unwrap().ends_with("fig2/20260102T030405Z-abc"));
    assert_ne!(first.path(), second.path());
    first.write("fib/sg-1.txt", "table");
    let mut report = mixed();
    first.finish(&mut report, &root);
    assert_eq!(report.write_errors, Vec::<String>::new());
    for file in ["report.json", "report.md", "report.html", "junit.xml", "fib/sg-1.txt"] {
        assert!(root.join("latest").join(file).is_file(), "{file}");
    }
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_told_and_loses_no_verdict() {
    let results = Path::new("/dev/null/results");
    let mut folder = RunFolder::create(results, "fig2", "2026-01-02T03:04:05Z".parse().unwrap(), "abc");
    folder.write("env.json", "{}");
    let mut report = report(&[("a", "AUT-01", Verdict::Pass)]);
    folder.finish(&mut report, results);
    assert!(folder.path().is_none());
    assert_eq!((report.write_errors.len(), report.exit_code()), (1, 2));
    assert!(report.write_errors[0].contains("/dev/null/results"), "{:?}", report.write_errors);
}
