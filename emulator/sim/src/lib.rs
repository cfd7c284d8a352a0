//! Many nodes in one process and virtual time.
//!
//! The machines are those that run in processes, and so is the forwarding plane; only wires and clocks are made up here.
//! One seed, one run: a network with loss, reordering, duplication, cuts and restarts behaves the same every time.
//!
//! ```
//! use core::time::Duration;
//! use damc_sim::{Network, Sim};
//!
//! let network = Network::new().sr("left").sr("right").link("left", "right", 3);
//! let mut sim = Sim::new(&network.configs(1), 1).unwrap();
//! sim.start();
//! sim.run_until(|sim| sim.fib("left").entries.len() == 2, Duration::from_secs(1)).unwrap();
//! ```
#![forbid(unsafe_code)]

mod build;
mod faults;
mod link;
mod network;
mod node;
mod plane;
mod planned;
mod records;
mod services;
mod sim;
mod summary;
mod views;
mod walk;
mod watch;
mod world;

pub use build::BuildError;
pub use link::{delayed, lossy, usual};
pub use network::Network;
pub use node::{Call, Seen};
pub use planned::quiet;
pub use sim::{Late, Sim};
pub use summary::{Spf, Summary};
pub use walk::Walk;
pub use world::{VirtualMaker, block_on};
