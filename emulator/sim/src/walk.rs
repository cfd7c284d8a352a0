//! Where a frame would go by the forwarding tables as they stand now, in no time.

use damc_forward::{Ingress, Verdict};
use damc_wire::message::{Data, DataKind, Message};
use damc_wire::{DropReason, Frame, Millis, Name};

use crate::sim::Sim;

/// Hop limit of a frame that is sent around.
const HOPS: u8 = 64;

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walk {
    /// It is at a node that takes it. Nodes passed, both ends included.
    Arrived(Vec<String>),
    /// A node drops it. [`DropReason::HopLimitExceeded`] is a loop.
    Dropped(DropReason, Vec<String>),
    /// It was sent into a link that is down, or to a node that does not run. Nodes passed.
    Lost(Vec<String>),
}

impl Sim {
    /// Sends a frame from a router to a name without letting time pass: a snapshot of all tables, with the loops that are
    /// in them just now.
    ///
    /// # Panics
    /// There is no such node, or the destination is no name.
    #[must_use]
    pub fn walk(&self, from: &str, destination: &str, flow: u32) -> Walk {
        self.walk_name(self.index(from), &destination.parse().expect("a name"), flow, 0)
    }

    /// The same with the label of a policy; 0 for none.
    pub(crate) fn walk_name(&self, from: usize, destination: &Name, flow: u32, label: u32) -> Walk {
        let mut at = from;
        let source = Name::of_node(&self.nodes[at].config.domain, &self.nodes[at].id).expect("nodes have names");
        let kind = DataKind::Request { method: "echo".into(), deadline: Millis(1000), context: None };
        let data = Message::Data(Data { correlation: 1, kind, payload: Vec::new(), hops: Vec::new() });
        let mut pdu =
            Frame::routed(destination.clone(), source, flow, label, HOPS, data).encode().expect("a small frame");
        let (mut ingress, mut passed) = (Ingress::Local, Vec::new());
        loop {
            let node = &self.nodes[at];
            passed.push(node.id.to_string());
            if !node.has_forwarding_plane() {
                return Walk::Arrived(passed);
            }
            if node.machine.is_none() || node.paused {
                return Walk::Lost(passed);
            }
            let port = match node.plane.forward(ingress, &mut pdu) {
                Verdict::Send(port) => port,
                Verdict::Deliver => return Walk::Arrived(passed),
                Verdict::Drop { reason, .. } => return Walk::Dropped(reason, passed),
            };
            node.plane.seal(port, &mut pdu);
            let link = &self.links[node.links[usize::from(port.0)]];
            let from = usize::from(link.ends[0].node != at);
            if !link.up || link.directions[from].spec().silent {
                return Walk::Lost(passed);
            }
            at = link.ends[1 - from].node;
            ingress = Ingress::Port(link.ends[1 - from].port);
        }
    }
}
