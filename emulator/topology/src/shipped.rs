//! The files in `topologies/`, for tests.

use std::path::Path;

use crate::Topology;

/// The text of a file, by its bare name.
macro_rules! shipped {
    ($($name:literal),*) => {
        /// Their names and texts.
        const ALL: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../topologies/", $name, ".yaml")))),*];
    };
}

shipped!("calculator", "fig2", "fig2-http", "grid", "line", "ring", "shop", "tiered");

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// A shipped topology.
pub fn topology(name: &str) -> Topology {
    let (_, text) = ALL.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is not shipped"));
    crate::parse(name, text, Path::new("/topologies")).unwrap_or_else(|mistakes| panic!("{name}: {mistakes}"))
}
