//! The suites. Each module holds the cases of one part of the requirement catalogue.

/// A case: id, title, rows, impact, function; of the conformance suite unless another is named first. Its time limit is the
/// module's `LIMIT`. It can be judged in every world, unless `live "WHAT FOR"` stands first.
macro_rules! case {
    (live $needs:literal, $id:literal, $title:literal, $rows:expr, $impact:ident, $run:path) => {
        Case { worlds: crate::case::Worlds::Live($needs), ..case!(Conformance, $id, $title, $rows, $impact, $run) }
    };
    ($id:literal, $title:literal, $rows:expr, $impact:ident, $run:path) => {
        case!(Conformance, $id, $title, $rows, $impact, $run)
    };
    ($suite:ident, $id:literal, $title:literal, $rows:expr, $impact:ident, $run:path) => {
        Case {
            id: $id,
            title: $title,
            rows: &$rows,
            suite: Suite::$suite,
            impact: Impact::$impact,
            worlds: crate::case::Worlds::All,
            limit: LIMIT,
            run: |testbed, findings| Box::pin($run(testbed, findings)),
        }
    };
}

mod anycast;
mod architecture;
mod authentication;
mod bulk;
mod captured;
mod claims;
mod congestion;
mod domain;
mod figure2;
mod flooding;
mod forged;
mod forwarding;
mod freshness;
mod grants;
mod hostile;
mod insider;
mod invocation;
mod lifetime;
mod link_state;
mod measurement;
mod outage;
mod partition;
mod policy;
mod presets;
mod programs;
mod registration;
mod retries;
mod scheduling;
mod splitting;
mod strictness;
mod thresholds;

use crate::case::Case;

/// Every case of all suites, in the order listed; the runner sorts them by impact.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        architecture::CASES,
        figure2::LINKS,
        figure2::CASES,
        registration::CASES,
        authentication::CASES,
        link_state::CASES,
        hostile::CASES,
        flooding::CASES,
        freshness::CASES,
        lifetime::CASES,
        grants::CASES,
        retries::CASES,
        strictness::CASES,
        insider::CASES,
        captured::CASES,
        forwarding::CASES,
        splitting::CASES,
        anycast::CASES,
        outage::CASES,
        partition::CASES,
        invocation::CASES,
        bulk::CASES,
        measurement::CASES,
        thresholds::CASES,
        policy::CASES,
        presets::CASES,
        programs::CASES,
        scheduling::CASES,
        congestion::CASES,
        claims::CASES,
        domain::CASES,
    ]
    .concat()
}
