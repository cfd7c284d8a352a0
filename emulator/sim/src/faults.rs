//! What is done to a simulated network: starts, faults, orders, calls.

use core::time::Duration;

use damc_forward::Op;
use damc_impair::DirectionSpec;
use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::CountersView;
use damc_proto::io::{Input, Order};
use damc_proto::node::build;
use damc_wire::NodeId;
use rand::RngExt as _;

use crate::node::Call;
use crate::plane::Plane;
use crate::records::EventLog;
use crate::services::Service;
use crate::sim::{Sim, port_id};

impl Sim {
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

    pub(crate) fn start_index(&mut self, node: usize) {
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
        this.counters = CountersView { node: this.config.node.clone(), ..CountersView::default() };
        this.log = EventLog::default();
        this.services = Service::configured(&this.config.services);
        let orders: Vec<Order> = this.services.iter().map(|service| service.order(true)).collect();
        let links = this.links.clone();
        for (index, link) in links.into_iter().enumerate() {
            if self.links.get(link).is_some_and(|l| l.up) {
                self.input(node, Input::PortUp(port_id(index)));
            }
        }
        if self.tape.is_some() {
            self.nodes[node].log.push(local, EventKind::Ready);
        }
        for order in orders {
            self.input(node, Input::Order(order));
        }
    }

    /// Kills a node: it says nothing more; links to it keep their carrier.
    pub fn kill(&mut self, node: &str) {
        let node = self.index(node);
        self.kill_index(node);
    }

    pub(crate) fn kill_index(&mut self, node: usize) {
        self.nodes[node].machine = None;
        self.nodes[node].wake_at = None;
        self.nodes[node].paused = false;
        self.nodes[node].waiting.clear();
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

    /// Lets a node's clock run faster by so many millionths, slower where negative; 1000 are 86 s a day. Call it while the node
    /// is dead.
    ///
    /// # Panics
    /// At less than -900 000: a clock that hardly runs is none.
    pub fn drift_clock(&mut self, node: &str, ppm: i32) {
        assert!(ppm >= -900_000, "{ppm} ppm");
        let node = self.index(node);
        self.nodes[node].clock_drift_ppm = ppm;
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
            for direction in &mut self.links[link].directions {
                direction.cut(&mut self.pool);
            }
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
            self.apply(end.node, vec![Op::PortState { port: end.port, up: false }]);
        }
    }

    /// Lets frames from `a` to `b` vanish without anybody being told, or pass again.
    pub fn set_silent(&mut self, a: &str, b: &str, silent: bool) {
        let (link, from) = self.direction(a, b);
        let spec = DirectionSpec { silent, ..*self.links[link].directions[from].spec() };
        self.set_direction(link, from, &spec);
    }

    /// Changes what a link does to frames, both ways.
    pub fn set_spec(&mut self, a: &str, b: &str, spec: DirectionSpec) {
        self.set_spec_from(a, b, spec);
        self.set_spec_from(b, a, spec);
    }

    /// Changes what a link does to frames from `a` to `b`.
    pub fn set_spec_from(&mut self, a: &str, b: &str, spec: DirectionSpec) {
        let (link, from) = self.direction(a, b);
        self.set_direction(link, from, &spec);
    }

    /// Changes what all links do to frames.
    pub fn set_all_specs(&mut self, spec: DirectionSpec) {
        for link in 0..self.links.len() {
            for from in 0..2 {
                self.set_direction(link, from, &spec);
            }
        }
    }

    fn set_direction(&mut self, link: usize, from: usize, spec: &DirectionSpec) {
        self.links[link].directions[from].set(self.now, spec);
        self.arm_direction(link, from);
    }

    /// Gives a node an order.
    pub fn order(&mut self, node: &str, order: Order) {
        let node = self.index(node);
        self.input(node, Input::Order(order));
    }

    /// Gives a node a command.
    pub fn command(&mut self, node: &str, command: &Command) {
        let node = self.index(node);
        self.input(node, Input::Command { handle: 0, command });
    }

    /// Changes the cost of sending from `a` to `b`.
    pub fn set_cost(&mut self, a: &str, b: &str, cost: u32) {
        let node = self.index(a);
        let port = self.nodes[node].config.ports.iter().find(|p| p.name == b);
        let port = port.and_then(|p| NodeId::new(&p.name).ok()).expect("a port to the neighbour");
        self.command(a, &Command::Cost { port, cost });
    }

    /// Lets a frame arrive at `b` as if `a` had sent it.
    pub fn inject(&mut self, a: &str, b: &str, pdu: Vec<u8>) {
        let (link, from) = self.direction(a, b);
        let to = self.links[link].ends[1 - from];
        self.receive(to.node, to.port, self.now, pdu);
    }

    /// Makes a call from a pod; the outcome appears in [`Seen::calls`] under the handle.
    pub fn call(&mut self, pod: &str, call: Call) -> u64 {
        let handle = self.next_handle;
        self.next_handle += 1;
        let Call { name, method, payload, deadline, trace, flow } = call;
        let order = Order::Call { handle, name, method, payload, deadline, trace, source: None, flow, context: None };
        self.order(pod, order);
        handle
    }
}
