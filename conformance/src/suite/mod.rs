//! The suites. Each module holds the cases of one part of the requirement catalogue.

mod figure2;
mod link_state;
mod measurement;
mod policy;
mod thresholds;

use crate::case::Case;

/// Every case of both suites, in the order they are listed; the runner orders them by impact.
#[must_use]
pub fn all() -> Vec<Case> {
    [figure2::LINKS, figure2::CASES, link_state::CASES, measurement::CASES, thresholds::CASES, policy::CASES].concat()
}
