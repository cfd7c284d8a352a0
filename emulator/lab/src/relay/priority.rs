//! Being woken in time on a busy host.
#![allow(unsafe_code)]

/// What the kernel let us have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Real time: runs before everything ordinary. Needs `CAP_SYS_NICE` on the host.
    RealTime,
    /// An ordinary thread with a short time slice, which the scheduler serves sooner after it wakes. Needs nothing,
    /// since Linux 6.12; older kernels ignore the slice.
    ShortSlice,
    /// Nothing special.
    Ordinary,
}

/// Just above the bottom: before everything ordinary, behind whatever else the host holds to be real time.
const REAL_TIME_PRIORITY: i32 = 2;
/// Slice asked for, in nanoseconds: the least the scheduler grants.
const SLICE_NS: u64 = 100_000;

/// The kernel's `struct sched_attr`, first version.
#[repr(C)]
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

/// Asks for the best priority to be had for the calling thread, and its slack of 50 µs on every timer to be dropped.
pub(super) fn raise() -> Priority {
    // It cannot fail for a thread that asks for itself.
    let _ = nix::sys::prctl::set_timerslack(1);
    let parameter = libc::sched_param { sched_priority: REAL_TIME_PRIORITY };
    // SAFETY: the pointer is to a live `sched_param`, which the kernel only reads.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameter) } == 0 {
        return Priority::RealTime;
    }
    let attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: SLICE_NS,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the pointer is to a live structure laid out as the kernel's, with its size in it; it is only read (the
    // kernel writes `size` only where it refuses it).
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Priority::ShortSlice,
        _ => Priority::Ordinary,
    }
}
