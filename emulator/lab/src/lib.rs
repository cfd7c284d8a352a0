//! damc-lab

pub mod pace;
pub mod plan;
pub mod relay;
pub mod topology;
