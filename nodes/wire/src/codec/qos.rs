//! Probes, tasks, telemetry, policies, path queries (class 4).

use super::flag;
use super::services::take_refusal;
use super::signed::{Sealed, SignedBody};
use crate::cursor::{Fields, Reader, Tlvs, Writer};
use crate::error::DecodeError;
use crate::message::{
    Hop, LinkReport, PathQuery, PathReply, PathReport, Policy, PolicyAction, Probe, QosAck, Task, TaskReport, Telemetry,
};
use crate::registry::{DropReason, MessageType, TlvType};

pub(super) fn put_probe(m: &Probe, w: &mut Writer) {
    w.item(TlvType::Body, m);
    if m.padding > 0 {
        w.tlv(TlvType::Padding, |w| w.bytes(&vec![0; usize::from(m.padding)]));
    }
}

pub(super) fn take_probe(tlvs: &mut Tlvs<'_>) -> Result<Probe, DecodeError> {
    let mut probe: Probe = tlvs.item(TlvType::Body)?;
    if let Some(mut r) = tlvs.next_if(TlvType::Padding)? {
        let at = r.clone();
        let padding = r.rest();
        let len = u16::try_from(padding.len()).unwrap_or(u16::MAX);
        if len == 0 || padding.iter().any(|b| *b != 0) {
            return Err(at.bad_value("padding", u64::from(len)));
        }
        probe.padding = len;
    }
    Ok(probe)
}

impl Fields for Probe {
    const WHAT: &'static str = "probe";

    fn put(&self, w: &mut Writer) {
        w.check(self.train_index < self.train_length, "train index", u64::from(self.train_index));
        w.u64(self.test);
        w.u32(self.sequence);
        w.u16(self.train_index);
        w.u16(self.train_length);
        w.u64(self.t1);
        w.u64(self.t2);
        w.u64(self.t3);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let test = r.u64("test")?;
        let sequence = r.u32("probe sequence")?;
        let at = r.clone();
        let train_index = r.u16("train index")?;
        let train_length = r.u16("train length")?;
        if train_index >= train_length {
            return Err(at.bad_value("train index", u64::from(train_index)));
        }
        let (t1, t2, t3) = (r.u64("t1")?, r.u64("t2")?, r.u64("t3")?);
        Ok(Self { test, sequence, train_index, train_length, t1, t2, t3, padding: 0 })
    }
}

impl Fields for Task {
    const WHAT: &'static str = "task";

    fn put(&self, w: &mut Writer) {
        w.u64(self.task);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { task: r.u64("task")? })
    }
}

impl Fields for TaskReport {
    const WHAT: &'static str = "task report";

    fn put(&self, w: &mut Writer) {
        w.u64(self.task);
        w.u8(u8::from(self.healthy));
        w.u32(self.load_ppm);
        w.u64(self.served);
        w.u64(self.self_test_ns);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            task: r.u64("task")?,
            healthy: r.flags(1, "healthy")? != 0,
            load_ppm: r.u32("load")?,
            served: r.u64("served")?,
            self_test_ns: r.u64("self-test")?,
        })
    }
}

impl Sealed for Telemetry {}
impl SignedBody for Telemetry {
    const TYPE: MessageType = MessageType::Telemetry;

    fn put_tlvs(&self, w: &mut Writer) {
        w.tlv(TlvType::Body, |w| w.u64(self.sequence));
        w.items(TlvType::PathReport, &self.paths);
        w.items(TlvType::LinkReport, &self.links);
    }

    fn take_tlvs(tlvs: &mut Tlvs<'_>) -> Result<Self, DecodeError> {
        let mut r = tlvs.require(TlvType::Body)?;
        let sequence = r.u64("telemetry sequence")?;
        r.finish("telemetry")?;
        Ok(Self { sequence, paths: tlvs.items(TlvType::PathReport)?, links: tlvs.items(TlvType::LinkReport)? })
    }
}

/// Which optional metrics follow.
const HAS_DELAY: u8 = 0x01;
const HAS_JITTER: u8 = 0x02;
const HAS_BANDWIDTH: u8 = 0x04;
const HAS_SELF_LOAD: u8 = 0x08;
const AVAILABLE: u8 = 0x10;

fn put_optional(v: Option<u64>, w: &mut Writer) {
    if let Some(v) = v {
        w.u64(v);
    }
}

fn take_optional(r: &mut Reader<'_>, present: bool, what: &'static str) -> Result<Option<u64>, DecodeError> {
    if present { r.u64(what).map(Some) } else { Ok(None) }
}

impl PathReport {
    /// Bytes of its TLV, for packing telemetry.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        super::tlv_len(self)
    }
}

impl Fields for PathReport {
    const WHAT: &'static str = "path report";

    fn put(&self, w: &mut Writer) {
        w.u8(flag(self.delay_ns.is_some(), HAS_DELAY)
            | flag(self.jitter_ns.is_some(), HAS_JITTER)
            | flag(self.bandwidth_bps.is_some(), HAS_BANDWIDTH)
            | flag(self.self_load_ppm.is_some(), HAS_SELF_LOAD)
            | flag(self.available, AVAILABLE));
        w.name(&self.target);
        w.u32(self.label);
        w.u32(self.loss_ppm);
        w.millis(self.age, "sample age");
        put_optional(self.delay_ns, w);
        put_optional(self.jitter_ns, w);
        put_optional(self.bandwidth_bps, w);
        if let Some(load) = self.self_load_ppm {
            w.u32(load);
        }
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = r.flags(HAS_DELAY | HAS_JITTER | HAS_BANDWIDTH | HAS_SELF_LOAD | AVAILABLE, "path report flags")?;
        Ok(Self {
            target: r.name()?,
            label: r.u32("label")?,
            loss_ppm: r.u32("loss")?,
            age: r.millis("sample age")?,
            delay_ns: take_optional(r, flags & HAS_DELAY != 0, "delay")?,
            jitter_ns: take_optional(r, flags & HAS_JITTER != 0, "jitter")?,
            bandwidth_bps: take_optional(r, flags & HAS_BANDWIDTH != 0, "bandwidth")?,
            self_load_ppm: if flags & HAS_SELF_LOAD == 0 { None } else { Some(r.u32("self load")?) },
            available: flags & AVAILABLE != 0,
        })
    }
}

impl LinkReport {
    /// Bytes of its TLV, for packing telemetry.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        super::tlv_len(self)
    }
}

impl Fields for LinkReport {
    const WHAT: &'static str = "link report";

    fn put(&self, w: &mut Writer) {
        w.u8(flag(self.delay_ns.is_some(), HAS_DELAY)
            | flag(self.jitter_ns.is_some(), HAS_JITTER)
            | flag(self.bandwidth_bps.is_some(), HAS_BANDWIDTH));
        w.node_id(&self.neighbour);
        w.u32(self.loss_ppm);
        w.u64(self.tx_bps);
        w.u64(self.rx_bps);
        put_optional(self.delay_ns, w);
        put_optional(self.jitter_ns, w);
        put_optional(self.bandwidth_bps, w);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = r.flags(HAS_DELAY | HAS_JITTER | HAS_BANDWIDTH, "link report flags")?;
        Ok(Self {
            neighbour: r.node_id()?,
            loss_ppm: r.u32("loss")?,
            tx_bps: r.u64("sent rate")?,
            rx_bps: r.u64("received rate")?,
            delay_ns: take_optional(r, flags & HAS_DELAY != 0, "delay")?,
            jitter_ns: take_optional(r, flags & HAS_JITTER != 0, "jitter")?,
            bandwidth_bps: take_optional(r, flags & HAS_BANDWIDTH != 0, "bandwidth")?,
        })
    }
}

/// Signed messages that consist of a body only.
macro_rules! body_only {
    ($($t:ident),*) => {$(
        impl Sealed for $t {}
        impl SignedBody for $t {
            const TYPE: MessageType = MessageType::$t;

            fn put_tlvs(&self, w: &mut Writer) {
                w.item(TlvType::Body, self);
            }

            fn take_tlvs(tlvs: &mut Tlvs<'_>) -> Result<Self, DecodeError> {
                tlvs.item(TlvType::Body)
            }
        }
    )*};
}
body_only!(Policy, QosAck, PathQuery);

/// Codes of policy actions.
const INGRESS: u8 = 1;
const TRANSIT: u8 = 2;
const EGRESS: u8 = 3;
const RELEASED: u8 = 4;
const WITHDRAWN: u8 = 5;

impl Fields for Policy {
    const WHAT: &'static str = "policy";

    fn put(&self, w: &mut Writer) {
        w.check(self.label != 0, "label", 0);
        w.u32(self.label);
        w.u64(self.version);
        w.millis(self.expires_in, "policy lifetime");
        w.node_id(&self.recipient);
        w.node_id(&self.source);
        w.name(&self.prefix);
        match &self.action {
            PolicyAction::Ingress { next_hop } => {
                w.u8(INGRESS);
                w.node_id(next_hop);
            }
            PolicyAction::Transit { next_hop } => {
                w.u8(TRANSIT);
                w.node_id(next_hop);
            }
            PolicyAction::Egress => w.u8(EGRESS),
            PolicyAction::Released => w.u8(RELEASED),
            PolicyAction::Withdrawn => w.u8(WITHDRAWN),
        }
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.clone();
        let label = r.u32("label")?;
        if label == 0 {
            return Err(at.bad_value("label", 0));
        }
        let version = r.u64("policy version")?;
        let expires_in = r.millis("policy lifetime")?;
        let (recipient, source, prefix) = (r.node_id()?, r.node_id()?, r.name()?);
        let at = r.clone();
        let action = match r.u8("policy action")? {
            INGRESS => PolicyAction::Ingress { next_hop: r.node_id()? },
            TRANSIT => PolicyAction::Transit { next_hop: r.node_id()? },
            EGRESS => PolicyAction::Egress,
            RELEASED => PolicyAction::Released,
            WITHDRAWN => PolicyAction::Withdrawn,
            v => return Err(at.bad_value("policy action", u64::from(v))),
        };
        Ok(Self { label, version, recipient, source, prefix, action, expires_in })
    }
}

impl Fields for QosAck {
    const WHAT: &'static str = "acknowledgement";

    fn put(&self, w: &mut Writer) {
        w.u64(self.sequence);
        w.u32(self.label);
        w.u8(self.refusal.map_or(0, DropReason::code));
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sequence: r.u64("sequence")?,
            label: r.u32("label")?,
            refusal: take_refusal(r, DropReason::from_code)?,
        })
    }
}

impl Fields for PathQuery {
    const WHAT: &'static str = "path query";

    fn put(&self, w: &mut Writer) {
        w.u64(self.request);
        w.name(&self.target);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { request: r.u64("request")?, target: r.name()? })
    }
}

impl Sealed for PathReply {}
impl SignedBody for PathReply {
    const TYPE: MessageType = MessageType::PathReply;

    fn put_tlvs(&self, w: &mut Writer) {
        w.tlv(TlvType::Body, |w| {
            w.u64(self.request);
            w.u64(self.cost);
        });
        for node in &self.path {
            w.item(TlvType::Hop, &Hop { node: node.clone(), on_return: false });
        }
    }

    fn take_tlvs(tlvs: &mut Tlvs<'_>) -> Result<Self, DecodeError> {
        let mut r = tlvs.require(TlvType::Body)?;
        let (request, cost) = (r.u64("request")?, r.u64("cost")?);
        r.finish("path reply")?;
        let mut path = Vec::new();
        while let Some(r) = tlvs.next_if(TlvType::Hop)? {
            let on_return = r.bad_value("hop flags", 1);
            let hop: Hop = r.whole()?;
            if hop.on_return {
                return Err(on_return);
            }
            path.push(hop.node);
        }
        Ok(Self { request, path, cost })
    }
}
