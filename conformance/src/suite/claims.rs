//! What the drafts claim of the whole, and readings that need no case of their own elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_testbed::WorldError;
use damc_trust::Verifier;
use damc_wire::lsa::LsaKey;
use damc_wire::message::AuthResult;
use damc_wire::{Message, MessageType, NodeId, Role, Timestamp};

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::Failures;
use crate::testbed::Testbed;
use crate::testbed::traffic::Thrown;
use crate::testbed::witness::{advertises, lsas_in, parse};
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases of claims.
pub const CASES: &[Case] = &[
    case!(
        "goal-04",
        "Services come and go at a high rate: no SPF runs, every LSDB returns to its size, calls of others go on",
        ["GOAL-04"],
        Guest,
        churn
    ),
    case!(
        "goal-05",
        "One new service is registered, authenticated, advertised, routed, measured and reported",
        ["GOAL-05"],
        Guest,
        all_functions
    ),
    case!(
        "con-05",
        "No user byte reaches the SCSC, and SGs and SRs route without it",
        ["CON-05", "GOAL-03"],
        Calm,
        off_the_data_path
    ),
    case!(
        "con-10",
        "Flooded LSAs keep origin and signature at every node",
        ["CON-10", "LSA-07"],
        Guest,
        flooded_unchanged
    ),
    case!(
        Qos,
        "qos-02-tasks",
        "Each SG gives each service of another SG a task, and gets a report with the number of the task",
        ["QOS-02"],
        Calm,
        tasks_and_reports
    ),
    case!("gap-17", "Probes take at most one per cent of the rate of any link", ["GAP-17"], Calm, cost_of_probes),
    case!(
        "gap-23",
        "Many changes in a short time run SPF few times, and the end state is right",
        ["GAP-23"],
        Guest,
        pacing
    ),
    case!(
        "gap-28",
        "A payload passes SGs and SRs unread: any bytes arrive as they left",
        ["GAP-28"],
        Guest,
        opaque_payload
    ),
];

/// SPF runs of a node that its events tell, since `from`.
async fn spf_runs(testbed: &Testbed, node: &str, from: u64) -> Result<usize, WorldError> {
    let events = testbed.events(node).await?;
    let full = |kind: &EventKind| matches!(kind, EventKind::Computed { full: true, .. });
    Ok(events.iter().filter(|e| e.at_ns >= from && full(&e.kind)).count())
}

/// Services that come and go in the case: names for each pod, and rounds.
const NAMES: usize = 12;
const ROUNDS: usize = 4;

async fn churn(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let mut sizes = BTreeMap::new();
    for node in testbed.routers() {
        sizes.insert(node.clone(), testbed.lab.lsdb(&node).await?.lsas.iter().filter(|l| !l.purged).count());
    }
    let from = testbed.now_ns();
    let (mut changes, mut lost) = (0, Vec::new());
    for _ in 0..ROUNDS {
        let names = testbed.register_many(NAMES).await?;
        let reply = testbed.call(&caller, &target, "echo", &["meanwhile"]).await?;
        lost.extend(reply.error);
        testbed.wait_everywhere(&names, testbed.t_conv() * 2).await?;
        testbed.unregister(&names).await?;
        changes += 2 * names.len();
    }
    let seconds = (testbed.now_ns() - from) as f64 / 1e9;
    findings.figure("registrations and withdrawals", changes as f64 / seconds, "1/s");
    findings.check_eq(&lost, &Vec::new(), format!("calls of {caller} to {target} that fail meanwhile"));
    for node in testbed.routers() {
        let runs = spf_runs(testbed, &node, from).await?;
        findings.check_eq(&runs, &0, format!("SPF runs of {node} for {changes} changes of prefixes"));
        let held = testbed.lab.lsdb(&node).await?.lsas.iter().filter(|l| !l.purged).count();
        findings.check_eq(&held, &sizes[&node], format!("LSAs in the LSDB of {node} afterwards"));
    }
    Ok(())
}

/// What a step is called, and the frame that shows it.
type Step<'a> = (&'a str, &'a dyn Fn(&Seen) -> bool);

async fn all_functions(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let (spa, scsc) = (testbed.spa_of(&sg)?, testbed.scsc()?);
    let name = testbed.fresh_name(&pod);
    let prefix = parse(&name)?;
    let observer = testbed.of_kind(&[Role::Sg]).into_iter().find(|n| *n != sg);
    let observer = observer.ok_or_else(|| Stop::NotApplicable("one SG only".into()))?;
    let from = testbed.now_ns();
    testbed.register(&pod, &name).await?;
    let announced = |s: &Seen| match s.message() {
        Message::Announce(a) => s.is_sent_by(&pod, &sg) && a.add.iter().any(|e| e.prefix == prefix),
        _ => false,
    };
    let granted = |s: &Seen| match s.message() {
        Message::AuthReply(r) => {
            s.is_sent_by(&spa, &sg) && matches!(&r.result, AuthResult::Granted(g) if g.prefix == prefix)
        }
        _ => false,
    };
    let advertised = |s: &Seen| s.sent && s.node == sg && lsas_in(s).iter().any(|l| advertises(l, &prefix));
    let reported = |s: &Seen| match s.message() {
        Message::Telemetry(t) => {
            let measured = t.body.paths.iter().any(|p| p.target == prefix && p.delay_ns.is_some());
            !s.sent && s.node == scsc && t.certificate.node.as_str() == observer && measured
        }
        _ => false,
    };
    let steps: [Step<'_>; 4] = [
        ("registration: its announcement", &announced),
        ("authentication: its grant", &granted),
        ("discovery: its LSA", &advertised),
        ("measurement: a report about it at the SCSC", &reported),
    ];
    let mut last = from;
    for (what, pick) in steps {
        let seen = testbed.wait_frame(&format!("{what} ({name})"), from, testbed.t_policy(), pick).await?;
        findings.check_saw(seen.at_ns >= last, what, "after the step before it");
        last = seen.at_ns;
    }
    let caller = testbed.pod_of(&observer)?;
    let reply = testbed.call(&caller, &name, "echo", &["routed"]).await?;
    findings.check_eq(&reply.result.as_deref(), &Some("routed"), format!("routing: {caller} calls {name}"));
    let answer = testbed.order(&observer, &Command::QueryPath { target: prefix.clone() }).await?;
    let path = answer["path"].as_array().cloned().unwrap_or_default();
    let ends = path.last().is_some_and(|n| n == sg.as_str());
    findings.check_saw(ends, format!("scheduling: the SCSC computes a path to {name}"), format!("{path:?}"));
    testbed.unregister(&[name]).await
}

async fn off_the_data_path(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let scsc = testbed.scsc()?;
    let from = testbed.now_ns();
    let mut calls = 0;
    for caller in testbed.of_kind(&[Role::Pod]).into_iter().filter(|p| testbed.service_of(p).is_ok()) {
        for callee in testbed.topology.of_kind(Role::Pod).flat_map(|p| p.services.first()) {
            let reply = testbed.call(&caller, &callee.prefix.to_string(), "echo", &["user"]).await?;
            findings.check_eq(&reply.error, &None, format!("{caller} calls {}", callee.prefix));
            calls += 1;
        }
    }
    let frames = testbed.frames(from).await?;
    let is_user = |s: &&Seen| matches!(s.message_type(), MessageType::Data | MessageType::Packet);
    let users = frames.iter().filter(is_user);
    let (at, elsewhere): (Vec<_>, Vec<_>) = users.partition(|s| s.node == scsc || s.port == scsc);
    findings.check_saw(elsewhere.len() >= 2 * calls, "user frames cross other links", elsewhere.len());
    findings.none(&at.len(), format!("no user frames on links of {scsc}"));
    Ok(())
}

async fn flooded_unchanged(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let from = testbed.now_ns();
    let names = testbed.register_many(1).await?;
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    let mut wanted = BTreeSet::new();
    for name in &names {
        wanted.insert(parse(name)?);
    }
    let frames = testbed.frames(from).await?;
    let about =
        |s: &Seen| lsas_in(s).iter().filter(|l| wanted.iter().any(|n| advertises(l, n))).cloned().collect::<Vec<_>>();
    let sent: Vec<_> =
        frames.iter().filter(|s| s.sent).flat_map(|s| about(s).into_iter().map(|l| (s.node.clone(), l))).collect();
    let (origin, _) = testbed.role(&testbed.routers()[0])?;
    let mut verifier = Verifier::new(testbed.forge.root(), testbed.topology.domain().clone());
    let mut first: BTreeMap<(LsaKey, u64), (String, [u8; 64])> = BTreeMap::new();
    let (mut altered, mut false_origins, mut unverified) = (0, 0, 0);
    for (node, lsa) in &sent {
        let known = first.entry((lsa.key.clone(), lsa.sequence)).or_insert((node.clone(), lsa.signature));
        altered += usize::from(known.1 != lsa.signature);
        false_origins += usize::from(known.0 != lsa.key.origin.as_str() || lsa.certificate.node != lsa.key.origin);
        unverified += usize::from(verifier.verify_lsa(Timestamp::ZERO, lsa.clone()).is_err());
    }
    let by_others = sent.iter().filter(|(node, l)| *node != l.key.origin.as_str()).count();
    findings.check_saw(by_others > 0, format!("nodes other than {origin} and its like pass LSAs on"), by_others);
    findings.check_eq(&altered, &0, "LSAs whose signature changes on the way");
    findings.check_eq(&false_origins, &0, "LSAs that another node than their origin sends first or signs");
    findings.check_eq(&unverified, &0, "LSAs whose signature does not verify");
    testbed.unregister(&names).await
}

async fn tasks_and_reports(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let period = Duration::from_millis(testbed.timers.task_interval_ms);
    let from = testbed.now_ns();
    for sg in testbed.of_kind(&[Role::Sg]) {
        for pod in testbed.topology.of_kind(Role::Pod) {
            let Some(service) = pod.services.first() else { continue };
            let name = service.prefix.to_string();
            if testbed.sg_of(pod.id.as_str())? == sg {
                continue;
            }
            let given = |s: &Seen| s.sent && s.node == sg && s.is_for(&name) && s.message_type() == MessageType::Task;
            let what = format!("a task of {sg} for {name}");
            let task = testbed.wait_frame(&what, from, period * 3 + testbed.t_conv(), given).await?;
            let Message::Task(task) = task.message().clone() else { continue };
            let reported = |s: &Seen| match s.message() {
                Message::TaskReport(report) => !s.sent && s.node == sg && report.task == task.task,
                _ => false,
            };
            let what = format!("the report on it at {sg}");
            testbed.wait_frame(&what, from, testbed.t_conv(), reported).await?;
        }
        findings.check(true, format!("{sg} gives tasks to the services of other SGs and gets their reports"));
    }
    Ok(())
}

async fn cost_of_probes(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    // Two trains of every path, which cost most.
    let span = Duration::from_millis(testbed.timers.probe_interval_ms) * 2 * testbed.timers.train_every.max(1);
    let from = testbed.now_ns();
    testbed
        .wait("two trains on every path", span * 4, || async {
            let left = span.saturating_sub(Duration::from_nanos(testbed.now_ns() - from));
            Ok(if left.is_zero() { Ok(()) } else { Err(format!("{} ms left", left.as_millis())) })
        })
        .await?;
    let seconds = (testbed.now_ns() - from) as f64 / 1e9;
    let mut bytes: BTreeMap<(String, String), usize> = BTreeMap::new();
    for seen in testbed.probes(from).await?.into_iter().filter(|s| s.sent) {
        *bytes.entry((seen.node, seen.port)).or_default() += seen.pdu.len();
    }
    let mut worst = (0.0, String::new());
    for link in testbed.topology.links() {
        for (near, far) in [(&link.a, &link.b), (&link.b, &link.a)] {
            let Some(rate) = link.from(near).and_then(|d| d.spec.rate_bps) else { continue };
            let sent = bytes.get(&(near.to_string(), far.to_string())).copied().unwrap_or(0);
            let share = sent as f64 * 8.0 * 100.0 / seconds / rate as f64;
            if share > worst.0 {
                worst = (share, format!("{near} → {far}"));
            }
        }
    }
    if bytes.is_empty() {
        return Err(Stop::Inconclusive("no probe was recorded".into()));
    }
    findings.figure(format!("largest share of a link's rate that probes take ({})", worst.1), worst.0, "%");
    findings.check_saw(
        worst.0 <= 1.0,
        "probes take at most 1 % of any link",
        format!("{:.3} % of {}", worst.0, worst.1),
    );
    Ok(())
}

/// Changes of a cost in the case.
const CHANGES: u32 = 100;

async fn pacing(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    let (_, _, chain) = testbed.far_pair().await?;
    let [near, far, ..] = chain.as_slice() else {
        return Err(Stop::NotApplicable("no path over two nodes".into()));
    };
    let from = testbed.now_ns();
    let configured = testbed.configured_cost(near, far);
    for change in 1..=CHANGES {
        testbed.set_cost(near, far, configured + change % 7 + 1).await?;
    }
    testbed.set_cost(near, far, configured).await?;
    testbed.settled(&Failures::default(), "FIBs of the configured costs").await?;
    findings.check(true, format!("after {CHANGES} changes of a cost every FIB is that of the last one"));
    let took = (testbed.now_ns() - from) as f64 / 1e6;
    // RFC 8405: short waits until the time to learn is over, long ones after that; and the first run at once.
    let timers = &testbed.timers;
    let short = timers.spf_learn_ms as f64 / timers.spf_short_ms.max(1) as f64;
    let bound = 2.0 + short + took / timers.spf_long_ms.max(1) as f64;
    let runs = spf_runs(testbed, near, from).await?;
    findings.figure(format!("SPF runs of {near} in {took:.0} ms"), runs as f64, "");
    findings.check_saw(
        runs >= 1 && runs as f64 <= bound,
        format!("{near} runs SPF at least once and at most {bound:.0} times"),
        format!("{runs} runs"),
    );
    Ok(())
}

async fn opaque_payload(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, chain) = testbed.far_pair().await?;
    let (sg, source) = (chain[0].clone(), testbed.service_of(&caller)?);
    let owner = testbed.owner_of(&target)?;
    // Every byte once, so nothing that reads text or TLVs out of a payload could let it pass.
    let payload: Vec<u8> = (0..=u8::MAX).rev().collect();
    let correlation = testbed.correlations();
    let thrown = Thrown { payload: payload.clone(), ..Thrown::echo(&target, &source, correlation)? };
    let from = testbed.now_ns();
    testbed.throw(&caller, &sg, &thrown).await?;
    let answer = |s: &Seen| !s.sent && s.node == caller && s.answer() == Some(correlation);
    let answer = testbed.wait_frame("the answer to a request with any bytes", from, testbed.t_conv(), answer).await?;
    let frames = testbed.frames(from).await?;
    let of_request = |s: &&Seen| s.request() == Some(correlation);
    let nodes: BTreeSet<NodeId> = frames.iter().filter(of_request).filter_map(|s| NodeId::new(&s.node).ok()).collect();
    let changed = frames.iter().filter(of_request).filter(|s| s.data().is_some_and(|d| d.payload != payload)).count();
    findings.check_saw(
        nodes.len() >= chain.len() + 2,
        format!("the request passes {} to {owner}", chain.join(", ")),
        format!("{nodes:?}"),
    );
    findings.none(&changed, "no frames of the request with other bytes");
    let back = answer.data().map(|d| d.payload.clone());
    findings.check_eq(&back, &Some(payload), "the bytes that echo returns");
    Ok(())
}
