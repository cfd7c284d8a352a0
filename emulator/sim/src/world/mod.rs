//! A simulated network as what suites stand on.

mod executor;
mod state;

use core::cell::RefCell;
use core::time::Duration;
use std::path::PathBuf;
use std::rc::Rc;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::{Command, PathAnswer};
use damc_mgmt::event::Event;
use damc_mgmt::view::{View, ViewKind};
use damc_proto::rmi::request;
use damc_testbed::calibration::Calibration;
use damc_testbed::recording::{Entry, Header};
use damc_testbed::{
    Act, Acts, Answer, Asked, Deed, LinkChange, LinkState, Maker, NodeAction, Observed, Processes, Result, Witnessed,
    World, WorldError, WorldKind, WorldStatus,
};
use damc_topology::plan::{KeySeed, Plan, PlanOptions, plan};
use damc_topology::timeline::{Act as Planned, Expected, TimelineEvent};
use damc_topology::timers::Calibration as Reaction;
use futures::future::{Either, LocalBoxFuture, select};
use serde_json::json;

use self::executor::Core;
use crate::records::Tape;
use crate::sim::{Finished, Sim};
use crate::watch::Watch;

/// What a question to a node or to the network takes. Nothing takes no time in a live network either, and a case that asks
/// again and again gets on.
const LOOK: Duration = Duration::from_micros(100);
/// How long a node that does not answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a call may take beyond its deadline before its pod counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(2);

/// A simulated network with its recording.
#[derive(Debug)]
struct VirtualWorld {
    core: Rc<Core>,
    plan: Plan,
    keys: KeySeed,
    header: Header,
    /// Place of the port in the header, by node of the simulation and port number.
    places: Vec<Vec<u16>>,
    ready_at_ns: u64,
    acts: RefCell<Acts>,
}

impl VirtualWorld {
    /// Remembers what was done, if it was.
    fn acted(&self, at_ns: u64, done: Result<()>, deed: Deed) -> Result<()> {
        done.inspect(|()| self.acts.borrow_mut().push(at_ns, deed))
    }

    /// Lets the time of a question pass; an error where there is no such node, or one that does not answer.
    async fn reach(&self, node: &str) -> Result<usize> {
        self.core.sleep(LOOK).await;
        let (index, alive, paused) = {
            let sim = self.core.sim.borrow();
            let index = sim.find(node)?;
            (index, sim.nodes[index].machine.is_some(), sim.nodes[index].paused)
        };
        if paused {
            self.core.sleep(ANSWER_WITHIN).await;
        }
        if alive && !paused {
            return Ok(index);
        }
        Err(WorldError::Lab(format!("{node}: no answer: it {}", if paused { "is paused" } else { "does not run" })))
    }

    async fn called(&self, pod: &str, asked: &CallRequest) -> Result<CallReply> {
        let node = self.reach(pod).await?;
        let within = Duration::from_millis(asked.deadline_ms) + HUNG_AFTER;
        let began = self.core.now();
        let (handle, answer) = {
            let mut sim = self.core.sim.borrow_mut();
            let handle = sim.handle();
            let order = request::order(handle, asked.clone()).map_err(|e| WorldError::Lab(format!("{pod}: {e}")))?;
            let answer = self.core.answer(handle);
            sim.order_index(node, order);
            (handle, answer)
        };
        match select(answer, self.core.sleep(within)).await {
            Either::Left((Finished::Call(_, outcome), _)) => {
                let elapsed = self.core.now().since(began);
                Ok(request::reply(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), outcome))
            }
            _ => Err(WorldError::Lab(format!("{pod}: no answer within {} ms to call {handle}", within.as_millis()))),
        }
    }

    async fn ordered(&self, node: &str, order: &Command) -> Result<serde_json::Value> {
        let index = self.reach(node).await?;
        let answer = {
            let mut sim = self.core.sim.borrow_mut();
            match sim.obey_order(index, order)? {
                Some(handle) => self.core.answer(handle),
                None => return Ok(serde_json::Value::Null),
            }
        };
        match select(answer, self.core.sleep(ANSWER_WITHIN)).await {
            Either::Left((Finished::Path(_, path, cost), _)) => {
                serde_json::to_value(PathAnswer { path: request::texts(&path), cost })
                    .map_err(|e| WorldError::Lab(e.to_string()))
            }
            _ => Err(WorldError::Lab(format!("{node}: no answer within {} s", ANSWER_WITHIN.as_secs()))),
        }
    }

    /// The specs that the topology gives a link, each way.
    fn planned(&self, a: &str, b: &str) -> Result<(damc_impair::DirectionSpec, damc_impair::DirectionSpec)> {
        let ends = |link: &&damc_topology::plan::PlannedLink| {
            (link.a.node == a && link.b.node == b, link.b.node == a && link.a.node == b)
        };
        let found = self.plan.links.iter().find(|link| matches!(ends(link), (true, _) | (_, true)));
        let link = found.ok_or_else(|| state::no_link(a, b))?;
        Ok(if link.a.node == a { (link.forward, link.backward) } else { (link.backward, link.forward) })
    }
}

impl Observed for VirtualWorld {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn now_ns(&self) -> u64 {
        self.core.now().nanos()
    }

    fn sleep(&self, span: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(self.core.sleep(span))
    }

    fn view<'a>(&'a self, node: &'a str, kind: ViewKind) -> Answer<'a, View> {
        Box::pin(async move {
            let index = self.reach(node).await?;
            let view = self.core.sim.borrow().shown(index, kind);
            view.ok_or_else(|| WorldError::Lab(format!("{node}: a node of its role has no {kind}")))
        })
    }

    fn status(&self) -> Answer<'_, WorldStatus> {
        Box::pin(async {
            self.core.sleep(LOOK).await;
            let sim = self.core.sim.borrow();
            let nodes = self.plan.processes.iter().filter_map(|p| sim.status_of(&p.node)).collect();
            Ok(WorldStatus {
                backend: "virtual".to_owned(),
                ready_at_ns: self.ready_at_ns,
                nodes,
                ..WorldStatus::default()
            })
        })
    }

    fn events<'a>(&'a self, node: &'a str) -> Answer<'a, Vec<Event>> {
        Box::pin(async move {
            let index = self.reach(node).await?;
            Ok(self.core.sim.borrow().nodes[index].log.events())
        })
    }

    fn acts(&self) -> Answer<'_, Vec<Act>> {
        Box::pin(core::future::ready(Ok(self.acts.borrow().all())))
    }

    fn link_status<'a>(&'a self, a: &'a str, b: &'a str) -> Answer<'a, LinkState> {
        Box::pin(async move {
            self.core.sleep(LOOK).await;
            self.core.sim.borrow().link_state(a, b)
        })
    }

    fn failed(&self) -> LocalBoxFuture<'_, WorldError> {
        // A machine that fails takes the whole program with it.
        Box::pin(core::future::pending())
    }
}

impl World for VirtualWorld {
    fn kind(&self) -> WorldKind {
        WorldKind::Virtual
    }

    fn keys(&self) -> &KeySeed {
        &self.keys
    }

    fn recorded(&self) -> &Header {
        &self.header
    }

    fn flush_recording(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.core.sleep(LOOK).await;
            Ok(())
        })
    }

    fn drain(&self, tell: &mut dyn FnMut(Entry<'_>)) -> Result<()> {
        let tape = {
            let mut sim = self.core.sim.borrow_mut();
            let next = sim.tape.as_ref().map(Tape::next);
            std::mem::replace(&mut sim.tape, next)
        };
        for taped in tape.iter().flat_map(Tape::frames) {
            let place = self.places.get(taped.node).and_then(|ports| ports.get(usize::from(taped.port)));
            if let Some(port) = place {
                tell(Entry { at_ns: taped.at.nanos(), port: *port, sent: taped.sent, frame: taped.frame });
            }
        }
        Ok(())
    }

    fn recording_is_complete(&self) -> bool {
        true
    }

    fn call<'a>(&'a self, pod: &'a str, request: &'a CallRequest) -> Answer<'a, CallReply> {
        Box::pin(self.called(pod, request))
    }

    fn order<'a>(&'a self, node: &'a str, order: &'a Command) -> Answer<'a, serde_json::Value> {
        Box::pin(self.ordered(node, order))
    }

    fn link<'a>(&'a self, a: &'a str, b: &'a str, change: LinkChange) -> Answer<'a, ()> {
        Box::pin(async move {
            self.core.sleep(LOOK).await;
            let planned = self.planned(a, b)?;
            let at_ns = self.now_ns();
            self.core.sim.borrow_mut().change_link((a, b), change, planned);
            self.acted(at_ns, Ok(()), Deed::Link { a: a.to_owned(), b: b.to_owned(), change: Box::new(change) })
        })
    }

    fn node<'a>(&'a self, name: &'a str, action: NodeAction) -> Answer<'a, ()> {
        Box::pin(async move {
            self.core.sleep(LOOK).await;
            let at_ns = self.now_ns();
            let done = self.core.sim.borrow_mut().act_on(name, action);
            self.acted(at_ns, done, Deed::Node { node: name.to_owned(), action })
        })
    }

    fn send<'a>(&'a self, node: &'a str, port: &'a str, pdus: &'a [Vec<u8>], spacing: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            self.core.sleep(LOOK).await;
            let at_ns = self.now_ns();
            let done = self.core.sim.borrow_mut().inject_stream(node, port, pdus, spacing);
            let (node, port) = (node.to_owned(), port.to_owned());
            self.acted(at_ns, done, Deed::Injected { node, port, frames: pdus.len() })
        })
    }

    fn processes(&self) -> Option<Processes> {
        None
    }

    fn disturbed(&self) -> LocalBoxFuture<'_, Option<String>> {
        Box::pin(core::future::ready(None))
    }

    fn witnessed(&self) -> Option<Witnessed> {
        self.core.sim.borrow().watch.as_ref().map(Watch::seen)
    }

    fn environment(&self) -> LocalBoxFuture<'_, serde_json::Value> {
        Box::pin(core::future::ready(json!({ "backend_reason": "the run is virtual" })))
    }

    fn logs(&self) -> Vec<(String, PathBuf)> {
        Vec::new()
    }

    fn end(self: Box<Self>, _keep: bool) -> LocalBoxFuture<'static, Option<String>> {
        // Nothing outlives this process.
        Box::pin(core::future::ready(None))
    }
}

/// Makes simulated networks, one after the other: a new one takes the place of the last, and time goes on.
#[derive(Debug)]
pub struct VirtualMaker {
    core: Rc<Core>,
    reaction: Reaction,
}

impl VirtualMaker {
    /// Networks whose timers are stretched by this factor; 1 for those of a quiet host.
    ///
    /// # Panics
    /// Never: a network without nodes contradicts nothing.
    #[must_use]
    pub fn new(stretch: f64) -> Self {
        let nothing = Sim::new(&[], 0).expect("invariant: no configuration is wrong");
        Self { core: Rc::new(Core::new(nothing)), reaction: Reaction::of(stretch) }
    }

    fn build(&self, asked: &Asked<'_>) -> Result<VirtualWorld> {
        let options = PlanOptions {
            lab: Some(asked.name.to_owned()),
            seed: asked.seed,
            calibration: asked.reaction,
            echo_ms: asked.echo_ms,
            ..PlanOptions::default()
        };
        let plan = plan(asked.topology, &options);
        let keys = asked.keys.cloned().unwrap_or_else(|| KeySeed::of_simulation(asked.seed));
        let mut sim = Sim::of_plan_and_keys(&plan, &keys).map_err(|e| WorldError::Lab(e.to_string()))?;
        sim.now = self.core.now();
        sim.tape = Some(Tape::default());
        let judged = |event: &TimelineEvent| matches!(event.act, Planned::Expect { what: Expected::Invariants, .. });
        if asked.topology.events().iter().any(judged) {
            sim.watch = Some(Watch::of(sim.nodes.len()));
        }
        sim.start();
        for process in plan.processes.iter().filter(|process| process.overload) {
            sim.command(&process.node, &Command::Overload { on: true });
        }
        let (header, places) = sim.header(&plan);
        let ready_at_ns = sim.now().nanos();
        self.core.sim.replace(sim);
        Ok(VirtualWorld {
            core: Rc::clone(&self.core),
            plan,
            keys,
            header,
            places,
            ready_at_ns,
            acts: RefCell::default(),
        })
    }
}

impl Maker for VirtualMaker {
    fn kind(&self) -> WorldKind {
        WorldKind::Virtual
    }

    fn reaction(&self) -> Reaction {
        self.reaction
    }

    fn calibrate(&self) -> LocalBoxFuture<'_, Option<Calibration>> {
        // Its links are the model itself.
        Box::pin(core::future::ready(None))
    }

    fn make<'a>(&'a self, asked: &'a Asked<'a>) -> Answer<'a, Box<dyn World>> {
        Box::pin(async move { Ok(Box::new(self.build(asked)?) as Box<dyn World>) })
    }

    fn elapsed(&self) -> Duration {
        self.core.now().since(Sim::BEGIN)
    }

    fn run_id(&self, seed: u64) -> String {
        format!("{:08x}", seed & 0xffff_ffff)
    }
}

/// Runs a future that uses the worlds of `maker` to its end, in virtual time.
///
/// # Panics
/// The future waits for something that is not part of such a world.
pub fn block_on<T>(maker: &VirtualMaker, future: impl Future<Output = T>) -> T {
    maker.core.run(future)
}
