//! What a written value measures: for tables and axes that need a number and its unit.

use super::unit;

/// A value that can be computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// A time, ns.
    Time(u64),
    /// A rate, bit/s.
    Rate(u64),
    /// A share, percent.
    Percent(f64),
    /// A number without unit.
    Number(f64),
}

impl Quantity {
    /// Reads a value as topology files write it: `5ms`, `100mbit`, `0.1%`, `3`. None for other texts.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(ns) = unit::time_ns(text) {
            return Some(Self::Time(ns));
        }
        if let Ok(bps) = unit::rate_bps(text) {
            return Some(Self::Rate(bps));
        }
        if unit::probability(text).is_ok() {
            return text.strip_suffix('%')?.trim().parse().ok().map(Self::Percent);
        }
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Number)
    }

    /// The unit in names of columns; none for a plain number.
    #[must_use]
    pub const fn unit(self) -> Option<&'static str> {
        match self {
            Self::Time(_) => Some("ms"),
            Self::Rate(_) => Some("mbit"),
            Self::Percent(_) => Some("percent"),
            Self::Number(_) => None,
        }
    }

    /// The number, in [`Self::unit`].
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most 60 s in ns, and 1 Tbit/s")]
    pub const fn value(self) -> f64 {
        match self {
            Self::Time(ns) => ns as f64 / 1e6,
            Self::Rate(bps) => bps as f64 / 1e6,
            Self::Percent(value) | Self::Number(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_numbers_and_units() {
        let said = |text: &str| Quantity::of(text).map(|q| (q.value(), q.unit()));
        assert_eq!(said("250us"), Some((0.25, Some("ms"))));
        assert_eq!(said("1.5 s"), Some((1500.0, Some("ms"))));
        assert_eq!(said("2.5gbit"), Some((2500.0, Some("mbit"))));
        assert_eq!(said("0.7%"), Some((0.7, Some("percent"))));
        assert_eq!(said("10"), Some((10.0, None)));
        for text in ["", "fast", "5 parsecs", "120%", "inf", "nan", "{ model: x }"] {
            assert_eq!(said(text), None, "{text}");
        }
    }
}
