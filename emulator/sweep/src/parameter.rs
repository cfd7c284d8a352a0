//! A parameter of a sweep: a path into the topology file, and the values to try.

use core::fmt;
use core::str::FromStr;

use damc_topology::{Quantity, Setting, SettingError, SettingPath};
use serde::{Deserialize, Serialize};

/// Why a text is no parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The path, or there is no value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Nothing between two commas.
    #[error("{0}: one of its values is empty; write PATH=V1,V2 without a comma at the end")]
    EmptyValue(SettingPath),
    /// The same value twice.
    #[error("{0}: the value `{1}` is there twice")]
    SameValue(SettingPath, String),
}

/// A path and its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Where in the file.
    pub path: SettingPath,
    /// The values, as they were given.
    pub values: Vec<String>,
}

impl FromStr for Parameter {
    type Err = ParameterError;

    /// Reads `PATH=V1,V2`. Commas inside of brackets, braces and quotes part no values.
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        let Setting { path, value } = text.parse()?;
        let values: Vec<String> = parts(&value).into_iter().map(|part| part.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err(ParameterError::EmptyValue(path));
        }
        let twice = values.iter().enumerate().find(|(index, value)| values[..*index].contains(value));
        match twice {
            Some((_, value)) => Err(ParameterError::SameValue(path, value.clone())),
            None => Ok(Self { path, values }),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.values.join(","))
    }
}

/// The parts between commas that stand in no brackets and no quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                found.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}

impl Parameter {
    /// What all its values measure: numbers of one unit, or none where one of them is another kind of text.
    #[must_use]
    pub fn quantities(&self) -> Option<Vec<Quantity>> {
        let all: Vec<Quantity> = self.values.iter().map(|value| Quantity::of(value)).collect::<Option<_>>()?;
        let unit = all.first()?.unit();
        all.iter().all(|quantity| quantity.unit() == unit).then_some(all)
    }

    /// The unit of all its values, where they have one.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        self.quantities()?.first()?.unit()
    }

    /// The name of its column: the path, and the unit where it has one.
    #[must_use]
    pub fn column(&self) -> String {
        let path = crate::tables::slug(&self.path.to_string());
        self.unit().map_or_else(|| path.clone(), |unit| format!("{path}_{unit}"))
    }

    /// What its column says for a value.
    #[must_use]
    pub fn cell(&self, value: &str) -> String {
        match (self.quantities(), Quantity::of(value)) {
            (Some(_), Some(quantity)) => quantity.value().to_string(),
            _ => value.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parameter {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn values_are_parted_by_commas_outside_of_brackets() {
        assert_eq!(read("links.wan.delay=10ms, 20ms").values, ["10ms", "20ms"]);
        let bursts = read("links.wan.loss=1%,{ model: gilbert-elliott, p: 1%, r: 10% },[a, b],\"c,d\"");
        assert_eq!(bursts.values, ["1%", "{ model: gilbert-elliott, p: 1%, r: 10% }", "[a, b]", "\"c,d\""]);
        assert_eq!(read("a.b=1,2").to_string(), "a.b=1,2");
    }

    #[test]
    fn columns_have_a_name_for_every_reader_and_the_unit() {
        let delay = read("links.wan.delay=500us,1.5ms,2s");
        assert_eq!(delay.column(), "links_wan_delay_ms");
        assert_eq!(delay.values.iter().map(|v| delay.cell(v)).collect::<Vec<_>>(), ["0.5", "1.5", "2000"]);
        assert_eq!(read("defaults.link.rate=10mbit,1gbit").column(), "defaults_link_rate_mbit");
        let loss = read("links.wan.loss=0.1%,{ model: gilbert-elliott, p: 1%, r: 10% }");
        assert_eq!((loss.column(), loss.cell("0.1%")), ("links_wan_loss".into(), "0.1%".into()));
        let weight = read("nodes.pod-1.services./A/1.weight=1,2");
        assert_eq!(weight.column(), "nodes_pod_1_services_a_1_weight");
    }

    #[test]
    fn mistakes_are_told() {
        let wrong = |text: &str| text.parse::<Parameter>().unwrap_err();
        assert!(matches!(wrong("a"), ParameterError::Setting(SettingError::NoValue(_))));
        assert!(matches!(wrong("a..b=1"), ParameterError::Setting(SettingError::BadPath(_))));
        assert!(matches!(wrong("a=1,,2"), ParameterError::EmptyValue(_)));
        assert!(matches!(wrong("a=1,2,"), ParameterError::EmptyValue(_)));
        assert_eq!(wrong("a=1,2,1"), ParameterError::SameValue("a".parse().unwrap(), "1".into()));
    }
}
