//! The agent's side: starts service processes, hands them work, notices their death, restarts them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use damc_mgmt::config::{ConfineConfig, RunConfig};
use damc_mgmt::view::{ServiceView, ServicesView};
use damc_mgmt::words::ServiceState;
use damc_wire::message::TaskReport;
use damc_wire::{Name, RefusalReason, Timestamp};

use super::channel::{Answer, Channel, Incoming, Task};
use super::launch::{Launch, Processes, Worker};
use super::program::Identity;

/// First wait before a restart; doubles with every death that follows soon.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest wait before a restart.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A process that lived this long was no failed start: its restart begins with the first wait again.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// What the machine is to hear.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServiceEvent {
    /// The process serves.
    Up {
        /// Its prefix.
        prefix: Name,
        /// Its pool.
        pool: Option<Name>,
        /// Its share in the pool.
        weight: u16,
    },
    /// The process is gone.
    Down {
        /// Its prefix.
        prefix: Name,
    },
    /// An invocation ended.
    Answered {
        /// Which.
        invocation: u64,
        /// How.
        result: Result<Vec<u8>, (RefusalReason, String)>,
    },
    /// A self-test ended.
    Reported {
        /// What was found.
        report: TaskReport,
        /// By whom.
        prefix: Name,
    },
}

/// The services of a pod.
pub(crate) struct Supervisor {
    node: String,
    domain: String,
    /// The pod's signing key, for programs that announce.
    key: PathBuf,
    /// How programs are confined, if they are.
    confine: Option<ConfineConfig>,
    launcher: Box<dyn Launch>,
    services: BTreeMap<u64, Service>,
    next_key: u64,
    events: Vec<ServiceEvent>,
}

struct Service {
    prefix: Name,
    pool: Option<Name>,
    weight: u16,
    state: State,
    backoff: Duration,
    /// What serves it; none: this very program.
    run: Option<RunConfig>,
    starts: u32,
    ended: Option<String>,
    /// The last its program printed before that.
    said: Vec<String>,
    /// Its program said that it is not to come back.
    over: bool,
}

enum State {
    /// Stays down until it is started.
    Stopped,
    /// Will be started.
    Waiting(Timestamp),
    Running {
        worker: Worker,
        channel: Channel,
        since: Timestamp,
        ready: bool,
    },
}

impl Supervisor {
    /// No service yet.
    pub(crate) fn new(node: String, domain: String, key: PathBuf, confine: Option<ConfineConfig>) -> Self {
        Self::launching(Box::new(Processes), node, domain, key, confine)
    }

    /// No service yet; workers come from elsewhere.
    fn launching(
        launcher: Box<dyn Launch>,
        node: String,
        domain: String,
        key: PathBuf,
        confine: Option<ConfineConfig>,
    ) -> Self {
        Self { node, domain, key, confine, launcher, services: BTreeMap::new(), next_key: 0, events: Vec::new() }
    }

    /// Has a program serve a service from its next start on.
    pub(crate) fn set_program(&mut self, key: u64, run: Option<RunConfig>) {
        if let Some(service) = self.services.get_mut(&key) {
            service.run = run;
        }
    }

    /// `/services`.
    pub(crate) fn view(&self, now: Timestamp) -> ServicesView {
        let row = |service: &Service| ServiceView {
            prefix: service.prefix.to_string(),
            state: match service.state {
                State::Stopped => ServiceState::Stopped,
                State::Waiting(_) => ServiceState::Waiting,
                State::Running { ready: false, .. } => ServiceState::Starting,
                State::Running { ready: true, .. } => ServiceState::Ready,
            },
            program: service.run.as_ref().map_or_else(|| "built-in".to_owned(), |run| run.argv.join(" ")),
            starts: service.starts,
            ended: service.ended.clone(),
            said: service.said.clone(),
            next_start_ms: match service.state {
                State::Waiting(at) => Some(u64::try_from(at.since(now).as_millis()).unwrap_or(u64::MAX)),
                _ => None,
            },
        };
        let mut services: Vec<_> = self.services.values().map(row).collect();
        services.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        ServicesView { node: self.node.clone(), services }
    }

    /// Starts a service, known or new; no effect where it runs.
    pub(crate) fn start(&mut self, now: Timestamp, prefix: Name, pool: Option<Name>, weight: Option<u16>) -> u64 {
        let key = self.key_of(&prefix).unwrap_or_else(|| {
            self.next_key += 1;
            let service = Service {
                prefix,
                pool: None,
                weight: 1,
                state: State::Stopped,
                backoff: FIRST_BACKOFF,
                run: None,
                starts: 0,
                ended: None,
                said: Vec::new(),
                over: false,
            };
            self.services.insert(self.next_key, service);
            self.next_key
        });
        if let Some(service) = self.services.get_mut(&key) {
            service.pool = pool.or(service.pool.take());
            service.weight = weight.unwrap_or(service.weight);
            service.backoff = FIRST_BACKOFF;
            if !matches!(service.state, State::Running { .. }) {
                service.state = State::Waiting(now);
            }
        }
        key
    }

    /// Ends a service for good; false where there is none of this prefix.
    pub(crate) fn stop(&mut self, prefix: &Name) -> bool {
        let Some(key) = self.key_of(prefix) else { return false };
        self.end(key);
        true
    }

    /// Kills the process of a service as a fault would; false where none runs.
    pub(crate) fn kill(&mut self, prefix: &Name) -> bool {
        let service = self.key_of(prefix).and_then(|key| self.services.get_mut(&key));
        match service.map(|s| &mut s.state) {
            // What follows is what follows every death: the channel ends.
            Some(State::Running { worker: Worker::Process(child), .. }) => child.kill().is_ok(),
            Some(State::Running { worker: Worker::Program, channel, .. }) => channel.send(&Task::Kill, &[]).is_ok(),
            _ => false,
        }
    }

    /// Ends all processes.
    pub(crate) fn stop_all(&mut self) {
        for key in self.services.keys().copied().collect::<Vec<_>>() {
            self.end(key);
        }
    }

    /// Hands an invocation to the process of `prefix`.
    pub(crate) fn invoke(&mut self, prefix: &Name, invocation: u64, task: &Task, payload: &[u8]) {
        if self.send(prefix, task, payload).is_err() {
            let detail = "the service process does not answer".to_owned();
            let result = Err((RefusalReason::ServiceUnavailable, detail));
            self.events.push(ServiceEvent::Answered { invocation, result });
        }
    }

    /// Has the process of `prefix` examine itself. Without one there is nobody to report.
    pub(crate) fn self_test(&mut self, prefix: &Name, task: u64) {
        let _ = self.send(prefix, &Task::SelfTest { task }, &[]);
    }

    /// Starts what is due. Returns the keys of the processes started.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) -> Vec<u64> {
        let is_due = |service: &Service| matches!(service.state, State::Waiting(at) if at <= now);
        let due: Vec<u64> = self.services.iter().filter(|(_, s)| is_due(s)).map(|(key, _)| *key).collect();
        due.into_iter().filter(|key| self.launch(now, *key)).collect()
    }

    /// When something is to be started.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        let due = |service: &Service| if let State::Waiting(at) = service.state { Some(at) } else { None };
        self.services.values().filter_map(due).min()
    }

    /// The descriptor of a process, to wait for.
    pub(crate) fn descriptor(&self, key: u64) -> Option<BorrowedFd<'_>> {
        match &self.services.get(&key)?.state {
            State::Running { channel, .. } => Some(channel.as_fd()),
            State::Stopped | State::Waiting(_) => None,
        }
    }

    /// Takes what the process says.
    pub(crate) fn handle_ready(&mut self, now: Timestamp, key: u64) {
        loop {
            let Some(service) = self.services.get_mut(&key) else { return };
            let State::Running { channel, ready, .. } = &mut service.state else { return };
            let event = match channel.receive() {
                Incoming::Nothing => return,
                Incoming::Gone => return self.bury(now, key),
                Incoming::Message(Answer::Ended { status, again, said }, _) => {
                    service.ended = Some(status);
                    service.said = said;
                    service.over = !again;
                    continue;
                }
                Incoming::Message(Answer::Ready, _) => {
                    *ready = true;
                    let (prefix, pool) = (service.prefix.clone(), service.pool.clone());
                    ServiceEvent::Up { prefix, pool, weight: service.weight }
                }
                Incoming::Message(Answer::Done { invocation }, result) => {
                    ServiceEvent::Answered { invocation, result: Ok(result) }
                }
                Incoming::Message(Answer::Failed { invocation, reason }, detail) => {
                    let reason = RefusalReason::from_code(reason).unwrap_or(RefusalReason::Failed);
                    let detail = String::from_utf8_lossy(&detail).into_owned();
                    ServiceEvent::Answered { invocation, result: Err((reason, detail)) }
                }
                Incoming::Message(Answer::Report { task, healthy, load_ppm, served, self_test_ns }, _) => {
                    let report = TaskReport { task, healthy, load_ppm, served, self_test_ns };
                    ServiceEvent::Reported { report, prefix: service.prefix.clone() }
                }
            };
            self.events.push(event);
        }
    }

    /// What happened since the last call, in order.
    pub(crate) fn take_events(&mut self) -> Vec<ServiceEvent> {
        std::mem::take(&mut self.events)
    }

    fn key_of(&self, prefix: &Name) -> Option<u64> {
        self.services.iter().find(|(_, s)| s.prefix == *prefix).map(|(key, _)| *key)
    }

    fn send(&self, prefix: &Name, task: &Task, payload: &[u8]) -> io::Result<()> {
        let service = self.key_of(prefix).and_then(|key| self.services.get(&key));
        match service.map(|s| &s.state) {
            Some(State::Running { channel, .. }) => channel.send(task, payload),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Starts the process; false where that failed and has to be tried again.
    fn launch(&mut self, now: Timestamp, key: u64) -> bool {
        let Some(service) = self.services.get_mut(&key) else { return false };
        service.starts += 1;
        service.over = false;
        let identity = Identity {
            node: self.node.clone(),
            domain: self.domain.clone(),
            key: self.key.clone(),
            confine: self.confine.clone(),
            prefix: service.prefix.clone(),
            pool: service.pool.clone(),
        };
        match self.launcher.launch(identity, service.run.as_ref()) {
            Ok((worker, channel)) => {
                service.state = State::Running { worker, channel, since: now, ready: false };
                true
            }
            Err(e) => {
                tracing::error!(prefix = %service.prefix, "service process cannot be started: {e}");
                service.retry(now);
                false
            }
        }
    }

    /// The process is gone: reap it, tell, plan its restart.
    fn bury(&mut self, now: Timestamp, key: u64) {
        let Some(service) = self.services.get_mut(&key) else { return };
        let state = std::mem::replace(&mut service.state, State::Stopped);
        let State::Running { worker, since, ready, .. } = state else { return };
        let status = match worker {
            Worker::Process(child) => reap(child),
            Worker::Program => service.ended.clone().unwrap_or_else(|| "it was ended".to_owned()),
        };
        service.ended = Some(status.clone());
        if now.since(since) >= LONG_LIFE {
            service.backoff = FIRST_BACKOFF;
        }
        if service.over {
            tracing::info!(prefix = %service.prefix, "service ended: {status}; it is not to be started again");
        } else {
            let (wait, starts) = (service.backoff, service.starts);
            tracing::warn!(prefix = %service.prefix, ?wait, starts, "service process ended: {status}; restarting");
            service.retry(now);
        }
        if ready {
            let prefix = service.prefix.clone();
            self.events.push(ServiceEvent::Down { prefix });
        }
    }

    /// Ends a service that is not to come back.
    fn end(&mut self, key: u64) {
        let Some(service) = self.services.get_mut(&key) else { return };
        if let State::Running { worker, ready, .. } = std::mem::replace(&mut service.state, State::Stopped) {
            match worker {
                Worker::Process(child) => {
                    let status = reap(child);
                    tracing::info!(prefix = %service.prefix, "service process stopped: {status}");
                }
                // With its channel the thread ends, and the program with it.
                Worker::Program => tracing::info!(prefix = %service.prefix, "service stopped"),
            }
            if ready {
                let prefix = service.prefix.clone();
                self.events.push(ServiceEvent::Down { prefix });
            }
        }
    }
}

impl Service {
    fn retry(&mut self, now: Timestamp) {
        self.state = State::Waiting(now + self.backoff);
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// Makes sure that a process is dead and says how it ended.
fn reap(mut child: Child) -> String {
    // Without its channel it is of no use; usually it is dead already.
    let _ = child.kill();
    child.wait().map_or_else(|e| e.to_string(), |status| status.to_string())
}

#[cfg(test)]
mod tests;
