//! Running flows: where they go, and how they end.

use damc_wire::DropReason;
use damc_wire::frame::write_packet;

use super::*;
use crate::{Delivery, FLOW_LIMIT};

/// A flow to a pool: first packet, answer of /B/4, and the instance that packets go to from then on.
fn begin_pool_flow(client: &mut Sg, server: &mut Sg, port: u16) {
    let pdu = client.sends(0, &tcp(at("/A/1"), at("/B"), (port, 80), (100, 0), "S", b""));
    assert_eq!(names_of(&pdu).0, name("/B"));
    server.delivers(0, pdu);
    let pdu = server.sends(0, &tcp(at("/B"), at("/A/1"), (80, port), (500, 101), "SA", b""));
    assert_eq!(names_of(&pdu), (name("/A/1"), name("/B/4")), "the instance answers in its own name");
    client.delivers(0, pdu);
}

#[test]
fn a_flow_to_a_pool_keeps_the_instance_that_answered() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    let data = tcp(at("/A/1"), at("/B"), (40000, 80), (101, 501), "A", b"GET");
    let pdu = client.sends(SECOND, &data);
    assert_eq!(names_of(&pdu).0, name("/B/4"));
    assert_eq!(
        View::parse(&server.delivers(SECOND, pdu)).unwrap().destination,
        at("/B"),
        "addressed to the pool still"
    );
    // The tables choose the instance of a new flow.
    let pdu = client.sends(SECOND, &tcp(at("/A/1"), at("/B"), (40001, 80), (7, 0), "S", b""));
    assert_eq!(names_of(&pdu).0, name("/B"));
    assert_eq!(client.gateway.flow_counts().flows, 1);
}

#[test]
fn a_port_used_again_is_a_new_flow() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    client.sends(1, &tcp(at("/A/1"), at("/B"), (40000, 80), (101, 501), "FA", b""));
    let pdu = client.sends(2, &tcp(at("/A/1"), at("/B"), (40000, 80), (900, 0), "S", b""));
    assert_eq!(names_of(&pdu).0, name("/B"));
}

#[test]
fn a_flow_whose_instance_is_gone_is_reset_at_once_with_the_number_the_pod_expects() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    let pdu = server.sends(1, &tcp(at("/B"), at("/A/1"), (80, 40000), (501, 101), "A", &[1; 99]));
    client.delivers(1, pdu);
    let mut resets = Vec::new();
    client.gateway.sweep(2, &client.book, |_| true, |port, packet| resets.push((port, packet.to_vec())));
    assert!(resets.is_empty());
    client.gateway.sweep(2, &client.book, |n| *n != name("/B/4"), |port, packet| resets.push((port, packet.to_vec())));
    let [(PORT, packet)] = &resets[..] else { panic!("{resets:?}") };
    let view = View::parse(packet).unwrap();
    assert_eq!((view.source, view.destination), (at("/B"), at("/A/1")));
    let segment = view.tcp().unwrap();
    assert!(segment.rst() && segment.sequence_number() == 600);
    assert_eq!((segment.source_port(), segment.destination_port()), (80, 40000));
    assert_eq!(client.gateway.flow_counts().flows, 0);
}

/// What a sweep with these routes resets.
fn swept(client: &mut Sg, now: u64, lives: impl Fn(&Name) -> bool) -> usize {
    let mut resets = 0;
    client.gateway.sweep(now, &client.book, lives, |_, _| resets += 1);
    resets
}

/// The SG loses its route to /B/4 without a withdrawal.
fn lose(client: &mut Sg, now: u64) {
    assert!(client.builder.lose(now, &name("/B/4")));
    client.book = client.builder.snapshot();
}

/// What the pod is told about a segment of a flow to /B: the code of the error, or none for a reset.
fn told(client: &mut Sg, now: u64, port: u16) -> Option<u8> {
    let data = tcp(at("/A/1"), at("/B"), (port, 80), (101, 501), "A", b"GET");
    client.sends(now, &data);
    assert!(client.gateway.refused(now, &client.book, PORT, &data, DropReason::NoRoute, &mut client.out));
    let reset = View::parse(&client.out).unwrap().tcp().is_some_and(|segment| segment.rst());
    (!reset).then(|| icmp(&client.out).1)
}

#[test]
fn a_blip_is_told_and_resets_nothing() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    lose(&mut client, SECOND);
    assert_eq!(swept(&mut client, SECOND, |_| false), 0);
    assert_eq!(client.gateway.sweep_at_ns(), Some(SECOND + GRACE));
    assert_eq!(told(&mut client, SECOND + 1, 40000), Some(errors::NO_ROUTE));
    assert!(!client.gateway.has_inquiries());
    client.builder.add(&name("/B/4"));
    client.book = client.builder.snapshot();
    assert_eq!(swept(&mut client, SECOND + GRACE - 1, |_| true), 0);
    assert_eq!(client.gateway.sweep_at_ns(), None);
    let pdu = client.sends(2 * SECOND, &tcp(at("/A/1"), at("/B"), (40000, 80), (101, 501), "A", b"GET"));
    assert_eq!(names_of(&pdu).0, name("/B/4"), "the flow goes on where it was");
    // The far end may have lost its own half meanwhile: it is asked.
    assert_eq!(questions(&mut client, 10..20).len(), 3);
    assert_eq!(client.gateway.flow_counts().reset, 0);
}

#[test]
fn what_does_not_come_back_within_the_grace_is_reset() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    begin_pool_flow(&mut client, &mut server, 40001);
    lose(&mut client, SECOND);
    assert_eq!(swept(&mut client, SECOND, |_| false), 0);
    assert_eq!(told(&mut client, SECOND + GRACE - 1, 40000), Some(errors::NO_ROUTE));
    assert_eq!(told(&mut client, SECOND + GRACE, 40000), None, "by what it sends");
    assert_eq!(swept(&mut client, SECOND + GRACE, |_| false), 1, "and the one that is idle");
    assert_eq!(client.gateway.sweep_at_ns(), None);
}

#[test]
fn what_is_withdrawn_within_the_grace_is_reset_at_once() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    begin_pool_flow(&mut client, &mut server, 40001);
    lose(&mut client, SECOND);
    assert_eq!(swept(&mut client, SECOND, |_| false), 0);
    assert!(client.builder.remove(&name("/B/4")));
    client.book = client.builder.snapshot();
    assert_eq!(told(&mut client, SECOND + 1, 40000), None);
    assert_eq!(swept(&mut client, SECOND + 1, |_| false), 1);
}

#[test]
fn a_negative_reply_from_elsewhere_resets_only_after_the_grace_and_any_delivery_begins_it_anew() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    let nack = |client: &mut Sg, now| {
        let pdu = client.sends(now, &tcp(at("/A/1"), at("/B"), (40000, 80), (101, 501), "A", b"GET"));
        let body = damc_wire::frame::body_of(&pdu).unwrap().to_vec();
        let (reason, answered) = (RefusalReason::NoSuchInstance, MessageType::Packet);
        let nack = Nack { reason, node: NodeId::new("sg-4").unwrap(), answered, destination: name("/B/4"), body };
        let nack = Frame::plain(name("/A/1"), name("/damc/example/sg-4"), 1, Message::Nack(nack)).encode().unwrap();
        let packet = client.delivers(now, nack);
        View::parse(&packet).unwrap().tcp().is_some_and(|segment| segment.rst())
    };
    assert!(!nack(&mut client, SECOND) && !nack(&mut client, SECOND + GRACE - 1));
    let pdu = server.sends(SECOND + GRACE, &tcp(at("/B"), at("/A/1"), (80, 40000), (501, 101), "A", b"x"));
    client.delivers(SECOND + GRACE, pdu);
    assert!(!nack(&mut client, 2 * SECOND + GRACE));
    assert!(nack(&mut client, 2 * SECOND + 2 * GRACE), "nothing came for as long as the grace");
}

/// The questions that a gateway with all its routes asks within `seconds`.
fn questions(client: &mut Sg, seconds: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let mut asked = Vec::new();
    for now in seconds {
        let each = |port, pdu: &mut Vec<u8>| {
            assert_eq!(port, PORT);
            asked.push(pdu.clone());
        };
        client.gateway.inquire(now * SECOND, &client.book, 32, |_| true, each);
    }
    asked
}

#[test]
fn the_other_end_of_a_connection_that_was_reset_is_asked_when_there_is_a_route_again() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    let pdu = server.sends(1, &tcp(at("/B"), at("/A/1"), (80, 40000), (501, 177), "A", &[1; 99]));
    client.delivers(1, pdu);
    assert!(!client.gateway.has_inquiries());
    client.gateway.sweep(2, &client.book, |_| false, |_, _| {});
    assert!(client.gateway.has_inquiries());
    client.gateway.inquire(SECOND, &client.book, 32, |_| false, |_, _| panic!("there is no route"));
    let asked = questions(&mut client, 20..40);
    assert_eq!(asked.len(), 3, "the first may be lost");
    assert!(!client.gateway.has_inquiries());
    assert_eq!(names_of(&asked[0]), (name("/B/4"), name("/A/1")), "the instance, not the pool");
    let question = server.delivers(21, asked[0].clone());
    let view = View::parse(&question).unwrap();
    assert_eq!((view.source, view.destination), (at("/A/1"), at("/B")));
    let segment = view.tcp().unwrap();
    assert!(segment.ack() && !segment.rst() && !segment.syn() && segment.payload().is_empty());
    assert_eq!((segment.source_port(), segment.destination_port()), (40000, 80));
    // One before what the other end expects: it has to answer.
    assert_eq!((segment.sequence_number(), segment.acknowledgment_number()), (176, 600));
}

#[test]
fn nobody_asks_for_ever_and_connections_that_have_ended_are_not_asked_about() {
    let (mut client, mut server) = (Sg::client(), Sg::server());
    begin_pool_flow(&mut client, &mut server, 40000);
    begin_pool_flow(&mut client, &mut server, 40001);
    let pdu = server.sends(1, &tcp(at("/B"), at("/A/1"), (80, 40001), (501, 101), "FA", b""));
    client.delivers(1, pdu);
    client.sends(1, &tcp(at("/A/1"), at("/B"), (40001, 80), (101, 502), "FA", b""));
    client.gateway.sweep(2, &client.book, |_| false, |_, _| {});
    for second in 1..=200 {
        client.gateway.inquire(second * SECOND, &client.book, 32, |_| false, |_, _| panic!("there is no route"));
    }
    assert!(!client.gateway.has_inquiries());
}

#[test]
fn a_segment_without_route_is_reset_and_a_first_one_is_told() {
    let mut client = Sg::client();
    let mut out = Vec::new();
    let syn = tcp(at("/A/1"), at("/B/4"), (40000, 80), (1, 0), "S", b"");
    assert!(client.gateway.refused(0, &client.book, PORT, &syn, DropReason::NoRoute, &mut out));
    assert_eq!((icmp(&out).0, icmp(&out).1), (1, 0));
    let data = tcp(at("/A/1"), at("/B/4"), (40000, 80), (2, 77), "A", b"x");
    assert!(client.gateway.refused(0, &client.book, PORT, &data, DropReason::NoRoute, &mut out));
    let view = View::parse(&out).unwrap();
    assert!(view.tcp().unwrap().rst() && view.tcp().unwrap().sequence_number() == 77);
    let reset = tcp(at("/A/1"), at("/B/4"), (40000, 80), (2, 77), "R", b"");
    assert!(
        !client.gateway.refused(0, &client.book, PORT, &reset, DropReason::NoRoute, &mut out),
        "a reset is not answered"
    );
}

#[test]
fn the_flow_table_is_bounded() {
    let mut client = Sg::client();
    let flows = FLOW_LIMIT + FLOW_LIMIT / 2;
    let mut pdu = Vec::new();
    for flow in 0..flows {
        let ports = (u16::try_from(flow % 60000).unwrap() + 1, u16::try_from(flow / 60000).unwrap() + 1);
        let answer = tcp(at("/B/4"), at("/A/1"), ports, (1, 1), "SA", b"");
        assert!(write_packet(&mut pdu, (&name("/A/1"), &name("/B/4")), 1, 60, &answer));
        let delivery = client.take_for_pod(flow as u64, &mut pdu);
        assert!(matches!(delivery, Delivery::Packet(_)));
    }
    let counts = client.gateway.flow_counts();
    assert_eq!(counts.begun, flows as u64);
    assert!(counts.flows <= FLOW_LIMIT as u64 && counts.flows > FLOW_LIMIT as u64 * 8 / 10, "{counts:?}");
    assert_eq!(counts.flows + counts.evicted, counts.begun);
}

/// An answer to the pod behind `port`, which makes a flow of it.
fn answered(sg: &mut Sg, now: u64, (port, service): (u16, &str), ports: (u16, u16)) {
    let mut pdu = Vec::new();
    let answer = tcp(at("/B/4"), at(service), ports, (1, 1), "SA", b"");
    assert!(write_packet(&mut pdu, (&name(service), &name("/B/4")), 1, 60, &answer));
    let mut frame = RoutedView::parse(&mut pdu[..]).unwrap();
    assert!(matches!(sg.gateway.to_pod(now, &sg.book, port, &mut frame, &mut sg.out), Delivery::Packet(_)));
}

#[test]
fn a_pod_that_begins_flows_without_end_pushes_out_its_own() {
    const OTHER: u16 = PORT + 1;
    const QUIET: u16 = 500;
    let mut client = Sg::client();
    client.builder.set_port(OTHER, &[name("/B/1")], &[]);
    client.book = client.builder.snapshot();
    for port in 1..=QUIET {
        begin_pool_flow_of(&mut client, (OTHER, "/B/1"), port);
    }
    // More than the table holds, all of them newer than the quiet ones.
    for flow in 0..FLOW_LIMIT * 3 / 2 {
        let ports = (u16::try_from(flow % 60000).unwrap() + 1, u16::try_from(flow / 60000).unwrap() + 1);
        answered(&mut client, SECOND + flow as u64, (PORT, "/A/1"), ports);
    }
    for port in 1..=QUIET {
        let packet = tcp(at("/B/1"), at("/B"), (port, 80), (101, 501), "A", b"GET");
        let step = client.gateway.from_pod(2 * SECOND, &client.book, (OTHER, MAC), &packet, &mut client.out);
        assert_eq!(step, Step::Forward);
        assert_eq!(names_of(&client.out).0, name("/B/4"), "flow {port} keeps its instance");
    }
}

/// An answer of the instance /B/4 for the pool: what the pod sends from then on goes there.
fn begin_pool_flow_of(sg: &mut Sg, (port, service): (u16, &str), source_port: u16) {
    let mut pdu = Vec::new();
    let answer = tcp(at("/B"), at(service), (80, source_port), (500, 101), "SA", b"");
    assert!(write_packet(&mut pdu, (&name(service), &name("/B/4")), 1, 60, &answer));
    let mut frame = RoutedView::parse(&mut pdu[..]).unwrap();
    assert!(matches!(sg.gateway.to_pod(0, &sg.book, port, &mut frame, &mut sg.out), Delivery::Packet(_)));
}
