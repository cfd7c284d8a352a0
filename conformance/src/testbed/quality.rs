//! Paths and their quality: which ones a case can impair by a single link, what the SCSC knows of them, and where it
//! sends their traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_mgmt::config::Thresholds;
use damc_mgmt::event::EventKind;
use damc_mgmt::view::{PathView, PolicyView};
use damc_mgmt::words::{Metric, PolicyActionKind, RouteSource};
use damc_testbed::WorldError;
use damc_testbed::{Direction, LinkChange};
use damc_wire::message::{Policy, PolicyAction};
use damc_wire::{Message, Name, Role};

use super::{Testbed, detour};
use crate::case::Stop;
use crate::oracle::{Failures, Oracle};
use crate::trace::Seen;

/// The only shortest path from an SG to a service of another SG, with its first link. Impairing that link impairs the
/// path, and another path avoids it.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Source SG; near end of the link.
    pub sg: String,
    /// A pod behind it.
    pub pod: String,
    /// The service.
    pub target: String,
    /// Far end of the link.
    pub far: String,
    /// The plain path.
    pub plain: Vec<String>,
    /// Preset conditions of the target.
    pub limits: Thresholds,
}

/// A policy of one SG for one name, as the SCSC shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    /// Label.
    pub label: u32,
    /// Version at the ingress.
    pub version: u64,
    /// From the source SG to the serving SG.
    pub path: Vec<String>,
}

impl Testbed {
    /// The SCSC.
    ///
    /// # Errors
    /// The topology has none.
    pub fn scsc(&self) -> Result<String, Stop> {
        self.of_kind(&[Role::Scsc]).pop().ok_or_else(|| Stop::NotApplicable("no SCSC".into()))
    }

    /// The preset conditions of a name, by longest prefix.
    ///
    /// # Errors
    /// The topology presets none.
    pub fn limits(&self, name: &str) -> Result<Thresholds, Stop> {
        let qos = self.topology.qos();
        let mut at: Option<Name> = name.parse().ok();
        while let Some(prefix) = at {
            if let Some(found) = qos.by_prefix.get(&prefix) {
                return Ok(*found);
            }
            at = prefix.parent();
        }
        qos.default.ok_or_else(|| Stop::NotApplicable(format!("no thresholds for {name}")))
    }

    /// Up to `count` legs. No leg's first link lies on the plain path of another SG's leg. Every leg has a path left
    /// when all these links are bad. Legs with tight delay limits come first.
    ///
    /// # Errors
    /// The topology has none.
    pub fn legs(&self, count: usize) -> Result<Vec<Leg>, Stop> {
        let oracle = Oracle::new(&self.topology, &Failures::default());
        let mut legs: Vec<Leg> = Vec::new();
        for sg in self.of_kind(&[Role::Sg]) {
            let Ok(pod) = self.pod_of(&sg) else { continue };
            let mut targets = Vec::new();
            for service in self.topology.of_kind(Role::Pod).flat_map(|p| &p.services) {
                let target = service.prefix.to_string();
                let limits = self.limits(&target)?;
                let judged = limits.delay_ns < u64::MAX && limits.jitter_ns < u64::MAX && limits.bandwidth_bps > 0;
                if let Some(plain) = only_chain(&oracle, &sg, &target).filter(|plain| judged && plain.len() > 2) {
                    targets.push((limits.delay_ns, target, plain, limits));
                }
            }
            targets.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            for (_, target, plain, limits) in targets {
                let far = plain[1].clone();
                legs.push(Leg { sg: sg.clone(), pod: pod.clone(), target, far, plain, limits });
                if self.are_apart(&legs) && self.are_avoidable(&legs)? {
                    break;
                }
                legs.pop();
            }
            if legs.len() == count {
                break;
            }
        }
        if legs.is_empty() {
            let why = "no path whose first link can be avoided by one that is well within the thresholds of its target";
            Err(Stop::NotApplicable(why.into()))
        } else {
            Ok(legs)
        }
    }

    fn are_apart(&self, legs: &[Leg]) -> bool {
        let failures = legs.iter().fold(Failures::default(), |f, leg| f.link(&leg.sg, &leg.far));
        let oracle = Oracle::new(&self.topology, &failures);
        let uses = |leg: &Leg, other: &Leg| {
            leg.plain
                .windows(2)
                .any(|w| (w[0] == other.sg && w[1] == other.far) || (w[0] == other.far && w[1] == other.sg))
        };
        legs.iter().all(|leg| {
            oracle.toward(&leg.sg, &leg.target).is_some()
                && legs.iter().all(|other| other.sg == leg.sg || !uses(leg, other))
        })
    }

    /// Whether each of these paths is within the thresholds of its target, and another one that avoids all first links too.
    fn are_avoidable(&self, legs: &[Leg]) -> Result<bool, Stop> {
        let avoided: Vec<(&str, &str)> = legs.iter().map(|leg| (leg.sg.as_str(), leg.far.as_str())).collect();
        for leg in legs {
            let (home, pod) = (leg.plain.last().map_or("", String::as_str), self.owner_of(&leg.target)?);
            let chain = leg.plain.iter().map(String::as_str).chain([pod.as_str()]);
            let ends = detour::Ends { sg: &leg.sg, home, pod: &pod };
            if !detour::is_good(&self.topology, chain, &leg.limits)
                || !detour::exists(&self.topology, &ends, &avoided, &leg.limits)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the links as configured leave all paths well within the thresholds of their targets. Elsewhere a sound SCSC
    /// steers from the start on. Where there is none, nobody does.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] with a path that has no such room.
    pub fn leaves_room(&self) -> Result<(), Stop> {
        let cramped = self.cramped.get_or_init(|| self.scsc().ok().and_then(|_| self.cramped_path()));
        cramped.as_ref().map_or(Ok(()), |(sg, target)| {
            let why = format!("the links as configured leave {sg} → {target} too little room below its thresholds");
            Err(Stop::NotApplicable(why))
        })
    }

    /// An SG and a service between which the links as configured are not well within the thresholds.
    fn cramped_path(&self) -> Option<(String, String)> {
        let oracle = Oracle::new(&self.topology, &Failures::default());
        let services = || self.topology.of_kind(Role::Pod).flat_map(|pod| pod.services.iter().map(move |s| (pod, s)));
        self.of_kind(&[Role::Sg]).into_iter().find_map(|sg| {
            let cramped = services().find_map(|(pod, service)| {
                let target = service.prefix.to_string();
                let (limits, chain) = (self.limits(&target).ok()?, oracle.chain(&sg, &target, |_| true)?);
                let chain = chain.iter().map(String::as_str).chain([pod.id.as_str()]);
                (!detour::is_good(&self.topology, chain, &limits)).then_some(target)
            });
            cramped.map(|target| (sg, target))
        })
    }

    /// The largest delay of a link as configured, half of its round trip, ns.
    #[must_use]
    pub fn slowest_link_ns(&self) -> u64 {
        self.topology.links().iter().map(detour::half_round_ns).max().unwrap_or(0)
    }

    /// Sets properties of a link; forward is the direction from `a` to `b`.
    ///
    /// # Errors
    /// The lab refuses.
    pub async fn impair(
        &self,
        (a, b): (&str, &str),
        direction: Direction,
        properties: DirectionChange,
    ) -> Result<(), WorldError> {
        self.lab.link(a, b, LinkChange::Set { direction, properties }).await
    }

    /// What the SCSC knows of the plain path from an SG to a service.
    ///
    /// # Errors
    /// The SCSC does not answer.
    pub async fn quality(&self, sg: &str, target: &str) -> Result<Option<PathView>, WorldError> {
        let Ok(scsc) = self.scsc() else { return Ok(None) };
        let paths = self.lab.policies(&scsc).await?.paths;
        Ok(paths.into_iter().find(|p| p.source == sg && p.target == target && p.label == 0))
    }

    /// Waits until the SCSC's knowledge of a plain path satisfies `holds`.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline.
    pub async fn wait_quality(
        &self,
        (sg, target): (&str, &str),
        what: &str,
        within: Duration,
        holds: impl Fn(&PathView) -> bool,
    ) -> Result<PathView, Stop> {
        self.wait(&format!("{sg} → {target}: {what} at the SCSC"), within, || async {
            Ok(match self.quality(sg, target).await? {
                Some(view) if holds(&view) => Ok(view),
                other => Err(format!("the SCSC has {other:?}")),
            })
        })
        .await
    }

    /// Times, ns, and metrics of the violations that the SCSC raised for a path since `from_ns`. No metrics: it ended.
    ///
    /// # Errors
    /// The SCSC does not answer.
    pub async fn violations(&self, from_ns: u64, sg: &str, to: &str) -> Result<Vec<(u64, Vec<Metric>)>, Stop> {
        let events = self.events(&self.scsc()?).await?;
        let of_path = events.into_iter().filter(|e| e.at_ns >= from_ns).filter_map(|e| match e.kind {
            EventKind::Violation { source, target, metrics } if source == sg && target == to => {
                Some((e.at_ns, metrics))
            }
            _ => None,
        });
        Ok(of_path.collect())
    }

    /// The policy in force for the traffic of an SG to a name, acknowledged by its whole path.
    ///
    /// # Errors
    /// The SCSC does not answer.
    pub async fn steering(&self, sg: &str, prefix: &str) -> Result<Option<Steering>, WorldError> {
        let Ok(scsc) = self.scsc() else { return Ok(None) };
        let all = self.lab.policies(&scsc).await?.policies;
        let mine: Vec<PolicyView> = all.into_iter().filter(|p| p.source == sg && p.prefix == prefix).collect();
        let ingress =
            mine.iter().filter(|p| p.action == PolicyActionKind::Ingress && p.active).max_by_key(|p| p.version);
        let Some(ingress) = ingress else { return Ok(None) };
        let mut path = vec![sg.to_owned()];
        while let Some(next) = mine
            .iter()
            .find(|p| p.label == ingress.label && Some(&p.recipient) == path.last())
            .and_then(|p| p.next_hop.clone())
            .filter(|next| !path.contains(next))
        {
            path.push(next);
        }
        Ok(Some(Steering { label: ingress.label, version: ingress.version, path }))
    }

    /// Waits until a policy of an SG for a name is in force.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline.
    pub async fn wait_steered(&self, sg: &str, prefix: &str, within: Duration) -> Result<Steering, Stop> {
        self.wait(&format!("policy of {sg} for {prefix}"), within, || async {
            Ok(match self.steering(sg, prefix).await? {
                Some(steering) => Ok(steering),
                None => Err(format!("path {:?}", self.quality(sg, prefix).await?)),
            })
        })
        .await
    }

    /// Waits until nothing is steered any more: the SCSC holds no policy, and no FIB shows one.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline.
    pub async fn wait_unsteered(&self, within: Duration) -> Result<(), Stop> {
        let scsc = self.scsc()?;
        self.leaves_room()?;
        self.wait("all traffic on its plain paths", within, || async {
            let view = self.lab.policies(&scsc).await?;
            if let Some(p) = view.policies.first() {
                let path = view.paths.iter().find(|v| v.source == p.source && v.target == p.prefix && v.label == 0);
                return Ok(Err(format!("{} still has {} for {} ({path:?})", p.recipient, p.action, p.prefix)));
            }
            for (node, fib) in self.fibs().await? {
                if let Some(entry) = fib.entries.iter().find(|e| e.source == RouteSource::Policy) {
                    return Ok(Err(format!("{node} still forwards {} by policy", entry.prefix)));
                }
            }
            Ok(Ok(()))
        })
        .await
    }

    /// Longest time until a path of changed quality is steered: the estimates settle, the reports that must agree come
    /// in (two probe periods each), the trains that a bandwidth needs run, and the policy is rolled out.
    #[must_use]
    pub fn t_policy(&self) -> Duration {
        let (probe, report) = (self.timers.probe_interval_ms, self.timers.telemetry_interval_ms);
        let trains = probe * u64::from(self.timers.train_every) * 3;
        // RFC 3550 jitter moves by a sixteenth of the difference with each probe.
        let settle = 32 * probe;
        Duration::from_millis(settle + 4 * (probe + report) + trains + 8 * self.timers.retransmit_ms + 1000)
    }

    /// Longest time until traffic is back after its plain path has healed: the estimates settle, then the hold time and
    /// the reports that must agree pass.
    #[must_use]
    pub fn t_return(&self) -> Duration {
        let reports = u64::from(self.timers.reentry_reports) * self.timers.telemetry_interval_ms;
        self.t_policy() + Duration::from_millis(self.timers.policy_hold_ms + reports)
    }
}

/// Policies for the traffic of an SG to a name, from recorded frames that reached their recipient.
pub fn policies_at_recipients<'a>(
    frames: &'a [Seen],
    sg: &'a str,
    prefix: &'a str,
) -> impl Iterator<Item = &'a Policy> {
    frames
        .iter()
        .filter_map(move |s| match s.message() {
            Message::Policy(p) if !s.sent && p.body.recipient.as_str() == s.node => Some(&p.body),
            _ => None,
        })
        .filter(move |p| p.source.as_str() == sg && p.prefix.to_string() == prefix)
}

/// For each label, in order of appearance, its recipients and the first action that each was told.
pub fn recipients(frames: &[Seen], sg: &str, prefix: &str) -> Vec<(u32, BTreeMap<String, PolicyAction>)> {
    let mut labels: Vec<(u32, BTreeMap<String, PolicyAction>)> = Vec::new();
    for p in policies_at_recipients(frames, sg, prefix).filter(|p| p.action != PolicyAction::Withdrawn) {
        if !labels.iter().any(|(label, _)| *label == p.label) {
            labels.push((p.label, BTreeMap::new()));
        }
        if let Some((_, told)) = labels.iter_mut().find(|(label, _)| *label == p.label) {
            told.entry(p.recipient.to_string()).or_insert_with(|| p.action.clone());
        }
    }
    labels
}

/// Nodes of a set of paths.
pub fn nodes_of<'a>(paths: impl IntoIterator<Item = &'a [String]>) -> BTreeSet<String> {
    paths.into_iter().flatten().cloned().collect()
}

/// The only shortest path from an SG to a service; `None` where there are several. To its own service it is one node.
fn only_chain(oracle: &Oracle, sg: &str, target: &str) -> Option<Vec<String>> {
    oracle.chain(sg, target, |entry| entry.next_hops.len() == 1 && entry.origins.len() == 1)
}
