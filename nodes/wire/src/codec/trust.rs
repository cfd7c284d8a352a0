//! Certificates, grants and attachments.

use super::signing;
use crate::cursor::{Fields, Reader, Writer};
use crate::error::DecodeError;
use crate::message::AttachAck;
use crate::security::{Attachment, Certificate, CertifiedName, Grant, MAX_NAMES_LEN};
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
        if self.role == Role::Spa {
            self.put_names(w);
        } else {
            w.check(self.names.is_empty(), "names in a certificate of another role", self.names.len() as u64);
        }
    }

    fn put_names(&self, w: &mut Writer) {
        let len: usize = self.names.iter().map(CertifiedName::encoded_len).sum();
        w.check(len <= MAX_NAMES_LEN, "bytes of names in a certificate", len as u64);
        w.u8(u8::try_from(self.names.len()).unwrap_or(u8::MAX));
        for certified in &self.names {
            w.u8(if certified.exact { EXACT } else { 0 });
            w.name(&certified.name);
        }
    }

    fn take_names(r: &mut Reader<'_>) -> Result<Vec<CertifiedName>, DecodeError> {
        let at = r.clone();
        let count = r.u8("names in a certificate")?;
        let (mut names, mut len) = (Vec::new(), 0);
        for _ in 0..count {
            let exact = r.flags(EXACT, "certified name flags")? != 0;
            let certified = CertifiedName { name: r.name()?, exact };
            len += certified.encoded_len();
            names.push(certified);
        }
        if len > MAX_NAMES_LEN {
            return Err(at.bad_value("bytes of names in a certificate", len as u64));
        }
        Ok(names)
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
        let (domain, node) = (r.node_id()?, r.node_id()?);
        let role = r.code(Role::from_code, "role")?;
        Ok(Self {
            domain,
            node,
            role,
            signing_key: r.array("signing key")?,
            agreement_key: r.array("agreement key")?,
            names: if role == Role::Spa { Self::take_names(r)? } else { Vec::new() },
            signature: r.array("signature")?,
        })
    }
}

/// Flag of grants and certified names: the prefix is a pool name.
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

impl Attachment {
    /// Context string of its signature.
    pub const CONTEXT: &'static str = "damc attachment v1";

    fn put_signed(&self, w: &mut Writer) {
        w.node_id(&self.router);
        w.u64(self.issued_at.0);
        w.u64(self.expires_at.0);
        self.certificate.put(w);
    }

    /// The bytes the SCSC's signature covers.
    #[must_use]
    pub fn signed_part(&self) -> Vec<u8> {
        let mut w = signing(Self::CONTEXT);
        self.put_signed(&mut w);
        w.into_bytes()
    }
}

impl Fields for Attachment {
    const WHAT: &'static str = "attachment";

    fn put(&self, w: &mut Writer) {
        self.put_signed(w);
        w.bytes(&self.signature);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            router: r.node_id()?,
            issued_at: Millis(r.u64("issued at")?),
            expires_at: Millis(r.u64("expires at")?),
            certificate: Certificate::take(r)?,
            signature: r.array("signature")?,
        })
    }
}

impl Fields for AttachAck {
    const WHAT: &'static str = "attachment acknowledgement";

    fn put(&self, w: &mut Writer) {
        w.u64(self.issued_at.0);
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { issued_at: Millis(r.u64("issued at")?) })
    }
}
