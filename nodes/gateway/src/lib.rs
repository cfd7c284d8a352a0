//! The edge of the mesh for programs without DAMC: turns their IPv6 packets into packets between names, and back
//! (`nodes/WIRE.md`, section 25).
//!
//! ```text
//!  pod ──IPv6──▶ Gateway::from_pod ──Packet PDU──▶ forwarding plane ──▶ … ──▶ Gateway::to_pod ──IPv6──▶ pod
//!                  │ neighbour discovery, DNS, echo                              │ running flows
//!                  ◀── answers, ICMPv6 errors, resets                            ◀─┘
//! ```
//!
//! Like all machines here it does no I/O and reads no clock: packets, time and the key of its hash are arguments.
//! Carrying a packet allocates nothing, except for the first packet of a flow. Answers (names, neighbours, errors)
//! allocate.
//!
//! # Panic contract
//! No function here panics on any input bytes.
#![forbid(unsafe_code)]

mod book;
mod dns;
mod errors;
mod flows;
mod gateway;
mod inquiry;
mod neighbour;
mod packet;
mod reset;
#[cfg(test)]
mod tests;

pub use book::{Book, BookBuilder};
pub use dns::reply as dns_reply;
pub use flows::{FLOW_LIMIT, FlowCounts};
pub use gateway::{Delivery, Gateway, Options, OwnStep, Step};

/// An Ethernet address.
pub type Mac = [u8; 6];
