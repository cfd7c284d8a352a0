//! What reads files and requests.

use std::path::Path;

use damc_mgmt::command::Command;
use damc_testbed::recording::{CaptureItem, read_capture};
use damc_topology::containerlab::restored;
use damc_topology::generate::{Format, import as import_map};
use damc_topology::parse;
use damc_wire::Role;

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

/// A capture file in any of its formats: what is told of frames was in it.
pub fn capture(data: &[u8]) {
    let (mut told, mut items) = (0, 0);
    let read = read_capture(data, |item| {
        items += 1;
        if let CaptureItem::Frame { frame, .. } = item {
            told += frame.len();
        }
        Ok(())
    });
    assert!(told <= data.len() && items <= data.len(), "{told} bytes and {items} items of {}", data.len());
    if let Err(error) = read {
        assert!(!error.to_string().is_empty());
    }
}

/// Bytes of one connection to the management interface of a node; the first byte chooses its role. It ends, and nothing in it
/// fails.
pub fn management(data: &[u8]) {
    let Some((role, request)) = data.split_first() else { return };
    let role = [Role::Sg, Role::Sr, Role::Spa, Role::Scsc, Role::Pod][usize::from(role % 5)];
    let answers = damc_daemon::management_answers(role, &["sr-a"], request).expect("it ends");
    for line in answers.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"HTTP/1.1 ")) {
        // 503 is what a node says that is ending.
        assert!(line.first() != Some(&b'5') || line.starts_with(b"503"), "{}", String::from_utf8_lossy(line));
    }
}
