//! Section H: method invocation, its errors, and how often a method runs.

use std::collections::BTreeSet;
use std::time::Duration;

use damc_mgmt::words::ProtocolCounter;
use damc_wire::message::DataKind;
use damc_wire::{Message, RefusalReason};

use crate::case::{Case, Findings, Impact, Stop, Suite, fail};
use crate::testbed::Testbed;
use crate::testbed::traffic::Thrown;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of section H.
pub const CASES: &[Case] = &[
    case!("rmi-01", "A method call returns its result, correlated; errors are typed", ["RMI-01"], Calm, call_by_name),
    case!("rmi-02", "Results and errors are the same wherever the target is", ["RMI-02"], Calm, anywhere),
    case!("rmi-03", "The first frame to a target is the request itself", ["RMI-03"], Guest, no_set_up),
    case!(
        "gap-10",
        "A name without a route is refused within a round trip to the deciding node",
        ["GAP-10"],
        Calm,
        refused
    ),
    case!("gap-29", "A repeated request is executed once, an expired one never", ["GAP-29"], Guest, at_most_once),
];

/// Frames at `pod` of its calls to `target` since `from`: requests sent, answers received.
async fn exchange(testbed: &Testbed, from: u64, pod: &str, target: &str) -> Result<(Vec<Seen>, Vec<Seen>), Stop> {
    let frames = testbed.frames(from).await?;
    let mine = || frames.iter().filter(|s| s.node == pod);
    let asked = once(mine().filter(|s| s.sent && s.is_for(target)), Seen::request);
    let answers = once(mine().filter(|s| !s.sent && asked.iter().any(|a| a.request() == s.answer())), Seen::answer);
    Ok((asked, answers))
}

/// The first frame of each correlation number: over a slow path a request is retransmitted, and answered again.
fn once<'a>(frames: impl Iterator<Item = &'a Seen>, number: impl Fn(&Seen) -> Option<u64>) -> Vec<Seen> {
    let mut known = BTreeSet::new();
    frames.filter(|s| number(s).is_some_and(|n| known.insert(n))).cloned().collect()
}

async fn call_by_name(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, _) = testbed.far_pair().await?;
    let from = testbed.now_ns();
    let reply = testbed.call(&caller, &target, "add", &["2", "3"]).await?;
    findings.check_eq(&reply.result.as_deref(), &Some("5"), format!("{caller} calls {target} add 2 3"));
    let (asked, answered) = exchange(testbed, from, &caller, &target).await?;
    findings.check_eq(&(asked.len(), answered.len()), &(1, 1), "request and response share one correlation number");
    let method = asked.first().and_then(Seen::data).map(|d| (d.kind.clone(), d.payload.clone()));
    let named =
        matches!(&method, Some((DataKind::Request { method, .. }, payload)) if method == "add" && payload == b"2 3");
    findings.check_saw(named, "the request carries method add and arguments 2 3", format!("{method:?}"));
    for (method, args, reason) in
        [("fly", "", "no-such-method"), ("add", "two", "bad-arguments"), ("fail", "on purpose", "failed")]
    {
        let from = testbed.now_ns();
        let reply = testbed.call(&caller, &target, method, &[args]).await?;
        findings.check_eq(&reply.error.as_deref(), &Some(reason), format!("{method} {args:?} ends with a typed error"));
        let (_, answered) = exchange(testbed, from, &caller, &target).await?;
        let kinds: Vec<_> = answered.iter().filter_map(Seen::data).map(|d| d.kind.clone()).collect();
        let right = matches!(&kinds[..], [DataKind::Error { reason: r }] if r.label() == reason);
        findings.check_saw(right, format!("the target sends the error {reason}"), format!("{kinds:?}"));
    }
    Ok(())
}

async fn anywhere(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, far, _) = testbed.far_pair().await?;
    let places = testbed.near_and_far(&caller, far)?;
    let calls = [("add", "2 3"), ("echo", "a  b"), ("fly", "x"), ("add", "2 x"), ("fail", "why"), ("sleep", "1")];
    let mut outcomes = Vec::new();
    for (place, target) in &places {
        let mut seen = Vec::new();
        let mut took = Duration::ZERO;
        for (method, args) in calls {
            let reply = testbed.call(&caller, target, method, &[args]).await?;
            took += Duration::from_nanos(reply.elapsed_ns);
            // The text of an error is for people: implementations word it as they like.
            seen.push((method, args, reply.result, reply.error));
        }
        findings.figure(format!("mean call {place}"), took.as_secs_f64() * 1e3 / calls.len() as f64, "ms");
        outcomes.push(seen);
    }
    for ((place, target), seen) in places.iter().zip(&outcomes) {
        findings.check_eq(
            seen,
            &outcomes[0],
            format!("{target}, {place}: {} calls have the same outcomes as in the first place", calls.len()),
        );
    }
    if places.len() < 3 {
        findings.note("not judged here: a second pod behind the same SG, which this topology lacks");
    }
    Ok(())
}

async fn no_set_up(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, far, chain) = testbed.far_pair().await?;
    let sg = chain.last().cloned().unwrap_or_default();
    // A service that was never called.
    let names = testbed.register_behind(&sg, 1).await?;
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    let reply = testbed.call(&caller, &names[0], "whoami", &[]).await?;
    findings.check_eq(&reply.result.as_deref(), &Some(names[0].as_str()), format!("first call of {}", names[0]));
    let frames = testbed.frames_at(&caller, 0).await?;
    let mine: Vec<_> = frames.iter().filter(|s| s.sent && s.is_for(&names[0])).collect();
    let types: BTreeSet<_> = mine.iter().map(|s| (s.message_type().label(), s.request())).collect();
    findings.check_saw(
        types.len() == 1 && types.iter().all(|(_, request)| request.is_some()),
        "the request is the only message that the caller sends there",
        format!("{types:?}"),
    );
    let owner = testbed.owner_of(&far)?;
    let about =
        |s: &&Seen| matches!(s.data(), Some(d) if mine.first().and_then(|m| m.request()) == Some(d.correlation));
    let frames = testbed.frames_at(&owner, 0).await?;
    let at_owner: BTreeSet<_> = frames.iter().filter(about).map(|s| (s.sent, s.request(), s.answer())).collect();
    findings.check_saw(
        at_owner.len() == 2,
        "the target's pod receives the request and sends the response, nothing else",
        format!("sent, request, response: {at_owner:?}"),
    );
    testbed.unregister(&names).await
}

async fn refused(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let row = testbed.lab.neighbors(&pod).await?.neighbors.into_iter().find(|n| n.port == sg);
    let Some(delay) = row.and_then(|n| n.delay_ns) else {
        return Err(Stop::Inconclusive(format!("{pod} has not measured its link yet")));
    };
    let rtt = Duration::from_nanos(2 * delay);
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let name = format!("/nowhere/{}", testbed.unique());
        let from = testbed.now_ns();
        let reply = testbed.call(&pod, &name, "echo", &["x"]).await?;
        findings.check_eq(&reply.error.as_deref(), &Some("no-route"), format!("{name} is refused"));
        let frames = testbed.frames(from).await?;
        let asked: Vec<_> = frames.iter().filter(|s| s.node == pod && s.sent && s.is_for(&name)).collect();
        let told = frames.iter().find(|s| {
            s.node == pod
                && !s.sent
                && matches!(s.message(), Message::Nack(n) if n.destination.to_string() == name && n.reason == RefusalReason::NoRoute)
        });
        let ([request], Some(nack)) = (&asked[..], told) else {
            return fail(format!(
                "expected: 1 request for {name} and a negative reply; saw: {} requests, negative reply {}",
                asked.len(),
                told.is_some()
            ));
        };
        least = least.min(Duration::from_nanos(nack.at_ns.saturating_sub(request.at_ns)));
    }
    findings.figure("negative reply after", least.as_secs_f64() * 1e3, "ms");
    findings.figure("round trip to the deciding node", rtt.as_secs_f64() * 1e3, "ms");
    let bound = rtt * 2 + testbed.host.stretched(Duration::from_millis(1));
    findings.within(least, bound, format!("one request, one negative reply, the soonest (a round trip is {rtt:?})"));
    Ok(())
}

async fn at_most_once(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, chain) = testbed.far_pair().await?;
    let (owner, sg) = (testbed.owner_of(&target)?, chain[0].clone());
    let source = testbed.service_of(&caller)?;
    let from = testbed.now_ns();
    let (ran, repeated) = (
        testbed.protocol(&owner, ProtocolCounter::Invocations).await?,
        testbed.protocol(&owner, ProtocolCounter::RequestsRepeated).await?,
    );
    let request = Thrown::echo(&target, &source, testbed.correlations())?;
    let answers = |frames: &[Seen], correlation: u64| -> Vec<Seen> {
        frames.iter().filter(|s| s.node == owner && s.sent && s.answer() == Some(correlation)).cloned().collect()
    };
    for copy in 1..=3_usize {
        testbed.throw(&caller, &sg, &request).await?;
        testbed
            .wait(&format!("an answer to copy {copy} of the request"), testbed.t_conv(), || async {
                let seen = answers(
                    &testbed.frames(from).await.map_err(|e| damc_testbed::WorldError::Lab(e.to_string()))?,
                    request.correlation,
                )
                .len();
                Ok(if seen >= copy { Ok(()) } else { Err(format!("{seen} answers")) })
            })
            .await?;
    }
    let seen = answers(&testbed.frames(from).await?, request.correlation);
    let alike = seen.windows(2).all(|w| w[0].frame == w[1].frame);
    findings.check_saw(alike, "three copies of one request get equal responses", format!("{} responses", seen.len()));
    findings.check_eq(
        &(testbed.protocol(&owner, ProtocolCounter::Invocations).await? - ran),
        &1,
        "the request is executed once",
    );
    findings.check_eq(
        &(testbed.protocol(&owner, ProtocolCounter::RequestsRepeated).await? - repeated),
        &2,
        "two repetitions are counted",
    );
    let expired = Thrown { deadline_ms: 0, correlation: testbed.correlations(), ..request };
    testbed.throw(&caller, &sg, &expired).await?;
    let told = |s: &Seen| s.node == owner && s.sent && s.answer() == Some(expired.correlation);
    let answer = testbed.wait_frame("the answer to an expired request", from, testbed.t_conv(), told).await?;
    let kind = answer.data().map(|d| d.kind.clone());
    let exceeded = DataKind::Error { reason: RefusalReason::DeadlineExceeded };
    findings.check_eq(&kind, &Some(exceeded), "a request whose deadline has passed is refused");
    findings.check_eq(
        &(testbed.protocol(&owner, ProtocolCounter::Invocations).await? - ran),
        &1,
        "the expired request is not executed",
    );
    Ok(())
}
