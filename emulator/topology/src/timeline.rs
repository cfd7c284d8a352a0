//! The timeline of a topology: what happens during a run, and what is expected of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use damc_impair::DirectionChange;
use damc_wire::{Name, NodeId};
use serde::{Deserialize, Serialize};

mod text;

/// An entry of the timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineEvent {
    /// What other entries call it (`as:`).
    pub label: Option<String>,
    /// Its line in the file, from 1.
    pub line: usize,
    /// When it happens for the first time.
    pub start: Start,
    /// How often.
    pub repeat: Option<Repeat>,
    /// How long each time lasts, ns; what was done is taken back then. None: it stays.
    pub lasts_ns: Option<u64>,
    /// What happens.
    pub act: Act,
}

/// When an entry happens for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// So long after convergence, ns.
    At(u64),
    /// When the entry of this number is over, its repetitions included.
    After(usize),
}

/// Repetitions of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// From one start to the next, ns.
    pub every_ns: u64,
    /// Times in all, the first included.
    pub times: u32,
}

/// What can happen during a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A link changes; forward is what `a` sends.
    Link {
        /// One end.
        a: NodeId,
        /// The other end.
        b: NodeId,
        /// How.
        change: Box<LinkEvent>,
    },
    /// A node changes.
    Node {
        /// The node.
        node: NodeId,
        /// How.
        step: NodeStep,
    },
    /// A service changes.
    Service {
        /// The pod that has it, or gets it.
        pod: NodeId,
        /// Its prefix.
        prefix: Name,
        /// How.
        step: ServiceStep,
    },
    /// A licence of a pod comes or goes.
    Licence {
        /// The pod.
        pod: NodeId,
        /// What it may announce, or may not any more.
        prefix: Name,
        /// It comes.
        grant: bool,
    },
    /// Nothing passes between groups of nodes. The carriers stay.
    Partition {
        /// The groups as they were written.
        groups: Vec<Vec<NodeId>>,
        /// The links between them.
        cut: Vec<(NodeId, NodeId)>,
    },
    /// A stream of requests.
    Load(Load),
    /// A program in a pod.
    Run {
        /// The pod.
        pod: NodeId,
        /// Command and arguments.
        command: Vec<String>,
    },
    /// Something is expected.
    Expect {
        /// What.
        what: Expected,
        /// When it has to hold.
        hold: Hold,
    },
}

/// How a link changes.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a timeline is short, and read once")]
pub enum LinkEvent {
    /// Carrier goes.
    Down,
    /// Carrier is back, and frames pass.
    Up,
    /// Frames are lost, carrier stays.
    Silent,
    /// Back to what the topology says.
    Clear,
    /// Properties change.
    Set {
        /// From the first named end to the second.
        forward: DirectionChange,
        /// From the second to the first.
        backward: DirectionChange,
    },
    /// Both directions follow a trace.
    Follow(Trace),
}

/// A recorded link.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The file it was read from.
    pub file: PathBuf,
    /// What changes when, in order of time, ns from its begin.
    pub steps: Vec<(u64, DirectionChange)>,
}

impl Trace {
    /// When its last step begins, ns from its begin.
    #[must_use]
    pub fn lasts_ns(&self) -> u64 {
        self.steps.last().map_or(0, |(at, _)| *at)
    }
}

/// What can be done to the process of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAction {
    /// SIGKILL, its services too.
    Kill,
    /// SIGTERM; answered when it has ended.
    Stop,
    /// Start it again; answered when it is ready.
    Start,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
}

impl NodeAction {
    /// All, in the order of their documentation.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Stop, Self::Start, Self::Pause, Self::Resume];

    /// Its name on the command line and in topology files.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// What an entry can do to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStep {
    /// Something to its process.
    Process(NodeAction),
    /// Set or clear its overload bit: others no longer route through it.
    Overload(bool),
}

impl NodeStep {
    /// All, in the order of their documentation.
    pub const ALL: [Self; 7] = [
        Self::Process(NodeAction::Kill),
        Self::Process(NodeAction::Stop),
        Self::Process(NodeAction::Start),
        Self::Process(NodeAction::Pause),
        Self::Process(NodeAction::Resume),
        Self::Overload(true),
        Self::Overload(false),
    ];

    /// Its name in topology files.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Process(action) => action.label(),
            Self::Overload(true) => "overload",
            Self::Overload(false) => "normal",
        }
    }

    /// What takes it back; none where nothing does.
    #[must_use]
    pub const fn undone_by(self) -> Option<Self> {
        match self {
            Self::Process(NodeAction::Kill | NodeAction::Stop) => Some(Self::Process(NodeAction::Start)),
            Self::Process(NodeAction::Pause) => Some(Self::Process(NodeAction::Resume)),
            Self::Overload(true) => Some(Self::Overload(false)),
            Self::Process(NodeAction::Start | NodeAction::Resume) | Self::Overload(false) => None,
        }
    }
}

/// What an entry can do to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceStep {
    /// Its process ends and stays away.
    Stop,
    /// It is started again.
    Start,
    /// Its process is killed; the pod starts it again.
    Restart,
    /// A new service of a pod.
    Announce,
    /// That service goes.
    Withdraw,
}

/// A stream of requests at fixed times, whatever becomes of the ones before.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// The pod that asks.
    pub from: NodeId,
    /// Whom.
    pub to: Name,
    /// Requests each second.
    pub per_second: f64,
    /// Bytes of a request, and of its answer.
    pub size: usize,
    /// How.
    pub kind: LoadKind,
}

impl Load {
    /// When each request is due within this time, ns from the begin.
    pub fn due(&self, lasts_ns: u64) -> impl Iterator<Item = u64> + use<> {
        let every = 1e9 / self.per_second;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an hour of ns fits")]
        (0_u32..).map(move |number| (f64::from(number) * every).round() as u64).take_while(move |at| *at < lasts_ns)
    }
}

/// What a load consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadKind {
    /// Remote method invocations.
    Rmi,
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
    /// HTTP requests.
    Http,
}

impl LoadKind {
    /// All, in the order of their documentation.
    pub const ALL: [Self; 4] = [Self::Rmi, Self::Udp, Self::Tcp, Self::Http];

    /// Its name in topology files.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rmi => "rmi",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

/// When an expectation has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// When it is looked at.
    Now,
    /// At one moment of this time at least, ns.
    Within(u64),
    /// All the time that the entry lasts; where it does not say how long, until everything else is over.
    Throughout,
}

/// What can be expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// A call from a pod is answered.
    Reachable {
        /// The pod.
        from: NodeId,
        /// Whom it calls.
        name: Name,
    },
    /// A call from a pod is refused, or has no answer.
    Unreachable {
        /// The pod.
        from: NodeId,
        /// Whom it calls.
        name: Name,
    },
    /// A call takes this way.
    Path {
        /// The pod that calls.
        from: NodeId,
        /// Whom.
        name: Name,
        /// SGs and SRs, in order.
        nodes: Vec<NodeId>,
        /// These and no others; otherwise others may be between them.
        exact: bool,
    },
    /// A forwarding table says so.
    Fib {
        /// SG or SR.
        node: NodeId,
        /// The prefix.
        prefix: Name,
        /// What it has there.
        entry: FibState,
    },
    /// A policy for a prefix is, or is not, in force at a node.
    Policy {
        /// SG or SR.
        node: NodeId,
        /// The prefix.
        prefix: Name,
        /// It is.
        present: bool,
    },
    /// Requests of a load that were not answered.
    Lost {
        /// The entry of the load.
        of: usize,
        /// Most of them.
        at_most: u64,
    },
    /// A percentile of the times that requests of a load took.
    Latency {
        /// The entry of the load.
        of: usize,
        /// Which.
        percentile: Percentile,
        /// Longest time, ns.
        at_most_ns: u64,
    },
    /// No user's frame crosses a link.
    SilentLink {
        /// One end.
        a: NodeId,
        /// The other end.
        b: NodeId,
    },
    /// A node sends nothing.
    SilentNode {
        /// The node.
        node: NodeId,
    },
    /// What holds in every network: once it is quiet its tables and databases are those that the topology and the events
    /// lead to, and before that no state breaks what no state may break.
    Invariants,
}

impl Expected {
    /// The load that it judges.
    #[must_use]
    pub const fn load(&self) -> Option<usize> {
        match self {
            Self::Lost { of, .. } | Self::Latency { of, .. } => Some(*of),
            _ => None,
        }
    }
}

/// What a forwarding table has for a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FibState {
    /// A way.
    Present,
    /// None.
    Absent,
    /// A way by exactly these neighbours.
    Through(BTreeSet<NodeId>),
}

/// A percentile of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    /// The median.
    P50,
    /// 99 of 100.
    P99,
    /// 999 of 1000.
    P999,
}

impl Percentile {
    /// All.
    pub const ALL: [Self; 3] = [Self::P50, Self::P99, Self::P999];

    /// Its name in files and reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }

    /// The share of requests that took no longer, in percent.
    #[must_use]
    pub const fn percent(self) -> f64 {
        match self {
            Self::P50 => 50.0,
            Self::P99 => 99.0,
            Self::P999 => 99.9,
        }
    }
}

impl Act {
    /// What only the live world has for this entry; none where every world can do it.
    #[must_use]
    pub const fn needs_live(&self) -> Option<&'static str> {
        match self {
            Self::Run { .. } => Some("a program runs in a pod"),
            Self::Load(Load { kind: LoadKind::Udp | LoadKind::Tcp | LoadKind::Http, .. }) => {
                Some("its requests are those of programs")
            }
            _ => None,
        }
    }

    /// Whether it is an expectation.
    #[must_use]
    pub const fn is_expectation(&self) -> bool {
        matches!(self, Self::Expect { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_fixed_times_without_drift() {
        let load = Load {
            from: NodeId::new("pod-1").unwrap(),
            to: "/A".parse().unwrap(),
            per_second: 3.0,
            size: 0,
            kind: LoadKind::Rmi,
        };
        let due: Vec<u64> = load.due(1_000_000_001).collect();
        assert_eq!(due, [0, 333_333_333, 666_666_667, 1_000_000_000]);
        assert_eq!(load.due(10_000_000_000).count(), 30);
        assert_eq!(load.due(0).count(), 0);
    }
}
