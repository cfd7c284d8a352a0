//! Words and numbers of the printed tables.

use crate::model::{FigureChange, Judgement, Quantity, Shift, Tally};

impl Shift {
    /// Its name in tables.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Unjudged => "not judged",
            Self::NewlyFailing => "new, fails",
            Self::Better => "better",
            Self::Other => "other",
        }
    }
}

impl Judgement {
    /// Its name in tables.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Changed => "changed",
            Self::Perhaps => "perhaps",
            Self::Noise => "noise",
            Self::Untold => "not told",
        }
    }
}

/// Verdicts as a cell: one by its name, several by their numbers.
pub(crate) fn tally(tally: &Tally) -> String {
    let parts = [
        (tally.pass, "pass"),
        (tally.fail, "fail"),
        (tally.inconclusive, "inconclusive"),
        (tally.exception, "exception"),
    ];
    let several = parts.iter().map(|(count, _)| count).sum::<usize>() > 1;
    let said = parts.into_iter().filter(|(count, _)| *count > 0);
    let said: Vec<String> =
        said.map(|(count, name)| if several { format!("{count} {name}") } else { name.to_owned() }).collect();
    if said.is_empty() { "-".to_owned() } else { said.join(", ") }
}

/// A number in four significant digits at least, without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = usize::try_from(3 - digits).unwrap_or(0).min(6);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// What one side says: the median, with its interval where there is one.
pub(crate) fn quantity(quantity: &Quantity) -> String {
    let median = number(quantity.median);
    match quantity.interval {
        Some([low, high]) if low < high => format!("{median} ({}–{})", number(low), number(high)),
        _ => median,
    }
}

/// By how much: with its interval where there is one, else as a share of what it was.
pub(crate) fn by(change: &FigureChange) -> String {
    let signed = |value: f64| format!("{}{}", if value > 0.0 { "+" } else { "" }, number(value));
    match change.interval {
        Some([low, high]) if low < high => format!("{} ({} to {})", signed(change.by), signed(low), signed(high)),
        None if change.a.median != 0.0 => {
            format!("{} ({}%)", signed(change.by), signed((change.by / change.a.median * 1000.0).round() / 10.0))
        }
        Some(_) | None => signed(change.by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let said = [0.0, 5.0, 0.25, 1234.5678, 98_765.4, 0.001_234_6, -12.34567].map(number);
        assert_eq!(said, ["0", "5", "0.25", "1235", "98765", "0.001235", "-12.35"]);
    }

    #[test]
    fn tallies() {
        let of = |pass, fail| tally(&Tally { pass, fail, ..Tally::default() });
        assert_eq!([of(0, 0), of(1, 0), of(2, 1)], ["-", "pass", "2 pass, 1 fail"]);
    }
}
