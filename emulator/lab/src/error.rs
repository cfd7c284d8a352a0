//! What can go wrong with a lab, as values: the command line turns them into exit codes, suites into verdicts.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::exec::rtnl::RtnlError;

/// Why something with a lab did not work.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A system call failed.
    #[error("cannot {doing}")]
    Io {
        /// What was tried, as an infinitive.
        doing: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a network change.
    #[error("cannot {doing}")]
    Netlink {
        /// What was tried, as an infinitive.
        doing: String,
        /// Its answer.
        #[source]
        source: RtnlError,
    },
    /// Programs of nodes are missing; nothing was created.
    #[error("missing node programs: {}; build them with `cargo build -p damc-daemon`, or set DAMC_NODE_DIR", list(.0))]
    MissingPrograms(Vec<PathBuf>),
    /// Foreign programs of nodes are missing; nothing was created.
    #[error("{}; correct `exec:` or --foreign (paths begin at the topology file, those of --foreign here)", foreign(.0))]
    MissingForeign(Vec<(String, PathBuf)>),
    /// Programs of services are missing; nothing was created.
    #[error("{}; install what provides it (such as `apt install {}`), or change `run:`", services(.0), packages(.0))]
    MissingServices(Vec<(String, PathBuf)>),
    /// A lab of this name is up.
    #[error("a lab named {0} is up already; `damc down {0}` ends it, `--lab NAME` brings up another one beside it")]
    AlreadyUp(String),
    /// No lab of this name is up.
    #[error("no lab named {name} is up{}", others(.up))]
    NotUp {
        /// The name asked for.
        name: String,
        /// The labs that are up.
        up: Vec<String>,
    },
    /// No lab is up.
    #[error("no lab is up; `damc up TOPOLOGY` starts one")]
    NoLab,
    /// More than one lab is up and none was named.
    #[error("{} labs are up ({}); pick one with --lab NAME", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The topology has no such node.
    #[error("the lab has no node {name}; it has {}", .nodes.join(", "))]
    NoNode {
        /// The name asked for.
        name: String,
        /// The nodes there are.
        nodes: Vec<String>,
    },
    /// A request names something that the lab or a node does not have, or spells it wrongly.
    #[error("{0}")]
    Usage(String),
    /// The sandbox cannot be made here.
    #[error("cannot make the lab's namespaces: {0}")]
    Sandbox(String),
    /// User-Mode Linux is missing, or cannot be used here.
    #[error("{0}")]
    Uml(String),
    /// A guest did not end in order.
    #[error("{0}")]
    Guest(String),
    /// Somebody else could have made this, or could change it.
    #[error("{what} is not to be trusted: {why}; remove it, or set DAMC_RUN_DIR to a folder of your own")]
    Untrusted {
        /// The folder or namespace.
        what: String,
        /// Why not.
        why: String,
    },
    /// The lab did not come up, or is gone.
    #[error("{0}")]
    Lab(String),
    /// The lab refused a request.
    #[error("{0}")]
    Refused(String),
    /// A node ended without having been told to.
    #[error("{0}")]
    NodeFailed(String),
    /// Somebody ended the lab in order.
    #[error("lab {0} was ended")]
    Ended(String),
    /// Nodes did not say that they are ready.
    #[error("{} not said ready within {} s{last_lines}", have(.nodes), seconds(.within))]
    NotReady {
        /// Those that did not.
        nodes: Vec<String>,
        /// How long they had.
        within: Duration,
        /// What the first of them said last.
        last_lines: String,
    },
    /// A foreign node does not have what was asked for.
    #[error("{node} offers no {what}")]
    NotOffered {
        /// Node.
        node: String,
        /// Path of its management interface.
        what: String,
    },
    /// The lab was not built or failed; its logs were kept.
    #[error("{}; logs are in {}", .error.one_line(), .logs.display())]
    NotBuilt {
        /// Why not.
        error: Box<LabError>,
        /// Folder of the logs.
        logs: PathBuf,
    },
    /// A condition was not met in time.
    #[error("{what} not reached within {} ms; {last}", .within.as_millis())]
    Deadline {
        /// The condition.
        what: String,
        /// How long it was waited for.
        within: Duration,
        /// What was seen last.
        last: String,
    },
    /// A node's management socket answered with an error or with nonsense.
    #[error("{node}: {problem}")]
    Management {
        /// Node.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// What suites stand on says so.
    #[error(transparent)]
    World(damc_testbed::WorldError),
}

impl LabError {
    /// Wraps the error of a system call with what was being done.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// As [`LabError::io`], for calls through `nix`.
    pub fn sys(doing: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let doing = doing.into();
        move |errno| Self::Io { doing, source: errno.into() }
    }

    /// Wraps a refusal of the kernel with what was being done.
    pub fn netlink(doing: impl Into<String>) -> impl FnOnce(RtnlError) -> Self {
        let doing = doing.into();
        move |source| Self::Netlink { doing, source }
    }

    /// The whole chain of causes on one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        with_causes(self)
    }
}

/// An error and the chain of its causes, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Result of an operation on a lab.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn others(up: &[String]) -> String {
    if up.is_empty() { String::new() } else { format!("; up: {}", up.join(", ")) }
}

/// What each foreign node lacks.
fn foreign(missing: &[(String, PathBuf)]) -> String {
    let lacks = |(node, program): &(String, PathBuf)| format!("there is no program {} for {node}", program.display());
    missing.iter().map(lacks).collect::<Vec<_>>().join("; ")
}

/// Who has not done something: a few names and the number of the others.
fn have(nodes: &[String]) -> String {
    const TOLD: usize = 5;
    let told = nodes[..nodes.len().min(TOLD)].join(", ");
    match nodes.len() {
        1 => format!("{told} has"),
        2..=TOLD => format!("{told} have"),
        more => format!("{told} and {} more have", more - TOLD),
    }
}

fn seconds(time: &Duration) -> String {
    format!("{}", time.as_secs_f64())
}

/// What each service lacks.
fn services(missing: &[(String, PathBuf)]) -> String {
    let lacks =
        |(service, program): &(String, PathBuf)| format!("{service} runs {}, which is not there", program.display());
    missing.iter().map(lacks).collect::<Vec<_>>().join("; ")
}

/// What packages may be called like.
fn packages(missing: &[(String, PathBuf)]) -> String {
    let name = |(_, program): &(String, PathBuf)| program.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<_> = missing.iter().filter_map(name).collect();
    names.sort();
    names.dedup();
    names.join(" ")
}
