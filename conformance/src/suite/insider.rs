//! What a member with valid keys can do to the others: they go on working, and it costs them little.

use std::time::Duration;

use damc_wire::message::{Policy, PolicyAction};
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, Name, Role};

use super::hostile::Peace;
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;

const LIMIT: Duration = Duration::from_secs(30);

/// Members that misbehave.
pub const CASES: &[Case] = &[case!(
    Insider,
    "insider-policies",
    "A pod that floods forged policies reaches nobody: its SG drops them, adjacencies and calls of others stand",
    ["GOAL-06"],
    Guest,
    forged_policies
)];

/// Forged policies thrown, and the time from one to the next: 20 000 a second.
const FORGED: u64 = 10_000;
const SPACING: Duration = Duration::from_micros(50);
/// Calls of another pod meanwhile.
const CALLS: usize = 40;

/// A signature that nobody made: what it costs to find that out is the attack.
async fn forged_policies(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, pod) = testbed.sg_with_pod()?;
    let router = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let router = router.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let scsc = testbed.scsc()?;
    let (caller, target) = other_pair(testbed, &pod)?;
    let pdu = forged_policy(testbed, (&scsc, &router), &testbed.service_of(&pod)?)?;
    let known = testbed.dropped(&sg, DropReason::WrongRole).await?;
    let from = testbed.now_ns();
    let pdus: Vec<Vec<u8>> = std::iter::repeat_n(pdu, FORGED as usize).collect();
    testbed.lab.inject_stream(&pod, &sg, &pdus, SPACING).await?;
    let mut lost = Vec::new();
    for number in 0..CALLS {
        let reply = testbed.call(&caller, &target, "echo", &["meanwhile"]).await?;
        if reply.result.as_deref() != Some("meanwhile") {
            lost.push(format!("call {number}: {}", reply.error.unwrap_or_default()));
        }
    }
    let dropped = testbed.wait_dropped(&sg, DropReason::WrongRole, known, FORGED * 9 / 10).await?;
    findings.figure("forged policies dropped by the SG", (dropped - known) as f64, "frames");
    findings.check_eq(&lost, &Vec::new(), format!("calls of {caller} to {target} lost meanwhile"));
    let policies = testbed.frames(from).await?;
    let forged = policies.iter().filter(|s| s.sent && s.node == sg && s.message_type() == MessageType::Policy);
    findings.none(&forged.count(), format!("forged policies that {sg} passed on"));
    before.still(testbed, findings).await
}

/// A policy for `router` in the certificate of the SCSC and in the name of a service of the pod. All but its signature is
/// well-formed.
fn forged_policy(testbed: &Testbed, (scsc, router): (&str, &str), source: &str) -> Result<Vec<u8>, Stop> {
    let ((scsc, role), (recipient, _)) = (testbed.role(scsc)?, testbed.role(router)?);
    let name = Name::of_node(testbed.topology.domain().as_str(), &recipient);
    let name = name.map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let policy = Policy {
        label: 0x7fff_0001,
        version: 1,
        recipient,
        source: testbed.role(router)?.0,
        prefix: parse(source)?,
        action: PolicyAction::Withdrawn,
        expires_in: Millis(60_000),
    };
    let source = parse(source)?;
    let mut signed = testbed.forge.keys(&scsc, role).sign_routed(&name, &source, policy);
    signed.signature[7] ^= 1;
    let frame = Frame::plain(name, source, 1, Message::Policy(signed));
    frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))
}

/// Another pod than `pod`, and a service of a third one or, where there is none, of `pod`.
fn other_pair(testbed: &Testbed, pod: &str) -> Result<(String, String), Stop> {
    let pods: Vec<String> = testbed.of_kind(&[Role::Pod]).into_iter().filter(|p| p != pod).collect();
    let caller = pods.first().ok_or_else(|| Stop::NotApplicable("there is one pod only".into()))?;
    let target = pods.get(1).map_or(pod, String::as_str);
    Ok((caller.clone(), testbed.service_of(target)?))
}
