//! Generators of every message, for property tests.

use damc_wire::lsa::{LinkEntry, Lsa, LsaContent, LsaHeader, LsaId, LsaKey, MAX_COST, PrefixLsa, Proof, TopologyLsa};
use damc_wire::message::*;
use damc_wire::security::{Attachment, Certificate, CertifiedName, Grant, MAX_NAMES_LEN, Signature};
use damc_wire::{
    DropReason, Frame, Header, Message, MessageType, Millis, Name, NodeId, RefusalReason, Role, TraceContext,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub fn name() -> impl Strategy<Value = Name> {
    vec("[A-Za-z0-9_~-]{1,8}", 1..4).prop_map(|c| Name::from_components(c.iter().map(String::as_str)).unwrap())
}

pub fn node() -> impl Strategy<Value = NodeId> {
    "[a-z0-9._-]{1,10}".prop_map(|s| NodeId::new(&s).unwrap())
}

fn millis() -> impl Strategy<Value = Millis> {
    any::<u32>().prop_map(|v| Millis(u64::from(v)))
}

fn key() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn signature() -> impl Strategy<Value = Signature> {
    vec(any::<u8>(), 64).prop_map(|v| v.try_into().unwrap())
}

fn reason() -> impl Strategy<Value = RefusalReason> {
    select(RefusalReason::ALL)
}

fn certified_names() -> impl Strategy<Value = Vec<CertifiedName>> {
    let certified = (name(), any::<bool>()).prop_map(|(name, exact)| CertifiedName { name, exact });
    vec(certified, 0..4).prop_map(|mut names| {
        while names.iter().map(CertifiedName::encoded_len).sum::<usize>() > MAX_NAMES_LEN {
            names.pop();
        }
        names
    })
}

pub fn certificate() -> impl Strategy<Value = Certificate> {
    (node(), node(), select(Role::ALL), key(), key(), certified_names(), signature()).prop_map(
        |(domain, node, role, signing_key, agreement_key, names, signature)| Certificate {
            domain,
            node,
            role,
            signing_key,
            agreement_key,
            names: if role == Role::Spa { names } else { Vec::new() },
            signature,
        },
    )
}

pub fn grant() -> impl Strategy<Value = Grant> {
    let who = (name(), node(), key(), node());
    let what = (any::<bool>(), any::<u8>(), any::<u64>(), any::<u64>(), any::<u64>());
    (who, what, certificate(), signature()).prop_map(
        |((prefix, pod, pod_key, sg), (exact, depth, issued, expires, serial), certificate, signature)| Grant {
            prefix,
            exact,
            depth,
            pod,
            pod_key,
            sg,
            issued_at: Millis(issued),
            expires_at: Millis(expires),
            serial,
            certificate,
            signature,
        },
    )
}

fn attachment() -> impl Strategy<Value = Attachment> {
    (node(), any::<(u64, u64)>(), certificate(), signature()).prop_map(
        |(router, (issued, expires), certificate, signature)| Attachment {
            router,
            issued_at: Millis(issued),
            expires_at: Millis(expires),
            certificate,
            signature,
        },
    )
}

fn lsa_key() -> impl Strategy<Value = LsaKey> {
    let id = prop_oneof![
        any::<u16>().prop_map(LsaId::Topology),
        (name(), node()).prop_map(|(name, port)| LsaId::Prefix(name, port)),
    ];
    (node(), id).prop_map(|(origin, id)| LsaKey { origin, id })
}

fn lsa_header() -> impl Strategy<Value = LsaHeader> {
    (lsa_key(), any::<u64>(), any::<u64>(), millis()).prop_map(|(key, sequence, digest, remaining)| LsaHeader {
        key,
        sequence,
        digest,
        remaining,
    })
}

fn topology() -> impl Strategy<Value = LsaContent> {
    let link = (node(), 1..=MAX_COST).prop_map(|(neighbour, cost)| LinkEntry { neighbour, cost });
    (any::<bool>(), any::<bool>(), vec(link, 0..5))
        .prop_map(|(overload, stub, links)| LsaContent::Topology(TopologyLsa { overload, stub, links }))
}

fn prefix() -> impl Strategy<Value = LsaContent> {
    let proof = prop_oneof![grant().prop_map(Proof::Grant), attachment().prop_map(Proof::Attached)];
    (any::<u32>(), any::<u16>(), any::<bool>(), option::of(name()), proof).prop_map(
        |(metric, weight, exact, instance, proof)| {
            LsaContent::Prefix(PrefixLsa { metric, weight, exact, instance, proof })
        },
    )
}

pub fn lsa() -> impl Strategy<Value = Lsa> {
    let statement = lsa_key().prop_flat_map(|key| {
        let content = match key.id {
            LsaId::Topology(_) => prop_oneof![topology(), Just(LsaContent::Purge)].boxed(),
            LsaId::Prefix(..) => prop_oneof![prefix(), Just(LsaContent::Purge)].boxed(),
        };
        (Just(key), content)
    });
    let lifetime = any::<u32>().prop_flat_map(|l| (Just(l), 0..=l));
    (statement, 1..u64::MAX, lifetime, certificate(), signature()).prop_map(
        |((key, content), sequence, (lifetime, remaining), certificate, signature)| Lsa {
            key,
            sequence,
            lifetime: Millis(u64::from(lifetime)),
            content,
            certificate,
            signature,
            remaining: Millis(u64::from(remaining)),
        },
    )
}

fn hello() -> impl Strategy<Value = Message> {
    let heard = option::of((node(), 1..u64::MAX));
    (certificate(), 1..u64::MAX, heard, (millis(), millis(), millis()), any::<u8>(), signature()).prop_map(
        |(certificate, session, heard, (hello_interval, dead_interval, echo_interval), echo_multiplier, signature)| {
            Message::Hello(Hello {
                certificate,
                session,
                heard,
                hello_interval,
                dead_interval,
                echo_interval,
                echo_multiplier,
                signature,
            })
        },
    )
}

fn echo() -> impl Strategy<Value = Message> {
    any::<(u32, u64, u64, u64)>().prop_map(|(sequence, sent_at, their_sent_at, held)| {
        Message::Echo(Echo { sequence, sent_at, their_sent_at, held })
    })
}

fn announce() -> impl Strategy<Value = Announce> {
    let entry = (name(), option::of(name()), any::<u16>()).prop_map(|(prefix, pool, weight)| AnnounceEntry {
        prefix,
        pool,
        weight,
    });
    (1..u64::MAX, node(), node(), any::<u64>(), vec(entry, 0..4), vec(name(), 0..4), signature()).prop_map(
        |(request, pod, sg, sg_session, add, withdraw, signature)| Announce {
            request,
            pod,
            sg,
            sg_session,
            add,
            withdraw,
            signature,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (name(), option::of(reason())).prop_map(|(prefix, refusal)| Outcome { prefix, refusal })
}

fn data() -> impl Strategy<Value = Message> {
    let context = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
        .prop_filter_map("a number is 0", |(trace, parent, flags)| TraceContext::new(trace, parent, flags));
    let request = ("\\PC{1,16}", millis(), option::of(context))
        .prop_map(|(method, deadline, context)| DataKind::Request { method, deadline, context });
    let kind = prop_oneof![request, Just(DataKind::Response), reason().prop_map(|reason| DataKind::Error { reason })];
    let hop = (node(), any::<bool>()).prop_map(|(node, on_return)| Hop { node, on_return });
    (any::<u64>(), kind, vec(any::<u8>(), 0..300), vec(hop, 0..6))
        .prop_map(|(correlation, kind, payload, hops)| Message::Data(Data { correlation, kind, payload, hops }))
}

fn signed<T: core::fmt::Debug>(body: impl Strategy<Value = T>) -> impl Strategy<Value = Signed<T>> {
    (body, certificate(), signature()).prop_map(|(body, certificate, signature)| Signed {
        body,
        certificate,
        signature,
    })
}

fn telemetry() -> impl Strategy<Value = Telemetry> {
    let metric = || option::of(any::<u64>());
    let path = (
        (name(), any::<u32>(), any::<u32>(), any::<bool>(), millis()),
        (metric(), metric(), metric(), option::of(any::<u32>())),
    )
        .prop_map(|((target, label, loss_ppm, available, age), (delay_ns, jitter_ns, bandwidth_bps, load))| {
            PathReport {
                target,
                label,
                delay_ns,
                jitter_ns,
                bandwidth_bps,
                loss_ppm,
                available,
                self_load_ppm: load,
                age,
            }
        });
    let link = (node(), any::<(u32, u64, u64)>(), metric(), metric(), metric()).prop_map(
        |(neighbour, (loss_ppm, tx_bps, rx_bps), delay_ns, jitter_ns, bandwidth_bps)| LinkReport {
            neighbour,
            delay_ns,
            jitter_ns,
            loss_ppm,
            tx_bps,
            rx_bps,
            bandwidth_bps,
        },
    );
    (any::<u64>(), vec(path, 0..5), vec(link, 0..5)).prop_map(|(sequence, paths, links)| Telemetry {
        sequence,
        paths,
        links,
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let action = prop_oneof![
        node().prop_map(|next_hop| PolicyAction::Ingress { next_hop }),
        node().prop_map(|next_hop| PolicyAction::Transit { next_hop }),
        Just(PolicyAction::Egress),
        Just(PolicyAction::Released),
        Just(PolicyAction::Withdrawn),
    ];
    (1..u32::MAX, any::<u64>(), node(), node(), name(), action, millis()).prop_map(
        |(label, version, recipient, source, prefix, action, expires_in)| Policy {
            label,
            version,
            recipient,
            source,
            prefix,
            action,
            expires_in,
        },
    )
}

fn probe() -> impl Strategy<Value = Probe> {
    let train = (1..=u16::MAX).prop_flat_map(|length| (0..length, Just(length)));
    (any::<(u64, u32)>(), train, any::<(u64, u64, u64)>(), 0..1000_u16).prop_map(
        |((test, sequence), (train_index, train_length), (t1, t2, t3), padding)| Probe {
            test,
            sequence,
            train_index,
            train_length,
            t1,
            t2,
            t3,
            padding,
        },
    )
}

/// Any message of that type.
pub fn message(t: MessageType) -> BoxedStrategy<Message> {
    match t {
        MessageType::Hello => hello().boxed(),
        MessageType::Echo => echo().boxed(),
        MessageType::Announce => announce().prop_map(Message::Announce).boxed(),
        MessageType::AnnounceReply => (any::<u64>(), vec(outcome(), 0..5))
            .prop_map(|(request, outcomes)| Message::AnnounceReply(AnnounceReply { request, outcomes }))
            .boxed(),
        MessageType::LsUpdate => vec(lsa(), 1..3).prop_map(Message::LsUpdate).boxed(),
        MessageType::Topology => vec(lsa(), 1..3).prop_map(Message::Topology).boxed(),
        MessageType::LsAck => vec(lsa_header(), 1..9).prop_map(Message::LsAck).boxed(),
        MessageType::LsRequest => vec(lsa_header(), 1..9).prop_map(Message::LsRequest).boxed(),
        MessageType::TopologyAck => vec(lsa_header(), 1..9).prop_map(Message::TopologyAck).boxed(),
        MessageType::DbSummary => (any::<(u32, u16, bool)>(), vec(lsa_header(), 0..9))
            .prop_map(|((exchange, page, last), headers)| {
                Message::DbSummary(DbSummary { exchange, page, last, headers })
            })
            .boxed(),
        MessageType::AuthRequest => (any::<u64>(), certificate(), announce())
            .prop_map(|(request, certificate, announce)| {
                Message::AuthRequest(AuthRequest { request, certificate, announce })
            })
            .boxed(),
        MessageType::AuthReply => {
            let refused =
                (name(), reason()).prop_map(|(prefix, r)| AuthResult::Refused(Outcome { prefix, refusal: Some(r) }));
            (any::<u64>(), prop_oneof![grant().prop_map(AuthResult::Granted), refused])
                .prop_map(|(request, result)| Message::AuthReply(AuthReply { request, result }))
                .boxed()
        }
        MessageType::Revoke => (name(), node(), any::<u64>())
            .prop_map(|(prefix, pod, serial)| Message::Revoke(Revoke { prefix, pod, serial }))
            .boxed(),
        MessageType::RevokeAck => any::<u64>().prop_map(|serial| Message::RevokeAck(RevokeAck { serial })).boxed(),
        MessageType::Attach => attachment().prop_map(Message::Attach).boxed(),
        MessageType::AttachAck => {
            any::<u64>().prop_map(|issued| Message::AttachAck(AttachAck { issued_at: Millis(issued) })).boxed()
        }
        MessageType::Data => data().boxed(),
        MessageType::Packet => vec(any::<u8>(), 0..300).prop_map(|inner| Message::Packet(Packet { inner })).boxed(),
        MessageType::Telemetry => signed(telemetry()).prop_map(Message::Telemetry).boxed(),
        MessageType::Policy => signed(policy()).prop_map(Message::Policy).boxed(),
        MessageType::QosAck => {
            let body = (any::<u64>(), any::<u32>(), option::of(select(DropReason::ALL)))
                .prop_map(|(sequence, label, refusal)| QosAck { sequence, label, refusal });
            signed(body).prop_map(Message::QosAck).boxed()
        }
        MessageType::Probe => probe().prop_map(Message::Probe).boxed(),
        MessageType::ProbeReply => probe().prop_map(Message::ProbeReply).boxed(),
        MessageType::Task => any::<u64>().prop_map(|task| Message::Task(Task { task })).boxed(),
        MessageType::TaskReport => any::<(u64, bool, u32, u64, u64)>()
            .prop_map(|(task, healthy, load_ppm, served, self_test_ns)| {
                Message::TaskReport(TaskReport { task, healthy, load_ppm, served, self_test_ns })
            })
            .boxed(),
        MessageType::Nack => {
            let routed: Vec<MessageType> = MessageType::ALL.iter().copied().filter(|t| t.is_routed()).collect();
            (reason(), node(), select(routed), name(), vec(any::<u8>(), 0..200))
                .prop_map(|(reason, node, answered, destination, body)| {
                    Message::Nack(Nack { reason, node, answered, destination, body })
                })
                .boxed()
        }
        MessageType::PathQuery => {
            let body = (any::<u64>(), name()).prop_map(|(request, target)| PathQuery { request, target });
            signed(body).prop_map(Message::PathQuery).boxed()
        }
        MessageType::PathReply => {
            let body = (any::<u64>(), vec(node(), 0..8), any::<u64>()).prop_map(|(request, path, cost)| PathReply {
                request,
                path,
                cost,
            });
            signed(body).prop_map(Message::PathReply).boxed()
        }
    }
}

/// Any frame of that type, hop security left out. A routed one may have a link MAC.
pub fn frame(t: MessageType) -> impl Strategy<Value = Frame> {
    (message(t), name(), name(), any::<(u8, u8, u32, u32)>(), any::<[u8; 16]>()).prop_map(
        move |(message, destination, source, (flags, hop_limit, flow, label), mac)| {
            let link_mac = Some(mac).filter(|mac| mac[0] & 1 == 1);
            if t.is_routed() {
                let header = Header { message_type: t, flags, hop_limit, flow, label };
                Frame { header, names: Some((destination, source)), message, security: None, link_mac }
            } else {
                let header = Header { flags, ..Header::hop_local(t) };
                Frame { header, names: None, message, security: None, link_mac: None }
            }
        },
    )
}
