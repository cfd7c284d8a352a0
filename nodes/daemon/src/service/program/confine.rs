//! The confinement of a service's program: somebody else wrote it, and damc may be root.
//!
//! ```text
//! agent ──> damc-pod --confined: user, mount, pid and IPC namespace of the program's own; hands signals on
//!            └─> damc-pod --inside: process 1 in there: mounts, gives up all permissions, reaps
//!                 └─> damc-pod --exec: becomes the program
//! ```
//! The program keeps the network namespace of its pod, sees no process but its own, has no capability there or anywhere
//! and can get none. Files are as on the host, but read-only, and without devices; it writes in its own folder alone. Run
//! directories, with the keys and sockets of all nodes, and the host's `/run` are not there.

mod mounts;

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

/// What of the host a program finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// Folders that are empty for it.
    pub(crate) hidden: Vec<PathBuf>,
    /// The folder that is its own: there it writes.
    pub(crate) folder: PathBuf,
    /// The key of its pod, which it may read.
    pub(crate) key: PathBuf,
}

/// Exit codes from here on tell of a signal, as in shells.
const SIGNALLED: i32 = 128;
/// Signals that are handed on to the program.
const HANDED_ON: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
/// Capabilities that there could ever be.
const CAPABILITIES: u32 = 64;

/// `damc-pod --confined CONFINEMENT PROGRAM …`: runs the program in namespaces of its own, and ends as it does.
pub(crate) fn run_confined(confinement: &str, words: &[&str]) -> io::Error {
    let run = || -> io::Result<Infallible> {
        watched_signals().thread_block()?;
        enter_namespaces()?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        let child = Command::new(std::env::current_exe()?).arg("--inside").arg(confinement).args(words).spawn()?;
        end_as(wait(&child)?)
    };
    let Err(error) = run();
    error
}

/// `damc-pod --inside CONFINEMENT PROGRAM …`, process 1 of the program's namespaces.
pub(crate) fn run_inside(confinement: &str, words: &[&str]) -> io::Error {
    let run = || -> io::Result<Infallible> {
        watched_signals().thread_block()?;
        let confinement: Confinement = serde_json::from_str(confinement)?;
        mounts::confine(&confinement)?;
        give_up_permissions()?;
        // What this process may have changed: who started it may be gone already.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        let child = Command::new(std::env::current_exe()?).arg("--exec").args(words).spawn()?;
        let status = wait(&child)?;
        // The kernel ends whatever the program has left in here.
        std::process::exit(status.code().unwrap_or_else(|| SIGNALLED + status.signal().unwrap_or(0)))
    };
    let Err(error) = run();
    error
}

/// Namespaces of its own. A user namespace keeps the program from other programs of the same user, whatever pod they are
/// of; where the kernel has none to give, root goes on without.
fn enter_namespaces() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    let others = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    match unshare(CloneFlags::CLONE_NEWUSER | others) {
        Ok(()) => {
            // The kernel lets a process map its group only after it gave up setgroups(2).
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
        }
        Err(Errno::EPERM | Errno::EINVAL | Errno::ENOSPC | Errno::EUSERS) if user.is_root() => {
            tracing::warn!("no user namespace for a program: it can see other programs of this user");
            Ok(unshare(others)?)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Gives up every capability, for good: neither a program of root's nor one with permissions of its own brings any back.
fn give_up_permissions() -> io::Result<()> {
    prctl::set_no_new_privs()?;
    rustix::thread::clear_ambient_capability_set()?;
    for number in 0..CAPABILITIES {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // The kernel has no more.
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    let none = CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

fn watched_signals() -> SigSet {
    HANDED_ON.into_iter().chain([Signal::SIGCHLD]).collect()
}

/// Waits for a child, hands signals on to it and reaps what else ends. The watched signals have to be blocked.
fn wait(child: &Child) -> io::Result<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        match watched_signals().wait()? {
            Signal::SIGCHLD => {
                if let Some(status) = reap(pid)? {
                    return Ok(status);
                }
            }
            // Gone meanwhile is as good.
            signal => _ = kill(pid, signal),
        }
    }
}

/// Takes the states of all children that have ended; that of `awaited`, if it is among them.
fn reap(awaited: Pid) -> io::Result<Option<ExitStatus>> {
    let mut found = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == awaited => found = Some(ExitStatus::from_raw(code << 8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == awaited => {
                found = Some(ExitStatus::from_raw(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(found),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Ends this process as the program ended: by the same signal, or with the same code.
fn end_as(status: ExitStatus) -> io::Result<Infallible> {
    let code = status.code().unwrap_or(1);
    let signal = status.signal().unwrap_or(code - SIGNALLED);
    if let Ok(signal) = Signal::try_from(signal) {
        SigSet::all().thread_unblock()?;
        raise(signal)?;
    }
    std::process::exit(code)
}
