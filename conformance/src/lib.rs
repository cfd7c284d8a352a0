//! damc-conformance
