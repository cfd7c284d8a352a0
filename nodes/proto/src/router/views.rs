//! Questions to the router: state for roles, views for the management interface.

use std::sync::Arc;

use damc_forward::{NextHop, Route};
use damc_mgmt::view::{
    FibEntryView, FibView, LsdbView, NeighborsView, NextHopView, ProtocolCounters, RibView, RouteView, View, ViewKind,
};
use damc_mgmt::words::ProtocolCounter;
use damc_wire::{NodeId, Role, Timestamp};

use super::Router;
use crate::adjacency::{LinkQuality, Neighbour};
use crate::context::Context;
use crate::io::PortId;
use crate::lsdb::Lsdb;
use crate::rib::{Installed, RouteSource};

impl Router {
    /// The node's context.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The database.
    #[must_use]
    pub fn lsdb(&self) -> &Lsdb {
        &self.lsdb
    }

    /// The port of a full neighbour.
    #[must_use]
    pub fn neighbour_full(&self, node: &NodeId) -> Option<PortId> {
        self.full.get(node).map(|(port, _)| *port)
    }

    /// Neighbours that are full, by port.
    pub fn full_neighbours(&self) -> impl Iterator<Item = (PortId, &NodeId, Role)> {
        let mut all: Vec<_> = self.full.iter().map(|(node, (port, role))| (*port, node, *role)).collect();
        all.sort();
        all.into_iter()
    }

    /// The neighbour on a port with certificate and sessions, where at least two-way.
    #[must_use]
    pub fn neighbour(&self, port: PortId) -> Option<&Neighbour> {
        self.adjacencies.neighbour(port)
    }

    /// What the echo measured on a port.
    #[must_use]
    pub fn link_quality(&self, port: PortId) -> LinkQuality {
        self.adjacencies.link_quality(port)
    }

    /// Cost of sending over a port, as it is now.
    #[must_use]
    pub fn cost(&self, port: PortId) -> u32 {
        self.costs.get(usize::from(port.0)).copied().unwrap_or(1)
    }

    /// Whether the policy of this label is installed now.
    #[must_use]
    pub fn policy_active(&self, label: u32) -> bool {
        self.rib.policy_active(label)
    }

    /// `/neighbors`.
    #[must_use]
    pub fn neighbors_view(&self, now: Timestamp) -> NeighborsView {
        let mut view = self.adjacencies.view(now);
        for row in &mut view.neighbors {
            let port = self.context.ports.iter().position(|p| p.name.as_str() == row.port);
            let port = port.and_then(|i| u16::try_from(i).ok()).map(PortId);
            row.unacknowledged = port.map_or(0, |port| self.flood.unacknowledged(port));
        }
        view
    }

    /// `/lsdb`.
    #[must_use]
    pub fn lsdb_view(&self, now: Timestamp) -> LsdbView {
        self.lsdb.view(now, &self.context.node)
    }

    /// `/rib`: every candidate of every prefix, and the policies on top.
    #[must_use]
    pub fn rib_view(&self) -> RibView {
        let mut routes = Vec::new();
        for prefix in self.rib.prefixes() {
            let best = self.rib.installed().get(prefix).map(|r| r.route.cost);
            for candidate in self.rib.candidates(prefix) {
                let local = candidate.origin == self.context.node;
                routes.push(RouteView {
                    prefix: prefix.to_string(),
                    source: if local { RouteSource::Local } else { RouteSource::Spf },
                    cost: candidate.cost,
                    origin: candidate.origin.to_string(),
                    next_hops: self.hop_views(&candidate.next_hops),
                    chosen: Some(candidate.cost) == best,
                    label: None,
                });
            }
            for (policy, port) in self.rib.policies().filter(|(p, _)| p.prefix == *prefix) {
                let next_hop = policy.next_hop.as_ref();
                routes.push(RouteView {
                    prefix: prefix.to_string(),
                    source: RouteSource::Policy,
                    cost: best.unwrap_or_default(),
                    origin: policy.source.to_string(),
                    next_hops: next_hop.into_iter().map(|node| hop_view(node, 1)).collect(),
                    chosen: port.is_some() || next_hop.is_none(),
                    label: Some(policy.label),
                });
            }
        }
        RibView { node: self.context.node.to_string(), routes }
    }

    /// `/fib`.
    #[must_use]
    pub fn fib_view(&self) -> FibView {
        let mut entries: Vec<FibEntryView> = self.rib.installed().values().map(|r| self.entry_view(r)).collect();
        for (policy, port) in self.rib.policies().filter(|(p, port)| port.is_some() && !p.ingress) {
            let plain = self.rib.installed().get(&policy.prefix);
            let node = port.and_then(|p| self.context.port(p)).map(|p| &p.name);
            entries.push(FibEntryView {
                prefix: policy.prefix.to_string(),
                source: RouteSource::Policy,
                cost: plain.map_or(0, |r| r.route.cost),
                origin: plain.map(|r| r.origins.iter().map(ToString::to_string).collect()).unwrap_or_default(),
                next_hops: node.into_iter().map(|node| hop_view(node, 1)).collect(),
                backups: Vec::new(),
                exact: policy.exact,
                label: Some(policy.label),
            });
        }
        entries.sort_by(|a, b| (&a.prefix, a.label).cmp(&(&b.prefix, b.label)));
        FibView { node: self.context.node.to_string(), version: self.fib_version, entries }
    }

    fn entry_view(&self, installed: &Installed) -> FibEntryView {
        let Installed { route, source, origins } = installed;
        let stamped = route.stamp.and_then(|s| self.context.port(s.port)).map(|p| hop_view(&p.name, 1));
        // Between the loss of a link and the next computation.
        let in_use = stamped.is_none() && !route.backups.is_empty() && !self.any_full(&route.next_hops);
        let source = if in_use { RouteSource::Backup } else { *source };
        let (next_hops, backups) = match stamped {
            Some(hop) => (vec![hop], self.backup_views(route)),
            None if in_use => (self.backup_views(route), Vec::new()),
            None => (self.hop_views(&route.next_hops), self.backup_views(route)),
        };
        FibEntryView {
            prefix: route.prefix.to_string(),
            source,
            cost: route.cost,
            origin: origins.iter().map(ToString::to_string).collect(),
            next_hops,
            backups,
            exact: route.exact,
            label: route.stamp.map(|s| s.label),
        }
    }

    fn any_full(&self, hops: &[NextHop]) -> bool {
        self.full.values().any(|(port, _)| hops.iter().any(|hop| hop.port == *port))
    }

    fn backup_views(&self, route: &Route) -> Vec<NextHopView> {
        route.backups.iter().filter_map(|hop| self.next_hop_view(hop)).collect()
    }

    /// Next hops as views; none means the node itself.
    fn hop_views(&self, hops: &[NextHop]) -> Vec<NextHopView> {
        if hops.is_empty() {
            return vec![hop_view(&self.context.node, 1)];
        }
        let mut views: Vec<NextHopView> = hops.iter().filter_map(|hop| self.next_hop_view(hop)).collect();
        views.sort();
        views
    }

    /// A port is named after the only neighbour that may be behind it.
    fn next_hop_view(&self, hop: &NextHop) -> Option<NextHopView> {
        self.context.port(hop.port).map(|port| hop_view(&port.name, hop.weight))
    }

    /// Protocol counters.
    #[must_use]
    pub fn counters(&self) -> ProtocolCounters {
        let c = &self.counters;
        ProtocolCounters::from_iter([
            (ProtocolCounter::AdjacencyFlaps, self.adjacencies.flaps()),
            (ProtocolCounter::FibVersion, self.fib_version),
            (ProtocolCounter::FightBacks, self.own.fight_backs()),
            (ProtocolCounter::LinksCompared, self.computation.links_compared()),
            (ProtocolCounter::LsaAccepted, c.lsa_accepted),
            (ProtocolCounter::LsaDuplicate, c.lsa_duplicate),
            (ProtocolCounter::LsaExpired, c.lsa_expired),
            (ProtocolCounter::LsaOriginated, c.lsa_originated),
            (ProtocolCounter::LsaProlonged, c.lsa_prolonged),
            (ProtocolCounter::LsaRefused, c.lsa_refused),
            (ProtocolCounter::LsaRetransmitted, self.flood.retransmitted()),
            (ProtocolCounter::Lsas, self.lsdb.len() as u64),
            (ProtocolCounter::PartialRuns, c.partial_runs),
            (ProtocolCounter::SpfIncremental, c.spf_incremental),
            (ProtocolCounter::SpfRuns, c.spf_runs),
            (ProtocolCounter::SpfSpared, c.spf_spared),
        ])
    }

    /// The views every router has but its counters, which are for the node to add to.
    #[must_use]
    pub fn view(&self, now: Timestamp, kind: ViewKind) -> Option<View> {
        Some(match kind {
            ViewKind::Fib => self.fib_view().into(),
            ViewKind::Rib => self.rib_view().into(),
            ViewKind::Lsdb => self.lsdb_view(now).into(),
            ViewKind::Neighbors => self.neighbors_view(now).into(),
            ViewKind::Digest => View::Digest(self.lsdb.digest_text()),
            _ => return None,
        })
    }
}

fn hop_view(node: &NodeId, weight: u16) -> NextHopView {
    NextHopView { node: node.to_string(), port: node.to_string(), weight }
}
