//! The fixed header: as a value, and where it lies in a PDU.

use super::link_mac::LINK_MAC_LEN;
use crate::cursor::{Reader, Writer};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::registry::{HEADER_LEN, MAX_PDU, MessageType, ROUTED_BIT, VERSION};

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
/// In a routed PDU the link MAC follows, 16 bytes ([`super::LinkKey`]), which is no part of this value.
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

impl Header {
    /// The header of a hop-local message.
    #[must_use]
    pub const fn hop_local(message_type: MessageType) -> Self {
        Self { message_type, flags: 0, hop_limit: 1, flow: 0, label: 0 }
    }

    pub(super) fn put(&self, w: &mut Writer) {
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

    /// Reads header and length of a PDU. Returns them, and a reader over its TLVs.
    #[inline]
    pub(super) fn take(pdu: &[u8]) -> Result<(Self, Ahead, Reader<'_>), DecodeError> {
        let Some((head, tlvs)) = pdu.split_first_chunk::<HEADER_LEN>() else { return Err(cut_short(pdu)) };
        let [version, code, flags, hop_limit, l0, l1, a0, a1, f0, f1, f2, f3, b0, b1, b2, b3] = *head;
        let error = |offset, kind| Err(DecodeError { offset, kind });
        if version != VERSION {
            return error(0, DecodeErrorKind::BadVersion(version));
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (flow, label) = (u32::from_be_bytes([f0, f1, f2, f3]), u32::from_be_bytes([b0, b1, b2, b3]));
        if length < HEADER_LEN {
            return error(LENGTH_AT, DecodeErrorKind::BadValue { what: "length", value: length as u64 });
        }
        if length > MAX_PDU || pdu.len() > length {
            return error(LENGTH_AT, DecodeErrorKind::Oversized { what: "PDU" });
        }
        if pdu.len() < length {
            let kind = DecodeErrorKind::Truncated { what: "PDU", needed: length, left: pdu.len() };
            return error(LENGTH_AT, kind);
        }
        let Some(message_type) = MessageType::from_code(code) else {
            return error(TYPE_AT, DecodeErrorKind::UnknownType(code));
        };
        if !message_type.is_routed() && (hop_limit, flow, label) != (1, 0, 0) {
            let (what, value) = ("routing field of a hop-local message", u64::from(hop_limit));
            return error(HOP_LIMIT_AT, DecodeErrorKind::BadValue { what, value });
        }
        let mut reader = Reader::new(tlvs, HEADER_LEN);
        if message_type.is_routed() {
            reader.bytes(LINK_MAC_LEN, "link MAC")?;
        }
        let ahead = Ahead { cost: u16::from_be_bytes([a0, a1]), uphill: flags & FLAG_UPHILL != 0 };
        Ok((Self { message_type, flags, hop_limit, flow, label }, ahead, reader))
    }
}

/// What is wrong with a PDU that has no whole header: its version, or the first field that is not there.
#[cold]
fn cut_short(pdu: &[u8]) -> DecodeError {
    let mut r = Reader::new(pdu, 0);
    match r.u8("header") {
        Ok(VERSION) => {}
        Ok(version) => return DecodeError { offset: 0, kind: DecodeErrorKind::BadVersion(version) },
        Err(error) => return error,
    }
    // Type, flags, hop limit; length and ahead; flow and label.
    let bytes = |r: &mut Reader<'_>| (0..3).try_for_each(|_| r.u8("header").map(drop));
    let shorts = |r: &mut Reader<'_>| (0..2).try_for_each(|_| r.u16("header").map(drop));
    let words = |r: &mut Reader<'_>| (0..2).try_for_each(|_| r.u32("header").map(drop));
    let missing = bytes(&mut r).and_then(|()| shorts(&mut r)).and_then(|()| words(&mut r)).err();
    missing
        .unwrap_or_else(|| r.error(DecodeErrorKind::Truncated { what: "header", needed: HEADER_LEN, left: pdu.len() }))
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
    /// Flags of a header with this in them.
    pub(super) const fn flags(self, others: u8) -> u8 {
        others & !FLAG_UPHILL | if self.uphill { FLAG_UPHILL } else { 0 }
    }
}

/// Offsets of the header's fields in a PDU.
const TYPE_AT: usize = 1;
const FLAGS_AT: usize = 2;
const HOP_LIMIT_AT: usize = 3;
const LENGTH_AT: usize = 4;
const AHEAD_AT: usize = 6;
const LABEL_AT: usize = 12;

/// The header where it lies in a PDU, whether anybody has checked that PDU or not. Fields that are not there read as 0,
/// and writing them has no effect: nothing here panics, whatever the bytes are.
///
/// All who need single fields of unparsed frames read them here; [`super::RoutedView`] is the checked look at a routed one.
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<T>(T);

impl<T: AsRef<[u8]>> HeaderView<T> {
    /// The header of these bytes.
    #[must_use]
    pub const fn of(pdu: T) -> Self {
        Self(pdu)
    }

    /// Code point of the message type.
    #[must_use]
    pub fn type_code(&self) -> u8 {
        self.byte(TYPE_AT)
    }

    /// Message type; none where the code point is not assigned.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        MessageType::from_code(self.type_code())
    }

    /// Whether the message is forwarded by name, in contrast to hop-local; also of types that are not assigned.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.type_code() & ROUTED_BIT != 0
    }

    /// Bytes of the whole PDU, as it says.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::from(self.short(LENGTH_AT))
    }

    /// What the last forwarder told.
    #[must_use]
    pub fn ahead(&self) -> Ahead {
        Ahead { cost: self.short(AHEAD_AT), uphill: self.byte(FLAGS_AT) & FLAG_UPHILL != 0 }
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.as_ref().get(at).copied().unwrap_or_default()
    }

    fn short(&self, at: usize) -> u16 {
        self.0.as_ref().get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_be_bytes(*b))
    }
}

impl<T: AsMut<[u8]>> HeaderView<T> {
    /// Overwrites the hop limit.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.put(HOP_LIMIT_AT, [hop_limit]);
    }

    /// Overwrites the label.
    pub fn set_label(&mut self, label: u32) {
        self.put(LABEL_AT, label.to_be_bytes());
    }

    /// Overwrites what the last forwarder told.
    pub fn set_ahead(&mut self, ahead: Ahead) {
        if let Some(flags) = self.0.as_mut().get_mut(FLAGS_AT) {
            *flags = ahead.flags(*flags);
        }
        self.put(AHEAD_AT, ahead.cost.to_be_bytes());
    }

    /// Makes the length that of the bytes.
    pub(super) fn set_length(&mut self) {
        // A PDU over 65535 bytes never gets here: every caller is bounded by MAX_PDU.
        let length = u16::try_from(self.0.as_mut().len()).unwrap_or(u16::MAX);
        self.put(LENGTH_AT, length.to_be_bytes());
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        if let Some(field) = self.0.as_mut().get_mut(at..at + N) {
            field.copy_from_slice(&value);
        }
    }
}

/// Smallest payload of an Ethernet frame: shorter PDUs arrive padded on real hardware.
pub const MIN_ETHERNET_PAYLOAD: usize = 46;

/// The PDU in an Ethernet payload: what the minimum frame size added behind it is cut off.
#[must_use]
pub fn without_padding(payload: &[u8]) -> &[u8] {
    if payload.len() != MIN_ETHERNET_PAYLOAD {
        return payload;
    }
    payload.get(..HeaderView::of(payload).length().max(HEADER_LEN)).unwrap_or(payload)
}
