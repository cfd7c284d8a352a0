//! A bounded queue between threads whose reader sleeps in `epoll`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::NodeError;

/// The queue. Its descriptor is readable while something is in it.
///
/// It has one lane for each source, of equal length and served in turn: a source that floods fills its own lane, and waits
/// behind itself alone.
pub(crate) struct Mailbox<T> {
    lanes: Mutex<Lanes<T>>,
    wake: EventFd,
}

struct Lanes<T> {
    queues: Vec<VecDeque<T>>,
    /// Items that each lane has room for.
    bound: usize,
    /// The lane whose turn it is.
    next: usize,
}

/// The least that a lane has room for, however many there are.
const SHORTEST_LANE: usize = 64;

impl<T> Mailbox<T> {
    /// An empty queue with one lane, for up to `bound` items.
    pub(crate) fn new(bound: usize) -> Result<Self, NodeError> {
        Self::with_lanes(1, bound)
    }

    /// An empty queue whose `lanes` share the room for `bound` items.
    pub(crate) fn with_lanes(lanes: usize, bound: usize) -> Result<Self, NodeError> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(NodeError::system("make an event descriptor"))?;
        let lanes = lanes.max(1);
        let bound = if lanes == 1 { bound } else { (bound / lanes).max(SHORTEST_LANE) };
        let queues = std::iter::repeat_with(VecDeque::new).take(lanes).collect();
        Ok(Self { lanes: Mutex::new(Lanes { queues, bound, next: 0 }), wake })
    }

    /// Puts items into the first lane and wakes the reader. Returns the number of items that found no room.
    pub(crate) fn put(&self, items: impl IntoIterator<Item = T>) -> u64 {
        self.put_into(0, items)
    }

    /// Puts items into a lane and wakes the reader. Returns the number of items that found no room.
    pub(crate) fn put_into(&self, lane: usize, items: impl IntoIterator<Item = T>) -> u64 {
        let mut refused = 0;
        {
            let mut lanes = self.lock();
            let bound = lanes.bound;
            let lane = lane.min(lanes.queues.len() - 1);
            let queue = &mut lanes.queues[lane];
            for item in items {
                if queue.len() < bound {
                    queue.push_back(item);
                } else {
                    refused += 1;
                }
            }
        }
        self.ring();
        refused
    }

    /// Takes up to `most` items out, one of each lane in turn. The descriptor stays readable where some are left.
    pub(crate) fn take(&self, most: usize) -> Vec<T> {
        // Quiet the descriptor first: what comes in after that wakes the reader again.
        let _ = self.wake.read();
        let mut lanes = self.lock();
        let mut taken = Vec::new();
        let mut empty = 0;
        while taken.len() < most && empty < lanes.queues.len() {
            let at = lanes.next;
            lanes.next = (at + 1) % lanes.queues.len();
            match lanes.queues[at].pop_front() {
                Some(item) => {
                    taken.push(item);
                    empty = 0;
                }
                None => empty += 1,
            }
        }
        if lanes.queues.iter().any(|queue| !queue.is_empty()) {
            self.ring();
        }
        taken
    }

    fn ring(&self) {
        // Full only after 2^64 - 2 unread wake-ups, and then the reader is being woken.
        let _ = self.wake.write(1);
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        // The queues are whole between any two statements above, whatever panicked.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable<T>(mailbox: &Mailbox<T>) -> bool {
        poll(&mut [PollFd::new(mailbox.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let mailbox = Mailbox::new(2).unwrap();
        assert_eq!(mailbox.put([1, 2, 3]), 1);
        assert_eq!(mailbox.take(9), [1, 2]);
        assert_eq!(mailbox.put([4]), 0);
        assert_eq!(mailbox.take(9), [4]);
        assert!(mailbox.take(9).is_empty());
    }

    #[test]
    fn the_descriptor_stays_readable_until_all_is_taken() {
        let mailbox = Mailbox::new(8).unwrap();
        assert!(!is_readable(&mailbox));
        mailbox.put(0..5);
        assert_eq!(mailbox.take(3), [0, 1, 2]);
        assert!(is_readable(&mailbox));
        assert_eq!(mailbox.take(3), [3, 4]);
        assert!(!is_readable(&mailbox));
    }

    #[test]
    fn a_lane_that_floods_takes_neither_room_nor_turns_from_others() {
        let mailbox = Mailbox::with_lanes(3, 3 * SHORTEST_LANE).unwrap();
        let flood = (0..1000).map(|_| "flood");
        assert_eq!(mailbox.put_into(1, flood), 1000 - SHORTEST_LANE as u64);
        assert_eq!(mailbox.put_into(2, ["a", "b"]), 0);
        assert_eq!(mailbox.take(5), ["flood", "a", "flood", "b", "flood"]);
        assert_eq!(mailbox.take(SHORTEST_LANE).len(), SHORTEST_LANE - 3);
    }
}
