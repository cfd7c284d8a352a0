//! Doing to the kernel what a plan says: namespaces, links, queueing disciplines, processes.

pub mod netns;
pub mod offload;
pub mod process;
pub mod qdisc;
pub mod rtnl;
pub mod shape;
