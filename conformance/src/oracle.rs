//! What every FIB should hold, computed from the topology file alone.
//!
//! It shares no code, no data structure and no algorithm with the nodes: it computes all pairs by Floyd–Warshall, the
//! nodes run Dijkstra from one source. A mistake goes unseen only if it is made twice.

use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::view::FibView;
use damc_mgmt::words::RouteSource;
use damc_topology::Topology;
use damc_wire::Role;

/// How the present state of the lab differs from the topology file.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    links: BTreeSet<(String, String)>,
    nodes: BTreeSet<String>,
    overloaded: BTreeSet<String>,
    costs: BTreeMap<(String, String), u64>,
    serving: BTreeMap<String, BTreeSet<String>>,
}

impl Failures {
    /// Adds a cut link.
    #[must_use]
    pub fn link(mut self, a: &str, b: &str) -> Self {
        self.links.insert((a.into(), b.into()));
        self.links.insert((b.into(), a.into()));
        self
    }

    /// Adds a dead node.
    #[must_use]
    pub fn node(mut self, node: &str) -> Self {
        self.nodes.insert(node.into());
        self
    }

    /// Adds an overloaded node: it carries no transit.
    #[must_use]
    pub fn overload(mut self, node: &str) -> Self {
        self.overloaded.insert(node.into());
        self
    }

    /// Sets the cost of the direction from `near` to `far`.
    #[must_use]
    pub fn cost(mut self, near: &str, far: &str, cost: u32) -> Self {
        self.costs.insert((near.into(), far.into()), u64::from(cost));
        self
    }

    /// Sets what a pod serves in place of what the topology says, pools included.
    #[must_use]
    pub fn serving(mut self, pod: &str, names: impl IntoIterator<Item = String>) -> Self {
        self.serving.insert(pod.into(), names.into_iter().collect());
        self
    }

    /// Whether this node is dead.
    #[must_use]
    pub fn has_node(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }
}

/// An expected FIB entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Cost to the nearest origins.
    pub cost: u64,
    /// The nearest origins.
    pub origins: BTreeSet<String>,
    /// All next hops on shortest paths to them; pods or attached nodes where the node is an origin itself.
    pub next_hops: BTreeSet<String>,
}

/// The expected tables of all SGs and SRs.
pub struct Oracle {
    routers: Vec<String>,
    index: BTreeMap<String, usize>,
    /// Whether a router carries transit.
    transit: Vec<bool>,
    /// Cost of one hop, where there is a link.
    hop: Vec<Vec<Option<u64>>>,
    /// Cost of the best path on which every inner node carries transit.
    distance: Vec<Vec<Option<u64>>>,
    /// Prefix → origin → nodes behind the origin and the cost of the last hop to them.
    origins: BTreeMap<String, BTreeMap<usize, BTreeMap<String, u64>>>,
}

impl Oracle {
    /// Computes everything.
    #[must_use]
    pub fn new(topology: &Topology, failures: &Failures) -> Self {
        let alive = |n: &str| !failures.has_node(n);
        let routing: Vec<_> = topology
            .nodes()
            .values()
            .filter(|n| matches!(n.kind, Role::Sg | Role::Sr) && alive(n.id.as_str()))
            .collect();
        let routers: Vec<String> = routing.iter().map(|n| n.id.to_string()).collect();
        let overloaded = |n: &damc_topology::Node| n.overload || failures.overloaded.contains(n.id.as_str());
        let transit = routing.iter().map(|n| !overloaded(n) && (n.kind == Role::Sr || n.transit)).collect();
        let index: BTreeMap<String, usize> = routers.iter().cloned().zip(0..).collect();
        let n = routers.len();
        let mut oracle = Self {
            routers,
            index,
            transit,
            hop: vec![vec![None; n]; n],
            distance: Vec::new(),
            origins: BTreeMap::new(),
        };
        oracle.take_links(topology, failures);
        oracle.take_prefixes(topology, failures);
        oracle.all_pairs();
        oracle
    }

    fn take_links(&mut self, topology: &Topology, failures: &Failures) {
        for link in topology.links() {
            let (a, b) = (link.a.to_string(), link.b.to_string());
            if failures.links.contains(&(a.clone(), b.clone())) {
                continue;
            }
            if let (Some(&i), Some(&j)) = (self.index.get(&a), self.index.get(&b)) {
                let raised = |near: &String, far: &String| failures.costs.get(&(near.clone(), far.clone())).copied();
                self.hop[i][j] = Some(raised(&a, &b).unwrap_or(u64::from(link.forward.cost)));
                self.hop[j][i] = Some(raised(&b, &a).unwrap_or(u64::from(link.backward.cost)));
            }
        }
    }

    fn take_prefixes(&mut self, topology: &Topology, failures: &Failures) {
        let domain = topology.domain();
        for (i, router) in self.routers.iter().enumerate() {
            let own = format!("/damc/{domain}/{router}");
            self.origins.entry(own).or_default().entry(i).or_default().insert(router.clone(), 0);
        }
        for link in topology.links() {
            for (near, far) in [(&link.a, &link.b), (&link.b, &link.a)] {
                let cut = failures.links.contains(&(near.to_string(), far.to_string()));
                let Some(&origin) = self.index.get(near.as_str()).filter(|_| !cut && !failures.has_node(far.as_str()))
                else {
                    continue;
                };
                let node = &topology.nodes()[far];
                let last_hop = link.from(near).map_or(0, |d| u64::from(d.cost));
                let mut names: Vec<String> = Vec::new();
                match node.kind {
                    Role::Scsc => names.push(format!("/damc/{domain}/{far}")),
                    Role::Pod => {
                        let of = |s: &damc_topology::Service| [Some(s.prefix.clone()), s.pool.clone()];
                        let now = failures.serving.get(far.as_str());
                        names.extend(now.into_iter().flatten().cloned());
                        let configured: &[damc_topology::Service] =
                            if now.is_some() { &[] } else { node.services.as_slice() };
                        names.extend(configured.iter().flat_map(of).flatten().map(|n| n.to_string()));
                    }
                    _ => {}
                }
                for name in names {
                    self.origins.entry(name).or_default().entry(origin).or_default().insert(far.to_string(), last_hop);
                }
            }
        }
    }

    fn all_pairs(&mut self) {
        let n = self.routers.len();
        let mut d = self.hop.clone();
        for (i, row) in d.iter_mut().enumerate() {
            row[i] = Some(0);
        }
        for k in (0..n).filter(|k| self.transit[*k]) {
            for i in 0..n {
                for j in 0..n {
                    if let (Some(a), Some(b)) = (d[i][k], d[k][j])
                        && d[i][j].is_none_or(|known| a + b < known)
                    {
                        d[i][j] = Some(a + b);
                    }
                }
            }
        }
        self.distance = d;
    }

    /// Cost of the best path between two SGs or SRs.
    #[must_use]
    pub fn distance(&self, from: &str, to: &str) -> Option<u64> {
        self.distance[*self.index.get(from)?][*self.index.get(to)?]
    }

    /// Cost of a hop chain; `None` where two successive nodes share no link, or where an inner node carries no transit.
    #[must_use]
    pub fn path_cost(&self, path: &[String]) -> Option<u64> {
        let nodes: Vec<usize> = path.iter().map(|n| self.index.get(n).copied()).collect::<Option<_>>()?;
        if nodes.len() > 2 && nodes[1..nodes.len() - 1].iter().any(|n| !self.transit[*n]) {
            return None;
        }
        nodes.windows(2).map(|w| self.hop[w[0]][w[1]]).sum()
    }

    /// The FIB that `node` should have, by prefix; prefixes it cannot reach are absent.
    ///
    /// # Panics
    /// `node` is not an SG or SR that is up.
    #[must_use]
    pub fn expected(&self, node: &str) -> BTreeMap<String, Expected> {
        let i = self.index[node];
        self.origins.iter().filter_map(|(prefix, at)| Some((prefix.clone(), self.entry(i, at)?))).collect()
    }

    /// The entry that `node` should have for one name; `None` where it cannot reach it.
    ///
    /// # Panics
    /// `node` is not an SG or SR that is up.
    #[must_use]
    pub fn toward(&self, node: &str, name: &str) -> Option<Expected> {
        self.entry(self.index[node], self.origins.get(name)?)
    }

    /// The hop chain from `node` to the nearest origin of a name, by the first next hop of each; `None` where there is none,
    /// or where `follows` refuses an entry on the way.
    ///
    /// # Panics
    /// `node` is not an SG or SR that is up.
    #[must_use]
    pub fn chain(&self, node: &str, name: &str, follows: impl Fn(&Expected) -> bool) -> Option<Vec<String>> {
        let mut chain = vec![node.to_owned()];
        loop {
            let at = chain.last()?;
            let entry = self.toward(at, name).filter(|entry| follows(entry))?;
            if entry.origins.contains(at) {
                return Some(chain);
            }
            let next = entry.next_hops.first()?.clone();
            chain.push(next);
        }
    }

    fn entry(&self, i: usize, at: &BTreeMap<usize, BTreeMap<String, u64>>) -> Option<Expected> {
        let total = |o: usize| {
            let last_hop = at[&o].values().min()?;
            Some(self.distance[i][o]? + last_hop)
        };
        let cost = at.keys().filter_map(|o| total(*o)).min()?;
        let nearest: Vec<usize> = at.keys().copied().filter(|o| total(*o) == Some(cost)).collect();
        let mut next_hops = BTreeSet::new();
        for &origin in &nearest {
            if origin == i {
                next_hops.extend(at[&i].iter().filter(|(_, c)| **c == cost).map(|(behind, _)| behind.clone()));
            } else {
                let leads = |next: &usize| self.leads(i, *next, origin);
                next_hops.extend((0..self.routers.len()).filter(leads).map(|n| self.routers[n].clone()));
            }
        }
        let origins = nearest.iter().map(|o| self.routers[*o].clone()).collect();
        Some(Expected { cost, origins, next_hops })
    }

    /// Whether the hop from `i` to `next` begins a best path to `origin`.
    fn leads(&self, i: usize, next: usize, origin: usize) -> bool {
        let rest = if next == origin { Some(0) } else { self.distance[next][origin].filter(|_| self.transit[next]) };
        let through = self.hop[i][next].zip(rest).map(|(first, rest)| first + rest);
        next != i && through.is_some() && through == self.distance[i][origin]
    }

    /// The first difference between these FIBs and the expected ones, in words; `None` where they are equal. Entries
    /// for labelled traffic are not judged here.
    #[must_use]
    pub fn first_difference(&self, fibs: &BTreeMap<String, FibView>) -> Option<String> {
        self.difference(fibs).map(|difference| difference.text)
    }

    /// As [`Oracle::first_difference`], with its kind.
    #[must_use]
    pub fn difference(&self, fibs: &BTreeMap<String, FibView>) -> Option<Difference> {
        let differs = |kind, text| Some(Difference { kind, text });
        fibs.iter().find_map(|(node, fib)| {
            let mut expected = self.expected(node);
            for entry in fib.entries.iter().filter(|e| e.label.is_none() || e.source == RouteSource::Policy) {
                let prefix = &entry.prefix;
                if entry.source == RouteSource::Policy {
                    expected.remove(prefix);
                    continue;
                }
                let Some(want) = expected.remove(prefix) else {
                    let text = format!(
                        "{node}: expected no entry for {prefix}, which is not served or not reachable, saw one"
                    );
                    return differs("an entry too many", text);
                };
                let seen = Expected {
                    cost: entry.cost,
                    origins: entry.origin.iter().cloned().collect(),
                    next_hops: entry.next_hops.iter().map(|h| h.node.clone()).collect(),
                };
                if seen != want {
                    return differs("a wrong entry", format!("{node}, {prefix}: expected {want:?}, saw {seen:?}"));
                }
            }
            let prefix = expected.keys().next()?;
            differs("an entry missing", format!("{node}: expected an entry for {prefix}, saw none"))
        })
    }
}

/// What is wrong in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The kind, in a few words.
    pub kind: &'static str,
    /// Node, name, what was expected and seen.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fig2() -> Topology {
        damc_lab::topology_file::load(std::path::Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../topologies/fig2.yaml"
        )))
        .unwrap_or_else(|e| panic!("{e}"))
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fig_18_by_hand() {
        let topology = fig2();
        let whole = Oracle::new(&topology, &Failures::default());
        let b4 = &whole.expected("sg-1")["/B/4"];
        assert_eq!((b4.cost, &b4.next_hops), (3, &set(&["sr-right"])));
        let cut = Oracle::new(&topology, &Failures::default().link("sg-1", "sr-right"));
        let b4 = &cut.expected("sg-1")["/B/4"];
        assert_eq!((b4.cost, &b4.next_hops), (4, &set(&["sr-left"])));
        let b4 = &cut.expected("sr-left")["/B/4"];
        assert_eq!((b4.cost, &b4.next_hops), (3, &set(&["sr-right", "sr-bottom"])));
    }

    #[test]
    fn con_07_service_gateways_are_no_transit() {
        let topology = fig2();
        let cut = Failures::default().link("sr-left", "sr-right").link("sr-left", "sr-bottom").link("sg-1", "sr-right");
        let oracle = Oracle::new(&topology, &cut);
        assert_eq!(oracle.distance("sg-1", "sg-4"), None, "only through sg-2 or sg-3, which must not");
        assert_eq!(oracle.distance("sg-1", "sg-2"), Some(2));
    }

    #[test]
    fn gap_22_an_overloaded_router_is_an_end_only() {
        let oracle = Oracle::new(&fig2(), &Failures::default().overload("sr-right"));
        let b4 = &oracle.expected("sg-1")["/B/4"];
        assert_eq!((b4.cost, &b4.next_hops), (4, &set(&["sr-left"])), "around it");
        assert_eq!(oracle.distance("sg-1", "sr-right"), Some(1), "it is itself reachable");
    }

    #[test]
    fn pools_go_to_their_nearest_instances() {
        let oracle = Oracle::new(&fig2(), &Failures::default());
        let pool = &oracle.expected("sg-2")["/A"];
        assert_eq!((pool.cost, &pool.origins), (3, &set(&["sg-1", "sg-4"])));
        assert_eq!(pool.next_hops, set(&["sr-left", "sr-right"]));
        let own = &oracle.expected("sg-1")["/A"];
        assert_eq!((own.cost, &own.next_hops), (1, &set(&["pod-1"])));
    }

    #[test]
    fn chains_cost_what_their_links_cost() {
        let oracle = Oracle::new(&fig2(), &Failures::default());
        let path = |nodes: &[&str]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(oracle.path_cost(&path(&["sg-1", "sr-right", "sg-4"])), Some(2));
        assert_eq!(oracle.path_cost(&path(&["sg-1", "sg-4"])), None);
        assert_eq!(oracle.path_cost(&path(&["sr-left", "sg-3", "sr-bottom"])), None, "an SG is passed");
    }
}
