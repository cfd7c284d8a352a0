//! `report.html` in headless Chromium: it opens without an error, its filters work, a link opens what is folded. Without
//! Chromium these tests say so and are ignored, unless `CI` is set.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

use damc_conformance::report::{Annex, LabInfo, NodeInfo, Report, RunInfo, html};
use damc_conformance::verdict::{CaseResult, Verdict};
use damc_topology::graph::{Drawing, svg};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Debian's name, and that of others.
const BROWSERS: [&str; 2] = ["chromium", "chromium-browser"];

fn main() -> ExitCode {
    let starts = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    let browser = BROWSERS.iter().find(starts);
    let trial = |name: &str, test: fn(&str) -> Result<(), Failed>| {
        Trial::ignorable_test(name, move || match browser {
            Some(browser) => test(browser).map(|()| Completion::Completed),
            None if std::env::var_os("CI").is_some() => Err("there is no Chromium".into()),
            None => Ok(Completion::ignored_with("there is no Chromium (Debian: apt-get install chromium)")),
        })
    };
    let trials = vec![
        trial("the page opens without an error and its filter finds", filter_finds),
        trial("a link opens the section it leads into", link_opens),
        trial("the slider shows links, nodes and the path of its moment", slider_shows),
        trial("keys and times of the tables move the slider", slider_is_moved),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn page() -> String {
    let case = |id: &str, row: &str, verdict| CaseResult {
        id: id.into(),
        title: format!("title of {id}"),
        requirements: vec![row.into()],
        suite: "conformance".into(),
        verdict,
        duration_ms: 120,
        evidence: vec!["✓ seen <this> & that".into()],
        figures: Vec::new(),
        attachments: Vec::new(),
        frames: Vec::new(),
    };
    let cases = vec![
        case("order", "AUT-01", Verdict::Pass),
        case("matrix", "AUT-02", Verdict::Fail("expected: no route; saw: one".into())),
        case("loss", "LSA-05", Verdict::Inconclusive("the host was overloaded".into())),
    ];
    let line = include_str!("../../topologies/line.yaml");
    let topology = damc_topology::parse("line", line, Path::new(".")).expect("a topology");
    let nodes = topology.nodes().values();
    let nodes =
        nodes.map(|node| NodeInfo { name: node.id.to_string(), kind: node.kind.label().into(), ..NodeInfo::default() });
    let lab = LabInfo { nodes: nodes.collect(), ..LabInfo::default() };
    let annex = Annex {
        drawing: Some(svg(&topology, &Drawing::default())),
        timelines: Some(serde_json::from_str(include_str!("course.json")).expect("a course")),
        ..Annex::default()
    };
    html(&Report::new(RunInfo::default(), lab, None, cases), &annex)
}

/// What the browser makes of the page after `script` ran at its end. Fails where the page's own script did.
fn after(browser: &str, script: &str) -> Result<String, Failed> {
    static PAGES: AtomicUsize = AtomicUsize::new(0);
    let number = PAGES.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("damc-page-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("report.html");
    let hook = "<body><script>onerror=(m)=>document.documentElement.dataset.failed=m</script>";
    let page = page().replacen("<body>", hook, 1).replace("</body>", &format!("<script>{script}</script></body>"));
    std::fs::write(&file, page)?;
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()?;
    // What is left in the temporary folder does no harm.
    let _ = std::fs::remove_dir_all(&folder);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let shown = String::from_utf8(output.stdout)?;
    match shown.split_once("data-failed=\"") {
        Some((_, message)) => Err(message.split('"').next().unwrap_or_default().to_owned().into()),
        None => Ok(shown),
    }
}

/// The start tags of this name.
fn tags<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    page.split(&format!("<{name} ")).skip(1).filter_map(|rest| rest.split('>').next()).collect()
}

fn filter_finds(browser: &str) -> Result<(), Failed> {
    let page = after(browser, "find.value='matrix'; find.dispatchEvent(new Event('input'))")?;
    let rows: Vec<_> = tags(&page, "tr").into_iter().filter(|tag| tag.contains("data-kind")).collect();
    let hidden: Vec<_> = rows.iter().map(|tag| tag.contains("hidden")).collect();
    let counted = page.contains("1 of 3");
    if hidden == [true, false, true] && counted { Ok(()) } else { Err(format!("{rows:?}, counted: {counted}").into()) }
}

fn link_opens(browser: &str) -> Result<(), Failed> {
    let page = after(browser, "location.hash = '#row-AUT-02'; reveal()")?;
    let before = page.split_once("id=\"row-AUT-02\"").ok_or("no such row")?.0;
    let section = before.rsplit_once("<details").ok_or("no section")?.1.split('>').next().unwrap_or_default();
    if section.contains("open") { Ok(()) } else { Err(format!("<details{section}> is closed").into()) }
}

/// The text of an element, and of all in it.
fn text(page: &str, id: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("id=\"{id}\""))?;
    let inside = rest.split_once('>')?.1.split("</").next()?;
    Some(inside.to_owned())
}

/// Checks what the page says and shows once `script` has moved the slider.
fn at_moment(browser: &str, script: &str, says: &str, link: &str, node: &str) -> Result<(), Failed> {
    let page = after(browser, script)?;
    let state = text(&page, "state").unwrap_or_default();
    let line = tags(&page, "line").into_iter().find(|tag| tag.contains("data-link=\"sg-2 sr-1\"")).unwrap_or_default();
    let pod = tags(&page, "rect").into_iter().find(|tag| tag.contains("data-node=\"pod-2\"")).unwrap_or_default();
    if state == says && line.contains(link) && pod.contains(node) {
        Ok(())
    } else {
        Err(format!("{script}: {state:?}, <line {line}>, <rect {pod}>").into())
    }
}

fn slider_shows(browser: &str) -> Result<(), Failed> {
    let to = |us: u64| format!("slider.value={us}; slider.dispatchEvent(new Event('input'))");
    let whole = "/B/2: pod-1 → sg-1 → sr-1 → sg-2 → pod-2.";
    let calm = format!("All links and nodes are in order. {whole}");
    at_moment(browser, &to(1_000_000), &calm, "class=\"on-path\"", "data-state=\"running\"")?;
    let blind = format!("sg-2 – sr-1 broken. {whole}");
    at_moment(browser, &to(2_000_000), &blind, "data-state=\"broken\"", "running")?;
    let known = "sg-2 – sr-1 broken. /B/2: pod-1 → sg-1 (no way on).";
    at_moment(browser, &to(2_500_000), known, "data-state=\"broken\"", "running")?;
    at_moment(browser, &to(4_500_000), &format!("pod-2 gone. {whole}"), "data-state=\"full\"", "data-state=\"gone\"")
}

fn slider_is_moved(browser: &str) -> Result<(), Failed> {
    let known = "sg-2 – sr-1 broken. /B/2: pod-1 → sg-1 (no way on).";
    let before = "document.dispatchEvent(new KeyboardEvent('keydown', {key: ','}));".repeat(5);
    at_moment(browser, &before, known, "data-state=\"broken\"", "running")?;
    let time = "document.querySelector('button.at[data-at=\"3000000\"]').click()";
    let back = "sg-2 – sr-1 without adjacency. /B/2: pod-1 → sg-1 (no way on).";
    at_moment(browser, time, back, "data-state=\"partial\"", "running")
}
