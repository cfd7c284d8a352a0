//! One telling frame for each message type: for the test vectors and as seeds of mutation.

use damc_wire::frame::{HopSecurity, LinkKey};
use damc_wire::lsa::{LinkEntry, Lsa, LsaContent, LsaHeader, LsaId, LsaKey, PrefixLsa, Proof, TopologyLsa};
use damc_wire::message::*;
use damc_wire::security::{Attachment, Certificate, CertifiedName, Grant};
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, Name, NodeId, RefusalReason, Role, TraceContext};

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn node(s: &str) -> NodeId {
    NodeId::new(s).unwrap()
}

fn certificate(who: &str, role: Role) -> Certificate {
    let certified = |s: &str, exact| CertifiedName { name: name(s), exact };
    let names = vec![certified("/A", true), certified("/A/1", false)];
    Certificate {
        domain: node("example"),
        node: node(who),
        role,
        signing_key: [0x51; 32],
        agreement_key: [0xa6; 32],
        names: if role == Role::Spa { names } else { Vec::new() },
        signature: [0xc5; 64],
    }
}

fn signed<T>(who: &str, role: Role, body: T) -> Signed<T> {
    Signed { body, certificate: certificate(who, role), signature: [0x5e; 64] }
}

fn grant() -> Grant {
    Grant {
        prefix: name("/A/1"),
        exact: false,
        depth: 255,
        pod: node("pod-1"),
        pod_key: [0x9d; 32],
        sg: node("sg-1"),
        issued_at: Millis(1_000),
        expires_at: Millis(601_000),
        serial: 7,
        certificate: certificate("spa-1", Role::Spa),
        signature: [0x67; 64],
    }
}

fn attachment() -> Attachment {
    Attachment {
        router: node("sr-left"),
        issued_at: Millis(2_000),
        expires_at: Millis(602_000),
        certificate: certificate("scsc", Role::Scsc),
        signature: [0xa7; 64],
    }
}

fn topology_lsa() -> Lsa {
    let links =
        vec![LinkEntry { neighbour: node("sr-left"), cost: 1 }, LinkEntry { neighbour: node("sr-right"), cost: 10 }];
    Lsa {
        key: LsaKey { origin: node("sg-1"), id: LsaId::Topology(0) },
        sequence: 3,
        lifetime: Millis(3_600_000),
        content: LsaContent::Topology(TopologyLsa { overload: false, stub: true, links }),
        certificate: certificate("sg-1", Role::Sg),
        signature: [0x15; 64],
        remaining: Millis(3_599_999),
    }
}

fn prefix_lsa() -> Lsa {
    let content = PrefixLsa { metric: 0, weight: 1, exact: false, instance: None, proof: Proof::Grant(grant()) };
    Lsa {
        key: LsaKey { origin: node("sg-1"), id: LsaId::Prefix(name("/A/1"), node("pod-1")) },
        content: LsaContent::Prefix(content),
        ..topology_lsa()
    }
}

/// A pool: exact, with one of its instances, behind a grant of the pool's own name.
fn pool_lsa() -> Lsa {
    let grant = Grant { prefix: name("/A"), exact: true, depth: 0, serial: 8, ..grant() };
    let content =
        PrefixLsa { metric: 1, weight: 3, exact: true, instance: Some(name("/A/1")), proof: Proof::Grant(grant) };
    Lsa {
        key: LsaKey { origin: node("sg-1"), id: LsaId::Prefix(name("/A"), node("pod-1")) },
        content: LsaContent::Prefix(content),
        ..topology_lsa()
    }
}

fn attached_lsa() -> Lsa {
    let proof = Proof::Attached(attachment());
    let content = PrefixLsa { metric: 0, weight: 1, exact: false, instance: None, proof };
    Lsa {
        key: LsaKey { origin: node("sr-left"), id: LsaId::Prefix(name("/damc/example/scsc"), node("scsc")) },
        content: LsaContent::Prefix(content),
        certificate: certificate("sr-left", Role::Sr),
        ..topology_lsa()
    }
}

fn purge() -> Lsa {
    Lsa { sequence: 4, content: LsaContent::Purge, ..prefix_lsa() }
}

fn headers() -> Vec<LsaHeader> {
    vec![topology_lsa().header(), prefix_lsa().header()]
}

fn announce() -> Announce {
    Announce {
        request: 1,
        pod: node("pod-1"),
        sg: node("sg-1"),
        sg_session: 0x1122_3344_5566_7788,
        add: vec![
            AnnounceEntry { prefix: name("/A/1"), pool: Some(name("/A")), weight: 1 },
            AnnounceEntry { prefix: name("/B/1"), pool: None, weight: 5 },
        ],
        withdraw: vec![name("/C/1")],
        signature: [0xaa; 64],
    }
}

fn telemetry() -> Telemetry {
    Telemetry {
        sequence: 17,
        paths: vec![
            PathReport {
                target: name("/B/4"),
                label: 0,
                delay_ns: Some(2_100_000),
                jitter_ns: Some(40_000),
                bandwidth_bps: Some(98_000_000),
                loss_ppm: 1_000,
                available: true,
                self_load_ppm: Some(125_000),
                age: Millis(20),
            },
            PathReport {
                target: name("/B/4"),
                label: 9,
                delay_ns: None,
                jitter_ns: None,
                bandwidth_bps: None,
                loss_ppm: 1_000_000,
                available: false,
                self_load_ppm: None,
                age: Millis(0),
            },
        ],
        links: vec![LinkReport {
            neighbour: node("sr-left"),
            delay_ns: Some(500_000),
            jitter_ns: Some(9_000),
            loss_ppm: 0,
            tx_bps: 120_000,
            rx_bps: 130_000,
            bandwidth_bps: None,
        }],
    }
}

fn policy(action: PolicyAction) -> Message {
    let body = Policy {
        label: 9,
        version: 2,
        recipient: node("sr-left"),
        source: node("sg-1"),
        prefix: name("/B/4"),
        action,
        expires_in: Millis(6_000),
    };
    Message::Policy(signed("scsc", Role::Scsc, body))
}

fn probe(train_index: u16, train_length: u16, padding: u16) -> Probe {
    Probe { test: 0xdead_beef, sequence: 12, train_index, train_length, t1: 1_000_000, t2: 0, t3: 0, padding }
}

fn data(kind: DataKind, payload: &[u8], hops: &[(&str, bool)]) -> Message {
    let hops = hops.iter().map(|(n, on_return)| Hop { node: node(n), on_return: *on_return }).collect();
    Message::Data(Data { correlation: 7, kind, payload: payload.to_vec(), hops })
}

/// An echo request (RFC 4443) from the address of /A/1 to that of /B/4 in domain `example`.
fn ping() -> Vec<u8> {
    let address = |text: &str| damc_wire::address::of_name("example", &name(text)).unwrap().octets();
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
    packet.extend(address("/A/1"));
    packet.extend(address("/B/4"));
    packet.extend([128, 0, 0, 0, 0, 1, 0, 1]);
    let sum =
        packet[8..].chunks(2).fold(8 + 58_u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    packet[42..44].copy_from_slice(&(!folded).to_be_bytes());
    packet
}

fn local(message: Message) -> Frame {
    let frame = Frame::hop_local(message);
    let security = HopSecurity { counter: 41, mac: [0x3c; 16] };
    Frame { security: (frame.header.message_type != MessageType::Hello).then_some(security), ..frame }
}

fn routed(message: Message) -> Frame {
    Frame::routed(name("/B/4"), name("/A/1"), 0x0102_0304, 0, 64, message)
}

/// The same on a link whose key is 32 bytes 0x07.
fn on_a_link(frame: Frame) -> Frame {
    let link_mac = Some(LinkKey::new(&[7; 32]).mac(&frame.encode().unwrap()));
    Frame { link_mac, ..frame }
}

fn to_scsc(message: Message) -> Frame {
    Frame::routed(name("/damc/example/scsc"), name("/damc/example/sg-1"), 0, 0, 64, message)
}

/// Name of the vector and the frame.
pub fn all() -> Vec<(&'static str, Frame)> {
    let mut all = hop_local();
    all.extend(end_to_end());
    all
}

fn hop_local() -> Vec<(&'static str, Frame)> {
    let hello = Hello {
        certificate: certificate("sg-1", Role::Sg),
        session: 0x0123_4567_89ab_cdef,
        heard: None,
        hello_interval: Millis(1_000),
        dead_interval: Millis(4_000),
        echo_interval: Millis(50),
        echo_multiplier: 3,
        signature: [0x4e; 64],
    };
    let fresh = Hello { heard: Some((node("sr-left"), 0x1122_3344_5566_7788)), ..hello.clone() };
    let echo = Echo { sequence: 5, sent_at: 10_000_000, their_sent_at: 9_000_000, held: 400_000 };
    let outcomes = vec![
        Outcome { prefix: name("/A/1"), refusal: None },
        Outcome { prefix: name("/B/1"), refusal: Some(RefusalReason::NotLicensed) },
    ];
    let summary = DbSummary { exchange: 0xfeed, page: 0, last: true, headers: headers() };
    let request = AuthRequest { request: 3, certificate: certificate("pod-1", Role::Pod), announce: announce() };
    let refused = Outcome { prefix: name("/B/1"), refusal: Some(RefusalReason::NotLicensed) };
    [
        ("hello-hears-nobody", Message::Hello(hello)),
        ("hello-fresh", Message::Hello(fresh)),
        ("echo", Message::Echo(echo)),
        ("announce", Message::Announce(announce())),
        ("announce-reply", Message::AnnounceReply(AnnounceReply { request: 1, outcomes })),
        ("ls-update-topology", Message::LsUpdate(vec![topology_lsa()])),
        ("ls-update-prefix", Message::LsUpdate(vec![prefix_lsa()])),
        ("ls-update-pool", Message::LsUpdate(vec![pool_lsa()])),
        ("ls-update-attached", Message::LsUpdate(vec![attached_lsa()])),
        ("ls-update-purge", Message::LsUpdate(vec![purge(), topology_lsa()])),
        ("ls-ack", Message::LsAck(headers())),
        ("db-summary", Message::DbSummary(summary)),
        ("ls-request", Message::LsRequest(headers())),
        ("auth-request", Message::AuthRequest(request)),
        ("auth-reply-granted", Message::AuthReply(AuthReply { request: 3, result: AuthResult::Granted(grant()) })),
        ("auth-reply-refused", Message::AuthReply(AuthReply { request: 3, result: AuthResult::Refused(refused) })),
        ("revoke", Message::Revoke(Revoke { prefix: name("/A/1"), pod: node("pod-1"), serial: 7 })),
        ("revoke-ack", Message::RevokeAck(RevokeAck { serial: 7 })),
        ("topology", Message::Topology(vec![topology_lsa()])),
        ("topology-ack", Message::TopologyAck(headers())),
        ("attach", Message::Attach(attachment())),
        ("attach-ack", Message::AttachAck(AttachAck { issued_at: Millis(2_000) })),
    ]
    .map(|(title, message)| (title, local(message)))
    .into()
}

fn end_to_end() -> Vec<(&'static str, Frame)> {
    let request = DataKind::Request { method: "add".into(), deadline: Millis(1_000), context: None };
    let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let in_trace = DataKind::Request { method: "trace".into(), deadline: Millis(1_000), context: Some(context) };
    let failed = DataKind::Error { reason: RefusalReason::NoSuchMethod };
    let there = [("sg-1", false), ("sr-left", false)];
    let and_back = [("sg-1", false), ("sg-4", false), ("sg-4", true)];
    let ack = QosAck { sequence: 2, label: 9, refusal: Some(DropReason::PolicyUnreachable) };
    let report = TaskReport { task: 0x7a5c, healthy: true, load_ppm: 125_000, served: 42, self_test_ns: 30_000 };
    let reply = Probe { t2: 2_000_000, t3: 2_010_000, ..probe(0, 1, 0) };
    let nack = Nack {
        reason: RefusalReason::NoRoute,
        node: node("sg-1"),
        answered: MessageType::Data,
        destination: name("/nobody"),
        body: vec![1, 0, 0, 0, 0, 0, 0, 0, 7],
    };
    let query = PathQuery { request: 1, target: name("/B") };
    let path = PathReply { request: 1, path: vec![node("sg-1"), node("sr-left"), node("sg-4")], cost: 2 };
    vec![
        ("data-request", routed(data(request, b"2 3", &there)).traced()),
        ("data-request-in-trace", routed(data(in_trace, b"", &there)).traced()),
        ("data-response", routed(data(DataKind::Response, b"5", &and_back)).traced()),
        ("data-on-a-link", on_a_link(routed(data(DataKind::Response, b"5", &[])))),
        ("data-error", routed(data(failed, b"no method subtract", &[]))),
        ("packet", routed(Message::Packet(Packet { inner: ping() }))),
        ("telemetry", to_scsc(Message::Telemetry(signed("sg-1", Role::Sg, telemetry())))),
        ("policy-ingress", routed(policy(PolicyAction::Ingress { next_hop: node("sr-right") }))),
        ("policy-transit", routed(policy(PolicyAction::Transit { next_hop: node("sg-4") }))),
        ("policy-egress", routed(policy(PolicyAction::Egress))),
        ("policy-released", routed(policy(PolicyAction::Released))),
        ("policy-withdrawn", routed(policy(PolicyAction::Withdrawn))),
        ("qos-ack", to_scsc(Message::QosAck(signed("sr-left", Role::Sr, ack)))),
        ("probe", routed(Message::Probe(probe(0, 1, 0)))),
        ("probe-train", routed(Message::Probe(probe(3, 32, 40)))),
        ("probe-reply", routed(Message::ProbeReply(reply))),
        ("task", routed(Message::Task(Task { task: 0x7a5c }))),
        ("task-report", routed(Message::TaskReport(report))),
        ("nack", routed(Message::Nack(nack))),
        ("path-query", to_scsc(Message::PathQuery(signed("sg-1", Role::Sg, query)))),
        ("path-reply", routed(Message::PathReply(signed("scsc", Role::Scsc, path)))),
    ]
}
