//! A model of Figure 2: links of a given quality, telemetry from it, and an SCSC that gets that.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::{Thresholds, Timers};
use damc_mgmt::event::EventKind;
use damc_mgmt::words::{PolicyActionKind, ProtocolCounter};
use damc_wire::message::{LinkReport, PathReport, Policy, PolicyAction, QosAck, Telemetry};
use damc_wire::{Millis, Name, NodeId, Role, Timestamp};

use crate::io::{Outbox, Output};
use crate::qos::path_computation::{PathComputation, Ted};
use crate::qos::policies::{Outcome, Policies};
use crate::qos::threshold::ThresholdTable;
use crate::qos::topology::{Catalogue, Topology};

pub(super) const MS: u64 = 1_000_000;
pub(super) const LINKS: [(&str, &str); 11] = [
    ("sg-1", "sr-left"),
    ("sg-1", "sr-right"),
    ("sg-2", "sr-left"),
    ("sg-2", "sr-right"),
    ("sg-3", "sr-left"),
    ("sg-3", "sr-bottom"),
    ("sg-4", "sr-bottom"),
    ("sg-4", "sr-right"),
    ("sr-left", "sr-right"),
    ("sr-left", "sr-bottom"),
    ("sr-right", "sr-bottom"),
];
pub(super) const SGS: [&str; 4] = ["sg-1", "sg-2", "sg-3", "sg-4"];
pub(super) const SERVICES: [(&str, &str, &str); 10] = [
    ("/A/1", "/A/1", "sg-1"),
    ("/B/1", "/B/1", "sg-1"),
    ("/C/2", "/C/2", "sg-2"),
    ("/D/3", "/D/3", "sg-3"),
    ("/A/4", "/A/4", "sg-4"),
    ("/B/4", "/B/4", "sg-4"),
    ("/A", "/A/1", "sg-1"),
    ("/A", "/A/4", "sg-4"),
    ("/B", "/B/1", "sg-1"),
    ("/B", "/B/4", "sg-4"),
];

pub(super) fn id(s: &str) -> NodeId {
    NodeId::new(s).unwrap()
}

pub(super) fn name(s: &str) -> Name {
    s.parse().unwrap()
}

/// Quality of one link, the same in both directions.
#[derive(Clone, Copy)]
pub(super) struct Quality {
    pub(super) delay_ns: u64,
    pub(super) jitter_ns: u64,
    pub(super) bandwidth_bps: u64,
}

pub(super) const GOOD: Quality = Quality { delay_ns: MS, jitter_ns: 0, bandwidth_bps: 1_000_000_000 };

pub(super) struct Model {
    pub(super) now: Timestamp,
    pub(super) timers: Timers,
    pub(super) links: BTreeMap<(String, String), Quality>,
    pub(super) dead: BTreeSet<Name>,
    /// SGs and SRs whose reports are lost.
    pub(super) mute: BTreeSet<String>,
    pub(super) ted: Ted,
    pub(super) path_computation: PathComputation,
    pub(super) nodes: BTreeMap<NodeId, Policies>,
    pub(super) sequence: u64,
    pub(super) out: Outbox,
    pub(super) sent: Vec<(Timestamp, Policy)>,
    pub(super) events: Vec<EventKind>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self::with(Timers::default())
    }

    pub(super) fn with(timers: Timers) -> Self {
        let default = Thresholds { bandwidth_bps: 10_000_000, delay_ns: 20 * MS, jitter_ns: 5 * MS };
        let thresholds = ThresholdTable::new(&[("default".to_owned(), default)].into()).unwrap();
        let mut model = Self {
            now: Timestamp::from_millis(100_000),
            links: BTreeMap::new(),
            dead: BTreeSet::new(),
            mute: BTreeSet::new(),
            ted: Ted::default(),
            path_computation: PathComputation::new(&timers, thresholds, 1),
            nodes: BTreeMap::new(),
            sequence: 0,
            out: Outbox::default(),
            sent: Vec::new(),
            events: Vec::new(),
            timers,
        };
        for (a, b) in LINKS {
            model.links.insert((a.to_owned(), b.to_owned()), GOOD);
        }
        model.survey();
        for node in model.ted.reachable.clone() {
            model.nodes.insert(node.clone(), Policies::new(node));
        }
        model
    }

    pub(super) fn survey(&mut self) {
        let links: Vec<(&str, &str, u32)> = self.links.keys().map(|(a, b)| (a.as_str(), b.as_str(), 1)).collect();
        let topology = Topology::from_links(&links, &SGS);
        let catalogue = Catalogue::from_entries(&SERVICES);
        let reachable = self.links.keys().flat_map(|(a, b)| [id(a), id(b)]).collect();
        self.ted = Ted { topology, catalogue, reachable, incomplete: false };
        self.path_computation.on_topology(self.now, &self.ted, &mut self.out);
    }

    pub(super) fn set(&mut self, a: &str, b: &str, quality: Quality) {
        *self.links.get_mut(&(a.to_owned(), b.to_owned())).unwrap() = quality;
    }

    pub(super) fn set_delay(&mut self, a: &str, b: &str, ms: u64) {
        self.set(a, b, Quality { delay_ns: ms * MS, ..GOOD });
    }

    pub(super) fn cut(&mut self, a: &str, b: &str) {
        self.links.remove(&(a.to_owned(), b.to_owned()));
        self.survey();
    }

    pub(super) fn quality(&self, a: &NodeId, b: &NodeId) -> Option<Quality> {
        let key = |x: &NodeId, y: &NodeId| (x.to_string(), y.to_string());
        self.links.get(&key(a, b)).or_else(|| self.links.get(&key(b, a))).copied()
    }

    pub(super) fn plain_path(&self, from: &str, to: &str) -> Vec<NodeId> {
        let t = &self.ted.topology;
        let path = t.least(t.index(&id(from)).unwrap(), t.index(&id(to)).unwrap(), |_, c| Some(u64::from(c)));
        path.unwrap_or_default().into_iter().map(|n| t.node(n).clone()).collect()
    }

    /// Path of labelled traffic from its source, by the policies that the nodes hold.
    pub(super) fn label_path(&self, source: &str, label: u32) -> Vec<NodeId> {
        let mut path = vec![id(source)];
        while path.len() < 10 {
            let here = &self.nodes[path.last().unwrap()];
            let held = here.iter().find(|h| h.policy.label == label).map(|h| &h.policy.action);
            match held {
                Some(PolicyAction::Ingress { next_hop } | PolicyAction::Transit { next_hop }) => {
                    path.push(next_hop.clone());
                }
                _ => break,
            }
        }
        path
    }

    /// The path of the traffic of `source` to `prefix` now, if a policy steers it.
    pub(super) fn steered(&self, source: &str, prefix: &str) -> Option<String> {
        let ingress = self.nodes[&id(source)]
            .iter()
            .find(|h| matches!(h.policy.action, PolicyAction::Ingress { .. }) && h.policy.prefix == name(prefix))?;
        let path = self.label_path(source, ingress.policy.label);
        Some(path.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" "))
    }

    pub(super) fn sum(&self, path: &[NodeId]) -> Option<Quality> {
        let zero = Quality { delay_ns: 0, jitter_ns: 0, bandwidth_bps: u64::MAX };
        path.windows(2).try_fold(zero, |sum, w| {
            let q = self.quality(&w[0], &w[1])?;
            Some(Quality {
                delay_ns: sum.delay_ns + q.delay_ns,
                jitter_ns: sum.jitter_ns + q.jitter_ns,
                bandwidth_bps: sum.bandwidth_bps.min(q.bandwidth_bps),
            })
        })
    }

    pub(super) fn path_report(&self, path: &[NodeId], back: &[NodeId], target: &str, label: u32) -> PathReport {
        let found =
            self.sum(path).zip(self.sum(back)).filter(|_| !path.is_empty() && !self.dead.contains(&name(target)));
        PathReport {
            target: name(target),
            label,
            delay_ns: found.map(|(there, back)| (there.delay_ns + back.delay_ns) / 2 + MS / 10),
            jitter_ns: found.map(|(there, _)| there.jitter_ns),
            bandwidth_bps: found.map(|(there, _)| there.bandwidth_bps),
            loss_ppm: 0,
            available: found.is_some(),
            self_load_ppm: Some(0),
            age: Millis(0),
        }
    }

    pub(super) fn telemetry(&self, node: &NodeId) -> Telemetry {
        let mut paths = Vec::new();
        if SGS.contains(&node.as_str()) {
            for (target, instance, origin) in SERVICES {
                if target == instance {
                    let path = self.plain_path(node.as_str(), origin);
                    let back: Vec<NodeId> = path.iter().rev().cloned().collect();
                    paths.push(self.path_report(&path, &back, target, 0));
                }
            }
            for held in self.nodes[node].iter().filter(|h| matches!(h.policy.action, PolicyAction::Ingress { .. })) {
                let path = self.label_path(node.as_str(), held.policy.label);
                let back = self.plain_path(path.last().unwrap().as_str(), node.as_str());
                paths.push(self.path_report(&path, &back, &held.policy.prefix.to_string(), held.policy.label));
            }
        }
        let links = self.links.iter().filter_map(|((a, b), q)| {
            let far = if a == node.as_str() {
                b
            } else if b == node.as_str() {
                a
            } else {
                return None;
            };
            Some(LinkReport {
                neighbour: id(far),
                delay_ns: Some(q.delay_ns),
                jitter_ns: Some(q.jitter_ns),
                loss_ppm: 0,
                tx_bps: 0,
                rx_bps: 0,
                bandwidth_bps: None,
            })
        });
        Telemetry { sequence: self.sequence, paths, links: links.collect() }
    }

    /// One telemetry period: all nodes report, then policies are sent and acknowledged until there is nothing left to
    /// send.
    pub(super) fn period(&mut self) {
        self.now += Duration::from_millis(self.timers.telemetry_interval_ms);
        self.sequence += 1;
        for node in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.nodes.get_mut(&node).unwrap().expire(self.now);
            if !self.mute.contains(node.as_str()) {
                let role = if node.as_str().starts_with("sg") { Role::Sg } else { Role::Sr };
                let telemetry = self.telemetry(&node);
                self.path_computation.on_telemetry(self.now, (&node, role), &telemetry, &self.ted, &mut self.out);
            }
        }
        self.deliver();
        while let Some(output) = self.out.pop() {
            if let Output::Event(event) = output {
                self.events.push(event);
            }
        }
    }

    pub(super) fn deliver(&mut self) {
        loop {
            let policies = self.path_computation.poll(self.now, &self.ted, &mut self.out);
            if policies.is_empty() {
                break;
            }
            for policy in policies {
                let holder = self.nodes.get_mut(&policy.recipient).unwrap();
                let refusal = match holder.take(self.now, &policy) {
                    Outcome::Refused(reason) => Some(reason),
                    _ => None,
                };
                let ack = QosAck { sequence: policy.version, label: policy.label, refusal };
                self.path_computation.on_ack(self.now, &policy.recipient, &ack);
                self.sent.push((self.now, policy));
            }
        }
    }

    pub(super) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 1000 / self.timers.telemetry_interval_ms {
            self.period();
        }
    }

    pub(super) fn issued(&self) -> u64 {
        self.path_computation.counters().get(ProtocolCounter::PoliciesIssued)
    }

    /// Recipients of the policies for one source and prefix, with their last action before any withdrawal.
    pub(super) fn recipients(&self, source: &str, prefix: &str) -> BTreeMap<String, PolicyActionKind> {
        let of = self.sent.iter().filter(|(_, p)| p.source == id(source) && p.prefix == name(prefix));
        let kept = of.filter(|(_, p)| p.action != PolicyAction::Withdrawn);
        kept.map(|(_, p)| (p.recipient.to_string(), crate::qos::agent::action_kind(&p.action))).collect()
    }
}
