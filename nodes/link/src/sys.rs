//! Thin safe wrappers of single system calls.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::error::LinkError;

/// Opens a non-blocking, close-on-exec socket.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32, action: &'static str) -> Result<OwnedFd, LinkError> {
    // SAFETY: `socket` takes integers only.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(LinkError::last(action));
    }
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a socket option to a plain value.
pub(crate) fn set_option<T: Copy>(fd: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: pointer and length describe `value`, which lives through the call; the kernel only reads it.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), length_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads a socket option of type `T`.
pub(crate) fn option<T: Copy + Default>(fd: &impl AsFd, level: i32, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut length = length_of::<T>();
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: pointer and length describe `value`; the kernel writes at most `length` bytes. Callers use integers and
    // integer structures, for which every bit pattern is valid.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Binds to a raw address structure.
pub(crate) fn bind<T: Copy>(fd: &impl AsFd, address: &T) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: pointer and length describe `address`, a socket address of the socket's family; the kernel only reads it.
    let result = unsafe { libc::bind(fd, (&raw const *address).cast(), length_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Attaches a classic BPF program.
pub(crate) fn attach_filter(fd: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// The link-layer address of an interface.
pub(crate) fn hardware_address(fd: &impl AsFd, name: &str) -> io::Result<[u8; 6]> {
    // SAFETY: an `ifreq` of zeros is valid: all members of its union are plain data.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: SIOCGIFHWADDR reads the name of an `ifreq` and writes its address member.
    if unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel filled this member of the union; it is plain bytes anyway.
    let data = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    Ok(std::array::from_fn(|i| data[i].cast_unsigned()))
}

/// Size of a value, as the type of the socket calls. All our values are smaller than a page.
pub(crate) const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
