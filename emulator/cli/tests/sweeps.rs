//! Sweeps that are killed, taken up again, made with others at once, and read by the notebook.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What every sweep here runs: a case with figures that depend on the seed, and takes a moment.
const SWEEP: &str = "sweep line --virtual --seeds 1..6 --set defaults.link.jitter=0ms,2ms --case rmi-02";
/// How long the kernel may take to end processes.
const WITHIN: Duration = Duration::from_secs(20);

/// A folder of results that goes with the value.
struct Results(PathBuf);

impl Results {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("damc-sweeps-{name}-{}", std::process::id())))
    }

    /// The folder of its only sweep.
    fn sweep(&self) -> PathBuf {
        let mut found =
            fs::read_dir(self.0.join("sweeps")).expect("a sweep").map(|entry| entry.expect("an entry").path());
        let sweep = found.next().expect("a sweep");
        assert!(found.next().is_none(), "one sweep only");
        sweep
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.sweep().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn runs(&self) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(self.sweep().join("runs")).expect("runs").map(|entry| entry.expect("an entry").path());
        entries.filter(|path| path.join("run.json").is_file()).collect()
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn damc(line: &str, results: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_damc"));
    command.args(line.split_whitespace()).arg("--results").arg(results).stdin(Stdio::null()).stdout(Stdio::null());
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    command
}

fn swept(line: &str, results: &Results) -> (ExitStatus, String) {
    let output = damc(line, &results.0).stderr(Stdio::piped()).output().expect("damc starts");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Processes whose command line has this folder in it.
fn at_work_in(folder: &Path) -> Vec<String> {
    let processes =
        fs::read_dir("/proc").expect("/proc").filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let lines = processes.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&*folder.to_string_lossy())).collect()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < WITHIN, "not within {WITHIN:?}: {what}");
        std::thread::yield_now();
    }
}

/// Starts a sweep and kills it as soon as it says that a run is made.
fn killed_after_the_first_run(results: &Results) {
    let mut sweep: Child = damc(SWEEP, &results.0).stderr(Stdio::piped()).spawn().expect("damc starts");
    let said = BufReader::new(sweep.stderr.take().expect("piped")).lines();
    let first = said.map(|line| line.expect("text")).find(|line| line.contains(" 1 of 12"));
    sweep.kill().expect("it is ours");
    let status = sweep.wait().expect("it is ours");
    assert!(first.is_some() && status.code().is_none(), "it ended by itself: {status}");
    until("its runs end", || at_work_in(&results.0).is_empty());
}

/// A run of a whole suite takes seconds: if it outlived its sweep, it would leave a report.
#[test]
fn runs_die_with_their_sweep() {
    let results = Results::new("orphan");
    let line = "sweep line --virtual --seeds 1 --suite conformance";
    let mut sweep = damc(line, &results.0).stderr(Stdio::null()).spawn().expect("damc starts");
    until("a run has begun", || at_work_in(&results.0).iter().any(|line| line.contains("--ends-with")));
    sweep.kill().expect("it is ours");
    sweep.wait().expect("it is ours");
    until("the run ends", || at_work_in(&results.0).is_empty());
    let part = results.sweep().join("runs/.p1-s1.part");
    assert!(
        part.join("output.txt").is_file() && !part.join("latest").exists(),
        "it went on to its end without its sweep"
    );
    assert!(results.runs().is_empty());
}

#[test]
fn a_killed_sweep_goes_on_and_ends_as_if_nothing_had_been() {
    let (whole, killed) = (Results::new("whole"), Results::new("killed"));
    let (status, said) = swept(&format!("{SWEEP} --jobs 1"), &whole);
    assert_eq!(status.code(), Some(0), "{said}");
    killed_after_the_first_run(&killed);
    let kept = killed.runs();
    assert!(!kept.is_empty() && kept.len() < 12, "{kept:?}");
    let made =
        |path: &PathBuf| fs::metadata(path.join("report.json")).and_then(|file| file.modified()).expect("a report");
    let times: Vec<_> = kept.iter().map(made).collect();
    let (status, said) = swept(SWEEP, &killed);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains(&format!(", {} of them made already", kept.len())), "{said}");
    assert_eq!(kept.iter().map(made).collect::<Vec<_>>(), times, "whole runs are not made again");
    assert_eq!(killed.runs().len(), 12);
    // One at a time and never stopped, or several at once and killed: the same bytes.
    for name in ["runs.csv", "samples.csv", "summary.csv", "summary.md"] {
        assert_eq!(String::from_utf8_lossy(&killed.file(name)), String::from_utf8_lossy(&whole.file(name)), "{name}");
    }
    let plots = |results: &Results| {
        let mut plots: Vec<_> =
            fs::read_dir(results.sweep().join("plots")).expect("plots").map(|p| p.expect("one").path()).collect();
        plots.sort();
        plots.into_iter().map(|path| fs::read(path).expect("a plot")).collect::<Vec<_>>()
    };
    assert!(plots(&whole).len() > 1);
    assert_eq!(plots(&killed), plots(&whole));
}

#[test]
fn seeds_are_added_to_a_sweep_and_two_do_not_mix() {
    let results = Results::new("more");
    let line = |seeds: &str| format!("sweep line --virtual --case rmi-02 --seeds {seeds}");
    assert_eq!(swept(&line("1..2"), &results).0.code(), Some(0));
    let (status, said) = swept(&line("2..3"), &results);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("2 runs") && said.contains("1 of them made already"), "{said}");
    let table = String::from_utf8(results.file("runs.csv")).expect("text");
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(!table.contains("p1-s1,"), "{table}");
    let lock = fs::File::open(results.sweep().join(".lock")).expect("the lock");
    lock.try_lock().expect("no sweep is at work");
    let (status, said) = swept(&line("1..5"), &results);
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("another damc sweep is at work"), "{said}");
}

/// The names in quotes or behind a dot that the notebook uses are those the sweep leaves.
#[test]
fn the_notebook_reads_what_a_sweep_leaves() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies/experiments/sweep.ipynb"))
        .expect("it");
    let notebook: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let source = |cell: usize| {
        let lines = notebook["cells"][cell]["source"].as_array().expect("lines");
        lines.iter().map(|line| line.as_str().expect("text")).collect::<String>()
    };
    let (words, code) = (source(0), source(1));
    let command = words.split('`').find_map(|word| word.strip_prefix("damc ")).expect("the command to begin with");
    let results = Results::new("notebook");
    let (status, said) = swept(&command.replace("1..10", "1..2"), &results);
    assert_eq!(status.code(), Some(0), "{said}");
    let named = regex::Regex::new(r#"[\w./{}*-]*/(\w+\.csv)|"(\w+_ms)"|'(\w+_ms)'|summary\.(\w+)"#).expect("a pattern");
    let tables = ["runs.csv", "summary.csv"].map(|name| String::from_utf8(results.file(name)).expect("text")).concat();
    let names: Vec<&str> = named
        .captures_iter(&code)
        .filter_map(|found| found.iter().skip(1).flatten().next())
        .map(|m| m.as_str())
        .collect();
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        assert!(tables.contains(name) || results.sweep().join(name).is_file(), "{name} is nowhere in\n{tables}");
    }
}
