//! The other end of a lab's control socket.

use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::control::{Reply, Request};
use crate::error::{LabError, Result};
use crate::ownership;
use crate::rundir::RunDir;
use crate::sandbox::{Entry, NAMESPACE_COUNT};

/// Asks one lab, over a connection for each request, so that a slow answer holds nobody up.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    lab: String,
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(directory: &RunDir) -> Self {
        Self { lab: directory.lab(), socket: directory.control_socket() }
    }

    /// Asks; a refusal is an error.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Reply> {
        let exchange = async {
            let mut stream = stream(&self.socket)?;
            stream.write_all(&line(request)?).await?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        self.understood(exchange.await)
    }

    /// Asks for the way into a node. Blocks: to be used where there are no threads.
    pub(crate) fn enter(&self, node: &str) -> Result<Entry> {
        let exchange = || {
            let mut stream = ownership::connect(&self.socket)?;
            stream.write_all(&line(&Request::Enter { node: node.to_owned() })?)?;
            receive_with_descriptors(&mut stream)
        };
        let (answer, descriptors) = match exchange() {
            Ok((answer, descriptors)) => (Ok(answer), descriptors),
            Err(error) => (Err(error), Vec::new()),
        };
        match (self.understood(answer)?, descriptors.try_into()) {
            (Reply::Namespaces, Ok(namespaces)) => Ok(Entry::new(node, namespaces)),
            _ => Err(self.gone("it handed out no namespaces")),
        }
    }

    fn understood(&self, answer: io::Result<String>) -> Result<Reply> {
        let answer = answer.map_err(|error| self.gone(error))?;
        if answer.is_empty() {
            return Err(self.gone("it closed the connection"));
        }
        match serde_json::from_str(&answer) {
            Ok(Reply::Unknown { reason }) => Err(LabError::Usage(reason)),
            Ok(Reply::Refused { reason }) => Err(LabError::Refused(reason)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.gone(error)),
        }
    }

    fn gone(&self, problem: impl std::fmt::Display) -> LabError {
        LabError::Lab(format!("the lab {} does not answer: {problem}", self.lab))
    }
}

/// An asynchronous connection to a socket of the caller's.
pub(crate) fn stream(socket: &Path) -> io::Result<UnixStream> {
    let stream = ownership::connect(socket)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn line(request: &Request) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    Ok(line)
}

fn receive_with_descriptors(stream: &mut net::UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut bytes = [0; 4096];
    let mut ancillary = nix::cmsg_space!([std::os::fd::RawFd; NAMESPACE_COUNT]);
    let (length, descriptors) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut ancillary), flags)?;
        let mut descriptors = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                // SAFETY: the kernel has just made these descriptors for this process; nobody else knows of them.
                descriptors.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        (message.bytes, descriptors)
    };
    let mut answer = bytes[..length].to_vec();
    while !answer.is_empty() && answer.last() != Some(&b'\n') {
        let more = stream.read(&mut bytes)?;
        if more == 0 {
            break;
        }
        answer.extend_from_slice(&bytes[..more]);
    }
    String::from_utf8(answer).map(|answer| (answer, descriptors)).map_err(io::Error::other)
}
