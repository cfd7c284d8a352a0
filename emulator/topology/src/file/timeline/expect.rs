//! What is expected.

use std::collections::BTreeSet;

use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use super::super::decode::{Fields, Reader};
use super::super::document::{Data, Yaml};
use super::super::mistake::MistakeKind as Kind;
use super::Stage;
use crate::timeline::{Act, Expected, FibState, Hold, Percentile};

const KINDS: [&str; 11] =
    ["reachable", "unreachable", "path", "fib", "policy", "lost", "p50", "p99", "p99.9", "silent", "invariants"];
const HELP: &str = "such as `expect: { reachable: { from: pod-1, name: /B/4 } }`; there are reachable, unreachable, path, \
                    fib, policy, lost, p50, p99, p99.9, silent and invariants";
const CALL: &str = "such as `{ from: pod-1, name: /B/4 }`";
const PATH: &str = "write [pod-1, sg-1, sr-left, sg-3, pod-3], `{ from: pod-1, name: /A, nodes: [sg-1, sr-left, sg-3] }`, \
                    or `{ from: pod-1, name: /A, via: [sg-3] }`";
const FIB: &str = "such as `{ node: sr-left, prefix: /A/1, next: [sg-1] }`; `absent: true` in place of `next` for none";
const JUDGED: &str = "such as `{ of: LABEL, at_most: 3 }`, with a time such as `20ms` for p50, p99 and p99.9";

impl Reader<'_> {
    pub(super) fn expectation(&mut self, subject: &Yaml, fields: &Fields<'_>, stage: &Stage<'_>) -> Option<Act> {
        let own = self.fields(subject, "an expectation", &KINDS)?;
        let kinds: Vec<_> = KINDS.into_iter().filter(|kind| own.get(kind).is_some()).collect();
        let &[kind] = kinds.as_slice() else {
            self.mistake(Kind::WrongShape, subject, "an expectation expects one thing", HELP);
            return None;
        };
        let value = own.get(kind)?;
        let what = match kind {
            "reachable" | "unreachable" => self.called(value, kind == "reachable", stage),
            "path" => self.path(value, stage),
            "fib" => self.fib_entry(value, stage),
            "policy" => self.policy(value, stage),
            "lost" => self.lost(value, stage),
            "silent" => self.silence(value, stage),
            "invariants" => self.invariants(value),
            percentile => self.latency(value, percentile, stage),
        };
        let hold = self.hold(fields);
        if let (Some(Expected::SilentLink { .. } | Expected::SilentNode { .. }), Some(within)) =
            (&what, fields.get("within"))
        {
            let help = "say how long it is silent, such as `for: 5s`, and from when on by `at`";
            self.mistake(Kind::NotForThisKind, within, "silence is no matter of a moment", help);
            return None;
        }
        if let (Some(Expected::Invariants), Some(Hold::Throughout), Some(at)) = (&what, hold, fields.get("throughout"))
        {
            let help = "say in what time the network has to be quiet, such as `within: 15s`";
            self.mistake(Kind::NotForThisKind, at, "a network is not quiet while it changes", help);
            return None;
        }
        Some(Act::Expect { what: what?, hold: hold? })
    }

    fn invariants(&mut self, value: &Yaml) -> Option<Expected> {
        if self.truth(value, "invariants")? {
            return Some(Expected::Invariants);
        }
        self.mistake(Kind::UnknownValue, value, "nobody expects that they do not hold", "write `invariants: true`");
        None
    }

    fn hold(&mut self, fields: &Fields<'_>) -> Option<Hold> {
        let throughout = fields.get("throughout").map(|value| (value, self.truth(value, "throughout")));
        match (fields.get("within"), throughout) {
            (None, None | Some((_, Some(false)))) => Some(Hold::Now),
            (None, Some((_, Some(true)))) => Some(Hold::Throughout),
            (Some(within), None) => self.span(within, "within").map(Hold::Within),
            (Some(within), Some(_)) => {
                let help =
                    "keep `within`, the time it has to become true in, or `throughout`, that it is true all the time";
                self.mistake(Kind::Contradiction, within, "an expectation with `within` and `throughout`", help);
                None
            }
            (None, Some((_, None))) => None,
        }
    }

    fn called(&mut self, value: &Yaml, reachable: bool, stage: &Stage<'_>) -> Option<Expected> {
        let own = self.fields(value, if reachable { "reachable" } else { "unreachable" }, &["from", "name"])?;
        let from = self.needed(&own, value, "from", CALL).and_then(|from| self.known_pod(from, stage));
        let name = self.needed(&own, value, "name", CALL).and_then(|name| match reachable {
            true => self.known_name(name, "name", stage),
            // What nobody has is a good example of what nobody reaches.
            false => self.name(name, "name"),
        });
        let (from, name) = (from?, name?);
        Some(if reachable { Expected::Reachable { from, name } } else { Expected::Unreachable { from, name } })
    }

    fn needed<'y>(&mut self, own: &Fields<'y>, around: &Yaml, key: &str, help: &str) -> Option<&'y Yaml> {
        if own.get(key).is_none() {
            self.missing(around, key, help);
        }
        own.get(key)
    }

    fn path(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<Expected> {
        if matches!(value.data, Data::List(_)) {
            return self.path_of_pods(value, stage);
        }
        let own = self.fields(value, "path", &["from", "name", "nodes", "via"])?;
        let from = self.needed(&own, value, "from", PATH).and_then(|from| self.known_pod(from, stage));
        let name = self.needed(&own, value, "name", PATH).and_then(|name| self.known_name(name, "name", stage));
        let (nodes, exact) = match (own.get("nodes"), own.get("via")) {
            (Some(nodes), None) => (nodes, true),
            (None, Some(via)) => (via, false),
            _ => {
                self.mistake(Kind::WrongShape, value, "a path has either `nodes` or `via`", PATH);
                return None;
            }
        };
        let nodes = self.routers(nodes, stage);
        Some(Expected::Path { from: from?, name: name?, nodes: nodes?, exact })
    }

    /// SGs and SRs.
    fn routers(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<Vec<NodeId>> {
        let parts = self.list(value, "nodes", PATH);
        if parts.is_empty() {
            self.mistake(Kind::WrongShape, value, "a path of no nodes", PATH);
            return None;
        }
        let nodes: Vec<_> = parts.iter().map(|part| self.known_of(part, stage, &[Role::Sg, Role::Sr])).collect();
        nodes.into_iter().collect()
    }

    /// A path from a pod to the first service of another.
    fn path_of_pods(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<Expected> {
        let parts = self.list(value, "path", PATH);
        let [first, between @ .., last] = parts else {
            self.mistake(Kind::WrongShape, value, "a path begins at a pod and ends at another", PATH);
            return None;
        };
        let (from, to) = (self.known_pod(first, stage), self.known_pod(last, stage));
        let between: Vec<_> = between.iter().map(|part| self.known_of(part, stage, &[Role::Sg, Role::Sr])).collect();
        let (from, to) = (from?, to?);
        let mut names: Vec<&Name> =
            stage.services.iter().filter(|(_, pod)| **pod == to).map(|(name, _)| name).collect();
        names.sort();
        let Some(name) = names.first() else {
            self.mistake(Kind::UnknownPrefix, last, format!("`{to}` has no service"), PATH);
            return None;
        };
        Some(Expected::Path {
            from,
            name: (*name).clone(),
            nodes: between.into_iter().collect::<Option<_>>()?,
            exact: true,
        })
    }

    fn fib_entry(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<Expected> {
        let own = self.fields(value, "fib", &["node", "prefix", "next", "absent"])?;
        let (node, prefix) = self.table_place(&own, value, stage);
        let entry = match (own.get("next"), own.get("absent")) {
            (None, None) => Some(FibState::Present),
            (Some(next), None) => match &next.data {
                Data::List(parts) => {
                    let nodes: Vec<_> = parts.iter().map(|part| self.known_node(part, stage.scope)).collect();
                    nodes.into_iter().collect::<Option<BTreeSet<_>>>().map(FibState::Through)
                }
                _ => self.known_node(next, stage.scope).map(|node| FibState::Through(BTreeSet::from([node]))),
            },
            (None, Some(absent)) => {
                let absent = self.truth(absent, "absent");
                absent.map(|absent| if absent { FibState::Absent } else { FibState::Present })
            }
            (Some(_), Some(absent)) => {
                self.mistake(Kind::Contradiction, absent, "what is absent has no next hop", FIB);
                None
            }
        };
        Some(Expected::Fib { node: node?, prefix: prefix?, entry: entry? })
    }

    fn policy(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<Expected> {
        let own = self.fields(value, "policy", &["node", "prefix", "absent"])?;
        let (node, prefix) = self.table_place(&own, value, stage);
        let absent = own.get("absent").map_or(Some(false), |absent| self.truth(absent, "absent"));
        Some(Expected::Policy { node: node?, prefix: prefix?, present: !absent? })
    }

    fn table_place(&mut self, own: &Fields<'_>, value: &Yaml, stage: &Stage<'_>) -> (Option<NodeId>, Option<Name>) {
        let node = self.needed(own, value, "node", FIB);
        let node = node.and_then(|node| self.known_of(node, stage, &[Role::Sg, Role::Sr]));
        let prefix = self.needed(own, value, "prefix", FIB);
        (node, prefix.and_then(|prefix| self.known_name(prefix, "prefix", stage)))
    }

    /// The load that is judged, and the bound.
    fn judged<'y>(&mut self, value: &'y Yaml, what: &str, stage: &Stage<'_>) -> (Option<usize>, Option<&'y Yaml>) {
        let Some(own) = self.fields(value, what, &["of", "at_most"]) else { return (None, None) };
        let at_most = self.needed(&own, value, "at_most", JUDGED);
        let Some(of) = self.needed(&own, value, "of", JUDGED) else { return (None, at_most) };
        let number = self.labelled(of, stage);
        if number.is_some_and(|number| !stage.loads.contains(&number)) {
            self.mistake(Kind::NotForThisKind, of, "that event is no load", "name a load by its `as:`");
            return (None, at_most);
        }
        (number, at_most)
    }

    fn lost(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<Expected> {
        let (of, at_most) = self.judged(value, "lost", stage);
        let at_most = at_most.and_then(|at_most| self.number(at_most, "at_most", 0, 1_000_000));
        Some(Expected::Lost { of: of?, at_most: u64::from(at_most?) })
    }

    fn latency(&mut self, value: &Yaml, label: &str, stage: &Stage<'_>) -> Option<Expected> {
        let percentile = Percentile::ALL.into_iter().find(|percentile| percentile.label() == label)?;
        let (of, at_most) = self.judged(value, label, stage);
        let at_most_ns = at_most.and_then(|at_most| self.span(at_most, "at_most"));
        Some(Expected::Latency { of: of?, percentile, at_most_ns: at_most_ns? })
    }

    fn silence(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<Expected> {
        if matches!(value.data, Data::List(_)) {
            return self.linked(value, stage.scope).map(|(a, b)| Expected::SilentLink { a, b });
        }
        self.known_node(value, stage.scope).map(|node| Expected::SilentNode { node })
    }
}
