//! Why a table has no entry: the step that is missing between announcement and route.

use std::collections::BTreeSet;

use damc_mgmt::event::EventKind;
use damc_mgmt::view::{AnnouncementView, LsaView};
use damc_mgmt::words::{AnnouncementState, LsaKind};
use damc_wire::lsa::UNREACHABLE;
use damc_wire::{Name, RefusalReason, Role};

use crate::asker::Asker;
use crate::evidence::{Witness, covers, event_id};
use crate::flooding::refused;
use crate::frames::is_router;
use crate::graph::{Graph, Rules};
use crate::origin::Claim;
use crate::rule::Rule;

/// Links or claims that are told of one cause.
const TOLD: usize = 4;

impl<'a> Asker<'a> {
    pub(crate) fn explain_absence(&mut self, node: &str, name: &Name) -> String {
        self.left(node, name);
        let witness = self.witness(node);
        let fits = |lsa: &&LsaView| lsa.kind == LsaKind::Prefix && covers(&lsa.id, lsa.exact, name);
        let mut said: Vec<&LsaView> = witness.into_iter().flat_map(Witness::lsas).filter(fits).collect();
        said.sort_by_key(|lsa| (core::cmp::Reverse(lsa.id.matches('/').count()), lsa.purged));
        let because = match said.first() {
            Some(lsa) => self.said_and_no_route(node, lsa),
            None if self.named_node(name).is_some() => {
                let target = self.named_node(name).unwrap_or_default();
                self.no_path(node, target);
                format!("no path leads to {target}")
            }
            None => self.unheard(node, name),
        };
        self.end_here();
        format!("{node} has no route to {name}: {because}")
    }

    /// Adds the version of the table that had the name no more.
    fn left(&mut self, node: &str, name: &Name) {
        let went = |prefix: &String| covers(prefix, false, name);
        let event =
            self.last(node, u64::MAX, |kind| matches!(kind, EventKind::Fib { gone, .. } if gone.iter().any(went)));
        if let Some(event) = event
            && let EventKind::Fib { version, gone, .. } = &event.kind
        {
            let prefix = gone.iter().find(|prefix| went(prefix)).map(String::as_str).unwrap_or_default();
            let what = format!("published version {version} of its table without {prefix}");
            self.event(node, event, what, Rule::ROUTES.part("Prefixes"), None);
        }
    }

    /// The node whose own name this is, or is above it.
    fn named_node(&self, name: &Name) -> Option<&'a str> {
        let of = |node: &&String| {
            let own = damc_wire::NodeId::new(node.as_str()).ok().and_then(|n| Name::of_node(&self.e.domain, &n).ok());
            own.is_some_and(|own| own == *name || own.is_prefix_of(name))
        };
        self.e.nodes.keys().find(of).map(String::as_str)
    }

    /// The database has the name, the table does not.
    fn said_and_no_route(&mut self, node: &str, lsa: &LsaView) -> String {
        let origin = &lsa.origin;
        let gone = lsa.purged || lsa.metric == Some(UNREACHABLE);
        if gone {
            let since = self.trace(node, lsa);
            self.explain_said(lsa, since);
            let what = if lsa.purged { "purged it" } else { "says that it cannot be reached" };
            return format!("{origin} {what}");
        }
        let graph = self.graph_of(node);
        if !graph.reach(node, Rules::ALL).contains_key(origin) {
            self.no_path(node, origin);
            return format!("no path leads to {origin}, which has it");
        }
        if self.computes_later(node) {
            self.now(node, "heard of a change and has not computed yet".to_owned(), Rule::ROUTES.part("Pacing"));
            return "it waits before it computes".to_owned();
        }
        let what = format!("holds the LSA {} of {origin}, has a path to it, and no route", event_id(lsa));
        self.broken(node, None, what, Rule::ROUTES.part("Prefixes"));
        "it does not compute it".to_owned()
    }

    /// Adds the links that are missing between what a node reaches and a target.
    fn no_path(&mut self, node: &str, target: &str) {
        if self.explain_node(target) {
            return;
        }
        let graph = self.graph_of(node);
        let reached: BTreeSet<String> = graph.reach(node, Rules::ALL).into_keys().collect();
        let beyond = self.around(target, |n| !reached.contains(n));
        let cut = self.between(&reached, &beyond);
        for (near, far) in cut.into_iter().take(TOLD) {
            self.missing_link(node, &graph, near, far);
        }
    }

    fn missing_link(&mut self, node: &str, graph: &Graph, near: &str, far: &str) {
        match (graph.lists(near, far), graph.lists(far, near)) {
            (true, true) => {
                let said = graph.nodes.get(near);
                let why = if said.is_some_and(|said| said.overload) { "is overloaded" } else { "is a stub" };
                self.now(near, format!("{why}: nobody passes through it to {far}"), Rule::ROUTES.part("Overload"));
                self.overloading(near);
            }
            (true, false) => {
                let what = format!("the link {near} – {far} does not count: {far} does not list it");
                self.now(node, what, Rule::ROUTES.part("SPF: two-way check"));
                self.unlisted(node, far, near);
            }
            (false, true) => {
                let what = format!("the link {near} – {far} does not count: {near} does not list it");
                self.now(node, what, Rule::ROUTES.part("SPF: two-way check"));
                self.unlisted(node, near, far);
            }
            (false, false) => {
                self.now(node, format!("nobody lists the link {near} – {far}"), Rule::ROUTES.part("SPF"));
                self.unlisted(node, near, far);
            }
        }
    }

    /// Adds why `near` does not list `far` in the LSA that `node` has of it: it does not, or the one that does did not come.
    fn unlisted(&mut self, node: &str, near: &str, far: &str) {
        let own = self
            .witness(near)
            .and_then(|w| w.lsas().find(|l| l.origin == near && l.links.iter().any(|link| link.neighbour == far)));
        match own {
            Some(lsa) if node != near => {
                self.now(near, format!("lists {far} in its own database"), Rule::FLOODING.part("Origination"));
                self.where_stopped(node, lsa);
            }
            _ => self.explain_one_sided(near, far),
        }
    }

    /// The routers around one of them, by the plan, that `takes` takes; it itself included.
    fn around(&self, from: &str, takes: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut found = BTreeSet::from([from.to_owned()]);
        let mut open = vec![from.to_owned()];
        while let Some(node) = open.pop() {
            for next in self.neighbours(&node) {
                let router = self.witness(next).is_some_and(|w| is_router(&w.kind));
                if router && takes(next) && found.insert(next.to_owned()) {
                    open.push(next.to_owned());
                }
            }
        }
        found
    }

    /// Links from one set to the other.
    fn between(&self, near: &BTreeSet<String>, far: &BTreeSet<String>) -> Vec<(&'a str, &'a str)> {
        let both = self.e.links.iter().flat_map(|l| [(l.a.as_str(), l.b.as_str()), (l.b.as_str(), l.a.as_str())]);
        both.filter(|(a, b)| near.contains(*a) && far.contains(*b)).collect()
    }

    /// Adds where an LSA that others have did not go on towards `node`.
    pub(crate) fn where_stopped(&mut self, node: &str, lsa: &LsaView) {
        let id = event_id(lsa);
        let has = |n: &str| {
            self.witness(n).and_then(|w| w.lsa(&lsa.origin, &id)).is_some_and(|known| known.sequence >= lsa.sequence)
        };
        let holders: BTreeSet<String> = self.e.nodes.keys().filter(|n| has(n)).cloned().collect();
        let without = self.around(node, |n| !has(n));
        for (near, far) in self.between(&holders, &without).into_iter().take(TOLD) {
            self.stopped_between(near, far, lsa);
        }
    }

    fn stopped_between(&mut self, near: &str, far: &str, lsa: &LsaView) {
        let (id, origin) = (event_id(lsa), lsa.origin.as_str());
        let key = (origin, id.as_str(), lsa.sequence);
        if let Some((event, reason, _)) = self.witness(far).and_then(|w| refused(w, origin, &id, Some(near))) {
            let frame = self.frames.lsa((near, far), key, event.at_ns);
            let what = format!("refused the LSA {id} of {origin} from {near}: {reason}");
            return self.event(far, event, what, Rule::of_refused_lsa(reason), frame);
        }
        if self.explain_adjacency(near, far) {
            return;
        }
        let resend = Rule::FLOODING.part("Acknowledgements");
        match self.frames.lsa_passed((near, far), key) {
            Some((false, _)) => {
                let what = format!("holds the LSA {id} of {origin} and never sent it to {far}");
                self.broken(near, None, what, Rule::FLOODING.part("step 9"));
            }
            Some((true, false)) => {
                if !self.explain_link(near, far, u64::MAX) {
                    let what = format!("sent the LSA {id} of {origin} to {far} until it was lost, and not again");
                    self.broken(near, None, what, resend);
                }
            }
            Some((true, true)) => {
                let what = format!("got the LSA {id} of {origin} from {near} and neither took nor refused it");
                self.broken(far, None, what, Rule::FLOODING.part("step 8"));
            }
            None => {
                let what =
                    format!("holds the LSA {id} of {origin}, {far} does not, and no recording tells which is to blame");
                self.now(near, what, Rule::FLOODING.part("step 9"));
            }
        }
    }

    // ===== nobody says it =====

    /// The node's database does not have the name at all.
    fn unheard(&mut self, node: &str, name: &Name) -> String {
        let fits = |lsa: &&LsaView| lsa.kind == LsaKind::Prefix && !lsa.purged && covers(&lsa.id, lsa.exact, name);
        let known = self.e.nodes.values().flat_map(Witness::lsas).filter(fits).max_by_key(|lsa| lsa.sequence);
        if let Some(lsa) = known {
            self.where_stopped(node, lsa);
            return format!("the LSA of {} did not come here", lsa.origin);
        }
        let claims = self.claims(name);
        if claims.is_empty() && self.refused_everywhere(name) {
            return "every LSA that says it was refused".to_owned();
        }
        if claims.is_empty() {
            self.root(node, None, format!("no pod of {} offers {name}", self.e.lab), None);
            return "nobody offers it".to_owned();
        }
        for (sg, pod, prefix) in claims.iter().take(TOLD) {
            self.never_said(Claim { sg, pod, prefix });
        }
        let sgs: BTreeSet<&String> = claims.iter().map(|(sg, ..)| sg).collect();
        let sgs = sgs.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("{sgs} does not advertise it")
    }

    /// Adds refusals of LSAs that said a name; whether there are any.
    fn refused_everywhere(&mut self, name: &Name) -> bool {
        let says = |id: &str| id.split_once(" at ").is_some_and(|(prefix, _)| covers(prefix, false, name));
        let mut found = false;
        for (node, witness) in &self.e.nodes {
            let event = witness.last(u64::MAX, |kind| matches!(kind, EventKind::LsaRefused { id, .. } if says(id)));
            let Some(event) = event else { continue };
            let EventKind::LsaRefused { origin, id, reason, port, sequence } = &event.kind else { continue };
            let frame = self.frames.lsa((port, node), (origin, id, *sequence), event.at_ns);
            let what = format!("refused the LSA {id} of {origin} from {port}: {reason}");
            self.event(node, event, what, Rule::of_refused_lsa(*reason), frame);
            self.injection(port, node, event.at_ns);
            found = true;
        }
        found
    }

    /// Who has, or once had, a name: SG, pod and prefix.
    fn claims(&self, name: &Name) -> BTreeSet<(String, String, String)> {
        let mut claims = BTreeSet::new();
        for (node, witness) in &self.e.nodes {
            if witness.kind == Role::Pod.label() {
                let started = witness.events.iter().filter_map(|event| match &event.kind {
                    EventKind::Service { prefix, .. } => Some(prefix),
                    _ => None,
                });
                for prefix in witness.services.iter().chain(started).filter(|prefix| covers(prefix, false, name)) {
                    claims.extend(self.neighbours(node).map(|sg| (sg.to_owned(), node.clone(), prefix.clone())));
                }
            }
            for event in &witness.events {
                if let EventKind::Announced { pod, prefix, .. } = &event.kind
                    && covers(prefix, false, name)
                {
                    claims.insert((node.clone(), pod.clone(), prefix.clone()));
                }
            }
        }
        claims
    }

    /// Adds why an SG advertises nothing for a claim.
    fn never_said(&mut self, claim: Claim<'_>) {
        let Claim { sg, pod, prefix } = claim;
        if self.explain_node(sg) {
            return;
        }
        let is_it = |row: &&AnnouncementView| row.pod == pod && row.prefix == prefix;
        let rows = self.witness(sg).and_then(|w| w.announcements.as_ref());
        match rows.and_then(|view| view.announcements.iter().find(is_it)) {
            Some(row) if row.state == AnnouncementState::Refused && row.reason != Some(RefusalReason::Revoked) => {
                self.refusal_of(claim);
                self.announcement(claim, u64::MAX);
            }
            Some(row) if row.state == AnnouncementState::Pending => {
                self.unanswered(claim);
                self.announcement(claim, u64::MAX);
            }
            Some(row) if row.state == AnnouncementState::Accepted => {
                let what = format!("has a grant for {prefix} of {pod} and originated no LSA");
                self.broken(sg, None, what, Rule::REGISTRATION.part("SG, 4"));
            }
            Some(_) => self.explain_gone(claim),
            None => self.not_announced(claim),
        }
    }

    fn not_announced(&mut self, claim: Claim<'_>) {
        let Claim { sg, pod, prefix } = claim;
        let told = self.last(
            sg,
            u64::MAX,
            |kind| matches!(kind, EventKind::Announced { pod: p, prefix: n, .. } if p == pod && n == prefix),
        );
        if told.is_some() {
            // A refusal before anything was kept leaves no row.
            if !self.refusal_of(claim) {
                self.explain_gone(claim);
            }
        } else if !self.explain_adjacency(sg, pod) && !self.service_ended(claim, u64::MAX) {
            let what = format!("has the service {prefix} and did not announce it to {sg}");
            self.broken(pod, None, what, Rule::REGISTRATION.part("Pod"));
        }
    }
}
