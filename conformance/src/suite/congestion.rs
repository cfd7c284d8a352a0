//! Load on a link: the SCSC weighs topology and quality together.

use std::time::Duration;

use damc_impair::DirectionChange;
use damc_testbed::Direction;

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::quality::{Leg, Steering};
use crate::testbed::traffic::Thrown;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases of congestion.
pub const CASES: &[Case] = &[case!(
    Qos,
    "pol-08",
    "A link that other traffic fills is left for a costlier path, and taken again when it is free",
    ["POL-08"],
    Links,
    filled_link
)];

/// Bytes of a frame that fills the link.
const FILLER: usize = 900;
/// Share of the link's rate that the filling frames ask for, per cent.
const OFFERED: u64 = 115;
/// Filling frames of one stream: some seconds of them.
const FILLERS: u32 = 10_000;

/// A service other than the leg's, on another SG, whose path from the leg's SG begins with the same link.
pub(super) fn companion(testbed: &Testbed, leg: &Leg) -> Result<String, Stop> {
    let expected = Oracle::new(&testbed.topology, &Failures::default()).expected(&leg.sg);
    let shares =
        |name: &String| expected.get(name).is_some_and(|e| e.next_hops.len() == 1 && e.next_hops.contains(&leg.far));
    let services = testbed.topology.nodes().values().flat_map(|n| &n.services).map(|s| s.prefix.to_string());
    let found = services.filter(|name| *name != leg.target).find(shares);
    found.ok_or_else(|| Stop::NotApplicable(format!("only {} is reached over {} – {}", leg.target, leg.sg, leg.far)))
}

async fn filled_link(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let leg = testbed.legs(4)?.into_iter().find(|leg| companion(testbed, leg).is_ok());
    let leg = leg.ok_or_else(|| Stop::NotApplicable("no link that two services share".into()))?;
    let other = companion(testbed, &leg)?;
    // Enough for the preset bandwidth, and a queue that holds more than the preset delay.
    let rate = leg.limits.bandwidth_bps * 3 / 2;
    let queue = rate / 8 / FILLER as u64 * leg.limits.delay_ns / 1_000_000_000 * 4;
    let limit = u32::try_from(queue).unwrap_or(u32::MAX);
    let narrow = DirectionChange { rate_bps: Some(rate), limit: Some(limit), ..DirectionChange::default() };
    testbed.impair((&leg.sg, &leg.far), Direction::Forward, narrow).await?;
    let calm = |v: &damc_mgmt::view::PathView| v.violated.is_empty() && v.bandwidth_bps.is_some_and(|b| b < rate * 2);
    let what = "the narrow link, unused: within the preset conditions";
    testbed.wait_quality((&leg.sg, &leg.target), what, testbed.t_policy(), calm).await?;
    let before = testbed.call(&leg.pod, &leg.target, "whoami", &[]).await?;
    findings.check_eq(&before.path, &leg.plain, "while the link is free calls take it");
    let bits = (FILLER as u64 + 100) * 8 * 100 / OFFERED;
    let spacing = Duration::from_nanos(bits * 1_000_000_000 / rate);
    let span = testbed.t_policy() * 2;
    let steering = filled_until_steered(testbed, &leg, &other, (spacing, span)).await?;
    let costs = Oracle::new(&testbed.topology, &Failures::default());
    let (plain, taken) = (costs.path_cost(&leg.plain), costs.path_cost(&steering.path));
    findings.check_saw(
        steering.path.get(1) != Some(&leg.far) && taken >= plain,
        format!("while {other} fills the link, {} → {} avoids it", leg.sg, leg.target),
        format!("path {:?} at cost {taken:?} instead of {plain:?}", steering.path),
    );
    testbed.mend(&leg.sg, &leg.far).await?;
    testbed.wait_unsteered(testbed.t_return() + span).await?;
    findings.check(true, "when the link is free the traffic is back on its plain path");
    Ok(())
}

/// Fills the leg's first link by requests for `other`, one every `spacing`, until the traffic of the leg is steered: within
/// `span`.
async fn filled_until_steered(
    testbed: &Testbed,
    leg: &Leg,
    other: &str,
    (spacing, span): (Duration, Duration),
) -> Result<Steering, Stop> {
    let source = testbed.service_of(&leg.pod)?;
    let deadline = testbed.deadline(span);
    let lasts = spacing * FILLERS;
    loop {
        let first = testbed.correlations();
        let mut filling = Vec::new();
        for correlation in first..first + u64::from(FILLERS) {
            let echo = Thrown::echo(other, &source, correlation)?;
            filling.push(Thrown { deadline_ms: 0, payload: vec![0; FILLER], ..echo });
        }
        testbed.stream(&leg.pod, &leg.sg, &filling, spacing).await?;
        match testbed.wait_steered(&leg.sg, &leg.target, lasts).await {
            Err(Stop::Failed(_)) if testbed.now_ns() < deadline => {}
            ended => return ended,
        }
    }
}
