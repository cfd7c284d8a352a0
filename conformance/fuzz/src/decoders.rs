//! What reads bytes off a wire.

use std::sync::{Arc, OnceLock};

use damc_forward::{Fib, FibBuilder, HashKey, Ingress, NextHop, Op, PortId, Route, Verdict, forward as decide};
use damc_gateway::{Book, BookBuilder, Gateway, Options};
use damc_wire::{Frame, Name};

/// A frame that decodes has one encoding, which decodes to the same frame.
pub fn frame(data: &[u8]) {
    let Ok(frame) = Frame::decode(data) else { return };
    let encoded = frame.encode().expect("what was decoded can be encoded");
    let again = Frame::decode(&encoded).expect("what was encoded can be decoded");
    assert_eq!(again, frame);
}

/// The forwarding plane never makes a frame longer, and a frame that it sends has lost one hop.
pub fn forward(data: &[u8]) {
    static FIB: OnceLock<Arc<Fib>> = OnceLock::new();
    let fib = FIB.get_or_init(table);
    let Some((port, pdu)) = data.split_first() else { return };
    let mut sent = pdu.to_vec();
    let verdict = decide(fib, Ingress::Port(PortId(u16::from(port % 4))), &mut sent);
    assert_eq!(sent.len(), pdu.len());
    if matches!(verdict, Verdict::Send(_)) {
        let (before, after) = (Frame::decode(pdu), Frame::decode(&sent));
        if let (Ok(before), Ok(after)) = (before, after) {
            assert_eq!(after.header.hop_limit + 1, before.header.hop_limit);
        }
    }
}

fn table() -> Arc<Fib> {
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let hop = |port| NextHop::new(PortId(port), 1);
    let route = |text, hops: &[u16]| Op::Set(Route::plain(name(text), hops.iter().copied().map(hop).collect()));
    let mut builder = FibBuilder::new(HashKey(1, 2));
    builder.apply([route("/A", &[0]), route("/A/1", &[1, 2]), route("/B", &[3]), route("/C", &[0, 1])])
}

/// A name has one wire form and one text.
pub fn name(data: &[u8]) {
    if let Ok(name) = Name::from_wire(data) {
        assert_eq!(name.wire(), data);
        assert_eq!(name.to_string().parse::<Name>().expect("the text of a name"), name);
    }
    if let Some(name) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Name>().ok()) {
        assert_eq!(Name::from_wire(name.wire()).expect("the wire form of a name"), name);
    }
}

fn book() -> &'static Book {
    static BOOK: OnceLock<Book> = OnceLock::new();
    BOOK.get_or_init(|| {
        let mut builder = BookBuilder::new("example");
        for name in ["/A/1", "/A/2", "/B/1"] {
            builder.add(&name.parse().expect("a name"));
        }
        builder.snapshot()
    })
}

/// Packets of a pod, several in a row: what the gateway makes of one decodes as a frame.
pub fn packet(data: &[u8]) {
    let book = book();
    let node = "/damc/example/sg-1".parse().expect("a name");
    let mut gateway = Gateway::new(&Options { domain: "example".into(), node, key: (1, 2), serves: true, grace_ns: 0 });
    let mut out = Vec::new();
    for (at, packet) in (1..).zip(data.split(|byte| *byte == 0xa5)) {
        out.clear();
        let step = gateway.from_pod(at * 1_000_000, book, (0, [2, 0, 0, 0, 0, 1]), packet, &mut out);
        if step == damc_gateway::Step::Forward {
            assert!(Frame::decode(&out).is_ok(), "{out:02x?}");
        }
    }
}

/// A DNS message has at most one reply, which is no query.
pub fn dns(data: &[u8]) {
    if let Some(reply) = damc_gateway::dns_reply(data, book()) {
        assert!(reply.get(2).is_some_and(|flags| flags & 0x80 != 0), "{reply:02x?}");
        assert_eq!(reply.get(..2), data.get(..2));
    }
}
