//! What the dissector must say of a frame: the fields of the decoded value, by the names they have in filters.

use std::collections::BTreeMap;
use std::fmt::Display;

use damc_wire::frame::{FLAG_TRACE, FLAG_UPHILL, HeaderView, ROUTED_HEADER_LEN};
use damc_wire::hex::to_hex;
use damc_wire::lsa::{Lsa, LsaContent, LsaHeader, LsaId, LsaKey, PrefixLsa, Proof, TopologyLsa};
use damc_wire::message::*;
use damc_wire::registry::{TlvType, VERSION};
use damc_wire::security::{Attachment, Certificate, Grant};
use damc_wire::{DropReason, Frame, Header, Message, Name, NodeId, RefusalReason, Role, crc32c};

/// The values of each field, in the order of the frame.
#[derive(Debug, Default)]
struct Fields(BTreeMap<String, Vec<String>>);

/// All fields of a frame and its PDU.
pub fn of(frame: &Frame, pdu: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut fields = Fields::default();
    fields.header(&frame.header, pdu);
    if let Some((destination, source)) = &frame.names {
        fields.bytes("link_mac", &frame.link_mac.unwrap_or_default());
        fields.name("destination", destination);
        fields.name("source", source);
        fields.hex32("checksum", checksum(frame, pdu));
    }
    fields.message(&frame.message);
    if let Some(security) = &frame.security {
        fields.put("mac.counter", security.counter);
        fields.bytes("mac", &security.mac);
    }
    fields.0
}

/// The checksum of a routed PDU, computed: it covers all but the header, itself, and the hops behind it.
fn checksum(frame: &Frame, pdu: &[u8]) -> u32 {
    let hops = match &frame.message {
        Message::Data(data) => data.hops.iter().map(|hop| 5 + hop.node.as_str().len()).sum(),
        _ => 0,
    };
    let at = pdu.len() - hops - 7;
    assert_eq!(pdu[at], TlvType::Checksum.code(), "a checksum before the hops");
    crc32c(&pdu[ROUTED_HEADER_LEN..at])
}

impl Fields {
    fn put(&mut self, field: &str, value: impl Display) {
        self.0.entry(format!("damc.{field}")).or_default().push(value.to_string());
    }

    fn flag(&mut self, field: &str, value: bool) {
        self.put(field, u8::from(value));
    }

    fn hex32(&mut self, field: &str, value: u32) {
        self.put(field, format_args!("{value:#010x}"));
    }

    fn hex64(&mut self, field: &str, value: u64) {
        self.put(field, format_args!("{value:#018x}"));
    }

    /// Bytes; none make no field.
    fn bytes(&mut self, field: &str, value: &[u8]) {
        if !value.is_empty() {
            self.put(field, to_hex(value));
        }
    }

    fn name(&mut self, field: &str, name: &Name) {
        self.put(field, name);
        self.put("name", name);
    }

    fn node(&mut self, field: &str, node: &NodeId) {
        self.put(field, node);
        self.put("node", node);
    }

    fn header(&mut self, header: &Header, pdu: &[u8]) {
        self.put("version", VERSION);
        self.put("type", format_args!("{:#04x}", header.message_type.code()));
        if let Some(class) = header.message_type.class() {
            self.put("class", class.code());
        }
        self.put("flags", format_args!("{:#04x}", header.flags));
        self.flag("flags.trace", header.flags & FLAG_TRACE != 0);
        self.flag("flags.uphill", header.flags & FLAG_UPHILL != 0);
        self.put("hop_limit", header.hop_limit);
        self.put("length", pdu.len());
        self.put("ahead", HeaderView::of(pdu).ahead().cost);
        self.put("flow", header.flow);
        self.put("label", header.label);
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::Hello(m) => self.hello(m),
            Message::Echo(m) => self.echo(*m),
            Message::Announce(m) => self.announce(m, None),
            Message::AnnounceReply(m) => {
                self.put("announce_reply.request", m.request);
                m.outcomes.iter().for_each(|outcome| self.outcome(outcome));
            }
            Message::LsUpdate(lsas) | Message::Topology(lsas) => lsas.iter().for_each(|lsa| self.lsa(lsa)),
            Message::LsAck(h) | Message::LsRequest(h) | Message::TopologyAck(h) => self.lsa_headers(h),
            Message::DbSummary(m) => {
                self.hex32("summary.exchange", m.exchange);
                self.put("summary.page", m.page);
                self.flag("summary.last", m.last);
                self.lsa_headers(&m.headers);
            }
            Message::AuthRequest(m) => {
                self.put("auth.request", m.request);
                self.announce(&m.announce, Some(&m.certificate));
            }
            Message::AuthReply(m) => {
                self.put("auth.request", m.request);
                match &m.result {
                    AuthResult::Granted(grant) => self.grant(grant),
                    AuthResult::Refused(outcome) => self.outcome(outcome),
                }
            }
            Message::Revoke(m) => {
                self.put("revoke.serial", m.serial);
                self.node("revoke.pod", &m.pod);
                self.name("revoke.prefix", &m.prefix);
            }
            Message::RevokeAck(m) => self.put("revoke.serial", m.serial),
            Message::Attach(m) => self.attachment(m),
            Message::AttachAck(m) => self.put("attachment.issued_at", m.issued_at.0),
            other => self.routed(other),
        }
    }

    fn routed(&mut self, message: &Message) {
        match message {
            Message::Data(m) => self.data(m),
            Message::Telemetry(m) => self.signed(m, Self::telemetry),
            Message::Policy(m) => self.signed(m, Self::policy),
            Message::QosAck(m) => self.signed(m, |fields, ack| {
                fields.put("qos_ack.sequence", ack.sequence);
                fields.put("qos_ack.label", ack.label);
                fields.put("qos_ack.reason", ack.refusal.map_or(0, DropReason::code));
            }),
            Message::Probe(m) | Message::ProbeReply(m) => self.probe(m),
            Message::Task(m) => self.hex64("task", m.task),
            Message::TaskReport(m) => {
                self.hex64("task", m.task);
                self.flag("task.healthy", m.healthy);
                self.put("task.load", m.load_ppm);
                self.put("task.served", m.served);
                self.put("task.self_test", m.self_test_ns);
            }
            Message::Nack(m) => self.nack(m),
            Message::PathQuery(m) => self.signed(m, |fields, query| {
                fields.put("path_query.request", query.request);
                fields.name("path_query.target", &query.target);
            }),
            Message::PathReply(m) => self.signed(m, |fields, reply| {
                fields.put("path_reply.request", reply.request);
                fields.put("path_reply.cost", reply.cost);
                reply.path.iter().for_each(|node| fields.hop(&Hop { node: node.clone(), on_return: false }));
            }),
            Message::Packet(m) => self.bytes("payload", &m.inner),
            hop_local => unreachable!("{hop_local}"),
        }
    }

    fn hello(&mut self, m: &Hello) {
        self.hex64("hello.session", m.session);
        self.put("hello.hello_interval", m.hello_interval.0);
        self.put("hello.dead_interval", m.dead_interval.0);
        self.put("hello.echo_interval", m.echo_interval.0);
        self.put("hello.echo_multiplier", m.echo_multiplier);
        if let Some((node, session)) = &m.heard {
            self.node("hello.heard", node);
            self.hex64("hello.heard_session", *session);
        }
        self.certificate(&m.certificate);
        self.bytes("signature", &m.signature);
    }

    fn echo(&mut self, m: Echo) {
        self.put("echo.sequence", m.sequence);
        self.put("echo.sent_at", m.sent_at);
        self.put("echo.their_sent_at", m.their_sent_at);
        self.put("echo.held", m.held);
    }

    /// An announcement; in a request to an SPA the pod's certificate stands before the signature.
    fn announce(&mut self, m: &Announce, certificate: Option<&Certificate>) {
        self.put("announce.request", m.request);
        self.node("announce.pod", &m.pod);
        self.node("announce.sg", &m.sg);
        self.hex64("announce.sg_session", m.sg_session);
        for entry in &m.add {
            self.put("announcement.kind", 1 + u8::from(entry.pool.is_some()));
            self.name("announcement.prefix", &entry.prefix);
            self.put("announcement.weight", entry.weight);
            entry.pool.iter().for_each(|pool| self.name("announcement.pool", pool));
        }
        for name in &m.withdraw {
            self.put("announcement.kind", 0);
            self.name("announcement.prefix", name);
        }
        certificate.into_iter().for_each(|certificate| self.certificate(certificate));
        self.bytes("signature", &m.signature);
    }

    fn outcome(&mut self, outcome: &Outcome) {
        self.put("outcome.reason", outcome.refusal.map_or(0, RefusalReason::code));
        self.name("outcome.prefix", &outcome.prefix);
    }

    fn certificate(&mut self, c: &Certificate) {
        self.node("certificate.domain", &c.domain);
        self.node("certificate.node", &c.node);
        self.put("certificate.role", c.role.code());
        self.bytes("certificate.signing_key", &c.signing_key);
        self.bytes("certificate.agreement_key", &c.agreement_key);
        if c.role == Role::Spa {
            self.put("certificate.names", c.names.len());
        }
        for certified in &c.names {
            self.flag("certificate.name_exact", certified.exact);
            self.name("certificate.name", &certified.name);
        }
        self.bytes("certificate.signature", &c.signature);
    }

    fn grant(&mut self, g: &Grant) {
        self.flag("grant.exact", g.exact);
        self.put("grant.depth", g.depth);
        self.name("grant.prefix", &g.prefix);
        self.node("grant.pod", &g.pod);
        self.bytes("grant.pod_key", &g.pod_key);
        self.node("grant.sg", &g.sg);
        self.put("grant.issued_at", g.issued_at.0);
        self.put("grant.expires_at", g.expires_at.0);
        self.put("grant.serial", g.serial);
        self.certificate(&g.certificate);
        self.bytes("grant.signature", &g.signature);
    }

    fn lsa_key(&mut self, key: &LsaKey) {
        self.put("lsa.kind", key.id.kind() as u8);
        self.node("lsa.origin", &key.origin);
        match &key.id {
            LsaId::Topology(fragment) => self.put("lsa.fragment", fragment),
            LsaId::Prefix(prefix, port) => {
                self.name("lsa.prefix", prefix);
                self.node("lsa.port", port);
            }
        }
    }

    fn lsa_headers(&mut self, headers: &[LsaHeader]) {
        for header in headers {
            self.lsa_key(&header.key);
            self.put("lsa.sequence", header.sequence);
            self.hex64("lsa.digest", header.digest);
            self.put("lsa.remaining", header.remaining.0);
        }
    }

    fn lsa(&mut self, lsa: &Lsa) {
        self.put("lsa.remaining", lsa.remaining.0);
        self.lsa_key(&lsa.key);
        self.put("lsa.sequence", lsa.sequence);
        self.put("lsa.lifetime", lsa.lifetime.0);
        self.flag("lsa.purge", lsa.is_purge());
        match &lsa.content {
            LsaContent::Purge => {}
            LsaContent::Topology(topology) => self.topology(topology),
            LsaContent::Prefix(prefix) => self.prefix(prefix),
        }
        self.certificate(&lsa.certificate);
        self.bytes("lsa.signature", &lsa.signature);
    }

    fn topology(&mut self, topology: &TopologyLsa) {
        self.flag("lsa.overload", topology.overload);
        self.flag("lsa.stub", topology.stub);
        self.put("lsa.count", topology.links.len());
        for link in &topology.links {
            self.node("lsa.neighbour", &link.neighbour);
            self.put("lsa.cost", link.cost);
        }
    }

    fn prefix(&mut self, prefix: &PrefixLsa) {
        self.flag("lsa.exact", prefix.exact);
        self.flag("lsa.has_instance", prefix.instance.is_some());
        self.put("lsa.metric", prefix.metric);
        self.put("lsa.weight", prefix.weight);
        prefix.instance.iter().for_each(|instance| self.name("lsa.instance", instance));
        match &prefix.proof {
            Proof::Grant(grant) => {
                self.put("lsa.proof", 1);
                self.grant(grant);
            }
            Proof::Attached(attachment) => {
                self.put("lsa.proof", 3);
                self.attachment(attachment);
            }
        }
    }

    fn attachment(&mut self, m: &Attachment) {
        self.node("attachment.router", &m.router);
        self.put("attachment.issued_at", m.issued_at.0);
        self.put("attachment.expires_at", m.expires_at.0);
        self.certificate(&m.certificate);
        self.bytes("attachment.signature", &m.signature);
    }

    fn data(&mut self, m: &Data) {
        match &m.kind {
            DataKind::Request { method, deadline, context } => {
                self.put("data.kind", 1);
                self.put("data.deadline", deadline.0);
                self.put("data.method", method);
                if let Some(context) = context {
                    self.bytes("trace.id", context.trace_id());
                    self.bytes("trace.parent", context.parent_id());
                    self.put("trace.flags", format_args!("{:#04x}", context.flags));
                }
            }
            DataKind::Response => self.put("data.kind", 2),
            DataKind::Error { reason } => {
                self.put("data.kind", 3);
                self.put("data.reason", reason.code());
            }
        }
        self.hex64("call", m.correlation);
        self.bytes("payload", &m.payload);
        m.hops.iter().for_each(|hop| self.hop(hop));
    }

    fn hop(&mut self, hop: &Hop) {
        self.flag("hop.on_return", hop.on_return);
        self.node("hop.node", &hop.node);
    }

    fn signed<T>(&mut self, m: &Signed<T>, body: impl FnOnce(&mut Self, &T)) {
        body(self, &m.body);
        self.certificate(&m.certificate);
        self.bytes("signature", &m.signature);
    }

    fn telemetry(&mut self, m: &Telemetry) {
        self.put("telemetry.sequence", m.sequence);
        for path in &m.paths {
            self.flag("path.available", path.available);
            self.name("path.target", &path.target);
            self.put("path.label", path.label);
            self.put("path.loss", path.loss_ppm);
            self.put("path.age", path.age.0);
            path.delay_ns.iter().for_each(|ns| self.put("path.delay", ns));
            path.jitter_ns.iter().for_each(|ns| self.put("path.jitter", ns));
            path.bandwidth_bps.iter().for_each(|bps| self.put("path.bandwidth", bps));
            path.self_load_ppm.iter().for_each(|ppm| self.put("path.self_load", ppm));
        }
        for link in &m.links {
            self.node("link.neighbour", &link.neighbour);
            self.put("link.loss", link.loss_ppm);
            self.put("link.sent", link.tx_bps);
            self.put("link.received", link.rx_bps);
            link.delay_ns.iter().for_each(|ns| self.put("link.delay", ns));
            link.jitter_ns.iter().for_each(|ns| self.put("link.jitter", ns));
            link.bandwidth_bps.iter().for_each(|bps| self.put("link.bandwidth", bps));
        }
    }

    fn policy(&mut self, m: &Policy) {
        self.put("policy.label", m.label);
        self.put("policy.version", m.version);
        self.put("policy.expires_in", m.expires_in.0);
        self.node("policy.recipient", &m.recipient);
        self.node("policy.source", &m.source);
        self.name("policy.prefix", &m.prefix);
        let (code, next_hop) = match &m.action {
            PolicyAction::Ingress { next_hop } => (1, Some(next_hop)),
            PolicyAction::Transit { next_hop } => (2, Some(next_hop)),
            PolicyAction::Egress => (3, None),
            PolicyAction::Released => (4, None),
            PolicyAction::Withdrawn => (5, None),
        };
        self.put("policy.action", code);
        next_hop.into_iter().for_each(|node| self.node("policy.next_hop", node));
    }

    fn probe(&mut self, m: &Probe) {
        self.hex64("probe.test", m.test);
        self.put("probe.sequence", m.sequence);
        self.put("probe.train_index", m.train_index);
        self.put("probe.train_length", m.train_length);
        self.put("probe.t1", m.t1);
        self.put("probe.t2", m.t2);
        self.put("probe.t3", m.t3);
        self.bytes("padding", &vec![0; usize::from(m.padding)]);
    }

    fn nack(&mut self, m: &Nack) {
        self.put("nack.reason", m.reason.code());
        self.put("nack.answered", format_args!("{:#04x}", m.answered.code()));
        self.node("nack.node", &m.node);
        self.name("nack.destination", &m.destination);
        self.bytes("nack.body", &m.body);
        m.call().into_iter().for_each(|call| self.hex64("call", call));
    }
}
