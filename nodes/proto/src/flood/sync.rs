//! Database exchange with one neighbour when an adjacency comes up: summary, request, load (check-list 5).
//!
//! Each side sends headers of all it has in numbered pages under an exchange number of its own; a page is acknowledged
//! by returning it empty. What the neighbour has newer is requested by key, and arrives by ordinary reliable flooding. An
//! item is off the request list as soon as an instance at least as new is in the database, whoever brought it: loading the
//! same LSAs from two neighbours at once is the normal case and no error. `LsAck` with sequence 0 answers a request for
//! what the neighbour no longer has.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use damc_wire::Timestamp;
use damc_wire::frame::HOP_LOCAL_ROOM;
use damc_wire::lsa::{LsaHeader, LsaKey, SUMMARY_BODY_LEN};
use damc_wire::message::DbSummary;

use super::outgoing::{Backoff, pack_headers};

/// Pages in flight.
const PAGE_WINDOW: usize = 16;
/// Requests in flight.
const REQUEST_WINDOW: usize = 128;

#[derive(Debug)]
struct Page {
    headers: Vec<LsaHeader>,
    attempts: u32,
    sent_at: Timestamp,
    resend_at: Option<Timestamp>,
    acknowledged: bool,
}

impl Page {
    const fn new(headers: Vec<LsaHeader>) -> Self {
        Self { headers, attempts: 0, sent_at: Timestamp(0), resend_at: None, acknowledged: false }
    }
}

#[derive(Debug)]
struct Request {
    header: LsaHeader,
    attempts: u32,
    resend_at: Option<Timestamp>,
}

/// One exchange, both directions.
#[derive(Debug)]
pub struct Sync {
    backoff: Backoff,
    exchange: u32,
    pages: Vec<Page>,
    /// First page that may not be acknowledged yet.
    first_open: usize,
    theirs: Option<u32>,
    received: BTreeSet<u16>,
    last: Option<u16>,
    requests: BTreeMap<LsaKey, Request>,
    /// Requests that were not sent yet.
    unsent: VecDeque<LsaKey>,
    /// When to repeat those that were.
    timers: BTreeSet<(Timestamp, LsaKey)>,
}

/// What to send now.
#[derive(Debug, Default)]
pub struct SyncOut {
    /// Own pages.
    pub pages: Vec<DbSummary>,
    /// Requests, packed.
    pub requests: Vec<Vec<LsaHeader>>,
}

impl Sync {
    /// Starts an exchange. `exchange` must differ from the neighbour's: its lowest bit says whose it is.
    #[must_use]
    pub fn new(exchange: u32, backoff: Backoff, headers: impl IntoIterator<Item = LsaHeader>) -> Self {
        let mut pages: Vec<Page> =
            pack_headers(headers, HOP_LOCAL_ROOM - SUMMARY_BODY_LEN).into_iter().map(Page::new).collect();
        if pages.is_empty() {
            pages.push(Page::new(Vec::new()));
        }
        Self {
            backoff,
            exchange,
            pages,
            first_open: 0,
            theirs: None,
            received: BTreeSet::new(),
            last: None,
            requests: BTreeMap::new(),
            unsent: VecDeque::new(),
            timers: BTreeSet::new(),
        }
    }

    /// The neighbour has one of our pages. The round trip, where it was sent once.
    pub fn page_acknowledged(&mut self, now: Timestamp, page: u16) -> Option<Duration> {
        let page = self.pages.get_mut(usize::from(page)).filter(|page| !page.acknowledged)?;
        page.acknowledged = true;
        page.headers = Vec::new();
        let round_trip = (page.attempts == 1).then(|| now.since(page.sent_at));
        while self.pages.get(self.first_open).is_some_and(|p| p.acknowledged) {
            self.first_open += 1;
        }
        round_trip
    }

    /// Notes a page of the neighbour; false where it was here before.
    pub fn page_received(&mut self, summary: &DbSummary) -> bool {
        if *self.theirs.get_or_insert(summary.exchange) != summary.exchange {
            return false;
        }
        if summary.last {
            self.last = Some(summary.page);
        }
        self.received.insert(summary.page)
    }

    /// Asks for this instance.
    pub fn request(&mut self, header: &LsaHeader) {
        self.drop_request(&header.key);
        self.requests.insert(header.key.clone(), Request { header: header.clone(), attempts: 0, resend_at: None });
        self.unsent.push_back(header.key.clone());
    }

    /// The database now has an instance of this version, or the neighbour has none: no need to ask any more.
    pub fn satisfied(&mut self, key: &LsaKey, version: (u64, u64)) {
        if self.requests.get(key).is_some_and(|r| r.header.version() <= version) {
            self.drop_request(key);
        }
    }

    /// The neighbour has answered for this key, with whatever it has: no need to ask any more.
    pub fn answered(&mut self, key: &LsaKey) {
        self.drop_request(key);
    }

    fn drop_request(&mut self, key: &LsaKey) {
        if let Some(at) = self.requests.remove(key).and_then(|r| r.resend_at) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    /// Whether both directions are over.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let all_received = self.last.is_some_and(|last| self.received.len() == usize::from(last) + 1);
        all_received && self.requests.is_empty() && self.first_open == self.pages.len()
    }

    /// What to send now, first time or again; it is not sent again within `wait`.
    pub fn take_due(&mut self, now: Timestamp, wait: Duration) -> SyncOut {
        let mut out = SyncOut::default();
        let last = self.pages.len() - 1;
        let window = self.pages.iter_mut().enumerate().skip(self.first_open).take(PAGE_WINDOW);
        for (i, page) in window.filter(|(_, p)| !p.acknowledged && p.resend_at.is_none_or(|at| at <= now)) {
            page.resend_at = Some(now + self.backoff.after(page.attempts).max(wait));
            page.sent_at = now;
            page.attempts += 1;
            out.pages.push(DbSummary {
                exchange: self.exchange,
                page: u16::try_from(i).unwrap_or(u16::MAX),
                last: i == last,
                headers: page.headers.clone(),
            });
        }
        out.requests = pack_headers(self.requests_due(now, wait), HOP_LOCAL_ROOM);
        out
    }

    fn requests_due(&mut self, now: Timestamp, wait: Duration) -> Vec<LsaHeader> {
        let mut keys = Vec::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            keys.extend(self.timers.pop_first().map(|(_, key)| key));
        }
        while self.timers.len() + keys.len() < REQUEST_WINDOW {
            let Some(key) = self.unsent.pop_front() else { break };
            keys.push(key);
        }
        let mut due = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(request) = self.requests.get_mut(&key) else { continue };
            let resend_at = now + self.backoff.after(request.attempts).max(wait);
            request.attempts += 1;
            request.resend_at = Some(resend_at);
            self.timers.insert((resend_at, key));
            due.push(request.header.clone());
        }
        due
    }

    /// When [`Self::take_due`] has something to send again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let window = self.pages.iter().skip(self.first_open).take(PAGE_WINDOW);
        let pages = window.filter(|p| !p.acknowledged).filter_map(|p| p.resend_at).min();
        pages.into_iter().chain(self.timers.first().map(|(at, _)| *at)).min()
    }
}
