//! `lab-init`, process 1 of a lab: builds the network, starts and supervises the nodes, serves the control socket.

mod calibrate;
mod links;
mod nodes;
mod pods;
mod server;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use damc_link::priority::{self, Priority};
use damc_testbed::Acts;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::control::{
    LabState, NodeStatus, Phase, PortStatus, Progress, RecordingStatus, SchedulingStatus, Status, ThreadScheduling,
};
use crate::error::{LabError, Result};
use crate::exec::netns::{self, Namespace};
use crate::exec::process;
use crate::exec::start_priority::session_nice;
use crate::job::Job;
use crate::recorder::{Recorder, Tap};
use crate::rundir::RunDir;
use crate::sandbox;

use links::Links;
use nodes::Nodes;

/// Arguments of `lab-init`.
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// Run directory of the lab.
    #[arg(long)]
    pub directory: PathBuf,
    /// Inherited descriptor of the lab's lock.
    #[arg(long)]
    pub lock: RawFd,
}

/// Name of the namespace that holds the relay's ends of links; no node can be called that.
const WIRE: &str = "(wire)";

/// The whole of `lab-init`. Returns when the lab is to end: the kernel then ends everything else in it.
#[must_use]
pub fn run_init(args: &InitArgs) -> ExitCode {
    let outcome = sandbox::settle(args.lock).and_then(|lock| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LabError::io("start the lab's event loop"))?;
        LocalSet::new().block_on(&runtime, serve(RunDir::at(&args.directory), lock))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-init: {}", error.one_line());
            Progress::Failed(error.one_line()).print();
            ExitCode::FAILURE
        }
    }
}

/// A lab, as its first process holds it.
struct Lab {
    job: Job,
    directory: RunDir,
    namespaces: Vec<Namespace>,
    /// The lab's own namespaces, handed to whoever wants to enter a node.
    own_namespaces: Vec<OwnedFd>,
    links: Links,
    nodes: Nodes,
    /// Says that the lab lives, until it lets go of it.
    lock: Cell<Option<OwnedFd>>,
    recorder: Option<Recorder>,
    phases: RefCell<Vec<Phase>>,
    ready_at_ns: Cell<u64>,
    acts: RefCell<Acts>,
    /// Set once, when a process ends unasked.
    failure: watch::Sender<Option<String>>,
    /// How far an orderly end has come.
    ending: watch::Sender<Ending>,
}

/// How far an orderly end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Nobody wants it.
    No,
    /// The nodes are ending.
    Begun,
    /// The lab ends.
    Now,
}

async fn serve(directory: RunDir, lock: OwnedFd) -> Result<()> {
    let job = read_job(&directory)?;
    let listener = tokio::net::UnixListener::bind(directory.control_socket())
        .map_err(LabError::io(format!("listen on {}", directory.control_socket().display())))?;
    let lab = Rc::new(build(job, directory, lock).await?);
    nodes::supervise(&lab)?;
    nodes::start_all(&lab).await?;
    lab.ready_at_ns.set(damc_link::monotonic_now());
    tokio::task::spawn_local(server::accept(lab.clone(), listener));
    Progress::Ready.print();
    let mut ending = lab.ending.subscribe();
    let _ = ending.wait_for(|ending| *ending == Ending::Now).await;
    Ok(())
}

fn read_job(directory: &RunDir) -> Result<Job> {
    let path = directory.job();
    let text = fs::read(&path).map_err(LabError::io(format!("read {}", path.display())))?;
    serde_json::from_slice(&text).map_err(|error| LabError::Lab(format!("{}: {error}", path.display())))
}

/// Namespaces, links and the recorder: everything but the nodes.
async fn build(job: Job, directory: RunDir, lock: OwnedFd) -> Result<Lab> {
    let phases = RefCell::new(Vec::new());
    let since = Instant::now();
    let (namespaces, taps) = make_namespaces(&job).await?;
    record_phase(&phases, "namespaces", since);

    let since = Instant::now();
    let recorder = if job.choices.record_bytes > 0 { Some(Recorder::start(&job, &directory, taps)?) } else { None };
    record_phase(&phases, "recorder", since);

    let since = Instant::now();
    let mut namespaces = namespaces;
    let links = Links::make(&job, &directory, &mut namespaces).await?;
    pods::make_gateways(&job.plan, &links, &namespaces).await?;
    pods::configure(&job.plan, &links, &namespaces).await?;
    pods::point_to_dns(&job.plan, &directory)?;
    record_phase(&phases, "links", since);
    let nodes = Nodes::new(&job.plan);
    Ok(Lab {
        own_namespaces: sandbox::namespaces_of_lab()?,
        job,
        directory,
        namespaces,
        links,
        nodes,
        lock: Cell::new(Some(lock)),
        recorder,
        phases,
        ready_at_ns: Cell::new(0),
        acts: RefCell::default(),
        failure: watch::Sender::new(None),
        ending: watch::Sender::new(Ending::No),
    })
}

fn record_phase(phases: &RefCell<Vec<Phase>>, name: &str, since: Instant) {
    let phase = Phase { name: name.to_owned(), ms: since.elapsed().as_secs_f64() * 1e3 };
    Progress::Phase(phase.clone()).print();
    phases.borrow_mut().push(phase);
}

/// One namespace for each node and one for the wire, and in each node's a socket that sees its frames.
async fn make_namespaces(job: &Job) -> Result<(Vec<Namespace>, Vec<Tap>)> {
    let mut names: Vec<String> = vec![WIRE.to_owned()];
    names.extend(job.plan.nodes().map(str::to_owned));
    let record = job.choices.record_bytes > 0;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    // A thread that unshares stays in its last namespace, so it is one of its own.
    let maker = std::thread::spawn(move || {
        let mut outcome = Ok(());
        let made = netns::create_all(&names, |namespace| {
            if outcome.is_ok() && record && namespace.name != WIRE {
                match Tap::open(&namespace.name) {
                    Ok(tap) => drop(sender.send((namespace, Some(tap)))),
                    Err(error) => outcome = Err(error),
                }
            } else {
                let _ = sender.send((namespace, None));
            }
        });
        made.and(outcome)
    });
    let (mut namespaces, mut taps) = (Vec::new(), Vec::new());
    while let Some((namespace, tap)) = receiver.recv().await {
        namespaces.push(namespace);
        taps.extend(tap);
    }
    maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok((namespaces, taps))
}

impl Lab {
    fn namespace(&self, node: &str) -> Result<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name == node && namespace.name != WIRE).ok_or_else(|| {
            let nodes = self.job.plan.nodes().map(str::to_owned).collect();
            LabError::NoNode { name: node.to_owned(), nodes }
        })
    }

    /// Ends all that runs in the lab and lets go of its lock. What is left is the kernel's: it waits for every packet socket
    /// that goes, which takes seconds in a lab of hundreds of nodes, and nobody has to wait for that.
    async fn end(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.flush().await;
        }
        process::kill_all();
        drop(self.lock.take());
    }

    /// Marks the lab as failed; the first failure stays.
    fn fail(&self, reason: String) {
        eprintln!("lab-init: {reason}");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(reason);
            }
            first
        });
    }

    fn status(&self) -> Status {
        let failure = self.failure.borrow().clone();
        let state = match (&failure, self.ready_at_ns.get()) {
            (Some(_), _) => LabState::Failed,
            (None, 0) => LabState::Starting,
            (None, _) => LabState::Running,
        };
        let (links, relay_cpu_ns) = self.links.status();
        let to_ready = self.ready_at_ns.get().saturating_sub(self.job.choices.began_at_ns);
        Status {
            lab: self.job.plan.lab.clone(),
            topology: self.job.plan.topology.clone(),
            state,
            failure,
            backend: self.links.backend,
            backend_reason: self.links.reason.clone(),
            seed: self.job.plan.seed,
            phases: self.phases.borrow().clone(),
            ready_ms: std::time::Duration::from_nanos(to_ready).as_secs_f64() * 1e3,
            ready_at_ns: self.ready_at_ns.get(),
            nodes: self.job.plan.nodes().map(|node| self.node_status(node)).collect(),
            links,
            recording: self.recorder.as_ref().map_or(RecordingStatus::default(), Recorder::status),
            relay_cpu_ns,
            scheduling: self.scheduling(),
        }
    }

    /// What each thread of a node may work in real time.
    fn urgent_ppm(&self) -> u32 {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        priority::urgent_share_ppm(self.job.plan.processes.len(), cpus)
    }

    fn scheduling(&self) -> SchedulingStatus {
        let nodes: Vec<ThreadScheduling> =
            self.nodes.pids().into_iter().filter_map(|pid| ThreadScheduling::of(pid.as_raw())).collect();
        let in_real_time = nodes.iter().filter(|node| node.priority == Priority::RealTime).count();
        let nice = nodes.first().map(|node| node.nice);
        SchedulingStatus {
            relay: self.links.relay_pid.and_then(|pid| ThreadScheduling::of(pid.as_raw())),
            nodes_in_real_time: in_real_time,
            nodes_ordinary: nodes.len() - in_real_time,
            nodes_nice: nice.filter(|nice| nodes.iter().all(|node| node.nice == *nice)),
            session_nice: session_nice(),
        }
    }

    fn node_status(&self, name: &str) -> NodeStatus {
        let ports = self.job.plan.ends_of(name).map(|(neighbour, end)| PortStatus {
            name: neighbour.to_owned(),
            interface: end.interface.clone(),
            address: format_address(end.address),
        });
        self.nodes.status(name, self.job.plan.process(name), ports.collect())
    }
}

/// A hardware address as it is usually written.
fn format_address(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

/// Interface indexes per namespace: the loopback has 1.
#[derive(Debug, Default)]
pub(crate) struct Indexes(BTreeMap<String, u32>);

impl Indexes {
    /// The next index in a namespace: even for the first end of a pair, odd for the second. Ends of equal index would look
    /// like one interface to the kernel's link watch, and it would tell of a lost carrier up to a second later.
    fn next(&mut self, namespace: &str, second: bool) -> u32 {
        let index = self.0.entry(namespace.to_owned()).or_insert(0);
        *index += 2;
        *index + u32::from(second)
    }

    /// The number in its namespace, from 0, of the interface with this index; none for the loopback.
    pub(crate) const fn number(index: u32) -> Option<u32> {
        (index / 2).checked_sub(1)
    }
}

#[cfg(test)]
mod index_tests {
    use super::Indexes;

    #[test]
    fn ends_of_a_pair_never_have_the_same_index_and_numbers_count_interfaces() {
        let mut indexes = Indexes::default();
        for number in 0..4 {
            // The pair of two nodes that are alike so far.
            let (a, b) = (indexes.next("a", false), indexes.next("b", true));
            assert_ne!(a, b);
            assert!(a > 1 && b > 1, "1 is the loopback");
            assert_eq!([Indexes::number(a), Indexes::number(b)], [Some(number); 2]);
        }
        assert_eq!([Indexes::number(0), Indexes::number(1)], [None; 2]);
    }
}
