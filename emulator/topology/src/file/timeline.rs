//! The `events` section.

use std::collections::BTreeSet;

use damc_wire::NodeId;

use super::connect::Scope;
use super::decode::Reader;
use super::document::{Data, Yaml};
use super::link::PROPERTIES;
use super::mistake::MistakeKind as Kind;
use crate::topology::{LinkEvent, MAX_EVENTS, NodeAction, TimelineAction, TimelineEvent};

impl Reader<'_> {
    pub(super) fn events(&mut self, value: &Yaml, scope: &Scope<'_>) -> Option<Vec<TimelineEvent>> {
        let parts = self.list(value, "events", "such as `- { at: 5s, link: [sg-1, sr-1], set: down }`");
        self.limit(value, "events", parts.len(), MAX_EVENTS)?;
        let mut events: Vec<_> = parts.iter().filter_map(|part| self.event(part, scope)).collect();
        events.sort_by_key(|event| event.at_ns);
        Some(events)
    }

    fn event(&mut self, value: &Yaml, scope: &Scope<'_>) -> Option<TimelineEvent> {
        let help = "write { at: 5s, link: [A, B], set: down }, or { at: 5s, node: N, do: kill }";
        let fields = self.fields(value, "an event", &["at", "link", "set", "node", "do"])?;
        let at_ns = match fields.get("at") {
            Some(at) => self.time(at, "at"),
            None => {
                self.missing(value, "at", "such as `at: 5s`, counted from convergence");
                None
            }
        };
        let action = match ["link", "set", "node", "do"].map(|key| fields.get(key)) {
            [Some(link), Some(set), None, None] => {
                let ends = self.linked(link, scope);
                let change = self.link_event(set);
                ends.zip(change).map(|((a, b), change)| TimelineAction::Link { a, b, change })
            }
            [None, None, Some(node), Some(action)] => {
                let node = self.known_node(node, scope);
                let action = self.node_event(action);
                node.zip(action).map(|(node, action)| TimelineAction::Node { node, action })
            }
            _ => {
                self.mistake(Kind::WrongShape, value, "an event concerns either a link or a node", help);
                None
            }
        };
        Some(TimelineEvent { at_ns: at_ns?, action: action? })
    }

    fn linked(&mut self, value: &Yaml, scope: &Scope<'_>) -> Option<(NodeId, NodeId)> {
        let (a, b) = self.ends(value, &mut BTreeSet::new(), scope)?;
        if scope.links.contains_key(&Scope::key(&a, &b)) {
            return Some((a, b));
        }
        let message = format!("there is no link between `{a}` and `{b}`");
        self.mistake(Kind::UnknownLink, value, message, "name the ends of a link that is declared under `links`");
        None
    }

    fn link_event(&mut self, value: &Yaml) -> Option<LinkEvent> {
        let help = "write `set: down`, `set: up`, or `set: { delay: 80ms }`";
        if !matches!(value.data, Data::Map(_)) {
            let text = self.scalar_text(value, "set", help)?;
            return match text.as_str() {
                "down" => Some(LinkEvent::Down),
                "up" => Some(LinkEvent::Up),
                _ => {
                    self.mistake(Kind::UnknownValue, value, format!("`{text}` is nothing a link can be set to"), help);
                    None
                }
            };
        }
        let keys: Vec<_> = ["forward", "backward"].into_iter().chain(PROPERTIES).collect();
        let fields = self.fields(value, "set", &keys)?;
        let both = self.properties(&fields);
        let [forward, backward] =
            ["forward", "backward"].map(|key| self.one_way(&fields, key, false).over(both).change);
        Some(LinkEvent::Set { forward, backward })
    }

    fn node_event(&mut self, value: &Yaml) -> Option<NodeAction> {
        let help = "one of kill, stop, start, pause, resume";
        let text = self.scalar_text(value, "do", help)?;
        let event = NodeAction::ALL.into_iter().find(|event| event.label() == text);
        if event.is_none() {
            self.mistake(Kind::UnknownValue, value, format!("`{text}` is nothing a node can do"), help);
        }
        event
    }
}
