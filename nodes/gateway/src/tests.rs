//! The gateway as a whole.
