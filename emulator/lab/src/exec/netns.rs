//! Network namespaces held by file descriptor: nothing is mounted or named, and the last descriptor closed ends one.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{LabError, Result};
use crate::sandbox::obstacles::Host;

/// A network namespace and the two sockets that were opened inside it.
#[derive(Debug)]
pub struct Namespace {
    /// Node name, or `wire`.
    pub name: String,
    fd: OwnedFd,
    /// For rtnetlink requests; taken when the connection is made.
    route_socket: Option<OwnedFd>,
    /// Any datagram socket, for interface ioctls.
    ioctl_socket: OwnedFd,
}

impl Namespace {
    /// The namespace.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// A socket for interface ioctls in this namespace.
    #[must_use]
    pub fn ioctl_socket(&self) -> BorrowedFd<'_> {
        self.ioctl_socket.as_fd()
    }

    /// The rtnetlink socket; there is one.
    pub fn take_route_socket(&mut self) -> Option<OwnedFd> {
        self.route_socket.take()
    }

    /// Runs `f` inside this namespace on a thread of its own, because a thread that entered a namespace stays there.
    ///
    /// # Errors
    /// When the thread cannot be made or cannot enter the namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.fd, CloneFlags::CLONE_NEWNET)
                        .map_err(LabError::sys(format!("enter the network namespace of {}", self.name)))?;
                    Ok(f())
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Makes one namespace for each name, in order, loopback up and IPv6 noise off, and hands each over as soon as it is there.
/// Runs on the calling thread and leaves it in the last namespace: call it on a thread that ends afterwards.
///
/// # Errors
/// When the kernel refuses one of the steps.
pub fn create_all(names: &[String], mut each: impl FnMut(Namespace)) -> Result<()> {
    for name in names {
        each(create(name).map_err(|error| refused(name, error))?);
    }
    Ok(())
}

/// The kernel's word for a full table of namespaces is that of a full disk.
fn refused(name: &str, error: io::Error) -> LabError {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => LabError::Sandbox(format!("that of {name}: {}", Host::look().explain(Errno::ENOSPC))),
        _ => LabError::io(format!("make the network namespace of {name}"))(error),
    }
}

fn create(name: &str) -> io::Result<Namespace> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let fd = OwnedFd::from(File::open("/proc/thread-self/ns/net")?);
    // Interfaces made later inherit `default`; `all` covers the loopback that is there already.
    for scope in ["default", "all"] {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1") {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let route_socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
    route_socket.set_ext_ack(true)?;
    route_socket.set_non_blocking(true)?;
    // SAFETY: `into_raw_fd` gives up the descriptor it returns, so this is its only owner.
    let route_socket = unsafe { OwnedFd::from_raw_fd(route_socket.into_raw_fd()) };
    let ioctl_socket: OwnedFd =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM.cloexec(), None)?.into();
    loopback_up(&ioctl_socket)?;
    Ok(Namespace { name: name.to_owned(), fd, route_socket: Some(route_socket), ioctl_socket })
}

fn loopback_up(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(libc::c_short::MAX);
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives across the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
