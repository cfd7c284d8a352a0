//! Drawings of topologies: SVG for people, Graphviz and Mermaid for other tools.
//!
//! A drawing is a pure function of the topology and of what is to be shown on it: the same input gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use damc_wire::NodeId;
use damc_wire::registry::Role;

use crate::{Direction, Link, Topology, describe};

mod layout;
mod svg;

pub use layout::{Layout, Point, layout};
pub use svg::svg;

/// What a drawing shows beside nodes and links.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawing {
    /// Headline; none for no headline.
    pub title: Option<String>,
    /// Paths in colours of their own, explained in the legend.
    pub paths: Vec<Path>,
    /// What links say.
    pub labels: Labels,
}

/// A path to highlight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// What it is, for the legend: `pod-1 to /B`.
    pub label: String,
    /// The nodes it passes, in order. Nodes the topology does not have are skipped.
    pub nodes: Vec<NodeId>,
}

/// What links say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// Nothing.
    #[default]
    None,
    /// Where a link differs from most others: its properties and cost.
    Different,
    /// Properties and cost of every link.
    All,
}

/// What a link says about each of its directions; empty for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LinkLabel {
    forward: String,
    backward: String,
}

impl LinkLabel {
    /// One text where both directions say the same.
    fn same(&self) -> Option<&str> {
        (self.forward == self.backward).then_some(self.forward.as_str())
    }

    /// Both directions in one text, with arrows where they differ.
    fn joined(&self) -> String {
        let or_default = |text: &str| if text.is_empty() { "default".to_owned() } else { text.to_owned() };
        match self.same() {
            Some(text) => text.to_owned(),
            None => format!("→ {} ← {}", or_default(&self.forward), or_default(&self.backward)),
        }
    }
}

/// The label of each link, by its index.
fn link_labels(topology: &Topology, labels: Labels) -> Vec<LinkLabel> {
    let directions = || topology.links().iter().flat_map(|link| [&link.forward, &link.backward]);
    let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    directions().for_each(|direction| *counts.entry(properties(direction)).or_default() += 1);
    let usual = counts.into_iter().max_by_key(|(_, count)| *count).map(|(words, _)| words).unwrap_or_default();
    let say = |direction: &Direction, other: &Direction| {
        let (mut words, other) = (properties(direction), properties(other));
        match labels {
            Labels::None => words.clear(),
            Labels::All => {}
            // Only what differs, from most links or from the way back: a link that is slower says that it is slower.
            Labels::Different => words.retain(|word| !usual.contains(word) || !other.contains(word)),
        }
        words.join(" ")
    };
    let label = |link: &Link| LinkLabel {
        forward: say(&link.forward, &link.backward),
        backward: say(&link.backward, &link.forward),
    };
    topology.links().iter().map(label).collect()
}

/// Properties and cost of a direction, each with its value.
fn properties(direction: &Direction) -> Vec<String> {
    let mut all = describe(&direction.spec);
    all.push(format!("cost {}", direction.cost));
    all
}

/// The topology in Graphviz' language.
#[must_use]
pub fn dot(topology: &Topology) -> String {
    let mut text =
        format!("graph \"{}\" {{\n  overlap=false;\n  node [style=filled, fontname=sans];\n", topology.name());
    for node in topology.nodes().values() {
        let look = Look::of(node.kind);
        let shape = if node.kind == Role::Pod { "note" } else { "box" };
        let label = std::iter::once(node.id.to_string()).chain(node.services.iter().map(|s| s.prefix.to_string()));
        let label = label.collect::<Vec<_>>().join("\\n");
        let _ = writeln!(text, "  \"{}\" [label=\"{label}\", shape={shape}, fillcolor=\"{}\"];", node.id, look.fill);
    }
    for (link, label) in topology.links().iter().zip(link_labels(topology, Labels::Different)) {
        let label = label.joined();
        let label = if label.is_empty() { label } else { format!(" [label=\"{label}\"]") };
        let _ = writeln!(text, "  \"{}\" -- \"{}\"{label};", link.a, link.b);
    }
    text + "}\n"
}

/// The topology in Mermaid's language, for Markdown.
#[must_use]
pub fn mermaid(topology: &Topology) -> String {
    let mut text = "graph TD\n".to_owned();
    // Node identities may hold characters that Mermaid does not take in its own.
    let index = |id: &NodeId| topology.nodes().keys().position(|other| other == id).unwrap_or(0);
    for (i, node) in topology.nodes().values().enumerate() {
        let (open, close) = if node.kind == Role::Pod { ("([", "])") } else { ("[", "]") };
        let services: String = node.services.iter().map(|s| format!("<br/>{}", s.prefix)).collect();
        let _ = writeln!(text, "  n{i}{open}\"{}{services}\"{close}:::{}", node.id, node.kind);
    }
    for (link, label) in topology.links().iter().zip(link_labels(topology, Labels::Different)) {
        let label = label.joined();
        let label = if label.is_empty() { label } else { format!("|\"{label}\"|") };
        let _ = writeln!(text, "  n{} ---{label} n{}", index(&link.a), index(&link.b));
    }
    for kind in Role::ALL {
        let look = Look::of(*kind);
        let _ = writeln!(text, "  classDef {kind} fill:{},stroke:{},color:#1d2733", look.fill, look.stroke);
    }
    text
}

/// Colours of a kind of node, and what the legend calls it.
struct Look {
    fill: &'static str,
    stroke: &'static str,
    meaning: &'static str,
}

impl Look {
    const fn of(kind: Role) -> Self {
        match kind {
            Role::Sr => Self { fill: "#d6e6fa", stroke: "#2f6fb7", meaning: "service router" },
            Role::Sg => Self { fill: "#d5f0e3", stroke: "#26875b", meaning: "service gateway" },
            Role::Spa => Self { fill: "#fdebc8", stroke: "#b97a0a", meaning: "prefix authentication" },
            Role::Scsc => Self { fill: "#e6dcf7", stroke: "#7347b8", meaning: "scheduling centre" },
            Role::Pod => Self { fill: "#ffffff", stroke: "#66727f", meaning: "services" },
        }
    }
}

#[cfg(test)]
mod tests;
