//! Why an SG says of a name what it says: announcement, grant, licence; and why it says it no longer.

use damc_mgmt::command::Command;
use damc_mgmt::event::{Event, EventKind};
use damc_mgmt::view::LsaView;
use damc_mgmt::words::{AdjacencyState, LsaKind};
use damc_wire::lsa::UNREACHABLE;
use damc_wire::{MessageType, Role};

use crate::asker::Asker;
use crate::rule::Rule;

/// A name behind a pod's port of an SG.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) sg: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) prefix: &'a str,
}

impl Claim<'_> {
    fn is(&self, pod: &str, prefix: &str) -> bool {
        self.pod == pod && self.prefix == prefix
    }

    fn id(&self) -> String {
        format!("{} at {}", self.prefix, self.pod)
    }

    /// The SPA's grant, as SG and SPA tell it.
    fn granted(&self, kind: &EventKind) -> bool {
        matches!(kind, EventKind::Authenticated { pod, prefix, refusal: None, .. } if self.is(pod, prefix))
    }

    fn refused(&self, kind: &EventKind) -> bool {
        matches!(kind, EventKind::Authenticated { pod, prefix, refusal: Some(_), .. } if self.is(pod, prefix))
    }

    fn revoked(&self, kind: &EventKind) -> bool {
        matches!(kind, EventKind::Revoked { pod, prefix } if self.is(pod, prefix))
    }

    fn expired(&self, kind: &EventKind) -> bool {
        matches!(kind, EventKind::GrantExpired { pod, prefix } if self.is(pod, prefix))
    }

    fn announced(&self, kind: &EventKind, gone: bool) -> bool {
        matches!(kind, EventKind::Announced { pod, prefix, withdrawn } if self.is(pod, prefix) && *withdrawn == gone)
    }

    fn said(&self, kind: &EventKind, purged: bool) -> bool {
        matches!(kind, EventKind::LsaOriginated { id, purge, .. } if *id == self.id() && *purge == purged)
    }

    fn served(&self, kind: &EventKind, up: bool) -> bool {
        matches!(kind, EventKind::Service { prefix, running, .. } if prefix == self.prefix && *running == up)
    }
}

impl<'a> Asker<'a> {
    pub(crate) fn last(&self, node: &str, until: u64, pick: impl Fn(&EventKind) -> bool) -> Option<&'a Event> {
        self.witness(node)?.last(until, pick)
    }

    /// The SPA beside an SG.
    pub(crate) fn spa_of(&self, sg: &str) -> Option<&'a str> {
        let is_spa = |node: &&str| self.witness(node).is_some_and(|w| w.kind == Role::Spa.label());
        self.neighbours(sg).find(is_spa)
    }

    /// Adds why the origin says what this LSA says, which it has said since `since_ns` or longer.
    pub(crate) fn explain_said(&mut self, lsa: &LsaView, since_ns: Option<u64>) {
        match (&lsa.kind, &lsa.port) {
            (LsaKind::Topology, _) => self.explain_topology(lsa),
            (LsaKind::Prefix, Some(port)) => {
                let claim = Claim { sg: &lsa.origin, pod: port, prefix: &lsa.id };
                let is_scsc = self.witness(port).is_some_and(|w| w.kind == Role::Scsc.label());
                if is_scsc {
                    let what = format!("{port} is attached here and says so itself");
                    self.root(&lsa.origin, since_ns, what, Some(Rule::TRUST));
                } else if lsa.purged || lsa.metric == Some(UNREACHABLE) {
                    self.explain_gone(claim);
                } else {
                    self.explain_grant(claim, since_ns);
                    self.outlived(claim, lsa);
                }
            }
            (LsaKind::Prefix, None) => {}
        }
    }

    fn explain_topology(&mut self, lsa: &LsaView) {
        let what = format!("{} has full adjacencies with {}", lsa.origin, listed(lsa));
        self.root(&lsa.origin, None, what, Some(Rule::FLOODING.part("Origination")));
    }

    /// Adds grant, licence and announcement of a claim that the SG advertises.
    fn explain_grant(&mut self, claim: Claim<'_>, since_ns: Option<u64>) {
        let Claim { sg, pod, prefix } = claim;
        let Some(witness) = self.witness(sg).filter(|w| w.silent.is_none()) else { return };
        let first_said = self.first_said(claim).map(|event| event.at_ns);
        // A grant that was renewed since is told as it was first.
        let until = first_said.or(since_ns).unwrap_or(u64::MAX);
        match self.last(sg, until, |kind| claim.granted(kind)) {
            Some(event) => self.granted(claim, event),
            None if witness.remembers_all() => {
                let what = format!("advertises {prefix} of {pod} without a grant before it");
                self.broken(sg, first_said, what, Rule::REGISTRATION.part("SG, 4"));
                self.refusal_of(claim);
            }
            None => self.now(sg, format!("a grant for {prefix} of {pod} before what it remembers"), Rule::REGISTRATION),
        }
        self.announcement(claim, until);
    }

    /// The origination since which an SG has said this without a break.
    fn first_said(&self, claim: Claim<'_>) -> Option<&'a Event> {
        let witness = self.witness(claim.sg)?;
        let purged = witness.last(u64::MAX, |kind| claim.said(kind, true)).map_or(0, |event| event.sequence);
        let mut said = witness.events.iter().filter(|event| claim.said(&event.kind, false));
        said.find(|event| event.sequence >= purged)
    }

    fn granted(&mut self, claim: Claim<'_>, event: &Event) {
        let Claim { sg, pod, prefix } = claim;
        let EventKind::Authenticated { serial, .. } = &event.kind else { return };
        let serial = serial.map_or_else(String::new, |serial| format!(" (serial {serial})"));
        let spa = self.spa_of(sg);
        let frame = spa.and_then(|spa| self.frames.word((spa, sg), MessageType::AuthReply, prefix, event.at_ns));
        let what = format!("has a grant for {prefix} to {pod}{serial}");
        self.event(sg, event, what, Rule::REGISTRATION.part("SG, 4"), frame);
        let Some(spa) = spa else { return };
        if let Some(judged) = self.last(spa, event.at_ns, |kind| claim.granted(kind)) {
            let what = format!("granted {prefix} to {pod}: its licence covers it");
            self.event(spa, judged, what, Rule::REGISTRATION.part("SPA"), None);
            let licence = self.order(spa, |order| {
                matches!(order, Command::AddLicence { pod: p, prefix: n } if claim.is(p.as_str(), &n.to_string()))
            });
            if let Some(order) = licence.filter(|order| order.at_ns <= judged.at_ns) {
                self.root(spa, Some(order.at_ns), format!("somebody licensed {pod} for {prefix}"), None);
            }
        }
    }

    /// Adds the announcement of a claim, and what the pod did before.
    pub(crate) fn announcement(&mut self, claim: Claim<'_>, until: u64) {
        let Claim { sg, pod, prefix } = claim;
        let told = self.last(sg, until, |kind| claim.announced(kind, false));
        let Some(event) = told else { return };
        let frame = self.frames.word((pod, sg), MessageType::Announce, prefix, event.at_ns);
        self.event(sg, event, format!("{pod} announced {prefix}"), Rule::REGISTRATION.part("Pod"), frame);
        match self.last(pod, event.at_ns, |kind| claim.served(kind, true)) {
            Some(service) => self.started(claim, service),
            None => self.root(pod, None, format!("has the service {prefix}"), None),
        }
    }

    fn started(&mut self, claim: Claim<'_>, service: &Event) {
        let Claim { pod, prefix, .. } = claim;
        let order = self.order(
            pod,
            |order| matches!(order, Command::StartService { prefix: started, .. } if started.to_string() == prefix),
        );
        let order = order.filter(|order| order.at_ns <= service.at_ns);
        let what = format!("its service {prefix} is ready");
        match order {
            Some(order) => {
                self.event(pod, service, what, Rule::REGISTRATION.part("Pod"), None);
                self.root(pod, Some(order.at_ns), format!("somebody had it start {prefix}"), None);
            }
            None => self.root(pod, Some(service.at_ns), what, None),
        }
    }

    /// Adds the refusals of a claim, if there are any: the SG's own, and the SPA's.
    pub(crate) fn refusal_of(&mut self, claim: Claim<'_>) -> bool {
        let Claim { sg, pod, prefix } = claim;
        let own = self.last(
            sg,
            u64::MAX,
            |kind| matches!(kind, EventKind::AnnouncementRefused { pod, prefix, .. } if claim.is(pod, prefix)),
        );
        if let Some(event) = own
            && let EventKind::AnnouncementRefused { reason, .. } = &event.kind
        {
            let what = format!("refused {prefix} of {pod} itself: {reason}");
            self.event(sg, event, what, Rule::REGISTRATION.part("SG, 2"), None);
        }
        let mut found = own.is_some();
        for node in [Some(sg), self.spa_of(sg)].into_iter().flatten() {
            let Some(event) = self.last(node, u64::MAX, |kind| claim.refused(kind)) else { continue };
            let EventKind::Authenticated { refusal: Some(reason), .. } = &event.kind else { continue };
            found = true;
            let (spa, rule) = (self.spa_of(sg).unwrap_or_default(), Rule::REGISTRATION.part("SPA"));
            if node == sg {
                let frame = self.frames.word((spa, sg), MessageType::AuthReply, prefix, event.at_ns);
                self.event(sg, event, format!("{spa} refused {prefix} to {pod}: {reason}"), rule, frame);
            } else {
                self.root(node, Some(event.at_ns), format!("refused {prefix} to {pod}: {reason}"), Some(rule));
            }
        }
        found
    }

    // ===== no longer =====

    /// Adds why an SG says that a name is gone, or cannot be reached.
    pub(crate) fn explain_gone(&mut self, claim: Claim<'_>) {
        let Claim { sg, pod, prefix } = claim;
        let purge = self.last(sg, u64::MAX, |kind| claim.said(kind, true));
        let until = purge.map_or(u64::MAX, |event| event.at_ns);
        if let Some(event) = purge {
            let what = format!("purged {prefix} of {pod}");
            self.event(sg, event, what, Rule::AGEING.part("Withdrawal"), None);
        }
        let ended = |kind: &EventKind| {
            claim.announced(kind, true) || claim.revoked(kind) || claim.expired(kind) || claim.refused(kind)
        };
        let lost = |kind: &EventKind| matches!(kind, EventKind::Adjacency { port, state: AdjacencyState::Down, .. } if port == pod);
        let cause = self.last(sg, until, |kind| ended(kind) || lost(kind));
        match cause {
            Some(event) if lost(&event.kind) => {
                if purge.is_none() {
                    let what = format!("says that {prefix} of {pod} cannot be reached");
                    self.now(sg, what, Rule::AGEING.part("Unreachable, not withdrawn"));
                }
                self.lost_pod(sg, pod, event);
            }
            Some(event) => self.ended(claim, event),
            None => self.member_gone(claim, until),
        }
    }

    /// A pool goes with the last instance that was in it.
    fn member_gone(&mut self, claim: Claim<'_>, until: u64) {
        let Claim { sg, pod, .. } = claim;
        let withdrawn =
            |kind: &EventKind| matches!(kind, EventKind::Announced { pod: p, withdrawn: true, .. } if p == pod);
        match self.last(sg, until, withdrawn) {
            Some(event) => {
                if let EventKind::Announced { prefix, .. } = &event.kind {
                    self.ended(Claim { prefix, ..claim }, event);
                }
            }
            None => _ = self.explain_node(sg),
        }
    }

    fn lost_pod(&mut self, sg: &str, pod: &str, event: &Event) {
        if !self.explain_adjacency(sg, pod) {
            let what = format!("lost its adjacency with {pod} for a time");
            self.event(sg, event, what, Rule::ADJACENCY, None);
        }
    }

    fn ended(&mut self, claim: Claim<'_>, event: &Event) {
        let Claim { sg, pod, prefix } = claim;
        if claim.announced(&event.kind, true) {
            let frame = self.frames.word((pod, sg), MessageType::Announce, prefix, event.at_ns);
            let what = format!("{pod} withdrew {prefix}");
            self.event(sg, event, what, Rule::REGISTRATION.part("SG, 1"), frame);
            self.service_ended(claim, event.at_ns);
        } else if claim.revoked(&event.kind) {
            let spa = self.spa_of(sg).unwrap_or_default();
            let frame = self.frames.word((spa, sg), MessageType::Revoke, prefix, event.at_ns);
            let what = format!("{spa} revoked the grant for {prefix} of {pod}");
            self.event(sg, event, what, Rule::REGISTRATION.part("Revocation"), frame);
            self.revoking_order(claim);
        } else if claim.expired(&event.kind) {
            let what = format!("the grant for {prefix} of {pod} expired and was not renewed");
            self.event(sg, event, what, Rule::REGISTRATION, None);
            self.unanswered(claim);
        } else {
            self.refusal_of(claim);
        }
    }

    /// Adds why the pod's service does not run.
    pub(crate) fn service_ended(&mut self, claim: Claim<'_>, until: u64) -> bool {
        let Claim { pod, prefix, .. } = claim;
        let ended = self.last(pod, until, |kind| claim.served(kind, false));
        if let Some(event) = ended {
            self.event(pod, event, format!("its service {prefix} ended"), Rule::REGISTRATION.part("Pod"), None);
        }
        let order = self.order(pod, |order| match order {
            Command::StopService { prefix } | Command::KillService { prefix } => prefix.to_string() == claim.prefix,
            Command::Stop => true,
            _ => false,
        });
        if let Some(order) = order.filter(|order| order.at_ns <= until) {
            self.root(pod, Some(order.at_ns), format!("somebody had it stop {prefix}"), None);
        }
        ended.is_some() || order.is_some()
    }

    fn revoking_order(&mut self, claim: Claim<'_>) {
        let Some(spa) = self.spa_of(claim.sg) else { return };
        let order = self.order(spa, |order| {
            matches!(order, Command::RevokeLicence { pod, prefix } if claim.is(pod.as_str(), &prefix.to_string()))
        });
        if let Some(event) = order {
            let what = format!("somebody took the licence for {} from {}", claim.prefix, claim.pod);
            self.root(spa, Some(event.at_ns), what, None);
        }
    }

    /// Adds why no SPA answers an SG.
    pub(crate) fn unanswered(&mut self, claim: Claim<'_>) {
        let Claim { sg, pod, prefix } = claim;
        let waits = self.last(
            sg,
            u64::MAX,
            |kind| matches!(kind, EventKind::AuthUnanswered { pod, prefix } if claim.is(pod, prefix)),
        );
        if let Some(event) = waits {
            let what = format!("no SPA answered for {prefix} of {pod} in time");
            self.event(sg, event, what, Rule::REGISTRATION.part("SG, 3"), None);
        }
        match self.spa_of(sg) {
            Some(spa) if !self.explain_adjacency(sg, spa) => {
                let what = format!("has an adjacency with {sg} and does not answer");
                self.broken(spa, waits.map(|event| event.at_ns), what, Rule::REGISTRATION.part("SPA"));
            }
            Some(_) => {}
            None => self.root(sg, None, "has no SPA".to_owned(), Some(Rule::REGISTRATION)),
        }
    }

    // ===== longer than it should =====

    /// Adds what should have ended what an SG still says.
    fn outlived(&mut self, claim: Claim<'_>, lsa: &LsaView) {
        let Claim { sg, pod, prefix } = claim;
        let Some(witness) = self.witness(sg).filter(|w| w.silent.is_none()) else { return };
        let grace = self.e.grace_ms * 1_000_000;
        let over = self.e.at_ns.saturating_sub(grace);
        let again = witness.last(u64::MAX, |kind| claim.announced(kind, false) || claim.granted(kind));
        let again = again.map_or(0, |event| event.at_ns);
        let since = |event: &&Event| event.at_ns > again && event.at_ns <= over;
        let ended = [
            (self.last(sg, over, |kind| claim.announced(kind, true)), "withdrew", Rule::AGEING.part("Withdrawal")),
            (
                self.last(sg, over, |kind| claim.revoked(kind)),
                "lost the grant for",
                Rule::REGISTRATION.part("Revocation"),
            ),
            (self.last(sg, over, |kind| claim.expired(kind)), "has an expired grant for", Rule::AGEING),
        ];
        for (event, verb, rule) in ended {
            if let Some(event) = event.filter(since) {
                let what = format!("still advertises {prefix} (sequence {}) although {pod} {verb} it", lsa.sequence);
                self.broken(sg, Some(event.at_ns), what, rule);
            }
        }
        let revoked = self.spa_of(sg).and_then(|spa| Some((spa, self.last(spa, over, |kind| claim.revoked(kind))?)));
        if let Some((spa, event)) = revoked.filter(|(_, event)| event.at_ns > again)
            && self.last(sg, u64::MAX, |kind| claim.revoked(kind)).is_none()
        {
            let what = format!("did not take the revocation of {prefix} by {spa}");
            self.broken(sg, Some(event.at_ns), what, Rule::REGISTRATION.part("Revocation"));
            self.revoking_order(claim);
        }
        self.outlived_pod(claim, over);
    }

    fn outlived_pod(&mut self, claim: Claim<'_>, over: u64) {
        let Claim { sg, pod, prefix } = claim;
        let row = self.witness(sg).and_then(|w| w.neighbour(pod));
        let gone = row.filter(|row| row.state == AdjacencyState::Down && row.since_ms > self.e.grace_ms);
        if gone.is_some() {
            let what = format!("still advertises {prefix} although its adjacency with {pod} is down");
            self.broken(sg, None, what, Rule::AGEING.part("Unreachable, not withdrawn"));
            self.explain_adjacency(sg, pod);
            return;
        }
        let ended = self.last(pod, over, |kind| claim.served(kind, false));
        let came_back = self.last(pod, u64::MAX, |kind| claim.served(kind, true));
        let ended = ended.filter(|end| came_back.is_none_or(|back| back.sequence < end.sequence));
        let Some(event) = ended else { return };
        if self.last(sg, u64::MAX, |kind| claim.announced(kind, true)).is_none_or(|e| e.at_ns < event.at_ns) {
            let told = self.frames.word((pod, sg), MessageType::Announce, prefix, u64::MAX);
            match told.filter(|frame| frame.at_ns >= event.at_ns) {
                Some(frame) => {
                    let what = format!("did not execute the withdrawal of {prefix} by {pod}");
                    self.broken(sg, Some(frame.at_ns), what, Rule::REGISTRATION.part("SG, 1"));
                }
                None => {
                    let what = format!("its service {prefix} ended and it did not withdraw the name");
                    self.broken(pod, Some(event.at_ns), what, Rule::REGISTRATION.part("Pod"));
                }
            }
        }
    }
}

/// The neighbours that a topology LSA lists.
fn listed(lsa: &LsaView) -> String {
    lsa.links.iter().map(|link| link.neighbour.as_str()).collect::<Vec<_>>().join(", ")
}
