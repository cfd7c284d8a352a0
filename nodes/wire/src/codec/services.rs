//! Announcement (class 1) and authentication (class 3).

use super::signing;
use crate::Name;
use crate::cursor::{Fields, Reader, Tlvs, Writer};
use crate::error::DecodeError;
use crate::message::{
    Announce, AnnounceEntry, AnnounceReply, AuthReply, AuthRequest, AuthResult, Outcome, Revoke, RevokeAck,
};
use crate::registry::{RefusalReason, TlvType};

/// Kinds of an Announcement TLV.
const WITHDRAW: u8 = 0;
const ADD: u8 = 1;
const ADD_WITH_POOL: u8 = 2;

impl Announce {
    /// Context string of its signature.
    pub const CONTEXT: &'static str = "damc announce v1";

    /// The bytes the pod's signature covers: fixed part, then the Announcement TLVs.
    #[must_use]
    pub fn signed_part(&self) -> Vec<u8> {
        let mut w = signing(Self::CONTEXT);
        self.put_fixed(&mut w);
        self.put_entries(&mut w);
        w.into_bytes()
    }

    fn put_fixed(&self, w: &mut Writer) {
        w.nonzero_u64(self.request, "announce request");
        w.node_id(&self.pod);
        w.node_id(&self.sg);
        w.u64(self.sg_session);
    }

    fn put_entries(&self, w: &mut Writer) {
        w.items(TlvType::Announcement, &self.add);
        for name in &self.withdraw {
            w.tlv(TlvType::Announcement, |w| {
                w.u8(WITHDRAW);
                w.name(name);
            });
        }
    }

    /// Reads the fixed part, without entries and signature.
    fn take_fixed(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            request: r.nonzero_u64("announce request")?,
            pod: r.node_id()?,
            sg: r.node_id()?,
            sg_session: r.u64("SG session")?,
            add: Vec::new(),
            withdraw: Vec::new(),
            signature: [0; 64],
        })
    }

    fn take_entries(&mut self, tlvs: &mut Tlvs<'_>) -> Result<(), DecodeError> {
        while let Some(mut r) = tlvs.next_if(TlvType::Announcement)? {
            let at = r.clone();
            match r.u8("announcement kind")? {
                WITHDRAW => self.withdraw.push(take_last_name(r)?),
                // Additions come first, so that one announcement has one encoding.
                _ if !self.withdraw.is_empty() => return Err(at.bad_value("announcement order", 0)),
                _ => self.add.push(at.whole()?),
            }
        }
        Ok(())
    }
}

fn take_last_name(mut r: Reader<'_>) -> Result<Name, DecodeError> {
    let name = r.name()?;
    r.finish("announcement")?;
    Ok(name)
}

impl Fields for AnnounceEntry {
    const WHAT: &'static str = "announcement";

    fn put(&self, w: &mut Writer) {
        w.u8(if self.pool.is_some() { ADD_WITH_POOL } else { ADD });
        w.name(&self.prefix);
        w.u16(self.weight);
        if let Some(pool) = &self.pool {
            w.name(pool);
        }
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.clone();
        let with_pool = match r.u8("announcement kind")? {
            ADD => false,
            ADD_WITH_POOL => true,
            v => return Err(at.bad_value("announcement kind", u64::from(v))),
        };
        let prefix = r.name()?;
        let weight = r.u16("weight")?;
        let pool = if with_pool { Some(r.name()?) } else { None };
        Ok(Self { prefix, pool, weight })
    }
}

pub(super) fn put_announce(m: &Announce, w: &mut Writer) {
    w.tlv(TlvType::Body, |w| m.put_fixed(w));
    m.put_entries(w);
    w.tlv(TlvType::Signature, |w| w.bytes(&m.signature));
}

pub(super) fn take_announce(tlvs: &mut Tlvs<'_>) -> Result<Announce, DecodeError> {
    let mut r = tlvs.require(TlvType::Body)?;
    let mut announce = Announce::take_fixed(&mut r)?;
    r.finish("announce")?;
    announce.take_entries(tlvs)?;
    announce.signature = super::signed::take_signature(tlvs)?;
    Ok(announce)
}

pub(super) fn take_announce_reply(tlvs: &mut Tlvs<'_>) -> Result<AnnounceReply, DecodeError> {
    let request = take_request(tlvs)?;
    Ok(AnnounceReply { request, outcomes: tlvs.items(TlvType::Outcome)? })
}

fn take_request(tlvs: &mut Tlvs<'_>) -> Result<u64, DecodeError> {
    let mut r = tlvs.require(TlvType::Body)?;
    let request = r.u64("request")?;
    r.finish("body")?;
    Ok(request)
}

impl Fields for Outcome {
    const WHAT: &'static str = "outcome";

    fn put(&self, w: &mut Writer) {
        w.u8(self.refusal.map_or(0, RefusalReason::code));
        w.name(&self.prefix);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let refusal = take_refusal(r, RefusalReason::from_code)?;
        Ok(Self { refusal, prefix: r.name()? })
    }
}

/// Reads a reason byte; 0 means accepted.
pub(super) fn take_refusal<T>(
    r: &mut Reader<'_>,
    from_code: impl FnOnce(u8) -> Option<T>,
) -> Result<Option<T>, DecodeError> {
    r.code(|v| if v == 0 { Some(None) } else { from_code(v).map(Some) }, "reason")
}

pub(super) fn put_auth_request(m: &AuthRequest, w: &mut Writer) {
    w.tlv(TlvType::Body, |w| {
        w.u64(m.request);
        m.announce.put_fixed(w);
    });
    m.announce.put_entries(w);
    w.item(TlvType::Certificate, &m.certificate);
    w.tlv(TlvType::Signature, |w| w.bytes(&m.announce.signature));
}

pub(super) fn take_auth_request(tlvs: &mut Tlvs<'_>) -> Result<AuthRequest, DecodeError> {
    let mut r = tlvs.require(TlvType::Body)?;
    let request = r.u64("request")?;
    let mut announce = Announce::take_fixed(&mut r)?;
    r.finish("auth request")?;
    announce.take_entries(tlvs)?;
    let certificate = tlvs.item(TlvType::Certificate)?;
    announce.signature = super::signed::take_signature(tlvs)?;
    Ok(AuthRequest { request, certificate, announce })
}

pub(super) fn put_auth_reply(m: &AuthReply, w: &mut Writer) {
    w.tlv(TlvType::Body, |w| w.u64(m.request));
    match &m.result {
        AuthResult::Granted(grant) => w.item(TlvType::Grant, grant),
        AuthResult::Refused(outcome) => {
            w.check(outcome.refusal.is_some(), "refusal reason", 0);
            w.item(TlvType::Outcome, outcome);
        }
    }
}

pub(super) fn take_auth_reply(tlvs: &mut Tlvs<'_>) -> Result<AuthReply, DecodeError> {
    let request = take_request(tlvs)?;
    if let Some(grant) = tlvs.next_if(TlvType::Grant)? {
        return Ok(AuthReply { request, result: AuthResult::Granted(grant.whole()?) });
    }
    let r = tlvs.require(TlvType::Outcome)?;
    let no_reason = r.bad_value("refusal reason", 0);
    let outcome: Outcome = r.whole()?;
    if outcome.refusal.is_none() {
        return Err(no_reason);
    }
    Ok(AuthReply { request, result: AuthResult::Refused(outcome) })
}

impl Fields for Revoke {
    const WHAT: &'static str = "revoke";

    fn put(&self, w: &mut Writer) {
        w.u64(self.serial);
        w.node_id(&self.pod);
        w.name(&self.prefix);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { serial: r.u64("serial")?, pod: r.node_id()?, prefix: r.name()? })
    }
}

impl Fields for RevokeAck {
    const WHAT: &'static str = "revoke acknowledgement";

    fn put(&self, w: &mut Writer) {
        w.u64(self.serial);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { serial: r.u64("serial")? })
    }
}
