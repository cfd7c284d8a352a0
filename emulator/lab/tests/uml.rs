//! Tests in a User-Mode Linux guest: what its kernel's netem does, and that guests end whatever happens. Where the package
//! is missing they are skipped and say so, unless `CI=1`, where a skip is a failure. On a processor that the guest's kernel
//! cannot work with they are skipped, with the reason, everywhere: nothing that could be installed helps.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use damc_lab::LabError;
use damc_lab::uml::{Guest, GuestEnd, GuestOptions, Installation, Output};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::sync::mpsc;

mod guest;
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

fn main() -> ExitCode {
    // A guest and the labs in it start this very program again, with a hidden command.
    if let Some(code) = damc_lab::reexec::dispatch().or_else(support::hidden).or_else(guest::hidden) {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // One guest at a time: some tests look for what guests of this process leave behind, and one compares delays.
    arguments.test_threads = Some(1);
    let missing = Installation::find().err().map(|error| error.one_line());
    let unfit = Installation::find().ok().and_then(|found| found.starts_here().err()).map(|error| error.one_line());
    let trials = guest::TESTS.iter().map(|&(name, test)| {
        let (missing, unfit) = (missing.clone(), unfit.clone());
        Trial::ignorable_test(name, move || match missing {
            None if unfit.is_some() => Ok(Completion::ignored_with(unfit.unwrap_or_default())),
            None => support::within(Duration::from_secs(400), name, test).map(|()| Completion::Completed),
            Some(reason) if std::env::var_os("CI").is_some() => Err(Failed::from(reason)),
            Some(reason) => Ok(Completion::ignored_with(reason)),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Keeps what a guest says.
#[derive(Debug, Default)]
pub struct Heard {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How long it took to boot, once it has.
    pub booted: Option<Duration>,
}

impl Output for Heard {
    fn booted(&mut self, took: Duration) {
        self.booted = Some(took);
    }

    fn stdout(&mut self, bytes: &[u8]) {
        self.stdout.extend(bytes);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.stderr.extend(bytes);
    }

    fn progress(&mut self, _: &str) {}
}

/// A guest that runs this program with a hidden command.
pub fn options(command: &str) -> Result<GuestOptions, LabError> {
    Ok(GuestOptions {
        installation: Installation::find()?,
        arguments: vec![OsString::from(command)],
        environment: Vec::new(),
        memory_mib: 1024,
        writable: Vec::new(),
        console_folder: std::env::temp_dir(),
        silent_for: Duration::from_secs(60),
    })
}

/// Boots a guest and follows it to its end; interrupts it as soon as its output has this in it.
pub fn follow(options: &GuestOptions, interrupt_at: Option<&str>) -> (Result<GuestEnd, LabError>, Heard) {
    let mut heard =
        Watching { heard: Heard::default(), interrupt_at: interrupt_at.map(str::to_owned), interrupt: None };
    let end = support::run(async {
        let (interrupt, mut interrupts) = mpsc::unbounded_channel();
        heard.interrupt = Some(interrupt);
        Guest::boot(options)?.follow(&mut heard, &mut interrupts).await
    });
    (end, heard.heard)
}

struct Watching {
    heard: Heard,
    interrupt_at: Option<String>,
    interrupt: Option<mpsc::UnboundedSender<()>>,
}

impl Output for Watching {
    fn booted(&mut self, took: Duration) {
        self.heard.booted(took);
    }

    fn stdout(&mut self, bytes: &[u8]) {
        self.heard.stdout(bytes);
        let text = String::from_utf8_lossy(&self.heard.stdout).into_owned();
        if let (Some(interrupt), Some(wanted)) = (&self.interrupt, &self.interrupt_at)
            && text.contains(wanted.as_str())
        {
            // Nobody listens any more: the guest has ended already.
            let _ = interrupt.send(());
            self.interrupt_at = None;
        }
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.heard.stderr(bytes);
    }

    fn progress(&mut self, line: &str) {
        self.heard.progress(line);
    }
}

/// Runs a hidden command in a guest; what it printed, or why it failed.
pub fn in_guest(command: &str) -> Result<String, Failed> {
    let (end, heard) = follow(&options(command)?, None);
    let (stdout, stderr) = (String::from_utf8_lossy(&heard.stdout), String::from_utf8_lossy(&heard.stderr));
    match end {
        Ok(end) if end.code == 0 => Ok(stdout.into_owned()),
        Ok(end) => Err(format!("{command} ended with {}\n{stdout}\n{stderr}", end.code).into()),
        Err(error) => Err(format!("{command}: {error}\n{stdout}\n{stderr}").into()),
    }
}

/// Folders of guests that are there.
pub fn left() -> Vec<PathBuf> {
    let folder = damc_lab::rundir::base().join("guests");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let own = std::process::id().to_string();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains(&own)).collect()
}
