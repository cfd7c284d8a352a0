//! Adjacencies stand on what is fresh only: hellos that name the present session, frames of that session, each frame once.
//!
//! These cases judge by what follows from a frame, not by what the node counts: a node may count a replay and take it yet.

use std::time::Duration;

use damc_wire::lsa::LsaHeader;
use damc_wire::message::{AnnounceEntry, AuthRequest, Hello};
use damc_wire::{Frame, Message, MessageType, Millis, NodeId, Role};

use super::forged::{edge, newest_topology, sealed, updates};
use super::hostile::Peace;
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::Failures;
use crate::testbed::Testbed;
use crate::testbed::witness::parse;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of freshness.
pub const CASES: &[Case] = &[
    case!(
        "hostile-hello-fresh",
        "A signed hello that names nobody, or another session than ours, neither restarts nor ends an adjacency",
        ["GAP-02", "GOAL-06"],
        Guest,
        hellos_without_our_session
    ),
    case!(
        "hostile-replay",
        "A replayed frame has no effect: the second copy of a request is not answered",
        ["GAP-08", "GOAL-06"],
        Guest,
        replayed_requests
    ),
    case!(
        "hostile-old-session",
        "A frame under the MAC of an earlier session has no effect",
        ["GAP-08", "GOAL-06"],
        Links,
        earlier_session
    ),
];

/// A session that no node draws: nodes draw from 64 bits at random.
const FORGED_SESSION: u64 = 0x5e55_1014_0000_0000;

/// A hello of `from`, signed by its keys.
fn hello(testbed: &Testbed, from: &str, session: u64, heard: Option<(NodeId, u64)>) -> Result<Vec<u8>, Stop> {
    let (node, role) = testbed.role(from)?;
    let (keys, timers) = (testbed.forge.keys(&node, role), &testbed.timers);
    let hello = keys.sign_hello(Hello {
        certificate: keys.certificate().clone(),
        session,
        heard,
        hello_interval: Millis(timers.hello_interval_ms),
        dead_interval: Millis(timers.dead_interval_ms),
        echo_interval: Millis(timers.echo_interval_ms),
        echo_multiplier: timers.echo_multiplier,
        signature: [0; 64],
    });
    Frame::hop_local(Message::Hello(hello)).encode().map_err(|e| Stop::Inconclusive(e.to_string()))
}

async fn hellos_without_our_session(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, sr) = edge(testbed)?;
    let ((sg_id, _), (sr_id, _)) = (testbed.role(&sg)?, testbed.role(&sr)?);
    let session = FORGED_SESSION | testbed.unique();
    let tries = [
        ("that names nobody", session, None),
        ("that names another session", session + (1 << 20), Some((sg_id, FORGED_SESSION - 1))),
    ];
    for (what, session, heard) in tries {
        let from = testbed.now_ns();
        testbed.inject(&sr, &sg, &hello(testbed, &sr, session, heard)?).await?;
        // The answer shows that the hello was read.
        let names = |s: &Seen| match s.message() {
            Message::Hello(h) => s.is_sent_by(&sg, &sr) && h.heard.as_ref() == Some(&(sr_id.clone(), session)),
            _ => false,
        };
        let answered = format!("{sg} answers a hello of {sr} {what} by one that names its session");
        testbed.wait_frame(&answered, from, testbed.t_conv(), names).await?;
        findings.check(true, answered);
    }
    // An adjacency on such a hello has other keys: the true neighbour's echoes would fail and end it within this time.
    let from = testbed.now_ns();
    let echoes = usize::from(testbed.timers.echo_multiplier) + 1;
    testbed
        .wait(&format!("{echoes} more echoes of {sr}"), testbed.t_conv() + testbed.detection(), || async {
            let seen = testbed.sent(from, &sr, &sg, MessageType::Echo).await.map_or(0, |seen| seen.len());
            Ok(if seen >= echoes { Ok(()) } else { Err(format!("{seen}")) })
        })
        .await?;
    before.still(testbed, findings).await
}

fn asks_for(header: &LsaHeader) -> Message {
    Message::LsRequest(vec![header.clone()])
}

async fn replayed_requests(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let (first, second) =
        (newest_topology(testbed, &sr).await?.header(), newest_topology(testbed, &sg).await?.header());
    let request = sealed(testbed, &sr, &sg, asks_for(&first)).await?;
    let from = testbed.now_ns();
    testbed.inject(&sr, &sg, &request).await?;
    let is_answer = |s: &Seen| updates(s, (&sg, &sr), &first.key);
    let what = format!("{sg} answers a request in the name of {sr}");
    let answer = testbed.wait_frame(&what, from, testbed.t_conv(), is_answer).await?;
    findings.check(true, what);
    let confirms = |s: &Seen| match s.message() {
        Message::LsAck(headers) => s.is_sent_by(&sr, &sg) && headers.iter().any(|h| h.key == first.key),
        _ => false,
    };
    testbed.wait_frame(&format!("{sr} acknowledges it"), answer.at_ns, testbed.t_conv(), confirms).await?;
    // The copy, and behind it another request whose answer shows that the copy was read.
    let fresh = sealed(testbed, &sr, &sg, asks_for(&second)).await?;
    let again = testbed.now_ns();
    testbed.inject_all(&sr, &sg, &[request, fresh]).await?;
    let what = format!("{sg} answers the next request");
    testbed.wait_frame(&what, again, testbed.t_conv(), |s| updates(s, (&sg, &sr), &second.key)).await?;
    let answers = testbed.sent(again, &sg, &sr, MessageType::LsUpdate).await?.iter().filter(|s| is_answer(s)).count();
    findings.none(&answers, format!("no answers of {sg} to the second copy of a request of {sr}"));
    replayed_question(testbed, findings, &sg).await
}

/// The same of a request to an SPA.
async fn replayed_question(testbed: &Testbed, findings: &mut Findings, sg: &str) -> Result<(), Stop> {
    let spa = testbed.spa_of(sg)?;
    let question = |request: u64| -> Result<Message, Stop> {
        let pod = testbed.pod_of(sg)?;
        let keys = testbed.forge.keys(&testbed.role(&pod)?.0, Role::Pod);
        let entry = AnnounceEntry { prefix: parse(&testbed.service_of(&pod)?)?, pool: None, weight: 1 };
        let announce = keys.sign_announce(request, (testbed.role(sg)?.0, 1), vec![entry], Vec::new());
        Ok(Message::AuthRequest(AuthRequest { request, certificate: keys.certificate().clone(), announce }))
    };
    let number = || 0x7e91_0000_0000_0000 | testbed.unique();
    let (first, second) = (number(), number());
    let answers = |s: &Seen, request: u64| {
        s.is_sent_by(&spa, sg) && matches!(s.message(), Message::AuthReply(r) if r.request == request)
    };
    let from = testbed.now_ns();
    let asked = sealed(testbed, sg, &spa, question(first)?).await?;
    testbed.inject(sg, &spa, &asked).await?;
    let what = format!("{spa} answers a request in the name of {sg}");
    testbed.wait_frame(&what, from, testbed.t_conv(), |s| answers(s, first)).await?;
    let fresh = sealed(testbed, sg, &spa, question(second)?).await?;
    testbed.inject_all(sg, &spa, &[asked, fresh]).await?;
    let what = format!("{spa} answers the next request");
    testbed.wait_frame(&what, from, testbed.t_conv(), |s| answers(s, second)).await?;
    let frames = testbed.sent(from, &spa, sg, MessageType::AuthReply).await?;
    let seen = frames.iter().filter(|s| answers(s, first)).count();
    findings.check_eq(&seen, &1, format!("answers of {spa} to a request that comes twice in one frame of {sg}"));
    Ok(())
}

async fn earlier_session(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let (first, second) =
        (newest_topology(testbed, &sr).await?.header(), newest_topology(testbed, &sg).await?.header());
    let stale = sealed(testbed, &sr, &sg, asks_for(&first)).await?;
    testbed.cut(&sg, &sr).await?;
    testbed.settled(&Failures::default().link(&sg, &sr), &format!("FIBs without the link {sg} – {sr}")).await?;
    testbed.mend(&sg, &sr).await?;
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    // The exchange of databases is over; what it left to be acknowledged must not be taken for an answer.
    testbed.lab.wait_converged(testbed.t_conv()).await?;
    let flaps = testbed.flaps(&[&sg, &sr]).await?;
    let fresh = sealed(testbed, &sr, &sg, asks_for(&second)).await?;
    let from = testbed.now_ns();
    testbed.inject_all(&sr, &sg, &[stale, fresh]).await?;
    let what = format!("{sg} answers a request in the present session of {sr}");
    testbed.wait_frame(&what, from, testbed.t_conv(), |s| updates(s, (&sg, &sr), &second.key)).await?;
    findings.check(true, what);
    let frames = testbed.sent(from, &sg, &sr, MessageType::LsUpdate).await?;
    let answers = frames.iter().filter(|s| updates(s, (&sg, &sr), &first.key)).count();
    findings.none(&answers, format!("no answers of {sg} to a request of an earlier session of {sr}"));
    findings.check_eq(&testbed.flaps(&[&sg, &sr]).await?, &flaps, "no adjacency goes down");
    Ok(())
}
