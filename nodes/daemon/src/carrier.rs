//! Carrier of the ports.

use std::os::fd::{AsFd, BorrowedFd};

use damc_link::CarrierWatch;
use damc_proto::io::PortId;

use crate::error::NodeError;

/// Tells which ports gained or lost carrier.
pub(crate) struct Carrier {
    watch: CarrierWatch,
    /// Interface index and last known state by port.
    ports: Vec<(u32, bool)>,
}

impl Carrier {
    /// Watches these interfaces; all count as down until the kernel says otherwise.
    pub(crate) fn new(interfaces: &[u32]) -> Result<Self, NodeError> {
        let watch = CarrierWatch::open()
            .map_err(|e| NodeError::System { action: "watch carrier", source: std::io::Error::other(e) })?;
        Ok(Self { watch, ports: interfaces.iter().map(|index| (*index, false)).collect() })
    }

    /// Changes since the last call, in order.
    pub(crate) fn changes(&mut self) -> std::io::Result<Vec<(PortId, bool)>> {
        let mut changes = Vec::new();
        let ports = &mut self.ports;
        self.watch.poll(|interface, up| {
            for (number, (index, state)) in (0..).zip(ports.iter_mut()) {
                if *index == interface && *state != up {
                    *state = up;
                    changes.push((PortId(number), up));
                }
            }
        })?;
        Ok(changes)
    }
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
