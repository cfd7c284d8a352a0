//! Starts what does the work of a service.

use std::io;
use std::process::{Child, Command, Stdio};

use damc_mgmt::config::RunConfig;
use damc_wire::Name;

use super::channel::Channel;
use super::program::{self, Identity};

/// What does the work of a service.
pub(super) enum Worker {
    /// A process of ours.
    Process(Child),
    /// A thread with a program; it ends when its channel does.
    Program,
}

/// How workers come to be.
pub(super) trait Launch {
    /// Starts the worker of a service; without a program that is the built-in one.
    fn launch(&mut self, identity: Identity, run: Option<&RunConfig>) -> io::Result<(Worker, Channel)>;
}

/// Workers are processes.
pub(super) struct Processes;

impl Launch for Processes {
    fn launch(&mut self, identity: Identity, run: Option<&RunConfig>) -> io::Result<(Worker, Channel)> {
        match run {
            Some(run) => program::start(identity, run.clone()).map(|channel| (Worker::Program, channel)),
            None => spawn(&identity.prefix).map(|(child, channel)| (Worker::Process(child), channel)),
        }
    }
}

/// Starts `damc-pod --service PREFIX`: this very program.
fn spawn(prefix: &Name) -> io::Result<(Child, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    let child = Command::new(std::env::current_exe()?)
        .arg("--service")
        .arg(prefix.to_string())
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    tracing::info!(%prefix, pid = child.id(), "service process started");
    Ok((child, ours))
}
