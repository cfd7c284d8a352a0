//! Quality of service (class 4; drafts sections 5 (5), 6 (3) and 6 (4)): measuring, judging, steering.
//!
//! Measurement has three layers (CON-04). Path metrics come from probes that an SG sends along the data path
//! ([`prober`]); a target's report on itself tells health and load only; per-link telemetry of SGs and SRs locates the
//! bad hop ([`telemetry`]). The SCSC judges path metrics against thresholds ([`threshold`]), decides ([`scheduler`]) and
//! sends each node on the old and the new path its own policy ([`rollout`]).

pub mod agent;
pub mod director;
pub mod estimate;
pub mod estimator;
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
