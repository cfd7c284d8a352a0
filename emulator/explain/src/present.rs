//! Why an entry of a forwarding table is there and as it is.

use std::collections::BTreeSet;

use damc_mgmt::event::EventKind;
use damc_mgmt::view::{FibEntryView, LsaView};
use damc_mgmt::words::{AdjacencyState, LsaKind, RouteSource};
use damc_testbed::{Act, Deed};
use damc_wire::lsa::UNREACHABLE;
use damc_wire::{Name, NodeId, Role};

use crate::asker::{Asker, change_text};
use crate::evidence::{Witness, event_id};
use crate::graph::{Graph, Rules};
use crate::rule::Rule;

/// Origins of one entry that are told; a pool may have many.
const ORIGINS_TOLD: usize = 3;
/// Shortest tolerance for the age of an LSA, ms; section 12 has a 64th of the lifetime, and frames take their time.
const AGE_TOLERANCE_MS: u64 = 2_000;

/// A plain route as a database implies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Implied {
    cost: u64,
    hops: BTreeSet<String>,
    origins: BTreeSet<String>,
}

impl Implied {
    fn is(&self, entry: &FibEntryView) -> bool {
        self.cost == entry.cost && self.hops == hops_of(entry)
    }
}

fn hops_of(entry: &FibEntryView) -> BTreeSet<String> {
    entry.next_hops.iter().map(|hop| hop.node.clone()).collect()
}

fn joined<'s>(names: impl IntoIterator<Item = &'s String>) -> String {
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl Asker<'_> {
    pub(crate) fn explain_entry(&mut self, node: &str, entry: &FibEntryView) -> String {
        self.published(node, &entry.prefix);
        match entry.source {
            RouteSource::Policy => self.policy(node, entry),
            RouteSource::Backup => self.backup(node, entry),
            RouteSource::Local | RouteSource::Spf => {}
        }
        self.plain(node, entry);
        self.end_here();
        let (hops, origins) = (joined(&hops_of(entry)), joined(&entry.origin));
        let (prefix, source, cost) = (&entry.prefix, entry.source, entry.cost);
        format!("{node} forwards {prefix} to {hops}: {source} route of cost {cost} from {origins}")
    }

    /// Adds the version of the table that brought the entry, and the computation before it.
    fn published(&mut self, node: &str, prefix: &str) {
        let Some(witness) = self.witness(node) else { return };
        let brought = witness
            .last(u64::MAX, |kind| matches!(kind, EventKind::Fib { set, .. } if set.iter().any(|p| p == prefix)));
        let Some(event) = brought else {
            return self.now(node, format!("its table has {prefix}"), Rule::ROUTES);
        };
        let EventKind::Fib { version, .. } = &event.kind else { return };
        self.event(node, event, format!("published version {version} of its table with {prefix}"), Rule::ROUTES, None);
        let computed = witness
            .events
            .iter()
            .rev()
            .find(|e| e.sequence < event.sequence && matches!(e.kind, EventKind::Computed { .. }));
        if let Some(event) = computed
            && let EventKind::Computed { full, .. } = &event.kind
        {
            let (what, part) = if *full { ("ran SPF", "SPF") } else { ("computed prefixes", "Prefixes") };
            self.event(node, event, what.to_owned(), Rule::ROUTES.part(part), None);
        }
    }

    /// Adds why the plain route is as it is: paths, and what the origins say.
    fn plain(&mut self, node: &str, entry: &FibEntryView) {
        let Some(witness) = self.witness(node) else { return };
        let graph = self.graph_of(node);
        let implied = self.implied(node, &graph, &entry.prefix, Rules::ALL);
        let compares = entry.source == RouteSource::Spf || entry.source == RouteSource::Local;
        if compares && implied.as_ref().is_none_or(|implied| !implied.is(entry)) {
            self.contradiction(node, &graph, entry, implied.as_ref());
        }
        self.two_holders(node, entry);
        let origins: Vec<String> = implied.map_or_else(|| entry.origin.clone(), |i| i.origins.into_iter().collect());
        for origin in origins.iter().take(ORIGINS_TOLD) {
            if let Some(path) = graph.path(node, origin, Rules::ALL).filter(|path| path.len() > 1) {
                let what = format!("its shortest path is {}: both ends list every link", path.join(" → "));
                self.now(node, what, Rule::ROUTES.part("SPF"));
            }
            for lsa in self.said_of(witness, origin, &entry.prefix) {
                let since = self.trace(node, lsa);
                self.explain_said(lsa, since);
                self.too_old(node, lsa, since);
                self.superseded(node, lsa);
            }
        }
    }

    /// Adds that two pods hold a name that only one may hold: pools alone are shared.
    fn two_holders(&mut self, node: &str, entry: &FibEntryView) {
        let whole = |lsa: &&LsaView| lsa.kind == LsaKind::Prefix && lsa.id == entry.prefix && !lsa.purged && !lsa.exact;
        let lsas: Vec<&LsaView> = self.witness(node).into_iter().flat_map(Witness::lsas).filter(whole).collect();
        let mut said = Vec::new();
        for lsa in lsas {
            let id = event_id(lsa);
            let first = |kind: &EventKind| matches!(kind, EventKind::LsaOriginated { id: i, .. } if *i == id);
            let events = self.witness(&lsa.origin).map(|w| w.events.as_slice()).unwrap_or_default();
            said.push((events.iter().find(|e| first(&e.kind)).map(|e| e.at_ns), lsa));
        }
        said.sort_by_key(|(at, lsa)| (at.unwrap_or(0), lsa.origin.clone()));
        let Some((_, first)) = said.first().copied() else { return };
        let Some((at, second)) = said.iter().copied().find(|(_, lsa)| lsa.port != first.port) else { return };
        let pod = |lsa: &LsaView| lsa.port.clone().unwrap_or_default();
        let (prefix, holder, other) = (&entry.prefix, pod(first), pod(second));
        let what = format!("advertises {prefix} of {other} although {holder} at {} holds it", first.origin);
        self.broken(&second.origin, at, what, Rule::REGISTRATION.part("SG, 2"));
    }

    /// The LSAs by which an origin says a prefix.
    fn said_of<'w>(&self, witness: &'w Witness, origin: &str, prefix: &str) -> Vec<&'w LsaView> {
        let named = self.is_name_of(prefix, origin);
        let says = |lsa: &&LsaView| match lsa.kind {
            LsaKind::Prefix => lsa.id == prefix,
            LsaKind::Topology => named && lsa.id == "0",
        };
        witness.lsas().filter(|lsa| lsa.origin == origin).filter(says).collect()
    }

    /// Whether a prefix is a node's own name.
    pub(crate) fn is_name_of(&self, prefix: &str, node: &str) -> bool {
        let node = NodeId::new(node).ok();
        let name = node.and_then(|node| Name::of_node(&self.e.domain, &node).ok());
        name.is_some_and(|name| name.to_string() == prefix)
    }

    /// The graph of a node's database. Of its own links it is believed what it uses right now.
    pub(crate) fn graph_of(&self, node: &str) -> Graph {
        let Some(witness) = self.witness(node) else { return Graph::default() };
        let mut graph = witness.lsdb.as_ref().map(Graph::of).unwrap_or_default();
        let full = |far: &str| witness.neighbour(far).is_none_or(|row| row.state == AdjacencyState::Full);
        if let Some(said) = graph.nodes.get_mut(node) {
            said.links.retain(|far, _| full(far));
        }
        graph
    }

    /// The plain route to a prefix that a node's database implies.
    pub(crate) fn implied(&self, node: &str, graph: &Graph, prefix: &str, rules: Rules) -> Option<Implied> {
        let witness = self.witness(node)?;
        let reach = graph.reach(node, rules);
        let mut best: Option<Implied> = None;
        for lsa in witness.lsas().filter(|lsa| !lsa.purged) {
            let metric = match lsa.kind {
                LsaKind::Prefix if lsa.id == prefix => lsa.metric.filter(|metric| *metric != UNREACHABLE),
                LsaKind::Topology if lsa.id == "0" && self.is_name_of(prefix, &lsa.origin) => Some(0),
                _ => None,
            };
            let Some((metric, reached)) = metric.zip(reach.get(&lsa.origin)) else { continue };
            let cost = reached.cost + u64::from(metric);
            let hops = match &lsa.port {
                Some(port) if lsa.origin == node => BTreeSet::from([port.clone()]),
                None if lsa.origin == node => BTreeSet::from([node.to_owned()]),
                _ => reached.hops.clone(),
            };
            let found = Implied { cost, hops, origins: BTreeSet::from([lsa.origin.clone()]) };
            match &mut best {
                Some(known) if known.cost < cost => {}
                Some(known) if known.cost == cost => {
                    known.hops.extend(found.hops);
                    known.origins.extend(found.origins);
                }
                best => *best = Some(found),
            }
        }
        best
    }

    /// Whether a node has heard of something since it computed last.
    pub(crate) fn computes_later(&self, node: &str) -> bool {
        let Some(witness) = self.witness(node) else { return false };
        let newest = |pick: fn(&EventKind) -> bool| witness.last(u64::MAX, pick).map_or(0, |event| event.sequence);
        let heard = newest(
            |kind| matches!(kind, EventKind::LsaAccepted { id, .. } | EventKind::LsaOriginated { id, .. } if id.starts_with("topology")),
        );
        heard > newest(|kind| matches!(kind, EventKind::Computed { .. }))
    }

    /// Adds which rule an entry breaks that its node's database does not imply.
    fn contradiction(&mut self, node: &str, graph: &Graph, entry: &FibEntryView, implied: Option<&Implied>) {
        if self.computes_later(node) {
            return self.now(
                node,
                "heard of a change and has not computed yet".to_owned(),
                Rule::ROUTES.part("Pacing"),
            );
        }
        let without = |rules| self.implied(node, graph, &entry.prefix, rules).filter(|implied| implied.is(entry));
        let one_way = Rules { two_way: false, ..Rules::ALL };
        let through = Rules { transit: false, ..Rules::ALL };
        if let Some(found) = without(one_way) {
            return self.used_one_way(node, graph, &found, one_way);
        }
        if let Some(found) = without(through) {
            return self.passed_through(node, graph, &found, through);
        }
        let (what, rule) = self.difference(node, &entry.prefix, implied);
        self.broken(node, None, what, rule);
    }

    /// How a table differs from its database, and the rule that this breaks.
    fn difference(&self, node: &str, prefix: &str, implied: Option<&Implied>) -> (String, Rule) {
        let lsas: Vec<_> = self.witness(node).into_iter().flat_map(Witness::lsas).filter(|l| l.id == prefix).collect();
        match implied {
            Some(implied) => {
                let (hops, cost) = (joined(&implied.hops), implied.cost);
                let what = format!("its database says {prefix} by {hops} at cost {cost}, and its table does not");
                (what, Rule::ROUTES)
            }
            None if lsas.iter().any(|lsa| lsa.purged) => {
                (format!("keeps {prefix} although it is purged"), Rule::AGEING.part("Withdrawal"))
            }
            None if lsas.iter().any(|lsa| lsa.metric == Some(UNREACHABLE)) => (
                format!("keeps {prefix} although its origin says that it cannot be reached"),
                Rule::AGEING.part("Unreachable, not withdrawn"),
            ),
            None if lsas.is_empty() => {
                (format!("has a route to {prefix} that no LSA in its database carries"), Rule::ROUTES.part("Prefixes"))
            }
            None => (format!("has a route to {prefix} without a path to its origin"), Rule::ROUTES.part("SPF")),
        }
    }

    fn used_one_way(&mut self, node: &str, graph: &Graph, found: &Implied, rules: Rules) {
        let path = found.origins.iter().find_map(|origin| graph.path(node, origin, rules)).unwrap_or_default();
        let one_sided = path.windows(2).find(|pair| !graph.lists(&pair[1], &pair[0]));
        let Some([near, far]) = one_sided else { return };
        let what = format!("uses the link {near} – {far}, which {far} does not list");
        self.broken(node, None, what, Rule::ROUTES.part("SPF: two-way check"));
        self.explain_one_sided(far, near);
    }

    fn passed_through(&mut self, node: &str, graph: &Graph, found: &Implied, rules: Rules) {
        let path = found.origins.iter().find_map(|origin| graph.path(node, origin, rules)).unwrap_or_default();
        let inner = path.get(1..path.len().saturating_sub(1)).unwrap_or_default();
        for passed in inner {
            let Some(said) = graph.nodes.get(passed).filter(|said| said.stub || said.overload) else { continue };
            let why = if said.overload { "overloaded" } else { "a stub" };
            let what = format!("passes through {passed}, which is {why}");
            self.broken(node, None, what, Rule::ROUTES.part("Overload"));
            self.overloading(passed);
        }
    }

    /// Adds who set a node's overload bit, if somebody did.
    pub(crate) fn overloading(&mut self, node: &str) {
        use damc_mgmt::command::Command;
        if let Some(order) = self.order(node, |order| matches!(order, Command::Overload { on: true })) {
            self.root(node, Some(order.at_ns), "somebody set its overload bit".to_owned(), None);
        }
    }

    // ===== old LSAs =====

    /// Adds that an LSA has more time left than its origin gave it.
    fn too_old(&mut self, node: &str, lsa: &LsaView, originated_ns: Option<u64>) {
        let Some(originated) = originated_ns.filter(|_| !lsa.purged) else { return };
        let lifetime = self.e.lsa_lifetime_ms;
        let age = self.e.at_ns.saturating_sub(originated) / 1_000_000;
        let most = lifetime.saturating_sub(age) + (lifetime / 64).max(AGE_TOLERANCE_MS);
        if lsa.remaining_ms > most {
            let (id, left) = (event_id(lsa), lsa.remaining_ms);
            let what =
                format!("gives the LSA {id} {left} ms more, although it is {age} ms old and lives {lifetime} ms");
            self.broken(node, None, what, Rule::AGEING);
        }
    }

    /// Adds why a node holds an older LSA than its origin: it went back, or the newer one did not come.
    fn superseded(&mut self, node: &str, lsa: &LsaView) {
        let id = event_id(lsa);
        let Some(witness) = self.witness(node) else { return };
        let newer = witness.last(u64::MAX, |kind| {
            matches!(kind, EventKind::LsaAccepted { origin, id: i, sequence, .. }
                if *origin == lsa.origin && *i == id && *sequence > lsa.sequence)
        });
        if let Some(event) = newer {
            let what = format!("held a newer LSA {id} and went back to sequence {}", lsa.sequence);
            self.broken(node, Some(event.at_ns), what, Rule::FLOODING.part("step 3"));
        }
        let theirs = self.witness(&lsa.origin).and_then(|origin| origin.lsa(&lsa.origin, &id));
        let Some(theirs) = theirs.filter(|theirs| theirs.sequence > lsa.sequence) else { return };
        let said = self.last(&lsa.origin, u64::MAX, |kind| {
            matches!(kind, EventKind::LsaOriginated { id: i, sequence, .. } if *i == id && *sequence == theirs.sequence)
        });
        let old = |at: u64| self.e.at_ns.saturating_sub(at) > self.e.grace_ms * 1_000_000;
        if let Some(event) = said.filter(|event| old(event.at_ns)) {
            let what = format!("originated the LSA {id} anew (sequence {}); {node} does not have it", theirs.sequence);
            self.event(&lsa.origin, event, what, Rule::FLOODING.part("Origination"), None);
            self.where_stopped(node, theirs);
        }
    }

    // ===== policies and backups =====

    fn policy(&mut self, node: &str, entry: &FibEntryView) {
        let Some(label) = entry.label else { return };
        let of_label =
            |kind: &EventKind| matches!(kind, EventKind::Policy { label: l, active: true, .. } if *l == label);
        if let Some(event) = self.last(node, u64::MAX, of_label) {
            let what = format!("follows the policy {label} for {}", entry.prefix);
            self.event(node, event, what, Rule::QUALITY, None);
        }
        let policies = self.witness(node).and_then(|w| w.policies.as_ref());
        if policies.is_some_and(|view| !view.policies.iter().any(|p| p.label == label && p.active)) {
            let what = format!("follows the policy {label}, which is withdrawn or expired");
            self.broken(node, None, what, Rule::QUALITY);
        }
        let scsc = self.e.nodes.iter().find(|(_, w)| w.kind == Role::Scsc.label()).map(|(node, _)| node.as_str());
        let Some(scsc) = scsc else { return };
        let issued = |kind: &EventKind| matches!(kind, EventKind::Policy { label: l, .. } if *l == label);
        let witness = self.witness(scsc).map(|w| w.events.as_slice()).unwrap_or_default();
        let Some(event) = witness.iter().find(|event| issued(&event.kind)) else { return };
        self.event(scsc, event, format!("issued the policy {label} for {}", entry.prefix), Rule::QUALITY, None);
        let violation = self.last(
            scsc,
            event.at_ns,
            |kind| matches!(kind, EventKind::Violation { metrics, .. } if !metrics.is_empty()),
        );
        if let Some(event) = violation
            && let EventKind::Violation { source, target, metrics } = &event.kind
        {
            let metrics: Vec<_> = metrics.iter().map(|metric| metric.label()).collect();
            let what = format!("saw the path {source} → {target} violate its {}", metrics.join(", "));
            self.event(scsc, event, what, Rule::QUALITY, None);
            self.impairment(event.at_ns);
        }
    }

    /// Adds the newest change of any link before a violation.
    fn impairment(&mut self, until_ns: u64) {
        let act = self.act(until_ns, |deed| matches!(deed, Deed::Link { .. }));
        if let Some(Act { at_ns, deed: Deed::Link { a, b, change } }) = act {
            self.root(a, Some(*at_ns), format!("somebody changed the link {a} – {b}: {}", change_text(change)), None);
        }
    }

    fn backup(&mut self, node: &str, entry: &FibEntryView) {
        let what = format!("its only next hop for {} is down: the loop-free alternate has taken over", entry.prefix);
        self.now(node, what, Rule::ROUTES);
        let lost = self.last(node, u64::MAX, |kind| {
            matches!(
                kind,
                EventKind::Carrier { up: false, .. } | EventKind::Adjacency { state: AdjacencyState::Down, .. }
            )
        });
        let port = lost.and_then(|event| match &event.kind {
            EventKind::Carrier { port, .. } | EventKind::Adjacency { port, .. } => Some(port.clone()),
            _ => None,
        });
        if let Some(port) = port {
            self.explain_adjacency(node, &port);
        }
    }
}
