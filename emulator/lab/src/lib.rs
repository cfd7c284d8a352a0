//! damc-lab

pub mod relay;
