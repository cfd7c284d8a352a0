//! What can be done to links and nodes.

use damc_impair::DirectionChange;
use serde::{Deserialize, Serialize};

/// Which way a change of a link goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// What the first named end sends.
    Forward,
    /// What the second named end sends.
    Backward,
}

/// A change of a link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum LinkChange {
    /// Set the named properties and leave the others.
    Set {
        /// Which way.
        direction: Direction,
        /// The properties.
        properties: DirectionChange,
    },
    /// Set the properties of both directions, each its own.
    SetEach {
        /// What the first named end sends.
        forward: DirectionChange,
        /// What the second named end sends.
        backward: DirectionChange,
    },
    /// Back to what the topology file says, and up.
    Clear,
    /// Take the carrier away at both ends.
    Down,
    /// Give it back.
    Up,
}

/// What can be done to the process of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAction {
    /// SIGKILL, its services too.
    Kill,
    /// SIGTERM; answered when it has ended.
    Stop,
    /// Start it again; answered when it is ready.
    Start,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
}

impl NodeAction {
    /// Every action.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Stop, Self::Start, Self::Pause, Self::Resume];

    /// Its name on the command line and in topology files.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}
