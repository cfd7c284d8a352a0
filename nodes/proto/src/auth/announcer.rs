//! The pod's side of class 1: says which services run, until the SG has answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use damc_mgmt::config::Timers;
use damc_mgmt::view::AnnouncementView;
use damc_mgmt::words::AnnouncementState;
use damc_trust::NodeKeys;
use damc_wire::message::{Announce, AnnounceEntry, AnnounceReply};
use damc_wire::{Name, NodeId, RefusalReason, Timestamp};

/// How a name of the pod stands with the SG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No answer yet, or no SG.
    Pending,
    /// Routable, and allowed as a source.
    Accepted,
    /// Refused, with the reason.
    Refused(RefusalReason),
}

/// A running service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its pool.
    pub pool: Option<Name>,
    /// Its share there.
    pub weight: u16,
    /// How its prefix stands.
    pub standing: Standing,
    /// How its membership of the pool stands.
    pub pool_standing: Standing,
    /// The newest announcement that carried it.
    request: u64,
}

/// The SG as far as class 1 needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    sg: NodeId,
    sg_session: u64,
}

#[derive(Debug)]
struct Outstanding {
    announce: Announce,
    next: Timestamp,
    interval: Duration,
}

/// The pod's announcements.
#[derive(Debug)]
pub struct Announcer {
    keys: NodeKeys,
    retransmit: Duration,
    retransmit_max: Duration,
    services: BTreeMap<Name, Service>,
    session: Option<Session>,
    outstanding: BTreeMap<u64, Outstanding>,
    next_request: u64,
    /// When names that were refused for a passing reason are announced again.
    retry_at: Option<Timestamp>,
    sends: VecDeque<Announce>,
}

/// Bytes of entries in one announcement: with certificate and signatures they fit the one PDU in which the SG shows them
/// to the SPA.
const PAGE_BYTES: usize = 800;
/// Bytes of an entry beside its names, and of its outcomes in the reply.
const ENTRY_OVERHEAD: usize = 16;

impl Announcer {
    /// Nothing runs, no SG.
    #[must_use]
    pub fn new(keys: NodeKeys, timers: &Timers) -> Self {
        Self {
            keys,
            retransmit: Duration::from_millis(timers.retransmit_ms.max(1)),
            retransmit_max: Duration::from_millis(timers.retransmit_max_ms.max(1)),
            services: BTreeMap::new(),
            session: None,
            outstanding: BTreeMap::new(),
            next_request: 1,
            retry_at: None,
            sends: VecDeque::new(),
        }
    }

    /// The next announcement to send to the SG.
    pub fn poll_send(&mut self) -> Option<Announce> {
        self.sends.pop_front()
    }

    /// The adjacency with the SG is up, in this session of the SG: everything that runs is announced.
    pub fn sg_up(&mut self, now: Timestamp, sg: NodeId, sg_session: u64) {
        self.sg_down();
        self.session = Some(Session { sg, sg_session });
        self.next_request = 1;
        self.announce(now, self.services.keys().cloned().collect(), Vec::new());
    }

    /// The adjacency is gone: nothing is accepted any more.
    pub fn sg_down(&mut self) {
        self.session = None;
        self.outstanding.clear();
        self.sends.clear();
        self.retry_at = None;
        for service in self.services.values_mut() {
            service.standing = Standing::Pending;
            service.pool_standing = Standing::Pending;
        }
    }

    /// A service runs, or has changed its pool or weight.
    pub fn service_up(&mut self, now: Timestamp, prefix: Name, pool: Option<Name>, weight: u16) {
        let known = self.services.get(&prefix);
        if known.is_some_and(|s| s.pool == pool && s.weight == weight) {
            return;
        }
        let standing = known.map_or(Standing::Pending, |s| s.standing);
        let service = Service { pool, weight, standing, pool_standing: Standing::Pending, request: 0 };
        self.services.insert(prefix.clone(), service);
        self.announce(now, vec![prefix], Vec::new());
    }

    /// A service has ended.
    pub fn service_down(&mut self, now: Timestamp, prefix: &Name) {
        if self.services.remove(prefix).is_some() {
            self.announce(now, Vec::new(), vec![prefix.clone()]);
        }
    }

    /// The running services by prefix.
    #[must_use]
    pub fn services(&self) -> &BTreeMap<Name, Service> {
        &self.services
    }

    /// The first accepted prefix: what calls come from unless they say otherwise.
    #[must_use]
    pub fn default_source(&self) -> Option<&Name> {
        self.services.iter().find(|(_, s)| s.standing == Standing::Accepted).map(|(name, _)| name)
    }

    /// Why there is no accepted prefix, where a service was refused.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalReason> {
        self.services.values().find_map(|s| match s.standing {
            Standing::Refused(reason) => Some(reason),
            _ => None,
        })
    }

    /// The SG's answer. False where nobody asked for it.
    pub fn handle_reply(&mut self, now: Timestamp, reply: &AnnounceReply) -> bool {
        let unasked = reply.request == 0;
        if !unasked && self.outstanding.remove(&reply.request).is_none() {
            return false;
        }
        for outcome in &reply.outcomes {
            let standing = outcome.refusal.map_or(Standing::Accepted, Standing::Refused);
            for (prefix, service) in &mut self.services {
                // A newer announcement of the service is under way: its answer will tell.
                let newer = self.outstanding.contains_key(&service.request);
                if newer || (!unasked && service.request != reply.request && *prefix == outcome.prefix) {
                    continue;
                }
                if *prefix == outcome.prefix {
                    service.standing = standing;
                }
                if service.pool.as_ref() == Some(&outcome.prefix) {
                    service.pool_standing = standing;
                }
            }
        }
        if self.passing().next().is_some() {
            self.retry_at.get_or_insert(now + self.retransmit_max);
        } else {
            self.retry_at = None;
        }
        true
    }

    /// Retransmits.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for o in self.outstanding.values_mut().filter(|o| now >= o.next) {
            o.interval = (o.interval * 2).min(self.retransmit_max);
            o.next = now + o.interval;
            self.sends.push_back(o.announce.clone());
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            let again = self.passing().cloned().collect();
            self.announce(now, again, Vec::new());
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.outstanding.values().map(|o| o.next).chain(self.retry_at).min()
    }

    /// Rows of `/announcements`.
    pub fn rows(&self) -> Vec<AnnouncementView> {
        let pod = self.keys.certificate().node.to_string();
        let row = |name: &Name, exact: bool, standing: Standing| AnnouncementView {
            prefix: name.to_string(),
            pod: pod.clone(),
            exact,
            state: match standing {
                Standing::Pending => AnnouncementState::Pending,
                Standing::Accepted => AnnouncementState::Accepted,
                Standing::Refused(_) => AnnouncementState::Refused,
            },
            reason: match standing {
                Standing::Refused(reason) => Some(reason),
                _ => None,
            },
            grant: None,
        };
        let mut rows = Vec::new();
        let mut pools = BTreeSet::new();
        for (name, service) in &self.services {
            rows.push(row(name, false, service.standing));
            if let Some(pool) = service.pool.as_ref().filter(|p| pools.insert((*p).clone())) {
                rows.push(row(pool, true, service.pool_standing));
            }
        }
        rows.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        rows
    }

    /// Services whose refusal may pass by itself.
    fn passing(&self) -> impl Iterator<Item = &Name> {
        let passes = |s: Standing| {
            let reasons = [
                RefusalReason::SpaUnreachable,
                RefusalReason::Conflict,
                RefusalReason::Overloaded,
                RefusalReason::RateLimited,
                RefusalReason::HeldDown,
            ];
            matches!(s, Standing::Refused(reason) if reasons.contains(&reason))
        };
        self.services
            .iter()
            .filter(move |(_, s)| passes(s.standing) || (s.pool.is_some() && passes(s.pool_standing)))
            .map(|(name, _)| name)
    }

    /// Signs and queues announcements of as many pages as needed.
    fn announce(&mut self, now: Timestamp, mut add: Vec<Name>, mut withdraw: Vec<Name>) {
        if self.session.is_none() {
            return;
        }
        while !(add.is_empty() && withdraw.is_empty()) {
            let mut room = PAGE_BYTES;
            let gone = take_page(&mut withdraw, &mut room, |name| name.wire().len());
            let services = &self.services;
            let here = take_page(&mut add, &mut room, |name| {
                let pool = services.get(name).and_then(|s| s.pool.as_ref());
                name.wire().len() + pool.map_or(0, |p| p.wire().len())
            });
            self.announce_page(now, &here, gone);
        }
    }

    fn announce_page(&mut self, now: Timestamp, add: &[Name], withdraw: Vec<Name>) {
        let Some(session) = &self.session else { return };
        let request = self.next_request;
        self.next_request += 1;
        let mut entries = Vec::with_capacity(add.len());
        for prefix in add {
            if let Some(service) = self.services.get_mut(prefix) {
                service.request = request;
                entries.push(AnnounceEntry {
                    prefix: prefix.clone(),
                    pool: service.pool.clone(),
                    weight: service.weight,
                });
            }
        }
        let to = (session.sg.clone(), session.sg_session);
        let announce = self.keys.sign_announce(request, to, entries, withdraw);
        self.sends.push_back(announce.clone());
        let outstanding = Outstanding { announce, next: now + self.retransmit, interval: self.retransmit };
        self.outstanding.insert(request, outstanding);
    }
}

/// Takes as many names off the front as fit into `room`, at least one of those that were there.
fn take_page(names: &mut Vec<Name>, room: &mut usize, size: impl Fn(&Name) -> usize) -> Vec<Name> {
    let mut count = 0;
    for name in names.iter() {
        let needed = size(name) + ENTRY_OVERHEAD;
        if needed > *room {
            break;
        }
        *room -= needed;
        count += 1;
    }
    names.drain(..count).collect()
}
