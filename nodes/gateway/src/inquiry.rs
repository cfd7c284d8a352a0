//! The other ends of connections that were reset here: they may not know, and may be waiting for something that never comes.
//!
//! When an SG loses its state (a restart) or its routes, the far gateway resets its own pod at once. The pod behind the
//! lost SG has nothing outstanding, perhaps: it waits for an answer, and without keep-alive would wait for ever. So the far
//! gateway asks it, as soon as there is a route again, with what a keep-alive is: an acknowledgement outside of the window.
//! A connection that still exists answers (RFC 9293, section 3.10.7.4), the answer meets a pod that has none, and the
//! reset of that pod ends it. Where there is none any more, the question is answered by a reset and nothing happens.

use std::collections::VecDeque;

use damc_wire::Name;

use crate::flows::Flow;
use crate::packet::FlowKey;

/// Connections that are remembered for this at one time; the oldest gives way.
const LIMIT: usize = 4096;
/// Questions about one connection: the first may be lost.
const QUESTIONS: u8 = 3;
/// Time between them, ns.
const AGAIN: u64 = 1_000_000_000;
/// Time between two looks at what is due, ns.
const LOOK: u64 = 100_000_000;
/// How long a route may stay away, ns: TCP itself gives up later, but then somebody had something outstanding.
const PATIENCE: u64 = 120_000_000_000;

/// What is known of a connection whose end here is no more.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) port: u16,
    /// Seen from the pod.
    pub(crate) key: FlowKey,
    /// Who is at the other end.
    pub(crate) instance: Name,
    /// The sequence number the other end expects next, and the one that is expected of it.
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

    /// Gives up to `most` connections whose question is due and whose other end `lives`.
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
