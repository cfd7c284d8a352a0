//! The network of a plan: what `damc simulate` runs.

use core::time::Duration;

use damc_impair::DirectionSpec;
use damc_mgmt::config::Pace;
use damc_topology::plan::Plan;

use crate::link::LinkModel;
use crate::sim::{BuildError, Sim};

impl Sim {
    /// The nodes and links of a plan, all nodes dead until [`Sim::start`]. Keys, start order and link randomness follow
    /// from the plan's seed.
    ///
    /// # Errors
    /// A configuration that contradicts itself or the others.
    pub fn of_plan(plan: &Plan) -> Result<Self, BuildError> {
        let configs = plan.configs().map_err(BuildError::Plan)?;
        let mut sim = Self::new(&configs, plan.seed)?;
        for link in &plan.links {
            sim.set_model_from(&link.a.node, &link.b.node, LinkModel::of(&link.forward));
            sim.set_model_from(&link.b.node, &link.a.node, LinkModel::of(&link.backward));
        }
        Ok(sim)
    }
}

impl LinkModel {
    /// What a simulated link makes of the words of a topology file. Jitter is spread evenly around the delay.
    #[must_use]
    pub fn of(spec: &DirectionSpec) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are from 0 to 1")]
        let ppm = |share: f64| (share * 1e6).round() as u32;
        let least = spec.delay_ns.saturating_sub(spec.jitter_ns);
        Self {
            delay: Duration::from_nanos(least),
            jitter: Duration::from_nanos(spec.delay_ns + spec.jitter_ns - least),
            loss_ppm: if spec.silent { 1_000_000 } else { ppm(spec.loss.expected()) },
            duplicate_ppm: ppm(spec.duplicate),
            rate_bps: spec.rate_bps.unwrap_or(0),
        }
    }
}

/// How long forwarding tables must stand still to be taken for final: what is lost comes again within a retransmission,
/// a lost hello within its period.
#[must_use]
pub fn quiet(pace: &Pace) -> Duration {
    Duration::from_millis(1000 + pace.retransmit_max_ms + pace.hello_interval_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_what_the_file_says() {
        let spec =
            DirectionSpec { delay_ns: 5_000_000, jitter_ns: 1_000_000, duplicate: 0.25, ..DirectionSpec::default() };
        let model = LinkModel::of(&spec);
        assert_eq!((model.delay, model.jitter), (Duration::from_millis(4), Duration::from_millis(2)));
        assert_eq!((model.loss_ppm, model.duplicate_ppm, model.rate_bps), (0, 250_000, 0));
    }
}
