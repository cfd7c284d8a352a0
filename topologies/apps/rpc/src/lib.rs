//! The code of `proto/calculator.proto` for the server and the client beside it, and of the gateway's `class1.proto` for a
//! client.
#![forbid(unsafe_code)]

pub mod announcement;

/// Messages, server and client.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications, rust_2018_idioms)]
pub mod calculator {
    tonic::include_proto!("example.calculator.v1");
}

/// What reflection shows.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Messages and client of class 1 (`nodes/class1/proto/class1.proto`).
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications, rust_2018_idioms)]
pub mod class1 {
    tonic::include_proto!("damc.class1.v1");
}
