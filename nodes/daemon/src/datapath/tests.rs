//! The forwarding thread's work without its sockets: what a batch leads to, and what it costs.

use damc_forward::{Admission, FibBuilder, HashKey, LabelRoute, LinkKeys, NextHop, Op, Route, Stamp};
use damc_gateway::{BookBuilder, Gateway, Options};
use damc_wire::frame::{LinkKey, write_packet};
use damc_wire::message::{Data, DataKind, Message};
use damc_wire::{Frame, Millis, Name, address};
use etherparse::PacketBuilder;

use super::*;

const DOMAIN: &str = "example";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Ports: two pods where the node is an SG, two routers.
const POD: u16 = 0;
const OTHER_POD: u16 = 1;
const LEFT: u16 = 2;
const RIGHT: u16 = 3;
/// Batches that are measured, after some that fill the queues.
const ROUNDS: usize = 8;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ip(text: &str) -> [u8; 16] {
    address::of_name(DOMAIN, &name(text)).unwrap().octets()
}

/// A batch in memory.
struct Received(Vec<Vec<u8>>);

impl Received {
    /// A full batch of copies of these in turn.
    fn full(of: &[Vec<u8>]) -> Self {
        Self(of.iter().cycle().take(BATCH).cloned().collect())
    }

    /// Makes this the same as another batch of the same kind, in the memory it has.
    fn refill(&mut self, from: &Self) {
        for (to, from) in self.0.iter_mut().zip(&from.0) {
            to.copy_from_slice(from);
        }
    }
}

impl Pdus for Received {
    fn pdu(&self, index: usize) -> &[u8] {
        self.0.get(index).map_or(&[], |pdu| pdu)
    }
}

impl Batch for Received {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn pdu_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.0[index]
    }

    fn received_at(&self, index: usize) -> u64 {
        index as u64
    }
}

/// A node with two pods and two routers as neighbours; seen as SG it has an edge too.
struct Node {
    datapath: Datapath,
    edge: Edge,
    fib: Arc<Fib>,
    book: Book,
    counters: Arc<Counters>,
}

impl Node {
    fn new() -> Self {
        Self::with_keys(|_| None)
    }

    /// A node that has these keys on its ports.
    fn with_keys(keys: impl Fn(u16) -> Option<LinkKeys>) -> Self {
        let mut builder = FibBuilder::new(HashKey(7, 11));
        let to = |prefix: &str, ports: &[u16]| {
            let next_hops = ports.iter().map(|port| NextHop::new(PortId(*port), 1)).collect();
            Route::plain(name(prefix), next_hops)
        };
        let sources = |names: &[&str]| Admission::Sources(names.iter().map(|n| name(n)).collect());
        let _ = builder.apply([
            Op::Admit { port: PortId(POD), rule: sources(&["/A/1"]) },
            Op::Admit { port: PortId(OTHER_POD), rule: sources(&["/A/2"]) },
            Op::Admit { port: PortId(LEFT), rule: Admission::All },
            Op::Admit { port: PortId(RIGHT), rule: Admission::All },
            Op::Set(Route { local: true, ..to("/A/1", &[POD]) }),
            Op::Set(Route { local: true, ..to("/A/2", &[OTHER_POD]) }),
            Op::Set(Route { local: true, deliver: true, ..to("/damc/example/sg-1", &[]) }),
            Op::Set(to("/B", &[LEFT, RIGHT])),
            Op::Set(Route { stamp: Some(Stamp { label: 9, port: PortId(RIGHT) }), ..to("/C", &[LEFT]) }),
            Op::SetLabel(LabelRoute { label: 5, prefix: name("/B"), exact: false, port: PortId(RIGHT) }),
        ]);
        let keys = (POD..=RIGHT).map(|port| Op::Keys { port: PortId(port), keys: keys(port) });
        let fib = builder.apply(keys);
        let mut book = BookBuilder::new(DOMAIN);
        for known in ["/A/1", "/A/2", "/B", "/B/4", "/C", "/D", "/damc/example/sg-1"] {
            book.add(&name(known));
        }
        book.set_port(POD, &[name("/A/1")], &[]);
        book.set_port(OTHER_POD, &[name("/A/2")], &[]);
        let counters = Arc::new(Counters::new());
        let options =
            Options { domain: DOMAIN.into(), node: name("/damc/example/sg-1"), key: (1, 2), serves: true, grace_ns: 0 };
        let pods = vec![Some(MAC), Some(MAC), None, None];
        Self {
            datapath: Datapath::new(NodeId::new("sg-1").unwrap(), 4, Arc::clone(&counters)),
            edge: Edge::new(Gateway::new(&options), pods, Some(MAC), Arc::clone(&counters), BATCH),
            fib,
            book: book.snapshot(),
            counters,
        }
    }

    /// Takes frames as an SG.
    fn take_as_sg(&mut self, port: u16, batch: &mut Received) {
        self.datapath.take((1, &self.fib), port, batch, Some((&mut self.edge, &self.book)));
    }

    /// Takes frames as an SR.
    fn take_as_sr(&mut self, port: u16, batch: &mut Received) {
        self.datapath.take((1, &self.fib), port, batch, None);
    }

    /// Takes packets of a pod.
    fn take_packets(&mut self, port: u16, batch: &Received) {
        self.edge.take(Tables { now: 1, fib: &self.fib, book: &self.book }, port, batch, batch.0.len());
    }

    /// Ports that frames of the batch leave by, and how many.
    fn frames(&self, batch: &Received) -> Vec<(u16, usize)> {
        self.datapath.frames(batch).map(|(to, pdus)| (to, pdus.count())).collect()
    }

    fn packets(&self, batch: &Received) -> Vec<(u16, Vec<u8>)> {
        self.edge.packets(batch).flat_map(|(to, packets)| packets.map(move |p| (to, p.to_vec()))).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        let mut view = damc_mgmt::view::CountersView::default();
        self.counters.add_to(&mut view);
        view.dropped.get(reason)
    }
}

fn call(destination: &str, source: &str, label: u32) -> Frame {
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(1000), context: None };
    let data = Message::Data(Data { correlation: 1, kind, payload: vec![7; 200], hops: vec![] });
    Frame::routed(name(destination), name(source), 3, label, 64, data)
}

/// A packet message around an IPv6 packet.
fn packet_frame(destination: &str, source: &str, inner: &[u8]) -> Vec<u8> {
    let mut pdu = Vec::new();
    assert!(write_packet(&mut pdu, (&name(destination), &name(source)), 3, 61, inner));
    pdu
}

fn udp(destination: &str, source: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(ip(source), ip(destination), 64).udp(40000, 80).write(&mut packet, &[7; 300]).unwrap();
    packet
}

fn tcp(destination: &str, source: &str, ports: (u16, u16)) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(ip(source), ip(destination), 64).tcp(ports.0, ports.1, 1000, 8000).ack(77);
    builder.write(&mut packet, &[7; 300]).unwrap();
    packet
}

/// Asserts that `round` allocates nothing once it has run twice, and that it always moves so many frames.
fn assert_steady(moved: usize, mut round: impl FnMut() -> usize) {
    assert_eq!((round(), round()), (moved, moved));
    let mut all = 0;
    let allocations = allocation_counter::measure(|| all = (0..ROUNDS).map(|_| round()).sum());
    assert_eq!(all, moved * ROUNDS);
    assert_eq!(allocations.count_total, 0, "{allocations:?} in {ROUNDS} batches");
}

#[test]
fn an_sr_forwards_without_allocating() {
    let mut node = Node::new();
    // By plain route, by label, and a packet between pods of others.
    let pristine = Received::full(&[
        call("/B/4", "/Z", 0).encode().unwrap(),
        call("/B/4", "/Z", 5).encode().unwrap(),
        packet_frame("/B/4", "/Z", &udp("/B/4", "/D")),
    ]);
    let mut batch = Received::full(&pristine.0);
    assert_steady(BATCH, || {
        batch.refill(&pristine);
        node.take_as_sr(LEFT, &mut batch);
        let sent = node.datapath.frames(&batch).map(|(to, pdus)| pdus.filter(|p| to == RIGHT && p[3] <= 63).count());
        sent.sum()
    });
}

#[test]
fn an_ingress_sg_takes_packets_of_a_pod_without_allocating() {
    let mut node = Node::new();
    // By the stamp of a policy, by one of two equal next hops, and to a pod here.
    let batch = Received::full(&[udp("/C", "/A/1"), tcp("/B/4", "/A/1", (40000, 80)), udp("/A/2", "/A/1")]);
    assert_steady(BATCH, || {
        node.take_packets(POD, &batch);
        let pdus: usize = node.edge.pdus().map(|(to, pdus)| pdus.filter(|_| to >= LEFT).count()).sum();
        let packets: usize = node.edge.packets(&batch).map(|(to, p)| p.filter(|_| to == OTHER_POD).count()).sum();
        pdus + packets
    });
}

#[test]
fn an_egress_sg_delivers_packets_to_a_pod_without_allocating() {
    let mut node = Node::new();
    // /B/4 answers in the name of its pool: a flow that the gateway remembers, of both kinds.
    let pristine = Received::full(&[
        packet_frame("/A/1", "/B/4", &tcp("/A/1", "/B", (80, 40000))),
        packet_frame("/A/1", "/B/4", &udp("/A/1", "/B")),
        packet_frame("/A/1", "/B/4", &udp("/A/1", "/B/4")),
        packet_frame("/A/2", "/B/4", &udp("/A/2", "/B/4")),
    ]);
    let mut batch = Received::full(&pristine.0);
    assert_steady(BATCH, || {
        batch.refill(&pristine);
        node.take_as_sg(LEFT, &mut batch);
        // The hop limit of the packet is that of the frame, one less.
        node.edge.packets(&batch).map(|(to, p)| p.filter(|p| to < LEFT && p[7] == 60).count()).sum()
    });
}

/// The key of frames to or from the neighbour on a port.
fn link_key(port: u16, outbound: bool) -> LinkKey {
    LinkKey::new(&[u8::try_from(port).unwrap() * 2 + u8::from(outbound) + 1; 32])
}

fn link_keys(port: u16) -> Option<LinkKeys> {
    Some(LinkKeys { inbound: link_key(port, false), outbound: link_key(port, true) })
}

fn sealed(port: u16, mut pdu: Vec<u8>) -> Vec<u8> {
    link_key(port, false).seal(&mut pdu);
    pdu
}

#[test]
fn what_leaves_is_sealed_for_its_link_without_allocating() {
    let mut node = Node::with_keys(link_keys);
    let pristine = Received::full(&[
        sealed(LEFT, call("/B/4", "/Z", 5).encode().unwrap()),
        sealed(LEFT, call("/A/1", "/Z", 0).encode().unwrap()),
        sealed(LEFT, packet_frame("/A/2", "/B/4", &udp("/A/2", "/B/4"))),
        call("/B/4", "/Z", 5).encode().unwrap(),
    ]);
    let mut batch = Received::full(&pristine.0);
    let mut strangers = 0;
    // The last of four is a stranger's.
    assert_steady(BATCH / 4 * 2, || {
        batch.refill(&pristine);
        node.take_as_sg(LEFT, &mut batch);
        strangers += 1;
        let good = |to: u16, pdu: &[u8]| link_key(to, true).check(pdu).is_ok();
        node.datapath.frames(&batch).map(|(to, pdus)| pdus.filter(|pdu| good(to, pdu)).count()).sum()
    });
    assert_eq!(node.dropped(DropReason::MissingMac), strangers * BATCH as u64 / 4);
}

#[test]
fn packets_that_become_frames_and_traced_frames_are_sealed_too() {
    let mut node = Node::with_keys(link_keys);
    let mut batch = Received(vec![udp("/C", "/A/1")]);
    node.take_packets(POD, &batch);
    let made: Vec<(u16, Vec<u8>)> =
        node.edge.pdus().flat_map(|(to, pdus)| pdus.map(move |pdu| (to, pdu.to_vec()))).collect();
    let [(RIGHT, pdu)] = &made[..] else { panic!("{made:?}") };
    assert_eq!(link_key(RIGHT, true).check(pdu), Ok(()));
    batch = Received(vec![sealed(RIGHT, call("/B/4", "/Z", 0).traced().encode().unwrap())]);
    node.take_as_sr(RIGHT, &mut batch);
    let traced: Vec<_> = node.datapath.traced().collect();
    let [(LEFT, pdu)] = traced[..] else { panic!("{traced:?}") };
    assert_eq!(link_key(LEFT, true).check(pdu), Ok(()), "with its hop");
}

#[test]
fn an_answer_leaves_the_memory_that_the_next_packet_needs() {
    let mut node = Node::new();
    let (known, unknown) = (Received::full(&[udp("/B/4", "/A/1")]), Received::full(&[udp("/D", "/A/1")]));
    node.take_packets(POD, &known);
    // There is no route to /D: each packet is answered with an error, made in the place of its PDU.
    node.take_packets(POD, &unknown);
    let answers = node.packets(&unknown);
    assert_eq!(answers.len(), BATCH);
    assert!(answers.iter().all(|(to, packet)| *to == POD && packet[40] == 1), "destination unreachable");
    assert_eq!(node.dropped(DropReason::NoRoute), BATCH as u64);
    let allocations = allocation_counter::measure(|| node.take_packets(POD, &known));
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    assert_eq!(node.edge.pdus().map(|(_, pdus)| pdus.count()).sum::<usize>(), BATCH);
}

#[test]
fn frames_leave_by_their_ports_and_a_traced_one_grows_by_this_node() {
    let mut node = Node::new();
    let (plain, traced) = (call("/C", "/Z", 0), call("/C", "/Z", 0).traced());
    let mut batch = Received([&plain, &traced, &plain].map(|frame| frame.encode().unwrap()).to_vec());
    node.take_as_sr(RIGHT, &mut batch);
    assert_eq!(node.frames(&batch), [(LEFT, 2)]);
    let traced: Vec<_> = node.datapath.traced().collect();
    let [(LEFT, pdu)] = traced[..] else { panic!("{traced:?}") };
    let Message::Data(data) = Frame::decode(pdu).unwrap().message else { panic!("no data") };
    assert_eq!(data.hops.iter().map(|hop| hop.node.as_str()).collect::<Vec<_>>(), ["sg-1"]);
    // The next batch finds the queues empty.
    let mut next = Received(vec![plain.encode().unwrap()]);
    node.take_as_sr(RIGHT, &mut next);
    assert_eq!((node.frames(&next), node.datapath.traced().count()), (vec![(LEFT, 1)], 0));
}

#[test]
fn what_is_for_the_node_or_goes_nowhere_is_kept_for_the_control_thread() {
    let mut node = Node::new();
    let own = call("/damc/example/sg-1", "/Z", 0).encode().unwrap();
    let lost = call("/nowhere", "/Z", 0).encode().unwrap();
    let mut batch = Received(vec![own.clone(), lost.clone(), vec![1; 5]]);
    node.take_as_sg(LEFT, &mut batch);
    let [delivery] = &node.datapath.deliveries[..] else { panic!("{:?}", node.datapath.deliveries) };
    assert_eq!((delivery.port, delivery.received_at, &delivery.pdu), (PortId(LEFT), Timestamp(0), &own));
    let [refusal] = &node.datapath.refusals[..] else { panic!("{:?}", node.datapath.refusals) };
    assert_eq!((refusal.undeliverable, &refusal.pdu), (Some(DropReason::NoRoute), &lost));
    assert_eq!(node.dropped(DropReason::Truncated), 1);
}

#[test]
fn a_pod_sends_no_packet_messages() {
    let mut node = Node::new();
    let frame = packet_frame("/B/4", "/A/1", &udp("/B/4", "/A/1"));
    let mut batch = Received(vec![frame, call("/B/4", "/A/1", 0).encode().unwrap()]);
    node.take_as_sg(POD, &mut batch);
    assert_eq!(node.dropped(DropReason::WrongRole), 1);
    assert_eq!(node.frames(&batch).iter().map(|(_, count)| count).sum::<usize>(), 1);
}

#[test]
fn a_call_for_a_pod_leaves_as_a_frame_and_a_packet_as_a_packet() {
    let mut node = Node::new();
    let inner = udp("/A/1", "/B/4");
    let mut batch = Received(vec![call("/A/1", "/B/4", 0).encode().unwrap(), packet_frame("/A/1", "/B/4", &inner)]);
    node.take_as_sg(LEFT, &mut batch);
    assert_eq!(node.frames(&batch), [(POD, 1)]);
    let packets = node.packets(&batch);
    let [(POD, packet)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!((packet[7], &packet[8..]), (60, &inner[8..]));
}
