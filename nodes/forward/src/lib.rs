//! damc-forward
