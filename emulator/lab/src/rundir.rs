//! Run directories: where labs keep their sockets, configurations and logs, and how a dead lab is told from a live one.
//!
//! A lab's first process holds an exclusive `flock` on `<lab>/lock`. The kernel frees it when that process dies, however
//! it dies, so a directory whose lock can be had belongs to nobody and is swept.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};
use crate::ownership;

/// Attempts to get a lock before it counts as a lab's.
const LOCK_ATTEMPTS: usize = 10;
/// Pause between two attempts.
const PROBE_PAUSE: std::time::Duration = std::time::Duration::from_millis(1);
/// Begins the names of directories that are being removed; no lab is named so.
const SWEPT: &str = ".swept-";
/// Folder of the logs of labs that failed, by topology. No lab is called like that.
const FAILED_LOGS: &str = ".failed-logs";
/// Longest path of a Unix socket, less the terminating zero.
const SOCKET_PATH_MAX: usize = 107;

/// The folder of all labs of this user: `$DAMC_RUN_DIR`, else `$XDG_RUNTIME_DIR/damc`, else `/tmp/damc-<uid>`.
#[must_use]
pub fn base() -> PathBuf {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("DAMC_RUN_DIR")
        .or_else(|| from("XDG_RUNTIME_DIR").filter(|folder| folder.is_dir()).map(|folder| folder.join("damc")))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/damc-{}", nix::unistd::geteuid())))
}

/// The run directory of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Where a lab of this name has its directory, whether it is there or not.
    #[must_use]
    pub fn of(lab: &str) -> Self {
        Self { path: base().join(lab) }
    }

    /// An existing directory.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Makes the directory of a new lab and locks it; what a dead lab of the same name left is removed first.
    ///
    /// # Errors
    /// [`LabError::AlreadyUp`] when a live lab has it.
    pub fn create(lab: &str, longest_node_name: usize) -> Result<(Self, LabLock)> {
        let base = base();
        make_folder(&base)?;
        ownership::check_folder(&base)?;
        let directory = Self { path: base.join(lab) };
        let longest = directory.path.as_os_str().len() + 1 + longest_node_name.max("control".len()) + ".sock".len();
        if longest > SOCKET_PATH_MAX {
            return Err(LabError::Lab(format!(
                "the run directory {} is too long for Unix sockets in it; set DAMC_RUN_DIR to a shorter one",
                directory.path.display()
            )));
        }
        let lock = directory.lock()?.ok_or_else(|| LabError::AlreadyUp(lab.to_owned()))?;
        directory.clear()?;
        for folder in ["config", "logs"] {
            make_folder(&directory.path.join(folder))?;
        }
        Ok((directory, lock))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the lab.
    #[must_use]
    pub fn lab(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The socket of `lab-init`.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// The job `lab-init` was given.
    #[must_use]
    pub fn job(&self) -> PathBuf {
        self.path.join("lab.json")
    }

    /// The topology that the lab was built from, as a file.
    #[must_use]
    pub fn topology(&self) -> PathBuf {
        self.path.join("topology.yaml")
    }

    /// What the keys of the lab are made of.
    #[must_use]
    pub fn key_seed(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// What the namespaces' processes said beside their own logs.
    #[must_use]
    pub fn lab_log(&self) -> PathBuf {
        self.path.join("lab.log")
    }

    /// What the relay said.
    #[must_use]
    pub fn relay_log(&self) -> PathBuf {
        self.path.join("relay.log")
    }

    /// Management socket of a node.
    #[must_use]
    pub fn node_socket(&self, node: &str) -> PathBuf {
        self.path.join(format!("{node}.sock"))
    }

    /// Configuration file of a node.
    #[must_use]
    pub fn node_config(&self, node: &str) -> PathBuf {
        self.path.join("config").join(format!("{node}.json"))
    }

    /// Log of a node.
    #[must_use]
    pub fn node_log(&self, node: &str) -> PathBuf {
        self.path.join("logs").join(format!("{node}.log"))
    }

    /// Copies all logs beside the directories of labs, in the place of those kept under this name before; none where that
    /// is not possible.
    #[must_use]
    pub fn keep_logs(&self, name: &str) -> Option<PathBuf> {
        let kept = self.path.parent()?.join(FAILED_LOGS).join(name);
        remove(&kept).ok()?;
        make_folder(&kept).ok()?;
        let of_nodes = fs::read_dir(self.path.join("logs")).into_iter().flatten().flatten().map(|entry| entry.path());
        for log in of_nodes.chain([self.lab_log(), self.relay_log()]).filter(|log| log.is_file()) {
            fs::copy(&log, kept.join(log.file_name()?)).ok()?;
        }
        Some(kept)
    }

    /// Folder of the recording.
    #[must_use]
    pub fn frames(&self) -> PathBuf {
        self.path.join("frames")
    }

    /// Whether a lab lives here.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let Ok(file) = File::open(self.path.join("lock")) else { return false };
        // A shared attempt does not get into the way of another one.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Removes the directory if no lab lives here; true when it is gone.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn sweep(&self) -> Result<bool> {
        if !self.path.exists() {
            return Ok(true);
        }
        let Some(lock) = self.lock()? else { return Ok(false) };
        // Out of the way first: whoever locks the name from here on makes a directory of its own.
        let swept = self.path.with_file_name(format!("{SWEPT}{}-{}", self.lab(), std::process::id()));
        match fs::rename(&self.path, &swept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LabError::io(format!("remove {}", self.path.display()))(error));
            }
            _ => remove(&swept)?,
        }
        drop(lock);
        Ok(true)
    }

    /// Takes the lock; none when a live lab has it.
    fn lock(&self) -> Result<Option<LabLock>> {
        let path = self.path.join("lock");
        let doing = || format!("lock {}", path.display());
        for _ in 0..LOCK_ATTEMPTS {
            make_folder(&self.path)?;
            let file = match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
                Ok(file) => file,
                // Swept by somebody else between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LabError::io(doing())(error)),
            };
            match file.try_lock() {
                Ok(()) => {}
                // Held by a lab, or for an instant by somebody who asks whether one lives here.
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(PROBE_PAUSE);
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(LabError::io(doing())(error)),
            }
            // The file may have been swept and made anew while it was being locked: then this lock is of no use.
            let held = file.metadata().map_err(LabError::io(doing()))?.ino();
            if fs::metadata(&path).is_ok_and(|now| now.ino() == held) {
                return Ok(Some(LabLock(file)));
            }
        }
        Ok(None)
    }

    /// Empties the directory except for the lock.
    fn clear(&self) -> Result<()> {
        let doing = || format!("clear {}", self.path.display());
        for entry in fs::read_dir(&self.path).map_err(LabError::io(doing()))? {
            let entry = entry.map_err(LabError::io(doing()))?;
            if entry.file_name() != "lock" {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// The lock of a lab. The lab's first process inherits it; the lock lasts until the last holder closes it.
#[derive(Debug)]
pub struct LabLock(File);

impl AsFd for LabLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The labs of this user that are up, by name. Directories of dead ones are swept on the way.
///
/// # Errors
/// When the folder of labs cannot be read.
pub fn live_labs() -> Result<Vec<RunDir>> {
    let base = base();
    let entries = match fs::read_dir(&base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LabError::io(format!("read {}", base.display()))(error)),
    };
    ownership::check_folder(&base)?;
    let mut labs = Vec::new();
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    for entry in entries.flatten().filter(is_folder) {
        let directory = RunDir::at(&entry.path());
        // Nobody else can have made it, but its owner may have opened it to others since.
        match ownership::check_folder(&directory.path) {
            Err(LabError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
            checked => checked?,
        }
        // What cannot be swept is in nobody's way; what somebody else is sweeping may vanish meanwhile.
        if entry.file_name().to_string_lossy().starts_with(SWEPT) {
            let _ = remove(&directory.path);
        } else if directory.is_live() {
            labs.push(directory);
        } else if directory.path.join("lock").exists() {
            let _ = directory.sweep();
        }
    }
    labs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(labs)
}

/// The lab meant: the named one, or the only one.
///
/// # Errors
/// When there is none, or more than one and no name.
pub fn find(name: Option<&str>) -> Result<RunDir> {
    let mut labs = live_labs()?;
    let names = || labs.iter().map(RunDir::lab).collect::<Vec<_>>();
    match (name, labs.len()) {
        (Some(name), _) => {
            let up = names();
            labs.into_iter()
                .find(|directory| directory.lab() == name)
                .ok_or_else(|| LabError::NotUp { name: name.to_owned(), up })
        }
        (None, 0) => Err(LabError::NoLab),
        (None, 1) => Ok(labs.remove(0)),
        (None, _) => Err(LabError::Ambiguous(names())),
    }
}

fn make_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(LabError::io(format!("make the folder {}", path.display())))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LabError::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
