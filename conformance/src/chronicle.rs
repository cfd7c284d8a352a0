//! What a run keeps of passing frames for its report: calls and how long they took, frames between names, telemetry.
//!
//! Frames are forgotten after their case, so notes are taken case by case, and bounded: a report needs the shape, captures have
//! the frames.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use damc_explain::Crossing;
use damc_mgmt::config::Thresholds;
use damc_topology::Topology;
use damc_wire::message::DataKind;
use damc_wire::{Message, MessageType, Name, NodeId, Role};
use serde::{Deserialize, Serialize};

use crate::testbed::Testbed;
use crate::trace::Seen;
use crate::verdict::Kind;

/// Frames between names looked at after each case, and kept in all.
const PER_CASE: usize = 20_000;
const CROSSINGS: usize = 150_000;
/// Calls and measurements in a report.
const CALLS: usize = 2_000;
const POINTS: usize = 400;
/// Measured paths in a report.
const PATHS: usize = 48;

/// A case on the axis of time. Times are ns since the lab was ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseSpan {
    /// Its identifier.
    pub id: String,
    /// How it ended.
    pub verdict: Kind,
    /// When it began.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
}

/// A call of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDot {
    /// When the pod sent it, ns since the lab was ready.
    pub at_ns: u64,
    /// The pod.
    pub pod: String,
    /// What it called.
    pub name: String,
    /// Until the answer was back at the pod, ns; absent where none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ns: Option<u64>,
}

/// What an SG reported of its path to a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathSeries {
    /// The SG.
    pub source: String,
    /// The service.
    pub target: String,
    /// The delay from which on the path violates its preset, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_ns: Option<u64>,
    /// When it was reported, ns since the lab was ready, and the delay, ns.
    pub delays: Vec<(u64, u64)>,
}

/// Notes of a run.
#[derive(Debug, Default)]
pub(crate) struct Chronicle {
    /// When the network had converged, world's clock.
    pub(crate) converged_ns: u64,
    noted_ns: u64,
    words: HashSet<Arc<str>>,
    crossings: Vec<Crossing>,
    /// Calls without an answer yet, by pod and correlation.
    open: HashMap<(Arc<str>, u64), (u64, Arc<str>)>,
    /// Calls with their answers, on the world's clock.
    calls: Vec<CallDot>,
    /// On the world's clock.
    cases: Vec<CaseSpan>,
}

impl Chronicle {
    /// Of a network that has converged by now.
    pub(crate) fn of(testbed: &Testbed) -> Self {
        let converged_ns = testbed.now_ns();
        Self { converged_ns, noted_ns: converged_ns, ..Self::default() }
    }

    /// Takes note of the frames between names since the last time.
    pub(crate) async fn note(&mut self, testbed: &Testbed) {
        let from_ns = self.noted_ns;
        self.noted_ns = testbed.now_ns();
        // Where the recording cannot be read the run ends for that reason.
        let Ok(seen) = testbed.calls(from_ns, PER_CASE).await else { return };
        for seen in &seen {
            self.take(
                seen,
                testbed.topology.nodes().get(seen.node.as_str()).is_some_and(|node| node.kind == Role::Pod),
            );
        }
    }

    /// Takes note of a case. Times are on the world's clock.
    pub(crate) fn case(&mut self, id: &str, verdict: Kind, from_ns: u64, to_ns: u64) {
        self.cases.push(CaseSpan { id: id.to_owned(), verdict, from_ns, to_ns });
    }

    fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.words.insert(Arc::clone(&word));
        word
    }

    fn take(&mut self, seen: &Seen, at_pod: bool) {
        let Some((destination, _)) = &seen.frame.names else { return };
        let (node, name) = (self.word(&seen.node), self.word(&destination.to_string()));
        if let (true, Message::Data(data)) = (at_pod, seen.message()) {
            let key = (Arc::clone(&node), data.correlation);
            match (&data.kind, seen.sent) {
                (DataKind::Request { .. }, true) => {
                    self.open.entry(key).or_insert((seen.at_ns, Arc::clone(&name)));
                }
                (DataKind::Response | DataKind::Error { .. }, false) => {
                    if let Some((at_ns, of)) = self.open.remove(&key) {
                        let took_ns = Some(seen.at_ns.saturating_sub(at_ns));
                        self.calls.push(CallDot { at_ns, pod: node.to_string(), name: of.to_string(), took_ns });
                    }
                }
                _ => {}
            }
        }
        if self.crossings.len() < CROSSINGS {
            let port = self.word(&seen.port);
            self.crossings.push(Crossing { at_ns: seen.at_ns, node, port, sent: seen.sent, name });
        }
    }

    /// Frames between names.
    pub(crate) fn crossings(&self) -> &[Crossing] {
        &self.crossings
    }

    /// Cases since a moment of the world's clock; times count from there.
    pub(crate) fn cases(&self, began_ns: u64) -> Vec<CaseSpan> {
        let since = |at_ns: u64| at_ns.saturating_sub(began_ns);
        let cases = self.cases.iter().filter(|case| case.to_ns >= began_ns);
        cases.map(|case| CaseSpan { from_ns: since(case.from_ns), to_ns: since(case.to_ns), ..case.clone() }).collect()
    }

    /// Calls by time since a moment of the world's clock, those without an answer included; of too many every so manieth.
    pub(crate) fn calls(&self, began_ns: u64) -> Vec<CallDot> {
        let unanswered = self.open.iter().map(|((pod, _), (at_ns, name))| CallDot {
            at_ns: *at_ns,
            pod: pod.to_string(),
            name: name.to_string(),
            took_ns: None,
        });
        let by_time = |call: &CallDot| (call.at_ns, call.pod.clone(), call.name.clone());
        let mut lost: Vec<CallDot> = unanswered.collect();
        lost.sort_by_key(by_time);
        let lost = thinned(&lost, CALLS / 2);
        let answered = thinned(&self.calls, CALLS - lost.len());
        let mut all: Vec<CallDot> = answered.into_iter().chain(lost).filter(|call| call.at_ns >= began_ns).collect();
        all.sort_by_key(by_time);
        all.into_iter().map(|call| CallDot { at_ns: call.at_ns - began_ns, ..call }).collect()
    }
}

/// Every so manieth, so that at most `most` are left.
fn thinned<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    let step = all.len().div_ceil(most.max(1)).max(1);
    all.iter().step_by(step).cloned().collect()
}

/// What SGs reported of their plain paths, from the frames that carried it.
pub(crate) async fn telemetry(testbed: &Testbed, began_ns: u64) -> Vec<PathSeries> {
    let Ok(seen) = testbed.history(|t| t == MessageType::Telemetry).await else { return Vec::new() };
    let mut series: BTreeMap<(String, String), Vec<(u64, u64)>> = BTreeMap::new();
    let (mut told, domain) = (HashSet::new(), testbed.topology.domain().as_str());
    for seen in seen.iter().filter(|seen| seen.sent && seen.at_ns >= began_ns) {
        let (Message::Telemetry(signed), Some((_, source))) = (seen.message(), &seen.frame.names) else { continue };
        // The first link it crosses is the sender's own; a repetition says nothing new.
        let own = NodeId::new(seen.node.as_str()).ok().and_then(|node| Name::of_node(domain, &node).ok());
        let report = &signed.body;
        if own.as_ref() != Some(source) || !told.insert((seen.node.clone(), report.sequence)) {
            continue;
        }
        for path in report.paths.iter().filter(|path| path.label == 0) {
            let Some(delay_ns) = path.delay_ns else { continue };
            let key = (path.target.to_string(), seen.node.clone());
            series.entry(key).or_default().push((seen.at_ns - began_ns, delay_ns));
        }
    }
    let services: HashSet<String> =
        testbed.topology.nodes().values().flat_map(|node| node.services.iter().map(|s| s.prefix.to_string())).collect();
    let wanted = series.into_iter().filter(|((target, _), _)| services.contains(target)).take(PATHS);
    let one = |((target, source), delays): ((String, String), Vec<(u64, u64)>)| PathSeries {
        threshold_ns: threshold(&testbed.topology, &target).map(|preset| preset.delay_ns).filter(|ns| *ns < u64::MAX),
        delays: thinned(&delays, POINTS),
        source,
        target,
    };
    wanted.map(one).collect()
}

/// The presets of a service: those of the longest prefix above it.
fn threshold(topology: &Topology, target: &str) -> Option<Thresholds> {
    let target: Name = target.parse().ok()?;
    let qos = topology.qos();
    let above = qos.by_prefix.iter().filter(|(prefix, _)| **prefix == target || prefix.is_prefix_of(&target));
    above.max_by_key(|(prefix, _)| prefix.to_string().matches('/').count()).map(|(_, preset)| *preset).or(qos.default)
}
