//! The seeds of a sweep.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::grid::MAX_RUNS;

/// Why a text names no seeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedsError {
    /// Neither a number nor a range.
    #[error("`{0}` is no seed: write a number, a range such as 1..100 (the last one counts), or several with commas")]
    NotANumber(String),
    /// A range that goes down.
    #[error("the range `{0}` is empty: its end lies before its begin")]
    Empty(String),
    /// A seed is there twice.
    #[error("seed {0} is there twice")]
    Twice(u64),
    /// More than a sweep can have.
    #[error("`{0}` has more than {MAX_RUNS} seeds")]
    TooMany(String),
}

/// Seeds in the order they were given, each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Seeds(Vec<u64>);

impl Seeds {
    /// The seeds.
    #[must_use]
    pub fn list(&self) -> &[u64] {
        &self.0
    }
}

impl FromStr for Seeds {
    type Err = SeedsError;

    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let mut seeds = Vec::new();
        let mut known = std::collections::HashSet::new();
        for part in text.split(',').map(str::trim) {
            let number = |digits: &str| digits.trim().parse().map_err(|_| SeedsError::NotANumber(part.to_owned()));
            let (first, last): (u64, u64) = match part.split_once("..") {
                Some((first, last)) => (number(first)?, number(last.strip_prefix('=').unwrap_or(last))?),
                None => (number(part)?, number(part)?),
            };
            if last < first {
                return Err(SeedsError::Empty(part.to_owned()));
            }
            if last - first >= MAX_RUNS as u64 - seeds.len() as u64 {
                return Err(SeedsError::TooMany(text.to_owned()));
            }
            for seed in first..=last {
                if !known.insert(seed) {
                    return Err(SeedsError::Twice(seed));
                }
                seeds.push(seed);
            }
        }
        Ok(Self(seeds))
    }
}

impl TryFrom<String> for Seeds {
    type Error = SeedsError;
    fn try_from(text: String) -> Result<Self, SeedsError> {
        text.parse()
    }
}

impl From<Seeds> for String {
    fn from(seeds: Seeds) -> Self {
        seeds.to_string()
    }
}

impl fmt::Display for Seeds {
    /// Runs of neighbours as ranges.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &seed in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(seed) => *last = seed,
                _ => ranges.push((seed, seed)),
            }
        }
        let said = |(first, last)| if first == last { format!("{first}") } else { format!("{first}..{last}") };
        f.write_str(&ranges.into_iter().map(said).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_their_end() {
        let read = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(read("1..4"), Ok(vec![1, 2, 3, 4]));
        assert_eq!(read("7, 1..=2"), Ok(vec![7, 1, 2]));
        assert_eq!(read("18446744073709551615"), Ok(vec![u64::MAX]));
        assert_eq!(read("4..1"), Err(SeedsError::Empty("4..1".into())));
        assert_eq!(read("1..3,2"), Err(SeedsError::Twice(2)));
        assert_eq!(read("a"), Err(SeedsError::NotANumber("a".into())));
        assert_eq!(read(""), Err(SeedsError::NotANumber(String::new())));
        assert!(matches!(read("0..18446744073709551615"), Err(SeedsError::TooMany(_))));
    }

    #[test]
    fn they_are_written_as_they_are_read() {
        for text in ["1..100", "5", "7,1..2,9"] {
            assert_eq!(text.parse::<Seeds>().unwrap().to_string(), text);
        }
    }
}
