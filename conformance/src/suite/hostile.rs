//! Frames that no conforming node sends, at every kind of port: each is counted by its reason, nothing is installed,
//! and no node dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_lab::control::NodeState;
use damc_wire::frame::{HOP_MAC_LEN, HeaderView};
use damc_wire::lsa::{LsaContent, LsaId, LsaKey, TopologyLsa};
use damc_wire::message::{AnnounceEntry, AnnounceReply, AuthRequest, AuthResult, Data, DataKind, Outcome, RevokeAck};
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, Role};

use crate::bench::Bench;
use crate::bench::witness::{lsas_in, parse};
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::Failures;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);
/// A sequence number that no node reaches by itself in a run, and that is far from the end of the number space.
const HIGH_SEQUENCE: u64 = 1 << 32;

macro_rules! case {
    ($id:literal, $title:literal, $rows:expr, $run:ident) => {
        Case {
            id: $id,
            title: $title,
            rows: &$rows,
            suite: Suite::Conformance,
            impact: Impact::Guest,
            limit: LIMIT,
            run: |bench, findings| Box::pin($run(bench, findings)),
        }
    };
}

/// Hostile frames.
pub const CASES: &[Case] = &[
    case!(
        "hostile-frames",
        "Truncated, oversized, damaged, replayed, misplaced and unsigned frames at every kind of port",
        ["GOAL-06", "GAP-08"],
        every_port_kind
    ),
    case!(
        "hostile-data",
        "Damaged data frames from pods and routers go nowhere and are counted",
        ["GOAL-06", "GAP-24"],
        data_frames
    ),
    case!("hostile-tlv", "An unknown TLV is skipped, a critical one rejects the message", ["GAP-01"], unknown_tlvs),
    case!(
        "hostile-lsa",
        "Forged, damaged and stale LSAs of another origin are never installed",
        ["GAP-08", "GOAL-06"],
        forged_lsas
    ),
    case!(
        "hostile-hello",
        "Recorded and misdirected hellos neither make nor break an adjacency",
        ["GOAL-06", "GAP-02"],
        hellos
    ),
];

/// The state of an undisturbed lab, to compare with the state after hostile frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peace {
    lsdbs: BTreeMap<String, BTreeSet<String>>,
    fibs: BTreeMap<String, BTreeSet<String>>,
    flaps: u64,
    starts: BTreeMap<String, u32>,
}

impl Peace {
    async fn of(bench: &Bench) -> Result<Self, Stop> {
        let (mut lsdbs, mut fibs) = (BTreeMap::new(), BTreeMap::new());
        for (node, fib) in bench.fibs().await? {
            let lsdb = bench.lab.lsdb(&node).await?;
            let held = lsdb.lsas.iter().filter(|l| !l.purged).map(|l| format!("{} {} {:?}", l.origin, l.id, l.links));
            lsdbs.insert(node.clone(), held.collect());
            // Prefixes only: a policy may change how a prefix is forwarded meanwhile, which is no damage.
            fibs.insert(node, fib.entries.iter().map(|e| e.prefix.clone()).collect());
        }
        let nodes: Vec<String> = bench.topology.nodes().keys().map(ToString::to_string).collect();
        let flaps = bench.flaps(&nodes.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let status = bench.lab.status().await?;
        let alive = status.nodes.iter().filter(|n| n.state == NodeState::Ready);
        let starts = alive.map(|n| (n.name.clone(), n.starts)).collect();
        Ok(Self { lsdbs, fibs, flaps, starts })
    }

    /// The state of the lab once the effects of earlier cases are over.
    pub(super) async fn reached(bench: &Bench) -> Result<Self, Stop> {
        bench.settled(&Failures::default(), "FIBs of the whole graph").await?;
        Self::of(bench).await
    }

    /// Checks that the state is the same as before, and that calls go through.
    pub(super) async fn still(&self, bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
        let now = Self::of(bench).await?;
        let lsdbs = difference(&self.lsdbs, &now.lsdbs);
        findings.check_saw(lsdbs.is_empty(), "every LSDB is the same as before", or_same(&lsdbs));
        let fibs = difference(&self.fibs, &now.fibs);
        findings.check_saw(fibs.is_empty(), "every FIB has the same prefixes as before", or_same(&fibs));
        findings.check_eq(&now.flaps, &self.flaps, "no adjacency goes down");
        findings.check_eq(&now.starts, &self.starts, "all nodes are alive and none was restarted");
        let (caller, target, _) = bench.far_pair().await?;
        let reply = bench.call(&caller, &target, "echo", &["whole"]).await?;
        findings.check_eq(&reply.result.as_deref(), &Some("whole"), format!("{caller} still calls {target}"));
        Ok(())
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
fn port_kinds(bench: &Bench) -> BTreeMap<(Role, Role), (String, String)> {
    let mut kinds = BTreeMap::new();
    for link in bench.topology.links() {
        for (near, far) in [(&link.a, &link.b), (&link.b, &link.a)] {
            let roles = (bench.topology.nodes()[near].kind, bench.topology.nodes()[far].kind);
            kinds.entry(roles).or_insert_with(|| (near.to_string(), far.to_string()));
        }
    }
    kinds
}

async fn every_port_kind(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(bench).await?;
    let mut thrown = 0;
    for ((role, at), (from, to)) in port_kinds(bench) {
        let frames = hostile_frames(bench, role, at, (&from, &to)).await?;
        let counters = bench.lab.counters(&to).await?.dropped;
        let mut expected: BTreeMap<DropReason, u64> = BTreeMap::new();
        for (reason, _) in &frames {
            *expected.entry(*reason).or_default() += 1;
        }
        let pdus: Vec<Vec<u8>> = frames.into_iter().map(|(_, pdu)| pdu).collect();
        bench.lab.inject_all(&from, &to, &pdus).await?;
        for (reason, count) in &expected {
            let known = counters.get(*reason);
            bench.wait_dropped(&to, *reason, known, *count).await?;
        }
        thrown += pdus.len();
        let reasons = expected.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>();
        findings.check(true, format!("{role} to {at} ({from} to {to}): {}", reasons.join(", ")));
    }
    findings.check(thrown > 0, format!("{thrown} hostile frames injected, each counted by its reason"));
    before.still(bench, findings).await
}

/// Hostile frames, each with the reason for which it must be dropped.
async fn hostile_frames(
    bench: &Bench,
    role: Role,
    at: Role,
    (from, to): (&str, &str),
) -> Result<Vec<(DropReason, Vec<u8>)>, Stop> {
    let recent = bench.now_ns().saturating_sub(2_000_000 * bench.pace.dead_interval_ms);
    let echo = bench.sent(recent, from, to, MessageType::Echo).await?.pop();
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

async fn data_frames(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(bench).await?;
    let (sg, pod) = bench.sg_with_pod()?;
    let (_, target, _) = bench.far_pair().await?;
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(100) };
    let correlation = 0x4057_0000 + bench.unique();
    let data = Data { correlation, kind, payload: b"hostile payload".to_vec(), hops: Vec::new() };
    let frame = Frame::plain(parse(&target)?, parse(&bench.service_of(&pod)?)?, 1, Message::Data(data));
    let pdu = frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let at_name = 16 + 3;
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
    let from = bench.now_ns();
    for (what, reason, pdu) in tries {
        let known = bench.dropped(&sg, reason).await?;
        bench.lab.inject(&pod, &sg, &pdu).await?;
        bench.wait_dropped(&sg, reason, known, 1).await?;
        findings.check(true, format!("{sg} drops a data frame of {pod} {what}: {reason}"));
    }
    let passed =
        |s: &Seen| s.sent && s.node != pod && matches!(s.message(), Message::Data(d) if d.correlation == correlation);
    let frames = bench.frames(from).await?;
    findings.check(!frames.iter().any(passed), "no node passes any of them on");
    // A frame with a damaged payload has a sound header: it arrives, and its target refuses it.
    let mut worm = pdu.clone();
    let at = worm.windows(7).position(|w| w == b"hostile").unwrap_or(at_name);
    worm[at] ^= 1;
    let end = bench.of_kind(&[Role::Pod]).into_iter().find(|p| serves(bench, p, &target));
    let end = end.ok_or_else(|| Stop::Inconclusive(format!("no pod serves {target}")))?;
    let known = bench.dropped(&end, DropReason::BadChecksum).await?;
    bench.lab.inject(&pod, &sg, &worm).await?;
    bench.wait_dropped(&end, DropReason::BadChecksum, known, 1).await?;
    findings.check(true, format!("{end} refuses a damaged payload for its end-to-end checksum"));
    before.still(bench, findings).await
}

fn serves(bench: &Bench, pod: &str, name: &str) -> bool {
    let node = bench.topology.nodes().get(pod);
    node.is_some_and(|n| n.services.iter().any(|s| s.prefix.to_string() == name))
}

async fn unknown_tlvs(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    let ((sg_id, _), (pod_id, _)) = (bench.role(&sg)?, bench.role(&pod)?);
    let keys = bench.forge.keys(&pod_id, Role::Pod);
    let known = bench.dropped(&spa, DropReason::UnknownCriticalTlv).await?;
    let from = bench.now_ns();
    let mut requests = Vec::new();
    // Bit 7 of a TLV's type is the critical bit; neither number is assigned.
    for tlv in [0xf7_u8, 0x77] {
        let request = 0x7100_0000_0000_0000 | bench.unique();
        let entry = AnnounceEntry { prefix: parse(&bench.service_of(&pod)?)?, pool: None, weight: 1 };
        let announce = keys.sign_announce(request, (sg_id.clone(), 1), vec![entry], Vec::new());
        let question = AuthRequest { request, certificate: keys.certificate().clone(), announce };
        let frame = Frame::hop_local(Message::AuthRequest(question));
        let mut pdu = frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
        pdu.extend_from_slice(&[tlv, 0, 3, 1, 2, 3]);
        bench.inject_sealed(&sg, &spa, pdu).await?;
        requests.push(request);
    }
    let [critical, skipped] = requests[..] else { return Ok(()) };
    let answers = |s: &Seen, request: u64| {
        let granted = |r: &AuthResult| matches!(r, AuthResult::Granted(_));
        s.is_sent_by(&spa, &sg)
            && matches!(s.message(), Message::AuthReply(r) if r.request == request && granted(&r.result))
    };
    bench
        .wait_frame("the answer to the request whose TLV is skipped", from, bench.t_conv(), |s| answers(s, skipped))
        .await?;
    findings.check(true, format!("{spa} skips an unknown TLV without the critical bit and answers"));
    bench.wait_dropped(&spa, DropReason::UnknownCriticalTlv, known, 1).await?;
    let frames = bench.frames(from).await?;
    let answered = frames.iter().any(|s| answers(s, critical));
    findings.check(!answered, "with the critical bit the message is rejected and counted");
    Ok(())
}

async fn forged_lsas(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(bench).await?;
    let (sg, _) = bench.sg_with_pod()?;
    let sr = bench.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let victim = bench.routers().into_iter().find(|n| *n != sg && *n != sr);
    let victim = victim.ok_or_else(|| Stop::NotApplicable("no third SG or SR".into()))?;
    let ((sg_id, sg_role), (victim_id, victim_role)) = (bench.role(&sg)?, bench.role(&victim)?);
    let key = LsaKey { origin: victim_id.clone(), id: LsaId::Topology(0) };
    let empty = LsaContent::Topology(TopologyLsa::default());
    let life = Millis(60_000);
    let by_neighbour = bench.forge.keys(&sg_id, sg_role).sign_lsa(key.clone(), HIGH_SEQUENCE, life, empty.clone());
    let genuine = bench.forge.keys(&victim_id, victim_role);
    let mut damaged = genuine.sign_lsa(key.clone(), HIGH_SEQUENCE, life, empty.clone());
    damaged.signature[20] ^= 1;
    let by_pod_role = bench.forge.keys(&victim_id, Role::Pod).sign_lsa(key.clone(), HIGH_SEQUENCE, life, empty);
    let frames = bench.history(|t| t == MessageType::LsUpdate).await?;
    let mut versions: Vec<_> = frames.iter().flat_map(lsas_in).filter(|l| l.key == key).cloned().collect();
    versions.sort_by_key(|l| l.sequence);
    let old = versions.first().cloned().filter(|l| versions.last().is_some_and(|n| n.sequence > l.sequence));
    let mut tries = vec![
        ("signed by a neighbour of the SR", by_neighbour, DropReason::NotAuthorised),
        ("with a damaged signature", damaged, DropReason::BadSignature),
        ("under a certificate of another role", by_pod_role, DropReason::WrongRole),
    ];
    match old {
        Some(old) => tries.push(("that is older than the installed one", old, DropReason::StaleLsa)),
        None => {
            findings.note(format!("not judged: stale LSAs, because {victim} originated its topology LSA only once"));
        }
    }
    for (what, lsa, reason) in tries {
        let known = bench.dropped(&sr, reason).await?;
        bench.inject_as(&sg, &sr, Message::LsUpdate(vec![lsa])).await?;
        bench.wait_dropped(&sr, reason, known, 1).await?;
        findings.check(true, format!("{sr} refuses an LSA of {victim} {what}: {reason}"));
    }
    before.still(bench, findings).await
}

async fn hellos(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(bench).await?;
    let all = bench.history(|t| t == MessageType::Hello).await?;
    let (sg, pod) = bench.sg_with_pod()?;
    let sr = bench.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let hello_of = |from: &str, to: &str| {
        let hello = |s: &&Seen| s.is_sent_by(from, to) && s.message_type() == MessageType::Hello;
        all.iter().rfind(hello).map(|s| s.pdu.clone())
    };
    let missing = || Stop::Inconclusive("no hello was recorded".into());
    // A pod's hello on the port of an SR comes from the wrong role.
    let pods = hello_of(&pod, &sg).ok_or_else(missing)?;
    let known = bench.dropped(&sg, DropReason::WrongRole).await?;
    bench.lab.inject(&sr, &sg, &pods).await?;
    bench.wait_dropped(&sg, DropReason::WrongRole, known, 1).await?;
    findings.check(true, format!("{sg} refuses {pod}'s hello on the port of {sr}"));
    let own = hello_of(&sg, &sr).ok_or_else(missing)?;
    let known = bench.dropped(&sg, DropReason::Looped).await?;
    let twins = bench.dropped(&sg, DropReason::DuplicateIdentity).await?;
    bench.lab.inject(&sr, &sg, &own).await?;
    bench
        .wait(&format!("{sg} refuses its own hello"), bench.t_conv(), || async {
            let now = bench.dropped(&sg, DropReason::Looped).await?
                + bench.dropped(&sg, DropReason::DuplicateIdentity).await?;
            Ok(if now > known + twins { Ok(()) } else { Err("not counted".into()) })
        })
        .await?;
    findings.check(true, format!("{sg} refuses its own hello when it comes back"));
    let mut damaged = hello_of(&sr, &sg).ok_or_else(missing)?;
    // A hello ends with its signature.
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let known = bench.dropped(&sg, DropReason::BadSignature).await?;
    bench.lab.inject(&sr, &sg, &damaged).await?;
    bench.wait_dropped(&sg, DropReason::BadSignature, known, 1).await?;
    findings.check(true, format!("{sg} refuses a hello of {sr} with a damaged signature"));
    // The first hello of the run is not fresh any more: even many copies must change nothing.
    let first = all.iter().find(|s| s.is_sent_by(&sr, &sg) && s.message_type() == MessageType::Hello);
    let first = first.ok_or_else(missing)?.pdu.clone();
    let received = bench.lab.counters(&sg).await?.received.get(MessageType::Hello);
    bench.lab.inject_all(&sr, &sg, &vec![first; 20]).await?;
    bench
        .wait(&format!("{sg} has received the replayed hellos"), bench.t_conv(), || async {
            let now = bench.lab.counters(&sg).await?.received.get(MessageType::Hello);
            Ok(if now >= received + 20 { Ok(()) } else { Err(format!("{} of 20", now - received)) })
        })
        .await?;
    findings.check(true, format!("{sg} received twenty replays of the first hello of the run"));
    before.still(bench, findings).await
}
