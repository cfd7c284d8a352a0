//! Estimates of paths that are not probed, from link telemetry and from the probes of other paths.

use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::Thresholds;
use damc_wire::{Name, NodeId, Timestamp};

use super::path_table::PathTable;
use super::threshold::{Metric, PathMetrics};
use super::topology::{Catalogue, Link, PlainPaths, Topology};

/// Assumed delay of an unmeasured link of cost 1, ns.
const UNMEASURED_NS: u64 = 1_000_000;
/// Added to the weight of each link, ns, to prefer the shorter one of paths with equal delay.
const HOP_NS: u64 = 50_000;

/// All inputs of a decision.
#[derive(Debug)]
pub struct World<'a> {
    /// Time.
    pub now: Timestamp,
    /// Graph of the replica.
    pub topology: &'a Topology,
    /// Services of the replica.
    pub catalogue: &'a Catalogue,
    /// Measurements.
    pub table: &'a PathTable,
    /// Paths of the labels in force, by source and label.
    pub candidates: &'a BTreeMap<(NodeId, u32), Vec<NodeId>>,
}

/// Knowledge about the links with respect to one threshold.
#[derive(Debug)]
pub(super) struct LinkPicture {
    /// The highest measured bandwidth of any path over the link: the link has at least that.
    bandwidth: BTreeMap<Link, u64>,
    /// Links on a measured path that violates nothing.
    innocent: BTreeSet<Link>,
}

impl World<'_> {
    /// All shortest paths from one SG to another.
    pub(super) fn plain(&self, source: &NodeId, origin: &NodeId) -> Option<PlainPaths> {
        let (from, to) = (self.topology.index(source)?, self.topology.index(origin)?);
        self.topology.plain_paths(&self.topology.plain_distances(from), to)
    }

    /// Derives knowledge about links from all fresh measurements whose path is known for certain.
    pub(super) fn picture(&self, preset: &Thresholds) -> LinkPicture {
        let mut picture = LinkPicture { bandwidth: BTreeMap::new(), innocent: BTreeSet::new() };
        let mut distances = BTreeMap::new();
        for ((source, target, label), state) in self.table.all_fresh(self.now) {
            let links = if *label == 0 {
                let Some(from) = self.topology.index(source) else { continue };
                let Some(to) = self.origin(target).and_then(|o| self.topology.index(o)) else { continue };
                let known = distances.entry(from).or_insert_with(|| self.topology.plain_distances(from));
                let plain = self.topology.plain_paths(known, to).filter(PlainPaths::is_single);
                plain.map(|p| p.links).unwrap_or_default()
            } else {
                let candidate = self.candidates.get(&(source.clone(), *label)).cloned().unwrap_or_default();
                self.links_of(&candidate).into_iter().collect()
            };
            let metrics = state.metrics();
            if let Some(bps) = metrics.bandwidth_bps {
                for link in &links {
                    let best = picture.bandwidth.entry(*link).or_default();
                    *best = bps.max(*best);
                }
            }
            if metrics.delay_ns.is_some() && metrics.violations(preset).is_empty() {
                picture.innocent.extend(links);
            }
        }
        picture
    }

    /// The one SG that advertises an instance.
    fn origin(&self, instance: &Name) -> Option<&NodeId> {
        match self.catalogue.members(instance) {
            [only] => Some(&only.origin),
            _ => None,
        }
    }

    pub(super) fn links_of(&self, path: &[NodeId]) -> Vec<Link> {
        let indices: Vec<u32> = path.iter().filter_map(|n| self.topology.index(n)).collect();
        if indices.len() == path.len() { indices.windows(2).map(|w| (w[0], w[1])).collect() } else { Vec::new() }
    }

    /// Weight of a link for the search: its measured delay; `None` if the link alone would violate the preset.
    pub(super) fn weight(&self, picture: &LinkPicture, preset: &Thresholds, link: Link, cost: u32) -> Option<u64> {
        let (delay, jitter) = self.link_delay(link, cost);
        let alone = PathMetrics {
            delay_ns: Some(delay),
            jitter_ns: jitter,
            bandwidth_bps: picture.bandwidth.get(&link).copied(),
            available: true,
        };
        alone.violations(preset).is_empty().then_some(delay.saturating_add(HOP_NS))
    }

    fn link_delay(&self, (from, to): Link, cost: u32) -> (u64, Option<u64>) {
        let (delay, jitter) = self.table.link(self.now, self.topology.node(from), self.topology.node(to));
        (delay.unwrap_or(UNMEASURED_NS.saturating_mul(u64::from(cost))), jitter)
    }

    /// Expected metrics of a path to an instance. Delays and jitters of links add up, and bandwidth is the least known
    /// one. The serving SG's own probe of its instance contributes the rest.
    pub(super) fn estimate(&self, picture: &LinkPicture, path: &[u32], instance: &Name) -> PathMetrics {
        let behind = path
            .last()
            .and_then(|sg| self.table.fresh(self.now, self.topology.node(*sg), instance, 0))
            .map_or(PathMetrics::UNKNOWN, super::path_table::PathState::metrics);
        let mut sum = PathMetrics { delay_ns: Some(behind.delay_ns.unwrap_or(0)), ..behind };
        for link in path.windows(2).map(|w| (w[0], w[1])) {
            let (delay, jitter) = self.link_delay(link, self.topology.cost(link).unwrap_or(1));
            sum.delay_ns = sum.delay_ns.map(|d| d.saturating_add(delay));
            sum.jitter_ns = jitter.map(|j| j.saturating_add(sum.jitter_ns.unwrap_or(0))).or(sum.jitter_ns);
            let known = picture.bandwidth.get(&link).copied();
            sum.bandwidth_bps = known.into_iter().chain(sum.bandwidth_bps).min();
        }
        sum
    }

    /// Part of a probe's round trip along a label that belongs to the return path, ns: answers take the plain path.
    /// `None` if one of its links is not measured.
    pub(super) fn way_back(&self, source: &NodeId, origin: &NodeId) -> Option<u64> {
        let plain = self.plain(origin, source)?;
        let on_way =
            |(from, to): &Link| self.table.link(self.now, self.topology.node(*from), self.topology.node(*to)).0;
        let delays: Vec<u64> = plain.links.iter().map(on_way).collect::<Option<_>>()?;
        let total: u64 = delays.iter().sum();
        // For several equal paths the mean: links count by their share of the nodes passed.
        let ways = u64::try_from(plain.links.len()).ok()?.max(1);
        let hops = self.hops(origin, source)?;
        Some(total / ways * hops)
    }

    fn hops(&self, from: &NodeId, to: &NodeId) -> Option<u64> {
        let (from, to) = (self.topology.index(from)?, self.topology.index(to)?);
        let path = self.topology.least(from, to, |_, cost| Some(u64::from(cost)))?;
        u64::try_from(path.len() - 1).ok()
    }

    /// Metrics of a label path, from probes along it. Their answers come back by the plain path. The delay of that path
    /// is replaced by that of the label path, so that the value is comparable with that of a plain path (half the round
    /// trip over the same path).
    pub(super) fn along_label(
        &self,
        raw: PathMetrics,
        source: &NodeId,
        origin: &NodeId,
        instance: &Name,
    ) -> PathMetrics {
        let behind = self.table.fresh(self.now, origin, instance, 0).and_then(|s| s.metrics().delay_ns).unwrap_or(0);
        let corrected = raw
            .delay_ns
            .zip(self.way_back(source, origin))
            .map(|(half, back)| half.saturating_mul(2).saturating_sub(back).saturating_sub(behind).max(behind));
        PathMetrics { delay_ns: corrected.or(raw.delay_ns), ..raw }
    }
}

impl LinkPicture {
    /// Links of a violating path that are on no good path.
    pub(super) fn suspects(&self, plain: &BTreeSet<Link>) -> BTreeSet<Link> {
        plain.difference(&self.innocent).copied().collect()
    }
}

/// Score of violations, higher is worse: unavailability outweighs everything else.
pub(super) fn score(violated: &[Metric]) -> u32 {
    violated.iter().map(|m| if *m == Metric::Availability { 100 } else { 1 }).sum()
}

/// A path that traffic could take. The order is by quality, best first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ScoredPath {
    /// Score of the violations expected on it.
    pub score: u32,
    /// Suspect links on it.
    pub suspects: usize,
    /// Expected delay, ns.
    pub delay_ns: u64,
    /// From source SG to serving SG.
    pub path: Vec<NodeId>,
    /// Serving instance.
    pub instance: Name,
}

impl ScoredPath {
    pub(super) fn new(
        world: &World<'_>,
        path: &[u32],
        instance: &Name,
        metrics: &PathMetrics,
        judged: (&Thresholds, &BTreeSet<Link>),
    ) -> Self {
        let links = path.windows(2).map(|w| (w[0], w[1]));
        Self {
            score: score(&metrics.violations(judged.0)),
            suspects: links.filter(|l| judged.1.contains(l)).count(),
            delay_ns: metrics.delay_ns.unwrap_or(u64::MAX),
            path: path.iter().map(|n| world.topology.node(*n).clone()).collect(),
            instance: instance.clone(),
        }
    }
}
