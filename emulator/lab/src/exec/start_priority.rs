//! Whose turn it is on the processors, by nice values.
//!
//! Hundreds of nodes that start at once must not be held up by those that are there already: those have a network to learn,
//! which takes far more than starting. So process 1, which starts nodes, goes first, nodes that start come next, and
//! nodes that are ready last, until all are. Without the permission to come forward again (root's) nobody goes back.

use nix::unistd::Pid;
use rustix::io::Result;
use rustix::process::{Pid as Id, setpriority_pgrp, setpriority_process};

/// A place in the order, as nice value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPriority {
    /// Preferred to other work of the host: a lab's processes are short at work, and their lateness would be taken for
    /// the network's.
    First = -10,
    /// A node that starts.
    Starting = 0,
    /// A node that is ready while others are not.
    Last = 19,
}

impl StartPriority {
    /// Takes this place for the calling thread and what it will start. One system call, so also between fork and exec.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn take(self) -> Result<()> {
        setpriority_process(None, self as i32)
    }

    /// Gives this place to all threads of all processes of a group. A group that is gone is no error.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn give(self, group: Pid) -> Result<()> {
        match setpriority_pgrp(Id::from_raw(group.as_raw()), self as i32) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            given => given,
        }
    }
}

/// Gives the first place to the session of the calling process among all sessions.
///
/// Kernels with autogroups (`CONFIG_SCHED_AUTOGROUP`, as distributions build them) divide the processors among sessions
/// first and weigh nice values within each. Without this a lab beside three busy shells has a quarter of the host, whatever
/// its own nice values are.
///
/// # Errors
/// When the kernel does not allow it, or has no autogroups.
pub fn prefer_session() -> std::io::Result<()> {
    std::fs::write("/proc/self/autogroup", (StartPriority::First as i32).to_string())
}

/// Nice value of the calling process's session among all sessions; none where the kernel has no autogroups.
#[must_use]
pub fn session_nice() -> Option<i32> {
    let told = std::fs::read_to_string("/proc/self/autogroup").ok()?;
    told.rsplit_once("nice ")?.1.trim().parse().ok()
}

/// Whether one may give way here and come forward again.
#[must_use]
pub fn may_change() -> bool {
    // On Linux a thread has a nice value of its own: this one tries, and is gone.
    let tried =
        std::thread::spawn(|| StartPriority::Starting.take().and_then(|()| StartPriority::First.take()).is_ok());
    tried.join().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn trying_leaves_the_own_place_alone_and_a_group_that_is_gone_is_no_error() {
        let before = getpriority_process(None).unwrap();
        let _ = may_change();
        assert_eq!(getpriority_process(None).unwrap(), before);
        assert_eq!(StartPriority::Last.give(Pid::from_raw(0x3fff_fff0)), Ok(()));
    }
}
