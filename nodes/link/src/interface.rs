//! Questions about interfaces of the current network namespace.

use crate::error::LinkError;
use crate::{ETHERNET_HEADER, ETHERTYPE, sys};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Index of an interface.
///
/// # Errors
/// [`LinkError::NoInterface`].
pub fn ifindex(name: &str) -> Result<u32, LinkError> {
    nix::net::if_::if_nametoindex(name).map_err(|_| LinkError::NoInterface(name.to_owned()))
}

/// Ethernet address of an interface.
///
/// # Errors
/// [`LinkError::NoInterface`], or no socket can be opened.
pub fn mac(name: &str) -> Result<Mac, LinkError> {
    let socket = sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0, "open a socket to query interfaces")?;
    sys::hardware_address(&socket, name).map_err(|_| LinkError::NoInterface(name.to_owned()))
}

/// The Ethernet header of every DAMC frame that leaves an interface with this address. Links are point to point: the
/// destination is the broadcast address, so that no node needs to learn the other end's.
#[must_use]
pub fn ethernet_header(source: Mac) -> [u8; ETHERNET_HEADER] {
    let mut header = [0xff; ETHERNET_HEADER];
    header[6..12].copy_from_slice(&source);
    header[12..].copy_from_slice(&ETHERTYPE.to_be_bytes());
    header
}
