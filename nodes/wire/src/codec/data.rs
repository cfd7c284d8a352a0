//! Data, hops and negative replies.

use crate::cursor::{Fields, Reader, Tlvs, Writer};
use crate::error::DecodeError;
use crate::frame::MAX_BODY;
use crate::message::{Data, DataKind, Hop, MAX_METHOD_LEN, Nack};
use crate::registry::{MessageType, RefusalReason, TlvType};
use crate::trace_context::TraceContext;

/// First byte of a data body. The forwarding plane reads it to distinguish the two directions of a call.
pub(crate) const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const ERROR: u8 = 3;

/// Writes body and payload. The hops follow the checksum, where nodes on the path append theirs.
pub(super) fn put_data(m: &Data, w: &mut Writer) {
    w.tlv(TlvType::Body, |w| match &m.kind {
        DataKind::Request { method, deadline, .. } => {
            w.u8(REQUEST);
            w.u64(m.correlation);
            w.millis(*deadline, "deadline");
            w.check((1..=MAX_METHOD_LEN).contains(&method.len()), "method length", method.len() as u64);
            w.bytes(method.as_bytes());
        }
        DataKind::Response => {
            w.u8(RESPONSE);
            w.u64(m.correlation);
        }
        DataKind::Error { reason } => {
            w.u8(ERROR);
            w.u64(m.correlation);
            w.u8(reason.code());
        }
    });
    w.tlv(TlvType::Payload, |w| w.bytes(&m.payload));
    if let DataKind::Request { context: Some(context), .. } = &m.kind {
        w.item(TlvType::TraceContext, context);
    }
}

pub(super) fn take_data(tlvs: &mut Tlvs<'_>) -> Result<Data, DecodeError> {
    let mut r = tlvs.require(TlvType::Body)?;
    let at = r.clone();
    let kind = r.u8("data kind")?;
    let correlation = r.u64("correlation")?;
    let mut kind = match kind {
        REQUEST => DataKind::Request { deadline: r.millis("deadline")?, method: take_method(&mut r)?, context: None },
        RESPONSE => DataKind::Response,
        ERROR => DataKind::Error { reason: r.code(RefusalReason::from_code, "reason")? },
        v => return Err(at.bad_value("data kind", u64::from(v))),
    };
    r.finish("data body")?;
    let payload = tlvs.require(TlvType::Payload)?.rest().to_vec();
    // Behind answers it has no place, and the reader of what follows refuses it there.
    if let DataKind::Request { context, .. } = &mut kind {
        *context = tlvs.next_if(TlvType::TraceContext)?.map(Reader::whole).transpose()?;
    }
    Ok(Data { correlation, kind, payload, hops: Vec::new() })
}

fn take_method(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    let at = r.clone();
    let bytes = r.rest();
    if !(1..=MAX_METHOD_LEN).contains(&bytes.len()) {
        return Err(at.bad_value("method length", bytes.len() as u64));
    }
    core::str::from_utf8(bytes).map(str::to_owned).map_err(|e| at.bad_value("method", e.valid_up_to() as u64))
}

impl Fields for TraceContext {
    const WHAT: &'static str = "trace context";

    fn put(&self, w: &mut Writer) {
        w.bytes(self.trace_id());
        w.bytes(self.parent_id());
        w.u8(self.flags);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.clone();
        let (trace_id, parent_id) = (r.array("trace id")?, r.array("parent id")?);
        Self::new(trace_id, parent_id, r.u8("trace flags")?).ok_or_else(|| at.bad_value("trace context", 0))
    }
}

impl Nack {
    /// The correlation of the call it answers; `None` if it does not answer an RMI request.
    #[must_use]
    pub fn call(&self) -> Option<u64> {
        let (&kind, rest) = self.body.split_first()?;
        let correlation = rest.first_chunk::<8>()?;
        (self.answered == MessageType::Data && kind == REQUEST).then(|| u64::from_be_bytes(*correlation))
    }
}

/// Flag of a hop.
const ON_RETURN: u8 = 0x01;

impl Fields for Hop {
    const WHAT: &'static str = "hop";

    fn put(&self, w: &mut Writer) {
        w.u8(if self.on_return { ON_RETURN } else { 0 });
        w.node_id(&self.node);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let on_return = r.flags(ON_RETURN, "hop flags")? != 0;
        Ok(Self { on_return, node: r.node_id()? })
    }
}

impl Fields for Nack {
    const WHAT: &'static str = "nack";

    fn put(&self, w: &mut Writer) {
        w.u8(self.reason.code());
        w.u8(self.answered.code());
        w.node_id(&self.node);
        w.name(&self.destination);
        w.check(self.answered.is_routed(), "answered type", u64::from(self.answered.code()));
        w.check(self.body.len() <= MAX_BODY, "quoted body", self.body.len() as u64);
        w.bytes(&self.body);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let reason = r.code(RefusalReason::from_code, "reason")?;
        let answered = r.code(|v| MessageType::from_code(v).filter(|t| t.is_routed()), "answered type")?;
        let node = r.node_id()?;
        let destination = r.name()?;
        let at = r.clone();
        let body = r.rest().to_vec();
        if body.len() > MAX_BODY {
            return Err(at.bad_value("quoted body", body.len() as u64));
        }
        Ok(Self { reason, node, answered, destination, body })
    }
}
