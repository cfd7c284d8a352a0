//! Sending a batch of frames in as few system calls as possible.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use crate::socket::{RawSocket, link_address};
use crate::sys;

/// A frame to send. It has two parts, so that the Ethernet header need not be copied in front of every PDU.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Index of the interface to send on; 0 for the one the socket is bound to.
    pub interface: u32,
    /// First part, usually [`crate::ethernet_header`]; may be empty.
    pub header: &'a [u8],
    /// Second part.
    pub body: &'a [u8],
}

/// Outcome of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Frames taken by the kernel.
    pub sent: u64,
    /// Frames dropped because the queue of the interface or of the socket was full.
    pub queue_full: u64,
    /// Frames dropped because the interface was down or gone.
    pub down: u64,
    /// Frames that the kernel refused for any other reason, such as their length.
    pub failed: u64,
}

/// Most frames that a single system call takes.
const BATCH: usize = 64;

/// The arguments of one `sendmmsg`.
struct Chunk {
    headers: [MaybeUninit<libc::mmsghdr>; BATCH],
    vectors: [MaybeUninit<[libc::iovec; 2]>; BATCH],
    names: [MaybeUninit<libc::sockaddr_ll>; BATCH],
    length: usize,
}

impl RawSocket {
    /// Sends frames in order and never blocks. A frame that does not fit a queue is dropped and counted.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = Transmit<'a>>) -> SendReport {
        let mut frames = frames.into_iter();
        let mut report = SendReport::default();
        loop {
            let mut chunk = Chunk {
                headers: [const { MaybeUninit::uninit() }; BATCH],
                vectors: [const { MaybeUninit::uninit() }; BATCH],
                names: [const { MaybeUninit::uninit() }; BATCH],
                length: 0,
            };
            for frame in frames.by_ref().take(BATCH) {
                chunk.push(&frame);
            }
            if chunk.length == 0 {
                return report;
            }
            self.send_chunk(&mut chunk, &mut report);
        }
    }

    fn send_chunk(&self, chunk: &mut Chunk, report: &mut SendReport) {
        let mut next = 0;
        while next < chunk.length {
            let left = chunk.length - next;
            // SAFETY: the first `length` headers are written and point to names and I/O vectors in this chunk, which
            // does not move while it is borrowed; those point to slices that `Transmit`'s lifetime keeps alive. The
            // kernel reads them and writes `msg_len` only.
            let result = unsafe {
                libc::sendmmsg(
                    self.as_fd().as_raw_fd(),
                    chunk.headers.as_mut_ptr().add(next).cast(),
                    u32::try_from(left).unwrap_or(u32::MAX),
                    libc::MSG_DONTWAIT,
                )
            };
            if let Ok(sent) = usize::try_from(result) {
                report.sent += sent as u64;
                next += sent;
                continue;
            }
            // The call stops at a frame that cannot be sent: count it and go on with the next.
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::ENOBUFS | libc::EAGAIN) => report.queue_full += 1,
                Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => report.down += 1,
                _ => report.failed += 1,
            }
            next += 1;
        }
    }
}

impl Chunk {
    /// Adds a frame. The pointers stay good as long as the chunk does not move and the frame's slices live: both hold
    /// within [`RawSocket::send`].
    fn push(&mut self, frame: &Transmit<'_>) {
        let i = self.length;
        let part = |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let vectors = self.vectors[i].write([part(frame.header), part(frame.body)]);
        // SAFETY: `msghdr` is plain data, valid when zero.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = 2;
        if frame.interface != 0 {
            let name = self.names[i].write(link_address(frame.interface, crate::ETHERTYPE));
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = sys::length_of::<libc::sockaddr_ll>();
        }
        self.headers[i].write(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        self.length += 1;
    }
}

impl SendReport {
    /// Frames that were not sent.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.queue_full + self.down + self.failed
    }
}
