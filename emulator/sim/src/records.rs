//! What a simulated network leaves for witnesses: every frame at every port, and the events that each node remembers.

use std::collections::VecDeque;

use damc_mgmt::event::{Event, EventKind, Told};
use damc_wire::Timestamp;

/// Events that a node remembers, as a process does.
const REMEMBERED: usize = 4096;

/// Frames as they passed ports, in order, until somebody takes them.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    heads: Vec<Head>,
    bytes: Vec<u8>,
    /// The last stamp given.
    last: Timestamp,
}

#[derive(Debug)]
struct Head {
    at: Timestamp,
    node: usize,
    port: u16,
    sent: bool,
    end: usize,
}

/// A frame on the tape.
pub(crate) struct Taped<'a> {
    pub(crate) at: Timestamp,
    pub(crate) node: usize,
    pub(crate) port: u16,
    pub(crate) sent: bool,
    /// The whole Ethernet frame.
    pub(crate) frame: &'a [u8],
}

impl Tape {
    /// Simulated nodes react in no time. So that what follows from a frame is stamped after it, no two frames get the same
    /// stamp: one that would is a nanosecond later.
    pub(crate) fn record(&mut self, now: Timestamp, (node, port): (usize, u16), sent: bool, frame: &[u8]) {
        let at = if now > self.last { now } else { Timestamp(self.last.nanos() + 1) };
        self.last = at;
        self.bytes.extend_from_slice(frame);
        self.heads.push(Head { at, node, port, sent, end: self.bytes.len() });
    }

    /// An empty tape that goes on where this one ends.
    pub(crate) fn next(&self) -> Self {
        Self { last: self.last, ..Self::default() }
    }

    /// Every frame, in order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Taped<'_>> {
        self.heads.iter().scan(0, |start, head| {
            let frame = self.bytes.get(*start..head.end)?;
            *start = head.end;
            Some(Taped { at: head.at, node: head.node, port: head.port, sent: head.sent, frame })
        })
    }
}

/// The newest events of one life of a node.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    next: u64,
    kept: VecDeque<Event>,
    told: Told,
}

impl EventLog {
    pub(crate) fn push(&mut self, at: Timestamp, kind: EventKind) {
        if !self.told.takes(at.nanos(), &kind) {
            return;
        }
        if self.kept.len() == REMEMBERED {
            self.kept.pop_front();
        }
        self.kept.push_back(Event { at_ns: at.nanos(), sequence: self.next, kind });
        self.next += 1;
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use damc_mgmt::event::TOLD_PER_SECOND;
    use damc_wire::DropReason;

    use super::*;

    #[test]
    fn frames_come_back_as_they_were_taped() {
        let mut tape = Tape::default();
        for length in 0..5_u16 {
            // Two at a time.
            tape.record(
                Timestamp(u64::from(length / 2) * 10 + 1),
                (7, length),
                length % 2 == 0,
                &vec![9; usize::from(length)],
            );
        }
        let seen: Vec<_> = tape.frames().map(|t| (t.at.nanos(), t.node, t.port, t.sent, t.frame.len())).collect();
        assert_eq!(
            seen,
            [(1, 7, 0, true, 0), (2, 7, 1, false, 1), (11, 7, 2, true, 2), (12, 7, 3, false, 3), (21, 7, 4, true, 4)]
        );
    }

    #[test]
    fn a_flood_of_drops_pushes_no_other_event_out() {
        let mut log = EventLog::default();
        log.push(Timestamp(0), EventKind::Ready);
        for _ in 0..2 * REMEMBERED {
            let dropped = EventKind::Dropped { port: "p".into(), reason: DropReason::Malformed, detail: String::new() };
            log.push(Timestamp(1), dropped);
        }
        let events = log.events();
        assert_eq!((events.len(), &events[0].kind), (1 + TOLD_PER_SECOND as usize, &EventKind::Ready));
        for _ in 0..REMEMBERED {
            log.push(Timestamp(2), EventKind::Ready);
        }
        let events = log.events();
        assert_eq!((events.len(), events[0].sequence), (REMEMBERED, 1 + u64::from(TOLD_PER_SECOND)));
    }
}
