//! Reports of figures as a table, as JSON and as Markdown.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::{Figure, Machine};

const COLUMNS: [&str; 8] = ["bench", "median", "per second", "quarter below", "quarter above", "p99", "target", "note"];

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// The figures, in the order measured.
    pub figures: Vec<Figure>,
}

impl Report {
    /// An empty report of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self { machine: Machine::here(), figures: Vec::new() }
    }

    /// Adds a figure and prints it on standard error as progress.
    pub fn add(&mut self, figure: Figure) {
        eprintln!("{} {}: {}", figure.group, figure.name, time(figure.median_ns));
        self.figures.push(figure);
    }

    /// The figures as a table for a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Builder::default();
        table.push_record(COLUMNS);
        self.figures.iter().for_each(|figure| table.push_record(row(figure)));
        table.build().with(Style::sharp()).to_string()
    }

    /// The figures as Markdown for a document.
    #[must_use]
    pub fn markdown(&self, title: &str) -> String {
        let mut text = format!("# {title}\n\n");
        let _ = writeln!(
            text,
            "{} at the start. Medians of samples, each a batch of operations; `p99` of operations timed one by one is \
             that of single operations.\n",
            self.machine
        );
        let _ = writeln!(text, "| {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
        for figure in &self.figures {
            let _ = writeln!(text, "| {} |", row(figure).join(" | "));
        }
        text
    }

    /// Writes `NAME.json` and `NAME.md` into a folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, name: &str, title: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        fs::write(folder.join(format!("{name}.json")), json + "\n")?;
        fs::write(folder.join(format!("{name}.md")), self.markdown(title))
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

fn row(figure: &Figure) -> [String; 8] {
    [
        format!("{} {}", figure.group, figure.name),
        time(figure.median_ns),
        rate(figure.per_second()),
        time(figure.p25_ns),
        time(figure.p75_ns),
        time(figure.p99_ns),
        figure.target.clone(),
        figure.note.clone(),
    ]
}

/// A time span with three digits and a suitable unit.
fn time(ns: f64) -> String {
    scaled(ns, &[(1e9, " s"), (1e6, " ms"), (1e3, " µs"), (1.0, " ns")])
}

fn rate(per_second: f64) -> String {
    scaled(per_second, &[(1e6, " M/s"), (1e3, " k/s"), (1.0, " /s")])
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let unit = units.iter().find(|(size, _)| value >= *size).or(units.last());
    let (size, name) = unit.copied().unwrap_or((1.0, ""));
    let value = value / size;
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_rates_have_three_digits_and_a_unit() {
        assert_eq!([time(12.34), time(123_456.0), time(1.5e9)], ["12.3 ns", "123 µs", "1.50 s"]);
        assert_eq!([rate(12.3e6), rate(999.0)], ["12.3 M/s", "999 /s"]);
    }

    #[test]
    fn markdown_and_json_hold_every_figure() {
        let mut report = Report::new();
        report.add(Figure::new("lpm", "hot", vec![80.0]).target("≥ 10 M/s"));
        let markdown = report.markdown("Title");
        assert!(markdown.contains("| lpm hot | 80.0 ns | 12.5 M/s |"), "{markdown}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["figures"][0]["median_ns"], 80.0);
        assert!(json["machine"]["processors"].as_u64().unwrap() > 0);
    }
}
