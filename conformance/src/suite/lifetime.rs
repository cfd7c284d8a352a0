//! What was said for a time ends with it, though nobody takes it back: LSAs, grants, policies.

use std::time::Duration;

use damc_mgmt::words::RouteSource;
use damc_testbed::WorldError;
use damc_wire::lsa::{LsaContent, LsaId, LsaKey, PrefixLsa, Proof, TopologyLsa};
use damc_wire::{Message, MessageType, Millis, Role};

use super::forged::{Steer, edge, encoded, flood, ghost, holders, wait_held};
use super::grants::{clock_of, grant};
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::{lsas_in, parse};

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of lifetimes.
pub const CASES: &[Case] = &[
    case!(
        "gap-06-age",
        "An LSA that nobody refreshes leaves every LSDB when its lifetime is over, and every copy of it is younger",
        ["GAP-06", "RIB-01"],
        Guest,
        ageing
    ),
    case!(
        "gap-07-end",
        "An LSA leaves every LSDB with its grant, and does not come back under the grant that is over",
        ["GAP-07", "AUT-09"],
        Guest,
        end_of_a_grant
    ),
    case!(
        "gap-14-end",
        "A policy ends by time, and no copy of it brings it back",
        ["GAP-14", "POL-05"],
        Guest,
        end_of_a_policy
    ),
    case!(
        "pol-05-signed",
        "A policy that the SCSC did not sign is not taken",
        ["POL-05", "GOAL-06"],
        Guest,
        unsigned_policies
    ),
];

/// Lifetime of an LSA that is not meant to end during a case.
const LONG: Millis = Millis(120_000);

/// How long what a case says is to live: long enough to reach everybody.
fn life(testbed: &Testbed) -> Millis {
    Millis(u64::try_from(testbed.t_conv().as_millis()).unwrap_or(LONG.0))
}

async fn ageing(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let (origin, lifetime) = (ghost(testbed)?, life(testbed));
    let key = LsaKey { origin: origin.clone(), id: LsaId::Topology(0) };
    let content = LsaContent::Topology(TopologyLsa::default());
    let lsa = testbed.forge.keys(&origin, Role::Sr).sign_lsa(key.clone(), 1, lifetime, content);
    let from = testbed.now_ns();
    flood(testbed, (&sg, &sr), &lsa).await?;
    wait_held(testbed, &origin, true, lifetime.duration()).await?;
    findings.check(true, format!("an LSA of {origin} that lives {} ms reaches every LSDB", lifetime.0));
    wait_held(testbed, &origin, false, lifetime.duration() + testbed.t_conv()).await?;
    findings.check(true, "it leaves every LSDB, though nobody purges it");
    let frames = testbed.frames(from).await?;
    let injected = |node: &str, port: &str| (node, port) == (&*sg, &*sr) || (node, port) == (&*sr, &*sg);
    let passed_on: Vec<_> = frames
        .iter()
        .filter(|s| s.sent && !injected(&s.node, &s.port))
        .flat_map(|s| lsas_in(s).iter().filter(|l| l.key == key).map(move |l| (&s.node, l.remaining.0, l.is_purge())))
        .collect();
    let whole: Vec<_> = passed_on.iter().filter(|(_, left, _)| *left >= lifetime.0).collect();
    findings.check_saw(
        !passed_on.is_empty() && whole.is_empty(),
        format!("copies that are passed on have less than {} ms left", lifetime.0),
        format!("{} copies, of these as old as new: {whole:?}", passed_on.len()),
    );
    let purges = passed_on.iter().filter(|(_, _, purge)| *purge).count();
    findings.none(&purges, "no purges of it by others than its origin");
    Ok(())
}

async fn end_of_a_grant(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let spa = testbed.spa_of(&sg)?;
    let (origin, pod, lifetime) = (ghost(testbed)?, ghost(testbed)?, life(testbed));
    let name = testbed.fresh_name(pod.as_str());
    let issued_at = clock_of(testbed, &spa).await?;
    let proof = grant(testbed, (&spa, &origin, &pod), parse(&name)?, (issued_at, lifetime))?;
    let key = LsaKey { origin: origin.clone(), id: LsaId::Prefix(parse(&name)?, pod) };
    let body = PrefixLsa { metric: 1, weight: 1, exact: false, instance: None, proof: Proof::Grant(proof) };
    let keys = testbed.forge.keys(&origin, Role::Sg);
    let instance = |sequence| keys.sign_lsa(key.clone(), sequence, LONG, LsaContent::Prefix(body.clone()));
    flood(testbed, (&sg, &sr), &instance(1)).await?;
    wait_held(testbed, &origin, true, lifetime.duration()).await?;
    findings.check(true, format!("{name} of {origin}, granted for {} ms, reaches every LSDB", lifetime.0));
    wait_held(testbed, &origin, false, lifetime.duration() + testbed.t_conv()).await?;
    findings.check(true, format!("it leaves every LSDB with its grant, though the LSA lives {} ms", LONG.0));
    // A second instance under the same grant, and behind it an LSA that shows that it was read.
    let witness = ghost(testbed)?;
    let after = LsaKey { origin: witness.clone(), id: LsaId::Topology(0) };
    let content = LsaContent::Topology(TopologyLsa::default());
    let after = testbed.forge.keys(&witness, Role::Sr).sign_lsa(after, 1, lifetime, content);
    let again = testbed.now_ns();
    flood(testbed, (&sg, &sr), &instance(2)).await?;
    flood(testbed, (&sg, &sr), &after).await?;
    wait_held(testbed, &witness, true, lifetime.duration()).await?;
    // What is refused is not acknowledged.
    let taken = |s: &crate::trace::Seen| match s.message() {
        Message::LsAck(headers) => s.sent && headers.iter().any(|h| h.key == key && h.sequence == 2),
        _ => false,
    };
    let taken = testbed.frames(again).await?.iter().filter(|s| taken(s)).count();
    findings.none(&taken, format!("no acknowledgements of {name} under the grant that is over"));
    let holders = holders(testbed, &origin).await?;
    findings.none(&holders, format!("no nodes that hold {name} again under the grant that is over"));
    wait_held(testbed, &witness, false, lifetime.duration() + testbed.t_conv()).await
}

async fn end_of_a_policy(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let (_, target, chain) = testbed.far_pair().await?;
    let sg = chain[0].clone();
    let routers = testbed.beside(&sg, Role::Sr)?;
    let next_hop = routers.iter().find(|r| **r != chain[1]).or_else(|| routers.first()).cloned();
    let next_hop = next_hop.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let (label, lifetime) = (0x7ffe_0000 | u32::try_from(testbed.unique()).unwrap_or(0), life(testbed));
    let pdu = policy(testbed, (&sg, &next_hop), &target, (label, lifetime))?;
    let from = testbed.now_ns();
    testbed.inject_routed(&next_hop, &sg, vec![pdu.clone()]).await?;
    let (what, over) = (
        format!("{sg} forwards {target} by the policy over {next_hop}"),
        format!("{sg} forwards {target} by its plain route"),
    );
    wait_source(testbed, (&sg, &target), &what, lifetime.duration(), |source| source == RouteSource::Policy).await?;
    findings.check(true, &what);
    let plain = |source| source != RouteSource::Policy;
    wait_source(testbed, (&sg, &target), &over, lifetime.duration() + testbed.t_conv(), plain).await?;
    findings.check(true, format!("{over} again once the {} ms of the policy are over", lifetime.0));
    let again = testbed.now_ns();
    testbed.inject_routed(&next_hop, &sg, vec![pdu]).await?;
    let acknowledges = |s: &crate::trace::Seen| match s.message() {
        Message::QosAck(ack) => s.sent && s.node == sg && ack.body.label == label,
        _ => false,
    };
    let ack = testbed
        .wait_frame(&format!("{sg} answers a copy of the policy"), again, testbed.t_conv(), acknowledges)
        .await?;
    let refusal = match ack.message() {
        Message::QosAck(ack) => ack.body.refusal,
        _ => None,
    };
    findings.check_saw(refusal.is_some(), format!("{sg} refuses a copy of the policy"), format!("{refusal:?}"));
    let held = testbed.lab.policies(&sg).await?.policies.iter().filter(|p| p.label == label).count();
    findings.none(&held, format!("no policies with this label at {sg}"));
    findings.figure("policies that crossed the wire meanwhile", count(testbed, from).await? as f64, "frames");
    Ok(())
}

async fn unsigned_policies(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.wait_unsteered(testbed.t_return()).await?;
    let (_, target, chain) = testbed.far_pair().await?;
    let (sg, next_hop) = (chain[0].clone(), chain[1].clone());
    let label = || 0x7ffe_0000 | u32::try_from(testbed.unique()).unwrap_or(0);
    let (damaged, sound, lifetime) = (label(), label(), life(testbed));
    // For another name: of two policies for one name the later would take the place of the earlier.
    let (hop, below, expires_in) = (next_hop.as_str(), format!("{target}/damaged"), lifetime.duration());
    let steer = Steer { sg: &sg, next_hop: hop, target: &below, label: damaged, version: 1, expires_in };
    let mut forged = steer.signed(testbed)?;
    forged.2.signature[11] ^= 1;
    let pdus = [encoded(forged)?, policy(testbed, (&sg, &next_hop), &target, (sound, lifetime))?];
    testbed.inject_routed(&next_hop, &sg, pdus.to_vec()).await?;
    let labels = || async {
        let policies = testbed.lab.policies(&sg).await?.policies;
        Ok::<Vec<u32>, WorldError>(policies.iter().map(|p| p.label).filter(|l| [damaged, sound].contains(l)).collect())
    };
    // The sound one behind it shows that the damaged one was read.
    let what = format!("{sg} holds the policy that {} signed", testbed.scsc()?);
    let held = testbed
        .wait(&what, lifetime.duration(), || async {
            let held = labels().await?;
            Ok(if held.contains(&sound) { Ok(held) } else { Err(format!("labels {held:?}")) })
        })
        .await?;
    findings.check(true, what);
    findings.check_eq(&held, &vec![sound], format!("policies at {sg} once one with a damaged signature has come"));
    let over = format!("{sg} forwards {target} by its plain route");
    let plain = |source| source != RouteSource::Policy;
    wait_source(testbed, (&sg, &target), &over, lifetime.duration() + testbed.t_conv(), plain).await
}

async fn count(testbed: &Testbed, from: u64) -> Result<usize, Stop> {
    Ok(testbed.frames(from).await?.iter().filter(|s| s.sent && s.message_type() == MessageType::Policy).count())
}

/// A policy of the SCSC for the traffic of an SG to a name, as it would be routed.
fn policy(
    testbed: &Testbed,
    (sg, next_hop): (&str, &str),
    target: &str,
    (label, lifetime): (u32, Millis),
) -> Result<Vec<u8>, Stop> {
    let steer = Steer { sg, next_hop, target, label, version: 1, expires_in: lifetime.duration() };
    encoded(steer.signed(testbed)?)
}

/// Waits until the FIB of a node has a prefix from a source that `holds` accepts.
async fn wait_source(
    testbed: &Testbed,
    (node, prefix): (&str, &str),
    what: &str,
    within: Duration,
    holds: impl Fn(RouteSource) -> bool,
) -> Result<(), Stop> {
    let look = || async {
        let fib = testbed.lab.fib(node).await?;
        let source = fib.entries.iter().find(|e| e.prefix == prefix && e.source == RouteSource::Policy);
        let source = source.or_else(|| fib.entries.iter().find(|e| e.prefix == prefix)).map(|e| e.source);
        Ok::<_, WorldError>(match source {
            Some(source) if holds(source) => Ok(()),
            other => Err(format!("source {other:?}")),
        })
    };
    testbed.wait(what, within, look).await
}
