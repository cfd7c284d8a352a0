//! The event loop in virtual time.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use damc_forward::{Ingress, Verdict};
use damc_mgmt::config::NodeConfig;
use damc_mgmt::view::{FibView, LsdbView, NeighborsView, RibView};
use damc_proto::io::{FibOp, Input, Order, Output, PortId};
use damc_proto::node::{ConfigError, build};
use damc_topology::plan::NoPlan;
use damc_trust::SignatureMemory;
use damc_wire::frame::{RoutedView, append_hop};
use damc_wire::registry::{MessageType, ROUTED_BIT};
use damc_wire::{NodeId, RefusalReason, Role, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::link::{End, Link, LinkModel};
use crate::node::{Call, Seen, SimNode};
use crate::plane::Plane;

/// How long a simulated service takes for a call.
const SERVICE_TIME: Duration = Duration::from_micros(50);
/// More ticks than this at one point in time are a machine that never rests.
const MAX_TICKS: u32 = 1000;
/// The condition of [`Sim::run_until`] is looked at when something was seen, and at least this often.
const LOOK: Duration = Duration::from_millis(20);

/// Why a simulation cannot be built.
#[derive(Debug)]
pub enum BuildError {
    /// A node refuses its configuration.
    Config(String, ConfigError),
    /// A plan names something that no plan names.
    Plan(NoPlan),
    /// A port leads to nobody, or its neighbour has no port back.
    Port(String, String),
}

impl core::fmt::Display for BuildError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Config(node, e) => write!(f, "{node}: {e}"),
            Self::Plan(e) => e.fmt(f),
            Self::Port(node, port) => write!(f, "{node}: port {port} has no other end"),
        }
    }
}

impl std::error::Error for BuildError {}

/// The condition did not come true in time.
#[derive(Debug, PartialEq, Eq)]
pub struct Late {
    /// When it was given up.
    pub at: Timestamp,
}

#[derive(Debug)]
enum What {
    Arrive { link: usize, from: usize, epoch: u64, pdu: Vec<u8> },
    Wake { node: usize },
    Answer { node: usize, life: u64, order: Order },
}

/// A network in virtual time.
#[derive(Debug)]
pub struct Sim {
    now: Timestamp,
    rng: ChaCha8Rng,
    pub(crate) nodes: Vec<SimNode>,
    by_name: BTreeMap<String, usize>,
    pub(crate) links: Vec<Link>,
    queue: BinaryHeap<Reverse<(Timestamp, u64, usize)>>,
    slots: Vec<Option<What>>,
    free: Vec<usize>,
    serial: u64,
    revision: u64,
    next_handle: u64,
    /// When a forwarding table last changed.
    pub(crate) fib_changed_at: Timestamp,
    /// Events are kept in [`Seen::events`].
    keeps_events: bool,
    signatures: SignatureMemory,
}

impl Sim {
    /// Virtual time at which a simulation begins.
    pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1);

    // ===== building =====

    /// A network of the nodes in `configs`: every pair of ports named after each other's node is a link. All nodes are
    /// dead and all links up until [`Self::start`].
    ///
    /// # Errors
    /// A configuration that contradicts itself or the others.
    pub fn new(configs: &[NodeConfig], seed: u64) -> Result<Self, BuildError> {
        let mut sim = Self {
            now: Self::BEGIN,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            by_name: configs.iter().enumerate().map(|(i, c)| (c.node.clone(), i)).collect(),
            links: Vec::new(),
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            serial: 0,
            revision: 0,
            next_handle: 1,
            fib_changed_at: Timestamp::ZERO,
            keeps_events: true,
            signatures: SignatureMemory::default(),
        };
        for config in configs {
            let node = sim.build_node(config)?;
            sim.nodes.push(node);
        }
        sim.join(configs)?;
        Ok(sim)
    }

    fn build_node(&mut self, config: &NodeConfig) -> Result<SimNode, BuildError> {
        let fail = |e| BuildError::Config(config.node.clone(), e);
        // Built once now so that a bad configuration is refused before anything runs.
        build(config, 0, self.now).map_err(fail)?;
        let role = Role::from_label(&config.role).ok_or_else(|| fail(ConfigError::field("role", "unknown")))?;
        let id = NodeId::new(&config.node).map_err(|e| fail(ConfigError::field("node", e)))?;
        Ok(SimNode {
            id,
            role,
            config: config.clone(),
            machine: None,
            plane: Plane::new(self.rng.random()),
            links: vec![usize::MAX; config.ports.len()],
            lives: 0,
            wake_at: None,
            paused: false,
            waiting: Vec::new(),
            clock_skew: Duration::ZERO,
            seen: Seen::default(),
            ticks: (Timestamp::ZERO, 0),
        })
    }

    fn join(&mut self, configs: &[NodeConfig]) -> Result<(), BuildError> {
        for (node, config) in configs.iter().enumerate() {
            for (index, port) in config.ports.iter().enumerate() {
                let missing = || BuildError::Port(config.node.clone(), port.name.clone());
                let other = *self.by_name.get(&port.name).ok_or_else(missing)?;
                let back = configs[other].ports.iter().position(|p| p.name == config.node).ok_or_else(missing)?;
                if node > other {
                    continue;
                }
                let link = self.links.len();
                self.nodes[node].links[index] = link;
                self.nodes[other].links[back] = link;
                self.links.push(Link {
                    ends: [End { node, port: port_id(index) }, End { node: other, port: port_id(back) }],
                    models: [LinkModel::default(); 2],
                    up: true,
                    silent: [false; 2],
                    free_at: [Timestamp::ZERO; 2],
                    epoch: 0,
                });
            }
        }
        Ok(())
    }

    /// Keeps no events: in networks of a thousand nodes there are millions.
    #[must_use]
    pub const fn without_events(mut self) -> Self {
        self.keeps_events = false;
        self
    }

    // ===== faults and actions =====

    /// Starts every node, in an order and at times drawn from the seed, all within 5 ms.
    pub fn start(&mut self) {
        let mut order: Vec<(u64, usize)> = Vec::new();
        for node in 0..self.nodes.len() {
            order.push((self.rng.random_range(0..5_000_000), node));
        }
        order.sort_unstable();
        let begin = self.now;
        for (at, node) in order {
            self.run_to(begin + Duration::from_nanos(at));
            self.start_index(node);
        }
    }

    /// Starts a dead node afresh: it remembers nothing.
    pub fn start_node(&mut self, node: &str) {
        let node = self.index(node);
        self.start_index(node);
    }

    fn start_index(&mut self, node: usize) {
        let seed = self.rng.random();
        let local = self.local_time(node);
        let this = &mut self.nodes[node];
        this.lives += 1;
        this.paused = false;
        this.waiting.clear();
        this.plane = Plane::new(seed);
        let mut machine = build(&this.config, seed, local).expect("invariant: this configuration was built before");
        // A simulated signature verifies once, not at every node again.
        machine.share_signatures(&self.signatures);
        this.machine = Some(machine);
        let services = this.config.services.clone();
        let links = this.links.clone();
        for (index, link) in links.into_iter().enumerate() {
            if self.links.get(link).is_some_and(|l| l.up) {
                self.input(node, Input::PortUp(port_id(index)));
            }
        }
        for service in services {
            if let Ok(prefix) = service.prefix.parse() {
                let pool = service.pool.and_then(|p| p.parse().ok());
                let order = Order::Service { prefix, pool, weight: service.weight, running: true };
                self.input(node, Input::Order(order));
            }
        }
    }

    /// Kills a node: it says nothing more; links to it keep their carrier.
    pub fn kill(&mut self, node: &str) {
        let node = self.index(node);
        self.nodes[node].machine = None;
        self.nodes[node].wake_at = None;
    }

    /// Stops a process for a while; what arrives waits for it.
    pub fn pause(&mut self, node: &str, paused: bool) {
        let node = self.index(node);
        self.nodes[node].paused = paused;
        if !paused {
            for (port, at, pdu) in std::mem::take(&mut self.nodes[node].waiting) {
                self.receive(node, port, at, pdu);
            }
            self.tick(node);
        }
    }

    /// Moves a node's clock. Call it while the node is dead: clocks are monotonic.
    pub fn skew_clock(&mut self, node: &str, skew: Duration) {
        let node = self.index(node);
        self.nodes[node].clock_skew = skew;
    }

    /// Cuts a link or heals it, with carrier events at both ends.
    pub fn set_link(&mut self, a: &str, b: &str, up: bool) {
        let link = self.link_index(a, b);
        if self.links[link].up == up {
            return;
        }
        self.links[link].up = up;
        self.links[link].epoch += 1;
        if !up {
            self.lose_ports(link);
        }
        for end in self.links[link].ends {
            let input = if up { Input::PortUp(end.port) } else { Input::PortDown(end.port) };
            self.input(end.node, input);
        }
    }

    /// Cuts a link as far as the forwarding planes at its ends notice: the state between the loss of a carrier and the first
    /// instruction of the control planes. [`Self::set_link`] goes on from there.
    pub fn cut_plane(&mut self, a: &str, b: &str) {
        let link = self.link_index(a, b);
        self.lose_ports(link);
    }

    /// Like a process: the forwarding plane leaves a dead port before the machine hears of it.
    fn lose_ports(&mut self, link: usize) {
        for end in self.links[link].ends {
            self.nodes[end.node].plane.apply(vec![FibOp::PortState { port: end.port, up: false }]);
        }
    }

    /// Lets frames from `a` to `b` vanish without anybody being told, or pass again.
    pub fn set_silent(&mut self, a: &str, b: &str, silent: bool) {
        let link = self.link_index(a, b);
        let from = self.end_of(link, self.index(a));
        self.links[link].silent[from] = silent;
    }

    /// Changes what a link does to frames.
    pub fn set_model(&mut self, a: &str, b: &str, model: LinkModel) {
        let link = self.link_index(a, b);
        self.links[link].models = [model; 2];
    }

    /// Changes what a link does to frames from `a` to `b`.
    pub fn set_model_from(&mut self, a: &str, b: &str, model: LinkModel) {
        let link = self.link_index(a, b);
        let from = self.end_of(link, self.index(a));
        self.links[link].models[from] = model;
    }

    /// Changes what all links do to frames.
    pub fn set_all_models(&mut self, model: LinkModel) {
        for link in &mut self.links {
            link.models = [model; 2];
        }
    }

    /// Gives a node an order.
    pub fn order(&mut self, node: &str, order: Order) {
        let node = self.index(node);
        self.input(node, Input::Order(order));
    }

    /// Changes the cost of sending from `a` to `b`.
    pub fn set_cost(&mut self, a: &str, b: &str, cost: u32) {
        let node = self.index(a);
        let port = self.nodes[node].config.ports.iter().position(|p| p.name == b).map(port_id);
        self.order(a, Order::Cost { port: port.expect("a port to the neighbour"), cost });
    }

    /// Lets a frame arrive at `b` as if `a` had sent it.
    pub fn inject(&mut self, a: &str, b: &str, pdu: Vec<u8>) {
        let link = self.link_index(a, b);
        let to = self.links[link].ends[1 - self.end_of(link, self.index(a))];
        self.receive(to.node, to.port, self.now, pdu);
    }

    /// Makes a call from a pod; the outcome appears in [`Seen::calls`] under the handle.
    pub fn call(&mut self, pod: &str, call: Call) -> u64 {
        let handle = self.next_handle;
        self.next_handle += 1;
        let Call { name, method, payload, deadline, trace, flow } = call;
        let order = Order::Call { handle, name, method, payload, deadline, trace, source: None, flow };
        self.order(pod, order);
        handle
    }

    // ===== time =====

    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs for a span of virtual time.
    pub fn run_for(&mut self, span: Duration) {
        self.run_to(self.now + span);
    }

    /// Runs until `condition` is true.
    ///
    /// # Errors
    /// [`Late`] where it is not within `deadline`.
    pub fn run_until(
        &mut self,
        mut condition: impl FnMut(&Self) -> bool,
        deadline: Duration,
    ) -> Result<Timestamp, Late> {
        let end = self.now + deadline;
        let mut looked = (u64::MAX, Timestamp::ZERO);
        loop {
            if looked.0 != self.revision || self.now.since(looked.1) >= LOOK {
                looked = (self.revision, self.now);
                if condition(self) {
                    return Ok(self.now);
                }
            }
            if self.next_at().is_none_or(|at| at > end) {
                self.now = end;
                return if condition(self) { Ok(end) } else { Err(Late { at: end }) };
            }
            self.step();
        }
    }

    /// Runs until nothing was seen (no event, no change of a forwarding table) for `quiet`.
    ///
    /// # Errors
    /// [`Late`] where that is not within `deadline`.
    pub fn settle(&mut self, quiet: Duration, deadline: Duration) -> Result<Timestamp, Late> {
        let end = self.now + deadline;
        let mut last = (self.revision, self.now);
        loop {
            let until = last.1 + quiet;
            if until > end {
                return Err(Late { at: self.now });
            }
            if self.next_at().is_none_or(|at| at > until) {
                self.now = until;
                return Ok(last.1);
            }
            self.step();
            if self.revision != last.0 {
                last = (self.revision, self.now);
            }
        }
    }

    pub(crate) fn run_to(&mut self, end: Timestamp) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    // ===== questions =====

    /// Names of all nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// What was seen of a node.
    #[must_use]
    pub fn seen(&self, node: &str) -> &Seen {
        &self.nodes[self.index(node)].seen
    }

    /// A view of a living node's machine as JSON.
    #[must_use]
    pub fn view(&self, node: &str, what: &str) -> Option<serde_json::Value> {
        let index = self.index(node);
        self.nodes[index].machine.as_ref()?.view(self.local_time(index), what)
    }

    fn typed<T: serde::de::DeserializeOwned + Default>(&self, node: &str, what: &str) -> T {
        self.view(node, what).and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default()
    }

    /// `/fib`; empty for a dead node.
    #[must_use]
    pub fn fib(&self, node: &str) -> FibView {
        self.typed(node, "fib")
    }

    /// `/rib`; empty for a dead node.
    #[must_use]
    pub fn rib(&self, node: &str) -> RibView {
        self.typed(node, "rib")
    }

    /// `/lsdb`; empty for a dead node.
    #[must_use]
    pub fn lsdb(&self, node: &str) -> LsdbView {
        self.typed(node, "lsdb")
    }

    /// `/neighbors`; empty for a dead node.
    #[must_use]
    pub fn neighbors(&self, node: &str) -> NeighborsView {
        self.typed(node, "neighbors")
    }

    /// State of the adjacency of `node` with `neighbour`.
    #[must_use]
    pub fn adjacency(&self, node: &str, neighbour: &str) -> String {
        let view = self.neighbors(node);
        view.neighbors.iter().find(|n| n.port == neighbour).map(|n| n.state.clone()).unwrap_or_default()
    }

    /// A protocol counter.
    #[must_use]
    pub fn counter(&self, node: &str, name: &str) -> u64 {
        self.view(node, "protocol").and_then(|v| v.get(name)?.as_u64()).unwrap_or(0)
    }

    // ===== the loop =====

    fn next_at(&self) -> Option<Timestamp> {
        self.queue.peek().map(|Reverse((at, _, _))| *at)
    }

    fn schedule(&mut self, at: Timestamp, what: What) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(what);
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial, slot)));
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, slot))) = self.queue.pop() else { return };
        self.now = self.now.max(at);
        let Some(what) = self.slots[slot].take() else { return };
        self.free.push(slot);
        match what {
            What::Arrive { link, from, epoch, pdu } => {
                let to = self.links[link].ends[1 - from];
                if self.links[link].up && self.links[link].epoch == epoch {
                    self.receive(to.node, to.port, self.now, pdu);
                }
            }
            What::Wake { node } => {
                if self.nodes[node].wake_at.is_some_and(|wake| wake <= self.now) {
                    self.nodes[node].wake_at = None;
                    self.tick(node);
                }
            }
            What::Answer { node, life, order } => {
                if self.nodes[node].lives == life {
                    self.input(node, Input::Order(order));
                }
            }
        }
    }

    fn tick(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if this.paused {
            return;
        }
        this.ticks = if this.ticks.0 == self.now { (self.now, this.ticks.1 + 1) } else { (self.now, 0) };
        assert!(this.ticks.1 < MAX_TICKS, "{} asks for ever to be woken at {}", this.id, self.now);
        self.input(node, Input::Tick);
    }

    /// A frame reaches a node: its forwarding plane first, like in a process.
    fn receive(&mut self, node: usize, port: PortId, at: Timestamp, mut pdu: Vec<u8>) {
        let this = &mut self.nodes[node];
        if this.paused {
            this.waiting.push((port, at, pdu));
            return;
        }
        if this.machine.is_none() {
            return;
        }
        let received_at = at + this.clock_skew;
        let routed = pdu.get(1).is_some_and(|t| t & ROUTED_BIT != 0);
        if routed && this.has_forwarding_plane() {
            let verdict = this.plane.forward(Ingress::Port(port.0), &mut pdu);
            self.obey(node, Some(port), verdict, pdu);
        } else {
            self.input(node, Input::Frame { port: Some(port), received_at, pdu: &pdu });
        }
    }

    fn obey(&mut self, node: usize, port: Option<PortId>, verdict: Verdict, mut pdu: Vec<u8>) {
        let received_at = self.local_time(node);
        match verdict {
            Verdict::Send(out) => {
                self.nodes[node].seen.forwarded += 1;
                if let Some(on_return) = RoutedView::parse(&pdu).ok().and_then(|view| view.trace(&pdu)) {
                    append_hop(&mut pdu, &self.nodes[node].id, on_return);
                }
                self.transmit(node, PortId(out), pdu);
            }
            Verdict::Deliver => self.input(node, Input::Frame { port, received_at, pdu: &pdu }),
            Verdict::Drop { reason, reply } => {
                *self.nodes[node].seen.dropped.entry(reason).or_default() += 1;
                if reply {
                    self.input(node, Input::Undeliverable { port, reason, pdu: &pdu });
                }
            }
        }
    }

    fn transmit(&mut self, node: usize, port: PortId, pdu: Vec<u8>) {
        let seen = &mut self.nodes[node].seen;
        if let Some(t) = pdu.get(1).and_then(|t| MessageType::from_code(*t)) {
            *seen.sent.entry(t).or_default() += 1;
        }
        seen.sent_bytes += pdu.len() as u64;
        let Some(&link) = self.nodes[node].links.get(usize::from(port.0)) else { return };
        let from = self.end_of(link, node);
        let wire = &mut self.links[link];
        if !wire.up || wire.silent[from] {
            return;
        }
        let model = wire.models[from];
        wire.free_at[from] = wire.free_at[from].max(self.now) + model.occupied(pdu.len());
        let (epoch, now) = (wire.epoch, wire.free_at[from]);
        let mut arrivals = model.arrivals(&mut self.rng);
        let last = arrivals.pop();
        for after in arrivals {
            self.schedule(now + after, What::Arrive { link, from, epoch, pdu: pdu.clone() });
        }
        if let Some(after) = last {
            self.schedule(now + after, What::Arrive { link, from, epoch, pdu });
        }
    }

    fn input(&mut self, node: usize, input: Input<'_>) {
        let local = self.local_time(node);
        let Some(machine) = &mut self.nodes[node].machine else { return };
        machine.handle(local, input);
        while let Some(output) = self.nodes[node].machine.as_mut().and_then(|m| m.poll()) {
            self.perform(node, output);
        }
        self.arm(node);
    }

    /// Puts a wake-up into the queue for when the machine wants one.
    fn arm(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let Some(at) = this.machine.as_ref().and_then(|m| m.next_timeout()) else { return };
        let at = Timestamp(at.nanos().saturating_sub(u64::try_from(this.clock_skew.as_nanos()).unwrap_or(0)));
        let at = at.max(self.now);
        if this.wake_at.is_none_or(|wake| at < wake) {
            this.wake_at = Some(at);
            self.schedule(at, What::Wake { node });
        }
    }

    fn perform(&mut self, node: usize, output: Output) {
        let now = self.now;
        let seen = &mut self.nodes[node].seen;
        match output {
            Output::Send { port, pdu } => self.transmit(node, port, pdu),
            Output::Route { mut pdu } => {
                let verdict = self.nodes[node].plane.forward(Ingress::Local, &mut pdu);
                self.obey(node, None, verdict, pdu);
            }
            Output::Fib(ops) => {
                seen.fib_changed_at = now;
                self.fib_changed_at = now;
                self.nodes[node].plane.apply(ops);
                self.revision += 1;
            }
            Output::Event(event) => {
                if self.keeps_events {
                    seen.events.push((now, event));
                }
                self.revision += 1;
            }
            Output::Dropped { reason, .. } => *seen.dropped.entry(reason).or_default() += 1,
            Output::Invoke { invocation, prefix, method, payload, .. } => {
                let result = serve(&prefix.to_string(), &method, &payload);
                self.answer(node, Order::Answer { invocation, result });
            }
            Output::SelfTest { task, prefix } => {
                let task = damc_wire::message::TaskReport {
                    task,
                    healthy: true,
                    load_ppm: 0,
                    served: 0,
                    self_test_ns: u64::try_from(SERVICE_TIME.as_nanos()).unwrap_or(u64::MAX),
                };
                self.answer(node, Order::Report { task, prefix });
            }
            Output::CallDone { handle, outcome } => {
                seen.calls.insert(handle, outcome);
                self.revision += 1;
            }
            Output::Path { .. } | Output::Announced { .. } => self.revision += 1,
        }
    }

    fn answer(&mut self, node: usize, order: Order) {
        let life = self.nodes[node].lives;
        self.schedule(self.now + SERVICE_TIME, What::Answer { node, life, order });
    }

    // ===== looking things up =====

    fn local_time(&self, node: usize) -> Timestamp {
        self.now + self.nodes[node].clock_skew
    }

    pub(crate) fn index(&self, node: &str) -> usize {
        *self.by_name.get(node).unwrap_or_else(|| panic!("no node {node}"))
    }

    fn link_index(&self, a: &str, b: &str) -> usize {
        let (a_index, b_index) = (self.index(a), self.index(b));
        let joins = |l: &Link| {
            let ends = [l.ends[0].node, l.ends[1].node];
            ends == [a_index, b_index] || ends == [b_index, a_index]
        };
        self.links.iter().position(joins).unwrap_or_else(|| panic!("no link {a} - {b}"))
    }

    fn end_of(&self, link: usize, node: usize) -> usize {
        usize::from(self.links[link].ends[0].node != node)
    }
}

fn port_id(index: usize) -> PortId {
    PortId(u16::try_from(index).unwrap_or(u16::MAX))
}

/// The built-in service, as far as simulations need it.
fn serve(prefix: &str, method: &str, payload: &[u8]) -> Result<Vec<u8>, (RefusalReason, String)> {
    match method {
        "echo" => Ok(payload.to_vec()),
        "whoami" => Ok(prefix.as_bytes().to_vec()),
        "add" => {
            let text = String::from_utf8_lossy(payload);
            let numbers: Result<Vec<i64>, _> = text.split_whitespace().map(str::parse).collect();
            match numbers {
                Ok(n) => Ok(n.iter().sum::<i64>().to_string().into_bytes()),
                Err(e) => Err((RefusalReason::BadArguments, e.to_string())),
            }
        }
        _ => Err((RefusalReason::NoSuchMethod, method.to_owned())),
    }
}
