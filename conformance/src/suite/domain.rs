//! Another domain: its members have keys of another root, and nothing they say counts here.

use std::time::Duration;

use damc_trust::NodeKeys;
use damc_wire::message::{Hello, Policy, PolicyAction};
use damc_wire::{DropReason, Frame, Message, Millis, Name, NodeId, Role};

use super::forged::edge;
use super::hostile::Peace;
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of domains.
pub const CASES: &[Case] = &[case!(
    "arc-02",
    "A node of another domain gets no adjacency, and a policy of another domain's SCSC is refused",
    ["ARC-02", "GAP-26"],
    Guest,
    another_domain
)];

/// A node of the topology as a member of another domain has its name: same identity, same role, another root.
fn foreign(testbed: &Testbed, node: &NodeId, role: Role) -> Result<NodeKeys, Stop> {
    let domain =
        NodeId::new(&format!("not-{}", testbed.topology.domain())).map_err(|e| Stop::Inconclusive(e.to_string()))?;
    Ok(testbed.forge.keys_elsewhere(&domain, node, role))
}

async fn another_domain(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, sr) = edge(testbed)?;
    let (id, role) = testbed.role(&sr)?;
    let (keys, timers) = (foreign(testbed, &id, role)?, &testbed.timers);
    let session = 0xd0_0a17 + testbed.unique();
    let hello = keys.sign_hello(Hello {
        certificate: keys.certificate().clone(),
        session,
        heard: None,
        hello_interval: Millis(timers.hello_interval_ms),
        dead_interval: Millis(timers.dead_interval_ms),
        echo_interval: Millis(timers.echo_interval_ms),
        echo_multiplier: timers.echo_multiplier,
        signature: [0; 64],
    });
    let pdu = Frame::hop_local(Message::Hello(hello)).encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let (known, from) = (testbed.dropped(&sg, DropReason::DomainMismatch).await?, testbed.now_ns());
    testbed.inject(&sr, &sg, &pdu).await?;
    testbed.wait_dropped(&sg, DropReason::DomainMismatch, known, 1).await?;
    findings.check(true, format!("{sg} reports the mismatch of a hello of {sr} from another domain"));
    let answers = |s: &&Seen| match s.message() {
        Message::Hello(h) => s.is_sent_by(&sg, &sr) && h.heard.as_ref() == Some(&(id.clone(), session)),
        _ => false,
    };
    let answered = testbed.frames(from).await?.iter().filter(answers).count();
    findings.none(&answered, format!("no hellos of {sg} that name the session of the other domain"));
    foreign_policy(testbed, findings, &sg, &sr).await?;
    before.still(testbed, findings).await
}

async fn foreign_policy(testbed: &Testbed, findings: &mut Findings, sg: &str, sr: &str) -> Result<(), Stop> {
    let (scsc, role) = testbed.role(&testbed.scsc()?)?;
    let (recipient, next_hop) = (testbed.role(sg)?.0, testbed.role(sr)?.0);
    let name = |node: &NodeId| Name::of_node(testbed.topology.domain().as_str(), node);
    let name = |node: &NodeId| name(node).map_err(|e| Stop::Inconclusive(e.to_string()));
    let (to, by) = (name(&recipient)?, name(&scsc)?);
    let label = 0x7ffc_0000 | u32::try_from(testbed.unique()).unwrap_or(0);
    let (_, target, _) = testbed.far_pair().await?;
    let policy = Policy {
        label,
        version: 1,
        source: recipient.clone(),
        recipient,
        prefix: parse(&target)?,
        action: PolicyAction::Ingress { next_hop },
        expires_in: Millis(10_000),
    };
    let signed = foreign(testbed, &scsc, role)?.sign_routed(&to, &by, policy);
    let pdu = Frame::plain(to, by, 1, Message::Policy(signed)).encode();
    let known = testbed.dropped(sg, DropReason::DomainMismatch).await?;
    testbed.inject_routed(sr, sg, vec![pdu.map_err(|e| Stop::Inconclusive(e.to_string()))?]).await?;
    testbed.wait_dropped(sg, DropReason::DomainMismatch, known, 1).await?;
    let held = testbed.lab.policies(sg).await?.policies.iter().filter(|p| p.label == label).count();
    findings.none(&held, format!("no policies of another domain's SCSC at {sg}"));
    Ok(())
}
