//! The protocol machines of every DAMC role, without I/O: time, frames and randomness come in, frames and changes go out.
#![forbid(unsafe_code)]

pub mod adjacency;
pub mod auth;
pub mod context;
pub mod flood;
pub mod io;
pub mod lfa;
pub mod lsdb;
pub mod nack;
pub mod node;
pub mod origination;
pub mod qos;
pub mod rib;
pub mod rmi;
pub mod router;
pub mod spf;
pub mod spf_delay;
