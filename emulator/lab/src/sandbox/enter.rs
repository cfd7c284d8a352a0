//! Running a program in a node's namespaces, from outside, on the caller's own terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::error::{LabError, Result};
use crate::ownership;

/// Descriptors that [`Entry::new`] takes: user, mount, pid, IPC and UTS namespace of the lab, network namespace of the node.
pub const NAMESPACE_COUNT: usize = 6;

/// The way into a node.
#[derive(Debug)]
pub struct Entry {
    namespaces: [OwnedFd; NAMESPACE_COUNT],
    node: String,
    variables: Vec<(&'static str, String)>,
}

impl Entry {
    /// Takes the namespaces as `lab-init` hands them out.
    #[must_use]
    pub fn new(node: &str, namespaces: [OwnedFd; NAMESPACE_COUNT]) -> Self {
        Self { namespaces, node: node.to_owned(), variables: Vec::new() }
    }

    /// What programs in the node find in their environment, beside `DAMC_NODE`.
    #[must_use]
    pub fn with_variables(self, variables: Vec<(&'static str, String)>) -> Self {
        Self { variables, ..self }
    }

    /// Enters and runs `argv`; returns its exit code, 128 + number for a signal. The calling process must have a single
    /// thread, and its later children are born inside too.
    ///
    /// # Errors
    /// When a namespace cannot be entered or the program not be started.
    pub fn run(&self, argv: &[String]) -> Result<u8> {
        let directory = std::env::current_dir();
        for (namespace, kind) in self.namespaces.iter().zip(KINDS) {
            if kind == CloneFlags::CLONE_NEWUSER {
                if is_own_user_namespace(namespace).unwrap_or(false) {
                    continue;
                }
                ownership::check_user_namespace(namespace)?;
            }
            setns(namespace.as_fd(), kind).map_err(LabError::sys(format!("enter the namespaces of {}", self.node)))?;
        }
        // The same files are at the same place, but a new mount namespace starts at its root.
        if let Ok(directory) = directory {
            let _ = std::env::set_current_dir(directory);
        }
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env("DAMC_NODE", &self.node);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let node = self.node.clone();
        // SAFETY: only system calls between fork and exec; `node` was allocated before.
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                // A host name of its own makes the prompt of a shell say where it is; not vital.
                if nix::sched::unshare(CloneFlags::CLONE_NEWUTS).is_ok() {
                    let _ = nix::unistd::sethostname(&node);
                }
                show_own_interfaces();
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(LabError::io(format!("run {} in {}", argv[0], self.node)))?;
        // The terminal's keys concern the program, which shares this process's group.
        for ignored in [Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: ignoring a signal installs no handler code.
            unsafe { signal(ignored, SigHandler::SigIgn) }.map_err(LabError::sys("leave signals to the program"))?;
        }
        let status = child.wait().map_err(LabError::io(format!("wait for {}", argv[0])))?;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Ok(u8::try_from(code).unwrap_or(1))
    }
}

/// Mounts a /sys that shows the node's interfaces instead of the lab's, for this process and its children; not vital.
fn show_own_interfaces() {
    if nix::sched::unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>);
    }
}

const KINDS: [CloneFlags; NAMESPACE_COUNT] = [
    CloneFlags::CLONE_NEWUSER,
    CloneFlags::CLONE_NEWNS,
    CloneFlags::CLONE_NEWPID,
    CloneFlags::CLONE_NEWIPC,
    CloneFlags::CLONE_NEWUTS,
    CloneFlags::CLONE_NEWNET,
];

/// Entering the user namespace one is in already is an error.
fn is_own_user_namespace(namespace: &OwnedFd) -> io::Result<bool> {
    let own = nix::sys::stat::stat("/proc/self/ns/user")?;
    let other = nix::sys::stat::fstat(namespace)?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}
