//! Section G: the forwarding plane, by the frames it moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::call::CallRequest;
use damc_mgmt::command::Command;
use damc_wire::frame::ROUTED_HEADER_LEN;
use damc_wire::{DropReason, Message, RefusalReason, Role};

use crate::case::{Case, Findings, Impact, Stop, Suite, fail};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::traffic::Thrown;
use crate::testbed::witness::parse;
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of section G.
pub const CASES: &[Case] = &[
    case!("fwd-01", "Whatever a pod sends goes to its SG first", ["FWD-01"], Calm, gateway_first),
    case!(
        "fwd-02",
        "A call inside a pod goes through its SG: request and response each leave and reach the pod",
        ["FWD-02"],
        Guest,
        hairpin
    ),
    case!("fwd-03", "Requests carry canonical names; frames without are dropped and counted", ["FWD-03"], Guest, named),
    case!("fwd-04", "A longer prefix elsewhere redirects the next request", ["FWD-04"], Guest, longer_prefix),
    case!(
        "fwd-05",
        "Requests advance hop by hop to the owner SG, and each hop lowers the hop limit by one",
        ["FWD-05", "FWD-06"],
        Calm,
        step_by_step
    ),
    case!(
        "fwd-07",
        "The egress SG hands a request to the right pod only, and refuses names that have left",
        ["FWD-07"],
        Guest,
        egress
    ),
    case!("fwd-08", "Responses are routed by name, apart from their requests", ["FWD-08", "CON-14"], Links, way_back),
    case!("fwd-10", "Of 1000 concurrent calls each answer reaches its caller", ["FWD-10"], Calm, concurrent),
];

async fn gateway_first(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let (_, far, _) = testbed.far_pair().await?;
    let unknown = format!("/nowhere/{}", testbed.unique());
    let own = testbed.service_of(&pod)?;
    for (target, what) in [(&far, "known"), (&unknown, "unknown"), (&own, "own-pod")] {
        let from = testbed.now_ns();
        let drops = testbed.dropped(&sg, DropReason::NoRoute).await?;
        let reply = testbed.call(&pod, target, "echo", &["x"]).await?;
        let frames = testbed.frames(from).await?;
        // A late copy of an earlier call may still be on its way.
        let sent = frames.iter().filter(|s| s.sent && s.node == pod && s.is_for(target)).find_map(Seen::request);
        let this = |s: &&Seen| s.is_for(target) && s.request().is_some() && s.request() == sent;
        let mut requests: Vec<&Seen> = frames.iter().filter(this).collect();
        requests.sort_by_key(|s| s.at_ns);
        let ends: Vec<_> = requests.iter().take(2).map(|s| (s.node.as_str(), s.port.as_str(), s.sent)).collect();
        let expected = [(pod.as_str(), sg.as_str(), true), (sg.as_str(), pod.as_str(), false)];
        findings.check_saw(
            ends == expected,
            format!("the request for the {what} name {target} crosses {pod} – {sg} first"),
            format!("{ends:?}"),
        );
        if target == &unknown {
            findings.check_eq(&reply.error.as_deref(), &Some("no-route"), format!("{sg} answers with a reason"));
            findings.check_eq(&reply.detail.as_deref(), &Some(sg.as_str()), "in its own name");
            findings.check_eq(&requests.len(), &2, "the request goes nowhere else");
            let now = testbed.dropped(&sg, DropReason::NoRoute).await?;
            findings.check_saw(now > drops, format!("{sg} counts the drop"), format!("{drops} → {now}"));
        } else {
            findings.check_eq(&reply.error, &None, format!("{sg} forwards it"));
        }
    }
    for pod in testbed.of_kind(&[Role::Pod]) {
        let frames = testbed.frames_at(&pod, 0).await?;
        let ports: BTreeSet<_> = frames.iter().map(|s| s.port.as_str()).collect();
        let sg = testbed.sg_of(&pod)?;
        findings.check_saw(
            ports.iter().all(|p| *p == sg),
            format!("all frames of {pod} are on its link to {sg}"),
            format!("{ports:?}"),
        );
    }
    Ok(())
}

async fn hairpin(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let names = testbed.register_behind(&sg, 1).await?;
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    let own = testbed.service_of(&pod)?;
    for (source, target) in [(&own, &names[0]), (&names[0], &own)] {
        let from = testbed.now_ns();
        let reply = testbed.call_with(&pod, target, "whoami", &[], |r| r.source = Some(source.clone())).await?;
        findings.check_eq(&reply.result.as_deref(), &Some(target.as_str()), format!("{source} calls {target}"));
        findings.check_eq(&reply.path, &vec![sg.clone()], "the request goes through the SG");
        findings.check_eq(&reply.return_path, &vec![sg.clone()], "the response goes through the SG");
        let frames = testbed.frames(from).await?;
        let at = |sent: bool, request: bool, name: &str| {
            let here = frames.iter().filter(|s| s.node == pod && s.sent == sent && s.is_for(name));
            here.filter(|s| if request { s.request().is_some() } else { s.answer().is_some() }).count()
        };
        let request = (at(true, true, target), at(false, true, target));
        let response = (at(true, false, source), at(false, false, source));
        findings.check_eq(&request, &(1, 1), "the request leaves the pod once and arrives once");
        findings.check_eq(&response, &(1, 1), "the response leaves the pod once and arrives once");
    }
    findings.note("not judged: names outside the mesh, because no egress adapter exists");
    testbed.unregister(&names).await
}

async fn named(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let (_, target, _) = testbed.far_pair().await?;
    let frames = testbed.history(|t| t == damc_wire::MessageType::Data).await?;
    let requests = frames.iter().filter(|s| s.request().is_some());
    let (count, nameless) =
        requests.fold((0, 0), |(all, bad), s| (all + 1, bad + usize::from(s.frame.names.is_none())));
    findings.never(
        count > 0 && nameless == 0,
        "all recorded requests carry a target name",
        format!("{nameless} of {count} do not"),
    );
    let good = Thrown::echo(&target, &testbed.service_of(&pod)?, testbed.correlations())?.pdu()?;
    let name_at = ROUTED_HEADER_LEN + 3;
    let mut without = good.clone();
    let first = usize::from(u16::from_be_bytes([good[name_at - 2], good[name_at - 1]]));
    without.drain(ROUTED_HEADER_LEN..name_at + first);
    let length = u16::try_from(without.len()).unwrap_or(0).to_be_bytes();
    without[4..6].copy_from_slice(&length);
    // A component with a character that names must not have, and one that is longer than the name.
    let mut slash = good.clone();
    slash[name_at + 1] = b'/';
    let mut overlong = good.clone();
    overlong[name_at] = 0xff;
    for (what, pdu) in
        [("no target name", without), ("a '/' in a component", slash), ("an overlong component", overlong)]
    {
        let before = testbed.lab.counters(&sg).await?;
        let from = testbed.now_ns();
        testbed.inject_routed(&pod, &sg, vec![pdu.clone()]).await?;
        let reason = testbed
            .wait(&format!("{sg} counts a request with {what}"), testbed.t_conv(), || async {
                let now = testbed.lab.counters(&sg).await?;
                let mut reasons = DropReason::ALL.iter().copied();
                let risen = reasons.find(|reason| now.dropped.get(*reason) > before.dropped.get(*reason));
                Ok(risen.ok_or_else(|| "no drop counter rose".into()))
            })
            .await?;
        let rest = |pdu: &[u8]| pdu.get(ROUTED_HEADER_LEN..).unwrap_or_default().to_vec();
        let alike = |sent: &[u8]| sent.len() == pdu.len() && rest(sent) == rest(&pdu);
        let passed = testbed.raw_sent_by(&sg, from).await?.iter().filter(|sent| alike(sent)).count();
        findings.none(&passed, format!("{what}: dropped as {reason}, nothing leaves {sg}"));
    }
    Ok(())
}

async fn longer_prefix(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, _) = testbed.far_pair().await?;
    let owner = testbed.owner_of(&target)?;
    let other = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| *p != owner && *p != caller);
    let Some(other) = other else { return Err(Stop::NotApplicable("fewer than three pods".into())) };
    // A name below it belongs to another SG: only names of guests are certified for the SPAs of both.
    let target = testbed.fresh_name(&owner);
    testbed.register(&owner, &target).await?;
    testbed.wait_everywhere(std::slice::from_ref(&target), testbed.t_conv()).await?;
    let name = format!("{target}/moved-{}", testbed.unique());
    let before = testbed.call(&caller, &name, "whoami", &[]).await?;
    findings.check_eq(
        &before.result.as_deref(),
        &Some(target.as_str()),
        format!("a call of {name} goes to {target} at first"),
    );
    let plain = |fibs: BTreeMap<String, damc_mgmt::view::FibView>| -> BTreeMap<String, Vec<_>> {
        let rest = |e: &damc_mgmt::view::FibEntryView| e.prefix != name && e.label.is_none();
        fibs.into_iter().map(|(node, fib)| (node, fib.entries.into_iter().filter(rest).collect())).collect()
    };
    let tables = plain(testbed.fibs().await?);
    testbed.register(&other, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let after = testbed.call(&caller, &name, "whoami", &[]).await?;
    findings.check_eq(&after.result.as_deref(), &Some(name.as_str()), format!("the next request goes to {other}"));
    findings.check_eq(&after.path.last(), &Some(&testbed.sg_of(&other)?), format!("it reaches the SG of {other}"));
    let now = plain(testbed.fibs().await?);
    let changed: Vec<_> = now.iter().filter(|(node, entries)| tables.get(*node) != Some(*entries)).collect();
    findings.check_saw(
        changed.is_empty(),
        "no other FIB entry changes anywhere",
        if changed.is_empty() { "none".to_owned() } else { format!("changed {changed:?}") },
    );
    testbed.order(&other, &Command::StopService { prefix: parse(&name)? }).await?;
    testbed.wait_nowhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let again = testbed.call(&caller, &name, "whoami", &[]).await?;
    findings.check_eq(
        &again.result.as_deref(),
        &Some(target.as_str()),
        format!("calls go to {target} again when the longer prefix is gone"),
    );
    testbed.unregister(&[target]).await
}

/// Node and hop limit of every sender of a request, from the pod on. A retransmitted one takes the same steps again.
fn senders(frames: &[Seen], correlation: u64) -> Vec<(String, u8)> {
    let mut chain: Vec<_> = frames
        .iter()
        .filter(|s| s.sent && s.request() == Some(correlation))
        .map(|s| (s.node.clone(), s.frame.header.hop_limit))
        .collect();
    chain.sort_by(|(a, left), (b, right)| (right, a).cmp(&(left, b)));
    chain.dedup();
    chain
}

async fn step_by_step(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let pods: Vec<_> = testbed.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty()).collect();
    let mut judged = 0;
    for caller in &pods {
        for callee in pods.iter().filter(|p| p.id != caller.id).take(4) {
            let target = callee.services[0].prefix.to_string();
            let from = testbed.now_ns();
            let reply = testbed.call(caller.id.as_str(), &target, "echo", &["x"]).await?;
            let frames = testbed.frames(from).await?;
            let sent = frames.iter().find(|s| s.node == caller.id.as_str() && s.sent && s.is_for(&target));
            let Some(correlation) = sent.and_then(Seen::request) else {
                return fail(format!("no request of {} for {target} was recorded", caller.id));
            };
            let chain = senders(&frames, correlation);
            let nodes: Vec<_> = chain.iter().map(|(node, _)| node.clone()).collect();
            let falls = chain.windows(2).all(|w| w[0].1 == w[1].1 + 1);
            let distinct = nodes.iter().collect::<BTreeSet<_>>().len() == nodes.len();
            let owner = testbed.sg_of(callee.id.as_str())?;
            let delivered = frames.iter().any(|s| {
                !s.sent && s.node == callee.id.as_str() && s.port == owner && s.request() == Some(correlation)
            });
            let srs = nodes.iter().filter(|n| testbed.role(n).is_ok_and(|(_, r)| r == Role::Sr)).count();
            let needs_sr = testbed.sg_of(caller.id.as_str())? != owner && testbed.topology.name().as_str() == "fig2";
            let right = falls
                && distinct
                && delivered
                && nodes.last() == Some(&owner)
                && nodes.get(1..) == Some(&reply.path[..])
                && (srs > 0 || !needs_sr);
            if !right {
                findings.check_saw(
                    false,
                    format!("{} → {target}: a chain to {owner} that loses one of the hop limit per hop", caller.id),
                    format!("{chain:?}, delivered {delivered}, reported path {:?}", reply.path),
                );
            }
            judged += 1;
        }
    }
    findings.check_saw(
        judged > 0,
        "requests were followed: advance, hop limit, owner SG, and between SGs of Figure 2 an SR on the path",
        format!("{judged} requests"),
    );
    Ok(())
}

async fn egress(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, chain) = testbed.far_pair().await?;
    let (owner, sg) = (testbed.owner_of(&target)?, chain.last().cloned().unwrap_or_default());
    let before_last = chain[chain.len() - 2].clone();
    let pods = testbed.beside(&sg, Role::Pod)?;
    let from = testbed.now_ns();
    let reply = testbed.call(&caller, &target, "whoami", &[]).await?;
    findings.check_eq(&reply.result.as_deref(), &Some(target.as_str()), format!("{caller} calls {target}"));
    let frames = testbed.frames(from).await?;
    let at_sg = frames.iter().filter(|s| s.node == sg && s.sent && s.is_for(&target) && s.request().is_some());
    let ports: BTreeSet<_> = at_sg.map(|s| s.port.as_str()).collect();
    findings.check_eq(
        &ports,
        &BTreeSet::from([owner.as_str()]),
        format!("of {} pods behind {sg}, only {owner} gets it", pods.len()),
    );
    // A request for a name that has left, from a node that has not heard of it yet.
    let gone = testbed.register_behind(&sg, 1).await?;
    testbed.wait_everywhere(&gone, testbed.t_conv()).await?;
    testbed.unregister(&gone).await?;
    let from = testbed.now_ns();
    let late = Thrown::echo(&gone[0], &testbed.service_of(&caller)?, testbed.correlations())?;
    testbed.throw(&before_last, &sg, &late).await?;
    let nack = testbed
        .wait_frame("the negative reply", from, testbed.t_conv(), |s| {
            s.sent && s.node == sg && matches!(s.message(), Message::Nack(n) if n.destination == late.destination)
        })
        .await?;
    let reason = if let Message::Nack(nack) = nack.message() { Some(nack.reason) } else { None };
    findings.check_eq(
        &reason,
        &Some(RefusalReason::NoSuchInstance),
        format!("{sg} refuses {} with the reason", gone[0]),
    );
    let frames = testbed.frames(from).await?;
    let elsewhere = frames.iter().filter(|s| s.sent && s.node == sg && s.request() == Some(late.correlation)).count();
    findings.none(&elsewhere, format!("{sg} delivers it nowhere else"));
    Ok(())
}

/// One flow, so that requests keep to one of several equal paths.
const FLOW: u32 = 88;

async fn way_back(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    // A policy would choose by other measures than costs.
    testbed.leaves_room()?;
    let (caller, target, _) = testbed.far_pair().await?;
    let chain = testbed.call_with(&caller, &target, "echo", &["x"], |r| r.flow = Some(FLOW)).await?.path;
    let (ingress, egress) = (chain[0].clone(), chain[chain.len() - 1].clone());
    let next = chain[chain.len() - 2].clone();
    let without = Oracle::new(&testbed.topology, &Failures::default().link(&egress, &next));
    if without.distance(&egress, &ingress).is_none() {
        return Err(Stop::NotApplicable("there is only one path".into()));
    }
    let dear = 1000;
    testbed.set_cost(&egress, &next, dear).await?;
    let failures = Failures::default().cost(&egress, &next, dear);
    let outcome = asymmetric(testbed, findings, &failures, (&caller, &target), (&chain, &next)).await;
    testbed.set_cost(&egress, &next, testbed.configured_cost(&egress, &next)).await?;
    testbed.settled(&Failures::default(), "FIBs with the costs of the topology").await?;
    outcome?;
    caller_leaves(testbed, findings, &caller, &target, &egress).await
}

async fn asymmetric(
    testbed: &Testbed,
    findings: &mut Findings,
    failures: &Failures,
    (caller, target): (&str, &str),
    (chain, next): (&[String], &str),
) -> Result<(), Stop> {
    testbed.settled(failures, "FIBs of the oracle with asymmetric costs").await?;
    let oracle = Oracle::new(&testbed.topology, failures);
    let reply = testbed.call_with(caller, target, "echo", &["x"], |r| r.flow = Some(FLOW)).await?;
    findings.check_eq(&reply.error, &None, format!("{caller} calls {target} with asymmetric costs"));
    let (path, back) = (&reply.path, &reply.return_path);
    let egress = chain.last().cloned().unwrap_or_default();
    findings.check_eq(&path.last(), &Some(&egress), format!("the request takes {}", path.join(" → ")));
    let cheap = oracle.path_cost(back) == oracle.distance(&egress, &chain[0]) && oracle.path_cost(back).is_some();
    findings.check_saw(cheap, "the response takes a cheapest path back", back.join(" → "));
    let mirrored: Vec<_> = path.iter().rev().cloned().collect();
    findings.check_saw(
        *back != mirrored && back.get(1).is_some_and(|n| n != next),
        format!("the response avoids {egress} – {next}, which the request took"),
        format!("{} after the request took {}", back.join(" → "), path.join(" → ")),
    );
    Ok(())
}

/// Withdraws the caller's name while its call is being worked on.
async fn caller_leaves(
    testbed: &Testbed,
    findings: &mut Findings,
    caller: &str,
    target: &str,
    egress: &str,
) -> Result<(), Stop> {
    let names = testbed.register_behind(&testbed.sg_of(caller)?, 1).await?;
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    let from = testbed.now_ns();
    let mut sleeper = Thrown::echo(target, &names[0], testbed.correlations())?;
    (sleeper.method, sleeper.payload, sleeper.deadline_ms) = ("sleep", b"400".to_vec(), 2000);
    let drops = testbed.dropped(egress, DropReason::NoRoute).await?;
    testbed.throw(caller, &testbed.sg_of(caller)?, &sleeper).await?;
    let owner = testbed.owner_of(target)?;
    let arrives = |s: &Seen| s.node == owner && !s.sent && s.request() == Some(sleeper.correlation);
    testbed.wait_frame("the request at its target", from, testbed.t_conv(), arrives).await?;
    testbed.unregister(&names).await?;
    let answers = |s: &Seen| s.node == owner && s.sent && s.answer() == Some(sleeper.correlation);
    testbed.wait_frame("the response", from, testbed.t_conv(), answers).await?;
    testbed
        .wait(&format!("{egress} counts the response as dropped"), testbed.t_conv(), || async {
            let now = testbed.dropped(egress, DropReason::NoRoute).await?;
            Ok(if now > drops { Ok(()) } else { Err(format!("still {now}")) })
        })
        .await?;
    let frames = testbed.frames(from).await?;
    let moved: Vec<_> = frames.iter().filter(|s| s.sent && s.answer() == Some(sleeper.correlation)).collect();
    findings.check_eq(
        &moved.len(),
        &1,
        "with the caller gone, only the target sends the response: it ends at the egress SG, counted",
    );
    let told = frames
        .iter()
        .any(|s| s.sent && matches!(s.message(), Message::Nack(n) if n.call() == Some(sleeper.correlation)));
    findings.never(!told, "no negative reply is sent about a response", if told { "one" } else { "none" });
    Ok(())
}

/// Concurrent calls.
const CALLS: usize = 1000;
/// Calls that sleep in one service: fewer than the 256 that the built-in service works on at a time.
const SLEEPERS: usize = 240;

async fn concurrent(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (_, caller) = testbed.sg_with_pod()?;
    let pods = testbed.topology.of_kind(Role::Pod).filter(|p| p.id.as_str() != caller);
    let targets: Vec<String> = pods.flat_map(|p| p.services.iter().map(|s| s.prefix.to_string())).collect();
    if targets.is_empty() {
        return Err(Stop::NotApplicable("no service in another pod".into()));
    }
    let from = testbed.now_ns();
    let calls = (0..CALLS).map(|i| {
        let (service, turn) = (i % targets.len(), i / targets.len());
        let (caller, target) = (&caller, &targets[service]);
        // Most calls sleep, so that they are under way together. Each result is unique: the number tells the call, the
        // blanks tell the service.
        let method = if turn < SLEEPERS { "sleep" } else { "echo" };
        let argument = format!("{}{}", 400 + turn, " ".repeat(service));
        async move {
            // Four times the deadline of one call, because they wait for one another.
            let adjust = |r: &mut CallRequest| (r.trace, r.deadline_ms) = (false, 4 * testbed.call_deadline_ms());
            let reply = testbed.call_with(caller, target, method, &[argument.as_str()], adjust).await?;
            Ok::<_, damc_testbed::WorldError>(reply.result.as_deref() == Some(argument.as_str()))
        }
    });
    let right = futures::future::try_join_all(calls).await?.into_iter().filter(|right| *right).count();
    findings.check_eq(&right, &CALLS, "every call gets its own result");
    let frames = testbed.frames(from).await?;
    let mut pending = BTreeSet::new();
    let mut peak = 0;
    let mut asked = BTreeSet::new();
    for s in frames.iter().filter(|s| s.node == caller) {
        if let (Some(c), true) = (s.request(), s.sent) {
            pending.insert(c);
            asked.insert(c);
        } else if let (Some(c), false) = (s.answer(), s.sent) {
            pending.remove(&c);
        }
        peak = peak.max(pending.len());
    }
    findings.check_saw(
        asked.len() >= CALLS,
        "every call has its own correlation number on the wire",
        format!("{} distinct numbers for {CALLS} calls", asked.len()),
    );
    findings.figure("calls under way at one time", peak as f64, "calls");
    Ok(())
}
