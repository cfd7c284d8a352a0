//! Recordings: every DAMC frame and every IPv6 packet at every port of every node, both ways, with the world's stamps.

mod capture_file;
mod pcapng;

pub use capture_file::{CaptureError, CaptureItem, read_capture};
pub use pcapng::{pcapng_length, pcapng_record, pcapng_start};

use serde::{Deserialize, Serialize};

/// Bytes of an Ethernet header, which precedes the PDU in a frame.
const ETHERNET_HEADER: usize = 14;
/// Where the EtherType lies in it.
const ETHERTYPE_AT: usize = 12;
/// EtherType of the packets between a pod and its SG (RFC 2464).
const ETHERTYPE_IPV6: u16 = 0x86DD;

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
    /// When it passed the port, on the world's clock, ns.
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

/// Whether a frame carries IPv6, as between a pod and its SG, and no PDU.
#[must_use]
pub fn is_ipv6(frame: &[u8]) -> bool {
    frame.get(ETHERTYPE_AT..ETHERNET_HEADER) == Some(&ETHERTYPE_IPV6.to_be_bytes())
}

/// A recorded frame where it was read, without a copy of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it passed the port, on the world's clock, ns.
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

/// Which records are wanted. The default is all DAMC frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this node.
    pub node: Option<String>,
    /// Only those of this port.
    pub port: Option<String>,
    /// Only sent ones, or only received ones.
    pub sent: Option<bool>,
    /// Not before, on the world's clock, ns.
    pub from_ns: Option<u64>,
    /// Before, `CLOCK_MONOTONIC` ns.
    pub until_ns: Option<u64>,
    /// IPv6 packets too.
    pub ipv6: bool,
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
