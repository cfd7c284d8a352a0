//! The host's side of a guest: booting it, following it, ending it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::statvfs::{FsFlags, statvfs};
use tokio::sync::mpsc::UnboundedReceiver;

use super::exchange::{End, Exchange, Task};
use super::install::Installation;
use crate::error::{LabError, Result};
use crate::lab;
use crate::rundir::{self, RunDir};

/// How long a guest may take until its program runs; it takes half a second.
const BOOT_WITHIN: Duration = Duration::from_secs(30);
/// How long a guest may usually go without a sign of life, of which there is one a second.
pub const SILENT_FOR: Duration = Duration::from_secs(60);
/// How long it may take to end after an interrupt, and to switch itself off.
const END_WITHIN: Duration = Duration::from_secs(20);
/// How often its output is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The host's limit of mappings of a process.
const MAPPINGS_LIMIT: &str = "/proc/sys/vm/max_map_count";
/// Lines of the console's log that an error shows.
const LAST_LINES: usize = 12;
/// Least memory a lab fits into, MiB.
const LEAST_MEMORY_MIB: u64 = 256;

/// What a guest is to be.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// Its kernel.
    pub installation: Installation,
    /// Arguments of the program it runs, which is the running one.
    pub arguments: Vec<OsString>,
    /// Variables of its environment beside the caller's.
    pub environment: Vec<(OsString, OsString)>,
    /// Its memory, MiB; the host only gives what is used.
    pub memory_mib: u64,
    /// Folders of the host it may write to; they exist.
    pub writable: Vec<PathBuf>,
    /// Where the console's log is left when the guest does not end in order.
    pub console_folder: PathBuf,
    /// How long it may go without a sign of life, of which there is one a second.
    pub silent_for: Duration,
}

/// Takes what a guest says.
pub trait Output {
    /// The guest's program runs.
    fn booted(&mut self, took: Duration);
    /// Bytes of its standard output.
    fn stdout(&mut self, bytes: &[u8]);
    /// Bytes of its standard error.
    fn stderr(&mut self, bytes: &[u8]);
    /// A line of its progress.
    fn progress(&mut self, line: &str);
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestEnd {
    /// Exit code of its program.
    pub code: u8,
    /// How long it took from the start of the kernel to that of the program.
    pub boot: Duration,
}

/// A guest that runs. It ends with this value.
#[derive(Debug)]
pub struct Guest {
    keeper: Child,
    /// Closing it ends the guest.
    lifeline: Option<ChildStdin>,
    directory: RunDir,
    exchange: Exchange,
    console_folder: PathBuf,
    silent_for: Duration,
    began: Instant,
}

impl Guest {
    /// Starts a guest's kernel.
    ///
    /// # Errors
    /// When its folder or its first process cannot be made, or this processor is none for its kernel.
    pub fn boot(options: &GuestOptions) -> Result<Self> {
        if options.memory_mib < LEAST_MEMORY_MIB {
            return Err(LabError::Uml(format!("a guest needs at least {LEAST_MEMORY_MIB} MiB of memory")));
        }
        options.installation.starts_here()?;
        let base = rundir::base();
        // The command line of a kernel has no quoting.
        if base.to_str().is_none_or(|path| path.contains(char::is_whitespace)) {
            return Err(LabError::Uml(format!(
                "{} has a blank in it; set DAMC_RUN_DIR to another folder",
                base.display()
            )));
        }
        let memory = memory_folder(options.memory_mib)?;
        let guest_number = live_guests();
        static NAMED: AtomicU64 = AtomicU64::new(0);
        let name = format!("guests/{}-{}", std::process::id(), NAMED.fetch_add(1, Ordering::Relaxed));
        let (directory, lock) = RunDir::create(&name, 0)?;
        let exchange = Exchange::at(directory.path());
        let launched = prepare(&exchange, options).and_then(|()| {
            let program = lab::program()?;
            launch(&program, &exchange, options, &memory, guest_number, lock.as_fd())
        });
        let mut keeper = match launched {
            Ok(keeper) => keeper,
            Err(error) => {
                drop(lock);
                directory.sweep()?;
                return Err(error);
            }
        };
        let lifeline = keeper.stdin.take();
        let console_folder = options.console_folder.clone();
        let silent_for = options.silent_for;
        Ok(Self { keeper, lifeline, directory, exchange, console_folder, silent_for, began: Instant::now() })
    }

    /// Follows the guest until it ends. Each message of `interrupts` asks it to end: the first in order, the second at once.
    ///
    /// # Errors
    /// When it does not run its program, dies, shows no sign of life, or does not end when asked to.
    pub async fn follow(
        &mut self,
        output: &mut dyn Output,
        interrupts: &mut UnboundedReceiver<()>,
    ) -> Result<GuestEnd> {
        let mut streams = Streams::open(&self.exchange)?;
        let mut life = Life::new(self.began);
        loop {
            streams.pump(output)?;
            if let Some(status) = self.keeper.try_wait().map_err(LabError::io("wait for the guest"))? {
                streams.pump(output)?;
                return self.conclude(status, life.boot.unwrap_or_default());
            }
            if life.look(&self.exchange)
                && let Some(boot) = life.boot
            {
                output.booted(boot);
            }
            if interrupts.try_recv().is_ok() {
                if life.asked_to_end.is_some() {
                    return Err(LabError::Guest("the guest was ended before it had cleared up".to_owned()));
                }
                self.interrupt()?;
                life.asked_to_end = Some(Instant::now());
            }
            if let Some(why) = life.overdue(self.silent_for) {
                return Err(self.gone_wrong(&why));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the guest's program to end, as SIGINT does.
    fn interrupt(&self) -> Result<()> {
        let path = self.exchange.interrupt();
        fs::write(&path, "").map_err(LabError::io(format!("write {}", path.display())))
    }

    fn conclude(&self, status: ExitStatus, boot: Duration) -> Result<GuestEnd> {
        match Exchange::read::<End>(&self.exchange.end()) {
            Ok(End::Code(code)) => Ok(GuestEnd { code, boot }),
            Ok(End::Signal(signal)) => {
                let name =
                    nix::sys::signal::Signal::try_from(signal).map_or("an unknown signal", |signal| signal.as_str());
                Err(self.gone_wrong(&format!("{name} ended the guest's program (is --memory enough?)")))
            }
            Ok(End::Failed(reason)) => Err(LabError::Guest(reason)),
            Err(_) => Err(self.gone_wrong(&format!("the guest's kernel died ({status})"))),
        }
    }

    /// The error, with the end of the console's log, which is kept.
    fn gone_wrong(&self, why: &str) -> LabError {
        let text = fs::read(self.exchange.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let limit = fs::read_to_string(MAPPINGS_LIMIT).unwrap_or_default();
        let hint = if text.contains("vm.max_map_count") {
            format!(
                "; the host allows a process {} mappings, and each page of a guest's process may be one: allow more with \
                 `sysctl vm.max_map_count=1048576`, or run one suite at a time",
                limit.trim()
            )
        } else {
            String::new()
        };
        // What it died of stands before the traces that end it.
        let panic = lines.iter().rfind(|line| line.contains("Kernel panic")).map(|line| format!(" ({line})"));
        let why = format!("{why}{}", panic.unwrap_or_default());
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        let kept = self.console_folder.join(format!("uml-console-{}.log", std::process::id()));
        let log = match fs::copy(self.exchange.console(), &kept) {
            Ok(_) => format!("its console's log is {}", kept.display()),
            Err(error) => format!("its console's log could not be kept in {}: {error}", kept.display()),
        };
        LabError::Guest(format!("{why}{hint}; {log}, which ends\n  {last}"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The keeper kills what is left of the guest when its caller is gone.
        drop(self.lifeline.take());
        let deadline = Instant::now() + END_WITHIN;
        while matches!(self.keeper.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        while matches!(self.directory.sweep(), Ok(false)) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Labs of dead guests are swept; the number of those that live is how many CPUs are taken.
fn live_guests() -> usize {
    let entries = fs::read_dir(rundir::base().join("guests")).into_iter().flatten().flatten();
    let directories = entries.map(|entry| RunDir::at(&entry.path()));
    directories.filter(|directory| directory.is_live() || matches!(directory.sweep(), Ok(false))).count()
}

/// A folder for the file that is the guest's memory: the kernel makes it, removes its name at once, and maps it
/// executable. In memory if possible: on a disk every change would be written there some time.
fn memory_folder(memory_mib: u64) -> Result<PathBuf> {
    let configured = std::env::var_os("TMPDIR").map(PathBuf::from);
    let candidates: Vec<PathBuf> =
        [Some(PathBuf::from("/dev/shm")), configured, Some("/tmp".into()), Some("/var/tmp".into())]
            .into_iter()
            .flatten()
            .collect();
    let fits = |folder: &PathBuf| {
        statvfs(folder).is_ok_and(|file_system| {
            let free = file_system.blocks_available() * file_system.fragment_size();
            !file_system.flags().intersects(FsFlags::ST_NOEXEC | FsFlags::ST_RDONLY) && free >> 20 >= memory_mib
        }) && nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok()
    };
    candidates.iter().find(|folder| fits(folder)).cloned().ok_or_else(|| {
        let tried: Vec<_> = candidates.iter().map(|folder| folder.display().to_string()).collect();
        LabError::Uml(format!(
            "no room for the guest's memory: none of {} is writable, allows execution and has {memory_mib} MiB left; \
             set TMPDIR, or ask for less with --memory",
            tried.join(", ")
        ))
    })
}

/// Writes what the guest finds in its folder.
fn prepare(exchange: &Exchange, options: &GuestOptions) -> Result<()> {
    let program = lab::program()?;
    let doing = |path: &Path| format!("make {}", path.display());
    for path in [exchange.stdout(), exchange.stderr(), exchange.progress(), exchange.console()] {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        file.map_err(LabError::io(doing(&path)))?;
    }
    let init = exchange.path().join("init");
    // The kernel's command line has no way to write a path with a blank in it.
    symlink(&program, &init).map_err(LabError::io(doing(&init)))?;
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.extend(options.environment.iter().cloned());
    let task = Task {
        argv: std::iter::once(program.into_os_string()).chain(options.arguments.iter().cloned()).collect(),
        environment,
        directory: std::env::current_dir().map_err(LabError::io("find the current folder"))?,
        modules: options.installation.modules.clone(),
        writable: options.writable.clone(),
    };
    Exchange::write(&exchange.task(), &task)
}

fn launch(
    program: &Path,
    exchange: &Exchange,
    options: &GuestOptions,
    memory: &Path,
    guest_number: usize,
    lock: BorrowedFd<'_>,
) -> Result<Child> {
    let path = exchange.console();
    let log = OpenOptions::new().append(true).open(&path).map_err(LabError::io(format!("open {}", path.display())))?;
    let lock = lock.as_raw_fd();
    let mut command = Command::new(program);
    command.arg("uml-keeper").arg("--directory").arg(exchange.path());
    command.arg("--kernel").arg(&options.installation.kernel);
    command.arg("--memory-mib").arg(options.memory_mib.to_string()).arg("--guest-number").arg(guest_number.to_string());
    command.env("TMPDIR", memory).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
    // SAFETY: between fork and exec only system calls are made (setsid, fcntl); `lock` outlives the spawn: it is borrowed
    // for this whole function.
    unsafe {
        command.pre_exec(move || {
            // Out of the terminal's foreground group: an interrupt is the caller's to pass on.
            nix::unistd::setsid()?;
            // The guest's folder is in use for as long as any of its processes lives.
            fcntl(BorrowedFd::borrow_raw(lock), FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        });
    }
    command.spawn().map_err(LabError::io(format!("start {}", program.display())))
}

/// The files that the guest's program writes, as far as they have been read.
struct Streams {
    stdout: File,
    stderr: File,
    progress: File,
    /// The beginning of a line of progress whose end is not there yet.
    line: Vec<u8>,
}

impl Streams {
    fn open(exchange: &Exchange) -> Result<Self> {
        let open = |path: PathBuf| File::open(&path).map_err(LabError::io(format!("open {}", path.display())));
        Ok(Self {
            stdout: open(exchange.stdout())?,
            stderr: open(exchange.stderr())?,
            progress: open(exchange.progress())?,
            line: Vec::new(),
        })
    }

    fn pump(&mut self, output: &mut dyn Output) -> Result<()> {
        self.line.extend(fresh(&mut self.progress)?);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            output.progress(String::from_utf8_lossy(&line[..end]).as_ref());
        }
        let (stdout, stderr) = (fresh(&mut self.stdout)?, fresh(&mut self.stderr)?);
        if !stdout.is_empty() {
            output.stdout(&stdout);
        }
        if !stderr.is_empty() {
            output.stderr(&stderr);
        }
        Ok(())
    }
}

/// What has been appended since the last look.
fn fresh(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(LabError::io("read what the guest says"))?;
    Ok(bytes)
}

/// Signs of life.
struct Life {
    began: Instant,
    boot: Option<Duration>,
    last: Option<(String, Instant)>,
    asked_to_end: Option<Instant>,
    end_seen: Option<Instant>,
}

impl Life {
    fn new(began: Instant) -> Self {
        Self { began, boot: None, last: None, asked_to_end: None, end_seen: None }
    }

    /// Looks; true when the guest's program has just begun.
    fn look(&mut self, exchange: &Exchange) -> bool {
        if self.end_seen.is_none() && exchange.end().exists() {
            self.end_seen = Some(Instant::now());
        }
        let Ok(sign) = fs::read_to_string(exchange.alive()) else { return false };
        if self.last.as_ref().is_none_or(|(last, _)| *last != sign) {
            self.last = Some((sign, Instant::now()));
        }
        let first = self.boot.is_none();
        if first {
            self.boot = Some(self.began.elapsed());
        }
        first
    }

    /// Why it is time to give the guest up.
    fn overdue(&self, silent_for: Duration) -> Option<String> {
        let over = |since: Option<Instant>, within: Duration| since.is_some_and(|since| since.elapsed() > within);
        if self.boot.is_none() && self.began.elapsed() > BOOT_WITHIN {
            return Some(format!("the guest did not run its program within {} s", BOOT_WITHIN.as_secs()));
        }
        if over(self.end_seen, END_WITHIN) {
            return Some(format!("the guest did not switch itself off within {} s", END_WITHIN.as_secs()));
        }
        if over(self.asked_to_end, END_WITHIN) {
            return Some(format!("the guest did not end within {} s of the interrupt", END_WITHIN.as_secs()));
        }
        let silent = self.end_seen.is_none() && over(self.last.as_ref().map(|(_, at)| *at), silent_for);
        silent.then(|| format!("the guest has shown no sign of life for {} s", silent_for.as_secs()))
    }
}
