//! Rules that a hasty reader of the drafts leaves out, each judged by tables and frames: both ends of a link, order of
//! instances, names of pools, overload, equality at a threshold.

use std::time::Duration;

use damc_impair::{DirectionChange, Loss};
use damc_mgmt::command::Command;
use damc_mgmt::config::Thresholds;
use damc_mgmt::words::Metric;
use damc_testbed::Direction;
use damc_wire::lsa::{LsaContent, LsaId, LsaKey};
use damc_wire::message::{PathReport, Telemetry};
use damc_wire::{Message, MessageType, Millis, Role};

use super::forged::{edge, flood, newest_topology, routed};
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::quality::Leg;
use crate::testbed::witness::{lsas_in, parse};
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of strictness.
pub const CASES: &[Case] = &[
    case!(
        "rib-02-two-way",
        "A link that only one end lists carries nothing: what lies behind an SG that lists no link is not reachable",
        ["RIB-02", "RIB-06"],
        Nodes,
        one_sided_links
    ),
    case!(
        "lsa-stale",
        "An older instance of an LSA is neither installed nor passed on, and its bearer gets the newer one",
        ["GAP-05", "GAP-08", "RIB-01"],
        Guest,
        older_instance
    ),
    case!(
        "arc-06-pool-name",
        "The name of a pool matches itself only: a name below it that nobody registered has no route",
        ["ARC-06", "REG-03"],
        Calm,
        below_a_pool
    ),
    case!(
        "gap-22-overload",
        "An overloaded SR carries no transit, and its own names stay reachable",
        ["GAP-22"],
        Guest,
        overloaded
    ),
    case!(
        Qos,
        "qos-06-equal",
        "A reported bandwidth, delay or jitter violates at the threshold itself, and not one unit inside it",
        ["QOS-06"],
        Guest,
        at_the_threshold
    ),
];

async fn one_sided_links(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    let (victim, near) = edge(testbed)?;
    let (origin, role) = testbed.role(&victim)?;
    let other = [Role::Sg, Role::Sr]
        .iter()
        .find_map(|kind| testbed.beside(&near, *kind).ok()?.into_iter().find(|n| *n != victim));
    let other = other.ok_or_else(|| Stop::NotApplicable(format!("{near} has one neighbour only")))?;
    // A purge with the last sequence number cannot be outbid: the SG has to be silent while it lasts.
    let lifetime = Millis(u64::try_from(testbed.t_conv().as_millis()).unwrap_or(u64::MAX));
    let key = LsaKey { origin: origin.clone(), id: LsaId::Topology(0) };
    let purge = testbed.forge.keys(&origin, role).sign_lsa(key, u64::MAX, lifetime, LsaContent::Purge);
    let service = testbed.service_of(&testbed.pod_of(&victim)?)?;
    let caller = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| testbed.sg_of(p).is_ok_and(|sg| sg != victim));
    let caller = caller.ok_or_else(|| Stop::NotApplicable("one SG only".into()))?;
    flood(testbed, (&other, &near), &purge).await?;
    let what = format!("FIBs without what lies behind {victim}, whose links only their other ends list");
    testbed.settled(&Failures::default().node(&victim), &what).await?;
    findings.check(true, what);
    let from = testbed.now_ns();
    let reply = testbed.call(&caller, &service, "echo", &["anybody"]).await?;
    findings.check_eq(&reply.error.as_deref(), &Some("no-route"), format!("{caller} calls {service}"));
    let frames = testbed.frames(from).await?;
    let arrived =
        frames.iter().filter(|s| !s.sent && s.node == victim && s.port != caller && s.is_for(&service)).count();
    findings.none(&arrived, format!("no requests for {service} that arrive at {victim}"));
    // The SG speaks again once the tombstones are gone.
    let again = "FIBs of the whole graph again";
    let oracle = Oracle::new(&testbed.topology, &Failures::default());
    testbed
        .wait(again, lifetime.duration() + 4 * testbed.t_conv(), || async {
            let fibs = testbed.fibs().await?;
            Ok(oracle.first_difference(&fibs).map_or(Ok(()), Err))
        })
        .await?;
    findings.check(true, again);
    Ok(())
}

async fn older_instance(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let victim = testbed.routers().into_iter().find(|n| *n != sg && *n != sr);
    let victim = victim.ok_or_else(|| Stop::NotApplicable("no third SG or SR".into()))?;
    let kinds = [Role::Sr, Role::Sg];
    let far = kinds.iter().find_map(|kind| testbed.beside(&victim, *kind).ok()?.into_iter().next());
    let far = far.ok_or_else(|| Stop::NotApplicable(format!("{victim} has no neighbour")))?;
    let old = newest_topology(testbed, &victim).await?;
    // Another cost makes another instance.
    let cost = testbed.configured_cost(&victim, &far);
    testbed.set_cost(&victim, &far, cost + 1).await?;
    let sequence_at = |node: String| {
        let origin = old.key.origin.to_string();
        async move {
            let lsdb = testbed.lab.lsdb(&node).await?;
            let held = lsdb.lsas.iter().find(|l| l.origin == origin && l.id == "0" && l.port.is_none());
            Ok::<_, damc_testbed::WorldError>(held.map_or(0, |l| l.sequence))
        }
    };
    let newer = testbed
        .wait(&format!("{sr} holds a newer instance of the topology LSA of {victim}"), testbed.t_conv(), || async {
            let held = sequence_at(sr.clone()).await?;
            Ok(if held > old.sequence { Ok(held) } else { Err(format!("sequence {held}")) })
        })
        .await?;
    // A copy that is still on its way to the neighbour would be the answer, and nothing more would follow.
    testbed
        .wait(&format!("{sg} has acknowledged all LSAs of {sr}"), testbed.t_conv(), || async {
            let rows = testbed.lab.neighbors(&sr).await?.neighbors;
            let waiting = rows.iter().find(|row| row.port == sg).map(|row| row.unacknowledged);
            Ok(if waiting == Some(0) { Ok(()) } else { Err(format!("{waiting:?} unacknowledged")) })
        })
        .await?;
    let from = testbed.now_ns();
    testbed.inject_as(&sg, &sr, Message::LsUpdate(vec![old.clone()])).await?;
    let what = format!("{sr} answers instance {} of {victim} by a newer one", old.sequence);
    let is_newer = |l: &damc_wire::lsa::Lsa| l.key == old.key && l.sequence > old.sequence;
    testbed
        .wait_frame(&what, from, testbed.t_conv(), |s| s.is_sent_by(&sr, &sg) && lsas_in(s).iter().any(is_newer))
        .await?;
    findings.check(true, what);
    let frames = testbed.frames(from).await?;
    let copies = frames.iter().filter(|s| s.sent && (&s.node, &s.port) != (&sg, &sr));
    let copies = copies.filter(|s| lsas_in(s).iter().any(|l| l.key == old.key && l.sequence == old.sequence));
    let spread: Vec<_> = copies.map(|s| format!("{} → {}", s.node, s.port)).collect();
    findings.none(&spread, "no links on which the older instance is passed on");
    for node in testbed.routers() {
        let held = sequence_at(node.clone()).await?;
        findings.check_saw(held >= newer, format!("{node} holds instance {newer} or a newer one"), format!("{held}"));
    }
    testbed.set_cost(&victim, &far, cost).await?;
    testbed.settled(&Failures::default(), "FIBs with the configured cost").await
}

async fn below_a_pool(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let pools = testbed.topology.of_kind(Role::Pod).flat_map(|p| &p.services).filter_map(|s| s.pool.as_ref());
    let pool = pools.map(ToString::to_string).next().ok_or_else(|| Stop::NotApplicable("no pool".into()))?;
    for pod in testbed.of_kind(&[Role::Pod]).into_iter().filter(|p| testbed.service_of(p).is_ok()) {
        let name = format!("{pool}/nobody-{}", testbed.unique());
        let from = testbed.now_ns();
        let known = testbed.call(&pod, &pool, "whoami", &[]).await?;
        findings.check_eq(&known.error, &None, format!("{pod} calls {pool}"));
        let reply = testbed.call(&pod, &name, "whoami", &[]).await?;
        findings.check_eq(&reply.error.as_deref(), &Some("no-route"), format!("{pod} calls {name}"));
        let frames = testbed.frames(from).await?;
        let passed: Vec<_> =
            frames.iter().filter(|s| s.sent && s.node != pod && s.is_for(&name)).map(|s| &s.node).collect();
        findings.none(&passed, format!("no nodes that pass a request for {name} on"));
    }
    Ok(())
}

async fn overloaded(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    let (caller, target, chain) = testbed.far_pair().await?;
    let routers = testbed.of_kind(&[Role::Sr]);
    let node = chain.iter().find(|n| routers.contains(n)).cloned();
    let node = node.ok_or_else(|| Stop::NotApplicable("no SR between the SGs".into()))?;
    testbed.order(&node, &Command::Overload { on: true }).await?;
    let judged = without_transit(testbed, findings, (&caller, &target), &node).await;
    testbed.order(&node, &Command::Overload { on: false }).await?;
    judged?;
    testbed.settled(&Failures::default(), "FIBs of the whole graph once the overload is over").await
}

async fn without_transit(
    testbed: &Testbed,
    findings: &mut Findings,
    (caller, target): (&str, &str),
    node: &str,
) -> Result<(), Stop> {
    let failures = Failures::default().overload(node);
    let what = format!("FIBs without transit through {node}, its own names still in them");
    testbed.settled(&failures, &what).await?;
    findings.check(true, what);
    let reply = testbed.call(caller, target, "whoami", &[]).await?;
    let (sg, end) = (testbed.sg_of(caller)?, testbed.sg_of(&testbed.owner_of(target)?)?);
    let oracle = Oracle::new(&testbed.topology, &failures);
    match oracle.distance(&sg, &end) {
        Some(least) => findings.check_saw(
            reply.error.is_none()
                && !reply.path.iter().any(|n| n == node)
                && oracle.path_cost(&reply.path) == Some(least),
            format!("{caller} calls {target} around {node} at cost {least}"),
            format!("path {:?}, error {:?}", reply.path, reply.error),
        ),
        None => findings.check_eq(&reply.error.as_deref(), &Some("no-route"), format!("{caller} calls {target}")),
    }
    Ok(())
}

/// Reports of an SG about the path of a leg; all values inside their thresholds unless `change` alters them.
fn report(leg: &Leg, change: impl FnOnce(&mut PathReport)) -> Result<PathReport, Stop> {
    let Thresholds { bandwidth_bps, delay_ns, jitter_ns } = leg.limits;
    let mut report = PathReport {
        target: parse(&leg.target)?,
        label: 0,
        delay_ns: Some(delay_ns - 1),
        jitter_ns: Some(jitter_ns - 1),
        bandwidth_bps: Some(bandwidth_bps + 1),
        loss_ppm: 0,
        available: true,
        self_load_ppm: None,
        age: Millis(0),
    };
    change(&mut report);
    Ok(report)
}

async fn at_the_threshold(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let leg = testbed.legs(1)?.remove(0);
    let calm = |v: &damc_mgmt::view::PathView| v.violated.is_empty();
    testbed.wait_quality((&leg.sg, &leg.target), "a calm path", testbed.t_return(), calm).await?;
    let limits = leg.limits;
    let inside = || report(&leg, |_| ());
    // Between two violations there is a report inside, so that none follows another: one alone moves no traffic.
    let reports = [
        inside()?,
        report(&leg, |r| r.delay_ns = Some(limits.delay_ns))?,
        inside()?,
        report(&leg, |r| r.jitter_ns = Some(limits.jitter_ns))?,
        inside()?,
        report(&leg, |r| r.bandwidth_bps = Some(limits.bandwidth_bps))?,
        inside()?,
    ];
    let expected: Vec<Vec<Metric>> =
        vec![vec![Metric::Delay], vec![], vec![Metric::Jitter], vec![], vec![Metric::Bandwidth], vec![]];
    let from = testbed.now_ns();
    send_reports(testbed, &leg, reports).await?;
    let what = format!("{} → {}: a violation at each threshold, and none one unit inside it", leg.sg, leg.target);
    let seen = testbed
        .wait(&what, testbed.t_conv(), || async {
            let raised = testbed.violations(from, &leg.sg, &leg.target).await.unwrap_or_default();
            let raised: Vec<_> = raised.into_iter().map(|(_, metrics)| metrics).take(expected.len()).collect();
            Ok(if raised == expected { Ok(raised) } else { Err(format!("{raised:?}")) })
        })
        .await?;
    findings.check_eq(&seen, &expected, what);
    Ok(())
}

/// Puts reports in the name of a leg's SG on a link of the SCSC, in one go. Their numbers follow the SG's own at a small
/// distance: for so long the SCSC takes its true reports for older ones.
async fn send_reports(testbed: &Testbed, leg: &Leg, reports: impl IntoIterator<Item = PathReport>) -> Result<(), Stop> {
    /// Distance from the newest number of the SG.
    const LEAD: u64 = 6;
    let scsc = testbed.scsc()?;
    let at = testbed.beside(&scsc, Role::Sr)?.into_iter().next();
    let at = at.ok_or_else(|| Stop::NotApplicable(format!("{scsc} has no SR")))?;
    let (sg, _) = testbed.role(&leg.sg)?;
    let sent = testbed.history(|t| t == MessageType::Telemetry).await?;
    let newest = sent.iter().filter(|s| s.sent && s.node == leg.sg).filter_map(|s| match s.message() {
        Message::Telemetry(t) if t.certificate.node == sg => Some(t.body.sequence),
        _ => None,
    });
    let newest = newest.max().ok_or_else(|| Stop::Inconclusive(format!("no telemetry of {sg} was recorded")))?;
    let mut pdus = Vec::new();
    let mut last = newest;
    for (sequence, path) in (newest + LEAD..).zip(reports) {
        last = sequence;
        let body = Telemetry { sequence, paths: vec![path], links: Vec::new() };
        pdus.push(routed(testbed, (&leg.sg, &scsc), body, Message::Telemetry)?);
    }
    // In one go and in order: a link that loses or reorders would do so to these as well.
    let even = DirectionChange {
        jitter_ns: Some(0),
        loss: Some(Loss::None),
        duplicate: Some(0.0),
        corrupt: Some(0.0),
        ..DirectionChange::default()
    };
    testbed.impair((&at, &scsc), Direction::Both, even).await?;
    let from = testbed.now_ns();
    testbed.inject_routed(&at, &scsc, pdus).await?;
    let arrives = |s: &Seen| {
        let Message::Telemetry(t) = s.message() else { return false };
        !s.sent && s.node == scsc && t.certificate.node == sg && t.body.sequence == last
    };
    testbed
        .wait_frame(&format!("report {last} in the name of {sg} at {scsc}"), from, testbed.t_conv(), arrives)
        .await?;
    testbed.mend(&at, &scsc).await?;
    Ok(())
}
