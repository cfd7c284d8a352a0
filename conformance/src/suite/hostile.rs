//! Frames that no conforming node sends, at every kind of port: each is counted by its reason, nothing is installed,
//! and no node dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::words::DownReason;
use damc_testbed::NodeState;
use damc_wire::frame::{HOP_MAC_LEN, HeaderView, ROUTED_HEADER_LEN};
use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey, TopologyLsa};
use damc_wire::message::{AnnounceEntry, AnnounceReply, AuthRequest, AuthResult, Data, DataKind, Outcome, RevokeAck};
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, Role};

use crate::case::{Case, Findings, Impact, Stop, Suite, unjudged};
use crate::oracle::Failures;
use crate::testbed::Testbed;
use crate::testbed::witness::{lsas_in, parse};
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);
/// A sequence number that no node reaches by itself in a run, and that is far from the end of the number space.
const HIGH_SEQUENCE: u64 = 1 << 32;

/// Hostile frames.
pub const CASES: &[Case] = &[
    case!(
        "hostile-frames",
        "Truncated, oversized, damaged, replayed, misplaced and unsigned frames at every kind of port",
        ["GOAL-06", "GAP-08"],
        Guest,
        every_port_kind
    ),
    case!(
        "hostile-data",
        "Damaged data frames from pods and routers go nowhere and are counted",
        ["GOAL-06", "GAP-24"],
        Guest,
        data_frames
    ),
    case!(
        "hostile-tlv",
        "An unknown TLV is skipped, a critical one rejects the message",
        ["GAP-01"],
        Guest,
        unknown_tlvs
    ),
    case!(
        "hostile-lsa",
        "Forged, damaged and stale LSAs of another origin are never installed",
        ["GAP-08", "GOAL-06"],
        Guest,
        forged_lsas
    ),
    case!(
        "hostile-hello",
        "Recorded and misdirected hellos neither make nor break an adjacency",
        ["GOAL-06", "GAP-02"],
        Guest,
        hellos
    ),
];

/// The state of an undisturbed lab, to compare with the state after hostile frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peace {
    lsdbs: BTreeMap<String, BTreeSet<String>>,
    fibs: BTreeMap<String, BTreeSet<String>>,
    /// By node and neighbour: how often their adjacency went down, and why last.
    flaps: BTreeMap<(String, String), (u64, Option<DownReason>)>,
    starts: BTreeMap<String, u32>,
}

/// How often the state is looked at until it stands still.
const ROUNDS: usize = 8;

impl Peace {
    async fn of(testbed: &Testbed) -> Result<Self, Stop> {
        let (mut lsdbs, mut fibs) = (BTreeMap::new(), BTreeMap::new());
        for (node, fib) in testbed.fibs().await? {
            let lsdb = testbed.lab.lsdb(&node).await?;
            let held = lsdb.lsas.iter().filter(|l| !l.purged).map(|l| format!("{} {} {:?}", l.origin, l.id, l.links));
            lsdbs.insert(node.clone(), held.collect());
            // Prefixes only: a policy may change how a prefix is forwarded meanwhile, which is no damage.
            fibs.insert(node, fib.entries.iter().map(|e| e.prefix.clone()).collect());
        }
        let mut flaps = BTreeMap::new();
        for node in testbed.topology.nodes().keys().map(ToString::to_string) {
            let neighbors = testbed.lab.neighbors(&node).await?.neighbors;
            flaps.extend(neighbors.into_iter().map(|n| ((node.clone(), n.port), (n.flaps, n.last_down))));
        }
        let status = testbed.lab.status().await?;
        let alive = status.nodes.iter().filter(|n| n.state == NodeState::Ready);
        let starts = alive.map(|n| (n.name.clone(), n.starts)).collect();
        Ok(Self { lsdbs, fibs, flaps, starts })
    }

    /// The state of the lab once the effects of earlier cases are over.
    pub(super) async fn reached(testbed: &Testbed) -> Result<Self, Stop> {
        testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
        // An LSA waits its turn at its origin, and an adjacency that a case has disturbed may end a dead interval later.
        let still = Duration::from_millis(testbed.timers.dead_interval_ms) + testbed.detection();
        let mut last = Self::of(testbed).await?;
        for _ in 0..ROUNDS {
            testbed.lab.sleep(still).await;
            let now = Self::of(testbed).await?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
        Err(Stop::Inconclusive(format!("databases and adjacencies did not stand still for {} ms", still.as_millis())))
    }

    /// Checks that the state is the same as before, and that calls go through.
    pub(super) async fn still(&self, testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
        let now = Self::of(testbed).await?;
        let lsdbs = difference(&self.lsdbs, &now.lsdbs);
        findings.check_saw(lsdbs.is_empty(), "every LSDB is the same as before", or_same(&lsdbs));
        let fibs = difference(&self.fibs, &now.fibs);
        findings.check_saw(fibs.is_empty(), "every FIB has the same prefixes as before", or_same(&fibs));
        let flaps = self.flapped(&now);
        findings.check_saw(flaps.is_empty(), "no adjacency goes down", or_same(&flaps));
        findings.check_eq(&now.starts, &self.starts, "all nodes are alive and none was restarted");
        let (caller, target, _) = testbed.far_pair().await?;
        let reply = testbed.call(&caller, &target, "echo", &["whole"]).await?;
        findings.check_eq(&reply.result.as_deref(), &Some("whole"), format!("{caller} still calls {target}"));
        Ok(())
    }

    /// Adjacencies whose flaps differ from before; empty where none does.
    fn flapped(&self, now: &Self) -> String {
        let ends: BTreeSet<_> = self.flaps.keys().chain(now.flaps.keys()).collect();
        let differ = ends.into_iter().filter(|ends| self.flaps.get(ends) != now.flaps.get(ends));
        let told = differ.map(|ends| {
            format!("{}–{}: {:?} before, {:?} now", ends.0, ends.1, self.flaps.get(ends), now.flaps.get(ends))
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// What differs, as `node lacks …, node has …`; empty where nothing does.
fn difference(before: &BTreeMap<String, BTreeSet<String>>, now: &BTreeMap<String, BTreeSet<String>>) -> String {
    let empty = BTreeSet::new();
    let nodes: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let lines = nodes.into_iter().flat_map(|node| {
        let (before, now) = (before.get(node).unwrap_or(&empty), now.get(node).unwrap_or(&empty));
        let lacks = before.difference(now).map(move |what| format!("{node} lacks {what}"));
        lacks.chain(now.difference(before).map(move |what| format!("{node} has {what}")))
    });
    lines.collect::<Vec<_>>().join(", ")
}

const fn or_same(difference: &str) -> &str {
    if difference.is_empty() { "no difference" } else { difference }
}

/// One direction of a link for every pair of roles that the topology joins.
fn port_kinds(testbed: &Testbed) -> BTreeMap<(Role, Role), (String, String)> {
    let mut kinds = BTreeMap::new();
    for link in testbed.topology.links() {
        for (near, far) in [(&link.a, &link.b), (&link.b, &link.a)] {
            let roles = (testbed.topology.nodes()[near].kind, testbed.topology.nodes()[far].kind);
            kinds.entry(roles).or_insert_with(|| (near.to_string(), far.to_string()));
        }
    }
    kinds
}

async fn every_port_kind(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let mut thrown = 0;
    for ((role, at), (from, to)) in port_kinds(testbed) {
        let frames = hostile_frames(testbed, role, at, (&from, &to)).await?;
        let counters = testbed.lab.counters(&to).await?.dropped;
        let mut expected: BTreeMap<DropReason, u64> = BTreeMap::new();
        for (reason, _) in &frames {
            *expected.entry(*reason).or_default() += 1;
        }
        let pdus: Vec<Vec<u8>> = frames.into_iter().map(|(_, pdu)| pdu).collect();
        testbed.inject_all(&from, &to, &pdus).await?;
        for (reason, count) in &expected {
            let known = counters.get(*reason);
            testbed.wait_dropped(&to, *reason, known, *count).await?;
        }
        thrown += pdus.len();
        let reasons = expected.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>();
        findings.check(true, format!("{role} to {at} ({from} to {to}): {}", reasons.join(", ")));
    }
    findings.check_saw(thrown > 0, "hostile frames are injected, and each is counted by its reason", thrown);
    before.still(testbed, findings).await
}

/// Hostile frames, each with the reason for which it must be dropped.
async fn hostile_frames(
    testbed: &Testbed,
    role: Role,
    at: Role,
    (from, to): (&str, &str),
) -> Result<Vec<(DropReason, Vec<u8>)>, Stop> {
    let recent = testbed.now_ns().saturating_sub(2_000_000 * testbed.timers.dead_interval_ms);
    let echo = testbed.sent(recent, from, to, MessageType::Echo).await?.pop();
    let echo = echo.ok_or_else(|| Stop::Inconclusive(format!("no echo from {from} to {to} was recorded")))?;
    let sealed = echo.pdu;
    let mut damaged = sealed.clone();
    // The sender's clock in the body: any value decodes, only the MAC shows the damage.
    let clock = sealed.len() - HOP_MAC_LEN - 1;
    damaged[clock] ^= 1;
    let unsigned = Frame::hop_local(echo.frame.message).encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let misplaced = if (role, at) == (Role::Sg, Role::Pod) {
        Message::RevokeAck(RevokeAck { serial: 1 })
    } else {
        let outcome = Outcome { prefix: parse("/guest/hostile")?, refusal: None };
        Message::AnnounceReply(AnnounceReply { request: 0, outcomes: vec![outcome] })
    };
    let misplaced = Frame::hop_local(misplaced).encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let mut unknown = unsigned.clone();
    unknown[1] = 0x7f;
    let mut version = unsigned.clone();
    version[0] = 9;
    let cut = |len: usize| sealed[..len].to_vec();
    let longer = [&sealed[..], &[0; 40]].concat();
    Ok(vec![
        (DropReason::Truncated, cut(sealed.len() - 7)),
        (DropReason::Truncated, cut(9)),
        (DropReason::Oversized, longer),
        (DropReason::BadMac, damaged),
        (DropReason::Replayed, sealed),
        (DropReason::WrongRole, misplaced),
        (DropReason::MissingMac, unsigned),
        (DropReason::UnknownType, unknown),
        (DropReason::BadVersion, version),
    ])
}

async fn data_frames(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, pod) = testbed.sg_with_pod()?;
    let (_, target, _) = testbed.far_pair().await?;
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(100), context: None };
    let correlation = 0x4057_0000 + testbed.unique();
    let data = Data { correlation, kind, payload: b"hostile payload".to_vec(), hops: Vec::new() };
    let frame = Frame::plain(parse(&target)?, parse(&testbed.service_of(&pod)?)?, 1, Message::Data(data));
    let pdu = frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let at_name = ROUTED_HEADER_LEN + 3;
    let mut bad_name = pdu.clone();
    bad_name[at_name] = 0xff;
    let mut worn = pdu.clone();
    HeaderView::of(&mut worn).set_hop_limit(1);
    let short = pdu[..pdu.len() - 9].to_vec();
    let long = [&pdu[..], &[0; 64]].concat();
    let tries = [
        ("truncated", DropReason::Truncated, short),
        ("oversized", DropReason::Oversized, long),
        ("with a malformed name", DropReason::BadName, bad_name),
        ("at the end of its hop limit", DropReason::HopLimitExceeded, worn),
    ];
    let from = testbed.now_ns();
    for (what, reason, pdu) in tries {
        let known = testbed.dropped(&sg, reason).await?;
        testbed.inject_routed(&pod, &sg, vec![pdu]).await?;
        testbed.wait_dropped(&sg, reason, known, 1).await?;
        findings.check(true, format!("{sg} drops a data frame of {pod} {what}: {reason}"));
    }
    let passed =
        |s: &Seen| s.sent && s.node != pod && matches!(s.message(), Message::Data(d) if d.correlation == correlation);
    let frames = testbed.frames(from).await?;
    findings.never(
        !frames.iter().any(passed),
        "no node passes any of them on",
        if frames.iter().any(passed) { "one that did" } else { "none" },
    );
    // A frame with a damaged payload has a sound header: it arrives, and its target refuses it.
    let mut worm = pdu.clone();
    let at = worm.windows(7).position(|w| w == b"hostile").unwrap_or(at_name);
    worm[at] ^= 1;
    let end = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| serves(testbed, p, &target));
    let end = end.ok_or_else(|| Stop::Inconclusive(format!("no pod serves {target}")))?;
    let known = testbed.dropped(&end, DropReason::BadChecksum).await?;
    testbed.inject_routed(&pod, &sg, vec![worm]).await?;
    testbed.wait_dropped(&end, DropReason::BadChecksum, known, 1).await?;
    findings.check(true, format!("{end} refuses a damaged payload for its end-to-end checksum"));
    before.still(testbed, findings).await
}

fn serves(testbed: &Testbed, pod: &str, name: &str) -> bool {
    let node = testbed.topology.nodes().get(pod);
    node.is_some_and(|n| n.services.iter().any(|s| s.prefix.to_string() == name))
}

async fn unknown_tlvs(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    let ((sg_id, _), (pod_id, _)) = (testbed.role(&sg)?, testbed.role(&pod)?);
    let keys = testbed.forge.keys(&pod_id, Role::Pod);
    let known = testbed.dropped(&spa, DropReason::UnknownCriticalTlv).await?;
    let from = testbed.now_ns();
    let mut requests = Vec::new();
    // Bit 7 of a TLV's type is the critical bit; neither number is assigned.
    for tlv in [0xf7_u8, 0x77] {
        let request = 0x7100_0000_0000_0000 | testbed.unique();
        let entry = AnnounceEntry { prefix: parse(&testbed.service_of(&pod)?)?, pool: None, weight: 1 };
        let announce = keys.sign_announce(request, (sg_id.clone(), 1), vec![entry], Vec::new());
        let question = AuthRequest { request, certificate: keys.certificate().clone(), announce };
        let frame = Frame::hop_local(Message::AuthRequest(question));
        let mut pdu = frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
        pdu.extend_from_slice(&[tlv, 0, 3, 1, 2, 3]);
        testbed.inject_sealed(&sg, &spa, pdu).await?;
        requests.push(request);
    }
    let [critical, skipped] = requests[..] else { return Ok(()) };
    let answers = |s: &Seen, request: u64| {
        let granted = |r: &AuthResult| matches!(r, AuthResult::Granted(_));
        s.is_sent_by(&spa, &sg)
            && matches!(s.message(), Message::AuthReply(r) if r.request == request && granted(&r.result))
    };
    testbed
        .wait_frame("the answer to the request whose TLV is skipped", from, testbed.t_conv(), |s| answers(s, skipped))
        .await?;
    findings.check(true, format!("{spa} skips an unknown TLV without the critical bit and answers"));
    testbed.wait_dropped(&spa, DropReason::UnknownCriticalTlv, known, 1).await?;
    let frames = testbed.frames(from).await?;
    let answered = frames.iter().any(|s| answers(s, critical));
    findings.never(
        !answered,
        "with the critical bit the message is rejected and counted",
        if answered { "an answer" } else { "none" },
    );
    Ok(())
}

/// Has `node` originate its topology LSA once more where only one version of it was recorded, without a lasting change.
async fn second_version(testbed: &Testbed, node: &str, key: &LsaKey) -> Result<(), Stop> {
    let frames = testbed.history(|t| t == MessageType::LsUpdate).await?;
    let versions = |frames: &[Seen]| -> BTreeSet<u64> {
        frames.iter().flat_map(lsas_in).filter(|l| l.key == *key).map(|l| l.sequence).collect()
    };
    let known = versions(&frames);
    if known.len() > 1 {
        return Ok(());
    }
    let near = testbed.beside(node, Role::Sr)?.into_iter().next();
    let near = near.ok_or_else(|| Stop::NotApplicable(format!("{node} has no SR")))?;
    let cost = testbed.configured_cost(node, &near);
    for cost in [cost + 1, cost] {
        let from = testbed.now_ns();
        testbed.set_cost(node, &near, cost).await?;
        let newer = |l: &Lsa| l.key == *key && !known.contains(&l.sequence);
        testbed
            .wait_frame(&format!("a new topology LSA of {node}"), from, testbed.t_conv(), |s| {
                lsas_in(s).iter().any(newer)
            })
            .await?;
    }
    Ok(())
}

async fn forged_lsas(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, _) = testbed.sg_with_pod()?;
    let sr = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let victim = testbed.routers().into_iter().find(|n| *n != sg && *n != sr);
    let victim = victim.ok_or_else(|| Stop::NotApplicable("no third SG or SR".into()))?;
    let ((sg_id, sg_role), (victim_id, victim_role)) = (testbed.role(&sg)?, testbed.role(&victim)?);
    let key = LsaKey { origin: victim_id.clone(), id: LsaId::Topology(0) };
    second_version(testbed, &victim, &key).await?;
    let before = Peace::reached(testbed).await?;
    let empty = LsaContent::Topology(TopologyLsa::default());
    let life = Millis(60_000);
    let by_neighbour = testbed.forge.keys(&sg_id, sg_role).sign_lsa(key.clone(), HIGH_SEQUENCE, life, empty.clone());
    let genuine = testbed.forge.keys(&victim_id, victim_role);
    let mut damaged = genuine.sign_lsa(key.clone(), HIGH_SEQUENCE, life, empty.clone());
    damaged.signature[20] ^= 1;
    let by_pod_role = testbed.forge.keys(&victim_id, Role::Pod).sign_lsa(key.clone(), HIGH_SEQUENCE, life, empty);
    let frames = testbed.history(|t| t == MessageType::LsUpdate).await?;
    let mut versions: Vec<_> = frames.iter().flat_map(lsas_in).filter(|l| l.key == key).cloned().collect();
    versions.sort_by_key(|l| l.sequence);
    let old = versions.first().cloned().filter(|l| versions.last().is_some_and(|n| n.sequence > l.sequence));
    let mut tries = vec![
        ("signed by a neighbour of the SR", by_neighbour, DropReason::NotAuthorised),
        ("with a damaged signature", damaged, DropReason::BadSignature),
        ("under a certificate of another role", by_pod_role, DropReason::WrongRole),
    ];
    let Some(old) = old else { return unjudged(format!("stale LSAs: no older topology LSA of {victim} was recorded")) };
    tries.push(("that is older than the installed one", old, DropReason::StaleLsa));
    for (what, lsa, reason) in tries {
        let known = testbed.dropped(&sr, reason).await?;
        testbed.inject_as(&sg, &sr, Message::LsUpdate(vec![lsa])).await?;
        testbed.wait_dropped(&sr, reason, known, 1).await?;
        findings.check(true, format!("{sr} refuses an LSA of {victim} {what}: {reason}"));
    }
    before.still(testbed, findings).await
}

async fn hellos(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let all = testbed.history(|t| t == MessageType::Hello).await?;
    let (sg, pod) = testbed.sg_with_pod()?;
    let sr = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let hello_of = |from: &str, to: &str| {
        let hello = |s: &&Seen| s.is_sent_by(from, to) && s.message_type() == MessageType::Hello;
        all.iter().rfind(hello).map(|s| s.pdu.clone())
    };
    let missing = || Stop::Inconclusive("no hello was recorded".into());
    // A pod's hello on the port of an SR comes from the wrong role.
    let pods = hello_of(&pod, &sg).ok_or_else(missing)?;
    let known = testbed.dropped(&sg, DropReason::WrongRole).await?;
    testbed.inject(&sr, &sg, &pods).await?;
    testbed.wait_dropped(&sg, DropReason::WrongRole, known, 1).await?;
    findings.check(true, format!("{sg} refuses {pod}'s hello on the port of {sr}"));
    let own = hello_of(&sg, &sr).ok_or_else(missing)?;
    let known = testbed.dropped(&sg, DropReason::Looped).await?;
    let twins = testbed.dropped(&sg, DropReason::DuplicateIdentity).await?;
    testbed.inject(&sr, &sg, &own).await?;
    testbed
        .wait(&format!("{sg} refuses its own hello"), testbed.t_conv(), || async {
            let now = testbed.dropped(&sg, DropReason::Looped).await?
                + testbed.dropped(&sg, DropReason::DuplicateIdentity).await?;
            Ok(if now > known + twins { Ok(()) } else { Err("not counted".into()) })
        })
        .await?;
    findings.check(true, format!("{sg} refuses its own hello when it comes back"));
    let mut damaged = hello_of(&sr, &sg).ok_or_else(missing)?;
    // A hello ends with its signature.
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let known = testbed.dropped(&sg, DropReason::BadSignature).await?;
    testbed.inject(&sr, &sg, &damaged).await?;
    testbed.wait_dropped(&sg, DropReason::BadSignature, known, 1).await?;
    findings.check(true, format!("{sg} refuses a hello of {sr} with a damaged signature"));
    // The first hello of the run is not fresh any more: even many copies must change nothing.
    let first = all.iter().find(|s| s.is_sent_by(&sr, &sg) && s.message_type() == MessageType::Hello);
    let first = first.ok_or_else(missing)?.pdu.clone();
    let received = testbed.lab.counters(&sg).await?.received.get(MessageType::Hello);
    testbed.inject_all(&sr, &sg, &vec![first; 20]).await?;
    testbed
        .wait(&format!("{sg} has received the replayed hellos"), testbed.t_conv(), || async {
            let now = testbed.lab.counters(&sg).await?.received.get(MessageType::Hello);
            Ok(if now >= received + 20 { Ok(()) } else { Err(format!("{} of 20", now - received)) })
        })
        .await?;
    findings.check(true, format!("{sg} received twenty replays of the first hello of the run"));
    before.still(testbed, findings).await
}
