//! Recorded links: a table of our own, or the delivery opportunities of Mahimahi.

use damc_impair::{DirectionChange, Loss};

use super::super::decode::Reader;
use super::super::document::Yaml;
use super::super::mistake::MistakeKind as Kind;
use super::super::unit::{self, MAX_SPAN_NS};
use crate::timeline::Trace;

/// Most lines of a trace.
const MAX_LINES: usize = 1_000_000;
/// Bytes of a delivery opportunity of Mahimahi.
const OPPORTUNITY: u64 = 1500;
/// Opportunities are counted over so many milliseconds.
const WINDOW_MS: u64 = 100;
const FORMAT: &str = "lines such as `1.5s,20ms,3mbit,1%` under the header `time,delay,rate,loss` (columns may be left out), \
                      or one whole number of milliseconds a line (Mahimahi)";

impl Reader<'_> {
    /// The trace in a file, by its path from the folder of the topology on.
    pub(super) fn trace(&mut self, value: &Yaml) -> Option<Trace> {
        let path = self.scalar_text(value, "follow", "the path of a trace, such as `traces/lte.csv`")?;
        let file = self.folder.join(&path);
        let text = match (self.files)(&file) {
            Ok(text) => text,
            Err(error) => {
                let help = "give the path of a readable file, from the folder of this file on";
                self.mistake(Kind::BadTrace, value, format!("{path}: {error}"), help);
                return None;
            }
        };
        match steps(&text) {
            Ok(steps) => Some(Trace { file: path.into(), steps }),
            Err(error) => {
                self.mistake(Kind::BadTrace, value, format!("{path}: {error}"), FORMAT);
                None
            }
        }
    }
}

/// What changes when; an error names its line.
fn steps(text: &str) -> Result<Vec<(u64, DirectionChange)>, String> {
    let lines = || text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    if lines().count() > MAX_LINES {
        return Err(format!("more than {MAX_LINES} lines"));
    }
    let Some((first, _)) = lines().next() else { return Err("the trace is empty".to_owned()) };
    let steps = if first.bytes().all(|byte| byte.is_ascii_digit()) {
        opportunities(lines())?
    } else {
        let columns: Vec<&str> = first.split(',').map(str::trim).collect();
        if columns.first() != Some(&"time") {
            return Err("line 1: the first column is not `time`".to_owned());
        }
        if let Some(unknown) = columns.iter().skip(1).find(|column| !["delay", "rate", "loss"].contains(column)) {
            return Err(format!("line 1: there is no column `{unknown}`"));
        }
        let row = |(line, number): (&str, u32)| row(&columns, line).map_err(|error| format!("line {number}: {error}"));
        lines().skip(1).map(row).collect::<Result<Vec<_>, _>>()?
    };
    if let Some(back) = steps.windows(2).find(|pair| pair[1].0 <= pair[0].0) {
        return Err(format!("the time {} does not rise", unit::Time(back[1].0)));
    }
    if steps.last().is_none_or(|(last, _)| *last == 0) {
        return Err("the trace has no duration: its last line says when it ends".to_owned());
    }
    Ok(steps)
}

fn row(columns: &[&str], line: &str) -> Result<(u64, DirectionChange), String> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    if cells.len() != columns.len() {
        return Err(format!("{} columns, and the header has {}", cells.len(), columns.len()));
    }
    let (mut at, mut change) = (0, DirectionChange::default());
    for (column, cell) in columns.iter().zip(cells) {
        let wrong = |error: unit::UnitError| format!("{column}: {error}");
        match *column {
            "time" => at = unit::span_ns(cell).map_err(wrong)?,
            "delay" => change.delay_ns = Some(unit::time_ns(cell).map_err(wrong)?),
            "rate" => change.rate_bps = Some(unit::rate_bps(cell).map_err(wrong)?),
            _ => {
                let probability = unit::probability(cell).map_err(wrong)?;
                change.loss = Some(if probability > 0.0 { Loss::Random { probability } } else { Loss::None });
            }
        }
    }
    Ok((at, change))
}

/// Rates from the milliseconds at which one packet each could go; where none could, nothing passes.
fn opportunities<'a>(lines: impl Iterator<Item = (&'a str, u32)>) -> Result<Vec<(u64, DirectionChange)>, String> {
    let mut counts: Vec<u64> = Vec::new();
    let mut last = 0;
    for (line, number) in lines {
        let at: u64 = line.parse().map_err(|_| format!("line {number}: `{line}` is no whole number"))?;
        if at < last || at > MAX_SPAN_NS / 1_000_000 {
            return Err(format!("line {number}: {at} ms is out of order or beyond an hour"));
        }
        last = at;
        let window = usize::try_from(at / WINDOW_MS).unwrap_or(usize::MAX);
        counts.resize(counts.len().max(window + 1), 0);
        counts[window] += 1;
    }
    let change = |count: u64| DirectionChange {
        rate_bps: Some((count * OPPORTUNITY * 8 * 1000 / WINDOW_MS).max(unit::MIN_RATE_BPS)),
        silent: Some(count == 0),
        ..DirectionChange::default()
    };
    let begins = (0_u64..).map(|window| window * WINDOW_MS * 1_000_000);
    let mut steps: Vec<_> = begins.zip(counts.iter().map(|count| change(*count))).collect();
    let ends = counts.len() as u64 * WINDOW_MS * 1_000_000;
    steps.extend(steps.last().map(|(_, change)| (ends, *change)));
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_its_header() {
        let read = steps("# lte\ntime,rate,loss\n0s,2mbit,0%\n1.5s, 1mbit, 5%\n").unwrap();
        let change = |rate, loss| DirectionChange { rate_bps: Some(rate), loss: Some(loss), ..Default::default() };
        let expected = [
            (0, change(2_000_000, Loss::None)),
            (1_500_000_000, change(1_000_000, Loss::Random { probability: 0.05 })),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn opportunities_become_rates_and_none_is_silence() {
        let read = steps("0\n50\n50\n250\n").unwrap();
        let seen: Vec<_> = read.iter().map(|(at, change)| (at / 1_000_000, change.rate_bps, change.silent)).collect();
        // Three packets of 1500 bytes in the first 100 ms are 360 kbit/s.
        let expected = [
            (0, Some(360_000), Some(false)),
            (100, Some(1000), Some(true)),
            (200, Some(120_000), Some(false)),
            (300, Some(120_000), Some(false)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_no_trace_names_its_line() {
        for (text, error) in [
            ("", "the trace is empty"),
            ("delay,time\n", "line 1: the first column is not `time`"),
            ("time,colour\n0s,red\n", "line 1: there is no column `colour`"),
            ("time,delay\n0s\n", "line 2: 1 columns, and the header has 2"),
            ("time,delay\n0s,5\n", "line 2: delay: `5` has no unit"),
            ("time,delay\n1s,5ms\n1s,6ms\n", "the time 1s does not rise"),
            ("time,delay\n0s,5ms\n", "the trace has no duration: its last line says when it ends"),
            ("5\n4\n", "line 2: 4 ms is out of order or beyond an hour"),
        ] {
            assert_eq!(steps(text), Err(error.to_owned()), "{text:?}");
        }
    }
}
