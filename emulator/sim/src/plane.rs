//! The forwarding plane of a simulated SG or SR.

use std::sync::Arc;

use damc_forward::{Fib, FibBuilder, HashKey, Ingress, Op, PortId, Verdict};

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

    pub(crate) fn apply(&mut self, ops: Vec<Op>) {
        self.current = self.builder.apply(ops);
    }

    pub(crate) fn prefixes(&self) -> usize {
        self.current.prefixes()
    }

    pub(crate) fn forward(&self, ingress: Ingress, pdu: &mut [u8]) -> Verdict {
        damc_forward::forward(&self.current, ingress, pdu)
    }

    /// Writes the link MAC into a frame that leaves by a port.
    pub(crate) fn seal(&self, port: PortId, pdu: &mut [u8]) {
        self.current.seal(port, pdu);
    }
}
