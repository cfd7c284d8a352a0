//! Two whole gateways; what one sends is handed to the other.

mod flows;
mod names;

use core::net::Ipv6Addr;

use damc_wire::frame::{HeaderView, RoutedView, write_packet};
use damc_wire::message::Nack;
use damc_wire::{DropReason, Frame, Message, MessageType, Name, NodeId, RefusalReason, address};
use etherparse::{IpNumber, Ipv6Header, TcpHeader, UdpHeader};
use proptest::prelude::*;

use crate::errors;
use crate::packet::View;
use crate::{Book, BookBuilder, Delivery, Gateway, Options, Step};

const DOMAIN: &str = "example";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PORT: u16 = 4;
const SECOND: u64 = 1_000_000_000;
const GRACE: u64 = 3 * SECOND;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(text: &str) -> Ipv6Addr {
    address::of_name(DOMAIN, &name(text)).unwrap()
}

/// An SG with a pod behind [`PORT`], and all its state.
struct Sg {
    gateway: Gateway,
    builder: BookBuilder,
    book: Book,
    out: Vec<u8>,
}

impl Sg {
    fn new(node: &str, instances: &[&str], pools: &[(&str, &str)]) -> Self {
        let mut builder = BookBuilder::new(DOMAIN);
        for known in ["/A/1", "/B", "/B/1", "/B/4", "/damc/example/sg-1", "/damc/example/sr-1"] {
            builder.add(&name(known));
        }
        let instances: Vec<Name> = instances.iter().map(|i| name(i)).collect();
        let pools: Vec<_> = pools.iter().map(|(pool, instance)| (name(pool), name(instance))).collect();
        builder.set_port(PORT, &instances, &pools);
        let id = NodeId::new(node).unwrap();
        let node = Name::of_node(DOMAIN, &id).unwrap();
        let options = Options { domain: DOMAIN.into(), node, key: (1, 2), serves: false, grace_ns: GRACE };
        Self { gateway: Gateway::new(&options), book: builder.snapshot(), builder, out: Vec::new() }
    }

    fn client() -> Self {
        Self::new("sg-1", &["/A/1"], &[])
    }

    fn server() -> Self {
        Self::new("sg-4", &["/B/4"], &[("/B", "/B/4")])
    }

    fn takes(&mut self, now: u64, packet: &[u8]) -> Step {
        self.gateway.from_pod(now, &self.book, (PORT, MAC), packet, &mut self.out)
    }

    /// The PDU a packet becomes.
    fn sends(&mut self, now: u64, packet: &[u8]) -> Vec<u8> {
        assert_eq!(self.takes(now, packet), Step::Forward);
        self.out.clone()
    }

    /// What becomes of a PDU for the pod. The forwarding plane drops what it cannot parse.
    fn take_for_pod(&mut self, now: u64, pdu: &mut [u8]) -> Delivery {
        match RoutedView::parse(pdu) {
            Ok(mut frame) => self.gateway.to_pod(now, &self.book, PORT, &mut frame, &mut self.out),
            Err(error) => Delivery::Drop(error.drop_reason()),
        }
    }

    /// The packet a PDU becomes.
    fn delivers(&mut self, now: u64, mut pdu: Vec<u8>) -> Vec<u8> {
        match self.take_for_pod(now, &mut pdu) {
            Delivery::Packet(range) => pdu[range].to_vec(),
            Delivery::Reply => self.out.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn ip(from: Ipv6Addr, to: Ipv6Addr, next: IpNumber, payload: &[u8]) -> Vec<u8> {
    let mut packet = errors::header(from, to, next, 64, payload.len());
    packet.extend_from_slice(payload);
    packet
}

fn tcp(from: Ipv6Addr, to: Ipv6Addr, ports: (u16, u16), numbers: (u32, u32), flags: &str, data: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(ports.0, ports.1, numbers.0, 1000);
    header.acknowledgment_number = numbers.1;
    header.syn = flags.contains('S');
    header.ack = flags.contains('A');
    header.fin = flags.contains('F');
    header.rst = flags.contains('R');
    header.checksum = header.calc_checksum_ipv6_raw(from.octets(), to.octets(), data).unwrap();
    let mut segment = header.to_bytes().to_vec();
    segment.extend_from_slice(data);
    ip(from, to, IpNumber::TCP, &segment)
}

fn udp(from: Ipv6Addr, to: Ipv6Addr, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let header = Ipv6Header { source: from.octets(), destination: to.octets(), ..Ipv6Header::default() };
    let mut datagram = UdpHeader::with_ipv6_checksum(ports.0, ports.1, &header, data).unwrap().to_bytes().to_vec();
    datagram.extend_from_slice(data);
    ip(from, to, IpNumber::UDP, &datagram)
}

fn names_of(pdu: &[u8]) -> (Name, Name) {
    Frame::decode(pdu).unwrap().names.unwrap()
}

/// Type, code and the four bytes after the checksum of an ICMPv6 message, and what it quotes.
fn icmp(packet: &[u8]) -> (u8, u8, u32, Vec<u8>) {
    let view = View::parse(packet).unwrap();
    let icmp = view.icmp().unwrap();
    let value = u32::from_be_bytes(*icmp[4..].first_chunk().unwrap());
    (icmp[0], icmp[1], value, icmp[8..].to_vec())
}

#[test]
fn fwd_01_a_packet_crosses_by_name_and_comes_out_as_it_was() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    let packet = tcp(at("/A/1"), at("/B/4"), (40000, 80), (1, 0), "S", b"");
    let mut pdu = client.sends(0, &packet);
    assert_eq!(names_of(&pdu), (name("/B/4"), name("/A/1")));
    let frame = Frame::decode(&pdu).unwrap();
    assert_eq!((frame.header.message_type, frame.header.hop_limit), (MessageType::Packet, 64));
    HeaderView::of(&mut pdu).set_hop_limit(61);
    let mut expected = packet.clone();
    expected[7] = 61;
    assert_eq!(server.delivers(0, pdu), expected);
    let answer = tcp(at("/B/4"), at("/A/1"), (80, 40000), (9, 2), "SA", b"");
    let pdu = server.sends(0, &answer);
    assert_eq!(names_of(&pdu), (name("/A/1"), name("/B/4")));
    assert_eq!(client.delivers(0, pdu), answer);
}

#[test]
fn an_ethernet_trailer_is_no_part_of_a_packet() {
    let mut client = Sg::client();
    let packet = udp(at("/A/1"), at("/B/4"), (1, 2), b"x");
    let mut padded = packet.clone();
    padded.extend([0xee; 9]);
    let pdu = client.sends(0, &padded);
    let Message::Packet(carried) = Frame::decode(&pdu).unwrap().message else { panic!("no packet") };
    assert_eq!(carried.inner, packet);
}

#[test]
fn a_source_that_is_not_the_pods_is_dropped_and_told() {
    let mut client = Sg::client();
    for from in [at("/B/4"), at("/B"), "2001:db8::1".parse().unwrap()] {
        let packet = udp(from, at("/B/4"), (1, 2), b"spoofed");
        let step = client.takes(0, &packet);
        assert_eq!(step, Step::Drop { reason: DropReason::SourceNotAuthorised, reply: true });
        let (kind, code, _, quoted) = icmp(&client.out);
        assert_eq!((kind, code), (1, 5));
        assert_eq!(quoted, packet);
    }
}

#[test]
fn an_unknown_address_is_no_route_and_a_nodes_is_prohibited() {
    let mut client = Sg::client();
    let step = client.takes(0, &udp(at("/A/1"), at("/B/9"), (1, 2), b""));
    assert_eq!(step, Step::Drop { reason: DropReason::NoRoute, reply: true });
    assert_eq!(icmp(&client.out).0, 1);
    assert_eq!(icmp(&client.out).1, 0);
    client.takes(0, &udp(at("/A/1"), at("/damc/example/sr-1"), (1, 2), b""));
    assert_eq!(icmp(&client.out).1, 1);
}

#[test]
fn what_does_not_fit_is_told_with_the_size_that_does() {
    let mut client = Sg::client();
    let step = client.takes(0, &udp(at("/A/1"), at("/B/4"), (1, 2), &[7; 1440 - 8]));
    assert_eq!(step, Step::Drop { reason: DropReason::Oversized, reply: true });
    let (kind, _, mtu, _) = icmp(&client.out);
    assert_eq!(kind, 2);
    assert!(client.out.len() <= 1280);
    let fits = mtu as usize - 48;
    client.sends(0, &udp(at("/A/1"), at("/B/4"), (1, 2), &vec![7; fits]));
    assert_eq!(client.out.len(), 1500);
    let step = client.takes(0, &udp(at("/A/1"), at("/B/4"), (1, 2), &vec![7; fits + 1]));
    assert_eq!(step, Step::Drop { reason: DropReason::Oversized, reply: true });
}

#[test]
fn the_routers_address_is_told_and_no_other() {
    let mut client = Sg::client();
    let dns = address::of_dns(DOMAIN);
    for (target, known) in [(address::ROUTER, true), (dns, true), (at("/B/4"), false)] {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&[0xff, 2]);
        octets[11..13].copy_from_slice(&[1, 0xff]);
        octets[13..].copy_from_slice(&target.octets()[13..]);
        let mut data = target.octets().to_vec();
        data.extend([1, 1, 9, 9, 9, 9, 9, 9]);
        let solicitation = errors::message(at("/A/1"), Ipv6Addr::from(octets), 255, (135, 0, [0; 4]), &data);
        let step = client.takes(0, &solicitation);
        assert_eq!(step, if known { Step::Reply } else { Step::Ignore });
        if known {
            let view = View::parse(&client.out).unwrap();
            assert_eq!((view.source, view.destination, view.hop_limit), (target, at("/A/1"), 255));
            let (kind, _, flags, body) = icmp(&client.out);
            assert_eq!((kind, flags), (136, 0xe000_0000));
            assert_eq!((&body[..16], &body[16..]), (&target.octets()[..], &[2, 1, 2, 0, 0, 0, 0, 1][..]));
        }
    }
}

fn question(host: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in host.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

#[test]
fn an_echo_to_the_gateway_is_answered_and_an_unknown_port_is_refused() {
    let mut sg = Sg::client();
    let dns = address::of_dns(DOMAIN);
    let ping = errors::message(at("/A/1"), dns, 64, (128, 0, [0, 7, 0, 1]), b"data");
    assert_eq!(sg.takes(0, &ping), Step::Reply);
    assert_eq!(icmp(&sg.out), (129, 0, 0x0007_0001, b"data".to_vec()));
    assert_eq!(sg.takes(0, &udp(at("/A/1"), dns, (1, 9), b"")), Step::Reply);
    assert_eq!((icmp(&sg.out).0, icmp(&sg.out).1), (1, 4));
    assert_eq!(sg.takes(0, &tcp(at("/A/1"), dns, (1, 53), (5, 0), "S", b"")), Step::Reply);
    let view = View::parse(&sg.out).unwrap();
    let reset = view.tcp().unwrap();
    assert!(reset.rst() && reset.ack() && reset.acknowledgment_number() == 6);
}

#[test]
fn a_negative_reply_becomes_an_error_from_the_node_that_sent_it() {
    let mut client = Sg::client();
    let packet = udp(at("/A/1"), at("/B/4"), (33434, 33435), &[9; 600]);
    let pdu = client.sends(0, &packet);
    let nack = |reason| {
        let body = damc_wire::frame::body_of(&pdu).unwrap().to_vec();
        let answered = MessageType::Packet;
        let nack = Nack { reason, node: NodeId::new("sr-1").unwrap(), answered, destination: name("/B/4"), body };
        Frame::plain(name("/A/1"), name("/damc/example/sr-1"), 1, Message::Nack(nack)).encode().unwrap()
    };
    let told = client.delivers(0, nack(RefusalReason::HopLimitExceeded));
    assert_eq!(View::parse(&told).unwrap().source, at("/damc/example/sr-1"));
    let (kind, code, _, quoted) = icmp(&told);
    assert_eq!((kind, code), (3, 0));
    assert_eq!(quoted, packet[..512], "with the length the packet had");
    assert_eq!(icmp(&client.delivers(0, nack(RefusalReason::NoRoute))).1, 0);
}

#[test]
fn negative_replies_about_calls_are_left_to_the_pod() {
    let mut client = Sg::client();
    let nack = Nack {
        reason: RefusalReason::NoRoute,
        node: NodeId::new("sr-1").unwrap(),
        answered: MessageType::Data,
        destination: name("/B/4"),
        body: vec![1, 0, 0, 0, 0, 0, 0, 0, 7],
    };
    let frame = Frame::plain(name("/A/1"), name("/damc/example/sr-1"), 1, Message::Nack(nack));
    let mut pdu = frame.encode().unwrap();
    assert_eq!(client.take_for_pod(0, &mut pdu), Delivery::Frame);
}

#[test]
fn what_is_delivered_is_for_this_pod_and_whole() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    let pdu = client.sends(0, &udp(at("/A/1"), at("/B/4"), (1, 2), b"payload"));
    let mut broken = pdu.clone();
    let last = broken.len() - 10;
    broken[last] ^= 1;
    let dropped = server.take_for_pod(0, &mut broken);
    assert_eq!(dropped, Delivery::Drop(DropReason::BadChecksum));
    // Its names are for this pod, its addresses for another one.
    let inner = udp(at("/A/1"), at("/B/1"), (1, 2), b"payload");
    let mut astray = Vec::new();
    assert!(write_packet(&mut astray, (&name("/B/4"), &name("/A/1")), 1, 9, &inner));
    let dropped = server.take_for_pod(0, &mut astray);
    assert_eq!(dropped, Delivery::Drop(DropReason::NoSuchInstance));
}

#[test]
fn errors_come_at_a_bounded_rate() {
    let mut client = Sg::client();
    let packet = udp(at("/B/4"), at("/A/1"), (1, 2), b"");
    // 100 000 spoofed packets in one second.
    let told = (0..100_000_u64)
        .filter(|i| matches!(client.takes(SECOND + i * 10_000, &packet), Step::Drop { reply: true, .. }))
        .count();
    assert!((1000..=1260).contains(&told), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Nothing panics, and all that is forwarded is a PDU.
    #[test]
    fn any_bytes_of_a_pod(bytes in proptest::collection::vec(any::<u8>(), 0..200), keep in 0..48_usize) {
        let mut client = Sg::client();
        let real = tcp(at("/A/1"), at("/B/4"), (1, 2), (3, 4), "A", b"data");
        let mut mixed = real[..keep.min(real.len())].to_vec();
        mixed.extend(&bytes);
        if let Some(length) = mixed.get_mut(4..6) {
            length.copy_from_slice(&u16::try_from(keep + bytes.len()).unwrap().saturating_sub(40).to_be_bytes());
        }
        for packet in [bytes, mixed] {
            if client.takes(0, &packet) == Step::Forward {
                prop_assert!(Frame::decode(&client.out).is_ok());
            }
        }
    }

    /// Nothing panics on frames from the mesh, with one wrong byte or all bytes wrong.
    #[test]
    fn any_bytes_of_the_mesh(bytes in proptest::collection::vec(any::<u8>(), 0..200), place in 0..140_usize, value: u8) {
        let (mut client, mut server) = (Sg::client(), Sg::server());
        let mut pdu = client.sends(0, &tcp(at("/A/1"), at("/B/4"), (1, 2), (3, 4), "A", b"data"));
        let last = pdu.len() - 1;
        pdu[place.min(last)] = value;
        for mut pdu in [bytes, pdu] {
            let delivery = server.take_for_pod(0, &mut pdu);
            if let Delivery::Packet(range) = delivery {
                prop_assert!(View::parse(&pdu[range]).is_some());
            }
        }
    }

    /// Nothing panics on any DNS question.
    #[test]
    fn any_question(bytes in proptest::collection::vec(any::<u8>(), 0..100), place in 0..40_usize, value: u8) {
        let mut sg = Sg::client();
        let mut changed = question("4.b.example.damc", 28);
        let last = changed.len() - 1;
        changed[place.min(last)] = value;
        for message in [bytes, changed] {
            sg.takes(0, &udp(at("/A/1"), address::of_dns(DOMAIN), (5353, 53), &message));
        }
    }
}
