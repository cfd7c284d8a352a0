//! Values that JSON names by a label.

use damc_wire::{DropReason, MessageType, RefusalReason, Role};

/// A value with a name in counters, logs and JSON.
pub trait Label: Copy {
    /// Its name.
    fn label(self) -> &'static str;
    /// The value of this name.
    fn from_label(label: &str) -> Option<Self>;
}

macro_rules! labels_of_the_wire {
    ($($name:ident)*) => {
        $(impl Label for $name {
            fn label(self) -> &'static str { Self::label(self) }

            fn from_label(label: &str) -> Option<Self> { Self::from_label(label) }
        })*
    };
}

labels_of_the_wire! { DropReason MessageType RefusalReason Role }

/// `#[serde(with = "label::plain")]`: a field that holds a label.
pub(crate) mod plain {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Label, parsed};

    pub(crate) fn serialize<T: Label, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.label())
    }

    pub(crate) fn deserialize<'de, T: Label, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        parsed(&String::deserialize(deserializer)?)
    }
}

/// `#[serde(with = "label::optional")]`: a field that holds a label or null. An absent one needs `default` as well.
pub(crate) mod optional {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{Label, parsed};

    pub(crate) fn serialize<T: Label, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(T::label).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Label, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|label| parsed(&label)).transpose()
    }
}

fn parsed<T: Label, E: serde::de::Error>(label: &str) -> Result<T, E> {
    T::from_label(label).ok_or_else(|| E::custom(format!("{label:?} is no known label")))
}
