//! The folder that host and guest talk through.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};

/// Environment variable that tells a program in the guest where the folder is.
pub const VARIABLE: &str = "DAMC_GUEST";

/// What the guest is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Its environment, whole.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder it starts in.
    pub directory: PathBuf,
    /// Module tree of the guest's kernel.
    pub modules: PathBuf,
    /// Folders of the host that the guest may write to.
    pub writable: Vec<PathBuf>,
}

/// How the guest's program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With this exit code.
    Code(u8),
    /// By this signal.
    Signal(i32),
    /// It never ran.
    Failed(String),
}

/// The folder; its files have one writer each.
#[derive(Clone, Debug)]
pub struct Exchange {
    path: PathBuf,
}

impl Exchange {
    /// An existing folder.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The folder of the guest this program runs in; none on the host.
    #[must_use]
    pub fn of_this_guest() -> Option<Self> {
        std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(|path| Self { path: path.into() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Written by the host: the [`Task`].
    #[must_use]
    pub fn task(&self) -> PathBuf {
        self.path.join("task.json")
    }

    /// Standard output of the guest's program.
    #[must_use]
    pub fn stdout(&self) -> PathBuf {
        self.path.join("stdout")
    }

    /// Its standard error.
    #[must_use]
    pub fn stderr(&self) -> PathBuf {
        self.path.join("stderr")
    }

    /// Lines of its own with which it tells how far it is.
    #[must_use]
    pub fn progress(&self) -> PathBuf {
        self.path.join("progress")
    }

    /// Written by the guest's first process again and again: a sign of life.
    #[must_use]
    pub fn alive(&self) -> PathBuf {
        self.path.join("alive")
    }

    /// Written by the host: the user wants the program to end.
    #[must_use]
    pub fn interrupt(&self) -> PathBuf {
        self.path.join("interrupt")
    }

    /// Written by the guest last: the [`End`].
    #[must_use]
    pub fn end(&self) -> PathBuf {
        self.path.join("end.json")
    }

    /// What the guest's kernel says.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }

    pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| LabError::Lab(error.to_string()))?;
        fs::write(path, text).map_err(LabError::io(format!("write {}", path.display())))
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
        let text = fs::read(path).map_err(LabError::io(format!("read {}", path.display())))?;
        serde_json::from_slice(&text).map_err(|error| LabError::Lab(format!("{}: {error}", path.display())))
    }
}
