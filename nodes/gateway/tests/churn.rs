//! Ten thousand connections to a pool through the gateways of three SGs, ten minutes of virtual time: connections come and
//! go, the preferred instance changes, an instance dies and comes back, an SG loses its memory. Nothing may reach anybody
//! but the end it belongs to, and what is remembered stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use damc_gateway::{Book, BookBuilder, Delivery, FLOW_LIMIT, Gateway, Options, Step};
use damc_wire::frame::RoutedView;
use damc_wire::{Name, NodeId, address};
use etherparse::{IpNumber, Ipv6Header, TcpHeader, TcpSlice};

const DOMAIN: &str = "example";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SECOND: u64 = 1_000_000_000;
const GRACE: u64 = 3 * SECOND;
const CONNECTIONS: usize = 10_000;
const SPAN: u64 = 600 * SECOND;
/// Time between two exchanges of a connection.
const PERIOD: u64 = 6 * SECOND;
const INSTANCES: [&str; 2] = ["/B/1", "/B/4"];
/// Pods of the client's SG; each has a name and a port of its number.
const PODS: u16 = 4;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(text: &str) -> Ipv6Addr {
    address::of_name(DOMAIN, &name(text)).unwrap()
}

/// A small generator: the test is the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn segment(from: Ipv6Addr, to: Ipv6Addr, ports: (u16, u16), flags: &str, data: &[u8]) -> Vec<u8> {
    let mut tcp = TcpHeader::new(ports.0, ports.1, 1, 1000);
    tcp.syn = flags.contains('S');
    tcp.ack = flags.contains('A');
    tcp.fin = flags.contains('F');
    tcp.rst = flags.contains('R');
    tcp.checksum = tcp.calc_checksum_ipv6_raw(from.octets(), to.octets(), data).unwrap();
    let length = tcp.header_len() + data.len();
    let header = Ipv6Header {
        payload_length: u16::try_from(length).unwrap(),
        next_header: IpNumber::TCP,
        hop_limit: 64,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    };
    let mut packet = header.to_bytes().to_vec();
    packet.extend_from_slice(&tcp.to_bytes());
    packet.extend_from_slice(data);
    packet
}

/// An SG: what it knows, and its gateway.
struct Sg {
    gateway: Gateway,
    builder: BookBuilder,
    book: Book,
}

impl Sg {
    fn new(node: &str, ports: &[(u16, &str, Option<&str>)]) -> Self {
        let mut builder = BookBuilder::new(DOMAIN);
        let clients = (1..=PODS).map(|pod| format!("/A/{pod}"));
        for known in clients.chain(["/B", "/B/1", "/B/4"].map(String::from)) {
            builder.add(&name(&known));
        }
        for (port, instance, pool) in ports {
            let pools: Vec<_> = pool.iter().map(|pool| (name(pool), name(instance))).collect();
            builder.set_port(*port, &[name(instance)], &pools);
        }
        let book = builder.snapshot();
        Self { gateway: gateway(node), builder, book }
    }
}

fn gateway(node: &str) -> Gateway {
    let node = Name::of_node(DOMAIN, &NodeId::new(node).unwrap()).unwrap();
    Gateway::new(&Options { domain: DOMAIN.into(), node, key: (7, 9), serves: false, grace_ns: GRACE })
}

/// Which connection, from the client's side.
type Key = (u16, u16);

/// An instance's own TCP, as far as it matters: which connections it has.
#[derive(Default)]
struct Server {
    connections: BTreeSet<Key>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Answered,
    Reset,
}

struct World {
    client: Sg,
    servers: [Sg; 2],
    behind: [Server; 2],
    /// The instance that tables and policy prefer, and which are alive.
    preferred: usize,
    alive: [bool; 2],
    wrong: u64,
    out: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let names: Vec<String> = (1..=PODS).map(|pod| format!("/A/{pod}")).collect();
        let pods: Vec<_> = (1..=PODS).zip(&names).map(|(port, name)| (port, name.as_str(), None)).collect();
        let server = |node: &str, instance| Sg::new(node, &[(1, instance, Some("/B"))]);
        Self {
            client: Sg::new("sg-1", &pods),
            servers: [server("sg-2", INSTANCES[0]), server("sg-4", INSTANCES[1])],
            behind: <[Server; 2]>::default(),
            preferred: 0,
            alive: [true; 2],
            wrong: 0,
            out: Vec::new(),
        }
    }

    /// The mesh: which instance a name leads to now.
    fn route(&self, destination: &Name) -> Option<usize> {
        let instance = match INSTANCES.iter().position(|i| name(i) == *destination) {
            Some(instance) => instance,
            None if self.alive[self.preferred] => self.preferred,
            None => 1 - self.preferred,
        };
        self.alive[instance].then_some(instance)
    }

    /// A segment of the client and the answer to it.
    fn exchange(&mut self, now: u64, (pod, port): Key, flags: &str) -> Fate {
        let (own, pool) = (at(&format!("/A/{pod}")), at("/B"));
        let said = format!("{pod}:{port}");
        let packet = segment(own, pool, (port, 80), flags, said.as_bytes());
        let step = self.client.gateway.from_pod(now, &self.client.book, (pod, MAC), &packet, &mut self.out);
        assert_eq!(step, Step::Forward);
        let mut pdu = self.out.clone();
        let mut frame = RoutedView::parse(&mut pdu[..]).unwrap();
        let destination = Name::from_wire(frame.destination()).unwrap();
        let Some(instance) = self.route(&destination) else {
            let told = self.client.gateway.refused(
                now,
                &self.client.book,
                pod,
                &packet,
                damc_wire::DropReason::NoRoute,
                &mut self.out,
            );
            assert!(told, "{now} {pod}:{port}: nobody tells the client");
            return Fate::Reset;
        };
        let server = &mut self.servers[instance];
        let Delivery::Packet(range) = server.gateway.to_pod(now, &server.book, 1, &mut frame, &mut self.out) else {
            panic!("not delivered to {}", INSTANCES[instance])
        };
        // What the instance's TCP does.
        let (from, to, tcp) = parse(&pdu[range]);
        self.wrong += u64::from(from != own || to != pool || tcp.payload() != said.as_bytes());
        let known = if tcp.syn() {
            self.behind[instance].connections.insert((pod, port));
            true
        } else if tcp.fin() {
            self.behind[instance].connections.remove(&(pod, port))
        } else {
            self.behind[instance].connections.contains(&(pod, port))
        };
        if !known {
            // An end that the other one has left behind learns that in its own way, which is not the matter here.
            for server in &mut self.behind {
                server.connections.remove(&(pod, port));
            }
        }
        let answer = match (known, tcp.syn(), tcp.fin()) {
            (false, ..) => "R",
            (true, true, _) => "SA",
            (true, _, true) => "FA",
            _ => "A",
        };
        let answered = if known { format!("{said}@{instance}") } else { String::new() };
        let packet = segment(pool, own, (80, port), answer, answered.as_bytes());
        let server = &mut self.servers[instance];
        let step = server.gateway.from_pod(now, &server.book, (1, MAC), &packet, &mut self.out);
        assert_eq!(step, Step::Forward);
        let mut pdu = self.out.clone();
        let mut frame = RoutedView::parse(&mut pdu[..]).unwrap();
        let destination = Name::from_wire(frame.destination()).unwrap();
        self.wrong += u64::from(destination != name(&format!("/A/{pod}")));
        let client = &mut self.client;
        let Delivery::Packet(range) = client.gateway.to_pod(now, &client.book, pod, &mut frame, &mut self.out) else {
            panic!("not delivered to /A/{pod}")
        };
        let (from, to, tcp) = parse(&pdu[range]);
        self.wrong += u64::from(from != pool || to != own || tcp.destination_port() != port);
        self.wrong += u64::from(tcp.payload() != answered.as_bytes());
        if tcp.rst() { Fate::Reset } else { Fate::Answered }
    }

    /// An instance dies or comes back; gives the connections that were reset at once.
    fn set_alive(&mut self, now: u64, instance: usize, alive: bool) -> BTreeSet<Key> {
        self.alive[instance] = alive;
        let gone = name(INSTANCES[instance]);
        if alive {
            self.client.builder.add(&gone);
        } else {
            self.client.builder.remove(&gone);
            self.behind[instance].connections.clear();
        }
        self.client.book = self.client.builder.snapshot();
        let mut reset = BTreeSet::new();
        self.client.gateway.sweep(
            now,
            &self.client.book,
            |name| alive || *name != gone,
            |pod, packet| {
                let (_, to, tcp) = parse(packet);
                assert!(tcp.rst() && to == at(&format!("/A/{pod}")));
                reset.insert((pod, tcp.destination_port()));
            },
        );
        reset
    }
}

fn parse(packet: &[u8]) -> (Ipv6Addr, Ipv6Addr, TcpSlice<'_>) {
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
    (address(8), address(24), TcpSlice::from_slice(&packet[40..]).unwrap())
}

/// What a connection will do next.
struct Connection {
    key: Key,
    ends_ns: u64,
    begun: bool,
}

struct Client {
    random: Random,
    next_port: BTreeMap<u16, u16>,
    used: BTreeSet<Key>,
}

impl Client {
    fn connection(&mut self, now: u64) -> Connection {
        let pod = u16::try_from(self.random.below(u64::from(PODS))).unwrap() + 1;
        let port = self.next_port.entry(pod).or_insert(1024);
        while self.used.contains(&(pod, *port)) || *port < 1024 {
            *port = port.wrapping_add(1).max(1024);
        }
        let key = (pod, *port);
        *port = port.wrapping_add(1).max(1024);
        self.used.insert(key);
        Connection { key, ends_ns: now + SECOND + self.random.below(40 * SECOND), begun: false }
    }
}

#[test]
fn ten_thousand_connections_churn_for_ten_minutes() {
    let mut world = World::new();
    let mut client =
        Client { random: Random(88_172_645_463_325_252), next_port: BTreeMap::new(), used: BTreeSet::new() };
    // By time and number: what is to happen next.
    let mut due: BTreeMap<(u64, usize), Connection> = BTreeMap::new();
    for number in 0..CONNECTIONS {
        due.insert((client.random.below(PERIOD), number), client.connection(0));
    }
    let (mut exchanges, mut begun, mut resets, mut most): (u64, u64, u64, u64) = (0, 0, 0, 0);
    let mut minute = 0;
    while let Some(((now, number), mut connection)) = due.pop_first() {
        if now >= SPAN {
            break;
        }
        if now / (60 * SECOND) > minute {
            minute = now / (60 * SECOND);
            resets += happen(&mut world, now, minute, &mut due, &mut client);
        }
        let flags = match (connection.begun, now >= connection.ends_ns) {
            (false, _) => "S",
            (true, false) => "A",
            (true, true) => "FA",
        };
        exchanges += 1;
        begun += u64::from(flags == "S");
        let fate = world.exchange(now, connection.key, flags);
        connection.begun = true;
        resets += u64::from(fate != Fate::Answered);
        if fate != Fate::Answered || flags == "FA" {
            client.used.remove(&connection.key);
            connection = client.connection(now);
        }
        let pause = PERIOD / 2 + client.random.below(PERIOD);
        due.insert((now + pause, number), connection);
        most = most.max(world.client.gateway.flow_counts().flows);
    }
    let counts = world.client.gateway.flow_counts();
    println!(
        "{begun} connections, {exchanges} exchanges, {resets} resets, at most {most} flows remembered, {counts:?}"
    );
    assert_eq!(world.wrong, 0, "deliveries to somebody else");
    assert!(begun > 200_000 && exchanges > 900_000, "{begun} connections, {exchanges} exchanges");
    assert_eq!(counts.evicted, 0, "running connections that gave way to others");
    assert!(most < FLOW_LIMIT as u64 / 2, "{most} flows remembered at one time for {CONNECTIONS} connections");
    assert!(resets > 0 && resets < 5 * CONNECTIONS as u64, "{resets}");
}

/// What disturbs the peace, once a minute; gives how many connections were reset at once.
fn happen(
    world: &mut World,
    now: u64,
    minute: u64,
    due: &mut BTreeMap<(u64, usize), Connection>,
    client: &mut Client,
) -> u64 {
    match minute {
        // An instance dies: its connections are reset at once, and nobody else's.
        3 | 7 => {
            let theirs = world.behind[0].connections.clone();
            let reset = world.set_alive(now, 0, false);
            assert!(reset.is_subset(&theirs), "of other instances: {:?}", reset.difference(&theirs).next());
            assert!(reset.len() * 100 >= theirs.len() * 99, "{} of {}", reset.len(), theirs.len());
            for connection in due.values_mut().filter(|c| c.begun && reset.contains(&c.key)) {
                client.used.remove(&connection.key);
                *connection = client.connection(now);
            }
            reset.len() as u64
        }
        4 | 8 => world.set_alive(now, 0, true).len() as u64,
        // The SG is started again and has forgotten everything.
        6 => {
            world.client.gateway = gateway("sg-1");
            0
        }
        _ => {
            world.preferred = 1 - world.preferred;
            0
        }
    }
}
