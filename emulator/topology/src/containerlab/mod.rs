//! Containerlab's topology files (`.clab.yml`): a topology as one, and topologies and maps out of them.
//!
//! What containerlab has no place for stands in its own `vars`, which it hands to nobody that does not ask: under
//! `config: { vars: { damc: … } }` of a node what our file says of the node, of `defaults` what it says of all, and under
//! `vars: { damc: … }` of a link what it says of the link. So a file that was exported is read back as it was, also after
//! somebody has changed nodes or links in it. A file without them is a map, as other formats are.

mod export;
mod read;
#[cfg(test)]
mod tests;

pub use export::{Export, FOLDER, NotExported, export};
pub(crate) use read::map;
pub use read::restored;

/// The key of `vars` that holds what is ours.
const VARS: &str = "damc";
/// What an exported file is restored from: keys of ours besides nodes and links.
const WHOLE: [&str; 4] = ["domain", "licences", "qos", "events"];
