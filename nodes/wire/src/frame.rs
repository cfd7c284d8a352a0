//! Header and framing: whole PDUs as values, and the borrowed view the forwarding plane works on.

use crate::codec;
use crate::crc::crc32c;
use crate::cursor::{Reader, TLV_HEADER_LEN, Tlvs, Writer};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::{Hop, Message};
use crate::name;
use crate::registry::{DEFAULT_HOP_LIMIT, HEADER_LEN, MAX_PDU, MessageType, TlvType, VERSION};
use crate::{Name, NodeId};

/// The fixed header of every PDU (the Ethernet payload).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |    Version    |     Type      |     Flags     |   Hop Limit   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |            Length             |             Ahead             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             Flow                              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             Label                             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// Length counts the whole PDU, header included. Ahead is the forwarders' own ([`Ahead`]): 0 at the source, of no meaning
/// in hop-local messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub message_type: MessageType,
    /// [`FLAG_TRACE`] and [`FLAG_UPHILL`]; all other bits are sent as 0 and ignored.
    pub flags: u8,
    /// Hops left; hop-local messages carry 1.
    pub hop_limit: u8,
    /// Flow of a routed message: frames of one flow keep to one of several equal paths. 0 in hop-local messages.
    pub flow: u32,
    /// Policy label, 0 for none. 0 in hop-local messages.
    pub label: u32,
}

/// Header flag: every node that forwards this message appends a [`crate::message::Hop`].
pub const FLAG_TRACE: u8 = 0x01;
/// Header flag of forwarders: this frame has once come to a node no nearer to its destination than the one before.
pub const FLAG_UPHILL: u8 = 0x02;

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
}

impl Header {
    /// The header of a hop-local message.
    #[must_use]
    pub const fn hop_local(message_type: MessageType) -> Self {
        Self { message_type, flags: 0, hop_limit: 1, flow: 0, label: 0 }
    }

    fn put(&self, w: &mut Writer) {
        w.u8(VERSION);
        w.u8(self.message_type.code());
        w.u8(self.flags);
        w.u8(self.hop_limit);
        w.u16(0); // the length, once it is known
        w.u16(0);
        w.u32(self.flow);
        w.u32(self.label);
        if !self.message_type.is_routed() {
            w.check(self.hop_limit == 1, "hop limit", u64::from(self.hop_limit));
            w.check(self.flow == 0, "flow", u64::from(self.flow));
            w.check(self.label == 0, "label", u64::from(self.label));
        }
    }

    /// Reads header and length of a PDU and gives a reader over its TLVs.
    fn take(pdu: &[u8]) -> Result<(Self, Reader<'_>), DecodeError> {
        let mut r = Reader::new(pdu, 0);
        let at = r.clone();
        let version = r.u8("header")?;
        if version != VERSION {
            return Err(at.error(DecodeErrorKind::BadVersion(version)));
        }
        let at = r.clone();
        let code = r.u8("header")?;
        let flags = r.u8("header")?;
        let hop_limit_at = r.clone();
        let hop_limit = r.u8("header")?;
        let length_at = r.clone();
        let length = usize::from(r.u16("header")?);
        r.u16("header")?;
        let (flow, label) = (r.u32("header")?, r.u32("header")?);
        if length < HEADER_LEN {
            return Err(length_at.bad_value("length", length as u64));
        }
        if length > MAX_PDU || pdu.len() > length {
            return Err(length_at.error(DecodeErrorKind::Oversized { what: "PDU" }));
        }
        if pdu.len() < length {
            let kind = DecodeErrorKind::Truncated { what: "PDU", needed: length, left: pdu.len() };
            return Err(length_at.error(kind));
        }
        let message_type = MessageType::from_code(code).ok_or_else(|| at.error(DecodeErrorKind::UnknownType(code)))?;
        if !message_type.is_routed() && (hop_limit, flow, label) != (1, 0, 0) {
            return Err(hop_limit_at.bad_value("routing field of a hop-local message", u64::from(hop_limit)));
        }
        Ok((Self { message_type, flags, hop_limit, flow, label }, r))
    }
}

/// Where the flags lie in a PDU.
const FLAGS_AT: usize = 2;
/// Where the hop limit lies in a PDU.
const HOP_LIMIT_AT: usize = 3;
/// Where the length lies in a PDU.
const LENGTH_AT: core::ops::Range<usize> = 4..6;
/// Where the cost ahead lies in a PDU.
const AHEAD_AT: core::ops::Range<usize> = 6..8;
/// Where the label lies in a PDU.
const LABEL_AT: core::ops::Range<usize> = 12..16;

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
        Self { header: Header::hop_local(message.message_type()), names: None, message, security: None }
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
        Self { header, names: Some((destination, source)), message, security: None }
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
        if let Some((destination, source)) = &self.names {
            w.tlv(TlvType::Destination, |w| w.bytes(destination.wire()));
            w.tlv(TlvType::Source, |w| w.bytes(source.wire()));
        }
        codec::put_message(&self.message, &mut w);
        if self.names.is_some() {
            let crc = crc32c(&w.written()[HEADER_LEN..]);
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
        write_length(&mut pdu);
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
        let (header, r) = Header::take(pdu)?;
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
        Ok(Self { header, names, message, security })
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

/// Verifies the Checksum TLV, which covers everything between the header and itself.
fn check_crc(pdu: &[u8], tlvs: &mut Tlvs<'_>) -> Result<(), DecodeError> {
    let mut r = tlvs.require(TlvType::Checksum)?;
    let at = r.clone();
    let covered = pdu.get(HEADER_LEN..r.offset() - TLV_HEADER_LEN).unwrap_or_default();
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

fn write_length(pdu: &mut [u8]) {
    // A PDU over 65535 bytes never gets here: every caller is bounded by MAX_PDU.
    let len = u16::try_from(pdu.len()).unwrap_or(u16::MAX);
    if let Some(field) = pdu.get_mut(LENGTH_AT) {
        field.copy_from_slice(&len.to_be_bytes());
    }
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
    write_length(&mut pdu);
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

/// Smallest payload of an Ethernet frame: shorter PDUs arrive padded on real hardware.
pub const MIN_ETHERNET_PAYLOAD: usize = 46;

/// The PDU in an Ethernet payload: what the minimum frame size added behind it is cut off.
#[must_use]
pub fn without_padding(payload: &[u8]) -> &[u8] {
    let (Some(&[high, low]), MIN_ETHERNET_PAYLOAD) = (payload.get(LENGTH_AT), payload.len()) else {
        return payload;
    };
    payload.get(..usize::from(u16::from_be_bytes([high, low])).max(HEADER_LEN)).unwrap_or(payload)
}

/// What the forwarding plane needs of a routed PDU, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RoutedView<'a> {
    /// Fixed header.
    pub header: Header,
    /// Destination name, wire form, checked.
    pub destination: &'a [u8],
    /// Source name, wire form, checked.
    pub source: &'a [u8],
    /// Offset of the first TLV behind the names.
    rest_at: usize,
}

impl<'a> RoutedView<'a> {
    /// Checks header, length and both names of a routed PDU; looks at nothing behind them. Does not allocate.
    ///
    /// # Errors
    /// What is wrong and where; a hop-local type is an error here.
    pub fn parse(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, r) = Header::take(pdu)?;
        if !header.message_type.is_routed() {
            let value = u64::from(header.message_type.code());
            return Err(DecodeError { offset: 1, kind: DecodeErrorKind::BadValue { what: "routed type", value } });
        }
        let mut tlvs = Tlvs::new(r);
        let destination = borrow_name(&mut tlvs, TlvType::Destination)?;
        let source = borrow_name(&mut tlvs, TlvType::Source)?;
        Ok(Self { header, destination, source, rest_at: tlvs.offset() })
    }

    /// Whether the node that forwards this PDU is to call [`append_hop`], and with which `on_return`.
    #[must_use]
    pub fn trace(&self, pdu: &[u8]) -> Option<bool> {
        if self.header.flags & FLAG_TRACE == 0 || self.header.message_type != MessageType::Data {
            return None;
        }
        let mut body = Tlvs::new(Reader::new(pdu.get(self.rest_at..)?, self.rest_at)).require(TlvType::Body).ok()?;
        Some(body.u8("data kind").ok()? != codec::DATA_REQUEST)
    }

    /// Where the inner packet of a packet message lies in its PDU; none in any other message.
    #[must_use]
    pub fn inner_packet(&self, pdu: &[u8]) -> Option<core::ops::Range<usize>> {
        if self.header.message_type != MessageType::Packet {
            return None;
        }
        let mut tlvs = Tlvs::new(Reader::new(pdu.get(self.rest_at..)?, self.rest_at));
        let mut payload = tlvs.require(TlvType::Payload).ok()?;
        let start = payload.offset();
        Some(start..start + payload.rest().len())
    }

    /// Whether the end-to-end checksum of a packet message holds. Does not allocate.
    #[must_use]
    pub fn checksum_holds(&self, pdu: &[u8]) -> bool {
        let Some(rest) = pdu.get(self.rest_at..) else { return false };
        let mut tlvs = Tlvs::new(Reader::new(rest, self.rest_at));
        tlvs.require(TlvType::Payload).is_ok() && check_crc(pdu, &mut tlvs).is_ok()
    }
}

/// Bytes of a packet message beside the two names and the inner packet: header, heads of destination, source and
/// payload, checksum.
pub const PACKET_OVERHEAD: usize = HEADER_LEN + 3 * TLV_HEADER_LEN + TLV_HEADER_LEN + 4;

/// Writes a packet message into `out`, which is emptied first and keeps its memory: the forwarding plane's way to
/// [`Frame::encode`]. Gives false, and leaves `out` empty, where the PDU would be over [`MAX_PDU`].
pub fn write_packet(
    out: &mut Vec<u8>,
    (destination, source): (&Name, &Name),
    flow: u32,
    hop_limit: u8,
    inner: &[u8],
) -> bool {
    out.clear();
    let length = PACKET_OVERHEAD + destination.wire().len() + source.wire().len() + inner.len();
    let Some(short) = u16::try_from(length).ok().filter(|_| length <= MAX_PDU) else { return false };
    out.extend_from_slice(&[VERSION, MessageType::Packet.code(), 0, hop_limit]);
    out.extend_from_slice(&short.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&flow.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let parts =
        [(TlvType::Destination, destination.wire()), (TlvType::Source, source.wire()), (TlvType::Payload, inner)];
    for (kind, value) in parts {
        push_tlv(out, kind, value);
    }
    let crc = crc32c(&out[HEADER_LEN..]);
    push_tlv(out, TlvType::Checksum, &crc.to_be_bytes());
    true
}

/// Appends a TLV; `value` is within the bounds of a PDU.
fn push_tlv(out: &mut Vec<u8>, kind: TlvType, value: &[u8]) {
    out.push(kind.code());
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(value);
}

fn borrow_name<'a>(tlvs: &mut Tlvs<'a>, t: TlvType) -> Result<&'a [u8], DecodeError> {
    let mut r = tlvs.require(t)?;
    let at = r.clone();
    let bytes = r.rest();
    name::check_wire(bytes).map_err(|e| at.error(e.into()))?;
    Ok(bytes)
}

/// Overwrites the hop limit of a PDU; no effect on fewer bytes than a header.
pub fn set_hop_limit(pdu: &mut [u8], hop_limit: u8) {
    if let Some(field) = pdu.get_mut(HOP_LIMIT_AT) {
        *field = hop_limit;
    }
}

/// What forwarders tell each other in a routed frame so that it does not go in circles while their tables differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Cost from the last forwarder to the destination; 0: not known, or more than the field holds.
    pub cost: u16,
    /// [`FLAG_UPHILL`].
    pub uphill: bool,
}

impl Ahead {
    /// Of a PDU; the default for fewer bytes than a header.
    #[must_use]
    pub fn of(pdu: &[u8]) -> Self {
        let Some(&[high, low]) = pdu.get(AHEAD_AT) else { return Self::default() };
        Self { cost: u16::from_be_bytes([high, low]), uphill: pdu[FLAGS_AT] & FLAG_UPHILL != 0 }
    }

    /// Writes it into a PDU; no effect on fewer bytes than a header.
    pub fn set(self, pdu: &mut [u8]) {
        if let Some(field) = pdu.get_mut(AHEAD_AT) {
            field.copy_from_slice(&self.cost.to_be_bytes());
            pdu[FLAGS_AT] = pdu[FLAGS_AT] & !FLAG_UPHILL | if self.uphill { FLAG_UPHILL } else { 0 };
        }
    }
}

/// Overwrites the label of a PDU; no effect on fewer bytes than a header.
pub fn set_label(pdu: &mut [u8], label: u32) {
    if let Some(field) = pdu.get_mut(LABEL_AT) {
        field.copy_from_slice(&label.to_be_bytes());
    }
}

/// Appends a hop to a traced data PDU, behind the end-to-end checksum, and corrects the length. Leaves the PDU alone and
/// says false where it would grow past [`MAX_PDU`].
pub fn append_hop(pdu: &mut Vec<u8>, node: &NodeId, on_return: bool) -> bool {
    let mut w = Writer::new();
    w.item(TlvType::Hop, &Hop { node: node.clone(), on_return });
    let fits = pdu.len() + w.written().len() <= MAX_PDU;
    if fits {
        pdu.extend_from_slice(w.written());
        write_length(pdu);
    }
    fits
}

/// What a negative reply quotes of a routed PDU: the value of its body TLV, or the first [`MAX_BODY`] bytes of the packet
/// it carries; none where it has neither, or a body over [`MAX_BODY`].
#[must_use]
pub fn body_of(pdu: &[u8]) -> Option<&[u8]> {
    let view = RoutedView::parse(pdu).ok()?;
    if view.header.message_type == MessageType::Packet {
        let inner = &pdu[view.inner_packet(pdu)?];
        return Some(&inner[..inner.len().min(MAX_BODY)]);
    }
    whole_body(&view, pdu).filter(|body| body.len() <= MAX_BODY)
}

/// What a negative reply is about, without a look at the rest of it; none where the PDU is none.
#[must_use]
pub fn nack_about(pdu: &[u8]) -> Option<MessageType> {
    let view = RoutedView::parse(pdu).ok().filter(|view| view.header.message_type == MessageType::Nack)?;
    whole_body(&view, pdu)?.get(1).and_then(|code| MessageType::from_code(*code))
}

fn whole_body<'a>(view: &RoutedView<'_>, pdu: &'a [u8]) -> Option<&'a [u8]> {
    let mut tlvs = Tlvs::new(Reader::new(pdu.get(view.rest_at..)?, view.rest_at));
    Some(tlvs.require(TlvType::Body).ok()?.rest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Millis;
    use crate::message::{Data, DataKind, Echo};

    fn call() -> Frame {
        let kind = DataKind::Request { method: "add".into(), deadline: Millis(500) };
        let data = Data { correlation: 7, kind, payload: b"2 3".to_vec(), hops: Vec::new() };
        Frame::plain("/B/4".parse().unwrap(), "/A/1".parse().unwrap(), 9, Message::Data(data)).traced()
    }

    #[test]
    fn hop_security_covers_all_before_the_mac() {
        let echo = Frame::hop_local(Message::Echo(Echo { sequence: 1, sent_at: 2, their_sent_at: 3, held: 4 }));
        let pdu = echo.encode().unwrap();
        assert_eq!(open(&pdu), None);
        let mut covered = Vec::new();
        let sealed = seal(pdu, 42, |bytes| {
            covered = bytes.to_vec();
            [5; 16]
        });
        let security = HopSecurity { counter: 42, mac: [5; 16] };
        assert_eq!(open(&sealed), Some((&covered[..], security)));
        assert_eq!(sealed.len(), covered.len() + 16);
        assert_eq!(Frame::decode(&sealed).unwrap(), Frame { security: Some(security), ..echo });
    }

    #[test]
    fn forwarding_edits_leave_the_end_to_end_checksum_valid() {
        let mut pdu = call().encode().unwrap();
        assert_eq!(RoutedView::parse(&pdu).unwrap().trace(&pdu), Some(false));
        set_hop_limit(&mut pdu, 3);
        set_label(&mut pdu, 0xabcd);
        assert!(append_hop(&mut pdu, &NodeId::new("sr-left").unwrap(), false));
        let frame = Frame::decode(&pdu).unwrap();
        assert_eq!((frame.header.hop_limit, frame.header.label), (3, 0xabcd));
        let Message::Data(data) = &frame.message else { panic!("{frame:?}") };
        assert_eq!(data.hops[0].node.as_str(), "sr-left");
        assert_eq!(frame.encode().unwrap(), pdu);
    }

    #[test]
    fn hops_stop_at_the_longest_pdu() {
        let mut pdu = call().encode().unwrap();
        let node = NodeId::new("sr-left").unwrap();
        while append_hop(&mut pdu, &node, true) {}
        assert!(pdu.len() <= MAX_PDU && pdu.len() + 12 > MAX_PDU);
        assert!(Frame::decode(&pdu).is_ok());
    }

    #[test]
    fn the_body_is_quoted() {
        let pdu = call().encode().unwrap();
        assert_eq!(body_of(&pdu), Some(&b"\x01\0\0\0\0\0\0\0\x07\0\0\x01\xf4add"[..]));
    }

    #[test]
    fn a_packet_is_written_in_place_as_it_is_encoded() {
        let (destination, source): (Name, Name) = ("/B/4".parse().unwrap(), "/A/1".parse().unwrap());
        let inner = vec![0x60; 600];
        let packet = Message::Packet(crate::message::Packet { inner: inner.clone() });
        let frame = Frame::routed(destination.clone(), source.clone(), 9, 0, 17, packet);
        let mut pdu = vec![1; 3];
        assert!(write_packet(&mut pdu, (&destination, &source), 9, 17, &inner));
        assert_eq!(pdu, frame.encode().unwrap());
        let view = RoutedView::parse(&pdu).unwrap();
        assert_eq!(&pdu[view.inner_packet(&pdu).unwrap()], inner);
        assert!(view.checksum_holds(&pdu));
        assert_eq!(body_of(&pdu).unwrap(), &inner[..MAX_BODY]);
        let at = pdu.len() - 20;
        pdu[at] ^= 1;
        assert!(!RoutedView::parse(&pdu).unwrap().checksum_holds(&pdu));
        let room = MAX_PDU - PACKET_OVERHEAD - destination.wire().len() - source.wire().len();
        assert!(write_packet(&mut pdu, (&destination, &source), 9, 17, &vec![0; room]));
        assert_eq!(pdu.len(), MAX_PDU);
        assert!(!write_packet(&mut pdu, (&destination, &source), 9, 17, &vec![0; room + 1]));
    }

    #[test]
    fn a_changed_payload_byte_is_a_bad_checksum() {
        let mut pdu = call().encode().unwrap();
        let at = pdu.windows(3).position(|w| w == b"2 3").unwrap();
        pdu[at] ^= 1;
        assert_eq!(Frame::decode(&pdu).unwrap_err().kind, DecodeErrorKind::BadChecksum);
    }

    #[test]
    fn ethernet_padding_is_cut() {
        let task = Frame::plain(
            "/A".parse().unwrap(),
            "/B".parse().unwrap(),
            0,
            Message::Task(crate::message::Task { task: 1 }),
        );
        let pdu = task.encode().unwrap();
        let mut payload = pdu.clone();
        payload.resize(MIN_ETHERNET_PAYLOAD, 0);
        assert!(Frame::decode(&payload).is_err());
        assert_eq!(without_padding(&payload), pdu);
        assert_eq!(without_padding(&[0xff; 46]), [0xff; 46]);
        assert_eq!(without_padding(&[0; 3]), [0; 3]);
    }
}
