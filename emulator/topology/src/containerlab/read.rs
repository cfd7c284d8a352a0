//! Reading.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{VARS, WHOLE};
use crate::file::{Data, Yaml, document};
use crate::generate::{Backbone, Line, Place, assemble};

/// Ends of links that are no nodes: the host, and networks of it.
const OUTSIDE: [&str; 4] = ["host", "mgmt-net", "macvlan", "vxlan"];
/// Domain of a topology whose file does not say one.
const DOMAIN: &str = "example";

/// A file, as far as it matters here.
struct Lab<'a> {
    source: &'a str,
    name: String,
    /// Each with its key, and what is said of it.
    nodes: Vec<(&'a Yaml, &'a Yaml)>,
    links: Vec<Ends<'a>>,
    /// Links to what is no node.
    outside: usize,
    defaults: Option<&'a Yaml>,
}

/// A link between two nodes, by their numbers.
struct Ends<'a> {
    a: usize,
    b: usize,
    link: &'a Yaml,
}

/// A map of routers out of a file: each of its nodes is one. Places are those of the labels `graph-geoCoordinateLat` and
/// `graph-geoCoordinateLng`.
///
/// # Errors
/// What cannot be read, with its line.
pub(crate) fn map(source: &str) -> Result<Backbone, String> {
    let whole = document::parse(source).map_err(|mistake| of_mistake(source, &mistake))?;
    let lab = Lab::read(source, &whole)?;
    let mut places = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (key, node) in &lab.nodes {
        let label = |name: &str| lab.path(node, &["labels", name]).and_then(|value| lab.text(value)?.parse().ok());
        let (latitude, longitude) = (label("graph-geoCoordinateLat"), label("graph-geoCoordinateLng"));
        let id = lab.text(key).unwrap_or_default();
        places.push(Place { label: Some(id.clone()), id, latitude, longitude });
        *kinds.entry(lab.kind(node)).or_default() += 1;
    }
    let id = |number: usize| places[number].id.clone();
    let lines = lab.links.iter().map(|ends| Line { source: id(ends.a), target: id(ends.b), bits_per_second: None });
    let lines: Vec<Line> = lines.collect();
    let mut backbone = assemble(lab.name.clone(), places, &lines)?;
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    backbone.notes.push(format!("Nodes of containerlab, each an SR here: {}.", kinds.join(", ")));
    if lab.outside > 0 {
        backbone.notes.push(format!("{} links to the host and its networks are left out.", lab.outside));
    }
    Ok(backbone)
}

/// The topology file, as JSON, that was exported into this one; none where it is a file of somebody else's. It is checked no
/// further than is needed to put it together.
///
/// # Errors
/// What cannot be read or put together, with its line.
pub fn restored(source: &str) -> Result<Option<String>, String> {
    if source.len() > crate::generate::MAX_MAP_LEN {
        return Err(format!("longer than {} MiB: no topology is", crate::generate::MAX_MAP_LEN >> 20));
    }
    let whole = document::parse(source).map_err(|mistake| of_mistake(source, &mistake))?;
    let lab = Lab::read(source, &whole)?;
    if lab.nodes.iter().all(|(_, node)| lab.own(node).is_none()) {
        return Ok(None);
    }
    serde_json::to_string_pretty(&lab.put_together()?).map(Some).map_err(|error| error.to_string())
}

fn of_mistake(source: &str, mistake: &crate::Mistake) -> String {
    let line = mistake.span.as_ref().map(|span| line_of(source, span.start));
    line.map_or_else(|| mistake.message.clone(), |line| format!("line {line}: {}", mistake.message))
}

fn line_of(source: &str, at: usize) -> usize {
    source.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

impl<'a> Lab<'a> {
    fn read(source: &'a str, whole: &'a Yaml) -> Result<Self, String> {
        let mut lab =
            Self { source, name: String::new(), nodes: Vec::new(), links: Vec::new(), outside: 0, defaults: None };
        let missing = "there is no `topology:` with `nodes:` in it, which a containerlab file has";
        let nodes = lab.path(whole, &["topology", "nodes"]).ok_or_else(|| lab.at(whole, missing))?;
        lab.name = lab.path(whole, &["name"]).and_then(|name| lab.text(name)).unwrap_or_default();
        lab.defaults = lab.path(whole, &["topology", "defaults"]);
        let Data::Map(entries) = &nodes.data else {
            return Err(
                lab.at(nodes, &format!("`nodes` is a map of nodes by name, and here is {}", nodes.data.describe()))
            );
        };
        let mut index = BTreeMap::new();
        for (number, (key, node)) in entries.iter().enumerate() {
            let id = lab.text(key).ok_or_else(|| lab.at(key, "a node has a text as its name"))?;
            if !matches!(node.data, Data::Null | Data::Map(_)) {
                return Err(lab.at(node, &format!("{id} is a map, and here is {}", node.data.describe())));
            }
            if index.insert(id.clone(), number).is_some() {
                return Err(lab.at(key, &format!("there already is a node {id}")));
            }
            lab.nodes.push((key, node));
        }
        if let Some(links) = lab.path(whole, &["topology", "links"]).filter(|links| !matches!(links.data, Data::Null)) {
            let Data::List(parts) = &links.data else {
                return Err(lab.at(links, &format!("`links` is a list, and here is {}", links.data.describe())));
            };
            for link in parts {
                match lab.ends(link, &index)? {
                    Some((a, b)) => lab.links.push(Ends { a, b, link }),
                    None => lab.outside += 1,
                }
            }
        }
        Ok(lab)
    }

    /// The nodes that a link joins; none where one of its ends is no node of the file.
    fn ends(&self, link: &'a Yaml, index: &BTreeMap<String, usize>) -> Result<Option<(usize, usize)>, String> {
        let kind = self.path(link, &["type"]).and_then(|kind| self.text(kind));
        if kind.is_some_and(|kind| kind != "veth") {
            return Ok(None);
        }
        let help = "a link has two `endpoints`, such as `endpoints: [\"a:eth1\", \"b:eth1\"]`";
        let ends = self.path(link, &["endpoints"]).ok_or_else(|| self.at(link, help))?;
        let Data::List(parts) = &ends.data else { return Err(self.at(ends, help)) };
        let [a, b] = parts.as_slice() else { return Err(self.at(ends, help)) };
        let mut found = [None, None];
        for (slot, end) in found.iter_mut().zip([a, b]) {
            // Long form: a map; short form: node and interface with a colon between them.
            let long = self.path(end, &["node"]).and_then(|node| self.text(node));
            let short = || self.text(end)?.split_once(':').map(|(node, _)| node.to_owned());
            let node = long.or_else(short).ok_or_else(|| self.at(end, help))?;
            *slot = index.get(&node).copied();
            if slot.is_none() && !OUTSIDE.contains(&node.as_str()) {
                return Err(self.at(end, &format!("there is no node {node} in `nodes`")));
            }
        }
        Ok(found[0].zip(found[1]))
    }

    /// Our file, as JSON.
    fn put_together(&self) -> Result<Map<String, Value>, String> {
        let start = [("name".to_owned(), self.name.clone().into()), ("domain".to_owned(), DOMAIN.into())];
        let mut file = Map::from_iter(start);
        if let Some(all) = self.defaults.and_then(|defaults| self.own(defaults)) {
            let all = self.object(all)?;
            file.extend(all.into_iter().filter(|(key, _)| WHOLE.contains(&key.as_str())));
        }
        let mut nodes = Map::new();
        for (key, node) in &self.nodes {
            let id = self.text(key).unwrap_or_default();
            let Some(own) = self.own(node) else {
                let what = "is no node of a DAMC network, and others are: say there what it is, such as";
                let help = "`config: { vars: { damc: { kind: sr } } }`, or take those of all nodes out";
                return Err(self.at(key, &format!("{id} {what} {help}")));
            };
            nodes.insert(id, Value::Object(self.object(own)?));
        }
        let mut links = Vec::new();
        for Ends { a, b, link } in &self.links {
            let own = self.path(link, &["vars", VARS]).map(|own| self.object(own)).transpose()?;
            let mut own = own.unwrap_or_default();
            let ends = [*a, *b].map(|end| self.text(self.nodes[end].0).unwrap_or_default());
            own.insert("between".to_owned(), Value::from(ends.to_vec()));
            links.push(Value::Object(own));
        }
        file.insert("nodes".to_owned(), Value::Object(nodes));
        file.insert("links".to_owned(), Value::Array(links));
        Ok(file)
    }

    /// The kind of a node: its own, or the default one.
    fn kind(&self, node: &Yaml) -> String {
        let of =
            |yaml: Option<&Yaml>| yaml.and_then(|yaml| self.path(yaml, &["kind"])).and_then(|kind| self.text(kind));
        of(Some(node)).or_else(|| of(self.defaults)).unwrap_or_else(|| "of no kind".to_owned())
    }

    /// What our file says of a node, or of all.
    fn own<'y>(&self, node: &'y Yaml) -> Option<&'y Yaml> {
        self.path(node, &["config", "vars", VARS])
    }

    /// What lies at the end of these keys.
    fn path<'y>(&self, from: &'y Yaml, keys: &[&str]) -> Option<&'y Yaml> {
        keys.iter().try_fold(from, |at, key| {
            let Data::Map(entries) = &at.data else { return None };
            entries.iter().find(|(k, _)| self.text(k).as_deref() == Some(key)).map(|(_, value)| value)
        })
    }

    /// A text, or the text of a number or a truth value; none of anything else.
    fn text(&self, yaml: &Yaml) -> Option<String> {
        match &yaml.data {
            Data::Text(text) => Some(text.clone()),
            Data::Bool(value) => Some(value.to_string()),
            Data::Number => self.source.get(yaml.span.clone()).map(ToOwned::to_owned),
            Data::Null | Data::List(_) | Data::Map(_) => None,
        }
    }

    fn object(&self, yaml: &Yaml) -> Result<Map<String, Value>, String> {
        match self.json(yaml)? {
            Value::Object(map) => Ok(map),
            _ => Err(self.at(yaml, &format!("`damc` is a map, and here is {}", yaml.data.describe()))),
        }
    }

    fn json(&self, yaml: &Yaml) -> Result<Value, String> {
        Ok(match &yaml.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Text(text) => Value::String(text.clone()),
            // What JSON writes otherwise (hexadecimal, infinity) stays the text that it is.
            Data::Number => {
                let text = self.text(yaml).unwrap_or_default();
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            }
            Data::List(parts) => Value::Array(parts.iter().map(|part| self.json(part)).collect::<Result<_, _>>()?),
            Data::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let name = self.text(key).ok_or_else(|| self.at(key, "a key is a text"))?;
                    if map.insert(name.clone(), self.json(value)?).is_some() {
                        return Err(self.at(key, &format!("`{name}` is there already")));
                    }
                }
                Value::Object(map)
            }
        })
    }

    fn at(&self, yaml: &Yaml, what: &str) -> String {
        format!("line {}: {what}", line_of(self.source, yaml.span.start))
    }
}
