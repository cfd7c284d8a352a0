//! Recorded frames, decoded: the first witness of every case.

use damc_lab::recording::Record;
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
    /// Leaving the node, in contrast to arriving.
    pub sent: bool,
    /// The frame.
    pub frame: Frame,
    /// Its bytes.
    pub pdu: Vec<u8>,
}

impl Seen {
    /// Decodes a record; none for bytes that are no DAMC frame (hostile ones of the suite itself, corrupted ones).
    #[must_use]
    pub fn from_record(record: &Record) -> Option<Self> {
        let frame = Frame::decode(record.pdu()).ok()?;
        Some(Self {
            at_ns: record.at_ns,
            node: record.node.clone(),
            port: record.port.clone(),
            sent: record.sent,
            frame,
            pdu: record.pdu().to_vec(),
        })
    }

    /// Seen where `sender` put it on its link to `receiver`.
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
