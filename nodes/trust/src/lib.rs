//! Keys and proofs: who may speak, and what an origin may say.
//!
//! Everything that verifies returns a type that cannot be had otherwise ([`Verified`]), so that an unverified LSA, grant
//! or certificate cannot reach the LSDB by mistake. Nothing here does I/O, reads a clock or draws a random number.
#![forbid(unsafe_code)]
