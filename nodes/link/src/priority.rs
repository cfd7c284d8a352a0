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

/// The urgency of a thread that must wake in time and may have much to do: real time as long as it works little and in short
/// rounds, ordinary otherwise. So echoes leave in time beside busy processes. A storm of LSAs or a flood of frames takes no
/// processor away from the host, and many nodes on few processors do not keep each other from the work that is not urgent.
///
/// Only a thread that somebody preferred by a negative nice value is urgent, as a lab does with its nodes once all of them
/// have started. What the thread forks while it is urgent has to call [`ordinary`].
#[derive(Debug)]
pub struct Urgency {
    level: Level,
    state: State,
    /// What it may work in real time, in parts per million of the time that passes.
    share_ppm: u64,
    /// Real time left to it, ns; at most a long round.
    credit_ns: u64,
    /// When the credit was last counted, `CLOCK_MONOTONIC`, ns.
    counted_at: u64,
    /// Since when the thread works without having waited.
    busy_since: u64,
    /// When it may ask for real time again.
    ask_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ordinary,
    Urgent,
    /// The kernel does not give it.
    Refused,
}

/// Variable with what each thread of a node may work in real time, in parts per million of one processor. Where it is not
/// set no thread is urgent.
pub const URGENT_SHARE_VARIABLE: &str = "DAMC_URGENT_PPM";
/// How long an urgent thread may work without waiting, ns: many frames, some signatures, no storm. Also the most credit.
const LONGEST_ROUND_NS: u64 = 3_000_000;
/// Credit with which an ordinary thread becomes urgent again, ns.
const ENOUGH_NS: u64 = LONGEST_ROUND_NS / 2;
/// A wait shorter than this is none: there was something to do already.
const WAITED_NS: u64 = 20_000;
/// How often a thread that nobody prefers looks whether somebody does now, ns.
const ASK_EVERY_NS: u64 = 100_000_000;

/// What each thread of a lab of `nodes` nodes may work in real time on `cpus` processors, in parts per million: a quarter of
/// all processors altogether, if each node has two such threads, and a twentieth of one at most.
///
/// Nothing where more than 8 nodes share a processor. Such a lab can fill its host by itself, and then fairness is worth more
/// than haste: 73 nodes on two processors never converged, because those in real time kept the others from their work.
#[must_use]
pub fn urgent_share_ppm(nodes: usize, cpus: usize) -> u32 {
    const ALL_PPM: usize = 250_000;
    const MOST_PPM: usize = 50_000;
    const NODES_PER_CPU: usize = 8;
    if nodes > NODES_PER_CPU * cpus {
        return 0;
    }
    u32::try_from((ALL_PPM * cpus / (2 * nodes.max(1))).min(MOST_PPM)).unwrap_or(0)
}

impl Urgency {
    /// For the calling thread, which may work in real time for this share of the time. It is ordinary until it waits for the
    /// first time. Its timers have no slack from now on.
    #[must_use]
    pub fn new(level: Level, share_ppm: u32) -> Self {
        drop_slack();
        let now = monotonic_now();
        let state = if share_ppm == 0 { State::Refused } else { State::Ordinary };
        let (credit_ns, share_ppm) = (LONGEST_ROUND_NS, u64::from(share_ppm));
        Self { level, state, share_ppm, credit_ns, counted_at: now, busy_since: now, ask_at: 0 }
    }

    /// As [`Urgency::new`], with the share that the environment names.
    #[must_use]
    pub fn of_environment(level: Level) -> Self {
        let share = std::env::var(URGENT_SHARE_VARIABLE).ok().and_then(|text| text.parse().ok());
        Self::new(level, share.unwrap_or(0))
    }

    /// Waits by `wait`, which is told whether it may block, and returns what it returned. `is_empty` says of such a result
    /// that there was nothing to do.
    ///
    /// # Errors
    /// As `wait`.
    pub fn wait<T, E>(
        &mut self,
        mut wait: impl FnMut(bool) -> Result<T, E>,
        is_empty: impl Fn(&T) -> bool,
    ) -> Result<T, E> {
        if self.state == State::Refused {
            // Nothing to keep account of, and reading the clock is dear on some kernels.
            return wait(true);
        }
        let before = self.worked();
        if self.state == State::Ordinary && before >= self.ask_at && self.credit_ns >= ENOUGH_NS {
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
            self.earn(after);
        }
        Ok(waited)
    }

    /// To be called between two pieces of work: gives urgency up where the round has become long, or the thread has used up
    /// what it may. Returns the time, ns; 0 for a thread that is never urgent.
    pub fn worked(&mut self) -> u64 {
        if self.state == State::Refused {
            return 0;
        }
        let now = monotonic_now();
        if self.state == State::Urgent {
            let worked = now.saturating_sub(self.counted_at.max(self.busy_since));
            self.credit_ns = self.credit_ns.saturating_sub(worked);
        }
        self.earn(now);
        if self.state == State::Urgent
            && (self.credit_ns == 0 || now.saturating_sub(self.busy_since) > LONGEST_ROUND_NS)
        {
            ordinary();
            self.state = State::Ordinary;
        }
        now
    }

    /// Counts what the time since the last count brings.
    fn earn(&mut self, now: u64) {
        let passed = now.saturating_sub(self.counted_at);
        self.counted_at = now;
        self.credit_ns = (self.credit_ns + passed.saturating_mul(self.share_ppm) / 1_000_000).min(LONGEST_ROUND_NS);
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
            let mut urgency = Urgency::new(Level::Timers, 50_000);
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
            let mut urgency = Urgency::new(Level::Forwarding, 50_000);
            let wait = |urgency: &mut Urgency, waiting: u32| urgency.wait(|_| Ok::<_, ()>(waiting), |n| *n == 0);
            wait(&mut urgency, 0).unwrap();
            if urgency.state == State::Refused {
                assert!(!Scheduling::of(0).unwrap().real_time);
                return;
            }
            assert_eq!(Scheduling::of(0).unwrap().level, 1);
            (urgency.busy_since, urgency.counted_at) = (monotonic_now(), monotonic_now());
            urgency.worked();
            assert!(Scheduling::of(0).unwrap().real_time, "a short round");
            urgency.busy_since -= LONGEST_ROUND_NS + 1;
            assert_eq!(wait(&mut urgency, 4), Ok(4));
            assert_eq!(Scheduling::of(0).map(|s| (s.real_time, s.nice)).unwrap(), (false, -5), "still work to do");
            urgency.credit_ns = LONGEST_ROUND_NS;
            wait(&mut urgency, 0).unwrap();
            assert!(Scheduling::of(0).unwrap().real_time, "all is done");
            urgency.credit_ns = 1;
            (urgency.busy_since, urgency.counted_at) = (0, monotonic_now() - 1_000);
            urgency.worked();
            assert!(!Scheduling::of(0).unwrap().real_time, "it has used up what it may");
            wait(&mut urgency, 0).unwrap();
            assert!(!Scheduling::of(0).unwrap().real_time, "and has not earned enough since");
        });
    }

    #[test]
    fn the_share_falls_with_the_nodes_and_leaves_most_of_the_processors_alone() {
        assert_eq!(urgent_share_ppm(1, 2), 50_000);
        assert_eq!(urgent_share_ppm(16, 2), 15_625);
        for (nodes, cpus) in [(1, 1), (16, 2), (73, 2), (300, 64)] {
            let all = u64::from(urgent_share_ppm(nodes, cpus)) * 2 * nodes as u64;
            assert!(all <= 250_000 * cpus as u64, "{nodes} nodes on {cpus} processors: {all} ppm");
        }
        assert_eq!([urgent_share_ppm(17, 2), urgent_share_ppm(73, 2), urgent_share_ppm(usize::MAX, 1)], [0; 3]);
    }
}
