//! The contract between suites and worlds.

use std::path::PathBuf;
use std::time::Duration;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::Command;
use damc_mgmt::config::Timers;
use damc_mgmt::event::Event;
use damc_mgmt::view::{CountersView, FibView, LsdbView, NeighborsView, PoliciesView, Shown, View, ViewKind};
use damc_topology::Topology;
use damc_topology::plan::{KeySeed, Plan};
use damc_topology::timers::Calibration as Reaction;
use futures::future::LocalBoxFuture;

use crate::calibration::Calibration;
use crate::recording::{Entry, Header};
use crate::{
    Act, Direction, LinkChange, LinkState, NodeAction, Processes, Result, Stall, Witnessed, WorldError, WorldStatus,
};

/// What a world answers with, sooner or later on its clock.
pub type Answer<'a, T> = LocalBoxFuture<'a, Result<T>>;

/// The two kinds of world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorldKind {
    /// Processes, namespaces and links of the kernel, in real time.
    Live,
    /// The same machines in one process, in virtual time.
    Virtual,
}

impl WorldKind {
    /// As in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Virtual => "virtual",
        }
    }
}

/// What can be watched: enough to tell when a network has converged.
pub trait Observed {
    /// What was planned: nodes, links, timers.
    fn plan(&self) -> &Plan;

    /// The clock that stamps frames and events, ns.
    fn now_ns(&self) -> u64;

    /// Comes after this span of the world's time.
    fn sleep(&self, span: Duration) -> LocalBoxFuture<'_, ()>;

    /// What a node shows.
    ///
    /// # Errors
    /// The node does not answer, or its role has no such view.
    fn view<'a>(&'a self, node: &'a str, kind: ViewKind) -> Answer<'a, View>;

    /// The state of the world and its nodes.
    ///
    /// # Errors
    /// The world is gone.
    fn status(&self) -> Answer<'_, WorldStatus>;

    /// The events that a node remembers, oldest first.
    ///
    /// # Errors
    /// The node does not answer.
    fn events<'a>(&'a self, node: &'a str) -> Answer<'a, Vec<Event>>;

    /// What was done to links and nodes and through ports, oldest first, as far as it is remembered.
    ///
    /// # Errors
    /// The world is gone.
    fn acts(&self) -> Answer<'_, Vec<Act>>;

    /// What a link does.
    ///
    /// # Errors
    /// There is no such link.
    fn link_status<'a>(&'a self, a: &'a str, b: &'a str) -> Answer<'a, LinkState>;

    /// Comes when the world is no longer in good order: a node ended unasked, or everything is gone. Says why.
    fn failed(&self) -> LocalBoxFuture<'_, WorldError>;
}

/// A network under judgement.
pub trait World: Observed {
    /// Which kind it is.
    fn kind(&self) -> WorldKind;

    /// What the keys of its nodes are made of: suites can speak as any of them.
    fn keys(&self) -> &KeySeed;

    // ===== observe =====

    /// What is recorded: the ports.
    fn recorded(&self) -> &Header;

    /// Comes when everything that passed a port so far can be [drained](World::drain).
    ///
    /// # Errors
    /// The world is gone.
    fn flush_recording(&self) -> Answer<'_, ()>;

    /// Tells every frame recorded since the last call, roughly in the order of their stamps.
    ///
    /// # Errors
    /// The recording cannot be read.
    fn drain(&self, tell: &mut dyn FnMut(Entry<'_>)) -> Result<()>;

    /// Whether every recorded frame was drained before the recording dropped it.
    fn recording_is_complete(&self) -> bool;

    // ===== ask =====

    /// Has a pod call a service. A call that fails is an answer, not an error.
    ///
    /// # Errors
    /// The pod does not answer.
    fn call<'a>(&'a self, pod: &'a str, request: &'a CallRequest) -> Answer<'a, CallReply>;

    /// Gives a node an order beside the wire. A query for a path has an answer, other orders have none.
    ///
    /// # Errors
    /// The node refuses.
    fn order<'a>(&'a self, node: &'a str, order: &'a Command) -> Answer<'a, serde_json::Value>;

    // ===== act =====

    /// Changes the link between two nodes; forward is what `a` sends.
    ///
    /// # Errors
    /// There is no such link, or it cannot do that.
    fn link<'a>(&'a self, a: &'a str, b: &'a str, change: LinkChange) -> Answer<'a, ()>;

    /// Changes what a node does; a started node is ready when this comes.
    ///
    /// # Errors
    /// There is no such node, or it is not in a state for that.
    fn node<'a>(&'a self, name: &'a str, action: NodeAction) -> Answer<'a, ()>;

    /// Sends PDUs out of a node's port, as if the node had sent them, one each `spacing`. Comes when the last has gone
    /// where `spacing` is zero, else when the first is about to go.
    ///
    /// # Errors
    /// There is no such port, or the world does not take the frames.
    fn send<'a>(&'a self, node: &'a str, port: &'a str, pdus: &'a [Vec<u8>], spacing: Duration) -> Answer<'a, ()>;

    // ===== the environment =====

    /// What only a world of processes has; none in others.
    fn processes(&self) -> Option<Processes>;

    /// How the environment kept nodes or witnesses from their work since the last call; none where it did not.
    fn disturbed(&self) -> LocalBoxFuture<'_, Option<String>>;

    /// Wake-ups of the host that came late, oldest first; none in a world that does not wait for one.
    fn stalls(&self) -> Vec<Stall> {
        Vec::new()
    }

    /// What was seen of every state that the network passed through; none in a world that cannot see all nodes at once, and
    /// where nothing asks for it.
    fn witnessed(&self) -> Option<Witnessed> {
        None
    }

    /// The environment, for `env.json`.
    fn environment(&self) -> LocalBoxFuture<'_, serde_json::Value>;

    /// Logs that it leaves: a file name for each and where it is now.
    fn logs(&self) -> Vec<(String, PathBuf)>;

    /// Ends the world, or leaves it up where it can outlive this process; its name then.
    fn end(self: Box<Self>, keep: bool) -> LocalBoxFuture<'static, Option<String>>;
}

impl dyn World + '_ {
    /// What a node shows.
    ///
    /// # Errors
    /// The node does not answer, or its role has no such view.
    pub async fn show<T: Shown>(&self, node: &str) -> Result<T> {
        let none = || WorldError::Lab(format!("{node} showed something else than {}", T::KIND));
        T::of(self.view(node, T::KIND).await?).ok_or_else(none)
    }

    /// `/fib` of a node.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn fib(&self, node: &str) -> Result<FibView> {
        self.show(node).await
    }

    /// `/lsdb` of a node.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn lsdb(&self, node: &str) -> Result<LsdbView> {
        self.show(node).await
    }

    /// `/neighbors` of a node.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn neighbors(&self, node: &str) -> Result<NeighborsView> {
        self.show(node).await
    }

    /// `/policies` of a node.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn policies(&self, node: &str) -> Result<PoliciesView> {
        self.show(node).await
    }

    /// `/counters` of a node.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn counters(&self, node: &str) -> Result<CountersView> {
        self.show(node).await
    }

    /// Sends a PDU out of a node's port, as if the node had sent it.
    ///
    /// # Errors
    /// As [`World::send`].
    pub async fn inject(&self, node: &str, port: &str, pdu: &[u8]) -> Result<()> {
        self.send(node, port, &[pdu.to_vec()], Duration::ZERO).await
    }

    /// Sends PDUs out of a node's port at once. What its queue has no room for is lost.
    ///
    /// # Errors
    /// As [`World::send`].
    pub async fn inject_all(&self, node: &str, port: &str, pdus: &[Vec<u8>]) -> Result<()> {
        self.send(node, port, pdus, Duration::ZERO).await
    }

    /// Sends PDUs out of a node's port, one each `spacing`; returns when the first is about to go.
    ///
    /// # Errors
    /// As [`World::send`].
    pub async fn inject_stream(&self, node: &str, port: &str, pdus: &[Vec<u8>], spacing: Duration) -> Result<()> {
        self.send(node, port, pdus, spacing.max(Duration::from_micros(1))).await
    }

    /// Loses every frame of a link (or stops doing so) without touching its carrier.
    ///
    /// # Errors
    /// As [`World::link`].
    pub async fn silence(&self, a: &str, b: &str, direction: Direction, silent: bool) -> Result<()> {
        let properties = damc_impair::DirectionChange { silent: Some(silent), ..Default::default() };
        self.link(a, b, LinkChange::Set { direction, properties }).await
    }

    /// Waits until the network has converged.
    ///
    /// # Errors
    /// It has not within `within`, with what was missing last, or a node ended meanwhile.
    pub async fn wait_converged(&self, within: Duration) -> Result<()> {
        crate::converge::wait(self, within).await
    }

    /// The error of a world that is not in good order.
    ///
    /// # Errors
    /// As the function says.
    pub async fn check(&self) -> Result<()> {
        self.status().await?.failure.map_or(Ok(()), |failure| Err(WorldError::Lab(failure)))
    }
}

/// What a world is made of.
pub struct Asked<'a> {
    /// What to build.
    pub topology: &'a Topology,
    /// Name of the world.
    pub name: &'a str,
    /// Seed of link randomness.
    pub seed: u64,
    /// What the keys of the nodes are made of; new ones where absent.
    pub keys: Option<&'a KeySeed>,
    /// What was measured about the environment's reaction.
    pub reaction: Reaction,
    /// Period of the echo, ms, in place of the derived one.
    pub echo_ms: Option<u64>,
}

impl Asked<'_> {
    /// Timers of the world; every deadline of a case derives from them.
    #[must_use]
    pub fn timers(&self) -> Timers {
        damc_topology::timers::derive(self.topology, self.reaction, self.echo_ms)
    }
}

/// What makes worlds.
pub trait Maker {
    /// Which kind.
    fn kind(&self) -> WorldKind;

    /// How the environment reacts: what timers derive from.
    fn reaction(&self) -> Reaction;

    /// How faithful its links are; none where that is not to be measured.
    fn calibrate(&self) -> LocalBoxFuture<'_, Option<Calibration>>;

    /// Makes a world in which every node is ready.
    ///
    /// # Errors
    /// It cannot be made here.
    fn make<'a>(&'a self, asked: &'a Asked<'a>) -> Answer<'a, Box<dyn World>>;

    /// Clock of the run, from any beginning: what durations are measured by.
    fn elapsed(&self) -> Duration;

    /// Eight hexadecimal digits that tell runs apart.
    fn run_id(&self, seed: u64) -> String;
}
