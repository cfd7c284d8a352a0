//! The commands of the README, in their order and as they are written: a reader who types them meets no error.
//!
//! They run in a folder that looks like the repository's, with our binaries as `target/release`. Lines that judge whole
//! topologies in real time take minutes: they run where `DAMC_README` is `all`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

mod support;

/// The repository's folder.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// How long a line may take.
const LONGEST: Duration = Duration::from_secs(1200);
/// How long a line is watched that ends only by Ctrl-C.
const WATCHED: Duration = Duration::from_secs(2);

/// Why a line is not run.
fn left_out(line: &str) -> Option<&'static str> {
    let first = line.split_whitespace().next().unwrap_or_default();
    match first {
        "cargo" | "just" => Some("it builds, which .ci/run does"),
        "alias" => Some("the test has the command on its path"),
        "sudo" => Some("it changes the host"),
        "export" | "wireshark" => Some("it concerns the user's shell or desktop"),
        _ if line == "damc top" => Some("it needs a terminal, which tests/top.rs makes"),
        _ if line.contains("wireshark ") => Some("it needs a desktop"),
        _ if line.contains("--foreign") => Some("conformance/foreign/take_places does it in every role's place"),
        _ if line.contains("--on slurm") => Some("it needs a cluster, which .ci/slurm makes"),
        _ => None,
    }
}

/// Whether a line takes minutes: it judges in real time, or boots a kernel.
fn is_long(line: &str) -> bool {
    let judges = line.starts_with("damc run") || line.starts_with("damc sweep");
    line.contains("--kernel uml") || (judges && !line.contains("--virtual"))
}

/// What a line may end with: 0, but for what the README shows as a failure, and for judgements that this host did not allow.
fn may_end_with(line: &str, code: Option<i32>) -> bool {
    match code {
        Some(0) => !line.contains("/nobody"),
        Some(1) => line.contains("/nobody"),
        Some(3) => is_long(line),
        // By `timeout`, or by the interrupt that it sent.
        Some(124 | 130) => is_endless(line),
        _ => false,
    }
}

/// Whether a line ends only by Ctrl-C.
fn is_endless(line: &str) -> bool {
    line.starts_with("damc capture") && !line.contains("--last")
}

/// The lines of all blocks of commands, those of the transcript at the top included, without comments.
fn commands(readme: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut block = None;
    for line in readme.lines() {
        match (line.strip_prefix("```"), &block) {
            (Some(language), None) => block = Some(language.to_owned()),
            (Some(_), Some(_)) => block = None,
            (None, Some(language)) if language == "sh" => lines.push(line),
            (None, Some(_)) => lines.extend(line.strip_prefix("$ ")),
            (None, None) => {}
        }
    }
    let told = |line: &str| line.split(" # ").next().unwrap_or_default().trim().to_owned();
    lines.into_iter().map(told).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// A folder as a reader has it after `just emulate fig2`, without writing into the repository's.
struct Desk(PathBuf);

impl Desk {
    fn new() -> Self {
        let root = Path::new(ROOT).canonicalize().expect("the repository");
        let folder = std::env::temp_dir().join(format!("damc-readme-{}", std::process::id()));
        let binaries = Path::new(env!("CARGO_BIN_EXE_damc")).parent().expect("a folder").to_owned();
        std::fs::create_dir_all(folder.join("target")).expect("the temporary folder is writable");
        for (at, to) in [("target/release", &binaries), ("their-sr", &binaries.join("damc-sr"))] {
            std::os::unix::fs::symlink(to, folder.join(at)).expect("a link");
        }
        for name in ["nodes", "emulator", "conformance", "topologies"] {
            std::os::unix::fs::symlink(root.join(name), folder.join(name)).expect("a link");
        }
        // "Your map": a square with a diagonal.
        let node = |id: usize| format!("  node [ id {id} label \"R{id}\" ]\n");
        let edge = |(a, b): (usize, usize)| format!("  edge [ source {a} target {b} ]\n");
        let nodes: String = (0..4).map(node).collect();
        let edges: String = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)].map(edge).concat();
        std::fs::write(folder.join("Geant2012.gml"), format!("graph [\n{nodes}{edges}]\n")).expect("our folder");
        Self(folder)
    }

    fn run(&self, line: &str) -> Output {
        let (signal, span) = if is_endless(line) { ("INT", WATCHED) } else { ("KILL", LONGEST) };
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("timeout");
        command.args(["-s", signal, &span.as_secs().to_string(), "bash", "-c", line]).current_dir(&self.0);
        command.env("PATH", format!("{}:{path}", self.0.join("target/release").display()));
        command.env("DAMC_RUN_DIR", self.0.join("run")).env_remove("DAMC_NODE_DIR").env_remove("DAMC_TOPOLOGIES");
        command.stdin(Stdio::null()).output().expect("timeout and bash start")
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Labs of a test that failed.
        for line in ["damc down fig2", "damc down fig2-http", "damc down shop", "damc down mine"] {
            let _ = self.run(line);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_line_works_as_written() {
    if support::cannot() {
        return;
    }
    let everything = std::env::var("DAMC_README").is_ok_and(|wanted| wanted == "all");
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the README");
    let lines = commands(&readme);
    assert!(lines.len() > 60, "only {} commands were found: {lines:#?}", lines.len());
    let desk = Desk::new();
    // What the reader has from the two commands at the top.
    let judged = desk.run("damc run fig2 --virtual --case 'fig-*' --seed 1");
    assert!(judged.status.success(), "{judged:?}");
    let mut failed = Vec::new();
    for line in &lines {
        if let Some(why) = left_out(line).or_else(|| (is_long(line) && !everything).then_some("it takes minutes")) {
            eprintln!("left out: {line}: {why}");
            continue;
        }
        let began = std::time::Instant::now();
        let output = desk.run(line);
        eprintln!("{:6.1} s  {line}", began.elapsed().as_secs_f64());
        if !may_end_with(line, output.status.code()) {
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(2000).collect::<String>();
            failed.push(format!("$ {line}\n{}{}[{}]", said(&output.stdout), said(&output.stderr), output.status));
        }
    }
    assert!(failed.is_empty(), "{} of {} lines fail:\n\n{}", failed.len(), lines.len(), failed.join("\n\n"));
}

#[test]
fn every_line_that_is_left_out_has_a_reason_that_can_be_seen() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the README");
    let lines = commands(&readme);
    let left: Vec<_> = lines.iter().filter(|line| left_out(line).is_some()).collect();
    assert!(left.len() <= 12, "the test is about what it runs: {left:#?}");
}
