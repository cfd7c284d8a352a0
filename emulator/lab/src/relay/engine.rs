//! The relay process: frames in, wait, frames out, with as few surprises as a user-space process can give.
//!
//! One socket on all interfaces of the namespace receives and sends; a frame's arrival time is the kernel's receive
//! stamp, so what the scheduler takes to wake us comes out of the delay, not on top of it. The process sleeps until a
//! frame arrives, the control connection speaks or the next frame is due, with nanosecond timeouts and without timer
//! slack.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use damc_impair::{DirectionModel, Due, FramePool};
use damc_link::priority::{self, Level};
use damc_link::{Filter, RawSocket, ReceiveArena, Transmit, monotonic_now};
use damc_wire::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use sha2::{Digest, Sha256};

use super::RelayError;
use super::control::{ControlServer, DirectionState, LinkState, RelayConfig, Reply, Request};

/// Frames taken from the socket at once.
const BATCH: usize = 64;
/// Buffers made in advance; more come as they are needed and stay.
const FIRST_BUFFERS: u32 = 1_024;

/// Serves the control connection on standard input (one end of a socket pair) until the other side closes.
pub fn main_on_stdin() -> Result<(), RelayError> {
    let control = std::io::stdin().as_fd().try_clone_to_owned().map_err(RelayError::Control)?;
    main(UnixStream::from(control))
}

/// Joins what the first line on `control` says, in the current network namespace, until the other side closes.
pub fn main(control: UnixStream) -> Result<(), RelayError> {
    let mut control = ControlServer::new(control)?;
    let Some(config) = control.config()? else { return Ok(()) };
    let mut engine = match Engine::open(&config) {
        Ok(engine) => engine,
        Err(error) => {
            control.reply(&Reply::Refused { reason: with_sources(&error) })?;
            return Err(error);
        }
    };
    let priority = priority::raise(Level::Wire);
    tracing::info!(priority = priority.label(), links = config.links.len(), "relay runs");
    control.reply(&Reply::Done)?;
    engine.run(&mut control)
}

fn with_sources(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A model and where its frames go.
struct Direction {
    model: DirectionModel,
    /// Interface on the far side.
    to: u32,
    /// Its entry in the agenda that counts; others are stale.
    scheduled: Option<Timestamp>,
}

/// Wakes us a little before a frame is due, by as much as the host usually takes to wake us; the rest is spent asking
/// for frames without waiting. Without it every delay is longer by that time.
#[derive(Default)]
struct Alarm {
    lead: Duration,
    /// When we asked to be woken.
    set_for: Option<Timestamp>,
}

/// Most we ever wake early: what spinning may cost for one frame.
const MAX_LEAD: Duration = Duration::from_micros(40);
/// How fast the lead follows. Down faster than up, so that two wakes of three come late rather than early.
const LEAD_UP: Duration = Duration::from_micros(1);
/// See [`LEAD_UP`].
const LEAD_DOWN: Duration = Duration::from_micros(2);

impl Alarm {
    /// How long to wait for the next entry of the agenda; none for ever.
    fn set(&mut self, next: Option<&Reverse<(Timestamp, usize)>>) -> Option<Duration> {
        let Reverse((at, _)) = next?;
        let left = at.since(Timestamp(monotonic_now())).saturating_sub(self.lead);
        self.set_for = (!left.is_zero()).then(|| *at - self.lead);
        Some(left)
    }

    /// The wait is over because of the time: learn from when that was.
    fn rang(&mut self) {
        let Some(set_for) = self.set_for.take() else { return };
        let late = Timestamp(monotonic_now()).since(set_for);
        self.lead =
            if late > self.lead { (self.lead + LEAD_UP).min(MAX_LEAD) } else { self.lead.saturating_sub(LEAD_DOWN) };
    }
}

/// All directions of all links.
struct Engine {
    socket: RawSocket,
    /// Two per link: forward, backward.
    directions: Vec<Direction>,
    names: Vec<String>,
    /// Direction that starts at an interface.
    by_interface: HashMap<u32, usize>,
    /// When a direction has a frame due, earliest first.
    agenda: BinaryHeap<Reverse<(Timestamp, usize)>>,
    pool: FramePool,
    /// Frames the kernel dropped before we took them.
    overruns: u64,
    due: Vec<Due>,
}

impl Engine {
    fn open(config: &RelayConfig) -> Result<Self, RelayError> {
        let mut directions = Vec::with_capacity(config.links.len() * 2);
        let mut by_interface = HashMap::new();
        for link in &config.links {
            let (first, second) = (damc_link::ifindex(&link.first)?, damc_link::ifindex(&link.second)?);
            for (from, to, spec, way) in
                [(first, second, link.forward, "forward"), (second, first, link.backward, "backward")]
            {
                let seed = seed_of(config.seed, &link.name, way);
                if by_interface.insert(from, directions.len()).is_some() {
                    return Err(RelayError::Refused(format!("link {}: an interface is used twice", link.name)));
                }
                directions.push(Direction { model: DirectionModel::new(spec, seed), to, scheduled: None });
            }
        }
        Ok(Self {
            socket: RawSocket::open(0, Filter::Everything)?,
            directions,
            names: config.links.iter().map(|link| link.name.clone()).collect(),
            by_interface,
            agenda: BinaryHeap::new(),
            pool: FramePool::with_capacity(FIRST_BUFFERS),
            overruns: 0,
            due: Vec::with_capacity(BATCH),
        })
    }

    fn run(&mut self, control: &mut ControlServer) -> Result<(), RelayError> {
        let mut arena = ReceiveArena::new(BATCH);
        let mut more_waits = false;
        let mut alarm = Alarm::default();
        loop {
            let timeout = if more_waits { Some(Duration::ZERO) } else { alarm.set(self.agenda.peek()) };
            let (frames, spoken) = wait(&self.socket, control, timeout)?;
            if !frames && !spoken {
                alarm.rang();
            }
            more_waits = frames && self.receive(&mut arena)?;
            self.deliver_due();
            if spoken && !self.answer(control)? {
                return Ok(());
            }
        }
    }

    /// Takes a batch of frames; true where more may wait.
    fn receive(&mut self, arena: &mut ReceiveArena) -> Result<bool, RelayError> {
        let count = arena.receive(&self.socket).map_err(RelayError::Socket)?;
        for frame in arena.frames() {
            // Interfaces that are no link's, such as loopback, are none of our business.
            let Some(&index) = self.by_interface.get(&frame.interface) else { continue };
            let direction = &mut self.directions[index];
            direction.model.enqueue(Timestamp(frame.received_at), frame.frame, &mut self.pool);
            schedule(&mut self.agenda, direction, index);
        }
        Ok(count == arena.capacity())
    }

    /// Sends every frame that is due.
    fn deliver_due(&mut self) {
        loop {
            let now = Timestamp(monotonic_now());
            let Some(&Reverse((at, index))) = self.agenda.peek() else { return };
            if at > now {
                return;
            }
            self.agenda.pop();
            let direction = &mut self.directions[index];
            if direction.scheduled == Some(at) {
                direction.scheduled = None;
                direction.deliver(now, &self.socket, &mut self.pool, &mut self.due);
                schedule(&mut self.agenda, direction, index);
            }
        }
    }

    /// Answers what was asked; false when the other side has closed.
    fn answer(&mut self, control: &mut ControlServer) -> Result<bool, RelayError> {
        if !control.fill()? {
            return Ok(false);
        }
        while let Some(request) = control.next_request() {
            let reply = match request {
                Ok(request) => self.serve(&request),
                Err(reason) => Reply::Refused { reason },
            };
            control.reply(&reply)?;
        }
        Ok(true)
    }

    fn serve(&mut self, request: &Request) -> Reply {
        match request {
            Request::Change { link, forward, backward } => {
                let Some(number) = self.names.iter().position(|name| name == link) else { return no_link(link) };
                let now = Timestamp(monotonic_now());
                for (index, change) in [(2 * number, forward), (2 * number + 1, backward)] {
                    let direction = &mut self.directions[index];
                    direction.model.change(now, change);
                    // A new rate moves what waits: start over with this direction's entry.
                    direction.scheduled = None;
                    schedule(&mut self.agenda, direction, index);
                }
                Reply::Done
            }
            Request::Show { link: Some(link) } if !self.names.contains(link) => no_link(link),
            Request::Show { link } => {
                self.overruns += self.socket.take_drops().unwrap_or(0);
                let wanted = |name: &String| link.as_ref().is_none_or(|link| link == name);
                let links = self.names.iter().zip(self.directions.chunks_exact(2)).filter(|(name, _)| wanted(name));
                let links = links.map(|(name, ways)| LinkState {
                    name: name.clone(),
                    forward: ways[0].state(),
                    backward: ways[1].state(),
                });
                Reply::Links { links: links.collect(), cpu_ns: cpu_time(), overruns: self.overruns }
            }
        }
    }
}

fn no_link(link: &str) -> Reply {
    Reply::Refused { reason: format!("there is no link {link}") }
}

impl Direction {
    /// Sends what is due, a batch at a time.
    fn deliver(&mut self, now: Timestamp, socket: &RawSocket, pool: &mut FramePool, due: &mut Vec<Due>) {
        loop {
            due.clear();
            due.extend(std::iter::from_fn(|| self.model.pop_due(now)).take(BATCH));
            if due.is_empty() {
                return;
            }
            let frames = due.iter().map(|d| Transmit { interface: self.to, header: &[], body: pool.frame(d.slot) });
            let report = socket.send(frames);
            // Which frames of a batch were refused is not known and does not matter: refusals come in a row.
            let refused = usize::try_from(report.dropped()).unwrap_or(usize::MAX);
            for (number, frame) in due.iter().enumerate() {
                if number < refused {
                    self.model.refused();
                } else {
                    self.model.delivered(*frame, pool.frame(frame.slot).len(), now);
                }
                pool.release(frame.slot);
            }
        }
    }

    fn state(&self) -> DirectionState {
        DirectionState { spec: *self.model.spec(), counters: *self.model.counters(), held: self.model.held() }
    }
}

/// Puts the direction on the agenda where its next frame is due before it stands there.
fn schedule(agenda: &mut BinaryHeap<Reverse<(Timestamp, usize)>>, direction: &mut Direction, index: usize) {
    let Some(at) = direction.model.next_due() else { return };
    if direction.scheduled.is_none_or(|scheduled| at < scheduled) {
        direction.scheduled = Some(at);
        agenda.push(Reverse((at, index)));
    }
}

/// Waits for frames, for the control connection, or for the time: which of the first two have come.
fn wait(socket: &RawSocket, control: &ControlServer, timeout: Option<Duration>) -> Result<(bool, bool), RelayError> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
    match ppoll(&mut fds, timeout.map(TimeSpec::from), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(RelayError::Socket(errno.into())),
    }
    // Errors and hang-ups show when reading.
    Ok((fds[0].any().unwrap_or(false), fds[1].any().unwrap_or(false)))
}

/// The seed of one direction.
fn seed_of(run: u64, link: &str, way: &str) -> u64 {
    let digest = Sha256::new().chain_update(run.to_be_bytes()).chain_update(link).chain_update([0]).chain_update(way);
    let digest = digest.finalize();
    u64::from_be_bytes(std::array::from_fn(|i| digest[i]))
}

/// CPU time this process has used, in nanoseconds.
fn cpu_time() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID);
    time.map_or(0, |t| t.tv_sec().unsigned_abs() * 1_000_000_000 + t.tv_nsec().unsigned_abs())
}
