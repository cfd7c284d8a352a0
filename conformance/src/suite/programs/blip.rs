//! Links that are silent for a moment under open connections.

use std::collections::BTreeMap;
use std::time::Duration;

use damc_testbed::Direction;

use super::held::State;
use crate::case::{Findings, Stop};
use crate::testbed::Testbed;

/// How long a link is silent: as long as three echoes take.
const SILENCE: Duration = Duration::from_millis(150);
/// Connections held, and how many of them only listen.
const CONNECTIONS: usize = 50;
const IDLE: usize = 10;
/// Time a connection has to go on: TCP may retransmit a lost segment only after twice the length of the outage, and more
/// than once.
const GOES_ON: Duration = Duration::from_secs(8);

pub(super) async fn every_link(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["python3"]).await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let _web = testbed.serve_web(&testbed.owner_of(&target)?, &target).await?;
    let host = testbed.host(&target)?;
    let kind = |number| if number < IDLE { "idle" } else { "busy" };
    let connections: Vec<_> = (0..CONNECTIONS).map(|number| (kind(number), host.clone())).collect();
    let mut held = testbed.hold(&caller, &connections).await?;
    let mut lost = 0;
    for link in testbed.topology.links() {
        let (a, b) = (link.a.as_str(), link.b.as_str());
        let flaps = testbed.flaps(&[a, b]).await?;
        testbed.lab.silence(a, b, Direction::Both, true).await?;
        testbed.lab.sleep(SILENCE).await;
        testbed.lab.silence(a, b, Direction::Both, false).await?;
        let loud = testbed.now_ns();
        lost += usize::from(testbed.flaps(&[a, b]).await? > flaps);
        testbed.lab.wait_converged(testbed.t_conv() * 2).await?;
        let before = held.since(loud).await?;
        held.ask().await?;
        held.until(
            &format!("every connection goes on after {a}–{b} was silent"),
            testbed.host.stretched(GOES_ON),
            |now| {
                let ended = now.iter().any(|n| n.end.is_some());
                let all = now.iter().zip(&before).all(|(n, b)| n.went_on_since(b));
                if ended || all { Ok(()) } else { Err(described(now)) }
            },
        )
        .await?;
        let ended = held.latest().iter().filter(|state| state.end.is_some()).count();
        findings.check_saw(
            ended == 0,
            format!("{} ms of silence on {a}–{b} end none of {CONNECTIONS} connections", SILENCE.as_millis()),
            described(held.latest()),
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of links")]
    findings.figure("links whose adjacency the silence took down", lost as f64, "links");
    Ok(())
}

/// How many connections are in which state.
fn described(states: &[State]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for state in states {
        *counts.entry(format!("{} {}", state.kind, state.end.as_deref().unwrap_or("open"))).or_default() += 1;
    }
    let counts = counts.iter().map(|(state, count)| format!("{count} {state}"));
    counts.collect::<Vec<_>>().join(", ")
}
