//! Measurements of any unit as JSON and markdown: what a bench measured becomes what it reports.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Machine, Summary};

/// What a bench measured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Names its files.
    pub name: String,
    /// Heads its report.
    pub title: String,
    /// What was measured and how, for the reader of the tables; without its full stop.
    pub about: String,
    /// Its tables.
    pub tables: Vec<Table<Cell>>,
    /// What is to be said after the tables, such as peers that are not installed.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Choices of the run and whatever else is to be in the JSON.
    #[serde(default)]
    pub run: Value,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table<C> {
    /// Heads it; empty for none.
    #[serde(default)]
    pub heading: String,
    /// Heads of the columns, with units.
    pub columns: Vec<String>,
    /// Rows of as many cells.
    pub rows: Vec<Vec<C>>,
}

/// A cell as it was measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A label.
    Text(String),
    /// A number of things.
    Count(u64),
    /// Samples, in any order; none where nothing was measured.
    Samples(Vec<f64>),
}

/// A cell as it is reported.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// A label.
    Text(String),
    /// A number of things.
    Count(u64),
    /// What the samples come to, and the samples in order.
    Figure {
        /// None where nothing was measured.
        summary: Option<Summary>,
        /// In order.
        samples: Vec<f64>,
    },
}

/// What a bench reports.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Names its files.
    pub name: String,
    /// Heads its report.
    pub title: String,
    /// Where it was measured.
    pub machine: Machine,
    /// What was measured and how.
    pub about: String,
    /// Its tables.
    pub tables: Vec<Table<Told>>,
    /// What is said after the tables.
    pub notes: Vec<String>,
    /// Choices of the run and whatever else the bench says.
    pub run: Value,
}

impl Document {
    /// Sums the samples up.
    ///
    /// # Errors
    /// A row with more or fewer cells than its table has columns: which.
    pub fn new(measured: Measured, machine: Machine) -> Result<Self, String> {
        let Measured { name, title, about, tables, notes, run } = measured;
        let tables = tables.into_iter().map(told).collect::<Result<_, _>>()?;
        Ok(Self { name, title, machine, about, tables, notes, run })
    }

    /// For people. A figure is its median, with the least and the largest sample in brackets.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}. {}.\n", self.title, self.machine, self.about);
        for table in &self.tables {
            if !table.heading.is_empty() {
                let _ = write!(text, "\n## {}\n", table.heading);
            }
            let _ = writeln!(text, "\n| {} |\n|{}", table.columns.join(" | "), "---|".repeat(table.columns.len()));
            for row in &table.rows {
                let cells: Vec<String> = row.iter().map(Told::markdown).collect();
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            }
        }
        self.notes.iter().for_each(|note| _ = write!(text, "\n{note}\n"));
        text
    }

    /// Writes `NAME.json` and `NAME.md` into a folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        fs::write(folder.join(format!("{}.json", self.name)), json + "\n")?;
        fs::write(folder.join(format!("{}.md", self.name)), self.markdown())
    }
}

fn told(table: Table<Cell>) -> Result<Table<Told>, String> {
    let Table { heading, columns, rows } = table;
    if let Some(row) = rows.iter().find(|row| row.len() != columns.len()) {
        return Err(format!("a row of {} cells under {} columns: {row:?}", row.len(), columns.len()));
    }
    let rows = rows.into_iter().map(|row| row.into_iter().map(Told::of).collect()).collect();
    Ok(Table { heading, columns, rows })
}

impl Told {
    fn of(cell: Cell) -> Self {
        match cell {
            Cell::Text(text) => Self::Text(text),
            Cell::Count(count) => Self::Count(count),
            Cell::Samples(mut samples) => Self::Figure { summary: Summary::of(&mut samples), samples },
        }
    }

    fn markdown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Figure { summary: None, .. } => "–".to_owned(),
            Self::Figure { summary: Some(Summary { median, least, most, count, .. }), .. } => {
                let [median, least, most] = [*median, *least, *most].map(three_digits);
                if *count == 1 { median } else { format!("{median} ({least}–{most})") }
            }
        }
    }
}

/// A number with three digits, or all of a larger one's.
fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        let measured = json!({
            "name": "labs", "title": "Labs", "about": "Medians of 3 rounds; ms",
            "tables": [{
                "heading": "Small",
                "columns": ["nodes", "what", "up, ms", "memory, MiB"],
                "rows": [[16, "damc", [300.0, 200.5, 210], [41.26]], [16, "ip", [3.0, 1.0, 2.0], []]],
            }],
            "notes": ["Not measured: Mininet."],
            "run": {"rounds": 3},
        });
        Document::new(serde_json::from_value(measured).unwrap(), Machine::here()).unwrap()
    }

    #[test]
    fn markdown_shows_median_and_spread() {
        let markdown = document().markdown();
        let expected = "\n## Small\n\n| nodes | what | up, ms | memory, MiB |\n|---|---|---|---|\n\
                        | 16 | damc | 210 (200–300) | 41.3 |\n\
                        | 16 | ip | 2.00 (1.00–3.00) | – |\n\
                        \nNot measured: Mininet.\n";
        assert!(markdown.starts_with("# Labs\n\n") && markdown.ends_with(expected), "{markdown}");
    }

    #[test]
    fn json_holds_summaries_and_samples() {
        let json = serde_json::to_value(document()).unwrap();
        let cell = &json["tables"][0]["rows"][0][2];
        assert_eq!(cell["summary"]["median"], 210.0);
        assert_eq!(cell["samples"], json!([200.5, 210.0, 300.0]));
        assert_eq!(json["tables"][0]["rows"][1][3]["summary"], Value::Null);
        assert_eq!(json["run"]["rounds"], 3);
    }

    #[test]
    fn a_row_must_fit_its_columns() {
        let measured = json!({
            "name": "x", "title": "x", "about": "", "tables": [{"columns": ["a", "b"], "rows": [["only one"]]}],
        });
        let error = Document::new(serde_json::from_value(measured).unwrap(), Machine::here()).unwrap_err();
        assert!(error.contains("1 cells under 2 columns"), "{error}");
    }
}
