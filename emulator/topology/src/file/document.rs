//! A YAML document as a tree whose every part knows its place in the file.
//!
//! `serde_yaml` parses the values. It keeps no places and lets a repeated key win silently, so a second pass with
//! saphyr's event parser finds the places, and the two trees are laid over each other. `serde_yaml` goes first because
//! it bounds nesting (128 levels) and refuses documents that are no YAML; a budget of values bounds what aliases unfold to.

use core::cell::Cell;
use core::fmt;
use core::ops::Range;
use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScanError};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::mistake::{Mistake, MistakeKind};

/// Most values of a document after its aliases are unfolded.
pub const MAX_VALUES: usize = 2_000_000;

/// A value and its place.
#[derive(Debug)]
pub struct Yaml {
    /// Bytes of the source.
    pub span: Range<usize>,
    /// The value.
    pub data: Data,
}

/// What a value can be.
#[derive(Debug)]
pub enum Data {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; the source text of it says which.
    Number,
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Yaml>),
    /// A map, in file order, repeated keys included.
    Map(Vec<(Yaml, Yaml)>),
}

impl Data {
    /// What it is, for messages.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Number => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Parses one YAML document.
///
/// # Errors
/// The one mistake that keeps it from being read.
pub fn parse(source: &str) -> Result<Yaml, Mistake> {
    let budget = Cell::new(MAX_VALUES);
    let value = Seed(&budget).deserialize(serde_yaml::Deserializer::from_str(source)).map_err(|error| {
        if budget.get() == 0 {
            return Mistake::of_file(
                MistakeKind::TooLarge,
                format!("the document unfolds to more than {MAX_VALUES} values"),
                "split it, or use fewer aliases",
            );
        }
        syntax_mistake(source, &error)
    })?;
    let places = Places::find(source).unwrap_or(Place { span: 0..0, parts: Rc::default() });
    let whole = 0..source.len();
    Ok(join(value, Some(&places), &whole))
}

fn syntax_mistake(source: &str, error: &serde_yaml::Error) -> Mistake {
    let message = error.to_string();
    // The parser appends the place, which is shown anyway.
    let message = message.split(" at line ").next().unwrap_or(&message);
    let help = "the file must be one YAML document, see topologies/README.md for examples";
    let Some(location) = error.location() else {
        if let Some(second) = source.find("\n---").filter(|_| message.contains("more than one document")) {
            let at = second + 1..second + 4;
            return Mistake::new(
                MistakeKind::NotYaml,
                &at,
                "a second document begins here",
                "keep one document in a file",
            );
        }
        return Mistake::of_file(MistakeKind::NotYaml, format!("this is no YAML: {message}"), help);
    };
    let mut start = location.index().min(source.len());
    while !source.is_char_boundary(start) {
        start -= 1;
    }
    let end = source[start..].find('\n').map_or(source.len(), |length| start + length);
    Mistake::new(MistakeKind::NotYaml, &(start..end), format!("this is no YAML: {message}"), help)
}

/// A value without its place.
enum Value {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0.get().checked_sub(1) {
            None | Some(0) => {
                self.0.set(0);
                Err(serde::de::Error::custom("too many values"))
            }
            Some(left) => {
                self.0.set(left);
                deserializer.deserialize_any(self)
            }
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without tag")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Number)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Number)
    }
    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Number)
    }
    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Number)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element_seed(self)? {
            parts.push(part);
        }
        Ok(Value::List(parts))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry_seed(self, self)? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

/// Where a value is, and where its parts are: elements of a list, keys and values of a map in turn.
#[derive(Clone, Debug)]
struct Place {
    span: Range<usize>,
    parts: Rc<Vec<Self>>,
}

/// Builds places out of events.
struct Places {
    open: Vec<(usize, usize, Vec<Place>)>,
    anchors: HashMap<usize, Place>,
    root: Option<Place>,
}

impl Places {
    fn find(source: &str) -> Result<Place, ScanError> {
        let offsets = char_offsets(source);
        let byte = |index: usize| offsets.as_ref().map_or(index, |o| o.get(index).copied().unwrap_or(source.len()));
        let mut places = Self { open: Vec::new(), anchors: HashMap::new(), root: None };
        let mut parser = Parser::new_from_iter(source.chars());
        while let Some(event) = parser.next_event() {
            let (event, span) = event?;
            let span = byte(span.start.index())..byte(span.end.index()).min(source.len());
            places.take(&event, trimmed(source, span));
            if matches!(event, Event::DocumentEnd) {
                break;
            }
        }
        let nowhere = Place { span: 0..source.len(), parts: Rc::default() };
        Ok(places.root.unwrap_or(nowhere))
    }

    fn take(&mut self, event: &Event<'_>, span: Range<usize>) {
        match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                self.open.push((*anchor, span.start, Vec::new()));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, start, parts)) = self.open.pop() {
                    let end = parts.last().map_or(span.end, |last| last.span.end.max(span.end)).max(start);
                    self.put(Place { span: start..end, parts: Rc::new(parts) }, anchor);
                }
            }
            Event::Scalar(_, _, anchor, _) => self.put(Place { span, parts: Rc::default() }, *anchor),
            Event::Alias(anchor) => {
                // Mistakes in what an alias stands for are shown where that is written.
                let place = self.anchors.get(anchor).cloned().unwrap_or(Place { span, parts: Rc::default() });
                self.put(place, 0);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
    }

    fn put(&mut self, place: Place, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, place.clone());
        }
        match self.open.last_mut() {
            Some((_, _, parts)) => parts.push(place),
            None => self.root = Some(place),
        }
    }
}

/// Byte offset of every character; none where they are the same.
fn char_offsets(source: &str) -> Option<Vec<usize>> {
    (!source.is_ascii()).then(|| source.char_indices().map(|(offset, _)| offset).collect())
}

/// The span without the anchor in front of it and white space at its end.
fn trimmed(source: &str, span: Range<usize>) -> Range<usize> {
    let Some(text) = source.get(span.clone()) else { return span };
    let anchor = if text.starts_with('&') { text.find(char::is_whitespace).unwrap_or(0) } else { 0 };
    let value = text[anchor..].trim_start();
    let start = span.end - value.len();
    start..start + value.trim_end().len()
}

fn join(value: Value, place: Option<&Place>, around: &Range<usize>) -> Yaml {
    let span = place.map_or_else(|| around.clone(), |place| place.span.clone());
    let part = |index: usize| place.and_then(|place| place.parts.get(index));
    let data = match value {
        Value::Null => Data::Null,
        Value::Bool(value) => Data::Bool(value),
        Value::Number => Data::Number,
        Value::Text(text) => Data::Text(text),
        Value::List(list) => {
            Data::List(list.into_iter().enumerate().map(|(i, value)| join(value, part(i), &span)).collect())
        }
        Value::Map(map) => {
            let entries = map.into_iter().enumerate();
            let entry = |(i, (key, value))| (join(key, part(2 * i), &span), join(value, part(2 * i + 1), &span));
            Data::Map(entries.map(entry).collect())
        }
    };
    Yaml { span, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of<'a>(source: &'a str, yaml: &Yaml) -> &'a str {
        &source[yaml.span.clone()]
    }

    #[test]
    fn every_part_knows_its_place() {
        let source = "# ä comment\nname: fig2 # why\nlinks:\n  - [sg-1, \"sr-ö\"]\n  - {between: [a, b], delay: 5ms}\n";
        let yaml = parse(source).unwrap();
        let Data::Map(entries) = &yaml.data else { panic!("{yaml:?}") };
        assert_eq!(text_of(source, &entries[0].0), "name");
        assert_eq!(text_of(source, &entries[0].1), "fig2");
        let Data::List(links) = &entries[1].1.data else { panic!("{yaml:?}") };
        assert_eq!(text_of(source, &links[0]), "[sg-1, \"sr-ö\"]");
        assert_eq!(text_of(source, &links[1]), "{between: [a, b], delay: 5ms}");
    }

    #[test]
    fn repeated_keys_are_all_there() {
        let Data::Map(entries) = parse("a: 1\na: 2\n").unwrap().data else { panic!() };
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn an_alias_has_the_place_of_what_it_stands_for() {
        let source = "a: &x {k: v}\nb: *x\n";
        let Data::Map(entries) = parse(source).unwrap().data else { panic!() };
        assert_eq!(text_of(source, &entries[1].1), "{k: v}");
        assert!(matches!(&entries[1].1.data, Data::Map(m) if m.len() == 1));
    }

    #[test]
    fn deep_nesting_and_alias_bombs_are_refused() {
        let deep = "[".repeat(200_000);
        assert_eq!(parse(&deep).unwrap_err().kind, MistakeKind::NotYaml);
        let deep = "- ".repeat(200_000);
        assert_eq!(parse(&deep).unwrap_err().kind, MistakeKind::NotYaml);
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        let kind = parse(&bomb).unwrap_err().kind;
        assert!(matches!(kind, MistakeKind::TooLarge | MistakeKind::NotYaml), "{kind:?}");
        assert_eq!(parse("a: &a [*a]").unwrap_err().kind, MistakeKind::NotYaml);
    }
}
