//! DAMC on the wire: bytes to values and back.
//!
//! This crate knows every number, name, message and bound of the protocol, and nothing else. It does no I/O, reads no
//! clock, draws no random number and verifies no signature. `nodes/WIRE.md` is its specification. The module
//! [`registry`] holds all code points.
//!
//! # Panic contract
//! No function here panics on any input bytes. A panic on bytes from the wire is our bug, never the peer's.
#![forbid(unsafe_code)]

pub mod address;
mod codec;
mod crc;
pub mod cursor;
pub mod error;
pub mod frame;
pub mod hex;
pub mod lsa;
pub mod message;
pub mod name;
pub mod node_id;
pub mod pretty;
pub mod registry;
pub mod security;
pub mod time;
pub mod trace_context;

pub use crc::crc32c;
pub use error::{DecodeError, EncodeError};
pub use frame::{Frame, Header, HopSecurity};
pub use message::Message;
pub use name::Name;
pub use node_id::NodeId;
pub use registry::{Class, DropReason, MessageType, RefusalReason, Role};
pub use time::{Millis, Timestamp};
pub use trace_context::TraceContext;
