//! Talking to a node's management socket: HTTP/1.1 with JSON over a Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use damc_mgmt::event::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::error::{LabError, Result};

/// Longest answer taken, in bytes.
const LONGEST: u64 = 256 << 20;
/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The management interface of one node.
#[derive(Clone, Debug)]
pub struct Management {
    node: String,
    socket: PathBuf,
}

impl Management {
    /// The interface of the node that serves this socket.
    #[must_use]
    pub fn new(node: &str, socket: &Path) -> Self {
        Self { node: node.to_owned(), socket: socket.to_owned() }
    }

    /// `GET path`, as JSON.
    ///
    /// # Errors
    /// When the node does not answer, or not with what was expected.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.parse(&self.exchange("GET", path, &[], ANSWER_WITHIN).await?)
    }

    /// `GET path`, as text.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn get_text(&self, path: &str) -> Result<String> {
        let body = self.exchange("GET", path, &[], ANSWER_WITHIN).await?;
        String::from_utf8(body).map_err(|_| self.problem("its answer is not UTF-8"))
    }

    /// `POST path` with a JSON body; the answer is JSON, or nothing where `T` is `()`.
    ///
    /// # Errors
    /// When the node does not answer within `within`, or refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, within: Duration) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| self.problem(error))?;
        self.parse(&self.exchange("POST", path, &body, within).await?)
    }

    /// The stream of `/events`, beginning with what the node still remembers.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn events(&self) -> Result<Events> {
        let open = async {
            let mut stream = self.request("GET", "/events", &[]).await?;
            let head = read_head(&mut stream).await?;
            Ok::<_, io::Error>((stream, head))
        };
        let (stream, head) = self.in_time(ANSWER_WITHIN, open).await?;
        if head.status != 200 {
            return Err(self.problem(format!("/events: HTTP status {}", head.status)));
        }
        Ok(Events { body: Body { stream, head, left_in_chunk: 0, ended: false }, rest: Vec::new() })
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        let body = if body.is_empty() { b"null" } else { body };
        serde_json::from_slice(body).map_err(|error| self.problem(error))
    }

    async fn exchange(&self, method: &str, path: &str, body: &[u8], within: Duration) -> Result<Vec<u8>> {
        let exchange = async {
            let mut stream = self.request(method, path, body).await?;
            let head = read_head(&mut stream).await?;
            let status = head.status;
            let mut body = Body { stream, head, left_in_chunk: 0, ended: false };
            let mut answer = Vec::new();
            while body.read(&mut answer).await? {
                if answer.len() as u64 > LONGEST {
                    return Err(io::Error::other("an endless answer"));
                }
            }
            Ok((status, answer))
        };
        let (status, answer) = self.in_time(within, exchange).await?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(self.problem(format!("{method} {path}: HTTP status {status}: {}", String::from_utf8_lossy(&answer).trim())))
    }

    async fn request(&self, method: &str, path: &str, body: &[u8]) -> io::Result<BufReader<UnixStream>> {
        let mut stream = crate::client::stream(&self.socket)?;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.node);
        if !body.is_empty() {
            request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        stream.write_all(&[request.as_bytes(), body].concat()).await?;
        Ok(BufReader::new(stream))
    }

    async fn in_time<T>(&self, within: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T> {
        match tokio::time::timeout(within, work).await {
            Ok(done) => done.map_err(|error| self.problem(error)),
            Err(_) => Err(self.problem(format!("no answer within {} ms", within.as_millis()))),
        }
    }

    fn problem(&self, problem: impl std::fmt::Display) -> LabError {
        LabError::Management { node: self.node.clone(), problem: problem.to_string() }
    }
}

/// A node's events as they happen.
#[derive(Debug)]
pub struct Events {
    body: Body,
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
                return event.map(Some).map_err(|error| LabError::Lab(format!("not an event: {error}")));
            }
            if !self.body.read(&mut self.rest).await.map_err(LabError::io("read events"))? {
                return Ok(None);
            }
        }
    }
}

/// What matters of an answer's head.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
}

async fn read_head(stream: &mut BufReader<UnixStream>) -> io::Result<Head> {
    let mut head = Head::default();
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    head.status = status.ok_or_else(|| io::Error::other("not an HTTP answer"))?;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(head) };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.trim().parse().ok(),
            "transfer-encoding" => head.chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
}

/// The body of an answer, whichever way its end is told (RFC 9112, section 6.3).
#[derive(Debug)]
struct Body {
    stream: BufReader<UnixStream>,
    head: Head,
    left_in_chunk: u64,
    ended: bool,
}

impl Body {
    /// Appends some more of the body; false at its end.
    async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        if self.head.chunked && self.left_in_chunk == 0 && !self.ended {
            self.begin_chunk().await?;
        }
        let left = if self.head.chunked { Some(self.left_in_chunk) } else { self.head.length };
        if self.ended || left == Some(0) {
            return Ok(false);
        }
        let available = self.stream.fill_buf().await?;
        if available.is_empty() {
            return if left.is_none() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let taken = usize::try_from(left.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(available.len());
        into.extend_from_slice(&available[..taken]);
        self.stream.consume(taken);
        if self.head.chunked {
            self.left_in_chunk -= taken as u64;
            if self.left_in_chunk == 0 {
                self.stream.read_u16().await?;
            }
        } else if let Some(length) = &mut self.head.length {
            *length -= taken as u64;
        }
        Ok(true)
    }

    async fn begin_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let size = line.trim().split(';').next().unwrap_or_default();
        self.left_in_chunk = u64::from_str_radix(size, 16).map_err(|_| io::Error::other("a broken chunk"))?;
        self.ended = self.left_in_chunk == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers its first client with these bytes, in two parts, and ends.
    async fn answered(test: &str, answer: &'static str) -> Result<serde_json::Value> {
        let path = std::env::temp_dir().join(format!("damc-management-{test}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket in the temporary folder");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.expect("a request");
            assert!(request[..length].starts_with(b"GET /fib HTTP/1.1\r\n"));
            let (first, second) = answer.split_at(answer.len() / 2);
            stream.write_all(first.as_bytes()).await.expect("writable");
            stream.write_all(second.as_bytes()).await.expect("writable");
        };
        let management = Management::new("sr-1", &path);
        let (answer, ()) = tokio::join!(management.get("/fib"), serve);
        std::fs::remove_file(&path).expect("our own socket");
        answer
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    }

    #[test]
    fn answers_end_by_length_by_chunk_or_by_close() {
        let length = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}ignored";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\n\r\n";
        let closed = "HTTP/1.0 200 OK\r\n\r\n{\"a\":1}";
        for (test, answer) in [("length", length), ("chunked", chunked), ("closed", closed)] {
            let value = run(answered(test, answer)).unwrap_or_else(|error| panic!("{test}: {error}"));
            assert_eq!(value, serde_json::json!({ "a": 1 }), "{test}");
        }
    }

    #[test]
    fn refusals_and_truncated_answers_say_which_node_and_why() {
        let refused = run(answered("refused", "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone"));
        assert_eq!(refused.expect_err("a refusal").to_string(), "sr-1: GET /fib: HTTP status 404: none");
        assert!(run(answered("short", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"a\":1}")).is_err());
    }
}
