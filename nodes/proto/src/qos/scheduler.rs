//! The SCSC's decision: which traffic leaves its plain path, for which path, and when it returns (drafts, section 6
//! (4)).
//!
//! There is one decision for each source SG and name. A name is steered if the plain path (for a pool: to one of its
//! nearest instances) violated a threshold in [`PERSISTENCE`] consecutive reports and another path is expected to
//! violate less. It returns when the plain path stays clear of the thresholds by the re-entry margin for the configured
//! number of reports. The hold time lies between two changes, unless the steered path breaks. Stale telemetry never
//! leads to a decision (POL-14).

use core::time::Duration;
use std::collections::BTreeSet;

use damc_mgmt::config::{Thresholds, Timers};
use damc_wire::{Name, NodeId, Timestamp};

use super::estimate::{ScoredPath, World, score};
use super::path_table::PathState;
use super::threshold::PathMetrics;
use super::topology::{Link, Member};

/// Consecutive reports that must violate before traffic is moved: one late probe is not enough.
pub const PERSISTENCE: usize = 2;
/// Number of hold times for which a path that turned out bad is not tried again.
const AVOID_HOLDS: u32 = 10;

/// Traffic that is steered as one: its source SG and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steered {
    /// Source SG.
    pub source: NodeId,
    /// Service instance or pool.
    pub prefix: Name,
}

/// The path of steered traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidatePath {
    /// From the source SG to the serving SG.
    pub path: Vec<NodeId>,
    /// Instance at the end.
    pub instance: Name,
}

/// State that is kept for one [`Steered`].
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Time of the last change in either direction.
    pub last_change: Option<Timestamp>,
    /// Paths that turned out bad, each with the time until which it is avoided.
    pub avoid: Vec<(Vec<NodeId>, Timestamp)>,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave things as they are.
    Stay,
    /// Send the traffic along this candidate.
    Steer(CandidatePath),
    /// Back to the plain path.
    Return,
}

/// The plain path of one [`Steered`]: the members to which it leads, and their measurements.
struct Plain<'a> {
    used: Vec<&'a Member>,
    links: BTreeSet<Link>,
    states: Vec<&'a PathState>,
}

/// Decides on one name of one SG. `current` is the candidate in force with its label.
#[must_use]
pub fn decide(
    world: &World<'_>,
    timers: &Timers,
    preset: &Thresholds,
    steered: &Steered,
    current: Option<(&CandidatePath, u32)>,
    memory: &mut Memory,
) -> Verdict {
    memory.avoid.retain(|(_, until)| *until > world.now);
    let Some(plain) = plain_of(world, steered) else {
        return if current.is_some() { Verdict::Return } else { Verdict::Stay };
    };
    let hold = Duration::from_millis(timers.policy_hold_ms);
    let held = memory.last_change.is_some_and(|at| world.now.since(at) < hold);
    let Some((candidate, label)) = current else {
        return if held { Verdict::Stay } else { leave_plain(world, preset, steered, &plain, memory) };
    };
    if is_broken(world, steered, candidate) {
        return match leave_plain(world, preset, steered, &plain, memory) {
            Verdict::Stay => Verdict::Return,
            other => other,
        };
    }
    if held || plain.states.len() < plain.used.len() {
        return Verdict::Stay;
    }
    let reports = usize::try_from(timers.reentry_reports).unwrap_or(usize::MAX);
    if plain.states.iter().all(|s| s.last_all(reports, |m| m.is_clear_of(preset, timers.reentry_percent))) {
        return Verdict::Return;
    }
    leave_candidate(world, preset, steered, (candidate, label), &plain, memory, hold)
}

/// Whether the source's measurements are fresh enough to keep its policy alive.
#[must_use]
pub fn is_observed(world: &World<'_>, steered: &Steered) -> bool {
    plain_of(world, steered).is_some_and(|plain| !plain.states.is_empty())
}

/// All nodes on the plain path now, from which a policy moves traffic away.
#[must_use]
pub fn plain_nodes(world: &World<'_>, steered: &Steered) -> BTreeSet<NodeId> {
    let used = plain_of(world, steered).map(|p| p.used).unwrap_or_default();
    let paths = used.into_iter().filter_map(|m| world.plain(&steered.source, &m.origin));
    paths.flat_map(|p| p.nodes).map(|n| world.topology.node(n).clone()).collect()
}

fn plain_of<'a>(world: &World<'a>, steered: &Steered) -> Option<Plain<'a>> {
    let members = world.catalogue.members(&steered.prefix);
    let distances = world.topology.plain_distances(world.topology.index(&steered.source)?);
    let cost = |m: &Member| Some(distances.to(world.topology.index(&m.origin)?)? + u64::from(m.metric));
    let nearest = members.iter().filter_map(cost).min()?;
    let used: Vec<&Member> = members.iter().filter(|m| cost(m) == Some(nearest)).collect();
    let paths = used.iter().filter_map(|m| world.topology.plain_paths(&distances, world.topology.index(&m.origin)?));
    let links = paths.flat_map(|p| p.links).collect();
    let states = used.iter().filter_map(|m| world.table.fresh(world.now, &steered.source, &m.instance, 0)).collect();
    Some(Plain { used, links, states })
}

fn is_broken(world: &World<'_>, steered: &Steered, candidate: &CandidatePath) -> bool {
    let members = world.catalogue.members(&steered.prefix);
    let serves = |m: &Member| m.instance == candidate.instance && candidate.path.last() == Some(&m.origin);
    !members.iter().any(serves) || !world.topology.carries(&candidate.path)
}

fn leave_plain(
    world: &World<'_>,
    preset: &Thresholds,
    steered: &Steered,
    plain: &Plain<'_>,
    memory: &Memory,
) -> Verdict {
    let violates = |m: &PathMetrics| !m.violations(preset).is_empty();
    if !plain.states.iter().any(|s| s.last_all(PERSISTENCE, violates)) {
        return Verdict::Stay;
    }
    let worst = plain.states.iter().map(|s| score(&s.metrics().violations(preset))).max().unwrap_or(0);
    better_than(world, preset, steered, plain, memory, worst)
}

fn leave_candidate(
    world: &World<'_>,
    preset: &Thresholds,
    steered: &Steered,
    (candidate, label): (&CandidatePath, u32),
    plain: &Plain<'_>,
    memory: &mut Memory,
    hold: Duration,
) -> Verdict {
    let Some(state) = world.table.fresh(world.now, &steered.source, &steered.prefix, label) else {
        return Verdict::Stay;
    };
    let Some(origin) = candidate.path.last() else { return Verdict::Return };
    let along = |raw: &PathMetrics| world.along_label(*raw, &steered.source, origin, &candidate.instance);
    if !state.last_all(PERSISTENCE, |raw| !along(raw).violations(preset).is_empty()) {
        return Verdict::Stay;
    }
    let now_violated = score(&along(&state.metrics()).violations(preset));
    memory.avoid.push((candidate.path.clone(), world.now + hold * AVOID_HOLDS));
    let verdict = better_than(world, preset, steered, plain, memory, now_violated);
    let of_plain = plain.states.iter().map(|s| score(&s.metrics().violations(preset))).max().unwrap_or(0);
    if verdict == Verdict::Stay && of_plain < now_violated { Verdict::Return } else { verdict }
}

/// The best candidate, if it is expected to violate less than `score`.
fn better_than(
    world: &World<'_>,
    preset: &Thresholds,
    steered: &Steered,
    plain: &Plain<'_>,
    memory: &Memory,
    score: u32,
) -> Verdict {
    let best = candidates(world, preset, steered, plain)
        .into_iter()
        .filter(|c| !memory.avoid.iter().any(|(path, _)| *path == c.path))
        .min();
    match best {
        Some(c) if c.score < score => Verdict::Steer(CandidatePath { path: c.path, instance: c.instance }),
        _ => Verdict::Stay,
    }
}

/// All candidate paths. For each instance these are its plain path (if traffic does not take it already) and the
/// fastest paths around violating links, around each link of the plain path, and around all of them.
fn candidates(world: &World<'_>, preset: &Thresholds, steered: &Steered, plain: &Plain<'_>) -> Vec<ScoredPath> {
    let picture = world.picture(preset);
    let suspects = picture.suspects(&plain.links);
    let judged = (preset, &suspects);
    let mut found = Vec::new();
    let Some(from) = world.topology.index(&steered.source) else { return found };
    for member in world.catalogue.members(&steered.prefix).iter().filter(|m| m.origin != steered.source) {
        let Some(to) = world.topology.index(&member.origin) else { continue };
        let weight = |link, cost| world.weight(&picture, preset, link, cost);
        let Some(direct) = world.topology.least(from, to, |_, cost| Some(u64::from(cost))) else { continue };
        let elsewhere = plain.used.len() > 1 || !plain.used.contains(&member);
        if elsewhere {
            let measured = world.table.fresh(world.now, &steered.source, &member.instance, 0).map(PathState::metrics);
            let metrics = measured.unwrap_or_else(|| world.estimate(&picture, &direct, &member.instance));
            found.push(ScoredPath::new(world, &direct, &member.instance, &metrics, judged));
        }
        // Of several equal plain paths, traffic may be kept to a good one. A single plain path is not an alternative to
        // itself.
        let single = world.plain(&steered.source, &member.origin).is_some_and(|p| p.is_single());
        let is_only = |path: &[u32]| if single { *path == direct } else { elsewhere && *path == direct };
        let own: Vec<Link> = direct.windows(2).map(|w| (w[0], w[1])).collect();
        let around_each = own.iter().map(|link| vec![*link]);
        let around: BTreeSet<Vec<u32>> = [Vec::new(), own.clone(), suspects.iter().copied().collect()]
            .into_iter()
            .chain(around_each)
            .filter_map(|gone| world.topology.least(from, to, |l, c| weight(l, c).filter(|_| !gone.contains(&l))))
            .filter(|path| !is_only(path))
            .collect();
        for path in around {
            let metrics = world.estimate(&picture, &path, &member.instance);
            found.push(ScoredPath::new(world, &path, &member.instance, &metrics, judged));
        }
    }
    found
}
