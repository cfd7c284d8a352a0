//! Whether the host could emulate faithfully while a case ran.
//!
//! A watcher thread asks to be woken every few milliseconds and notes how late it was. A node process suffers the same
//! lateness, so a case that failed while wake-ups were late by more than the protocol's own tolerance says nothing
//! about the protocol. The watcher itself hardly ever runs, and schedulers favour such threads. So the kernel's
//! accounting counts too: the share of time in which some runnable thread waited for a processor (pressure stall
//! information), and the share that a hypervisor gave to others (steal).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use damc_testbed::Stall;

/// How often the watcher asks to be woken on a host that is not slow.
pub const PERIOD: Duration = Duration::from_millis(2);

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
    /// Time until a silent failure is detected with the timers of the run; lateness is compared with it.
    pub detection: Duration,
    /// The kernel's accounting; `None` where it has none.
    pub account: Option<Account>,
}

/// Lateness from which a wake-up counts as late: a tenth of the default detection time of 150 ms. It does not stretch
/// on a slow host, because the thresholds of a topology do not either.
pub const LATE: Duration = Duration::from_millis(15);

/// Mean lateness from which the host counts as overloaded. A round trip over four nodes has some eight wake-ups, which
/// then add a fifth of the tightest delay limit of Figure 2. A quiet host shows a tenth of it.
pub const LATE_ON_AVERAGE: Duration = Duration::from_micros(500);

/// Shares of an interval, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// Some thread was runnable and not running.
    pub waiting: f64,
    /// Processor time that the hypervisor gave to somebody else.
    pub stolen: f64,
}

/// Share from which threads of this host, and so those of the lab, wait for a processor too often. A lab on two quiet
/// processors shows 0.2 to 0.5, one next to two busy loops 0.9 and more.
const WAITING_TOO_OFTEN: f64 = 0.75;
/// Share from which too much processor time is stolen.
const STOLEN_TOO_OFTEN: f64 = 0.1;

impl Lateness {
    /// Mean lateness.
    #[must_use]
    pub fn mean(&self) -> Duration {
        self.total.checked_div(u32::try_from(self.wakeups).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// The lateness over this interval and another one.
    fn with(self, other: &Self) -> Self {
        Self {
            wakeups: self.wakeups + other.wakeups,
            worst: self.worst.max(other.worst),
            total: self.total + other.total,
            late: self.late + other.late,
            ..self
        }
    }

    /// Whether the host was too busy for a judgement: a wake-up was late by a third of the detection time, more than
    /// one in fifty was late, wake-ups were late on average, or threads lacked a processor most of the time.
    #[must_use]
    pub fn overloaded(&self) -> bool {
        let wanting = self.account.is_some_and(|a| a.waiting > WAITING_TOO_OFTEN || a.stolen > STOLEN_TOO_OFTEN);
        let slow = self.mean() >= LATE_ON_AVERAGE;
        self.worst >= self.detection / 3 || self.late * 50 > self.wakeups || slow || wanting
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
        )?;
        match self.account {
            Some(Account { waiting, stolen }) => {
                write!(f, "; threads waited for a processor {:.0} % of the time", waiting * 100.0)?;
                if stolen > 0.0 { write!(f, ", {:.0} % stolen", stolen * 100.0) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }
}

/// Stalls that are remembered, the newest.
const STALLS: usize = 1000;

/// Watches the load of the host until it is dropped.
#[derive(Debug)]
pub struct LoadWatch {
    current: Arc<Mutex<Lateness>>,
    stalls: Arc<Mutex<VecDeque<Stall>>>,
    history: Mutex<VecDeque<Moment>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Shortest span that is judged. The kernel updates its pressure totals only every two seconds, and load just before a
/// case affects what the case finds.
const ACCOUNTED: Duration = Duration::from_secs(4);

/// The end of an interval.
#[derive(Debug)]
struct Moment {
    totals: Totals,
    /// What the watcher saw in the interval.
    seen: Lateness,
}

/// The kernel's account at a moment.
#[derive(Clone, Copy, Debug)]
struct Totals {
    at: Instant,
    waiting: Option<Duration>,
    /// Ticks stolen and ticks in all.
    ticks: Option<(u64, u64)>,
}

impl Totals {
    fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        Self {
            at: Instant::now(),
            waiting: read("/proc/pressure/cpu").as_deref().and_then(waiting_total),
            ticks: read("/proc/stat").as_deref().and_then(ticks),
        }
    }

    fn since(&self, earlier: &Self) -> Option<Account> {
        let wall = self.at.duration_since(earlier.at);
        let waiting = match (self.waiting, earlier.waiting) {
            (Some(now), Some(then)) if !wall.is_zero() => now.saturating_sub(then).div_duration_f64(wall),
            _ => 0.0,
        };
        let stolen = match (self.ticks, earlier.ticks) {
            // Ticks are coarse: a share of a few of them means nothing.
            (Some((stolen, all)), Some((stolen_then, all_then))) if all > all_then + 50 => {
                stolen.saturating_sub(stolen_then) as f64 / (all - all_then) as f64
            }
            _ => 0.0,
        };
        (self.waiting.is_some() || self.ticks.is_some()).then_some(Account { waiting, stolen })
    }
}

/// The total of the `some` line of a pressure file.
fn waiting_total(text: &str) -> Option<Duration> {
    let line = text.lines().find(|l| l.starts_with("some"))?;
    let total = line.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
    Some(Duration::from_micros(total.parse().ok()?))
}

/// Stolen and all ticks of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; what
/// follows is counted in user time already.
fn ticks(text: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> =
        text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    Some((*fields.get(7)?, fields.iter().take(8).sum()))
}

impl LoadWatch {
    /// Starts the watcher for a run that notices silent failures after `detection`; it looks every `period`.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(detection: Duration, period: Duration) -> std::io::Result<Self> {
        let current = Arc::new(Mutex::new(Lateness { detection, ..Lateness::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let stalls = Arc::new(Mutex::default());
        let (shared, stopping, stalled) = (Arc::clone(&current), Arc::clone(&stop), Arc::clone(&stalls));
        let thread = std::thread::Builder::new().name("load-watch".into()).spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                let due = Instant::now() + period;
                std::thread::park_timeout(period);
                let late = Instant::now().saturating_duration_since(due);
                let mut l = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                l.wakeups += 1;
                l.total += late;
                l.worst = l.worst.max(late);
                l.late += u64::from(late > LATE);
                drop(l);
                if late > LATE {
                    remember(&stalled, late);
                }
            }
        })?;
        let began = Moment { totals: Totals::now(), seen: Lateness::default() };
        let history = Mutex::new(VecDeque::from([began]));
        Ok(Self { current, stalls, history, stop, thread: Some(thread) })
    }

    /// The late wake-ups of late, oldest first.
    #[must_use]
    pub fn stalls(&self) -> Vec<Stall> {
        self.stalls.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().copied().collect()
    }

    /// The lateness since the last call, or over the last four seconds where that is longer.
    pub fn take(&self) -> Lateness {
        let mut current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = Lateness { detection: current.detection, ..Lateness::default() };
        let seen = std::mem::replace(&mut *current, fresh);
        drop(current);
        let totals = Totals::now();
        let mut history = self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The span begins at the last call, or earlier where it would be too short. There is always an entry.
        while history.len() > 1 && history[1].totals.at + ACCOUNTED <= totals.at {
            history.pop_front();
        }
        let account = history.front().and_then(|began| totals.since(&began.totals));
        // The first interval ended where the span begins.
        let lateness = history.iter().skip(1).fold(seen, |sum, moment| sum.with(&moment.seen));
        history.push_back(Moment { totals, seen });
        Lateness { account, ..lateness }
    }
}

/// Remembers a wake-up that came just now, late by so much.
fn remember(stalls: &Mutex<VecDeque<Stall>>, late: Duration) {
    let until_ns = damc_link::monotonic_now();
    let due_ns = until_ns.saturating_sub(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
    let mut stalls = stalls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if stalls.len() >= STALLS {
        stalls.pop_front();
    }
    stalls.push_back(Stall { due_ns, until_ns });
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
        let detection = Duration::from_millis(150);
        let calm = Lateness { wakeups: 1000, worst: Duration::from_millis(3), detection, ..Lateness::default() };
        assert!(!calm.overloaded());
        assert!(Lateness { worst: Duration::from_millis(60), ..calm }.overloaded());
        assert!(Lateness { late: 21, ..calm }.overloaded());
        assert!(!Lateness { late: 19, ..calm }.overloaded());
        assert!(Lateness { total: Duration::from_millis(500), ..calm }.overloaded(), "half a millisecond on average");
        let account = |waiting, stolen| Lateness { account: Some(Account { waiting, stolen }), ..calm };
        assert!(!account(0.6, 0.02).overloaded());
        assert!(account(0.9, 0.0).overloaded());
        assert!(account(0.1, 0.2).overloaded());
    }

    #[test]
    fn what_came_just_before_counts() {
        let watch = LoadWatch::start(Duration::from_millis(150), PERIOD).unwrap();
        watch.current.lock().unwrap().worst = Duration::from_secs(1);
        assert!(watch.take().overloaded());
        assert!(watch.take().overloaded(), "a moment later");
        let long_ago = Instant::now().checked_sub(2 * ACCOUNTED).unwrap();
        watch.history.lock().unwrap().iter_mut().for_each(|moment| moment.totals.at = long_ago);
        assert!(watch.take().worst < Duration::from_secs(1), "long after");
    }

    #[test]
    fn the_kernels_account_is_read() {
        let text = "some avg10=94.45 avg60=97.67 avg300=85.96 total=6966249420\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(waiting_total(text), Some(Duration::from_micros(6_966_249_420)));
        assert_eq!(waiting_total("full total=1"), None);
        assert_eq!(ticks("cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1"), Some((80, 360)));
        assert_eq!(ticks("cpu  10 20"), None);
        let totals = |s: u64, waiting, ticks| Totals { at: Instant::now() + Duration::from_secs(s), waiting, ticks };
        let (then, now) =
            (totals(0, Some(Duration::ZERO), Some((0, 0))), totals(2, Some(Duration::from_secs(1)), Some((30, 300))));
        let account = now.since(&then).unwrap();
        assert!((account.waiting - 0.5).abs() < 0.01 && (account.stolen - 0.1).abs() < 0.01, "{account:?}");
        assert_eq!(totals(2, None, None).since(&totals(0, None, None)), None);
    }
}
