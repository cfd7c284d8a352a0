//! The control thread: everything that happens to the machine happens here, one input after the other.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use damc_link::priority::{Level, Urgency};
use damc_link::{Pdus as _, ReceiveArena, monotonic_now};
use damc_proto::io::{Input, PortId};
use damc_wire::Timestamp;
use damc_wire::frame::without_padding;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::carrier::Carrier;
use crate::datapath::Delivery;
use crate::effects::Effects;
use crate::error::NodeError;
use crate::mailbox::Mailbox;
use crate::pods::PeerAddress;
use crate::ports::PortSocket;
use crate::requests::Request;

/// Frames taken from one socket before the next one has its turn. Few: a frame with an LSA costs a signature, and between
/// two rounds echoes are due, also on a machine where hundreds of nodes share a processor.
const BATCH: usize = 8;
/// Routed frames taken from the forwarding thread before hop-local frames and timers have their turn again. Each may cost a
/// signature, and whoever can send to this node can send many.
const DELIVERIES: usize = 8;
/// Requests of the management interface that are answered in one round.
const REQUESTS: usize = 16;
/// A deadline later than this is not worth arming the timer for: never, practically.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// What wakes the thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    Carrier,
    /// Hop-local frames before anything else from the wire.
    Control(u16),
    Timer,
    Signal,
    Requests,
    Deliveries,
    Refusals,
    /// Routed frames of a node without forwarding thread.
    Routed(u16),
    Service(u64),
}

/// Everything the thread waits for, and the machine with its effects.
pub(crate) struct Control {
    pub(crate) effects: Effects,
    pub(crate) carrier: Carrier,
    /// Sockets for routed frames, where there is no forwarding thread.
    pub(crate) routed: Vec<PortSocket>,
    pub(crate) requests: Arc<Mailbox<Request>>,
    pub(crate) deliveries: Arc<Mailbox<Delivery>>,
    pub(crate) refusals: Arc<Mailbox<Delivery>>,
    pub(crate) waiter: Waiter,
    /// Hardware addresses of neighbours by port, for the gateway.
    pub(crate) peers: Vec<Arc<PeerAddress>>,
}

/// The sources of wake-ups that belong to nobody else.
pub(crate) struct Waiter {
    epoll: Epoll,
    timer: TimerFd,
    signals: SignalFd,
}

/// Signals that end the node in order.
pub(crate) fn ending_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT])
}

impl Waiter {
    /// Waits for ending signals, which every thread has blocked, and a timer.
    pub(crate) fn new() -> Result<Self, NodeError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(NodeError::system("make an epoll"))?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
            .map_err(NodeError::system("make a timer"))?;
        let signals = SignalFd::with_flags(&ending_signals(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(NodeError::system("wait for signals"))?;
        let this = Self { epoll, timer, signals };
        this.watch(this.timer.as_fd(), Wake::Timer)?;
        this.watch(this.signals.as_fd(), Wake::Signal)?;
        Ok(this)
    }

    fn watch(&self, fd: BorrowedFd<'_>, wake: Wake) -> Result<(), NodeError> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, wake.token());
        self.epoll.add(fd, event).map_err(NodeError::system("watch a descriptor"))
    }

    /// Wakes the thread at `deadline`, or not at all.
    fn arm(&self, deadline: Option<Timestamp>) -> Result<(), NodeError> {
        // Zero would disarm; a deadline in the past fires at once.
        let at = deadline.map_or(NEVER, |d| Duration::from_nanos(d.nanos()).clamp(Duration::from_nanos(1), NEVER));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(at));
        self.timer.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME).map_err(NodeError::system("set a timer"))
    }
}

impl Control {
    /// Runs until the node is to end; then everything it wanted to send has been sent.
    pub(crate) fn run(mut self) -> Result<(), NodeError> {
        self.watch_all()?;
        let mut arena = ReceiveArena::new(BATCH);
        let mut ready = [EpollEvent::empty(); 64];
        let mut armed = None;
        let mut urgency = Urgency::of_environment(Level::Timers);
        loop {
            let deadline = self.effects.next_timeout();
            if deadline != armed {
                self.waiter.arm(deadline)?;
                armed = deadline;
            }
            let timeout = |blocks| if blocks { EpollTimeout::NONE } else { EpollTimeout::ZERO };
            let waited =
                urgency.wait(|blocks| self.waiter.epoll.wait(&mut ready, timeout(blocks)), |count| *count == 0);
            let count = match waited {
                Ok(count) => count,
                Err(nix::Error::EINTR) => continue,
                Err(e) => return Err(NodeError::system("wait for events")(e)),
            };
            let mut wakes: Vec<Wake> = ready[..count].iter().filter_map(|e| Wake::from_token(e.data())).collect();
            wakes.sort_unstable();
            for wake in wakes {
                if wake == Wake::Timer {
                    armed = None;
                }
                self.handle(wake, &mut arena)?;
                urgency.worked();
            }
            self.tick()?;
            if self.effects.stopping() {
                self.effects.end();
                return Ok(());
            }
        }
    }

    fn watch_all(&self) -> Result<(), NodeError> {
        self.waiter.watch(self.carrier.as_fd(), Wake::Carrier)?;
        self.waiter.watch(self.requests.as_fd(), Wake::Requests)?;
        self.waiter.watch(self.deliveries.as_fd(), Wake::Deliveries)?;
        self.waiter.watch(self.refusals.as_fd(), Wake::Refusals)?;
        for (number, port) in (0..).zip(self.effects.ports()) {
            self.waiter.watch(port.socket.as_fd(), Wake::Control(number))?;
        }
        for (number, port) in (0..).zip(&self.routed) {
            self.waiter.watch(port.socket.as_fd(), Wake::Routed(number))?;
        }
        Ok(())
    }

    fn handle(&mut self, wake: Wake, arena: &mut ReceiveArena) -> Result<(), NodeError> {
        match wake {
            Wake::Carrier => {
                for (port, up) in self.carrier.changes().map_err(NodeError::system("read carrier events"))? {
                    if !up {
                        self.effects.lose_port(port);
                    }
                    self.effects.feed(if up { Input::PortUp(port) } else { Input::PortDown(port) });
                }
            }
            Wake::Control(number) => {
                let received = self.effects.ports().get(usize::from(number)).map(|port| receive(port, arena));
                self.receive(PortId(number), received, arena);
            }
            Wake::Routed(number) => {
                let received = self.routed.get(usize::from(number)).map(|port| receive(port, arena));
                self.receive(PortId(number), received, arena);
            }
            // Reading only quiets the descriptors; the clock tells what is due, and the sender of the signal does not matter.
            Wake::Timer => _ = self.waiter.timer.wait(),
            Wake::Signal => {
                let _ = self.waiter.signals.read_signal();
                self.effects.stop();
            }
            Wake::Requests => {
                for request in self.requests.take(REQUESTS) {
                    self.effects.answer(request);
                }
            }
            Wake::Deliveries => self.deliver(self.deliveries.take(DELIVERIES)),
            Wake::Refusals => self.deliver(self.refusals.take(DELIVERIES)),
            Wake::Service(key) => self.effects.service_ready(key),
        }
        Ok(())
    }

    /// Feeds the batch that a socket gave. The round's [`Effects::tick`] settles it, together with those of other sockets.
    fn receive(&mut self, port: PortId, received: Option<std::io::Result<(usize, u64)>>, arena: &mut ReceiveArena) {
        match received {
            Some(Ok((count, overflown))) => {
                self.effects.count_overflown(overflown);
                for index in 0..count {
                    let received_at = Timestamp(arena.received_at(index));
                    let pdu = without_padding(arena.pdu(index));
                    if let (Some(peer), Some(mac)) = (self.peers.get(usize::from(port.0)), arena.source(index)) {
                        peer.set(mac);
                    }
                    self.effects.count_received(pdu);
                    if self.effects.take(port, received_at, pdu) {
                        self.effects.settle();
                    }
                }
            }
            Some(Err(e)) => tracing::warn!("receiving failed: {e}"),
            None => {}
        }
    }

    /// Feeds what the forwarding thread handed over.
    fn deliver(&mut self, deliveries: Vec<Delivery>) {
        for Delivery { port, received_at, undeliverable, pdu } in deliveries {
            let (port, pdu) = (Some(port), pdu.as_slice());
            self.effects.feed(match undeliverable {
                None => Input::Frame { port, received_at, pdu },
                Some(reason) => Input::Undeliverable { port, reason, pdu },
            });
        }
    }

    /// Gives the machine its time and starts what services are due.
    fn tick(&mut self) -> Result<(), NodeError> {
        let now = Timestamp(monotonic_now());
        for key in self.effects.tick(now) {
            if let Some(fd) = self.effects.service_descriptor(key) {
                self.waiter.watch(fd, Wake::Service(key))?;
            }
        }
        Ok(())
    }
}

/// Takes a batch of frames; says how many there are, and how many the kernel has dropped since the last full batch. Only a
/// socket that is not emptied at once can have overflown.
fn receive(port: &PortSocket, arena: &mut ReceiveArena) -> std::io::Result<(usize, u64)> {
    let count = arena.receive(&port.socket)?;
    let overflown = if count == arena.capacity() { port.socket.take_drops().unwrap_or(0) } else { 0 };
    Ok((count, overflown))
}

impl Wake {
    /// What epoll carries: kind in the upper, number in the lower half.
    const fn token(self) -> u64 {
        let (kind, number) = match self {
            Self::Carrier => (0, 0),
            Self::Control(port) => (1, port as u64),
            Self::Timer => (2, 0),
            Self::Signal => (3, 0),
            Self::Requests => (4, 0),
            Self::Deliveries => (5, 0),
            Self::Refusals => (6, 0),
            Self::Routed(port) => (7, port as u64),
            Self::Service(key) => (8, key),
        };
        kind << 56 | number
    }

    fn from_token(token: u64) -> Option<Self> {
        let number = token & ((1 << 56) - 1);
        let port = || u16::try_from(number).ok();
        Some(match token >> 56 {
            0 => Self::Carrier,
            1 => Self::Control(port()?),
            2 => Self::Timer,
            3 => Self::Signal,
            4 => Self::Requests,
            5 => Self::Deliveries,
            6 => Self::Refusals,
            7 => Self::Routed(port()?),
            8 => Self::Service(number),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_one_to_one_and_control_frames_go_before_data() {
        let mut wakes = [Wake::Service(9), Wake::Routed(0), Wake::Control(65535), Wake::Requests, Wake::Carrier];
        for wake in wakes {
            assert!(Wake::from_token(wake.token()) == Some(wake));
        }
        wakes.sort_unstable();
        assert!(wakes[1] == Wake::Control(65535) && wakes[3] == Wake::Routed(0));
    }
}
