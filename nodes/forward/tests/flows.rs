//! Which of several next hops a flow takes, and which flows move when one goes (GAP-13).

use std::sync::Arc;

use damc_forward::{Admission, Fib, FibBuilder, HashKey, Ingress, NextHop, Op, PortId, Route, Verdict, forward};
use damc_wire::message::{Data, DataKind, Message};
use damc_wire::{Frame, Millis, Name};
use proptest::prelude::*;

const IN: PortId = PortId(0);
const FLOWS: u32 = 400;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn builder(key: HashKey) -> FibBuilder {
    let mut builder = FibBuilder::new(key);
    builder.apply((0..10).map(|port| Op::Admit { port: PortId(port), rule: Admission::All }));
    builder
}

fn over(hops: &[NextHop]) -> Op {
    Op::Set(Route::plain(name("/A"), hops.to_vec()))
}

fn hops(weights: &[u16]) -> Vec<NextHop> {
    (1..).zip(weights).map(|(port, weight)| NextHop::new(PortId(port), *weight)).collect()
}

/// The port that each flow takes.
fn ways(fib: &Arc<Fib>, flows: u32) -> Vec<PortId> {
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(1000), context: None };
    let message = Message::Data(Data { correlation: 1, kind, payload: vec![], hops: vec![] });
    let mut frame = Frame::plain(name("/A"), name("/Z"), 0, message);
    let way = |flow| {
        frame.header.flow = flow;
        match forward(fib, Ingress::Port(IN), &mut frame.encode().unwrap()) {
            Verdict::Send(port) => port,
            other => panic!("{other:?}"),
        }
    };
    (0..flows).map(way).collect()
}

proptest! {
    #[test]
    fn gap_13_only_flows_of_the_next_hop_that_goes_move(
        weights in prop::collection::vec(1_u16..6, 2..9),
        gone in any::<prop::sample::Index>(),
        key in any::<(u64, u64)>(),
    ) {
        let mut builder = builder(HashKey(key.0, key.1));
        let all = hops(&weights);
        let gone = all[gone.index(all.len())];
        let before = ways(&builder.apply([over(&all)]), FLOWS);
        let down = ways(&builder.apply([Op::PortState { port: gone.port, up: false }]), FLOWS);
        let rest: Vec<NextHop> = all.iter().copied().filter(|hop| hop.port != gone.port).collect();
        let removed = ways(&builder.apply([over(&rest), Op::PortState { port: gone.port, up: true }]), FLOWS);
        prop_assert_eq!(&down, &removed, "as soon as its port is down, flows are where the next table has them");
        for (was, is) in before.iter().zip(&removed) {
            prop_assert!(if *was == gone.port { *is != gone.port } else { is == was }, "{was:?} to {is:?}");
        }
        prop_assert_eq!(ways(&builder.apply([over(&all)]), FLOWS), before, "they come back when it is back");
    }

    #[test]
    fn gap_13_one_of_five_equal_instances_moves_a_quarter_at_most(key in any::<(u64, u64)>(), gone in 0_usize..5) {
        let mut builder = builder(HashKey(key.0, key.1));
        let mut rest = hops(&[1; 5]);
        let before = ways(&builder.apply([over(&rest)]), 4000);
        rest.remove(gone);
        let after = ways(&builder.apply([over(&rest)]), 4000);
        let moved = before.iter().zip(&after).filter(|(was, is)| was != is).count();
        prop_assert!((600..=1000).contains(&moved), "{moved} of 4000");
    }
}

/// Shares follow the weights, and those that go come from all others in proportion.
#[test]
fn gap_13_a_flow_finds_its_next_hop_by_weight() {
    let mut builder = builder(HashKey(7, 11));
    let taken = ways(&builder.apply([over(&hops(&[1, 2, 5]))]), 8000);
    for (port, share) in [(1, 1000), (2, 2000), (3, 5000)] {
        let count = taken.iter().filter(|p| p.0 == port).count();
        assert!(count.abs_diff(share) < 200, "{count} of 8000 through {port}, {share} expected");
    }
}

/// Which next hop a flow takes does not depend on the numbers of ports where the keys say who is who.
#[test]
fn gap_13_flows_know_next_hops_by_key() {
    let mut builder = builder(HashKey(7, 11));
    let keyed = |ports: [u16; 3]| -> Vec<NextHop> {
        (0..).zip(ports).map(|(key, port)| NextHop { key, ..NextHop::new(PortId(port), 1) }).collect()
    };
    let one = ways(&builder.apply([over(&keyed([1, 2, 3]))]), FLOWS);
    let other = ways(&builder.apply([over(&keyed([3, 1, 2]))]), FLOWS);
    let renumbered: Vec<PortId> = other.iter().map(|p| PortId(p.0 % 3 + 1)).collect();
    assert_eq!(renumbered, one);
}
