//! The YAML file of a topology: reading, checking, and what is wrong with it.

use std::path::Path;

mod connect;
mod decode;
pub(crate) mod document;
mod link;
mod measure;
mod mistake;
mod program;
mod quantity;
mod schema;
mod setting;
mod timeline;
pub(crate) mod unit;
mod validate;

pub use document::MAX_VALUES;
pub(crate) use document::{Data, Yaml};
pub(crate) use link::distribution_label;
pub use link::{PropertyError, describe, set_property};
pub use mistake::{Mistake, MistakeKind, Mistakes};
pub use quantity::Quantity;
pub use schema::schema;
pub use setting::{Setting, SettingError, SettingPath, with_settings};
pub(crate) use unit::{Rate, Share, Time};

use crate::topology::Topology;

/// Longest file, in bytes.
pub const MAX_FILE_LEN: u64 = 8 << 20;

/// What reads the files that a topology names.
pub type Files<'a> = dyn Fn(&Path) -> Result<String, String> + 'a;

/// Checks the text of a topology file. `file` is its name in messages, `folder` the absolute path of the folder it lies
/// in: programs are looked for from there.
///
/// # Errors
/// All mistakes of the text.
pub fn parse(file: &str, source: &str, folder: &Path) -> Result<Topology, Mistakes> {
    parse_with(file, source, folder, &|_| Err("no other file is read here".to_owned()))
}

/// Like [`parse`], with what reads the files that the text names: a path gives a text, or why there is none.
///
/// # Errors
/// All mistakes of the text, and of those files.
pub fn parse_with(file: &str, source: &str, folder: &Path, files: &Files<'_>) -> Result<Topology, Mistakes> {
    let parsed = decode::topology(source, folder, files).map_err(|mistakes| Mistakes::new(file, source, mistakes))?;
    Ok(parsed.0)
}

/// Like [`parse_with`], for a topology that is to be brought up: what this version describes but cannot do yet counts as a
/// mistake too.
///
/// # Errors
/// All mistakes of the text; of a text without mistakes, all places that ask for what is not available.
pub fn parse_runnable(file: &str, source: &str, folder: &Path, files: &Files<'_>) -> Result<Topology, Mistakes> {
    let (topology, pending) =
        decode::topology(source, folder, files).map_err(|mistakes| Mistakes::new(file, source, mistakes))?;
    if pending.is_empty() { Ok(topology) } else { Err(Mistakes::new(file, source, pending)) }
}
