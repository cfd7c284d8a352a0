//! Whole nodes fed by a member of their domain that has valid keys and says what the fuzzer wants.
//!
//! The first byte chooses who is fed and by whom; then operations follow, each with its arguments: time passes, a frame is
//! put together of any bytes, an LSA or an announcement is signed, one of the member's own frames is changed on its way, the
//! link goes down and up. Every frame of the member is sealed anew, so that what is fed has passed the MAC.

use std::sync::OnceLock;
use std::time::Duration;

use damc_mgmt::config::NodeConfig;
use damc_mgmt::view::ViewKind;
use damc_proto::io::{Input, Machine, Output, PortId};
use damc_proto::node::build;
use damc_sim::Network;
use damc_trust::{HopKey, NodeKeys, NodeSecrets, certificate_from_hex};
use damc_wire::frame::{HOP_MAC_LEN, HeaderView, open, seal};
use damc_wire::lsa::{LinkEntry, LsaContent, LsaId, LsaKey, TopologyLsa};
use damc_wire::message::AnnounceEntry;
use damc_wire::registry::HEADER_LEN;
use damc_wire::security::Certificate;
use damc_wire::{Frame, Message, Millis, Name, NodeId, Role, Timestamp};

/// Who is fed, and by whom.
const PAIRS: &[(&str, &str)] = &[
    ("sr-a", "sr-b"),
    ("sr-a", "sg-a"),
    ("sg-a", "sr-a"),
    ("sg-a", "pod-a"),
    ("sg-a", "spa-a"),
    ("spa-a", "sg-a"),
    ("pod-a", "sg-a"),
    ("scsc", "sr-a"),
    ("sr-a", "scsc"),
];
/// Operations of one input; more say nothing new and cost time.
const OPERATIONS: usize = 64;
/// Outputs that one frame may cause: an answer, acknowledgements, a flood over some ports, events.
const OUTPUTS: usize = 2000;
/// Ticks at one instant: then a machine asks for time that it does not use.
const TICKS: usize = 1000;
/// Names that announcements choose from.
const NAMES: &[&str] = &["/A/1", "/A/2", "/A", "/B/1", "/A/1/x", "/damc/example/sr-a", "/C"];

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let (victim, member) = PAIRS[usize::from(input.u8()) % PAIRS.len()];
    let mut table = Table::new(victim, member);
    table.carrier(true);
    table.pass(Duration::from_secs(1));
    for _ in 0..OPERATIONS {
        if input.0.is_empty() {
            break;
        }
        table.operate(&mut input);
        table.exchange();
    }
    table.pass(Duration::from_secs(1));
    for kind in [ViewKind::Fib, ViewKind::Rib, ViewKind::Lsdb, ViewKind::Neighbors] {
        let _ = table.victim.machine.view(table.now, kind);
    }
}

/// Arguments; those that are missing are 0.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn u64(&mut self) -> u64 {
        self.take(8).iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

struct Side {
    id: NodeId,
    role: Role,
    port: PortId,
    certificate: Certificate,
    machine: Box<dyn Machine + Send>,
    /// Session of its newest hello on the link.
    session: u64,
}

struct Table {
    victim: Side,
    member: Side,
    keys: NodeKeys,
    now: Timestamp,
    counter: u64,
    /// The member's newest frame, before it was sealed anew.
    newest: Vec<u8>,
    up: bool,
    known: Option<((u64, u64), HopKey)>,
}

/// Keys cost more than most inputs.
static CONFIGS: OnceLock<Vec<NodeConfig>> = OnceLock::new();

fn configs() -> Vec<NodeConfig> {
    let network = Network::new()
        .sr("sr-a")
        .sr("sr-b")
        .sg("sg-a")
        .node("spa-a", Role::Spa)
        .node("scsc", Role::Scsc)
        .pod("pod-a", &[("/A/1", Some("/A"))])
        .link("sr-a", "sr-b", 1)
        .link("sr-a", "sg-a", 1)
        .link("sr-a", "scsc", 1)
        .link("sg-a", "spa-a", 1)
        .link("sg-a", "pod-a", 1);
    network.configs(1)
}

impl Table {
    fn new(victim: &str, member: &str) -> Self {
        let configs = CONFIGS.get_or_init(configs);
        let config = |name: &str| configs.iter().find(|c| c.node == name).expect("a node of the network");
        let now = Timestamp(1_000_000_000);
        let keys = keys_of(config(member));
        let side = |own: &str, other: &str, seed| Side::new(config(own), other, seed, now);
        let (victim, member) = (side(victim, member, 1), side(member, victim, 2));
        Self { victim, member, keys, now, counter: 0, newest: Vec::new(), up: false, known: None }
    }

    fn carrier(&mut self, up: bool) {
        self.up = up;
        for side in [&mut self.victim, &mut self.member] {
            side.machine.handle(self.now, if up { Input::PortUp(side.port) } else { Input::PortDown(side.port) });
        }
        self.exchange();
    }

    fn operate(&mut self, input: &mut Bytes<'_>) {
        match input.u8() % 7 {
            0 => {
                let span = Duration::from_millis(u64::from(input.u8()).pow(2));
                self.pass(span);
            }
            1 => {
                let length = usize::from(input.u8()) << 2;
                let pdu = input.take(length).to_vec();
                self.feed(pdu);
            }
            2 => {
                let lsa = self.lsa(input);
                self.say(Message::LsUpdate(vec![lsa]));
            }
            3 => {
                let announce = self.announce(input);
                self.say(Message::Announce(announce));
            }
            4 => {
                let (offset, change) = (usize::from(input.u8()), input.u8());
                let mut pdu = self.newest.clone();
                if let Some(byte) = pdu.get_mut(offset) {
                    *byte ^= change;
                }
                self.feed(pdu);
            }
            5 => self.carrier(!self.up),
            _ => {
                let pdu = input.take(24).to_vec();
                self.victim
                    .machine
                    .handle(self.now, Input::Frame { port: Some(self.victim.port), received_at: self.now, pdu: &pdu });
            }
        }
    }

    /// An LSA in the name of the member or of another node, signed by the member.
    fn lsa(&self, input: &mut Bytes<'_>) -> damc_wire::lsa::Lsa {
        let choice = input.u8();
        let origin = if choice & 1 == 0 { self.member.id.clone() } else { self.victim.id.clone() };
        let name: Name = NAMES[usize::from(input.u8()) % NAMES.len()].parse().expect("a name");
        let id = match choice & 6 {
            0 | 2 => LsaId::Topology(u16::from(input.u8())),
            _ => LsaId::Prefix(name, self.victim.id.clone()),
        };
        let content = match (choice & 24, &id) {
            (0, LsaId::Topology(_)) => {
                let cost = u32::from(input.u8());
                let entry = |neighbour: &NodeId| LinkEntry { neighbour: neighbour.clone(), cost };
                let links = [&self.victim.id, &self.member.id].into_iter().map(entry).collect();
                LsaContent::Topology(TopologyLsa { overload: choice & 32 != 0, stub: choice & 64 != 0, links })
            }
            _ => LsaContent::Purge,
        };
        let (sequence, lifetime) = (input.u64(), Millis(input.u64() >> 32));
        self.keys.sign_lsa(LsaKey { origin, id }, sequence, lifetime, content)
    }

    fn announce(&self, input: &mut Bytes<'_>) -> damc_wire::message::Announce {
        let request = input.u64();
        let mut names = [Vec::new(), Vec::new()];
        for _ in 0..input.u8() % 8 {
            let choice = input.u8();
            let name: Name = NAMES[usize::from(choice >> 1) % NAMES.len()].parse().expect("a name");
            names[usize::from(choice & 1)].push(name);
        }
        let [add, withdraw] = names;
        let pool = |prefix: &Name| (prefix.to_string() != "/A").then(|| "/A".parse().expect("a name"));
        let add = add.into_iter().map(|prefix| AnnounceEntry { pool: pool(&prefix), prefix, weight: 1 }).collect();
        self.keys.sign_announce(request, (self.victim.id.clone(), self.victim.session), add, withdraw)
    }

    fn say(&mut self, message: Message) {
        if let Ok(pdu) = Frame::hop_local(message).encode() {
            self.feed(pdu);
        }
    }

    /// Gives the victim a frame of the member, under the MAC that it has to have.
    fn feed(&mut self, mut pdu: Vec<u8>) {
        if pdu.len() >= HEADER_LEN && HeaderView::of(&mut pdu).is_routed() {
            self.key().link_key(&self.member.id).seal(&mut pdu);
        } else if pdu.len() >= HEADER_LEN && !is_hello(&pdu) {
            let length = if open(&pdu).is_some() { pdu.len() - HOP_MAC_LEN } else { pdu.len() };
            pdu.truncate(length);
            self.counter += 1;
            let key = self.key();
            pdu = seal(pdu, self.counter, |covered| key.mac(&self.member.id, covered));
        }
        self.deliver(&pdu);
    }

    /// Gives the victim a frame as it is.
    fn deliver(&mut self, pdu: &[u8]) {
        let input = Input::Frame { port: Some(self.victim.port), received_at: self.now, pdu };
        self.victim.machine.handle(self.now, input);
    }

    /// The key of the sessions that hellos told of last; derived once for each pair of them.
    fn key(&mut self) -> HopKey {
        let sessions = (self.member.session, self.victim.session);
        if let Some((known, key)) = &self.known
            && *known == sessions
        {
            return key.clone();
        }
        let theirs = &self.victim.certificate;
        let key = self.keys.hop_key(sessions.0, theirs, sessions.1).expect("keys of the network are sound");
        self.known = Some((sessions, key.clone()));
        key
    }

    /// Carries frames until nobody has anything to say.
    fn exchange(&mut self) {
        let mut outputs = 0;
        loop {
            let (from_victim, from_member) = (self.victim.poll_all(), self.member.poll_all());
            outputs += from_victim.count;
            assert!(outputs <= OUTPUTS, "{} has no end of outputs", self.victim.id);
            if from_victim.sent.is_empty() && from_member.sent.is_empty() {
                return;
            }
            if !self.up {
                continue;
            }
            for pdu in from_victim.sent {
                let input = Input::Frame { port: Some(self.member.port), received_at: self.now, pdu: &pdu };
                self.member.machine.handle(self.now, input);
            }
            for pdu in from_member.sent {
                self.newest.clone_from(&pdu);
                self.feed(pdu);
            }
        }
    }

    /// Lets time pass on both sides.
    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        let (mut at, mut ticks) = (self.now, 0);
        loop {
            let next = [&self.victim, &self.member].into_iter().filter_map(|side| side.machine.next_timeout()).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            ticks = if self.now == at { ticks + 1 } else { 0 };
            at = self.now;
            assert!(ticks < TICKS, "time stands still at {at:?}");
            for side in [&mut self.victim, &mut self.member] {
                if side.machine.next_timeout().is_some_and(|due| due <= self.now) {
                    side.machine.handle(self.now, Input::Tick);
                }
            }
            self.exchange();
        }
        self.now = until;
    }
}

/// What a machine wanted.
struct Polled {
    sent: Vec<Vec<u8>>,
    count: usize,
}

impl Side {
    fn new(config: &NodeConfig, other: &str, seed: u64, now: Timestamp) -> Self {
        let port = config.ports.iter().position(|port| port.name == other).expect("a port of the network");
        Self {
            id: NodeId::new(&config.node).expect("a node of the network"),
            role: Role::from_label(&config.role).expect("a role"),
            port: PortId(u16::try_from(port).expect("few ports")),
            certificate: certificate_from_hex(&config.identity.certificate).expect("a certificate"),
            machine: build(config, seed, now).expect("a configuration of the network"),
            session: 0,
        }
    }

    /// Frames that leave on the link, and how many outputs there were.
    fn poll_all(&mut self) -> Polled {
        let mut polled = Polled { sent: Vec::new(), count: 0 };
        while let Some(output) = self.machine.poll() {
            polled.count += 1;
            assert!(polled.count <= OUTPUTS, "{} ({}) has no end of outputs", self.id, self.role);
            let Output::Send { port, pdu } = output else { continue };
            if port != self.port {
                continue;
            }
            if let Ok(Message::Hello(hello)) = Frame::decode(&pdu).map(|frame| frame.message) {
                self.session = hello.session;
            }
            polled.sent.push(pdu);
        }
        polled
    }
}

fn is_hello(pdu: &[u8]) -> bool {
    matches!(Frame::decode(pdu).map(|frame| frame.message), Ok(Message::Hello(_)))
}

fn keys_of(config: &NodeConfig) -> NodeKeys {
    let bytes = |text: &str| -> [u8; 32] {
        let bytes = damc_wire::hex::from_hex(text).expect("a key of the network");
        bytes.try_into().expect("a key of the network")
    };
    let secrets = NodeSecrets {
        signing: bytes(&config.identity.signing_secret),
        agreement: bytes(&config.identity.agreement_secret),
    };
    let certificate = certificate_from_hex(&config.identity.certificate).expect("a certificate of the network");
    NodeKeys::new(&secrets, certificate).expect("keys of the network")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_becomes_neighbours_and_what_is_sealed_anew_is_taken() {
        for (victim, member) in PAIRS {
            let mut table = Table::new(victim, member);
            table.carrier(true);
            table.pass(Duration::from_secs(2));
            let view = table.victim.machine.view(table.now, ViewKind::Neighbors).expect("every role has neighbours");
            let text = format!("{view:?}").to_lowercase();
            assert!(text.contains("full"), "{victim} fed by {member}: {text}");
        }
    }
}
