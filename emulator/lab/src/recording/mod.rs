//! The recording of a lab: every DAMC frame and every IPv6 packet at every node port, both ways, with kernel stamps.
//!
//! A folder with `header.json` ([`Header`]) and numbered segments (`00000000.rec`, …), of which the newest are kept: a
//! lab may run for days on a bounded disk. A segment is a run of records: length of the frame (u16), port number in the
//! header (u16), flags (u8, bit 0: sent by the node), stamp (u64, `CLOCK_MONOTONIC` ns), all little-endian, then the
//! Ethernet frame. The recorder drains one namespace after the other, so records of different nodes are in order of
//! their stamps only within some milliseconds, more on a busy host.

mod reader;
mod writer;

pub use damc_testbed::recording::{
    CaptureError, CaptureItem, Entry, Header, Record, RecordedPort, Wanted, is_ipv6, pcapng_length, pcapng_record,
    pcapng_start, read_capture,
};
pub use reader::Recording;
pub(crate) use writer::Writer;

use std::path::{Path, PathBuf};

/// Bytes before the frame in a record.
const RECORD_HEADER: usize = 13;
const SENT: u8 = 1;
/// How many segments the bound on a recording is divided into.
const SEGMENTS: u64 = 8;

fn header_path(folder: &Path) -> PathBuf {
    folder.join("header.json")
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.rec"))
}

/// The bytes before the frame of a record.
fn encode_head(length: u16, port: u16, sent: bool, at_ns: u64) -> [u8; RECORD_HEADER] {
    let mut head = [0; RECORD_HEADER];
    head[0..2].copy_from_slice(&length.to_le_bytes());
    head[2..4].copy_from_slice(&port.to_le_bytes());
    head[4] = if sent { SENT } else { 0 };
    head[5..13].copy_from_slice(&at_ns.to_le_bytes());
    head
}

fn decode_head(head: &[u8; RECORD_HEADER]) -> (u16, u16, bool, u64) {
    let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let mut stamp = [0; 8];
    stamp.copy_from_slice(&head[5..13]);
    (word(0), word(2), head[4] & SENT != 0, u64::from_le_bytes(stamp))
}

#[cfg(test)]
mod tests;
