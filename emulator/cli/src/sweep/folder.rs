//! The folder of a sweep: its plan, the results that are whole, and those that are not yet.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, anyhow};
use damc_sweep::{RunId, SweepPlan, SweepRun};

use crate::exit::Failure;

/// The plan.
const PLAN: &str = "sweep.json";
/// What a run found; the last file that comes into its folder.
const RESULT: &str = "run.json";

/// A folder `results/sweeps/<topology>-<id>`.
#[derive(Debug)]
pub struct SweepFolder(PathBuf);

impl SweepFolder {
    /// The folder at a path, whether or not it is there.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder at a path, made where it was not there. Its path is absolute.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn made(path: &Path) -> Result<Self, Failure> {
        let cannot = || format!("cannot write to {}", path.display());
        fs::create_dir_all(path.join("runs")).with_context(cannot).map_err(Failure::usage)?;
        Ok(Self(path.canonicalize()?))
    }

    /// Puts a plan into it. `fresh` forgets the runs that are there. Only for whoever holds it alone.
    ///
    /// # Errors
    /// It cannot be written, or holds runs that another executable made.
    pub fn prepare(&self, plan: &SweepPlan, fresh: bool) -> Result<(), Failure> {
        if fresh {
            let runs = self.0.join("runs");
            removed(&runs).with_context(|| format!("cannot remove {}", runs.display()))?;
            fs::create_dir_all(&runs)?;
        }
        if let Ok(before) = self.plan()
            && before.program != plan.program
            && plan.runs().any(|id| self.result(&before, id).is_some())
        {
            return Err(Failure::usage(anyhow!(
                "the runs in {} were made by {}, and this is {}; --fresh makes them again",
                self.0.display(),
                before.program,
                plan.program
            )));
        }
        self.write(PLAN, &serde_json::to_string_pretty(plan)?)
    }

    /// Its plan.
    ///
    /// # Errors
    /// There is none that this version can read.
    pub fn plan(&self) -> Result<SweepPlan, Failure> {
        let path = self.0.join(PLAN);
        let no_sweep = || format!("{} is no folder of a sweep", self.0.display());
        let text = fs::read_to_string(&path).with_context(no_sweep).map_err(Failure::usage)?;
        let plan: SweepPlan = serde_json::from_str(&text).with_context(no_sweep).map_err(Failure::usage)?;
        if plan.schema == SweepPlan::SCHEMA {
            return Ok(plan);
        }
        Err(Failure::usage(anyhow!("{} is of another version of damc", path.display())))
    }

    /// The result of a run, where it is whole and of this plan.
    pub fn result(&self, plan: &SweepPlan, id: RunId) -> Option<SweepRun> {
        let run: SweepRun = serde_json::from_str(&fs::read_to_string(self.of_run(id).join(RESULT)).ok()?).ok()?;
        let planned = plan.point(id.point)?;
        (run.id() == id && run.topology_sha256 == planned.topology_sha256).then_some(run)
    }

    /// The folder of a run.
    pub fn of_run(&self, id: RunId) -> PathBuf {
        self.0.join("runs").join(id.to_string())
    }

    /// An empty folder for a run that begins. What an attempt that was stopped left there goes.
    pub fn begin(&self, id: RunId) -> io::Result<PathBuf> {
        let part = self.0.join("runs").join(format!(".{id}.part"));
        removed(&part)?;
        fs::create_dir_all(&part)?;
        Ok(part)
    }

    /// Makes what lies in `made`, a folder below `part`, the result of a run: by one renaming, so that it is whole or not there.
    pub fn commit(&self, part: &Path, made: &Path, run: &SweepRun) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(run)?;
        let file = made.join(RESULT);
        fs::write(&file, text).and_then(|()| File::open(&file)?.sync_all())?;
        let place = self.of_run(run.id());
        removed(&place)?;
        fs::rename(made, &place).with_context(|| format!("cannot keep the result {}", place.display()))?;
        removed(part)?;
        Ok(())
    }

    /// Writes a file: readers see the old one or the new one.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let (path, fresh) = (self.0.join(name), self.0.join(format!(".{}.new", name.replace('/', "-"))));
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&fresh, text)?;
            fs::rename(&fresh, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display())).map_err(Failure::usage)
    }

    /// Holds the folder for one sweep alone, as long as the value lives and its process.
    ///
    /// # Errors
    /// Another one is at work in it.
    pub fn locked(&self) -> Result<File, Failure> {
        self.lock(File::try_lock)
    }

    /// Holds the folder together with other tasks of its array.
    ///
    /// # Errors
    /// A sweep on this machine is at work in it.
    pub fn shared(&self) -> Result<File, Failure> {
        self.lock(File::try_lock_shared)
    }

    fn lock(&self, take: fn(&File) -> Result<(), TryLockError>) -> Result<File, Failure> {
        let file = File::create(self.0.join(".lock"))?;
        match take(&file) {
            Err(TryLockError::WouldBlock) => {
                let place = self.0.display();
                Err(Failure::usage(anyhow!("another damc sweep is at work in {place}; wait for it, or end it")))
            }
            // Some file systems of clusters have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }
}

/// Removes a folder; one that is not there is no error.
fn removed(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Which executable this is: runs of different ones do not belong into one sweep.
pub fn program() -> Result<String, Failure> {
    let metadata = fs::metadata(std::env::current_exe()?)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified = jiff::Timestamp::from_nanosecond(i128::try_from(modified.as_nanos())?)?;
    Ok(format!("damc {} of {modified} ({} bytes)", env!("CARGO_PKG_VERSION"), metadata.len()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use damc_sweep::{PlannedPoint, Quality, RunVerdict};

    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("damc-sweep-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn plan(text: &str) -> SweepPlan {
        SweepPlan {
            schema: SweepPlan::SCHEMA,
            topology: "line".into(),
            file: "/line.yaml".into(),
            arguments: Vec::new(),
            in_virtual_time: true,
            parameters: Vec::new(),
            points: vec![PlannedPoint { settings: Vec::new(), topology_sha256: text.into() }],
            seeds: "1..3".parse().unwrap(),
            program: "this".into(),
        }
    }

    fn run(seed: u64) -> SweepRun {
        SweepRun {
            point: 1,
            seed,
            quality: Quality::Faithful,
            verdict: RunVerdict::Passed,
            reason: None,
            cases: BTreeMap::new(),
            samples: Vec::new(),
            topology_sha256: "a".into(),
            wall_ms: 1,
            at_once: 1,
            attempts: 1,
        }
    }

    fn made(folder: &SweepFolder, seed: u64) {
        let part = folder.begin(run(seed).id()).unwrap();
        fs::create_dir(part.join("inside")).unwrap();
        done(folder.commit(&part, &part.join("inside"), &run(seed)));
    }

    fn done<T>(outcome: Result<T, Failure>) -> T {
        outcome.unwrap_or_else(|failure| panic!("{:#}", failure.error))
    }

    #[test]
    fn only_whole_results_of_this_plan_count() {
        let (temporary, plan) = (Temporary::new("whole"), plan("a"));
        let folder = done(SweepFolder::made(&temporary.0));
        done(folder.prepare(&plan, false));
        let whole = |plan: &SweepPlan| plan.runs().filter(|id| folder.result(plan, *id).is_some()).count();
        made(&folder, 1);
        made(&folder, 2);
        assert_eq!(whole(&plan), 2);
        // Stopped in the middle: a folder that was never renamed, and a file that was cut.
        folder.begin(run(3).id()).unwrap();
        let file = folder.0.join("runs/p1-s2/run.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, &text[..text.len() / 2]).unwrap();
        assert_eq!(whole(&plan), 1);
        assert_eq!(whole(&self::plan("another text")), 0);
        made(&folder, 2);
        made(&folder, 3);
        assert_eq!(whole(&plan), 3);
        assert!(!folder.0.join("runs/.p1-s3.part").exists());
    }

    #[test]
    fn runs_of_another_executable_are_not_taken_over() {
        let temporary = Temporary::new("program");
        let folder = done(SweepFolder::made(&temporary.0));
        let mut plan = plan("a");
        done(folder.prepare(&plan, false));
        plan.program = "that".into();
        assert!(folder.prepare(&plan, false).is_ok(), "there is no run yet");
        made(&folder, 1);
        plan.program = "a third".into();
        let refused = folder.prepare(&plan, false).unwrap_err();
        assert!(format!("{:#}", refused.error).contains("made by that"), "{:#}", refused.error);
        done(folder.prepare(&plan, true));
        assert!(folder.result(&plan, run(1).id()).is_none());
    }

    #[test]
    fn two_sweeps_do_not_share_a_folder() {
        let temporary = Temporary::new("lock");
        let folder = done(SweepFolder::made(&temporary.0));
        let first = done(folder.locked());
        assert!(folder.locked().is_err() && folder.shared().is_err());
        drop(first);
        let tasks = [folder.shared(), folder.shared()];
        assert!(tasks.iter().all(Result::is_ok) && folder.locked().is_err());
    }
}
