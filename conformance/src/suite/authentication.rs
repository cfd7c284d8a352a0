//! Section D: prefix authentication. Which pod may have which name, who decides it, and what follows from a refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_lab::control::NodeAction;
use damc_mgmt::command::Command;
use damc_mgmt::words::AnnouncementState;
use damc_wire::lsa::{LsaContent, LsaId, LsaKey, PrefixLsa, Proof};
use damc_wire::message::{AnnounceEntry, AuthRequest, AuthResult, Data, DataKind};
use damc_wire::security::Grant;
use damc_wire::{Class, DropReason, Frame, Message, MessageType, Millis, Name, RefusalReason, Role};

use crate::bench::Bench;
use crate::bench::witness::{advertises, lsas_in, parse};
use crate::case::{Case, Findings, Impact, Stop, Suite};

const LIMIT: Duration = Duration::from_secs(30);
/// Bound of AUT-05 on the median time from the positive answer to the LSA on an SR link.
const ANSWER_TO_LSA: Duration = Duration::from_millis(5);

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

async fn order_of_events(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    let name = bench.fresh_name(&pod);
    let wanted = parse(&name)?;
    let from = bench.now_ns();
    bench.register(&pod, &name).await?;
    bench.wait_everywhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    let frames = bench.frames(from).await?;
    let first = |what: &str, pick: &dyn Fn(&crate::trace::Seen) -> bool| {
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
    bench.unregister(&[name]).await
}

fn has(entries: &[AnnounceEntry], name: &Name) -> bool {
    entries.iter().any(|e| e.prefix == *name)
}

async fn blackhole(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    let name = bench.fresh_name(&pod);
    bench.licence(&pod, &name).await?;
    let from = bench.now_ns();
    bench.cut(&sg, &spa).await?;
    bench.start_unlicensed(&pod, &name, None).await?;
    let told = wait_told(bench, &sg, &pod, &name, from).await?;
    findings.check_eq(&told, &Some(RefusalReason::SpaUnreachable), "the pod is told that no SPA answered");
    findings.check_eq(&bench.advertised(&name, from).await?, &0, format!("no LSA advertises {name}"));
    findings.check_eq(&bench.known_at(&name).await?, &Vec::new(), format!("no SG or SR has {name} in LSDB or FIB"));
    bench.mend(&sg, &spa).await?;
    bench.wait_everywhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    findings.check(true, "once the link is back, the SG asks again by itself and the prefix appears everywhere");
    bench.unregister(&[name]).await
}

/// Waits for the SG's answer about `name` to the pod; returns the refusal, or `None` where it was accepted.
async fn wait_told(bench: &Bench, sg: &str, pod: &str, name: &str, from: u64) -> Result<Option<RefusalReason>, Stop> {
    let wanted = parse(name)?;
    let within = bench.t_conv() + Duration::from_millis(bench.pace.auth_timeout_ms);
    let what = format!("{sg}'s answer to {pod} about {name}");
    let outcome = |s: &crate::trace::Seen| match s.message() {
        Message::AnnounceReply(r) => r.outcomes.iter().find(|o| o.prefix == wanted).map(|o| o.refusal),
        _ => None,
    };
    let seen = bench.wait_frame(&what, from, within, |s| s.is_sent_by(sg, pod) && outcome(s).is_some()).await?;
    Ok(outcome(&seen).flatten())
}

/// The SPA's answers, by name, to an announcement of `pod` that `sg` passes on. The suite forges the request, with the
/// SG's hop MAC and the pod's signature.
async fn ask(
    bench: &Bench,
    (sg, spa): (&str, &str),
    pod: &str,
    names: &[Name],
) -> Result<BTreeMap<String, Option<RefusalReason>>, Stop> {
    let ((sg_id, _), (pod_id, _)) = (bench.role(sg)?, bench.role(pod)?);
    let request = 0xa000_0000_0000_0000 | bench.unique();
    let keys = bench.forge.keys(&pod_id, Role::Pod);
    let entry = |prefix: &Name| AnnounceEntry { prefix: prefix.clone(), pool: None, weight: 1 };
    let announce = keys.sign_announce(request, (sg_id, 1), names.iter().map(entry).collect(), Vec::new());
    let question = AuthRequest { request, certificate: keys.certificate().clone(), announce };
    let from = bench.now_ns();
    bench.inject_as(sg, spa, Message::AuthRequest(question)).await?;
    let mut answers = BTreeMap::new();
    for name in names {
        let answer = |s: &crate::trace::Seen| match s.message() {
            Message::AuthReply(r) if r.request == request => match &r.result {
                AuthResult::Granted(g) if g.prefix == *name => Some(None),
                AuthResult::Refused(o) if o.prefix == *name => Some(o.refusal),
                _ => None,
            },
            _ => None,
        };
        let what = format!("{spa}'s answer about {name} of {pod}");
        let seen =
            bench.wait_frame(&what, from, bench.t_conv(), |s| s.is_sent_by(spa, sg) && answer(s).is_some()).await?;
        answers.insert(name.to_string(), answer(&seen).flatten());
    }
    Ok(answers)
}

async fn licence_matrix(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let services = bench.topology.nodes().values().flat_map(|n| &n.services);
    let pools: BTreeSet<&Name> = services.clone().filter_map(|s| s.pool.as_ref()).collect();
    let all: Vec<&Name> = services.map(|s| &s.prefix).collect();
    let (mut cells, mut refused) = (0, 0);
    for pod in bench.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty()).take(4) {
        let sg = bench.sg_of(pod.id.as_str())?;
        let spa = bench.spa_of(&sg)?;
        let none = BTreeSet::new();
        let licences = bench.topology.licences().get(&pod.id).unwrap_or(&none);
        let own = &pod.services[0].prefix;
        let mut names: BTreeSet<Name> = BTreeSet::new();
        names.insert(own.clone());
        names.insert(parse(&format!("{own}/below/it"))?);
        names.insert(parse(&format!("{own}beside"))?);
        names.extend(own.parent().filter(|p| p.depth() > 0));
        names.extend(all.iter().find(|n| !licences.contains(**n)).map(|n| (*n).clone()));
        names.insert(parse(&format!("/damc/{}/{sg}", bench.topology.domain()))?);
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
        let answers = ask(bench, (&sg, &spa), pod.id.as_str(), &names).await?;
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

async fn explicit_refusal(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    let name = bench.fresh_name(&pod);
    let wanted = parse(&name)?;
    let from = bench.now_ns();
    bench.start_unlicensed(&pod, &name, None).await?;
    let told = wait_told(bench, &sg, &pod, &name, from).await?;
    findings.check_eq(&told, &Some(RefusalReason::NotLicensed), "the pod is told why");
    let frames = bench.frames(from).await?;
    let asked = frames.iter().find(|s| s.is_sent_by(&sg, &spa) && s.message_type() == MessageType::AuthRequest);
    let refusal = frames.iter().find(|s| {
        let refused = |r: &AuthResult| {
            matches!(r, AuthResult::Refused(o) if o.prefix == wanted && o.refusal == Some(RefusalReason::NotLicensed))
        };
        s.is_sent_by(&spa, &sg) && matches!(s.message(), Message::AuthReply(r) if refused(&r.result))
    });
    findings.check(refusal.is_some(), format!("{spa} itself sends a negative answer with the reason"));
    if let (Some(asked), Some(refusal)) = (asked, refusal) {
        let took = Duration::from_nanos(refusal.at_ns.saturating_sub(asked.at_ns));
        findings.figure("question to refusal", took.as_secs_f64() * 1e3, "ms");
        let timer = Duration::from_millis(bench.pace.auth_timeout_ms);
        findings.check_saw(
            took < timer,
            format!("the refusal comes before the timer of {} ms", timer.as_millis()),
            format!("{} µs", took.as_micros()),
        );
    }
    bench.stop_service(&pod, &name).await
}

async fn refused_pod(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let (_, target, _) = bench.far_pair().await?;
    let name = bench.fresh_name(&pod);
    let from = bench.now_ns();
    bench.start_unlicensed(&pod, &name, None).await?;
    bench.wait_announcement(&sg, &name, AnnouncementState::Refused, bench.t_conv()).await?;
    let before = bench.dropped(&sg, DropReason::SourceNotAuthorised).await?;
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(100) };
    let correlation = 0xa040_0000 + bench.unique();
    let data = Data { correlation, kind, payload: b"let me in".to_vec(), hops: Vec::new() };
    let frame = Frame::plain(parse(&target)?, parse(&name)?, 1, Message::Data(data));
    let pdu = frame.encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    bench.lab.inject(&pod, &sg, &pdu).await?;
    bench.wait_dropped(&sg, DropReason::SourceNotAuthorised, before, 1).await?;
    findings.check(true, format!("{sg} drops and counts the data frame that {pod} sends from {name}"));
    let went = |s: &&crate::trace::Seen| s.sent && s.node != pod && is_data(s, correlation);
    let frames = bench.frames(from).await?;
    findings.check_eq(&frames.iter().filter(went).count(), &0, "no node passes that frame on");
    findings.check_eq(&bench.advertised(&name, from).await?, &0, format!("no LSA advertises {name}"));
    findings.check_eq(&bench.known_at(&name).await?, &Vec::new(), format!("no SG or SR has {name} in LSDB or FIB"));
    bench.stop_service(&pod, &name).await
}

fn is_data(s: &crate::trace::Seen, correlation: u64) -> bool {
    matches!(s.message(), Message::Data(d) if d.correlation == correlation)
}

async fn answer_leads_to_lsa(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    let srs = bench.beside(&sg, Role::Sr)?;
    let from = bench.now_ns();
    let names = bench.register_behind(&sg, 8).await?;
    bench.wait_everywhere(&names, bench.t_conv()).await?;
    let frames = bench.frames(from).await?;
    let mut took = Vec::new();
    for name in &names {
        let name = parse(name)?;
        let granted = |r: &AuthResult| matches!(r, AuthResult::Granted(g) if g.prefix == name);
        let answered = frames.iter().find(|s| {
            s.node == sg
                && s.port == spa
                && !s.sent
                && matches!(s.message(), Message::AuthReply(r) if granted(&r.result))
        });
        let Some(answered) = answered else {
            findings.check(false, format!("the positive answer about {name} is recorded"));
            continue;
        };
        for sr in &srs {
            let lsa = frames.iter().find(|s| s.is_sent_by(&sg, sr) && lsas_in(s).iter().any(|l| advertises(l, &name)));
            match lsa {
                Some(lsa) => took.push(Duration::from_nanos(lsa.at_ns.saturating_sub(answered.at_ns))),
                None => findings.check(false, format!("{sg} sends the LSA of {name} to {sr}")),
            }
        }
    }
    took.sort_unstable();
    if let (Some(half), Some(worst)) = (took.get(took.len() / 2), took.last()) {
        findings.figure("positive answer to LSA on an SR link, median", half.as_secs_f64() * 1e3, "ms");
        findings.figure("positive answer to LSA on an SR link, worst", worst.as_secs_f64() * 1e3, "ms");
        findings.check_saw(
            *half < bench.host.stretched(ANSWER_TO_LSA),
            format!(
                "{pod}: half of {} LSAs follow the answer within {:?}",
                took.len(),
                bench.host.stretched(ANSWER_TO_LSA)
            ),
            format!("median {half:?}"),
        );
    }
    bench.unregister(&names).await
}

async fn only_the_gateway_asks(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    class_3_stays(bench, findings).await?;
    // A pod itself asks the SPA, with class 3 on its own link.
    let (pod_id, _) = bench.role(&pod)?;
    let (sg_id, _) = bench.role(&sg)?;
    let keys = bench.forge.keys(&pod_id, Role::Pod);
    let entry = AnnounceEntry { prefix: parse(&bench.fresh_name(&pod))?, pool: None, weight: 1 };
    let request = 0xa060_0000_0000_0000 | bench.unique();
    let announce = keys.sign_announce(request, (sg_id, 1), vec![entry], Vec::new());
    let question = AuthRequest { request, certificate: keys.certificate().clone(), announce };
    let before = bench.dropped(&sg, DropReason::WrongRole).await?;
    let from = bench.now_ns();
    bench.inject_as(&pod, &sg, Message::AuthRequest(question)).await?;
    bench.wait_dropped(&sg, DropReason::WrongRole, before, 1).await?;
    let passed = |s: &crate::trace::Seen| {
        s.node == spa && matches!(s.message(), Message::AuthRequest(r) if r.request == request)
    };
    let frames = bench.frames(from).await?;
    findings.check(
        !frames.iter().any(passed),
        format!("{sg} drops and counts {pod}'s own request, and {spa} never sees it"),
    );
    // By name: no node has a route to an SPA.
    let reply = bench.call(&pod, &format!("/damc/{}/{spa}", bench.topology.domain()), "echo", &["x"]).await?;
    findings.check_eq(&reply.error.as_deref(), &Some("no-route"), format!("{pod} cannot reach {spa} by name"));
    spas_agree(bench, findings, &pod).await
}

/// In the whole recording, class 3 crossed only links between SG and SPA.
async fn class_3_stays(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (mut there, mut elsewhere) = (0, BTreeSet::new());
    for s in bench.history(|t| t.class() == Some(Class::Authentication)).await? {
        let roles = (bench.role(&s.node)?.1, bench.role(&s.port)?.1);
        // The suite itself injects class 3 at a pod's port, so frames of pods do not count.
        if matches!(roles, (Role::Sg, Role::Spa) | (Role::Spa, Role::Sg)) {
            there += 1;
        } else if s.sent && roles.0 != Role::Pod {
            elsewhere.insert(format!("{} to {}: {}", s.node, s.port, s.message_type()));
        }
    }
    findings.check_saw(there > 0, "class 3 crosses links between SGs and SPAs", format!("{there} frames"));
    findings.check_saw(
        elsewhere.is_empty(),
        "no SG, SR, SPA or SCSC sends class 3 elsewhere",
        format!("{elsewhere:?}"),
    );
    Ok(())
}

/// Two SPAs with the same licence give the same answers.
async fn spas_agree(bench: &Bench, findings: &mut Findings, pod: &str) -> Result<(), Stop> {
    let name = bench.fresh_name(pod);
    let names = [parse(&name)?, parse(&format!("{name}/below"))?, parse(&format!("{name}x"))?];
    let (pod_id, _) = bench.role(pod)?;
    let mut answers = Vec::new();
    for sg in bench.of_kind(&[Role::Sg]).into_iter().take(2) {
        let spa = bench.spa_of(&sg)?;
        let licence = |add: bool| {
            let (pod, prefix) = (pod_id.clone(), names[0].clone());
            if add { Command::AddLicence { pod, prefix } } else { Command::RevokeLicence { pod, prefix } }
        };
        bench.order(&spa, &licence(true)).await?;
        answers.push((spa.clone(), ask(bench, (&sg, &spa), pod, &names).await?));
        bench.order(&spa, &licence(false)).await?;
    }
    if let [(a, first), (b, second)] = answers.as_slice() {
        findings.check_eq(first, second, format!("{a} and {b} answer alike from the same licence"));
    }
    Ok(())
}

async fn stolen_announcement(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let thief = bench.of_kind(&[Role::Pod]).into_iter().find(|p| bench.sg_of(p).is_ok_and(|other| other != sg));
    let thief = thief.ok_or_else(|| Stop::NotApplicable("no pod on another SG".into()))?;
    let other = bench.sg_of(&thief)?;
    let name = bench.fresh_name(&pod);
    let wanted = parse(&name)?;
    let from = bench.now_ns();
    bench.register(&pod, &name).await?;
    bench.wait_everywhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    let own_words = |s: &crate::trace::Seen| {
        s.is_sent_by(&pod, &sg) && matches!(s.message(), Message::Announce(a) if has(&a.add, &wanted))
    };
    let recorded = bench.wait_frame("the announcement", from, bench.t_conv(), own_words).await?;

    let before = bench.dropped(&other, DropReason::BadMac).await?;
    bench.lab.inject(&thief, &other, &recorded.pdu).await?;
    bench.wait_dropped(&other, DropReason::BadMac, before, 1).await?;
    findings.check(true, format!("{thief} replays {pod}'s frame byte for byte: {other} drops it for its MAC"));

    let before = bench.dropped(&other, DropReason::NotAuthorised).await?;
    bench.inject_as(&thief, &other, recorded.message().clone()).await?;
    bench.wait_dropped(&other, DropReason::NotAuthorised, before, 1).await?;
    let told = wait_told(bench, &other, &thief, &name, from).await?;
    findings.check_eq(
        &told,
        &Some(RefusalReason::BadIdentity),
        format!("{other} refuses the announcement under {thief}'s own MAC"),
    );

    let before = bench.dropped(&sg, DropReason::Replayed).await?;
    bench.lab.inject(&pod, &sg, &recorded.pdu).await?;
    bench.wait_dropped(&sg, DropReason::Replayed, before, 1).await?;
    findings.check(true, format!("replayed on {pod}'s own link: {sg} drops it as already seen"));

    let (other_id, _) = bench.role(&other)?;
    let frames = bench.frames(from).await?;
    let stolen = frames.iter().flat_map(lsas_in).filter(|l| l.key.origin == other_id && advertises(l, &wanted)).count();
    findings.check_eq(&stolen, &0, format!("{other} never advertises {name}"));
    bench.unregister(&[name]).await
}

async fn false_answers(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    let name = bench.fresh_name(&pod);
    let wanted = parse(&name)?;
    let begin = bench.now_ns();
    bench.register(&pod, &name).await?;
    bench.wait_everywhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    let granted = |s: &crate::trace::Seen| {
        let fits = |r: &AuthResult| matches!(r, AuthResult::Granted(g) if g.prefix == wanted);
        s.is_sent_by(&spa, &sg) && matches!(s.message(), Message::AuthReply(r) if fits(&r.result))
    };
    let answer = bench.wait_frame("the positive answer", begin, bench.t_conv(), granted).await?;
    bench.revoke_licence(&pod, &name).await?;
    bench.wait_nowhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    findings.check(true, format!("the licence is revoked: {name} leaves every FIB"));
    let from = bench.now_ns();
    let mut flipped = answer.pdu.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let unsigned =
        Frame::hop_local(answer.message().clone()).encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let stranger = damc_wire::frame::seal(unsigned.clone(), u64::MAX / 2, |_| [0x5a; 16]);
    let throws: [(&str, Vec<u8>, &[DropReason]); 4] = [
        ("the old answer, byte for byte", answer.pdu.clone(), &[DropReason::Replayed]),
        // A flipped bit may damage a length or a name, which is found before the MAC is checked.
        ("with one bit flipped", flipped, &[DropReason::BadMac, DropReason::Malformed, DropReason::BadName]),
        ("without a MAC", unsigned, &[DropReason::MissingMac]),
        ("under a stranger's MAC", stranger, &[DropReason::BadMac]),
    ];
    for (what, pdu, reasons) in throws {
        let before = sum(bench, &sg, reasons).await?;
        bench.lab.inject(&spa, &sg, &pdu).await?;
        let reasons_text = reasons.iter().map(|r| r.label()).collect::<Vec<_>>().join(" or ");
        bench
            .wait(&format!("{sg} drops {what}"), bench.t_conv(), || async {
                let now = sum(bench, &sg, reasons).await?;
                Ok(if now > before { Ok(()) } else { Err(format!("not counted as {reasons_text}")) })
            })
            .await?;
        findings.check(true, format!("{what}: dropped as {reasons_text}"));
    }
    let before = bench.dropped(&sg, DropReason::Unsolicited).await?;
    bench.inject_as(&spa, &sg, answer.message().clone()).await?;
    bench.wait_dropped(&sg, DropReason::Unsolicited, before, 1).await?;
    findings.check(true, "an answer in the SPA's own name, long after the request, is dropped as unsolicited");
    findings.check_eq(&bench.advertised(&name, from).await?, &0, format!("no LSA advertises {name} again"));
    findings.check_eq(&bench.known_at(&name).await?, &Vec::new(), format!("no SG or SR knows {name}"));
    bench.stop_service(&pod, &name).await
}

async fn sum(bench: &Bench, node: &str, reasons: &[DropReason]) -> Result<u64, damc_lab::LabError> {
    let counters = bench.lab.counters(node).await?;
    Ok(reasons.iter().map(|r| counters.dropped.get(*r)).sum())
}

async fn rogue_gateway(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let ((sg_id, _), (pod_id, _)) = (bench.role(&sg)?, bench.role(&pod)?);
    let sr = bench.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let honest = bench.service_of(&pod)?;
    let grants = grants_of(bench, &honest).await?;
    let own = grants.iter().find(|g| g.sg == sg_id).cloned();
    let own = own.ok_or_else(|| Stop::Inconclusive(format!("no grant for {honest} was recorded")))?;
    let foreign = foreign_grant(bench, &sg_id).await?;
    let name = parse(&bench.fresh_name(&pod))?;
    let keys = bench.forge.keys(&sg_id, Role::Sg);
    let forged = Grant { prefix: name.clone(), ..own.clone() };
    let mut tries: Vec<(&str, Name, Grant, DropReason)> = vec![
        ("the grant of another prefix", name.clone(), own, DropReason::NotAuthorised),
        ("a grant altered to its prefix", name.clone(), forged.clone(), DropReason::BadSignature),
        ("a grant it signed itself", name.clone(), keys.sign_grant(forged), DropReason::WrongRole),
    ];
    if let Some(foreign) = foreign {
        tries.push(("a genuine grant of another SG", foreign.prefix.clone(), foreign, DropReason::NotAuthorised));
    }
    let from = bench.now_ns();
    for (what, prefix, grant, reason) in &tries {
        let key = LsaKey { origin: sg_id.clone(), id: LsaId::Prefix(prefix.clone(), pod_id.clone()) };
        let content =
            PrefixLsa { metric: 0, weight: 1, exact: grant.exact, instance: None, proof: Proof::Grant(grant.clone()) };
        let lsa = keys.sign_lsa(key, 1 << 32, Millis(60_000), LsaContent::Prefix(content));
        let before = bench.dropped(&sr, *reason).await?;
        bench.inject_as(&sg, &sr, Message::LsUpdate(vec![lsa.clone()])).await?;
        bench.wait_dropped(&sr, *reason, before, 1).await?;
        findings.check(true, format!("{sr} refuses {sg}'s LSA of {prefix} with {what}: {reason}"));
        let spread = bench.frames(from).await?;
        let spread = spread.iter().filter(|s| s.sent && s.node != sg && lsas_in(s).iter().any(|l| l == &lsa)).count();
        findings.check_eq(&spread, &0, format!("no node but {sg} spreads it"));
        for node in bench.routers() {
            let lsdb = bench.lab.lsdb(&node).await?;
            let held = lsdb.lsas.iter().any(|l| l.origin == sg && l.id == prefix.to_string() && !l.purged);
            if held {
                findings.check_saw(
                    false,
                    format!("no node installs {sg}'s LSA of {prefix}"),
                    format!("{node} holds it"),
                );
            }
        }
    }
    let fibs = bench.fibs().await?;
    let kept = fibs.values().filter(|fib| fib.entries.iter().any(|e| e.prefix == honest)).count();
    findings.check_eq(&kept, &fibs.len(), format!("{sg}'s honest prefix {honest} stays at every node"));
    Ok(())
}

/// The grants for a name in recorded LSAs.
async fn grants_of(bench: &Bench, name: &str) -> Result<Vec<Grant>, Stop> {
    let name = parse(name)?;
    let frames = bench.history(|t| t == MessageType::LsUpdate).await?;
    let lsas = frames.iter().flat_map(lsas_in).filter(|l| advertises(l, &name));
    Ok(lsas.filter_map(grant_in).collect())
}

fn grant_in(lsa: &damc_wire::lsa::Lsa) -> Option<Grant> {
    match &lsa.content {
        LsaContent::Prefix(PrefixLsa { proof: Proof::Grant(grant), .. }) => Some(grant.clone()),
        _ => None,
    }
}

/// A grant for another SG than this one, from a recorded LSA.
async fn foreign_grant(bench: &Bench, not: &damc_wire::NodeId) -> Result<Option<Grant>, Stop> {
    let frames = bench.history(|t| t == MessageType::LsUpdate).await?;
    Ok(frames.iter().flat_map(lsas_in).filter_map(grant_in).find(|g| g.sg != *not && !g.exact))
}

async fn lost_spa(bench: &Bench, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = bench.sg_with_pod()?;
    let spa = bench.spa_of(&sg)?;
    let approved = bench.service_of(&pod)?;
    let other = bench.of_kind(&[Role::Pod]).into_iter().find(|p| bench.sg_of(p).is_ok_and(|o| o != sg));
    let other = other.ok_or_else(|| Stop::NotApplicable("no pod on another SG".into()))?;
    // A name below a configured service: its licence is in the SPA's configuration and survives a restart.
    let (name, elsewhere) = (format!("{approved}/late-{}", bench.unique()), bench.fresh_name(&other));
    bench.lab.node(&spa, NodeAction::Kill).await?;
    let from = bench.now_ns();
    bench.start_unlicensed(&pod, &name, None).await?;
    bench.register(&other, &elsewhere).await?;
    bench.wait_everywhere(std::slice::from_ref(&elsewhere), bench.t_conv()).await?;
    findings.check(true, format!("with {spa} dead, {other} still registers {elsewhere}"));
    let reply = bench.call(&other, &approved, "echo", &["on"]).await?;
    findings.check_saw(
        reply.error.is_none(),
        format!("{approved}, approved before, is still served"),
        format!("error {:?}", reply.error),
    );
    let told = wait_told(bench, &sg, &pod, &name, from).await?;
    findings.check_eq(&told, &Some(RefusalReason::SpaUnreachable), format!("{pod} is told that no SPA answered"));
    findings.check_eq(&bench.known_at(&name).await?, &Vec::new(), format!("no SG or SR knows {name}"));
    bench.lab.node(&spa, NodeAction::Start).await?;
    bench.wait_announcement(&pod, &name, AnnouncementState::Accepted, bench.t_conv()).await?;
    bench.wait_everywhere(std::slice::from_ref(&name), bench.t_conv()).await?;
    findings.check(true, format!("with {spa} back, {name} appears everywhere"));
    bench.stop_service(&pod, &name).await?;
    bench.wait_nowhere(&[name], bench.t_conv()).await?;
    bench.unregister(&[elsewhere]).await
}
