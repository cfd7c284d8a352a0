//! What the router says of itself: which LSAs it should have, and their origination when their time has come.

use damc_mgmt::event::EventKind;
use damc_wire::Millis;
use damc_wire::frame::HOP_LOCAL_ROOM;
use damc_wire::lsa::{LinkEntry, LsaContent, LsaId, LsaKey, MAX_LIFETIME, PrefixLsa, Proof, TopologyLsa, UNREACHABLE};
use damc_wire::message::AttachAck;
use damc_wire::registry::DropReason;
use damc_wire::security::Attachment;
use damc_wire::{Message, Name, NodeId, Role, Timestamp};

use super::{PrefixClaim, Router};
use crate::adjacency::roles;
use crate::io::{Outbox, PortId};
use crate::origination::Origination;

/// Ports whose links share a fragment: with the longest names they fit one frame. A port keeps its fragment, so that a
/// link event changes one of them.
pub const PORTS_PER_FRAGMENT: usize = 24;
/// How long a tombstone stands at most: late copies of what it purged are recognised as older meanwhile.
const TOMBSTONE: Millis = Millis(60_000);

impl Router {
    /// States the topology LSA as it should be now. A node that never had a full neighbour says nothing: there is nobody to
    /// tell, and an earlier life's sequence number may be learned first.
    /// Not before `not_before`, unless an earlier change waits for less.
    pub(super) fn state_topology(&mut self, now: Timestamp, not_before: Timestamp) {
        if self.stopping || (self.full.is_empty() && self.own.desired(&LsaId::Topology(0)).is_none()) {
            return;
        }
        let fragments = self.context.ports.len().div_ceil(PORTS_PER_FRAGMENT).max(1);
        for fragment in 0..fragments {
            let ports = fragment * PORTS_PER_FRAGMENT..(fragment + 1) * PORTS_PER_FRAGMENT;
            let links = self.links().filter(|(port, _)| ports.contains(&usize::from(port.0))).map(|(_, link)| link);
            let lsa = TopologyLsa {
                overload: self.overload,
                stub: self.context.role == Role::Sg && !self.context.transit,
                links: links.collect(),
            };
            let Ok(fragment) = u16::try_from(fragment) else { break };
            let id = LsaId::Topology(fragment);
            if fragment == 0 || !lsa.links.is_empty() || self.own.desired(&id).is_some() {
                self.own.desire_at(now, &id, Some(LsaContent::Topology(lsa)), not_before);
            }
        }
    }

    /// Full adjacencies with SG and SR, by neighbour.
    pub(super) fn links(&self) -> impl Iterator<Item = (PortId, LinkEntry)> {
        let routers = self.full.iter().filter(|(_, (_, role))| roles::exchanges_lsas(self.context.role, *role));
        routers.map(|(node, (port, _))| (*port, LinkEntry { neighbour: node.clone(), cost: self.cost(*port) }))
    }

    /// Advertises a prefix, or changes what is said of it. Idempotent.
    pub fn originate_prefix(&mut self, now: Timestamp, claim: PrefixClaim, out: &mut Outbox) {
        self.state_prefix(now, claim);
        self.settle(now, out);
    }

    fn state_prefix(&mut self, now: Timestamp, claim: PrefixClaim) {
        let PrefixClaim { prefix, port, metric, weight, exact, instance, proof } = claim;
        let metric = metric.saturating_add(self.context.port_named(&port).map_or(0, |port| self.cost(port)));
        let metric = metric.min(UNREACHABLE - 1);
        let id = LsaId::Prefix(prefix, port);
        let content = LsaContent::Prefix(PrefixLsa { metric, weight, exact, instance, proof });
        if !self.stopping {
            self.own.desire(now, &id, Some(content));
        }
    }

    /// Says of an advertised prefix that it cannot be reached now. [`Self::originate_prefix`] undoes that.
    pub fn suspend_prefix(&mut self, now: Timestamp, prefix: &Name, port: &NodeId, out: &mut Outbox) {
        let id = LsaId::Prefix(prefix.clone(), port.clone());
        if let Some(LsaContent::Prefix(said)) = self.own.desired(&id) {
            let content = LsaContent::Prefix(PrefixLsa { metric: UNREACHABLE, ..said.clone() });
            self.own.desire(now, &id, Some(content));
        }
        self.settle(now, out);
    }

    /// Purges an advertised prefix.
    pub fn withdraw_prefix(&mut self, now: Timestamp, prefix: &Name, port: &NodeId, out: &mut Outbox) {
        self.own.desire(now, &LsaId::Prefix(prefix.clone(), port.clone()), None);
        self.settle(now, out);
    }

    /// The SCSC says that it is attached here: everybody is to reach it by name (FIG-17).
    pub(super) fn receive_attachment(
        &mut self,
        now: Timestamp,
        (port, scsc): (PortId, &NodeId),
        attachment: Attachment,
        out: &mut Outbox,
    ) {
        let checked = match self.verifier.verify_attachment(now, &attachment) {
            Ok(()) if attachment.router != self.context.node || attachment.certificate.node != *scsc => {
                Err(DropReason::NotAuthorised)
            }
            checked => checked.map_err(|error| error.drop_reason()),
        };
        if let Err(reason) = checked {
            return out.dropped(Some(port), reason);
        }
        self.lsdb.clock_moved(scsc, self.verifier.clock());
        let ack = Message::AttachAck(AttachAck { issued_at: attachment.issued_at });
        self.adjacencies.send(now, port, ack, out);
        let Some(until) = self.verifier.clock().when(scsc, attachment.expires_at) else { return };
        // An earlier one may come again, and late.
        if self.attached.get(scsc).is_none_or(|known| *known < until) {
            self.attached.insert(scsc.clone(), until);
            self.state_attached(now, scsc, attachment);
        }
    }

    fn state_attached(&mut self, now: Timestamp, scsc: &NodeId, attachment: Attachment) {
        let Ok(prefix) = Name::of_node(self.context.domain.as_str(), scsc) else { return };
        let (port, proof) = (scsc.clone(), Proof::Attached(attachment));
        let claim = PrefixClaim { prefix, port, metric: 0, weight: 1, exact: false, instance: None, proof };
        self.state_prefix(now, claim);
    }

    /// An SCSC is attached here no longer, or does not say so any more.
    pub(super) fn detach(&mut self, now: Timestamp, scsc: &NodeId) {
        self.attached.remove(scsc);
        if let Ok(name) = Name::of_node(self.context.domain.as_str(), scsc) {
            self.own.desire(now, &LsaId::Prefix(name, scsc.clone()), None);
        }
    }

    /// Signs, installs and spreads the own LSAs whose time has come.
    pub(super) fn originate_due(&mut self, now: Timestamp, out: &mut Outbox) {
        for Origination { id, sequence, content } in self.own.take_due(now) {
            let key = LsaKey { origin: self.context.node.clone(), id };
            let purge = content == LsaContent::Purge;
            let lifetime = Millis(self.context.timers.lsa_lifetime_ms).min(MAX_LIFETIME);
            let lifetime = if purge { TOMBSTONE.min(lifetime) } else { lifetime };
            let lsa = self.context.keys.sign_lsa(key.clone(), sequence, lifetime, content);
            if lsa.encoded_len() > HOP_LOCAL_ROOM {
                out.dropped(None, DropReason::Oversized);
                continue;
            }
            // Like anybody's: nothing is said that the others would refuse.
            let header = lsa.header();
            let installed = self.verify(now, lsa).and_then(|lsa| {
                let content = lsa.content.clone();
                self.lsdb.install(now, lsa, None).map(|old| (old, content)).map_err(|_| DropReason::ResourceLimit)
            });
            match installed {
                Ok((before, after)) => {
                    self.counters.lsa_originated += 1;
                    self.flood.spread(now, &header, None);
                    self.apply(&key, before.as_ref().map(|l| &l.content), Some(&after));
                    let (origin, id) = (key.origin.to_string(), key.id.to_string());
                    out.event(EventKind::LsaOriginated { origin, id, sequence, purge });
                }
                Err(reason) => out.dropped(None, reason),
            }
        }
    }

    /// Lets LSAs go whose time is over, and attachments to this node.
    pub(super) fn expire(&mut self, now: Timestamp, out: &mut Outbox) {
        let over = self.attached.iter().filter(|(_, until)| **until <= now);
        for scsc in over.map(|(scsc, _)| scsc.clone()).collect::<Vec<_>>() {
            self.detach(now, &scsc);
        }
        for lsa in self.lsdb.expire(now, self.verifier.clock()) {
            let key = lsa.key.clone();
            self.apply(&key, Some(&lsa.content), None);
            if key.origin == self.context.node {
                self.own.forget(now, &key.id);
            }
            if !lsa.is_purge() {
                self.counters.lsa_expired += 1;
                out.event(EventKind::LsaExpired { origin: key.origin.to_string(), id: key.id.to_string() });
            }
        }
    }
}
