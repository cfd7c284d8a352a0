//! Receiving a batch of frames in one system call, into memory that is reused.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

use crate::ring::Pdus;
use crate::socket::RawSocket;
use crate::{ETHERNET_HEADER, clock, sys};

/// Bytes for each frame: an Ethernet frame of 1514 bytes, and room to recognise a longer one.
const SLOT: usize = 2048;
/// Bytes for the control message with the receive stamp.
const CONTROL: usize = 64;

/// Control message buffer, aligned for `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Facts about a received frame, in addition to its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Envelope {
    length: usize,
    interface: u32,
    outgoing: bool,
    received_at: u64,
}

/// Memory for a batch of frames. One arena serves any number of sockets in turn.
pub struct ReceiveArena {
    storage: Box<[[u8; SLOT]]>,
    controls: Box<[Control]>,
    envelopes: Box<[Envelope]>,
    filled: usize,
    /// Offset of the clock of the stamps.
    offset: clock::RealtimeOffset,
}

/// One received frame.
#[derive(Debug)]
pub struct Received<'a> {
    /// The whole Ethernet frame; it has at least a whole header.
    pub frame: &'a mut [u8],
    /// Index of the interface.
    pub interface: u32,
    /// Whether this host sent it (only capturing filters see such frames).
    pub outgoing: bool,
    /// Kernel receive stamp, `CLOCK_MONOTONIC` ns.
    pub received_at: u64,
}

impl Received<'_> {
    /// The PDU: what follows the Ethernet header.
    #[must_use]
    pub fn pdu(&mut self) -> &mut [u8] {
        &mut self.frame[ETHERNET_HEADER..]
    }
}

impl ReceiveArena {
    /// Memory for batches of up to `frames` frames.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        Self {
            storage: vec![[0; SLOT]; frames].into_boxed_slice(),
            controls: vec![Control([0; CONTROL]); frames].into_boxed_slice(),
            envelopes: vec![Envelope::default(); frames].into_boxed_slice(),
            filled: 0,
            offset: clock::RealtimeOffset::default(),
        }
    }

    /// Most frames that a batch holds. After a full batch, more may be waiting.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Replaces the batch by the frames that wait at `socket`, and returns their number.
    ///
    /// # Errors
    /// Errors of the socket itself; an interface that went down is not one.
    pub fn receive(&mut self, socket: &RawSocket) -> io::Result<usize> {
        self.filled = 0;
        let mut headers: [mem::MaybeUninit<libc::mmsghdr>; MAX_BATCH] =
            [const { mem::MaybeUninit::uninit() }; MAX_BATCH];
        let mut vectors: [mem::MaybeUninit<libc::iovec>; MAX_BATCH] = [const { mem::MaybeUninit::uninit() }; MAX_BATCH];
        let mut names: [mem::MaybeUninit<libc::sockaddr_ll>; MAX_BATCH] =
            [const { mem::MaybeUninit::zeroed() }; MAX_BATCH];
        let count = self.capacity().min(MAX_BATCH);
        for i in 0..count {
            let vector = vectors[i].write(libc::iovec { iov_base: self.storage[i].as_mut_ptr().cast(), iov_len: SLOT });
            // SAFETY: `msghdr` is plain data, valid when zero.
            let mut header: libc::msghdr = unsafe { mem::zeroed() };
            header.msg_name = names[i].as_mut_ptr().cast();
            header.msg_namelen = sys::length_of::<libc::sockaddr_ll>();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
            headers[i].write(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
        let received = loop {
            // SAFETY: the first `count` headers are written; each points to a name, an I/O vector, a slot and a control
            // buffer of its own with their true sizes, all alive and not otherwise borrowed during the call.
            let result = unsafe {
                libc::recvmmsg(
                    socket.as_fd().as_raw_fd(),
                    headers.as_mut_ptr().cast(),
                    u32::try_from(count).unwrap_or(u32::MAX),
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            };
            match usize::try_from(result) {
                Ok(n) => break n,
                Err(_) => match io::Error::last_os_error() {
                    e if e.raw_os_error() == Some(libc::EINTR) => {}
                    e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENETDOWN)) => return Ok(0),
                    e => return Err(e),
                },
            }
        };
        let offset = self.offset.of_batch();
        for i in 0..received {
            // SAFETY: these headers were written above and updated by the kernel.
            let header = unsafe { headers[i].assume_init_ref() };
            // SAFETY: zero-initialised above and filled by the kernel; plain data.
            let name = unsafe { names[i].assume_init_ref() };
            self.envelopes[i] = Envelope {
                length: (header.msg_len as usize).min(SLOT),
                interface: name.sll_ifindex.cast_unsigned(),
                outgoing: name.sll_pkttype == libc::PACKET_OUTGOING,
                received_at: stamp(&header.msg_hdr, offset),
            };
        }
        self.filled = received;
        Ok(received)
    }

    /// The frames of the batch in order of arrival. Frames without a whole Ethernet header do not occur.
    pub fn frames(&mut self) -> impl Iterator<Item = Received<'_>> {
        self.storage[..self.filled].iter_mut().zip(&self.envelopes).filter_map(|(slot, envelope)| {
            (envelope.length >= ETHERNET_HEADER).then(|| Received {
                frame: &mut slot[..envelope.length],
                interface: envelope.interface,
                outgoing: envelope.outgoing,
                received_at: envelope.received_at,
            })
        })
    }

    /// Source hardware address of the `index`-th frame of the batch; `None` if there is no such frame.
    #[must_use]
    pub fn source(&self, index: usize) -> Option<crate::Mac> {
        let whole = self.envelopes[..self.filled].get(index).is_some_and(|e| e.length >= ETHERNET_HEADER);
        self.storage.get(index).filter(|_| whole).and_then(|slot| slot.get(6..12)?.first_chunk().copied())
    }

    /// Kernel receive stamp of the `index`-th frame, `CLOCK_MONOTONIC` ns.
    #[must_use]
    pub fn received_at(&self, index: usize) -> u64 {
        self.envelopes.get(index).map_or(0, |e| e.received_at)
    }
}

impl Pdus for ReceiveArena {
    fn pdu(&self, index: usize) -> &[u8] {
        let length = self.envelopes[..self.filled].get(index).map_or(0, |e| e.length);
        self.storage.get(index).and_then(|slot| slot.get(ETHERNET_HEADER..length)).unwrap_or_default()
    }
}

/// Most frames that a single system call takes.
const MAX_BATCH: usize = 64;

/// The receive stamp of a message on the monotonic clock; the present time if the kernel gave none.
fn stamp(header: &libc::msghdr, realtime_offset: i64) -> u64 {
    // SAFETY: the kernel has set `msg_control` and `msg_controllen` to what it wrote into our aligned buffer.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() };
    while let Some(control) = message {
        if control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: the payload of this control message is a `timespec`; it need not be aligned for it.
            let time = unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() };
            return (time.tv_sec * 1_000_000_000 + time.tv_nsec - realtime_offset).cast_unsigned();
        }
        // SAFETY: `control` lies in the buffer of `header`, which the kernel filled.
        message = unsafe { libc::CMSG_NXTHDR(header, control).as_ref() };
    }
    clock::monotonic_now()
}
