//! The network of a plan: what `damc simulate` runs.

use core::time::Duration;

use damc_mgmt::config::Timers;
use damc_topology::plan::{KeySeed, Plan};

use crate::build::BuildError;
use crate::sim::Sim;

impl Sim {
    /// The nodes and links of a plan, all nodes dead until [`Sim::start`]. Keys, start order and link randomness follow
    /// from the plan's seed.
    ///
    /// # Errors
    /// A configuration that contradicts itself or the others.
    pub fn of_plan(plan: &Plan) -> Result<Self, BuildError> {
        Self::of_plan_and_keys(plan, &KeySeed::of_simulation(plan.seed))
    }

    /// The same, with keys made of a seed of their own.
    ///
    /// # Errors
    /// As [`Sim::of_plan`].
    pub(crate) fn of_plan_and_keys(plan: &Plan, keys: &KeySeed) -> Result<Self, BuildError> {
        let configs = plan.configs(keys).map_err(BuildError::Plan)?;
        let mut sim = Self::new(&configs, plan.seed)?;
        for link in &plan.links {
            sim.set_spec_from(&link.a.node, &link.b.node, link.forward);
            sim.set_spec_from(&link.b.node, &link.a.node, link.backward);
        }
        Ok(sim)
    }
}

/// How long forwarding tables must stand still to be taken for final: what is lost comes again within a retransmission,
/// a lost hello within its period.
#[must_use]
pub fn quiet(timers: &Timers) -> Duration {
    Duration::from_millis(1000 + timers.retransmit_max_ms + timers.hello_interval_ms)
}
