//! Section A: the roles, what each of them sends, and what a name means.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_mgmt::words::AdjacencyState;
use damc_testbed::NodeAction;
use damc_wire::lsa::LsaId;
use damc_wire::message::AnnounceEntry;
use damc_wire::{DropReason, Frame, Message, MessageType, Role};

use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::witness::{lsas_in, parse};

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of section A.
pub const CASES: &[Case] = &[
    case!("arc-01", "Every role sends its own message types and no others", ["ARC-01", "POL-12"], Calm, own_words),
    case!("arc-03", "A pod is attached to one SG", ["ARC-03", "CON-13"], Guest, one_gateway),
    case!(
        "arc-05",
        "A service moves to another pod and keeps its name and its callers",
        ["ARC-05"],
        Guest,
        moving_service
    ),
    case!("arc-06", "A pool is reached at its nearest instance, an instance only at itself", ["ARC-06"], Calm, pools),
    case!("arc-07", "An SR refuses a pod at its port", ["ARC-07"], Guest, pod_at_a_router),
    case!(
        "arc-08",
        "A pod groups services that share its fate and have names of their own",
        ["ARC-08", "CON-12"],
        Nodes,
        pod_as_group
    ),
    case!(
        "arc-09",
        "An SR without pods synchronises and forwards, but serves nothing",
        ["ARC-09"],
        Guest,
        router_without_pods
    ),
];

/// Whether a role originates messages of this type. A routed message counts for its source only.
fn is_own(role: Role, t: MessageType) -> bool {
    use MessageType as T;
    let routing = matches!(
        t,
        T::Hello
            | T::Echo
            | T::LsUpdate
            | T::LsAck
            | T::DbSummary
            | T::LsRequest
            | T::Topology
            | T::AttachAck
            | T::Telemetry
            | T::QosAck
            | T::Nack
            | T::ProbeReply
    );
    match role {
        Role::Sr => routing,
        Role::Sg => {
            routing || matches!(t, T::AnnounceReply | T::AuthRequest | T::RevokeAck | T::Probe | T::Task | T::PathQuery)
        }
        Role::Spa => matches!(t, T::Hello | T::Echo | T::AuthReply | T::Revoke),
        Role::Scsc => matches!(
            t,
            T::Hello | T::Echo | T::TopologyAck | T::Attach | T::Policy | T::QosAck | T::PathReply | T::Nack
        ),
        Role::Pod => matches!(
            t,
            T::Hello | T::Echo | T::Announce | T::Data | T::Packet | T::ProbeReply | T::TaskReport | T::Nack
        ),
    }
}

async fn own_words(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let mut said: BTreeMap<Role, BTreeSet<MessageType>> = BTreeMap::new();
    let mut names: BTreeMap<String, Role> = BTreeMap::new();
    for node in testbed.topology.nodes().values() {
        names.insert(format!("/damc/{}/{}", testbed.topology.domain(), node.id), node.kind);
        names.extend(node.services.iter().map(|s| (s.prefix.to_string(), Role::Pod)));
    }
    let mut strangers = BTreeSet::new();
    for s in testbed.frames_of_every_type(0).await?.iter().filter(|s| s.sent) {
        let speaker = match &s.frame.names {
            None => Some(testbed.role(&s.node)?.1),
            // A routed message counts for its source, not for the sender. Calls come from below service prefixes.
            Some((_, source)) => {
                let above = std::iter::successors(Some(source.clone()), damc_wire::Name::parent);
                above.map(|n| names.get(&n.to_string()).copied()).find(Option::is_some).flatten()
            }
        };
        match speaker {
            Some(role) => {
                said.entry(role).or_default().insert(s.message_type());
            }
            None => {
                strangers.insert(s.frame.names.as_ref().map(|(_, source)| source.to_string()));
            }
        }
    }
    findings.never(
        strangers.is_empty(),
        "every routed message comes from a name of the topology",
        format!("{} other sources {strangers:?}", strangers.len()),
    );
    for (role, types) in &said {
        let foreign: Vec<_> = types.iter().filter(|t| !is_own(*role, **t)).map(|t| t.label()).collect();
        findings.never(
            foreign.is_empty(),
            format!("{role} sends only its own message types"),
            format!("{} types, {} of them foreign {foreign:?}", types.len(), foreign.len()),
        );
    }
    let kinds: BTreeSet<Role> = testbed.topology.nodes().values().map(|n| n.kind).collect();
    findings.check_eq(&said.keys().copied().collect(), &kinds, "every role of the topology sent something");
    findings.note("to judge whether another implementation can replace a process, run one in its place");
    Ok(())
}

async fn one_gateway(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let second = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| testbed.sg_of(p).is_ok_and(|other| other != sg));
    let second = second.ok_or_else(|| Stop::NotApplicable("no pod on another SG".into()))?;
    let other = testbed.sg_of(&second)?;
    let all = testbed.history(|t| matches!(t, MessageType::Hello | MessageType::LsUpdate)).await?;
    let hello = all.iter().rev().find(|s| s.is_sent_by(&pod, &sg) && s.message_type() == MessageType::Hello);
    let hello = hello.ok_or_else(|| Stop::Inconclusive("no hello of the pod was recorded".into()))?;
    let before = testbed.dropped(&other, DropReason::ParameterMismatch).await?;
    testbed.inject(&second, &other, &hello.pdu).await?;
    testbed.wait_dropped(&other, DropReason::ParameterMismatch, before, 1).await?;
    findings.check(
        true,
        format!("{other} refuses and counts a hello of {pod}, which belongs to {sg}, on another pod's port"),
    );
    let rows = testbed.lab.neighbors(&other).await?.neighbors;
    let state = rows.iter().find(|n| n.port == second).map(|n| n.state);
    findings.check_eq(&state, &Some(AdjacencyState::Full), format!("{other} and {second} stay adjacent"));
    // In the whole recording, the names behind one pod have one origin.
    let mut origins: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for lsa in all.iter().flat_map(lsas_in).filter(|l| !l.is_purge()) {
        if let LsaId::Prefix(_, port) = &lsa.key.id {
            origins.entry(port.to_string()).or_default().insert(lsa.key.origin.to_string());
        }
    }
    for (port, origins) in origins.iter().filter(|(port, _)| testbed.role(port).is_ok_and(|(_, r)| r == Role::Pod)) {
        findings.check_eq(
            origins,
            &BTreeSet::from([testbed.sg_of(port)?]),
            format!("{port} is advertised by its SG alone"),
        );
    }
    let crowd =
        testbed.of_kind(&[Role::Sg]).into_iter().map(|sg| testbed.beside(&sg, Role::Pod).map_or(0, |p| p.len()));
    findings.note(format!("most pods at one SG in this topology: {}", crowd.max().unwrap_or(0)));
    Ok(())
}

async fn moving_service(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, old) = testbed.sg_with_pod()?;
    let new = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| testbed.sg_of(p).is_ok_and(|other| other != sg));
    let new = new.ok_or_else(|| Stop::NotApplicable("no pod on another SG".into()))?;
    let callers = testbed.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty()).map(|p| p.id.to_string());
    let caller = callers.into_iter().find(|p| *p != old && *p != new);
    let caller = caller.ok_or_else(|| Stop::NotApplicable("no third pod that could call".into()))?;
    let name = testbed.fresh_name(&old);
    testbed.register(&old, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let before = testbed.call(&caller, &name, "whoami", &[]).await?;
    let there = before.error.is_none() && before.path.last() == Some(&sg);
    findings.check_saw(
        there,
        format!("{caller} reaches {name} at {old}"),
        format!("path {:?}, error {:?}", before.path, before.error),
    );
    testbed.unregister(std::slice::from_ref(&name)).await?;
    testbed.register(&new, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let after = testbed.call(&caller, &name, "whoami", &[]).await?;
    let there = after.error.is_none() && after.path.last() == Some(&testbed.sg_of(&new)?);
    findings.check_saw(
        there,
        format!("after its move to {new}, {caller} reaches it there by the same name"),
        format!("path {:?}, error {:?}", after.path, after.error),
    );
    testbed.stop_service(&new, &name).await?;
    testbed.wait_nowhere(&[name], testbed.t_conv()).await
}

async fn pools(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let oracle = Oracle::new(&testbed.topology, &Failures::default());
    let mut members: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for pod in testbed.topology.of_kind(Role::Pod) {
        let sg = testbed.sg_of(pod.id.as_str())?;
        for service in &pod.services {
            if let Some(pool) = &service.pool {
                members.entry(pool.to_string()).or_default().push((service.prefix.to_string(), sg.clone()));
            }
        }
    }
    let callers: Vec<String> =
        testbed.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty()).map(|p| p.id.to_string()).collect();
    let mut calls = 0;
    for (pool, members) in members.iter().filter(|(_, m)| m.len() > 1) {
        for caller in callers.iter().take(6) {
            let from = testbed.sg_of(caller)?;
            let cost = |sg: &String| if *sg == from { Some(0) } else { oracle.distance(&from, sg) };
            let least = members.iter().filter_map(|(_, sg)| cost(sg)).min();
            let reply = testbed.call(caller, pool, "whoami", &[]).await?;
            let end = members.iter().find(|(instance, _)| reply.result.as_ref() == Some(instance)).map(|(_, sg)| sg);
            let nearest = end.is_some_and(|sg| cost(sg) == least);
            findings.check_saw(
                nearest,
                format!("{caller}'s call of {pool} ends at a nearest instance"),
                format!("{:?} at {end:?}, error {:?}", reply.result, reply.error),
            );
            for (instance, _) in members {
                let reply = testbed.call(caller, instance, "whoami", &[]).await?;
                let itself = reply.result.as_ref() == Some(instance);
                findings.check_saw(
                    itself,
                    format!("{caller}'s call of {instance} ends there"),
                    format!("{:?}, error {:?}", reply.result, reply.error),
                );
                calls += 1;
            }
        }
    }
    if calls == 0 {
        return Err(Stop::NotApplicable("no pool with two instances".into()));
    }
    Ok(())
}

async fn pod_at_a_router(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let sr = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let ((sr_id, _), (pod_id, _)) = (testbed.role(&sr)?, testbed.role(&pod)?);
    let keys = testbed.forge.keys(&pod_id, Role::Pod);
    let all = testbed.history(|t| t == MessageType::Hello).await?;
    let hello = all.iter().rev().find(|s| s.is_sent_by(&pod, &sg) && s.message_type() == MessageType::Hello);
    let hello = hello.ok_or_else(|| Stop::Inconclusive("no hello of the pod was recorded".into()))?;
    let name = testbed.fresh_name(&pod);
    let entry = AnnounceEntry { prefix: parse(&name)?, pool: None, weight: 1 };
    let announce = keys.sign_announce(1, (sr_id, 1), vec![entry], Vec::new());
    let announce = Frame::hop_local(Message::Announce(announce)).encode();
    let announce = announce.map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let before = testbed.dropped(&sr, DropReason::WrongRole).await?;
    let from = testbed.now_ns();
    testbed.inject_all(&sg, &sr, &[hello.pdu.clone(), announce]).await?;
    testbed.wait_dropped(&sr, DropReason::WrongRole, before, 2).await?;
    findings.check(true, format!("{sr} drops and counts {pod}'s hello and announcement at its port"));
    findings.none(&testbed.advertised(&name, from).await?, format!("no LSA advertises {name}"));
    findings.none(&testbed.known_at(&name).await?, format!("no SG or SR knows {name}"));
    let answered = testbed.frames(from).await?;
    let answered = answered.iter().any(|s| s.sent && s.node == sr && s.message_type() == MessageType::AnnounceReply);
    findings.never(!answered, format!("{sr} answers no announcement"), if answered { "an answer" } else { "none" });
    Ok(())
}

async fn pod_as_group(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, _, path) = testbed.far_pair().await?;
    let sg = path.last().cloned().unwrap_or_default();
    let pod = testbed.pod_of(&sg)?;
    let names = [testbed.fresh_name(&pod), testbed.fresh_name(&pod), testbed.fresh_name(&pod)];
    for name in &names {
        testbed.register(&pod, name).await?;
    }
    testbed.wait_everywhere(&names, testbed.t_conv()).await?;
    for name in &names {
        let reply = testbed.call(&caller, name, "whoami", &[]).await?;
        findings.check_saw(
            reply.error.is_none(),
            format!("{name} can be called by itself"),
            format!("error {:?}", reply.error),
        );
    }
    testbed.unregister(&names[..1]).await?;
    testbed.wait_everywhere(&names[1..], testbed.t_conv()).await?;
    findings.check(true, "one of three services ends: its name leaves every FIB, the other two stay");
    let (pod_id, _) = testbed.role(&pod)?;
    let configured = testbed.topology.nodes()[&pod_id].services.iter().map(|s| s.prefix.to_string());
    let all: Vec<String> = configured.chain(names[1..].iter().cloned()).collect();
    let began = testbed.now_ns();
    testbed.lab.node(&pod, NodeAction::Kill).await?;
    testbed.wait_nowhere(&all, testbed.t_conv()).await?;
    findings.check(true, format!("{pod} is killed: all {} names leave every FIB", all.len()));
    findings.figure(
        "death of a pod to its names gone, seen from outside",
        testbed.since(began).as_secs_f64() * 1e3,
        "ms",
    );
    testbed.lab.node(&pod, NodeAction::Start).await?;
    let back: Vec<String> = testbed.topology.nodes()[&pod_id].services.iter().map(|s| s.prefix.to_string()).collect();
    testbed.wait_everywhere(&back, testbed.t_conv()).await?;
    findings.check(true, "it comes back with its configured services");
    Ok(())
}

async fn router_without_pods(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, target, _) = testbed.far_pair().await?;
    let digests: BTreeSet<String> = {
        let mut digests = BTreeSet::new();
        for node in testbed.routers() {
            digests.insert(testbed.lab.lsdb(&node).await?.digest);
        }
        digests
    };
    findings.check_eq(&digests.len(), &1, "all SGs and SRs have the same LSDB");
    let srs = testbed.of_kind(&[Role::Sr]);
    let mut before = BTreeMap::new();
    for sr in &srs {
        before.insert(sr.clone(), testbed.lab.counters(sr).await?.forwarded);
    }
    let reply = testbed.call(&caller, &target, "echo", &["through"]).await?;
    let sr = srs.iter().find(|sr| reply.path.contains(sr) && reply.return_path.contains(sr));
    let sr = sr.or_else(|| srs.iter().find(|sr| reply.path.contains(sr))).cloned();
    let sr = sr.ok_or_else(|| Stop::NotApplicable("no SR on the path".into()))?;
    let forwarded = testbed.lab.counters(&sr).await?.forwarded;
    findings.check_saw(
        forwarded > before[&sr] && reply.error.is_none(),
        format!("{sr} forwards {caller}'s call of {target}"),
        format!("{} → {forwarded} frames forwarded, error {:?}", before[&sr], reply.error),
    );
    let name = format!("/damc/{}/{sr}", testbed.topology.domain());
    let reply = testbed.call_with(&caller, &name, "whoami", &[], |r| r.deadline_ms = 500).await?;
    findings.check_saw(
        reply.result.is_none(),
        format!("{name} is not a service"),
        format!("result {:?}, error {:?} ({:?})", reply.result, reply.error, reply.detail),
    );
    findings.check_saw(
        reply.error.as_deref() != Some("timeout"),
        "the caller is told so before its deadline",
        format!("error {:?}", reply.error),
    );
    Ok(())
}
