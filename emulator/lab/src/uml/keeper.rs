//! `uml-keeper`: the parent of a guest's kernel. That kernel is several processes, and killing one of them leaves the
//! others; in a pid namespace of its own they all go with the first.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getegid, geteuid};

use super::exchange::Exchange;
use crate::error::{LabError, Result};
use crate::exec::start_priority::{StartPriority, prefer_session};

/// Arguments of `uml-keeper`.
#[derive(Clone, Debug, clap::Args)]
pub struct KeeperArgs {
    /// The exchange folder.
    #[arg(long)]
    pub directory: PathBuf,
    /// The kernel.
    #[arg(long)]
    pub kernel: PathBuf,
    /// Memory of the guest, MiB.
    #[arg(long)]
    pub memory_mib: u64,
    /// Which of the CPUs it may use is the guest's.
    #[arg(long)]
    pub guest_number: usize,
    /// This one is the first process of the guest's pid namespace already.
    #[arg(long)]
    pub inner: bool,
}

/// The whole of `uml-keeper`: runs the guest's kernel until it ends, or until standard input does, whose other end the
/// caller holds: then the caller is gone. The process must have a single thread.
#[must_use]
pub fn run_keeper(args: &KeeperArgs) -> ExitCode {
    // Without the permission the guest takes its turn like everybody else.
    let _ = prefer_session();
    let outcome = if args.inner { keep(args) } else { keep_apart() };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("uml-keeper: {}", error.one_line());
            ExitCode::FAILURE
        }
    }
}

/// Starts this program once more as the first process of a pid namespace and waits for it. The kernel itself must not be
/// the first: it panics by aborting, which a first process is immune to.
fn keep_apart() -> Result<u8> {
    if let Err(error) = enter_pid_namespace() {
        // Without one the group is killed all the same; only a keeper that is killed itself would leave processes.
        eprintln!("uml-keeper: no pid namespace: {}", error.one_line());
    }
    let mut inner = Command::new("/proc/self/exe");
    inner.arg0("damc").args(std::env::args_os().skip(1)).arg("--inner");
    // SAFETY: only prctl is called between fork and exec.
    unsafe {
        inner.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    let doing = "start the first process of the guest's pid namespace";
    let status = inner.spawn().and_then(|mut inner| inner.wait()).map_err(LabError::io(doing))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn keep(args: &KeeperArgs) -> Result<u8> {
    // Before there is a child: its death must not be missed.
    let mut deaths = SigSet::empty();
    deaths.add(Signal::SIGCHLD);
    deaths.thread_block().map_err(LabError::sys("block SIGCHLD"))?;
    let deaths = SignalFd::with_flags(&deaths, SfdFlags::SFD_CLOEXEC).map_err(LabError::sys("wait for SIGCHLD"))?;
    let mut kernel = start(args)?;
    let group = Pid::from_raw(kernel.id().cast_signed());
    let input = std::io::stdin();
    let ended = loop {
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN), PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(LabError::sys("wait for the guest's kernel")(errno)),
        }
        let caller_gone = fds[0].any().unwrap_or(false);
        if let Some(status) = kernel.try_wait().map_err(LabError::io("wait for the guest's kernel"))? {
            break Some(status);
        }
        if caller_gone {
            break None;
        }
        if fds[1].any().unwrap_or(false) {
            let _ = deaths.read_signal();
        }
    };
    // The kernel's other processes.
    let _ = killpg(group, Signal::SIGKILL);
    let status = match ended {
        Some(status) => status,
        None => kernel.wait().map_err(LabError::io("wait for the guest's kernel"))?,
    };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn enter_pid_namespace() -> Result<()> {
    let refused = LabError::sys("make a pid namespace");
    match unshare(CloneFlags::CLONE_NEWPID) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(refused(errno)),
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID).map_err(refused)?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(LabError::io(format!("write the guest's {file}")))
    };
    write("setgroups", "deny".to_owned())?;
    // The same user as outside: nothing the guest writes may look like somebody else's.
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("gid_map", format!("{gid} {gid} 1"))
}

fn start(args: &KeeperArgs) -> Result<Child> {
    let exchange = Exchange::at(&args.directory);
    let console = OpenOptions::new().create(true).append(true).open(exchange.console());
    let console = console.map_err(LabError::io(format!("open {}", exchange.console().display())))?;
    let errors = console.try_clone().map_err(LabError::io("open the console's log twice"))?;
    let directory = args.directory.display();
    let mut command = Command::new(&args.kernel);
    command
        .arg(format!("mem={}M", args.memory_mib))
        .args(["rootfstype=hostfs", "ro", "quiet"])
        // They measure which checksum is fastest, for the better part of the boot.
        .arg("initcall_blacklist=raid6_select_algo,calibrate_xor_blocks")
        .args(["con=null", "con0=null,fd:1"])
        .args([format!("uml_dir={directory}/uml/"), "umid=guest".to_owned()])
        .arg(format!("init={directory}/init"))
        .args(["--", "uml-init"])
        .arg(&args.directory);
    command.stdin(Stdio::null()).stdout(console).stderr(errors);
    let cpu = own_cpu(args.guest_number);
    // SAFETY: only system calls between fork and exec; the CPU set was made before.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The timers of the guest's kernel are this process's: none of its 50 µs of slack, and before other work.
            prctl::set_timerslack(1)?;
            // Without the permission the guest takes its turn like everybody else.
            let _ = StartPriority::First.take();
            // Its processes wait for one another all the time: on one CPU a system call costs a quarter of what it does on two.
            if let Some(cpu) = &cpu {
                sched_setaffinity(Pid::from_raw(0), cpu)?;
            }
            Ok(())
        });
    }
    command.spawn().map_err(LabError::io(format!("start {}", args.kernel.display())))
}

/// One of the CPUs this process may use, the last ones first: interrupts like the first.
fn own_cpu(guest_number: usize) -> Option<CpuSet> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let cpus: Vec<usize> = (0..CpuSet::count()).rev().filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    one.set(*cpus.get(guest_number % cpus.len().max(1))?).ok()?;
    Some(one)
}
