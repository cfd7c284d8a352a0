//! ICMPv6 messages of the gateway (RFC 4443).

use core::net::Ipv6Addr;

use damc_wire::{DropReason, RefusalReason};
use etherparse::{Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header};

use crate::packet::{HEADER, View};

/// Hop limit of the gateway's own packets to a pod.
pub(crate) const HOP_LIMIT: u8 = 64;
/// Longest ICMPv6 error, bytes: every link carries that much (RFC 4443, section 2.4 (c)).
const LONGEST: usize = damc_wire::address::MIN_MTU;
/// Bytes of an ICMPv6 header.
const ICMP_HEADER: usize = 8;

/// An ICMPv6 error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Destination unreachable, with its code.
    Unreachable(u8),
    /// Packet too big, with the MTU in bytes.
    TooBig(u32),
    /// Hop limit exceeded in transit.
    TimeExceeded,
}

/// No route to destination.
pub(crate) const NO_ROUTE: u8 = 0;
/// Communication with destination administratively prohibited.
pub(crate) const PROHIBITED: u8 = 1;
/// Address unreachable.
pub(crate) const ADDRESS: u8 = 3;
/// Port unreachable.
pub(crate) const PORT: u8 = 4;
/// Source address failed ingress policy.
pub(crate) const SOURCE: u8 = 5;

impl Problem {
    /// The error that tells a pod that our own forwarding plane dropped its packet; `None` if it is not told.
    pub(crate) const fn of_drop(reason: DropReason) -> Option<Self> {
        Some(match reason {
            DropReason::NoRoute | DropReason::PortDown | DropReason::Looped => Self::Unreachable(NO_ROUTE),
            DropReason::NoSuchInstance => Self::Unreachable(ADDRESS),
            DropReason::SourceNotAuthorised | DropReason::NoAdjacency => Self::Unreachable(SOURCE),
            DropReason::HopLimitExceeded => Self::TimeExceeded,
            _ => return None,
        })
    }

    /// The error that tells a pod that another node dropped its packet.
    pub(crate) const fn of_refusal(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::NoRoute => Self::Unreachable(NO_ROUTE),
            RefusalReason::NoSuchInstance => Self::Unreachable(ADDRESS),
            RefusalReason::SourceNotAuthorised => Self::Unreachable(SOURCE),
            RefusalReason::HopLimitExceeded => Self::TimeExceeded,
            _ => Self::Unreachable(PROHIBITED),
        }
    }

    /// Whether it says that the other end cannot be reached, for now or for good.
    pub(crate) const fn is_absence(self) -> bool {
        matches!(self, Self::Unreachable(NO_ROUTE | ADDRESS))
    }

    const fn fields(self) -> (u8, u8, u32) {
        match self {
            Self::Unreachable(code) => (1, code, 0),
            Self::TooBig(mtu) => (2, 0, mtu),
            Self::TimeExceeded => (3, 0, 0),
        }
    }
}

/// An ICMPv6 error from `speaker` to the source of a packet. The packet may be truncated.
pub(crate) fn problem(speaker: Ipv6Addr, to: Ipv6Addr, packet: &[u8], problem: Problem) -> Vec<u8> {
    let (kind, code, value) = problem.fields();
    let quoted = &packet[..packet.len().min(LONGEST - HEADER - ICMP_HEADER)];
    message(speaker, to, HOP_LIMIT, (kind, code, value.to_be_bytes()), quoted)
}

/// The answer to an echo request; `None` for any other packet.
pub(crate) fn echo(view: &View<'_>) -> Option<Vec<u8>> {
    let icmp = view.icmp()?;
    let (head, data) = icmp.split_first_chunk::<ICMP_HEADER>()?;
    if head[0] != 128 || head[1] != 0 || view.source.is_multicast() || view.source.is_unspecified() {
        return None;
    }
    Some(message(view.destination, view.source, HOP_LIMIT, (129, 0, [head[4], head[5], head[6], head[7]]), data))
}

/// An ICMPv6 message with its IPv6 header.
pub(crate) fn message(
    from: Ipv6Addr,
    to: Ipv6Addr,
    hop_limit: u8,
    (type_u8, code_u8, bytes5to8): (u8, u8, [u8; 4]),
    data: &[u8],
) -> Vec<u8> {
    let kind = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
    // This fails only from 4 GiB on, where no checksum is defined.
    let Ok(icmp) = Icmpv6Header::with_checksum(kind, from.octets(), to.octets(), data) else { return Vec::new() };
    let mut packet = header(from, to, IpNumber::IPV6_ICMP, hop_limit, ICMP_HEADER + data.len());
    packet.extend_from_slice(&icmp.to_bytes());
    packet.extend_from_slice(data);
    packet
}

/// An IPv6 header for `length` bytes of payload.
pub(crate) fn header(from: Ipv6Addr, to: Ipv6Addr, next_header: IpNumber, hop_limit: u8, length: usize) -> Vec<u8> {
    let header = Ipv6Header {
        payload_length: u16::try_from(length).unwrap_or(u16::MAX),
        next_header,
        hop_limit,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    };
    header.to_bytes().to_vec()
}
