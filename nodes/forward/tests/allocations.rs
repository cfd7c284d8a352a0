//! A frame forwarded allocates nothing: verdicts of every kind, counted.

use damc_forward::{
    Admission, FibBuilder, HashKey, Ingress, LabelRoute, LinkKeys, NextHop, Op, PortId, Route, Stamp, Verdict, forward,
};
use damc_wire::frame::LinkKey;
use damc_wire::message::{Data, DataKind, Message};
use damc_wire::{Frame, Millis, Name};

const POD: PortId = PortId(0);
const LEFT: PortId = PortId(1);
const RIGHT: PortId = PortId(2);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn frame(destination: &str, label: u32) -> Vec<u8> {
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(1000), context: None };
    let data = Message::Data(Data { correlation: 1, kind, payload: vec![7; 200], hops: vec![] });
    let mut pdu = Frame::routed(name(destination), name("/A/1"), 3, label, 64, data).encode().unwrap();
    keys().inbound.seal(&mut pdu);
    pdu
}

fn keys() -> LinkKeys {
    LinkKeys { inbound: LinkKey::new(&[1; 32]), outbound: LinkKey::new(&[2; 32]) }
}

#[test]
fn no_verdict_allocates() {
    let route = |prefix: &str, ports: &[PortId]| {
        Route::plain(name(prefix), ports.iter().map(|port| NextHop::new(*port, 1)).collect())
    };
    let mut builder = FibBuilder::new(HashKey(7, 11));
    let fib = builder.apply([
        Op::Admit { port: POD, rule: Admission::Sources(vec![name("/A/1")]) },
        Op::Admit { port: LEFT, rule: Admission::All },
        Op::Keys { port: POD, keys: Some(keys()) },
        Op::Keys { port: LEFT, keys: Some(keys()) },
        Op::Keys { port: RIGHT, keys: Some(keys()) },
        Op::Set(route("/B", &[LEFT, RIGHT])),
        Op::Set(Route { exact: true, ..route("/B/4/deep", &[RIGHT]) }),
        Op::Set(Route { stamp: Some(Stamp { label: 9, port: RIGHT }), ..route("/C", &[LEFT]) }),
        Op::Set(Route { deliver: true, local: true, ..route("/damc/example/sg-1", &[]) }),
        Op::Set(Route { backups: vec![NextHop::new(RIGHT, 1)], ..route("/D", &[PortId(3)]) }),
        Op::SetLabel(LabelRoute { label: 5, prefix: name("/B"), exact: false, port: RIGHT }),
        Op::PortState { port: PortId(3), up: false },
    ]);
    let cases = [
        ("by the longest prefix", Ingress::Port(LEFT), frame("/B/4", 0), Verdict::Send(RIGHT)),
        ("by an exact route", Ingress::Port(LEFT), frame("/B/4/deep", 0), Verdict::Send(RIGHT)),
        ("by a label", Ingress::Port(LEFT), frame("/B/4", 5), Verdict::Send(RIGHT)),
        ("by a stamp", Ingress::Port(POD), frame("/C/1", 0), Verdict::Send(RIGHT)),
        ("by a loop-free alternate", Ingress::Port(LEFT), frame("/D", 0), Verdict::Send(RIGHT)),
        ("to the node", Ingress::Port(LEFT), frame("/damc/example/sg-1", 0), Verdict::Deliver),
    ];
    for (what, ingress, pristine, expected) in cases {
        let (mut pdu, mut verdict) = (pristine.clone(), None);
        let allocations = allocation_counter::measure(|| {
            for _ in 0..100 {
                pdu.copy_from_slice(&pristine);
                verdict = Some(forward(&fib, ingress, &mut pdu));
                fib.seal(RIGHT, &mut pdu);
            }
        });
        assert_eq!(verdict, Some(expected), "{what}");
        assert_eq!(allocations.count_total, 0, "{what}: {allocations:?}");
    }
}
