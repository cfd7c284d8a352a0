//! What a member with valid keys can do to the others: they go on working, and it costs them little.

use std::time::Duration;

use damc_wire::message::{Policy, PolicyAction};
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, Name, Role};

use super::hostile::Peace;
use crate::bench::Bench;
use crate::bench::witness::parse;
use crate::case::{Case, Findings, Impact, Stop, Suite};

const LIMIT: Duration = Duration::from_secs(30);

macro_rules! case {
    ($id:literal, $title:literal, $rows:expr, $run:ident) => {
        Case {
            id: $id,
            title: $title,
            rows: &$rows,
            suite: Suite::Insider,
            impact: Impact::Guest,
            limit: LIMIT,
            run: |bench, findings| Box::pin($run(bench, findings)),
        }
    };
}

/// Members that misbehave.
pub const CASES: &[Case] = &[case!(
    "insider-policies",
    "A pod that floods forged policies reaches nobody: its SG drops them, adjacencies and calls of others stand",
    ["GOAL-06"],
    forged_policies
)];

/// Forged policies thrown, and the time from one to the next: 20 000 a second.
const FORGED: u64 = 10_000;
const SPACING: Duration = Duration::from_micros(50);
/// Calls of another pod meanwhile.
const CALLS: usize = 40;

/// A signature that nobody made: what it costs to find that out is the attack.
async fn forged_policies(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(bench).await?;
    let (sg, pod) = bench.sg_with_pod()?;
    let router = bench.beside(&sg, Role::Sr)?.into_iter().next();
    let router = router.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let scsc = bench.scsc()?;
    let (caller, target) = other_pair(bench, &pod)?;
    let pdu = forged_policy(bench, (&scsc, &router), &bench.service_of(&pod)?)?;
    let known = bench.dropped(&sg, DropReason::WrongRole).await?;
    let from = bench.now_ns();
    let pdus: Vec<Vec<u8>> = std::iter::repeat_n(pdu, FORGED as usize).collect();
    bench.lab.inject_stream(&pod, &sg, &pdus, SPACING).await?;
    let mut lost = Vec::new();
    for number in 0..CALLS {
        let reply = bench.call(&caller, &target, "echo", &["meanwhile"]).await?;
        if reply.result.as_deref() != Some("meanwhile") {
            lost.push(format!("call {number}: {}", reply.error.unwrap_or_default()));
        }
    }
    let dropped = bench.wait_dropped(&sg, DropReason::WrongRole, known, FORGED * 9 / 10).await?;
    findings.figure("forged policies dropped by the SG", (dropped - known) as f64, "frames");
    findings.check_eq(&lost, &Vec::new(), format!("calls of {caller} to {target} lost meanwhile"));
    let policies = bench.frames(from).await?;
    let forged = policies.iter().filter(|s| s.sent && s.node == sg && s.message_type() == MessageType::Policy);
    findings.check_eq(&forged.count(), &0, format!("forged policies that {sg} passed on"));
    before.still(bench, findings).await
}

/// A policy for `router` in the certificate of the SCSC and in the name of a service of the pod. All but its signature is
/// well-formed.
fn forged_policy(bench: &Bench, (scsc, router): (&str, &str), source: &str) -> Result<Vec<u8>, Stop> {
    let ((scsc, role), (recipient, _)) = (bench.role(scsc)?, bench.role(router)?);
    let name = Name::of_node(bench.topology.domain().as_str(), &recipient);
    let name = name.map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let policy = Policy {
        label: 0x7fff_0001,
        version: 1,
        recipient,
        source: bench.role(router)?.0,
        prefix: parse(source)?,
        action: PolicyAction::Withdrawn,
        expires_in: Millis(60_000),
    };
    let source = parse(source)?;
    let mut signed = bench.forge.keys(&scsc, role).sign_routed(&name, &source, policy);
    signed.signature[7] ^= 1;
    let frame = Frame::plain(name, source, 1, Message::Policy(signed));
    frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))
}

/// Another pod than `pod`, and a service of a third one or, where there is none, of `pod`.
fn other_pair(bench: &Bench, pod: &str) -> Result<(String, String), Stop> {
    let pods: Vec<String> = bench.of_kind(&[Role::Pod]).into_iter().filter(|p| p != pod).collect();
    let caller = pods.first().ok_or_else(|| Stop::NotApplicable("there is one pod only".into()))?;
    let target = pods.get(1).map_or(pod, String::as_str);
    Ok((caller.clone(), bench.service_of(target)?))
}
