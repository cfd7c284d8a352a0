//! The namespaces of a lab: one user (unless the caller may do without), mount, pid, network, IPC and UTS namespace, in
//! which `lab-init` is process 1. When it dies, by SIGKILL too, the kernel ends everything in there and nothing is left.
//!
//! ```text
//! damc up ──fork──> damc lab-sandbox ──fork──> damc lab-init (pid 1) ──> lab-relay, nodes, their services
//! host namespaces    unshares; waits            builds and supervises
//! ```
//! The unsharing process has one thread (a user namespace demands it) and stays the parent, so that the caller keeps its
//! own namespaces and can write reports. Each is killed when its parent dies, the topmost link left out when detached.

mod enter;
mod inside;
mod launch;
pub mod obstacles;

pub use enter::{Entry, NAMESPACE_COUNT};
pub use inside::{SandboxArgs, namespaces_of_lab, run_sandbox, settle};
pub use launch::{Launch, launch};
