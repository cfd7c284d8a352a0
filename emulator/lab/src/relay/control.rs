//! The relay's control connection: one JSON value per line, each request answered by one reply, in order.
//!
//! The first line is the [`RelayConfig`]; the relay answers it with [`Reply::Done`] when frames cross. It ends when the
//! other side closes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RelayError;
use super::model::DirectionCounters;
use super::spec::{DirectionChange, DirectionSpec};

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

    /// All links and the relay's CPU time in nanoseconds.
    pub fn show(&mut self) -> Result<(Vec<LinkState>, u64), RelayError> {
        self.send(&Request::Show { link: None })?;
        match self.receive()? {
            Reply::Links { links, cpu_ns } => Ok((links, cpu_ns)),
            other => Err(RelayError::Refused(format!("{other:?}"))),
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
