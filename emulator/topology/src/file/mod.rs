//! The YAML file of a topology: reading, checking, and what is wrong with it.

use std::path::Path;

mod connect;
mod decode;
mod document;
mod link;
mod measure;
mod mistake;
mod program;
mod quantity;
mod schema;
mod setting;
mod timeline;
mod unit;
mod validate;

pub use document::MAX_VALUES;
pub use link::{PropertyError, describe, set_property};
pub use mistake::{Mistake, MistakeKind, Mistakes};
pub use quantity::Quantity;
pub use schema::schema;
pub use setting::{Setting, SettingError, SettingPath, with_settings};

use crate::topology::Topology;

/// Longest file, in bytes.
pub const MAX_FILE_LEN: u64 = 8 << 20;

/// Checks the text of a topology file. `file` is its name in messages, `folder` the absolute path of the folder it lies
/// in: programs are looked for from there.
///
/// # Errors
/// All mistakes of the text.
pub fn parse(file: &str, source: &str, folder: &Path) -> Result<Topology, Mistakes> {
    let parsed = decode::topology(source, folder).map_err(|mistakes| Mistakes::new(file, source, mistakes))?;
    Ok(parsed.0)
}

/// Like [`parse`], for a topology that is to be brought up: what this version describes but cannot do yet counts as a
/// mistake too.
///
/// # Errors
/// All mistakes of the text; of a text without mistakes, all places that ask for what is not available.
pub fn parse_runnable(file: &str, source: &str, folder: &Path) -> Result<Topology, Mistakes> {
    let (topology, pending) =
        decode::topology(source, folder).map_err(|mistakes| Mistakes::new(file, source, mistakes))?;
    if pending.is_empty() { Ok(topology) } else { Err(Mistakes::new(file, source, pending)) }
}
