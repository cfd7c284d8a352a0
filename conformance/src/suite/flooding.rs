//! Reliable flooding: what is not acknowledged is sent again, what is refused is not acknowledged, who hears a newer
//! instance in its own name outbids it, and SGs are no transit.

use std::time::Duration;

use damc_impair::DirectionChange;
use damc_testbed::Direction;
use damc_testbed::WorldError;
use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey, TopologyLsa};
use damc_wire::{DropReason, Message, MessageType, Millis, NodeId, Role};

use super::forged::{edge, flood, ghost, holders, newest_topology, updates, wait_held};
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of flooding.
pub const CASES: &[Case] = &[
    case!(
        "gap-03-resend",
        "An LSA whose acknowledgement is lost is sent again until it is acknowledged",
        ["GAP-03"],
        Links,
        lost_acknowledgement
    ),
    case!("gap-03-refused", "A refused LSA is not acknowledged", ["GAP-03", "GAP-08"], Guest, refused_in_silence),
    case!(
        "gap-05-fight-back",
        "A node outbids a newer instance of its own LSA that it did not make",
        ["GAP-05", "GAP-06"],
        Guest,
        fight_back
    ),
    case!(
        "lsa-01-pod",
        "An LSA on the port of a pod is dropped, whoever signed it",
        ["LSA-01", "ARC-01"],
        Guest,
        on_a_pods_port
    ),
    case!(
        "con-07-stub",
        "With all links between SRs cut, no traffic passes through an SG that is not one of its ends",
        ["CON-07", "FWD-06"],
        Links,
        no_transit_through_gateways
    ),
];

/// A topology LSA without links in the name of somebody whom no link joins.
fn empty_lsa(testbed: &Testbed, origin: &NodeId) -> Lsa {
    let key = LsaKey { origin: origin.clone(), id: LsaId::Topology(0) };
    let lifetime = Millis(u64::try_from(testbed.t_conv().as_millis()).unwrap_or(60_000));
    let content = LsaContent::Topology(TopologyLsa::default());
    testbed.forge.keys(origin, Role::Sr).sign_lsa(key, 1, lifetime, content)
}

/// Whether a frame is an acknowledgement of this LSA from `sender` to `receiver`.
fn acknowledges(frame: &Seen, (sender, receiver): (&str, &str), key: &LsaKey) -> bool {
    match frame.message() {
        Message::LsAck(headers) => frame.is_sent_by(sender, receiver) && headers.iter().any(|h| h.key == *key),
        _ => false,
    }
}

async fn lost_acknowledgement(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let near =
        [Role::Sr, Role::Sg].iter().find_map(|kind| testbed.beside(&sr, *kind).ok()?.into_iter().find(|n| *n != sg));
    let other = near.ok_or_else(|| Stop::NotApplicable(format!("{sr} has one neighbour only")))?;
    let (origin, flaps) = (ghost(testbed)?, testbed.flaps(&[&sg, &sr]).await?);
    let lsa = empty_lsa(testbed, &origin);
    // The link is silent for as long as it takes to lose the acknowledgement, less than it takes to notice.
    testbed
        .impair((&sg, &sr), Direction::Forward, DirectionChange { silent: Some(true), ..DirectionChange::default() })
        .await?;
    let from = testbed.now_ns();
    flood(testbed, (&other, &sr), &lsa).await?;
    let lost = format!("{sg} acknowledges the LSA of {origin}, in vain");
    let lost = testbed.wait_frame(&lost, from, testbed.t_conv(), |s| acknowledges(s, (&sg, &sr), &lsa.key)).await;
    testbed.mend(&sg, &sr).await?;
    let lost = lost?;
    let what = format!("{sr} sends the LSA to {sg} again");
    let again = |s: &Seen| s.at_ns > lost.at_ns && updates(s, (&sr, &sg), &lsa.key);
    let resent = testbed.wait_frame(&what, lost.at_ns, testbed.t_conv(), again).await;
    if testbed.flaps(&[&sg, &sr]).await? != flaps {
        return Err(Stop::Inconclusive(format!("the adjacency of {sg} and {sr} ended while the link was silent")));
    }
    let resent = resent?;
    findings.check(true, &what);
    let what = format!("{sg} acknowledges it again");
    let heard = |s: &Seen| s.at_ns > resent.at_ns && acknowledges(s, (&sg, &sr), &lsa.key);
    testbed.wait_frame(&what, resent.at_ns, testbed.t_conv(), heard).await?;
    findings.check(true, what);
    wait_held(testbed, &origin, false, lsa.lifetime.duration() + testbed.t_conv()).await
}

async fn refused_in_silence(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let (liar, witness) = (ghost(testbed)?, ghost(testbed)?);
    let (mut forged, sound) = (empty_lsa(testbed, &liar), empty_lsa(testbed, &witness));
    forged.signature[9] ^= 1;
    let from = testbed.now_ns();
    testbed.inject_as(&sg, &sr, Message::LsUpdate(vec![forged.clone()])).await?;
    // The next LSA on the same link shows that the forged one was read.
    flood(testbed, (&sg, &sr), &sound).await?;
    let what = format!("{sr} acknowledges the LSA behind the forged one");
    testbed.wait_frame(&what, from, testbed.t_conv(), |s| acknowledges(s, (&sr, &sg), &sound.key)).await?;
    findings.check(true, what);
    let acks = testbed.sent(from, &sr, &sg, MessageType::LsAck).await?;
    let acks = acks.iter().filter(|s| acknowledges(s, (&sr, &sg), &forged.key)).count();
    findings.none(&acks, format!("no acknowledgements of an LSA with a damaged signature by {sr}"));
    findings.none(&holders(testbed, &liar).await?, "no nodes that hold it");
    wait_held(testbed, &witness, false, sound.lifetime.duration() + testbed.t_conv()).await
}

/// Sequence number of the topology LSA of `origin` at each SG and SR; 0 where there is none.
async fn sequences(testbed: &Testbed, origin: &str) -> Result<Vec<(String, u64)>, WorldError> {
    let mut all = Vec::new();
    for node in testbed.routers() {
        let lsdb = testbed.lab.lsdb(&node).await?;
        let held = lsdb.lsas.iter().find(|l| l.origin == origin && l.id == "0" && l.port.is_none());
        all.push((node, held.map_or(0, |l| l.sequence)));
    }
    Ok(all)
}

async fn fight_back(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    /// More than a node that counts up by one can catch up with.
    const AHEAD: u64 = 1000;
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    let (sg, sr) = edge(testbed)?;
    let (id, role) = testbed.role(&sr)?;
    let held = newest_topology(testbed, &sr).await?;
    let sequence = held.sequence + AHEAD;
    let empty = LsaContent::Topology(TopologyLsa::default());
    let forged = testbed.forge.keys(&id, role).sign_lsa(held.key.clone(), sequence, Millis(60_000), empty);
    flood(testbed, (&sr, &sg), &forged).await?;
    let what = format!("every LSDB has an instance of {sr} that is newer than the forged instance {sequence}");
    testbed
        .wait(&what, testbed.t_conv(), || async {
            let held = sequences(testbed, &sr).await?;
            let older: Vec<_> = held.iter().filter(|(_, s)| *s <= sequence).collect();
            Ok(if older.is_empty() { Ok(()) } else { Err(format!("{older:?}")) })
        })
        .await?;
    findings.check(true, what);
    let what = "FIBs of the whole graph again";
    testbed.settled(&Failures::default(), what).await?;
    findings.check(true, what);
    Ok(())
}

async fn on_a_pods_port(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let origin = ghost(testbed)?;
    let known = testbed.dropped(&sg, DropReason::WrongRole).await?;
    let from = testbed.now_ns();
    testbed.inject_as(&pod, &sg, Message::LsUpdate(vec![empty_lsa(testbed, &origin)])).await?;
    testbed.wait_dropped(&sg, DropReason::WrongRole, known, 1).await?;
    findings.check(true, format!("{sg} drops an LSA that comes from {pod}"));
    findings.none(&holders(testbed, &origin).await?, "no nodes that hold it");
    let frames = testbed.frames(from).await?;
    let key = LsaKey { origin, id: LsaId::Topology(0) };
    let passed = frames.iter().filter(|s| s.node != pod && updates(s, (&s.node, &s.port), &key)).count();
    findings.none(&passed, "no frames in which it is passed on");
    Ok(())
}

async fn no_transit_through_gateways(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let kind = |node: &NodeId| testbed.topology.nodes()[node].kind;
    let between: Vec<_> =
        testbed.topology.links().iter().filter(|l| kind(&l.a) == Role::Sr && kind(&l.b) == Role::Sr).collect();
    if between.is_empty() {
        return Err(Stop::NotApplicable("no link between SRs".into()));
    }
    let mut failures = Failures::default();
    for link in &between {
        testbed.cut(link.a.as_str(), link.b.as_str()).await?;
        failures = failures.link(link.a.as_str(), link.b.as_str());
    }
    let what = format!("FIBs without the {} links between SRs", between.len());
    testbed.settled(&failures, &what).await?;
    findings.check(true, what);
    let oracle = Oracle::new(&testbed.topology, &failures);
    let sgs = testbed.of_kind(&[Role::Sg]);
    let pods: Vec<String> =
        testbed.of_kind(&[Role::Pod]).into_iter().filter(|p| testbed.service_of(p).is_ok()).collect();
    for caller in &pods {
        for callee in pods.iter().filter(|p| *p != caller) {
            let target = testbed.service_of(callee)?;
            let (from, to) = (testbed.sg_of(caller)?, testbed.sg_of(callee)?);
            let reply = testbed.call(caller, &target, "whoami", &[]).await?;
            let inside = reply.path.iter().skip(1).rev().skip(1).any(|n| sgs.contains(n));
            let right = match oracle.distance(&from, &to) {
                Some(_) => reply.error.is_none() && !inside,
                None => reply.error.as_deref() == Some("no-route"),
            };
            findings.check_saw(
                right,
                format!("{caller} calls {target}: over SRs only, or no route"),
                format!("path {:?}, error {:?}", reply.path, reply.error),
            );
        }
    }
    Ok(())
}
