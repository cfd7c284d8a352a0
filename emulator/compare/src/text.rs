//! A comparison for people.

use std::fmt::Write as _;

use damc_conformance::report::Look;
use tabled::builder::Builder;
use tabled::settings::Color;

use crate::model::{
    Compared, Comparison, Conclusion, FibChange, FigureChange, Figures, Judgement, Shift, Side, Verdicts,
};
use crate::tables::{by, quantity, tally};

/// Rows of a table, and entries of a FIB, that are shown where nobody asks for all.
const SHOWN: usize = 20;

/// The text of a comparison; tables are shortened unless `all` is set.
#[must_use]
pub fn text(comparison: &Comparison, look: Look, all: bool) -> String {
    let mut text = String::new();
    let mut add = |part: String| {
        if !part.is_empty() {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&part);
        }
    };
    add(format!("{}{}", side("A", &comparison.a), side("B", &comparison.b)));
    add(comparison.notes.iter().map(|note| wrapped(note, look.width)).collect());
    add(differs(comparison, look));
    add(verdicts(&comparison.verdicts, look, all));
    add(figures("Figures", &comparison.figures, comparison.of, look, all));
    add(figures("Timings", &comparison.timings, comparison.of, look, all));
    add(fibs(&comparison.fibs, all));
    add(conclusion(comparison, look));
    text
}

fn side(letter: &str, side: &Side) -> String {
    format!("{letter}  {}\n   {}\n   {}\n", side.name, side.what, side.ended)
}

fn wrapped(note: &str, width: usize) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in note.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            let _ = writeln!(lines, "{line}");
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    lines + &line + "\n"
}

fn differs(comparison: &Comparison, look: Look) -> String {
    if comparison.differs.is_empty() {
        return String::new();
    }
    let mut table = Builder::new();
    table.push_record(["run differently", "A", "B"]);
    for row in &comparison.differs {
        table.push_record([&row.what, &row.a, &row.b]);
    }
    look.of(table) + "\n"
}

fn verdicts(verdicts: &Verdicts, look: Look, all: bool) -> String {
    let count = |shift| verdicts.changed.iter().filter(|change| change.shift == shift).count();
    let named = [Shift::Worse, Shift::Unjudged, Shift::NewlyFailing, Shift::Better, Shift::Other];
    let counted = named.into_iter().map(|shift| (count(shift), shift.label())).filter(|(count, _)| *count > 0);
    let counted: String = counted.map(|(count, label)| format!("; {count} {label}")).collect();
    let mut text = format!("Verdicts: {} the same{counted}\n", verdicts.same);
    for (what, rows) in [("worse", &verdicts.requirements_worse), ("better", &verdicts.requirements_better)] {
        if !rows.is_empty() {
            text += &wrapped(&format!("requirements {what}: {}", rows.join(" ")), look.width);
        }
    }
    if verdicts.changed.is_empty() {
        return text;
    }
    let mut table = Builder::new();
    table.push_record(["change", "case", "A", "B", "reason"]);
    for change in verdicts.changed.iter().take(shown(all)) {
        let case = with_values(&change.case, change.values.as_ref());
        let reason = change.reason.lines().next().unwrap_or_default().to_owned();
        table.push_record([change.shift.label().to_owned(), case, tally(&change.a), tally(&change.b), reason]);
    }
    text += &look.coloured(table, 0, colour_of);
    text + "\n" + &more(verdicts.changed.len(), all)
}

fn figures(title: &str, figures: &Figures, of: Compared, look: Look, all: bool) -> String {
    let unmatched = match figures.unmatched {
        0 => String::new(),
        count => format!("; {count} on one side only"),
    };
    let (compared, constant) = (figures.compared, figures.constant);
    if compared + figures.unmatched == 0 {
        return String::new();
    }
    let told = match of {
        Compared::Runs => String::new(),
        Compared::Sweeps => {
            let beyond = |change: &&FigureChange| change.judgement < Judgement::Perhaps;
            format!("; {} beyond noise", figures.changed.iter().filter(beyond).count())
        }
    };
    let mut text = format!("{title}: {compared} compared, {constant} the same{told}{unmatched}\n");
    if figures.changed.is_empty() {
        return text;
    }
    let mut table = Builder::new();
    let head = if of == Compared::Sweeps { "A (95 %)" } else { "A" };
    let other = if of == Compared::Sweeps { "B (95 %)" } else { "B" };
    table.push_record(["change", "figure", head, other, "by"]);
    for change in figures.changed.iter().take(shown(all)) {
        let unit = if change.unit.is_empty() { String::new() } else { format!(", {}", change.unit) };
        let figure = with_values(&format!("{}: {}{unit}", change.case, change.figure), change.values.as_ref());
        let cells = [quantity(&change.a), quantity(&change.b), by(change)];
        let [a, b, by] = cells;
        table.push_record([change.judgement.label().to_owned(), figure, a, b, by]);
    }
    text += &look.coloured(table, 0, colour_of);
    text + "\n" + &more(figures.changed.len(), all)
}

fn with_values(what: &str, values: Option<&String>) -> String {
    values.map_or_else(|| what.to_owned(), |values| format!("{what} [{values}]"))
}

fn fibs(changes: &[FibChange], all: bool) -> String {
    if changes.is_empty() {
        return "FIBs: the same\n".to_owned();
    }
    let mut text = format!("FIBs: {} differ (- only A, + only B)\n", changes.len());
    for change in changes {
        let pairs =
            change.pairs.map(|[changed, all]| format!(" in {changed} of {all} pairs of runs")).unwrap_or_default();
        let values = change.values.as_ref().map(|values| format!(" [{values}]")).unwrap_or_default();
        let _ = writeln!(text, "{}{pairs}{values}", change.node);
        let lines = change.only_a.iter().map(|row| ("-", row)).chain(change.only_b.iter().map(|row| ("+", row)));
        let count = change.only_a.len() + change.only_b.len();
        for (mark, row) in lines.take(shown(all)) {
            let _ = writeln!(text, "  {mark} {row}");
        }
        text += &more(count, all);
    }
    text
}

fn conclusion(comparison: &Comparison, look: Look) -> String {
    let worse = comparison.figures.changed.iter().filter(|change| change.judgement == Judgement::Worse).count();
    let cases = |shift| comparison.verdicts.changed.iter().filter(|change| change.shift == shift).count();
    let (line, colour) = match comparison.conclusion {
        Conclusion::Regression => (
            format!("REGRESSION: {} verdicts worse, {worse} figures worse beyond noise", cases(Shift::Worse)),
            Color::FG_RED,
        ),
        Conclusion::Unclear => (
            format!("UNCLEAR: nothing got worse, but {} cases that passed are not judged", cases(Shift::Unjudged)),
            Color::FG_YELLOW,
        ),
        Conclusion::NoRegression => ("NO REGRESSION".to_owned(), Color::FG_GREEN),
    };
    if look.colour { colour.colorize(line) + "\n" } else { line + "\n" }
}

const fn shown(all: bool) -> usize {
    if all { usize::MAX } else { SHOWN }
}

fn more(count: usize, all: bool) -> String {
    match count.checked_sub(shown(all)) {
        None | Some(0) => String::new(),
        Some(left) => format!("and {left} more: --all shows them\n"),
    }
}

fn colour_of(label: &str) -> Option<Color> {
    Some(match label {
        "worse" | "new, fails" => Color::FG_RED,
        "better" => Color::FG_GREEN,
        "not judged" | "perhaps" | "changed" => Color::FG_YELLOW,
        _ => return None,
    })
}
