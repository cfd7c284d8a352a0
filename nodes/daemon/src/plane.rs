//! The control thread's side of the forwarding plane: it publishes the table and sends the node's own routed frames.

use std::sync::Arc;

use arc_swap::ArcSwap;
use damc_forward::{Admission, Fib, FibBuilder, HashKey, Ingress, LabelRoute, NextHop, Op, Route, Stamp, Verdict};
use damc_proto::io::{self, FibOp, FibRoute, RouteSource};

/// Builds snapshots and publishes them.
pub(crate) struct Plane {
    builder: FibBuilder,
    current: Arc<Fib>,
    published: Arc<ArcSwap<Fib>>,
}

impl Plane {
    /// An empty table. `key` is to be random.
    pub(crate) fn new(key: HashKey) -> Self {
        let mut builder = FibBuilder::new(key);
        let current = builder.apply([]);
        let published = Arc::new(ArcSwap::new(Arc::clone(&current)));
        Self { builder, current, published }
    }

    /// Where the forwarding thread reads.
    pub(crate) fn reader(&self) -> Arc<ArcSwap<Fib>> {
        Arc::clone(&self.published)
    }

    /// Applies changes and publishes them together.
    pub(crate) fn apply(&mut self, ops: Vec<FibOp>) {
        self.current = self.builder.apply(ops.into_iter().map(operation));
        self.published.store(Arc::clone(&self.current));
    }

    /// What becomes of a routed frame of this node.
    pub(crate) fn route(&self, pdu: &mut [u8]) -> Verdict {
        damc_forward::forward(&self.current, Ingress::Local, pdu)
    }
}

/// The same change in the words of the forwarding crate, which knows no protocol.
fn operation(op: FibOp) -> Op {
    match op {
        FibOp::Set(route) => Op::Set(translate(route)),
        FibOp::Remove(prefix) => Op::Remove(prefix),
        FibOp::SetLabel { label, prefix, exact, port } => {
            Op::SetLabel(LabelRoute { label, prefix, exact, port: port.0 })
        }
        FibOp::RemoveLabel(label) => Op::RemoveLabel(label),
        FibOp::Admit { port, rule } => Op::Admit(
            port.0,
            match rule {
                io::Admission::Nothing => Admission::Nothing,
                io::Admission::All => Admission::All,
                io::Admission::Sources(names) => Admission::Sources(names),
            },
        ),
        FibOp::PortState { port, up } => Op::PortState(port.0, up),
    }
}

fn translate(route: FibRoute) -> Route {
    let next_hop = |hop: &io::NextHop| NextHop { port: hop.port.0, weight: hop.weight };
    Route {
        local: route.source == RouteSource::Local,
        next_hops: route.next_hops.iter().map(next_hop).collect(),
        backups: route.backups.iter().map(next_hop).collect(),
        stamp: route.stamp.map(|s| Stamp { label: s.label, port: s.port.0 }),
        prefix: route.prefix,
        exact: route.exact,
        deliver: route.deliver,
    }
}
