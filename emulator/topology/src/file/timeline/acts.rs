//! What happens: every verb but `expect`.

use std::collections::BTreeSet;

use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use super::super::connect::Scope;
use super::super::decode::{Fields, Reader};
use super::super::document::{Data, Yaml};
use super::super::link::PROPERTIES;
use super::super::mistake::{MistakeKind as Kind, did_you_mean};
use super::super::unit;
use super::Stage;
use crate::timeline::{Act, LinkEvent, Load, LoadKind, NodeStep, ServiceStep};

/// Most bytes of a request: what fits a frame beside two long names.
const MAX_SIZE: usize = 1000;
const PARTITION: &str = "write the groups, such as `partition: [[sg-1, pod-1], rest]`";
const ON_POD: &str = "write the name and its pod, such as `/X/9 on pod-2`";

/// `/X/9 on pod-2`; the pod may be left out.
pub(super) fn name_on_pod(text: &str) -> Option<(&str, Option<&str>)> {
    match *text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [name] => Some((name, None)),
        [name, "on", pod] => Some((name, Some(pod))),
        _ => None,
    }
}

impl Reader<'_> {
    pub(super) fn act(
        &mut self,
        verb: &str,
        subject: &Yaml,
        event: &Yaml,
        fields: &Fields<'_>,
        stage: &Stage<'_>,
    ) -> Option<Act> {
        match verb {
            "link" => self.link_act(subject, event, fields, stage),
            "node" => self.node_act(subject, event, fields, stage),
            "service" => self.service_act(subject, event, fields, stage),
            "announce" | "withdraw" => self.announcement(verb == "announce", subject, stage),
            "licence" => self.licence_act(subject, event, fields, stage),
            "partition" => self.partition(subject, stage),
            "load" => self.load(subject, stage).map(Act::Load),
            _ => self.run_act(subject, stage),
        }
    }

    fn link_act(&mut self, subject: &Yaml, event: &Yaml, fields: &Fields<'_>, stage: &Stage<'_>) -> Option<Act> {
        let ends = self.linked(subject, stage.scope);
        let change = match ["set", "clear", "follow"].map(|key| fields.get(key)) {
            [Some(set), None, None] => self.link_event(set),
            [None, Some(clear), None] => {
                let clear = self.truth(clear, "clear");
                clear.filter(|clear| *clear).map(|_| LinkEvent::Clear)
            }
            [None, None, Some(follow)] => self.trace(follow).map(LinkEvent::Follow),
            _ => {
                let help = "write one of `set: down`, `set: { delay: 80ms }`, `clear: true`, `follow: trace.csv`";
                self.mistake(Kind::WrongShape, event, "the event does not say how the link changes", help);
                None
            }
        };
        let ((a, b), change) = ends.zip(change)?;
        Some(Act::Link { a, b, change: Box::new(change) })
    }

    pub(super) fn linked(&mut self, value: &Yaml, scope: &Scope<'_>) -> Option<(NodeId, NodeId)> {
        let (a, b) = self.ends(value, &mut BTreeSet::new(), scope)?;
        if scope.links.contains_key(&Scope::key(&a, &b)) {
            return Some((a, b));
        }
        let message = format!("there is no link between `{a}` and `{b}`");
        self.mistake(Kind::UnknownLink, value, message, "name the ends of a link that is declared under `links`");
        None
    }

    fn link_event(&mut self, value: &Yaml) -> Option<LinkEvent> {
        let help = "write `set: down`, `set: up`, `set: silent`, or `set: { delay: 80ms }`";
        if !matches!(value.data, Data::Map(_)) {
            return match self.scalar_text(value, "set", help)?.as_str() {
                "down" => Some(LinkEvent::Down),
                "up" => Some(LinkEvent::Up),
                "silent" => Some(LinkEvent::Silent),
                text => {
                    self.mistake(Kind::UnknownValue, value, format!("`{text}` is nothing a link can be set to"), help);
                    None
                }
            };
        }
        let keys: Vec<_> = ["forward", "backward"].into_iter().chain(PROPERTIES).collect();
        let fields = self.fields(value, "set", &keys)?;
        let both = self.properties(&fields);
        let [forward, backward] =
            ["forward", "backward"].map(|key| self.one_way(&fields, key, false).over(both).change);
        Some(LinkEvent::Set { forward, backward })
    }

    fn node_act(&mut self, subject: &Yaml, event: &Yaml, fields: &Fields<'_>, stage: &Stage<'_>) -> Option<Act> {
        let node = self.known_node(subject, stage.scope);
        let help = "one of kill, stop, start, pause, resume, overload, normal";
        let step = self.chosen(
            event,
            fields.get("do"),
            "do",
            "a node can do",
            help,
            &NodeStep::ALL.map(|step| (step.label(), step)),
        );
        let (node, step) = node.zip(step)?;
        if let (NodeStep::Overload(_), false) =
            (step, matches!(stage.scope.known.get(&node), Some(Role::Sg | Role::Sr)))
        {
            self.mistake(Kind::NotForThisKind, subject, format!("`{node}` has no overload bit"), "name an SG or an SR");
            return None;
        }
        Some(Act::Node { node, step })
    }

    /// One of a closed list.
    fn chosen<T: Copy>(
        &mut self,
        around: &Yaml,
        value: Option<&Yaml>,
        key: &str,
        what: &str,
        help: &str,
        known: &[(&str, T)],
    ) -> Option<T> {
        let Some(value) = value else {
            self.missing(around, key, help);
            return None;
        };
        let text = self.scalar_text(value, key, help)?;
        let found = known.iter().find(|(label, _)| *label == text).map(|(_, value)| *value);
        if found.is_none() {
            let hint = did_you_mean(&text, known.iter().map(|(label, _)| *label));
            let help = if hint.is_empty() { help.to_owned() } else { format!("{hint} ({help})") };
            self.mistake(Kind::UnknownValue, value, format!("`{text}` is nothing {what}"), help);
        }
        found
    }

    fn service_act(&mut self, subject: &Yaml, event: &Yaml, fields: &Fields<'_>, stage: &Stage<'_>) -> Option<Act> {
        let known = [("stop", ServiceStep::Stop), ("start", ServiceStep::Start), ("restart", ServiceStep::Restart)];
        let help = "one of stop, start, restart";
        let step = self.chosen(event, fields.get("do"), "do", "a service can do", help, &known);
        let prefix = self.known_name(subject, "service", stage)?;
        let pod = self.holder(&prefix, subject, stage);
        Some(Act::Service { pod: pod?, prefix, step: step? })
    }

    /// The pod that has a service.
    fn holder(&mut self, prefix: &Name, at: &Yaml, stage: &Stage<'_>) -> Option<NodeId> {
        let pod = stage.services.get(prefix).cloned();
        if pod.is_none() && stage.scope.broken.is_empty() {
            let message = format!("`{prefix}` is no service of a pod");
            self.mistake(Kind::UnknownPrefix, at, message, "name an instance, such as /A/1, and not its pool");
        }
        pod
    }

    fn announcement(&mut self, comes: bool, subject: &Yaml, stage: &Stage<'_>) -> Option<Act> {
        let text = self.scalar_text(subject, "announcement", ON_POD)?;
        let step = if comes { ServiceStep::Announce } else { ServiceStep::Withdraw };
        let (name, pod) = match name_on_pod(&text) {
            Some((name, pod)) if pod.is_some() || !comes => (name, pod),
            _ => {
                self.mistake(
                    Kind::WrongShape,
                    subject,
                    format!("`{text}` does not name a service and its pod"),
                    ON_POD,
                );
                return None;
            }
        };
        let prefix = self.name_of(name, subject, "announcement")?;
        let Some(pod) = pod else {
            let pod = self.holder(&prefix, subject, stage)?;
            return Some(Act::Service { pod, prefix, step });
        };
        let known = stage.scope.known.iter().find(|(id, kind)| id.as_str() == pod && **kind == Role::Pod);
        let Some((pod, _)) = known else {
            if !stage.scope.broken.contains(pod) {
                let pods = stage.scope.known.iter().filter(|(_, kind)| **kind == Role::Pod);
                let hint = did_you_mean(pod, pods.map(|(id, _)| id.as_str()));
                let help = if hint.is_empty() { ON_POD.to_owned() } else { hint };
                self.mistake(Kind::UnknownNode, subject, format!("there is no pod `{pod}`"), help);
            }
            return None;
        };
        Some(Act::Service { pod: pod.clone(), prefix, step })
    }

    fn licence_act(&mut self, subject: &Yaml, event: &Yaml, fields: &Fields<'_>, stage: &Stage<'_>) -> Option<Act> {
        let pod = self.known_pod(subject, stage);
        let (grant, name) = match (fields.get("grant"), fields.get("revoke")) {
            (Some(name), None) => (true, name),
            (None, Some(name)) => (false, name),
            _ => {
                let help = "write one of `grant: /X` and `revoke: /X`";
                self.mistake(Kind::WrongShape, event, "the event does not say how the licence changes", help);
                return None;
            }
        };
        let prefix = self.name(name, if grant { "grant" } else { "revoke" });
        Some(Act::Licence { pod: pod?, prefix: prefix?, grant })
    }

    fn partition(&mut self, subject: &Yaml, stage: &Stage<'_>) -> Option<Act> {
        let parts = self.list(subject, "partition", PARTITION);
        let mut groups: Vec<Vec<NodeId>> = Vec::new();
        let mut named = BTreeSet::new();
        let mut rest = None;
        let before = self.mistakes.len();
        for part in parts {
            if matches!(&part.data, Data::Text(text) if text == "rest") && rest.is_none() {
                rest = Some(groups.len());
                groups.push(Vec::new());
                continue;
            }
            let nodes = self.list(part, "group", PARTITION);
            let nodes: Vec<_> = nodes.iter().filter_map(|node| self.known_node(node, stage.scope)).collect();
            if let Some(twice) = nodes.iter().find(|node| !named.insert((*node).clone())) {
                self.mistake(Kind::Contradiction, part, format!("`{twice}` is named twice"), PARTITION);
            }
            groups.push(nodes);
        }
        if let Some(group) = rest.and_then(|rest| groups.get_mut(rest)) {
            let others = stage.scope.known.keys().filter(|node| !named.contains(*node));
            group.extend(others.cloned().collect::<BTreeSet<_>>());
        }
        if groups.len() < 2 && matches!(subject.data, Data::List(_)) {
            self.mistake(Kind::WrongShape, subject, "a partition has two groups at least", PARTITION);
        }
        if self.mistakes.len() > before {
            return None;
        }
        let group = |node: &NodeId| groups.iter().position(|group| group.contains(node));
        let between =
            |(a, b): &&(NodeId, NodeId)| matches!((group(a), group(b)), (Some(one), Some(other)) if one != other);
        let cut: Vec<_> = stage.scope.links.keys().filter(between).cloned().collect();
        if cut.is_empty() {
            self.mistake(Kind::Contradiction, subject, "no link lies between these groups", PARTITION);
            return None;
        }
        Some(Act::Partition { groups, cut })
    }

    fn load(&mut self, subject: &Yaml, stage: &Stage<'_>) -> Option<Load> {
        let help = "such as `load: { from: pod-1, to: /B/4, rate: 200/s, size: 1kB }`";
        let own = self.fields(subject, "a load", &["from", "to", "rate", "size", "kind"])?;
        for key in ["from", "to", "rate"] {
            if own.get(key).is_none() {
                self.missing(subject, key, help);
            }
        }
        let from = own.get("from").and_then(|from| self.known_pod(from, stage));
        let to = own.get("to").and_then(|to| self.known_name(to, "to", stage));
        let per_second = own.get("rate").and_then(|rate| self.request_rate(rate));
        let size = own.get("size").map_or(Some(16), |size| self.size(size));
        let kinds = LoadKind::ALL.map(|kind| (kind.label(), kind));
        let kind = match own.get("kind") {
            None => Some(LoadKind::Rmi),
            kind => self.chosen(subject, kind, "kind", "a load can be", "one of rmi, udp, tcp, http", &kinds),
        };
        if let Some(at) = own.get("kind").filter(|_| kind.is_some_and(|kind| kind != LoadKind::Rmi)) {
            self.pending(at, "a load of this kind is understood, and not available yet", "write `kind: rmi`");
        }
        Some(Load { from: from?, to: to?, per_second: per_second?, size: size?, kind: kind? })
    }

    fn request_rate(&mut self, value: &Yaml) -> Option<f64> {
        let help = "write requests each second from 0.1/s to 10000/s, such as `200/s`";
        self.quantity(value, "rate", unit::per_second, help)
    }

    fn size(&mut self, value: &Yaml) -> Option<usize> {
        let help = "write bytes up to 1kB, such as `64B` or `1kB`";
        self.quantity(value, "size", |text| unit::bytes(text, MAX_SIZE), help)
    }

    fn run_act(&mut self, subject: &Yaml, stage: &Stage<'_>) -> Option<Act> {
        let help = "such as `run: { in: pod-1, command: [ping, -c, 3, a-1.example.damc] }`";
        let own = self.fields(subject, "run", &["in", "command"])?;
        for key in ["in", "command"] {
            if own.get(key).is_none() {
                self.missing(subject, key, help);
            }
        }
        let pod = own.get("in").and_then(|pod| self.known_pod(pod, stage));
        let command = own.get("command").and_then(|command| self.command(command, "command"));
        Some(Act::Run { pod: pod?, command: command? })
    }
}
