//! Sections I and J: quality crosses its thresholds in both directions, and what follows.

mod trial;

use std::collections::BTreeSet;
use std::time::Duration;

use damc_mgmt::words::{Metric, RouteSource};
use damc_testbed::Direction;
use damc_wire::message::PolicyAction;
use damc_wire::{Message, MessageType};

use self::trial::{Fault, Trial, margin};
use crate::case::{Case, Findings, Impact, Stop, Suite, Worlds};
use crate::testbed::Testbed;
use crate::testbed::quality::{nodes_of, policies_at_recipients, recipients};

const LIMIT: Duration = Duration::from_secs(60);

/// Most that nodes and host add to the delay of a calm path, ns.
const SLACK_NS: u64 = 2_000_000;

/// Cases that move link quality across the thresholds.
pub const CASES: &[Case] = &[
    Case {
        id: "qos-06-inside",
        title: "Delay, jitter and rate just inside their thresholds: nothing is raised, no policy is issued",
        rows: &["QOS-06", "POL-01"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(inside(testbed, findings)),
    },
    Case {
        id: "qos-06-outside",
        title: "Delay, jitter and rate, alone and together, beyond their thresholds: violation, policy, return",
        rows: &["QOS-06", "QOS-09", "POL-01", "POL-02", "POL-05", "POL-06", "RIB-04", "CON-06"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(outside(testbed, findings)),
    },
    Case {
        id: "pol-06-wobble",
        title: "A delay that varies by 5 % around its threshold moves traffic at most once",
        rows: &["POL-06", "GAP-16"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(wobble(testbed, findings)),
    },
];

async fn inside(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let trials = Trial::deal(testbed).await?;
    let from = testbed.now_ns();
    for trial in &trials {
        trial.set(testbed, true).await?;
    }
    for trial in &trials {
        let what = format!("{:?} just inside its limit", trial.fault);
        let view =
            testbed.wait_quality(trial.path(), &what, testbed.t_policy(), |v| trial.arrived_inside(testbed, v)).await?;
        findings.note(format!(
            "{} → {}, {what}: delay {}, jitter {}, bandwidth {}",
            trial.leg.sg,
            trial.leg.target,
            ms(view.delay_ns),
            ms(view.jitter_ns),
            mbit(view.bandwidth_bps)
        ));
    }
    for trial in &trials {
        let (sg, target) = trial.path();
        let raised = testbed.violations(from, sg, target).await?;
        findings.check_saw(
            raised.is_empty(),
            format!("{sg} → {target}: no violation is raised inside the limits"),
            format!("raised {raised:?}"),
        );
        let frames = testbed.frames(from).await?;
        let policies = policies_at_recipients(&frames, sg, target).count();
        findings.check_saw(
            policies == 0,
            format!("{sg} → {target}: no policy is issued"),
            format!("{policies} policy frames"),
        );
    }
    let frames = testbed.frames(from).await?;
    let all = frames.iter().filter(|s| s.message_type() == MessageType::Policy).count();
    findings.note(format!("{all} policy frames in total among {} frames", frames.len()));
    heal(testbed, &trials).await?;
    testbed.wait_unsteered(testbed.t_return()).await
}

async fn heal(testbed: &Testbed, trials: &[Trial]) -> Result<(), Stop> {
    for trial in trials {
        testbed.mend(&trial.leg.sg, &trial.leg.far).await?;
    }
    Ok(())
}

async fn outside(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let trials = Trial::deal(testbed).await?;
    let from = testbed.now_ns();
    for trial in &trials {
        trial.set(testbed, false).await?;
    }
    for trial in &trials {
        let (sg, target) = trial.path();
        testbed.wait_steered(sg, target, testbed.t_policy()).await?;
        raised(testbed, findings, trial, from).await?;
    }
    let frames = testbed.frames(from).await?;
    let users = frames.iter().filter(|s| s.message_type() == MessageType::Data).count();
    findings.never(
        users == 0,
        "the violations are found before user traffic meets them",
        format!("{users} frames of users until then"),
    );
    for trial in &trials {
        moved(testbed, findings, trial, from).await?;
    }
    let healed = testbed.now_ns();
    heal(testbed, &trials).await?;
    testbed.wait_unsteered(testbed.t_return()).await?;
    findings.figure("healed links to all traffic back", since(testbed, healed), "ms");
    for trial in &trials {
        returned(testbed, findings, trial, (from, healed)).await?;
    }
    findings.note("not judged here: values exactly at a threshold, which unit tests of the nodes pin");
    Ok(())
}

/// Checks that the violation names the metrics beyond their limits, and no others where there is only one. On a link
/// that has just become slow, trains timed for a fast link queue up, and probes behind them: for a moment jitter and
/// delay really are beyond their limits. There the violation has to come down to the one metric.
async fn raised(testbed: &Testbed, findings: &mut Findings, trial: &Trial, from: u64) -> Result<(), Stop> {
    let (sg, target) = trial.path();
    let expected: BTreeSet<Metric> = trial.fault.metrics().iter().copied().collect();
    let seen = testbed
        .wait(&format!("{expected:?} raised for {sg} → {target}"), testbed.t_policy(), || async {
            let raised = testbed.violations(from, sg, target).await.unwrap_or_default();
            let union: BTreeSet<Metric> = raised.iter().flat_map(|(_, m)| m.clone()).collect();
            let complete = match trial.fault {
                Fault::Rate => raised.iter().any(|(_, m)| *m == trial.fault.metrics()),
                _ => expected.iter().all(|m| union.contains(m)),
            };
            Ok(if complete { Ok(raised) } else { Err(format!("{raised:?}")) })
        })
        .await?;
    let first = seen.iter().find(|(_, m)| !m.is_empty());
    let (at, metrics) = first.map_or((0, Vec::new()), |(at, m)| (*at, m.clone()));
    let text = metrics.iter().map(|m| m.label()).collect::<Vec<_>>().join(", ");
    let alone = matches!(trial.fault, Fault::All | Fault::Rate) || metrics == trial.fault.metrics();
    findings.check_saw(
        alone,
        format!("{sg} → {target}: {:?} beyond its limit raises {expected:?}", trial.fault),
        format!("[{text}]"),
    );
    findings.figure(
        format!("{:?} of {sg} → {target} beyond its limit to the violation", trial.fault),
        millis(at.saturating_sub(from)),
        "ms",
    );
    Ok(())
}

/// Checks the recipients of the policy, from frames recorded at them, and the path of the traffic.
async fn moved(testbed: &Testbed, findings: &mut Findings, trial: &Trial, from: u64) -> Result<(), Stop> {
    let (sg, target) = trial.path();
    let leg = &trial.leg;
    let (steering, taken) = testbed
        .wait(&format!("calls of {} to {target} avoid {sg} – {}", leg.pod, leg.far), testbed.t_policy(), || async {
            let Some(steering) = testbed.steering(sg, target).await? else {
                return Ok(Err("no policy in force".into()));
            };
            let reply = testbed.call(&leg.pod, target, "whoami", &[]).await?;
            let good = reply.error.is_none() && reply.path == steering.path && reply.path.get(1) != Some(&leg.far);
            Ok(if good { Ok((steering, reply.path)) } else { Err(format!("{steering:?}; call {reply:?}")) })
        })
        .await?;
    findings
        .check(true, format!("{sg} → {target}: calls take {} and not {}", taken.join(" → "), leg.plain.join(" → ")));
    let frames = testbed.frames(from).await?;
    let labels = recipients(&frames, sg, target);
    let mut before = vec![leg.plain.clone()];
    for (label, told) in &labels {
        let path = path_of(sg, told);
        let expected = nodes_of(before.iter().map(Vec::as_slice).chain([path.as_slice()]));
        let seen: BTreeSet<String> = told.keys().cloned().collect();
        findings.check_eq(
            &seen,
            &expected,
            format!("{sg} → {target}, label {label}: the recipients are exactly the nodes of {before:?} and {path:?}"),
        );
        before.push(path);
    }
    let ingress = policies_at_recipients(&frames, sg, target)
        .find(|p| matches!(p.action, PolicyAction::Ingress { .. }) && p.label == steering.label);
    let recorded: Vec<u32> = policies_at_recipients(&frames, sg, target).map(|p| p.label).collect();
    findings.check_saw(
        ingress.is_some(),
        format!("the ingress policy with label {} is recorded at {sg}", steering.label),
        format!("policies with labels {recorded:?}"),
    );
    let acks: BTreeSet<String> = frames
        .iter()
        .filter_map(|s| match s.message() {
            Message::QosAck(ack) if s.sent && ack.body.label == steering.label && ack.body.refusal.is_none() => {
                Some(ack.certificate.node.to_string())
            }
            _ => None,
        })
        .collect();
    let on_path: BTreeSet<String> = steering.path.iter().cloned().collect();
    findings.check_saw(
        on_path.is_subset(&acks),
        format!("every node of the path acknowledges label {}", steering.label),
        format!("acknowledged by {acks:?}"),
    );
    tables_show(testbed, findings, sg, target, steering.path.get(1)).await
}

/// Checks that FIB and RIB of the ingress name the policy as the reason for the next hop (RIB-04).
pub(super) async fn tables_show(
    testbed: &Testbed,
    findings: &mut Findings,
    sg: &str,
    target: &str,
    next: Option<&String>,
) -> Result<(), Stop> {
    let fib = testbed.lab.fib(sg).await?;
    let in_fib = fib.entries.iter().find(|e| e.prefix == target && e.source == RouteSource::Policy);
    let hop = in_fib.and_then(|e| e.next_hops.first()).map(|h| &h.node);
    findings.check_saw(
        hop.is_some() && hop == next,
        format!("{sg}'s FIB sends {target} to {next:?} by policy"),
        format!("{hop:?}"),
    );
    let rib = testbed.rib(sg).await?;
    let candidates = rib.routes.iter().filter(|r| r.prefix == target);
    let chosen: Vec<RouteSource> = candidates.filter(|r| r.chosen).map(|r| r.source).collect();
    findings.check_saw(
        chosen.contains(&RouteSource::Policy),
        format!("{sg}'s RIB has the policy as the chosen candidate for {target}"),
        format!("chosen {chosen:?}"),
    );
    Ok(())
}

fn path_of(sg: &str, told: &std::collections::BTreeMap<String, PolicyAction>) -> Vec<String> {
    let mut path = vec![sg.to_owned()];
    while let Some(PolicyAction::Ingress { next_hop } | PolicyAction::Transit { next_hop }) =
        path.last().and_then(|n| told.get(n))
    {
        let next = next_hop.to_string();
        if path.contains(&next) {
            break;
        }
        path.push(next);
    }
    path
}

/// Checks after healing that the violation ended, that the hold time was kept, and that calls take the plain path.
async fn returned(
    testbed: &Testbed,
    findings: &mut Findings,
    trial: &Trial,
    (from, healed): (u64, u64),
) -> Result<(), Stop> {
    let (sg, target) = trial.path();
    // A measured value near its end may dip below the limit just before the links heal, and a stall of the host may raise
    // it once more after that: what counts is that no violation lasts.
    let what = format!("{sg} → {target}: the violation ends after the links have healed");
    testbed
        .wait(&what, testbed.t_return(), || async {
            let raised = testbed.violations(from, sg, target).await.unwrap_or_default();
            let over = raised.last().is_some_and(|(_, metrics)| metrics.is_empty());
            Ok(if over { Ok(()) } else { Err(format!("healed at {healed} ns; violations {raised:?}")) })
        })
        .await?;
    findings.check(true, what);
    testbed.wait_unsteered(testbed.t_return()).await?;
    let reply = testbed.call(&trial.leg.pod, target, "whoami", &[]).await?;
    findings.check_eq(&reply.path, &trial.leg.plain, format!("{sg} → {target}: calls take the plain path again"));
    let frames = testbed.frames(from).await?;
    let at = |wanted: fn(&PolicyAction) -> bool| {
        let times = frames.iter().filter_map(|s| match s.message() {
            Message::Policy(p)
                if !s.sent
                    && s.node == sg
                    && p.body.recipient.as_str() == sg
                    && p.body.prefix.to_string() == target
                    && wanted(&p.body.action) =>
            {
                Some(s.at_ns)
            }
            _ => None,
        });
        let times: Vec<u64> = times.collect();
        (times.first().copied(), times.last().copied())
    };
    let (installed, _) = at(|a| matches!(a, PolicyAction::Ingress { .. }));
    let (_, withdrawn) = at(|a| *a == PolicyAction::Withdrawn);
    let held = withdrawn.zip(installed).map_or(0, |(w, i)| w.saturating_sub(i));
    let hold_ns = testbed.timers.policy_hold_ms * 1_000_000;
    findings.check_saw(
        held >= hold_ns,
        format!("{sg} → {target}: in force for at least the hold time of {} ms", testbed.timers.policy_hold_ms),
        format!("{:.0} ms", millis(held)),
    );
    Ok(())
}

async fn wobble(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let Some(leg) = testbed.legs(1)?.pop() else { return Err(Stop::NotApplicable("no leg".into())) };
    let mut trial = Trial { beyond_ns: testbed.rest(&leg).await?, leg, fault: Fault::Delay };
    trial.tune(testbed).await?;
    let (sg, target) = trial.path();
    let link = (sg, trial.leg.far.as_str());
    let limit = trial.leg.limits.delay_ns;
    let from = testbed.now_ns();
    testbed.impair(link, Direction::Both, trial.path_delay(limit + margin(testbed, &trial.leg))).await?;
    testbed.wait_steered(sg, target, testbed.t_policy()).await?;
    let mut swings = 0;
    // Long enough for a policy without hysteresis to come and go.
    let reports = u64::from(testbed.timers.reentry_reports) * testbed.timers.telemetry_interval_ms;
    let enough = (testbed.timers.policy_hold_ms + 2 * reports) * 1_000_000;
    while testbed.now_ns() - from < enough {
        testbed.impair(link, Direction::Both, trial.delay(95)).await?;
        testbed
            .wait_quality((sg, target), "5 % under", testbed.t_policy(), |v| v.delay_ns.is_some_and(|d| d < limit))
            .await?;
        testbed.impair(link, Direction::Both, trial.delay(105)).await?;
        testbed
            .wait_quality((sg, target), "5 % over", testbed.t_policy(), |v| v.delay_ns.is_some_and(|d| d >= limit))
            .await?;
        swings += 1;
    }
    let frames = testbed.frames(from).await?;
    let moves = recipients(&frames, sg, target).len();
    let withdrawn = policies_at_recipients(&frames, sg, target).filter(|p| p.action == PolicyAction::Withdrawn).count();
    findings.check_saw(
        moves <= 1,
        format!("{swings} swings of ±5 % around {} ms move traffic at most once", limit / 1_000_000),
        format!("{moves} times"),
    );
    findings.check_saw(
        withdrawn == 0,
        "traffic does not return while the delay stays near the threshold",
        format!("{withdrawn} withdrawals"),
    );
    findings.figure("swings around the threshold", f64::from(swings), "");
    testbed.mend(sg, &trial.leg.far).await?;
    testbed.wait_unsteered(testbed.t_return()).await?;
    findings.check(true, "traffic returns when the delay is clear of the threshold");
    Ok(())
}

fn ms(ns: Option<u64>) -> String {
    ns.map_or_else(|| "unknown".into(), |ns| format!("{:.1} ms", millis(ns)))
}

fn mbit(bps: Option<u64>) -> String {
    bps.map_or_else(|| "unknown".into(), |bps| format!("{} kbit/s", bps / 1000))
}

#[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn since(testbed: &Testbed, from: u64) -> f64 {
    millis(testbed.now_ns().saturating_sub(from))
}
