//! Quantities as they are written in a topology file: a number and its unit, `5ms`, `100mbit`, `0.1%`.

use core::fmt;

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number in front.
    #[error("`{0}` does not start with a number")]
    NoNumber(String),
    /// A number alone.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// A unit of something else, or of nothing.
    #[error("`{0}` is no unit of {1}")]
    UnknownUnit(String, &'static str),
    /// Below or above what is accepted.
    #[error("{0} is out of range")]
    OutOfRange(String),
}

/// Longest delay and jitter: 60 s.
pub const MAX_TIME_NS: u64 = 60_000_000_000;
/// Lowest rate, bit/s: one DAMC frame of full size takes 12 s.
pub const MIN_RATE_BPS: u64 = 1_000;
/// Highest rate, bit/s.
pub const MAX_RATE_BPS: u64 = 1_000_000_000_000;

/// Longest time of a timeline: an hour.
pub const MAX_SPAN_NS: u64 = 3_600_000_000_000;
/// Lowest and highest rate of requests, each second.
const REQUESTS: core::ops::RangeInclusive<f64> = 0.1..=10_000.0;

const SPAN_UNITS: &[(&str, u64)] =
    &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000), ("h", MAX_SPAN_NS)];
const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("kB", 1_000)];
const TIME_UNITS: &[(&str, u64)] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
const RATE_UNITS: &[(&str, u64)] =
    &[("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000), ("tbit", 1_000_000_000_000)];

/// Parses a time such as `250us`, `1.5ms` or `2s` into nanoseconds, at most [`MAX_TIME_NS`].
///
/// # Errors
/// See [`UnitError`].
pub fn time_ns(text: &str) -> Result<u64, UnitError> {
    let ns = scaled(text, TIME_UNITS, "time")?;
    if ns > MAX_TIME_NS {
        return Err(UnitError::OutOfRange(text.to_owned()));
    }
    Ok(ns)
}

/// Parses a time of the timeline, such as `150ms` or `2min`, into nanoseconds, at most [`MAX_SPAN_NS`].
///
/// # Errors
/// See [`UnitError`].
pub fn span_ns(text: &str) -> Result<u64, UnitError> {
    let ns = scaled(text, SPAN_UNITS, "time")?;
    if ns > MAX_SPAN_NS { Err(UnitError::OutOfRange(text.to_owned())) } else { Ok(ns) }
}

/// Parses requests each second, such as `200/s`, from 0.1 to 10000.
///
/// # Errors
/// See [`UnitError`].
pub fn per_second(text: &str) -> Result<f64, UnitError> {
    let (number, unit) = split(text)?;
    if unit != "/s" {
        return Err(UnitError::UnknownUnit(unit.to_owned(), "a rate of requests, which is written in /s"));
    }
    let rate: f64 = number.parse().map_err(|_| UnitError::NoNumber(text.to_owned()))?;
    if REQUESTS.contains(&rate) { Ok(rate) } else { Err(UnitError::OutOfRange(text.to_owned())) }
}

/// Parses a number of bytes such as `64B` or `1kB` (1000), at most `most`.
///
/// # Errors
/// See [`UnitError`].
pub fn bytes(text: &str, most: usize) -> Result<usize, UnitError> {
    let bytes = usize::try_from(scaled(text, SIZE_UNITS, "size")?).unwrap_or(usize::MAX);
    if bytes > most { Err(UnitError::OutOfRange(text.to_owned())) } else { Ok(bytes) }
}

/// Parses a rate such as `512kbit` or `1gbit` into bit/s, from [`MIN_RATE_BPS`] to [`MAX_RATE_BPS`].
///
/// # Errors
/// See [`UnitError`].
pub fn rate_bps(text: &str) -> Result<u64, UnitError> {
    let bps = scaled(text, RATE_UNITS, "rate")?;
    if !(MIN_RATE_BPS..=MAX_RATE_BPS).contains(&bps) {
        return Err(UnitError::OutOfRange(text.to_owned()));
    }
    Ok(bps)
}

/// Parses a share such as `0.1%` into a probability from 0 to 1.
///
/// # Errors
/// See [`UnitError`].
pub fn probability(text: &str) -> Result<f64, UnitError> {
    let (number, unit) = split(text)?;
    if unit != "%" {
        return Err(UnitError::UnknownUnit(unit.to_owned(), "a share, which is written in %"));
    }
    let percent: f64 = number.parse().map_err(|_| UnitError::NoNumber(text.to_owned()))?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(UnitError::OutOfRange(text.to_owned()));
    }
    Ok(percent / 100.0)
}

/// Splits `1.5ms` into `1.5` and `ms`.
fn split(text: &str) -> Result<(&str, &str), UnitError> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 || number.bytes().filter(|b| *b == b'.').count() > 1 {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    let unit = unit.trim();
    if unit.is_empty() { Err(UnitError::NoUnit(text.to_owned())) } else { Ok((number, unit)) }
}

/// The number times its unit, exactly; more digits than the smallest step has are out of range.
fn scaled(text: &str, units: &[(&str, u64)], what: &'static str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit(unit.to_owned(), what));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let out_of_range = || UnitError::OutOfRange(text.to_owned());
    let mut value: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| out_of_range())? };
    let mut divisor: u128 = 1;
    for digit in fraction.bytes() {
        divisor = divisor.checked_mul(10).ok_or_else(out_of_range)?;
        value = value.checked_mul(10).and_then(|v| v.checked_add(u128::from(digit - b'0'))).ok_or_else(out_of_range)?;
    }
    let scaled = value.checked_mul(u128::from(*factor)).ok_or_else(out_of_range)?;
    if !scaled.is_multiple_of(divisor) {
        return Err(out_of_range());
    }
    u64::try_from(scaled / divisor).map_err(|_| out_of_range())
}

/// Nanoseconds, printed in the largest unit that keeps them whole or to three digits: `1.5ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, TIME_UNITS)
    }
}

/// Bit/s, printed alike: `100mbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, RATE_UNITS)
    }
}

/// A probability, printed as a share: `0.1%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.0 * 100.0);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

fn write_scaled(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |factor: u64| value >= factor && value.checked_mul(1000).is_none_or(|v| v.is_multiple_of(factor));
    let (unit, factor) = units.iter().rev().find(|(_, factor)| fits(*factor)).copied().unwrap_or(units[0]);
    let thousandths = u128::from(value) * 1000 / u128::from(factor);
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    if rest == 0 {
        return write!(f, "{whole}{unit}");
    }
    write!(f, "{whole}.{}{unit}", format!("{rest:03}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_exact() {
        assert_eq!(time_ns("5ms"), Ok(5_000_000));
        assert_eq!(time_ns("1.5 ms"), Ok(1_500_000));
        assert_eq!(time_ns("0.000001s"), Ok(1_000));
        assert_eq!(time_ns("0ns"), Ok(0));
        assert_eq!(rate_bps("100mbit"), Ok(100_000_000));
        assert_eq!(rate_bps("2.5gbit"), Ok(2_500_000_000));
        assert_eq!(probability("0.1%"), Ok(0.001));
        assert_eq!(probability("100%"), Ok(1.0));
        assert_eq!(span_ns("2min"), Ok(120_000_000_000));
        assert_eq!(per_second("200/s"), Ok(200.0));
        assert_eq!(per_second("0.5 /s"), Ok(0.5));
        assert_eq!(bytes("1kB", 1000), Ok(1000));
    }

    #[test]
    fn wrong_quantities_say_why() {
        assert_eq!(time_ns("5"), Err(UnitError::NoUnit("5".into())));
        assert_eq!(time_ns("5mbit"), Err(UnitError::UnknownUnit("mbit".into(), "time")));
        assert_eq!(time_ns("fast"), Err(UnitError::NoNumber("fast".into())));
        assert_eq!(time_ns("-1ms"), Err(UnitError::NoNumber("-1ms".into())));
        assert_eq!(time_ns("0.5ns"), Err(UnitError::OutOfRange("0.5ns".into())));
        assert_eq!(time_ns("61s"), Err(UnitError::OutOfRange("61s".into())));
        assert_eq!(
            time_ns("99999999999999999999999999999999999999999s").map_err(|e| e.to_string().len() > 9),
            Err(true)
        );
        assert_eq!(rate_bps("0mbit"), Err(UnitError::OutOfRange("0mbit".into())));
        assert_eq!(probability("101%"), Err(UnitError::OutOfRange("101%".into())));
        assert_eq!(span_ns("61min"), Err(UnitError::OutOfRange("61min".into())));
        assert!(per_second("200").is_err() && per_second("200/min").is_err());
        assert_eq!(per_second("20000/s"), Err(UnitError::OutOfRange("20000/s".into())));
        assert_eq!(bytes("2kB", 1000), Err(UnitError::OutOfRange("2kB".into())));
        assert_eq!(probability("0.5"), Err(UnitError::NoUnit("0.5".into())));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ns in 0..MAX_TIME_NS / 1000) {
            // Three digits after the point are always enough up to the next unit.
            prop_assert_eq!(time_ns(&Time(ns).to_string()), Ok(ns));
            prop_assert_eq!(time_ns(&Time(ns * 1000).to_string()), Ok(ns * 1000));
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = (time_ns(&text), rate_bps(&text), probability(&text));
        }
    }
}
