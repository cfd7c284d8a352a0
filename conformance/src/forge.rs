//! Forged frames, which a conforming node would never send.
//!
//! The suite knows what the lab's keys are made of, so it can sign as any node and can compute the hop key of any adjacency from the
//! sessions it recorded. So a case can tell "refused because a stranger sent it" from "refused although a proper
//! neighbour sent it", which the authorisation rows need.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use damc_topology::Topology;
use damc_topology::plan::{Authority, KeySeed, names_of_spa};
use damc_trust::{HopKey, NodeKeys, RootKey};
use damc_wire::frame::{Frame, LinkKey, open, seal};
use damc_wire::{Message, NodeId, Role};

use crate::trace::Seen;

/// Signs and seals frames in the name of any node.
pub struct Forge {
    topology: Topology,
    keys: KeySeed,
    /// Counters of forged frames, by sender and receiver; all other counters are the true sender's.
    used: Mutex<BTreeSet<(NodeId, NodeId, u64)>>,
}

/// Least distance of a forged counter from the true sender's last one, which the true sender does not cover meanwhile.
/// Together with [`COUNTER_RANGE`] it stays within the receiver's window of 64, so that true frames are still accepted.
const COUNTER_LEAD: u64 = 20;
/// Number of forged frames that fit ahead of one frame of the true sender.
const COUNTER_RANGE: u64 = 40;
/// Number of recorded frames with a counter that are searched for one of the true sender's.
const SEEN_BACK: usize = 200;

impl Forge {
    /// A forge for a lab whose keys are made of this.
    #[must_use]
    pub const fn new(topology: Topology, keys: KeySeed) -> Self {
        Self { topology, keys, used: Mutex::new(BTreeSet::new()) }
    }

    /// The key under which the certificates of the domain verify.
    #[must_use]
    pub fn root(&self) -> RootKey {
        Authority::new(self.topology.domain(), &self.keys).root()
    }

    /// The keys of a node of another domain, which has a root of its own.
    ///
    /// # Panics
    /// Never: secrets and certificate are made together.
    #[must_use]
    pub fn keys_elsewhere(&self, domain: &NodeId, node: &NodeId, role: Role) -> NodeKeys {
        let (secrets, certificate) = Authority::new(domain, &self.keys).certify(node, role, Vec::new());
        NodeKeys::new(&secrets, certificate).expect("invariant: issued for these secrets")
    }

    /// The keys of `node`, certified as `role`; the true ones where that is the node's role.
    ///
    /// # Panics
    /// Never: secrets and certificate are made together.
    #[must_use]
    pub fn keys(&self, node: &NodeId, role: Role) -> NodeKeys {
        let names = names_of_spa(&self.topology, node);
        let (secrets, certificate) = Authority::new(self.topology.domain(), &self.keys).certify(node, role, names);
        NodeKeys::new(&secrets, certificate).expect("invariant: issued for these secrets")
    }

    /// A hop-local message from `from` to `to` with a MAC that `to` accepts, from what was recorded between them.
    /// `None` where no adjacency was recorded.
    #[must_use]
    pub fn hop_local(
        &self,
        seen: &[Seen],
        from: (&NodeId, Role),
        to: (&NodeId, Role),
        message: Message,
    ) -> Option<Vec<u8>> {
        let pdu = Frame::hop_local(message).encode().ok()?;
        self.sealed(seen, from, to, pdu)
    }

    /// Any bytes from `from` to `to` under the hop MAC of their adjacency. `None` where no adjacency was recorded.
    #[must_use]
    pub fn sealed(&self, seen: &[Seen], from: (&NodeId, Role), to: (&NodeId, Role), pdu: Vec<u8>) -> Option<Vec<u8>> {
        let (key, counter) = self.hop(seen, from, to)?;
        Some(seal(pdu, counter, |covered| key.mac(from.0, covered)))
    }

    /// The key under which `to` takes routed frames from `from`, from the hellos recorded between them. `None` where no
    /// adjacency was recorded.
    #[must_use]
    pub fn link_key(&self, seen: &[Seen], from: (&NodeId, Role), to: (&NodeId, Role)) -> Option<LinkKey> {
        Some(self.hop_key(seen, from, to)?.link_key(from.0))
    }

    fn hop_key(&self, seen: &[Seen], from: (&NodeId, Role), to: (&NodeId, Role)) -> Option<HopKey> {
        let (ours, theirs) = (sessions(seen, from.0, to.0), sessions(seen, to.0, from.0));
        let (keys, peer) = (self.keys(from.0, from.1), self.keys(to.0, to.1));
        let pairs = ours.iter().flat_map(|ours| theirs.iter().map(move |theirs| (*ours, *theirs)));
        let mut possible =
            pairs.filter_map(|(ours, theirs)| keys.hop_key(ours, peer.certificate(), theirs).ok()).peekable();
        let newest = possible.peek().cloned();
        // A hello that a case has forged left the port too. The true sessions are those that the frames of late verify under.
        possible.find(|key| counters_under(seen, (from.0, to.0), key).next().is_some()).or(newest)
    }

    fn hop(&self, seen: &[Seen], from: (&NodeId, Role), to: (&NodeId, Role)) -> Option<(HopKey, u64)> {
        let key = self.hop_key(seen, from, to)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = |counter: u64| (from.0.clone(), to.0.clone(), counter);
        // Frames that cases replayed left this port too. Those of other sessions fail the MAC; those of this session
        // have lower counters than the true sender's newest.
        let last = counters_under(seen, (from.0, to.0), &key)
            .filter(|counter| !used.contains(&mark(*counter)))
            .max()
            .unwrap_or(0);
        let counter = spread(last + COUNTER_LEAD).find(|counter| !used.contains(&mark(*counter)))?;
        used.insert(mark(counter));
        Some((key, counter))
    }
}

/// Counters from the first on, in the order in which to take them. The true sender's frame of a number that was taken
/// counts as a replay, and several in a row would be echoes missed in a row. So multiples of four come first, whatever the
/// first is: the true sender moves on while a case injects.
fn spread(first: u64) -> impl Iterator<Item = u64> {
    [0, 2, 1, 3].into_iter().flat_map(move |class| (first..first + COUNTER_RANGE).filter(move |c| c % 4 == class))
}

/// Counters of the latest frames between two nodes that have this key's MAC, newest frame first.
fn counters_under<'a>(
    seen: &'a [Seen],
    (from, to): (&'a NodeId, &'a NodeId),
    key: &'a HopKey,
) -> impl Iterator<Item = u64> + 'a {
    let of_sender = seen.iter().rev().filter(|s| s.is_sent_by(from.as_str(), to.as_str()));
    // Routed frames, which have no counter, may come by the hundred between two that have one.
    let sealed = of_sender.filter_map(|s| open(&s.pdu)).take(SEEN_BACK);
    sealed.filter(|(covered, security)| key.mac(from, covered) == security.mac).map(|(_, security)| security.counter)
}

/// The sessions in the hellos of one node to another, newest first, each once.
fn sessions(seen: &[Seen], sender: &NodeId, receiver: &NodeId) -> Vec<u64> {
    let mut sessions = Vec::new();
    for s in seen.iter().rev().filter(|s| s.is_sent_by(sender.as_str(), receiver.as_str())) {
        if let Message::Hello(hello) = &s.frame.message
            && !sessions.contains(&hello.session)
        {
            sessions.push(hello.session);
        }
    }
    sessions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_numbers_in_a_row_are_taken_while_the_true_sender_moves_on() {
        let mut taken = BTreeSet::new();
        // Three injected frames for each of its own.
        for n in 0..15 {
            let next = spread(87 + n / 3 + COUNTER_LEAD).find(|counter| !taken.contains(counter));
            taken.extend(next);
        }
        assert_eq!(taken.len(), 15);
        assert!(taken.iter().all(|counter| !taken.contains(&(counter + 1))), "{taken:?}");
    }
}
