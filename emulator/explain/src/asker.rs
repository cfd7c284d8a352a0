//! The questions, and what all answers share.

use core::fmt;

use damc_mgmt::event::{Event, EventKind};
use damc_testbed::{Act, Deed, LinkChange, NodeState};
use damc_wire::Name;

use crate::chain::{Chain, Mark, Step};
use crate::evidence::{Evidence, LinkEvidence, Witness};
use crate::frames::{FrameRef, Frames};
use crate::rule::Rule;

/// A question without an answer: what it names does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswerable(pub String);

impl fmt::Display for Unanswerable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Unanswerable {}

/// Why `node` forwards frames to `name` as it does; where it does not, why not.
///
/// # Errors
/// There is no such node, it has no forwarding table, or `name` is no name.
pub fn why(evidence: &Evidence, frames: &Frames, node: &str, name: &str) -> Result<Chain, Unanswerable> {
    answered(evidence, frames, "why", node, name)
}

/// Why `node` has no entry for `name`; where it has one, why it does.
///
/// # Errors
/// As [`why`].
pub fn why_not(evidence: &Evidence, frames: &Frames, node: &str, name: &str) -> Result<Chain, Unanswerable> {
    answered(evidence, frames, "why-not", node, name)
}

/// Why the call of this correlation (16 hexadecimal digits) failed. `frames` are to be [`Frames::of_call`] of it.
///
/// # Errors
/// No pod remembers such a call.
pub fn why_call(evidence: &Evidence, frames: &Frames, call: &str) -> Result<Chain, Unanswerable> {
    let mut asker = Asker::new(evidence, frames);
    let answer = asker.explain_call(call)?;
    Ok(asker.chain(format!("why {call}"), answer))
}

fn answered(e: &Evidence, frames: &Frames, verb: &str, node: &str, name: &str) -> Result<Chain, Unanswerable> {
    let known = || e.nodes.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let none = || Unanswerable(format!("there is no node {node} in {}; there are {}", e.lab, known()));
    let witness = e.nodes.get(node).ok_or_else(none)?;
    if !crate::frames::is_router(&witness.kind) {
        let kind = &witness.kind;
        return Err(Unanswerable(format!("{node} is of kind {kind} and forwards nothing: ask an sg or sr")));
    }
    let parsed: Name = name.parse().map_err(|error| Unanswerable(format!("{name:?} is no name: {error}")))?;
    let mut asker = Asker::new(e, frames);
    let answer = match (&witness.silent, witness.entry(&parsed)) {
        (Some(silent), _) => {
            asker.explain_node(node);
            format!("{node} cannot say how it forwards {name}: {silent}")
        }
        (None, Some(entry)) => asker.explain_entry(node, entry),
        (None, None) => asker.explain_absence(node, &parsed),
    };
    Ok(asker.chain(format!("{verb} {node} {name}"), answer))
}

/// Builds a chain.
pub(crate) struct Asker<'a> {
    pub(crate) e: &'a Evidence,
    pub(crate) frames: &'a Frames,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Asker<'a> {
    fn new(e: &'a Evidence, frames: &'a Frames) -> Self {
        Self { e, frames, steps: Vec::new() }
    }

    fn chain(self, question: String, answer: String) -> Chain {
        Chain { question, answer, steps: self.steps, began_ns: self.e.began_ns }
    }

    pub(crate) fn witness(&self, node: &str) -> Option<&'a Witness> {
        self.e.nodes.get(node)
    }

    /// Adds a step, unless it was told already: two causes may have one root.
    pub(crate) fn add(&mut self, step: Step) {
        if !self.steps.iter().any(|s| (&s.node, s.at_ns, &s.what) == (&step.node, step.at_ns, &step.what)) {
            self.steps.push(step);
        }
    }

    /// Adds what an event of a node tells.
    pub(crate) fn event(&mut self, node: &str, event: &Event, what: String, rule: Rule, frame: Option<FrameRef>) {
        let (node, at_ns, rule) = (node.to_owned(), Some(event.at_ns), Some(rule));
        self.add(Step { node, at_ns, what, rule, frame, mark: Mark::Follows });
    }

    /// Adds what a table says now.
    pub(crate) fn now(&mut self, node: &str, what: String, rule: Rule) {
        self.add(Step { node: node.to_owned(), at_ns: None, what, rule: Some(rule), frame: None, mark: Mark::Follows });
    }

    /// Adds a root.
    pub(crate) fn root(&mut self, node: &str, at_ns: Option<u64>, what: String, rule: Option<Rule>) {
        self.add(Step { node: node.to_owned(), at_ns, what, rule, frame: None, mark: Mark::Root });
    }

    /// Adds that a node does not do what the rule says.
    pub(crate) fn broken(&mut self, node: &str, at_ns: Option<u64>, what: String, rule: Rule) {
        self.add(Step { node: node.to_owned(), at_ns, what, rule: Some(rule), frame: None, mark: Mark::Broken });
    }

    /// Makes the last step a root where none is there yet, for nothing is known beyond it.
    pub(crate) fn end_here(&mut self) {
        if self.steps.iter().all(|step| step.mark == Mark::Follows)
            && let Some(last) = self.steps.last_mut()
        {
            last.mark = Mark::Root;
        }
    }

    // ===== acts =====

    /// The newest act up to `until_ns` that `pick` takes.
    pub(crate) fn act(&self, until_ns: u64, pick: impl Fn(&Deed) -> bool) -> Option<&'a Act> {
        self.e.acts.iter().rev().find(|act| act.at_ns <= until_ns && pick(&act.deed))
    }

    /// Adds the root why a node's process does not run, where it does not.
    pub(crate) fn explain_node(&mut self, node: &str) -> bool {
        let Some(witness) = self.witness(node) else { return false };
        let Some(state) = witness.state.filter(|state| *state != NodeState::Ready) else { return false };
        let act = self.act(u64::MAX, |deed| matches!(deed, Deed::Node { node: n, .. } if n == node));
        match act {
            Some(Act { at_ns, deed: Deed::Node { action, .. } }) if state != NodeState::Failed => {
                let what = format!("somebody told it to {}: it is {}", action.label(), state.label());
                self.root(node, Some(*at_ns), what, None);
            }
            _ => self.root(node, None, format!("its process is {}", state.label()), None),
        }
        true
    }

    /// The link between two nodes, if there is one.
    pub(crate) fn link(&self, a: &str, b: &str) -> Option<&'a LinkEvidence> {
        self.e.links.iter().find(|link| (link.a == a && link.b == b) || (link.a == b && link.b == a))
    }

    /// Adds the newest change of a link that takes frames away, up to `until_ns`; whether there is one in force.
    pub(crate) fn explain_link(&mut self, a: &str, b: &str, until_ns: u64) -> bool {
        let of_link = |x: &str, y: &str| (x == a && y == b) || (x == b && y == a);
        let act = self.act(until_ns, |deed| matches!(deed, Deed::Link { a, b, .. } if of_link(a, b)));
        if let Some(Act { at_ns, deed: Deed::Link { a, b, change } }) = act
            && takes_away(change)
        {
            self.root(a, Some(*at_ns), format!("somebody changed the link {a} – {b}: {}", change_text(change)), None);
            return true;
        }
        let Some(link) = self.link(a, b) else { return false };
        if link.up == Some(false) {
            self.root(&link.a, None, format!("the link {} – {} has no carrier", link.a, link.b), None);
            return true;
        }
        let silent = link.does.is_some_and(|(forward, backward)| forward.silent || backward.silent);
        if silent {
            self.root(&link.a, None, format!("the link {} – {} loses every frame", link.a, link.b), None);
        }
        silent
    }

    /// The node's neighbours by the plan.
    pub(crate) fn neighbours(&self, node: &str) -> impl Iterator<Item = &'a str> {
        let ends = |link: &'a LinkEvidence| {
            if link.a == node { Some(link.b.as_str()) } else { (link.b == node).then_some(link.a.as_str()) }
        };
        let found: Vec<&str> = self.e.links.iter().filter_map(ends).collect();
        found.into_iter()
    }

    /// The newest event of `node` about one of the orders that `pick` takes.
    pub(crate) fn order(&self, node: &str, pick: impl Fn(&damc_mgmt::command::Command) -> bool) -> Option<&'a Event> {
        self.witness(node)?.last(u64::MAX, |kind| matches!(kind, EventKind::Ordered { order } if pick(order)))
    }
}

/// Whether a change of a link can take an adjacency or frames away.
fn takes_away(change: &LinkChange) -> bool {
    match change {
        LinkChange::Down => true,
        LinkChange::Up | LinkChange::Clear => false,
        LinkChange::Set { properties, .. } => properties.silent == Some(true) || properties.loss.is_some(),
        LinkChange::SetEach { forward, backward } => {
            [forward, backward].iter().any(|c| c.silent == Some(true) || c.loss.is_some())
        }
    }
}

/// A change of a link as people write it.
#[must_use]
pub fn change_text(change: &LinkChange) -> String {
    let properties = |change: &damc_impair::DirectionChange| -> String {
        let json = serde_json::to_value(change).unwrap_or_default();
        let members = json.as_object().cloned().unwrap_or_default();
        let words = members.into_iter().map(|(key, value)| match (key.strip_suffix("_ns"), value.as_f64()) {
            (Some(key), Some(ns)) => format!("{key} {} ms", ns / 1e6),
            _ => format!("{key} {value}"),
        });
        words.collect::<Vec<_>>().join(", ")
    };
    match change {
        LinkChange::Down => "down".to_owned(),
        LinkChange::Up => "up".to_owned(),
        LinkChange::Clear => "as in the topology file".to_owned(),
        LinkChange::Set { properties: change, .. } => properties(change),
        LinkChange::SetEach { forward, backward } => {
            format!("forward {}; backward {}", properties(forward), properties(backward))
        }
    }
}
