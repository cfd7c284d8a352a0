//! Equal paths, and what keeps frames from looping: GAP-11, GAP-12.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::words::RouteSource;
use damc_testbed::WorldError;
use damc_testbed::recording::Wanted;
use damc_wire::{DropReason, Message, RefusalReason, Role};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::case::{Case, Findings, Impact, Stop, Suite, Worlds};
use crate::oracle::Failures;
use crate::testbed::Testbed;
use crate::testbed::traffic::Thrown;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of GAP-11 and GAP-12.
pub const CASES: &[Case] = &[
    Case {
        id: "gap-12-split",
        title: "Flows split evenly over equal paths, and each flow keeps its path",
        rows: &["GAP-12"],
        suite: Suite::Conformance,
        impact: Impact::Guest,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(split(testbed, findings)),
    },
    Case {
        id: "gap-11-limit",
        title: "A frame ends at the node that its hop limit allows, which sends a negative reply",
        rows: &["GAP-11", "GAP-10"],
        suite: Suite::Conformance,
        impact: Impact::Guest,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(hop_limit(testbed, findings)),
    },
    Case {
        id: "gap-11-churn",
        title: "While costs change at random, no frame passes a node more than twice",
        rows: &["GAP-11", "RIB-06"],
        suite: Suite::Conformance,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(churn(testbed, findings)),
    },
];

/// Number of flows. With two paths, shares outside 45 to 55 % are then 4.5 standard deviations off.
const FLOWS: u32 = 2000;
/// Number of frames of the single flow whose path is checked.
const STEADY: u64 = 50;

/// A pod, its SG, a service to which that SG has several equal next hops, and their number.
async fn equal_ways(testbed: &Testbed) -> Result<(String, String, String, usize), Stop> {
    for (sg, fib) in testbed.fibs().await? {
        let Some(pod) = testbed.beside(&sg, Role::Pod)?.into_iter().find(|p| testbed.service_of(p).is_ok()) else {
            continue;
        };
        let many = fib.entries.iter().find(|e| {
            e.source == RouteSource::Spf && e.next_hops.len() > 1 && !e.exact && testbed.owner_of(&e.prefix).is_ok()
        });
        if let Some(entry) = many {
            return Ok((pod, sg, entry.prefix.clone(), entry.next_hops.len()));
        }
    }
    Err(Stop::NotApplicable("no SG has equal paths to a service".into()))
}

/// The port through which each request left `sg`, by correlation number.
async fn exits(testbed: &Testbed, from: u64, sg: &str, target: &str) -> Result<BTreeMap<u64, String>, Stop> {
    let wanted = Wanted { node: Some(sg.into()), sent: Some(true), ..Wanted::default() };
    let seen = testbed.seen(from, wanted).await?;
    let requests = seen.iter().filter(|s| s.is_for(target));
    Ok(requests.filter_map(|s| Some((s.request()?, s.port.clone()))).collect())
}

async fn split(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    // At a second attempt the network may still be on its way back to its equal paths.
    let found = testbed
        .wait("equal paths", testbed.t_conv(), || async { Ok(equal_ways(testbed).await.map_err(|e| e.to_string())) });
    let Ok((pod, sg, target, ways)) = found.await else {
        return Err(Stop::NotApplicable("no SG has equal paths to a service".into()));
    };
    let source = testbed.service_of(&pod)?;
    let (from, first) = (testbed.now_ns(), testbed.correlations());
    let total = u64::from(FLOWS) + STEADY;
    let mut thrown = Vec::new();
    for (correlation, flow) in (first..).zip((0..FLOWS).chain(std::iter::repeat_n(7, 50))) {
        // Deadline 0: the answers are not needed.
        thrown.push(Thrown { deadline_ms: 0, ..Thrown::echo(&target, &source, correlation)?.flow(flow) });
    }
    testbed.stream(&pod, &sg, &thrown, testbed.spacing(Duration::from_micros(700))).await?;
    let ours = |exits: BTreeMap<u64, String>| -> BTreeMap<u64, String> {
        exits.into_iter().filter(|(c, _)| (first..first + total).contains(c)).collect()
    };
    // A busy host may lose a few, which does not matter for the shares.
    let what = format!("of {total} frames of {pod}, all but 10 at most leave {sg}");
    let left = testbed
        .wait(&what, testbed.t_conv(), || async {
            let left = exits(testbed, from, &sg, &target).await.map(&ours);
            let left = left.map_err(|e| WorldError::Lab(e.to_string()))?;
            Ok(if left.len() as u64 >= total - 10 { Ok(left) } else { Err(format!("{} left", left.len())) })
        })
        .await?;
    findings.check(true, what);
    let steady_from = first + u64::from(FLOWS);
    let mut shares: BTreeMap<&String, u32> = BTreeMap::new();
    for (_, port) in left.range(..steady_from) {
        *shares.entry(port).or_default() += 1;
    }
    findings.check_eq(&shares.len(), &ways, format!("all {ways} equal paths from {sg} to {target} are used"));
    let flows: u32 = shares.values().sum();
    for (port, count) in &shares {
        let share = f64::from(*count) / f64::from(flows.max(1));
        let even = 1.0 / ways as f64;
        let what = format!(
            "{:.1} % of the flows leave through {port}, {:.1} % would be even: the error",
            share * 100.0,
            even * 100.0
        );
        findings.bound((share - even).abs() * 100.0, 5.0, "%", flows as usize, what);
        findings.figure(format!("share of flows by {port}"), share * 100.0, "%");
    }
    let steady: BTreeSet<_> = left.range(steady_from..).map(|(_, port)| port).collect();
    findings.check_eq(&steady.len(), &1, format!("{STEADY} frames of one flow take one path"));
    let same = left.get(&(first + 7)).zip(steady.first()).map(|(a, b)| a == *b);
    findings.check_eq(&same, &Some(true), "that path is the one this flow took before");
    Ok(())
}

async fn hop_limit(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, _) = testbed.far_pair().await?;
    let source = testbed.service_of(&caller)?;
    let flow = 77;
    let reply = testbed.call_with(&caller, &target, "echo", &["x"], |r| r.flow = Some(flow)).await?;
    for (hops, decider) in (1_u8..).zip(&reply.path) {
        let from = testbed.now_ns();
        let drops = testbed.dropped(decider, DropReason::HopLimitExceeded).await?;
        let mut thrown = Thrown::echo(&target, &source, testbed.correlations())?.flow(flow);
        thrown.hop_limit = hops;
        testbed.throw(&caller, &reply.path[0], &thrown).await?;
        let told = |s: &Seen| {
            let ours = matches!(s.message(), Message::Nack(n) if n.call() == Some(thrown.correlation));
            ours && s.node == caller && !s.sent
        };
        let nack =
            testbed.wait_frame(&format!("the negative reply to {hops} hops"), from, testbed.t_conv(), told).await?;
        let Message::Nack(nack) = nack.message() else { continue };
        let said = (nack.reason, nack.node.to_string());
        findings.check_eq(
            &said,
            &(RefusalReason::HopLimitExceeded, decider.clone()),
            format!("a frame with hop limit {hops} ends with a negative reply from {decider}"),
        );
        let frames = testbed.frames(from).await?;
        let sent = frames.iter().filter(|s| s.sent && s.request() == Some(thrown.correlation)).count();
        findings.check_eq(&sent, &usize::from(hops), format!("the frame crosses {hops} links"));
        let now = testbed.dropped(decider, DropReason::HopLimitExceeded).await?;
        findings.check_saw(now > drops, format!("{decider} counts the drop"), format!("{drops} → {now}"));
    }
    Ok(())
}

/// Flow label of the `i`-th request; different labels take different paths.
const fn flow_of(i: u64) -> u32 {
    (i as u32).wrapping_mul(0x9e37_79b9)
}

/// Number of random cost changes.
const CHANGES: usize = 250;

async fn churn(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, chain) = testbed.far_pair().await?;
    let source = testbed.service_of(&caller)?;
    let routes =
        |n: &damc_wire::NodeId| matches!(testbed.topology.nodes().get(n).map(|n| n.kind), Some(Role::Sg | Role::Sr));
    let links = testbed.topology.links().iter().filter(|l| routes(&l.a) && routes(&l.b));
    let ends: Vec<(String, String)> =
        links.flat_map(|l| [(l.a.to_string(), l.b.to_string()), (l.b.to_string(), l.a.to_string())]).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (from, first) = (testbed.now_ns(), testbed.correlations());
    let thrown = 2 * CHANGES as u64;
    let probe = |i: u64| Ok(Thrown::echo(&target, &source, first + i)?.flow(flow_of(i)));
    let probes = (0..thrown).map(probe).collect::<Result<Vec<_>, Stop>>()?;
    testbed.stream(&caller, &chain[0], &probes, testbed.spacing(Duration::from_millis(1))).await?;
    for _ in 0..CHANGES {
        let (near, far) = &ends[rng.random_range(0..ends.len())];
        testbed.set_cost(near, far, rng.random_range(1..20)).await?;
    }
    for (near, far) in &ends {
        testbed.set_cost(near, far, testbed.configured_cost(near, far)).await?;
    }
    testbed.settled(&Failures::default(), "FIBs with the costs of the topology").await?;
    let owner = testbed.owner_of(&target)?;
    // One of the last: a lossy link may take a few.
    let late = |s: &Seen| {
        s.node == owner && !s.sent && s.request().is_some_and(|c| (first + thrown - 50..first + thrown).contains(&c))
    };
    testbed.wait_frame("the end of the stream arrives", from, testbed.t_conv(), late).await?;
    // A node that drops a looping frame (WIRE.md 14) has not let it pass.
    let mut passes: BTreeMap<(u64, String), u32> = BTreeMap::new();
    let mut arrivals: BTreeMap<(u64, String), u32> = BTreeMap::new();
    let mut arrived = BTreeSet::new();
    for s in &testbed.frames(from).await? {
        let Some(correlation) = s.request().filter(|c| (first..first + thrown).contains(c)) else { continue };
        let counted = if s.sent { &mut passes } else { &mut arrivals };
        *counted.entry((correlation, s.node.clone())).or_default() += 1;
        if s.node == owner && !s.sent {
            arrived.insert(correlation);
        }
    }
    let most = passes.values().copied().max().unwrap_or(0);
    findings.check_saw(!arrived.is_empty(), "frames arrive during the changes", format!("{}", arrived.len()));
    findings.never(
        most <= 2,
        format!("none of {thrown} frames during {CHANGES} cost changes passes a node more than twice"),
        format!("at most {most} times"),
    );
    let looped: BTreeSet<u64> = arrivals.iter().filter(|(_, n)| **n > 1).map(|((c, _), _)| *c).collect();
    findings.figure("frames that came to a node twice", looped.len() as f64, "frames");
    findings.figure("frames lost during the changes", (thrown - arrived.len() as u64) as f64, "frames");
    Ok(())
}
