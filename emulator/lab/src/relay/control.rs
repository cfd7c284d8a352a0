//! The relay's control connection: one JSON value per line, each request answered by one reply, in order.
//!
//! The first line is the [`RelayConfig`]; the relay answers it with [`Reply::Done`] when frames cross. It ends when the
//! other side closes.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use damc_impair::{DirectionChange, DirectionCounters, DirectionSpec};
use serde::{Deserialize, Serialize};

use super::RelayError;

/// What the relay joins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RelayConfig {
    /// Seed of the run; every direction derives its own from it, the link's name and the way.
    pub seed: u64,
    /// The links.
    pub links: Vec<RelayLink>,
}

/// One link: two interfaces in the relay's network namespace, joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelayLink {
    /// Its name, unique; the handle of later requests.
    pub name: String,
    /// Interface towards the first node.
    pub first: String,
    /// Interface towards the second node.
    pub second: String,
    /// From the first node to the second.
    #[serde(default)]
    pub forward: DirectionSpec,
    /// From the second node to the first.
    #[serde(default)]
    pub backward: DirectionSpec,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Change a link; what is not named stays.
    Change {
        /// Link.
        link: String,
        /// From first to second.
        #[serde(default)]
        forward: Box<DirectionChange>,
        /// From second to first.
        #[serde(default)]
        backward: Box<DirectionChange>,
    },
    /// Specs and counters of one link, or of all.
    Show {
        /// Link; all where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// To [`Request::Show`].
    Links {
        /// The links, as configured.
        links: Vec<LinkState>,
        /// CPU time the relay has used, in nanoseconds.
        cpu_ns: u64,
        /// Frames the kernel dropped because the relay did not take them in time.
        overruns: u64,
    },
    /// Not done, and why.
    Refused {
        /// For people.
        reason: String,
    },
}

/// A link as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkState {
    /// Its name.
    pub name: String,
    /// From first to second.
    pub forward: DirectionState,
    /// From second to first.
    pub backward: DirectionState,
}

/// A direction as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionState {
    /// What it does.
    pub spec: DirectionSpec,
    /// What it has done.
    pub counters: DirectionCounters,
    /// Frames on their way.
    pub held: usize,
}

/// All links as they are now, and the relay itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelayState {
    /// The links, as configured.
    pub links: Vec<LinkState>,
    /// CPU time the relay has used, in nanoseconds.
    pub cpu_ns: u64,
    /// Frames the kernel dropped because the relay did not take them in time.
    pub overruns: u64,
}

/// The other end of the control connection.
#[derive(Debug)]
pub struct RelayClient {
    stream: BufReader<UnixStream>,
}

/// Longest wait for a reply: the relay answers between two batches of frames.
const REPLY_DEADLINE: Duration = Duration::from_secs(5);

impl RelayClient {
    /// Takes the connection to a relay that has just been started and tells it what to join. Returns when it does.
    pub fn start(stream: UnixStream, config: &RelayConfig) -> Result<Self, RelayError> {
        stream.set_read_timeout(Some(REPLY_DEADLINE)).map_err(RelayError::Control)?;
        let mut client = Self { stream: BufReader::new(stream) };
        client.send(config)?;
        client.done()?;
        Ok(client)
    }

    /// Changes a link; what is not named stays.
    pub fn change(
        &mut self,
        link: &str,
        forward: &DirectionChange,
        backward: &DirectionChange,
    ) -> Result<(), RelayError> {
        self.send(&Request::Change {
            link: link.to_owned(),
            forward: Box::new(*forward),
            backward: Box::new(*backward),
        })?;
        self.done()
    }

    /// All links and the state of the relay itself.
    pub fn show(&mut self) -> Result<RelayState, RelayError> {
        self.state(None)
    }

    /// One link; none where the relay does not serve it.
    pub fn show_link(&mut self, link: &str) -> Result<Option<LinkState>, RelayError> {
        Ok(self.state(Some(link.to_owned()))?.links.pop())
    }

    fn state(&mut self, link: Option<String>) -> Result<RelayState, RelayError> {
        self.send(&Request::Show { link })?;
        match self.receive()? {
            Reply::Links { links, cpu_ns, overruns } => Ok(RelayState { links, cpu_ns, overruns }),
            Reply::Refused { reason } => Err(RelayError::Refused(reason)),
            Reply::Done => Err(RelayError::Refused("the relay answered another question".to_owned())),
        }
    }

    fn done(&mut self) -> Result<(), RelayError> {
        match self.receive()? {
            Reply::Done => Ok(()),
            Reply::Refused { reason } => Err(RelayError::Refused(reason)),
            Reply::Links { .. } => Err(RelayError::Refused("the relay answered another question".to_owned())),
        }
    }

    fn send(&mut self, value: &impl Serialize) -> Result<(), RelayError> {
        let mut line = serde_json::to_vec(value).map_err(|e| RelayError::Control(e.into()))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(RelayError::Control)
    }

    fn receive(&mut self) -> Result<Reply, RelayError> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(RelayError::Control)?;
        serde_json::from_str(&line).map_err(|e| RelayError::Control(e.into()))
    }
}

/// The relay's end of the control connection.
pub(super) struct ControlServer {
    stream: UnixStream,
    received: Vec<u8>,
}

/// Longest line taken; a configuration of some thousand links.
const MAX_LINE: usize = 16 << 20;

impl ControlServer {
    pub(super) fn new(stream: UnixStream) -> Result<Self, RelayError> {
        // A client that asks and does not read must not stop the frames for ever.
        stream.set_write_timeout(Some(REPLY_DEADLINE)).map_err(RelayError::Control)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Waits for the configuration; none where the other side closed without one.
    pub(super) fn config(&mut self) -> Result<Option<RelayConfig>, RelayError> {
        loop {
            if let Some(line) = self.next_line() {
                return serde_json::from_slice(&line).map(Some).map_err(|e| RelayError::Control(e.into()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads what is there, waiting where there is nothing; false when the other side has closed.
    pub(super) fn fill(&mut self) -> Result<bool, RelayError> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(_) if self.received.len() > MAX_LINE => Err(RelayError::Control(ErrorKind::InvalidData.into())),
            Ok(n) => {
                self.received.extend_from_slice(&buffer[..n]);
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(true),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(e) => Err(RelayError::Control(e)),
        }
    }

    /// The next whole request read, or why it is none.
    pub(super) fn next_request(&mut self) -> Option<Result<Request, String>> {
        Some(serde_json::from_slice(&self.next_line()?).map_err(|e| e.to_string()))
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.received.iter().position(|&b| b == b'\n')?;
        Some(self.received.drain(..=end).collect())
    }

    pub(super) fn reply(&mut self, reply: &Reply) -> Result<(), RelayError> {
        let mut line = serde_json::to_vec(reply).map_err(|e| RelayError::Control(e.into()))?;
        line.push(b'\n');
        self.stream.write_all(&line).map_err(RelayError::Control)
    }
}

impl AsFd for ControlServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
