//! Why a prefix leaves the table.

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn node(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn advert(metric: u32) -> Advert {
    Advert { metric, weight: 1, exact: false }
}

/// A router with a way to sg-4, which advertises /B/4.
fn rib() -> Rib {
    let mut rib = Rib::new(&node("sr-1"), &name("/damc/d/sr-1"), BTreeMap::from([(node("sg-4"), PortId(0))]));
    rib.set_reach(&node("sg-4"), Some(way()));
    rib.advertise(&name("/B/4"), &node("sg-4"), &node("pod-4"), advert(1));
    rib.recompute(|_, _, _| None);
    rib
}

fn way() -> Reach {
    Reach { cost: 1, next_hops: vec![NextHop::new(PortId(0), 1)] }
}

/// What the table is told of /B/4.
fn told(rib: &mut Rib) -> Vec<Op> {
    rib.recompute(|_, _, _| None).0
}

fn removed(gone: Gone) -> Vec<Op> {
    vec![Op::Remove { prefix: name("/B/4"), gone }]
}

#[test]
fn a_name_whose_origin_is_out_of_reach_is_unreachable_and_then_withdrawn() {
    let mut rib = rib();
    rib.set_reach(&node("sg-4"), None);
    assert_eq!(told(&mut rib), removed(Gone::Unreachable));
    rib.withdraw(&name("/B/4"), &node("sg-4"), &node("pod-4"));
    assert_eq!(told(&mut rib), removed(Gone::Withdrawn), "said though it is not in the table any more");
    rib.advertise(&name("/B/4"), &node("sg-4"), &node("pod-4"), advert(1));
    rib.withdraw(&name("/B/4"), &node("sg-4"), &node("pod-4"));
    assert_eq!(told(&mut rib), vec![], "said once");
}

#[test]
fn an_origin_that_says_unreachable_is_no_candidate_and_no_withdrawal() {
    let mut rib = rib();
    rib.advertise(&name("/B/4"), &node("sg-4"), &node("pod-4"), advert(UNREACHABLE));
    assert_eq!(told(&mut rib), removed(Gone::Unreachable));
    rib.advertise(&name("/B/4"), &node("sg-4"), &node("pod-4"), advert(1));
    assert!(matches!(&told(&mut rib)[..], [Op::Set(route)] if route.cost == 2));
    rib.withdraw(&name("/B/4"), &node("sg-4"), &node("pod-4"));
    assert_eq!(told(&mut rib), removed(Gone::Withdrawn));
}

#[test]
fn a_pool_goes_on_without_its_unreachable_member() {
    let mut rib = rib();
    rib.set_reach(&node("sg-1"), Some(Reach { cost: 7, ..way() }));
    rib.advertise(&name("/B/4"), &node("sg-1"), &node("pod-1"), advert(1));
    rib.advertise(&name("/B/4"), &node("sg-4"), &node("pod-4"), advert(UNREACHABLE));
    assert!(matches!(&told(&mut rib)[..], [Op::Set(route)] if route.cost == 8));
}
