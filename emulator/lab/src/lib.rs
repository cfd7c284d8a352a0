//! The emulator: from a topology to namespaces, links and processes, and back to nothing.
//!
//! A user holds a [`Lab`]; inside, `lab-init` ([`init`]) does what a [`job`] says, in a [`sandbox`] the kernel clears away.

pub mod calibration_lab;
#[allow(unsafe_code, reason = "descriptors received over a socket; each block says why it is sound")]
mod client;
pub mod control;
pub mod error;
#[allow(unsafe_code, reason = "namespaces, descriptors and ioctls; each block says why it is sound")]
pub mod exec;
pub mod host_speed;
pub mod init;
pub mod job;
pub mod lab;
pub mod load;
pub mod management;
mod observed;
#[allow(unsafe_code, reason = "an ioctl on a namespace; the block says why it is sound")]
mod ownership;
pub mod recorder;
pub mod recording;
pub mod reexec;
pub mod relay;
pub mod rundir;
#[allow(unsafe_code, reason = "descriptors inherited over fork and exec; each block says why it is sound")]
pub mod sandbox;
pub mod topology_file;
#[allow(
    unsafe_code,
    reason = "descriptors inherited over fork and exec, finit_module; each block says why it is sound"
)]
pub mod uml;
pub mod up;
pub mod world;

pub use error::{LabError, Result};
pub use lab::Lab;
pub use up::UpOptions;
