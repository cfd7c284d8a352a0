//! Switching offloads off: a frame that leaves a node must be the frame that crosses the wire, with its checksum in it
//! and no longer than the MTU. A veth's checksum offload leaves it out, and a forwarder over AF_PACKET then loses it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

// linux/ethtool.h
const ETHTOOL_SRXCSUM: u32 = 0x15;
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_STSO: u32 = 0x1f;
const ETHTOOL_SGSO: u32 = 0x24;
const ETHTOOL_SGRO: u32 = 0x2c;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Switches checksum, segmentation and receive offloads of an interface off. `socket` was opened in its namespace.
///
/// # Errors
/// When the interface is not there or refuses to do without transmit checksum offload.
pub fn disable(socket: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
    for command in [ETHTOOL_STXCSUM, ETHTOOL_SRXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO] {
        match set(socket, interface, command) {
            // A feature the driver fixes in place; only the transmit checksum can damage frames.
            Err(error) if command != ETHTOOL_STXCSUM && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(())
}

fn set(socket: BorrowedFd<'_>, interface: &str, command: u32) -> io::Result<()> {
    let mut value = EthtoolValue { command, data: 0 };
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: SIOCETHTOOL with these commands reads one `ethtool_value` behind `ifr_data`; both live across the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
