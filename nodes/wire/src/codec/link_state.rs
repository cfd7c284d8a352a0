//! LSAs, their headers and database summaries.

use super::{flag, signing, tlv_len};
use crate::cursor::{Fields, Reader, Tlvs, Writer};
use crate::error::{DecodeError, EncodeError};
use crate::lsa::{
    LinkEntry, Lsa, LsaContent, LsaHeader, LsaId, LsaKey, LsaKind, MAX_COST, PrefixLsa, Proof, TopologyLsa,
};
use crate::message::DbSummary;
use crate::registry::TlvType;
use crate::security::{Attachment, Certificate, Grant};

impl Lsa {
    /// Context string of its signature.
    pub const CONTEXT: &'static str = "damc lsa v1";

    /// Writes everything except `remaining` and the signature.
    fn put_signed(&self, w: &mut Writer) {
        self.key.put(w);
        w.nonzero_u64(self.sequence, "LSA sequence");
        w.millis(self.lifetime, "LSA lifetime");
        match (&self.content, self.key.id.kind()) {
            (LsaContent::Purge, _) => w.u8(PURGE),
            (LsaContent::Topology(t), LsaKind::Topology) => {
                w.u8(CONTENT);
                put_topology(t, w);
            }
            (LsaContent::Prefix(p), LsaKind::Prefix) => {
                w.u8(CONTENT);
                put_prefix(p, w);
            }
            (_, kind) => w.refuse("content of another LSA kind", kind as u64),
        }
        self.certificate.put(w);
    }

    /// The bytes the origin's signature covers.
    #[must_use]
    pub fn signed_part(&self) -> Vec<u8> {
        let mut w = signing(Self::CONTEXT);
        self.put_signed(&mut w);
        w.into_bytes()
    }

    /// The wire encoding, as in the Lsa TLV.
    ///
    /// # Errors
    /// A field without encoding.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        self.put(&mut w);
        w.finish()
    }

    /// Reads [`Self::encode`]'s bytes.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::new(bytes, 0).whole()
    }

    /// Bytes of its TLV. A frame holds [`crate::frame::HOP_LOCAL_ROOM`] bytes of them.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        tlv_len(self)
    }
}

impl LsaHeader {
    /// Bytes of its TLV. A frame holds [`crate::frame::HOP_LOCAL_ROOM`] bytes of them, a database summary
    /// [`SUMMARY_BODY_LEN`] fewer.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        tlv_len(self)
    }
}

/// Bytes of the body TLV of a database summary.
pub const SUMMARY_BODY_LEN: usize = 10;

/// First byte of the content.
const PURGE: u8 = 0;
const CONTENT: u8 = 1;

impl Fields for Lsa {
    const WHAT: &'static str = "LSA";

    fn put(&self, w: &mut Writer) {
        w.check(self.remaining <= self.lifetime, "LSA remaining", self.remaining.0);
        w.millis(self.remaining, "LSA remaining");
        self.put_signed(w);
        w.bytes(&self.signature);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.clone();
        let remaining = r.millis("LSA remaining")?;
        let key = LsaKey::take(r)?;
        let sequence = r.nonzero_u64("LSA sequence")?;
        let lifetime = r.millis("LSA lifetime")?;
        if remaining > lifetime {
            return Err(at.bad_value("LSA remaining", remaining.0));
        }
        let content = match (r.flags(CONTENT, "LSA content")?, key.id.kind()) {
            (PURGE, _) => LsaContent::Purge,
            (_, LsaKind::Topology) => LsaContent::Topology(take_topology(r)?),
            (_, LsaKind::Prefix) => LsaContent::Prefix(take_prefix(r)?),
        };
        let certificate = Certificate::take(r)?;
        Ok(Self { key, sequence, lifetime, content, certificate, signature: r.array("signature")?, remaining })
    }
}

impl Fields for LsaKey {
    const WHAT: &'static str = "LSA key";

    fn put(&self, w: &mut Writer) {
        w.u8(self.id.kind() as u8);
        w.node_id(&self.origin);
        match &self.id {
            LsaId::Topology(fragment) => w.u16(*fragment),
            LsaId::Prefix(prefix, port) => {
                w.name(prefix);
                w.node_id(port);
            }
        }
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = r.code(LsaKind::from_code, "LSA kind")?;
        let origin = r.node_id()?;
        let id = match kind {
            LsaKind::Topology => LsaId::Topology(r.u16("fragment")?),
            LsaKind::Prefix => LsaId::Prefix(r.name()?, r.node_id()?),
        };
        Ok(Self { origin, id })
    }
}

impl Fields for LsaHeader {
    const WHAT: &'static str = "LSA header";

    fn put(&self, w: &mut Writer) {
        self.key.put(w);
        w.u64(self.sequence);
        w.u64(self.digest);
        w.millis(self.remaining, "LSA remaining");
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: LsaKey::take(r)?,
            sequence: r.u64("LSA sequence")?,
            digest: r.u64("LSA digest")?,
            remaining: r.millis("LSA remaining")?,
        })
    }
}

/// Flags of a topology LSA.
const OVERLOAD: u8 = 0x01;
const STUB: u8 = 0x02;

fn put_topology(t: &TopologyLsa, w: &mut Writer) {
    w.u8(flag(t.overload, OVERLOAD) | flag(t.stub, STUB));
    match u16::try_from(t.links.len()) {
        Ok(n) => w.u16(n),
        Err(_) => w.refuse("links", t.links.len() as u64),
    }
    for link in &t.links {
        w.node_id(&link.neighbour);
        w.check((1..=MAX_COST).contains(&link.cost), "link cost", u64::from(link.cost));
        w.u32(link.cost);
    }
}

fn take_topology(r: &mut Reader<'_>) -> Result<TopologyLsa, DecodeError> {
    let flags = r.flags(OVERLOAD | STUB, "topology flags")?;
    let count = r.u16("links")?;
    // No memory is reserved on the strength of the count: the list grows with the entries that are there.
    let mut links = Vec::new();
    for _ in 0..count {
        let neighbour = r.node_id()?;
        let at = r.clone();
        let cost = r.u32("link cost")?;
        if !(1..=MAX_COST).contains(&cost) {
            return Err(at.bad_value("link cost", u64::from(cost)));
        }
        links.push(LinkEntry { neighbour, cost });
    }
    Ok(TopologyLsa { overload: flags & OVERLOAD != 0, stub: flags & STUB != 0, links })
}

/// Flags of a prefix LSA.
const EXACT: u8 = 0x01;
const INSTANCE: u8 = 0x02;

/// Kinds of proof. 2 was the certificate of an attached SCSC alone.
const PROOF_GRANT: u8 = 1;
const PROOF_ATTACHED: u8 = 3;

fn put_prefix(p: &PrefixLsa, w: &mut Writer) {
    w.u8(flag(p.exact, EXACT) | flag(p.instance.is_some(), INSTANCE));
    w.u32(p.metric);
    w.u16(p.weight);
    if let Some(instance) = &p.instance {
        w.name(instance);
    }
    match &p.proof {
        Proof::Grant(g) => {
            w.u8(PROOF_GRANT);
            g.put(w);
        }
        Proof::Attached(a) => {
            w.u8(PROOF_ATTACHED);
            a.put(w);
        }
    }
}

fn take_prefix(r: &mut Reader<'_>) -> Result<PrefixLsa, DecodeError> {
    let flags = r.flags(EXACT | INSTANCE, "prefix flags")?;
    let metric = r.u32("metric")?;
    let weight = r.u16("weight")?;
    let instance = if flags & INSTANCE == 0 { None } else { Some(r.name()?) };
    let at = r.clone();
    let proof = match r.u8("proof")? {
        PROOF_GRANT => Proof::Grant(Grant::take(r)?),
        PROOF_ATTACHED => Proof::Attached(Attachment::take(r)?),
        v => return Err(at.bad_value("proof", u64::from(v))),
    };
    Ok(PrefixLsa { metric, weight, exact: flags & EXACT != 0, instance, proof })
}

pub(super) fn put_summary(m: &DbSummary, w: &mut Writer) {
    w.u32(m.exchange);
    w.u16(m.page);
    w.u8(u8::from(m.last));
}

pub(super) fn take_summary(tlvs: &mut Tlvs<'_>) -> Result<DbSummary, DecodeError> {
    let mut r = tlvs.require(TlvType::Body)?;
    let exchange = r.u32("exchange")?;
    let page = r.u16("page")?;
    let last = r.flags(1, "last page")? != 0;
    r.finish("database summary")?;
    Ok(DbSummary { exchange, page, last, headers: tlvs.items(TlvType::LsaHeader)? })
}
