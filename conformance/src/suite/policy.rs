//! Section J: pools, versions, path queries. Section K: what must go on while the SCSC or an SPA is dead.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_mgmt::call::CallRequest;
use damc_mgmt::command::{Command, PathAnswer};
use damc_mgmt::view::{AnnouncementsView, FibEntryView};
use damc_mgmt::words::{AdjacencyState, AnnouncementState, Metric, PolicyActionKind, RouteSource};
use damc_testbed::{Direction, NodeAction};
use damc_wire::frame::Frame;
use damc_wire::message::{Policy, PolicyAction, QosAck, SignedBody, Telemetry};
use damc_wire::{DropReason, Message, Millis, Name, NodeId, Role};
use futures::StreamExt as _;
use futures::future::{Either, join, select};
use futures::stream::FuturesUnordered;

use super::thresholds::tables_show;
use crate::case::{Case, Findings, Impact, Stop, Suite, Worlds};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::quality::Leg;
use crate::testbed::witness::parse;

const LIMIT: Duration = Duration::from_secs(60);
/// Label of forged policies.
const LABEL: u32 = 0x00F0_4C3D;
/// Calls per second while something dies.
const CALL_RATE: u64 = 200;

/// Cases about policies.
pub const CASES: &[Case] = &[
    Case {
        id: "pol-05-versions",
        title: "FIB and RIB name a policy as reason, a stale one is refused, a withdrawal restores the plain route",
        rows: &["POL-05", "RIB-04", "FWD-09"],
        suite: Suite::Qos,
        impact: Impact::Guest,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(versions(testbed, findings)),
    },
    Case {
        id: "pol-12",
        title: "Telemetry from the SCSC and policies from an SG are refused",
        rows: &["POL-12"],
        suite: Suite::Qos,
        impact: Impact::Guest,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(wrong_way(testbed, findings)),
    },
    Case {
        id: "pol-09",
        title: "The SCSC knows the topology and answers path queries with shortest paths, also after a cut",
        rows: &["POL-09", "POL-10", "GAP-21"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(queries(testbed, findings)),
    },
    Case {
        id: "pol-03",
        title: "Each SG's requests to a pool go to the best instance, whatever an instance reports about itself",
        rows: &["POL-03", "POL-04", "POL-06", "FWD-12", "CON-04"],
        suite: Suite::Qos,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(pools(testbed, findings)),
    },
    Case {
        id: "goal-03-scsc",
        title: "The SCSC dies under 200 calls/s: no call is lost, registration and routing go on",
        rows: &["GOAL-03"],
        suite: Suite::Qos,
        impact: Impact::Nodes,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(scsc_dies(testbed, findings)),
    },
    Case {
        id: "goal-03-spa",
        title: "An SPA dies under 200 calls/s: no call is lost",
        rows: &["GOAL-03"],
        suite: Suite::Qos,
        impact: Impact::Nodes,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(spa_dies(testbed, findings)),
    },
];

// ===== forged policies =====

fn bad<E: std::fmt::Display>(e: E) -> Stop {
    Stop::Inconclusive(e.to_string())
}

impl Testbed {
    fn name_of(&self, node: &str) -> Result<Name, Stop> {
        format!("/damc/{}/{node}", self.topology.domain()).parse().map_err(bad)
    }

    /// Sends a signed class 4 message of `signer` to `to` through `signer`'s port to `port`.
    async fn send_signed<T: SignedBody>(
        &self,
        (signer, port): (&str, &str),
        to: &str,
        body: T,
        wrap: impl FnOnce(damc_wire::message::Signed<T>) -> Message,
    ) -> Result<(), Stop> {
        let (id, role) = self.role(signer)?;
        let (destination, source) = (self.name_of(to)?, self.name_of(signer)?);
        let signed = self.forge.keys(&id, role).sign_routed(&destination, &source, body);
        let pdu = Frame::plain(destination, source, 0, wrap(signed)).encode().map_err(bad)?;
        self.inject_routed(signer, port, vec![pdu]).await
    }

    /// Sends a policy as the SCSC would and returns the answer of its recipient.
    async fn tell(&self, policy: Policy) -> Result<QosAck, Stop> {
        let scsc = self.scsc()?;
        let port = self.beside(&scsc, Role::Sr)?.into_iter().next().ok_or_else(|| bad("the SCSC has no SR"))?;
        let (from, to) = (self.now_ns(), policy.recipient.to_string());
        let (label, version) = (policy.label, policy.version);
        self.send_signed((&scsc, &port), &to, policy, Message::Policy).await?;
        let answer = self
            .wait_frame(&format!("{to}'s answer to version {version}"), from, self.t_conv(), |s| match s.message() {
                Message::QosAck(a) => s.sent && s.node == to && a.body.label == label && a.body.sequence == version,
                _ => false,
            })
            .await?;
        match answer.message() {
            Message::QosAck(ack) => Ok(ack.body.clone()),
            _ => Err(bad("no acknowledgement")),
        }
    }
}

fn id(node: &str) -> Result<NodeId, Stop> {
    NodeId::new(node).map_err(bad)
}

/// A shortest path to a leg's target that avoids its first link.
fn detour(testbed: &Testbed, leg: &Leg) -> Result<Vec<String>, Stop> {
    let oracle = Oracle::new(&testbed.topology, &Failures::default().link(&leg.sg, &leg.far));
    let path = oracle.chain(&leg.sg, &leg.target, |_| true);
    path.ok_or_else(|| Stop::NotApplicable(format!("no path avoids {} – {}", leg.sg, leg.far)))
}

async fn versions(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let leg = testbed.legs(1)?.remove(0);
    let path = detour(testbed, &leg)?;
    let (sg, target) = (leg.sg.as_str(), leg.target.as_str());
    let version = testbed.now_ns() / 1_000_000;
    let policy = |node: &str, version: u64, action: PolicyAction| -> Result<Policy, Stop> {
        Ok(Policy {
            label: LABEL,
            version,
            recipient: id(node)?,
            source: id(sg)?,
            prefix: target.parse().map_err(bad)?,
            action,
            expires_in: Millis(20_000),
        })
    };
    let before = testbed.call(&leg.pod, target, "whoami", &[]).await?;
    findings.check_eq(&before.path, &leg.plain, "without a policy calls take the plain path");
    for (node, next) in path.iter().zip(&path[1..]).rev() {
        let next_hop = id(next)?;
        let action = if node == sg { PolicyAction::Ingress { next_hop } } else { PolicyAction::Transit { next_hop } };
        let ack = testbed.tell(policy(node, version, action)?).await?;
        findings.check_eq(&ack.refusal, &None, format!("{node} accepts the policy"));
    }
    tables_show(testbed, findings, sg, target, path.get(1)).await?;
    let others = leg.plain.iter().cloned().chain(testbed.routers());
    if let Some(other) = others.into_iter().find(|node| !path.contains(node)) {
        let fib = testbed.lab.fib(&other).await?;
        let mut entries = fib.entries.iter().filter(|e| e.prefix == target);
        findings.never(
            entries.all(|e| e.source == RouteSource::Spf),
            format!("{other}, which gets no policy, forwards {target} as before"),
            format!("{:?}", fib.entries.iter().filter(|e| e.prefix == target).collect::<Vec<_>>()),
        );
    }
    let steered = testbed.call(&leg.pod, target, "whoami", &[]).await?;
    findings.check_eq(&steered.path, &path, "with the policy calls take its path");
    // Signed with the SCSC's own key, but older than the policy in force.
    let plain_hop = PolicyAction::Ingress { next_hop: id(&leg.far)? };
    let ack = testbed.tell(policy(sg, version - 1, plain_hop)?).await?;
    findings.check_eq(&ack.refusal, &Some(DropReason::StalePolicy), "an older version is refused");
    let ack = testbed.tell(policy(sg, version - 1, PolicyAction::Withdrawn)?).await?;
    findings.check_eq(&ack.refusal, &Some(DropReason::StalePolicy), "an older withdrawal is refused");
    tables_show(testbed, findings, sg, target, path.get(1)).await?;
    for node in path.iter().take(path.len() - 1) {
        let ack = testbed.tell(policy(node, version + 1, PolicyAction::Withdrawn)?).await?;
        findings.check_eq(&ack.refusal, &None, format!("{node} accepts the newer withdrawal"));
    }
    let after = testbed.call(&leg.pod, target, "whoami", &[]).await?;
    findings.check_eq(&after.path, &leg.plain, "after the withdrawal calls take the plain path again");
    let fib = testbed.lab.fib(sg).await?;
    let entry = fib.entries.iter().find(|e| e.prefix == target);
    let source = entry.map(|e| e.source);
    findings.check_eq(&source, &Some(RouteSource::Spf), format!("{sg}'s FIB names SPF as the reason again"));
    Ok(())
}

async fn wrong_way(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let scsc = testbed.scsc()?;
    let sr = testbed.beside(&scsc, Role::Sr)?.into_iter().next().ok_or_else(|| bad("the SCSC has no SR"))?;
    let sgs = testbed.of_kind(&[Role::Sg]);
    let [sg, other, ..] = sgs.as_slice() else { return Err(Stop::NotApplicable("one SG only".into())) };
    let from = testbed.now_ns();
    let before = testbed.dropped(sg, DropReason::WrongRole).await?;
    let report = Telemetry { sequence: from, paths: Vec::new(), links: Vec::new() };
    testbed.send_signed((&scsc, &sr), sg, report, Message::Telemetry).await?;
    refused(testbed, sg, before).await?;
    findings.check(true, format!("{sg} refuses telemetry from the SCSC"));
    let before = testbed.dropped(sg, DropReason::WrongRole).await?;
    let via = testbed.beside(other, Role::Sr)?.into_iter().next().ok_or_else(|| bad("the SG has no SR"))?;
    let policy = Policy {
        label: LABEL + 1,
        version: from,
        recipient: id(sg)?,
        source: id(sg)?,
        prefix: testbed.legs(1)?.remove(0).target.parse().map_err(bad)?,
        action: PolicyAction::Released,
        expires_in: Millis(5_000),
    };
    testbed.send_signed((other, &via), sg, policy, Message::Policy).await?;
    refused(testbed, sg, before).await?;
    findings.check(true, format!("{sg} refuses a policy that {other} sent and signed correctly"));
    let held = testbed.lab.policies(sg).await?.policies;
    let labels: Vec<u32> = held.iter().map(|p| p.label).collect();
    findings.never(
        !labels.contains(&(LABEL + 1)),
        format!("{sg} does not hold that policy, with label {}", LABEL + 1),
        format!("labels {labels:?}"),
    );
    Ok(())
}

async fn refused(testbed: &Testbed, node: &str, before: u64) -> Result<(), Stop> {
    testbed
        .wait(&format!("{node} counts a message of the wrong role"), testbed.t_conv(), || async {
            let now = testbed.dropped(node, DropReason::WrongRole).await?;
            Ok(if now > before { Ok(()) } else { Err(format!("still {now}")) })
        })
        .await
}

// ===== path queries =====

async fn ask(testbed: &Testbed, sg: &str, target: &str) -> Result<PathAnswer, Stop> {
    let value = testbed.order(sg, &Command::QueryPath { target: parse(target)? }).await?;
    serde_json::from_value(value).map_err(bad)
}

async fn queries(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let scsc = testbed.scsc()?;
    let leg = testbed.legs(1)?.remove(0);
    let targets: Vec<String> = testbed
        .topology
        .of_kind(Role::Pod)
        .flat_map(|p| &p.services)
        .flat_map(|s| [Some(s.prefix.to_string()), s.pool.as_ref().map(ToString::to_string)])
        .flatten()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .take(8)
        .collect();
    let whole = Oracle::new(&testbed.topology, &Failures::default());
    for target in &targets {
        let answer = ask(testbed, &leg.sg, target).await?;
        answered_as(findings, &whole, (&leg.sg, target), &answer);
    }
    let from = testbed.now_ns();
    testbed.cut(&leg.sg, &leg.far).await?;
    let cut = Oracle::new(&testbed.topology, &Failures::default().link(&leg.sg, &leg.far));
    let answer = testbed
        .wait("the answer after the cut", testbed.t_conv(), || async {
            let answer = ask(testbed, &leg.sg, &leg.target).await;
            Ok(match answer {
                Ok(a) if !a.path.is_empty() && a.path.get(1) != Some(&leg.far) => Ok(a),
                other => Err(format!("{other:?}")),
            })
        })
        .await?;
    answered_as(findings, &cut, (&leg.sg, &leg.target), &answer);
    same_topology(testbed, &scsc).await?;
    #[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
    findings.figure(
        "cut to the SCSC's graph and answer being the new ones",
        (testbed.now_ns() - from) as f64 / 1e6,
        "ms",
    );
    findings.check(true, "after the cut the SCSC's replica equals the LSDB of every SG and SR");
    testbed.mend(&leg.sg, &leg.far).await?;
    same_topology(testbed, &scsc).await?;
    findings.check(true, "after mending, the replica equals them again");
    testbed.wait_unsteered(testbed.t_return()).await
}

fn answered_as(findings: &mut Findings, oracle: &Oracle, (sg, target): (&str, &str), answer: &PathAnswer) {
    let expected = oracle.toward(sg, target);
    let length = oracle.path_cost(&answer.path);
    let ends = expected.as_ref().is_some_and(|e| answer.path.last().is_some_and(|l| e.origins.contains(l)));
    let least = answer.path.last().and_then(|to| oracle.distance(sg, to));
    findings.check_saw(
        ends && length.is_some() && length == least && length == Some(answer.cost),
        format!("the SCSC answers {sg} with a path of the oracle's least cost to {target}"),
        format!("{} at cost {}, where the oracle has {least:?}", answer.path.join(" → "), answer.cost),
    );
}

/// Waits until the SCSC's replica has the digest that all SGs and SRs have.
async fn same_topology(testbed: &Testbed, scsc: &str) -> Result<(), Stop> {
    testbed
        .wait("one LSDB digest everywhere", testbed.t_conv(), || async {
            let mut digests: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for node in testbed.routers().into_iter().chain([scsc.to_owned()]) {
                digests.entry(testbed.lab.lsdb(&node).await?.digest).or_default().push(node);
            }
            Ok(if digests.len() == 1 { Ok(()) } else { Err(format!("{digests:?}")) })
        })
        .await
}

// ===== pools =====

/// An instance of a pool.
pub(super) struct Instance {
    pub(super) pod: String,
    pub(super) sg: String,
    pub(super) prefix: String,
}

/// A pool with two instances behind different SGs.
pub(super) fn pool_of(testbed: &Testbed) -> Result<(String, [Instance; 2]), Stop> {
    let mut pools: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
    for pod in testbed.topology.of_kind(Role::Pod) {
        let Ok(sg) = testbed.sg_of(pod.id.as_str()) else { continue };
        for service in &pod.services {
            if let Some(pool) = &service.pool {
                let instance = Instance { pod: pod.id.to_string(), sg: sg.clone(), prefix: service.prefix.to_string() };
                pools.entry(pool.to_string()).or_default().push(instance);
            }
        }
    }
    let pair = pools.into_iter().find_map(|(pool, instances)| {
        let [one, two] = <[_; 2]>::try_from(instances).ok()?;
        (one.sg != two.sg).then_some((pool, [one, two]))
    });
    pair.ok_or_else(|| Stop::NotApplicable("no pool of two instances behind two SGs".into()))
}

async fn pools(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let (pool, [one, two]) = pool_of(testbed)?;
    let slow =
        DirectionChange { delay_ns: Some(testbed.limits(&pool)?.delay_ns / 100 * 130), ..DirectionChange::default() };
    // A pod with an instance of its own does not call the pool.
    let calls = |pod: &String| ![&one.pod, &two.pod].contains(&pod);
    let sgs = testbed.of_kind(&[Role::Sg]).into_iter();
    let callers: Vec<_> = sgs.filter_map(|sg| Some((testbed.pod_of(&sg).ok().filter(calls)?, sg))).collect();
    if callers.is_empty() {
        return Err(Stop::NotApplicable(format!("every pod has an instance of {pool}")));
    }
    for (bad_one, good_one) in [(&one, &two), (&two, &one)] {
        let from = testbed.now_ns();
        testbed.impair((&bad_one.sg, &bad_one.pod), Direction::Both, slow).await?;
        testbed.mend(&good_one.sg, &good_one.pod).await?;
        let mut ways = BTreeMap::new();
        for (pod, sg) in &callers {
            let path = lands(testbed, (pod, &pool), &good_one.sg).await?;
            ways.insert(sg.clone(), path);
        }
        #[expect(clippy::cast_precision_loss, reason = "spans of a case are far below 2^52 ns")]
        findings.figure(
            format!("{} slow to every SG's {pool} at {}", bad_one.prefix, good_one.prefix),
            (testbed.now_ns() - from) as f64 / 1e6,
            "ms",
        );
        findings.check(
            true,
            format!("{} slow: calls of {pool} from every SG end at {}: {ways:?}", bad_one.prefix, good_one.sg),
        );
        customised(testbed, findings, &pool).await?;
        liar(testbed, findings, (&bad_one.sg, &bad_one.prefix), from).await?;
    }
    testbed.mend(&one.sg, &one.pod).await?;
    testbed.mend(&two.sg, &two.pod).await?;
    testbed.wait_unsteered(testbed.t_return()).await
}

/// Waits until calls of `pod` to `pool` end at the SG `at` because the FIB of the pod's SG leaves no choice. Until a
/// policy comes, equally near instances share the calls, and a few in a row at one of them can be chance.
pub(super) async fn lands(testbed: &Testbed, (pod, pool): (&str, &str), at: &str) -> Result<Vec<String>, Stop> {
    let sg = testbed.sg_of(pod)?;
    testbed
        .wait(&format!("{pool} of {pod} at {at}"), testbed.t_return(), || async {
            let fib = testbed.lab.fib(&sg).await?;
            let shared = |e: &&FibEntryView| e.prefix == pool && e.source == RouteSource::Spf && e.origin.len() > 1;
            if let Some(entry) = fib.entries.iter().find(shared) {
                return Ok(Err(format!("{sg} shares the calls: {entry:?}")));
            }
            let mut path = Vec::new();
            for _ in 0..3 {
                let reply = testbed.call(pod, pool, "whoami", &[]).await?;
                if reply.error.is_some() || reply.path.last().map(String::as_str) != Some(at) {
                    return Ok(Err(format!("{:?} {:?}", reply.path, reply.error)));
                }
                path = reply.path;
            }
            Ok(Ok(path))
        })
        .await
}

/// Checks that after one violation each SG has a policy of its own.
async fn customised(testbed: &Testbed, findings: &mut Findings, pool: &str) -> Result<(), Stop> {
    let policies = testbed.lab.policies(&testbed.scsc()?).await?.policies;
    let ingress: Vec<_> =
        policies.iter().filter(|p| p.prefix == pool && p.action == PolicyActionKind::Ingress).collect();
    let labels: BTreeSet<u32> = ingress.iter().map(|p| p.label).collect();
    let text: Vec<String> = ingress
        .iter()
        .map(|p| format!("{} to {} (label {})", p.source, p.next_hop.as_deref().unwrap_or("-"), p.label))
        .collect();
    findings.check_saw(
        labels.len() == ingress.len(),
        format!("each SG has its own policy for {pool}"),
        text.join(", "),
    );
    Ok(())
}

/// Checks that a target's report about itself does not hide its bad path (CON-04).
async fn liar(testbed: &Testbed, findings: &mut Findings, (near, target): (&str, &str), from: u64) -> Result<(), Stop> {
    let frames = testbed.frames(from).await?;
    let reports = frames.iter().filter_map(|s| match s.message() {
        Message::TaskReport(r) if !s.sent && s.node == near => Some(r.self_test_ns),
        _ => None,
    });
    let (mut count, mut worst) = (0_u32, 0);
    for ns in reports {
        (count, worst) = (count + 1, worst.max(ns));
    }
    let view = testbed.quality(near, target).await?;
    let delay = view.as_ref().and_then(|v| v.delay_ns).unwrap_or(0);
    let raised = testbed.violations(from, near, target).await?;
    findings.check_saw(
        raised.iter().any(|(_, m)| m.contains(&Metric::Delay)) && worst < delay,
        format!("the delay of {target} is raised although its self-tests are faster"),
        format!("self-tests of at most {worst} ns in {count} reports, a delay of {delay} ns, raised {raised:?}"),
    );
    Ok(())
}

// ===== central outages =====

/// Makes calls at [`CALL_RATE`], fewer on a slow host, while `during` runs and a little longer. Returns its value, the
/// number of calls, and the errors of those that failed.
async fn under_load<T>(
    testbed: &Testbed,
    (pod, target): (&str, &str),
    during: impl Future<Output = Result<T, Stop>>,
) -> Result<(T, usize, Vec<String>), Stop> {
    let request = CallRequest {
        name: target.to_owned(),
        method: "echo".into(),
        args: vec!["load".into()],
        deadline_ms: testbed.call_deadline_ms(),
        trace: false,
        source: None,
        flow: None,
        traceparent: None,
    };
    let one = async || testbed.lab.call(pod, &request).await.map_or_else(|e| Some(e.to_string()), |reply| reply.error);
    let done = Cell::new(false);
    let calling = async {
        let (mut under_way, mut outcomes, mut after) = (FuturesUnordered::new(), Vec::new(), CALL_RATE);
        while after > 0 {
            under_way.push(one());
            after -= u64::from(done.get());
            let pause = testbed.host.stretched(Duration::from_millis(1000 / CALL_RATE));
            let mut tick = testbed.lab.sleep(pause);
            // Calls that end meanwhile are taken; the next begins with the tick.
            while let Either::Right((Some(outcome), _)) = select(&mut tick, pin!(pending_next(&mut under_way))).await {
                outcomes.push(outcome);
            }
        }
        while let Some(outcome) = under_way.next().await {
            outcomes.push(outcome);
        }
        outcomes
    };
    let noted = async {
        let outcome = during.await;
        done.set(true);
        outcome
    };
    let (value, outcomes) = join(noted, calling).await;
    Ok((value?, outcomes.len(), outcomes.into_iter().flatten().collect()))
}

/// The next of these futures that ends; never where there is none.
async fn pending_next<F: Future>(under_way: &mut FuturesUnordered<F>) -> Option<F::Output> {
    if under_way.is_empty() { std::future::pending().await } else { under_way.next().await }
}

async fn scsc_dies(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let scsc = testbed.scsc()?;
    let leg = testbed.legs(1)?.remove(0);
    let from = testbed.now_ns();
    let during = async {
        testbed.lab.node(&scsc, NodeAction::Kill).await?;
        let names = testbed.register_many(1).await?;
        testbed.wait_everywhere(&names, testbed.t_conv()).await?;
        testbed.unregister(&names).await?;
        Ok(names.len())
    };
    let (registered, made, lost) = under_load(testbed, (&leg.pod, &leg.target), during).await?;
    findings.check_saw(
        lost.is_empty(),
        format!("none of {made} calls around the death of {scsc} is lost"),
        format!("{} lost {lost:?}", lost.len()),
    );
    findings
        .check(true, format!("{registered} services register, are authenticated and reach every FIB without {scsc}"));
    #[expect(clippy::cast_precision_loss, reason = "counts of a case are far below 2^52")]
    {
        findings.figure("calls around the death of the SCSC", made as f64, "");
        findings.figure("calls lost", lost.len() as f64, "");
    }
    testbed.cut(&leg.sg, &leg.far).await?;
    let failures = Failures::default().link(&leg.sg, &leg.far).node(&scsc);
    let oracle = Oracle::new(&testbed.topology, &failures);
    testbed
        .wait("FIBs of the oracle after a cut without the SCSC", testbed.t_conv(), || async {
            let fibs = testbed.fibs().await?;
            Ok(oracle.first_difference(&fibs).map_or(Ok(()), Err))
        })
        .await?;
    findings.check(true, "routing follows a cut without the SCSC");
    testbed.mend(&leg.sg, &leg.far).await?;
    let frames = testbed.frames(from).await?;
    let users = frames.iter().filter(|s| s.node == scsc && s.message_type() == damc_wire::MessageType::Data).count();
    findings.never(users == 0, format!("no user frame reaches {scsc}"), format!("{users} frames"));
    testbed.lab.node(&scsc, NodeAction::Start).await?;
    testbed.lab.wait_converged(testbed.t_conv() * 2).await?;
    same_topology(testbed, &scsc).await?;
    testbed.wait_unsteered(testbed.t_return()).await
}

async fn spa_dies(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let leg = testbed.legs(1)?.remove(0);
    let spa = testbed.spa_of(&leg.sg)?;
    let sg = leg.sg.clone();
    let during = async {
        testbed.lab.node(&spa, NodeAction::Kill).await?;
        testbed
            .wait(&format!("{sg} without {spa}"), testbed.t_conv(), || async {
                let rows = testbed.lab.neighbors(&sg).await?.neighbors;
                let state = rows.into_iter().find(|n| n.port == spa).map(|n| n.state);
                Ok(if state == Some(AdjacencyState::Full) { Err("still full".to_owned()) } else { Ok(()) })
            })
            .await
    };
    let ((), made, lost) = under_load(testbed, (&leg.pod, &leg.target), during).await?;
    findings.check_saw(
        lost.is_empty(),
        format!("none of {made} calls around the death of {spa} is lost"),
        format!("{} lost {lost:?}", lost.len()),
    );
    #[expect(clippy::cast_precision_loss, reason = "counts of a case are far below 2^52")]
    findings.figure("calls around the death of an SPA", made as f64, "");
    let announced = testbed.lab.show::<AnnouncementsView>(&sg).await?.announcements;
    let states: Vec<_> = announced.iter().map(|a| (&a.prefix, a.state)).collect();
    findings.check_saw(
        !states.is_empty() && states.iter().all(|(_, state)| *state == AnnouncementState::Accepted),
        format!("announcements that {spa} granted stay accepted at {sg}"),
        format!("{states:?}"),
    );
    testbed.lab.node(&spa, NodeAction::Start).await?;
    Ok(())
}
