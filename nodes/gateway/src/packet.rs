//! View of an IPv6 packet, as far as the gateway reads it.

use core::net::Ipv6Addr;

use etherparse::{IpNumber, Ipv6Slice, TcpSlice, UdpSlice};

/// Bytes of an IPv6 header.
pub(crate) const HEADER: usize = 40;
/// Offset of the hop limit in the header.
const HOP_LIMIT_AT: usize = 7;

/// A view of a whole, well-formed packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// The packet, without padding of the link.
    pub(crate) bytes: &'a [u8],
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hop_limit: u8,
    /// Protocol of the payload, by the last header before it.
    pub(crate) protocol: u8,
    /// The bytes after the IPv6 header and its extensions.
    pub(crate) payload: &'a [u8],
    /// Whether this is a fragment: only a part of the payload is here.
    pub(crate) fragment: bool,
}

/// Key of a flow. Fragments and protocols without ports have ports 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowKey {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) protocol: u8,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

impl FlowKey {
    /// The same flow, seen from its other end.
    pub(crate) const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self
        }
    }
}

impl<'a> View<'a> {
    /// The view of a packet; `None` if the bytes are not one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]));
        // An Ethernet frame may be longer than the packet; jumbograms (length 0) do not fit any link here.
        let bytes = bytes.get(..HEADER + length)?;
        let slice = Ipv6Slice::from_slice(bytes).ok()?;
        let header = slice.header();
        let payload = slice.payload();
        Some(Self {
            bytes,
            source: header.source_addr(),
            destination: header.destination_addr(),
            hop_limit: header.hop_limit(),
            protocol: payload.ip_number.0,
            payload: payload.payload,
            fragment: slice.is_payload_fragmented(),
        })
    }

    /// The TCP segment in it.
    pub(crate) fn tcp(&self) -> Option<TcpSlice<'a>> {
        let whole = self.protocol == IpNumber::TCP.0 && !self.fragment;
        if whole { TcpSlice::from_slice(self.payload).ok() } else { None }
    }

    /// The UDP datagram in it.
    pub(crate) fn udp(&self) -> Option<UdpSlice<'a>> {
        let whole = self.protocol == IpNumber::UDP.0 && !self.fragment;
        if whole { UdpSlice::from_slice(self.payload).ok() } else { None }
    }

    /// The ICMPv6 message in it; its checksum is not verified.
    pub(crate) fn icmp(&self) -> Option<&'a [u8]> {
        let whole = self.protocol == IpNumber::IPV6_ICMP.0 && !self.fragment;
        (whole && self.payload.len() >= 8).then_some(self.payload)
    }

    pub(crate) fn flow(&self) -> FlowKey {
        let ported = matches!(IpNumber(self.protocol), IpNumber::TCP | IpNumber::UDP) && !self.fragment;
        let port = |at: usize| match self.payload.get(at..at + 2) {
            Some(&[high, low]) if ported => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        FlowKey {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            source_port: port(0),
            destination_port: port(2),
        }
    }

    /// Whether an ICMPv6 error about this packet may be sent (RFC 4443, section 2.4 (e)).
    pub(crate) fn may_be_answered(&self) -> bool {
        let is_error = self.protocol == IpNumber::IPV6_ICMP.0 && self.payload.first().is_none_or(|t| t & 0x80 == 0);
        !is_error && !self.destination.is_multicast() && !self.source.is_multicast() && !self.source.is_unspecified()
    }
}

/// Sets the hop limit of a packet.
pub(crate) fn set_hop_limit(packet: &mut [u8], hop_limit: u8) {
    if let Some(field) = packet.get_mut(HOP_LIMIT_AT) {
        *field = hop_limit;
    }
}
