//! Layouts of all messages: one module for each group, in the order of `nodes/WIRE.md`.

mod adjacency;
mod data;
mod link_state;
mod qos;
mod services;
mod signed;
mod trust;

use crate::cursor::{Fields, Tlvs, Writer};
use crate::error::DecodeError;
use crate::message::{Message, Packet};
use crate::registry::{MessageType, TlvType};

pub(crate) use data::REQUEST as DATA_REQUEST;
pub use link_state::SUMMARY_BODY_LEN;
pub use signed::SignedBody;

/// Writes the TLVs of a message, from after the names (of a routed one) to before the checksum or hop MAC.
pub(crate) fn put_message(m: &Message, w: &mut Writer) {
    match m {
        Message::Hello(m) => adjacency::put_hello(m, w),
        Message::Echo(m) => w.item(TlvType::Body, m),
        Message::Announce(m) => services::put_announce(m, w),
        Message::AnnounceReply(m) => {
            w.tlv(TlvType::Body, |w| w.u64(m.request));
            w.items(TlvType::Outcome, &m.outcomes);
        }
        Message::LsUpdate(lsas) | Message::Topology(lsas) => w.some_items(TlvType::Lsa, lsas),
        Message::LsAck(h) | Message::LsRequest(h) | Message::TopologyAck(h) => w.some_items(TlvType::LsaHeader, h),
        Message::DbSummary(m) => {
            w.tlv(TlvType::Body, |w| link_state::put_summary(m, w));
            w.items(TlvType::LsaHeader, &m.headers);
        }
        Message::AuthRequest(m) => services::put_auth_request(m, w),
        Message::AuthReply(m) => services::put_auth_reply(m, w),
        Message::Revoke(m) => w.item(TlvType::Body, m),
        Message::RevokeAck(m) => w.item(TlvType::Body, m),
        Message::Attach(m) => w.item(TlvType::Attachment, m),
        Message::AttachAck(m) => w.item(TlvType::Body, m),
        Message::Data(m) => data::put_data(m, w),
        Message::Telemetry(m) => m.put(w),
        Message::Policy(m) => m.put(w),
        Message::QosAck(m) => m.put(w),
        Message::Probe(m) | Message::ProbeReply(m) => qos::put_probe(m, w),
        Message::Task(m) => w.item(TlvType::Body, m),
        Message::TaskReport(m) => w.item(TlvType::Body, m),
        Message::Nack(m) => w.item(TlvType::Body, m),
        Message::PathQuery(m) => m.put(w),
        Message::PathReply(m) => m.put(w),
        Message::Packet(m) => w.tlv(TlvType::Payload, |w| w.bytes(&m.inner)),
    }
}

/// Reads what [`put_message`] writes.
pub(crate) fn take_message(t: MessageType, tlvs: &mut Tlvs<'_>) -> Result<Message, DecodeError> {
    Ok(match t {
        MessageType::Hello => Message::Hello(adjacency::take_hello(tlvs)?),
        MessageType::Echo => Message::Echo(tlvs.item(TlvType::Body)?),
        MessageType::Announce => Message::Announce(services::take_announce(tlvs)?),
        MessageType::AnnounceReply => Message::AnnounceReply(services::take_announce_reply(tlvs)?),
        MessageType::LsUpdate => Message::LsUpdate(tlvs.some_items(TlvType::Lsa)?),
        MessageType::Topology => Message::Topology(tlvs.some_items(TlvType::Lsa)?),
        MessageType::LsAck => Message::LsAck(tlvs.some_items(TlvType::LsaHeader)?),
        MessageType::LsRequest => Message::LsRequest(tlvs.some_items(TlvType::LsaHeader)?),
        MessageType::TopologyAck => Message::TopologyAck(tlvs.some_items(TlvType::LsaHeader)?),
        MessageType::DbSummary => Message::DbSummary(link_state::take_summary(tlvs)?),
        MessageType::AuthRequest => Message::AuthRequest(services::take_auth_request(tlvs)?),
        MessageType::AuthReply => Message::AuthReply(services::take_auth_reply(tlvs)?),
        MessageType::Revoke => Message::Revoke(tlvs.item(TlvType::Body)?),
        MessageType::RevokeAck => Message::RevokeAck(tlvs.item(TlvType::Body)?),
        MessageType::Attach => Message::Attach(tlvs.item(TlvType::Attachment)?),
        MessageType::AttachAck => Message::AttachAck(tlvs.item(TlvType::Body)?),
        MessageType::Data => Message::Data(data::take_data(tlvs)?),
        MessageType::Telemetry => Message::Telemetry(signed::take(tlvs)?),
        MessageType::Policy => Message::Policy(signed::take(tlvs)?),
        MessageType::QosAck => Message::QosAck(signed::take(tlvs)?),
        MessageType::Probe => Message::Probe(qos::take_probe(tlvs)?),
        MessageType::ProbeReply => Message::ProbeReply(qos::take_probe(tlvs)?),
        MessageType::Task => Message::Task(tlvs.item(TlvType::Body)?),
        MessageType::TaskReport => Message::TaskReport(tlvs.item(TlvType::Body)?),
        MessageType::Nack => Message::Nack(tlvs.item(TlvType::Body)?),
        MessageType::PathQuery => Message::PathQuery(signed::take(tlvs)?),
        MessageType::PathReply => Message::PathReply(signed::take(tlvs)?),
        MessageType::Packet => Message::Packet(Packet { inner: tlvs.require(TlvType::Payload)?.rest().to_vec() }),
    })
}

/// Starts the bytes a signature covers: the ASCII context and a zero byte.
pub(crate) fn signing(context: &str) -> Writer {
    let mut w = Writer::new();
    w.bytes(context.as_bytes());
    w.u8(0);
    w
}

/// Length of a value's TLV.
pub(crate) fn tlv_len(value: &impl Fields) -> usize {
    let mut w = Writer::new();
    value.put(&mut w);
    w.written().len() + crate::cursor::TLV_HEADER_LEN
}

/// `bit` if `set`, otherwise 0.
const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}
