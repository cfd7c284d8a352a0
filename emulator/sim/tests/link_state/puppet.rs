//! A neighbour on strings: keeps a real adjacency with the machine under test, and says whatever a test wants.

use core::time::Duration;
use std::sync::Arc;

use damc_mgmt::config::NodeConfig;
use damc_mgmt::view::{LsdbView, NeighborView, NeighborsView, ProtocolCounters, Shown};
use damc_mgmt::words::{AdjacencyState, ProtocolCounter};
use damc_proto::adjacency::{Adjacencies, Change};
use damc_proto::context::Context;
use damc_proto::io::{Input, Machine, Outbox, Output, PortId};
use damc_sim::Network;
use damc_trust::{NodeKeys, NodeSecrets, RootSecret};
use damc_wire::lsa::{LinkEntry, Lsa, LsaContent, LsaHeader, LsaId, LsaKey, TopologyLsa};
use damc_wire::message::DbSummary;
use damc_wire::registry::{DropReason, MessageType};
use damc_wire::security::CertifiedName;
use damc_wire::{Message, Millis, NodeId, Role, Timestamp};

pub const PORT: PortId = PortId(0);

pub fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

/// Keys of any node of the networks built with this seed.
pub fn keys(node: &str, role: Role, seed: u64) -> NodeKeys {
    let mut key_seed = [0; 32];
    key_seed[..8].copy_from_slice(&seed.to_be_bytes());
    let secrets = NodeSecrets::derive(&key_seed, &id(node));
    let (root, domain) = (RootSecret::from_seed(&key_seed), id("example"));
    let certificate = match role {
        Role::Spa => root.issue_spa(&domain, &id(node), &secrets, certified()),
        _ => root.issue(&domain, &id(node), role, &secrets),
    };
    NodeKeys::new(&secrets, certificate).unwrap()
}

/// The root's public key in the networks built with [`SEED`].
pub fn root_key() -> [u8; 32] {
    let mut key_seed = [0; 32];
    key_seed[..8].copy_from_slice(&SEED.to_be_bytes());
    RootSecret::from_seed(&key_seed).public().to_bytes()
}

/// What the SPAs of these tests may grant: these names and all below them.
fn certified() -> Vec<CertifiedName> {
    let names = ["/A", "/B", "/damc", "/old", "/new"];
    names.map(|name| CertifiedName { name: name.parse().unwrap(), exact: false }).to_vec()
}

pub struct Puppet {
    pub name: String,
    pub adjacencies: Adjacencies,
    pub keys: NodeKeys,
    /// What it was told since the last look, but hello, echo and summaries.
    pub heard: Vec<Message>,
    /// Acknowledges LSAs by itself.
    pub acknowledges: bool,
    /// Sends hellos and echoes.
    pub sends_hello: bool,
    pub sends_echo: bool,
    /// What it says its database holds.
    pub summary: Vec<LsaHeader>,
    /// All PDUs it got.
    pub recorded: Vec<Vec<u8>>,
    exchange: u32,
    out: Outbox,
}

/// One machine under test, and a puppet at each of its ports.
pub struct Stage {
    pub now: Timestamp,
    pub machine: Box<dyn Machine + Send>,
    pub puppets: Vec<Puppet>,
    pub dropped: Vec<DropReason>,
    pub fib_changes: usize,
}

pub const SEED: u64 = 7;

impl Stage {
    /// `subject` of `network` under test; its neighbours are puppets.
    pub fn new(network: &Network, subject: &str) -> Self {
        let configs = network.configs(SEED);
        let config = |name: &str| configs.iter().find(|c| c.node == name).unwrap();
        let now = Timestamp::from_millis(1000);
        let machine = damc_proto::node::build(config(subject), 1, now).unwrap();
        let puppets = config(subject).ports.iter().map(|p| Puppet::new(config(&p.name))).collect();
        let mut stage = Self { now, machine, puppets, dropped: Vec::new(), fib_changes: 0 };
        for port in 0..stage.puppets.len() {
            stage.input(Input::PortUp(port_id(port)));
            let puppet = &mut stage.puppets[port];
            let own = puppet.port_to(subject);
            puppet.adjacencies.handle_port(now, own, true, &mut puppet.out);
        }
        stage.exchange();
        stage
    }

    /// An SR called `sr` with SR puppets `p0`, `p1`, …, all full.
    pub fn sr(puppets: usize) -> Self {
        let mut network = Network::new().sr("sr");
        for i in 0..puppets {
            let name = format!("p{i}");
            network = network.sr(&name).link("sr", &name, 1);
        }
        let mut stage = Self::new(&network, "sr");
        stage.advance(60);
        for i in 0..puppets {
            assert_eq!(stage.state_of_neighbour(i), AdjacencyState::Full);
        }
        stage.clear();
        stage
    }

    pub fn clear(&mut self) {
        self.dropped.clear();
        for puppet in &mut self.puppets {
            puppet.heard.clear();
        }
    }

    pub fn show<T: Shown>(&self) -> T {
        self.machine.view(self.now, T::KIND).and_then(T::of).expect("an SR or SG shows it")
    }

    pub fn row_of_neighbour(&self, puppet: usize) -> NeighborView {
        let rows = self.show::<NeighborsView>().neighbors;
        rows.into_iter().find(|n| n.port == self.puppets[puppet].name.as_str()).expect("a row for each port")
    }

    pub fn state_of_neighbour(&self, puppet: usize) -> AdjacencyState {
        self.row_of_neighbour(puppet).state
    }

    /// Sequence number the machine has of an LSA, if any.
    pub fn sequence(&self, origin: &str, id: &str) -> Option<u64> {
        let lsas = self.show::<LsdbView>().lsas;
        lsas.iter().find(|l| l.origin == origin && l.id == id).map(|l| l.sequence)
    }

    pub fn counter(&self, counter: ProtocolCounter) -> u64 {
        self.show::<ProtocolCounters>().get(counter)
    }

    /// A puppet says something under its hop MAC.
    pub fn say(&mut self, puppet: usize, message: Message) {
        let p = &mut self.puppets[puppet];
        let port = p.adjacencies_port();
        assert!(p.adjacencies.send(self.now, port, message, &mut p.out), "no adjacency");
        self.exchange();
    }

    pub fn flood(&mut self, puppet: usize, lsa: &Lsa) {
        self.say(puppet, Message::LsUpdate(vec![lsa.clone()]));
    }

    /// Hands a PDU to the machine as it is.
    pub fn inject(&mut self, puppet: usize, pdu: &[u8]) {
        self.input(Input::Frame { port: Some(port_id(puppet)), received_at: self.now, pdu });
        self.exchange();
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.machine.handle(self.now, input);
    }

    /// Lets time pass, 1 ms at a step.
    pub fn advance(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            if self.machine.next_timeout().is_some_and(|at| at <= self.now) {
                self.input(Input::Tick);
            }
            for p in &mut self.puppets {
                if p.adjacencies.next_timeout().is_some_and(|at| at <= self.now) {
                    p.adjacencies.handle_timeout(self.now, &mut p.out);
                }
            }
            self.exchange();
        }
    }

    /// Carries frames both ways until there are none.
    pub fn exchange(&mut self) {
        loop {
            let mut idle = true;
            while let Some(output) = self.machine.poll() {
                idle = false;
                match output {
                    Output::Send { port, pdu } => self.puppets[usize::from(port.0)].receive(self.now, &pdu),
                    Output::Dropped { reason, .. } => self.dropped.push(reason),
                    Output::Fib(ops) => self.fib_changes += ops.len(),
                    _ => {}
                }
            }
            for i in 0..self.puppets.len() {
                while let Some(output) = self.puppets[i].out.pop() {
                    idle = false;
                    if let Output::Send { pdu, .. } = output
                        && self.puppets[i].may_send(&pdu)
                    {
                        self.input(Input::Frame { port: Some(port_id(i)), received_at: self.now, pdu: &pdu });
                    }
                }
            }
            if idle {
                return;
            }
        }
    }
}

impl Puppet {
    fn new(config: &NodeConfig) -> Self {
        let context = Arc::new(Context::from_config(config).unwrap());
        Self {
            name: config.node.clone(),
            keys: context.keys.clone(),
            adjacencies: Adjacencies::new(context, 99),
            heard: Vec::new(),
            acknowledges: true,
            sends_hello: true,
            sends_echo: true,
            summary: Vec::new(),
            recorded: Vec::new(),
            exchange: 0,
            out: Outbox::default(),
        }
    }

    fn port_to(&self, _subject: &str) -> PortId {
        PORT // In the networks of these tests the machine under test is a puppet's first neighbour.
    }

    fn adjacencies_port(&self) -> PortId {
        PORT
    }

    fn may_send(&self, pdu: &[u8]) -> bool {
        match MessageType::from_code(pdu[1]) {
            Some(MessageType::Hello) => self.sends_hello,
            Some(MessageType::Echo) => self.sends_echo,
            _ => true,
        }
    }

    fn receive(&mut self, now: Timestamp, pdu: &[u8]) {
        self.recorded.push(pdu.to_vec());
        let received = self.adjacencies.handle_frame(now, PORT, now, pdu, &mut self.out);
        while let Some(change) = self.adjacencies.poll_change() {
            if matches!(change, Change::Up { .. }) && self.adjacencies.state(PORT) == AdjacencyState::Exchange {
                self.exchange += 1;
                // One page; the machine's own numbers are random.
                let headers = self.summary.clone();
                let summary = DbSummary { exchange: self.exchange, page: 0, last: true, headers };
                self.adjacencies.send(now, PORT, Message::DbSummary(summary), &mut self.out);
            }
        }
        let Some(received) = received else { return };
        match received.message {
            Message::DbSummary(page) if page.exchange != self.exchange => {
                let ack = DbSummary { headers: Vec::new(), ..page };
                self.adjacencies.send(now, PORT, Message::DbSummary(ack), &mut self.out);
            }
            Message::DbSummary(_) => {}
            message => {
                if let (Message::LsUpdate(lsas), true) = (&message, self.acknowledges) {
                    let headers = lsas.iter().map(Lsa::header).collect();
                    self.adjacencies.send(now, PORT, Message::LsAck(headers), &mut self.out);
                }
                self.heard.push(message);
            }
        }
    }

    /// Headers acknowledged to it since the last look.
    pub fn acks(&self) -> Vec<LsaHeader> {
        let acks = self.heard.iter().filter_map(|m| if let Message::LsAck(h) = m { Some(h.clone()) } else { None });
        acks.flatten().collect()
    }

    /// LSAs sent to it since the last look.
    pub fn updates(&self) -> Vec<Lsa> {
        let sent = self.heard.iter().filter_map(|m| if let Message::LsUpdate(l) = m { Some(l.clone()) } else { None });
        sent.flatten().collect()
    }

    /// A topology LSA of its own.
    pub fn topology(&self, sequence: u64, links: &[&str]) -> Lsa {
        topology_of(&self.keys, &self.name, sequence, links)
    }
}

pub fn topology_of(keys: &NodeKeys, origin: &str, sequence: u64, links: &[&str]) -> Lsa {
    let key = LsaKey { origin: id(origin), id: LsaId::Topology(0) };
    let link = |n: &&str| LinkEntry { neighbour: id(n), cost: 1 };
    let content = TopologyLsa { overload: false, stub: false, links: links.iter().map(link).collect() };
    keys.sign_lsa(key, sequence, Millis(3_600_000), LsaContent::Topology(content))
}

fn port_id(index: usize) -> PortId {
    PortId(u16::try_from(index).unwrap())
}
