//! One machine per role.

mod asked;
pub mod pod;
pub mod scsc;
pub mod sg;
pub mod spa;
pub mod sr;

use damc_mgmt::config::NodeConfig;
use damc_wire::{Role, Timestamp};

pub use crate::context::ConfigError;
use crate::io::Machine;

/// The machine for a configuration. All its random choices come from `seed`, which must be new at every start.
///
/// # Errors
/// What is wrong with the configuration.
pub fn build(config: &NodeConfig, seed: u64, now: Timestamp) -> Result<Box<dyn Machine + Send>, ConfigError> {
    match Role::from_label(&config.role) {
        Some(Role::Sg) => Ok(Box::new(sg::Sg::new(config, seed, now)?)),
        Some(Role::Spa) => Ok(Box::new(spa::Spa::new(config, seed, now)?)),
        Some(Role::Pod) => Ok(Box::new(pod::Pod::new(config, seed, now)?)),
        Some(Role::Sr) => Ok(Box::new(sr::Sr::new(config, seed, now)?)),
        Some(Role::Scsc) => Ok(Box::new(scsc::Scsc::new(config, seed, now)?)),
        None => Err(ConfigError::field("role", "must be sr, sg, spa, scsc or pod")),
    }
}
