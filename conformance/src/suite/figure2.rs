//! Section B: Figure 2, link by link, and what follows from its shape.

use std::collections::BTreeSet;
use std::time::Duration;

use damc_mgmt::words::AdjacencyState;
use damc_testbed::NodeAction;
use damc_wire::{MessageType, Role};

use crate::case::{Case, Findings, Impact, Stop, Suite, Worlds};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;

const LIMIT: Duration = Duration::from_secs(30);

macro_rules! drawn {
    ($($id:literal, $a:literal, $b:literal, $row:literal;)*) => {
        &[$(Case {
            id: $id,
            title: concat!("Figure 2 draws ", $a, " – ", $b, ": both ends are adjacent, frames cross in either direction"),
            rows: &[$row],
            suite: Suite::Conformance,
            impact: Impact::Calm,
            worlds: Worlds::All,
            limit: LIMIT,
            run: |testbed, findings| Box::pin(link_is_alive(testbed, findings, $a, $b)),
        },)*]
    };
}

/// One case for each link that the figure draws.
pub const LINKS: &[Case] = drawn! {
    "fig-01", "sg-1", "sr-left", "FIG-01";
    "fig-02", "sg-2", "sr-right", "FIG-02";
    "fig-03", "sg-3", "sr-left", "FIG-03";
    "fig-04", "sg-4", "sr-right", "FIG-04";
    "fig-05", "sg-3", "sr-bottom", "FIG-05";
    "fig-06", "sg-4", "sr-bottom", "FIG-06";
    "fig-07", "sr-left", "sr-right", "FIG-07";
    "fig-08", "sr-left", "sr-bottom", "FIG-08";
    "fig-09", "sr-right", "sr-bottom", "FIG-09";
    "fig-10", "sg-1", "sr-right", "FIG-10";
    "fig-11", "sg-2", "sr-left", "FIG-11";
    "fig-12-left", "scsc", "sr-left", "FIG-12";
    "fig-12-right", "scsc", "sr-right", "FIG-12";
    "fig-13-1", "spa-1", "sg-1", "FIG-13";
    "fig-13-2", "spa-2", "sg-2", "FIG-13";
    "fig-13-3", "spa-3", "sg-3", "FIG-13";
    "fig-13-4", "spa-4", "sg-4", "FIG-13";
    "fig-14-1", "pod-1", "sg-1", "FIG-14";
    "fig-14-2", "pod-2", "sg-2", "FIG-14";
    "fig-14-3", "pod-3", "sg-3", "FIG-14";
    "fig-14-4", "pod-4", "sg-4", "FIG-14";
};

/// Cases about what follows from the shape.
pub const CASES: &[Case] = &[
    Case {
        id: "fig-15",
        title: "Only nodes that the topology joins are adjacent",
        rows: &["FIG-15"],
        suite: Suite::Conformance,
        impact: Impact::Calm,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(nothing_else_is_joined(testbed, findings)),
    },
    Case {
        id: "fig-16-links",
        title: "Every SG pair survives the loss of any one core link, and of any two as far as the graph allows",
        rows: &["FIG-16", "RIB-06"],
        suite: Suite::Conformance,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: Duration::from_secs(60),
        run: |testbed, findings| Box::pin(link_cuts(testbed, findings)),
    },
    Case {
        id: "fig-16-routers",
        title: "Every SG pair survives the loss of any one SR",
        rows: &["FIG-16"],
        suite: Suite::Conformance,
        impact: Impact::Nodes,
        worlds: Worlds::All,
        limit: Duration::from_secs(60),
        run: |testbed, findings| Box::pin(router_losses(testbed, findings)),
    },
    Case {
        id: "fig-17",
        title: "With one of its SRs gone, telemetry still reaches the SCSC through the other",
        rows: &["FIG-17"],
        suite: Suite::Conformance,
        impact: Impact::Nodes,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(telemetry_around_a_dead_router(testbed, findings)),
    },
    Case {
        id: "fig-18",
        title: "Requests take the shortest hop chain, and the next shortest when its first link is cut",
        rows: &["FIG-18", "FWD-05", "FWD-06"],
        suite: Suite::Conformance,
        impact: Impact::Links,
        worlds: Worlds::All,
        limit: LIMIT,
        run: |testbed, findings| Box::pin(shortest_chain(testbed, findings)),
    },
];

async fn link_is_alive(testbed: &Testbed, findings: &mut Findings, a: &str, b: &str) -> Result<(), Stop> {
    let (a_id, _) = testbed.role(a)?;
    let (b_id, _) = testbed.role(b)?;
    let joined = testbed.topology.link(&a_id, &b_id).is_some();
    findings.check_saw(joined, format!("the topology joins {a} and {b}"), if joined { "a link" } else { "no link" });
    for (near, far) in [(a, b), (b, a)] {
        let sent = testbed.sent(0, near, far, MessageType::Hello).await?;
        let fresh = sent.iter().any(|s| match s.message() {
            damc_wire::Message::Hello(h) => h.heard.as_ref().is_some_and(|(node, _)| node.as_str() == far),
            _ => false,
        });
        findings.check_saw(
            fresh,
            format!("{near} sends a hello on the link that names {far} as heard"),
            format!("{} hellos", sent.len()),
        );
        let row = testbed.lab.neighbors(near).await?.neighbors.into_iter().find(|n| n.port == far);
        let state = row.map(|n| n.state);
        let text = state.map_or("no such port", AdjacencyState::label);
        findings.check_saw(state == Some(AdjacencyState::Full), format!("{near} shows port {far} as full"), text);
    }
    Ok(())
}

async fn nothing_else_is_joined(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let drawn: BTreeSet<(String, String)> = testbed
        .topology
        .links()
        .iter()
        .flat_map(|l| [(l.a.to_string(), l.b.to_string()), (l.b.to_string(), l.a.to_string())])
        .collect();
    let mut crossed = BTreeSet::new();
    for s in testbed.history(|t| t == MessageType::Hello).await? {
        if let damc_wire::Message::Hello(h) = s.message() {
            // The pair as the two ends name themselves; the name of the port does not matter.
            if !s.sent {
                crossed.insert((h.certificate.node.to_string(), s.node.clone()));
            }
        }
    }
    let strangers: Vec<_> = crossed.difference(&drawn).collect();
    findings.never(strangers.is_empty(), "hellos cross only drawn links", format!("others {strangers:?}"));
    findings.check_saw(
        crossed == drawn,
        format!("hellos cross all {} drawn directions", drawn.len()),
        format!("{} directions", crossed.len()),
    );
    if testbed.topology.name().as_str() == "fig2" {
        findings.check_eq(&testbed.topology.links().len(), &21, "Figure 2 has 21 links");
    }
    for (a, b) in &drawn {
        let (ra, rb) = (testbed.role(a)?.1, testbed.role(b)?.1);
        let forbidden = matches!(
            (ra, rb),
            (Role::Sg, Role::Sg) | (Role::Spa, Role::Spa | Role::Sr | Role::Scsc) | (Role::Pod, Role::Sr)
        );
        let what = format!("{a} – {b} is a kind of link that the figure has");
        findings.check_saw(!forbidden, what, format!("{ra} – {rb}"));
    }
    Ok(())
}

/// Links between SGs and SRs.
fn core(testbed: &Testbed) -> Vec<(String, String)> {
    let routes = |n| matches!(testbed.topology.nodes().get(n).map(|n| n.kind), Some(Role::Sg | Role::Sr));
    let links = testbed.topology.links().iter().filter(|l| routes(&l.a) && routes(&l.b));
    links.map(|l| (l.a.to_string(), l.b.to_string())).collect()
}

/// Waits until every FIB is what the oracle expects with these failures.
async fn converge(testbed: &Testbed, failures: &Failures, what: &str) -> Result<Duration, Stop> {
    let began = testbed.now_ns();
    let oracle = Oracle::new(&testbed.topology, failures);
    testbed
        .wait(what, testbed.t_conv(), || async {
            let fibs = testbed.fibs_except(failures).await?;
            Ok(match oracle.first_difference(&fibs) {
                None => Ok(()),
                Some(difference) => Err(difference),
            })
        })
        .await?;
    Ok(testbed.since(began))
}

async fn link_cuts(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let core = core(testbed);
    let mut slowest = Duration::ZERO;
    for (a, b) in &core {
        testbed.cut(a, b).await?;
        let failures = Failures::default().link(a, b);
        slowest = slowest.max(converge(testbed, &failures, &format!("FIBs of the oracle without {a} – {b}")).await?);
        testbed.mend(a, b).await?;
    }
    findings.check(true, format!("after each of {} single cuts, every FIB equals the oracle's", core.len()));
    findings.figure("slowest convergence after one cut, seen from outside", slowest.as_secs_f64() * 1e3, "ms");
    converge(testbed, &Failures::default(), "FIBs of the whole graph").await?;
    two_cuts(testbed, findings, &core).await
}

/// Cuts pairs of links that share a node, 32 at most: such pairs can isolate a node.
async fn two_cuts(testbed: &Testbed, findings: &mut Findings, core: &[(String, String)]) -> Result<(), Stop> {
    let pairs: Vec<_> = core
        .iter()
        .enumerate()
        .flat_map(|(i, first)| core[i + 1..].iter().map(move |second| (first, second)))
        .filter(|(x, y)| x.0 == y.0 || x.0 == y.1 || x.1 == y.0 || x.1 == y.1)
        .take(32)
        .collect();
    for (x, y) in &pairs {
        testbed.cut(&x.0, &x.1).await?;
        testbed.cut(&y.0, &y.1).await?;
        let failures = Failures::default().link(&x.0, &x.1).link(&y.0, &y.1);
        let what = format!("FIBs of the oracle without {}–{} and {}–{}", x.0, x.1, y.0, y.1);
        converge(testbed, &failures, &what).await?;
        testbed.mend(&x.0, &x.1).await?;
        testbed.mend(&y.0, &y.1).await?;
    }
    findings
        .check(true, format!("after each of {} double cuts at one node, every FIB equals the oracle's", pairs.len()));
    converge(testbed, &Failures::default(), "FIBs of the whole graph").await?;
    Ok(())
}

async fn router_losses(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    for sr in testbed.of_kind(&[Role::Sr]) {
        testbed.lab.node(&sr, NodeAction::Kill).await?;
        let failures = Failures::default().node(&sr);
        let took = converge(testbed, &failures, &format!("FIBs of the oracle without {sr}")).await?;
        findings.check(true, format!("without {sr} every FIB equals the oracle's after {} ms", took.as_millis()));
        findings.figure(
            format!("convergence after the death of {sr}, seen from outside"),
            took.as_secs_f64() * 1e3,
            "ms",
        );
        testbed.lab.node(&sr, NodeAction::Start).await?;
        converge(testbed, &Failures::default(), &format!("FIBs with {sr} back")).await?;
    }
    Ok(())
}

async fn telemetry_around_a_dead_router(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let scsc = testbed.of_kind(&[Role::Scsc]).pop().ok_or_else(|| Stop::NotApplicable("no SCSC".into()))?;
    let (scsc_id, _) = testbed.role(&scsc)?;
    let attached: Vec<_> = testbed.topology.links_of(&scsc_id).map(|(_, far)| far.to_string()).collect();
    let [dead, alive, ..] = attached.as_slice() else {
        return Err(Stop::NotApplicable("the SCSC has one SR only".into()));
    };
    testbed.lab.node(dead, NodeAction::Kill).await?;
    converge(testbed, &Failures::default().node(dead), &format!("FIBs of the oracle without {dead}")).await?;
    let from = testbed.now_ns();
    for sg in testbed.of_kind(&[Role::Sg]) {
        let name = format!("/damc/{}/{sg}", testbed.topology.domain());
        let what = format!("telemetry of {sg} at the SCSC");
        let seen = testbed
            .wait_frame(&what, from, testbed.t_conv(), |s| {
                s.message_type() == MessageType::Telemetry
                    && s.node == scsc
                    && !s.sent
                    && s.frame.names.as_ref().is_some_and(|(_, source)| source.to_string() == name)
            })
            .await?;
        findings.check_saw(
            seen.port == *alive,
            format!("with {dead} dead, telemetry of {sg} arrives through {alive}"),
            format!("through {}", seen.port),
        );
    }
    testbed.lab.node(dead, NodeAction::Start).await?;
    Ok(())
}

async fn shortest_chain(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    if testbed.topology.name().as_str() != "fig2" {
        return Err(Stop::NotApplicable("the expected chains are those of Figure 2".into()));
    }
    let reply = testbed.call("pod-1", "/B/4", "whoami", &[]).await?;
    findings.check_eq(&reply.path, &["sg-1", "sr-right", "sg-4"].map(String::from).to_vec(), "A/1 calls B/4");
    testbed.cut("sg-1", "sr-right").await?;
    converge(testbed, &Failures::default().link("sg-1", "sr-right"), "FIBs without sg-1 – sr-right").await?;
    let reply = testbed.call("pod-1", "/B/4", "whoami", &[]).await?;
    let allowed = [vec!["sg-1", "sr-left", "sr-right", "sg-4"], vec!["sg-1", "sr-left", "sr-bottom", "sg-4"]];
    findings.check_saw(
        allowed.iter().any(|path| *path == reply.path),
        "with sg-1 – sr-right cut, the call takes a next shortest chain through sr-left",
        reply.path.join(" → "),
    );
    testbed.mend("sg-1", "sr-right").await?;
    Ok(())
}
