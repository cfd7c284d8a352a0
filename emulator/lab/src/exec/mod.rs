//! Doing to the kernel what a plan says: namespaces, links, queueing disciplines, processes.

pub mod ipv6;
pub mod netns;
pub mod offload;
pub mod process;
pub mod qdisc;
pub mod rtnl;
pub mod shape;
pub mod start_priority;

/// MTU of every interface of a lab, bytes.
pub const MTU: u32 = 1500;
