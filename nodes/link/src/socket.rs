//! One AF_PACKET socket on one interface, or on all of a namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::LinkError;
use crate::filter::Filter;
use crate::sys;

/// Requested size of receive and send buffer, bytes. Frames that wait in a shaper are charged to the sender's buffer,
/// so a small buffer would hide the shaper's own queue limit.
const BUFFER: i32 = 4 << 20;

/// A non-blocking raw socket that sends and receives whole Ethernet frames.
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
}

impl RawSocket {
    /// Opens a socket in the current network namespace on the interface with this index; 0 means all interfaces.
    ///
    /// The order matters. A socket opened for a protocol receives from all interfaces until it is bound. It is
    /// therefore opened for no protocol, then filtered, then bound.
    ///
    /// # Errors
    /// What the kernel refused, usually for lack of `CAP_NET_RAW`.
    pub fn open(interface: u32, filter: Filter) -> Result<Self, LinkError> {
        let fd = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0, "open a packet socket")?;
        let refused = |action| move |source: io::Error| LinkError::System { action, source };
        sys::attach_filter(&fd, &mut filter.program()).map_err(refused("attach a packet filter"))?;
        sys::set_option(&fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32)
            .map_err(refused("ask for receive stamps"))?;
        if filter.hides_outgoing() {
            sys::set_option(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)
                .map_err(refused("hide outgoing frames"))?;
        }
        set_buffer(&fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF).map_err(refused("set the receive buffer"))?;
        set_buffer(&fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF).map_err(refused("set the send buffer"))?;
        sys::bind(&fd, &link_address(interface, filter.protocol())).map_err(refused("bind to the interface"))?;
        Ok(Self { fd })
    }

    /// Opens a socket on the interface of this name.
    ///
    /// # Errors
    /// [`LinkError::NoInterface`], or those of [`RawSocket::open`].
    pub fn open_on(interface: &str, filter: Filter) -> Result<Self, LinkError> {
        Self::open(crate::ifindex(interface)?, filter)
    }

    /// Takes the pending error of the socket, such as an interface that went down. Until it is taken, the kernel
    /// reports the socket as readable. [`crate::ReceiveArena`] takes it when it receives; a [`crate::ReceiveRing`] does
    /// not.
    ///
    /// # Errors
    /// None on a packet socket that is open.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let errno = sys::option::<i32>(&self.fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
    }

    /// Frames that the kernel dropped since the last call because this socket's receive buffer was full.
    ///
    /// # Errors
    /// None on a packet socket that is open.
    pub fn take_drops(&self) -> io::Result<u64> {
        let [_packets, drops] = sys::option::<[u32; 2]>(&self.fd, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(u64::from(drops))
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sets a buffer size: beyond the system's limit if permitted, otherwise within it.
fn set_buffer(fd: &OwnedFd, forced: i32, plain: i32) -> io::Result<()> {
    sys::set_option(fd, libc::SOL_SOCKET, forced, &BUFFER)
        .or_else(|_| sys::set_option(fd, libc::SOL_SOCKET, plain, &BUFFER))
}

/// The AF_PACKET address of an interface.
pub(crate) fn link_address(interface: u32, protocol: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}
