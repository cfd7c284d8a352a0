//! The forwarding plane of a simulated SG or SR.

use std::sync::Arc;

use damc_forward::{Admission, Fib, FibBuilder, HashKey, Ingress, LabelRoute, NextHop, Op, Route, Stamp, Verdict};
use damc_proto::io::{self, FibOp, FibRoute, RouteSource};

#[derive(Debug)]
pub(crate) struct Plane {
    builder: FibBuilder,
    current: Arc<Fib>,
}

impl Plane {
    pub(crate) fn new(key: u64) -> Self {
        let mut builder = FibBuilder::new(HashKey(key, !key));
        let current = builder.apply([]);
        Self { builder, current }
    }

    pub(crate) fn apply(&mut self, ops: Vec<FibOp>) {
        self.current = self.builder.apply(ops.into_iter().filter_map(translate));
    }

    pub(crate) fn prefixes(&self) -> usize {
        self.current.prefixes()
    }

    pub(crate) fn forward(&self, ingress: Ingress, pdu: &mut [u8]) -> Verdict {
        damc_forward::forward(&self.current, ingress, pdu)
    }
}

fn translate(op: FibOp) -> Option<Op> {
    Some(match op {
        FibOp::Set(route) => Op::Set(translate_route(route)),
        FibOp::Remove(prefix) => Op::Remove(prefix),
        FibOp::SetLabel { label, prefix, exact, port } => {
            Op::SetLabel(LabelRoute { label, prefix, exact, port: port.0 })
        }
        FibOp::RemoveLabel(label) => Op::RemoveLabel(label),
        FibOp::Admit { port, rule } => {
            let rule = match rule {
                io::Admission::Nothing => Admission::Nothing,
                io::Admission::All => Admission::All,
                io::Admission::Sources(names) => Admission::Sources(names),
            };
            Op::Admit(port.0, rule)
        }
        FibOp::PortState { port, up } => Op::PortState(port.0, up),
        FibOp::Pools { .. } => return None,
    })
}

fn translate_route(route: FibRoute) -> Route {
    let hop = |h: &io::NextHop| NextHop { port: h.port.0, weight: h.weight };
    Route {
        exact: route.exact,
        local: route.source == RouteSource::Local,
        deliver: route.deliver,
        next_hops: route.next_hops.iter().map(hop).collect(),
        backups: route.backups.iter().map(hop).collect(),
        stamp: route.stamp.map(|s| Stamp { label: s.label, port: s.port.0 }),
        prefix: route.prefix,
        cost: route.cost,
    }
}
