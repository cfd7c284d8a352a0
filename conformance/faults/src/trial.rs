//! One run of the suites on nodes with a fault, or without one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use damc_conformance::report::Report;
use damc_conformance::verdict::{Kind, Verdict};

/// Longest time of a run of one case, and of all.
const ONE_CASE: Duration = Duration::from_secs(180);
const ALL_CASES: Duration = Duration::from_secs(600);
/// Pause between two looks at a running process.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How runs are made.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The programs with the faults.
    pub programs: PathBuf,
    /// Folder of the copy, for topologies.
    pub copy: PathBuf,
    /// Folder of results.
    pub results: PathBuf,
    /// Topology.
    pub topology: String,
    /// Real processes instead of virtual time.
    pub live: bool,
    /// Seed of every run.
    pub seed: u64,
}

/// Verdicts of a run by case.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// By case id.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Why the run ended early, where it did.
    pub aborted: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// The verdict on a case; none where it did not run.
    #[must_use]
    pub fn of(&self, case: &str) -> Option<&Verdict> {
        self.verdicts.get(case)
    }

    /// Cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.verdicts.iter().filter(|(_, v)| v.kind() == Kind::Fail).map(|(case, _)| case.as_str())
    }
}

/// Runs the suites with `fault` planted, on one case or on all.
///
/// # Errors
/// The run left no report, for example because it took too long.
pub fn run(setting: &Setting, fault: Option<&str>, case: Option<&str>) -> Result<Outcome> {
    let began = Instant::now();
    let results = setting.results.join(fault.unwrap_or("none"));
    if results.exists() {
        std::fs::remove_dir_all(&results).with_context(|| results.display().to_string())?;
    }
    let mut command = Command::new(setting.programs.join("damc"));
    command.arg("run").arg(&setting.topology).arg("--seed").arg(setting.seed.to_string());
    command.arg("--results").arg(&results).current_dir(&setting.copy);
    command.args(case.iter().flat_map(|case| ["--case", case]));
    if !setting.live {
        command.arg("--virtual");
    }
    command.env_remove("DAMC_FAULT").envs(fault.map(|fault| ("DAMC_FAULT", fault)));
    command.env("DAMC_NODE_DIR", &setting.programs);
    let errors = results.with_extension("log");
    std::fs::create_dir_all(&setting.results).with_context(|| setting.results.display().to_string())?;
    let log = std::fs::File::create(&errors).with_context(|| errors.display().to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    wait(command, if case.is_some() { ONE_CASE } else { ALL_CASES })?;
    let report = report_in(&results).with_context(|| format!("see {}", errors.display()))?;
    let aborted = report.run.aborted.clone();
    let verdicts = report.cases.into_iter().map(|c| (c.id, c.verdict)).collect();
    Ok(Outcome { verdicts, aborted, took: began.elapsed() })
}

/// Waits for a process, and ends it where it takes longer than `limit`.
fn wait(mut command: Command, limit: Duration) -> Result<()> {
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let deadline = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("the run took longer than {} s", limit.as_secs());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The one report below a folder of results.
fn report_in(results: &Path) -> Result<Report> {
    let pattern = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()).collect()
    };
    let runs = pattern(results).iter().flat_map(|topology| pattern(topology)).collect::<Vec<_>>();
    let found = runs.iter().map(|run| run.join("report.json")).find(|file| file.is_file());
    let file = found.with_context(|| format!("no report below {}", results.display()))?;
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}
