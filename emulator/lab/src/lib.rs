//! damc-lab

pub mod relay;
pub mod topology;
