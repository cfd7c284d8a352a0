//! Shortest paths by the rules of section 13, from what a database says, and what paths would be without one of them.

use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::view::LsdbView;
use damc_mgmt::words::LsaKind;

/// Rules that can be left out, to see whether a table is made without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// An edge counts only if both ends list it.
    pub(crate) two_way: bool,
    /// Nobody passes through a stub or an overloaded node.
    pub(crate) transit: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self { two_way: true, transit: true };
}

/// What the fragments of one node say together.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) links: BTreeMap<String, u32>,
    pub(crate) stub: bool,
    pub(crate) overload: bool,
    whole: bool,
}

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) cost: u64,
    /// First hops of all shortest paths.
    pub(crate) hops: BTreeSet<String>,
    /// The node before it on one of them.
    before: String,
}

/// What a database says of all nodes.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: BTreeMap<String, Said>,
}

impl Graph {
    pub(crate) fn of(lsdb: &LsdbView) -> Self {
        let mut graph = Self::default();
        for lsa in lsdb.lsas.iter().filter(|lsa| lsa.kind == LsaKind::Topology && !lsa.purged) {
            let said = graph.nodes.entry(lsa.origin.clone()).or_default();
            said.links.extend(lsa.links.iter().map(|link| (link.neighbour.clone(), link.cost)));
            if lsa.id == "0" {
                (said.whole, said.stub, said.overload) = (true, lsa.stub, lsa.overload);
            }
        }
        graph.nodes.retain(|_, said| said.whole);
        graph
    }

    /// Whether `a` lists `b`.
    pub(crate) fn lists(&self, a: &str, b: &str) -> bool {
        self.nodes.get(a).is_some_and(|said| said.links.contains_key(b))
    }

    /// The way to every node that `root` reaches.
    pub(crate) fn reach(&self, root: &str, rules: Rules) -> BTreeMap<String, Reach> {
        let mut done: BTreeMap<String, Reach> = BTreeMap::new();
        let mut open: BTreeMap<String, Reach> = BTreeMap::new();
        let start = Reach { cost: 0, hops: BTreeSet::new(), before: root.to_owned() };
        open.insert(root.to_owned(), start);
        while let Some((node, reach)) =
            open.iter().min_by_key(|(node, r)| (r.cost, *node)).map(|(n, r)| (n.clone(), r.clone()))
        {
            open.remove(&node);
            for (next, cost) in self.edges(root, &node, rules) {
                if done.contains_key(next) || *next == node {
                    continue;
                }
                let hops = if node == root { BTreeSet::from([next.clone()]) } else { reach.hops.clone() };
                let found = Reach { cost: reach.cost + u64::from(cost), hops, before: node.clone() };
                match open.get_mut(next) {
                    Some(known) if known.cost < found.cost => {}
                    Some(known) if known.cost == found.cost => known.hops.extend(found.hops),
                    _ => _ = open.insert(next.clone(), found),
                }
            }
            done.insert(node, reach);
        }
        done
    }

    fn edges<'a>(&'a self, root: &str, node: &'a str, rules: Rules) -> impl Iterator<Item = (&'a String, u32)> {
        let said = self.nodes.get(node);
        let passes = node == root || !rules.transit || said.is_some_and(|said| !said.stub && !said.overload);
        let links = said.filter(|_| passes).into_iter().flat_map(|said| &said.links);
        links.filter(move |(next, _)| !rules.two_way || self.lists(next, node)).map(|(next, cost)| (next, *cost))
    }

    /// One shortest path, both ends included.
    pub(crate) fn path(&self, root: &str, to: &str, rules: Rules) -> Option<Vec<String>> {
        let reach = self.reach(root, rules);
        let mut path = vec![to.to_owned()];
        while path.last().is_some_and(|node| node != root) {
            let before = &reach.get(path.last()?)?.before;
            path.push(before.clone());
        }
        path.reverse();
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use damc_mgmt::view::{LinkView, LsaView};

    use super::*;

    fn lsa(origin: &str, links: &[(&str, u32)], overload: bool) -> LsaView {
        let links = links.iter().map(|(n, cost)| LinkView { neighbour: (*n).to_owned(), cost: *cost }).collect();
        LsaView {
            origin: origin.to_owned(),
            kind: LsaKind::Topology,
            id: "0".to_owned(),
            port: None,
            sequence: 1,
            remaining_ms: 1000,
            purged: false,
            links,
            overload,
            stub: false,
            metric: None,
            exact: false,
            grant: None,
        }
    }

    /// a–b–d and a–c–d, all of cost 1.
    fn square(overloaded: Option<&str>) -> Graph {
        let of = |node: &str, links: &[(&str, u32)]| lsa(node, links, overloaded == Some(node));
        let lsas = vec![
            of("a", &[("b", 1), ("c", 1)]),
            of("b", &[("a", 1), ("d", 1)]),
            of("c", &[("a", 1), ("d", 1)]),
            of("d", &[("b", 1), ("c", 1)]),
        ];
        Graph::of(&LsdbView { node: "a".to_owned(), digest: String::new(), lsas })
    }

    #[test]
    fn equal_paths_are_all_kept() {
        let reach = square(None).reach("a", Rules::ALL);
        assert_eq!((reach["d"].cost, reach["d"].hops.len()), (2, 2));
    }

    #[test]
    fn nobody_passes_an_overloaded_node_but_reaches_it() {
        let graph = square(Some("b"));
        let reach = graph.reach("a", Rules::ALL);
        assert_eq!(reach["d"].hops, BTreeSet::from(["c".to_owned()]));
        assert_eq!(reach["b"].cost, 1);
        assert_eq!(graph.reach("a", Rules { transit: false, ..Rules::ALL })["d"].hops.len(), 2);
    }

    #[test]
    fn a_link_that_one_end_lists_counts_only_where_the_two_way_check_is_left_out() {
        let mut graph = square(None);
        for node in ["b", "c"] {
            graph.nodes.get_mut(node).unwrap().links.remove("d");
        }
        graph.nodes.get_mut("d").unwrap().links.insert("a".to_owned(), 1);
        assert!(!graph.reach("a", Rules::ALL).contains_key("d"));
        graph.nodes.get_mut("a").unwrap().links.insert("x".to_owned(), 1);
        assert!(graph.reach("a", Rules { two_way: false, ..Rules::ALL }).contains_key("x"));
        assert_eq!(graph.path("a", "d", Rules::ALL), None);
    }
}
