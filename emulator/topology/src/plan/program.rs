//! The program of a node: one of ours, or a foreign implementation.

use core::fmt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Node, Topology};

/// What starts a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// One of ours: its file name, or the path where it was found.
    Own(String),
    /// A foreign implementation.
    Foreign(ForeignProgram),
}

/// A foreign implementation, with placeholders in its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignProgram {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beside those of whoever starts the lab.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory; a program given by a relative path is looked for from here.
    pub folder: PathBuf,
}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `{node}`: identity of the node.
    pub node: &'a str,
    /// `{config}`: its configuration file.
    pub config: &'a Path,
    /// `{dir}`: run directory of the lab.
    pub directory: &'a Path,
}

impl Place<'_> {
    fn fill(&self, word: &str) -> String {
        let config = self.config.display().to_string();
        let directory = self.directory.display().to_string();
        word.replace("{config}", &config).replace("{node}", self.node).replace("{dir}", &directory)
    }
}

impl Program {
    pub(super) fn of(topology: &Topology, node: &Node) -> Self {
        let Some(foreign) = &node.exec else { return Self::Own(format!("damc-{}", node.kind)) };
        Self::Foreign(ForeignProgram {
            argv: foreign.argv.clone(),
            env: foreign.env.clone(),
            folder: topology.directory_of_foreign(foreign),
        })
    }

    /// Program and arguments of the node at this place.
    #[must_use]
    pub fn argv(&self, place: Place<'_>) -> Vec<String> {
        match self {
            Self::Own(path) => vec![path.clone(), place.config.display().to_string()],
            Self::Foreign(foreign) => foreign.argv(place),
        }
    }

    /// Variables of the node at this place.
    #[must_use]
    pub fn env(&self, place: Place<'_>) -> Vec<(String, String)> {
        match self {
            Self::Own(_) => Vec::new(),
            Self::Foreign(foreign) => {
                foreign.env.iter().map(|(name, value)| (name.clone(), place.fill(value))).collect()
            }
        }
    }

    /// Working directory; none: that of whoever starts the lab.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Own(_) => None,
            Self::Foreign(foreign) => Some(&foreign.folder),
        }
    }

    /// Whether it is a foreign implementation.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }
}

impl ForeignProgram {
    fn argv(&self, place: Place<'_>) -> Vec<String> {
        let mut argv: Vec<String> = self.argv.iter().map(|word| place.fill(word)).collect();
        if let Some(program) = argv.first_mut().filter(|program| program.contains('/')) {
            *program = self.folder.join(&*program).display().to_string();
        }
        let named = self.argv.iter().chain(self.env.values()).any(|word| word.contains("{config}"));
        if !named {
            argv.push(place.config.display().to_string());
        }
        argv
    }
}

/// As people know it: the file name of ours, the words of a foreign one.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(path) => f.write_str(path.rsplit('/').next().unwrap_or(path)),
            Self::Foreign(foreign) => f.write_str(&foreign.argv.join(" ")),
        }
    }
}
