//! Frames a conforming node would never send: the suites' own pen.
//!
//! The suite knows the run's seed, so it can sign as any node and can compute the hop key of any adjacency from the
//! sessions it recorded. That makes the difference between "refused because a stranger sent it" and "refused although
//! a proper neighbour sent it", which is what the authorisation rows are about.

use damc_lab::plan::Authority;
use damc_lab::topology::Topology;
use damc_trust::{HopKey, NodeKeys};
use damc_wire::frame::{Frame, seal};
use damc_wire::{Message, NodeId, Role};

use crate::trace::Seen;

/// Signs in any node's name.
pub struct Forge {
    topology: Topology,
    seed: u64,
}

/// How far above the last counter seen a forged frame counts: above what the true sender uses meanwhile, and within
/// the receiver's window of 64 so that the true sender is not shut out by it.
const COUNTER_LEAD: u64 = 40;

impl Forge {
    /// For a run with this seed.
    #[must_use]
    pub const fn new(topology: Topology, seed: u64) -> Self {
        Self { topology, seed }
    }

    /// The keys of `node`, certified as `role`; the true ones where that is the node's role.
    ///
    /// # Panics
    /// Never: secrets and certificate are made together.
    #[must_use]
    pub fn keys(&self, node: &NodeId, role: Role) -> NodeKeys {
        let (secrets, certificate) = Authority::new(&self.topology, self.seed).certify(node, role);
        NodeKeys::new(&secrets, certificate).expect("invariant: issued for these secrets")
    }

    /// A hop-local message from `from` to `to` as `to` would accept it by its MAC, given what was recorded between them.
    /// None where no adjacency was recorded.
    #[must_use]
    pub fn hop_local(
        &self,
        seen: &[Seen],
        from: (&NodeId, Role),
        to: (&NodeId, Role),
        message: Message,
    ) -> Option<Vec<u8>> {
        let (key, counter) = self.hop(seen, from, to)?;
        let pdu = Frame::hop_local(message).encode().ok()?;
        Some(seal(pdu, counter, |covered| key.mac(from.0, covered)))
    }

    fn hop(&self, seen: &[Seen], from: (&NodeId, Role), to: (&NodeId, Role)) -> Option<(HopKey, u64)> {
        let session = |sender: &NodeId, receiver: &NodeId| {
            seen.iter().rev().find_map(|s| match &s.frame.message {
                Message::Hello(h) if s.is_sent_by(sender.as_str(), receiver.as_str()) => Some(h.session),
                _ => None,
            })
        };
        let (ours, theirs) = (session(from.0, to.0)?, session(to.0, from.0)?);
        let last = seen
            .iter()
            .rev()
            .find_map(|s| s.frame.security.filter(|_| s.is_sent_by(from.0.as_str(), to.0.as_str())))
            .map_or(0, |security| security.counter);
        let key = self.keys(from.0, from.1).hop_key(ours, self.keys(to.0, to.1).certificate(), theirs).ok()?;
        Some((key, last + COUNTER_LEAD))
    }
}
