//! When a network has converged: every adjacency full, every database equal, every announced name judged and, where it was
//! accepted, in every forwarding table.
//!
//! A foreign node need not say anything of itself. Then its neighbours speak for it: the adjacency is full at their end, it
//! has acknowledged every LSA they sent it, its SG has judged its names. An adjacency of two such nodes counts when the
//! topology LSAs of both list the other.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use damc_mgmt::view::{AnnouncementsView, FibView, LsdbView, NeighborsView, ServiceView, ServicesView, Shown};
use damc_mgmt::words::{AdjacencyState, AnnouncementState, LsaKind, ServiceState};
use damc_topology::plan::{Plan, Process};
use futures::future::{Either, select, try_join_all};

use crate::{Observed, Result, WorldError};

/// Shortest pause between two looks: shorter than anything that is measured here.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Longest pause between two looks.
const LOOK_AGAIN_AT_LAST: Duration = Duration::from_millis(200);
/// A pause is so many times as long as the look before it.
const REST: u32 = 4;

/// The pause after a look that took this long: longer after longer ones, so that looking does not slow down what is looked
/// at.
#[must_use]
pub fn pause(took: Duration, least: Duration, most: Duration) -> Duration {
    (took * REST).clamp(least, most)
}

/// What is out of order on purpose: nodes that do not run, and links that carry nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages {
    nodes: BTreeSet<String>,
    /// Both ends of each, in both orders.
    links: BTreeSet<(String, String)>,
}

impl Outages {
    /// These nodes, and the links between these ends.
    #[must_use]
    pub fn of(nodes: impl IntoIterator<Item = String>, links: impl IntoIterator<Item = (String, String)>) -> Self {
        let links = links.into_iter().flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]);
        Self { nodes: nodes.into_iter().collect(), links: links.collect() }
    }

    fn concern(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }

    /// Whether nothing can pass between two neighbours.
    fn part(&self, a: &str, b: &str) -> bool {
        self.concern(a) || self.concern(b) || self.links.contains(&(a.to_owned(), b.to_owned()))
    }
}

/// Waits until the network has converged.
///
/// # Errors
/// It has not within `within`, with what was missing last, or a node ended meanwhile.
pub async fn wait(network: &dyn Observed, within: Duration) -> Result<()> {
    wait_around(network, &Outages::default(), within).await
}

/// Waits until the network has converged around outages: each is noticed at its other end, the routers of each part that is
/// left agree, and they have the names of their part and no others.
///
/// # Errors
/// As [`wait`].
pub async fn wait_around(network: &dyn Observed, outages: &Outages, within: Duration) -> Result<()> {
    let looking = Look { network, outages, parts: Parts::of(network.plan(), outages) };
    match select(network.failed(), pin!(looking.until(within))).await {
        Either::Left((failure, _)) => Err(failure),
        Either::Right((Ok(()), _)) => Ok(()),
        Either::Right((Err(last), _)) => Err(WorldError::Deadline { what: "convergence".to_owned(), within, last }),
    }
}

/// The parts that outages leave of a network: each node that runs and reaches a router, with the number of its part.
struct Parts<'a>(BTreeMap<&'a str, usize>);

impl<'a> Parts<'a> {
    fn of(plan: &'a Plan, outages: &Outages) -> Self {
        let routers = plan.processes.iter().filter(|process| is_router(process) && !outages.concern(&process.node));
        let mut parts: BTreeMap<&str, usize> =
            routers.zip(0..).map(|(process, n)| (process.node.as_str(), n)).collect();
        for link in &plan.links {
            let (a, b) = (link.a.node.as_str(), link.b.node.as_str());
            if let (false, Some(&one), Some(&other)) = (outages.part(a, b), parts.get(a), parts.get(b)) {
                parts.values_mut().filter(|part| **part == other).for_each(|part| *part = one);
            }
        }
        let others = plan.processes.iter().filter(|process| !is_router(process));
        let others: Vec<_> = others
            .filter_map(|process| {
                let ports = process.config.ports.iter().filter(|port| !outages.part(&process.node, &port.name));
                let part = ports.filter_map(|port| parts.get(port.name.as_str())).next()?;
                Some((process.node.as_str(), *part))
            })
            .collect();
        parts.extend(others);
        Self(parts)
    }
}

struct Look<'a> {
    network: &'a dyn Observed,
    outages: &'a Outages,
    parts: Parts<'a>,
}

impl<'a> Look<'a> {
    async fn until(&self, within: Duration) -> Result<(), String> {
        let deadline = self.network.now_ns().saturating_add(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
        loop {
            let began = self.network.now_ns();
            let Err(missing) = self.once().await else { return Ok(()) };
            let now = self.network.now_ns();
            if now >= deadline {
                return Err(missing.text());
            }
            self.network.sleep(pause(Duration::from_nanos(now - began), LOOK_AGAIN, LOOK_AGAIN_AT_LAST)).await;
        }
    }

    async fn show<T: Shown>(&self, node: &str) -> Result<T> {
        let none = || WorldError::Lab(format!("{node} showed something else than {}", T::KIND));
        T::of(self.network.view(node, T::KIND).await?).ok_or_else(none)
    }

    /// One look, cheapest question first.
    async fn once(&self) -> Result<(), Missing> {
        self.every_adjacency_full().await?;
        let accepted = self.every_name_judged().await?;
        self.every_database_equal().await?;
        self.every_name_everywhere(&accepted).await
    }

    async fn every_adjacency_full(&self) -> Result<(), Missing> {
        let views = self.views::<NeighborsView>(|kind| matches!(kind, "sg" | "sr")).await?;
        let wrong = views.iter().flat_map(|(node, view)| {
            let cut = |port: &str| self.outages.part(node, port);
            let rows = view.neighbors.iter().filter(move |row| (row.state == AdjacencyState::Full) == cut(&row.port));
            rows.map(move |row| format!("{node}→{} is {}", row.port, row.state))
        });
        nothing("adjacencies", wrong)?;
        let silent = self.silent(&views);
        if silent.is_empty() {
            return Ok(());
        }
        // A node that says nothing may still be exchanging databases: its own topology LSA lists full adjacencies only.
        let lsdbs = self.views::<LsdbView>(|kind| matches!(kind, "sg" | "sr" | "scsc")).await?;
        let Some((_, lsdb)) = lsdbs.first() else { return Ok(()) };
        let unlisted = self.router_links().filter(|(near, far)| {
            let lists = |near: &str, far: &str| {
                let of_near = lsdb.lsas.iter().filter(|lsa| lsa.origin == near && lsa.kind == LsaKind::Topology);
                of_near.flat_map(|lsa| &lsa.links).any(|link| link.neighbour == far)
            };
            (silent.contains(near) || silent.contains(far)) && !(lists(near, far) && lists(far, near))
        });
        nothing("adjacencies", unlisted.map(|(near, far)| format!("{near}–{far} is not advertised by both ends")))?;
        let unacknowledged = views.iter().flat_map(|(node, view)| {
            let rows = view.neighbors.iter().filter(|row| silent.contains(row.port.as_str()) && row.unacknowledged > 0);
            rows.map(move |row| format!("{} has not acknowledged {} LSAs of {node}", row.port, row.unacknowledged))
        });
        nothing("databases", unacknowledged)
    }

    /// SGs and SRs that do not tell of their neighbours.
    fn silent(&self, told: &[(&str, NeighborsView)]) -> BTreeSet<&'a str> {
        let routers = self.running().filter(|process| is_router(process));
        let silent =
            routers.map(|process| process.node.as_str()).filter(|node| told.iter().all(|(told, _)| told != node));
        silent.collect()
    }

    /// Links between SGs and SRs that carry something.
    fn router_links(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let plan = self.network.plan();
        let router = |node: &str| plan.process(node).is_some_and(is_router);
        let ends = plan.links.iter().map(|link| (link.a.node.as_str(), link.b.node.as_str()));
        ends.filter(move |(a, b)| router(a) && router(b) && !self.outages.part(a, b))
    }

    /// What is known of each pod's names: what it says itself, else what its SG says of it.
    async fn announcements(&self) -> Result<Vec<(&'a str, AnnouncementsView)>, Missing> {
        let mut views = self.views::<AnnouncementsView>(|kind| kind == "pod").await?;
        views.retain(|(pod, _)| self.part_of(pod).is_some());
        let pods =
            self.running().filter(|process| process.config.role == "pod" && self.part_of(&process.node).is_some());
        let silent: Vec<&Process> = pods.filter(|pod| views.iter().all(|(told, _)| *told != pod.node)).collect();
        for pod in silent {
            let Some(sg) = pod.config.ports.first() else { continue };
            match self.show::<AnnouncementsView>(&sg.name).await {
                Ok(mut view) => {
                    view.announcements.retain(|row| row.pod == pod.node);
                    views.push((pod.node.as_str(), view));
                }
                Err(WorldError::NotOffered { .. }) => {}
                Err(error) => return Err(Missing::Answer(error)),
            }
        }
        Ok(views)
    }

    fn running(&self) -> impl Iterator<Item = &'a Process> {
        self.network.plan().processes.iter().filter(|process| !self.outages.concern(&process.node))
    }

    /// The part a node is in; none where it does not run or reaches no router.
    fn part_of(&self, node: &str) -> Option<usize> {
        self.parts.0.get(node).copied()
    }

    /// The names accepted, each with the parts that it is in; it is missing while one is not judged.
    async fn every_name_judged(&self) -> Result<Vec<(String, usize)>, Missing> {
        let views = self.announcements().await?;
        let mut accepted = BTreeSet::new();
        let mut open = Vec::new();
        for (pod, view) in &views {
            let announced = self.network.plan().process(pod).into_iter().flat_map(Process::names);
            let part = self.part_of(pod).unwrap_or_default();
            for name in announced {
                let row = view.announcements.iter().find(|row| row.prefix == name);
                match row.map(|row| row.state) {
                    Some(AnnouncementState::Accepted) => drop(accepted.insert((name.to_owned(), part))),
                    Some(AnnouncementState::Refused) => {}
                    Some(AnnouncementState::Pending) => open.push((*pod, name, AnnouncementState::Pending.label())),
                    None => open.push((*pod, name, "not announced")),
                }
            }
        }
        if !open.is_empty() {
            let services = self.views::<ServicesView>(|kind| kind == "pod").await?;
            let row = |pod: &str, name: &str| {
                let (_, view) = services.iter().find(|(node, _)| *node == pod)?;
                view.services.iter().find(|service| service.prefix == name)
            };
            let told = open.iter().map(|(pod, name, state)| {
                let program = row(pod, name).and_then(|service| not_ready(pod, service));
                format!("{name} of {pod} is {state}{}", program.unwrap_or_default())
            });
            nothing("names", told)?;
        }
        Ok(accepted.into_iter().collect())
    }

    async fn every_database_equal(&self) -> Result<(), Missing> {
        let views = self.views::<LsdbView>(|kind| matches!(kind, "sg" | "sr" | "scsc")).await?;
        let first_of = |node: &str| views.iter().find(|(other, _)| self.part_of(other) == self.part_of(node));
        let differing = views.iter().filter_map(|(node, view)| {
            let (first, reference) = first_of(node).filter(|_| self.part_of(node).is_some())?;
            let foreign = [*node, *first].into_iter().any(|node| self.is_foreign(node));
            let differs = view.digest != reference.digest && !(foreign && held(view) == held(reference));
            let lsas = |view: &LsdbView| view.lsas.len();
            differs.then(|| format!("{node} ({} LSAs) differs from {first} ({})", lsas(view), lsas(reference)))
        });
        nothing("databases", differing)
    }

    async fn every_name_everywhere(&self, accepted: &[(String, usize)]) -> Result<(), Missing> {
        let views = self.views::<FibView>(|kind| matches!(kind, "sg" | "sr")).await?;
        let lacking = views.iter().filter_map(|(node, view)| {
            let has = |name: &str| view.entries.iter().any(|entry| entry.prefix == name && !entry.next_hops.is_empty());
            let part = self.part_of(node);
            let here = accepted.iter().filter(|(_, at)| Some(*at) == part);
            let lacks: Vec<_> = here.map(|(name, _)| name.as_str()).filter(|name| !has(name)).collect();
            (!lacks.is_empty()).then(|| format!("{node} lacks {}", lacks.join(" ")))
        });
        nothing("forwarding tables", lacking)?;
        let kept = views.iter().filter_map(|(node, view)| {
            let has = |name: &&str| view.entries.iter().any(|e| e.prefix == *name && !e.next_hops.is_empty());
            let gone: Vec<_> = self.gone_from(self.part_of(node)).filter(has).collect();
            (!gone.is_empty()).then(|| format!("{node} still has {}", gone.join(" ")))
        });
        nothing("forwarding tables", kept)
    }

    /// Names that no pod has any more as a part of the network sees it.
    fn gone_from(&self, part: Option<usize>) -> impl Iterator<Item = &'a str> {
        let pods = self.network.plan().processes.iter().filter(|process| process.config.role == "pod");
        let (here, away): (Vec<_>, Vec<_>) =
            pods.partition(|pod| self.part_of(&pod.node).is_some_and(|at| Some(at) == part));
        let kept: BTreeSet<&str> = here.into_iter().flat_map(Process::names).collect();
        away.into_iter().flat_map(Process::names).filter(move |name| !kept.contains(name))
    }

    fn is_foreign(&self, node: &str) -> bool {
        self.network.plan().process(node).is_some_and(|process| process.program.is_foreign())
    }

    /// One view of every node of some kinds that offers it.
    async fn views<T: Shown>(&self, kinds: impl Fn(&str) -> bool) -> Result<Vec<(&'a str, T)>, Missing> {
        let processes = self.running().filter(|process| kinds(&process.config.role));
        let nodes = processes.map(|process| process.node.as_str());
        let ask = async |node| match self.show::<T>(node).await {
            Err(WorldError::NotOffered { .. }) => Ok(None),
            view => view.map(|view| Some((node, view))),
        };
        let views = try_join_all(nodes.map(ask)).await.map_err(Missing::Answer)?;
        Ok(views.into_iter().flatten().collect())
    }
}

/// The LSAs of a database, by key and number. A foreign node may say less of an LSA than ours does, and so have another
/// digest of the same.
fn held(view: &LsdbView) -> BTreeSet<(&str, &str, &str, Option<&str>, u64)> {
    let lsas = view.lsas.iter().filter(|lsa| !lsa.purged);
    lsas.map(|lsa| (lsa.origin.as_str(), lsa.kind.label(), lsa.id.as_str(), lsa.port.as_deref(), lsa.sequence))
        .collect()
}

fn is_router(process: &Process) -> bool {
    matches!(process.config.role.as_str(), "sg" | "sr")
}

/// Why a service with a program is not announced.
fn not_ready(pod: &str, service: &ServiceView) -> Option<String> {
    if service.program == "built-in" || service.state == ServiceState::Ready {
        return None;
    }
    let mut text = format!(", for `{}` is {}", service.program, service.state);
    if service.starts > 1 {
        text.push_str(&format!(" after {} starts", service.starts));
    }
    if let Some(ended) = &service.ended {
        text.push_str(&format!("; it ended last with {ended}"));
    }
    if let Some(said) = service.said.last() {
        text.push_str(&format!(" and said {said:?}"));
    }
    Some(format!("{text} (`damc logs {pod}`)"))
}

/// Why a network has not converged.
enum Missing {
    /// The nodes say so.
    So(String),
    /// A node does not answer.
    Answer(WorldError),
}

impl Missing {
    fn text(self) -> String {
        match self {
            Self::So(text) => text,
            Self::Answer(error) => error.one_line(),
        }
    }
}

/// Nothing is missing, or the first few of it.
fn nothing(of: &str, missing: impl Iterator<Item = String>) -> Result<(), Missing> {
    const TOLD: usize = 5;
    let missing: Vec<String> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let more = missing.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Missing::So(format!("{of}: {}{more}", missing[..missing.len().min(TOLD)].join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_ready_is_named_with_its_end_and_its_last_words() {
        let mut service = ServiceView {
            prefix: "/A/1".into(),
            state: ServiceState::Waiting,
            program: "python3 web.py".into(),
            starts: 8,
            ended: Some("exit status: 1".into()),
            said: vec!["Traceback:".into(), "ModuleNotFoundError: No module named 'flask'".into()],
            next_start_ms: Some(700),
        };
        let told = not_ready("pod-1", &service).unwrap();
        assert_eq!(
            told,
            ", for `python3 web.py` is waiting after 8 starts; it ended last with exit status: 1 and said \
             \"ModuleNotFoundError: No module named 'flask'\" (`damc logs pod-1`)"
        );
        service.state = ServiceState::Ready;
        assert_eq!(not_ready("pod-1", &service), None);
        service.program = "built-in".into();
        assert_eq!(not_ready("pod-1", &ServiceView { state: ServiceState::Waiting, ..service }), None);
    }
}
