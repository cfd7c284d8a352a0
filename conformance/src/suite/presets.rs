//! Preset conditions that change while the network runs: GAP-15.

use std::time::Duration;

use damc_impair::DirectionChange;
use damc_mgmt::command::{Command, Preset};
use damc_mgmt::view::PathView;
use damc_mgmt::words::Metric;
use damc_testbed::{Direction, WorldError};
use damc_wire::{Message, NodeId, Role};

use super::congestion::companion;
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::quality::Leg;
use crate::testbed::witness::parse;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases of GAP-15.
pub const CASES: &[Case] = &[case!(
    Qos,
    "gap-15",
    "A threshold ordered at run time moves the traffic of its SG to its service, and no other",
    ["GAP-15"],
    Links,
    at_run_time
)];

/// Reports of an SG after which the SCSC has judged by the conditions in force.
const REPORTS: usize = 4;

/// Delays, ns, of a leg's plain path: on its calm link, and on the slowed one.
struct Slowed {
    calm: u64,
    slow: u64,
}

impl Slowed {
    /// Makes the first link of a leg slower, far inside the preset conditions.
    async fn slow_down(testbed: &Testbed, leg: &Leg) -> Result<Self, Stop> {
        let (sg, target) = (leg.sg.as_str(), leg.target.as_str());
        let calm = |v: &PathView| v.violated.is_empty() && v.delay_ns.is_some_and(|d| d < leg.limits.delay_ns / 3);
        let before = testbed.wait_quality((sg, target), "calm", testbed.t_return(), calm).await?;
        let added = leg.limits.delay_ns * 2 / 5;
        let at_first = testbed.lab.link_status(sg, &leg.far).await?.forward.delay_ns;
        let slower = DirectionChange { delay_ns: Some(at_first + added), ..DirectionChange::default() };
        testbed.impair((sg, &leg.far), Direction::Both, slower).await?;
        let calm = before.delay_ns.unwrap_or(0);
        let slowed = |v: &PathView| v.violated.is_empty() && v.delay_ns.is_some_and(|d| d > calm + added / 5 * 4);
        let after = testbed.wait_quality((sg, target), "slower, within its limits", testbed.t_policy(), slowed).await?;
        Ok(Self { calm, slow: after.delay_ns.unwrap_or(0) })
    }

    /// A threshold that the slowed path is beyond, and a detour over calm links is not.
    const fn between(&self) -> u64 {
        self.slow - (self.slow - self.calm) / 4
    }
}

impl Testbed {
    /// Orders the SCSC to judge the delay of paths to `target` by `delay_ns` from now on; none: as configured.
    async fn preset_delay(&self, sg: &str, target: &str, delay_ns: Option<u64>) -> Result<(), Stop> {
        let scsc = self.scsc()?;
        let order = |delay_ns| -> Result<Command, Stop> {
            let source = Some(NodeId::new(sg).map_err(|e| Stop::Inconclusive(e.to_string()))?);
            let preset = Preset { delay_ns, ..Preset::default() };
            Ok(Command::Thresholds { prefix: Some(parse(target)?), source, preset })
        };
        self.undo_later((scsc.clone(), order(None)?));
        self.order(&scsc, &order(delay_ns)?).await?;
        Ok(())
    }

    /// Waits until the SCSC has got some more reports of an SG.
    async fn wait_reports(&self, sg: &str, from: u64) -> Result<(), Stop> {
        let scsc = self.scsc()?;
        let within = Duration::from_millis(self.timers.telemetry_interval_ms) * 8 + self.t_conv();
        self.wait(&format!("{REPORTS} reports of {sg}"), within, || async {
            let frames = self.frames(from).await.map_err(|e| WorldError::Lab(e.to_string()))?;
            let reports = frames.iter().filter(|s| {
                let told = matches!(s.message(), Message::Telemetry(t) if t.certificate.node.as_str() == sg);
                told && !s.sent && s.node == scsc
            });
            let count = reports.count();
            Ok(if count >= REPORTS { Ok(()) } else { Err(format!("{count} came")) })
        })
        .await
    }
}

async fn at_run_time(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let leg = testbed.legs(4)?.into_iter().find(|leg| companion(testbed, leg).is_ok());
    let leg = leg.ok_or_else(|| Stop::NotApplicable("no link that two services share".into()))?;
    let other = companion(testbed, &leg)?;
    let (sg, target) = (leg.sg.as_str(), leg.target.as_str());
    let slowed = Slowed::slow_down(testbed, &leg).await?;
    let threshold = slowed.between();
    let beyond = |v: &PathView| v.delay_ns.is_some_and(|d| d > threshold);
    testbed.wait_quality((sg, &other), "over the same slow link", testbed.t_policy(), beyond).await?;
    of_another_sg(testbed, findings, &leg, threshold).await?;
    let from = testbed.now_ns();
    testbed.preset_delay(sg, target, Some(threshold)).await?;
    reacts(testbed, findings, &leg, from).await?;
    testbed.wait_reports(sg, from).await?;
    let raised = testbed.violations(from, sg, &other).await?;
    findings.never(
        raised.is_empty(),
        format!("{sg} → {other}, as slow over the same link, keeps its own threshold"),
        format!("raised {raised:?}"),
    );
    let policies = testbed.lab.policies(&testbed.scsc()?).await?.policies;
    let strange: Vec<_> = policies.iter().filter(|p| p.source != sg || p.prefix != target).collect();
    findings.never(strange.is_empty(), format!("only {sg} → {target} is steered"), format!("{strange:?}"));
    testbed.preset_delay(sg, target, None).await?;
    testbed.wait_unsteered(testbed.t_return()).await?;
    let reply = testbed.call(&leg.pod, target, "whoami", &[]).await?;
    let what = "with the configured threshold again, calls take the slow link as before";
    findings.check_eq(&reply.path, &leg.plain, what);
    testbed.mend(sg, &leg.far).await?;
    Ok(())
}

/// A threshold of another SG's traffic to the same service is nothing to the leg's SG.
async fn of_another_sg(testbed: &Testbed, findings: &mut Findings, leg: &Leg, threshold: u64) -> Result<(), Stop> {
    let (sg, target) = (leg.sg.as_str(), leg.target.as_str());
    let Some(elsewhere) = testbed.of_kind(&[Role::Sg]).into_iter().find(|other| other != sg) else {
        return Err(Stop::NotApplicable("one SG only".into()));
    };
    let from = testbed.now_ns();
    testbed.preset_delay(&elsewhere, target, Some(threshold)).await?;
    testbed.wait_reports(sg, from).await?;
    let raised = testbed.violations(from, sg, target).await?;
    findings.never(
        raised.is_empty(),
        format!("a threshold for {elsewhere} → {target} is not one for {sg} → {target}"),
        format!("raised {raised:?}"),
    );
    testbed.preset_delay(&elsewhere, target, None).await
}

/// The SCSC raises a violation of the delay and steers the leg's traffic away from the slow link.
async fn reacts(testbed: &Testbed, findings: &mut Findings, leg: &Leg, from: u64) -> Result<(), Stop> {
    let (sg, target) = (leg.sg.as_str(), leg.target.as_str());
    let steering = testbed.wait_steered(sg, target, testbed.t_policy()).await?;
    let raised = testbed.violations(from, sg, target).await?;
    findings.check_saw(
        raised.iter().any(|(_, metrics)| metrics == &[Metric::Delay]),
        format!("{sg} → {target}: the ordered threshold raises a violation of the delay"),
        format!("raised {raised:?}"),
    );
    findings.check_saw(
        steering.path.get(1) != Some(&leg.far),
        format!("{sg} → {target} leaves the slow link by policy"),
        format!("path {:?}", steering.path),
    );
    let reply = testbed.call(&leg.pod, target, "whoami", &[]).await?;
    findings.check_eq(&reply.path, &steering.path, "calls take the path of the policy");
    Ok(())
}
