//! Connections that a program in a pod holds while something happens to the network.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::PORT;
use crate::case::Stop;
use crate::testbed::Testbed;

/// The program.
const HOLD: &str = include_str!("hold.py");

/// A line it prints.
#[derive(Debug, Deserialize)]
struct Line {
    /// On the clock of [`Testbed::now_ns`].
    at_ns: u64,
    connections: Vec<State>,
}

/// The state of a connection in such a line.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct State {
    pub(super) kind: String,
    pub(super) answers: u64,
    pub(super) bytes: u64,
    /// The service that answered last, and below all that did.
    pub(super) name: Option<String>,
    pub(super) names: Vec<String>,
    /// How it ended.
    pub(super) end: Option<String>,
}

impl State {
    /// Whether it has been served at all.
    pub(super) const fn has_begun(&self) -> bool {
        self.answers > 0 || self.bytes > 0
    }

    /// Whether it has been served since `earlier`.
    pub(super) const fn went_on_since(&self, earlier: &Self) -> bool {
        self.answers > earlier.answers || self.bytes > earlier.bytes
    }
}

/// The running program, which ends when this value is dropped.
pub(super) struct Held {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    latest: Vec<State>,
    latest_at_ns: u64,
    /// How long it may be silent.
    patience: Duration,
}

impl Testbed {
    /// Opens connections in a pod, each with its kind and its host, and waits until all are served.
    pub(super) async fn hold(&self, pod: &str, connections: &[(&str, String)]) -> Result<Held, Stop> {
        let script = self.script("hold.py", HOLD)?.display().to_string();
        let port = PORT.to_string();
        let words: Vec<String> = connections.iter().map(|(kind, host)| format!("{kind}={host}")).collect();
        let mut argv = vec!["python3", &script, &port];
        argv.extend(words.iter().map(String::as_str));
        let mut command = self.program(pod, &argv);
        command.stdin(std::process::Stdio::piped());
        let mut child = command.spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Stop::Inconclusive("a program has no pipes".into()));
        };
        let mut held = Held {
            _child: child,
            stdin,
            lines: BufReader::new(stdout).lines(),
            latest: Vec::new(),
            latest_at_ns: 0,
            patience: self.start_time(),
        };
        held.until("every connection is served", held.patience, |all| {
            if all.iter().all(State::has_begun) { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await?;
        Ok(held)
    }
}

impl Held {
    /// The latest state of every connection.
    pub(super) fn latest(&self) -> &[State] {
        &self.latest
    }

    /// The states at `at_ns` or later; unread lines from before are skipped.
    pub(super) async fn since(&mut self, at_ns: u64) -> Result<Vec<State>, Stop> {
        while self.latest_at_ns < at_ns {
            self.until("the program prints its state", self.patience, |_| Ok(())).await?;
        }
        Ok(self.latest.clone())
    }

    /// Makes every idle connection ask again.
    pub(super) async fn ask(&mut self) -> Result<(), Stop> {
        self.stdin.write_all(b"\n").await.map_err(|e| Stop::Inconclusive(e.to_string()))
    }

    /// Reads lines of the program until `probe` returns a value; fails with the last state it described.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut probe: impl FnMut(&[State]) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let deadline = Instant::now() + within;
        let mut last = "no line of the program".to_owned();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.lines.next_line()).await {
                // The deadline is handled below.
                Err(_) => {}
                Ok(Ok(Some(line))) => {
                    let line = serde_json::from_str::<Line>(&line);
                    let line = line.map_err(|e| Stop::Inconclusive(format!("a line of hold.py: {e}")))?;
                    (self.latest, self.latest_at_ns) = (line.connections, line.at_ns);
                    match probe(&self.latest) {
                        Ok(value) => return Ok(value),
                        Err(state) => last = state,
                    }
                }
                Ok(_) => return Err(Stop::Inconclusive("the program that holds connections has ended".into())),
            }
            if Instant::now() >= deadline {
                return Err(Stop::Failed(format!("expected within {} ms: {what}; saw: {last}", within.as_millis())));
            }
        }
    }
}
