//! Header and framing: whole PDUs as values, and the view the forwarding plane works on.

mod header;
mod link_mac;
mod routed;

pub use header::{Ahead, FLAG_TRACE, FLAG_UPHILL, Header, HeaderView, MIN_ETHERNET_PAYLOAD, without_padding};
pub use link_mac::{LINK_MAC_LEN, LinkKey, ROUTED_HEADER_LEN};
pub use routed::{PACKET_OVERHEAD, RoutedLayout, RoutedView, append_hop, body_of, write_packet};

use crate::Name;
use crate::codec;
use crate::crc::crc32c;
use crate::cursor::{Reader, TLV_HEADER_LEN, Tlvs, Writer};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::Message;
use crate::registry::{DEFAULT_HOP_LIMIT, HEADER_LEN, MAX_PDU, MessageType, TlvType};

/// Hop security of a hop-local message after the hello: the HopMac TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopSecurity {
    /// Rises with every MACed message of the sender's session on this port.
    pub counter: u64,
    /// First 16 bytes of HMAC-SHA256 over all bytes of the PDU before the MAC itself (counter included).
    pub mac: [u8; 16],
}

/// A whole PDU as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Fixed header.
    pub header: Header,
    /// Destination and source of a routed message; none in a hop-local one.
    pub names: Option<(Name, Name)>,
    /// The message.
    pub message: Message,
    /// Present on hop-local messages other than hello.
    pub security: Option<HopSecurity>,
    /// The link MAC of a routed message ([`LinkKey`]), once it has left its source.
    pub link_mac: Option<[u8; LINK_MAC_LEN]>,
}

/// Bytes of the HopMac TLV: type, length, counter, MAC.
pub const HOP_MAC_LEN: usize = TLV_HEADER_LEN + 8 + 16;
/// Bytes of TLVs a hop-local message may have beside its HopMac.
pub const HOP_LOCAL_ROOM: usize = MAX_PDU - HEADER_LEN - HOP_MAC_LEN;
/// Longest value of the body TLV of a routed message: a negative reply can always quote it whole.
pub const MAX_BODY: usize = 512;

impl Frame {
    /// A hop-local message, without hop security yet.
    #[must_use]
    pub const fn hop_local(message: Message) -> Self {
        Self { header: Header::hop_local(message.message_type()), names: None, message, security: None, link_mac: None }
    }

    /// A routed message; `hop_limit` is [`DEFAULT_HOP_LIMIT`] at its source.
    #[must_use]
    pub const fn routed(
        destination: Name,
        source: Name,
        flow: u32,
        label: u32,
        hop_limit: u8,
        message: Message,
    ) -> Self {
        let header = Header { message_type: message.message_type(), flags: 0, hop_limit, flow, label };
        Self { header, names: Some((destination, source)), message, security: None, link_mac: None }
    }

    /// A routed message of the node's own on the plain path.
    #[must_use]
    pub const fn plain(destination: Name, source: Name, flow: u32, message: Message) -> Self {
        Self::routed(destination, source, flow, 0, DEFAULT_HOP_LIMIT, message)
    }

    /// Asks every node on the way to record itself.
    #[must_use]
    pub const fn traced(mut self) -> Self {
        self.header.flags |= FLAG_TRACE;
        self
    }

    /// The PDU.
    ///
    /// # Errors
    /// A field without encoding, or a PDU over [`MAX_PDU`] (hop-local messages leave room for their HopMac).
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        let message_type = self.message.message_type();
        let agrees = self.header.message_type == message_type && self.names.is_some() == message_type.is_routed();
        w.check(agrees, "header of another message type", u64::from(self.header.message_type.code()));
        self.header.put(&mut w);
        w.check(self.link_mac.is_none() || self.names.is_some(), "link MAC", 0);
        if let Some((destination, source)) = &self.names {
            w.bytes(&self.link_mac.unwrap_or_default());
            w.tlv(TlvType::Destination, |w| w.bytes(destination.wire()));
            w.tlv(TlvType::Source, |w| w.bytes(source.wire()));
        }
        codec::put_message(&self.message, &mut w);
        if self.names.is_some() {
            let crc = crc32c(&w.written()[ROUTED_HEADER_LEN..]);
            w.tlv(TlvType::Checksum, |w| w.u32(crc));
        }
        if let Message::Data(data) = &self.message {
            w.items(TlvType::Hop, &data.hops);
        }
        let room_for_mac = if takes_mac(message_type) { HOP_MAC_LEN } else { 0 };
        w.check(self.security.is_none() || takes_mac(message_type), "hop security", 0);
        let mut pdu = w.finish()?;
        if pdu.len() + room_for_mac > MAX_PDU {
            return Err(EncodeError::TooLarge { len: pdu.len() + room_for_mac });
        }
        HeaderView::of(&mut pdu).set_length();
        Ok(match self.security {
            Some(HopSecurity { counter, mac }) => seal(pdu, counter, |_| mac),
            None => pdu,
        })
    }

    /// Reads a whole PDU. The end-to-end checksum is verified, MACs and signatures are not.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn decode(pdu: &[u8]) -> Result<Self, DecodeError> {
        let (header, _, r) = Header::take(pdu)?;
        let mut tlvs = Tlvs::new(r);
        let names = if header.message_type.is_routed() {
            Some((take_name(&mut tlvs, TlvType::Destination)?, take_name(&mut tlvs, TlvType::Source)?))
        } else {
            None
        };
        let mut message = codec::take_message(header.message_type, &mut tlvs)?;
        if names.is_some() {
            check_crc(pdu, &mut tlvs)?;
        }
        if let Message::Data(data) = &mut message {
            data.hops = tlvs.items(TlvType::Hop)?;
        }
        let security = if takes_mac(header.message_type) { take_security(&mut tlvs)? } else { None };
        tlvs.finish()?;
        if takes_mac(header.message_type) && security.is_none() && pdu.len() > MAX_PDU - HOP_MAC_LEN {
            return Err(DecodeError { offset: pdu.len(), kind: DecodeErrorKind::Oversized { what: "PDU" } });
        }
        let link_mac = names.as_ref().and_then(|_| link_mac::link_mac(pdu));
        Ok(Self { header, names, message, security, link_mac })
    }
}

/// Hop-local messages carry a HopMac, all but the hello, which comes before there is a key.
const fn takes_mac(t: MessageType) -> bool {
    !t.is_routed() && !matches!(t, MessageType::Hello)
}

fn take_name(tlvs: &mut Tlvs<'_>, t: TlvType) -> Result<Name, DecodeError> {
    let mut r = tlvs.require(t)?;
    let at = r.clone();
    Name::from_wire(r.rest()).map_err(|e| at.error(e.into()))
}

/// Verifies the Checksum TLV, which covers everything between the header with its link MAC and itself.
fn check_crc(pdu: &[u8], tlvs: &mut Tlvs<'_>) -> Result<(), DecodeError> {
    let mut r = tlvs.require(TlvType::Checksum)?;
    let at = r.clone();
    let covered = pdu.get(ROUTED_HEADER_LEN..r.offset() - TLV_HEADER_LEN).unwrap_or_default();
    let carried = r.u32("checksum")?;
    r.finish("checksum")?;
    if carried == crc32c(covered) { Ok(()) } else { Err(at.error(DecodeErrorKind::BadChecksum)) }
}

fn take_security(tlvs: &mut Tlvs<'_>) -> Result<Option<HopSecurity>, DecodeError> {
    let Some(mut r) = tlvs.next_if(TlvType::HopMac)? else {
        return Ok(None);
    };
    let security = HopSecurity { counter: r.u64("hop counter")?, mac: r.array("hop MAC")? };
    r.finish("hop MAC")?;
    Ok(Some(security))
}

/// Appends hop security to an encoded hop-local PDU: corrects the length, appends the HopMac TLV. `mac` gets all bytes
/// before the MAC, counter included.
#[must_use]
pub fn seal(mut pdu: Vec<u8>, counter: u64, mac: impl FnOnce(&[u8]) -> [u8; 16]) -> Vec<u8> {
    pdu.push(TlvType::HopMac.code());
    pdu.extend_from_slice(&24_u16.to_be_bytes());
    pdu.extend_from_slice(&counter.to_be_bytes());
    let covered = pdu.len();
    pdu.extend_from_slice(&[0; 16]);
    HeaderView::of(&mut pdu).set_length();
    let mac = mac(&pdu[..covered]);
    pdu[covered..].copy_from_slice(&mac);
    pdu
}

/// The bytes a hop-local PDU's MAC covers, its counter and the MAC; none where the PDU does not end in a HopMac TLV.
/// Looks at nothing else: a PDU is decoded after its MAC is verified, or before, as the receiver likes.
#[must_use]
pub fn open(pdu: &[u8]) -> Option<(&[u8], HopSecurity)> {
    let (before, tlv) = pdu.split_at_checked(pdu.len().checked_sub(HOP_MAC_LEN)?)?;
    let is_hop_mac = tlv.starts_with(&[TlvType::HopMac.code(), 0, 24]);
    if before.len() < HEADER_LEN || !is_hop_mac {
        return None;
    }
    let mut r = Reader::new(&tlv[TLV_HEADER_LEN..], 0);
    let security = HopSecurity { counter: r.u64("hop counter").ok()?, mac: r.array("hop MAC").ok()? };
    Some((&pdu[..pdu.len() - security.mac.len()], security))
}

#[cfg(test)]
mod tests;
