//! Routes: every candidate of every prefix, the chosen ones, and what changes in the forwarding table.
//!
//! A prefix is recomputed only when one of its advertisements, the way to one of its origins, or its policy changed; the
//! forwarding table is told only what differs (check-list 15, RIB-03).

use std::collections::{BTreeMap, BTreeSet};

use damc_forward::{Gone, LabelRoute, NextHop, Op, PortId, Route, Stamp};
pub use damc_mgmt::words::RouteSource;
use damc_wire::lsa::UNREACHABLE;
use damc_wire::{Name, NodeId};

use crate::router::PolicyRoute;

/// How to get to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Cost of the shortest path.
    pub cost: u64,
    /// First hops of all shortest paths, by port.
    pub next_hops: Vec<NextHop>,
}

/// What one origin says of a prefix behind one of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Added to the cost of reaching the origin; [`UNREACHABLE`] is no candidate.
    pub metric: u32,
    /// Share among equal ones at one origin.
    pub weight: u16,
    /// Matches the name itself only.
    pub exact: bool,
}

/// A candidate: an advertisement whose origin can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Advertising node.
    pub origin: NodeId,
    /// Total cost.
    pub cost: u64,
    /// Where to send; empty where the node itself is meant.
    pub next_hops: Vec<NextHop>,
    /// Matches the name itself only.
    pub exact: bool,
}

/// A route of the forwarding table, and what only views tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What the forwarding plane has.
    pub route: Route,
    /// Where it comes from.
    pub source: RouteSource,
    /// Advertising nodes at its cost.
    pub origins: Vec<NodeId>,
}

#[derive(Debug)]
struct Policy {
    route: PolicyRoute,
    /// Rises with every policy set: the newest of several for one prefix stamps.
    order: u64,
    /// Port of the next hop while that neighbour is full.
    port: Option<PortId>,
}

/// The table of routes.
#[derive(Debug)]
pub struct Rib {
    node: NodeId,
    name: Name,
    /// By origin and port; a node's own name stands under the node as port.
    adverts: BTreeMap<Name, BTreeMap<(NodeId, NodeId), Advert>>,
    by_origin: BTreeMap<NodeId, BTreeSet<Name>>,
    reach: BTreeMap<NodeId, Reach>,
    local_ports: BTreeMap<NodeId, PortId>,
    /// By port: the place of its neighbour among all neighbours by name.
    ranks: Vec<u16>,
    full: BTreeMap<NodeId, PortId>,
    policies: BTreeMap<u32, Policy>,
    order: u64,
    installed: BTreeMap<Name, Installed>,
    /// Prefixes that are advertised and left the table because nobody who does can be reached.
    unreachable: BTreeSet<Name>,
    dirty: BTreeSet<Name>,
    ops: Vec<Op>,
}

impl Rib {
    /// Knows the node itself only. `ports` are the node's ports by neighbour.
    #[must_use]
    pub fn new(node: &NodeId, name: &Name, ports: BTreeMap<NodeId, PortId>) -> Self {
        let mut rib = Self {
            node: node.clone(),
            name: name.clone(),
            adverts: BTreeMap::new(),
            by_origin: BTreeMap::new(),
            reach: BTreeMap::new(),
            ranks: ranks(&ports),
            local_ports: ports,
            full: BTreeMap::new(),
            policies: BTreeMap::new(),
            order: 0,
            installed: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            dirty: BTreeSet::new(),
            ops: Vec::new(),
        };
        rib.reach.insert(node.clone(), Reach { cost: 0, next_hops: Vec::new() });
        rib.advertise(name, node, node, Advert { metric: 0, weight: 1, exact: false });
        rib
    }

    // ===== inputs =====

    /// An advertisement came or changed.
    pub fn advertise(&mut self, prefix: &Name, origin: &NodeId, port: &NodeId, advert: Advert) {
        let adverts = self.adverts.entry(prefix.clone()).or_default();
        if adverts.insert((origin.clone(), port.clone()), advert) != Some(advert) {
            self.by_origin.entry(origin.clone()).or_default().insert(prefix.clone());
            self.dirty.insert(prefix.clone());
        }
    }

    /// An advertisement is gone.
    pub fn withdraw(&mut self, prefix: &Name, origin: &NodeId, port: &NodeId) {
        if *prefix == self.name && origin == &self.node {
            return; // The own name never goes.
        }
        let Some(adverts) = self.adverts.get_mut(prefix) else { return };
        if adverts.remove(&(origin.clone(), port.clone())).is_none() {
            return;
        }
        self.dirty.insert(prefix.clone());
        if !adverts.keys().any(|(o, _)| o == origin)
            && let Some(prefixes) = self.by_origin.get_mut(origin)
        {
            prefixes.remove(prefix);
            if prefixes.is_empty() {
                self.by_origin.remove(origin);
            }
        }
        if adverts.is_empty() {
            self.adverts.remove(prefix);
        }
    }

    /// The way to one other node, or that there is none any more. Only prefixes of origins whose reach differs are looked at
    /// again.
    pub fn set_reach(&mut self, node: &NodeId, reach: Option<Reach>) {
        if *node == self.node || self.reach.get(node) == reach.as_ref() {
            return;
        }
        match reach {
            Some(reach) => self.reach.insert(node.clone(), reach),
            None => self.reach.remove(node),
        };
        self.dirty.extend(self.by_origin.get(node).into_iter().flatten().cloned());
    }

    /// The way some neighbour has to a node is another one: alternates may be.
    pub fn detours_changed(&mut self, node: &NodeId) {
        self.dirty.extend(self.by_origin.get(node).into_iter().flatten().cloned());
    }

    /// All alternates may be others.
    pub fn all_detours_changed(&mut self) {
        self.dirty.extend(self.adverts.keys().cloned());
    }

    /// The way to every node that can be reached, the node itself excepted.
    pub fn set_all_reach(&mut self, mut reach: BTreeMap<NodeId, Reach>) {
        reach.insert(self.node.clone(), Reach { cost: 0, next_hops: Vec::new() });
        let gone = self.reach.keys().filter(|origin| !reach.contains_key(*origin));
        let changed = reach.iter().filter(|(origin, r)| self.reach.get(*origin) != Some(r)).map(|(o, _)| o);
        for origin in changed.chain(gone) {
            self.dirty.extend(self.by_origin.get(origin).into_iter().flatten().cloned());
        }
        self.reach = reach;
    }

    /// A neighbour became full or ceased to be: policies over it come into force or leave it at once.
    pub fn set_neighbour(&mut self, node: &NodeId, port: Option<PortId>) {
        match port {
            Some(port) => self.full.insert(node.clone(), port),
            None => self.full.remove(node),
        };
        let over = |p: &&mut Policy| p.route.next_hop.as_ref() == Some(node);
        for policy in self.policies.values_mut().filter(over) {
            place(policy, port, &mut self.ops, &mut self.dirty);
        }
    }

    /// Installs or replaces the policy of a label; says whether it is in force.
    pub fn set_policy(&mut self, route: PolicyRoute) -> bool {
        let replaced = self.policies.get(&route.label).is_some_and(|p| p.route.prefix != route.prefix);
        if replaced {
            self.clear_policy(route.label);
        }
        let port = route.next_hop.as_ref().and_then(|n| self.full.get(n).copied());
        self.order += 1;
        let order = self.order;
        let (label, next_hop) = (route.label, route.next_hop.is_some());
        let policy = self.policies.entry(label).or_insert_with(|| Policy { route: route.clone(), order, port: None });
        if policy.route != route {
            self.dirty.insert(route.prefix.clone());
            policy.port = policy.port.filter(|_| policy.route.exact == route.exact);
        }
        policy.route = route;
        policy.order = order;
        place(policy, port, &mut self.ops, &mut self.dirty);
        port.is_some() || !next_hop
    }

    /// Removes the policy of a label.
    pub fn clear_policy(&mut self, label: u32) {
        if let Some(mut policy) = self.policies.remove(&label) {
            place(&mut policy, None, &mut self.ops, &mut self.dirty);
        }
    }

    // ===== results =====

    /// Whether something waits to be recomputed.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Recomputes what may have changed and returns the changes of the forwarding table, and how many prefixes were
    /// looked at. `detour` gives the loop-free alternate for advertisers with their metrics, a cost and a next hop.
    pub fn recompute(
        &mut self,
        detour: impl Fn(&[(&NodeId, u32)], u64, PortId) -> Option<NextHop>,
    ) -> (Vec<Op>, usize) {
        let dirty = std::mem::take(&mut self.dirty);
        let mut ops = std::mem::take(&mut self.ops);
        for prefix in &dirty {
            match self.choose(prefix, &detour) {
                Some(chosen) if self.installed.get(prefix) != Some(&chosen) => {
                    ops.push(Op::Set(chosen.route.clone()));
                    self.unreachable.remove(prefix);
                    self.installed.insert(prefix.clone(), chosen);
                }
                Some(_) => {}
                None => ops.extend(self.leave(prefix)),
            }
        }
        (ops, dirty.len())
    }

    /// A prefix without candidates leaves the table. One that has left as unreachable does so again when it is withdrawn.
    fn leave(&mut self, prefix: &Name) -> Option<Op> {
        let was_there = self.installed.remove(prefix).is_some();
        let (told, gone) = if self.adverts.contains_key(prefix) {
            if was_there {
                self.unreachable.insert(prefix.clone());
            }
            (was_there, Gone::Unreachable)
        } else {
            (self.unreachable.remove(prefix) || was_there, Gone::Withdrawn)
        };
        told.then(|| Op::Remove { prefix: prefix.clone(), gone })
    }

    /// What is in the forwarding table, by prefix.
    #[must_use]
    pub const fn installed(&self) -> &BTreeMap<Name, Installed> {
        &self.installed
    }

    /// Policies in order of their label, with the port of their next hop where in force.
    pub fn policies(&self) -> impl Iterator<Item = (&PolicyRoute, Option<PortId>)> {
        self.policies.values().map(|p| (&p.route, p.port))
    }

    /// Whether the policy of this label is in force: its next hop is a full neighbour, or it is an egress.
    #[must_use]
    pub fn policy_active(&self, label: u32) -> bool {
        self.policies.get(&label).is_some_and(|p| p.port.is_some() || p.route.next_hop.is_none())
    }

    /// The policy that stamps the traffic of own pods to a prefix.
    #[must_use]
    pub fn stamp(&self, prefix: &Name) -> Option<Stamp> {
        let stamping = self.policies.values().filter(|p| p.route.ingress && p.route.prefix == *prefix);
        let newest = stamping.filter(|p| p.port.is_some()).max_by_key(|p| p.order)?;
        newest.port.map(|port| Stamp { label: newest.route.label, port })
    }

    /// All prefixes, candidates or not.
    pub fn prefixes(&self) -> impl Iterator<Item = &Name> {
        self.adverts.keys()
    }

    /// All candidates of a prefix, cheapest first, then by origin.
    #[must_use]
    pub fn candidates(&self, prefix: &Name) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for ((origin, port), advert) in self.adverts.get(prefix).into_iter().flatten() {
            let Some(reach) = self.reach.get(origin).filter(|_| advert.metric != UNREACHABLE) else { continue };
            let cost = reach.cost + u64::from(advert.metric);
            let next_hops = match self.local_ports.get(port) {
                _ if *origin != self.node => reach.next_hops.clone(),
                Some(local) => vec![NextHop::new(*local, advert.weight.max(1))],
                None if *prefix == self.name => Vec::new(),
                None => continue,
            };
            candidates.push(Candidate { origin: origin.clone(), cost, next_hops, exact: advert.exact });
        }
        candidates.sort_by(|a, b| (a.cost, &a.origin).cmp(&(b.cost, &b.origin)));
        candidates
    }

    /// The nearest candidates (check-list 27), all of them (check-list 14), and the policy on top.
    fn choose(
        &self,
        prefix: &Name,
        detour: impl Fn(&[(&NodeId, u32)], u64, PortId) -> Option<NextHop>,
    ) -> Option<Installed> {
        let candidates = self.candidates(prefix);
        let cost = candidates.first()?.cost;
        let (mut source, mut origins) = (RouteSource::Spf, Vec::new());
        let mut route = Route {
            prefix: prefix.clone(),
            // Where one advertises a tree and another one a single name, the tree is what must be found.
            exact: candidates.iter().all(|c| c.exact),
            local: false,
            deliver: *prefix == self.name,
            next_hops: Vec::new(),
            backups: Vec::new(),
            cost,
            stamp: self.stamp(prefix),
        };
        for candidate in candidates.into_iter().take_while(|c| c.cost == cost) {
            if candidate.origin == self.node {
                source = RouteSource::Local;
            }
            if origins.last() != Some(&candidate.origin) {
                origins.push(candidate.origin);
            }
            for hop in candidate.next_hops {
                if !route.next_hops.iter().any(|h| h.port == hop.port) {
                    route.next_hops.push(hop);
                }
            }
        }
        // By neighbour: which of them a flow takes does not depend on the numbers of ports.
        for hop in &mut route.next_hops {
            hop.key = self.ranks.get(usize::from(hop.port.0)).copied().unwrap_or(hop.port.0);
        }
        route.next_hops.sort_by_key(|hop| hop.key);
        if let ([only], RouteSource::Spf) = (route.next_hops.as_slice(), source) {
            let adverts = self.adverts.get(prefix).into_iter().flatten().filter(|(_, a)| a.metric != UNREACHABLE);
            let advertisers: Vec<_> = adverts.map(|((origin, _), advert)| (origin, advert.metric)).collect();
            route.backups.extend(detour(&advertisers, cost, only.port));
        }
        if route.stamp.is_some() {
            source = RouteSource::Policy;
        }
        route.local = source == RouteSource::Local;
        Some(Installed { route, source, origins })
    }
}

/// By port number, the place of its neighbour among all neighbours by name.
fn ranks(ports: &BTreeMap<NodeId, PortId>) -> Vec<u16> {
    let mut ranks = vec![0; ports.values().map(|port| usize::from(port.0) + 1).max().unwrap_or(0)];
    for (rank, port) in (0..).zip(ports.values()) {
        ranks[usize::from(port.0)] = rank;
    }
    ranks
}

/// Puts a policy into force over `port`, or out of it.
fn place(policy: &mut Policy, port: Option<PortId>, ops: &mut Vec<Op>, dirty: &mut BTreeSet<Name>) {
    if policy.port == port {
        return;
    }
    policy.port = port;
    let route = &policy.route;
    ops.push(match port {
        Some(port) => {
            let PolicyRoute { label, exact, .. } = *route;
            Op::SetLabel(LabelRoute { label, prefix: route.prefix.clone(), exact, port })
        }
        None => Op::RemoveLabel(route.label),
    });
    if route.ingress {
        dirty.insert(route.prefix.clone());
    }
}

#[cfg(test)]
mod tests;
