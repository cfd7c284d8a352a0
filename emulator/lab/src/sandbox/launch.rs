//! The caller's side: starting `lab-sandbox`.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::error::{LabError, Result};

/// What a sandbox is started with.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The executable that knows the hidden commands.
    pub program: &'a Path,
    /// Run directory of the lab.
    pub directory: &'a Path,
    /// The lab's lock; held for as long as the lab lives.
    pub lock: BorrowedFd<'a>,
    /// Outlive the caller.
    pub detached: bool,
}

/// Starts a sandbox. Its standard output reports progress, line by line ([`crate::control::Progress`]); anything it says
/// beyond that goes to `lab.log`.
///
/// The caller's *thread* has to live as long as the lab, unless detached: its end is the lab's.
///
/// # Errors
/// When the process cannot be started.
pub fn launch(what: Launch<'_>) -> Result<Child> {
    let log = what.directory.join("lab.log");
    let log = File::create(&log).map_err(LabError::io(format!("create {}", log.display())))?;
    let lock = what.lock.as_raw_fd();
    let detached = what.detached;
    let mut command = Command::new(what.program);
    command.arg("lab-sandbox").arg("--directory").arg(what.directory).arg("--lock").arg(lock.to_string());
    if !detached {
        command.arg("--parent").arg(std::process::id().to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    // SAFETY: between fork and exec only system calls are made (setsid, prctl, fcntl), nothing allocates or locks.
    // `lock` outlives the spawn: it is borrowed for this whole function.
    unsafe {
        command.pre_exec(move || {
            // Out of the terminal's foreground group: an interrupt is the caller's to answer.
            nix::unistd::setsid()?;
            if !detached {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
            }
            fcntl(BorrowedFd::borrow_raw(lock), FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        });
    }
    command.spawn().map_err(LabError::io(format!("start {}", what.program.display())))
}
