//! Certificates and grants.

use super::signing;
use crate::cursor::{Fields, Reader, Writer};
use crate::error::DecodeError;
use crate::security::{Certificate, Grant};
use crate::{Millis, Role};

impl Certificate {
    /// Context string of its signature.
    pub const CONTEXT: &'static str = "damc certificate v1";

    fn put_signed(&self, w: &mut Writer) {
        w.node_id(&self.domain);
        w.node_id(&self.node);
        w.u8(self.role.code());
        w.bytes(&self.signing_key);
        w.bytes(&self.agreement_key);
    }

    /// The bytes the root's signature covers.
    #[must_use]
    pub fn signed_part(&self) -> Vec<u8> {
        let mut w = signing(Self::CONTEXT);
        self.put_signed(&mut w);
        w.into_bytes()
    }

    /// The wire encoding, as in the Certificate TLV and, in hexadecimal, in configuration files.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.put(&mut w);
        w.into_bytes()
    }

    /// Reads [`Self::encode`]'s bytes.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::new(bytes, 0).whole()
    }
}

impl Fields for Certificate {
    const WHAT: &'static str = "certificate";

    fn put(&self, w: &mut Writer) {
        self.put_signed(w);
        w.bytes(&self.signature);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            domain: r.node_id()?,
            node: r.node_id()?,
            role: r.code(Role::from_code, "role")?,
            signing_key: r.array("signing key")?,
            agreement_key: r.array("agreement key")?,
            signature: r.array("signature")?,
        })
    }
}

/// Grant flag: the prefix is a pool name.
const EXACT: u8 = 0x01;

impl Grant {
    /// Context string of its signature.
    pub const CONTEXT: &'static str = "damc grant v1";

    fn put_signed(&self, w: &mut Writer) {
        w.u8(if self.exact { EXACT } else { 0 });
        w.u8(self.depth);
        w.name(&self.prefix);
        w.node_id(&self.pod);
        w.bytes(&self.pod_key);
        w.node_id(&self.sg);
        w.u64(self.issued_at.0);
        w.u64(self.expires_at.0);
        w.u64(self.serial);
        self.certificate.put(w);
    }

    /// The bytes the SPA's signature covers.
    #[must_use]
    pub fn signed_part(&self) -> Vec<u8> {
        let mut w = signing(Self::CONTEXT);
        self.put_signed(&mut w);
        w.into_bytes()
    }

    /// The wire encoding, as in the Grant TLV.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.put(&mut w);
        w.into_bytes()
    }

    /// Reads [`Self::encode`]'s bytes.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::new(bytes, 0).whole()
    }
}

impl Fields for Grant {
    const WHAT: &'static str = "grant";

    fn put(&self, w: &mut Writer) {
        self.put_signed(w);
        w.bytes(&self.signature);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let exact = r.flags(EXACT, "grant flags")? != 0;
        Ok(Self {
            exact,
            depth: r.u8("depth")?,
            prefix: r.name()?,
            pod: r.node_id()?,
            pod_key: r.array("pod key")?,
            sg: r.node_id()?,
            issued_at: Millis(r.u64("issued at")?),
            expires_at: Millis(r.u64("expires at")?),
            serial: r.u64("serial")?,
            certificate: Certificate::take(r)?,
            signature: r.array("signature")?,
        })
    }
}
