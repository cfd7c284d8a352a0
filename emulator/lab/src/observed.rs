//! A lab as what suites stand on, as far as it can be watched without a recording.

use std::time::Duration;

use damc_mgmt::event::Event;
use damc_mgmt::view::{
    AnnouncementsView, CountersView, FibView, LsdbView, NeighborsView, PoliciesView, RibView, ServicesView, View,
    ViewKind,
};
use damc_testbed::converge::{self, Outages};
use damc_testbed::{Act, Answer, LinkState, NodeStatus, Observed, WorldError, WorldStatus};
use damc_topology::plan::Plan;
use futures::future::LocalBoxFuture;

use crate::control::{Backend, LinkStatus, NodeState, Status};
use crate::error::{LabError, Result};
use crate::lab::Lab;

impl From<LabError> for WorldError {
    fn from(error: LabError) -> Self {
        match error {
            LabError::Deadline { what, within, last } => Self::Deadline { what, within, last },
            LabError::World(error) => error,
            LabError::NotOffered { node, what } => Self::NotOffered { node, what },
            other => Self::own(other),
        }
    }
}

impl From<WorldError> for LabError {
    fn from(error: WorldError) -> Self {
        match error {
            WorldError::Deadline { what, within, last } => Self::Deadline { what, within, last },
            WorldError::NotOffered { node, what } => Self::NotOffered { node, what },
            WorldError::Own(own) => own.downcast().map_or_else(|own| Self::World(WorldError::Own(own)), |lab| *lab),
            other => Self::World(other),
        }
    }
}

impl Observed for Lab {
    fn plan(&self) -> &Plan {
        &self.job().plan
    }

    fn now_ns(&self) -> u64 {
        damc_link::monotonic_now()
    }

    fn sleep(&self, span: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn view<'a>(&'a self, node: &'a str, kind: ViewKind) -> Answer<'a, View> {
        Box::pin(async move {
            Ok(match kind {
                ViewKind::Fib => self.show::<FibView>(node).await?.into(),
                ViewKind::Rib => self.show::<RibView>(node).await?.into(),
                ViewKind::Lsdb => self.show::<LsdbView>(node).await?.into(),
                ViewKind::Neighbors => self.show::<NeighborsView>(node).await?.into(),
                ViewKind::Policies => self.show::<PoliciesView>(node).await?.into(),
                ViewKind::Counters => self.show::<CountersView>(node).await?.into(),
                ViewKind::Announcements => self.show::<AnnouncementsView>(node).await?.into(),
                ViewKind::Services => self.show::<ServicesView>(node).await?.into(),
                ViewKind::Protocol | ViewKind::Sessions | ViewKind::Digest => {
                    return Err(WorldError::Unsupported(format!("no node serves {kind} by itself")));
                }
            })
        })
    }

    fn status(&self) -> Answer<'_, WorldStatus> {
        Box::pin(async { Ok(world_status(Lab::status(self).await?)) })
    }

    fn events<'a>(&'a self, node: &'a str) -> Answer<'a, Vec<Event>> {
        Box::pin(async move {
            let text = self.management(node)?.get_text("/events?follow=false").await?;
            let wrong = |line: &str, e| WorldError::Lab(format!("{node}: {e}: {line}"));
            let parse = |line: &str| serde_json::from_str(line).map_err(|e| wrong(line, e));
            text.lines().filter(|l| !l.is_empty()).map(parse).collect()
        })
    }

    fn acts(&self) -> Answer<'_, Vec<Act>> {
        Box::pin(async { Ok(Lab::acts(self).await?) })
    }

    fn link_status<'a>(&'a self, a: &'a str, b: &'a str) -> Answer<'a, LinkState> {
        Box::pin(async move {
            let link = Lab::link_status(self, a, b).await?;
            let bypassed = link.bypassed().into_iter().map(|(from, to, n)| (from.to_owned(), to.to_owned(), n));
            let bypassed = bypassed.collect();
            Ok(LinkState { up: link.up, forward: link.forward, backward: link.backward, bypassed })
        })
    }

    fn failed(&self) -> LocalBoxFuture<'_, WorldError> {
        Box::pin(async { Lab::failed(self).await.into() })
    }
}

impl Lab {
    /// Waits until the lab has converged; returns how long after readiness that was.
    ///
    /// # Errors
    /// When it has not within `within`, with what was missing last, or when a node ends meanwhile.
    pub async fn wait_converged(&self, within: Duration) -> Result<Duration> {
        let ready_at_ns = self.status().await?.ready_at_ns;
        converge::wait(self, within).await?;
        Ok(Duration::from_nanos(damc_link::monotonic_now().saturating_sub(ready_at_ns)))
    }

    /// Waits until the lab has converged around the nodes that do not run at present and the links that are down or silent;
    /// returns how long that took.
    ///
    /// # Errors
    /// As [`Lab::wait_converged`].
    pub async fn wait_around_outages(&self, within: Duration) -> Result<Duration> {
        let began_at_ns = damc_link::monotonic_now();
        let status = self.status().await?;
        let nodes = status.nodes.into_iter().filter(|node| node.state != NodeState::Ready).map(|node| node.name);
        let cut = |link: &LinkStatus| !link.up || link.forward.silent || link.backward.silent;
        let links = status.links.into_iter().filter(cut).map(|link| (link.a, link.b));
        converge::wait_around(self, &Outages::of(nodes, links), within).await?;
        Ok(Duration::from_nanos(damc_link::monotonic_now().saturating_sub(began_at_ns)))
    }
}

fn world_status(status: Status) -> WorldStatus {
    let nodes = status.nodes.into_iter();
    let nodes = nodes.map(|n| NodeStatus {
        name: n.name,
        kind: n.kind,
        program: n.program,
        version: n.version,
        state: n.state,
        starts: n.starts,
    });
    WorldStatus {
        backend: status.backend.label().to_owned(),
        recorded_behind_queue: status.backend == Backend::Netem,
        ready_ms: status.ready_ms,
        ready_at_ns: status.ready_at_ns,
        nodes: nodes.collect(),
        failure: status.failure,
    }
}
