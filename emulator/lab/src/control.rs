//! What is said between a lab and its users: the progress `lab-init` reports while it builds, and the requests it answers
//! on `control.sock` afterwards. Newline-delimited JSON, one reply for each request, in order.

use std::io::Write;

use damc_link::priority::Priority;
use serde::{Deserialize, Serialize};

use crate::relay::calibrate::{Calibration, Depth};
use damc_impair::{DirectionCounters, DirectionSpec};
use damc_testbed::Act;
pub use damc_testbed::{Direction, LinkChange, NodeAction, NodeState};

/// A line on the standard output of `lab-sandbox` and `lab-init`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "progress", content = "detail", rename_all = "kebab-case")]
pub enum Progress {
    /// A phase of the building is over.
    Phase(Phase),
    /// Every node is ready and the control socket listens.
    Ready,
    /// The lab could not be made; the process ends.
    Failed(String),
}

impl Progress {
    /// Prints the line. A reader that has gone away is no error.
    pub fn print(&self) {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

/// A phase of building a lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it took, ms. Phases overlap where they can.
    pub ms: f64,
}

/// A request to a lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The state of everything: [`Reply::Status`].
    Status,
    /// Answered with [`Reply::Status`] when the lab is no longer in good order, with [`Reply::Done`] when it is ended.
    AwaitFailure,
    /// End the lab: nodes get SIGTERM and this long to end.
    Shutdown {
        /// ms; 0 skips the SIGTERM.
        grace_ms: u64,
    },
    /// Change a link.
    Link {
        /// One end: `forward` is what it sends.
        a: String,
        /// The other end.
        b: String,
        /// What to do.
        change: Box<LinkChange>,
    },
    /// The state of a link: [`Reply::Link`].
    ShowLink {
        /// One end.
        a: String,
        /// The other end.
        b: String,
    },
    /// Change the process of a node.
    Node {
        /// Node.
        node: String,
        /// What to do.
        action: NodeAction,
    },
    /// The way into a node: [`Reply::Namespaces`], with the descriptors of `sandbox::Entry` as ancillary data.
    Enter {
        /// Node.
        node: String,
    },
    /// Send PDUs out of a node's port, as if the node had sent them.
    Inject {
        /// Node.
        node: String,
        /// Port: the neighbour's name.
        port: String,
        /// PDUs, hexadecimal.
        pdus: Vec<String>,
    },
    /// Send PDUs out of a node's port one after the other; answered when the first is about to go.
    InjectStream {
        /// Node.
        node: String,
        /// Port: the neighbour's name.
        port: String,
        /// PDUs, hexadecimal.
        pdus: Vec<String>,
        /// From one to the next, µs.
        spacing_us: u64,
    },
    /// Measure what a link does, forward: [`Reply::Calibration`]. Nothing else should use the link meanwhile.
    Calibrate {
        /// The end that sends.
        a: String,
        /// The end that receives.
        b: String,
        /// How much.
        depth: Depth,
    },
    /// Answered when everything captured so far is in the recording.
    Flush,
    /// What was done to links and nodes and through ports: [`Reply::Acts`].
    Acts,
}

/// An answer of a lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// The lab.
    Status {
        /// Its state.
        status: Box<Status>,
    },
    /// A link.
    Link {
        /// Its state, as seen from `a` of the request.
        link: Box<LinkStatus>,
    },
    /// What was measured.
    Calibration {
        /// The outcome.
        calibration: Box<Calibration>,
    },
    /// The descriptors come with this line.
    Namespaces,
    /// What was done, oldest first.
    Acts {
        /// As far as it is remembered.
        acts: Vec<Act>,
    },
    /// What was named does not exist.
    Unknown {
        /// For people: what there is instead.
        reason: String,
    },
    /// Not done, and why.
    Refused {
        /// For people.
        reason: String,
    },
}

/// The state of a lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the lab.
    pub lab: String,
    /// Name of its topology.
    pub topology: String,
    /// In good order, or not.
    pub state: LabState,
    /// Why it failed, with the last log lines of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What serves impaired links.
    pub backend: Backend,
    /// Why that.
    pub backend_reason: String,
    /// Seed of link randomness.
    pub seed: u64,
    /// Phases of the building.
    pub phases: Vec<Phase>,
    /// From the start of `lab-sandbox`'s caller to the last node's readiness, ms.
    pub ready_ms: f64,
    /// When the lab became ready, `CLOCK_MONOTONIC`, ns.
    pub ready_at_ns: u64,
    /// Nodes in start order.
    pub nodes: Vec<NodeStatus>,
    /// Links in the order of the topology file.
    pub links: Vec<LinkStatus>,
    /// The recording.
    pub recording: RecordingStatus,
    /// CPU time the relay has used, ns; 0 without relay.
    pub relay_cpu_ns: u64,
    /// How the kernel schedules the relay and the nodes.
    pub scheduling: SchedulingStatus,
}

/// How the kernel schedules what a lab consists of, as it tells at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulingStatus {
    /// The relay; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<ThreadScheduling>,
    /// Nodes whose control thread waits in real time.
    pub nodes_in_real_time: usize,
    /// Nodes whose control thread is ordinary: for want of permission, or because it is in the middle of much work.
    pub nodes_ordinary: usize,
    /// Nice value of the nodes, where they all have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_nice: Option<i32>,
    /// Nice value of the lab's session among all sessions; none where the kernel has no autogroups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_nice: Option<i32>,
}

/// How the kernel schedules one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadScheduling {
    /// `real-time`, `short-slice` or `ordinary`.
    pub priority: Priority,
    /// Level of real time, 1 to 99; 0 for an ordinary thread.
    pub level: u32,
    /// Nice value.
    pub nice: i32,
    /// How late the kernel may wake it to save work, ns; none where the kernel does not tell.
    pub slack_ns: Option<u64>,
}

impl ThreadScheduling {
    /// Asks the kernel about a thread; none where it is gone.
    #[must_use]
    pub fn of(thread: i32) -> Option<Self> {
        let kernel = damc_link::priority::Scheduling::of(thread).ok()?;
        let slack = std::fs::read_to_string(format!("/proc/{thread}/timerslack_ns")).ok();
        Some(Self {
            priority: kernel.priority(),
            level: kernel.level,
            nice: kernel.nice,
            slack_ns: slack.and_then(|text| text.trim().parse().ok()),
        })
    }
}

/// Whether a lab is in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabState {
    /// Being built.
    Starting,
    /// Every process that should run runs.
    Running,
    /// A process ended unasked.
    Failed,
}

/// What serves links that do more than carry frames at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The kernel's sch_netem at each end.
    Netem,
    /// The built-in relay.
    Relay,
}

impl Backend {
    /// Its name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Netem => "netem",
            Self::Relay => "relay",
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Name.
    pub name: String,
    /// `sg`, `sr`, `spa`, `scsc` or `pod`.
    pub kind: String,
    /// Its program: the file name of ours, the words of a foreign one.
    #[serde(default)]
    pub program: String,
    /// What the program says it is: its name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its process.
    pub state: NodeState,
    /// Process id inside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Times it was started.
    pub starts: u32,
    /// From process start to readiness, ms.
    pub ready_ms: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Its ports.
    pub ports: Vec<PortStatus>,
}

/// One port of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Port: the neighbour's name.
    pub name: String,
    /// Interface in the node's namespace.
    pub interface: String,
    /// Its hardware address.
    pub address: String,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// What serves it.
    pub service: LinkService,
    /// It has carrier as far as the lab decides it.
    pub up: bool,
    /// What happens to frames from `a` to `b`.
    pub forward: DirectionSpec,
    /// What happens to frames from `b` to `a`.
    pub backward: DirectionSpec,
    /// What was counted at `a`, where a queueing discipline shapes; left out in the status of a whole lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_counted: Option<Shaped>,
    /// What was counted at `b`, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backward_counted: Option<Shaped>,
    /// What the relay did to frames from `a` to `b`, where it serves; left out likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_relayed: Option<DirectionCounters>,
    /// What it did to frames from `b` to `a`, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backward_relayed: Option<DirectionCounters>,
    /// How long the relay has counted so far, ms; left out likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed_ms: Option<u64>,
}

impl LinkStatus {
    /// The same link seen from its other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            a: self.b,
            b: self.a,
            forward: self.backward,
            backward: self.forward,
            forward_counted: self.backward_counted,
            backward_counted: self.forward_counted,
            forward_relayed: self.backward_relayed,
            backward_relayed: self.forward_relayed,
            ..self
        }
    }

    /// Frames that went around the shaping, each way, with the nodes that sent and were to receive them.
    #[must_use]
    pub fn bypassed(&self) -> Vec<(&str, &str, u64)> {
        let ways = [(&self.a, &self.b, self.forward_counted), (&self.b, &self.a, self.backward_counted)];
        let count = |counted: Option<Shaped>| counted.map_or(0, |counted| counted.bypassed);
        ways.into_iter()
            .map(|(a, b, counted)| (a.as_str(), b.as_str(), count(counted)))
            .filter(|way| way.2 > 0)
            .collect()
    }
}

/// What the kernel counted where one end of a link is shaped, since that discipline is there, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shaped {
    /// Let go by the discipline.
    pub shaped: u64,
    /// Dropped by it: what it was told to lose, and what its queue had no room for.
    pub dropped: u64,
    /// Left the interface around it, as frames of a socket with PACKET_QDISC_BYPASS do: no delay, no loss, no rate.
    pub bypassed: u64,
}

/// What serves a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkService {
    /// A veth pair, with tbf where it has a rate.
    Plain,
    /// A veth pair with netem at both ends.
    Netem,
    /// Two veth pairs joined by the relay.
    Relay,
}

impl LinkService {
    /// Its name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Netem => "netem",
            Self::Relay => "relay",
        }
    }
}

/// The recording of all frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingStatus {
    /// Frames recorded.
    pub frames: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Frames the kernel dropped because the recorder did not keep up.
    pub lost: u64,
    /// It ended, because nothing more could be written.
    pub stopped: bool,
}
