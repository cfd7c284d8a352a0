//! `uml-init`, process 1 of a guest.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::exchange::{End, Exchange, Task, VARIABLE};
use super::modules;
use crate::error::{LabError, Result};

/// How often the guest looks for an interrupt.
const LOOK_EVERY: u16 = 100;
/// How often it shows that it is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// In the guest, a place in memory that is there in every guest: the kernel mounts /dev itself.
const SCRATCH: &str = "/dev/shm";

/// The whole of `uml-init`: settles in, runs the task, says how it ended, and switches the guest off.
#[must_use]
pub fn run_init(directory: &Path) -> ExitCode {
    if getpid() != Pid::from_raw(1) {
        eprintln!("damc: this command is started by a guest's kernel, never by hand");
        return ExitCode::from(2);
    }
    let exchange = Exchange::at(directory);
    let end = match run(&exchange) {
        Ok(end) => end,
        Err(error) => End::Failed(error.one_line()),
    };
    if let End::Failed(reason) = &end {
        // The console's log has it where the folder cannot be written.
        eprintln!("uml-init: {reason}");
    }
    if let Err(error) = Exchange::write(&exchange.end(), &end) {
        eprintln!("uml-init: {}", error.one_line());
    }
    switch_off();
    ExitCode::SUCCESS
}

/// Ends the guest's kernel, which this process, being its first, does not outlive.
fn switch_off() {
    nix::unistd::sync();
    if let Err(error) = fs::write("/proc/sysrq-trigger", "o") {
        // Process 1 that returns makes the kernel panic, which ends it too.
        eprintln!("uml-init: cannot switch the guest off: {error}");
        return;
    }
    // The kernel does it from a work queue.
    std::thread::sleep(Duration::from_secs(30));
}

fn run(exchange: &Exchange) -> Result<End> {
    mount_kernel_views()?;
    let task: Task = Exchange::read(&exchange.task())?;
    mount_host_folder(exchange.path())?;
    for folder in &task.writable {
        mount_host_folder(folder)?;
    }
    modules::load_needed(&task.modules)?;
    let _ = nix::unistd::sethostname("damc-guest");
    let child = start(exchange, &task)?;
    attend(exchange, &child)
}

/// What shows the guest's own kernel and memory, and not the host's.
fn mount_kernel_views() -> Result<()> {
    let make = |path: &str| match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(LabError::io(format!("make {path} in the guest"))(error))
        }
        _ => Ok(()),
    };
    let attach = |kind: &str, path: &str, data: Option<&str>| {
        mount(Some(kind), path, Some(kind), MsFlags::empty(), data)
            .map_err(LabError::sys(format!("mount {kind} on {path} in the guest")))
    };
    attach("proc", "/proc", None)?;
    attach("sysfs", "/sys", None)?;
    // Kernels that do not mount /dev by themselves get it here.
    if !fs::read_to_string("/proc/mounts").unwrap_or_default().lines().any(|line| line.contains(" /dev devtmpfs ")) {
        attach("devtmpfs", "/dev", None)?;
    }
    make("/dev/pts")?;
    attach("devpts", "/dev/pts", None)?;
    make(SCRATCH)?;
    attach("tmpfs", SCRATCH, Some("size=75%"))
}

/// The same folder of the host once more, writable: the root is not.
fn mount_host_folder(path: &Path) -> Result<()> {
    let result = mount(Some("host"), path, Some("hostfs"), MsFlags::empty(), Some(path));
    result.map_err(LabError::sys(format!("mount the host's {} in the guest", path.display())))
}

fn start(exchange: &Exchange, task: &Task) -> Result<Child> {
    let open = |path: &Path| {
        let file = OpenOptions::new().append(true).open(path);
        file.map_err(LabError::io(format!("open {} in the guest", path.display())))
    };
    let scratch = Path::new(SCRATCH);
    let temporary = scratch.join("tmp");
    fs::create_dir_all(&temporary).map_err(LabError::io(format!("make {} in the guest", temporary.display())))?;
    let Some((program, arguments)) = task.argv.split_first() else {
        return Err(LabError::Uml("the guest was given nothing to do".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(task.environment.iter().cloned());
    command.env(VARIABLE, exchange.path()).env("TMPDIR", &temporary).env("DAMC_RUN_DIR", scratch.join("damc"));
    command.env_remove("XDG_RUNTIME_DIR").current_dir(&task.directory).process_group(0);
    command.stdin(Stdio::null()).stdout(open(&exchange.stdout())?).stderr(open(&exchange.stderr())?);
    command.spawn().map_err(LabError::io(format!("start {} in the guest", program.display())))
}

/// Waits for the task, reaps what falls to process 1, shows signs of life, passes an interrupt on.
fn attend(exchange: &Exchange, child: &Child) -> Result<End> {
    let mut deaths = SigSet::empty();
    deaths.add(Signal::SIGCHLD);
    deaths.thread_block().map_err(LabError::sys("block SIGCHLD"))?;
    let deaths = SignalFd::with_flags(&deaths, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(LabError::sys("wait for SIGCHLD"))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let began = Instant::now();
    let mut shown: Option<u64> = None;
    let mut interrupted = false;
    loop {
        let beat = began.elapsed().as_secs() / ALIVE_EVERY.as_secs();
        if shown != Some(beat) {
            fs::write(exchange.alive(), beat.to_string()).map_err(LabError::io("show a sign of life"))?;
            shown = Some(beat);
        }
        if let Some(end) = reaped(pid) {
            return Ok(end);
        }
        if !interrupted && exchange.interrupt().exists() {
            interrupted = true;
            // Gone already: the next look reaps it.
            let _ = kill(pid, Signal::SIGINT);
        }
        let mut fds = [PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(LOOK_EVERY));
        while matches!(deaths.read_signal(), Ok(Some(_))) {}
    }
}

/// Takes the states of all children that ended; how the task did when it is among them.
fn reaped(task: Pid) -> Option<End> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == task => {
                return Some(End::Code(u8::try_from(code).unwrap_or(1)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == task => return Some(End::Signal(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
