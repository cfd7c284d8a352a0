//! What can be done to links.

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
