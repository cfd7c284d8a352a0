//! Results and arguments that do not fit one message, and calls that take long: RMI-04, RMI-05, GAP-18.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_impair::{DirectionChange, Loss};
use damc_mgmt::call::CallReply;
use damc_testbed::Direction;
use damc_wire::message::DataKind;

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(120);

/// Cases of large results and long calls.
pub const CASES: &[Case] = &[
    case!(
        "rmi-04",
        "A result of a megabyte comes whole over a link that loses 5 % of its frames, in segments",
        ["RMI-04", "GAP-18"],
        Links,
        large_result
    ),
    case!(
        "rmi-05",
        "A long call answers with a name at once, and its result is fetched by that name, by its caller only",
        ["RMI-05"],
        Calm,
        long_call
    ),
    case!(
        "rmi-05-arguments",
        "Arguments that do not fit one message are fetched from the caller by name",
        ["RMI-05"],
        Calm,
        long_arguments
    ),
];

/// Bytes of the large result.
const LARGE: usize = 1 << 20;
/// Share of the frames that the link loses, in each direction.
const LOSS: f64 = 0.05;
/// Flow of the call and of what is fetched for it.
const FLOW: u32 = 4711;
/// Time for a large result.
const WITHIN: Duration = Duration::from_secs(40);
/// Most requests for segments in flight.
const WINDOW: usize = 257;
/// How long the long method runs, ms.
const LONG_MS: u64 = 1500;

/// What the method `bulk` gives.
fn bulk(length: usize) -> String {
    let mut text: String = (0..length.div_ceil(16)).map(|line| format!("{line:015x}\n")).collect();
    text.truncate(length);
    text
}

fn result(reply: &CallReply) -> Result<&str, Stop> {
    reply.result.as_deref().ok_or_else(|| Stop::Failed(format!("no result: {:?} {:?}", reply.error, reply.detail)))
}

async fn large_result(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, _) = testbed.far_pair().await?;
    // Requests for segments take the way of the call, whose flow they are.
    let chain = testbed.call_with(&caller, &target, "echo", &["x"], |r| r.flow = Some(FLOW)).await?.path;
    let [near, far, ..] = chain.as_slice() else {
        return Err(Stop::NotApplicable("no service behind another SG".into()));
    };
    let lossy = DirectionChange { loss: Some(Loss::Random { probability: LOSS }), ..DirectionChange::default() };
    testbed.impair((near, far), Direction::Both, lossy).await?;
    let from = testbed.now_ns();
    let within = u64::try_from(testbed.host.stretched(WITHIN).as_millis()).unwrap_or(u64::MAX);
    let length = LARGE.to_string();
    let reply = testbed
        .call_with(&caller, &target, "bulk", &[&length], |r| {
            r.deadline_ms = within;
            r.trace = false;
            r.flow = Some(FLOW);
        })
        .await?;
    testbed.mend(near, far).await?;
    if reply.error.as_deref() == Some("no-such-method") {
        return Err(Stop::NotApplicable(format!("{target} has no method that gives a large result")));
    }
    let came = result(&reply)?;
    findings.check_saw(
        came == bulk(LARGE),
        format!("{caller} gets {LARGE} bytes from {target} whole while {near} – {far} loses 5 %"),
        format!("{} bytes", came.len()),
    );
    let frames = testbed.frames(from).await?;
    in_segments(findings, &caller, &target, &frames);
    let invocations = frames.iter().filter(|s| s.node == caller && s.sent && s.is_for(&target));
    let correlations: BTreeSet<u64> = invocations.filter_map(Seen::request).collect();
    findings.check_eq(&correlations.len(), &1, "the method is called once, however often its request is repeated");
    Ok(())
}

/// Every segment has a name below the target's, what was lost is asked for again and nothing else, and a window of them is
/// in flight.
fn in_segments(findings: &mut Findings, caller: &str, target: &str, frames: &[Seen]) {
    let below = format!("{target}/~h/");
    let (mut names, mut asked, mut most) = (BTreeSet::new(), 0_usize, 0_usize);
    // Names asked for and not answered, and under which name a correlation asked: what was lost is asked for anew.
    let (mut flying, mut name_of) = (BTreeSet::new(), BTreeMap::new());
    for s in frames.iter().filter(|s| s.node == caller) {
        let destination = s.frame.names.as_ref().map(|(destination, _)| destination.to_string()).unwrap_or_default();
        match (s.request(), s.answer()) {
            (Some(correlation), _) if s.sent && destination.starts_with(&below) => {
                asked += 1;
                flying.insert(destination.clone());
                name_of.insert(correlation, destination.clone());
                names.insert(destination);
                most = most.max(flying.len());
            }
            (_, Some(correlation)) if !s.sent => {
                name_of.get(&correlation).map(|name| flying.remove(name));
            }
            _ => {}
        }
    }
    // The smallest segment that any two names leave room for.
    let segments = LARGE / 1200;
    findings.check_saw(
        names.len() >= segments,
        format!("each segment is asked for by a name of its own below {target}"),
        format!("{} names for at least {segments} segments", names.len()),
    );
    let again = asked.saturating_sub(names.len()) as f64 * 100.0 / names.len().max(1) as f64;
    // A request and its answer are each lost with 5 %; what is asked for again may be lost again.
    findings.bound(again, 30.0, "%", asked, "segments that are asked for again");
    findings.check_saw(again > 0.0, "what was lost is asked for again", format!("{again:.1} %"));
    findings.bound(most as f64, WINDOW as f64, "requests", asked, "requests for segments in flight at one time");
}

async fn long_call(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, _) = testbed.far_pair().await?;
    let long = testbed.host.stretched(Duration::from_millis(LONG_MS));
    let ms = u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
    let (began, deadline) = (testbed.now_ns(), 4 * ms + testbed.call_deadline_ms());
    let later = format!("{target}/~later");
    let patient = |r: &mut damc_mgmt::call::CallRequest| r.deadline_ms = deadline;
    let reply = testbed.call_with(&caller, &later, "sleep", &[&ms.to_string()], patient).await?;
    let handle = result(&reply)?.to_owned();
    // Long calls are an optional profile: who does not know it runs the method.
    if !handle.starts_with(&format!("{target}/~h/")) {
        return Err(Stop::NotApplicable(format!("{target} answers long calls like all others")));
    }
    findings.check(true, format!("{later} answers with a name below {target}"));
    let took = reply.elapsed_ns as f64 * 100.0 / (ms as f64 * 1e6);
    findings.bound(took, 50.0, "%", 1, "of the method's time pass until its caller has the name");
    if let Some(other) = other_pod(testbed, &caller, &target) {
        let reply = testbed.call(&other, &handle, "get", &[]).await?;
        findings.never(
            reply.result.is_none() && reply.error.as_deref() == Some("no-such-instance"),
            format!("{other}, which did not make the call, gets nothing under its name"),
            format!("{:?} {:?}", reply.result, reply.error),
        );
    }
    let reply = testbed.call_with(&caller, &handle, "get", &[], patient).await?;
    findings.check_eq(&result(&reply)?, &ms.to_string().as_str(), "the caller fetches the result by that name");
    let waited = testbed.now_ns().saturating_sub(began);
    findings.check_saw(
        waited >= ms * 1_000_000,
        "not before the method has ended",
        format!("after {} ms of {ms} ms", waited / 1_000_000),
    );
    let reply = testbed.call(&caller, &later, "fail", &["as it must"]).await?;
    let reply = testbed.call(&caller, result(&reply)?, "get", &[]).await?;
    findings.check_eq(&reply.error.as_deref(), &Some("failed"), "an error is fetched in the same way");
    Ok(())
}

/// A pod with a service that is neither of these.
fn other_pod(testbed: &Testbed, caller: &str, target: &str) -> Option<String> {
    let owner = testbed.owner_of(target).ok()?;
    let pods = testbed.of_kind(&[damc_wire::Role::Pod]);
    pods.into_iter().find(|pod| pod != caller && *pod != owner && testbed.service_of(pod).is_ok())
}

async fn long_arguments(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, _) = testbed.far_pair().await?;
    let arguments = bulk(20_000);
    let from = testbed.now_ns();
    let deadline = 4 * testbed.call_deadline_ms();
    let reply = testbed.call_with(&caller, &target, "echo", &[&arguments], |r| r.deadline_ms = deadline).await?;
    if reply.error.as_deref() == Some("too-large") {
        return Err(Stop::NotApplicable(format!("{caller} holds no arguments for those it calls")));
    }
    findings.check_saw(
        result(&reply)? == arguments,
        format!("{target} gets arguments of {} bytes and gives them back", arguments.len()),
        format!("{} bytes", result(&reply)?.len()),
    );
    let frames = testbed.frames(from).await?;
    let at_caller: Vec<&Seen> = frames.iter().filter(|s| s.node == caller).collect();
    let request = at_caller.iter().find(|s| s.sent && s.is_for(&format!("{target}/~pull")));
    let payload = request.and_then(|s| s.data()).map(|data| data.payload.len());
    findings.check_eq(&payload, &Some(0), "the request itself carries none of them");
    let pulled = at_caller.iter().filter(|s| {
        let get = s.data().is_some_and(|d| matches!(&d.kind, DataKind::Request { method, .. } if method == "get"));
        let from_target = s.frame.names.as_ref().is_some_and(|(_, source)| source.to_string() == target);
        !s.sent && get && from_target
    });
    let pulled = pulled.count();
    let least = arguments.len() / 1200;
    findings.check_saw(
        pulled >= least,
        format!("{target} asks {caller} for them by name"),
        format!("{pulled} requests for at least {least} segments"),
    );
    Ok(())
}
