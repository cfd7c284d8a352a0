//! The page of a small run: whole, by itself, small, and what it says. `tests/page.rs` opens it in a browser.

use super::*;
use crate::report::tests::mixed;

fn timelines() -> crate::report::Timelines {
    serde_json::from_str(include_str!("../../../tests/course.json")).expect("a course")
}

fn annex() -> Annex {
    let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
    Annex {
        drawing: Some("<svg xmlns=\"http://www.w3.org/2000/svg\"><text>sr-left</text></svg>".to_owned()),
        fibs: [("sg-1".to_owned(), vec![row(&["prefix", "cost"]), row(&["/A/<1>", "2"])])].into(),
        lsdbs: [("sg-1".to_owned(), vec![row(&["origin", "id"]), row(&["sg-4", "/B/4"])])].into(),
        logs: [("pod-2".to_owned(), vec!["WARN refused by <spa-1>".to_owned()])].into(),
        environment: vec![("cpus".to_owned(), "2".to_owned())],
        timelines: Some(timelines()),
    }
}

/// Elements without an end tag (HTML, section 13.1.2).
const VOID: [&str; 4] = ["meta", "input", "br", "hr"];

/// Checks that tags nest; returns ids and the targets of links, outside of style and script.
fn parse(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut open, mut ids, mut links): (Vec<String>, Vec<String>, Vec<String>) = Default::default();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a bare > in {}", &rest[..at]);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed where it is open");
            continue;
        }
        let attribute = |wanted: &str| {
            let (_, value) = tag.split_once(&format!(" {wanted}=\""))?;
            value.split('"').next().map(str::to_owned)
        };
        ids.extend(attribute("id"));
        links.extend(attribute("href"));
        assert_eq!(attribute("src"), None, "nothing is fetched");
        if matches!(name, "style" | "script") {
            rest = rest.split_once(&format!("</{name}>")).expect("it ends").1;
        } else if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    (ids, links)
}

#[test]
fn the_page_is_whole_and_stands_alone() {
    let report = mixed();
    let page = html(&report, &annex());
    let (ids, links) = parse(&page);
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "ids are unique");
    for link in &links {
        match link.strip_prefix('#') {
            Some(id) => assert!(ids.iter().any(|known| known == id), "{link} leads nowhere"),
            None => assert!(link.starts_with("captures/"), "{link} leaves the folder"),
        }
    }
    for foreign in ["@import", "url(", "//cdn", "https://"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("http://").count(), 1, "the name of the SVG namespace");
}

#[test]
fn every_case_and_row_is_there_and_the_unmet_have_a_story() {
    let report = mixed();
    let (ids, _) = parse(&html(&report, &annex()));
    for case in &report.cases {
        assert!(ids.contains(&format!("case-{}", case.id)), "{}", case.id);
        assert_eq!(ids.contains(&format!("story-{}", case.id)), is_unmet(case), "{}", case.id);
    }
    assert!(report.coverage.iter().all(|row| ids.contains(&format!("row-{}", row.id))));
}

#[test]
fn the_story_tells_what_was_expected_and_seen_before_all_else() {
    let mut report = mixed();
    let reason = "expected: no route to /A/<1>; saw: pod-2 got it";
    report.cases[1].verdict = crate::verdict::Verdict::Fail(reason.to_owned());
    report.cases[1].attachments = vec!["captures/matrix.pcapng".to_owned()];
    let page = html(&report, &annex());
    let story = page.split_once("id=\"story-matrix\"").expect("a story").1;
    let story = story.split_once("</article>").expect("it ends").0;
    assert!(story.contains("<dt>expected</dt><dd>no route to /A/&lt;1&gt;</dd>"), "{story}");
    assert!(story.contains("<dd class=\"seen\">pod-2 got it</dd>"), "{story}");
    assert!(story.contains("href=\"captures/matrix.pcapng\""), "{story}");
    assert!(story.contains("WARN refused by &lt;spa-1&gt;"), "the log of the node it names: {story}");
    let places = ["class=\"banner fail\"", "id=\"story-matrix\"", "id=\"cases\"", "id=\"coverage\""];
    let places = places.map(|part| page.find(part).expect(part));
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn tables_that_do_not_fit_stay_in_the_folder() {
    let long: Vec<_> = (0..20_000).map(|i| vec![format!("/some/long/prefix/{i}"), "3".to_owned()]).collect();
    let mut annex = annex();
    for node in ["sg-2", "sg-3", "sg-4", "sg-5"] {
        annex.fibs.insert(node.to_owned(), long.clone());
    }
    let page = html(&mixed(), &annex);
    assert!(page.len() <= BOUND, "{} bytes", page.len());
    assert!(page.contains("FIB of sg-2, 19999<") && page.contains("FIB of sg-5, 19999: in fib/"), "the first fits");
    parse(&page);
}

#[test]
fn what_slowed_convergence_and_what_led_astray_is_told() {
    let page = html(&mixed(), &annex());
    let section =
        page.split_once("id=\"convergence\"").expect("a section").1.split_once("</section>").expect("it ends").0;
    assert!(section.contains("the link sg-2 – sr-1 came back"), "{section}");
    assert!(
        section.contains(
            "aria-label=\"detect 60.0 ms, originate 1.0 ms, flood 2.0 ms, compute 3.0 ms, install 0.500 ms\""
        )
    );
    assert!(section.contains("<strong>black hole</strong>: sr-1 sends into the broken link to sg-2"), "{section}");
    let lanes = page.split_once("id=\"lanes\"").expect("lanes").1;
    for lane in ["cases", "done and ordered", "links without adjacency", "FIB of sr-1", "delay to /B/2", "calls"] {
        assert!(lanes.contains(&format!("class=\"lane-name\">{lane} ")), "{lane}");
    }
    let without = html(&mixed(), &Annex { timelines: None, ..annex() });
    assert!(!without.contains("id=\"convergence\"") && !without.contains("id=\"course\""), "none is made up");
}
