//! TCP segments that the gateway itself sends: resets, which end a connection at once if its other end is gone, and the
//! question whether a connection still exists.

use core::net::Ipv6Addr;

use etherparse::{IpNumber, TcpHeader, TcpSlice};

use crate::errors::{HOP_LIMIT, header};
use crate::packet::FlowKey;

/// A reset to the pod in the name of the other end of `flow`, which is seen from the pod. The pod accepts it if
/// `sequence` is what it expects next (RFC 5961, section 3.2).
pub(crate) fn unasked(flow: FlowKey, sequence: u32) -> Vec<u8> {
    let mut tcp = TcpHeader::new(flow.destination_port, flow.source_port, sequence, 0);
    tcp.rst = true;
    packet(flow.destination, flow.source, tcp)
}

/// The reset that answers a segment of the pod (RFC 9293, section 3.10.7.1).
pub(crate) fn answering(flow: FlowKey, segment: &TcpSlice<'_>) -> Vec<u8> {
    if segment.ack() {
        return unasked(flow, segment.acknowledgment_number());
    }
    let length = segment.payload().len() + usize::from(segment.syn()) + usize::from(segment.fin());
    let mut tcp = TcpHeader::new(flow.destination_port, flow.source_port, 0, 0);
    tcp.rst = true;
    tcp.ack = true;
    tcp.acknowledgment_number = segment.sequence_number().wrapping_add(u32::try_from(length).unwrap_or(0));
    packet(flow.destination, flow.source, tcp)
}

/// A keep-alive in the name of the pod (RFC 9293, section 3.8.4): an acknowledgement whose number is one before what
/// the other end expects. `expected` is what the other end expects next, `expects` what the pod expects of it.
pub(crate) fn question(flow: FlowKey, (expected, expects): (u32, u32)) -> Vec<u8> {
    let mut tcp = TcpHeader::new(flow.source_port, flow.destination_port, expected.wrapping_sub(1), 0);
    tcp.ack = true;
    tcp.acknowledgment_number = expects;
    packet(flow.source, flow.destination, tcp)
}

fn packet(from: Ipv6Addr, to: Ipv6Addr, mut tcp: TcpHeader) -> Vec<u8> {
    tcp.checksum = tcp.calc_checksum_ipv6_raw(from.octets(), to.octets(), &[]).unwrap_or(0);
    let mut packet = header(from, to, IpNumber::TCP, HOP_LIMIT, tcp.header_len());
    packet.extend_from_slice(&tcp.to_bytes());
    packet
}
