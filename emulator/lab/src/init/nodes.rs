//! The processes of nodes: started, watched, signalled.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use damc_topology::plan::{Place, Plan, Process};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::AsyncBufReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::{Ending, Lab, record_phase};
use crate::control::{NodeAction, NodeState, NodeStatus, PortStatus};
use crate::error::{LabError, Result};
use crate::exec::process::{self, Program, Started};
use crate::exec::start_priority::{self, StartPriority};

/// What a node prints when it serves its ports and its management socket.
const READY_LINE: &str = "ready";
/// Begins the line in which a program names itself and its version.
const VERSION_LINE: &str = "version ";
/// How long an orderly end may take before it is made to happen.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// Threads that start nodes.
const STARTERS: usize = 4;
/// Log lines told when a node ends unasked.
const LAST_LINES: usize = 12;

/// All nodes of a lab.
pub(super) struct Nodes {
    table: RefCell<BTreeMap<String, Node>>,
    /// Rung at every change of a node's state.
    changed: Notify,
    /// Processes are being started that are not in the table yet.
    starting: Cell<bool>,
    /// Nodes that are ready give way to those that are not.
    in_start_order: Cell<bool>,
}

struct Node {
    state: NodeState,
    pid: Option<Pid>,
    starts: u32,
    started_at: Instant,
    ready_ms: f64,
    version: Option<String>,
    /// Its end is what somebody asked for.
    end_ordered: bool,
}

impl Nodes {
    pub(super) fn new(plan: &Plan) -> Self {
        let node = || Node {
            state: NodeState::Stopped,
            pid: None,
            starts: 0,
            started_at: Instant::now(),
            ready_ms: 0.0,
            version: None,
            end_ordered: false,
        };
        let table = plan.nodes().map(|name| (name.to_owned(), node())).collect();
        Self {
            table: RefCell::new(table),
            changed: Notify::new(),
            starting: Cell::new(false),
            in_start_order: Cell::new(false),
        }
    }

    pub(super) fn status(&self, name: &str, process: Option<&Process>, ports: Vec<PortStatus>) -> NodeStatus {
        let table = self.table.borrow();
        let node = table.get(name);
        let pid = node.and_then(|node| node.pid).map(Pid::as_raw);
        NodeStatus {
            name: name.to_owned(),
            kind: process.map_or("bare", |process| process.config.role.as_str()).to_owned(),
            program: process.map(|process| process.program.to_string()).unwrap_or_default(),
            version: node.and_then(|node| node.version.clone()),
            state: node.map_or(NodeState::Stopped, |node| node.state),
            pid,
            starts: node.map_or(0, |node| node.starts),
            ready_ms: node.map_or(0.0, |node| node.ready_ms),
            resident_bytes: pid.map_or(0, resident_bytes),
            ports,
        }
    }

    /// Processes of nodes that run.
    pub(super) fn pids(&self) -> Vec<Pid> {
        self.table.borrow().values().filter_map(|node| node.pid).collect()
    }

    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Node) -> T) -> Option<T> {
        let result = self.table.borrow_mut().get_mut(name).map(change);
        self.changed.notify_waiters();
        result
    }

    /// Waits until `condition` holds for the states of all nodes.
    async fn wait_for(&self, within: Duration, condition: impl Fn(&BTreeMap<String, Node>) -> bool) -> bool {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let changed = self.changed.notified();
            if condition(&self.table.borrow()) {
                return true;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return condition(&self.table.borrow());
            }
        }
    }
}

/// Starts every node and waits until each is ready.
pub(super) async fn start_all(lab: &Rc<Lab>) -> Result<()> {
    let since = Instant::now();
    lab.nodes.starting.set(true);
    lab.nodes.in_start_order.set(start_priority::may_change());
    let outcome = start_side_by_side(lab).await;
    lab.nodes.starting.set(false);
    reap(lab);
    outcome?;
    record_phase(&lab.phases, "start nodes", since);
    let since = Instant::now();
    let within = Duration::from_millis(lab.job.choices.ready_within_ms);
    let settled = |table: &BTreeMap<String, Node>| {
        table.values().all(|node| node.state == NodeState::Ready)
            || table.values().any(|node| node.state == NodeState::Failed)
    };
    let settled = lab.nodes.wait_for(within, settled).await;
    if lab.nodes.in_start_order.take() {
        all_go_first(lab);
    }
    record_phase(&lab.phases, "nodes ready", since);
    if let Some(failure) = lab.failure.borrow().clone() {
        return Err(LabError::NodeFailed(failure));
    }
    if settled {
        return Ok(());
    }
    let table = lab.nodes.table.borrow();
    let late = table.iter().filter(|(_, node)| node.state != NodeState::Ready).map(|(name, _)| name.clone());
    let nodes = late.collect::<Vec<_>>();
    let last_lines = nodes.first().map(|node| last_lines(lab, node)).unwrap_or_default();
    Err(LabError::NotReady { nodes, within, last_lines })
}

/// Ends the order of [`turn`]: from now on all nodes are as urgent.
fn all_go_first(lab: &Lab) {
    for (name, pid) in lab.nodes.table.borrow().iter().filter_map(|(name, node)| Some((name, node.pid?))) {
        if let Err(error) = StartPriority::First.give(pid) {
            eprintln!("lab-init: {name} still gives way to others: {error}");
        }
    }
}

/// Starts every node, several at a time: starting one is mostly waiting for its fork and exec.
async fn start_side_by_side(lab: &Rc<Lab>) -> Result<()> {
    let mut programs = Vec::new();
    for process in &lab.job.plan.processes {
        let name = &process.node;
        let namespace = lab.namespace(name)?.fd().try_clone_to_owned();
        let namespace = namespace.map_err(LabError::io(format!("enter the namespace of {name}")))?;
        programs.push((namespace, Command::of(lab, process)));
    }
    for bare in lab.job.plan.nodes().filter(|name| lab.job.plan.process(name).is_none()) {
        lab.nodes.with(bare, |node| node.state = NodeState::Ready);
    }
    let urgent_ppm = lab.urgent_ppm();
    let start_priority = lab.nodes.in_start_order.get().then_some(StartPriority::Starting);
    let (sender, mut started) = mpsc::unbounded_channel();
    let programs = Arc::new((programs, AtomicUsize::new(0)));
    for _ in 0..STARTERS {
        let (programs, sender) = (Arc::clone(&programs), sender.clone());
        std::thread::spawn(move || {
            let (programs, next) = &*programs;
            while let Some((namespace, command)) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let program = command.program(namespace.as_fd(), start_priority, urgent_ppm);
                let _ = sender.send((command.node.clone(), Instant::now(), process::start(program)));
            }
        });
    }
    drop(sender);
    while let Some((node, at, outcome)) = started.recv().await {
        enlist(lab, &node, at, outcome?);
    }
    Ok(())
}

/// Has process 1 take note of every child that ends.
pub(super) fn supervise(lab: &Rc<Lab>) -> Result<()> {
    let mut ended = signal(SignalKind::child()).map_err(LabError::io("watch the lab's processes"))?;
    let lab = lab.clone();
    tokio::task::spawn_local(async move {
        while ended.recv().await.is_some() {
            // A process that ends before it is enlisted would be taken for somebody's orphan.
            if !lab.nodes.starting.get() {
                reap(&lab);
            }
        }
    });
    Ok(())
}

fn reap(lab: &Rc<Lab>) {
    for (pid, how) in process::reap() {
        note_end(lab, pid, &how);
    }
}

fn note_end(lab: &Rc<Lab>, pid: Pid, how: &str) {
    if lab.links.relay_pid == Some(pid) {
        if *lab.ending.borrow() != Ending::No {
            return;
        }
        lab.fail(format!("the relay ended unasked: {how}"));
        return;
    }
    let ended = {
        let mut table = lab.nodes.table.borrow_mut();
        let node = table.iter_mut().find(|(_, node)| node.pid == Some(pid));
        node.map(|(name, node)| {
            node.pid = None;
            node.state = if node.end_ordered { NodeState::Stopped } else { NodeState::Failed };
            (name.clone(), node.end_ordered)
        })
    };
    if let Some((name, ordered)) = ended {
        // Services a node leaves behind belong to its group and end with it.
        let _ = process::signal(pid, Signal::SIGKILL);
        if !ordered {
            lab.fail(format!("{name} ended unasked: {how}{}", last_lines(lab, &name)));
        }
        lab.nodes.changed.notify_waiters();
    }
}

/// Does what was ordered; returns when it is done.
pub(super) async fn act(lab: &Rc<Lab>, name: &str, action: NodeAction) -> Result<()> {
    lab.namespace(name)?;
    match action {
        NodeAction::Kill => end(lab, name, Signal::SIGKILL).await,
        NodeAction::Stop => end(lab, name, Signal::SIGTERM).await,
        NodeAction::Start => {
            if running(lab, name).is_some() {
                return Err(LabError::Refused(format!("{name} is running already")));
            }
            start(lab, name)?;
            let within = Duration::from_millis(lab.job.choices.ready_within_ms);
            let over =
                |table: &BTreeMap<String, Node>| table.get(name).is_some_and(|node| node.state != NodeState::Starting);
            lab.nodes.wait_for(within, over).await;
            match lab.nodes.table.borrow().get(name).map(|node| node.state) {
                Some(NodeState::Ready) => Ok(()),
                _ => {
                    Err(LabError::NotReady { nodes: vec![name.to_owned()], within, last_lines: last_lines(lab, name) })
                }
            }
        }
        NodeAction::Pause => freeze(lab, name, Signal::SIGSTOP, NodeState::Paused),
        NodeAction::Resume => freeze(lab, name, Signal::SIGCONT, NodeState::Ready),
    }
}

async fn end(lab: &Rc<Lab>, name: &str, how: Signal) -> Result<()> {
    let Some(pid) = running(lab, name) else { return Err(not_running(name)) };
    lab.nodes.with(name, |node| node.end_ordered = true);
    process::signal(pid, how)?;
    // A paused process takes no notice of SIGTERM before it goes on.
    process::signal(pid, Signal::SIGCONT)?;
    let gone = |table: &BTreeMap<String, Node>| table.get(name).is_none_or(|node| node.pid != Some(pid));
    if !lab.nodes.wait_for(STOP_WITHIN, gone).await {
        process::signal(pid, Signal::SIGKILL)?;
        lab.nodes.wait_for(STOP_WITHIN, gone).await;
    }
    Ok(())
}

fn freeze(lab: &Rc<Lab>, name: &str, how: Signal, state: NodeState) -> Result<()> {
    let Some(pid) = running(lab, name) else { return Err(not_running(name)) };
    process::signal(pid, how)?;
    lab.nodes.with(name, |node| node.state = state);
    Ok(())
}

/// Tells all nodes to end and waits for it, `grace` in all.
pub(super) async fn stop_all(lab: &Rc<Lab>, grace: Duration) {
    let since = Instant::now();
    let pids: Vec<Pid> = {
        let mut table = lab.nodes.table.borrow_mut();
        table.values_mut().for_each(|node| node.end_ordered = true);
        drop(table);
        lab.nodes.pids()
    };
    // Those that are told first must not keep this process from telling the others.
    for pid in &pids {
        let _ = StartPriority::Last.give(*pid);
    }
    for pid in pids {
        let _ = process::signal(pid, Signal::SIGTERM);
        let _ = process::signal(pid, Signal::SIGCONT);
    }
    let left = grace.saturating_sub(since.elapsed());
    lab.nodes.wait_for(left, |table| table.values().all(|node| node.pid.is_none())).await;
}

fn running(lab: &Lab, name: &str) -> Option<Pid> {
    lab.nodes.table.borrow().get(name).and_then(|node| node.pid)
}

fn not_running(name: &str) -> LabError {
    LabError::Refused(format!("{name} is not running"))
}

/// What starts a node.
struct Command {
    node: String,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    folder: Option<PathBuf>,
    log: PathBuf,
}

impl Command {
    fn of(lab: &Lab, process: &Process) -> Self {
        let node = process.node.clone();
        let config = lab.directory.node_config(&node);
        let place = Place { node: &node, config: &config, directory: lab.directory.path() };
        Self {
            argv: process.program.argv(place),
            env: process.program.env(place),
            folder: process.program.folder().map(Path::to_owned),
            log: lab.directory.node_log(&node),
            node,
        }
    }

    fn program<'a>(
        &'a self,
        namespace: BorrowedFd<'a>,
        start_priority: Option<StartPriority>,
        urgent_ppm: u32,
    ) -> Program<'a> {
        Program {
            node: &self.node,
            argv: &self.argv,
            env: &self.env,
            folder: self.folder.as_deref(),
            namespace,
            log: &self.log,
            start_priority,
            urgent_ppm,
        }
    }
}

fn start(lab: &Rc<Lab>, name: &str) -> Result<()> {
    let namespace = lab.namespace(name)?;
    let process = lab.job.plan.process(name);
    let process = process.ok_or_else(|| LabError::Refused(format!("{name} is a namespace without a process")))?;
    let command = Command::of(lab, process);
    // A socket of a process before would be in the way.
    let _ = fs::remove_file(lab.directory.node_socket(name));
    let at = Instant::now();
    let started = process::start(command.program(namespace.fd(), None, lab.urgent_ppm()))?;
    enlist(lab, name, at, started);
    Ok(())
}

/// Takes a process that has just been started under supervision.
fn enlist(lab: &Rc<Lab>, name: &str, at: Instant, Started { pid, stdout }: Started) {
    lab.nodes.with(name, |node| {
        node.pid = Some(pid);
        node.state = NodeState::Starting;
        node.starts += 1;
        node.started_at = at;
        node.end_ordered = false;
    });
    let (lab, name) = (lab.clone(), name.to_owned());
    tokio::task::spawn_local(async move {
        if let Err(error) = follow(&lab, &name, pid, stdout).await {
            eprintln!("lab-init: output of {name}: {error}");
        }
    });
}

/// Reads what a node prints: the sign of its readiness, and lines for its log.
async fn follow(lab: &Rc<Lab>, name: &str, pid: Pid, stdout: ChildStdout) -> std::io::Result<()> {
    let stdout = tokio::net::unix::pipe::Receiver::from_owned_fd(stdout.into())?;
    let mut lines = tokio::io::BufReader::new(stdout).lines();
    let mut log = fs::OpenOptions::new().create(true).append(true).open(lab.directory.node_log(name))?;
    while let Some(line) = lines.next_line().await? {
        if line == READY_LINE {
            if lab.nodes.in_start_order.get() {
                let _ = StartPriority::Last.give(pid);
            }
            lab.nodes.with(name, |node| {
                if node.pid == Some(pid) && node.state == NodeState::Starting {
                    node.state = NodeState::Ready;
                    node.ready_ms = node.started_at.elapsed().as_secs_f64() * 1e3;
                }
            });
        } else {
            if let Some(version) = line.strip_prefix(VERSION_LINE) {
                lab.nodes.with(name, |node| node.version = Some(version.trim().to_owned()));
            }
            writeln!(log, "{line}")?;
        }
    }
    Ok(())
}

fn last_lines(lab: &Lab, name: &str) -> String {
    let path = lab.directory.node_log(name);
    let Ok(file) = fs::File::open(&path) else { return String::new() };
    let mut last = std::collections::VecDeque::new();
    for line in BufReader::new(file).lines().map_while(std::result::Result::ok) {
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    if last.is_empty() {
        return format!("; the log of {name} is empty");
    }
    last.iter().fold(format!("; the last lines of {name}:"), |text, line| format!("{text}\n  {line}"))
}

/// From /proc/PID/statm; 0 where the process is gone.
fn resident_bytes(pid: i32) -> u64 {
    const PAGE: u64 = 4096;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * PAGE)
}
