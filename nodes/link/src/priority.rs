//! Scheduling of threads that must wake in time on a busy host.
//!
//! A node that answers an echo late looks like a dead one, and a relay that wakes late looks like a slow link. Nice
//! values do not help: a thread that wakes still waits until the next tick of the running one, 4 ms or more. Real-time
//! scheduling helps. It is dangerous for the same reason, so a node's thread has it only while it works in short
//! rounds: see [`Urgency`].
#![allow(unsafe_code)]

use std::io;

use serde::{Deserialize, Serialize};

use crate::monotonic_now;

/// Urgency of a thread, most urgent last. All levels are low: the host's own real-time threads come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Forwards user frames.
    Forwarding = 1,
    /// Keeps adjacencies alive and measures.
    Timers = 2,
    /// Is the link itself: if it is late, the whole lab is late.
    Wire = 3,
}

/// Scheduling that a thread was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Real time (`SCHED_RR`): runs before every ordinary thread. Needs `CAP_SYS_NICE` on the host or `RLIMIT_RTPRIO`.
    RealTime,
    /// Ordinary with a short time slice: the scheduler runs it sooner after it wakes. Needs no permission. Kernels
    /// before Linux 6.12 ignore the slice.
    ShortSlice,
    /// Nothing special.
    Ordinary,
}

impl Priority {
    /// Its name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RealTime => "real-time",
            Self::ShortSlice => "short-slice",
            Self::Ordinary => "ordinary",
        }
    }
}

/// Requested time slice, ns: the shortest that the scheduler grants.
const SLICE_NS: u64 = 100_000;

/// The kernel's `struct sched_attr`, first version.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Raises the calling thread to the best priority that the kernel permits, and removes the slack of 50 µs from its
/// timers. Threads and processes that it starts later are ordinary again.
pub fn raise(level: Level) -> Priority {
    drop_slack();
    if real_time(level, libc::SCHED_RESET_ON_FORK) {
        return Priority::RealTime;
    }
    let attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_OTHER as u32,
        nice: nice(),
        runtime: SLICE_NS,
        ..SchedAttr::default()
    };
    // SAFETY: the pointer is to a live structure laid out as the kernel's, with its size in it; it is only read (the
    // kernel writes `size` only where it refuses it).
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Priority::ShortSlice,
        _ => Priority::Ordinary,
    }
}

/// Makes the calling thread ordinary, with its own nice value. This needs no permission.
pub fn ordinary() {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live `sched_param`, which the kernel only reads. Giving up priority cannot fail.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameter) };
}

fn drop_slack() {
    // It cannot fail for the calling thread.
    let _ = nix::sys::prctl::set_timerslack(1);
}

/// Whether the calling thread is now in real time.
fn real_time(level: Level, flags: i32) -> bool {
    let parameter = libc::sched_param { sched_priority: level as i32 };
    // SAFETY: the pointer is to a live `sched_param`, which the kernel only reads.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | flags, &raw const parameter) == 0 }
}

/// The calling thread's nice value.
fn nice() -> i32 {
    nice_of(0)
}

/// A thread's nice value, even in real time, where `sched_getattr` does not report it.
fn nice_of(thread: i32) -> i32 {
    // SAFETY: takes numbers and returns one.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, thread.cast_unsigned()) }
}

/// How the kernel schedules a thread, as it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// Runs in real time.
    pub real_time: bool,
    /// Level of real time, 1 to 99; 0 for an ordinary thread.
    pub level: u32,
    /// Nice value, −20 to 19; it applies while the thread is ordinary.
    pub nice: i32,
    /// Requested time slice, ns; 0 for the scheduler's default.
    pub slice_ns: u64,
}

impl Scheduling {
    /// Scheduling of a thread; 0 means the calling thread.
    ///
    /// # Errors
    /// There is no such thread.
    pub fn of(thread: i32) -> io::Result<Self> {
        let mut attributes = SchedAttr::default();
        let size = size_of::<SchedAttr>() as u32;
        // SAFETY: the pointer is to a live structure of `size` bytes laid out as the kernel's, which writes no more.
        let read = unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut attributes, size, 0) };
        if read != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            real_time: matches!(attributes.policy.cast_signed(), libc::SCHED_RR | libc::SCHED_FIFO),
            level: attributes.priority,
            nice: nice_of(thread),
            slice_ns: attributes.runtime,
        })
    }

    /// The priority that this amounts to.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        match self {
            Self { real_time: true, .. } => Priority::RealTime,
            Self { slice_ns: SLICE_NS, .. } => Priority::ShortSlice,
            _ => Priority::Ordinary,
        }
    }
}

/// The urgency of a thread that must wake in time but may have much to do. It is in real time while it works in short
/// rounds. After a long round it is ordinary until it has nothing left to do. So echoes leave in time although other
/// processes are busy, and neither a storm of LSAs nor a flood of frames takes a processor away from the host.
///
/// Only a thread with a negative nice value becomes urgent; a lab gives its nodes one once all of them have started. A
/// process that the thread forks while urgent must call [`ordinary`].
#[derive(Debug)]
pub struct Urgency {
    level: Level,
    state: State,
    /// Time at which the thread began to work without waiting, `CLOCK_MONOTONIC`, ns.
    busy_since: u64,
    /// Time at which it may ask for real time again, ns.
    ask_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ordinary,
    Urgent,
    /// The kernel refused real time.
    Refused,
}

/// Longest time that an urgent thread may work without waiting, ns: enough for many frames or some signatures, not for
/// a storm.
const LONGEST_ROUND_NS: u64 = 3_000_000;
/// A wait shorter than this does not count, ns: there was work already.
const WAITED_NS: u64 = 20_000;
/// Period at which an ordinary thread checks whether it has been given a negative nice value, ns.
const ASK_EVERY_NS: u64 = 100_000_000;

impl Urgency {
    /// Urgency of the calling thread, which stays ordinary until it first waits. Removes the slack from its timers.
    #[must_use]
    pub fn new(level: Level) -> Self {
        drop_slack();
        Self { level, state: State::Ordinary, busy_since: monotonic_now(), ask_at: 0 }
    }

    /// Calls `wait`, telling it whether it may block, and returns its result. `is_empty` says whether a result means
    /// that there is nothing to do.
    ///
    /// # Errors
    /// Those of `wait`.
    pub fn wait<T, E>(
        &mut self,
        mut wait: impl FnMut(bool) -> Result<T, E>,
        is_empty: impl Fn(&T) -> bool,
    ) -> Result<T, E> {
        let before = self.worked();
        if self.state == State::Ordinary && before >= self.ask_at {
            let waiting = wait(false)?;
            if !is_empty(&waiting) {
                return Ok(waiting);
            }
            self.rise(before);
        }
        let waited = wait(true)?;
        let after = monotonic_now();
        if after.saturating_sub(before) > WAITED_NS {
            self.busy_since = after;
        }
        Ok(waited)
    }

    /// Gives urgency up if the round has become long; call it between two pieces of work. Returns the time, ns.
    pub fn worked(&mut self) -> u64 {
        let now = monotonic_now();
        if self.state == State::Urgent && now.saturating_sub(self.busy_since) > LONGEST_ROUND_NS {
            ordinary();
            self.state = State::Ordinary;
        }
        now
    }

    fn rise(&mut self, now: u64) {
        if nice() >= 0 {
            self.ask_at = now + ASK_EVERY_NS;
        } else if real_time(self.level, 0) {
            self.state = State::Urgent;
        } else {
            self.state = State::Refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a test on its own thread, because priorities belong to threads.
    fn apart<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(test).join().unwrap()
    }

    fn prefer() -> bool {
        // SAFETY: takes numbers and returns one.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -5) == 0 }
    }

    #[test]
    fn what_raise_says_is_what_the_kernel_does() {
        let (got, kernel) = apart(|| (raise(Level::Wire), Scheduling::of(0).unwrap()));
        match got {
            Priority::RealTime => assert_eq!((kernel.real_time, kernel.level), (true, 3)),
            Priority::ShortSlice => assert!(!kernel.real_time && kernel.slice_ns == SLICE_NS, "{kernel:?}"),
            Priority::Ordinary => assert!(!kernel.real_time),
        }
    }

    #[test]
    fn nobody_is_urgent_who_is_not_preferred() {
        apart(|| {
            let mut urgency = Urgency::new(Level::Timers);
            for _ in 0..3 {
                urgency.wait(|_| Ok::<_, ()>(0), |n| *n == 0).unwrap();
            }
            assert_eq!(urgency.state, State::Ordinary);
            assert!(!Scheduling::of(0).unwrap().real_time);
        });
    }

    #[test]
    fn an_urgent_thread_is_ordinary_after_a_long_round_and_urgent_again_after_a_wait() {
        apart(|| {
            if !prefer() {
                println!("not run: needs the permission to lower the nice value");
                assert!(std::env::var_os("CI").is_none(), "a build server must be able to test this");
                return;
            }
            let mut urgency = Urgency::new(Level::Forwarding);
            let wait = |urgency: &mut Urgency, waiting: u32| urgency.wait(|_| Ok::<_, ()>(waiting), |n| *n == 0);
            wait(&mut urgency, 0).unwrap();
            if urgency.state == State::Refused {
                assert!(!Scheduling::of(0).unwrap().real_time);
                return;
            }
            assert_eq!(Scheduling::of(0).unwrap().level, 1);
            urgency.busy_since = monotonic_now();
            urgency.worked();
            assert!(Scheduling::of(0).unwrap().real_time, "a short round");
            urgency.busy_since -= LONGEST_ROUND_NS + 1;
            assert_eq!(wait(&mut urgency, 4), Ok(4));
            assert_eq!(Scheduling::of(0).map(|s| (s.real_time, s.nice)).unwrap(), (false, -5), "still work to do");
            wait(&mut urgency, 0).unwrap();
            assert!(Scheduling::of(0).unwrap().real_time, "all is done");
        });
    }
}
