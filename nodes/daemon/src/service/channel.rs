//! Messages between agent and service process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use damc_wire::RefusalReason;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// From the agent to the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Run a method; the argument follows the head.
    Invoke {
        invocation: u64,
        source: String,
        method: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// Examine yourself.
    SelfTest { task: u64 },
    /// Kill your program as a fault would.
    Kill,
}

/// From the process to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The process serves.
    Ready,
    /// A result; it follows the head.
    Done { invocation: u64 },
    /// No result; the detail follows the head.
    Failed { invocation: u64, reason: u8 },
    /// The program that served has ended, or was given up; the last it said.
    Ended { status: String, again: bool, said: Vec<String> },
    /// What the self-test found.
    Report { task: u64, healthy: bool, load_ppm: u32, served: u64, self_test_ns: u64 },
}

impl Answer {
    /// A failure. Reasons travel as their code points.
    pub(crate) const fn failed(invocation: u64, reason: RefusalReason) -> Self {
        Self::Failed { invocation, reason: reason.code() }
    }
}

/// Longest message: arguments and results fit a frame, so this is never reached.
const LONGEST: usize = 16 << 10;
/// Ends the head.
const END_OF_HEAD: u8 = b'\n';

/// One end of the pair.
pub(crate) struct Channel {
    fd: OwnedFd,
}

/// What waits at a channel.
pub(crate) enum Incoming<T> {
    /// Nothing.
    Nothing,
    /// A message.
    Message(T, Vec<u8>),
    /// The other side is gone.
    Gone,
}

impl Channel {
    /// A pair; the first end does not block.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self { fd: ours }, theirs))
    }

    /// The end that was inherited.
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sends a head and a payload. Never blocks; a full buffer is an error. For the agent, which serves others too.
    pub(crate) fn send(&self, head: &impl Serialize, payload: &[u8]) -> io::Result<()> {
        self.put(head, payload, MsgFlags::MSG_DONTWAIT)
    }

    /// Sends a head and a payload when there is room. For the side that answers: the agent always reads.
    pub(crate) fn deliver(&self, head: &impl Serialize, payload: &[u8]) -> io::Result<()> {
        self.put(head, payload, MsgFlags::empty())
    }

    fn put(&self, head: &impl Serialize, payload: &[u8], flags: MsgFlags) -> io::Result<()> {
        let mut message = serde_json::to_vec(head)?;
        message.push(END_OF_HEAD);
        message.extend_from_slice(payload);
        loop {
            match send(self.fd.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL | flags) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Takes the next message. Never blocks.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> Incoming<T> {
        let mut buffer = [0; LONGEST];
        match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Incoming::Gone,
            Ok(length) => parse(&buffer[..length]).map_or(Incoming::Gone, |(head, rest)| Incoming::Message(head, rest)),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Incoming::Nothing,
            Err(_) => Incoming::Gone,
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits a message. A side that sends what we do not understand counts as gone.
fn parse<T: DeserializeOwned>(message: &[u8]) -> Option<(T, Vec<u8>)> {
    let end = message.iter().position(|b| *b == END_OF_HEAD)?;
    let head = serde_json::from_slice(&message[..end]).ok()?;
    Some((head, message[end + 1..].to_vec()))
}
