//! The control thread's side of the forwarding plane: it publishes the table and sends the node's own routed frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use damc_forward::{Admission, Fib, FibBuilder, HashKey, Ingress, LabelRoute, NextHop, Op, Route, Stamp, Verdict};
use damc_gateway::{Book, BookBuilder};
use damc_proto::io::{self, FibOp, FibRoute, RouteSource};
use damc_wire::Name;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::NodeError;

/// Builds snapshots and publishes them.
pub(crate) struct Plane {
    builder: FibBuilder,
    current: Arc<Fib>,
    published: Arc<ArcSwap<Fib>>,
    names: Option<Names>,
}

/// What an SG lets a pod speak in: its names, and pools with the instances in them.
#[derive(Default)]
struct PortNames {
    names: Vec<Name>,
    pools: Vec<(Name, Name)>,
}

/// The names of an SG for its gateway, kept beside the table and out of the same changes.
struct Names {
    builder: BookBuilder,
    published: Arc<ArcSwap<Book>>,
    /// By port.
    ports: BTreeMap<u16, PortNames>,
    /// Rung when a name has gone.
    gone: Arc<EventFd>,
}

impl Names {
    /// Follows the changes of a table that are already made.
    fn apply(&mut self, ops: &[FibOp]) -> bool {
        let (mut changed, mut gone) = (false, false);
        for op in ops {
            match op {
                FibOp::Set(route) => changed |= self.builder.add(&route.prefix),
                FibOp::Remove(prefix) => gone |= self.builder.remove(prefix),
                FibOp::Admit { port, rule } => {
                    let names = if let io::Admission::Sources(names) = rule { names.clone() } else { Vec::new() };
                    self.ports.entry(port.0).or_default().names = names;
                    self.set_port(port.0);
                    changed = true;
                }
                FibOp::Pools { port, members } => {
                    self.ports.entry(port.0).or_default().pools.clone_from(members);
                    self.set_port(port.0);
                    changed = true;
                }
                FibOp::SetLabel { .. } | FibOp::RemoveLabel(_) | FibOp::PortState { .. } => {}
            }
        }
        if changed || gone {
            self.published.store(Arc::new(self.builder.snapshot()));
        }
        gone
    }

    /// A pod speaks for a pool only as an instance that is admitted.
    fn set_port(&mut self, port: u16) {
        let Some(PortNames { names, pools }) = self.ports.get(&port) else { return };
        let pools: Vec<_> = pools.iter().filter(|(_, instance)| names.contains(instance)).cloned().collect();
        self.builder.set_port(port, names, &pools);
    }
}

impl Plane {
    /// An empty table. `key` is to be random.
    pub(crate) fn new(key: HashKey) -> Self {
        let mut builder = FibBuilder::new(key);
        let current = builder.apply([]);
        let published = Arc::new(ArcSwap::new(Arc::clone(&current)));
        Self { builder, current, published, names: None }
    }

    /// Keeps the names of the table for a gateway of this domain. Gives where the gateway reads them, and what is rung
    /// when some have gone.
    pub(crate) fn keep_names(&mut self, domain: &str) -> Result<(Arc<ArcSwap<Book>>, Arc<EventFd>), NodeError> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let gone = EventFd::from_flags(flags).map_err(NodeError::system("make an event descriptor"))?;
        let (builder, gone) = (BookBuilder::new(domain), Arc::new(gone));
        let published = Arc::new(ArcSwap::from_pointee(builder.snapshot()));
        let readers = (Arc::clone(&published), Arc::clone(&gone));
        self.names = Some(Names { builder, published, ports: BTreeMap::new(), gone });
        Ok(readers)
    }

    /// Where the forwarding thread reads.
    pub(crate) fn reader(&self) -> Arc<ArcSwap<Fib>> {
        Arc::clone(&self.published)
    }

    /// Applies changes and publishes them together.
    pub(crate) fn apply(&mut self, ops: Vec<FibOp>) {
        let gone = self.names.as_mut().is_some_and(|names| names.apply(&ops));
        self.current = self.builder.apply(ops.into_iter().filter_map(operation));
        self.published.store(Arc::clone(&self.current));
        if let Some(names) = self.names.as_ref().filter(|_| gone) {
            // Full only after 2^64 - 2 unread rings, and then it is being read.
            let _ = names.gone.write(1);
        }
    }

    /// What becomes of a routed frame of this node.
    pub(crate) fn route(&self, pdu: &mut [u8]) -> Verdict {
        damc_forward::forward(&self.current, Ingress::Local, pdu)
    }
}

/// The same change in the words of the forwarding crate, which knows no protocol; none where it is not for that.
fn operation(op: FibOp) -> Option<Op> {
    Some(match op {
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
        FibOp::Pools { .. } => return None,
    })
}

fn translate(route: FibRoute) -> Route {
    let next_hop = |hop: &io::NextHop| NextHop { port: hop.port.0, weight: hop.weight };
    Route {
        local: route.source == RouteSource::Local,
        next_hops: route.next_hops.iter().map(next_hop).collect(),
        backups: route.backups.iter().map(next_hop).collect(),
        stamp: route.stamp.map(|s| Stamp { label: s.label, port: s.port.0 }),
        prefix: route.prefix,
        cost: route.cost,
        exact: route.exact,
        deliver: route.deliver,
    }
}
