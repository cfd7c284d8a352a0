//! A service whose work any program does: started, read, asked whether it is ready, ended.
//!
//! One thread for each talks to the agent over a channel of the kind a service process has, so that the agent sees no
//! difference. The program is a child of that thread and dies with it.

mod confine;
mod identity;
mod output;
mod ready;

use std::io;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use damc_mgmt::config::{Ready, Restart, RunConfig};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use self::output::Outputs;
use super::calls::Calls;
use super::channel::{Answer, Channel, Incoming, Task};

pub(crate) use self::confine::{run_confined, run_inside};
pub(crate) use self::identity::Identity;

/// How often a program that is not ready is looked at, and one that runs.
const LOOK: Duration = Duration::from_millis(25);
const WATCH: Duration = Duration::from_millis(100);
/// Time a program has to end after it was asked to.
const GRACE: Duration = Duration::from_millis(1500);

/// `damc-pod --exec PROGRAM …`: becomes the program, tied to the life of the thread that started it.
pub(crate) fn become_program(words: &[&str]) -> io::Error {
    let become_it = || -> io::Result<std::convert::Infallible> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        SigSet::all().thread_unblock()?;
        let words = words.iter().map(|word| std::ffi::CString::new(*word)).collect::<Result<Vec<_>, _>>()?;
        let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(nix::unistd::execvp(program, &words)?)
    };
    let Err(error) = become_it();
    error
}

/// Starts a thread with the program; the channel says `ready` and ends as that of a service process does.
pub(crate) fn start(identity: Identity, run: RunConfig) -> io::Result<Channel> {
    let (ours, theirs) = Channel::pair()?;
    let runner = move || {
        let channel = Channel::new(theirs);
        let mut runner = match Runner::launch(&identity, &run) {
            Ok((child, outputs)) => Runner::new(&identity, &run, channel, child, outputs),
            Err(e) => {
                let status = format!("{} cannot be started: {e}", run.argv[0]);
                tracing::error!(service = %identity.prefix, "{status}");
                // Where the agent is gone there is nobody to tell.
                let _ = channel
                    .send(&Answer::Ended { status, again: run.restart != Restart::Never, said: Vec::new() }, &[]);
                return;
            }
        };
        if let Err(e) = runner.serve() {
            tracing::warn!(service = %identity.prefix, "{e}");
        }
        runner.end();
    };
    thread::Builder::new().name("service".into()).stack_size(256 << 10).spawn(runner)?;
    Ok(ours)
}

struct Runner<'a> {
    identity: &'a Identity,
    run: &'a RunConfig,
    channel: Channel,
    child: Child,
    outputs: Outputs,
    ready: bool,
    calls: Calls,
    started: Instant,
}

impl<'a> Runner<'a> {
    fn launch(identity: &Identity, run: &RunConfig) -> io::Result<(Child, Outputs)> {
        let mut command = Command::new(std::env::current_exe()?);
        match identity.confinement() {
            Some(confinement) => {
                command.env("TMPDIR", &confinement.folder);
                command.arg("--confined").arg(serde_json::to_string(&confinement)?)
            }
            None => command.arg("--exec"),
        };
        command.args(run.argv.iter().map(|word| identity.filled(word)));
        command.envs(identity.variables()).env("DAMC_NODE", &identity.node);
        command.envs(run.env.iter().map(|(key, value)| (key, identity.filled(value))));
        command.current_dir(&run.cwd);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let wanted = if let Ready::Line { line } = &run.ready { Some(line.clone()) } else { None };
        let outputs = Outputs::of(&mut child, identity.prefix.to_string(), wanted)?;
        tracing::info!(service = %identity.prefix, pid = child.id(), "started {}", run.argv.join(" "));
        Ok((child, outputs))
    }

    fn new(identity: &'a Identity, run: &'a RunConfig, channel: Channel, child: Child, outputs: Outputs) -> Self {
        let calls = Calls::new(identity.prefix.to_string());
        Self { identity, run, channel, child, outputs, ready: false, calls, started: Instant::now() }
    }

    /// Until the program or the agent ends.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            self.outputs.read();
            self.calls.wake(&self.channel)?;
            loop {
                match self.channel.receive() {
                    Incoming::Nothing => break,
                    Incoming::Message(task, payload) => self.answer(task, &payload)?,
                    Incoming::Gone => return Ok(()),
                }
            }
            if let Some(status) = self.child.try_wait()? {
                return self.ended(status);
            }
            if !self.ready {
                if self.is_ready() {
                    self.ready = true;
                    tracing::info!(service = %self.identity.prefix, after = ?self.started.elapsed(), "ready");
                    self.channel.deliver(&Answer::Ready, &[])?;
                } else if self.started.elapsed() > Duration::from_millis(self.run.ready_within_ms) {
                    return self.give_up();
                }
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.outputs.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let look = if self.ready { WATCH } else { LOOK };
        let timeout = self.calls.next_in().map_or(look, |sleeps| sleeps.min(look));
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, timeout) {
            // An output that is closed would be ready for ever.
            Ok(_) if fds[1..].iter().any(|fd| fd.revents().is_some_and(|e| e.contains(PollFlags::POLLHUP))) => {
                thread::sleep(LOOK);
                Ok(())
            }
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn is_ready(&self) -> bool {
        ready::is_ready(&self.run.ready, self.identity, self.started.elapsed(), self.outputs.line_seen)
    }

    fn answer(&mut self, task: Task, payload: &[u8]) -> io::Result<()> {
        match task {
            // What a service without program does, the agent does for this one: calls that are no IP find somebody.
            Task::Invoke { invocation, method, traceparent, .. } => {
                self.calls.invoke(&self.channel, invocation, (&method, traceparent.as_deref()), payload)
            }
            Task::Kill => self.child.kill(),
            Task::SelfTest { task } => {
                let begin = Instant::now();
                let healthy = self.ready && self.is_ready();
                let self_test_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let (load_ppm, served) = (self.calls.load_ppm(), self.calls.served());
                self.channel.deliver(&Answer::Report { task, healthy, load_ppm, served, self_test_ns }, &[])
            }
        }
    }

    fn ended(&mut self, status: ExitStatus) -> io::Result<()> {
        let again = match self.run.restart {
            Restart::Always => true,
            Restart::OnFailure => !status.success(),
            Restart::Never => false,
        };
        let said = self.outputs.last_words();
        self.channel.deliver(&Answer::Ended { status: status.to_string(), again, said }, &[])
    }

    /// It is not ready in time.
    fn give_up(&mut self) -> io::Result<()> {
        let missing = ready::describe(&self.run.ready);
        let status = format!("not ready within {} ms: {missing}", self.run.ready_within_ms);
        tracing::warn!(service = %self.identity.prefix, "{} was {status}", self.run.argv[0]);
        let again = self.run.restart != Restart::Never;
        let said = self.outputs.last_words();
        self.channel.deliver(&Answer::Ended { status, again, said }, &[])
    }

    /// Makes sure that the program is gone.
    fn end(&mut self) {
        let deadline = Instant::now() + GRACE;
        if let Ok(pid) = i32::try_from(self.child.id())
            && matches!(self.child.try_wait(), Ok(None))
        {
            // Gone meanwhile is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        self.outputs.read();
    }
}
