//! Where a call was lost.

use damc_mgmt::event::{Event, EventKind};
use damc_wire::{Name, RefusalReason, Role};

use crate::asker::{Asker, Unanswerable};
use crate::frames::CallFrame;
use crate::rule::Rule;

/// Nodes that a call is followed through; a hop limit is not larger.
const FARTHEST: usize = 64;

impl<'a> Asker<'a> {
    pub(crate) fn explain_call(&mut self, call: &str) -> Result<String, Unanswerable> {
        let failed = |event: &&Event| matches!(&event.kind, EventKind::CallFailed { call: c, .. } if c == call);
        let found = self.e.nodes.iter().find_map(|(pod, w)| Some((pod, w.events.iter().find(failed)?)));
        let none = || Unanswerable(format!("no pod of {} remembers that a call {call} failed", self.e.lab));
        let (pod, event) = found.ok_or_else(none)?;
        let EventKind::CallFailed { source, name, reason, detail, .. } = &event.kind else { return Err(none()) };
        let said = reason.map_or_else(|| "no answer in time".to_owned(), |reason| reason.to_string());
        let what = format!("its call from {source} to {name} failed: {said} ({detail})");
        self.event(pod, event, what, Rule::CALLS, None);
        let name: Name = name.parse().map_err(|error| Unanswerable(format!("{name:?} is no name: {error}")))?;
        match reason {
            Some(reason) => self.refused_call(detail, *reason, &name),
            None => self.silent_call(pod, &name, event.at_ns),
        }
        self.end_here();
        Ok(format!("{pod}'s call to {name} failed: {said}"))
    }

    /// Somebody said why.
    fn refused_call(&mut self, decider: &str, reason: RefusalReason, name: &Name) {
        let frames = self.frames.call();
        let answer = frames.iter().find(|frame| frame.back);
        // Negative replies name the node that decided; errors of services carry their own words.
        let Some(witness) = self.witness(decider) else {
            if let Some(answer) = answer {
                self.passage(answer, &answer.frame.from.clone());
            }
            return;
        };
        if let Some(answer) = answer {
            self.passage(answer, decider);
        }
        let rule = Rule::NACKS;
        self.now(decider, format!("answered for {name}: {reason}"), rule);
        if crate::frames::is_router(&witness.kind) && witness.entry(name).is_none() {
            self.explain_absence(decider, name);
        } else if let Some(entry) = witness.entry(name) {
            for hop in &entry.next_hops {
                self.explain_adjacency(decider, &hop.node);
            }
        }
    }

    fn passage(&mut self, frame: &CallFrame, node: &str) {
        let rule = if frame.back { Rule::NACKS } else { Rule::FORWARDING };
        let reference = Some(frame.frame.clone());
        let step = crate::chain::Step {
            node: node.to_owned(),
            at_ns: Some(frame.frame.at_ns),
            what: format!("sent {} to {}", frame.what, frame.frame.to),
            rule: Some(rule),
            frame: reference,
            mark: crate::chain::Mark::Follows,
        };
        self.add(step);
    }

    /// Nobody answered: the last place where it was seen, or the last that its way leads to.
    fn silent_call(&mut self, pod: &str, name: &Name, until_ns: u64) {
        let frames = self.frames.call();
        match frames.last() {
            Some(last) => self.last_seen(last, until_ns),
            None => self.walked(pod, name),
        }
    }

    fn last_seen(&mut self, last: &CallFrame, until_ns: u64) {
        let (from, to) = (last.frame.from.as_str(), last.frame.to.as_str());
        self.passage(last, from);
        if !last.sent {
            let what = format!("got {} from {from} and sent nothing on", last.what);
            if !self.explain_node(to) {
                self.root(to, Some(last.frame.at_ns), what, Some(Rule::FORWARDING));
                self.dropped(to, last.frame.at_ns);
            }
        } else if !self.explain_node(to) && !self.explain_link(from, to, until_ns) {
            let does = self.link(from, to).and_then(|link| link.does.as_ref());
            let text = does
                .map_or_else(String::new, |does| format!(", whose losses are {:?} and {:?}", does.0.loss, does.1.loss));
            self.root(from, Some(last.frame.at_ns), format!("the frame was lost on its link to {to}{text}"), None);
        }
    }

    /// Adds what a node dropped around a time.
    fn dropped(&mut self, node: &str, at_ns: u64) {
        let near = at_ns.saturating_add(1_000_000_000);
        let event = self.last(node, near, |kind| matches!(kind, EventKind::Dropped { .. }));
        if let Some(event) = event.filter(|event| event.at_ns >= at_ns)
            && let EventKind::Dropped { reason, port, .. } = &event.kind
        {
            let what = format!("dropped a frame from {port}: {reason}");
            self.event(node, event, what, Rule::FORWARDING, None);
        }
    }

    /// Without frames: follows the tables as they are now.
    fn walked(&mut self, pod: &str, name: &Name) {
        let is_sg = |node: &&str| self.witness(node).is_some_and(|w| w.kind == Role::Sg.label());
        let Some(mut at) = self.neighbours(pod).find(is_sg).map(str::to_owned) else { return };
        if self.explain_adjacency(pod, &at) {
            return;
        }
        for _ in 0..FARTHEST {
            if self.explain_node(&at) {
                return;
            }
            let Some(witness) = self.witness(&at) else { return };
            let Some(entry) = witness.entry(name) else {
                self.explain_absence(&at, name);
                return;
            };
            let Some(next) = entry.next_hops.first().map(|hop| hop.node.clone()).filter(|next| *next != at) else {
                return;
            };
            self.now(&at, format!("forwards {name} to {next}"), Rule::FORWARDING.part("step 7"));
            if self.explain_adjacency(&at, &next) || self.explain_link(&at, &next, u64::MAX) {
                return;
            }
            let router = self.witness(&next).is_some_and(|w| crate::frames::is_router(&w.kind));
            if !router {
                self.explain_node(&next);
                return;
            }
            at = next;
        }
    }
}
