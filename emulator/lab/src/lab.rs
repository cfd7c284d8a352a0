//! A lab as its user holds it.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::Command;
use damc_mgmt::view::{Shown, ViewKind};
use damc_testbed::Act;
use damc_topology::plan::KeySeed;
use damc_wire::{Role, address};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::client::Client;
use crate::control::{LinkChange, LinkStatus, NodeAction, Phase, Progress, Reply, Request, Status};
use crate::error::{LabError, Result};
use crate::job::Job;
use crate::management::{Events, Management};
use crate::recording::Recording;
use crate::relay::calibrate::{Calibration, Depth};
use crate::rundir::{self, RunDir};
use crate::sandbox::{self, Entry, Launch};

/// How long an orderly end of the nodes may take.
const GRACE: Duration = Duration::from_millis(50);
/// How long the kernel may take to clear a dead lab away.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks at something that tells no change.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Time for everything of a lab's start that is not the nodes' own readiness.
const BUILD_WITHIN: Duration = Duration::from_secs(30);

/// A lab that is up.
///
/// The one that was brought up by [`Lab::up`] ends with this value, unless it was [detached](Lab::detach); one that was
/// [attached](Lab::attach) to goes on.
#[derive(Debug)]
pub struct Lab {
    directory: RunDir,
    job: Job,
    client: Client,
    own: Option<OwnLab>,
}

/// The process of a lab that this process started.
#[derive(Debug)]
struct OwnLab {
    sandbox: Child,
    directory: RunDir,
    /// Its end is the lab's: `lab-sandbox` and `lab-init` hold the other side.
    progress: BufReader<pipe::Receiver>,
}

impl Lab {
    /// Builds what a job says. `prepare` writes what the nodes need into the run directory and completes the job with it.
    ///
    /// # Errors
    /// When it cannot be built; nothing is left then.
    pub async fn build(
        lab: &str,
        longest_node_name: usize,
        detached: bool,
        prepare: impl FnOnce(&RunDir) -> Result<Job>,
        mut tell: impl FnMut(&Phase),
    ) -> Result<Self> {
        let (directory, lock) = RunDir::create(lab, longest_node_name)?;
        let prepared = prepare(&directory).and_then(|job| {
            let path = directory.job();
            let text = serde_json::to_vec(&job).map_err(|error| LabError::Lab(error.to_string()))?;
            std::fs::write(&path, text).map_err(LabError::io(format!("write {}", path.display())))?;
            let launch =
                Launch { program: &job.choices.program, directory: directory.path(), lock: lock.as_fd(), detached };
            Ok((sandbox::launch(launch)?, job))
        });
        // From here on only the lab's own processes hold the lock.
        drop(lock);
        let (sandbox, job) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                directory.sweep()?;
                return Err(error);
            }
        };
        let mut own = OwnLab::new(sandbox, &directory)?;
        let within = BUILD_WITHIN + Duration::from_millis(job.choices.ready_within_ms);
        let built = tokio::time::timeout(within, own.ready(&mut tell)).await.unwrap_or_else(|_| {
            let last = own.log_tail();
            Err(LabError::Deadline { what: "the lab's readiness".to_owned(), within, last })
        });
        if let Err(error) = built {
            // The directory goes with `own`.
            let Some(logs) = directory.keep_logs(&job.plan.topology) else { return Err(error) };
            return Err(LabError::NotBuilt { error: Box::new(error), logs });
        }
        Ok(Self { client: Client::new(&directory), directory, job, own: Some(own) })
    }

    /// What the keys of this lab are made of. Whoever has it can speak as any of its nodes.
    ///
    /// # Errors
    /// When it cannot be read, or others can read it.
    pub fn key_seed(&self) -> Result<KeySeed> {
        crate::up::keys::read(&self.directory.key_seed())
    }

    /// The handle of a lab that is up: the named one, or the only one.
    ///
    /// # Errors
    /// When there is none, or more than one and no name.
    pub fn attach(name: Option<&str>) -> Result<Self> {
        let directory = rundir::find(name)?;
        let path = directory.job();
        let text = std::fs::read(&path).map_err(LabError::io(format!("read {}", path.display())))?;
        let job =
            serde_json::from_slice(&text).map_err(|error| LabError::Lab(format!("{}: {error}", path.display())))?;
        Ok(Self { client: Client::new(&directory), directory, job, own: None })
    }

    /// Lets the lab go on when this value ends.
    pub fn detach(&mut self) {
        if let Some(own) = self.own.take() {
            own.let_go();
        }
    }

    /// Name of the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.job.plan.lab
    }

    /// What it was built from.
    #[must_use]
    pub const fn job(&self) -> &Job {
        &self.job
    }

    /// Where its sockets, configurations and logs are.
    #[must_use]
    pub const fn directory(&self) -> &RunDir {
        &self.directory
    }

    /// Names of the nodes, in start order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.job.plan.nodes()
    }

    /// The state of everything.
    ///
    /// # Errors
    /// When the lab is gone.
    pub async fn status(&self) -> Result<Status> {
        match self.client.ask(&Request::Status).await? {
            Reply::Status { status } => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns when the lab is no longer in good order: a process ended unasked, or the whole lab is gone.
    pub async fn failed(&self) -> LabError {
        match self.client.ask(&Request::AwaitFailure).await {
            Ok(Reply::Status { status }) => LabError::NodeFailed(status.failure.unwrap_or_default()),
            Ok(Reply::Done) => LabError::Ended(self.job.plan.lab.clone()),
            Ok(other) => unexpected(&other),
            Err(error) => error,
        }
    }

    /// Measures what a link does from `a` to `b`. Nothing else should use it meanwhile.
    ///
    /// # Errors
    /// When there is no such link, or it cannot be measured.
    pub async fn calibrate(&self, a: &str, b: &str, depth: Depth) -> Result<Calibration> {
        match self.client.ask(&Request::Calibrate { a: a.to_owned(), b: b.to_owned(), depth }).await? {
            Reply::Calibration { calibration } => Ok(*calibration),
            other => Err(unexpected(&other)),
        }
    }

    /// The error of a lab that is not in good order.
    ///
    /// # Errors
    /// As the function says.
    pub async fn check(&self) -> Result<()> {
        let status = self.status().await?;
        status.failure.map_or(Ok(()), |failure| Err(LabError::NodeFailed(failure)))
    }

    /// Changes the link between two nodes; forward is what `a` sends.
    ///
    /// # Errors
    /// When there is no such link, or it cannot do that.
    pub async fn link(&self, a: &str, b: &str, change: LinkChange) -> Result<()> {
        self.done(&Request::Link { a: a.to_owned(), b: b.to_owned(), change: Box::new(change) }).await
    }

    /// The state of the link between two nodes; forward is what `a` sends.
    ///
    /// # Errors
    /// When there is no such link.
    pub async fn link_status(&self, a: &str, b: &str) -> Result<LinkStatus> {
        match self.client.ask(&Request::ShowLink { a: a.to_owned(), b: b.to_owned() }).await? {
            Reply::Link { link } => Ok(*link),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes the process of a node; returns when it is done (a started node is ready then).
    ///
    /// # Errors
    /// When there is no such node, or it is not in a state for that.
    pub async fn node(&self, name: &str, action: NodeAction) -> Result<()> {
        self.done(&Request::Node { node: name.to_owned(), action }).await
    }

    /// Sends a PDU out of a node's port, as if the node had sent it.
    ///
    /// # Errors
    /// When there is no such port, or the kernel does not take the frame.
    pub async fn inject(&self, node: &str, port: &str, pdu: &[u8]) -> Result<()> {
        self.inject_all(node, port, &[pdu.to_vec()]).await
    }

    /// Sends PDUs out of a node's port at once, as if the node had sent them. What its queue has no room for is lost.
    ///
    /// # Errors
    /// As [`Lab::inject`].
    pub async fn inject_all(&self, node: &str, port: &str, pdus: &[Vec<u8>]) -> Result<()> {
        let pdus = pdus.iter().map(|pdu| damc_trust::to_hex(pdu)).collect();
        self.done(&Request::Inject { node: node.to_owned(), port: port.to_owned(), pdus }).await
    }

    /// Sends PDUs out of a node's port, one each `spacing`; returns when the first is about to go.
    ///
    /// # Errors
    /// As [`Lab::inject`]; or when they are too many.
    pub async fn inject_stream(&self, node: &str, port: &str, pdus: &[Vec<u8>], spacing: Duration) -> Result<()> {
        self.done(&Request::InjectStream {
            node: node.to_owned(),
            port: port.to_owned(),
            pdus: pdus.iter().map(|pdu| damc_trust::to_hex(pdu)).collect(),
            spacing_us: u64::try_from(spacing.as_micros()).unwrap_or(u64::MAX),
        })
        .await
    }

    /// What was done to links and nodes and through ports, oldest first, as far as the lab remembers it.
    ///
    /// # Errors
    /// When the lab is gone.
    pub async fn acts(&self) -> Result<Vec<Act>> {
        match self.client.ask(&Request::Acts).await? {
            Reply::Acts { acts } => Ok(acts),
            other => Err(unexpected(&other)),
        }
    }

    /// The recording from its beginning, with everything captured before this call in it.
    ///
    /// # Errors
    /// When the lab keeps no recording.
    pub async fn recording(&self) -> Result<Recording> {
        self.flush_recording().await?;
        Recording::open(&self.directory.frames())
    }

    /// Has everything captured before this call written to the recording.
    ///
    /// # Errors
    /// When the lab is gone.
    pub async fn flush_recording(&self) -> Result<()> {
        self.done(&Request::Flush).await
    }

    /// The management interface of a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn management(&self, node: &str) -> Result<Management> {
        if self.nodes().any(|name| name == node) {
            let management = Management::new(node, &self.directory.node_socket(node));
            let foreign = self.job.plan.process(node).is_some_and(|process| process.program.is_foreign());
            return Ok(if foreign { management.of_foreign() } else { management });
        }
        Err(LabError::NoNode { name: node.to_owned(), nodes: self.nodes().map(str::to_owned).collect() })
    }

    /// What a node shows.
    ///
    /// # Errors
    /// When the node does not answer, or its role has no such view.
    pub async fn show<T: Shown + DeserializeOwned>(&self, node: &str) -> Result<T> {
        self.management(node)?.get(&format!("/{}", T::KIND)).await
    }

    /// What a node shows, member by member as it sent it.
    ///
    /// # Errors
    /// When the node does not answer, or its role has no such view.
    pub async fn show_json(&self, node: &str, kind: ViewKind) -> Result<serde_json::Value> {
        self.management(node)?.get(&format!("/{kind}")).await
    }

    /// The stream of a node's events.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn events(&self, node: &str) -> Result<Events> {
        self.management(node)?.events().await
    }

    /// Has a pod call a service. A call that fails is an answer, not an error.
    ///
    /// # Errors
    /// When the pod does not answer.
    pub async fn call(&self, pod: &str, request: &CallRequest) -> Result<CallReply> {
        // The pod keeps the deadline; this one is for a pod that has hung.
        let within = Duration::from_millis(request.deadline_ms) + Duration::from_secs(2);
        self.management(pod)?.post("/call", request, within).await
    }

    /// Gives a node an order beside the wire: overload, revoke, licence, probe, stop, ….
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn order(&self, node: &str, order: &Command) -> Result<serde_json::Value> {
        self.management(node)?.post("/order", order, Duration::from_secs(5)).await
    }

    /// The way into a node, for running programs there. Blocks.
    ///
    /// # Errors
    /// When there is no such node, or the lab is gone.
    pub fn enter(&self, node: &str) -> Result<Entry> {
        let entry = self.client.enter(node)?;
        let is_pod = self.job.plan.process(node).is_some_and(|process| process.config.role == Role::Pod.label());
        Ok(if is_pod { entry.with_variables(self.variables_of(node)) } else { entry })
    }

    /// What programs in a pod need to know for class 1 over HTTP or gRPC, as those of its services do.
    fn variables_of(&self, pod: &str) -> Vec<(&'static str, String)> {
        let domain = &self.job.plan.domain;
        let key = self.directory.path().join(format!("{pod}.pem"));
        vec![
            ("DAMC_DOMAIN", format!("{domain}.{}", address::DNS_TOP)),
            ("DAMC_GATEWAY", address::of_gateway(domain).to_string()),
            ("DAMC_KEY", key.display().to_string()),
        ]
    }

    /// Copies the logs to where they outlive the lab, in the place of those of the last lab of this topology that failed;
    /// none where that is not possible.
    #[must_use]
    pub fn keep_logs(&self) -> Option<PathBuf> {
        self.directory.keep_logs(&self.job.plan.topology)
    }

    /// Ends the lab in order and removes its directory: all its processes are told to end and then killed. The kernel may
    /// take some seconds more to clear hundreds of namespaces away.
    ///
    /// # Errors
    /// When it does not go away.
    pub async fn down(mut self) -> Result<()> {
        // A lab that does not answer any more is ended all the same.
        let request = Request::Shutdown { grace_ms: u64::try_from(GRACE.as_millis()).unwrap_or(0) };
        let _ = tokio::time::timeout(GRACE + GONE_WITHIN, self.done(&request)).await;
        // Dropping it kills what is left and removes the directory.
        drop(self.own.take());
        let deadline = tokio::time::Instant::now() + GONE_WITHIN;
        while !self.directory.sweep()? {
            if tokio::time::Instant::now() >= deadline {
                let last = "its first process still holds the lock".to_owned();
                return Err(LabError::Deadline {
                    what: format!("the end of lab {}", self.job.plan.lab),
                    within: GONE_WITHIN,
                    last,
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn done(&self, request: &Request) -> Result<()> {
        match self.client.ask(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(reply: &Reply) -> LabError {
    LabError::Lab(format!("the lab answered another question: {reply:?}"))
}

impl OwnLab {
    fn new(mut sandbox: Child, directory: &RunDir) -> Result<Self> {
        let stdout = sandbox.stdout.take().ok_or_else(|| LabError::Lab("the sandbox has no output".to_owned()))?;
        let progress =
            pipe::Receiver::from_owned_fd(stdout.into()).map_err(LabError::io("follow the lab's progress"))?;
        Ok(Self { sandbox, directory: directory.clone(), progress: BufReader::new(progress) })
    }

    /// Follows the building until the lab is ready.
    async fn ready(&mut self, tell: &mut impl FnMut(&Phase)) -> Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.progress.read_line(&mut line).await.map_err(LabError::io("follow the lab's progress"))?;
            if length == 0 {
                return Err(LabError::Lab(format!("the lab ended while it was being built{}", self.log_tail())));
            }
            match serde_json::from_str(&line) {
                Ok(Progress::Phase(phase)) => tell(&phase),
                Ok(Progress::Ready) => return Ok(()),
                Ok(Progress::Failed(reason)) => return Err(LabError::Lab(reason)),
                Err(error) => return Err(LabError::Lab(format!("the lab's progress: {error}"))),
            }
        }
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.directory.lab_log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].iter().fold(String::new(), |text, line| format!("{text}\n  {line}"))
    }

    fn let_go(self) {
        // The drop would end the lab.
        std::mem::forget(self);
    }
}

impl Drop for OwnLab {
    fn drop(&mut self) {
        let _ = self.sandbox.kill();
        let _ = self.sandbox.wait();
        let deadline = std::time::Instant::now() + GONE_WITHIN;
        while matches!(self.directory.sweep(), Ok(false)) && std::time::Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The executable that knows the hidden commands: `DAMC_PROGRAM`, else the running one.
///
/// # Errors
/// When the running executable cannot be told.
pub fn program() -> Result<PathBuf> {
    match std::env::var_os("DAMC_PROGRAM") {
        Some(program) => Ok(Path::new(&program).to_owned()),
        None => std::env::current_exe().map_err(LabError::io("find the running executable")),
    }
}
