//! What must hold between the parts of a topology.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use damc_trust::narrowest;
use damc_wire::registry::Role;
use damc_wire::security::CertifiedName;
use damc_wire::{Name, NodeId};

use super::mistake::{Mistake, MistakeKind as Kind, did_you_mean};
use crate::plan::GUEST;
use crate::timeline::{Act, TimelineEvent};
use crate::topology::{Link, Node, Qos, Topology};

/// A value and its place in the file.
#[derive(Debug)]
pub(super) struct Located<'a, T> {
    pub at: &'a Range<usize>,
    pub value: T,
    /// Places of its parts: the services of a node, the prefixes of thresholds.
    pub parts: Vec<&'a Range<usize>>,
}

/// A topology whose parts are right each by itself.
pub(super) struct Draft<'a> {
    pub name: NodeId,
    pub domain: NodeId,
    pub nodes: Vec<Located<'a, Node>>,
    pub links: Vec<Located<'a, Link>>,
    pub licences: Option<BTreeMap<NodeId, BTreeSet<Name>>>,
    pub qos: Located<'a, Qos>,
    pub events: Vec<TimelineEvent>,
    pub unclear: BTreeSet<NodeId>,
}

impl Draft<'_> {
    /// The topology; only for drafts without mistakes.
    pub fn into_topology(self, folder: &Path) -> Topology {
        let listed = self.licences.unwrap_or_default();
        let pods = self.nodes.iter().filter(|node| node.value.kind == Role::Pod);
        let licence = |pod: &Node| {
            listed.get(&pod.id).cloned().unwrap_or_else(|| {
                pod.services.iter().flat_map(|s| [Some(s.prefix.clone()), s.pool.clone()]).flatten().collect()
            })
        };
        let licences = pods.map(|pod| (pod.value.id.clone(), licence(&pod.value))).collect();
        Topology {
            name: self.name,
            domain: self.domain,
            nodes: self.nodes.into_iter().map(|node| (node.value.id.clone(), node.value)).collect(),
            links: self.links.into_iter().map(|link| link.value).collect(),
            licences,
            qos: self.qos.value,
            events: self.events,
            folder: folder.to_owned(),
        }
    }
}

/// Finds every mistake between the parts of `draft`.
pub(super) fn check(draft: &Draft<'_>, mistakes: &mut Vec<Mistake>) {
    let mut check = Check::new(draft);
    check.link_kinds();
    check.attachments();
    check.scscs();
    check.connection();
    check.services();
    check.certificates();
    check.thresholds();
    mistakes.append(&mut check.mistakes);
}

/// A neighbour and the place of the link to it.
type Neighbour<'a> = (&'a NodeId, Role, &'a Range<usize>);

struct Check<'a> {
    draft: &'a Draft<'a>,
    kinds: HashMap<&'a NodeId, Role>,
    neighbours: HashMap<&'a NodeId, Vec<Neighbour<'a>>>,
    mistakes: Vec<Mistake>,
}

/// Whether two kinds may be linked, in either order.
fn may_link(a: Role, b: Role) -> bool {
    use Role::{Pod, Scsc, Sg, Spa, Sr};
    matches!((a, b), (Sr, Sr) | (Sg | Scsc, Sr) | (Sr, Sg | Scsc) | (Spa | Pod | Scsc, Sg) | (Sg, Spa | Pod | Scsc))
}

impl<'a> Check<'a> {
    fn new(draft: &'a Draft<'a>) -> Self {
        let kinds: HashMap<_, _> = draft.nodes.iter().map(|node| (&node.value.id, node.value.kind)).collect();
        let mut neighbours: HashMap<_, Vec<_>> = HashMap::new();
        for link in &draft.links {
            let (a, b) = (&link.value.a, &link.value.b);
            if let (Some(kind_a), Some(kind_b)) = (kinds.get(a), kinds.get(b)) {
                neighbours.entry(a).or_default().push((b, *kind_b, link.at));
                neighbours.entry(b).or_default().push((a, *kind_a, link.at));
            }
        }
        Self { draft, kinds, neighbours, mistakes: Vec::new() }
    }

    fn neighbours(&self, node: &NodeId, kind: Role) -> Vec<Neighbour<'a>> {
        let all = self.neighbours.get(node).into_iter().flatten();
        all.filter(|(_, k, _)| *k == kind).copied().collect()
    }

    fn add(&mut self, kind: Kind, at: &Range<usize>, message: String, help: &str) {
        self.mistakes.push(Mistake::new(kind, at, message, help));
    }

    fn link_kinds(&mut self) {
        for link in &self.draft.links {
            let (a, b) = (&link.value.a, &link.value.b);
            let (Some(&kind_a), Some(&kind_b)) = (self.kinds.get(a), self.kinds.get(b)) else { continue };
            if may_link(kind_a, kind_b) {
                continue;
            }
            let pair = |x, y| (kind_a, kind_b) == (x, y) || (kind_a, kind_b) == (y, x);
            let help = if pair(Role::Pod, Role::Sr) {
                "a pod reaches the network through its SG: link the pod with an SG"
            } else if pair(Role::Spa, Role::Sr) {
                "an SPA serves one SG: link it with that SG"
            } else if pair(Role::Sg, Role::Sg) {
                "SGs meet at SRs: link each of them with an SR"
            } else {
                "links go sr-sr, sg-sr, pod-sg, spa-sg, scsc-sr and scsc-sg"
            };
            let message = format!("`{a}` ({kind_a}) and `{b}` ({kind_b}) are never linked");
            self.add(Kind::ForbiddenLink, link.at, message, help);
        }
    }

    fn attachments(&mut self) {
        for node in &self.draft.nodes {
            let id = &node.value.id;
            match node.value.kind {
                Role::Pod | Role::Spa => {
                    let at = self.neighbours(id, Role::Sg);
                    self.exactly_one(node, &at, "SG", "sg");
                }
                Role::Sg => self.spa_of(node),
                Role::Scsc if self.neighbours(id, Role::Sr).is_empty() && !self.draft.unclear.contains(id) => {
                    let message = format!("SCSC `{id}` is on no SR");
                    let help = "it feeds on the database of an SR and reaches everybody through it: link it with one";
                    self.add(Kind::MissingAttachment, node.at, message, help);
                }
                Role::Scsc | Role::Sr => {}
            }
        }
    }

    fn exactly_one(&mut self, node: &Located<'_, Node>, found: &[Neighbour<'a>], what: &str, example: &str) {
        let (id, kind) = (&node.value.id, node.value.kind);
        // A link to something else is reported as such, and a node without any as disconnected.
        let linked = self.neighbours.contains_key(id) || self.draft.unclear.contains(id);
        match found {
            [] if linked => {}
            [] => {
                let message = format!("{kind} `{id}` is on no {what}");
                self.add(
                    Kind::MissingAttachment,
                    node.at,
                    message,
                    &format!("link it, such as `- [{id}, {example}-1]`"),
                );
            }
            [_] => {}
            [(first, _, at), rest @ ..] => {
                for (other, _, here) in rest {
                    let message = format!("{kind} `{id}` is on `{first}` and on `{other}`");
                    let help = format!("a {kind} belongs to one {what}: remove one of the links");
                    let mistake = Mistake::new(Kind::SeveralAttachments, here, message, help);
                    self.mistakes.push(mistake.with_other(at, "first here"));
                }
            }
        }
    }

    fn spa_of(&mut self, node: &Located<'_, Node>) {
        let id = &node.value.id;
        let spas = self.neighbours(id, Role::Spa);
        if let [(first, _, at), rest @ ..] = spas.as_slice() {
            for (other, _, here) in rest {
                let message = format!("SG `{id}` has two SPAs, `{first}` and `{other}`");
                let help = "one SPA authenticates the prefixes of an SG: remove one of the links";
                self.mistakes
                    .push(Mistake::new(Kind::SeveralAttachments, here, message, help).with_other(at, "first here"));
            }
            return;
        }
        let pods = self.neighbours(id, Role::Pod);
        if let (Some((pod, ..)), false) = (pods.first(), self.draft.unclear.contains(id)) {
            let message = format!("SG `{id}` has pods and no SPA");
            let help =
                format!("without an SPA every announcement of `{pod}` is refused: add one and link it with `{id}`");
            self.add(Kind::MissingAttachment, node.at, message, &help);
        }
    }

    fn scscs(&mut self) {
        let mut scscs = self.draft.nodes.iter().filter(|node| node.value.kind == Role::Scsc);
        let Some(first) = scscs.next() else {
            if self.draft.qos.value.default.is_some() || !self.draft.qos.value.by_prefix.is_empty() {
                let help = "an SCSC judges the telemetry: add one, or remove the thresholds";
                let message = "there are thresholds and no SCSC".to_owned();
                self.add(Kind::MissingAttachment, &self.draft.qos.at.clone(), message, help);
            }
            return;
        };
        for other in scscs {
            let message = format!("a second SCSC, `{}`", other.value.id);
            let mistake = Mistake::new(Kind::SeveralScscs, other.at, message, "a domain has one SCSC: remove one");
            self.mistakes.push(mistake.with_other(first.at, "first here"));
        }
    }

    /// Every group of nodes but the largest is out of reach.
    fn connection(&mut self) {
        let mut group_of: HashMap<&NodeId, usize> = HashMap::new();
        let mut groups: Vec<Vec<&Located<'_, Node>>> = Vec::new();
        let by_id: HashMap<_, _> = self.draft.nodes.iter().map(|node| (&node.value.id, node)).collect();
        for start in &self.draft.nodes {
            if group_of.contains_key(&start.value.id) {
                continue;
            }
            let mut group = Vec::new();
            let mut waiting = vec![&start.value.id];
            group_of.insert(&start.value.id, groups.len());
            while let Some(id) = waiting.pop() {
                group.extend(by_id.get(id));
                for (neighbour, ..) in self.neighbours.get(id).into_iter().flatten() {
                    if group_of.insert(neighbour, groups.len()).is_none() {
                        waiting.push(neighbour);
                    }
                }
            }
            groups.push(group);
        }
        let largest = groups.iter().enumerate().max_by_key(|(i, group)| (group.len(), usize::MAX - i)).map(|(i, _)| i);
        for (_, mut group) in groups.into_iter().enumerate().filter(|(i, _)| Some(*i) != largest) {
            group.sort_by_key(|node| node.at.start);
            if group.iter().any(|node| self.draft.unclear.contains(&node.value.id)) {
                continue;
            }
            self.out_of_reach(&group);
        }
    }

    fn out_of_reach(&mut self, group: &[&Located<'_, Node>]) {
        let (Some(first), rest) = (group.first(), group.len() - 1) else { return };
        let id = &first.value.id;
        let attachable = matches!(first.value.kind, Role::Pod | Role::Spa | Role::Scsc);
        if rest == 0 && attachable {
            return; // said better by `attachments`
        }
        let message = match rest {
            0 => format!("`{id}` has no link"),
            1 => format!("`{id}` and one more node are out of reach of the others"),
            _ => format!("`{id}` and {rest} more nodes are out of reach of the others"),
        };
        self.add(Kind::Disconnected, first.at, message, "link it with the rest of the topology");
    }

    fn services(&mut self) {
        let mut holders: HashMap<&Name, (&NodeId, &Range<usize>)> = HashMap::new();
        for node in &self.draft.nodes {
            for (service, at) in node.value.services.iter().zip(&node.parts) {
                if let Some((holder, first)) = holders.get(&service.prefix) {
                    let message = format!("`{}` belongs to `{holder}` already", service.prefix);
                    let help = "give each instance its own prefix, and both the same `pool`";
                    let mistake = Mistake::new(Kind::DuplicatePrefix, at, message, help);
                    self.mistakes.push(mistake.with_other(first, "first here"));
                    continue;
                }
                holders.insert(&service.prefix, (&node.value.id, at));
            }
        }
        for node in &self.draft.nodes {
            for (service, at) in node.value.services.iter().zip(&node.parts) {
                let Some(pool) = &service.pool else { continue };
                if let Some((holder, first)) = holders.get(pool) {
                    let message = format!("pool `{pool}` is a service of `{holder}`");
                    let help = "a name is either a pool or one service: rename one of them";
                    self.mistakes.push(Mistake::new(Kind::BadPool, at, message, help).with_other(first, "the service"));
                } else if !pool.is_prefix_of(&service.prefix) {
                    let message = format!("`{}` does not lie under its pool `{pool}`", service.prefix);
                    let help = format!("an instance extends the name of its pool: call it `{pool}/…`");
                    self.add(Kind::BadPool, at, message, &help);
                }
            }
        }
    }

    /// What the pods of an SG are licensed for stands in the certificate of its SPA, at least by first components.
    fn certificates(&mut self) {
        let listed = self.draft.licences.as_ref();
        let by_id: HashMap<_, _> = self.draft.nodes.iter().map(|node| (&node.value.id, &node.value)).collect();
        for sg in self.draft.nodes.iter().filter(|node| node.value.kind == Role::Sg) {
            let pods = self.neighbours(&sg.value.id, Role::Pod);
            let services = pods.iter().filter_map(|(pod, ..)| by_id.get(pod)).flat_map(|pod| &pod.services);
            let licences = pods.iter().filter_map(|(pod, ..)| listed?.get(*pod)).flatten();
            let later = self.draft.events.iter().filter_map(|event| match &event.act {
                Act::Licence { pod, prefix, grant: true } if pods.iter().any(|(id, ..)| *id == pod) => Some(prefix),
                _ => None,
            });
            let names = services.map(|s| &s.prefix).chain(licences).chain(later);
            let first: BTreeSet<&str> = names.filter_map(|name| name.components().next()).chain([GUEST]).collect();
            let certified = first.iter().filter_map(|first| Name::from_components([*first]).ok());
            if narrowest(certified.map(|name| CertifiedName { name, exact: false })).is_none() {
                let message = format!("the names of `{}`'s pods begin with {} components", sg.value.id, first.len());
                let help = "they do not fit the certificate of its SPA: let names share their first components";
                self.add(Kind::TooLarge, sg.at, message, help);
            }
        }
    }

    fn thresholds(&mut self) {
        let services = || self.draft.nodes.iter().flat_map(|node| &node.value.services);
        let names: BTreeSet<&Name> = services().flat_map(|s| [Some(&s.prefix), s.pool.as_ref()]).flatten().collect();
        for (prefix, at) in self.draft.qos.value.by_prefix.keys().zip(&self.draft.qos.parts) {
            if names.iter().any(|name| prefix.is_prefix_of(name)) {
                continue;
            }
            let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
            let hint = did_you_mean(&prefix.to_string(), texts.iter().map(String::as_str));
            let help = if hint.is_empty() { "name a service, a pool, or an ancestor of one".to_owned() } else { hint };
            self.add(Kind::UnknownPrefix, at, format!("no service is `{prefix}` or below it"), &help);
        }
    }
}
