//! The forwarding plane's look at a routed PDU: read once, decided about, edited in place.

use core::ops::Range;

use super::link_mac::{LINK_MAC_LEN, ROUTED_HEADER_LEN};
use super::{Ahead, FLAG_TRACE, Header, HeaderView, MAX_BODY, check_crc};
use crate::codec;
use crate::crc::crc32c;
use crate::cursor::{Reader, TLV_HEADER_LEN, Tlvs, Writer};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::message::Hop;
use crate::name;
use crate::registry::{MAX_PDU, MessageType, TlvType, VERSION};
use crate::{Name, NodeId};

/// What [`RoutedView::parse`] finds in a PDU: its header and where its parts lie, without the bytes. Whoever reads a whole
/// batch before working on it keeps this, and joins it with the bytes again by [`RoutedLayout::view`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedLayout {
    header: Header,
    ahead: Ahead,
    /// Where the names lie: start and end. A PDU is far shorter than 64 kB.
    destination: [u16; 2],
    source: [u16; 2],
    /// Offset of the first TLV behind the names.
    rest_at: u16,
}

/// What the forwarding plane needs of a routed PDU, on the bytes of that PDU. Does not allocate. With bytes that can be
/// changed it also edits what changes from hop to hop; all of that is outside the end-to-end checksum.
#[derive(Clone, Copy, Debug)]
pub struct RoutedView<T> {
    pdu: T,
    layout: RoutedLayout,
}

impl RoutedLayout {
    /// Checks header, length and both names of a routed PDU; looks at nothing behind them.
    ///
    /// # Errors
    /// What is wrong and where; a hop-local type is an error here.
    #[inline]
    pub fn of(pdu: &[u8]) -> Result<Self, DecodeError> {
        let (header, ahead, r) = Header::take(pdu)?;
        if !header.message_type.is_routed() {
            let value = u64::from(header.message_type.code());
            return Err(DecodeError { offset: 1, kind: DecodeErrorKind::BadValue { what: "routed type", value } });
        }
        let mut tlvs = Tlvs::new(r);
        let destination = locate_name(&mut tlvs, TlvType::Destination)?;
        let source = locate_name(&mut tlvs, TlvType::Source)?;
        Ok(Self { header, ahead, destination, source, rest_at: short(tlvs.offset()) })
    }

    /// The destination in the PDU that this was found in, wire form.
    #[must_use]
    pub fn destination_in<'a>(&self, pdu: &'a [u8]) -> &'a [u8] {
        part(pdu, self.destination)
    }

    /// Joins this with the bytes that it was found in. With other bytes nothing that the view says is of use; it does not
    /// panic.
    #[must_use]
    pub const fn view<T: AsRef<[u8]>>(self, pdu: T) -> RoutedView<T> {
        RoutedView { pdu, layout: self }
    }
}

impl<T: AsRef<[u8]>> RoutedView<T> {
    /// Checks header, length and both names of a routed PDU; looks at nothing behind them.
    ///
    /// # Errors
    /// What is wrong and where; a hop-local type is an error here.
    pub fn parse(pdu: T) -> Result<Self, DecodeError> {
        let layout = RoutedLayout::of(pdu.as_ref())?;
        Ok(Self { pdu, layout })
    }

    /// Fixed header, as it is now.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.layout.header
    }

    /// What the last forwarder told.
    #[must_use]
    pub const fn ahead(&self) -> Ahead {
        self.layout.ahead
    }

    /// Destination name, wire form, checked.
    #[must_use]
    pub fn destination(&self) -> &[u8] {
        part(self.pdu.as_ref(), self.layout.destination)
    }

    /// Source name, wire form, checked.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        part(self.pdu.as_ref(), self.layout.source)
    }

    /// The PDU.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        self.pdu.as_ref()
    }

    /// Whether the node that forwards this PDU is to call [`append_hop`], and with which `on_return`.
    #[must_use]
    pub fn trace(&self) -> Option<bool> {
        if self.header().flags & FLAG_TRACE == 0 || self.header().message_type != MessageType::Data {
            return None;
        }
        let mut body = self.rest()?.require(TlvType::Body).ok()?;
        Some(body.u8("data kind").ok()? != codec::DATA_REQUEST)
    }

    /// Where the inner packet of a packet message lies in its PDU; none in any other message.
    #[must_use]
    pub fn inner_packet(&self) -> Option<Range<usize>> {
        if self.header().message_type != MessageType::Packet {
            return None;
        }
        let mut payload = self.rest()?.require(TlvType::Payload).ok()?;
        let start = payload.offset();
        Some(start..start + payload.rest().len())
    }

    /// Whether the end-to-end checksum of a packet message holds.
    #[must_use]
    pub fn checksum_holds(&self) -> bool {
        let Some(mut tlvs) = self.rest() else { return false };
        tlvs.require(TlvType::Payload).is_ok() && check_crc(self.pdu(), &mut tlvs).is_ok()
    }

    /// What a negative reply is about, without a look at the rest of it; none where the PDU is none.
    #[must_use]
    pub fn nack_about(&self) -> Option<MessageType> {
        if self.header().message_type != MessageType::Nack {
            return None;
        }
        whole_body(self.pdu(), &self.layout)?.get(1).and_then(|code| MessageType::from_code(*code))
    }

    /// The TLVs behind the names.
    fn rest(&self) -> Option<Tlvs<'_>> {
        rest(self.pdu(), &self.layout)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> RoutedView<T> {
    /// The PDU, to change what lies behind the names.
    #[must_use]
    pub fn pdu_mut(&mut self) -> &mut [u8] {
        self.pdu.as_mut()
    }

    /// Overwrites the hop limit.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.layout.header.hop_limit = hop_limit;
        HeaderView::of(self.pdu.as_mut()).set_hop_limit(hop_limit);
    }

    /// Overwrites the label.
    pub fn set_label(&mut self, label: u32) {
        self.layout.header.label = label;
        HeaderView::of(self.pdu.as_mut()).set_label(label);
    }

    /// Overwrites what the last forwarder told.
    pub fn set_ahead(&mut self, ahead: Ahead) {
        self.layout.ahead = ahead;
        self.layout.header.flags = ahead.flags(self.layout.header.flags);
        HeaderView::of(self.pdu.as_mut()).set_ahead(ahead);
    }
}

fn rest<'a>(pdu: &'a [u8], layout: &RoutedLayout) -> Option<Tlvs<'a>> {
    let at = usize::from(layout.rest_at);
    Some(Tlvs::new(Reader::new(pdu.get(at..)?, at)))
}

fn part(pdu: &[u8], [start, end]: [u16; 2]) -> &[u8] {
    pdu.get(usize::from(start)..usize::from(end)).unwrap_or_default()
}

fn locate_name(tlvs: &mut Tlvs<'_>, t: TlvType) -> Result<[u16; 2], DecodeError> {
    let mut r = tlvs.require(t)?;
    let at = r.clone();
    let bytes = r.rest();
    name::check_wire(bytes).map_err(|e| at.error(e.into()))?;
    Ok([short(at.offset()), short(at.offset() + bytes.len())])
}

/// An offset in a PDU, whose length is bounded by [`MAX_PDU`].
fn short(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

/// Bytes of a packet message beside the two names and the inner packet: header, heads of destination, source and
/// payload, checksum.
pub const PACKET_OVERHEAD: usize = ROUTED_HEADER_LEN + 3 * TLV_HEADER_LEN + TLV_HEADER_LEN + 4;

/// Writes a packet message into `out`, which is emptied first and keeps its memory: the forwarding plane's way to
/// [`Frame::encode`]. Returns false, and leaves `out` empty, where the PDU would be over [`MAX_PDU`].
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
    out.extend_from_slice(&[0; 4 + LINK_MAC_LEN]);
    let parts =
        [(TlvType::Destination, destination.wire()), (TlvType::Source, source.wire()), (TlvType::Payload, inner)];
    for (kind, value) in parts {
        push_tlv(out, kind, value);
    }
    let crc = crc32c(&out[ROUTED_HEADER_LEN..]);
    push_tlv(out, TlvType::Checksum, &crc.to_be_bytes());
    true
}

/// Appends a TLV; `value` is within the bounds of a PDU.
fn push_tlv(out: &mut Vec<u8>, kind: TlvType, value: &[u8]) {
    out.push(kind.code());
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(value);
}

/// Appends a hop to a traced data PDU, behind the end-to-end checksum, and corrects the length. Leaves the PDU alone and
/// says false where it would grow past [`MAX_PDU`].
pub fn append_hop(pdu: &mut Vec<u8>, node: &NodeId, on_return: bool) -> bool {
    let mut w = Writer::new();
    w.item(TlvType::Hop, &Hop { node: node.clone(), on_return });
    let fits = pdu.len() + w.written().len() <= MAX_PDU;
    if fits {
        pdu.extend_from_slice(w.written());
        HeaderView::of(pdu).set_length();
    }
    fits
}

/// What a negative reply quotes of a routed PDU: the value of its body TLV, or the first [`MAX_BODY`] bytes of the packet
/// it carries; none where it has neither, or a body over [`MAX_BODY`].
#[must_use]
pub fn body_of(pdu: &[u8]) -> Option<&[u8]> {
    let view = RoutedView::parse(pdu).ok()?;
    if view.header().message_type == MessageType::Packet {
        let inner = &pdu[view.inner_packet()?];
        return Some(&inner[..inner.len().min(MAX_BODY)]);
    }
    whole_body(pdu, &view.layout).filter(|body| body.len() <= MAX_BODY)
}

fn whole_body<'a>(pdu: &'a [u8], layout: &RoutedLayout) -> Option<&'a [u8]> {
    Some(rest(pdu, layout)?.require(TlvType::Body).ok()?.rest())
}
