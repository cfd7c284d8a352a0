//! The newest events of the node, for any number of `/events` streams.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use damc_mgmt::event::{Event, EventKind, Told};
use tokio::sync::Notify;

/// Events that are remembered.
const REMEMBERED: usize = 4096;

/// The log. Lines are kept as the JSON they are sent as.
#[derive(Default)]
pub(crate) struct EventLog {
    lines: Mutex<Lines>,
    news: Notify,
}

#[derive(Default)]
struct Lines {
    next: u64,
    kept: VecDeque<(u64, String)>,
    told: Told,
}

impl EventLog {
    /// Adds an event and logs it, unless it is one of too many of its kind.
    pub(crate) fn push(&self, at_ns: u64, kind: EventKind) {
        let mut lines = self.lock();
        if !lines.told.takes(at_ns, &kind) {
            return;
        }
        let event = Event { at_ns, sequence: lines.next, kind };
        // Plain data with string keys always serialises.
        let Ok(mut line) = serde_json::to_string(&event) else { return };
        tracing::info!(target: "event", "{line}");
        line.push('\n');
        if lines.kept.len() == REMEMBERED {
            lines.kept.pop_front();
        }
        lines.kept.push_back((event.sequence, line));
        lines.next += 1;
        drop(lines);
        self.news.notify_waiters();
    }

    /// All remembered lines with a sequence number of at least `since`, as one text, and the number to ask for next.
    pub(crate) fn since(&self, since: u64) -> (String, u64) {
        let lines = self.lock();
        let text =
            lines.kept.iter().filter(|(sequence, _)| *sequence >= since).map(|(_, line)| line.as_str()).collect();
        (text, lines.next.max(since))
    }

    /// As [`EventLog::since`], but waits until there is something.
    pub(crate) async fn wait_since(&self, since: u64) -> (String, u64) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // Register before looking, or an event in between would be missed.
            news.as_mut().enable();
            let (text, next) = self.since(since);
            if !text.is_empty() {
                return (text, next);
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use damc_mgmt::event::TOLD_PER_SECOND;
    use damc_wire::DropReason;

    use super::*;

    #[test]
    fn old_events_leave_and_sequence_numbers_stay() {
        let log = EventLog::default();
        for _ in 0..REMEMBERED + 10 {
            log.push(7, EventKind::Ready);
        }
        let (text, next) = log.since(0);
        assert_eq!(text.lines().count(), REMEMBERED);
        assert!(text.starts_with(r#"{"at_ns":7,"sequence":10,"event":"ready"}"#), "{}", &text[..60]);
        assert_eq!(next, (REMEMBERED + 10) as u64);
        assert_eq!(log.since(next - 1).0.lines().count(), 1);
        assert_eq!(log.since(next), (String::new(), next));
    }

    #[test]
    fn a_flood_of_drops_leaves_room_for_other_events() {
        let log = EventLog::default();
        let dropped = || EventKind::Dropped { port: "p".into(), reason: DropReason::Malformed, detail: String::new() };
        for number in 0..10_000 {
            log.push(number, dropped());
        }
        log.push(10_000, EventKind::Ready);
        assert_eq!(log.since(0).0.lines().count(), TOLD_PER_SECOND as usize + 1);
    }
}
