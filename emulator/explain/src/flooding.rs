//! The way of one LSA from its origin to a node, hop by hop backwards.

use std::collections::BTreeSet;

use damc_mgmt::event::{Event, EventKind};
use damc_mgmt::view::LsaView;
use damc_testbed::{Act, Deed};
use damc_wire::DropReason;

use crate::asker::Asker;
use crate::evidence::{Witness, event_id};
use crate::rule::Rule;

/// An LSA by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lsa<'a> {
    pub(crate) origin: &'a str,
    pub(crate) id: &'a str,
    pub(crate) sequence: u64,
}

impl Lsa<'_> {
    fn key(&self) -> (&str, &str, u64) {
        (self.origin, self.id, self.sequence)
    }

    fn is(&self, origin: &str, id: &str) -> bool {
        self.origin == origin && self.id == id
    }
}

/// The last acceptance of an LSA at a node: of this sequence, else of any.
fn accepted<'w>(witness: &'w Witness, lsa: Lsa<'_>, until_ns: u64) -> Option<(&'w Event, &'w str)> {
    let exact = |kind: &EventKind| {
        matches!(kind, EventKind::LsaAccepted { origin, id, sequence, .. }
            if lsa.is(origin, id) && *sequence == lsa.sequence)
    };
    let event = witness.last(until_ns, exact)?;
    let EventKind::LsaAccepted { port, .. } = &event.kind else { return None };
    Some((event, port))
}

/// The origination of an LSA at its origin.
pub(crate) fn originated<'w>(witness: &'w Witness, lsa: Lsa<'_>, until_ns: u64) -> Option<&'w Event> {
    witness.last(until_ns, |kind| {
        matches!(kind, EventKind::LsaOriginated { origin, id, sequence, .. }
            if lsa.is(origin, id) && *sequence == lsa.sequence)
    })
}

impl Asker<'_> {
    /// Adds how the LSA came to `node`, back to its origination. Returns when it was originated, as far as that is known.
    pub(crate) fn trace(&mut self, node: &str, view: &LsaView) -> Option<u64> {
        let id = event_id(view);
        let lsa = Lsa { origin: &view.origin, id: &id, sequence: view.sequence };
        let (mut at, mut until) = (node.to_owned(), u64::MAX);
        let mut seen = BTreeSet::new();
        while at != lsa.origin && seen.insert(at.clone()) {
            let witness = self.witness(&at)?;
            let Some((event, port)) = accepted(witness, lsa, until) else {
                self.unknown_arrival(&at, lsa);
                break;
            };
            let frame = self.frames.lsa((port, &at), lsa.key(), event.at_ns);
            let what = format!("accepted the LSA {id} of {} (sequence {}) from {port}", lsa.origin, lsa.sequence);
            self.event(&at, event, what, Rule::FLOODING.part("step 8"), frame);
            if self.came_from_nowhere(&at, port, lsa, event.at_ns) {
                return None;
            }
            until = event.at_ns;
            at = port.to_owned();
        }
        self.origination(lsa, until)
    }

    fn origination(&mut self, lsa: Lsa<'_>, until: u64) -> Option<u64> {
        let witness = self.witness(lsa.origin)?;
        let Some(event) = originated(witness, lsa, until) else {
            if witness.silent.is_none() {
                let what = format!("originated the LSA {} before what it remembers", lsa.id);
                self.now(lsa.origin, what, Rule::FLOODING.part("Origination"));
            }
            return None;
        };
        let what = format!("originated the LSA {} (sequence {})", lsa.id, lsa.sequence);
        self.event(lsa.origin, event, what, Rule::FLOODING.part("Origination"), None);
        Some(event.at_ns)
    }

    fn unknown_arrival(&mut self, at: &str, lsa: Lsa<'_>) {
        let what = format!("holds the LSA {} of {} and does not remember from whom", lsa.id, lsa.origin);
        self.now(at, what, Rule::FLOODING.part("step 8"));
    }

    /// Whether an accepted LSA was never its origin's: nobody says to have originated it, and its bearer never had it.
    fn came_from_nowhere(&mut self, at: &str, port: &str, lsa: Lsa<'_>, at_ns: u64) -> bool {
        let origin_silent_of_it = match self.witness(lsa.origin) {
            Some(origin) => origin.remembers_all() && origin.starts <= 1 && originated(origin, lsa, u64::MAX).is_none(),
            None => true,
        };
        let bearer_never_had_it =
            self.witness(port).is_none_or(|w| w.remembers_all() && accepted(w, lsa, u64::MAX).is_none());
        if !origin_silent_of_it || !bearer_never_had_it {
            return false;
        }
        let rule = Rule::FLOODING.part("step 6");
        let what = format!(
            "took the LSA {} (sequence {}) although {} never originated it: it does not verify",
            lsa.id, lsa.sequence, lsa.origin
        );
        self.broken(at, Some(at_ns), what, rule);
        self.refusals_elsewhere(at, lsa);
        self.injection(port, at, at_ns);
        true
    }

    /// Adds how other nodes judged the same LSA.
    fn refusals_elsewhere(&mut self, but: &str, lsa: Lsa<'_>) {
        for (node, witness) in self.e.nodes.iter().filter(|(node, _)| *node != but) {
            if let Some((event, reason, port)) = refused(witness, lsa.origin, lsa.id, None) {
                let what = format!("refused the LSA {} of {} from {port}: {reason}", lsa.id, lsa.origin);
                self.event(node, event, what, Rule::of_refused_lsa(reason), None);
            }
        }
    }

    /// Adds that frames were sent in the name of `node` to `neighbour`, if they were.
    pub(crate) fn injection(&mut self, node: &str, neighbour: &str, until_ns: u64) -> bool {
        let act = self.act(
            until_ns,
            |deed| matches!(deed, Deed::Injected { node: n, port, .. } if n == node && port == neighbour),
        );
        let Some(Act { at_ns, deed: Deed::Injected { frames, .. } }) = act else { return false };
        let what = format!("somebody sent {frames} frames to {neighbour} in its name");
        self.root(node, Some(*at_ns), what, None);
        true
    }
}

/// The last refusal of an LSA at a node, from one of its neighbours or any.
pub(crate) fn refused<'w>(
    witness: &'w Witness,
    origin: &str,
    id: &str,
    from: Option<&str>,
) -> Option<(&'w Event, DropReason, &'w str)> {
    // That a copy was older, or came too soon, is in the course of things.
    let ordinary = [DropReason::StaleLsa, DropReason::MinArrival];
    let event = witness.last(u64::MAX, |kind| {
        matches!(kind, EventKind::LsaRefused { origin: o, id: i, port, reason, .. }
            if o == origin && i == id && from.is_none_or(|from| from == port) && !ordinary.contains(reason))
    })?;
    let EventKind::LsaRefused { reason, port, .. } = &event.kind else { return None };
    Some((event, *reason, port))
}
