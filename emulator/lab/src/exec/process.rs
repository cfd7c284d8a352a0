//! The process of a node: started inside the node's namespace, signalled as a group, reaped by process 1.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use damc_link::priority::URGENT_SHARE_VARIABLE;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::start_priority::StartPriority;
use crate::error::{LabError, Result};

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The node.
    pub node: &'a str,
    /// Program and arguments.
    pub argv: &'a [String],
    /// Variables beside those of this process.
    pub env: &'a [(String, String)],
    /// Working directory; none: that of this process.
    pub folder: Option<&'a Path>,
    /// Network namespace to start it in.
    pub namespace: BorrowedFd<'a>,
    /// Takes its standard error.
    pub log: &'a Path,
    /// Its place among those that want to run; none for that of whoever starts it.
    pub start_priority: Option<StartPriority>,
    /// What each of its threads may work in real time, in parts per million of one processor.
    pub urgent_ppm: u32,
}

/// A started process. It leads a process group of its own, which the services it starts belong to.
#[derive(Debug)]
pub struct Started {
    /// Its id, the group's too.
    pub pid: Pid,
    /// Its standard output.
    pub stdout: ChildStdout,
}

/// Starts a program. It is not waited for here: see [`reap`].
///
/// # Errors
/// When it cannot be started.
pub fn start(program: Program<'_>) -> Result<Started> {
    let doing = || format!("start {} of {}", program.argv.join(" "), program.node);
    let log = OpenOptions::new().create(true).append(true).open(program.log).map_err(LabError::io(doing()))?;
    let mut command = Command::new(&program.argv[0]);
    command.args(&program.argv[1..]).env("DAMC_NODE", program.node).process_group(0);
    command.envs(program.env.iter().map(|(name, value)| (name, value)));
    if let Some(folder) = program.folder {
        command.current_dir(folder);
    }
    command.env(URGENT_SHARE_VARIABLE, program.urgent_ppm.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let namespace = program.namespace.as_raw_fd();
    let (node, start_priority) = (program.node.to_owned(), program.start_priority);
    // SAFETY: only system calls between fork and exec, `node` was allocated before; the namespace is borrowed for this
    // whole function and so open in the child.
    unsafe {
        command.pre_exec(move || {
            setns(BorrowedFd::borrow_raw(namespace), CloneFlags::CLONE_NEWNET)?;
            if let Some(start_priority) = start_priority {
                start_priority.take()?;
            }
            if unshare(CloneFlags::CLONE_NEWUTS).is_ok() {
                let _ = nix::unistd::sethostname(&node);
            }
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(LabError::io(doing()))?;
    let stdout = child.stdout.take().ok_or_else(|| LabError::Lab(format!("cannot {}: no standard output", doing())))?;
    Ok(Started { pid: process_id(&child)?, stdout })
}

/// Starts a program of the lab itself, with a connection to it as its standard input and its output in the log.
///
/// # Errors
/// When it cannot be started.
pub fn start_with_input(program: Program<'_>, input: BorrowedFd<'_>) -> Result<Pid> {
    let doing = || format!("start {}", program.argv.join(" "));
    let open = || OpenOptions::new().create(true).append(true).open(program.log).map_err(LabError::io(doing()));
    let input = input.try_clone_to_owned().map_err(LabError::io(doing()))?;
    let mut command = Command::new(&program.argv[0]);
    command.args(&program.argv[1..]).process_group(0).stdin(input).stdout(open()?).stderr(open()?);
    let namespace = program.namespace.as_raw_fd();
    // SAFETY: only setns is called between fork and exec; the namespace is borrowed for this whole function.
    unsafe {
        command.pre_exec(move || Ok(setns(BorrowedFd::borrow_raw(namespace), CloneFlags::CLONE_NEWNET)?));
    }
    let child = command.spawn().map_err(LabError::io(doing()))?;
    process_id(&child)
}

/// Dropping a `Child` neither waits nor kills; process 1 reaps everything that ends.
fn process_id(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).map(Pid::from_raw).map_err(|_| LabError::Lab("process id out of range".to_owned()))
}

/// Signals a node and everything in its group. A group that is gone is no error.
///
/// # Errors
/// When the kernel refuses.
pub fn signal(group: Pid, signal: Signal) -> Result<()> {
    match killpg(group, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(LabError::sys(format!("send {signal} to process group {group}"))(errno)),
    }
}

/// Kills all other processes of the pid namespace whose first process this is.
pub fn kill_all() {
    // Minus one means everybody we may signal: outside a pid namespace that would be the host.
    if nix::unistd::getpid() == Pid::from_raw(1) {
        let _ = nix::sys::signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
    }
}

/// Has this process end quietly when whoever reads its output goes away (Rust ignores SIGPIPE otherwise). For programs
/// that only print.
pub fn end_on_broken_pipe() {
    // SAFETY: the default disposition runs no code of ours.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) };
}

/// Takes the exit states of all children that have ended, orphans that fell to process 1 among them.
#[must_use]
pub fn reap() -> Vec<(Pid, String)> {
    let mut ended = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => ended.push((pid, format!("exit code {code}"))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => ended.push((pid, signal.to_string())),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return ended,
        }
    }
}
