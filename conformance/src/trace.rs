//! Recorded frames, decoded: the first witness of every case.

use damc_testbed::recording::{Entry, RecordedPort};
use damc_wire::frame::Frame;
use damc_wire::{Message, MessageType};

/// A frame at one end of a link.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Monotonic clock of the host, ns.
    pub at_ns: u64,
    /// Node whose port it was seen at.
    pub node: String,
    /// The port, named after the neighbour.
    pub port: String,
    /// Whether it left the node; otherwise it arrived.
    pub sent: bool,
    /// The frame.
    pub frame: Frame,
    /// Its bytes.
    pub pdu: Vec<u8>,
}

impl Seen {
    /// Decodes a record; `None` for bytes that are not a DAMC frame, such as corrupted or hostile ones.
    #[must_use]
    pub fn decode(entry: &Entry<'_>, at: &RecordedPort) -> Option<Self> {
        let pdu = entry.pdu();
        let frame = Frame::decode(pdu).ok()?;
        let (node, port) = (at.node.clone(), at.port.clone());
        Some(Self { at_ns: entry.at_ns, node, port, sent: entry.sent, frame, pdu: pdu.to_vec() })
    }

    /// Whether it was recorded where `sender` put it on its link to `receiver`.
    #[must_use]
    pub fn is_sent_by(&self, sender: &str, receiver: &str) -> bool {
        self.sent && self.node == sender && self.port == receiver
    }

    /// Its type.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        self.frame.header.message_type
    }

    /// Its message.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.frame.message
    }
}
