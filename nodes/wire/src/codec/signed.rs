//! Routed messages signed by their sender (class 4).

use super::signing;
use crate::Name;
use crate::cursor::{Tlvs, Writer};
use crate::error::DecodeError;
use crate::message::Signed;
use crate::registry::{MessageType, TlvType};
use crate::security::Signature;

mod sealed {
    pub trait Sealed {}
}
pub(super) use sealed::Sealed;

/// Body of a [`Signed`] message.
pub trait SignedBody: Sealed + Sized {
    /// Its message type.
    const TYPE: MessageType;
    /// Writes the TLVs before the certificate.
    #[doc(hidden)]
    fn put_tlvs(&self, w: &mut Writer);
    /// Reads the TLVs before the certificate.
    #[doc(hidden)]
    fn take_tlvs(tlvs: &mut Tlvs<'_>) -> Result<Self, DecodeError>;
}

impl<T: SignedBody> Signed<T> {
    /// Context string of its signature.
    pub const CONTEXT: &'static str = "damc qos v1";

    /// The bytes its signature covers: message type, then the TLVs from Destination to Certificate.
    #[must_use]
    pub fn signed_part(&self, destination: &Name, source: &Name) -> Vec<u8> {
        let mut w = signing(Self::CONTEXT);
        w.u8(T::TYPE.code());
        w.tlv(TlvType::Destination, |w| w.bytes(destination.wire()));
        w.tlv(TlvType::Source, |w| w.bytes(source.wire()));
        self.body.put_tlvs(&mut w);
        w.item(TlvType::Certificate, &self.certificate);
        w.into_bytes()
    }

    pub(super) fn put(&self, w: &mut Writer) {
        self.body.put_tlvs(w);
        w.item(TlvType::Certificate, &self.certificate);
        w.tlv(TlvType::Signature, |w| w.bytes(&self.signature));
    }
}

pub(super) fn take<T: SignedBody>(tlvs: &mut Tlvs<'_>) -> Result<Signed<T>, DecodeError> {
    Ok(Signed {
        body: T::take_tlvs(tlvs)?,
        certificate: tlvs.item(TlvType::Certificate)?,
        signature: take_signature(tlvs)?,
    })
}

pub(super) fn take_signature(tlvs: &mut Tlvs<'_>) -> Result<Signature, DecodeError> {
    let mut r = tlvs.require(TlvType::Signature)?;
    let signature = r.array("signature")?;
    r.finish("signature")?;
    Ok(signature)
}
