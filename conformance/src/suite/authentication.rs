//! Section D: prefix authentication. Which pod may have which name, who decides it, and what follows from a refusal.

mod attacks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::words::AnnouncementState;
use damc_testbed::NodeAction;
use damc_wire::message::{AnnounceEntry, AuthRequest, AuthResult, Data, DataKind};
use damc_wire::{Class, DropReason, Frame, Message, MessageType, Millis, Name, RefusalReason, Role};

use self::attacks::{false_answers, rogue_gateway, stolen_announcement};
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::{advertises, lsas_in, parse};
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);
/// Bound of AUT-05 on the median share that the step from the positive answer to the LSA on an SR link has in the whole
/// registration, from the announcement's arrival at the SG on. A share, because all steps are slow on a slow host.
const ANSWER_TO_LSA: f64 = 0.5;

/// Cases of section D.
pub const CASES: &[Case] = &[
    case!(
        "aut-01",
        "Announcement, request to the SPA, answer and LSA come in this order",
        ["AUT-01", "CON-03"],
        Guest,
        order_of_events
    ),
    case!(
        "aut-01-blackhole",
        "With the SPA's link down, a new prefix appears nowhere, and the pod is told",
        ["AUT-01", "GAP-09"],
        Links,
        blackhole
    ),
    case!("aut-02", "SPAs decide on pods and prefixes as their licences say", ["AUT-02"], Guest, licence_matrix),
    case!("aut-03", "A refusal is an explicit answer with a reason", ["AUT-03"], Guest, explicit_refusal),
    case!(
        "aut-04",
        "A refused pod gets no LSA and no route, and no frame of it passes",
        ["AUT-04"],
        Guest,
        refused_pod
    ),
    case!("aut-05", "A positive answer leads directly to the LSA", ["AUT-05"], Guest, answer_leads_to_lsa),
    case!(
        "aut-06",
        "Class 3 is spoken only between SG and SPA, and SPAs agree",
        ["AUT-06", "CON-01"],
        Guest,
        only_the_gateway_asks
    ),
    case!("aut-07", "A pod cannot use another pod's announcement", ["AUT-07", "GAP-25"], Guest, stolen_announcement),
    case!("aut-08", "Forged, replayed and damaged answers lead to nothing", ["AUT-08", "GAP-07"], Guest, false_answers),
    case!(
        "aut-09",
        "An SG's LSA without a fitting grant is installed nowhere",
        ["AUT-09", "GAP-08"],
        Guest,
        rogue_gateway
    ),
    case!("aut-10", "The loss of an SPA is local and visible, and ends when it is back", ["AUT-10"], Nodes, lost_spa),
];

async fn order_of_events(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    let name = testbed.fresh_name(&pod);
    let wanted = parse(&name)?;
    let from = testbed.now_ns();
    testbed.register(&pod, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let frames = testbed.frames(from).await?;
    let first = |what: &str, pick: &dyn Fn(&Seen) -> bool| {
        let seen = frames.iter().filter(|s| pick(s)).map(|s| s.at_ns).min();
        seen.ok_or_else(|| Stop::Failed(format!("{what} was not recorded")))
    };
    let announced = first("the announcement", &|s| {
        s.node == sg && s.port == pod && matches!(s.message(), Message::Announce(a) if has(&a.add, &wanted))
    })?;
    let asked = first("the question", &|s| {
        s.is_sent_by(&sg, &spa) && matches!(s.message(), Message::AuthRequest(r) if has(&r.announce.add, &wanted))
    })?;
    let answered = first("the answer", &|s| {
        let granted = |r: &AuthResult| matches!(r, AuthResult::Granted(g) if g.prefix == wanted);
        s.node == sg && s.port == spa && matches!(s.message(), Message::AuthReply(r) if granted(&r.result))
    })?;
    let advertised = first("the LSA", &|s| lsas_in(s).iter().any(|l| advertises(l, &wanted)))?;
    let in_order = announced < asked && asked < answered && answered < advertised;
    let after_us = |at: u64| (i128::from(at) - i128::from(announced)) / 1000;
    findings.check_saw(
        in_order,
        format!("{sg} gets the announcement, asks, gets the answer, and only then an LSA appears anywhere"),
        format!(
            "request {} µs, answer {} µs, first LSA {} µs after the announcement",
            after_us(asked),
            after_us(answered),
            after_us(advertised)
        ),
    );
    testbed.unregister(&[name]).await
}

fn has(entries: &[AnnounceEntry], name: &Name) -> bool {
    entries.iter().any(|e| e.prefix == *name)
}

async fn blackhole(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    let name = testbed.fresh_name(&pod);
    testbed.licence(&pod, &name).await?;
    let from = testbed.now_ns();
    testbed.cut(&sg, &spa).await?;
    testbed.start_unlicensed(&pod, &name, None).await?;
    let told = wait_told(testbed, &sg, &pod, &name, from).await?;
    findings.check_eq(&told, &Some(RefusalReason::SpaUnreachable), "the pod is told that no SPA answered");
    findings.none(&testbed.advertised(&name, from).await?, format!("no LSA advertises {name}"));
    findings.none(&testbed.known_at(&name).await?, format!("no SG or SR has {name} in LSDB or FIB"));
    testbed.mend(&sg, &spa).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    findings.check(true, "once the link is back, the SG asks again by itself and the prefix appears everywhere");
    testbed.unregister(&[name]).await
}

/// Waits for the SG's answer about `name` to the pod; returns the refusal, or `None` where it was accepted.
async fn wait_told(
    testbed: &Testbed,
    sg: &str,
    pod: &str,
    name: &str,
    from: u64,
) -> Result<Option<RefusalReason>, Stop> {
    let wanted = parse(name)?;
    let within = testbed.t_conv() + Duration::from_millis(testbed.timers.auth_timeout_ms);
    let what = format!("{sg}'s answer to {pod} about {name}");
    let outcome = |s: &Seen| match s.message() {
        Message::AnnounceReply(r) => r.outcomes.iter().find(|o| o.prefix == wanted).map(|o| o.refusal),
        _ => None,
    };
    let seen = testbed.wait_frame(&what, from, within, |s| s.is_sent_by(sg, pod) && outcome(s).is_some()).await?;
    Ok(outcome(&seen).flatten())
}

/// The SPA's answers, by name, to an announcement of `pod` that `sg` passes on. The suite forges the request, with the
/// SG's hop MAC and the pod's signature.
async fn ask(
    testbed: &Testbed,
    (sg, spa): (&str, &str),
    pod: &str,
    names: &[Name],
) -> Result<BTreeMap<String, Option<RefusalReason>>, Stop> {
    let ((sg_id, _), (pod_id, _)) = (testbed.role(sg)?, testbed.role(pod)?);
    let request = 0xa000_0000_0000_0000 | testbed.unique();
    let keys = testbed.forge.keys(&pod_id, Role::Pod);
    let entry = |prefix: &Name| AnnounceEntry { prefix: prefix.clone(), pool: None, weight: 1 };
    let announce = keys.sign_announce(request, (sg_id, 1), names.iter().map(entry).collect(), Vec::new());
    let question = AuthRequest { request, certificate: keys.certificate().clone(), announce };
    let from = testbed.now_ns();
    testbed.inject_as(sg, spa, Message::AuthRequest(question)).await?;
    let mut answers = BTreeMap::new();
    for name in names {
        let answer = |s: &Seen| match s.message() {
            Message::AuthReply(r) if r.request == request => match &r.result {
                AuthResult::Granted(g) if g.prefix == *name => Some(None),
                AuthResult::Refused(o) if o.prefix == *name => Some(o.refusal),
                _ => None,
            },
            _ => None,
        };
        let what = format!("{spa}'s answer about {name} of {pod}");
        let seen =
            testbed.wait_frame(&what, from, testbed.t_conv(), |s| s.is_sent_by(spa, sg) && answer(s).is_some()).await?;
        answers.insert(name.to_string(), answer(&seen).flatten());
    }
    Ok(answers)
}

async fn licence_matrix(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let services = testbed.topology.nodes().values().flat_map(|n| &n.services);
    let pools: BTreeSet<&Name> = services.clone().filter_map(|s| s.pool.as_ref()).collect();
    let all: Vec<&Name> = services.map(|s| &s.prefix).collect();
    let (mut cells, mut refused) = (0, 0);
    for pod in testbed.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty()).take(4) {
        let sg = testbed.sg_of(pod.id.as_str())?;
        let spa = testbed.spa_of(&sg)?;
        let none = BTreeSet::new();
        let licences = testbed.topology.licences().get(&pod.id).unwrap_or(&none);
        let own = &pod.services[0].prefix;
        let mut names: BTreeSet<Name> = BTreeSet::new();
        names.insert(own.clone());
        names.insert(parse(&format!("{own}/below/it"))?);
        names.insert(parse(&format!("{own}beside"))?);
        names.extend(own.parent().filter(|p| p.depth() > 0));
        names.extend(all.iter().find(|n| !licences.contains(**n)).map(|n| (*n).clone()));
        names.insert(parse(&format!("/damc/{}/{sg}", testbed.topology.domain()))?);
        let names: Vec<Name> = names.into_iter().collect();
        let covers = |l: &Name, name: &Name| l.is_prefix_of(name) && !pools.contains(l);
        let expected: BTreeMap<String, Option<RefusalReason>> = names
            .iter()
            .map(|name| {
                let refusal = if name.is_reserved() {
                    Some(RefusalReason::BadPrefix)
                } else if licences.iter().any(|l| covers(l, name)) {
                    None
                } else {
                    Some(RefusalReason::NotLicensed)
                };
                (name.to_string(), refusal)
            })
            .collect();
        let answers = ask(testbed, (&sg, &spa), pod.id.as_str(), &names).await?;
        cells += names.len();
        refused += expected.values().flatten().count();
        findings.check_eq(&answers, &expected, format!("{spa} decides on names of {} as its licences say", pod.id));
    }
    if cells == 0 {
        return Err(Stop::NotApplicable("no pod with a service".into()));
    }
    findings.check(true, format!("{cells} decisions, {refused} of them refusals"));
    Ok(())
}

async fn explicit_refusal(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    let name = testbed.fresh_name(&pod);
    let wanted = parse(&name)?;
    let from = testbed.now_ns();
    testbed.start_unlicensed(&pod, &name, None).await?;
    let told = wait_told(testbed, &sg, &pod, &name, from).await?;
    findings.check_eq(&told, &Some(RefusalReason::NotLicensed), "the pod is told why");
    let frames = testbed.frames(from).await?;
    let asked = frames.iter().find(|s| s.is_sent_by(&sg, &spa) && s.message_type() == MessageType::AuthRequest);
    let refusal = frames.iter().find(|s| {
        let refused = |r: &AuthResult| {
            matches!(r, AuthResult::Refused(o) if o.prefix == wanted && o.refusal == Some(RefusalReason::NotLicensed))
        };
        s.is_sent_by(&spa, &sg) && matches!(s.message(), Message::AuthReply(r) if refused(&r.result))
    });
    findings.check_saw(
        refusal.is_some(),
        format!("{spa} itself sends a negative answer with the reason"),
        if refusal.is_some() { "one" } else { "none" },
    );
    if let (Some(asked), Some(refusal)) = (asked, refusal) {
        let took = Duration::from_nanos(refusal.at_ns.saturating_sub(asked.at_ns));
        findings.figure("question to refusal", took.as_secs_f64() * 1e3, "ms");
        let timer = Duration::from_millis(testbed.timers.auth_timeout_ms);
        findings.within(took, timer, "the refusal comes before the timer for answers ends");
    }
    testbed.stop_service(&pod, &name).await
}

async fn refused_pod(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let (_, target, _) = testbed.far_pair().await?;
    let name = testbed.fresh_name(&pod);
    let from = testbed.now_ns();
    testbed.start_unlicensed(&pod, &name, None).await?;
    testbed.wait_announcement(&sg, &name, AnnouncementState::Refused, testbed.t_conv()).await?;
    let before = testbed.dropped(&sg, DropReason::SourceNotAuthorised).await?;
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(100), context: None };
    let correlation = 0xa040_0000 + testbed.unique();
    let data = Data { correlation, kind, payload: b"let me in".to_vec(), hops: Vec::new() };
    let frame = Frame::plain(parse(&target)?, parse(&name)?, 1, Message::Data(data));
    let pdu = frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    testbed.inject_routed(&pod, &sg, vec![pdu]).await?;
    testbed.wait_dropped(&sg, DropReason::SourceNotAuthorised, before, 1).await?;
    findings.check(true, format!("{sg} drops and counts the data frame that {pod} sends from {name}"));
    let went = |s: &&Seen| s.sent && s.node != pod && is_data(s, correlation);
    let frames = testbed.frames(from).await?;
    findings.none(&frames.iter().filter(went).count(), "no node passes that frame on");
    findings.none(&testbed.advertised(&name, from).await?, format!("no LSA advertises {name}"));
    findings.none(&testbed.known_at(&name).await?, format!("no SG or SR has {name} in LSDB or FIB"));
    testbed.stop_service(&pod, &name).await
}

fn is_data(s: &Seen, correlation: u64) -> bool {
    matches!(s.message(), Message::Data(d) if d.correlation == correlation)
}

async fn answer_leads_to_lsa(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    let srs = testbed.beside(&sg, Role::Sr)?;
    let from = testbed.now_ns();
    let names = testbed.register_behind(&sg, 8).await?;
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    let frames = testbed.frames(from).await?;
    let (mut took, mut shares) = (Vec::new(), Vec::new());
    for name in &names {
        let name = parse(name)?;
        let announces = |s: &&Seen| {
            let Message::Announce(announce) = s.message() else { return false };
            s.node == sg && s.port == pod && !s.sent && announce.add.iter().any(|entry| entry.prefix == name)
        };
        let Some(announced) = frames.iter().find(announces) else {
            findings.check_saw(false, format!("the announcement of {name} is recorded"), "none");
            continue;
        };
        let granted = |r: &AuthResult| matches!(r, AuthResult::Granted(g) if g.prefix == name);
        let answered = frames.iter().find(|s| {
            s.node == sg
                && s.port == spa
                && !s.sent
                && matches!(s.message(), Message::AuthReply(r) if granted(&r.result))
        });
        let Some(answered) = answered else {
            findings.check_saw(false, format!("the positive answer about {name} is recorded"), "none");
            continue;
        };
        for sr in &srs {
            let lsa = frames.iter().find(|s| s.is_sent_by(&sg, sr) && lsas_in(s).iter().any(|l| advertises(l, &name)));
            match lsa {
                Some(lsa) => {
                    let step = Duration::from_nanos(lsa.at_ns.saturating_sub(answered.at_ns));
                    let whole = Duration::from_nanos(lsa.at_ns.saturating_sub(announced.at_ns).max(1));
                    took.push(step);
                    shares.push(step.div_duration_f64(whole));
                }
                None => findings.check_saw(false, format!("{sg} sends the LSA of {name} to {sr}"), "none"),
            }
        }
    }
    took.sort_unstable();
    if let (Some(half), Some(worst)) = (took.get(took.len() / 2), took.last()) {
        findings.figure("positive answer to LSA on an SR link, median", half.as_secs_f64() * 1e3, "ms");
        findings.figure("positive answer to LSA on an SR link, worst", worst.as_secs_f64() * 1e3, "ms");
    }
    shares.sort_unstable_by(f64::total_cmp);
    if let Some(half) = shares.get(shares.len() / 2) {
        let what = format!("{pod}: median share of the step from answer to LSA in the whole registration");
        findings.bound(*half, ANSWER_TO_LSA, "of it", shares.len(), what);
    }
    testbed.unregister(&names).await
}

async fn only_the_gateway_asks(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    class_3_stays(testbed, findings).await?;
    // A pod itself asks the SPA, with class 3 on its own link.
    let (pod_id, _) = testbed.role(&pod)?;
    let (sg_id, _) = testbed.role(&sg)?;
    let keys = testbed.forge.keys(&pod_id, Role::Pod);
    let entry = AnnounceEntry { prefix: parse(&testbed.fresh_name(&pod))?, pool: None, weight: 1 };
    let request = 0xa060_0000_0000_0000 | testbed.unique();
    let announce = keys.sign_announce(request, (sg_id, 1), vec![entry], Vec::new());
    let question = AuthRequest { request, certificate: keys.certificate().clone(), announce };
    let before = testbed.dropped(&sg, DropReason::WrongRole).await?;
    let from = testbed.now_ns();
    testbed.inject_as(&pod, &sg, Message::AuthRequest(question)).await?;
    testbed.wait_dropped(&sg, DropReason::WrongRole, before, 1).await?;
    let passed = |s: &Seen| s.node == spa && matches!(s.message(), Message::AuthRequest(r) if r.request == request);
    let frames = testbed.frames(from).await?;
    let seen = frames.iter().filter(|s| passed(s)).count();
    findings.never(
        seen == 0,
        format!("{spa} never sees {pod}'s own request, which {sg} drops and counts"),
        format!("{seen} such requests at {spa}"),
    );
    // By name: no node has a route to an SPA.
    let reply = testbed.call(&pod, &format!("/damc/{}/{spa}", testbed.topology.domain()), "echo", &["x"]).await?;
    findings.check_eq(&reply.error.as_deref(), &Some("no-route"), format!("{pod} cannot reach {spa} by name"));
    spas_agree(testbed, findings, &pod).await
}

/// In the whole recording, class 3 crossed only links between SG and SPA.
async fn class_3_stays(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (mut there, mut elsewhere) = (0, BTreeSet::new());
    for s in testbed.history(|t| t.class() == Some(Class::Authentication)).await? {
        let roles = (testbed.role(&s.node)?.1, testbed.role(&s.port)?.1);
        // The suite itself injects class 3 at a pod's port, so frames of pods do not count.
        if matches!(roles, (Role::Sg, Role::Spa) | (Role::Spa, Role::Sg)) {
            there += 1;
        } else if s.sent && roles.0 != Role::Pod {
            elsewhere.insert(format!("{} to {}: {}", s.node, s.port, s.message_type()));
        }
    }
    findings.check_saw(there > 0, "class 3 crosses links between SGs and SPAs", format!("{there} frames"));
    findings.never(elsewhere.is_empty(), "no SG, SR, SPA or SCSC sends class 3 elsewhere", format!("{elsewhere:?}"));
    Ok(())
}

/// Two SPAs with the same licence give the same answers.
async fn spas_agree(testbed: &Testbed, findings: &mut Findings, pod: &str) -> Result<(), Stop> {
    let name = testbed.fresh_name(pod);
    let names = [parse(&name)?, parse(&format!("{name}/below"))?, parse(&format!("{name}x"))?];
    let (pod_id, _) = testbed.role(pod)?;
    let mut answers = Vec::new();
    for sg in testbed.of_kind(&[Role::Sg]).into_iter().take(2) {
        let spa = testbed.spa_of(&sg)?;
        let licence = |add: bool| {
            let (pod, prefix) = (pod_id.clone(), names[0].clone());
            if add { Command::AddLicence { pod, prefix } } else { Command::RevokeLicence { pod, prefix } }
        };
        testbed.order(&spa, &licence(true)).await?;
        answers.push((spa.clone(), ask(testbed, (&sg, &spa), pod, &names).await?));
        testbed.order(&spa, &licence(false)).await?;
    }
    if let [(a, first), (b, second)] = answers.as_slice() {
        findings.check_eq(first, second, format!("{a} and {b} answer alike from the same licence"));
    }
    Ok(())
}

async fn lost_spa(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    let approved = testbed.service_of(&pod)?;
    let other = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| testbed.sg_of(p).is_ok_and(|o| o != sg));
    let other = other.ok_or_else(|| Stop::NotApplicable("no pod on another SG".into()))?;
    // A name below a configured service: its licence is in the SPA's configuration and survives a restart.
    let (name, elsewhere) = (format!("{approved}/late-{}", testbed.unique()), testbed.fresh_name(&other));
    testbed.lab.node(&spa, NodeAction::Kill).await?;
    let from = testbed.now_ns();
    testbed.start_unlicensed(&pod, &name, None).await?;
    testbed.register(&other, &elsewhere).await?;
    testbed.wait_everywhere(std::slice::from_ref(&elsewhere), testbed.t_conv()).await?;
    findings.check(true, format!("with {spa} dead, {other} still registers {elsewhere}"));
    let reply = testbed.call(&other, &approved, "echo", &["on"]).await?;
    findings.check_saw(
        reply.error.is_none(),
        format!("{approved}, approved before, is still served"),
        format!("error {:?}", reply.error),
    );
    let told = wait_told(testbed, &sg, &pod, &name, from).await?;
    findings.check_eq(&told, &Some(RefusalReason::SpaUnreachable), format!("{pod} is told that no SPA answered"));
    findings.none(&testbed.known_at(&name).await?, format!("no SG or SR knows {name}"));
    testbed.lab.node(&spa, NodeAction::Start).await?;
    testbed.wait_announcement(&pod, &name, AnnouncementState::Accepted, testbed.t_conv()).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    findings.check(true, format!("with {spa} back, {name} appears everywhere"));
    testbed.stop_service(&pod, &name).await?;
    testbed.wait_nowhere(&[name], testbed.t_conv()).await?;
    testbed.unregister(&[elsewhere]).await
}
