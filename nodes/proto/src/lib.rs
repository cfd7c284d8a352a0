//! The protocol machines of every DAMC role, without I/O: time, frames and randomness come in, frames and changes go out.
#![forbid(unsafe_code)]

pub mod io;
