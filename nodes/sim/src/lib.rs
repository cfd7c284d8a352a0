//! damc-sim
