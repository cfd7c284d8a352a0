//! Sends numbered, stamped, check-summed frames and collects what arrives.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use damc_link::{ETHERNET_HEADER, RawSocket, ReceiveArena, Transmit, monotonic_now};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrainSpec {
    /// Frames.
    pub count: u64,
    /// Least time between two frames; zero for as fast as it goes.
    pub gap: Duration,
    /// Frame length with Ethernet header.
    pub length: usize,
    /// Send no longer than this, however few frames that were.
    pub at_most: Duration,
    /// Silence after which nothing more is expected.
    pub settle: Duration,
}

/// A frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Arrival {
    /// Its number; meaningless where damaged.
    pub number: u64,
    /// From before the sending call to the kernel's receive stamp, ms.
    pub delay_ms: f64,
    /// Kernel receive stamp, ns.
    pub at: u64,
    /// The checksum holds.
    pub intact: bool,
}

/// A train that has been sent.
#[derive(Debug, Default)]
pub(super) struct Train {
    /// Frames the kernel took.
    pub sent: u64,
    /// In order of arrival.
    pub arrivals: Vec<Arrival>,
    /// Numbers of the frames whose sending call took so long that nobody knows when they left.
    held_up: HashSet<u64>,
}

impl Train {
    /// The arrivals whose delay means something.
    pub(super) fn prompt(&self) -> impl Iterator<Item = &Arrival> {
        self.arrivals.iter().filter(|a| a.intact && !self.held_up.contains(&a.number))
    }
}

/// A sending call that takes longer has been interrupted by somebody else's work.
const PROMPT: Duration = Duration::from_micros(100);

/// Both ends of the link.
pub(super) struct CalibrationLab {
    sender: RawSocket,
    receiver: RawSocket,
    arena: ReceiveArena,
    /// Sets trains apart: a straggler of the last one is not taken for one of this.
    train: u64,
}

/// Number of the train, number and stamp of the frame, checksum.
const BODY: usize = 32;
/// Ethernet header of the frames: broadcast from a locally administered address, IEEE 802 local experimental 1.
const HEADER: [u8; ETHERNET_HEADER] = [
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0x02,
    0,
    0,
    0,
    0,
    1,
    (damc_link::ETHERTYPE >> 8) as u8,
    damc_link::ETHERTYPE as u8,
];

impl CalibrationLab {
    pub(super) fn new(sender: RawSocket, receiver: RawSocket) -> Self {
        Self { sender, receiver, arena: ReceiveArena::new(64), train: 0 }
    }

    /// Sends a train and returns when nothing more is to be expected.
    pub(super) fn send(&mut self, spec: &TrainSpec) -> io::Result<Train> {
        self.train += 1;
        let mut train = Train::default();
        let start = monotonic_now();
        let mut body = vec![0_u8; spec.length.saturating_sub(ETHERNET_HEADER).max(BODY)];
        for number in 0..spec.count {
            let now = monotonic_now();
            if now - start > nanos(spec.at_most) {
                break;
            }
            // Not "start + number × gap": after a pause of the scheduler a train must not catch up in a burst.
            self.collect(&mut train, now + nanos(spec.gap))?;
            let before = monotonic_now();
            self.stamp(&mut body, number, before);
            train.sent += self.sender.send([Transmit { interface: 0, header: &HEADER, body: &body }]).sent;
            if monotonic_now() - before > nanos(PROMPT) {
                train.held_up.insert(number);
            }
        }
        loop {
            let before = train.arrivals.len();
            self.collect(&mut train, monotonic_now() + nanos(spec.settle))?;
            if train.arrivals.len() == before {
                return Ok(train);
            }
        }
    }

    fn stamp(&self, body: &mut [u8], number: u64, now: u64) {
        body[..8].copy_from_slice(&self.train.to_be_bytes());
        body[8..16].copy_from_slice(&number.to_be_bytes());
        body[16..24].copy_from_slice(&now.to_be_bytes());
        let checksum = checksum(body);
        body[24..32].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Takes what arrives until a point in time; at least what is there.
    fn collect(&mut self, train: &mut Train, until: u64) -> io::Result<()> {
        loop {
            let left = Duration::from_nanos(until.saturating_sub(monotonic_now()));
            let mut fds = [PollFd::new(self.receiver.as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut fds, Some(TimeSpec::from(left)), None) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            self.arena.receive(&self.receiver)?;
            let current = self.train;
            train.arrivals.extend(self.arena.frames().filter_map(|mut frame| {
                let at = frame.received_at;
                let header_intact = frame.frame[..ETHERNET_HEADER] == HEADER;
                arrival(header_intact, current, frame.pdu(), at)
            }));
        }
    }
}

/// Reads a frame; none where it belongs to another train.
fn arrival(header_intact: bool, train: u64, body: &[u8], at: u64) -> Option<Arrival> {
    let word = |i: usize| body.get(i..i + 8).map(|b| u64::from_be_bytes(b.try_into().unwrap_or_default()));
    let intact = header_intact && body.len() >= BODY && word(24)? == checksum(body);
    if intact && word(0)? != train {
        return None;
    }
    let delay_ms = at.saturating_sub(word(16)?) as f64 / 1e6;
    Some(Arrival { number: word(8)?, delay_ms, at, intact })
}

/// FNV-1a over everything but the checksum itself: enough to see a flipped bit.
fn checksum(body: &[u8]) -> u64 {
    let bytes = body[..24].iter().chain(&body[BODY..]);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
