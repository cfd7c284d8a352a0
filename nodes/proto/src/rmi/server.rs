//! The called side: finds the service, invokes it at most once, and repeats the result for retransmitted requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use damc_wire::frame::FLAG_TRACE;
use damc_wire::message::{Data, DataKind, Hop};
use damc_wire::registry::MAX_PDU;
use damc_wire::{Frame, Header, Message, Name, RefusalReason, Timestamp, TraceContext};

use super::fetch::{Fetched, Order, Owner};
use super::holding::{Held, Holdings};

/// Last component of a call whose result is fetched later.
pub const LATER: &str = "~later";
/// Last component of a call whose arguments its caller holds.
pub const PULL: &str = "~pull";
/// Most bytes of arguments that are fetched.
pub const LONGEST_ARGUMENTS: usize = 64 << 10;
/// How long the result of a call that is fetched later is held, once the method has ended.
const RESULT_LIFE: Duration = Duration::from_secs(60);

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
    /// Fetch the arguments of an invocation; answer with [`Server::handle_arguments`].
    Fetch(Order),
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
    Running {
        invocation: u64,
        request: Box<Reply>,
        /// The caller has an answer already: it fetches the result when it is there.
        later: bool,
        /// Waits for its arguments.
        method: Option<(String, Option<TraceContext>)>,
    },
    Done {
        kind: DataKind,
        payload: Vec<u8>,
    },
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
    holdings: Holdings,
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
            holdings: Holdings::default(),
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
            let (prefix, reply) = (entry.prefix.clone(), Reply::of(&request));
            match &entry.state {
                State::Done { kind, payload } => {
                    let (kind, payload) = (kind.clone(), payload.clone());
                    self.answer(&reply, &prefix, kind, payload);
                }
                State::Running { later: true, .. } => self.answer_later(&reply, &prefix),
                State::Running { .. } => {}
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
        let later = last_is(&request.destination, LATER);
        let forget_at = now + call.1 + RESULT_LIFE;
        if later && !self.holdings.reserve(&prefix, (&key.0, key.1), forget_at) {
            self.refuse(&request, &prefix, RefusalReason::Overloaded, "too many results are held");
            return true;
        }
        self.begin(now, key, request, prefix, call);
        true
    }

    /// The arguments of an invocation came, or will not.
    pub fn handle_arguments(&mut self, now: Timestamp, source: &Name, correlation: u64, arguments: Fetched) {
        let key = (source.clone(), correlation);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let State::Running { invocation, method, .. } = &mut entry.state else { return };
        let (invocation, prefix, ends_at) = (*invocation, entry.prefix.clone(), entry.ends_at);
        let Some((method, context)) = method.take() else { return };
        match arguments {
            Ok(payload) => {
                self.executed += 1;
                let (source, deadline) = (source.clone(), ends_at.since(now));
                let invoke = Action::Invoke { invocation, prefix, source, method, payload, deadline, context };
                self.actions.push_back(invoke);
            }
            Err((reason, detail)) => {
                let reason = reason.unwrap_or(RefusalReason::DeadlineExceeded);
                self.finish(&key, DataKind::Error { reason }, short(&detail), true);
            }
        }
    }

    /// What this pod holds for those who called it.
    pub const fn holdings(&mut self) -> &mut Holdings {
        &mut self.holdings
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
        self.holdings.handle_timeout(now);
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
        let oldest = self.by_age.first().map(|(at, _)| *at);
        [oldest, self.holdings.next_timeout()].into_iter().flatten().min()
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

    /// Begins an invocation: runs the method, or fetches its arguments first.
    fn begin(
        &mut self,
        now: Timestamp,
        key: Key,
        request: Request,
        prefix: Name,
        (method, deadline, context): (String, Duration, Option<TraceContext>),
    ) {
        let invocation = self.next_invocation;
        self.next_invocation += 1;
        let ends_at = now + deadline;
        let (later, pulled) = (last_is(&request.destination, LATER), last_is(&request.destination, PULL));
        let reply = Reply::of(&request);
        let waiting = pulled.then(|| (method.clone(), context));
        let entry = Entry {
            state: State::Running { invocation, request: Box::new(reply.clone()), later, method: waiting },
            prefix: prefix.clone(),
            ends_at,
            forget_at: ends_at + self.limits.linger,
            bytes: MAX_PDU,
        };
        self.bytes += entry.bytes;
        self.by_age.insert((ends_at, key.clone()));
        self.running.insert(invocation, key.clone());
        self.entries.insert(key.clone(), entry);
        if later {
            self.answer_later(&reply, &prefix);
        }
        let (source, payload) = (request.source, request.data.payload);
        if !pulled {
            self.executed += 1;
            let invoke = Action::Invoke { invocation, prefix, source, method, payload, deadline, context };
            return self.actions.push_back(invoke);
        }
        // The caller holds them for the name that it called.
        let called = request.destination.parent().unwrap_or(prefix);
        self.actions.push_back(Action::Fetch(Order {
            owner: Owner::Arguments(key.0, key.1),
            holder: source,
            handle: key.1,
            source: called,
            flow: request.header.flow,
            ends_at,
            most: LONGEST_ARGUMENTS,
        }));
    }

    /// Says under which name the result will be.
    fn answer_later(&mut self, reply: &Reply, prefix: &Name) {
        let held = Held { handle: reply.correlation, segment: None };
        let name = held.behind(prefix).map(|name| name.to_string()).unwrap_or_default();
        self.answer(reply, prefix, DataKind::Response, name.into_bytes());
    }

    /// Ends a running invocation and remembers the result; with `tell` also answers.
    fn finish(&mut self, key: &Key, mut kind: DataKind, mut payload: Vec<u8>, tell: bool) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let State::Running { invocation, request, later, .. } = &entry.state else { return false };
        self.running.remove(invocation);
        let (reply, prefix, later, forget_at) = (request.clone(), entry.prefix.clone(), *later, entry.forget_at);
        let whom = (&key.0, key.1);
        if later {
            let result = match kind {
                DataKind::Error { reason } => Err((reason, String::from_utf8_lossy(&payload).into_owned())),
                DataKind::Response | DataKind::Request { .. } => Ok(payload),
            };
            self.holdings.fill(whom, result);
            let held = Held { handle: reply.correlation, segment: None };
            let name = held.behind(&prefix).map(|name| name.to_string()).unwrap_or_default();
            (kind, payload) = (DataKind::Response, name.into_bytes());
        } else if frame(&reply, &prefix, kind.clone(), payload.clone()).encode().is_err() {
            let length = payload.len();
            let held = self.holdings.hold(&prefix, whom, payload, forget_at);
            let reason = if held { RefusalReason::TooLarge } else { RefusalReason::Overloaded };
            kind = DataKind::Error { reason };
            payload = format!("the result of {length} bytes does not fit one message").into_bytes();
        }
        let Some(entry) = self.entries.get_mut(key) else { return false };
        self.bytes -= entry.bytes;
        entry.bytes = payload.len() + size_of::<Entry>();
        self.bytes += entry.bytes;
        entry.state = State::Done { kind: kind.clone(), payload: payload.clone() };
        if tell && !later {
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

/// Whether a name ends in this component.
fn last_is(name: &Name, component: &str) -> bool {
    name.components().last() == Some(component)
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
