//! Values put into the text of a topology file from outside: `links.wan.delay=20ms`.
//!
//! The text is edited and not a tree written anew, so that mistakes are shown at the lines the user wrote. An edit is
//! checked: the edited text must differ from the file at the path and nowhere else.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::document::{self, Data, Yaml};
use super::mistake::did_you_mean;

/// Keys that tell the entries of a list apart: links, events, services.
const ENTRY_KEYS: [&str; 3] = ["name", "as", "prefix"];

/// Why a value cannot be put into a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The path has no key, or an empty one.
    #[error(
        "`{0}` is no path: write keys with dots between them, such as `links.wan.delay` or `nodes.\"sg.1\".transit`"
    )]
    BadPath(String),
    /// There is no `=`.
    #[error("`{0}` has no value: write PATH=VALUE, such as `links.wan.delay=20ms`")]
    NoValue(String),
    /// The value is no YAML, or longer than a line.
    #[error("{path}: `{value}` is no value: write a single word, `[…]` or `{{…}}`, in one line")]
    BadValue {
        /// Where it belongs.
        path: SettingPath,
        /// What was written.
        value: String,
    },
    /// The path leads to an entry that the file does not have.
    #[error("{path}: {inside} has no entry `{entry}`; {help}")]
    NoEntry {
        /// The path.
        path: SettingPath,
        /// The part of the file that lacks it.
        inside: String,
        /// What it lacks.
        entry: String,
        /// What would be right.
        help: String,
    },
    /// The path goes on below a single value.
    #[error("{path}: {inside} is {found} in this file, so there is nothing below it")]
    NothingBelow {
        /// The path.
        path: SettingPath,
        /// Where it cannot go on.
        inside: String,
        /// What is there.
        found: &'static str,
    },
    /// The value is written once for several places.
    #[error("{0}: the file writes this once for several places (an anchor and aliases); write it out where it belongs")]
    Shared(SettingPath),
}

/// A place in a topology file: keys from its top on. An entry of a list is named by its `name`, `as` or `prefix`, or by its
/// number from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SettingPath(Vec<String>);

impl SettingPath {
    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// Whether one of both lies at or below the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

impl FromStr for SettingPath {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (mut keys, mut key, mut quoted) = (Vec::new(), String::new(), false);
        for character in text.trim().chars() {
            match character {
                '"' => quoted = !quoted,
                '.' if !quoted => keys.push(core::mem::take(&mut key)),
                other => key.push(other),
            }
        }
        keys.push(key);
        let wrong = |key: &String| key.is_empty() || key.chars().any(|c| c.is_control() || c == '\\');
        if quoted || keys.iter().any(wrong) { Err(SettingError::BadPath(text.to_owned())) } else { Ok(Self(keys)) }
    }
}

impl TryFrom<String> for SettingPath {
    type Error = SettingError;
    fn try_from(text: String) -> Result<Self, SettingError> {
        text.parse()
    }
}

impl From<SettingPath> for String {
    fn from(path: SettingPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for SettingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            if key.contains('.') { write!(f, "{dot}\"{key}\"")? } else { write!(f, "{dot}{key}")? }
        }
        Ok(())
    }
}

/// A value for a place in a topology file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Setting {
    /// Where.
    pub path: SettingPath,
    /// What, as it would be written in the file.
    pub value: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.value)
    }
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let no_value = || SettingError::NoValue(text.to_owned());
        let (path, value) = text.split_once('=').ok_or_else(no_value)?;
        if value.trim().is_empty() {
            return Err(no_value());
        }
        Ok(Self { path: path.parse()?, value: value.trim().to_owned() })
    }
}

/// The text of a topology file with these values in it, in this order.
///
/// # Errors
/// All settings that cannot be put in. Whether the result is a valid topology is for [`crate::parse`] to say.
pub fn with_settings(source: &str, settings: &[Setting]) -> Result<String, Vec<SettingError>> {
    let (mut text, mut errors) = (source.to_owned(), Vec::new());
    for setting in settings {
        match with_setting(&text, setting) {
            Ok(edited) => text = edited,
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(text) } else { Err(errors) }
}

fn with_setting(source: &str, setting: &Setting) -> Result<String, SettingError> {
    // What is wrong with the file itself is shown when it is checked, with its place.
    let Ok(document) = document::parse(source) else { return Ok(source.to_owned()) };
    let written = written(setting)?;
    let edited = edit(source, &document, setting, &written)?;
    let shared = || SettingError::Shared(setting.path.clone());
    let (new, value) = (document::parse(&edited), document::parse(&written));
    let (Ok(new), Ok(value)) = (new, value) else { return Err(shared()) };
    let (old, new) = (Part(&document, source), Part(&new, &edited));
    // By numbers in lists: the new value may have another name than the old one.
    let keys = numbered(&document, setting.path.keys());
    let put = new.at(&keys).is_some_and(|there| there.same(Part(&value, &written)));
    if put && old.same_besides(new, &keys) { Ok(edited) } else { Err(shared()) }
}

/// Keys with the numbers of entries of lists in the place of their names.
fn numbered(document: &Yaml, keys: &[String]) -> Vec<String> {
    let mut at = Some(document);
    let number = |key: &String| {
        let found = at
            .and_then(|yaml| child(yaml, key).map(|(index, below)| (matches!(yaml.data, Data::List(_)), index, below)));
        at = found.map(|(_, _, below)| below);
        match found {
            Some((true, index, _)) => index.to_string(),
            _ => key.clone(),
        }
    };
    keys.iter().map(number).collect()
}

/// A value as it can stand anywhere in a file, inside of braces too.
fn written(setting: &Setting) -> Result<String, SettingError> {
    let Setting { path, value } = setting;
    let bad = || SettingError::BadValue { path: path.clone(), value: value.clone() };
    let text = value.trim();
    if text.chars().any(char::is_control) {
        return Err(bad());
    }
    match document::parse(text).map_err(|_| bad())?.data {
        Data::Text(text) => Ok(word(&text)),
        Data::Number | Data::Bool(_) => Ok(text.to_owned()),
        Data::List(_) | Data::Map(_) if text.starts_with(['[', '{']) => Ok(text.to_owned()),
        Data::List(_) | Data::Map(_) | Data::Null => Err(bad()),
    }
}

/// A text that is one to YAML too.
fn word(text: &str) -> String {
    let simple = text.chars().all(|c| c.is_ascii_alphanumeric() || "._/~%+-".contains(c));
    let is_text = || document::parse(text).is_ok_and(|yaml| matches!(yaml.data, Data::Text(_)));
    if simple && is_text() { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// Replaces or adds the value.
fn edit(source: &str, document: &Yaml, setting: &Setting, written: &str) -> Result<String, SettingError> {
    let keys = setting.path.keys();
    let (mut at, mut key_end) = (document, None);
    for (depth, key) in keys.iter().enumerate() {
        let inside = || if depth == 0 { "the file".to_owned() } else { keys[..depth].join(".") };
        let path = || setting.path.clone();
        match (&at.data, child(at, key)) {
            (data, Some((index, below))) => {
                key_end = if let Data::Map(entries) = data { Some(entries[index].0.span.end) } else { None };
                at = below;
            }
            (Data::Map(entries), None) if keys[0] == "nodes" && depth == 1 => {
                let names = entries.iter().filter_map(|(key, _)| text_of(key));
                let (inside, help) = (inside(), entry_help(key, &names.collect::<Vec<_>>(), "its nodes are"));
                return Err(SettingError::NoEntry { path: path(), inside, entry: key.clone(), help });
            }
            (Data::Map(entries), None) => return Ok(added(source, at, entries, &keys[depth..], written)),
            (Data::Null, None) => {
                return Ok(replaced(source, at, key_end, &format!("{{ {} }}", nested(&keys[depth..], written))));
            }
            (Data::List(parts), None) => {
                let names: Vec<&str> = parts.iter().filter_map(entry_name).collect();
                let (inside, help) = (inside(), entry_help(key, &names, "named are"));
                return Err(SettingError::NoEntry { path: path(), inside, entry: key.clone(), help });
            }
            (data, None) => {
                let (inside, found) = (inside(), data.describe());
                return Err(SettingError::NothingBelow { path: path(), inside, found });
            }
        }
    }
    Ok(replaced(source, at, key_end, written))
}

fn entry_help(key: &str, names: &[&str], are: &str) -> String {
    match (did_you_mean(key, names.iter().copied()), names) {
        (hint, _) if !hint.is_empty() => hint,
        (_, []) => format!("give one `name: {key}`: none has a name yet"),
        (_, names) => format!("{are} {}", names.join(", ")),
    }
}

fn text_of(yaml: &Yaml) -> Option<&str> {
    if let Data::Text(text) = &yaml.data { Some(text) } else { None }
}

/// What an entry of a list is called.
fn entry_name(entry: &Yaml) -> Option<&str> {
    let Data::Map(entries) = &entry.data else { return None };
    let value = |wanted: &str| entries.iter().find(|(key, _)| text_of(key) == Some(wanted)).map(|(_, value)| value);
    ENTRY_KEYS.iter().find_map(|key| text_of(value(key)?))
}

/// What is below a key, and at which place.
fn child<'y>(at: &'y Yaml, key: &str) -> Option<(usize, &'y Yaml)> {
    match &at.data {
        Data::Map(entries) => {
            let index = entries.iter().position(|(found, _)| text_of(found) == Some(key))?;
            Some((index, &entries[index].1))
        }
        Data::List(parts) => {
            let named = parts.iter().position(|part| entry_name(part) == Some(key));
            let index = named.or_else(|| key.parse().ok().filter(|index| *index < parts.len()))?;
            Some((index, &parts[index]))
        }
        _ => None,
    }
}

/// `a: { b: value }` for the keys a, b.
fn nested(keys: &[String], written: &str) -> String {
    match keys {
        [] => written.to_owned(),
        [last] => format!("{}: {written}", word(last)),
        [first, rest @ ..] => format!("{}: {{ {} }}", word(first), nested(rest, written)),
    }
}

/// The text with a new entry in front of the others of a map.
fn added(source: &str, map: &Yaml, entries: &[(Yaml, Yaml)], keys: &[String], written: &str) -> String {
    let entry = nested(keys, written);
    let Some((first, _)) = entries.first() else { return replaced(source, map, None, &format!("{{ {entry} }}")) };
    let at = first.span.start;
    if source[map.span.clone()].starts_with('{') {
        return format!("{}{entry}, {}", &source[..at], &source[at..]);
    }
    let line = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let indent = " ".repeat(source[line..at].chars().count());
    format!("{}{entry}\n{indent}{}", &source[..at], &source[at..])
}

/// The text with another value in the place of one, which stands behind a key that ends at `key_end`.
fn replaced(source: &str, old: &Yaml, key_end: Option<usize>, written: &str) -> String {
    let (start, end) = (old.span.start, end_of(source, old));
    let is_there = !matches!(old.data, Data::Null) || ["~", "null", "Null", "NULL"].contains(&&source[start..end]);
    let colon = key_end.filter(|_| !is_there).and_then(|end| source[end..].find(':').map(|at| end + at + 1));
    match colon {
        Some(at) => format!("{} {written}{}", &source[..at], &source[at..]),
        None => format!("{}{written}{}", &source[..start], &source[end..]),
    }
}

/// The end of a value. A block ends where its last value does, not where the next key begins.
fn end_of(source: &str, value: &Yaml) -> usize {
    let block = !source[value.span.clone()].starts_with(['{', '[']);
    match &value.data {
        Data::List(parts) if block => parts.last().map_or(value.span.end, |part| end_of(source, part)),
        Data::Map(entries) if block => entries.last().map_or(value.span.end, |(_, part)| end_of(source, part)),
        _ => value.span.end,
    }
}

/// A part of a document, with the text it was read from.
#[derive(Clone, Copy)]
struct Part<'a>(&'a Yaml, &'a str);

impl<'a> Part<'a> {
    fn at(self, keys: &[String]) -> Option<Self> {
        let step = |at: &'a Yaml, key: &String| child(at, key).map(|(_, below)| below);
        keys.iter().try_fold(self.0, step).map(|found| Part(found, self.1))
    }

    fn same(self, other: Self) -> bool {
        let part = |yaml| Part(yaml, self.1);
        let others = |yaml| Part(yaml, other.1);
        match (&self.0.data, &other.0.data) {
            (Data::Null, Data::Null) => true,
            (Data::Bool(a), Data::Bool(b)) => a == b,
            (Data::Text(a), Data::Text(b)) => a == b,
            (Data::Number, Data::Number) => self.1.get(self.0.span.clone()) == other.1.get(other.0.span.clone()),
            (Data::List(a), Data::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| part(a).same(others(b)))
            }
            (Data::Map(a), Data::Map(b)) => {
                let same = |((ka, va), (kb, vb)): (&'a (Yaml, Yaml), &(Yaml, Yaml))| {
                    part(ka).same(Part(kb, other.1)) && part(va).same(Part(vb, other.1))
                };
                a.len() == b.len() && a.iter().zip(b).all(same)
            }
            _ => false,
        }
    }

    /// Whether both are the same but for what lies at `keys`.
    fn same_besides(self, new: Self, keys: &[String]) -> bool {
        let [key, rest @ ..] = keys else { return true };
        let below = match (child(self.0, key), child(new.0, key)) {
            (Some((_, old)), Some((_, other))) => Part(old, self.1).same_besides(Part(other, new.1), rest),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let others = match (&self.0.data, &new.0.data) {
            (Data::Map(a), Data::Map(b)) => {
                let besides = |entries: &'a [(Yaml, Yaml)]| {
                    entries.iter().filter(|(found, _)| text_of(found) != Some(key.as_str())).collect::<Vec<_>>()
                };
                let (a, b) = (besides(a), besides(b));
                let same = |(a, b): (&&(Yaml, Yaml), &&(Yaml, Yaml))| {
                    Part(&a.0, self.1).same(Part(&b.0, new.1)) && Part(&a.1, self.1).same(Part(&b.1, new.1))
                };
                a.len() == b.len() && a.iter().zip(&b).all(same)
            }
            (Data::List(a), Data::List(b)) => {
                let place = child(self.0, key).map(|(index, _)| index);
                let same = |(index, (a, b)): (usize, (&Yaml, &Yaml))| {
                    Some(index) == place || Part(a, self.1).same(Part(b, new.1))
                };
                a.len() == b.len() && a.iter().zip(b).enumerate().all(same)
            }
            (Data::Null, Data::Map(entries)) => entries.len() == 1,
            _ => false,
        };
        below && others
    }
}

#[cfg(test)]
#[path = "setting_tests.rs"]
mod tests;
