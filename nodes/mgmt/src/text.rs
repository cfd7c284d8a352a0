//! Names and node identities as the text they are written as.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error;

fn parsed<T: FromStr<Err: Display>, E: Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(|e| E::custom(format!("{text:?}: {e}")))
}

/// `#[serde(with = "text::plain")]`.
pub(crate) mod plain {
    use super::{Display, FromStr, parsed};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        parsed(&String::deserialize(deserializer)?)
    }
}

/// `#[serde(with = "text::optional")]`: text or null. An absent field needs `default` as well.
pub(crate) mod optional {
    use super::{Display, FromStr, parsed};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| parsed(&text)).transpose()
    }
}
