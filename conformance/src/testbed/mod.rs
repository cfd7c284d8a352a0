//! The testbed of every case: a converged lab, its recording, and means to act on it and to wait for conditions.

mod detour;
mod guests;
mod inject;
mod log;
pub mod quality;
mod shape;
mod tail;
pub mod traffic;
pub mod witness;

pub use shape::properties;
use tail::Tail;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::Command;
use damc_mgmt::config::Timers;
use damc_mgmt::event::Event;
use damc_mgmt::view::{FibView, RibView};
use damc_mgmt::words::ProtocolCounter;
use damc_testbed::{LinkChange, NodeAction, NodeState, Processes};
use damc_testbed::{World, WorldError, converge};
use damc_topology::Topology;
use damc_topology::timers::Calibration;
use damc_wire::{Frame, Message, NodeId, Role};
use tokio::sync::OnceCell;

use crate::capture::Citation;
use crate::case::Stop;
use crate::forge::Forge;
use crate::trace::Seen;

/// A lab under judgement.
pub struct Testbed {
    /// The running network.
    pub lab: Box<dyn World>,
    /// What it was built from.
    pub topology: Topology,
    /// Timers of this run; every deadline of a case derives from them.
    pub timers: Timers,
    /// What calibration found about the host. Times that are not protocol timers stretch by it.
    pub host: Calibration,
    /// Forges frames in the name of any node.
    pub forge: Forge,
    tail: Mutex<Tail>,
    /// The interpreter that `python3` starts. On some machines `python3` is a script that searches for it, which can
    /// take longer than the program itself.
    pub(crate) python: OnceCell<String>,
    /// A path that the links as configured leave no room below its thresholds, once that was looked for.
    cramped: OnceLock<Option<(String, String)>>,
    /// The next number that nobody has used.
    numbers: AtomicU64,
    /// Orders that undo what cases changed other than links and processes, for cases that end early.
    undo: Mutex<Vec<(String, Command)>>,
    /// What the capture of the current case must show.
    marks: Mutex<Marks>,
    /// What the case waits for, and the last state it saw; empty where it waits for nothing.
    awaited: Mutex<String>,
}

/// What the capture of a case must show.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Frames that checks rest on.
    pub cited: Vec<Citation>,
    /// PDUs that the case injected.
    pub injected: BTreeSet<Vec<u8>>,
}

/// Marks of each kind that are kept: a flood is not to fill the memory.
const MARKS: usize = 1000;

/// Shortest pause before the state is looked at again.
const POLL: Duration = Duration::from_millis(4);
/// Longest pause.
const POLL_AT_LAST: Duration = Duration::from_millis(100);

/// A pause is at most this share of the wait so far, or the shortest.
const SHARE_OF_WAIT: u32 = 20;

/// Time a lab may take to recover between cases. No verdict depends on it, so it is generous.
const RESTORE_WITHIN: Duration = Duration::from_secs(20);

impl Testbed {
    /// A testbed around a lab that has converged.
    #[must_use]
    pub fn new(lab: Box<dyn World>, topology: Topology, timers: Timers, forge: Forge) -> Self {
        let (tail, host) = (Mutex::default(), Calibration::default());
        Self {
            lab,
            topology,
            timers,
            host,
            forge,
            tail,
            python: OnceCell::new(),
            cramped: OnceLock::new(),
            undo: Mutex::default(),
            numbers: AtomicU64::new(1),
            marks: Mutex::default(),
            awaited: Mutex::default(),
        }
    }

    /// The same, with what calibration found about the host.
    #[must_use]
    pub fn on_host(mut self, host: Calibration) -> Self {
        self.host = host;
        self
    }

    // ===== time =====

    /// Time until a silent failure is detected.
    #[must_use]
    pub fn detection(&self) -> Duration {
        Duration::from_millis(self.timers.echo_interval_ms * u64::from(self.timers.echo_multiplier))
    }

    /// Now, on the clock of the recording.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.lab.now_ns()
    }

    /// Time that has passed since then, on the clock of the recording.
    #[must_use]
    pub fn since(&self, began_ns: u64) -> Duration {
        Duration::from_nanos(self.now_ns().saturating_sub(began_ns))
    }

    /// The moment after this span, on the clock of the recording, ns.
    #[must_use]
    pub fn deadline(&self, within: Duration) -> u64 {
        self.now_ns().saturating_add(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Pauses after a look at the state that began at `looked_ns`, of a wait that began at `began_ns`. The longer it has
    /// lasted, the longer the pause: what took long need not be known to the millisecond.
    async fn pause(&self, began_ns: u64, looked_ns: u64) {
        let pause = converge::pause(self.since(looked_ns), POLL, POLL_AT_LAST);
        self.lab.sleep(pause.max((self.since(began_ns) / SHARE_OF_WAIT).min(POLL_AT_LAST))).await;
    }

    /// The convergence budget T_conv: detection of a silent failure, flooding and SPF pacing with ample room. It bounds
    /// waiting; the time really taken is a figure of the case.
    #[must_use]
    pub fn t_conv(&self) -> Duration {
        let detect = self.timers.echo_interval_ms * u64::from(self.timers.echo_multiplier);
        Duration::from_millis(8 * (detect + self.timers.retransmit_ms) + 2 * self.timers.spf_long_ms)
    }

    /// Time between two frames of a stream on this host, at most the 10 ms that the lab allows.
    #[must_use]
    pub fn spacing(&self, quiet: Duration) -> Duration {
        self.host.stretched(quiet).min(Duration::from_millis(10))
    }

    /// Deadline of a call that is expected to succeed, ms.
    #[must_use]
    pub fn call_deadline_ms(&self) -> u64 {
        u64::try_from(self.host.stretched(Duration::from_secs(2)).as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until `probe` returns a value, at most `within`; fails with the last state it described.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline.
    pub async fn wait<T, F>(&self, what: &str, within: Duration, mut probe: impl FnMut() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<Result<T, String>, WorldError>>,
    {
        let (began, deadline) = (self.now_ns(), self.deadline(within));
        self.awaits(what.to_owned());
        loop {
            let looked = self.now_ns();
            let last = match probe().await {
                Ok(Ok(value)) => {
                    self.take_awaited();
                    return Ok(value);
                }
                Ok(Err(state)) => state,
                // It will not offer that later either.
                Err(e @ WorldError::NotOffered { .. }) => return Err(e.into()),
                Err(e) => e.to_string(),
            };
            if self.now_ns() >= deadline {
                return Err(Stop::Failed(format!("expected within {} ms: {what}; saw: {last}", within.as_millis())));
            }
            self.awaits(format!("{what}; last state: {last}"));
            self.pause(began, looked).await;
        }
    }

    pub(super) fn awaits(&self, what: String) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// What the case was waiting for when its time ended, which is forgotten; empty where it was waiting for nothing.
    pub fn take_awaited(&self) -> String {
        std::mem::take(&mut *self.awaited.lock().unwrap_or_else(PoisonError::into_inner))
    }

    // ===== what captures show =====

    /// Notes that a check rests on this frame: the capture says so there.
    pub fn rests_on(&self, seen: &Seen, why: &str) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.cited.len() < MARKS {
            marks.cited.push(Citation::of(seen, why));
        }
    }

    /// Notes that the case injects these PDUs.
    pub fn injects<'a>(&self, pdus: impl IntoIterator<Item = &'a Vec<u8>>) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MARKS.saturating_sub(marks.injected.len());
        marks.injected.extend(pdus.into_iter().take(room).cloned());
    }

    /// The marks of the case that ends, which are forgotten.
    pub fn take_marks(&self) -> Marks {
        std::mem::take(&mut *self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    // ===== the second witness: management =====

    /// Names of the nodes of these kinds.
    #[must_use]
    pub fn of_kind(&self, kinds: &[Role]) -> Vec<String> {
        self.topology.nodes().values().filter(|n| kinds.contains(&n.kind)).map(|n| n.id.to_string()).collect()
    }

    /// SGs and SRs.
    #[must_use]
    pub fn routers(&self) -> Vec<String> {
        self.of_kind(&[Role::Sg, Role::Sr])
    }

    /// The role of a node of the topology.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] where the topology has no such node.
    pub fn role(&self, node: &str) -> Result<(NodeId, Role), Stop> {
        self.topology
            .nodes()
            .get(node)
            .map(|n| (n.id.clone(), n.kind))
            .ok_or_else(|| Stop::NotApplicable(format!("the topology has no node {node}")))
    }

    /// The FIB of every SG and SR.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn fibs(&self) -> Result<BTreeMap<String, FibView>, WorldError> {
        let mut fibs = BTreeMap::new();
        for node in self.routers() {
            fibs.insert(node.clone(), self.lab.fib(&node).await?);
        }
        Ok(fibs)
    }

    /// The events that a node remembers, oldest first.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn events(&self, node: &str) -> Result<Vec<Event>, WorldError> {
        self.lab.events(node).await
    }

    /// The RIB of a node.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn rib(&self, node: &str) -> Result<RibView, WorldError> {
        self.lab.show(node).await
    }

    /// A drop counter of a node. Of a foreign one it is all of them: no reason of a drop crosses the wire, so nobody can say
    /// that another one was right (`nodes/WIRE.md`, section 23.6).
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn dropped(&self, node: &str, reason: damc_wire::DropReason) -> Result<u64, WorldError> {
        let dropped = self.lab.counters(node).await?.dropped;
        Ok(if self.is_foreign(node) { dropped.iter().map(|(_, count)| count).sum() } else { dropped.get(reason) })
    }

    /// A protocol counter of a node.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn protocol(&self, node: &str, counter: ProtocolCounter) -> Result<u64, WorldError> {
        let counters = self.lab.counters(node).await?.protocol;
        // Another implementation does not count all that ours does. A counter that is not shown is not zero.
        if self.is_foreign(node) && counters.iter().all(|(label, _)| label != counter.label()) {
            let what = format!("counter {}", counter.label());
            return Err(WorldError::NotOffered { node: node.to_owned(), what });
        }
        Ok(counters.get(counter))
    }

    /// Whether a foreign program runs in a node's place.
    fn is_foreign(&self, node: &str) -> bool {
        self.lab.plan().process(node).is_some_and(|process| process.program.is_foreign())
    }

    // ===== acting =====

    /// Makes a traced call.
    ///
    /// # Errors
    /// The pod's agent does not answer.
    pub async fn call(&self, pod: &str, name: &str, method: &str, args: &[&str]) -> Result<CallReply, WorldError> {
        self.call_with(pod, name, method, args, |_| ()).await
    }

    /// Makes a traced call with an adjusted request.
    ///
    /// # Errors
    /// The pod's agent does not answer.
    pub async fn call_with(
        &self,
        pod: &str,
        name: &str,
        method: &str,
        args: &[&str],
        adjust: impl FnOnce(&mut CallRequest),
    ) -> Result<CallReply, WorldError> {
        let mut request = CallRequest {
            name: name.into(),
            method: method.into(),
            args: args.iter().map(ToString::to_string).collect(),
            deadline_ms: self.call_deadline_ms(),
            trace: true,
            source: None,
            flow: None,
            traceparent: None,
        };
        adjust(&mut request);
        self.lab.call(pod, &request).await
    }

    /// Injects a message out of `from`'s port to `to`, under the hop MAC of their adjacency.
    ///
    /// # Errors
    /// No adjacency was recorded between them, or the lab refuses.
    pub async fn inject_as(&self, from: &str, to: &str, message: Message) -> Result<(), Stop> {
        let pdu = Frame::hop_local(message).encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
        self.inject_sealed(from, to, pdu).await
    }

    /// Injects any bytes out of `from`'s port to `to`, under the hop MAC of their adjacency.
    ///
    /// # Errors
    /// No adjacency was recorded between them, or the lab refuses.
    pub async fn inject_sealed(&self, from: &str, to: &str, pdu: Vec<u8>) -> Result<(), Stop> {
        let frames = self.lately_between(from, to).await?;
        let ((from, from_role), (to, to_role)) = (self.role(from)?, self.role(to)?);
        let sealed = self.forge.sealed(&frames, (&from, from_role), (&to, to_role), pdu);
        let sealed = sealed.ok_or_else(|| no_adjacency(from.as_str(), to.as_str()))?;
        self.injects([&sealed]);
        self.inject(from.as_str(), to.as_str(), &sealed).await
    }

    /// Injects routed PDUs out of `from`'s port to `to`, under the link MAC of their adjacency.
    ///
    /// # Errors
    /// No adjacency was recorded between them, or the lab refuses.
    pub async fn inject_routed(&self, from: &str, to: &str, pdus: Vec<Vec<u8>>) -> Result<(), Stop> {
        let pdus = self.on_link(from, to, pdus).await?;
        self.injects(&pdus);
        self.inject_all(from, to, &pdus).await
    }

    /// Routed PDUs as they leave `from` for `to`, under the link MAC of their adjacency.
    ///
    /// # Errors
    /// No adjacency was recorded between them.
    pub async fn on_link(&self, from: &str, to: &str, mut pdus: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Stop> {
        let frames = self.lately_between(from, to).await?;
        let ((near, near_role), (far, far_role)) = (self.role(from)?, self.role(to)?);
        let key = self.forge.link_key(&frames, (&near, near_role), (&far, far_role));
        let key = key.ok_or_else(|| no_adjacency(from, to))?;
        pdus.iter_mut().for_each(|pdu| key.seal(pdu));
        Ok(pdus)
    }

    /// What two neighbours sent each other lately. The sessions are in every hello: no need to look at the whole recording.
    async fn lately_between(&self, from: &str, to: &str) -> Result<Vec<Seen>, Stop> {
        let since = self.now_ns().saturating_sub(2_000_000 * self.timers.dead_interval_ms);
        let mut frames = Vec::new();
        for (near, far) in [(from, to), (to, from)] {
            frames.extend(self.all_sent(since, near, far).await?);
        }
        Ok(frames)
    }

    /// Cuts a link: both ends lose carrier.
    ///
    /// # Errors
    /// The lab refuses.
    pub async fn cut(&self, a: &str, b: &str) -> Result<(), WorldError> {
        self.lab.link(a, b, LinkChange::Down).await
    }

    /// Restores a link to what the topology says.
    ///
    /// # Errors
    /// The lab refuses.
    pub async fn mend(&self, a: &str, b: &str) -> Result<(), WorldError> {
        self.lab.link(a, b, LinkChange::Clear).await
    }

    /// Restores everything to what the topology says and waits until the lab has converged again.
    ///
    /// # Errors
    /// The lab refuses, or it does not converge in time.
    pub async fn restore(&self) -> Result<(), WorldError> {
        let status = self.lab.status().await?;
        for node in &status.nodes {
            match node.state {
                NodeState::Paused => self.lab.node(&node.name, NodeAction::Resume).await?,
                NodeState::Ready | NodeState::Starting => {}
                _ => self.lab.node(&node.name, NodeAction::Start).await?,
            }
        }
        for link in self.topology.links() {
            self.mend(link.a.as_str(), link.b.as_str()).await?;
        }
        let undo = std::mem::take(&mut *self.undo.lock().unwrap_or_else(PoisonError::into_inner));
        for (node, order) in undo {
            // A refusal does not matter: a restarted node has forgotten the order, and what is gone needs no undoing.
            let _ = self.order(&node, &order).await;
        }
        self.lab.wait_converged(self.host.stretched(RESTORE_WITHIN).max(self.t_conv() * 2)).await.map(drop)
    }

    /// What only a world of processes has.
    ///
    /// # Panics
    /// In a world without processes, where no case that asks for them runs.
    #[must_use]
    pub fn processes(&self) -> Processes {
        self.lab.processes().expect("invariant: cases with programs run in worlds of processes")
    }

    pub(crate) fn undo_later(&self, order: (String, Command)) {
        self.undo.lock().unwrap_or_else(PoisonError::into_inner).push(order);
    }

    fn undone(&self, order: &(String, Command)) {
        self.undo.lock().unwrap_or_else(PoisonError::into_inner).retain(|o| o != order);
    }
}

fn no_adjacency(from: &str, to: &str) -> Stop {
    Stop::Inconclusive(format!("no adjacency of {from} and {to} was recorded"))
}
