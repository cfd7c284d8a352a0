//! What a run's folder holds besides the report: read back from there, so that the page can be made of any folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use damc_mgmt::view::LsdbView;

use crate::report::Timelines;
use crate::report::packed::{END, read_text};

/// Rows of a table, the first of them its head.
pub type Table = Vec<Vec<String>>;

/// The rest of a run's folder. What is missing there is empty here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annex {
    /// The drawing of the topology.
    pub drawing: Option<String>,
    /// FIBs by node.
    pub fibs: BTreeMap<String, Table>,
    /// LSDBs by node.
    pub lsdbs: BTreeMap<String, Table>,
    /// Warnings and errors in the logs, by node.
    pub logs: BTreeMap<String, Vec<String>>,
    /// The environment: name and value.
    pub environment: Vec<(String, String)>,
    /// What the run did on one axis of time; none where its nodes told nothing.
    pub timelines: Option<Timelines>,
}

impl Annex {
    /// Reads what is there.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let environment = fs::read_to_string(folder.join("env.json")).ok();
        Self {
            drawing: fs::read_to_string(folder.join("topology.svg")).ok(),
            fibs: texts(&folder.join("fib"), ".txt").map(|(node, text)| (node, psql(&text))).collect(),
            lsdbs: texts(&folder.join("lsdb"), ".json").filter_map(|(node, text)| Some((node, lsas(&text)?))).collect(),
            logs: texts(&folder.join("logs"), ".log").map(|(node, text)| (node, warnings(&text))).collect(),
            environment: environment.as_deref().map(entries).unwrap_or_default(),
            timelines: read_text(&folder.join("course.json")).ok().and_then(|text| serde_json::from_str(&text).ok()),
        }
    }
}

/// The files of a folder that end so: name without the end, and text.
fn texts(folder: &Path, end: &str) -> impl Iterator<Item = (String, String)> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(move |file| {
        let file = file.file_name().into_string().ok()?;
        let file = file.strip_suffix(END).unwrap_or(&file);
        Some((file.strip_suffix(end)?.to_owned(), read_text(&folder.join(file)).ok()?))
    })
}

/// The rows of a table as `fib/` has them: cells between bars, a line of dashes below the head.
fn psql(text: &str) -> Table {
    let rows = text.lines().filter(|line| line.contains('|') && !line.contains("-+-"));
    rows.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn lsas(json: &str) -> Option<Table> {
    let view: LsdbView = serde_json::from_str(json).ok()?;
    let head = ["origin", "kind", "id", "sequence", "left, s", "content"].map(str::to_owned).to_vec();
    let rows = view.lsas.iter().map(|lsa| {
        let mut content: Vec<String> = lsa.links.iter().map(|l| format!("{}={}", l.neighbour, l.cost)).collect();
        content.extend(lsa.port.as_ref().map(|port| format!("at {port}")));
        content.extend(lsa.metric.map(|metric| format!("metric {metric}")));
        content.extend(lsa.stub.then(|| "stub".to_owned()));
        content.extend(lsa.overload.then(|| "overload".to_owned()));
        content.extend(lsa.purged.then(|| "purged".to_owned()));
        let kind = serde_json::to_value(lsa.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        vec![
            lsa.origin.clone(),
            kind.unwrap_or_default(),
            lsa.id.clone(),
            lsa.sequence.to_string(),
            (lsa.remaining_ms / 1000).to_string(),
            content.join(" "),
        ]
    });
    Some(std::iter::once(head).chain(rows).collect())
}

fn warnings(log: &str) -> Vec<String> {
    let telling = |line: &&str| line.contains("WARN") || line.contains("ERROR") || line.contains("panicked");
    log.lines().filter(telling).map(str::to_owned).collect()
}

/// The members of a JSON object; those of inner objects with a dot between the names. The calibration has its own part.
fn entries(json: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(json) {
        flatten(&mut found, "", &value);
    }
    found
}

fn flatten(found: &mut Vec<(String, String)>, name: &str, value: &serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, value) in members.iter().filter(|(key, _)| *key != "calibration") {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(found, &name, value);
            }
        }
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => found.push((name.to_owned(), text.clone())),
        other => found.push((name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_comes_back() {
        let folder = std::env::temp_dir().join(format!("damc-annex-{}", std::process::id()));
        for (name, text) in [
            ("fib/sg-1.txt", "FIB of sg-1\n prefix | cost\n--------+------\n /A | 0\n"),
            (
                "lsdb/sg-1.json",
                r#"{"node":"sg-1","digest":"0","lsas":[{"origin":"sg-1","kind":"topology","id":"0","sequence":3,"remaining_ms":5000,"links":[{"neighbour":"sr-1","cost":2}]}]}"#,
            ),
            ("logs/sg-1.log", "INFO up\nWARN late by 20 ms\n"),
            (
                "env.json",
                r#"{"cpus":2,"pace":{"hello_ms":10},"calibration":{"took_ms":1},"host":null,"kernel":"Linux"}"#,
            ),
            ("topology.svg", "<svg></svg>"),
            (
                "course.json",
                r#"{"ended_ns":7,"converged_ns":1,"changes":[],"troubles":[],"untold":[],"marks":[],"links":[],"nodes":[],"routes":[],"fibs":[]}"#,
            ),
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
            fs::write(path, text).expect("a temporary folder");
        }
        let long = "INFO up\n".repeat(20_000) + "ERROR down\n";
        let (bytes, end) = crate::report::packed::packed(long.as_bytes());
        fs::write(folder.join(format!("logs/sr-1.log{end}")), bytes.expect("long enough")).expect("a temporary folder");
        let annex = Annex::of(&folder);
        fs::remove_dir_all(&folder).expect("a temporary folder");
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(annex.fibs["sg-1"], [row(&["prefix", "cost"]), row(&["/A", "0"])]);
        assert_eq!(annex.lsdbs["sg-1"][1], row(&["sg-1", "topology", "0", "3", "5", "sr-1=2"]));
        assert_eq!(annex.logs["sg-1"], ["WARN late by 20 ms"]);
        assert_eq!(annex.logs["sr-1"], ["ERROR down"], "compressed ones are read too");
        let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(annex.environment, [entry("cpus", "2"), entry("kernel", "Linux"), entry("pace.hello_ms", "10")]);
        assert_eq!(annex.timelines.map(|timelines| timelines.course.ended_ns), Some(7));
        assert_eq!(annex.drawing.as_deref(), Some("<svg></svg>"));
        assert_eq!(Annex::of(&folder), Annex::default(), "an empty folder");
    }
}
