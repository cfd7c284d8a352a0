//! Talking to a node's management socket: HTTP/1.1 with JSON over a Unix socket.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use damc_mgmt::event::Event;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::error::{LabError, Result};

/// Longest answer taken, in bytes; of a stream the longest line.
const LONGEST: usize = 256 << 20;
/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Whatever can go wrong on the way.
type Problem = Box<dyn Error + Send + Sync>;

/// The management interface of one node.
#[derive(Clone, Debug)]
pub struct Management {
    node: String,
    socket: PathBuf,
    /// A foreign implementation: it need not have a management interface.
    foreign: bool,
    longest: usize,
    answer_within: Duration,
}

impl Management {
    /// The interface of the node that serves this socket.
    #[must_use]
    pub fn new(node: &str, socket: &Path) -> Self {
        let (node, socket) = (node.to_owned(), socket.to_owned());
        Self { node, socket, foreign: false, longest: LONGEST, answer_within: ANSWER_WITHIN }
    }

    /// That of a foreign implementation: what it does not have is [`LabError::NotOffered`].
    #[must_use]
    pub fn of_foreign(self) -> Self {
        Self { foreign: true, ..self }
    }

    /// `GET path`, as JSON.
    ///
    /// # Errors
    /// When the node does not answer, or not with what was expected.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.parse(&self.exchange(Method::GET, path, Vec::new(), self.answer_within).await?)
    }

    /// `GET path`, as text.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn get_text(&self, path: &str) -> Result<String> {
        let body = self.exchange(Method::GET, path, Vec::new(), self.answer_within).await?;
        String::from_utf8(body.to_vec()).map_err(|_| self.problem("its answer is not UTF-8"))
    }

    /// `POST path` with a JSON body; the answer is JSON, or nothing where `T` is `()`.
    ///
    /// # Errors
    /// When the node does not answer within `within`, or refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, within: Duration) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| self.problem(error))?;
        self.parse(&self.exchange(Method::POST, path, body, within).await?)
    }

    /// The stream of `/events`, beginning with what the node still remembers.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn events(&self) -> Result<Events> {
        self.has_socket("/events")?;
        let answer = self.in_time(self.answer_within, self.request(Method::GET, "/events", Vec::new())).await?;
        let status = answer.response.status();
        if self.lacks(status) {
            return Err(self.not_offered("/events"));
        }
        if status != StatusCode::OK {
            return Err(self.problem(format!("/events: HTTP status {}", status.as_u16())));
        }
        Ok(Events { of: self.clone(), answer, rest: Vec::new() })
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        let body = if body.is_empty() { b"null" } else { body };
        serde_json::from_slice(body).map_err(|error| self.problem(error))
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>, within: Duration) -> Result<Bytes> {
        self.has_socket(path)?;
        let exchange = async {
            let Answer { response, connection: _connection } = self.request(method.clone(), path, body).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), self.longest).collect().await?;
            Ok((status, body.to_bytes()))
        };
        let (status, answer) = self.in_time(within, exchange).await?;
        if status.is_success() {
            return Ok(answer);
        }
        if self.lacks(status) {
            return Err(self.not_offered(path));
        }
        let text = String::from_utf8_lossy(&answer);
        if matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
            return Err(LabError::Usage(format!("{}: {}", self.node, text.trim())));
        }
        Err(self.problem(format!("{method} {path}: HTTP status {}: {}", status.as_u16(), text.trim())))
    }

    /// Sends a request over a connection of its own and waits for the head of the answer.
    async fn request(&self, method: Method, path: &str, body: Vec<u8>) -> std::result::Result<Answer, Problem> {
        let stream = crate::client::stream(&self.socket)?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = JoinSet::new();
        // What goes wrong with the connection is told where the answer is awaited.
        connection.spawn(async move { driver.await.unwrap_or_default() });
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, &self.node).header(CONNECTION, "close");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        Ok(Answer { response, connection })
    }

    async fn in_time<T>(
        &self,
        within: Duration,
        work: impl Future<Output = std::result::Result<T, Problem>>,
    ) -> Result<T> {
        match tokio::time::timeout(within, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(problem)) if problem.is::<LengthLimitError>() => {
                Err(self.problem(format!("an answer of more than {} bytes", self.longest)))
            }
            Ok(Err(problem)) => Err(self.problem(with_sources(&*problem))),
            Err(_) => Err(self.problem(format!("no answer within {} ms", within.as_millis()))),
        }
    }

    /// A foreign node without a management socket offers nothing.
    fn has_socket(&self, path: &str) -> Result<()> {
        if self.foreign && !self.socket.exists() { Err(self.not_offered(path)) } else { Ok(()) }
    }

    /// Whether a status means that a foreign node does not have what was asked for.
    fn lacks(&self, status: StatusCode) -> bool {
        self.foreign
            && [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED].contains(&status)
    }

    fn not_offered(&self, path: &str) -> LabError {
        let what = path.split('?').next().unwrap_or(path).to_owned();
        LabError::NotOffered { node: self.node.clone(), what }
    }

    fn problem(&self, problem: impl std::fmt::Display) -> LabError {
        LabError::Management { node: self.node.clone(), problem: problem.to_string() }
    }
}

/// An answer whose body is still to come, and the task that drives its connection: it ends with this.
#[derive(Debug)]
struct Answer {
    response: Response<Incoming>,
    connection: JoinSet<()>,
}

/// An error and what is behind it, in one line.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// A node's events as they happen.
#[derive(Debug)]
pub struct Events {
    of: Management,
    answer: Answer,
    /// Bytes read that are not a whole line yet.
    rest: Vec<u8>,
}

impl Events {
    /// The next event; none when the node has ended.
    ///
    /// # Errors
    /// When the stream breaks or carries something else.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(|error| self.of.problem(format!("not an event: {error}")));
            }
            if self.rest.len() > self.of.longest {
                return Err(self.of.problem("an endless event"));
            }
            match self.answer.response.body_mut().frame().await {
                Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(self.of.problem(with_sources(&error))),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(self.of.problem("its events end in the middle of one")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
