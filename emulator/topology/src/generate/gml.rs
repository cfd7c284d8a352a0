//! GML: keys with numbers, texts or lists in brackets (Himsolt, "GML: a portable graph file format", 1997).

use super::Backbone;
use super::import::{Line, Place, assemble};

/// How deep lists may nest; the format's own graphs need three levels.
const DEEPEST: usize = 16;

/// Reads a map.
pub(super) fn read(text: &str) -> Result<Backbone, String> {
    let mut tokens = Tokens { text, at: 0, line: 1 };
    let file = list(&mut tokens, 0)?;
    let Some(Value::List(graph)) = get(&file, "graph") else {
        return Err("there is no `graph [ … ]` in it".to_owned());
    };
    let label = get(graph, "label").or_else(|| get(graph, "Network")).map(Value::text).unwrap_or_default();
    let lists = |key: &'static str| {
        graph.iter().filter(move |(k, _)| k == key).filter_map(|(_, value)| match value {
            Value::List(list) => Some(list),
            Value::Word(_) => None,
        })
    };
    let mut places = Vec::new();
    for node in lists("node") {
        let id = get(node, "id").map(Value::text).ok_or("a node has no id")?;
        let number = |key| get(node, key).and_then(|v| v.text().parse().ok());
        let label = get(node, "label").map(Value::text);
        places.push(Place { id, label, latitude: number("Latitude"), longitude: number("Longitude") });
    }
    let mut lines = Vec::new();
    for edge in lists("edge") {
        let end = |key: &str| get(edge, key).map(Value::text).ok_or_else(|| format!("an edge has no {key}"));
        let bits_per_second = get(edge, "LinkSpeedRaw").and_then(|v| v.text().parse().ok());
        lines.push(Line { source: end("source")?, target: end("target")?, bits_per_second });
    }
    assemble(label, places, &lines)
}

enum Value {
    Word(String),
    List(Vec<(String, Value)>),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::List(_) => String::new(),
        }
    }
}

fn get<'a>(list: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    list.iter().find(|(k, _)| k == key).map(|(_, value)| value)
}

/// Keys and values up to the closing bracket, or to the end of the file at the top.
fn list(tokens: &mut Tokens<'_>, depth: usize) -> Result<Vec<(String, Value)>, String> {
    if depth > DEEPEST {
        return Err(tokens.error("lists are nested too deeply"));
    }
    let mut list = Vec::new();
    loop {
        let key = match tokens.next()? {
            None if depth == 0 => return Ok(list),
            None => return Err(tokens.error("a `[` is never closed")),
            Some(Token::Close) if depth > 0 => return Ok(list),
            Some(Token::Word(key)) => key,
            Some(_) => return Err(tokens.error("expected a key")),
        };
        let value = match tokens.next()? {
            Some(Token::Open) => Value::List(self::list(tokens, depth + 1)?),
            Some(Token::Word(word) | Token::Text(word)) => Value::Word(word),
            Some(Token::Close) | None => return Err(tokens.error(&format!("`{key}` has no value"))),
        };
        list.push((key, value));
    }
}

enum Token {
    Open,
    Close,
    Word(String),
    Text(String),
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Tokens<'_> {
    fn error(&self, what: &str) -> String {
        format!("line {}: {what}", self.line)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Goes on by `length` bytes and gives them.
    fn take(&mut self, length: usize) -> String {
        let taken = self.rest()[..length].to_owned();
        self.at += length;
        self.line += taken.matches('\n').count();
        taken
    }

    fn next(&mut self) -> Result<Option<Token>, String> {
        loop {
            let blank = self.rest().len() - self.rest().trim_start().len();
            self.take(blank);
            if !self.rest().starts_with('#') {
                break;
            }
            let comment = self.rest().find('\n').unwrap_or(self.rest().len());
            self.take(comment);
        }
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        Ok(Some(match first {
            '[' => {
                self.take(1);
                Token::Open
            }
            ']' => {
                self.take(1);
                Token::Close
            }
            '"' => {
                let Some(end) = self.rest()[1..].find('"') else { return Err(self.error("a text is never closed")) };
                let text = self.take(end + 2);
                Token::Text(unescaped(&text[1..=end]))
            }
            _ => {
                let end = self.rest().find(|c: char| c.is_whitespace() || c == '[' || c == ']' || c == '"');
                let end = end.unwrap_or(self.rest().len());
                Token::Word(self.take(end))
            }
        }))
    }
}

/// Longest character reference that is looked for, from `&` to `;`, in bytes.
const LONGEST_REFERENCE: usize = 11;

/// Texts write what is not ASCII as in HTML; those that occur in names.
fn unescaped(text: &str) -> String {
    unescape(text, &mut 0)
}

/// Counts the bytes that it looks at for the end of a reference: so many for each `&`, however long the text is.
fn unescape(text: &str, looked_at: &mut usize) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let window = &rest.as_bytes()[..rest.len().min(LONGEST_REFERENCE)];
        let end = window.iter().inspect(|_| *looked_at += 1).position(|byte| *byte == b';');
        let (c, length) = end.and_then(|end| Some((referred(&rest[1..end])?, end + 1))).unwrap_or(('&', 1));
        plain.push(c);
        rest = &rest[length..];
    }
    plain + rest
}

/// The character that a reference names.
fn referred(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "quot" => Some('"'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        _ => name.strip_prefix('#')?.parse().ok().and_then(char::from_u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_characters_and_everything_else_stays() {
        for (text, plain) in [
            ("Z&#252;rich &amp; &lt;Bern&gt;", "Zürich & <Bern>"),
            ("&quot;", "\""),
            ("a & b; &unknown; &#x41; &#99999999;", "a & b; &unknown; &#x41; &#99999999;"),
            ("&averyveryverylongname;", "&averyveryverylongname;"),
            ("&ööööööö;", "&ööööööö;"),
            ("&", "&"),
        ] {
            assert_eq!(unescaped(text), plain);
        }
    }

    #[test]
    fn unescaping_looks_at_few_bytes_for_each_reference() {
        for text in ["&".repeat(400_000), "&amp".repeat(100_000), "&#252;".repeat(70_000)] {
            let mut looked_at = 0;
            unescape(&text, &mut looked_at);
            assert!(looked_at <= LONGEST_REFERENCE * text.len(), "{looked_at} bytes for a text of {}", text.len());
        }
    }
}
