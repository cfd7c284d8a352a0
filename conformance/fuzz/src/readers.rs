//! What reads files and requests.

use std::path::Path;

use damc_mgmt::command::Command;
use damc_topology::containerlab::restored;
use damc_topology::generate::{Format, import as import_map};
use damc_topology::parse;

/// Every mistake of a topology file has a place within the file.
pub fn topology(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse("fuzz.yaml", text, Path::new("/nowhere")) {
        Ok(topology) => assert!(!topology.nodes().is_empty()),
        Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
    }
}

/// Maps in four formats; the first byte chooses. What was exported is put together as well, and then is a topology or has
/// mistakes.
pub fn import(data: &[u8]) {
    let Some((format, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let format = [Format::Gml, Format::GraphMl, Format::MiniNdn, Format::Containerlab][usize::from(format % 4)];
    let _ = import_map(text, format, "map");
    if format == Format::Containerlab
        && let Ok(Some(whole)) = restored(text)
    {
        topology(whole.as_bytes());
    }
}

/// An order that is understood is written as it was read.
pub fn order(data: &[u8]) {
    let Ok(command) = serde_json::from_slice::<Command>(data) else { return };
    let text = serde_json::to_vec(&command).expect("an order can be written");
    assert_eq!(serde_json::from_slice::<Command>(&text).expect("an order can be read"), command);
}
