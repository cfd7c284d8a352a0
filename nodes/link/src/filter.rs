//! Filters: which frames a socket sees. A classic BPF program decides in the kernel.

use crate::{ETHERNET_HEADER, ETHERTYPE};

/// Frames that a socket receives. All filters see incoming frames only, except `Capture` and `CaptureWithIpv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Hop-local DAMC frames (bit 7 of the type byte clear) and DAMC frames too short to have a type byte.
    Control,
    /// DAMC frames that are routed by name (bit 7 of the type byte set).
    Routed,
    /// All DAMC frames.
    All,
    /// All DAMC frames, incoming and outgoing.
    Capture,
    /// Every frame, whatever its EtherType.
    Everything,
    /// IPv6 packets.
    Ipv6,
    /// All DAMC frames and IPv6 packets, incoming and outgoing.
    CaptureWithIpv6,
}

/// Offset of the EtherType in a frame.
const ETHERTYPE_OFFSET: u32 = 12;
/// Offset of the type byte: second byte of the PDU.
const TYPE_OFFSET: u32 = ETHERNET_HEADER as u32 + 1;
/// Marks routed messages in the type byte.
const ROUTED_BIT: u32 = 0x80;
/// The program's return value that accepts the whole frame.
const ACCEPT: u32 = u32::MAX;

impl Filter {
    /// The protocol to bind to. Only sockets bound to all protocols see outgoing frames.
    pub(crate) const fn protocol(self) -> u16 {
        match self {
            Self::Control | Self::Routed | Self::All => ETHERTYPE,
            Self::Ipv6 => libc::ETH_P_IPV6 as u16,
            Self::Capture | Self::CaptureWithIpv6 | Self::Everything => libc::ETH_P_ALL as u16,
        }
    }

    /// Whether frames sent by this host must be hidden. A socket bound to all protocols would see them.
    pub(crate) const fn hides_outgoing(self) -> bool {
        matches!(self, Self::Everything)
    }

    /// The program.
    pub(crate) fn program(self) -> Vec<libc::sock_filter> {
        if self == Self::Everything {
            return vec![give(ACCEPT)];
        }
        let is_ipv6 = [load_half(ETHERTYPE_OFFSET), jump_if_equal(libc::ETH_P_IPV6 as u32, 0, 1), give(ACCEPT)];
        if self == Self::Ipv6 {
            return is_ipv6.into_iter().chain([give(0)]).collect();
        }
        let is_damc = [load_half(ETHERTYPE_OFFSET), jump_if_equal(u32::from(ETHERTYPE), 1, 0), give(0)];
        let rest: &[libc::sock_filter] = match self {
            Self::All | Self::Capture | Self::CaptureWithIpv6 | Self::Everything | Self::Ipv6 => &[give(ACCEPT)],
            // A frame without type byte goes to the control socket, which counts it as truncated.
            Self::Control => &[
                load_length(),
                jump_if_greater(TYPE_OFFSET, 1, 0),
                give(ACCEPT),
                load_byte(TYPE_OFFSET),
                jump_if_set(ROUTED_BIT, 1, 0),
                give(ACCEPT),
                give(0),
            ],
            // Loading beyond the end of a frame drops it.
            Self::Routed => &[load_byte(TYPE_OFFSET), jump_if_set(ROUTED_BIT, 1, 0), give(0), give(ACCEPT)],
        };
        let damc = is_damc.into_iter().chain(rest.iter().copied());
        if self == Self::CaptureWithIpv6 { is_ipv6.into_iter().chain(damc).collect() } else { damc.collect() }
    }
}

const fn instruction(code: u32, jump_true: u8, jump_false: u8, operand: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k: operand }
}

const fn load_half(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, offset)
}

const fn load_byte(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, offset)
}

const fn load_length() -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0, 0, 0)
}

const fn jump_if_equal(value: u32, yes: u8, no: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value)
}

const fn jump_if_greater(value: u32, yes: u8, no: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, yes, no, value)
}

const fn jump_if_set(bits: u32, yes: u8, no: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, yes, no, bits)
}

const fn give(bytes: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, bytes)
}
