//! The service process: `damc-pod --service PREFIX`.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use damc_proto::rmi::builtin;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::calls::Calls;
use super::channel::{Answer, Channel, Incoming, Task};

/// A running service.
struct Service {
    prefix: String,
    channel: Channel,
    calls: Calls,
}

/// Serves until the agent is gone.
pub(crate) fn run(prefix: &str) -> io::Result<()> {
    // The agent starts us from its main thread, which lives as long as it does.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
    let mut service = Service { prefix: prefix.to_owned(), channel, calls: Calls::new(prefix.to_owned()) };
    service.channel.send(&Answer::Ready, &[])?;
    loop {
        service.wait()?;
        service.calls.wake(&service.channel)?;
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
        let left = self.calls.next_in();
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn start(&mut self, task: Task, payload: &[u8]) -> io::Result<()> {
        match task {
            Task::Invoke { invocation, method, traceparent, .. } => {
                self.calls.invoke(&self.channel, invocation, (&method, traceparent.as_deref()), payload)
            }
            Task::Kill => Ok(()),
            Task::SelfTest { task } => {
                let begin = Instant::now();
                let healthy = builtin::self_test(&self.prefix);
                let self_test_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let (load_ppm, served) = (self.calls.load_ppm(), self.calls.served());
                self.channel.deliver(&Answer::Report { task, healthy, load_ppm, served, self_test_ns }, &[])
            }
        }
    }
}
