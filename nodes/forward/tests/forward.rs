//! Verdicts, case by case.

use std::sync::Arc;

use damc_forward::{
    Admission, Fib, FibBuilder, Gone, HashKey, Ingress, LabelRoute, LinkKeys, NextHop, Op, PortId, Route, Stamp,
    Verdict, forward,
};
use damc_wire::frame::{Ahead, HeaderView, LinkKey, RoutedView};
use damc_wire::message::{Data, DataKind, Message, Nack};
use damc_wire::{DropReason, Frame, MessageType, Millis, Name, NodeId, RefusalReason};

/// Port of the pod, of two routers, and of an SPA.
const POD: PortId = PortId(0);
const LEFT: PortId = PortId(1);
const RIGHT: PortId = PortId(2);
const SPA: PortId = PortId(3);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn route(prefix: &str, ports: &[PortId]) -> Route {
    let next_hops = ports.iter().map(|port| NextHop::new(*port, 1)).collect();
    Route::plain(name(prefix), next_hops)
}

fn builder() -> FibBuilder {
    let mut builder = FibBuilder::new(HashKey(7, 11));
    builder.apply([
        Op::Admit { port: POD, rule: Admission::Sources(vec![name("/A/1"), name("/B/1"), name("/A/1/deep")]) },
        Op::Admit { port: LEFT, rule: Admission::All },
        Op::Admit { port: RIGHT, rule: Admission::All },
        Op::Admit { port: SPA, rule: Admission::Nothing },
        Op::Set(Route { local: true, ..route("/A/1", &[POD]) }),
        Op::Set(Route { local: true, ..route("/B/1", &[POD]) }),
        Op::Set(Route { deliver: true, local: true, ..route("/damc/example/sg-1", &[]) }),
        Op::Set(route("/A/4", &[LEFT, RIGHT])),
        Op::Set(Route { exact: true, ..route("/A", &[LEFT]) }),
        Op::Set(route("/C", &[RIGHT])),
    ]);
    builder
}

fn data(destination: &str, source: &str) -> Frame {
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(1000), context: None };
    let message = Message::Data(Data { correlation: 1, kind, payload: vec![], hops: vec![] });
    Frame::plain(name(destination), name(source), 0, message)
}

fn labelled(destination: &str, source: &str, label: u32) -> Frame {
    let mut frame = data(destination, source);
    frame.header.label = label;
    frame
}

/// Forwards and gives verdict, hop limit and label.
fn run(fib: &Fib, ingress: Ingress, frame: &Frame) -> (Verdict, u8, u32) {
    let mut pdu = frame.encode().unwrap();
    let verdict = forward(fib, ingress, &mut pdu);
    let header = *RoutedView::parse(&pdu).unwrap().header();
    assert_eq!(Frame::decode(&pdu).unwrap().message, frame.message, "nothing behind the header changes");
    (verdict, header.hop_limit, header.label)
}

/// The verdict alone, for a frame from this port.
fn verdict(fib: &Fib, port: PortId, destination: &str, source: &str) -> Verdict {
    run(fib, Ingress::Port(port), &data(destination, source)).0
}

fn dropped(reason: DropReason) -> Verdict {
    Verdict::Drop { reason, reply: true }
}

fn dropped_quietly(reason: DropReason) -> Verdict {
    Verdict::Drop { reason, reply: false }
}

#[test]
fn a_port_with_keys_takes_what_its_neighbour_sealed_and_seals_what_leaves() {
    let key = |byte: u8| LinkKey::new(&[byte; 32]);
    let keys = |port, inbound, outbound| Op::Keys {
        port,
        keys: Some(LinkKeys { inbound: key(inbound), outbound: key(outbound) }),
    };
    let mut builder = builder();
    let fib = builder.apply([keys(LEFT, 1, 2), keys(RIGHT, 3, 4), keys(POD, 5, 6), keys(SPA, 7, 8)]);
    let sealed = |by: u8, source: &str| {
        let mut pdu = data("/C", source).encode().unwrap();
        key(by).seal(&mut pdu);
        pdu
    };
    let mut good = sealed(1, "/Z");
    assert_eq!(forward(&fib, Ingress::Port(LEFT), &mut good), Verdict::Send(RIGHT));
    fib.seal(RIGHT, &mut good);
    assert_eq!(key(4).check(&good), Ok(()), "with the hop limit that it leaves with");
    // Nobody is told: whoever sent this is not who it says.
    let unsealed = || data("/C", "/Z").encode().unwrap();
    for (what, ingress, mut pdu, reason) in [
        ("of an outsider", Ingress::Port(LEFT), unsealed(), DropReason::MissingMac),
        ("under another key", Ingress::Port(LEFT), sealed(9, "/Z"), DropReason::BadMac),
        ("reflected", Ingress::Port(LEFT), sealed(2, "/Z"), DropReason::BadMac),
        ("of another link", Ingress::Port(RIGHT), sealed(1, "/Z"), DropReason::BadMac),
        ("to a pod's port, in its name", Ingress::Port(POD), sealed(1, "/A/1"), DropReason::BadMac),
    ] {
        assert_eq!(forward(&fib, ingress, &mut pdu), dropped_quietly(reason), "{what}");
    }
    // The MAC comes before the rest, and does not stand for it.
    assert_eq!(forward(&fib, Ingress::Port(POD), &mut sealed(5, "/Z")), dropped(DropReason::SourceNotAuthorised));
    assert_eq!(forward(&fib, Ingress::Port(SPA), &mut sealed(7, "/Z")), dropped_quietly(DropReason::NoAdjacency));
    // Frames that are made here bear none yet.
    for (ingress, source) in [(Ingress::Local, "/Z"), (Ingress::Made(POD), "/A/1")] {
        assert_eq!(forward(&fib, ingress, &mut data("/C", source).encode().unwrap()), Verdict::Send(RIGHT));
    }
    let foreign = forward(&fib, Ingress::Made(POD), &mut unsealed());
    assert_eq!(foreign, dropped(DropReason::SourceNotAuthorised), "made of what a pod sent in another's name");
    // Without keys, as where a domain does without MACs.
    let fib = builder.apply([Op::Keys { port: LEFT, keys: None }]);
    assert_eq!(forward(&fib, Ingress::Port(LEFT), &mut unsealed()), Verdict::Send(RIGHT));
}

#[test]
fn fwd_05_each_forwarding_node_takes_one_hop() {
    let fib = builder().apply([]);
    assert_eq!(run(&fib, Ingress::Port(LEFT), &data("/C/x", "/Z")), (Verdict::Send(RIGHT), 63, 0));
    assert_eq!(run(&fib, Ingress::Local, &data("/C/x", "/Z")), (Verdict::Send(RIGHT), 64, 0));
    let mut last = data("/C/x", "/Z");
    for hop_limit in [1, 0] {
        last.header.hop_limit = hop_limit;
        assert_eq!(run(&fib, Ingress::Port(LEFT), &last).0, dropped(DropReason::HopLimitExceeded));
    }
}

#[test]
fn fwd_02_services_of_one_pod_meet_at_the_gateway() {
    assert_eq!(verdict(&builder().apply([]), POD, "/B/1", "/A/1"), Verdict::Send(POD));
}

#[test]
fn frames_never_go_back_where_they_came_from() {
    let fib = builder().apply([]);
    assert_eq!(verdict(&fib, RIGHT, "/C/x", "/Z"), dropped(DropReason::Looped));
    for flow in 0..64 {
        let mut frame = data("/A/4", "/Z");
        frame.header.flow = flow;
        assert_eq!(run(&fib, Ingress::Port(LEFT), &frame).0, Verdict::Send(RIGHT));
    }
}

/// What a forwarder makes of a plain frame to /C that tells this: the verdict and what the frame tells then.
fn after(fib: &Fib, ingress: Ingress, destination: &str, told: Ahead, label: u32) -> (Verdict, Ahead) {
    let source = if ingress == Ingress::Port(POD) { "/A/1" } else { "/Z" };
    let mut pdu = labelled(destination, source, label).encode().unwrap();
    HeaderView::of(&mut pdu).set_ahead(told);
    let verdict = forward(fib, ingress, &mut pdu);
    (verdict, HeaderView::of(&pdu).ahead())
}

#[test]
fn gap_11_frames_come_nearer_with_each_node_and_may_fail_to_once() {
    let down = |cost| Ahead { cost, uphill: false };
    let up = |cost| Ahead { cost, uphill: true };
    let mut builder = builder();
    let fib = builder.apply([Op::Set(Route { cost: 20, ..route("/C", &[RIGHT]) })]);
    let sent = Verdict::Send(RIGHT);
    let from_left = |told| after(&fib, Ingress::Port(LEFT), "/C", told, 0);
    assert_eq!(from_left(down(0)), (sent, down(20)), "the first forwarder that says something");
    assert_eq!(from_left(down(21)), (sent, down(20)));
    assert_eq!(from_left(up(21)), (sent, up(20)));
    for told in [20, 19, 1] {
        assert_eq!(from_left(down(told)), (sent, up(20)), "{told}: once");
        assert_eq!(from_left(up(told)).0, dropped(DropReason::Looped), "{told}: not twice");
    }
    assert_eq!(after(&fib, Ingress::Port(LEFT), "/C", up(5), 9), (sent, up(20)), "a label that ends here led it");
    assert_eq!(after(&fib, Ingress::Port(POD), "/C", up(5), 0), (sent, down(20)), "pods have no say");
    assert_eq!(after(&fib, Ingress::Local, "/C", down(0), 0), (sent, down(20)));
    assert_eq!(after(&fib, Ingress::Port(LEFT), "/A/1", up(5), 0).0, Verdict::Send(POD), "the last hop is no detour");
    let far = builder.apply([Op::Set(Route { cost: 70_000, ..route("/C", &[RIGHT]) })]);
    assert_eq!(
        after(&far, Ingress::Port(LEFT), "/C", up(5), 0),
        (sent, up(0)),
        "more than a frame can say is not known"
    );
}

#[test]
fn gap_11_no_tables_whatever_let_a_frame_pass_a_node_more_than_twice() {
    // All next hops and costs of three routers in a triangle with a destination behind none of them: whatever they
    // believe, as long as each believes the same all the time.
    for wrong in 0..512_u32 {
        let pick = |node: u32, of: u32| wrong >> (3 * node) & of;
        let fibs: Vec<_> = (0..3)
            .map(|node| {
                let port = if pick(node, 1) == 0 { LEFT } else { RIGHT };
                let cost = u64::from(pick(node, 6) / 2) * 10 + 10;
                builder().apply([Op::Set(Route { cost, ..route("/C", &[port]) })])
            })
            .collect();
        let mut pdu = data("/C", "/Z").encode().unwrap();
        let (mut at, mut ingress, mut passed) = (0_usize, Ingress::Local, [0; 3]);
        loop {
            let verdict = forward(&fibs[at], ingress, &mut pdu);
            passed[at] += 1;
            // LEFT leads to the node before, RIGHT to the one behind.
            match verdict {
                Verdict::Send(LEFT) => (at, ingress) = ((at + 2) % 3, Ingress::Port(RIGHT)),
                Verdict::Send(RIGHT) => (at, ingress) = ((at + 1) % 3, Ingress::Port(LEFT)),
                verdict => break assert_eq!(verdict, dropped(DropReason::Looped)),
            }
        }
        // Where it ended it did not pass.
        passed[at] -= 1;
        assert!(passed.iter().all(|n| *n <= 2), "tables {wrong}: {passed:?}");
    }
}

#[test]
fn pools_match_exactly_and_prefixes_cover_what_is_below() {
    let fib = builder().apply([]);
    assert_eq!(verdict(&fib, RIGHT, "/A", "/Z"), Verdict::Send(LEFT));
    assert_eq!(verdict(&fib, RIGHT, "/A/9", "/Z"), dropped(DropReason::NoRoute));
    assert_eq!(verdict(&fib, RIGHT, "/A/1/cart/7", "/Z"), Verdict::Send(POD));
    assert_eq!(verdict(&fib, RIGHT, "/Cart", "/Z"), dropped(DropReason::NoRoute));
}

#[test]
fn own_name_is_delivered_without_taking_a_hop() {
    let fib = builder().apply([]);
    let mut frame = labelled("/damc/example/sg-1", "/Z", 5);
    frame.header.hop_limit = 1;
    assert_eq!(run(&fib, Ingress::Port(LEFT), &frame), (Verdict::Deliver, 1, 5));
}

#[test]
fn ports_admit_what_the_control_plane_allows() {
    let fib = builder().apply([]);
    assert_eq!(verdict(&fib, SPA, "/C", "/Z"), dropped_quietly(DropReason::NoAdjacency));
    assert_eq!(verdict(&fib, PortId(9), "/C", "/Z"), dropped_quietly(DropReason::NoAdjacency));
    assert_eq!(verdict(&fib, POD, "/C", "/A/1/deep/er"), Verdict::Send(RIGHT));
    for foreign in ["/A/12", "/A", "/B/2", "/Z", "/damc/example/scsc"] {
        assert_eq!(verdict(&fib, POD, "/C", foreign), dropped(DropReason::SourceNotAuthorised), "{foreign}");
    }
}

/// What a pod has no business to say costs a look, not a signature at its destination.
#[test]
fn pods_send_calls_and_answers_and_no_signalling() {
    let fib = builder().apply([]);
    for message_type in MessageType::ALL.iter().copied().filter(|t| t.is_routed()) {
        let mut pdu = data("/C", "/A/1").encode().unwrap();
        pdu[1] = message_type.code();
        let verdict = forward(&fib, Ingress::Port(POD), &mut pdu);
        let allowed = ["data", "packet", "nack", "probe-reply", "task-report"].contains(&message_type.label());
        let expected = if allowed { Verdict::Send(RIGHT) } else { dropped_quietly(DropReason::WrongRole) };
        assert_eq!(verdict, expected, "{message_type} from a pod");
        let mut pdu = data("/C", "/Z").encode().unwrap();
        pdu[1] = message_type.code();
        assert_eq!(forward(&fib, Ingress::Port(LEFT), &mut pdu), Verdict::Send(RIGHT), "{message_type} from a router");
    }
}

#[test]
fn fwd_09_policies_steer_traffic_of_own_pods_only() {
    let stamp = Some(Stamp { label: 77, port: RIGHT });
    let fib = builder().apply([Op::Set(Route { stamp, ..route("/A/4", &[LEFT]) })]);
    let from_pod = Ingress::Port(POD);
    assert_eq!(run(&fib, from_pod, &data("/A/4", "/A/1")), (Verdict::Send(RIGHT), 63, 77));
    assert_eq!(run(&fib, Ingress::Port(RIGHT), &data("/A/4", "/Z")), (Verdict::Send(LEFT), 63, 0));
    assert_eq!(run(&fib, Ingress::Local, &data("/A/4", "/Z")), (Verdict::Send(LEFT), 64, 0), "plain path is probed");
    let probe = labelled("/A/4", "/Z", 77);
    assert_eq!(run(&fib, Ingress::Local, &probe), (Verdict::Send(RIGHT), 64, 77), "and the policy's");
    let forged = labelled("/C", "/A/1", 77);
    assert_eq!(run(&fib, from_pod, &forged), (Verdict::Send(RIGHT), 63, 0), "pods do not choose labels");
}

#[test]
fn a_policy_whose_port_is_down_gives_way_to_the_plain_route() {
    let stamp = Some(Stamp { label: 77, port: RIGHT });
    let fib =
        builder().apply([Op::Set(Route { stamp, ..route("/A/4", &[LEFT]) }), Op::PortState { port: RIGHT, up: false }]);
    assert_eq!(run(&fib, Ingress::Port(POD), &data("/A/4", "/A/1")), (Verdict::Send(LEFT), 63, 0));
}

#[test]
fn labels_hold_for_their_prefix_and_are_cleared_elsewhere() {
    let label = |exact| Op::SetLabel(LabelRoute { label: 5, prefix: name("/A/4"), exact, port: RIGHT });
    let mut builder = builder();
    builder.apply([Op::Set(route("/A/4", &[SPA])), Op::Set(route("/D", &[RIGHT]))]);
    let fib = builder.apply([label(false)]);
    let from_left =
        |fib: &Fib, destination: &str, label| run(fib, Ingress::Port(LEFT), &labelled(destination, "/Z", label));
    assert_eq!(from_left(&fib, "/A/4/x", 5), (Verdict::Send(RIGHT), 63, 5));
    assert_eq!(from_left(&fib, "/D", 5), (Verdict::Send(RIGHT), 63, 0), "label of another prefix");
    assert_eq!(from_left(&fib, "/D", 6), (Verdict::Send(RIGHT), 63, 0), "unknown label");
    assert_eq!(from_left(&fib, "/A/1", 5), (Verdict::Send(POD), 63, 5), "local before label");
    let fib = builder.apply([label(true)]);
    assert_eq!(from_left(&fib, "/A/4", 5), (Verdict::Send(RIGHT), 63, 5));
    assert_eq!(from_left(&fib, "/A/4/x", 5), (Verdict::Send(SPA), 63, 0));
    let fib = builder.apply([Op::RemoveLabel(5)]);
    assert_eq!(from_left(&fib, "/A/4", 5), (Verdict::Send(SPA), 63, 0));
}

#[test]
fn checklist_14_flows_spread_by_weight_and_keep_their_way() {
    let next_hops = vec![NextHop::new(LEFT, 3), NextHop::new(RIGHT, 1)];
    let mut builder = builder();
    let both = builder.apply([Op::Set(Route { next_hops, ..route("/E", &[]) })]);
    let ways = |fib: &Fib| -> Vec<Verdict> {
        let frame = |flow| {
            let mut frame = data("/E", "/A/1");
            frame.header.flow = flow;
            frame
        };
        (0..4000).map(|flow| run(fib, Ingress::Port(POD), &frame(flow)).0).collect()
    };
    let before = ways(&both);
    let left = before.iter().filter(|v| **v == Verdict::Send(LEFT)).count();
    assert!((2850..3150).contains(&left), "3:1 gave {left} of 4000");
    assert_eq!(ways(&both), before, "a flow keeps its way");
    let one = builder.apply([Op::PortState { port: RIGHT, up: false }]);
    assert!(ways(&one).iter().all(|v| *v == Verdict::Send(LEFT)));
    let none = builder.apply([Op::PortState { port: LEFT, up: false }]);
    assert!(ways(&none).iter().all(|v| *v == dropped(DropReason::PortDown)));
}

#[test]
fn negative_replies_are_never_answered() {
    let nack = Nack {
        reason: RefusalReason::NoRoute,
        node: NodeId::new("sr-1").unwrap(),
        answered: MessageType::Data,
        destination: name("/X"),
        body: vec![],
    };
    let frame = Frame::plain(name("/nowhere"), name("/Z"), 0, Message::Nack(nack));
    let verdict = run(&builder().apply([]), Ingress::Port(LEFT), &frame).0;
    assert_eq!(verdict, dropped_quietly(DropReason::NoRoute));
}

#[test]
fn bytes_that_are_no_routed_pdu_are_dropped_with_their_reason() {
    let fib = builder().apply([]);
    let whole = data("/C", "/Z").encode().unwrap();
    for end in 0..whole.len() {
        let verdict = forward(&fib, Ingress::Port(LEFT), &mut whole[..end].to_vec());
        assert_eq!(verdict, dropped_quietly(DropReason::Truncated), "cut at {end}");
    }
    let mut other = whole;
    other[0] = 9;
    assert_eq!(forward(&fib, Ingress::Port(LEFT), &mut other), dropped_quietly(DropReason::BadVersion));
}

#[test]
fn snapshots_do_not_change() {
    let mut builder = builder();
    let old = builder.apply([]);
    let new = builder.apply([
        Op::Remove { prefix: name("/C"), gone: Gone::Withdrawn },
        Op::Admit { port: POD, rule: Admission::Nothing },
    ]);
    assert_eq!(new.version(), old.version() + 1);
    assert_eq!(verdict(&old, POD, "/C", "/A/1"), Verdict::Send(RIGHT));
    assert_eq!(verdict(&new, LEFT, "/C", "/Z"), dropped(DropReason::NoRoute));
    assert_eq!(Arc::strong_count(&old), 1);
}

#[test]
fn backups_are_used_while_no_next_hop_is_up_and_never_before() {
    let backups = vec![NextHop::new(RIGHT, 1)];
    let mut builder = builder();
    let up = builder.apply([Op::Set(Route { backups, ..route("/E", &[LEFT]) })]);
    let send = |fib: &Fib, ingress| run(fib, ingress, &data("/E/1", "/A/1")).0;
    assert_eq!(send(&up, Ingress::Local), Verdict::Send(LEFT));
    let down = builder.apply([Op::PortState { port: LEFT, up: false }]);
    assert_eq!(send(&down, Ingress::Local), Verdict::Send(RIGHT));
    assert_eq!(send(&up, Ingress::Local), Verdict::Send(LEFT), "an older snapshot is what it was");
    let nowhere = dropped(DropReason::PortDown);
    assert_eq!(send(&down, Ingress::Port(RIGHT)), nowhere, "not back to where it is from");
    let both = builder.apply([Op::PortState { port: RIGHT, up: false }]);
    assert_eq!(send(&both, Ingress::Local), nowhere);
    let again = builder.apply([Op::PortState { port: LEFT, up: true }]);
    assert_eq!(send(&again, Ingress::Local), Verdict::Send(LEFT));
}
