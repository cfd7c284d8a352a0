//! When a lab has converged: every adjacency full, every database equal, every announced name judged and, where it was
//! accepted, in every forwarding table.

use std::collections::BTreeSet;
use std::time::Duration;

use damc_mgmt::view::{AnnouncementsView, FibView, LsdbView, NeighborsView, ServiceView, ServicesView, Shown};
use damc_mgmt::words::{AdjacencyState, AnnouncementState, ServiceState};
use damc_topology::plan::Process;
use futures::future::try_join_all;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::{LabError, Result};
use crate::lab::Lab;

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

impl Lab {
    /// Waits until the lab has converged; returns how long after readiness that was.
    ///
    /// # Errors
    /// When it has not within `within`, with what was missing last, or when a node ends meanwhile.
    pub async fn wait_converged(&self, within: Duration) -> Result<Duration> {
        let ready_at_ns = self.status().await?.ready_at_ns;
        tokio::select! {
            failure = self.failed() => Err(failure),
            converged = self.look_until(Instant::now() + within) => {
                let last = match converged {
                    Ok(()) => {
                        let elapsed = damc_link::monotonic_now().saturating_sub(ready_at_ns);
                        return Ok(Duration::from_nanos(elapsed));
                    }
                    Err(missing) => missing,
                };
                Err(LabError::Deadline { what: "convergence".to_owned(), within, last })
            }
        }
    }

    /// What keeps the lab from having converged; none when it has.
    pub async fn missing_for_convergence(&self) -> Option<String> {
        self.look().await.err().map(|missing| match missing {
            Missing::So(text) => text,
            Missing::Answer(error) => error.one_line(),
        })
    }

    async fn look_until(&self, deadline: Instant) -> Result<(), String> {
        loop {
            let began = Instant::now();
            let Err(missing) = self.look().await else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(match missing {
                    Missing::So(text) => text,
                    Missing::Answer(error) => error.one_line(),
                });
            }
            tokio::time::sleep(pause(began.elapsed(), LOOK_AGAIN, LOOK_AGAIN_AT_LAST)).await;
        }
    }

    /// One look, cheapest question first.
    async fn look(&self) -> Result<(), Missing> {
        self.every_adjacency_full().await?;
        let accepted = self.every_name_judged().await?;
        self.every_database_equal().await?;
        self.every_name_everywhere(&accepted).await
    }

    async fn every_adjacency_full(&self) -> Result<(), Missing> {
        let views = self.views::<NeighborsView>(|kind| matches!(kind, "sg" | "sr")).await?;
        let not_full = views.iter().flat_map(|(node, view)| {
            let rows = view.neighbors.iter().filter(|row| row.state != AdjacencyState::Full);
            rows.map(move |row| format!("{node}→{} is {}", row.port, row.state))
        });
        nothing("adjacencies", not_full)
    }

    /// The names accepted; it is missing while one is not judged.
    async fn every_name_judged(&self) -> Result<Vec<String>, Missing> {
        let views = self.views::<AnnouncementsView>(|kind| kind == "pod").await?;
        let mut accepted = BTreeSet::new();
        let mut open = Vec::new();
        for (pod, view) in &views {
            let announced = self.job().plan.process(pod).into_iter().flat_map(Process::names);
            for name in announced {
                let row = view.announcements.iter().find(|row| row.prefix == name);
                match row.map(|row| row.state) {
                    Some(AnnouncementState::Accepted) => drop(accepted.insert(name.to_owned())),
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
        let Some((first, reference)) = views.first() else { return Ok(()) };
        let other = views.iter().filter(|(_, view)| view.digest != reference.digest);
        nothing(
            "databases",
            other.map(|(node, view)| {
                format!("{node} ({} LSAs) differs from {first} ({})", view.lsas.len(), reference.lsas.len())
            }),
        )
    }

    async fn every_name_everywhere(&self, accepted: &[String]) -> Result<(), Missing> {
        let views = self.views::<FibView>(|kind| matches!(kind, "sg" | "sr")).await?;
        let lacking = views.iter().filter_map(|(node, view)| {
            let has = |name: &str| view.entries.iter().any(|entry| entry.prefix == name && !entry.next_hops.is_empty());
            let lacks: Vec<_> = accepted.iter().map(String::as_str).filter(|name| !has(name)).collect();
            (!lacks.is_empty()).then(|| format!("{node} lacks {}", lacks.join(" ")))
        });
        nothing("forwarding tables", lacking)
    }

    /// One view of every node of some kinds.
    async fn views<T: Shown + DeserializeOwned>(
        &self,
        kinds: impl Fn(&str) -> bool,
    ) -> Result<Vec<(&str, T)>, Missing> {
        let processes = self.job().plan.processes.iter().filter(|process| kinds(&process.config.role));
        let nodes = processes.map(|process| process.node.as_str());
        let ask = async |node| Ok::<_, LabError>((node, self.show::<T>(node).await?));
        try_join_all(nodes.map(ask)).await.map_err(Missing::Answer)
    }
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

/// Why a lab has not converged.
enum Missing {
    /// The nodes say so.
    So(String),
    /// A node does not answer.
    Answer(LabError),
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
