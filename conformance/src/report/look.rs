//! How tables look on a terminal: no wider than it is, and verdicts in colour.

use tabled::builder::Builder;
use tabled::settings::{Color, Style};

use crate::verdict::Kind;

/// Columns that a table needs beside its texts: a bar and a space on both sides of each cell.
const AROUND: usize = 3;

/// How tables look where they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Most columns of a line: the widest cells are wrapped to fit, at words. A table whose words alone are wider stays so.
    pub width: usize,
    /// Verdicts and states in colour.
    pub colour: bool,
}

impl Look {
    /// The text of a table.
    #[must_use]
    pub fn of(self, table: Builder) -> String {
        self.coloured(table, 0, |_| None)
    }

    /// The text of a table, with a colour for each cell of one column that has one.
    #[must_use]
    pub fn coloured(self, table: Builder, column: usize, colour: impl Fn(&str) -> Option<Color>) -> String {
        let rows: Vec<Vec<String>> = table.into();
        let widths = self.widths(&rows);
        let wrapped = rows.iter().map(|row| row.iter().zip(&widths).map(|(cell, width)| wrapped(cell, *width)));
        let mut table = wrapped.collect::<Builder>().build();
        for (number, row) in rows.iter().enumerate().filter(|_| self.colour) {
            if let Some(colour) = row.get(column).and_then(|cell| colour(cell)) {
                table.modify((number, column), colour);
            }
        }
        table.with(Style::sharp()).to_string()
    }

    /// The width of each column. The widest gives way first, none below its longest word.
    fn widths(self, rows: &[Vec<String>]) -> Vec<usize> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let longest = |column: usize, parts: fn(&str) -> Vec<&str>| {
            let cells = rows.iter().filter_map(move |row| row.get(column));
            cells.flat_map(|cell| parts(cell)).map(|part| part.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> =
            (0..columns).map(|column| longest(column, |cell| cell.lines().collect())).collect();
        let least: Vec<usize> =
            (0..columns).map(|column| longest(column, |cell| cell.split_whitespace().collect())).collect();
        let room = self.width.saturating_sub(columns * AROUND + 1);
        while widths.iter().sum::<usize>() > room {
            let widest =
                (0..columns).filter(|column| widths[*column] > least[*column]).max_by_key(|column| widths[*column]);
            let Some(column) = widest else { break };
            widths[column] -= 1;
        }
        widths
    }
}

/// A text in lines of at most this width, broken between words.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.chars().count() <= width {
            lines.push(line.to_owned());
            continue;
        }
        let mut at = String::new();
        for word in line.split_whitespace() {
            if !at.is_empty() && at.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut at));
            }
            at.extend((!at.is_empty()).then_some(' '));
            at.push_str(word);
        }
        lines.push(at);
    }
    lines.join("\n")
}

/// The colour of a verdict's label.
#[must_use]
pub fn colour_of(verdict: &str) -> Option<Color> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.label() == verdict)?;
    Some(match kind {
        Kind::Pass => Color::FG_GREEN,
        Kind::Fail => Color::FG_RED,
        Kind::Inconclusive => Color::FG_YELLOW,
        Kind::Exception | Kind::NotRun | Kind::Todo => Color::FG_BRIGHT_BLACK,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: usize) -> String {
        let rows = [["id", "what it says"], ["one", "a reason of quite a few words"], ["two", "short"]];
        Look { width, colour: false }.of(rows.into_iter().collect())
    }

    #[test]
    fn a_table_is_as_wide_as_it_may_be_and_breaks_between_words() {
        assert_eq!(table(80).lines().count(), 6);
        for width in [20, 24, 30, 37] {
            let text = table(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            for word in ["reason", "quite", "words", "what", "says"] {
                assert!(text.contains(word), "{width}: {word} is broken:\n{text}");
            }
        }
    }

    #[test]
    fn no_word_is_broken_where_there_is_no_room_at_all() {
        let text = table(1);
        assert!(text.contains("reason") && text.contains("short"), "{text}");
    }
}
