//! A service whose work any program does: started, read, asked whether it is ready, ended.
//!
//! One thread for each talks to the agent over a channel of the kind a service process has, so that the agent sees no
//! difference. The program is a child of that thread and dies with it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddrV6, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use damc_mgmt::config::{Ready, Restart, RunConfig};
use damc_wire::{Name, RefusalReason, address};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::channel::{Answer, Channel, Incoming, Task};
use super::method::{self, Outcome};

/// How often a program that is not ready is looked at, and one that runs.
const LOOK: Duration = Duration::from_millis(25);
const WATCH: Duration = Duration::from_millis(100);
/// Time a program has to end after it was asked to.
const GRACE: Duration = Duration::from_millis(1500);
/// Time one look at an HTTP path may take.
const HTTP_WITHIN: Duration = Duration::from_millis(500);
/// Bytes of an answer that are read, at most.
const LONGEST_ANSWER: u64 = 1 << 20;
/// Longest line of output that is kept whole.
const LONGEST_LINE: usize = 4096;
/// State of a listening socket in `/proc/net/tcp6`.
const LISTENING: &str = "0A";

/// Who a program is to be.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) node: String,
    pub(crate) domain: String,
    pub(crate) key: std::path::PathBuf,
    pub(crate) prefix: Name,
    pub(crate) pool: Option<Name>,
}

impl Identity {
    /// Variables every program finds, and the placeholders of its command.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let address = |name: &Name| address::of_name(&self.domain, name).map_or_else(String::new, |a| a.to_string());
        let host = |name: &Name| address::host_name(&self.domain, name).unwrap_or_default();
        let mut variables = vec![
            ("DAMC_NAME", self.prefix.to_string()),
            ("DAMC_ADDRESS", address(&self.prefix)),
            ("DAMC_HOST", host(&self.prefix)),
            ("DAMC_DOMAIN", format!("{}.{}", self.domain, address::DNS_TOP)),
            ("DAMC_KEY", self.key.display().to_string()),
            ("DAMC_GATEWAY", address::of_gateway(&self.domain).to_string()),
        ];
        if let Some(pool) = &self.pool {
            variables.push(("DAMC_POOL", pool.to_string()));
            variables.push(("DAMC_POOL_ADDRESS", address(pool)));
        }
        variables
    }

    fn filled(&self, word: &str) -> String {
        let placeholders = [
            ("{name}", "DAMC_NAME"),
            ("{address}", "DAMC_ADDRESS"),
            ("{host}", "DAMC_HOST"),
            ("{domain}", "DAMC_DOMAIN"),
        ];
        let variables = self.variables();
        let value = |key: &str| variables.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value);
        placeholders.iter().fold(word.to_owned(), |word, (placeholder, key)| word.replace(placeholder, value(key)))
    }
}

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
        let mut runner = match Runner::launch(&identity, &run, theirs) {
            Ok(runner) => runner,
            Err(e) => return tracing::error!(service = %identity.prefix, "{} cannot be started: {e}", run.argv[0]),
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
    /// Its standard output and error, with what is left of an unfinished line.
    outputs: [(File, Vec<u8>); 2],
    ready: bool,
    line_seen: bool,
    served: u64,
    started: Instant,
}

impl<'a> Runner<'a> {
    fn launch(identity: &'a Identity, run: &'a RunConfig, channel: OwnedFd) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--exec").args(run.argv.iter().map(|word| identity.filled(word)));
        command.envs(identity.variables()).env("DAMC_NODE", &identity.node);
        command.envs(run.env.iter().map(|(key, value)| (key, identity.filled(value))));
        command.current_dir(&run.cwd);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let outputs = [File::from(OwnedFd::from(out)), File::from(OwnedFd::from(err))].map(|file| (file, Vec::new()));
        for (file, _) in &outputs {
            fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        tracing::info!(service = %identity.prefix, pid = child.id(), "started {}", run.argv.join(" "));
        let channel = Channel::new(channel);
        let started = Instant::now();
        Ok(Self { identity, run, channel, child, outputs, ready: false, line_seen: false, served: 0, started })
    }

    /// Until the program or the agent ends.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            self.read();
            loop {
                match self.channel.receive() {
                    Incoming::Nothing => break,
                    Incoming::Message(task, payload) => self.answer(task, &payload)?,
                    Incoming::Gone => return Ok(()),
                }
            }
            if let Some(status) = self.child.try_wait()? {
                self.read();
                return self.ended(status);
            }
            if !self.ready {
                if self.is_ready() {
                    self.ready = true;
                    tracing::info!(service = %self.identity.prefix, after = ?self.started.elapsed(), "ready");
                    self.channel.send(&Answer::Ready, &[])?;
                } else if self.started.elapsed() > Duration::from_millis(self.run.ready_within_ms) {
                    let missing = describe(&self.run.ready);
                    return Err(io::Error::other(format!(
                        "{} was not ready within {} ms: {missing}",
                        self.run.argv[0], self.run.ready_within_ms
                    )));
                }
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.outputs.iter().map(|(file, _)| PollFd::new(file.as_fd(), PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(if self.ready { WATCH } else { LOOK }).unwrap_or(PollTimeout::ZERO);
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

    /// Takes what the program printed into the log.
    fn read(&mut self) {
        for (file, rest) in &mut self.outputs {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = file.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..count]);
                while let Some(end) =
                    rest.iter().position(|b| *b == b'\n').or((rest.len() > LONGEST_LINE).then_some(LONGEST_LINE))
                {
                    let line: Vec<u8> = rest.drain(..=end.min(rest.len() - 1)).collect();
                    let line = String::from_utf8_lossy(&line);
                    let line = line.trim_end();
                    if let Ready::Line { line: wanted } = &self.run.ready {
                        self.line_seen |= line.contains(wanted.as_str());
                    }
                    tracing::info!(target: "program", "{}: {line}", self.identity.prefix);
                }
            }
        }
    }

    fn is_ready(&self) -> bool {
        match &self.run.ready {
            Ready::Started {} => true,
            Ready::Line { .. } => self.line_seen,
            Ready::Port { port } => listens(*port),
            Ready::Http { http, port } => listens(*port) && self.answers(*port, http),
        }
    }

    /// Whether the path is answered with a status of 200 to 399. From the service's own name to itself, which stays in
    /// the pod, or by the loopback where the program listens there only.
    fn answers(&self, port: u16, path: &str) -> bool {
        let own = address::of_name(&self.identity.domain, &self.identity.prefix);
        own.into_iter().chain([Ipv6Addr::LOCALHOST]).any(|a| ask(a, port, path).unwrap_or(false))
    }

    fn answer(&mut self, task: Task, payload: &[u8]) -> io::Result<()> {
        match task {
            // What a service without program does, the agent does for this one: calls that are no IP find somebody.
            Task::Invoke { invocation, method, .. } => {
                self.served += 1;
                match method::run(&self.identity.prefix.to_string(), &method, payload) {
                    Outcome::Done(result) => self.channel.send(&Answer::Done { invocation }, &result),
                    Outcome::Failed(reason, detail) => {
                        self.channel.send(&Answer::failed(invocation, reason), detail.as_bytes())
                    }
                    Outcome::Later(_) => {
                        let detail = b"a service with a program of its own does not sleep";
                        self.channel.send(&Answer::failed(invocation, RefusalReason::NoSuchMethod), detail)
                    }
                }
            }
            Task::Kill => self.child.kill(),
            Task::SelfTest { task } => {
                let begin = Instant::now();
                let healthy = self.ready && self.is_ready();
                let self_test_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let report = Answer::Report { task, healthy, load_ppm: 0, served: self.served, self_test_ns };
                self.channel.send(&report, &[])
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> io::Result<()> {
        let again = match self.run.restart {
            Restart::Always => true,
            Restart::OnFailure => !status.success(),
            Restart::Never => false,
        };
        self.channel.send(&Answer::Ended { status: status.to_string(), again }, &[])
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
        self.read();
    }
}

/// What was waited for, in words.
fn describe(ready: &Ready) -> String {
    match ready {
        Ready::Started {} => "it did not start".to_owned(),
        Ready::Port { port } => format!("nothing listens on TCP port {port}"),
        Ready::Http { http, port } => format!("GET {http} on port {port} was not answered with a status of 200 to 399"),
        Ready::Line { line } => format!("it printed no line with {line:?}"),
    }
}

/// Whether something in this pod listens on a TCP port.
fn listens(port: u16) -> bool {
    let in_table = |table: &str| {
        fs::read_to_string(table).is_ok_and(|text| {
            text.lines().skip(1).any(|line| {
                let mut words = line.split_whitespace().skip(1);
                let (local, state) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
                state == LISTENING && local.rsplit(':').next() == Some(&format!("{port:04X}"))
            })
        })
    };
    in_table("/proc/thread-self/net/tcp6") || in_table("/proc/thread-self/net/tcp")
}

/// One GET; whether the status is a good one.
fn ask(address: Ipv6Addr, port: u16, path: &str) -> io::Result<bool> {
    let end = |port| SockAddr::from(SocketAddrV6::new(address, port, 0, 0));
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    // Bound to the same address: only then does it stay in the pod.
    socket.bind(&end(0))?;
    socket.connect_timeout(&end(port), HTTP_WITHIN)?;
    socket.set_read_timeout(Some(HTTP_WITHIN))?;
    socket.set_write_timeout(Some(HTTP_WITHIN))?;
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    // To the end: a connection closed too early would be a failure to the program.
    io::copy(&mut stream.take(LONGEST_ANSWER), &mut io::sink())?;
    Ok(head.starts_with(b"HTTP/1.") && matches!(head[9], b'2' | b'3'))
}
