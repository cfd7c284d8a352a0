//! Faults planted into this copy of the sources. It is no part of what is shipped: `damc-faults` adds it.

use std::sync::OnceLock;

/// Whether the fault of this name is the one that the environment variable `DAMC_FAULT` chooses.
#[must_use]
pub fn fault(name: &str) -> bool {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("DAMC_FAULT").ok()).as_deref() == Some(name)
}
