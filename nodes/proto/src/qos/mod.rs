//! Quality of service (class 4; drafts, sections 5 (5), 6 (3) and 6 (4)): measurement, judgement, steering.
//!
//! Measurement has three layers (CON-04). Path metrics come from probes that an SG sends along the data path
//! ([`prober`]). A target's report on itself covers only health and load. Per-link telemetry of SGs and SRs locates the
//! bad hop ([`telemetry`]). The SCSC compares path metrics with thresholds ([`threshold`]), decides ([`scheduler`]),
//! and sends its own policy to each node on the old and the new path ([`rollout`]).

mod agenda;
pub mod agent;
pub mod estimate;
pub mod estimator;
pub mod path_computation;
mod path_probe;
pub mod path_table;
pub mod policies;
pub mod port_rates;
pub mod prober;
pub mod rollout;
pub mod scheduler;
pub mod telemetry;
pub mod threshold;
pub mod topology;

#[cfg(test)]
mod figure2_tests;
