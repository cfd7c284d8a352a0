//! Keys and proofs: who may speak, and what an origin may say.
//!
//! The domain's root key certifies every node's identity, role and keys; SPAs sign grants; origins sign LSAs; neighbours
//! share a hop key. What verifies comes back as [`Verified`], which cannot be had otherwise, so that an unverified LSA
//! or grant cannot reach the LSDB by mistake. Nothing here does I/O, reads a clock or draws a random number.
#![forbid(unsafe_code)]

mod error;
mod hop;
mod issuer_clock;
mod keys;
mod memory;
mod names;
mod pem;
mod verify;

pub use damc_wire::hex::to_hex;
pub use error::TrustError;
pub use hop::{HopKey, ReplayWindow};
pub use issuer_clock::IssuerClock;
pub use keys::{NodeKeys, NodeSecrets, RootKey, RootSecret, certificate_from_hex, certificate_to_hex, from_hex};
pub use memory::SignatureMemory;
pub use names::narrowest;
pub use pem::signing_key_to_pem;
pub use verify::{Verified, Verifier};
