//! Frames on the wire: AF_PACKET sockets, kernel receive stamps, carrier events.
//!
//! A socket belongs to the network namespace in which the calling thread was when it opened the socket. Opening needs
//! `CAP_NET_RAW` in the user namespace that owns the network namespace.
//!
//! This is the only node crate with `unsafe` code. It wraps the batch calls (`recvmmsg`, `sendmmsg`), the socket
//! options, the receive ring of AF_PACKET, two interface queries and the scheduler's calls in safe types. All times are
//! `CLOCK_MONOTONIC` nanoseconds.

mod carrier;
mod clock;
mod error;
mod filter;
mod interface;
pub mod priority;
mod receive;
mod ring;
mod send;
mod socket;
mod sys;
mod traffic;

pub use carrier::CarrierWatch;
pub use clock::monotonic_now;
pub use error::LinkError;
pub use filter::Filter;
pub use interface::{Mac, ethernet_header, ifindex, mac};
pub use receive::{ReceiveArena, Received};
pub use ring::{Pdus, ReceiveRing, RingBatch};
pub use send::{SendReport, Transmit};
pub use socket::RawSocket;
pub use traffic::{InterfaceBytes, TrafficReader};

/// Bytes of an Ethernet II header: destination, source, EtherType.
pub const ETHERNET_HEADER: usize = 14;
/// EtherType of DAMC frames (`nodes/WIRE.md`).
pub const ETHERTYPE: u16 = 0x88B5;
