//! Why two neighbours do not use their link, or one of them does not say so.

use damc_mgmt::event::EventKind;
use damc_mgmt::view::NeighborView;
use damc_mgmt::words::{AdjacencyState, DownReason};

use crate::asker::Asker;
use crate::evidence::Witness;
use crate::rule::Rule;

/// The rule by which an adjacency ends for this reason.
const fn rule_of(reason: Option<DownReason>) -> Rule {
    match reason {
        Some(DownReason::EchoSilence) => Rule::ECHO,
        _ => Rule::ADJACENCY,
    }
}

fn is_full(row: Option<&NeighborView>) -> bool {
    row.is_some_and(|row| row.state == AdjacencyState::Full)
}

impl Asker<'_> {
    /// Adds why `a` and `b` have no full adjacency; false where both say that they have one.
    pub(crate) fn explain_adjacency(&mut self, a: &str, b: &str) -> bool {
        let ends = [(a, b), (b, a)];
        let full = ends
            .map(|(near, far)| self.witness(near).filter(|w| w.silent.is_none()).map(|w| is_full(w.neighbour(far))));
        if full == [Some(true), Some(true)] {
            return false;
        }
        let mut until = u64::MAX;
        for ((near, far), full) in ends.into_iter().zip(full) {
            if full == Some(false) {
                until = until.min(self.adjacency_lost(near, far));
            }
        }
        let dead = self.explain_node(a) | self.explain_node(b);
        if !dead && !self.explain_link(a, b, until) && !self.explain_link(a, b, u64::MAX) {
            self.hello_refused(a, b);
        }
        true
    }

    /// Adds that `near` lost its adjacency with `far`, or never had one; when that was.
    fn adjacency_lost(&mut self, near: &str, far: &str) -> u64 {
        let Some(witness) = self.witness(near) else { return u64::MAX };
        let down = witness.last(u64::MAX, |kind| {
            matches!(kind, EventKind::Adjacency { port, state, .. } if port == far && *state != AdjacencyState::Full)
        });
        let was_full = witness.last(
            u64::MAX,
            |kind| matches!(kind, EventKind::Adjacency { port, state: AdjacencyState::Full, .. } if port == far),
        );
        match down {
            Some(event) if was_full.is_none_or(|full| full.sequence < event.sequence) => {
                let lost = lost_at(witness, far);
                let (event, reason) = lost.map_or((event, None), |(event, reason)| (event, Some(reason)));
                let state = witness.neighbour(far).map_or(AdjacencyState::Down, |row| row.state);
                let why = reason.map_or_else(|| format!("it is {state}"), |reason| format!("lost it: {reason}"));
                self.event(near, event, format!("has no adjacency with {far}: {why}"), rule_of(reason), None);
                event.at_ns
            }
            _ => {
                let last = witness.neighbour(far).and_then(|row| row.last_down);
                let what = last.map_or_else(|| "never had one".to_owned(), |reason| format!("lost it: {reason}"));
                self.now(near, format!("has no adjacency with {far}: {what}"), rule_of(last));
                u64::MAX
            }
        }
    }

    /// Adds frames of the neighbour that one of the ends dropped.
    fn hello_refused(&mut self, a: &str, b: &str) {
        for (near, far) in [(a, b), (b, a)] {
            let Some(witness) = self.witness(near) else { continue };
            let dropped = witness.last(u64::MAX, |kind| matches!(kind, EventKind::Dropped { port, .. } if port == far));
            if let Some(event) = dropped
                && let EventKind::Dropped { reason, detail, .. } = &event.kind
            {
                let what = format!("dropped a frame of {far}: {reason} {detail}");
                self.event(near, event, what, Rule::HOP, None);
            }
        }
    }

    /// Adds why `near` does not list its neighbour `far` in its topology LSA, as others hold it. A link that both ends use
    /// and one of them does not say is that one's fault.
    pub(crate) fn explain_one_sided(&mut self, near: &str, far: &str) {
        if self.explain_adjacency(near, far) {
            return;
        }
        let what = format!("has a full adjacency with {far} and does not list it in its topology LSA");
        self.broken(near, None, what, Rule::FLOODING.part("Origination"));
    }
}

/// When an adjacency was lost last, and why.
fn lost_at<'w>(witness: &'w Witness, far: &str) -> Option<(&'w damc_mgmt::event::Event, DownReason)> {
    let event = witness.last(u64::MAX, |kind| {
        matches!(kind, EventKind::Adjacency { port, state: AdjacencyState::Down, reason: Some(_) } if port == far)
    })?;
    match &event.kind {
        EventKind::Adjacency { reason: Some(reason), .. } => Some((event, *reason)),
        _ => None,
    }
}
