//! Futures in virtual time: one thread, and time passes only while every future waits.
//!
//! A future that sleeps leaves its deadline here, one that has asked something leaves the handle of its question. When
//! nothing can go on the network runs to its next event, until a deadline or an answer wakes somebody. So the futures of a
//! case interleave as they would live, and every run of one seed is the same.

use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;

use damc_wire::Timestamp;

use crate::sim::{Finished, Sim};

/// A network, and who waits for what in it.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) sim: RefCell<Sim>,
    sleepers: RefCell<BTreeMap<(Timestamp, u64), Waker>>,
    /// Handles of questions that somebody waits for.
    asked: RefCell<BTreeSet<u64>>,
    /// Whom their answers wake.
    askers: RefCell<BTreeMap<u64, Waker>>,
    answers: RefCell<BTreeMap<u64, Finished>>,
    serial: Cell<u64>,
}

impl Core {
    pub(crate) fn new(sim: Sim) -> Self {
        Self {
            sim: RefCell::new(sim),
            sleepers: RefCell::default(),
            asked: RefCell::default(),
            askers: RefCell::default(),
            answers: RefCell::default(),
            serial: Cell::new(0),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.sim.borrow().now()
    }

    /// Comes after this span of virtual time.
    pub(crate) fn sleep(self: &Rc<Self>, span: Duration) -> Sleep {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        Sleep { core: Rc::clone(self), at: self.now() + span, serial }
    }

    /// Comes with the answer to the question of this handle.
    pub(crate) fn answer(self: &Rc<Self>, handle: u64) -> Asking {
        self.asked.borrow_mut().insert(handle);
        Asking { core: Rc::clone(self), handle }
    }

    /// Lets virtual time pass until somebody is woken.
    ///
    /// # Panics
    /// Nothing will ever happen: neither a deadline nor an event is left.
    fn advance(&self) {
        let deadline = self.sleepers.borrow().keys().next().map(|(at, _)| *at);
        let mut sim = self.sim.borrow_mut();
        loop {
            match (sim.next_at(), deadline) {
                (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => sim.step(),
                (_, Some(deadline)) => {
                    sim.run_to(deadline);
                    break;
                }
                _ => panic!("every future waits and nothing is left that could happen"),
            }
            if self.deliver(&mut sim) {
                break;
            }
        }
        let now = sim.now();
        drop(sim);
        loop {
            let mut sleepers = self.sleepers.borrow_mut();
            let Some(first) = sleepers.first_entry().filter(|first| first.key().0 <= now) else { break };
            let waker = first.remove();
            drop(sleepers);
            waker.wake();
        }
    }

    /// Hands over what was asked; whether somebody is woken by it.
    fn deliver(&self, sim: &mut Sim) -> bool {
        let mut woken = false;
        for finished in sim.finished.drain(..) {
            let (Finished::Call(handle, _) | Finished::Path(handle, _, _)) = &finished;
            let handle = *handle;
            if self.asked.borrow().contains(&handle) {
                self.answers.borrow_mut().insert(handle, finished);
                if let Some(waker) = self.askers.borrow_mut().remove(&handle) {
                    waker.wake();
                    woken = true;
                }
            }
        }
        woken
    }
}

/// A deadline.
pub(crate) struct Sleep {
    core: Rc<Core>,
    at: Timestamp,
    serial: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.core.now() >= self.at {
            return Poll::Ready(());
        }
        self.core.sleepers.borrow_mut().insert((self.at, self.serial), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.core.sleepers.borrow_mut().remove(&(self.at, self.serial));
    }
}

/// A question that waits for its answer.
pub(crate) struct Asking {
    core: Rc<Core>,
    handle: u64,
}

impl Future for Asking {
    type Output = Finished;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        // What ended with the question itself has not been handed over yet.
        self.core.deliver(&mut self.core.sim.borrow_mut());
        match self.core.answers.borrow_mut().remove(&self.handle) {
            Some(finished) => Poll::Ready(finished),
            None => {
                self.core.askers.borrow_mut().insert(self.handle, context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.core.asked.borrow_mut().remove(&self.handle);
        self.core.askers.borrow_mut().remove(&self.handle);
        self.core.answers.borrow_mut().remove(&self.handle);
    }
}

/// Says that the outermost future can go on without time passing.
#[derive(Default)]
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Core {
    /// Runs a future to its end.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let ready = Arc::new(Ready::default());
        let waker = Waker::from(Arc::clone(&ready));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            if !ready.0.swap(false, Ordering::Relaxed) {
                self.advance();
                ready.0.store(false, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> Rc<Core> {
        Rc::new(Core::new(Sim::new(&[], 1).unwrap()))
    }

    #[test]
    fn futures_wake_in_the_order_of_their_deadlines_and_no_real_time_passes() {
        let core = core();
        let order = RefCell::new(Vec::new());
        let one = async |hours: u64| {
            core.sleep(Duration::from_secs(3600 * hours)).await;
            order.borrow_mut().push((hours, core.now().since(Sim::BEGIN).as_secs() / 3600));
        };
        let (a, b, c) = (one(3), one(1), one(2));
        core.run(async { futures::future::join3(a, b, c).await });
        assert_eq!(*order.borrow(), [(1, 1), (2, 2), (3, 3)]);
    }

    #[test]
    fn a_deadline_that_nobody_waits_for_any_more_is_forgotten() {
        let core = core();
        core.run(async {
            let (long, short) = (core.sleep(Duration::from_secs(9)), core.sleep(Duration::from_secs(1)));
            futures::future::select(long, short).await;
        });
        assert!(core.sleepers.borrow().is_empty());
        assert_eq!(core.now().since(Sim::BEGIN), Duration::from_secs(1));
    }

    #[test]
    #[should_panic(expected = "nothing is left")]
    fn waiting_for_nothing_is_told() {
        core().run(core::future::pending::<()>());
    }
}
