//! The calling side: correlation, deadline, retransmission, and one outcome for every call.
//!
//! An unanswered request is retransmitted with the *same* correlation number, at growing intervals within its deadline:
//! at 1 % loss no call fails. That is safe because the callee executes a correlation number once and repeats the result
//! (GAP-29).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use damc_mgmt::event::EventKind;
use damc_wire::error::EncodeError;
use damc_wire::message::{Data, DataKind, Hop, Nack};
use damc_wire::registry::MAX_PDU;
use damc_wire::{Frame, Message, Millis, Name, NodeId, RefusalReason, Timestamp, TraceContext};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fetch::{Fetched, Order, Owner};
use super::holding::{GET, Held, Holdings, LINGER, LONGEST};
use super::server::{LONGEST_ARGUMENTS, PULL};
use crate::io::CallOutcome;

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The client's own handle.
    pub handle: u64,
    /// Name of the service to call.
    pub name: Name,
    /// Name of the calling service.
    pub source: Name,
    /// Method, 1 to 64 bytes.
    pub method: String,
    /// Argument bytes.
    pub payload: Vec<u8>,
    /// Longest time that the caller waits.
    pub deadline: Duration,
    /// Whether to record the path.
    pub trace: bool,
    /// Flow; random if absent.
    pub flow: Option<u32>,
    /// The trace that the call belongs to. The request carries it with a span of its own as the parent.
    pub context: Option<TraceContext>,
}

/// An action that the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this request.
    Send(Box<Frame>),
    /// The call ended.
    Done {
        /// The client's handle of the call.
        handle: u64,
        /// Its outcome.
        outcome: CallOutcome,
    },
    /// Something worth telling.
    Event(EventKind),
    /// Fetch the result of a call; answer with [`Caller::handle_fetched`].
    Fetch(Order),
}

/// Result bytes, or reason and detail.
type CallResult = Result<Vec<u8>, (Option<RefusalReason>, String)>;

/// Most calls in progress at one time; further calls are refused.
const CALL_LIMIT: usize = 65_536;

#[derive(Debug)]
struct Pending {
    call: Call,
    /// Whom the request goes to: the name called, or one below it.
    to: Name,
    /// The arguments are held here for whom it goes to.
    held: bool,
    /// The result is being fetched: what was answered until then.
    fetching: Option<Answered>,
    flow: u32,
    ends_at: Timestamp,
    next: Timestamp,
    interval: Duration,
}

/// An answer that says that the result is to be fetched.
#[derive(Debug, Default)]
struct Answered {
    error: Option<(RefusalReason, String)>,
    path: Vec<NodeId>,
    return_path: Vec<NodeId>,
}

/// The calls of a pod.
#[derive(Debug)]
pub struct Caller {
    random: ChaCha8Rng,
    first_interval: Duration,
    calls: BTreeMap<u64, Pending>,
    timers: BTreeSet<(Timestamp, u64)>,
    retransmitted: u64,
    holdings: Holdings,
    actions: VecDeque<Action>,
}

impl Caller {
    /// A caller without calls. An unanswered request is first retransmitted after `first_interval`.
    #[must_use]
    pub fn new(seed: u64, first_interval: Duration) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            first_interval: first_interval.max(Duration::from_millis(1)),
            calls: BTreeMap::new(),
            timers: BTreeSet::new(),
            retransmitted: 0,
            holdings: Holdings::default(),
            actions: VecDeque::new(),
        }
    }

    /// The next action, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Starts a call.
    pub fn call(&mut self, now: Timestamp, mut call: Call) {
        if self.calls.len() >= CALL_LIMIT {
            return self.refuse(call.handle, RefusalReason::Overloaded, "too many calls in progress");
        }
        if call.deadline.is_zero() {
            return self.refuse(call.handle, RefusalReason::DeadlineExceeded, "the deadline has passed");
        }
        let flow = call.flow.unwrap_or_else(|| self.random.random());
        let correlation = self.fresh_correlation();
        // The call is a span: whoever serves it continues the trace below that one.
        call.context = call.context.map(|context| context.continued_by(self.random.random()));
        let mut pending = Pending {
            ends_at: now + call.deadline,
            next: now + self.first_interval,
            interval: self.first_interval,
            to: call.name.clone(),
            held: false,
            fetching: None,
            flow,
            call,
        };
        if let Some((holder, held)) = Held::of(&pending.to).filter(|_| pending.call.method == GET) {
            return self.fetch_held(correlation, pending, holder, held);
        }
        let frame = match self.sendable(&mut pending, now, correlation) {
            Ok(frame) => frame,
            Err((reason, detail)) => return self.refuse(pending.call.handle, reason, &detail),
        };
        self.timers.insert((pending.next.min(pending.ends_at), correlation));
        self.calls.insert(correlation, pending);
        self.actions.push_back(Action::Send(Box::new(frame)));
    }

    /// The request of a call. Arguments that do not fit a message stay here, and the request says so.
    fn sendable(
        &mut self,
        pending: &mut Pending,
        now: Timestamp,
        correlation: u64,
    ) -> Result<Frame, (RefusalReason, String)> {
        let frame = request(pending, now, correlation);
        let Err(error) = frame.encode() else { return Ok(frame) };
        let length = pending.call.payload.len();
        // What is longer than a TLV can say is refused for that.
        if !matches!(error, EncodeError::TooLarge { .. }) && length <= MAX_PDU {
            return Err((RefusalReason::BadArguments, error.to_string()));
        }
        if !self.hold(pending, correlation) {
            let detail = format!("the arguments are {length} bytes long and do not fit one message");
            return Err((RefusalReason::TooLarge, detail));
        }
        let frame = request(pending, now, correlation);
        match frame.encode() {
            Ok(_) => Ok(frame),
            Err(error) => Err((RefusalReason::BadArguments, error.to_string())),
        }
    }

    /// Holds the arguments of a call for whom it goes to, who fetches them from here; false where that cannot be.
    fn hold(&mut self, pending: &mut Pending, correlation: u64) -> bool {
        let call = &mut pending.call;
        let below = Name::from_components(call.name.components().chain([PULL]));
        let Ok(to) = below else { return false };
        if call.payload.len() > LONGEST_ARGUMENTS {
            return false;
        }
        let whom = (&call.name, correlation);
        let forget_at = pending.ends_at + LINGER;
        pending.held = self.holdings.hold(&call.source, whom, std::mem::take(&mut call.payload), forget_at);
        pending.to = to;
        pending.held
    }

    /// Fetches what a name names that an earlier call was answered with.
    fn fetch_held(&mut self, correlation: u64, mut pending: Pending, holder: Name, held: Held) {
        pending.fetching = Some(Answered::default());
        self.fetch(correlation, &mut pending, holder, held.handle);
        self.timers.insert((pending.ends_at, correlation));
        self.calls.insert(correlation, pending);
    }

    fn fetch(&mut self, correlation: u64, pending: &mut Pending, holder: Name, handle: u64) {
        pending.next = pending.ends_at;
        self.actions.push_back(Action::Fetch(Order {
            owner: Owner::Call(correlation),
            holder,
            handle,
            source: pending.call.source.clone(),
            flow: pending.flow,
            ends_at: pending.ends_at,
            most: LONGEST,
        }));
    }

    /// What was fetched for a call, or why nothing was.
    pub fn handle_fetched(&mut self, correlation: u64, fetched: Fetched) {
        let Some(answered) = self.calls.get_mut(&correlation).and_then(|pending| pending.fetching.take()) else {
            return;
        };
        let result = match (fetched, answered.error) {
            // Nothing is held there: the answer was meant as it stands.
            (Err((Some(_), _)), Some((reason, detail))) => Err((Some(reason), detail)),
            (fetched, _) => fetched,
        };
        self.end(correlation, result, answered.path, answered.return_path);
    }

    /// What this pod holds for those whom it called.
    pub const fn holdings(&mut self) -> &mut Holdings {
        &mut self.holdings
    }

    /// Handles a response or error from a name. Returns false if no call waits for it: a duplicate, or too late.
    pub fn handle_answer(&mut self, from: &Name, data: Data) -> bool {
        if self.calls.get(&data.correlation).is_some_and(|pending| pending.fetching.is_some()) {
            return false;
        }
        let result = match data.kind {
            DataKind::Request { .. } => return false,
            DataKind::Response => Ok(data.payload),
            DataKind::Error { reason } => Err((Some(reason), String::from_utf8_lossy(&data.payload).into_owned())),
        };
        let path = |on_return: bool| -> Vec<NodeId> {
            let hops = data.hops.iter().filter(|h: &&Hop| h.on_return == on_return);
            hops.map(|h| h.node.clone()).collect()
        };
        let (path, return_path) = (path(false), path(true));
        if let Err((Some(reason @ RefusalReason::TooLarge), detail)) = &result
            && let Some(mut pending) = self.calls.remove(&data.correlation)
        {
            self.timers.remove(&(pending.next.min(pending.ends_at), data.correlation));
            let error = Some((*reason, detail.clone()));
            pending.fetching = Some(Answered { error, path, return_path });
            self.fetch(data.correlation, &mut pending, from.clone(), data.correlation);
            self.timers.insert((pending.ends_at, data.correlation));
            self.calls.insert(data.correlation, pending);
            return true;
        }
        self.end(data.correlation, result, path, return_path)
    }

    /// Handles a negative reply. Returns false if it answers no call of ours.
    pub fn handle_nack(&mut self, nack: &Nack) -> bool {
        let Some(correlation) = nack.call() else { return false };
        if self.calls.get(&correlation).is_none_or(|p| p.to != nack.destination) {
            return false;
        }
        let result = Err((Some(nack.reason), nack.node.to_string()));
        self.end(correlation, result, Vec::new(), Vec::new())
    }

    /// Retransmits requests, and ends calls whose deadline has come.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.holdings.handle_timeout(now);
        while let Some((at, correlation)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, correlation));
            let Some(pending) = self.calls.get_mut(&correlation) else { continue };
            if now >= pending.ends_at {
                let detail = format!("no answer within {} ms", pending.call.deadline.as_millis());
                let result = Err((None, detail));
                self.end(correlation, result, Vec::new(), Vec::new());
                continue;
            }
            pending.interval *= 2;
            pending.next = now + pending.interval;
            self.timers.insert((pending.next.min(pending.ends_at), correlation));
            self.retransmitted += 1;
            let frame = request(pending, now, correlation);
            self.actions.push_back(Action::Send(Box::new(frame)));
        }
    }

    /// Time at which [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let first = self.timers.first().map(|(at, _)| *at);
        [first, self.holdings.next_timeout()].into_iter().flatten().min()
    }

    /// Calls in progress.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.calls.len()
    }

    /// Requests retransmitted.
    #[must_use]
    pub const fn retransmitted(&self) -> u64 {
        self.retransmitted
    }

    /// Ends a call at once, before anything is sent.
    pub fn refuse(&mut self, handle: u64, reason: RefusalReason, detail: &str) {
        let result = Err((Some(reason), detail.to_owned()));
        let (path, return_path) = (Vec::new(), Vec::new());
        let outcome = CallOutcome { correlation: None, result, path, return_path, context: None };
        self.actions.push_back(Action::Done { handle, outcome });
    }

    fn end(&mut self, correlation: u64, result: CallResult, path: Vec<NodeId>, return_path: Vec<NodeId>) -> bool {
        let Some(pending) = self.calls.remove(&correlation) else { return false };
        self.timers.remove(&(pending.next.min(pending.ends_at), correlation));
        if pending.held {
            self.holdings.release(&pending.call.name, correlation);
        }
        if let Err((reason, detail)) = &result {
            let failed = failed(&pending.call, correlation, *reason, detail);
            self.actions.push_back(Action::Event(failed));
        }
        let context = pending.call.context;
        let outcome = CallOutcome { correlation: Some(correlation), result, path, return_path, context };
        self.actions.push_back(Action::Done { handle: pending.call.handle, outcome });
        true
    }

    fn fresh_correlation(&mut self) -> u64 {
        loop {
            let correlation = self.random.random();
            if correlation != 0 && !self.calls.contains_key(&correlation) {
                return correlation;
            }
        }
    }
}

fn failed(call: &Call, correlation: u64, reason: Option<RefusalReason>, detail: &str) -> EventKind {
    EventKind::CallFailed {
        call: format!("{correlation:016x}"),
        source: call.source.to_string(),
        name: call.name.to_string(),
        reason,
        detail: detail.to_owned(),
    }
}

/// The request as sent at `now`: it carries the time left until the deadline.
fn request(pending: &Pending, now: Timestamp, correlation: u64) -> Frame {
    let left = pending.ends_at.since(now).as_nanos().div_ceil(1_000_000);
    let left = u64::from(u32::try_from(left).unwrap_or(u32::MAX));
    let call = &pending.call;
    let data = Data {
        correlation,
        kind: DataKind::Request { method: call.method.clone(), deadline: Millis(left), context: call.context },
        payload: call.payload.clone(),
        hops: Vec::new(),
    };
    let frame = Frame::plain(pending.to.clone(), call.source.clone(), pending.flow, Message::Data(data));
    if call.trace { frame.traced() } else { frame }
}
