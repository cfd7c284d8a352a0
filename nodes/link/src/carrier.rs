//! Carrier state of interfaces, which the kernel reports over route netlink.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::LinkError;
use crate::sys;

/// Reports the carrier of all interfaces of one network namespace: first the present state, then every change.
#[derive(Debug)]
pub struct CarrierWatch {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

/// Flags of an interface with carrier.
const WITH_CARRIER: u32 = (libc::IFF_UP | libc::IFF_LOWER_UP).cast_unsigned();
/// `IFLA_OPERSTATE`.
const OPERSTATE: u16 = 16;
/// `IF_OPER_UP` (RFC 2863 "up").
const OPERSTATE_UP: u8 = 6;
/// Bytes of `struct nlmsghdr`.
const MESSAGE_HEADER: usize = 16;
/// Bytes of `struct ifinfomsg`.
const LINK_MESSAGE: usize = 16;
/// Bytes for one datagram; the kernel fits its dumps to the size of our read.
const BUFFER: usize = 16 << 10;

impl CarrierWatch {
    /// Opens the watch in the current network namespace and requests the present state.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn open() -> Result<Self, LinkError> {
        let action = "watch interfaces";
        let fd = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE, action)?;
        let address =
            NetlinkAddress { family: libc::AF_NETLINK as u16, pad: 0, port: 0, groups: libc::RTMGRP_LINK as u32 };
        sys::bind(&fd, &address).map_err(|source| LinkError::System { action, source })?;
        let watch = Self { fd, buffer: vec![0; BUFFER].into_boxed_slice() };
        watch.ask().map_err(|source| LinkError::System { action, source })?;
        Ok(watch)
    }

    /// Calls `tell` with each (interface index, carrier) that the kernel reported since the last call. A state may be
    /// repeated.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn poll(&mut self, mut tell: impl FnMut(u32, bool)) -> io::Result<()> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => parse(&self.buffer[..length], &mut tell),
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                // Events were lost: ask for the present state.
                Err(nix::Error::ENOBUFS) => self.ask()?,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Requests a dump of all interfaces.
    fn ask(&self) -> io::Result<()> {
        let mut request = [0_u8; MESSAGE_HEADER + LINK_MESSAGE];
        request[..4].copy_from_slice(&((MESSAGE_HEADER + LINK_MESSAGE) as u32).to_ne_bytes());
        request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
        request[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
        send(self.fd.as_raw_fd(), &request, MsgFlags::empty())?;
        Ok(())
    }
}

impl AsFd for CarrierWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `struct sockaddr_nl`.
#[derive(Clone, Copy)]
#[repr(C)]
struct NetlinkAddress {
    family: u16,
    pad: u16,
    port: u32,
    groups: u32,
}

/// Walks the messages of a datagram.
fn parse(mut datagram: &[u8], tell: &mut impl FnMut(u32, bool)) {
    while let Some((length, kind)) = message_header(datagram) {
        let Some(body) = datagram.get(MESSAGE_HEADER..length) else { return };
        if let Some(index) = word(body, 4)
            && (kind == libc::RTM_NEWLINK || kind == libc::RTM_DELLINK)
        {
            tell(index, kind == libc::RTM_NEWLINK && is_usable(body));
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// Whether the interface of a link message carries frames. Carrier alone is not enough: the kernel silently drops
/// frames until it has also activated the queue, which the operational state shows.
fn is_usable(body: &[u8]) -> bool {
    let has_carrier = word(body, 8).is_some_and(|flags| flags & WITH_CARRIER == WITH_CARRIER);
    has_carrier && attribute(body.get(LINK_MESSAGE..).unwrap_or_default(), OPERSTATE) == Some(&[OPERSTATE_UP])
}

/// The value of the first attribute of this type.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(half(attributes, 0)?);
        if half(attributes, 2)? == wanted {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// Length and type of the first message.
fn message_header(datagram: &[u8]) -> Option<(usize, u16)> {
    let length = usize::try_from(word(datagram, 0)?).ok()?;
    let kind = half(datagram, 4)?;
    (length >= MESSAGE_HEADER).then_some((length, kind))
}

/// The 16-bit word in host order at `offset`.
fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|w| u16::from_ne_bytes(*w))
}

/// The 32-bit word in host order at `offset`.
fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|w| u32::from_ne_bytes(*w))
}
