//! One line for one frame, for traces and reports.
//!
//! ```text
//! echo seq 12 · mac #40
//! data /A/1 > /B/4 hops-left 63 flow 9 traced: request 0000000000000007 add, 3 bytes, deadline 500 ms, via sg-1 sr-left
//! ls-update [sg-1 topology/0 seq 3 [sr-left=1, sr-right=1] stub] · mac #9
//! ```

use core::fmt::{self, Display, Formatter};

use crate::frame::{FLAG_TRACE, FLAG_UPHILL, Frame, without_padding};
use crate::lsa::{Lsa, LsaContent, LsaHeader, LsaId, LsaKey, Proof};
use crate::message::{
    Announce, AuthResult, Data, DataKind, Hello, Hop, LinkReport, Message, Outcome, PathReport, Policy, PolicyAction,
    Probe, Telemetry,
};
use crate::registry::{ETHERTYPE, ETHERTYPE_IPV6};
use crate::security::Grant;

/// A PDU in one line; if it does not decode, the reason.
#[must_use]
pub fn pdu(bytes: &[u8]) -> String {
    match Frame::decode(bytes) {
        Ok(frame) => frame.to_string(),
        Err(e) => format!("undecodable ({} bytes): {e}", bytes.len()),
    }
}

/// A whole Ethernet frame in one line: its PDU, or the IPv6 packet between a pod and its SG.
#[must_use]
pub fn ethernet(frame: &[u8]) -> String {
    let Some((header, payload)) = frame.split_first_chunk::<14>() else {
        return format!("no Ethernet header ({} bytes)", frame.len());
    };
    match u16::from_be_bytes([header[12], header[13]]) {
        ETHERTYPE => pdu(without_padding(payload)),
        ETHERTYPE_IPV6 => format!("ipv6 {}", Inner(payload)),
        other => format!("EtherType {other:#06x}, {} bytes", payload.len()),
    }
}

/// An IPv6 packet.
struct Inner<'a>(&'a [u8]);

impl Display for Inner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        packet(self.0, f)
    }
}

impl Display for Frame {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.header.message_type.label())?;
        if let Some((destination, source)) = &self.names {
            write!(f, " {source} > {destination} hops-left {} flow {}", self.header.hop_limit, self.header.flow)?;
            if self.header.label != 0 {
                write!(f, " label {}", self.header.label)?;
            }
            if self.header.flags & FLAG_TRACE != 0 {
                f.write_str(" traced")?;
            }
            if self.header.flags & FLAG_UPHILL != 0 {
                f.write_str(" uphill")?;
            }
            f.write_str(":")?;
        }
        write!(f, " {}", self.message)?;
        self.security.map_or(Ok(()), |s| write!(f, " · mac #{}", s.counter))
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(m) => hello(m, f),
            Self::Echo(m) => write!(f, "seq {}", m.sequence),
            Self::Announce(m) => announce(m, f),
            Self::AnnounceReply(m) => {
                write!(f, "request {}", m.request)?;
                list(f, " [", &m.outcomes, outcome)
            }
            Self::LsUpdate(lsas) | Self::Topology(lsas) => list(f, "[", lsas, lsa),
            Self::LsAck(h) | Self::LsRequest(h) | Self::TopologyAck(h) => list(f, "[", h, lsa_header),
            Self::DbSummary(m) => {
                let last = if m.last { " (last)" } else { "" };
                write!(f, "exchange {:08x} page {}{last}", m.exchange, m.page)?;
                list(f, " [", &m.headers, lsa_header)
            }
            Self::AuthRequest(m) => {
                write!(f, "request {} of {}: ", m.request, m.certificate.node)?;
                announce(&m.announce, f)
            }
            Self::AuthReply(m) => {
                write!(f, "request {} ", m.request)?;
                match &m.result {
                    AuthResult::Granted(g) => grant(g, f),
                    AuthResult::Refused(o) => outcome(o, f),
                }
            }
            Self::Revoke(m) => write!(f, "{} of {} up to serial {}", m.prefix, m.pod, m.serial),
            Self::RevokeAck(m) => write!(f, "serial {}", m.serial),
            Self::Attach(m) => write!(f, "{} at {} until {}", m.certificate.node, m.router, m.expires_at.0),
            Self::AttachAck(m) => write!(f, "issued at {}", m.issued_at.0),
            Self::Data(m) => data(m, f),
            Self::Telemetry(m) => telemetry(&m.body, f),
            Self::Policy(m) => policy(&m.body, f),
            Self::QosAck(m) => {
                write!(f, "{} label {} ", m.body.sequence, m.body.label)?;
                f.write_str(m.body.refusal.map_or("accepted", |r| r.label()))
            }
            Self::Probe(m) | Self::ProbeReply(m) => probe(m, f),
            Self::Task(m) => write!(f, "{:016x}", m.task),
            Self::TaskReport(m) => {
                let health = if m.healthy { "healthy" } else { "unhealthy" };
                write!(f, "{:016x} {health}, load {} ppm, {} served", m.task, m.load_ppm, m.served)
            }
            Self::Nack(m) => write!(f, "{} by {}: {} to {}", m.reason, m.node, m.answered, m.destination),
            Self::PathQuery(m) => write!(f, "{} to {}", m.body.request, m.body.target),
            Self::PathReply(m) => {
                write!(f, "{} cost {}", m.body.request, m.body.cost)?;
                list(f, " [", &m.body.path, |n, f| write!(f, "{n}"))
            }
            Self::Packet(m) => packet(&m.inner, f),
        }
    }
}

/// ` [a b c]`, or nothing for no items.
fn list<T>(
    f: &mut Formatter<'_>,
    open: &str,
    items: &[T],
    each: impl Fn(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        f.write_str(if i == 0 { open } else { ", " })?;
        each(item, f)?;
    }
    if items.is_empty() { Ok(()) } else { f.write_str("]") }
}

fn hello(m: &Hello, f: &mut Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{} ({}) of {} session {:016x}",
        m.certificate.node, m.certificate.role, m.certificate.domain, m.session
    )?;
    match &m.heard {
        Some((node, session)) => write!(f, " hears {node} session {session:016x}"),
        None => f.write_str(" hears nobody"),
    }
}

fn announce(m: &Announce, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{} to {} request {}", m.pod, m.sg, m.request)?;
    for e in &m.add {
        write!(f, " +{}", e.prefix)?;
        if let Some(pool) = &e.pool {
            write!(f, " in {pool} weight {}", e.weight)?;
        }
    }
    m.withdraw.iter().try_for_each(|n| write!(f, " -{n}"))
}

fn outcome(o: &Outcome, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{} {}", o.prefix, o.refusal.map_or("accepted", |r| r.label()))
}

fn grant(g: &Grant, f: &mut Formatter<'_>) -> fmt::Result {
    let exact = if g.exact { " exactly" } else { "" };
    write!(f, "grant of {}{exact} to {} at {} by {} serial {}", g.prefix, g.pod, g.sg, g.certificate.node, g.serial)
}

fn lsa_key(k: &LsaKey, f: &mut Formatter<'_>) -> fmt::Result {
    match &k.id {
        LsaId::Topology(fragment) => write!(f, "{} topology/{fragment}", k.origin),
        LsaId::Prefix(prefix, port) => write!(f, "{} {prefix} at {port}", k.origin),
    }
}

fn lsa_header(h: &LsaHeader, f: &mut Formatter<'_>) -> fmt::Result {
    lsa_key(&h.key, f)?;
    write!(f, " seq {}", h.sequence)
}

fn lsa(l: &Lsa, f: &mut Formatter<'_>) -> fmt::Result {
    lsa_key(&l.key, f)?;
    write!(f, " seq {}", l.sequence)?;
    match &l.content {
        LsaContent::Purge => f.write_str(" purge"),
        LsaContent::Topology(t) => {
            list(f, " [", &t.links, |k, f| write!(f, "{}={}", k.neighbour, k.cost))?;
            f.write_str(if t.stub { " stub" } else { "" })?;
            f.write_str(if t.overload { " overload" } else { "" })
        }
        LsaContent::Prefix(p) => {
            write!(f, " metric {}", p.metric)?;
            if let Some(instance) = &p.instance {
                write!(f, " instance {instance}")?;
            }
            match &p.proof {
                Proof::Grant(g) => write!(f, " granted by {}", g.certificate.node),
                Proof::Attached(a) => write!(f, " attached {}", a.certificate.node),
            }
        }
    }
}

fn hops(hops: &[Hop], f: &mut Formatter<'_>) -> fmt::Result {
    if !hops.is_empty() {
        f.write_str(", via")?;
    }
    hops.iter().try_for_each(|h| write!(f, " {}{}", if h.on_return { "<" } else { "" }, h.node))
}

fn data(m: &Data, f: &mut Formatter<'_>) -> fmt::Result {
    match &m.kind {
        DataKind::Request { method, .. } => write!(f, "request {:016x} {}", m.correlation, method.escape_debug())?,
        DataKind::Response => write!(f, "response {:016x}", m.correlation)?,
        DataKind::Error { reason } => write!(f, "error {:016x} {reason}", m.correlation)?,
    }
    write!(f, ", {} bytes", m.payload.len())?;
    if let DataKind::Request { deadline, context, .. } = &m.kind {
        write!(f, ", deadline {} ms", deadline.0)?;
        context.map_or(Ok(()), |context| write!(f, ", trace {context}"))?;
    }
    hops(&m.hops, f)
}

/// Addresses, the next header and the length of an IPv6 packet.
fn packet(inner: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    let address = |at: usize| inner.get(at..)?.first_chunk::<16>().map(|bytes| core::net::Ipv6Addr::from(*bytes));
    match (address(8), address(24), inner.get(6)) {
        (Some(source), Some(destination), Some(next)) => {
            write!(f, "{source} > {destination} next header {next}, {} bytes", inner.len())
        }
        _ => write!(f, "no IPv6 header, {} bytes", inner.len()),
    }
}

fn probe(m: &Probe, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{:016x} seq {}", m.test, m.sequence)?;
    if m.train_length > 1 {
        write!(f, " train {}/{}", m.train_index + 1, m.train_length)?;
    }
    Ok(())
}

struct Metric(&'static str, Option<u64>);

impl Display for Metric {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.1.map_or(Ok(()), |v| write!(f, " {} {v}", self.0))
    }
}

fn telemetry(m: &Telemetry, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "report {}", m.sequence)?;
    list(f, " [", &m.paths, path_report)?;
    list(f, " [", &m.links, link_report)
}

fn path_report(p: &PathReport, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{}{}", p.target, Metric("label", (p.label != 0).then_some(p.label.into())))?;
    write!(f, "{}{}", Metric("delay-ns", p.delay_ns), Metric("jitter-ns", p.jitter_ns))?;
    write!(f, "{} loss-ppm {}", Metric("bps", p.bandwidth_bps), p.loss_ppm)?;
    f.write_str(if p.available { "" } else { " unavailable" })
}

fn link_report(l: &LinkReport, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{}{}{}", l.neighbour, Metric("delay-ns", l.delay_ns), Metric("jitter-ns", l.jitter_ns))?;
    write!(f, "{} loss-ppm {}", Metric("bps", l.bandwidth_bps), l.loss_ppm)
}

fn policy(p: &Policy, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{} of {} for {} label {} version {} ", p.prefix, p.source, p.recipient, p.label, p.version)?;
    match &p.action {
        PolicyAction::Ingress { next_hop } => write!(f, "ingress to {next_hop}"),
        PolicyAction::Transit { next_hop } => write!(f, "transit to {next_hop}"),
        PolicyAction::Egress => f.write_str("egress"),
        PolicyAction::Released => f.write_str("released"),
        PolicyAction::Withdrawn => f.write_str("withdrawn"),
    }
}
