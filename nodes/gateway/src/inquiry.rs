//! Inquiries at the other ends of connections that were reset here: such an end may wait for data that never comes.
//!
//! When an SG loses its state (a restart) or its routes, the far gateway resets its own pod at once. The pod behind the
//! lost SG may have nothing outstanding. It waits for an answer, and without keep-alive it would wait for ever. So the
//! far gateway asks it as soon as there is a route again, by a keep-alive: an acknowledgement outside the window. If
//! the connection still exists, its pod answers (RFC 9293, section 3.10.7.4). The answer reaches a pod that no longer
//! has the connection, and that pod's reset ends it. If it does not exist any more, a reset answers the question, and
//! nothing else happens.

use std::collections::VecDeque;

use damc_wire::Name;

use crate::flows::Flow;
use crate::packet::FlowKey;

/// Most connections remembered at one time; a new one replaces the oldest.
const LIMIT: usize = 4096;
/// Questions about one connection: some may be lost.
const QUESTIONS: u8 = 3;
/// Time between them, ns.
const AGAIN: u64 = 1_000_000_000;
/// Time between two checks for due questions, ns.
const LOOK: u64 = 100_000_000;
/// Longest time without a route after which a question is still asked, ns.
const PATIENCE: u64 = 120_000_000_000;

/// A connection whose end at our pod has been reset.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) port: u16,
    /// The flow, seen from the pod.
    pub(crate) key: FlowKey,
    /// The instance at the other end.
    pub(crate) instance: Name,
    /// The sequence number that the other end expects next, and the one that our pod expects of it.
    pub(crate) numbers: (u32, u32),
}

impl From<&Flow> for Ended {
    fn from(flow: &Flow) -> Self {
        let numbers = (flow.expected, flow.expects);
        Self { port: flow.port, key: flow.key, instance: flow.instance.clone(), numbers }
    }
}

#[derive(Debug)]
struct Entry {
    ended: Ended,
    left: u8,
    due_ns: u64,
    until_ns: u64,
}

/// Connections to ask about.
#[derive(Debug, Default)]
pub(crate) struct Inquiries {
    entries: VecDeque<Entry>,
    next_look_ns: u64,
}

impl Inquiries {
    pub(crate) fn add(&mut self, now_ns: u64, ended: Ended) {
        if self.entries.len() >= LIMIT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { ended, left: QUESTIONS, due_ns: now_ns, until_ns: now_ns + PATIENCE });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns up to `most` connections whose question is due and whose other end `lives`.
    pub(crate) fn due(&mut self, now_ns: u64, most: usize, lives: impl Fn(&Name) -> bool) -> Vec<Ended> {
        let mut due = Vec::new();
        if now_ns < self.next_look_ns {
            return due;
        }
        self.next_look_ns = now_ns + LOOK;
        self.entries.retain_mut(|entry| {
            if now_ns >= entry.until_ns {
                return false;
            }
            if due.len() < most && entry.due_ns <= now_ns && lives(&entry.ended.instance) {
                due.push(entry.ended.clone());
                entry.left -= 1;
                entry.due_ns = now_ns + AGAIN;
            }
            entry.left > 0
        });
        due
    }
}
