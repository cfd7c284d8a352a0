//! The `events` section: its entries, when they happen, and what refers to what. What happens is in `acts`, what is
//! expected in `expect`, recorded links are in `trace`.

mod acts;
mod expect;
mod trace;

use core::ops::Range;
use std::collections::{BTreeSet, HashMap};

use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use super::connect::Scope;
use super::decode::{Fields, Reader};
use super::document::{Data, Yaml};
use super::mistake::{Mistake, MistakeKind as Kind, did_you_mean};
use super::validate::Located;
use crate::timeline::{Act, Hold, LinkEvent, Repeat, Start, TimelineEvent};
use crate::topology::{MAX_EVENTS, Node};

/// What an entry can be about: exactly one of them.
const VERBS: [&str; 10] =
    ["link", "node", "service", "announce", "withdraw", "licence", "partition", "load", "run", "expect"];
/// What an entry of any kind can say.
const COMMON: [&str; 6] = ["at", "after", "as", "every", "times", "for"];
/// What belongs to some verbs only.
const COMPANIONS: [(&str, &[&str]); 8] = [
    ("set", &["link"]),
    ("clear", &["link"]),
    ("follow", &["link"]),
    ("do", &["node", "service"]),
    ("grant", &["licence"]),
    ("revoke", &["licence"]),
    ("within", &["expect"]),
    ("throughout", &["expect"]),
];
/// Most times an entry happens.
const MAX_TIMES: u32 = 100_000;
/// Most requests of a load each time.
const MAX_REQUESTS: f64 = 1_000_000.0;
const HELP: &str = "write { at: 5s, link: [A, B], set: down }, { at: 5s, node: N, do: kill }, \
                    or { at: 6s, expect: { reachable: { from: POD, name: /A/1 } }, within: 1s }";

/// What entries refer to.
struct Stage<'a> {
    scope: &'a Scope<'a>,
    /// The pod of each service, declared or announced.
    services: HashMap<Name, NodeId>,
    /// Names that can be called: services and pools.
    names: BTreeSet<Name>,
    /// Entries by their labels, with the place of the label.
    labels: HashMap<String, (usize, Range<usize>)>,
    /// Entries that are loads.
    loads: BTreeSet<usize>,
}

impl Reader<'_> {
    pub(super) fn events(
        &mut self,
        value: &Yaml,
        scope: &Scope<'_>,
        nodes: &[Located<'_, Node>],
    ) -> Option<Vec<TimelineEvent>> {
        let parts = self.list(value, "events", "such as `- { at: 5s, link: [sg-1, sr-1], set: down }`");
        self.limit(value, "events", parts.len(), MAX_EVENTS)?;
        let stage = self.stage(parts, scope, nodes);
        let events: Vec<_> = parts.iter().map(|part| self.event(part, &stage)).collect();
        self.circles(parts, &events);
        events.into_iter().collect()
    }

    /// What can be known of all entries before any is read: labels, loads and new services.
    fn stage<'a>(&mut self, parts: &[Yaml], scope: &'a Scope<'a>, nodes: &[Located<'_, Node>]) -> Stage<'a> {
        let mut stage = Stage {
            scope,
            services: HashMap::new(),
            names: BTreeSet::new(),
            labels: HashMap::new(),
            loads: BTreeSet::new(),
        };
        for node in nodes {
            for service in &node.value.services {
                stage.services.insert(service.prefix.clone(), node.value.id.clone());
                stage.names.extend([Some(service.prefix.clone()), service.pool.clone()].into_iter().flatten());
            }
        }
        for (number, part) in parts.iter().enumerate() {
            let Data::Map(entries) = &part.data else { continue };
            for (key, value) in entries {
                match &key.data {
                    Data::Text(key) if key == "as" => self.label(number, value, &mut stage),
                    Data::Text(key) if key == "load" => drop(stage.loads.insert(number)),
                    Data::Text(key) if key == "announce" => {
                        // What is wrong with it is said when the entry is read.
                        let Data::Text(text) = &value.data else { continue };
                        let Some((name, pod)) = acts::name_on_pod(text) else { continue };
                        if let (Ok(name), Some(Ok(pod))) = (name.parse::<Name>(), pod.map(NodeId::new)) {
                            stage.names.insert(name.clone());
                            stage.services.entry(name).or_insert(pod);
                        }
                    }
                    _ => {}
                }
            }
        }
        stage
    }

    fn label(&mut self, number: usize, value: &Yaml, stage: &mut Stage<'_>) {
        let help = "a label is 1 to 32 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit";
        let Some(text) = self.scalar_text(value, "as", help) else { return };
        if self.id_of(&text, value, "label").is_none() {
            return;
        }
        if let Some((_, first)) = stage.labels.get(&text) {
            let mistake = Mistake::new(
                Kind::DuplicateLabel,
                &value.span,
                format!("`{text}` labels two events"),
                "give each event a label of its own",
            );
            self.mistakes.push(mistake.with_other(first, "first here"));
            return;
        }
        stage.labels.insert(text, (number, value.span.clone()));
    }

    fn event(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<TimelineEvent> {
        let keys: Vec<_> = COMMON.into_iter().chain(VERBS).chain(COMPANIONS.map(|(key, _)| key)).collect();
        let fields = self.fields(value, "an event", &keys)?;
        let verbs: Vec<_> = VERBS.into_iter().filter(|verb| fields.get(verb).is_some()).collect();
        let &[verb] = verbs.as_slice() else {
            let message = match verbs.as_slice() {
                [] => "the event does not say what happens".to_owned(),
                several => format!("one event concerns one thing, and this has `{}`", several.join("` and `")),
            };
            self.mistake(Kind::WrongShape, value, message, HELP);
            return None;
        };
        for (key, owners) in COMPANIONS {
            if let Some(at) = fields.get(key).filter(|_| !owners.contains(&verb)) {
                let help = format!("it belongs to `{}`", owners.join("` and `"));
                self.mistake(Kind::NotForThisKind, at, format!("an event of a `{verb}` has no `{key}`"), help);
            }
        }
        let subject = fields.get(verb)?;
        let act = match verb {
            "expect" => self.expectation(subject, &fields, stage),
            verb => self.act(verb, subject, value, &fields, stage),
        };
        let lasts = fields.get("for").and_then(|lasts| self.span(lasts, "for"));
        let repeat = self.repeat(value, &fields, lasts);
        // Where the act is not known, nothing can be said of its time but that it is missing.
        let judged = act.as_ref().and_then(|act| if let Act::Expect { what, .. } = act { what.load() } else { None });
        let start = match judged {
            Some(of) => self.when_load_is_over(&fields, of),
            // What judges a load needs no time; whether this would is not known.
            None if verb == "expect" && act.is_none() => None,
            None => self.start(value, &fields, stage),
        };
        let act = act?;
        let lasts_ns = self.lasting(value, &fields, lasts, &act)?;
        let label = fields.get("as").and_then(|label| self.scalar_text(label, "as", ""));
        let line = self.line_of(value);
        Some(TimelineEvent { label, line, start: start?, repeat: repeat?, lasts_ns, act })
    }

    fn start(&mut self, value: &Yaml, fields: &Fields<'_>, stage: &Stage<'_>) -> Option<Start> {
        match (fields.get("at"), fields.get("after")) {
            (Some(at), None) => self.span(at, "at").map(Start::At),
            (None, Some(after)) => self.labelled(after, stage).map(Start::After),
            (Some(_), Some(after)) => {
                let help = "keep `at`, counted from convergence, or `after`, the end of another event";
                self.mistake(Kind::Contradiction, after, "an event with `at` and `after`", help);
                None
            }
            (None, None) => {
                self.missing(value, "at", "such as `at: 5s`, counted from convergence, or `after: LABEL`");
                None
            }
        }
    }

    /// What judges a load waits for its end.
    fn when_load_is_over(&mut self, fields: &Fields<'_>, of: usize) -> Option<Start> {
        let mut right = true;
        for key in ["at", "after", "every", "times", "within", "throughout"] {
            if let Some(at) = fields.get(key) {
                let help = "it is judged when the last request of the load has been answered or given up";
                self.mistake(Kind::NotForThisKind, at, format!("what judges a load has no `{key}`"), help);
                right = false;
            }
        }
        right.then_some(Start::After(of))
    }

    /// The entry that a label means.
    fn labelled(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<usize> {
        let help = "name an event by its `as:`";
        let text = self.scalar_text(value, "label", help)?;
        let found = stage.labels.get(&text).map(|(number, _)| *number);
        if found.is_none() {
            let hint = did_you_mean(&text, stage.labels.keys().map(String::as_str));
            let help = if hint.is_empty() { help.to_owned() } else { hint };
            self.mistake(Kind::UnknownLabel, value, format!("no event is labelled `{text}`"), help);
        }
        found
    }

    #[expect(clippy::option_option, reason = "what is wrong, and what is not there")]
    fn repeat(&mut self, value: &Yaml, fields: &Fields<'_>, lasts: Option<u64>) -> Option<Option<Repeat>> {
        let (every, times) = match (fields.get("every"), fields.get("times")) {
            (None, None) => return Some(None),
            (Some(every), Some(times)) => (every, times),
            (every, _) => {
                let missing = if every.is_some() { "times" } else { "every" };
                self.missing(value, missing, "write both: `every: 2s, times: 10`");
                return None;
            }
        };
        let every_ns = self.span(every, "every");
        let times = self.number(times, "times", 1, MAX_TIMES);
        let (every_ns, times) = (every_ns?, times?);
        if every_ns == 0 || lasts.is_some_and(|lasts| lasts > every_ns) {
            let help = "make `every` longer: one time has to end before the next begins";
            self.mistake(Kind::Contradiction, every, "it happens again before it is over", help);
            return None;
        }
        Some(Some(Repeat { every_ns, times }))
    }

    /// How long an entry lasts, where that fits what it does.
    #[expect(clippy::option_option, reason = "what is wrong, and what is not there")]
    fn lasting(&mut self, value: &Yaml, fields: &Fields<'_>, lasts: Option<u64>, act: &Act) -> Option<Option<u64>> {
        let given = fields.get("for");
        if given.is_some() && lasts.is_none() {
            return None; // said already
        }
        let (may, must) = lasts_how(act);
        if let Some(at) = given.filter(|_| !may) {
            let help = "`for` says when something is taken back, and this has nothing to be taken back: leave it out";
            self.mistake(Kind::NotForThisKind, at, "this event does not last", help);
            return None;
        }
        if given.is_none() && must {
            self.missing(value, "for", "say how long it lasts, such as `for: 10s`");
            return None;
        }
        if let (Some(at), Some(0)) = (given, lasts) {
            self.mistake(Kind::OutOfRange, at, "for: 0 is no time", "say how long it lasts, such as `for: 10s`");
            return None;
        }
        if let (Some(at), Some(lasts), Act::Load(load)) = (given, lasts, act)
            && lasts as f64 / 1e9 * load.per_second > MAX_REQUESTS
        {
            self.mistake(Kind::OutOfRange, at, "more than a million requests", "lower `rate`, or shorten `for`");
            return None;
        }
        Some(match act {
            Act::Link { change, .. } => match change.as_ref() {
                LinkEvent::Follow(trace) => lasts.or(Some(trace.lasts_ns())),
                _ => lasts,
            },
            _ => lasts,
        })
    }

    /// No entry waits for itself, or for one that ends with everything.
    fn circles(&mut self, parts: &[Yaml], events: &[Option<TimelineEvent>]) {
        let start = |number: usize| events.get(number)?.as_ref().map(|event| event.start);
        let mut seen = vec![0; events.len()];
        for first in 0..events.len() {
            let mut at = first;
            while seen[at] == 0 {
                seen[at] = first + 1;
                let Some(Start::After(before)) = start(at) else { break };
                if seen[before] == first + 1 {
                    let help = "let one of them begin `at` a time";
                    self.mistake(Kind::Contradiction, &parts[before], "these events wait for each other", help);
                    break;
                }
                at = before;
            }
            let Some(Start::After(before)) = start(first) else { continue };
            let endless = |event: &TimelineEvent| {
                event.lasts_ns.is_none() && matches!(event.act, Act::Expect { hold: Hold::Throughout, .. })
            };
            if events.get(before).and_then(Option::as_ref).is_some_and(endless) {
                let help = "give that expectation an end, such as `for: 10s`";
                let message = "it waits for an expectation that ends when everything else is over";
                self.mistake(Kind::Contradiction, &parts[first], message, help);
            }
        }
    }

    fn known_pod(&mut self, value: &Yaml, stage: &Stage<'_>) -> Option<NodeId> {
        self.known_of(value, stage, &[Role::Pod])
    }

    fn known_of(&mut self, value: &Yaml, stage: &Stage<'_>, kinds: &[Role]) -> Option<NodeId> {
        let node = self.known_node(value, stage.scope)?;
        if stage.scope.known.get(&node).is_some_and(|kind| kinds.contains(kind)) {
            return Some(node);
        }
        let labels: Vec<_> = kinds.iter().map(|kind| kind.label()).collect();
        let (message, help) = (format!("`{node}` is no {}", labels.join(" or ")), "name one that is");
        self.mistake(Kind::NotForThisKind, value, message, help);
        None
    }

    /// A name that some pod has, or will have.
    fn known_name(&mut self, value: &Yaml, what: &str, stage: &Stage<'_>) -> Option<Name> {
        let name = self.name(value, what)?;
        // A node that could not be read may have it.
        if !stage.names.contains(&name) && stage.scope.broken.is_empty() {
            let texts: Vec<_> = stage.names.iter().map(ToString::to_string).collect();
            let hint = did_you_mean(&name.to_string(), texts.iter().map(String::as_str));
            let help =
                if hint.is_empty() { "name a service, a pool, or what an event announces".to_owned() } else { hint };
            self.mistake(Kind::UnknownPrefix, value, format!("there is no service or pool `{name}`"), help);
            return None;
        }
        Some(name)
    }
}

/// Whether an entry may, and whether it must say how long it lasts.
fn lasts_how(act: &Act) -> (bool, bool) {
    use crate::timeline::{Expected, ServiceStep};
    match act {
        Act::Link { change, .. } => (!matches!(change.as_ref(), LinkEvent::Up | LinkEvent::Clear), false),
        Act::Node { step, .. } => (step.undone_by().is_some(), false),
        Act::Service { step, .. } => (matches!(step, ServiceStep::Stop | ServiceStep::Announce), false),
        Act::Licence { .. } | Act::Partition { .. } | Act::Run { .. } => (true, false),
        Act::Load(_) | Act::Expect { what: Expected::SilentLink { .. } | Expected::SilentNode { .. }, .. } => {
            (true, true)
        }
        Act::Expect { hold, .. } => (matches!(hold, Hold::Throughout), false),
    }
}
