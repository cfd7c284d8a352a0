//! Reliable transmission of LSAs to one neighbour: retransmit list, explicit acknowledgement, bounded flight.
//!
//! What waits is kept by key, and the LSA is read from the database when it is sent: a newer instance takes the place of
//! an older one, and memory is bounded by the database, not by the neighbour's slowness (check-list 6, 19).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use damc_mgmt::config::Timers;
use damc_wire::Timestamp;
use damc_wire::frame::HOP_LOCAL_ROOM;
use damc_wire::lsa::{Lsa, LsaHeader, LsaKey};

use super::rto::RtoEstimator;
use crate::lsdb::Lsdb;

/// LSAs in flight at first, at least and at most.
const WINDOW_START: usize = 64;
const WINDOW_MIN: usize = 8;
const WINDOW_MAX: usize = 512;

/// First retransmission and its upper bound.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// As the timers say.
    #[must_use]
    pub fn new(timers: &Timers) -> Self {
        let first = Duration::from_millis(timers.retransmit_ms.max(1));
        Self { first, max: Duration::from_millis(timers.retransmit_max_ms).max(first) }
    }

    /// A wait that follows what round trips take.
    #[must_use]
    pub fn rto(&self) -> RtoEstimator {
        RtoEstimator::new(self.first, self.max)
    }

    /// How long to wait for an answer to attempt number `attempt` (from 0): doubles, within bounds.
    #[must_use]
    pub fn after(&self, attempt: u32) -> Duration {
        self.first.saturating_mul(1 << attempt.min(20)).min(self.max)
    }
}

#[derive(Debug)]
struct Pending {
    version: (u64, u64),
    attempts: u32,
    sent_at: Timestamp,
    /// In flight until then; waiting in the queue where none.
    resend_at: Option<Timestamp>,
}

/// The retransmit list of one neighbour.
#[derive(Debug)]
pub struct Outgoing {
    pending: BTreeMap<LsaKey, Pending>,
    queue: VecDeque<LsaKey>,
    timers: BTreeSet<(Timestamp, LsaKey)>,
    window: usize,
    backoff: Backoff,
    rto: RtoEstimator,
    retransmitted: u64,
}

impl Outgoing {
    /// Nothing to send.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self {
            pending: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            window: WINDOW_START,
            backoff,
            rto: backoff.rto(),
            retransmitted: 0,
        }
    }

    /// This instance has to reach the neighbour; replaces an older one of the same key.
    pub fn enqueue(&mut self, key: &LsaKey, version: (u64, u64)) {
        if let Some(pending) = self.pending.get_mut(key) {
            if pending.version == version {
                return;
            }
            pending.version = version;
            pending.attempts = 0;
            if let Some(at) = pending.resend_at.take() {
                self.timers.remove(&(at, key.clone()));
                self.queue.push_back(key.clone());
            }
            return;
        }
        self.pending.insert(key.clone(), Pending { version, attempts: 0, sent_at: Timestamp(0), resend_at: None });
        self.queue.push_back(key.clone());
    }

    /// The neighbour has this instance or a newer one: takes its word off the list. Says whether it was on it.
    pub fn acknowledged(&mut self, now: Timestamp, header: &LsaHeader) -> bool {
        let Some(pending) = self.pending.get(&header.key) else { return false };
        if header.version() < pending.version {
            return false;
        }
        if pending.attempts == 1 && pending.resend_at.is_some() && header.version() == pending.version {
            self.rto.sample(now.since(pending.sent_at));
        }
        self.drop_key(&header.key);
        self.window = (self.window + 1).min(WINDOW_MAX);
        true
    }

    /// What else was sent to the neighbour once was answered after this time.
    pub fn answered_after(&mut self, round_trip: Duration) {
        self.rto.sample(round_trip);
    }

    /// How long to wait for an answer of the neighbour.
    #[must_use]
    pub const fn rto(&self) -> Duration {
        self.rto.current()
    }

    /// Lets everything be sent at once.
    pub fn rush(&mut self) {
        self.window = usize::MAX / 2;
    }

    /// The version on the list for a key.
    #[must_use]
    pub fn version(&self, key: &LsaKey) -> Option<(u64, u64)> {
        self.pending.get(key).map(|p| p.version)
    }

    /// Number of LSAs that are not acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether all are acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// LSAs sent again so far.
    #[must_use]
    pub const fn retransmitted(&self) -> u64 {
        self.retransmitted
    }

    /// When [`Self::take_frames`] has something to send again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What to send now, packed: each inner vector fits one frame.
    pub fn take_frames(&mut self, now: Timestamp, lsdb: &Lsdb) -> Vec<Vec<Lsa>> {
        self.requeue_late(now);
        let mut frames = Packer::default();
        while self.timers.len() < self.window {
            let Some(key) = self.queue.pop_front() else { break };
            let Some(pending) = self.pending.get_mut(&key).filter(|p| p.resend_at.is_none()) else { continue };
            let Some(lsa) = lsdb.copy_to_send(now, &key) else {
                self.pending.remove(&key); // It left the database by age: nothing to tell any more.
                continue;
            };
            let resend_at = now + self.backoff.after(pending.attempts).max(self.rto.current());
            self.retransmitted += u64::from(pending.attempts > 0);
            pending.attempts += 1;
            pending.sent_at = now;
            pending.resend_at = Some(resend_at);
            self.timers.insert((resend_at, key));
            let len = lsa.encoded_len();
            frames.push(lsa, len, HOP_LOCAL_ROOM);
        }
        frames.finish()
    }

    /// Puts what was not acknowledged in time back into the queue, and halves the flight.
    fn requeue_late(&mut self, now: Timestamp) {
        let mut late = Vec::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            late.extend(self.timers.pop_first().map(|(_, key)| key));
        }
        if late.is_empty() {
            return;
        }
        self.window = (self.window / 2).max(WINDOW_MIN);
        self.rto.late(now);
        for key in late.into_iter().rev() {
            if let Some(pending) = self.pending.get_mut(&key) {
                pending.resend_at = None;
                self.queue.push_front(key);
            }
        }
    }

    fn drop_key(&mut self, key: &LsaKey) {
        if let Some(at) = self.pending.remove(key).and_then(|p| p.resend_at) {
            self.timers.remove(&(at, key.clone()));
        }
    }
}

/// Fills frames one after the other.
#[derive(Debug)]
pub struct Packer<T> {
    frames: Vec<Vec<T>>,
    used: usize,
}

impl<T> Default for Packer<T> {
    fn default() -> Self {
        Self { frames: Vec::new(), used: 0 }
    }
}

impl<T> Packer<T> {
    /// Adds an item of `len` bytes to the current frame, or to a new one where it has no `room` left.
    pub fn push(&mut self, item: T, len: usize, room: usize) {
        match self.frames.last_mut() {
            Some(frame) if self.used + len <= room => {
                self.used += len;
                frame.push(item);
            }
            _ => {
                self.used = len;
                self.frames.push(vec![item]);
            }
        }
    }

    /// The frames.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<T>> {
        self.frames
    }
}

/// Headers in as many frames as they need.
#[must_use]
pub fn pack_headers(headers: impl IntoIterator<Item = LsaHeader>, room: usize) -> Vec<Vec<LsaHeader>> {
    let mut packer = Packer::default();
    for header in headers {
        let len = header.encoded_len();
        packer.push(header, len, room);
    }
    packer.finish()
}
