//! The recorder: a thread of `lab-init` that takes every DAMC frame at every node port, and the IPv6 packets between
//! pods and their SGs, into the lab's recording.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use damc_link::{Filter, RawSocket, ReceiveArena};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use crate::control::RecordingStatus;
use crate::error::{LabError, Result};
use crate::init::Indexes;
use crate::job::Job;
use crate::recording::{Header, RecordedPort, Writer};
use crate::rundir::RunDir;

/// How long frames may wait in the sockets before they are taken, on a host that is not slow. The stamps are the
/// kernel's, so waiting costs no accuracy and saves a wake-up for each frame.
pub const NAP: Duration = Duration::from_millis(4);
/// Frames taken at once.
const BATCH: usize = 64;
/// Marks the event descriptor among the sockets.
const WAKE: u64 = u64::MAX;

/// A socket that sees all frames of a node.
#[derive(Debug)]
pub struct Tap {
    node: String,
    socket: RawSocket,
}

impl Tap {
    /// Opens one in the network namespace the calling thread is in.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(node: &str) -> Result<Self> {
        let socket = RawSocket::open(0, Filter::CaptureWithIpv6)
            .map_err(|error| LabError::Lab(format!("cannot record the frames of {node}: {error}")))?;
        Ok(Self { node: node.to_owned(), socket })
    }
}

/// The running recorder.
#[derive(Debug)]
pub struct Recorder {
    counters: Arc<Counters>,
    orders: mpsc::Sender<oneshot::Sender<()>>,
    wake: Arc<EventFd>,
}

#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    stopped: AtomicBool,
}

impl Recorder {
    /// Starts recording.
    ///
    /// # Errors
    /// When the file or the thread cannot be made.
    pub fn start(job: &Job, directory: &RunDir, taps: Vec<Tap>) -> Result<Self> {
        let path = directory.frames();
        let doing = || format!("record into {}", path.display());
        let wake =
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(LabError::sys(doing()))?;
        let wake = Arc::new(wake);
        let counters = Arc::new(Counters::default());
        let (orders, receiver) = mpsc::channel();
        let worker =
            Worker::new(job, taps, &path, counters.clone(), wake.clone(), receiver).map_err(LabError::io(doing()))?;
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || worker.run())
            .map_err(LabError::io(doing()))?;
        Ok(Self { counters, orders, wake })
    }

    /// Returns when every frame that was at a port before the call is in the file.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(done).is_ok() && self.wake.write(1).is_ok() {
            // An error means that the recorder has ended; there is nothing to wait for then.
            let _ = wait.await;
        }
    }

    /// What it has done.
    #[must_use]
    pub fn status(&self) -> RecordingStatus {
        RecordingStatus {
            frames: self.counters.frames.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
            stopped: self.counters.stopped.load(Ordering::Relaxed),
        }
    }
}

struct Worker {
    taps: Vec<Tap>,
    /// By tap and number of the interface ([`Indexes::number`]): the port's number in the header.
    ports: Vec<Vec<u16>>,
    arena: ReceiveArena,
    out: Writer,
    epoll: Epoll,
    counters: Arc<Counters>,
    wake: Arc<EventFd>,
    orders: mpsc::Receiver<oneshot::Sender<()>>,
    nap: Duration,
}

impl Worker {
    fn new(
        job: &Job,
        taps: Vec<Tap>,
        folder: &std::path::Path,
        counters: Arc<Counters>,
        wake: Arc<EventFd>,
        orders: mpsc::Receiver<oneshot::Sender<()>>,
    ) -> io::Result<Self> {
        let mut all_ports = Vec::new();
        let mut ports = Vec::new();
        for tap in &taps {
            let mut of_tap = Vec::new();
            for (neighbour, end) in job.plan.ends_of(&tap.node) {
                of_tap.push(u16::try_from(all_ports.len()).map_err(io::Error::other)?);
                all_ports.push(RecordedPort {
                    node: tap.node.clone(),
                    port: neighbour.to_owned(),
                    interface: end.interface.clone(),
                });
            }
            ports.push(of_tap);
        }
        let header = Header { lab: job.plan.lab.clone(), realtime_offset_ns: realtime_offset_ns(), ports: all_ports };
        let out = Writer::create(folder, &header, job.choices.record_bytes)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (number, tap) in taps.iter().enumerate() {
            epoll.add(tap.socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let arena = ReceiveArena::new(BATCH);
        let nap = Duration::from_millis(job.choices.record_every_ms);
        Ok(Self { taps, ports, arena, out, epoll, counters, wake, orders, nap })
    }

    fn run(mut self) {
        loop {
            match self.start_priority() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // A full disk ends the recording, not the lab.
                    eprintln!("lab-init: the recording ends: {error}");
                    self.counters.stopped.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// Waits for frames, lets more gather, takes them; false when nobody wants the recording any more.
    fn start_priority(&mut self) -> io::Result<bool> {
        if !self.ready(EpollTimeout::NONE)?.contains(&WAKE) {
            self.nap()?;
        }
        let _ = self.wake.read();
        let mut waiting = Vec::new();
        let gone = loop {
            match self.orders.try_recv() {
                Ok(order) => waiting.push(order),
                Err(mpsc::TryRecvError::Empty) => break false,
                Err(mpsc::TryRecvError::Disconnected) => break true,
            }
        };
        for number in self.ready(EpollTimeout::ZERO)? {
            self.drain(number)?;
        }
        self.out.flush()?;
        for order in waiting {
            let _ = order.send(());
        }
        Ok(!gone)
    }

    /// What waits: numbers of taps, or [`WAKE`].
    fn ready(&self, timeout: EpollTimeout) -> io::Result<Vec<u64>> {
        let mut events = vec![EpollEvent::empty(); self.taps.len() + 1];
        loop {
            match self.epoll.wait(&mut events, timeout) {
                Ok(ready) => return Ok(events[..ready].iter().map(EpollEvent::data).collect()),
                // To stop here would let a flush miss frames that wait.
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sleeps, but wakes up for an order.
    fn nap(&self) -> io::Result<()> {
        let mut wake = [nix::poll::PollFd::new(self.wake.as_fd(), nix::poll::PollFlags::POLLIN)];
        let timeout = nix::poll::PollTimeout::try_from(self.nap).unwrap_or(nix::poll::PollTimeout::ZERO);
        match nix::poll::poll(&mut wake, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn drain(&mut self, number: u64) -> io::Result<()> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        while let Some(tap) = self.taps.get(number) {
            let received = self.arena.receive(&tap.socket)?;
            if received == 0 {
                break;
            }
            for received in self.arena.frames() {
                let port = Indexes::number(received.interface).and_then(|index| self.ports[number].get(index as usize));
                let Some(port) = port else { continue };
                let bytes = self.out.record(*port, received.outgoing, received.received_at, received.frame)?;
                self.counters.frames.fetch_add(1, Ordering::Relaxed);
                self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            if received < self.arena.capacity() {
                break;
            }
            // A socket that has lost frames is full, and its first batch too.
            let lost = self.taps[number].socket.take_drops()?;
            self.counters.lost.fetch_add(lost, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn realtime_offset_ns() -> i64 {
    let realtime = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(realtime.as_nanos()).unwrap_or(i64::MAX) - damc_link::monotonic_now().cast_signed()
}
