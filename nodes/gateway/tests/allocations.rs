//! Packets of a running flow pass the gateway in both directions without an allocation.

use core::net::Ipv6Addr;

use damc_gateway::{Book, BookBuilder, Delivery, Gateway, Options, Step};
use damc_wire::frame::{RoutedView, write_packet};
use damc_wire::registry::MAX_PDU;
use damc_wire::{Name, address};
use etherparse::PacketBuilder;

const DOMAIN: &str = "example";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const POD: u16 = 0;
const GRACE: u64 = 3_000_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(text: &str) -> Ipv6Addr {
    address::of_name(DOMAIN, &name(text)).unwrap()
}

fn sg() -> (Gateway, Book) {
    let mut book = BookBuilder::new(DOMAIN);
    for known in ["/A/1", "/B", "/B/4"] {
        book.add(&name(known));
    }
    book.set_port(POD, &[name("/A/1")], &[]);
    let options = Options {
        domain: DOMAIN.into(),
        node: name("/damc/example/sg-1"),
        key: (1, 2),
        serves: false,
        grace_ns: GRACE,
    };
    (Gateway::new(&options), book.snapshot())
}

fn tcp(from: &str, to: &str, ports: (u16, u16)) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(at(from).octets(), at(to).octets(), 64).tcp(ports.0, ports.1, 1000, 8000);
    builder.ack(77).write(&mut packet, &[7; 300]).unwrap();
    packet
}

#[test]
fn a_running_flow_allocates_nothing() {
    let (mut gateway, book) = sg();
    let there = tcp("/A/1", "/B", (40000, 80));
    let mut back = Vec::new();
    assert!(write_packet(&mut back, (&name("/A/1"), &name("/B/4")), 3, 61, &tcp("/B", "/A/1", (80, 40000))));
    let (mut out, mut answer) = (Vec::with_capacity(MAX_PDU), Vec::new());
    let mut received = back.clone();
    let mut exchange = || {
        let step = gateway.from_pod(1, &book, (POD, MAC), &there, &mut out);
        // Delivery changes the frame in place: each one is received anew.
        received.copy_from_slice(&back);
        let mut frame = RoutedView::parse(&mut received[..]).unwrap();
        (step, gateway.to_pod(1, &book, POD, &mut frame, &mut answer))
    };
    // The first answer makes the flow; from then on the gateway sends to the instance.
    let (Step::Forward, Delivery::Packet(_)) = exchange() else { panic!("not passed on") };
    let allocations = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert!(matches!(exchange(), (Step::Forward, Delivery::Packet(_))));
        }
    });
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    assert_eq!(RoutedView::parse(&out[..]).unwrap().destination(), name("/B/4").wire());
}
