//! `report.html` in headless Chromium: it opens without an error, its filters work, a link opens what is folded. Without
//! Chromium these tests say so and are ignored, unless `CI` is set.

use std::process::{Command, ExitCode};

use damc_conformance::report::{Annex, LabInfo, Report, RunInfo, html};
use damc_conformance::verdict::{CaseResult, Verdict};
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
    html(&Report::new(RunInfo::default(), LabInfo::default(), None, cases), &Annex::default())
}

/// What the browser makes of the page after `script` ran at its end. Fails where the page's own script did.
fn after(browser: &str, script: &str) -> Result<String, Failed> {
    let folder = std::env::temp_dir().join(format!("damc-page-{}-{}", std::process::id(), script.len()));
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
