//! Commands that were run one after the other, with what they said.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use regex::Regex;

/// What differs from run to run, and what stands for it. The order matters: longer patterns come first.
const VARIABLE: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\bseed \d+", "seed N"),
    (r"\b\d+(\.\d+)? (ns|µs|us|ms|s|kB|MB)\b", "N $2"),
    (r"\b\d+ frames recorded", "N frames recorded"),
];

/// The repository's folder.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A folder of its own for the labs of one test, and the transcript of its commands.
pub struct Transcript {
    folder: PathBuf,
    text: String,
    filters: Vec<(Regex, &'static str)>,
}

impl Transcript {
    /// No command yet. `test` names the folder of its labs.
    pub fn new(test: &str) -> Self {
        // Paths of Unix sockets are short: the test's folder is in the temporary folder itself.
        let folder = std::env::temp_dir().join(format!("damc-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let compiled = |&(pattern, with): &(&str, &'static str)| (Regex::new(pattern).expect("a valid pattern"), with);
        Self { folder, text: String::new(), filters: VARIABLE.iter().map(compiled).collect() }
    }

    /// Where files of this test may be put; printed as FOLDER.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Replaces what this test alone knows to differ.
    pub fn vary(mut self, pattern: &str, with: &'static str) -> Self {
        self.filters.insert(0, (Regex::new(pattern).expect("a valid pattern"), with));
        self
    }

    /// Runs `damc` with these words, in the repository's folder, and adds what it said.
    pub fn damc(&mut self, line: &str) -> &mut Self {
        let said = self.run(line);
        let _ = writeln!(self.text, "$ damc {line}");
        self.add(&said.stdout, "");
        self.add(&said.stderr, "! ");
        match said.status.code() {
            Some(0) => {}
            code => {
                let _ = writeln!(self.text, "[exit {}]", code.map_or("by a signal".into(), |c| c.to_string()));
            }
        }
        self.text.push('\n');
        self
    }

    /// Runs a command that the transcript does not show.
    pub fn run(&self, line: &str) -> Output {
        let words = line.split_whitespace().map(|word| word.replace("FOLDER", &self.folder.to_string_lossy()));
        Command::new(env!("CARGO_BIN_EXE_damc"))
            .args(words)
            .current_dir(ROOT)
            .env("DAMC_RUN_DIR", self.folder.join("run"))
            .env("NO_COLOR", "1")
            // Where a cell is wrapped depends on what stands in for numbers here.
            .env("COLUMNS", "1000")
            .env_remove("DAMC_LOG")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .expect("damc starts")
    }

    fn add(&mut self, bytes: &[u8], mark: &str) {
        let root = std::fs::canonicalize(ROOT).expect("the repository's folder");
        let mut said = String::from_utf8_lossy(bytes).into_owned();
        for (path, stands_for) in [(&self.folder, "FOLDER"), (&root, "REPOSITORY")] {
            said = said.replace(&*path.to_string_lossy(), stands_for);
        }
        for (pattern, with) in &self.filters {
            said = pattern.replace_all(&said, *with).into_owned();
        }
        for line in said.lines() {
            let _ = writeln!(self.text, "{mark}{}", narrowed(line.trim_end()));
        }
    }

    /// What was said so far.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A line of a table without its width, which is that of its widest value.
fn narrowed(line: &str) -> String {
    match line.chars().next() {
        Some('│') => line.split('│').map(str::trim).collect::<Vec<_>>().join(" │ ").trim().to_owned(),
        Some('┌' | '├' | '└') => {
            let mut ruled: Vec<char> = line.chars().collect();
            ruled.dedup();
            ruled.into_iter().collect()
        }
        _ => line.to_owned(),
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        // A lab that a failed test left up.
        let _ = self.run("down");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
