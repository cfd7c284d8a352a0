//! A bounded queue between threads whose reader sleeps in `epoll`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::NodeError;

/// The queue. Its descriptor becomes readable when something was put in.
pub(crate) struct Mailbox<T> {
    queue: Mutex<VecDeque<T>>,
    bound: usize,
    wake: EventFd,
}

impl<T> Mailbox<T> {
    /// An empty queue for up to `bound` items.
    pub(crate) fn new(bound: usize) -> Result<Self, NodeError> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(NodeError::system("make an event descriptor"))?;
        Ok(Self { queue: Mutex::default(), bound, wake })
    }

    /// Puts items in as long as there is room and wakes the reader; gives the number of items that found none.
    pub(crate) fn put(&self, items: impl IntoIterator<Item = T>) -> u64 {
        let mut refused = 0;
        {
            let mut queue = self.lock();
            for item in items {
                if queue.len() < self.bound {
                    queue.push_back(item);
                } else {
                    refused += 1;
                }
            }
        }
        // Full only after 2^64 - 2 unread wake-ups, and then the reader is being woken.
        let _ = self.wake.write(1);
        refused
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> VecDeque<T> {
        // Quiet the descriptor first: what comes in after that wakes the reader again.
        let _ = self.wake.read();
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // The queue is whole between any two statements above, whatever panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let mailbox = Mailbox::new(2).unwrap();
        assert_eq!(mailbox.put([1, 2, 3]), 1);
        assert_eq!(mailbox.take(), [1, 2]);
        assert_eq!(mailbox.put([4]), 0);
        assert_eq!(mailbox.take(), [4]);
        assert!(mailbox.take().is_empty());
    }
}
