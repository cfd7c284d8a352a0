//! Header, framing, hop security and the borrowed view the forwarding plane works on.

use crate::error::DecodeError;
use crate::message::Message;
use crate::registry::MessageType;
use crate::Name;

/// The fixed header of every PDU (the Ethernet payload).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |    Version    |     Type      |     Flags     |   Hop Limit   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |            Length             |           Reserved            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             Flow                              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             Label                             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub message_type: MessageType,
    /// [`FLAG_TRACE`]; all other bits are sent as 0 and ignored.
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

/// What the forwarding plane needs of a routed PDU, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RoutedView<'a> {
    /// Fixed header.
    pub header: Header,
    /// Destination name, wire form, checked.
    pub destination: &'a [u8],
    /// Source name, wire form, checked.
    pub source: &'a [u8],
}

impl<'a> RoutedView<'a> {
    /// Checks header, length and both names of a routed PDU; looks at nothing behind them.
    ///
    /// # Errors
    /// What is wrong and where; a hop-local type is an error here.
    pub fn parse(_pdu: &'a [u8]) -> Result<Self, DecodeError> {
        unimplemented_yet()
    }
}

fn unimplemented_yet<T>() -> T {
    panic!("being written")
}
