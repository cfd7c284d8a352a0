//! Routers on links without delay. Everything that passes them of class 2 is a point of choice: what is in flight may come,
//! be lost, come twice, be overtaken, come late, or find its receiver restarted.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use damc_mgmt::command::Command;
use damc_mgmt::view::{LsdbView, NeighborsView, Shown};
use damc_mgmt::words::AdjacencyState;
use damc_proto::context::Context;
use damc_proto::io::{Input, Outbox, Output, PortId};
use damc_proto::router::{PrefixClaim, Router};
use damc_sim::Network;
use damc_trust::{NodeKeys, NodeSecrets, RootSecret, SignatureMemory};
use damc_wire::lsa::Proof;
use damc_wire::registry::MessageType;
use damc_wire::security::{CertifiedName, Grant};
use damc_wire::{Millis, Name, NodeId, Role, Timestamp};

pub const SEED: u64 = 7;
/// What the first router advertises.
pub const PREFIX: &str = "/A/1";
/// A frame that comes late: after its sender has sent it again.
const LATE: Duration = Duration::from_millis(300);
/// Nothing of class 2 for so long, which is more than the longest wait of a retransmission: the network is at rest.
const REST: Duration = Duration::from_secs(3);
/// Virtual time and deliveries in which a network comes to rest.
const WITHIN: Duration = Duration::from_secs(60);
const DELIVERIES: usize = 20_000;

/// What may become of a frame of class 2 instead of its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    Lost,
    Twice,
    Overtaken,
    Late,
    /// Its receiver starts anew before it comes.
    Restart,
}

impl Deviation {
    pub const ALL: [Self; 5] = [Self::Lost, Self::Twice, Self::Overtaken, Self::Late, Self::Restart];
}

#[derive(Clone)]
struct Flying {
    from: usize,
    to: usize,
    port: PortId,
    pdu: Vec<u8>,
}

impl Flying {
    fn is_class_2(&self) -> bool {
        use MessageType::{DbSummary, LsAck, LsRequest, LsUpdate};
        let kind = self.pdu.get(1).copied().and_then(MessageType::from_code);
        matches!(kind, Some(LsUpdate | LsAck | LsRequest | DbSummary))
    }
}

/// A description of the network: what is the same in every run.
pub struct Shape {
    contexts: Vec<Arc<Context>>,
    /// For each router and port: the router and port at the other end.
    wires: Vec<Vec<(usize, PortId)>>,
    claim: PrefixClaim,
    memory: SignatureMemory,
}

impl Shape {
    /// Routers `r0`, `r1`, …, each an SR but the first, which is an SG and has the prefix.
    pub fn new(count: usize, links: &[(usize, usize)]) -> Self {
        let name = |i: usize| format!("r{i}");
        let mut network = Network::new().sg("r0").timers(|timers| timers.echo_interval_ms = 0);
        for i in 1..count {
            network = network.sr(&name(i));
        }
        for (a, b) in links {
            network = network.link(&name(*a), &name(*b), 1);
        }
        let configs = network.configs(SEED);
        let of = |node: &str| configs.iter().position(|c| c.node == node).unwrap();
        let order: Vec<usize> = (0..count).map(|i| of(&name(i))).collect();
        let port_of = |near: &str, far: &str| {
            let at = configs[of(near)].ports.iter().position(|p| p.name == far).unwrap();
            PortId(u16::try_from(at).unwrap())
        };
        let ends = |i: usize| {
            let ports = configs[order[i]].ports.iter();
            let end = |port: &damc_mgmt::config::PortConfig| {
                let far = (0..count).find(|j| name(*j) == port.name).unwrap();
                (far, port_of(&port.name, &name(i)))
            };
            ports.map(end).collect()
        };
        Self {
            contexts: order.iter().map(|at| Arc::new(Context::from_config(&configs[*at]).unwrap())).collect(),
            wires: (0..count).map(ends).collect(),
            claim: claim(),
            memory: SignatureMemory::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.contexts.len()
    }

    pub fn neighbours(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        self.wires[at].iter().map(|(far, _)| *far)
    }
}

/// The first router may advertise the prefix.
fn claim() -> PrefixClaim {
    let node = |text: &str| NodeId::new(text).unwrap();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&SEED.to_be_bytes());
    let secrets = |id: &str| NodeSecrets::derive(&seed, &node(id));
    let root = RootSecret::from_seed(&seed);
    let prefix: Name = PREFIX.parse().unwrap();
    let names = vec![CertifiedName { name: prefix.clone(), exact: false }];
    let certificate = root.issue_spa(&node("example"), &node("spa"), &secrets("spa"), names);
    let spa = NodeKeys::new(&secrets("spa"), certificate.clone()).unwrap();
    let proof = spa.sign_grant(Grant {
        prefix: prefix.clone(),
        exact: false,
        depth: 255,
        pod: node("pod"),
        pod_key: root.issue(&node("example"), &node("pod"), Role::Pod, &secrets("pod")).signing_key,
        sg: node("r0"),
        issued_at: Millis(1000),
        expires_at: Millis(10_000_000),
        serial: 1,
        certificate,
        signature: [0; 64],
    });
    let proof = Proof::Grant(proof);
    PrefixClaim { prefix, port: node("pod"), metric: 1, weight: 1, exact: false, instance: None, proof }
}

/// A run.
pub struct Net<'a> {
    shape: &'a Shape,
    pub now: Timestamp,
    routers: Vec<Router>,
    outs: Vec<Outbox>,
    lives: u64,
    /// Links without carrier, as pairs of routers.
    down: Vec<(usize, usize)>,
    flying: VecDeque<Flying>,
    /// Hellos and the like are not what is explored: they pass all others.
    plain: VecDeque<Flying>,
    late: Vec<(Timestamp, Flying)>,
    last_class_2: Timestamp,
    deliveries: usize,
    /// Whether the first router means its prefix; what restarts with it says so again.
    pub advertised: bool,
    /// What costs were set to: router, far end, cost. A restart forgets it.
    costs: Vec<(usize, usize, u32)>,
    /// Deviations by the number of their point of choice, ascending; taken from the front.
    plan: VecDeque<(usize, Deviation)>,
    /// Points of choice so far, where they count.
    pub points: Option<usize>,
    /// Why it cannot come to rest.
    broken: Option<String>,
}

impl<'a> Net<'a> {
    /// All routers have started, and are at rest.
    pub fn up(shape: &'a Shape) -> Self {
        let now = Timestamp::from_millis(1000);
        let mut net = Self {
            shape,
            now,
            routers: Vec::new(),
            outs: (0..shape.len()).map(|_| Outbox::default()).collect(),
            lives: 0,
            down: Vec::new(),
            flying: VecDeque::new(),
            plain: VecDeque::new(),
            late: Vec::new(),
            last_class_2: now,
            deliveries: 0,
            advertised: true,
            costs: Vec::new(),
            plan: VecDeque::new(),
            points: None,
            broken: None,
        };
        for at in 0..shape.len() {
            let router = net.new_router(at);
            net.routers.push(router);
        }
        (0..shape.len()).for_each(|at| net.begin(at));
        net.rest().expect("a network without deviations comes to rest");
        net
    }

    fn new_router(&mut self, at: usize) -> Router {
        self.lives += 1;
        let mut router = Router::new(Arc::clone(&self.shape.contexts[at]), self.lives, self.now);
        router.share_signatures(&self.shape.memory);
        router
    }

    /// Carriers come up, and the pod registers.
    fn begin(&mut self, at: usize) {
        for port in 0..self.shape.wires[at].len() {
            let far = self.shape.wires[at][port].0;
            if !self.is_down(at, far) {
                self.input(at, Input::PortUp(PortId(u16::try_from(port).unwrap())));
            }
        }
        if at == 0 && self.advertised {
            self.advertise(true);
        }
    }

    fn restart(&mut self, at: usize) {
        self.routers[at] = self.new_router(at);
        self.outs[at] = Outbox::default();
        self.costs.retain(|(node, _, _)| *node != at);
        self.begin(at);
    }

    // ===== acts =====

    pub fn advertise(&mut self, on: bool) {
        self.advertised = on;
        let claim = self.shape.claim.clone();
        let (router, out) = (&mut self.routers[0], &mut self.outs[0]);
        if on {
            router.originate_prefix(self.now, claim, out);
        } else {
            router.withdraw_prefix(self.now, &claim.prefix, &claim.port, out);
        }
        self.collect(0);
    }

    pub fn set_cost(&mut self, near: usize, far: usize, cost: u32) {
        self.costs.retain(|(a, b, _)| (*a, *b) != (near, far));
        self.costs.push((near, far, cost));
        let port = self.shape.contexts[far].node.clone();
        self.input(near, Input::Command { handle: 0, command: &Command::Cost { port, cost } });
    }

    pub fn set_link(&mut self, a: usize, b: usize, up: bool) {
        self.down.retain(|pair| *pair != (a, b));
        if !up {
            self.down.push((a, b));
        }
        for (near, far) in [(a, b), (b, a)] {
            let port = self.shape.wires[near].iter().position(|(other, _)| *other == far).unwrap();
            let port = PortId(u16::try_from(port).unwrap());
            self.input(near, if up { Input::PortUp(port) } else { Input::PortDown(port) });
        }
    }

    /// From now on frames of class 2 are points of choice, and deviations happen as planned.
    pub fn follow(&mut self, plan: &[(usize, Deviation)]) {
        self.plan = plan.iter().copied().collect();
        self.points = Some(0);
    }

    // ===== time and frames =====

    fn is_down(&self, a: usize, b: usize) -> bool {
        self.down.iter().any(|pair| *pair == (a, b) || *pair == (b, a))
    }

    fn input(&mut self, at: usize, input: Input<'_>) {
        self.routers[at].handle(self.now, input, &mut self.outs[at]);
        self.collect(at);
    }

    fn collect(&mut self, at: usize) {
        self.routers[at].finish(&mut self.outs[at]);
        while self.routers[at].poll_event().is_some() {}
        while let Some(output) = self.outs[at].pop() {
            let Output::Send { port, pdu } = output else { continue };
            let (to, far) = self.shape.wires[at][usize::from(port.0)];
            let flying = Flying { from: at, to, port: far, pdu };
            let queue = if flying.is_class_2() { &mut self.flying } else { &mut self.plain };
            queue.push_back(flying);
        }
    }

    fn choice(&mut self) -> Option<Deviation> {
        let point = self.points?;
        self.points = Some(point + 1);
        let due = self.plan.front().is_some_and(|(at, _)| *at == point);
        due.then(|| self.plan.pop_front()).flatten().map(|(_, deviation)| deviation)
    }

    fn deliver_all(&mut self) {
        while self.broken.is_none() {
            if let Some(plain) = self.plain.pop_front() {
                self.arrive(&plain);
                continue;
            }
            let Some(flying) = self.flying.pop_front() else { return };
            self.last_class_2 = self.now;
            match self.choice() {
                None => self.arrive(&flying),
                Some(Deviation::Lost) => {}
                Some(Deviation::Twice) => {
                    self.flying.push_back(flying.clone());
                    self.arrive(&flying);
                }
                Some(Deviation::Overtaken) => self.flying.push_back(flying),
                Some(Deviation::Late) => self.late.push((self.now + LATE, flying)),
                Some(Deviation::Restart) => {
                    self.restart(flying.to);
                    self.arrive(&flying);
                }
            }
        }
    }

    fn arrive(&mut self, flying: &Flying) {
        self.deliveries += 1;
        if self.deliveries > DELIVERIES {
            self.broken = Some(format!("{DELIVERIES} frames and no rest"));
            return;
        }
        if !self.is_down(flying.from, flying.to) {
            let frame = Input::Frame { port: Some(flying.port), received_at: self.now, pdu: &flying.pdu };
            self.input(flying.to, frame);
        }
    }

    fn next(&self) -> Timestamp {
        let timers = self.routers.iter().filter_map(Router::next_timeout);
        timers.chain(self.late.iter().map(|(at, _)| *at)).min().expect("hellos go on for ever")
    }

    /// Lets time pass until then.
    pub fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        self.deliver_all();
        while self.next() <= until && self.broken.is_none() {
            self.step();
        }
        self.now = self.now.max(until);
    }

    fn step(&mut self) {
        self.now = self.now.max(self.next());
        for at in 0..self.routers.len() {
            if self.routers[at].next_timeout().is_some_and(|due| due <= self.now) {
                self.input(at, Input::Tick);
            }
        }
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= self.now);
        self.late = late;
        let due: Vec<(Timestamp, Flying)> = due;
        self.flying.extend(due.into_iter().map(|(_, flying)| flying));
        self.deliver_all();
    }

    /// Runs until nothing of class 2 passes any more.
    pub fn rest(&mut self) -> Result<(), String> {
        let end = self.now + WITHIN;
        self.deliver_all();
        while !self.late.is_empty() || self.next() <= self.last_class_2 + REST {
            if self.now > end {
                self.broken.get_or_insert(format!("no rest within {} s", WITHIN.as_secs()));
            }
            if let Some(why) = &self.broken {
                return Err(why.clone());
            }
            self.step();
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    // ===== what has to be =====

    fn show<T: Shown>(&self, at: usize) -> T {
        self.routers[at].view(self.now, T::KIND).and_then(T::of).expect("a router shows it")
    }

    /// Every neighbour full, every database the same, and in it what each router means.
    pub fn judge(&self) -> Result<(), String> {
        let first: LsdbView = self.show(0);
        for at in 0..self.routers.len() {
            for row in self.show::<NeighborsView>(at).neighbors {
                let far = self.shape.contexts.iter().position(|c| c.node.as_str() == row.port).unwrap();
                if (row.state == AdjacencyState::Full) == self.is_down(at, far) {
                    return Err(format!("r{at} has its neighbour r{far} in state {:?}", row.state));
                }
            }
            let lsdb: LsdbView = self.show(at);
            if lsdb.digest != first.digest {
                return Err(format!("databases differ: r0 holds {}; r{at} holds {}", told(&first), told(&lsdb)));
            }
            self.judge_links(at, &lsdb)?;
        }
        let has = first.lsas.iter().any(|l| l.id == PREFIX && !l.purged);
        if has == self.advertised { Ok(()) } else { Err(format!("{PREFIX} is advertised: {}", self.advertised)) }
    }

    fn judge_links(&self, at: usize, lsdb: &LsdbView) -> Result<(), String> {
        let origin = self.shape.contexts[at].node.as_str();
        let own = lsdb.lsas.iter().find(|l| l.origin == origin && l.id == "0" && !l.purged);
        let own = own.ok_or_else(|| format!("nobody holds the links of r{at}"))?;
        let mut links: Vec<(String, u32)> = own.links.iter().map(|l| (l.neighbour.clone(), l.cost)).collect();
        links.sort();
        let reached = self.shape.wires[at].iter().map(|(far, _)| *far).filter(|far| !self.is_down(at, *far));
        let cost = |far: usize| {
            let set = self.costs.iter().find(|(a, b, _)| (*a, *b) == (at, far));
            set.map_or(1, |(_, _, cost)| *cost)
        };
        let mut wanted: Vec<(String, u32)> = reached.map(|far| (format!("r{far}"), cost(far))).collect();
        wanted.sort();
        if links == wanted { Ok(()) } else { Err(format!("r{at} says {links:?} and means {wanted:?}")) }
    }
}

fn told(lsdb: &LsdbView) -> String {
    let rows =
        lsdb.lsas.iter().map(|l| format!("{} {} {}{}", l.origin, l.id, l.sequence, if l.purged { "†" } else { "" }));
    rows.collect::<Vec<_>>().join(", ")
}
