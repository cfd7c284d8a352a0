//! Receiving through memory shared with the kernel (TPACKET_V2, packet_mmap): no system call and no copy for each frame.
//!
//! Version 2, not 3: version 3 hands out whole blocks. It holds a frame until its block is full or a timer of at least
//! a millisecond ends. A slot of version 2 is available as soon as its frame is.
#![allow(unsafe_code)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::LinkError;
use crate::socket::RawSocket;
use crate::{ETHERNET_HEADER, clock, sys};

/// Bytes of a slot: the kernel's header and address (66 bytes with its alignment), an Ethernet frame of 1514 bytes, and
/// room to recognise a longer one. A multiple of 16.
const SLOT: usize = 1632;
/// Bytes that the kernel allocates in one piece.
const BLOCK: usize = 64 << 10;
/// Slots in a block; no slot crosses the border of a block.
const SLOTS: usize = BLOCK / SLOT;
/// `TPACKET_V2` of `enum tpacket_versions`.
const VERSION_2: i32 = 1;

/// The frames of one socket that the kernel has received and that have not been read yet.
///
/// It replaces the socket's receive queue. When all slots are full, the kernel drops frames and counts them, as for a
/// full queue ([`RawSocket::take_drops`]).
pub struct ReceiveRing {
    memory: NonNull<u8>,
    blocks: usize,
    /// The slot that the kernel fills next, or has filled.
    next: usize,
    /// Offset of the clock of the stamps.
    offset: clock::RealtimeOffset,
}

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl Send for ReceiveRing {}

/// Frames of a ring, in order of arrival. Their slots go back to the kernel when this is dropped.
pub struct RingBatch<'a> {
    ring: &'a mut ReceiveRing,
    count: usize,
    full: bool,
    offset: i64,
}

/// PDUs of a batch by number.
pub trait Pdus {
    /// The PDU of the `index`-th frame; empty if there is no such frame.
    fn pdu(&self, index: usize) -> &[u8];
}

impl ReceiveRing {
    /// Attaches a ring for at least `frames` frames to `socket`. It takes 1.6 kB of kernel memory for each, in pieces
    /// of 64 kB.
    ///
    /// # Errors
    /// The kernel has no memory for it, or the socket already has a ring.
    pub fn attach(socket: &RawSocket, frames: usize) -> Result<Self, LinkError> {
        let refused = |action| move |source: io::Error| LinkError::System { action, source };
        let blocks = frames.div_ceil(SLOTS).max(1);
        let number = |n: usize| {
            u32::try_from(n).map_err(|_| LinkError::System {
                action: "size a receive ring",
                source: io::Error::from(io::ErrorKind::InvalidInput),
            })
        };
        let request = libc::tpacket_req {
            tp_block_size: number(BLOCK)?,
            tp_block_nr: number(blocks)?,
            tp_frame_size: number(SLOT)?,
            tp_frame_nr: number(blocks * SLOTS)?,
        };
        sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &VERSION_2)
            .map_err(refused("choose the version of a receive ring"))?;
        sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
            .map_err(refused("make a receive ring"))?;
        let length = NonZeroUsize::new(blocks * BLOCK).unwrap_or(NonZeroUsize::MIN);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else lies there.
        let memory = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, socket.as_fd(), 0) }
            .map_err(|e| refused("map a receive ring")(e.into()))?;
        Ok(Self { memory: memory.cast(), blocks, next: 0, offset: clock::RealtimeOffset::default() })
    }

    /// Number of frames that fit.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.blocks * SLOTS
    }

    /// The frames that have arrived, up to `most`. It makes no system call, except occasionally to read clocks.
    pub fn batch(&mut self, most: usize) -> RingBatch<'_> {
        let most = most.min(self.capacity());
        let user = |count: &usize| self.status(*count).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0;
        let count = (0..most).take_while(user).count();
        let offset = if count == 0 { 0 } else { self.offset.of_batch() };
        RingBatch { ring: self, count, full: count == most, offset }
    }

    /// Start of the `index`-th slot from the next one.
    fn slot(&self, index: usize) -> NonNull<u8> {
        let place = (self.next + index) % self.capacity();
        // SAFETY: `place` is below the capacity, so that the slot ends within its block and the block within the mapping.
        unsafe { self.memory.add(place / SLOTS * BLOCK + place % SLOTS * SLOT) }
    }

    /// The status of the `index`-th slot: the kernel's or ours.
    fn status(&self, index: usize) -> &AtomicU32 {
        // SAFETY: every slot begins with its status, aligned to 16, mapped as long as `self` lives, and written by the
        // kernel and by us as one word.
        unsafe { AtomicU32::from_ptr(self.slot(index).as_ptr().cast()) }
    }
}

impl Drop for ReceiveRing {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `attach`; every borrow of it has ended.
        let unmapped = unsafe { munmap(self.memory.cast(), self.blocks * BLOCK) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
    }
}

impl RingBatch<'_> {
    /// Number of frames.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there are as many as were asked for. Then more may be waiting.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// The PDU of the `index`-th frame, to change in place; empty if there is no such frame.
    #[must_use]
    pub fn pdu_mut(&mut self, index: usize) -> &mut [u8] {
        let Some((start, length)) = self.place(index) else { return &mut [] };
        // SAFETY: as in `pdu`; `self` is borrowed for ever as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), length) }
    }

    /// Kernel receive stamp of the `index`-th frame, `CLOCK_MONOTONIC` ns; 0 if there is no such frame.
    #[must_use]
    pub fn received_at(&self, index: usize) -> u64 {
        self.header(index)
            .map_or(0, |h| (i64::from(h.tp_sec) * 1_000_000_000 + i64::from(h.tp_nsec) - self.offset).cast_unsigned())
    }

    fn header(&self, index: usize) -> Option<libc::tpacket2_hdr> {
        // SAFETY: the status said that this slot is ours, after which the kernel leaves it alone until it is given back
        // in `drop`; a slot begins with this header of integers.
        (index < self.count).then(|| unsafe { self.ring.slot(index).cast::<libc::tpacket2_hdr>().read() })
    }

    /// Start and length of a PDU within its slot.
    fn place(&self, index: usize) -> Option<(NonNull<u8>, usize)> {
        let header = self.header(index)?;
        let start = usize::from(header.tp_mac) + ETHERNET_HEADER;
        let end = (usize::from(header.tp_mac) + header.tp_snaplen as usize).min(SLOT);
        // SAFETY: `start` is below `end`, and `end` within the slot.
        (start <= end).then(|| (unsafe { self.ring.slot(index).add(start) }, end - start))
    }
}

impl Pdus for RingBatch<'_> {
    fn pdu(&self, index: usize) -> &[u8] {
        let Some((start, length)) = self.place(index) else { return &[] };
        // SAFETY: `place` lies within a slot that is ours until this batch is dropped.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }
    }
}

impl Drop for RingBatch<'_> {
    fn drop(&mut self) {
        for index in 0..self.count {
            // `Release`: all reads and writes of the slot happen before the kernel sees that it owns it again.
            self.ring.status(index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.ring.next = (self.ring.next + self.count) % self.ring.capacity();
    }
}
