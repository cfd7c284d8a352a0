//! Section C: registration. What pods announce, which nodes learn of it, and how long that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::event::EventKind;
use damc_mgmt::words::AnnouncementState;
use damc_wire::lsa::LsaContent;
use damc_wire::{Class, Message, MessageType, Name, RefusalReason, Role};

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::{advertises, lsas_in, parse};
use crate::trace::Seen;

const LIMIT: Duration = Duration::from_secs(30);
/// Number of registrations that the figures are taken from on a host that is not slow.
const TIMED: u64 = 200;
/// Number of registrations that are under way at once while they are timed.
const ROUND: u64 = 20;
/// Number of registrations after which events are read, because nodes remember a limited number of events.
const BATCH: u64 = 100;

/// Cases of section C.
pub const CASES: &[Case] = &[
    case!(
        "reg-01",
        "Pods announce their prefixes to their SG, and class 1 crosses no other links",
        ["REG-01"],
        Calm,
        class_1
    ),
    case!(
        "reg-02",
        "Each service announces and withdraws its own prefix alone",
        ["REG-02", "CON-09"],
        Guest,
        one_by_one
    ),
    case!("reg-03", "A prefix covers all names below it, component by component", ["REG-03"], Guest, namespace),
    case!(
        "reg-05",
        "The SG passes announcements on, unchanged, to nodes that never met the pod",
        ["REG-05"],
        Calm,
        proxy_registration
    ),
    case!("reg-06", "An instance name has one holder, a pool has many", ["REG-06"], Guest, identities),
    case!("reg-08", "Announcements alone make services known", ["REG-08"], Guest, discovery),
    case!(
        "reg-07-time",
        "Time until a registration and a withdrawal have reached every node",
        ["REG-07", "LSA-05", "GAP-06"],
        Guest,
        times
    ),
];

async fn class_1(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (mut elsewhere, mut announced, mut answered) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for s in testbed.history(|t| t.class() == Some(Class::Announcement)).await? {
        let roles = (testbed.role(&s.node)?.1, testbed.role(&s.port)?.1);
        if !matches!(roles, (Role::Pod, Role::Sg) | (Role::Sg, Role::Pod)) {
            elsewhere.insert((s.node.clone(), s.port.clone()));
        }
        match s.message() {
            Message::Announce(a) if s.sent => {
                let names = a.add.iter().map(|e| e.prefix.to_string());
                announced.entry(s.node.clone()).or_insert_with(BTreeSet::new).extend(names);
            }
            Message::AnnounceReply(r) if s.sent => {
                let accepted = r.outcomes.iter().filter(|o| o.refusal.is_none());
                answered.extend(accepted.map(|o| (s.port.clone(), o.prefix.to_string())));
            }
            _ => {}
        }
    }
    findings.never(
        elsewhere.is_empty(),
        "class 1 crosses only links between pod and SG",
        format!("elsewhere on {elsewhere:?}"),
    );
    let pods = testbed.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty());
    let mut count = 0;
    for pod in pods {
        let said = announced.get(pod.id.as_str()).cloned().unwrap_or_default();
        for service in &pod.services {
            let name = service.prefix.to_string();
            let both = said.contains(&name) && answered.contains(&(pod.id.to_string(), name.clone()));
            let what = format!("{} announces {name} and its SG accepts it", pod.id);
            findings.check_saw(both, what, format!("announced {said:?}, accepted of all pods {answered:?}"));
            count += 1;
        }
    }
    if count == 0 {
        return Err(Stop::NotApplicable("no pod with a service".into()));
    }
    Ok(())
}

async fn one_by_one(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let names = [testbed.fresh_name(&pod), testbed.fresh_name(&pod)];
    for name in &names {
        testbed.register(&pod, name).await?;
    }
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    for name in &names {
        let row = testbed.wait_announcement(&sg, name, AnnouncementState::Accepted, testbed.t_conv()).await?;
        findings.check_eq(&row.pod, &pod, format!("{sg} lists {name} with its owner"));
    }
    let [gone, stays] = &names;
    let from = testbed.now_ns();
    testbed.unregister(std::slice::from_ref(gone)).await?;
    let withdrawn = |s: &Seen| {
        let says = |names: &[Name]| names.iter().any(|n| n.to_string() == *gone);
        s.is_sent_by(&pod, &sg) && matches!(s.message(), Message::Announce(a) if says(&a.withdraw))
    };
    testbed.wait_frame("the withdrawal", from, testbed.t_conv(), withdrawn).await?;
    testbed.wait_everywhere(std::slice::from_ref(stays), testbed.t_conv()).await?;
    findings.check(true, format!("one service ends: {gone} leaves every FIB, {stays} stays in every FIB"));
    testbed.unregister(std::slice::from_ref(stays)).await
}

async fn namespace(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, path) = testbed.far_pair().await?;
    let serving = path.last().cloned().unwrap_or_default();
    let names = testbed.register_behind(&serving, 1).await?;
    let name = &names[0];
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    for below in [name.clone(), format!("{name}/cart"), format!("{name}/cart/add")] {
        let reply = testbed.call(&caller, &below, "whoami", &[]).await?;
        let arrived = reply.error.is_none() && reply.path.last() == Some(&serving);
        findings.check_saw(
            arrived,
            format!("{below} reaches the pod at {serving}, as {target} does"),
            format!("path {:?}, error {:?}", reply.path, reply.error),
        );
    }
    let beside = testbed.call(&caller, &format!("{name}ping"), "whoami", &[]).await?;
    findings.check_eq(
        &beside.error.as_deref(),
        &Some("no-route"),
        format!("{name}ping is not below {name} and has no route"),
    );
    testbed.unregister(&names).await
}

async fn proxy_registration(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let frames = testbed.history(|t| t == MessageType::LsUpdate).await?;
    let mut judged = 0;
    for pod in testbed.topology.of_kind(Role::Pod) {
        let (sg_id, _) = testbed.role(&testbed.sg_of(pod.id.as_str())?)?;
        let names = pod.services.iter().flat_map(|s| [Some(&s.prefix), s.pool.as_ref()]).flatten();
        for name in names.collect::<BTreeSet<_>>() {
            let of_pod = |l: &&damc_wire::lsa::Lsa| {
                l.key.origin == sg_id && advertises(l, name) && lsa_port(l) == Some(pod.id.as_str())
            };
            let lsas = frames.iter().flat_map(|s| lsas_in(s).iter().map(move |l| (s, l))).filter(|(_, l)| of_pod(l));
            let (mut words, mut holders) = (BTreeSet::new(), BTreeSet::new());
            for (s, lsa) in lsas {
                words.insert((lsa.sequence, lsa.signature));
                holders.insert(s.node.clone());
                let joined: Vec<_> = pod.services.iter().filter(|s| s.pool.as_ref() == Some(name)).collect();
                if let (LsaContent::Prefix(content), false) = (&lsa.content, joined.is_empty()) {
                    let weight: u16 = joined.iter().map(|s| s.weight).sum();
                    let instance = content.instance.as_ref().is_some_and(|i| joined.iter().any(|s| s.prefix == *i));
                    let right = content.weight == weight && instance && content.exact;
                    if !right && lsa.sequence == 1 {
                        // A pod's services start one after the other, so the first LSA may count fewer of them.
                        continue;
                    }
                    findings.check_saw(
                        right,
                        format!("{name} of {}: exact, with weight {weight} and an announced instance", pod.id),
                        format!("exact {}, weight {}, {:?}", content.exact, content.weight, content.instance),
                    );
                }
            }
            let sequences: BTreeSet<u64> = words.iter().map(|(sequence, _)| *sequence).collect();
            findings.check_eq(&sequences.len(), &words.len(), format!("{sg_id}'s LSAs of {name} travel unchanged"));
            judged += 1;
            for node in testbed.routers() {
                let lsdb = testbed.lab.lsdb(&node).await?;
                let port = Some(pod.id.to_string());
                let held = lsdb.lsas.iter().any(|l| l.id == name.to_string() && l.port == port && !l.purged);
                if !held {
                    let ids: Vec<_> = lsdb.lsas.iter().filter(|l| l.port == port).map(|l| &l.id).collect();
                    let what = format!("{node} knows {name} behind {}", pod.id);
                    findings.check_saw(false, what, format!("behind it {ids:?}"));
                }
            }
        }
    }
    if judged == 0 {
        return Err(Stop::NotApplicable("no pod with a service".into()));
    }
    findings.check(true, format!("{judged} names were looked for at {} SGs and SRs", testbed.routers().len()));
    Ok(())
}

fn lsa_port(lsa: &damc_wire::lsa::Lsa) -> Option<&str> {
    match &lsa.key.id {
        damc_wire::lsa::LsaId::Prefix(_, port) => Some(port.as_str()),
        damc_wire::lsa::LsaId::Topology(_) => None,
    }
}

async fn identities(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let pods = testbed.of_kind(&[Role::Pod]);
    let first = pods.first().cloned().ok_or_else(|| Stop::NotApplicable("no pod".into()))?;
    let own = testbed.sg_of(&first)?;
    let second = pods.into_iter().find(|p| testbed.sg_of(p).is_ok_and(|sg| sg != own));
    let second = second.ok_or_else(|| Stop::NotApplicable("no pod on another SG".into()))?;
    let other = testbed.sg_of(&second)?;

    let name = testbed.fresh_name(&first);
    testbed.register(&first, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    testbed.licence(&second, &name).await?;
    testbed.start_unlicensed(&second, &name, None).await?;
    let row = testbed.wait_announcement(&other, &name, AnnouncementState::Refused, testbed.t_conv()).await?;
    findings.check_eq(&row.reason, &Some(RefusalReason::Conflict), format!("{second} is refused {name} of {first}"));
    let origins = origins(testbed, &name).await?;
    findings.check_eq(&origins, &BTreeSet::from([own.clone()]), format!("{name} has one origin everywhere"));
    testbed.stop_service(&second, &name).await?;
    testbed.unregister(&[name]).await?;

    let pool = testbed.fresh_name("pool");
    let members = [(&first, format!("{pool}/{first}")), (&second, format!("{pool}/{second}"))];
    for (pod, instance) in &members {
        testbed.licence(pod, &pool).await?;
        testbed.licence(pod, instance).await?;
        testbed.start_unlicensed(pod, instance, Some(&pool)).await?;
    }
    let both = BTreeSet::from([own, other]);
    let what = format!("{pool} has origins {both:?} at every node");
    testbed
        .wait(&what, testbed.t_conv(), || async {
            for node in testbed.routers() {
                let lsdb = testbed.lab.lsdb(&node).await?;
                let seen: BTreeSet<String> = lsdb
                    .lsas
                    .iter()
                    .filter(|l| l.id == pool && l.exact && !l.purged)
                    .map(|l| l.origin.clone())
                    .collect();
                if seen != both {
                    return Ok(Err(format!("{node} has {seen:?}")));
                }
            }
            Ok(Ok(()))
        })
        .await?;
    findings.check(true, format!("two instances of one service are both accepted: {what}"));
    for (pod, instance) in &members {
        testbed.stop_service(pod, instance).await?;
        testbed.wait_nowhere(std::slice::from_ref(instance), testbed.t_conv()).await?;
    }
    testbed.wait_nowhere(&[pool], testbed.t_conv()).await
}

/// Origins of a prefix in the LSDBs of all SGs and SRs.
async fn origins(testbed: &Testbed, name: &str) -> Result<BTreeSet<String>, Stop> {
    let mut origins = BTreeSet::new();
    for node in testbed.routers() {
        let lsdb = testbed.lab.lsdb(&node).await?;
        origins.extend(lsdb.lsas.iter().filter(|l| l.id == name && !l.purged).map(|l| l.origin.clone()));
    }
    Ok(origins)
}

async fn discovery(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, _, path) = testbed.far_pair().await?;
    let serving = path.last().cloned().unwrap_or_default();
    let pod = testbed.pod_of(&serving)?;
    let name = testbed.fresh_name(&pod);
    let before = testbed.call(&caller, &name, "whoami", &[]).await?;
    findings.check_eq(
        &before.error.as_deref(),
        &Some("no-route"),
        format!("before its announcement {name} is unknown"),
    );
    testbed.register(&pod, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let during = testbed.call(&caller, &name, "whoami", &[]).await?;
    findings.check_saw(
        during.error.is_none(),
        format!("after its announcement {caller} reaches {name} at {serving}"),
        format!("error {:?}", during.error),
    );
    testbed.unregister(std::slice::from_ref(&name)).await?;
    let after = testbed.call(&caller, &name, "whoami", &[]).await?;
    findings.check_saw(
        after.error.is_some(),
        format!("after its withdrawal {name} is unknown again"),
        format!("error {:?}", after.error),
    );
    // Every FIB entry comes from an LSA or from the node itself.
    for (node, fib) in testbed.fibs().await? {
        let lsdb = testbed.lab.lsdb(&node).await?;
        let told: BTreeSet<String> = lsdb.lsas.iter().filter(|l| !l.purged).map(|l| l.origin.clone()).collect();
        let strange = fib.entries.iter().filter(|e| e.label.is_none() && !e.origin.iter().all(|o| told.contains(o)));
        let strange: Vec<&String> = strange.map(|e| &e.prefix).collect();
        findings.never(
            strange.is_empty(),
            format!("the origin of every FIB entry of {node} has an LSA"),
            format!("without one {strange:?}"),
        );
    }
    Ok(())
}

/// Registers few services at a time: every SG probes every service, and that load must not affect the times.
async fn times(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let pods = testbed.of_kind(&[Role::Pod]);
    if pods.is_empty() {
        return Err(Stop::NotApplicable("no pod".into()));
    }
    let (mut registered, mut withdrawn) = (Vec::new(), Vec::new());
    let mut rounds = testbed.host.fewer(TIMED / ROUND);
    while rounds > 0 {
        let from = testbed.now_ns();
        let mut batch = Vec::new();
        let together = rounds.min(BATCH / ROUND);
        rounds -= together;
        for _ in 0..together {
            batch.extend(come_and_go(testbed, &pods).await?);
        }
        registered.extend(measure(testbed, &batch, from, false).await?);
        withdrawn.extend(measure(testbed, &batch, from, true).await?);
    }
    report(testbed, findings, "registration", &registered);
    report(testbed, findings, "withdrawal", &withdrawn);
    Ok(())
}

/// Registers a round of services, waits until they are everywhere, withdraws them, and waits until they are nowhere.
async fn come_and_go(testbed: &Testbed, pods: &[String]) -> Result<Vec<String>, Stop> {
    let mut round = Vec::new();
    for (_, pod) in (0..ROUND).zip(pods.iter().cycle()) {
        let name = testbed.fresh_name(pod);
        testbed.licence(pod, &name).await?;
        round.push((pod.clone(), name));
    }
    let names: Vec<String> = round.iter().map(|(_, name)| name.clone()).collect();
    for (pod, name) in &round {
        testbed.start_unlicensed(pod, name, None).await?;
    }
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    for (pod, name) in &round {
        testbed.stop_service(pod, name).await?;
    }
    testbed.wait_nowhere(&names, testbed.t_conv()).await?;
    Ok(names)
}

/// For each name, the time from the pod's first announce frame to the last node's FIB event after it learnt the name.
async fn measure(testbed: &Testbed, names: &[String], from: u64, withdrawn: bool) -> Result<Vec<Duration>, Stop> {
    let mut announced: BTreeMap<String, u64> = BTreeMap::new();
    for s in testbed.frames(from).await? {
        if s.message_type() != MessageType::Announce || !s.sent {
            continue;
        }
        let Message::Announce(a) = s.message() else { continue };
        let said: Vec<String> = if withdrawn {
            a.withdraw.iter().map(ToString::to_string).collect()
        } else {
            a.add.iter().map(|e| e.prefix.to_string()).collect()
        };
        for name in said {
            announced.entry(name).or_insert(s.at_ns);
        }
    }
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    for node in testbed.routers() {
        let mut waiting: Vec<String> = Vec::new();
        for event in testbed.events(&node).await?.into_iter().filter(|e| e.at_ns >= from) {
            match event.kind {
                EventKind::LsaAccepted { id, purge, .. } | EventKind::LsaOriginated { id, purge, .. }
                    if purge == withdrawn =>
                {
                    waiting.extend(id.split_once(" at ").map(|(name, _)| name.to_owned()));
                }
                EventKind::Fib { .. } => {
                    for name in waiting.drain(..) {
                        let last = known.entry(name).or_default();
                        *last = event.at_ns.max(*last);
                    }
                }
                _ => {}
            }
        }
    }
    names
        .iter()
        .map(|name| {
            let begin = announced.get(name);
            let end = known.get(&parse(name)?.to_string());
            match (begin, end) {
                (Some(begin), Some(end)) => Ok(Duration::from_nanos(end.saturating_sub(*begin))),
                _ => Err(Stop::Inconclusive(format!("{name}: announcement {begin:?}, last FIB event {end:?}"))),
            }
        })
        .collect()
}

fn report(testbed: &Testbed, findings: &mut Findings, what: &str, took: &[Duration]) {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1];
    for (label, value) in [("median", at(50)), ("p99", at(99)), ("worst", at(100))] {
        findings.figure(format!("{what} at pod to last FIB, {label}"), value.as_secs_f64() * 1e3, "ms");
    }
    let whole = format!("99 % of {} cases of {what} are everywhere (median {:?})", sorted.len(), at(50));
    findings.within(at(99), testbed.t_conv(), whole);
}
