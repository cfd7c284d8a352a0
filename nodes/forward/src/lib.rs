//! The forwarding plane of a node: from a routed PDU to what is done with it.
//!
//! [`FibBuilder`] turns changes of routes into [`Fib`] snapshots; [`forward`] looks a PDU up in one snapshot and says where
//! it goes; [`Fib::seal`] is the last touch before it leaves. A snapshot never changes, so any number of threads may read it without a lock. Nothing here does I/O or
//! allocates per packet; randomness (the key of the hash) comes in as an argument.
#![forbid(unsafe_code)]

mod admission;
mod builder;
mod fib;
mod group;
mod hash;
mod route;
mod table;
mod verdict;

pub use admission::Admission;
pub use builder::FibBuilder;
pub use fib::Fib;
pub use hash::HashKey;
pub use route::{Gone, LabelRoute, LinkKeys, NextHop, Op, PortId, Route, Stamp};
pub use verdict::{Ingress, Verdict, decide, forward};
