//! What suites stand on: a network under judgement, whatever it is made of.
//!
//! [`World`] is the contract. `damc-lab` implements it with processes in real time, `damc-sim` with the same machines in
//! virtual time. A case that uses nothing else runs in both, unchanged. It observes (frames at every port, views, events),
//! asks (calls, path queries, orders), acts (links, nodes), injects, and waits on the world's own clock.
#![forbid(unsafe_code)]

mod act;
pub mod calibration;
mod change;
pub mod converge;
mod error;
pub mod recording;
mod state;
pub mod timeline;
mod witness;
mod world;

pub use act::{Act, Acts, Deed};
pub use change::{Direction, LinkChange};
pub use damc_topology::NodeAction;
pub use error::WorldError;
pub use state::{LinkState, NodeState, NodeStatus, Processes, Stall, WorldStatus};
pub use witness::{Breach, ONCE, Witnessed};
pub use world::{Answer, Asked, Maker, Observed, World, WorldKind};

/// Result of a question to a world.
pub type Result<T, E = WorldError> = std::result::Result<T, E>;
