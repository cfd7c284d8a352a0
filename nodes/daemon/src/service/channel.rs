//! Messages between agent and service process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use std::cell::RefCell;

use damc_proto::rmi::holding;
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

/// Longest packet. A longer payload goes ahead in parts.
const LONGEST: usize = 16 << 10;
/// Bytes of a part.
const PART: usize = 12 << 10;
/// Begins a part; a head begins with a brace.
const IS_PART: u8 = b'+';
/// Ends the head.
const END_OF_HEAD: u8 = b'\n';

/// One end of the pair.
pub(crate) struct Channel {
    fd: OwnedFd,
    /// The parts of a payload whose head has not come.
    parts: RefCell<Vec<u8>>,
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
        Ok((Self::new(ours), theirs))
    }

    /// The end that was inherited.
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self { fd, parts: RefCell::new(Vec::new()) }
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
        let ahead = payload.len().saturating_sub(1) / PART * PART;
        for part in payload[..ahead].chunks(PART) {
            self.put_packet(&[&[IS_PART], part].concat(), flags)?;
        }
        let mut message = serde_json::to_vec(head)?;
        message.push(END_OF_HEAD);
        message.extend_from_slice(&payload[ahead..]);
        self.put_packet(&message, flags)
    }

    fn put_packet(&self, packet: &[u8], flags: MsgFlags) -> io::Result<()> {
        loop {
            match send(self.fd.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL | flags) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Takes the next message. Never blocks. Whoever sends more than a payload may have counts as gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> Incoming<T> {
        let mut buffer = [0; LONGEST];
        let mut parts = self.parts.borrow_mut();
        loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Incoming::Gone,
                Ok(length) if buffer[0] == IS_PART => {
                    if parts.len() + length > holding::LONGEST {
                        return Incoming::Gone;
                    }
                    parts.extend_from_slice(&buffer[1..length]);
                }
                Ok(length) => {
                    let Some((head, rest)) = parse(&buffer[..length]) else { return Incoming::Gone };
                    let mut payload = std::mem::take(&mut *parts);
                    payload.extend_from_slice(rest);
                    return Incoming::Message(head, payload);
                }
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Incoming::Nothing,
                Err(_) => return Incoming::Gone,
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits a message. A side that sends what we do not understand counts as gone.
fn parse<T: DeserializeOwned>(message: &[u8]) -> Option<(T, &[u8])> {
    let end = message.iter().position(|b| *b == END_OF_HEAD)?;
    let head = serde_json::from_slice(&message[..end]).ok()?;
    Some((head, &message[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_payload_comes_whole_and_its_bounds_are_kept() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs);
        for length in [0, 1, PART, PART + 1, 5 * PART + 7] {
            let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            theirs.send(&Answer::Done { invocation: 7 }, &payload).unwrap();
            match ours.receive::<Answer>() {
                Incoming::Message(Answer::Done { invocation: 7 }, came) => assert!(came == payload, "{length}"),
                Incoming::Message(other, _) => panic!("{other:?}"),
                Incoming::Nothing | Incoming::Gone => panic!("nothing came of {length} bytes"),
            }
        }
        *ours.parts.borrow_mut() = vec![0; holding::LONGEST];
        theirs.put_packet(&[IS_PART, 1], MsgFlags::empty()).unwrap();
        assert!(matches!(ours.receive::<Answer>(), Incoming::Gone), "more than a result may have");
    }
}
