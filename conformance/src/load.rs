//! Was the host able to emulate faithfully while a case ran?
//!
//! A watcher thread asks to be woken every few milliseconds and notes how late it was. A node process suffers the same
//! lateness, so a case that failed while wake-ups were late by more than the protocol's own tolerance says nothing
//! about the protocol.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the watcher asks to be woken.
const PERIOD: Duration = Duration::from_millis(2);

/// Lateness seen in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lateness {
    /// Wake-ups observed.
    pub wakeups: u64,
    /// Largest lateness.
    pub worst: Duration,
    /// Sum, for the mean.
    total: Duration,
    /// Wake-ups that were late by more than [`LATE`].
    pub late: u64,
}

/// From here on a wake-up counts as late: a tenth of the default detection time of 150 ms.
pub const LATE: Duration = Duration::from_millis(15);

impl Lateness {
    /// Mean lateness.
    #[must_use]
    pub fn mean(&self) -> Duration {
        self.total.checked_div(u32::try_from(self.wakeups).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// Whether the host was too busy to judge by: some wake-up was late by a third of a detection time, or one in fifty
    /// was late at all.
    #[must_use]
    pub fn overloaded(&self) -> bool {
        self.worst >= Duration::from_millis(50) || self.late * 50 > self.wakeups
    }
}

impl std::fmt::Display for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "wake-ups late by {:.2} ms on average, {:.1} ms at worst, {} of {} by more than {} ms",
            self.mean().as_secs_f64() * 1e3,
            self.worst.as_secs_f64() * 1e3,
            self.late,
            self.wakeups,
            LATE.as_millis()
        )
    }
}

/// Watches for as long as it lives.
pub struct LoadWatch {
    current: Arc<Mutex<Lateness>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LoadWatch {
    /// Starts the watcher.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start() -> std::io::Result<Self> {
        let current = Arc::new(Mutex::new(Lateness::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (Arc::clone(&current), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("load-watch".into()).spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                let due = Instant::now() + PERIOD;
                std::thread::park_timeout(PERIOD);
                let late = Instant::now().saturating_duration_since(due);
                let mut l = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                l.wakeups += 1;
                l.total += late;
                l.worst = l.worst.max(late);
                l.late += u64::from(late > LATE);
            }
        })?;
        Ok(Self { current, stop, thread: Some(thread) })
    }

    /// Lateness since the last call.
    pub fn take(&self) -> Lateness {
        std::mem::take(&mut *self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Drop for LoadWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            t.thread().unpark();
            let _ = t.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_wakeups_make_an_overload() {
        let calm = Lateness { wakeups: 1000, worst: Duration::from_millis(3), ..Lateness::default() };
        assert!(!calm.overloaded());
        assert!(Lateness { worst: Duration::from_millis(60), ..calm }.overloaded());
        assert!(Lateness { late: 21, ..calm }.overloaded());
        assert!(!Lateness { late: 19, ..calm }.overloaded());
    }
}
