//! `--kernel uml`: the same command once more, inside a User-Mode Linux guest.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use damc_lab::uml::exchange::Exchange;
use damc_lab::uml::{Guest, GuestOptions, Installation, Output, SILENT_FOR};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::of_lab;
use crate::terminal::{Event, Terminal};

/// Which kernel labs run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kernel {
    /// The one this command runs on.
    Host,
    /// User-Mode Linux, which has sch_netem, as an ordinary process (Debian package user-mode-linux).
    Uml,
}

/// Options of commands that can run in a guest.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct KernelOptions {
    /// The kernel to run on.
    #[arg(long, value_enum, default_value = "host")]
    pub kernel: Kernel,
    /// Memory of the guest, with M or G; the host only gives what is used.
    #[arg(long, value_name = "SIZE", default_value = "2G")]
    pub memory: Memory,
}

impl KernelOptions {
    /// Whether this very command has to start a guest: it was asked for one and is in none.
    pub fn wants_guest(&self) -> bool {
        self.kernel == Kernel::Uml && Exchange::of_this_guest().is_none()
    }
}

/// An amount of memory in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(u64);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no amount of memory; write for example 1500M or 2G");
        let (digits, factor) = match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1),
            None => (text.strip_suffix(['G', 'g']).ok_or_else(wrong)?, 1024),
        };
        digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor)).map(Self).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}M", self.0)
    }
}

/// Runs this command again in a guest, which may write into `results` and nowhere else. Its output is this command's, its
/// exit code too.
pub fn run_again(options: KernelOptions, results: Option<&Path>) -> Outcome {
    let installation = Installation::find().map_err(of_lab)?;
    let results = results.map(existing).transpose()?;
    let here = std::env::current_dir().context("find the current folder")?;
    let guest = GuestOptions {
        installation,
        arguments: std::env::args_os().skip(1).collect(),
        environment: vec![(HOST_KERNEL.into(), damc_conformance::artefacts::kernel().into())],
        memory_mib: options.memory.0,
        console_folder: results.clone().unwrap_or(here),
        writable: results.into_iter().collect(),
        silent_for: SILENT_FOR,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(follow(&guest))
}

/// Tells a run in a guest what its host is.
const HOST_KERNEL: &str = damc_conformance::artefacts::HOST_KERNEL;

/// Makes a folder and says where it really is.
fn existing(folder: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| folder.canonicalize())
        .with_context(|| format!("make the folder {}", folder.display()))
        .map_err(|error| Failure { exit: Exit::Failed, error })
}

async fn follow(options: &GuestOptions) -> Outcome {
    let (interrupt, mut interrupts) = mpsc::unbounded_channel();
    let mut keys = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    // Before the guest is there: from its first step on there is something to clear away.
    let passing_on = async {
        loop {
            tokio::select! {
                _ = keys.recv() => {}
                _ = terminations.recv() => {}
            }
            let _ = interrupt.send(());
        }
    };
    let mut screen = Screen { terminal: Terminal::new(), version: options.installation.version.clone() };
    let mut guest = Guest::boot(options).map_err(of_lab)?;
    let end = tokio::select! {
        end = guest.follow(&mut screen, &mut interrupts) => end,
        () = passing_on => return Err(anyhow!("nobody follows the guest any more").into()),
    };
    screen.terminal.clear();
    let end = end.map_err(of_lab)?;
    Ok(if end.code == Exit::Interrupted.code() { Exit::Interrupted } else { Exit::Code(end.code) })
}

/// Shows what the guest says where this command would show it.
struct Screen {
    terminal: Terminal,
    version: String,
}

impl Output for Screen {
    fn booted(&mut self, took: Duration) {
        let (version, took) = (&self.version, took.as_millis());
        self.terminal.show(&Event::Phase(format!("guest with User-Mode Linux {version} booted in {took} ms")));
    }

    fn stdout(&mut self, bytes: &[u8]) {
        self.terminal.clear();
        let mut out = std::io::stdout().lock();
        // The run and its results do not depend on whether somebody reads along.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.terminal.clear();
        let _ = std::io::stderr().lock().write_all(bytes);
    }

    fn progress(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(event) => self.terminal.show(&event),
            Err(_) => self.terminal.show(&Event::Said(line.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_with_a_unit() {
        assert_eq!("2G".parse(), Ok(Memory(2048)));
        assert_eq!("700m".parse(), Ok(Memory(700)));
        for wrong in ["", "2", "G", "-1G", "99999999999999999999M", "18446744073709551615G"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }
}
