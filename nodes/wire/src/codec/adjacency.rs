//! Hello and echo.

use super::signing;
use crate::cursor::{Fields, Reader, Tlvs, Writer};
use crate::error::DecodeError;
use crate::message::{Echo, Hello};
use crate::registry::TlvType;

impl Hello {
    /// Context string of its signature.
    pub const CONTEXT: &'static str = "damc hello v1";

    fn put_body(&self, w: &mut Writer) {
        w.nonzero_u64(self.session, "session");
        w.millis(self.hello_interval, "hello interval");
        w.millis(self.dead_interval, "dead interval");
        w.millis(self.echo_interval, "echo interval");
        w.u8(self.echo_multiplier);
        // If nothing was heard yet, the identity is empty and no session follows.
        match &self.heard {
            None => w.u8(0),
            Some((node, session)) => {
                w.node_id(node);
                w.nonzero_u64(*session, "heard session");
            }
        }
    }

    /// The bytes its signature covers: body, then certificate.
    #[must_use]
    pub fn signed_part(&self) -> Vec<u8> {
        let mut w = signing(Self::CONTEXT);
        self.put_body(&mut w);
        self.certificate.put(&mut w);
        w.into_bytes()
    }
}

pub(super) fn put_hello(m: &Hello, w: &mut Writer) {
    w.tlv(TlvType::Body, |w| m.put_body(w));
    w.item(TlvType::Certificate, &m.certificate);
    w.tlv(TlvType::Signature, |w| w.bytes(&m.signature));
}

pub(super) fn take_hello(tlvs: &mut Tlvs<'_>) -> Result<Hello, DecodeError> {
    let mut r = tlvs.require(TlvType::Body)?;
    let session = r.nonzero_u64("session")?;
    let hello_interval = r.millis("hello interval")?;
    let dead_interval = r.millis("dead interval")?;
    let echo_interval = r.millis("echo interval")?;
    let echo_multiplier = r.u8("echo multiplier")?;
    let mut ahead = r.clone();
    let heard = if ahead.u8("heard node")? == 0 {
        r = ahead;
        None
    } else {
        Some((r.node_id()?, r.nonzero_u64("heard session")?))
    };
    r.finish("hello")?;
    Ok(Hello {
        certificate: tlvs.item(TlvType::Certificate)?,
        session,
        heard,
        hello_interval,
        dead_interval,
        echo_interval,
        echo_multiplier,
        signature: super::signed::take_signature(tlvs)?,
    })
}

impl Fields for Echo {
    const WHAT: &'static str = "echo";

    fn put(&self, w: &mut Writer) {
        w.u32(self.sequence);
        w.u64(self.sent_at);
        w.u64(self.their_sent_at);
        w.u64(self.held);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sequence: r.u32("echo sequence")?,
            sent_at: r.u64("sent at")?,
            their_sent_at: r.u64("their sent at")?,
            held: r.u64("held")?,
        })
    }
}
