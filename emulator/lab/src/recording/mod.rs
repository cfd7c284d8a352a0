//! The recording of a lab: every DAMC frame at every node port, both ways, with kernel stamps.
//!
//! A folder with `header.json` ([`Header`]) and numbered segments (`00000000.rec`, …), of which the newest are kept: a
//! lab may run for days on a bounded disk. A segment is a run of records: length of the frame (u16), port number in the
//! header (u16), flags (u8, bit 0: sent by the node), stamp (u64, `CLOCK_MONOTONIC` ns), all little-endian, then the
//! Ethernet frame. The recorder drains one namespace after the other, so records of different nodes are in order of
//! their stamps only within some milliseconds, more on a busy host.

mod pcapng;
mod reader;
mod writer;

pub use pcapng::{pcapng_record, pcapng_start, write_pcapng};
pub use reader::Recording;
pub(crate) use writer::Writer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Bytes of an Ethernet header, which precedes the PDU in a frame.
const ETHERNET_HEADER: usize = 14;
/// Bytes before the frame in a record.
const RECORD_HEADER: usize = 13;
const SENT: u8 = 1;
/// How many segments the bound on a recording is divided into.
const SEGMENTS: u64 = 8;

fn header_path(folder: &Path) -> PathBuf {
    folder.join("header.json")
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.rec"))
}

/// What a recording is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the lab.
    pub lab: String,
    /// Realtime minus monotonic clock when the recording began, ns.
    pub realtime_offset_ns: i64,
    /// Every port of every node.
    pub ports: Vec<RecordedPort>,
}

/// A port that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPort {
    /// Node.
    pub node: String,
    /// Port: the neighbour's name.
    pub port: String,
    /// Interface in the node's namespace.
    pub interface: String,
}

/// A recorded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Kernel stamp, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// Node.
    pub node: String,
    /// Port: the neighbour's name.
    pub port: String,
    /// The node sent it; else it received it.
    pub sent: bool,
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
}

impl Record {
    /// The PDU: what follows the Ethernet header.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        self.frame.get(ETHERNET_HEADER..).unwrap_or_default()
    }
}

/// A recorded frame where it was read, without a copy of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Kernel stamp, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// Place of the port in [`Header::ports`].
    pub port: u16,
    /// The node sent it; else it received it.
    pub sent: bool,
    /// The whole Ethernet frame.
    pub frame: &'a [u8],
}

impl Entry<'_> {
    /// The PDU: what follows the Ethernet header.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        self.frame.get(ETHERNET_HEADER..).unwrap_or_default()
    }

    /// A copy that stands for itself.
    #[must_use]
    pub fn record(&self, at: &RecordedPort) -> Record {
        let (node, port) = (at.node.clone(), at.port.clone());
        Record { at_ns: self.at_ns, node, port, sent: self.sent, frame: self.frame.to_vec() }
    }
}

/// Which records are wanted. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this node.
    pub node: Option<String>,
    /// Only those of this port.
    pub port: Option<String>,
    /// Only sent ones, or only received ones.
    pub sent: Option<bool>,
    /// Not before, `CLOCK_MONOTONIC` ns.
    pub from_ns: Option<u64>,
    /// Before, `CLOCK_MONOTONIC` ns.
    pub until_ns: Option<u64>,
}

impl Wanted {
    /// Whether a record of this stamp, port and direction is one of them.
    #[must_use]
    pub fn takes(&self, at_ns: u64, port: &RecordedPort, sent: bool) -> bool {
        self.node.as_ref().is_none_or(|node| *node == port.node)
            && self.port.as_ref().is_none_or(|wanted| *wanted == port.port)
            && self.sent.is_none_or(|wanted| wanted == sent)
            && self.from_ns.is_none_or(|from| at_ns >= from)
            && self.until_ns.is_none_or(|until| at_ns < until)
    }
}

/// The bytes before the frame of a record.
fn encode_head(length: u16, port: u16, sent: bool, at_ns: u64) -> [u8; RECORD_HEADER] {
    let mut head = [0; RECORD_HEADER];
    head[0..2].copy_from_slice(&length.to_le_bytes());
    head[2..4].copy_from_slice(&port.to_le_bytes());
    head[4] = if sent { SENT } else { 0 };
    head[5..13].copy_from_slice(&at_ns.to_le_bytes());
    head
}

fn decode_head(head: &[u8; RECORD_HEADER]) -> (u16, u16, bool, u64) {
    let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let mut stamp = [0; 8];
    stamp.copy_from_slice(&head[5..13]);
    (word(0), word(2), head[4] & SENT != 0, u64::from_le_bytes(stamp))
}

#[cfg(test)]
mod tests;
