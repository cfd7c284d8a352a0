//! The called side: finds the service, invokes it at most once, and repeats the result for retransmitted requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use damc_wire::frame::FLAG_TRACE;
use damc_wire::message::{Data, DataKind, Hop};
use damc_wire::registry::MAX_PDU;
use damc_wire::{Frame, Header, Message, Name, RefusalReason, Timestamp, TraceContext};

/// An action that the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this answer.
    Send(Box<Frame>),
    /// Run a method.
    Invoke {
        /// Handle of the invocation.
        invocation: u64,
        /// The service.
        prefix: Name,
        /// The caller.
        source: Name,
        /// Method.
        method: String,
        /// Argument bytes.
        payload: Vec<u8>,
        /// Time left.
        deadline: Duration,
        /// The trace it belongs to.
        context: Option<TraceContext>,
    },
}

/// Bounds of the at-most-once memory. An entry is kept until no copy of its request can still be in transit. While the
/// memory is full, new requests are refused: to forget an entry could mean to execute its request twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most entries.
    pub entries: usize,
    /// Most bytes of results.
    pub bytes: usize,
    /// Time after its deadline for which an entry is kept.
    pub linger: Duration,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entries: 65_536, bytes: 16 << 20, linger: Duration::from_secs(5) }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its header.
    pub header: Header,
    /// The name it calls.
    pub destination: Name,
    /// Name of the caller.
    pub source: Name,
    /// Correlation number, body and hops.
    pub data: Data,
}

/// Which service of this pod serves a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// The running service with this prefix.
    By(Name),
    /// No running service serves it.
    Nobody {
        /// [`RefusalReason::ServiceUnavailable`] for a service that is known but not running, otherwise
        /// [`RefusalReason::NoSuchInstance`].
        reason: RefusalReason,
        /// Source of the answer: a name that the pod may use, if it has one.
        speaker: Option<Name>,
    },
}

type Key = (Name, u64);

#[derive(Debug)]
struct Entry {
    state: State,
    /// The service's prefix: source of the answer.
    prefix: Name,
    ends_at: Timestamp,
    forget_at: Timestamp,
    bytes: usize,
}

#[derive(Debug)]
enum State {
    Running { invocation: u64, request: Box<Reply> },
    Done { kind: DataKind, payload: Vec<u8> },
}

/// The part of a request that its answer needs.
#[derive(Clone, Debug)]
struct Reply {
    to: Name,
    correlation: u64,
    flow: u32,
    trace: bool,
    hops: Vec<Hop>,
}

impl Reply {
    fn of(request: &Request) -> Self {
        Self {
            to: request.source.clone(),
            correlation: request.data.correlation,
            flow: request.header.flow,
            trace: request.header.flags & FLAG_TRACE != 0,
            hops: request.data.hops.clone(),
        }
    }
}

/// The invocations of a pod's services.
#[derive(Debug)]
pub struct Server {
    limits: CacheLimits,
    entries: BTreeMap<Key, Entry>,
    by_age: BTreeSet<(Timestamp, Key)>,
    running: BTreeMap<u64, Key>,
    bytes: usize,
    next_invocation: u64,
    executed: u64,
    repeated: u64,
    actions: VecDeque<Action>,
}

impl Server {
    /// A server without invocations.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            by_age: BTreeSet::new(),
            running: BTreeMap::new(),
            bytes: 0,
            next_invocation: 1,
            executed: 0,
            repeated: 0,
            actions: VecDeque::new(),
        }
    }

    /// The next action, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Handles a request. Returns false if it cannot even be answered.
    pub fn handle_request(&mut self, now: Timestamp, request: Request, served: Served) -> bool {
        let DataKind::Request { method, deadline, context } = &request.data.kind else { return false };
        let key = (request.source.clone(), request.data.correlation);
        if let Some(entry) = self.entries.get(&key) {
            self.repeated += 1;
            if let State::Done { kind, payload } = &entry.state {
                let (kind, payload) = (kind.clone(), payload.clone());
                let prefix = entry.prefix.clone();
                self.answer(&Reply::of(&request), &prefix, kind, payload);
            }
            return true;
        }
        let prefix = match served {
            Served::By(prefix) => prefix,
            Served::Nobody { reason, speaker } => {
                let Some(speaker) = speaker else { return false };
                let detail = format!("no running service for {}", request.destination);
                self.refuse(&request, &speaker, reason, &detail);
                return true;
            }
        };
        if deadline.0 == 0 {
            self.refuse(&request, &prefix, RefusalReason::DeadlineExceeded, "the deadline had passed on arrival");
            return true;
        }
        if self.entries.len() >= self.limits.entries || self.bytes + MAX_PDU > self.limits.bytes {
            self.refuse(&request, &prefix, RefusalReason::Overloaded, "the memory of calls is full");
            return true;
        }
        let call = (method.clone(), deadline.duration(), *context);
        self.invoke(now, key, request, prefix, call);
        true
    }

    /// Handles the answer of a service. Returns false if the invocation is over or was never made.
    pub fn handle_result(
        &mut self,
        now: Timestamp,
        invocation: u64,
        result: Result<Vec<u8>, (RefusalReason, String)>,
    ) -> bool {
        let Some(key) = self.running.get(&invocation).cloned() else { return false };
        let late = self.entries.get(&key).is_none_or(|e| now >= e.ends_at);
        let (kind, payload) = match result {
            _ if late => (DataKind::Error { reason: RefusalReason::DeadlineExceeded }, Vec::new()),
            Ok(payload) => (DataKind::Response, payload),
            Err((reason, detail)) => (DataKind::Error { reason }, short(&detail)),
        };
        self.finish(&key, kind, payload, !late)
    }

    /// Handles the end of a service: answers its running invocations with an error.
    pub fn service_down(&mut self, prefix: &Name) {
        let orphans: Vec<Key> = self
            .running
            .values()
            .filter(|key| self.entries.get(*key).is_some_and(|e| e.prefix == *prefix))
            .cloned()
            .collect();
        for key in orphans {
            let kind = DataKind::Error { reason: RefusalReason::ServiceUnavailable };
            self.finish(&key, kind, b"the service ended".to_vec(), true);
        }
    }

    /// Ends invocations whose deadline has come, and forgets old entries.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.by_age.first().filter(|(at, _)| *at <= now).cloned() {
            self.by_age.remove(&(at, key.clone()));
            let Some(entry) = self.entries.get(&key) else { continue };
            if at < entry.forget_at {
                // The deadline has come: the caller has given up, and the service's answer will be ignored.
                let forget_at = entry.forget_at;
                let kind = DataKind::Error { reason: RefusalReason::DeadlineExceeded };
                self.finish(&key, kind, Vec::new(), false);
                self.by_age.insert((forget_at, key));
            } else if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.bytes;
            }
        }
    }

    /// Time at which [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.by_age.first().map(|(at, _)| *at)
    }

    /// Entries remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.entries.len()
    }

    /// Number of invocations, and of requests that were answered from memory or ignored because their first copy still
    /// runs.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.executed, self.repeated)
    }

    fn invoke(
        &mut self,
        now: Timestamp,
        key: Key,
        request: Request,
        prefix: Name,
        (method, deadline, context): (String, Duration, Option<TraceContext>),
    ) {
        let invocation = self.next_invocation;
        self.next_invocation += 1;
        self.executed += 1;
        let ends_at = now + deadline;
        let entry = Entry {
            state: State::Running { invocation, request: Box::new(Reply::of(&request)) },
            prefix: prefix.clone(),
            ends_at,
            forget_at: ends_at + self.limits.linger,
            bytes: MAX_PDU,
        };
        self.bytes += entry.bytes;
        self.by_age.insert((ends_at, key.clone()));
        self.running.insert(invocation, key.clone());
        self.entries.insert(key, entry);
        self.actions.push_back(Action::Invoke {
            invocation,
            prefix,
            source: request.source,
            method,
            payload: request.data.payload,
            deadline,
            context,
        });
    }

    /// Ends a running invocation and remembers the result; with `tell` also answers.
    fn finish(&mut self, key: &Key, mut kind: DataKind, mut payload: Vec<u8>, tell: bool) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let State::Running { invocation, request } = &entry.state else { return false };
        self.running.remove(invocation);
        let (reply, prefix) = (request.clone(), entry.prefix.clone());
        if frame(&reply, &prefix, kind.clone(), payload.clone()).encode().is_err() {
            kind = DataKind::Error { reason: RefusalReason::TooLarge };
            payload = format!("the result of {} bytes does not fit one message", payload.len()).into_bytes();
        }
        self.bytes -= entry.bytes;
        entry.bytes = payload.len() + size_of::<Entry>();
        self.bytes += entry.bytes;
        entry.state = State::Done { kind: kind.clone(), payload: payload.clone() };
        if tell {
            self.answer(&reply, &prefix, kind, payload);
        }
        true
    }

    fn refuse(&mut self, request: &Request, speaker: &Name, reason: RefusalReason, detail: &str) {
        self.answer(&Reply::of(request), speaker, DataKind::Error { reason }, short(detail));
    }

    fn answer(&mut self, reply: &Reply, source: &Name, kind: DataKind, payload: Vec<u8>) {
        self.actions.push_back(Action::Send(Box::new(frame(reply, source, kind, payload))));
    }
}

fn frame(reply: &Reply, source: &Name, kind: DataKind, payload: Vec<u8>) -> Frame {
    let data = Data { correlation: reply.correlation, kind, payload, hops: reply.hops.clone() };
    let frame = Frame::plain(reply.to.clone(), source.clone(), reply.flow, Message::Data(data));
    if reply.trace { frame.traced() } else { frame }
}

/// A detail, shortened so that it never makes an answer exceed one message.
fn short(detail: &str) -> Vec<u8> {
    detail.bytes().take(200).collect()
}
