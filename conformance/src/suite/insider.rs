//! What a member with valid keys can do to the others: they go on working, and it costs them little.

use std::collections::BTreeSet;
use std::time::Duration;

use damc_mgmt::view::{AnnouncementsView, FibView};
use damc_mgmt::words::AnnouncementState;
use damc_wire::frame::LinkKey;
use damc_wire::lsa::{LsaContent, LsaId, LsaKey, PrefixLsa, Proof};
use damc_wire::message::{AnnounceEntry, Data, DataKind, Policy, PolicyAction};
use damc_wire::security::Attachment;
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, Name, Role};

use super::hostile::Peace;
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::{lsas_in, parse};
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Members that misbehave.
pub const CASES: &[Case] = &[
    case!(
        Insider,
        "insider-policies",
        "A pod that floods forged policies reaches nobody: its SG drops them, adjacencies and calls of others stand",
        ["GOAL-06"],
        Guest,
        forged_policies
    ),
    case!(
        Insider,
        "insider-scsc",
        "A router that advertises the name of the SCSC without an attachment of its own is refused",
        ["GOAL-06", "FIG-17"],
        Guest,
        stolen_name
    ),
    case!(
        Insider,
        "insider-stranger",
        "Routed frames that an outsider puts on a link are dropped and counted, and nobody gets them",
        ["GOAL-06"],
        Guest,
        outsider
    ),
    case!(
        Insider,
        "insider-names",
        "Of a pod with hundreds of names each SG probes no more than its budget; adjacencies and calls of others stand",
        ["GOAL-06"],
        Guest,
        many_names
    ),
];

/// Forged policies thrown, and the time from one to the next: 20 000 a second.
const FORGED: u64 = 10_000;
const SPACING: Duration = Duration::from_micros(50);
/// Frames of an outsider, of each kind.
const THROWN: u64 = 20;
/// Announcements beside the agent of a pod have numbers from here on.
const BESIDE_AGENT: u64 = 1 << 63;
/// Names that one pod announces, and how many in one message.
const NAMES: usize = 500;
const NAMES_AT_ONCE: usize = 20;
/// Probes that an SG sends to the names of one origin in a second, with a margin for what was due before.
const PROBES: f64 = 64.0 * 1.2;
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
    // Its own link MAC is valid: the pod is a member.
    let pdu = testbed.on_link(&pod, &sg, vec![pdu]).await?.remove(0);
    let pdus: Vec<Vec<u8>> = std::iter::repeat_n(pdu, FORGED as usize).collect();
    testbed.inject_stream(&pod, &sg, &pdus, SPACING).await?;
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

/// The SG next to a router tries what it can with its own key, the SCSC's certificate and the attachments it has seen.
async fn stolen_name(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, _) = testbed.sg_with_pod()?;
    let router = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let router = router.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let (scsc, ((thief, role), (scsc_id, _))) =
        (testbed.scsc()?, (testbed.role(&sg)?, testbed.role(&testbed.scsc()?)?));
    let name = Name::of_node(testbed.topology.domain().as_str(), &scsc_id);
    let name = name.map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let frames = testbed.history(|t| t == MessageType::LsUpdate).await?;
    let mut attachments = frames.iter().flat_map(lsas_in).filter_map(|lsa| match lsa.proof()? {
        Proof::Attached(attachment) => Some(attachment.clone()),
        Proof::Grant(_) => None,
    });
    let seen = attachments
        .next_back()
        .ok_or_else(|| Stop::Inconclusive(format!("no LSA with an attachment of {scsc} was recorded")))?;
    let keys = testbed.forge.keys(&thief, role);
    let by_itself = keys.sign_attachment(thief.clone(), seen.issued_at, seen.expires_at);
    let own = Attachment { certificate: seen.certificate.clone(), ..by_itself.clone() };
    for (what, proof, reason) in [
        (format!("the attachment of {scsc} to {}", seen.router), seen, DropReason::NotAuthorised),
        (format!("an attachment signed by {sg} under the certificate of {scsc}"), own, DropReason::BadSignature),
        (format!("an attachment of {sg} itself"), by_itself, DropReason::WrongRole),
    ] {
        let key = LsaKey { origin: thief.clone(), id: LsaId::Prefix(name.clone(), scsc_id.clone()) };
        let proof = Proof::Attached(proof);
        let content = PrefixLsa { metric: 0, weight: 1, exact: false, instance: None, proof };
        let lsa = keys.sign_lsa(key, 1, Millis(60_000), LsaContent::Prefix(content));
        let known = testbed.dropped(&router, reason).await?;
        testbed.inject_as(&sg, &router, Message::LsUpdate(vec![lsa])).await?;
        testbed.wait_dropped(&router, reason, known, 1).await?;
        findings.check(true, format!("{router} refuses {name} from {sg} with {what}: {reason}"));
    }
    before.still(testbed, findings).await
}

/// All of them licensed, and none of them served: the agent of the pod knows nothing of them, and refuses each probe.
async fn many_names(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, pod) = testbed.sg_with_pod()?;
    let (caller, target) = other_pair(testbed, &pod)?;
    let below = testbed.fresh_name(&pod);
    testbed.licence_for_now(&pod, &below).await?;
    let names: Vec<String> = (0..NAMES).map(|i| format!("{below}/{i}")).collect();
    announce(testbed, (&pod, &sg), &names, true).await?;
    wait_for_names(testbed, &below, NAMES).await?;
    let prober = testbed.sg_of(&caller)?;
    let (from, mut lost) = (testbed.now_ns(), 0);
    for _ in 0..CALLS {
        let reply = testbed.call(&caller, &target, "echo", &["meanwhile"]).await?;
        lost += usize::from(reply.result.as_deref() != Some("meanwhile"));
    }
    let enough = Duration::from_secs(3);
    let span = || Duration::from_nanos(testbed.now_ns().saturating_sub(from));
    let waiting = || async { Ok(if span() >= enough { Ok(()) } else { Err(format!("{:?}", span())) }) };
    testbed.wait("some seconds of probes", LIMIT, waiting).await?;
    let seconds = span().as_secs_f64();
    let prefix = parse(&below)?;
    let probes = testbed.probes(from).await?.into_iter().filter(|s| {
        let there = s.frame.names.as_ref().is_some_and(|(destination, _)| prefix.is_prefix_of(destination));
        there && s.sent && s.node == prober && matches!(s.message(), Message::Probe(p) if p.train_index == 0)
    });
    let rate = probes.count() as f64 / seconds;
    findings.figure("probes of one SG to these names", rate, "1/s");
    findings.check_saw(
        rate > 0.0 && rate <= PROBES,
        format!("{prober} probes within its budget"),
        format!("{rate:.0}/s"),
    );
    findings.check_eq(&lost, &0, format!("calls of {caller} to {target} lost meanwhile"));
    announce(testbed, (&pod, &sg), &names, false).await?;
    wait_for_names(testbed, &below, 0).await?;
    wait_for_purges(testbed, &below).await?;
    before.still(testbed, findings).await
}

/// Announces names in the words of a pod, or withdraws them. The numbers are those of announcements beside its agent.
async fn announce(testbed: &Testbed, (pod, sg): (&str, &str), names: &[String], up: bool) -> Result<(), Stop> {
    let hellos = testbed.history(|t| t == MessageType::Hello).await?;
    let session = hellos.iter().rev().find_map(|s| match s.message() {
        Message::Hello(hello) if s.is_sent_by(sg, pod) => Some(hello.session),
        _ => None,
    });
    let session = session.ok_or_else(|| Stop::Inconclusive(format!("no hello of {sg} to {pod} was recorded")))?;
    let ((pod_id, role), (sg_id, _)) = (testbed.role(pod)?, testbed.role(sg)?);
    let keys = testbed.forge.keys(&pod_id, role);
    for names in names.chunks(NAMES_AT_ONCE) {
        let parsed = names.iter().map(|name| parse(name)).collect::<Result<Vec<Name>, Stop>>()?;
        let entry = |prefix: Name| AnnounceEntry { prefix, pool: None, weight: 1 };
        let (add, withdraw) = if up { (parsed.into_iter().map(entry).collect(), vec![]) } else { (vec![], parsed) };
        let words = keys.sign_announce(BESIDE_AGENT + testbed.unique(), (sg_id.clone(), session), add, withdraw);
        effective(testbed, (pod, sg), &Message::Announce(words), (names, up)).await?;
    }
    Ok(())
}

/// Says it as a pod does: again until it has its effect, and nothing else meanwhile. So a lost frame loses no name. What
/// comes beside the agent is answered to nobody, so that the SG is asked.
async fn effective(
    testbed: &Testbed,
    (pod, sg): (&str, &str),
    words: &Message,
    (names, up): (&[String], bool),
) -> Result<(), Stop> {
    let deadline = testbed.deadline(LIMIT);
    let again = Duration::from_millis(testbed.timers.retransmit_max_ms);
    let what = format!("{sg} has decided on what {pod} says");
    loop {
        testbed.inject_as(pod, sg, words.clone()).await?;
        let decided = testbed.wait(&what, again, || async {
            let view: AnnouncementsView = testbed.lab.show(sg).await?;
            let accepted = view.announcements.iter().filter(|a| a.state == AnnouncementState::Accepted);
            let accepted = accepted.filter(|a| names.contains(&a.prefix)).count();
            let wanted = if up { names.len() } else { 0 };
            Ok(if accepted == wanted { Ok(()) } else { Err(format!("{accepted} of {} accepted", names.len())) })
        });
        match decided.await {
            Err(Stop::Failed(_)) if testbed.now_ns() < deadline => {}
            ended => return ended,
        }
    }
}

/// Waits until every SG and SR has so many names below this one.
async fn wait_for_names(testbed: &Testbed, below: &str, count: usize) -> Result<(), Stop> {
    let below = format!("{below}/");
    testbed
        .wait(&format!("{count} names below {below} in every FIB"), LIMIT, || async {
            let fibs = testbed.fibs().await?;
            // A name that is steered has an entry for its policy as well.
            let held = |fib: &FibView| {
                let names = fib.entries.iter().map(|e| &e.prefix).filter(|prefix| prefix.starts_with(&below));
                names.collect::<BTreeSet<_>>().len()
            };
            let other = fibs.iter().map(|(node, fib)| (node, held(fib))).find(|(_, held)| *held != count);
            Ok(other.map_or(Ok(()), |(node, held)| Err(format!("{node} has {held}"))))
        })
        .await
}

/// Waits until no SG and SR holds an LSA of a name below this one.
async fn wait_for_purges(testbed: &Testbed, below: &str) -> Result<(), Stop> {
    let below = format!("{below}/");
    testbed
        .wait(&format!("no LSA of names below {below} in any LSDB"), LIMIT, || async {
            for node in testbed.routers() {
                let lsdb = testbed.lab.lsdb(&node).await?;
                let held = lsdb.lsas.iter().filter(|lsa| !lsa.purged && lsa.id.starts_with(&below)).count();
                if held > 0 {
                    return Ok(Err(format!("{node} holds {held}")));
                }
            }
            Ok(Ok(()))
        })
        .await
}

/// Frames of every kind that is routed without a signature, from one who is on the link between two routers and has no
/// key: under no MAC, under one of its own, and under that of a frame that passed, with another content.
async fn outsider(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let (sg, own) = (testbed.sg_of(&caller)?, testbed.service_of(&caller)?);
    let router = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let router = router.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let (destination, source) = (parse(&target)?, parse(&own)?);
    let frame = |correlation, text: &str| {
        let kind = DataKind::Request { method: "echo".into(), deadline: Millis(1000), context: None };
        let data = Data { correlation, kind, payload: text.into(), hops: Vec::new() };
        Frame::plain(destination.clone(), source.clone(), 1, Message::Data(data))
    };
    let encoded = |frame: &Frame| frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()));
    let first = testbed.correlations();
    let unsealed = encoded(&frame(first, "no MAC"))?;
    let mut own_key = encoded(&frame(first + 1, "own key"))?;
    LinkKey::new(&[0x5a; 32]).seal(&mut own_key);
    let genuine = testbed.on_link(&sg, &router, vec![encoded(&frame(first + 2, "a content"))?]).await?.remove(0);
    let genuine = Frame::decode(&genuine).map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let spliced = encoded(&Frame { link_mac: genuine.link_mac, ..frame(first + 2, "another") })?;
    let from = testbed.now_ns();
    for (what, pdu, reason) in [
        ("without a MAC", unsealed, DropReason::MissingMac),
        ("under a key of its own", own_key, DropReason::BadMac),
        ("under the MAC of another frame", spliced, DropReason::BadMac),
    ] {
        let known = testbed.dropped(&router, reason).await?;
        testbed.inject_all(&sg, &router, &vec![pdu; THROWN as usize]).await?;
        testbed.wait_dropped(&router, reason, known, THROWN).await?;
        findings.check(true, format!("{router} drops {THROWN} requests from {sg}'s side {what}: {reason}"));
    }
    let frames = testbed.frames(from).await?;
    let ours = |s: &&Seen| s.request().is_some_and(|c| (first..first + 3).contains(&c));
    let passed = frames.iter().filter(ours).filter(|s| s.node != sg && (s.sent || s.node != router));
    findings.check_eq(&passed.count(), &0, "no other node ever sees one of them");
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
