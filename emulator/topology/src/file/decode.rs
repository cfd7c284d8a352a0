//! From a YAML document to a topology: the reader, the file's head, its nodes. What refers to nodes is in `connect`,
//! properties of links in `link`, the other sections in `measure` and `timeline`; `validate` looks at several places at once.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use damc_wire::node_id::NodeIdError;
use damc_wire::registry::Role;
use damc_wire::{Name, NodeId};

use super::Files;
use super::connect::{Scope, broken_nodes};
use super::document::{self, Data, Yaml};
use super::link::{PROPERTIES, Properties};
use super::mistake::{Mistake, MistakeKind as Kind, did_you_mean};
use super::validate::{self, Draft, Located};
use crate::topology::{MAX_NODES, MAX_SERVICES, Node, Qos, Service, Topology};

const TOP_KEYS: [&str; 8] = ["name", "domain", "defaults", "nodes", "links", "licences", "qos", "events"];
const NODE_KEYS: [&str; 7] = ["kind", "services", "transit", "overload", "exec", "env", "position"];
const SERVICE_KEYS: [&str; 9] = ["prefix", "pool", "weight", "run", "env", "cwd", "ready", "within", "restart"];
const ID_RULE: &str = "1 to 32 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit";
const NAME_RULE: &str = "a name is written /shop/cart: components of 1 to 64 of A-Z, a-z, 0-9, '.', '_', '~' and '-'";

/// Reads a whole file: the topology, and the places that ask for what is not available yet.
pub(super) fn topology(
    source: &str,
    folder: &Path,
    files: &Files<'_>,
) -> Result<(Topology, Vec<Mistake>), Vec<Mistake>> {
    let document = document::parse(source).map_err(|mistake| vec![mistake])?;
    let mut reader = Reader { source, folder, files, mistakes: Vec::new(), pending: Vec::new() };
    let draft = reader.draft(&document);
    if let Some(draft) = &draft {
        validate::check(draft, &mut reader.mistakes);
    }
    match draft {
        Some(draft) if reader.mistakes.is_empty() => Ok((draft.into_topology(folder), reader.pending)),
        _ => Err(reader.mistakes),
    }
}

/// Reads parts of a document and collects what is wrong with them.
pub(super) struct Reader<'a> {
    source: &'a str,
    pub(super) folder: &'a Path,
    pub(super) files: &'a Files<'a>,
    pub(super) mistakes: Vec<Mistake>,
    pending: Vec<Mistake>,
}

/// The entries of a map whose keys are known.
pub(super) struct Fields<'a> {
    entries: HashMap<&'a str, &'a Yaml>,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Yaml> {
        self.entries.get(key).copied()
    }
}

impl Reader<'_> {
    pub(super) fn mistake(&mut self, kind: Kind, at: &Yaml, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.push(Mistake::new(kind, &at.span, message, help));
    }

    /// What is right, and what this version cannot do.
    pub(super) fn pending(&mut self, at: &Yaml, message: &str, help: &str) {
        self.pending.push(Mistake::new(Kind::NotAvailable, &at.span, message, help));
    }

    /// The line of a value, from 1.
    pub(super) fn line_of(&self, value: &Yaml) -> usize {
        self.source.get(..value.span.start).map_or(1, |before| before.matches('\n').count() + 1)
    }

    pub(super) fn missing(&mut self, around: &Yaml, key: &str, help: &str) {
        self.mistake(Kind::MissingKey, around, format!("`{key}` is missing"), help);
    }

    pub(super) fn wrong_shape(&mut self, at: &Yaml, what: &str, expected: &str, help: &str) {
        let message = format!("{what}: expected {expected}, found {}", at.data.describe());
        self.mistake(Kind::WrongShape, at, message, help);
    }

    /// A map with text keys; repeated keys are reported, the first wins.
    pub(super) fn map<'y>(&mut self, value: &'y Yaml, what: &str) -> Option<Vec<(&'y str, &'y Yaml, &'y Yaml)>> {
        let Data::Map(entries) = &value.data else {
            self.wrong_shape(value, what, "a map", "write `key: value` lines, or `{ key: value }`");
            return None;
        };
        let mut seen: HashMap<&str, &Range<usize>> = HashMap::new();
        let mut result = Vec::new();
        for (key, value) in entries {
            let Data::Text(text) = &key.data else {
                self.wrong_shape(key, &format!("key of {what}"), "a text", "put it in quotes if it is meant as text");
                continue;
            };
            if let Some(first) = seen.get(text.as_str()) {
                let mistake =
                    Mistake::new(Kind::DuplicateKey, &key.span, format!("`{text}` is here twice"), "keep one");
                self.mistakes.push(mistake.with_other(first, "first here"));
                continue;
            }
            seen.insert(text, &key.span);
            result.push((text.as_str(), key, value));
        }
        Some(result)
    }

    /// A map with these keys and no others.
    pub(super) fn fields<'y>(&mut self, value: &'y Yaml, what: &str, known: &[&str]) -> Option<Fields<'y>> {
        let mut entries = HashMap::new();
        for (text, key, value) in self.map(value, what)? {
            if known.contains(&text) {
                entries.insert(text, value);
                continue;
            }
            let hint = did_you_mean(text, known.iter().copied());
            let help = if hint.is_empty() { format!("known here: {}", known.join(", ")) } else { hint };
            self.mistake(Kind::UnknownKey, key, format!("{what} has no key `{text}`"), help);
        }
        Some(Fields { entries })
    }

    pub(super) fn list<'y>(&mut self, value: &'y Yaml, what: &str, help: &str) -> &'y [Yaml] {
        if let Data::List(parts) = &value.data {
            return parts;
        }
        self.wrong_shape(value, what, "a list", help);
        &[]
    }

    /// The text of a scalar as it is written: a number too is one.
    pub(super) fn scalar_text(&mut self, value: &Yaml, what: &str, help: &str) -> Option<String> {
        match &value.data {
            Data::Text(text) => Some(text.clone()),
            Data::Number => Some(self.source.get(value.span.clone()).unwrap_or_default().to_owned()),
            _ => {
                self.wrong_shape(value, what, "a single value", help);
                None
            }
        }
    }

    pub(super) fn truth(&mut self, value: &Yaml, what: &str) -> Option<bool> {
        if let Data::Bool(truth) = value.data {
            return Some(truth);
        }
        self.wrong_shape(value, what, "true or false", "write `true` or `false`");
        None
    }

    pub(super) fn id(&mut self, value: &Yaml, what: &str) -> Option<NodeId> {
        let text = self.scalar_text(value, what, ID_RULE)?;
        self.id_of(&text, value, what)
    }

    pub(super) fn id_of(&mut self, text: &str, at: &Yaml, what: &str) -> Option<NodeId> {
        match NodeId::new(text) {
            // `-x` would be an option to every command, `.` and `..` are no name components.
            Ok(_) if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
                self.mistake(
                    Kind::BadName,
                    at,
                    format!("{what} `{text}` starts with neither letter nor digit"),
                    ID_RULE,
                );
                None
            }
            Ok(id) => Some(id),
            Err(error) => {
                let problem = match error {
                    NodeIdError::Empty => "is empty".to_owned(),
                    NodeIdError::TooLong(bytes) => format!("is {bytes} bytes long"),
                    NodeIdError::BadCharacter(character) => format!("has the character {character:?}"),
                };
                self.mistake(Kind::BadName, at, format!("{what} `{text}` {problem}"), ID_RULE);
                None
            }
        }
    }

    pub(super) fn name(&mut self, value: &Yaml, what: &str) -> Option<Name> {
        let text = self.scalar_text(value, what, NAME_RULE)?;
        self.name_of(&text, value, what)
    }

    pub(super) fn name_of(&mut self, text: &str, at: &Yaml, what: &str) -> Option<Name> {
        match text.parse::<Name>() {
            Ok(name) if name.is_reserved() => {
                let help = "names under /damc belong to the nodes themselves; take another first component";
                self.mistake(Kind::ReservedName, at, format!("{what}: `{text}` is reserved"), help);
                None
            }
            Ok(name) => Some(name),
            Err(error) => {
                self.mistake(Kind::BadName, at, format!("{what}: {error}"), NAME_RULE);
                None
            }
        }
    }

    pub(super) fn command(&mut self, value: &Yaml, what: &str) -> Option<Vec<String>> {
        let help = "write the program and its arguments as a list, such as [python3, -m, http.server, \"8080\"]";
        let parts = self.list(value, what, help);
        let words: Vec<_> = parts.iter().filter_map(|part| self.scalar_text(part, what, help)).collect();
        if parts.is_empty() && matches!(value.data, Data::List(_)) {
            self.mistake(Kind::WrongShape, value, format!("{what}: the list is empty"), help);
        }
        if let Some(part) = parts.iter().zip(&words).find(|(_, word)| word.contains('\0')).map(|(part, _)| part) {
            self.mistake(Kind::WrongShape, part, format!("{what}: a NUL character"), help);
        }
        (!words.is_empty()).then_some(words)
    }

    pub(super) fn limit(&mut self, at: &Yaml, what: &str, count: usize, most: usize) -> Option<()> {
        if count <= most {
            return Some(());
        }
        let message = format!("{count} {what}, at most {most} are accepted");
        let at = at.span.start..at.span.start + 1;
        let help = format!("make it smaller: a lab of more {what} cannot be carried by one machine");
        self.mistakes.push(Mistake::new(Kind::TooLarge, &at, message, help));
        None
    }
}

/// The parts of a file.
impl Reader<'_> {
    fn draft<'y>(&mut self, document: &'y Yaml) -> Option<Draft<'y>> {
        if matches!(document.data, Data::Null) {
            let help = "a topology needs at least `name`, `domain`, `nodes` and `links`";
            self.mistakes.push(Mistake::of_file(Kind::Empty, "the file is empty", help));
            return None;
        }
        let fields = self.fields(document, "a topology", &TOP_KEYS)?;
        // Places that mistakes of the whole topology point at: its first line, not all of it.
        let first_line = self.source[document.span.clone()].find('\n').unwrap_or(document.span.len());
        let head = document.span.start..document.span.start + first_line;
        for (key, help) in [
            ("name", "such as `name: fig2`; it names the lab and the results"),
            ("domain", "such as `domain: example`; the trust domain all nodes belong to"),
            ("nodes", "such as `nodes: { sr-1: { kind: sr }, … }`"),
            ("links", "such as `links: [ [sg-1, sr-1], … ]`"),
        ] {
            if fields.get(key).is_none() {
                self.mistakes.push(Mistake::new(Kind::MissingKey, &head, format!("`{key}` is missing"), help));
            }
        }
        let placeholder = || NodeId::new("unnamed").ok();
        let name = fields.get("name").and_then(|value| self.id(value, "name")).or_else(placeholder)?;
        let domain = fields.get("domain").and_then(|value| self.id(value, "domain")).or_else(placeholder)?;
        let defaults = fields.get("defaults").map(|value| self.defaults(value)).unwrap_or_default();
        let nodes = fields.get("nodes").map_or(Some(Vec::new()), |value| self.nodes(value))?;
        let known: HashMap<NodeId, Role> =
            nodes.iter().map(|located| (located.value.id.clone(), located.value.kind)).collect();
        let mut draft = Draft {
            name,
            domain,
            nodes,
            links: Vec::new(),
            licences: None,
            qos: Located { at: &document.span, value: Qos::default(), parts: Vec::new() },
            events: Vec::new(),
            unclear: BTreeSet::new(),
        };
        let broken = fields.get("nodes").map(|value| broken_nodes(value, &known)).unwrap_or_default();
        let mut scope = Scope {
            known: &known,
            broken,
            links: BTreeMap::new(),
            link_names: BTreeMap::new(),
            unclear: BTreeSet::new(),
        };
        if let Some(value) = fields.get("links") {
            draft.links = self.links(value, defaults, &mut scope)?;
        }
        draft.licences = fields.get("licences").map(|value| self.licences(value, &scope));
        if let Some(value) = fields.get("qos") {
            draft.qos = self.qos(value);
        }
        draft.events =
            fields.get("events").map_or(Some(Vec::new()), |value| self.events(value, &scope, &draft.nodes))?;
        draft.unclear = scope.unclear;
        Some(draft)
    }

    fn defaults(&mut self, value: &Yaml) -> Properties {
        let Some(fields) = self.fields(value, "defaults", &["link"]) else { return Properties::default() };
        let Some(link) = fields.get("link") else { return Properties::default() };
        let keys: Vec<_> = PROPERTIES.into_iter().chain(["cost"]).collect();
        self.fields(link, "defaults.link", &keys).map(|fields| self.properties(&fields)).unwrap_or_default()
    }

    fn nodes<'y>(&mut self, value: &'y Yaml) -> Option<Vec<Located<'y, Node>>> {
        let entries = self.map(value, "nodes")?;
        self.limit(value, "nodes", entries.len(), MAX_NODES)?;
        if entries.is_empty() {
            self.mistake(Kind::MissingKey, value, "there is no node", "such as `nodes: { sr-1: { kind: sr }, … }`");
        }
        Some(entries.into_iter().filter_map(|(id, key, value)| self.node(id, key, value)).collect())
    }

    fn node<'y>(&mut self, id: &str, key: &'y Yaml, value: &'y Yaml) -> Option<Located<'y, Node>> {
        let identity = self.id_of(id, key, "node identity");
        let fields = self.fields(value, &format!("node `{id}`"), &NODE_KEYS)?;
        let kind = self.kind(value, &fields, id);
        let services = fields.get("services").map(|value| self.services(value)).unwrap_or_default();
        let transit = fields.get("transit").and_then(|value| self.truth(value, "transit"));
        let overload = fields.get("overload").and_then(|value| self.truth(value, "overload"));
        let exec = self.foreign(&fields);
        let position = fields.get("position").and_then(|value| self.position(value));
        let kind = kind?;
        for (field, kinds) in
            [("services", &[Role::Pod][..]), ("transit", &[Role::Sg]), ("overload", &[Role::Sg, Role::Sr])]
        {
            if let Some(value) = fields.get(field).filter(|_| !kinds.contains(&kind)) {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.label()).collect();
                let help = format!("only {} can have it", kinds.join(" and "));
                self.mistake(Kind::NotForThisKind, value, format!("a {kind} has no `{field}`"), help);
            }
        }
        let (places, services) = services.into_iter().unzip();
        let node = Node {
            id: identity?,
            kind,
            services,
            transit: transit.unwrap_or(false),
            overload: overload.unwrap_or(false),
            exec,
            position,
        };
        Some(Located { at: &key.span, value: node, parts: places })
    }

    fn kind(&mut self, node: &Yaml, fields: &Fields<'_>, id: &str) -> Option<Role> {
        let help = "one of sr, sg, spa, scsc, pod";
        let Some(value) = fields.get("kind") else {
            self.mistake(Kind::MissingKey, node, format!("`kind` of node `{id}` is missing"), help);
            return None;
        };
        let text = self.scalar_text(value, "kind", help)?;
        let role = Role::from_label(&text);
        if role.is_none() {
            let hint = did_you_mean(&text, Role::ALL.iter().map(|role| role.label()));
            let help = if hint.is_empty() { help.to_owned() } else { format!("{hint} ({help})") };
            self.mistake(Kind::UnknownValue, value, format!("`{text}` is no kind of node"), help);
        }
        role
    }

    fn position(&mut self, value: &Yaml) -> Option<(f64, f64)> {
        let help = "write [right, down] in units of one node distance, such as [1.5, 2]";
        let parts = self.list(value, "position", help);
        let numbers: Vec<f64> = parts
            .iter()
            .filter(|part| matches!(part.data, Data::Number))
            .filter_map(|part| self.source.get(part.span.clone())?.parse().ok())
            .filter(|number: &f64| (-1000.0..=1000.0).contains(number))
            .collect();
        if let ([x, y], 2) = (numbers.as_slice(), parts.len()) {
            return Some((*x, *y));
        }
        self.mistake(Kind::WrongShape, value, "position: expected two numbers from -1000 to 1000", help);
        None
    }

    fn services<'y>(&mut self, value: &'y Yaml) -> Vec<(&'y Range<usize>, Service)> {
        let help = "such as `services: [ { prefix: /A/1, pool: /A } ]`";
        let parts = self.list(value, "services", help);
        if self.limit(value, "services", parts.len(), MAX_SERVICES).is_none() {
            return Vec::new();
        }
        parts.iter().filter_map(|part| self.service(part).map(|service| (&part.span, service))).collect()
    }

    fn service(&mut self, value: &Yaml) -> Option<Service> {
        let fields = self.fields(value, "a service", &SERVICE_KEYS)?;
        let prefix = match fields.get("prefix") {
            Some(prefix) => self.name(prefix, "prefix"),
            None => {
                self.missing(value, "prefix", "such as `prefix: /A/1`");
                None
            }
        };
        let pool = fields.get("pool").and_then(|pool| self.name(pool, "pool"));
        let weight = fields.get("weight").and_then(|weight| self.number(weight, "weight", 1, u32::from(u16::MAX)));
        let run = self.run(&fields);
        let weight = weight.and_then(|weight| u16::try_from(weight).ok()).unwrap_or(1);
        Some(Service { prefix: prefix?, pool, weight, run })
    }
}
