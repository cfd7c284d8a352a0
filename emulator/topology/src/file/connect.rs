//! The `links` and `licences` sections: what refers to nodes.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use damc_impair::DirectionSpec;
use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use super::decode::Fields;
use super::decode::Reader;
use super::document::{Data, Yaml};
use super::link::{PROPERTIES, Properties};
use super::mistake::{Mistake, MistakeKind as Kind, did_you_mean};
use super::validate::Located;
use crate::topology::{Direction, Link, MAX_LINKS};

/// What links and events refer to.
pub(super) struct Scope<'a> {
    pub known: &'a HashMap<NodeId, Role>,
    /// Keys under `nodes` whose node is wrong itself: not to be called unknown on top of it.
    pub broken: HashSet<&'a str>,
    /// Links by their ends in order, with the place of the first.
    pub links: BTreeMap<(NodeId, NodeId), Range<usize>>,
    /// Names of links, with the place of the first.
    pub link_names: BTreeMap<NodeId, Range<usize>>,
    /// Nodes named by links that are wrong: not to be called disconnected on top of it.
    pub unclear: BTreeSet<NodeId>,
}

/// Keys of `nodes` that gave no node.
pub(super) fn broken_nodes<'y>(nodes: &'y Yaml, known: &HashMap<NodeId, Role>) -> HashSet<&'y str> {
    let Data::Map(entries) = &nodes.data else { return HashSet::new() };
    let keys =
        entries.iter().filter_map(|(key, _)| if let Data::Text(text) = &key.data { Some(text.as_str()) } else { None });
    keys.filter(|text| !known.contains_key(*text)).collect()
}

impl Scope<'_> {
    pub fn key(a: &NodeId, b: &NodeId) -> (NodeId, NodeId) {
        if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
    }
}

impl Reader<'_> {
    /// Two declared nodes, by a list of two.
    pub(super) fn ends(
        &mut self,
        value: &Yaml,
        unclear: &mut BTreeSet<NodeId>,
        scope: &Scope<'_>,
    ) -> Option<(NodeId, NodeId)> {
        let help = "a link has two ends, such as [sg-1, sr-left]";
        let parts = self.list(value, "link", help);
        if parts.len() != 2 && matches!(value.data, Data::List(_)) {
            self.mistake(Kind::WrongShape, value, format!("a link with {} ends", parts.len()), help);
        }
        let ends: Vec<_> = parts.iter().map(|part| self.known_node(part, scope)).collect();
        match ends.as_slice() {
            [Some(a), Some(b)] => Some((a.clone(), b.clone())),
            ends => {
                unclear.extend(ends.iter().flatten().cloned());
                None
            }
        }
    }

    pub(super) fn known_node(&mut self, value: &Yaml, scope: &Scope<'_>) -> Option<NodeId> {
        let help = "name a node that is declared under `nodes`";
        let text = self.scalar_text(value, "node", help)?;
        let id = NodeId::new(&text).ok().filter(|id| scope.known.contains_key(id));
        if id.is_none() && !scope.broken.contains(text.as_str()) {
            let hint = did_you_mean(&text, scope.known.keys().map(NodeId::as_str));
            let help = if hint.is_empty() { help.to_owned() } else { hint };
            self.mistake(Kind::UnknownNode, value, format!("there is no node `{text}`"), help);
        }
        id
    }

    pub(super) fn links<'y>(
        &mut self,
        value: &'y Yaml,
        defaults: Properties,
        scope: &mut Scope<'_>,
    ) -> Option<Vec<Located<'y, Link>>> {
        let parts = self.list(value, "links", "write one link per line, such as `- [sg-1, sr-left]`");
        self.limit(value, "links", parts.len(), MAX_LINKS)?;
        Some(parts.iter().filter_map(|part| self.link(part, defaults, scope)).collect())
    }

    fn link<'y>(&mut self, value: &'y Yaml, defaults: Properties, scope: &mut Scope<'_>) -> Option<Located<'y, Link>> {
        let mut name = None;
        let (between, forward, backward) = if matches!(value.data, Data::Map(_)) {
            let keys: Vec<_> =
                ["name", "between", "forward", "backward", "cost"].into_iter().chain(PROPERTIES).collect();
            let fields = self.fields(value, "a link", &keys)?;
            name = fields.get("name").and_then(|value| self.link_name(value, scope));
            let both = self.properties(&fields).over(defaults);
            let [forward, backward] = ["forward", "backward"].map(|key| self.one_way(&fields, key, true).over(both));
            let Some(between) = fields.get("between") else {
                self.missing(value, "between", "such as `between: [sg-1, sr-left]`");
                return None;
            };
            (between, forward, backward)
        } else {
            (value, defaults, defaults)
        };
        let mut unclear = BTreeSet::new();
        let ends = self.ends(between, &mut unclear, scope);
        scope.unclear.append(&mut unclear);
        let (a, b) = ends?;
        if a == b {
            self.mistake(Kind::SelfLink, between, format!("`{a}` is linked with itself"), "name two different nodes");
            return None;
        }
        let key = Scope::key(&a, &b);
        if let Some(first) = scope.links.get(&key) {
            let message = format!("`{a}` and `{b}` are linked already");
            let help = "two nodes have one link at most, because ports are named after neighbours; remove one";
            self.mistakes
                .push(Mistake::new(Kind::DuplicateLink, &between.span, message, help).with_other(first, "first here"));
            return None;
        }
        scope.links.insert(key, between.span.clone());
        let link = Link { name, forward: direction(forward), backward: direction(backward), a, b };
        if [&link.forward, &link.backward].iter().any(|way| way.spec.reorder.is_some() && way.spec.delay_ns == 0) {
            let help = "frames overtake others that are held up: give the link a delay";
            self.mistake(Kind::Contradiction, between, "reorder without delay has no effect", help);
        }
        Some(Located { at: &between.span, value: link, parts: Vec::new() })
    }

    /// The name of a link: no other has it.
    fn link_name(&mut self, value: &Yaml, scope: &mut Scope<'_>) -> Option<NodeId> {
        let name = self.id(value, "link name")?;
        if let Some(first) = scope.link_names.get(&name) {
            let help = "give each link its own name, or none";
            let mistake = Mistake::new(Kind::DuplicateLink, &value.span, format!("two links are named `{name}`"), help);
            self.mistakes.push(mistake.with_other(first, "first here"));
            return None;
        }
        scope.link_names.insert(name.clone(), value.span.clone());
        Some(name)
    }

    /// Properties under `forward` or `backward`.
    pub(super) fn one_way(&mut self, fields: &Fields<'_>, key: &str, with_cost: bool) -> Properties {
        let Some(value) = fields.get(key) else { return Properties::default() };
        let keys: Vec<_> = PROPERTIES.into_iter().chain(with_cost.then_some("cost")).collect();
        self.fields(value, key, &keys).map(|fields| self.properties(&fields)).unwrap_or_default()
    }

    pub(super) fn licences(&mut self, value: &Yaml, scope: &Scope<'_>) -> BTreeMap<NodeId, BTreeSet<Name>> {
        let mut licences = BTreeMap::new();
        for (_, key, names) in self.map(value, "licences").unwrap_or_default() {
            let help = "such as `pod-1: [/A/1, /A]`";
            let names = self.list(names, "licence", help);
            let names = names.iter().filter_map(|name| self.name(name, "licence")).collect();
            let Some(pod) = self.known_node(key, scope) else { continue };
            if scope.known.get(&pod) != Some(&Role::Pod) {
                let message = format!("`{pod}` is no pod");
                self.mistake(Kind::NotForThisKind, key, message, "only pods announce services and need a licence");
            }
            licences.insert(pod, names);
        }
        licences
    }
}

fn direction(properties: Properties) -> Direction {
    Direction { spec: DirectionSpec::default().with(&properties.change), cost: properties.cost.unwrap_or(1) }
}
