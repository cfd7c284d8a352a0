//! The service process: `damc-pod --service PREFIX`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use damc_wire::RefusalReason;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::channel::{Answer, Channel, Incoming, Task};
use super::method::{self, Outcome};

/// Calls a service works on at one time; a further one is refused.
const CAPACITY: usize = 256;

/// A call that answers later.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sleeper {
    due: Instant,
    invocation: u64,
    result: Vec<u8>,
}

/// A running service.
struct Service {
    prefix: String,
    channel: Channel,
    /// By time: one sleeping call holds up no other.
    sleepers: BinaryHeap<Reverse<Sleeper>>,
    served: u64,
}

/// Serves until the agent is gone.
pub(crate) fn run(prefix: &str) -> io::Result<()> {
    // The agent starts us from its main thread, which lives as long as it does.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
    let mut service = Service { prefix: prefix.to_owned(), channel, sleepers: BinaryHeap::new(), served: 0 };
    service.channel.send(&Answer::Ready, &[])?;
    loop {
        service.wait()?;
        service.wake()?;
        loop {
            match service.channel.receive() {
                Incoming::Nothing => break,
                Incoming::Message(task, payload) => service.start(task, &payload)?,
                Incoming::Gone => return Ok(()),
            }
        }
    }
}

impl Service {
    /// Sleeps until there is a message or a sleeper is due.
    fn wait(&self) -> io::Result<()> {
        let timeout = match self.sleepers.peek() {
            None => PollTimeout::NONE,
            Some(Reverse(next)) => {
                // Rounded up: a call must not sleep too short.
                let left = next.due.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Answers the calls that have slept enough.
    fn wake(&mut self) -> io::Result<()> {
        let now = Instant::now();
        while self.sleepers.peek().is_some_and(|Reverse(s)| s.due <= now) {
            if let Some(Reverse(sleeper)) = self.sleepers.pop() {
                self.channel.send(&Answer::Done { invocation: sleeper.invocation }, &sleeper.result)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, task: Task, payload: &[u8]) -> io::Result<()> {
        match task {
            Task::Invoke { invocation, method, .. } => self.invoke(invocation, &method, payload),
            Task::Kill => Ok(()),
            Task::SelfTest { task } => {
                let begin = Instant::now();
                let healthy = method::self_test(&self.prefix);
                let self_test_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let load_ppm = u32::try_from(self.sleepers.len() * 1_000_000 / CAPACITY).unwrap_or(u32::MAX);
                let report = Answer::Report { task, healthy, load_ppm, served: self.served, self_test_ns };
                self.channel.send(&report, &[])
            }
        }
    }

    fn invoke(&mut self, invocation: u64, method: &str, payload: &[u8]) -> io::Result<()> {
        if self.sleepers.len() >= CAPACITY {
            let refusal = Answer::failed(invocation, RefusalReason::Overloaded);
            return self.channel.send(&refusal, b"too many calls at once");
        }
        self.served += 1;
        match method::run(&self.prefix, method, payload) {
            Outcome::Done(result) => self.channel.send(&Answer::Done { invocation }, &result),
            Outcome::Failed(reason, detail) => {
                self.channel.send(&Answer::failed(invocation, reason), detail.as_bytes())
            }
            Outcome::Later(time) => {
                // A time beyond the range of the clock is as good as a century.
                let due =
                    Instant::now().checked_add(time).unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 31));
                self.sleepers.push(Reverse(Sleeper { due, invocation, result: payload.to_vec() }));
                Ok(())
            }
        }
    }
}
