//! The lab's side: `lab-sandbox` unshares and waits, `lab-init` settles in as process 1.

use std::fs::{self, File};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getegid, geteuid, getpid, getppid};

use crate::control::Progress;
use crate::error::{LabError, Result};
use crate::exec::start_priority::{StartPriority, prefer_session};
use crate::sandbox::obstacles::Host;

/// Arguments of `lab-sandbox`.
#[derive(Clone, Debug, clap::Args)]
pub struct SandboxArgs {
    /// Run directory of the lab.
    #[arg(long)]
    pub directory: PathBuf,
    /// Inherited descriptor of the lab's lock.
    #[arg(long)]
    pub lock: RawFd,
    /// The process whose death is the lab's; none when detached.
    #[arg(long)]
    pub parent: Option<i32>,
}

/// The whole of `lab-sandbox`: unshares, starts `lab-init`, waits for it. The process must have a single thread.
#[must_use]
pub fn run_sandbox(args: &SandboxArgs) -> ExitCode {
    match start_init(args) {
        Ok(code) => code,
        Err(error) => {
            Progress::Failed(error.one_line()).print();
            ExitCode::FAILURE
        }
    }
}

fn start_init(args: &SandboxArgs) -> Result<ExitCode> {
    die_with_parent(args.parent)?;
    // Without the permission the lab takes its turn like everybody else.
    let _ = StartPriority::First.take().map_err(Into::into).and_then(|()| prefer_session());
    enter_new_namespaces()?;
    // Asked again: credentials changed with the user namespace.
    die_with_parent(args.parent)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).map_err(|errno| {
        LabError::Sandbox(format!("its mounts cannot be made private: {}", Host::look().explain(errno)))
    })?;
    let name = args.directory.file_name().unwrap_or_default();
    nix::unistd::sethostname(name).map_err(LabError::sys("name the lab's host"))?;

    let mut init = Command::new("/proc/self/exe");
    init.arg0("damc").arg("lab-init").arg("--directory").arg(&args.directory).arg("--lock").arg(args.lock.to_string());
    init.stdin(Stdio::null());
    // SAFETY: only prctl is called between fork and exec.
    unsafe {
        init.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    let mut init = init.spawn().map_err(LabError::io("start the lab's first process"))?;
    // From here on only init holds the lock, so that its death frees it.
    nix::unistd::close(args.lock).map_err(LabError::sys("let go of the lab's lock"))?;
    let status = init.wait().map_err(LabError::io("wait for the lab's first process"))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Has the kernel kill this process when its parent dies, and dies now where that has happened already.
fn die_with_parent(parent: Option<i32>) -> Result<()> {
    let Some(parent) = parent else { return Ok(()) };
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(LabError::sys("tie the lab to its caller"))?;
    if getppid() == Pid::from_raw(parent) { Ok(()) } else { Err(LabError::Sandbox("the caller is gone".to_owned())) }
}

fn enter_new_namespaces() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // What counts is the permission, not the user: root in a container may lack it, and then needs a user namespace.
    match unshare(namespaces) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(refused(errno)),
    }
    unshare(namespaces | CloneFlags::CLONE_NEWUSER).map_err(refused)?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(LabError::io(format!("write the lab's {file}")))
    };
    // The kernel lets an unprivileged process map its group only after it gave up setgroups(2).
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

fn refused(errno: Errno) -> LabError {
    LabError::Sandbox(Host::look().explain(errno))
}

/// First thing in `lab-init`: takes the lock over, mounts a /proc and a /sys that show the lab.
///
/// # Errors
/// When the process is not the first of a pid namespace, or the lock is none.
pub fn settle(lock: RawFd) -> Result<OwnedFd> {
    if getpid() != Pid::from_raw(1) {
        return Err(LabError::Sandbox("lab-init is started by lab-sandbox, never by hand".to_owned()));
    }
    // SAFETY: the descriptor number came from lab-sandbox, which left it open for this process and for nothing else in it.
    let lock = unsafe { OwnedFd::from_raw_fd(lock) };
    // No node may hold the lab's lock.
    fcntl(&lock, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(LabError::sys("take over the lab's lock"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // Containers that mask parts of /proc refuse a fresh one; the old one serves, it only shows more processes.
    if let Err(errno) = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>) {
        eprintln!("lab-init: keeping the host's /proc: {errno}");
    }
    if let Err(errno) = mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>) {
        eprintln!("lab-init: keeping the host's /sys: {errno}");
    }
    Ok(lock)
}

/// Descriptors of the calling process's user, mount, pid, IPC and UTS namespaces, in the order [`super::Entry`] wants.
///
/// # Errors
/// When /proc does not show them.
pub fn namespaces_of_lab() -> Result<Vec<OwnedFd>> {
    ["user", "mnt", "pid", "ipc", "uts"]
        .into_iter()
        .map(|kind| {
            let path = Path::new("/proc/self/ns").join(kind);
            Ok(File::open(&path).map_err(LabError::io(format!("open {}", path.display())))?.into())
        })
        .collect()
}
