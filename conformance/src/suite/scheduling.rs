//! Section J beyond thresholds: failing instances, equal instances, switches under load, reports that stop or are late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_mgmt::command::Command;
use damc_mgmt::words::RouteSource;
use damc_testbed::Direction;
use damc_testbed::WorldError;
use damc_wire::message::{PolicyAction, Telemetry};
use damc_wire::{Message, MessageType, Role};

use super::forged::{Steer, encoded, routed};
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::quality::policies_at_recipients;
use crate::testbed::traffic::Thrown;
use crate::testbed::witness::parse;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases of scheduling.
pub const CASES: &[Case] = &[
    case!(
        Qos,
        "pol-07",
        "Requests to a pool move from an instance that ends to another one, and come back when it is back",
        ["POL-07"],
        Guest,
        failing_instance
    ),
    case!(
        Qos,
        "pol-11",
        "Two instances at equal cost each get about half of the flows of an SG",
        ["POL-11"],
        Guest,
        equal_instances
    ),
    case!(
        Qos,
        "pol-13",
        "During many policy switches no request is lost, doubled or looped",
        ["POL-13"],
        Guest,
        switches_under_load
    ),
    case!(
        Qos,
        "pol-14",
        "Without reports of an SG its policy ends and no other follows, however bad its path is",
        ["POL-14"],
        Links,
        reports_stop
    ),
    case!(
        Qos,
        "qos-04",
        "Reports that the SCSC could not get are delivered afterwards, in order and with their ages",
        ["QOS-04", "GAP-09"],
        Links,
        late_reports
    ),
];

/// Calls between two looks at what follows a change.
const CALLS: usize = 20;

/// A pod, its SG, and the services of a pool: that of the pod, which is nearest, and the others.
fn own_pool(testbed: &Testbed) -> Result<(String, String, String, BTreeSet<String>), Stop> {
    let mut pools: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in testbed.topology.of_kind(Role::Pod).flat_map(|p| &p.services) {
        if let Some(pool) = &service.pool {
            pools.entry(pool.to_string()).or_default().insert(service.prefix.to_string());
        }
    }
    for (pool, members) in pools {
        for member in &members {
            let pod = testbed.owner_of(member)?;
            let elsewhere: BTreeSet<String> =
                members.iter().filter(|m| testbed.owner_of(m).is_ok_and(|owner| owner != pod)).cloned().collect();
            if elsewhere.len() + 1 == members.len() && !elsewhere.is_empty() {
                return Ok((pod, pool, member.clone(), elsewhere));
            }
        }
    }
    Err(Stop::NotApplicable("no pool with instances in several pods".into()))
}

/// Calls a pool until the answer comes from one of `instances`.
async fn answered_by(
    testbed: &Testbed,
    (pod, pool): (&str, &str),
    instances: &BTreeSet<String>,
    within: Duration,
) -> Result<String, Stop> {
    let what =
        format!("{pod} gets an answer of {pool} from {}", Vec::from_iter(instances.iter().cloned()).join(" or "));
    testbed
        .wait(&what, within, || async {
            let reply = testbed.call(pod, pool, "whoami", &[]).await?;
            Ok(match reply.result {
                Some(who) if instances.contains(&who) => Ok(who),
                other => Err(format!("result {other:?}, error {:?}", reply.error)),
            })
        })
        .await
}

async fn failing_instance(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let (pod, pool, own, others) = own_pool(testbed)?;
    let first = BTreeSet::from([own.clone()]);
    answered_by(testbed, (&pod, &pool), &first, testbed.t_conv()).await?;
    findings.check(true, format!("{pod} calls {pool} at {own}, the nearest instance"));
    let prefix = parse(&own)?;
    testbed.order(&pod, &Command::StopService { prefix: prefix.clone() }).await?;
    let judged = moved_away(testbed, findings, (&pod, &pool), &others).await;
    testbed.order(&pod, &Command::StartService { prefix, pool: None }).await?;
    judged?;
    answered_by(testbed, (&pod, &pool), &first, testbed.t_return()).await?;
    findings.check(true, format!("with {own} back, calls of {pool} come back to it"));
    Ok(())
}

/// The instance of the pod has ended: calls of the pool are answered by another one, and none of them is lost any more.
async fn moved_away(
    testbed: &Testbed,
    findings: &mut Findings,
    (pod, pool): (&str, &str),
    others: &BTreeSet<String>,
) -> Result<(), Stop> {
    let from = testbed.now_ns();
    // The pod of the instance may have no other service left to call from.
    let caller = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| p != pod && testbed.service_of(p).is_ok());
    let caller = caller.ok_or_else(|| Stop::NotApplicable("one pod only".into()))?;
    let who = answered_by(testbed, (&caller, pool), others, testbed.t_conv()).await?;
    let took = testbed.now_ns().saturating_sub(from);
    findings.figure("end of an instance to an answer of another one", took as f64 / 1e6, "ms");
    let mut lost = Vec::new();
    for _ in 0..CALLS {
        let reply = testbed.call(&caller, pool, "whoami", &[]).await?;
        if !reply.result.as_ref().is_some_and(|who| others.contains(who)) {
            lost.push(format!("{:?} {:?}", reply.result, reply.error));
        }
    }
    findings.check_eq(&lost, &Vec::new(), format!("calls of {pool} that do not reach {who} or another instance"));
    Ok(())
}

/// Flows of the case: with two instances, shares outside 45 to 55 % are 4.5 standard deviations off.
const FLOWS: u32 = 2000;

async fn equal_instances(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let (pod, sg, pool, pods) = two_at_equal_cost(testbed).await?;
    let source = testbed.service_of(&pod)?;
    let (from, first) = (testbed.now_ns(), testbed.correlations());
    let mut thrown = Vec::new();
    for (correlation, flow) in (first..).zip(0..FLOWS) {
        // Deadline 0: the answers are not needed.
        thrown.push(Thrown { deadline_ms: 0, ..Thrown::echo(&pool, &source, correlation)?.flow(flow) });
    }
    testbed.stream(&pod, &sg, &thrown, testbed.spacing(Duration::from_micros(700))).await?;
    let ours = first..first + u64::from(FLOWS);
    let arrived = || async {
        let mut shares = BTreeMap::new();
        for pod in &pods {
            let at = testbed.requests_at(pod, from).await.map_err(|e| WorldError::Lab(e.to_string()))?;
            shares.insert(pod.clone(), at.into_iter().filter(|c| ours.contains(c)).count());
        }
        Ok::<_, WorldError>(shares)
    };
    let what = format!("95 % of {FLOWS} flows from {sg} to {pool} arrive");
    let least = FLOWS as usize * 95 / 100;
    let shares = testbed
        .wait(&what, testbed.t_conv(), || async {
            let shares = arrived().await?;
            Ok(if shares.values().sum::<usize>() >= least { Ok(shares) } else { Err(format!("{shares:?}")) })
        })
        .await?;
    let all: usize = shares.values().sum();
    findings.figure(format!("flows to {pool} that arrive"), all as f64 * 100.0 / f64::from(FLOWS), "%");
    for (pod, count) in &shares {
        let percent = *count as f64 * 100.0 / all as f64;
        findings.check_saw(
            (45.0..=55.0).contains(&percent),
            format!("the instance of {pod} gets 45 to 55 % of the flows"),
            format!("{percent:.1} %"),
        );
    }
    Ok(())
}

/// A pod whose SG has the instances of two other pods at equal cost: pod, SG, pool, the two pods.
async fn two_at_equal_cost(testbed: &Testbed) -> Result<(String, String, String, Vec<String>), Stop> {
    for (sg, fib) in testbed.fibs().await? {
        let Some(pod) = testbed.beside(&sg, Role::Pod)?.into_iter().find(|p| testbed.service_of(p).is_ok()) else {
            continue;
        };
        for entry in fib.entries.iter().filter(|e| e.exact && e.source == RouteSource::Spf && e.next_hops.len() == 2) {
            let pods: Vec<String> = entry.origin.iter().filter_map(|origin| testbed.pod_of(origin).ok()).collect();
            // Where each next hop leads to one of them, shares of paths are shares of instances.
            let mut beyond = BTreeSet::new();
            for hop in &entry.next_hops {
                let fib = testbed.lab.fib(&hop.node).await?;
                beyond.extend(fib.entries.iter().filter(|e| e.prefix == entry.prefix).map(|e| e.origin.clone()));
            }
            let one_each = beyond.len() == 2 && beyond.iter().all(|origins| origins.len() == 1);
            if pods.len() == 2 && entry.origin.len() == 2 && one_each {
                return Ok((pod, sg, entry.prefix.clone(), pods));
            }
        }
    }
    Err(Stop::NotApplicable("no SG has two instances of a pool at equal cost over two next hops".into()))
}

/// Policy switches of the case.
const SWITCHES: u64 = 100;

async fn switches_under_load(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let leg = testbed.legs(1)?.remove(0);
    let others = testbed.beside(&leg.sg, Role::Sr)?.into_iter().find(|r| *r != leg.far);
    let other = others.ok_or_else(|| Stop::NotApplicable(format!("{} has one SR only", leg.sg)))?;
    let (source, owner) = (testbed.service_of(&leg.pod)?, testbed.owner_of(&leg.target)?);
    let (from, first) = (testbed.now_ns(), testbed.correlations());
    // Five requests for each switch.
    let count = SWITCHES * 5;
    let mut thrown = Vec::new();
    for correlation in first..first + count {
        thrown.push(Thrown { deadline_ms: 0, ..Thrown::echo(&leg.target, &source, correlation)? });
    }
    testbed.stream(&leg.pod, &leg.sg, &thrown, testbed.spacing(Duration::from_millis(2))).await?;
    let label = 0x7ffd_0000 | u32::try_from(testbed.unique()).unwrap_or(0);
    for version in 1..=SWITCHES {
        let next_hop = if version % 2 == 0 { &leg.far } else { &other };
        let steer =
            Steer { sg: &leg.sg, next_hop, target: &leg.target, label, version, expires_in: testbed.t_policy() };
        testbed.inject_routed(&leg.far, &leg.sg, vec![encoded(steer.signed(testbed)?)?]).await?;
    }
    let what = format!("all of {count} requests of {} arrive at {owner}", leg.pod);
    testbed
        .wait(&what, testbed.t_conv() * 4, || async {
            let at = testbed.requests_at(&owner, from).await.map_err(|e| WorldError::Lab(e.to_string()))?;
            let at = at.into_iter().filter(|c| (first..first + count).contains(c)).count() as u64;
            Ok(if at == count { Ok(()) } else { Err(format!("{at}")) })
        })
        .await?;
    findings.check(true, what);
    travelled_once(testbed, findings, from, first..first + count, &owner).await?;
    let frames = testbed.frames(from).await?;
    let told = frames.iter().filter(|s| !s.sent && s.node == leg.sg && s.message_type() == MessageType::Policy).count();
    findings.check_saw(told as u64 >= SWITCHES, format!("{SWITCHES} policies reach {}", leg.sg), told);
    testbed.wait_unsteered(testbed.t_return()).await
}

/// No request of these numbers passes a node twice or arrives twice.
async fn travelled_once(
    testbed: &Testbed,
    findings: &mut Findings,
    from: u64,
    numbers: std::ops::Range<u64>,
    owner: &str,
) -> Result<(), Stop> {
    let mut visits: BTreeMap<(u64, String), usize> = BTreeMap::new();
    for seen in testbed.frames(from).await?.iter().filter(|s| !s.sent) {
        if let Some(number) = seen.request().filter(|n| numbers.contains(n)) {
            *visits.entry((number, seen.node.clone())).or_default() += 1;
        }
    }
    let twice: Vec<_> = visits.iter().filter(|(_, count)| **count > 1).collect();
    let doubled = twice.iter().filter(|((_, node), _)| node == owner).count();
    findings.none(&doubled, "no requests that arrive twice");
    findings.none(&(twice.len() - doubled), "no requests that pass a node twice");
    Ok(())
}

/// Reports of an SG that say nothing, with numbers far ahead of its own: the SCSC takes its true reports for old ones.
struct Mute {
    sg: String,
    at: String,
    next: std::cell::Cell<u64>,
}

impl Mute {
    /// Distance from the true numbers: more than the SCSC takes for a mere disorder.
    const LEAD: u64 = 1 << 40;

    async fn new(testbed: &Testbed, sg: &str) -> Result<Self, Stop> {
        let scsc = testbed.scsc()?;
        let at = testbed.beside(&scsc, Role::Sr)?.into_iter().next();
        let at = at.ok_or_else(|| Stop::NotApplicable(format!("{scsc} has no SR")))?;
        let newest = newest_report(testbed, sg).await?;
        Ok(Self { sg: sg.into(), at, next: std::cell::Cell::new(newest + Self::LEAD) })
    }

    async fn again(&self, testbed: &Testbed) -> Result<(), Stop> {
        let scsc = testbed.scsc()?;
        let sequence = self.next.get();
        self.next.set(sequence + 1);
        let nothing = Telemetry { sequence, paths: Vec::new(), links: Vec::new() };
        let pdu = routed(testbed, (&self.sg, &scsc), nothing, Message::Telemetry)?;
        testbed.inject_routed(&self.at, &scsc, vec![pdu]).await
    }
}

/// Number of the newest recorded report of a node.
async fn newest_report(testbed: &Testbed, node: &str) -> Result<u64, Stop> {
    let sent = testbed.history(|t| t == MessageType::Telemetry).await?;
    let numbers = sent.iter().filter(|s| s.sent && s.node == node).filter_map(|s| number_of(s, node));
    numbers.max().ok_or_else(|| Stop::Inconclusive(format!("no telemetry of {node} was recorded")))
}

fn number_of(seen: &Seen, signer: &str) -> Option<u64> {
    match seen.message() {
        Message::Telemetry(t) if t.certificate.node.as_str() == signer => Some(t.body.sequence),
        _ => None,
    }
}

async fn reports_stop(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let leg = testbed.legs(1)?.remove(0);
    let slow = DirectionChange { delay_ns: Some(leg.limits.delay_ns * 2), ..DirectionChange::default() };
    testbed.impair((&leg.sg, &leg.far), Direction::Both, slow).await?;
    testbed.wait_steered(&leg.sg, &leg.target, testbed.t_policy()).await?;
    findings.check(true, format!("{} leaves its bad path to {} by a policy", leg.sg, leg.target));
    let mute = Mute::new(testbed, &leg.sg).await?;
    mute.again(testbed).await?;
    let stopped = testbed.now_ns();
    let stale = Duration::from_millis(testbed.timers.staleness_ms);
    let within = stale + Duration::from_millis(testbed.timers.policy_lifetime_ms) + testbed.t_conv();
    let what = format!("{} forwards {} by its plain route, bad as it is", leg.sg, leg.target);
    testbed
        .wait(&what, within, || async {
            // The SCSC forgets a sender after a while, and would then take its true reports again.
            mute.again(testbed).await.map_err(|e| WorldError::Lab(e.to_string()))?;
            let fib = testbed.lab.fib(&leg.sg).await?;
            let steered = fib.entries.iter().any(|e| e.prefix == leg.target && e.source == RouteSource::Policy);
            Ok(if steered { Err("the policy is still in force".into()) } else { Ok(()) })
        })
        .await?;
    findings.check(true, what);
    let after = stopped + u64::try_from(stale.as_nanos()).unwrap_or(u64::MAX);
    let frames = testbed.frames(after).await?;
    let issued = policies_at_recipients(&frames, &leg.sg, &leg.target)
        .filter(|p| matches!(p.action, PolicyAction::Ingress { .. }))
        .count();
    findings.none(&issued, "no policies that are issued or prolonged once the reports are stale");
    testbed.mend(&leg.sg, &leg.far).await?;
    // The SCSC takes up the true reports once it has forgotten the forged numbers.
    testbed.wait_unsteered(testbed.t_return() + 4 * stale).await
}

async fn late_reports(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (scsc, sgs) = (testbed.scsc()?, testbed.of_kind(&[Role::Sg]));
    let routers = testbed.beside(&scsc, Role::Sr)?;
    let outage = Duration::from_millis(testbed.timers.telemetry_interval_ms) * 8;
    for router in &routers {
        testbed.cut(&scsc, router).await?;
    }
    let cut = testbed.now_ns();
    testbed
        .wait("the SCSC is cut off for eight telemetry periods", outage * 4, || async {
            let left = outage.saturating_sub(Duration::from_nanos(testbed.now_ns() - cut));
            Ok(if left.is_zero() { Ok(()) } else { Err(format!("{} ms left", left.as_millis())) })
        })
        .await?;
    for router in &routers {
        testbed.mend(&scsc, router).await?;
    }
    let mended = testbed.now_ns();
    for sg in &sgs {
        let what = format!("reports of {sg} up to the present arrive at {scsc}");
        let arrived = testbed
            .wait(&what, testbed.t_conv() * 2, || async {
                let arrived = reports(testbed, mended, (&scsc, false), sg).await;
                let arrived = arrived.map_err(|e| WorldError::Lab(e.to_string()))?;
                let fresh = arrived.iter().any(|(_, age)| *age < testbed.timers.telemetry_interval_ms);
                Ok(if fresh && arrived.len() > 8 { Ok(arrived) } else { Err(format!("{} reports", arrived.len())) })
            })
            .await?;
        let all: BTreeSet<u64> = arrived.iter().map(|(number, _)| *number).collect();
        let missing: Vec<u64> = all
            .first()
            .zip(all.last())
            .map_or_else(Vec::new, |(first, last)| (*first..=*last).filter(|number| !all.contains(number)).collect());
        findings.check_eq(&missing, &Vec::new(), format!("reports of {sg} that are missing at {scsc}"));
        // Judged where they leave: while routes settle, those of the new path overtake those of the old one.
        let sent = reports(testbed, mended, (sg, true), sg).await?;
        let disordered: Vec<_> = sent.windows(2).filter(|w| w[1].0 < w[0].0).map(|w| (w[0].0, w[1].0)).collect();
        findings.check_eq(&disordered, &Vec::new(), format!("reports that {sg} sends out of order"));
        let oldest = arrived.iter().map(|(_, age)| *age).max().unwrap_or(0);
        let half = u64::try_from(outage.as_millis() / 2).unwrap_or(u64::MAX);
        findings.check_saw(
            oldest >= half,
            format!("the first of them say that they are more than {half} ms old"),
            format!("{oldest} ms"),
        );
    }
    Ok(())
}

/// Reports of an SG that a node sent or got since `from`, each when it was the first of its number: number, and age of its
/// oldest path, ms.
async fn reports(testbed: &Testbed, from: u64, (node, sent): (&str, bool), sg: &str) -> Result<Vec<(u64, u64)>, Stop> {
    let frames = testbed.frames(from).await?;
    let mut known = BTreeSet::new();
    let mut reports = Vec::new();
    for seen in frames.iter().filter(|s| s.sent == sent && s.node == node) {
        if let (Some(number), Message::Telemetry(report)) = (number_of(seen, sg), seen.message())
            && known.insert(number)
        {
            reports.push((number, report.body.paths.iter().map(|p| p.age.0).max().unwrap_or(0)));
        }
    }
    Ok(reports)
}
