//! The control thread's side of the forwarding plane: it publishes the table and sends the node's own routed frames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use damc_forward::{Admission, Fib, FibBuilder, Gone, HashKey, Ingress, Op, PortId, Verdict};
use damc_gateway::{Book, BookBuilder};
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
    ports: BTreeMap<PortId, PortNames>,
    /// Rung when a name has gone, or one that was lost is back.
    gone: Arc<EventFd>,
}

impl Names {
    /// Follows the changes of a table that are about to be made; says whether names have gone or are back.
    fn apply(&mut self, now_ns: u64, ops: &[Op]) -> bool {
        let (mut changed, mut told) = (false, false);
        for op in ops {
            match op {
                Op::Set(route) => {
                    told |= self.builder.is_lost(&route.prefix);
                    changed |= self.builder.add(&route.prefix);
                }
                Op::Remove { prefix, gone: Gone::Withdrawn } => told |= self.builder.remove(prefix),
                Op::Remove { prefix, gone: Gone::Unreachable } => told |= self.builder.lose(now_ns, prefix),
                Op::Admit { port, rule } => {
                    let names = if let Admission::Sources(names) = rule { names.clone() } else { Vec::new() };
                    self.ports.entry(*port).or_default().names = names;
                    self.set_port(*port);
                    changed = true;
                }
                Op::SetLabel(_) | Op::RemoveLabel(_) | Op::PortState { .. } | Op::Keys { .. } => {}
            }
        }
        if changed || told {
            self.publish();
        }
        told
    }

    fn publish(&self) {
        self.published.store(Arc::new(self.builder.snapshot()));
    }

    /// A pod speaks for a pool only as an instance that is admitted.
    fn set_port(&mut self, port: PortId) {
        let Some(PortNames { names, pools }) = self.ports.get(&port) else { return };
        let admitted: BTreeSet<&Name> = names.iter().collect();
        let pools: Vec<_> = pools.iter().filter(|(_, instance)| admitted.contains(instance)).cloned().collect();
        self.builder.set_port(port.0, names, &pools);
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

    /// Keeps the names of the table for a gateway of this domain. Returns where the gateway reads them, and what is rung
    /// when some have gone or are back.
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

    /// Applies changes and publishes them together. `now_ns` is the monotonic clock. Names come first: a packet that finds
    /// no route finds out why.
    pub(crate) fn apply(&mut self, now_ns: u64, ops: Vec<Op>) {
        let gone = self.names.as_mut().is_some_and(|names| names.apply(now_ns, &ops));
        self.current = self.builder.apply(ops);
        self.published.store(Arc::clone(&self.current));
        if let Some(names) = self.names.as_ref().filter(|_| gone) {
            // Full only after 2^64 - 2 unread rings, and then it is being read.
            let _ = names.gone.write(1);
        }
    }

    /// Sets the pools that the instances behind a port are in, each as (pool, instance).
    pub(crate) fn set_pools(&mut self, port: PortId, members: Vec<(Name, Name)>) {
        if let Some(names) = &mut self.names {
            names.ports.entry(port).or_default().pools = members;
            names.set_port(port);
            names.publish();
        }
    }

    /// What becomes of a routed frame of this node; what is to be sent is sealed for its port.
    pub(crate) fn route(&self, pdu: &mut [u8]) -> Verdict {
        let verdict = damc_forward::forward(&self.current, Ingress::Local, pdu);
        if let Verdict::Send(port) = verdict {
            self.current.seal(port, pdu);
        }
        verdict
    }
}
