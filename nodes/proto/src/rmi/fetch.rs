//! Fetching what others hold: manifest first, then its segments, each by its name, as many at a time as the window lets, and
//! again what was lost (GAP-18).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use damc_wire::message::{Data, DataKind, Nack};
use damc_wire::{Frame, Message, Millis, Name, RefusalReason, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::holding::{DROP, GET, Held, Manifest};
use super::window::Window;
use crate::flood::rto::RtoEstimator;

/// Most bytes that are being fetched at one time, by all fetches of a pod.
const BYTES: usize = 64 << 20;
/// Most fetches at one time.
const FETCHES: usize = 256;
/// Answers to later requests after which an earlier one counts as lost: links reorder.
const REORDERED: u64 = 16;
/// How long negative replies may follow one another before a fetch ends: tables may differ for a moment.
const PATIENCE: Duration = Duration::from_secs(3);
/// Answers to requests that let things go that are waited for.
const PARTING: usize = 64;
/// Longest wait for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Whom a fetch is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The result of a call, by its correlation.
    Call(u64),
    /// The arguments of an invocation, by caller and correlation.
    Arguments(Name, u64),
}

/// What is fetched, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// For whom.
    pub owner: Owner,
    /// Under whose name it is held.
    pub holder: Name,
    /// Which of the things held there.
    pub handle: u64,
    /// The name that asks.
    pub source: Name,
    /// Flow of all requests.
    pub flow: u32,
    /// When it is given up.
    pub ends_at: Timestamp,
    /// Most bytes wanted.
    pub most: usize,
}

/// Bytes, or why there are none; no reason: it did not come in time.
pub type Fetched = Result<Vec<u8>, (Option<RefusalReason>, String)>;

/// An action that the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this request.
    Send(Box<Frame>),
    /// A fetch ended.
    Done(Owner, Fetched),
}

/// A request that was sent and not answered.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Segment; none: the manifest.
    segment: Option<u32>,
    at: Timestamp,
}

#[derive(Debug)]
struct Fetch {
    order: Order,
    window: Window,
    rto: RtoEstimator,
    /// By number of the request.
    asked: BTreeMap<u64, Asked>,
    manifest: Option<Manifest>,
    bytes: Vec<u8>,
    there: Vec<bool>,
    missing: u32,
    /// First segment that was never asked for.
    next: u32,
    lost: BTreeSet<u32>,
    /// When to ask for the manifest of a method that still runs.
    ask_again: Option<Timestamp>,
    /// Nothing is asked for before: there was a negative reply.
    pause_until: Timestamp,
    /// Since when there are only negative replies.
    refused_since: Option<Timestamp>,
}

/// The fetches of a pod.
#[derive(Debug)]
pub struct Fetcher {
    fetches: BTreeMap<Owner, Fetch>,
    /// Owners by number of the request.
    waiting: BTreeMap<u64, Owner>,
    /// Numbers of the last requests that let things go: their answers are of no use, and expected.
    parting: VecDeque<u64>,
    /// Correlation of request 0.
    base: u64,
    /// Number of the next request.
    number: u64,
    bytes: usize,
    first_wait: Duration,
    repeated: u64,
    actions: VecDeque<Action>,
}

impl Fetcher {
    /// Nothing is fetched. An unanswered request is repeated after `first_wait` at least. `seed` is new at every start.
    #[must_use]
    pub fn new(seed: u64, first_wait: Duration) -> Self {
        Self {
            fetches: BTreeMap::new(),
            waiting: BTreeMap::new(),
            parting: VecDeque::new(),
            base: ChaCha8Rng::seed_from_u64(seed).random(),
            number: 0,
            bytes: 0,
            first_wait: first_wait.max(Duration::from_millis(1)),
            repeated: 0,
            actions: VecDeque::new(),
        }
    }

    /// The next action, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Begins to fetch.
    pub fn fetch(&mut self, now: Timestamp, order: Order) {
        if self.fetches.len() >= FETCHES {
            let why = (Some(RefusalReason::Overloaded), "too much is being fetched".to_owned());
            return self.actions.push_back(Action::Done(order.owner, Err(why)));
        }
        let owner = order.owner.clone();
        let fetch = Fetch {
            order,
            window: Window::default(),
            rto: RtoEstimator::new(self.first_wait, LONGEST_WAIT),
            asked: BTreeMap::new(),
            manifest: None,
            bytes: Vec::new(),
            there: Vec::new(),
            missing: 0,
            next: 0,
            lost: BTreeSet::new(),
            ask_again: None,
            pause_until: now,
            refused_since: None,
        };
        self.fetches.insert(owner.clone(), fetch);
        self.ask(now, &owner, None);
    }

    /// Handles an answer. Returns false if no fetch waits for it.
    pub fn handle_answer(&mut self, now: Timestamp, data: &Data) -> bool {
        let number = data.correlation.wrapping_sub(self.base);
        if let Some(at) = self.parting.iter().position(|parting| *parting == number) {
            self.parting.remove(at);
            return true;
        }
        let Some(owner) = self.waiting.remove(&number) else { return false };
        let Some(fetch) = self.fetches.get_mut(&owner) else { return true };
        let Some(asked) = fetch.asked.remove(&number) else { return true };
        fetch.rto.sample(now.since(asked.at));
        match &data.kind {
            DataKind::Response => {
                fetch.refused_since = None;
                match asked.segment {
                    None => self.take_manifest(now, &owner, &data.payload),
                    Some(segment) => self.take_segment(now, &owner, (segment, number), &data.payload),
                }
            }
            DataKind::Error { reason } => {
                let detail = String::from_utf8_lossy(&data.payload).into_owned();
                self.end(now, &owner, Err((Some(*reason), detail)));
            }
            DataKind::Request { .. } => return false,
        }
        true
    }

    /// Handles a negative reply. Returns false if it is about no request of a fetch.
    pub fn handle_nack(&mut self, now: Timestamp, nack: &Nack) -> bool {
        let Some(number) = nack.call().map(|correlation| correlation.wrapping_sub(self.base)) else { return false };
        let Some(owner) = self.waiting.remove(&number) else { return false };
        let next = self.number;
        let Some(fetch) = self.fetches.get_mut(&owner) else { return true };
        let Some(asked) = fetch.asked.remove(&number) else { return true };
        if now.since(*fetch.refused_since.get_or_insert(now)) > PATIENCE {
            self.end(now, &owner, Err((Some(nack.reason), nack.node.to_string())));
            return true;
        }
        fetch.window.lost(number, next);
        // Asked for at the pace of repetitions, as long as there is no way.
        fetch.pause_until = now + fetch.rto.current();
        match asked.segment {
            Some(segment) => {
                fetch.lost.insert(segment);
            }
            None => fetch.ask_again = Some(fetch.pause_until),
        }
        true
    }

    /// Repeats what was lost, and gives up what is late.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let owners: Vec<Owner> = self.fetches.keys().cloned().collect();
        for owner in owners {
            let Some(fetch) = self.fetches.get_mut(&owner) else { continue };
            if now >= fetch.order.ends_at {
                self.end(now, &owner, Err((None, "it did not come in time".to_owned())));
                continue;
            }
            let wait = fetch.rto.current();
            let late: Vec<u64> = fetch.asked.iter().filter(|(_, a)| a.at + wait <= now).map(|(n, _)| *n).collect();
            if !late.is_empty() {
                fetch.rto.late(now);
            }
            let manifest_late = late.iter().any(|n| fetch.asked.get(n).is_some_and(|a| a.segment.is_none()));
            let again = fetch.ask_again.take_if(|at| *at <= now).is_some();
            for number in late {
                self.lose(&owner, number);
            }
            if manifest_late || again {
                self.ask(now, &owner, None);
            }
            self.pump(now, &owner);
        }
    }

    /// Time at which [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let due = |fetch: &Fetch| {
            let answer = fetch.asked.values().next().map(|asked| asked.at + fetch.rto.current());
            // Segments wait for their turn only while others are in flight, except after negative replies.
            let idle = fetch.asked.is_empty() && (!fetch.lost.is_empty() || fetch.next < fetch.count());
            let pump = idle.then_some(fetch.pause_until);
            [answer, fetch.ask_again, pump, Some(fetch.order.ends_at)].into_iter().flatten().min()
        };
        self.fetches.values().filter_map(due).min()
    }

    /// Fetches in progress, and requests repeated.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.fetches.len() as u64, self.repeated)
    }

    fn take_manifest(&mut self, now: Timestamp, owner: &Owner, payload: &[u8]) {
        let free = BYTES - self.bytes;
        let Some(fetch) = self.fetches.get_mut(owner) else { return };
        if fetch.manifest.is_some() {
            return;
        }
        match Manifest::decode(payload) {
            Some(Manifest::Running) => fetch.ask_again = Some(now + fetch.rto.current() * 2),
            Some(ready @ Manifest::Ready { length, segment, .. }) => {
                let length = length as usize;
                if length > fetch.order.most || length > free {
                    let detail = format!("{length} bytes are more than can be taken");
                    return self.end(now, owner, Err((Some(RefusalReason::TooLarge), detail)));
                }
                let count = length.div_ceil(usize::from(segment));
                fetch.manifest = Some(ready);
                fetch.bytes = vec![0; length];
                fetch.there = vec![false; count];
                fetch.missing = u32::try_from(count).unwrap_or(u32::MAX);
                self.bytes += length;
                if count == 0 {
                    return self.complete(now, owner);
                }
                self.pump(now, owner);
            }
            None => self.end(now, owner, Err((Some(RefusalReason::Failed), "no manifest".to_owned()))),
        }
    }

    fn take_segment(&mut self, now: Timestamp, owner: &Owner, (index, number): (u32, u64), payload: &[u8]) {
        let next = self.number;
        let Some(fetch) = self.fetches.get_mut(owner) else { return };
        let Some(Manifest::Ready { segment, .. }) = fetch.manifest else { return };
        let from = index as usize * usize::from(segment);
        let expected = (fetch.bytes.len() - from).min(usize::from(segment));
        if payload.len() != expected {
            let detail = format!("segment {index} has {} bytes instead of {expected}", payload.len());
            return self.end(now, owner, Err((Some(RefusalReason::Failed), detail)));
        }
        fetch.window.came();
        fetch.lost.remove(&index);
        if !std::mem::replace(&mut fetch.there[index as usize], true) {
            fetch.bytes[from..from + expected].copy_from_slice(payload);
            fetch.missing -= 1;
        }
        if fetch.missing == 0 {
            return self.complete(now, owner);
        }
        debug_assert!(number < next, "invariant: answers follow requests");
        let overtaken: Vec<u64> = fetch.asked.range(..number.saturating_sub(REORDERED)).map(|(n, _)| *n).collect();
        for number in overtaken {
            self.lose(owner, number);
        }
        self.pump(now, owner);
    }

    /// All segments are there.
    fn complete(&mut self, now: Timestamp, owner: &Owner) {
        let Some(fetch) = self.fetches.get_mut(owner) else { return };
        let Some(Manifest::Ready { error, digest, .. }) = fetch.manifest else { return };
        let bytes = std::mem::take(&mut fetch.bytes);
        self.bytes -= bytes.len();
        let whole = <[u8; 32]>::from(Sha256::digest(&bytes)) == digest;
        let result = match bytes.split_first() {
            _ if !whole => Err((Some(RefusalReason::Failed), "the digest does not match".to_owned())),
            Some((code, detail)) if error => {
                let reason = RefusalReason::from_code(*code).unwrap_or(RefusalReason::Failed);
                Err((Some(reason), String::from_utf8_lossy(detail).into_owned()))
            }
            _ => Ok(bytes),
        };
        self.end(now, owner, result);
    }

    /// A request was lost: its segment is asked for again.
    fn lose(&mut self, owner: &Owner, number: u64) {
        let next = self.number;
        self.waiting.remove(&number);
        let Some(fetch) = self.fetches.get_mut(owner) else { return };
        let Some(asked) = fetch.asked.remove(&number) else { return };
        fetch.window.lost(number, next);
        self.repeated += 1;
        if let Some(segment) = asked.segment
            && !fetch.there[segment as usize]
        {
            fetch.lost.insert(segment);
        }
    }

    /// Asks for segments as long as the window has room.
    fn pump(&mut self, now: Timestamp, owner: &Owner) {
        while let Some(fetch) = self.fetches.get_mut(owner) {
            if fetch.asked.len() >= fetch.window.segments() || now < fetch.pause_until {
                return;
            }
            let segment = match fetch.lost.pop_first() {
                Some(lost) => lost,
                None if fetch.next < fetch.count() => {
                    fetch.next += 1;
                    fetch.next - 1
                }
                None => return,
            };
            self.ask(now, owner, Some(segment));
        }
    }

    fn ask(&mut self, now: Timestamp, owner: &Owner, segment: Option<u32>) {
        let number = self.number;
        let Some(fetch) = self.fetches.get_mut(owner) else { return };
        let order = &fetch.order;
        let Some(frame) = request(order, now, self.base.wrapping_add(number), segment, GET) else {
            let detail = "the name is too long to fetch from".to_owned();
            return self.end(now, owner, Err((Some(RefusalReason::TooLarge), detail)));
        };
        self.number += 1;
        fetch.asked.insert(number, Asked { segment, at: now });
        self.waiting.insert(number, owner.clone());
        self.actions.push_back(Action::Send(Box::new(frame)));
    }

    fn end(&mut self, now: Timestamp, owner: &Owner, result: Fetched) {
        let Some(order) = self.forget(owner) else { return };
        if result.is_ok() {
            // The holder forgets it in time where this is lost.
            let frame = request(&order, now, self.base.wrapping_add(self.number), None, DROP);
            if self.parting.len() == PARTING {
                self.parting.pop_front();
            }
            self.parting.push_back(self.number);
            self.number += 1;
            self.actions.extend(frame.map(|frame| Action::Send(Box::new(frame))));
        }
        self.actions.push_back(Action::Done(order.owner, result));
    }

    fn forget(&mut self, owner: &Owner) -> Option<Order> {
        let fetch = self.fetches.remove(owner)?;
        self.bytes -= fetch.bytes.len();
        for number in fetch.asked.keys() {
            self.waiting.remove(number);
        }
        Some(fetch.order)
    }
}

impl Fetch {
    /// Segments of which there is a manifest.
    fn count(&self) -> u32 {
        u32::try_from(self.there.len()).unwrap_or(u32::MAX)
    }
}

fn request(order: &Order, now: Timestamp, correlation: u64, segment: Option<u32>, method: &str) -> Option<Frame> {
    let name = Held { handle: order.handle, segment }.behind(&order.holder)?;
    let left = order.ends_at.since(now).as_nanos().div_ceil(1_000_000);
    let deadline = Millis(u64::from(u32::try_from(left).unwrap_or(u32::MAX)));
    let kind = DataKind::Request { method: method.to_owned(), deadline, context: None };
    let data = Data { correlation, kind, payload: Vec::new(), hops: Vec::new() };
    Some(Frame::plain(name, order.source.clone(), order.flow, Message::Data(data)))
}
