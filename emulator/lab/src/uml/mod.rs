//! A kernel of our own: the Debian package `user-mode-linux` runs one as an ordinary process, with sch_netem, without KVM
//! and without privilege.
//!
//! ```text
//! damc run … --kernel uml         follows the guest's output and progress, passes interrupts on
//!  └─ damc uml-keeper, twice      one pid namespace where allowed: when it or the guest's kernel dies, all of it does
//!      └─ linux.uml               the guest's kernel, pinned to one CPU; the host's files are its root, read-only
//!          ┈ damc uml-init        process 1 of the guest: mounts, modules, then the same `damc run …` as its child
//! ```
//! Host and guest talk through files in one folder, the [`exchange::Exchange`]: what the guest writes there is on the host at
//! once, and what the host writes is in the guest at its next look.

pub mod exchange;
mod host;
mod inside;
mod install;
mod keeper;
mod modules;

pub use host::{Guest, GuestEnd, GuestOptions, Output, SILENT_FOR};
pub use inside::run_init;
pub use install::{Installation, PACKAGE};
pub use keeper::{KeeperArgs, run_keeper};
