//! The state of a world, as far as suites ask for it.

use std::path::{Path, PathBuf};

use damc_impair::DirectionSpec;
use serde::{Deserialize, Serialize};

/// The state of a world.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorldStatus {
    /// What serves impaired links, as reports call it.
    pub backend: String,
    /// Frames are recorded behind the queue that shapes a link, so that what they waited there cannot be seen.
    pub recorded_behind_queue: bool,
    /// From the start of everything to the last node's readiness, ms.
    pub ready_ms: f64,
    /// When the last node became ready, on the world's clock, ns.
    pub ready_at_ns: u64,
    /// Nodes in start order.
    pub nodes: Vec<NodeStatus>,
    /// Why the world is not in good order, where it is not.
    pub failure: Option<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Name.
    pub name: String,
    /// `sg`, `sr`, `spa`, `scsc` or `pod`.
    pub kind: String,
    /// Its program: the file name of ours, the command of a foreign one.
    pub program: String,
    /// What the program says it is.
    pub version: Option<String>,
    /// What it does.
    pub state: NodeState,
    /// Times it was started.
    pub starts: u32,
}

/// One link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkState {
    /// It has carrier as far as the world decides it.
    pub up: bool,
    /// What happens to frames from the first named end.
    pub forward: DirectionSpec,
    /// What happens to frames from the second named end.
    pub backward: DirectionSpec,
    /// Frames that went around the link's shaping: sender, receiver, number.
    pub bypassed: Vec<(String, String, u64)>,
}

/// What a world of processes offers beside the trait.
#[derive(Clone, Debug)]
pub struct Processes {
    /// Name of the lab.
    pub lab: String,
    /// The executable that knows `exec`.
    pub program: PathBuf,
    /// The lab's run directory.
    pub directory: PathBuf,
    /// Finds the program that a word starts, as the lab's own check does.
    pub find: fn(&Path) -> Option<PathBuf>,
}

/// The process of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Started, not ready yet.
    Starting,
    /// Running.
    Ready,
    /// Stopped by SIGSTOP.
    Paused,
    /// Ended as it was told to.
    Stopped,
    /// Ended unasked.
    Failed,
}

impl NodeState {
    /// Its name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// A wake-up of the host that came late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// When it was due, on the world's clock, ns.
    pub due_ns: u64,
    /// When it came, ns.
    pub until_ns: u64,
}
