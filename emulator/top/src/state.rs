//! The state of the view.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use damc_lab::control::LinkStatus;
use damc_mgmt::event::Event;
use damc_testbed::{Act, NodeState};

use crate::change::Change;
use crate::look::{Look, ends};
use crate::measure::{PerSecond, Triple, measured};

/// Changes that are remembered.
const REMEMBERED: usize = 500;
/// Links above and below the selected one whose counters are asked for.
const AROUND: usize = 64;

/// The state of the view.
#[derive(Debug)]
pub struct Top {
    pub(crate) now: Look,
    before: Option<Look>,
    pub(crate) changes: VecDeque<Change>,
    /// When the newest event of each node came, ns; what is not newer has been told before.
    told_ns: HashMap<String, u64>,
    acts_told_ns: u64,
    pub(crate) pane: Pane,
    selected: [usize; Pane::ALL.len()],
    pub(crate) mode: Mode,
    pub(crate) message: Option<String>,
    /// The name that was asked about last.
    pub(crate) asked: String,
}

/// A part of the screen that rows can be selected in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Nodes,
    Links,
    Policies,
    Changes,
}

impl Pane {
    const ALL: [Self; 4] = [Self::Nodes, Self::Links, Self::Policies, Self::Changes];

    pub(crate) const fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    pub(crate) const fn previous(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// What keys are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The tables.
    Look,
    /// The list of keys.
    Help,
    /// A line to be typed.
    Ask { question: Question, text: String },
    /// Lines to be read.
    Answer { title: String, lines: Vec<String>, scroll: usize },
}

/// What a typed line answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Impair { a: String, b: String },
    Why { node: String },
}

impl Top {
    /// The view of a lab that has been looked at once.
    #[must_use]
    pub fn new(look: Look) -> Self {
        Self {
            now: look,
            before: None,
            changes: VecDeque::new(),
            told_ns: HashMap::new(),
            acts_told_ns: 0,
            pane: Pane::Nodes,
            selected: [0; Pane::ALL.len()],
            mode: Mode::Look,
            message: None,
            asked: String::new(),
        }
    }

    /// Takes the next look. A node that failed since the last one is a change.
    pub fn looked(&mut self, look: Look) {
        for node in look.status.nodes.iter().filter(|node| node.state == NodeState::Failed) {
            if self.now.node(&node.name).is_some_and(|before| before.state != NodeState::Failed) {
                let (place, what) = (node.name.clone(), "process ended unasked".to_owned());
                self.changed(Change { at_ns: look.at_ns, place, what, bad: true });
            }
        }
        self.before = Some(std::mem::replace(&mut self.now, look));
        for pane in Pane::ALL {
            self.selected[pane as usize] = self.selected[pane as usize].min(self.rows(pane).saturating_sub(1));
        }
    }

    /// Takes an event of a node. What the node has told before is not taken again.
    pub fn happened(&mut self, node: &str, event: &Event) {
        let told = self.told_ns.entry(node.to_owned()).or_default();
        if event.at_ns <= *told {
            return;
        }
        *told = event.at_ns;
        if let Some(change) = Change::of_event(node, event) {
            self.changed(change);
        }
    }

    /// Takes all that the lab remembers to have been done to it. What is known is not taken again.
    pub fn done(&mut self, acts: &[Act]) {
        let fresh: Vec<&Act> = acts.iter().filter(|act| act.at_ns > self.acts_told_ns).collect();
        self.acts_told_ns = fresh.iter().map(|act| act.at_ns).max().unwrap_or(self.acts_told_ns);
        fresh.into_iter().for_each(|act| self.changed(Change::of_act(act)));
    }

    fn changed(&mut self, change: Change) {
        let place = self.changes.iter().rposition(|other| other.at_ns <= change.at_ns).map_or(0, |at| at + 1);
        self.changes.insert(place, change);
        if self.changes.len() > REMEMBERED {
            self.changes.pop_front();
        }
    }

    /// Says something at the bottom, until the next key.
    pub fn say(&mut self, message: String) {
        self.message = Some(message);
    }

    /// Shows a text to be read.
    pub fn show(&mut self, title: String, text: &str) {
        self.message = None;
        self.mode = Mode::Answer { title, lines: text.lines().map(str::to_owned).collect(), scroll: 0 };
    }

    /// Links whose counters the next look should have: those around the selected one.
    #[must_use]
    pub fn wanted_links(&self) -> Range<usize> {
        let selected = self.selected(Pane::Links);
        selected.saturating_sub(AROUND)..(selected + AROUND).min(self.now.status.links.len())
    }

    /// The number of the selected row of a pane.
    pub(crate) const fn selected(&self, pane: Pane) -> usize {
        self.selected[pane as usize]
    }

    /// Moves the selection.
    pub(crate) fn select(&mut self, by: isize) {
        let last = self.rows(self.pane).saturating_sub(1);
        let selected = &mut self.selected[self.pane as usize];
        *selected = selected.saturating_add_signed(by).min(last);
    }

    fn rows(&self, pane: Pane) -> usize {
        match pane {
            Pane::Nodes => self.now.status.nodes.len(),
            Pane::Links => self.now.status.links.len(),
            Pane::Policies => self.now.policies.len() + self.now.violated.len(),
            Pane::Changes => self.changes.len(),
        }
    }

    pub(crate) fn selected_node(&self) -> Option<&str> {
        Some(&self.now.status.nodes.get(self.selected(Pane::Nodes))?.name)
    }

    pub(crate) fn selected_link(&self) -> Option<(String, String)> {
        self.now.status.links.get(self.selected(Pane::Links)).map(ends)
    }

    /// What a node did in a second since the look before.
    pub(crate) fn per_second(&self, node: &str) -> Option<PerSecond> {
        PerSecond::of(self.before.as_ref()?, &self.now, node)
    }

    /// What both directions of a link did since the look before.
    pub(crate) fn measured(&self, link: &LinkStatus) -> [Triple; 2] {
        let before = self.before.as_ref().and_then(|look| look.links.get(&ends(link)));
        measured(before.unwrap_or(link), link, &self.now)
    }
}
