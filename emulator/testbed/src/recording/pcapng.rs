//! Recordings as pcapng, for Wireshark and its kind (draft-ietf-opsawg-pcapng): one interface for each port
//! (`node:port`), nanosecond stamps of the realtime clock, the direction of each packet, and comments.

use std::io::{self, Write};

use super::{Header, Record, RecordedPort};

// draft-ietf-opsawg-pcapng, sections 4.1 to 4.3.
const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u32 = 1;
const OPT_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Writes the beginning of a pcapng file: section, with `comment`, and interfaces.
///
/// # Errors
/// What the writer gives.
pub fn pcapng_start(out: &mut impl Write, header: &Header, comment: &str) -> io::Result<()> {
    // Byte-order magic, version 1.0, section length unknown.
    let mut body = Vec::new();
    body.extend(0x1A2B_3C4D_u32.to_le_bytes());
    body.extend([1, 0, 0, 0]);
    body.extend(u64::MAX.to_le_bytes());
    option(&mut body, OPT_COMMENT, comment.as_bytes());
    option(&mut body, 0, &[]);
    block(out, SECTION_HEADER, &body)?;
    for port in &header.ports {
        let mut body = Vec::new();
        body.extend(LINKTYPE_ETHERNET.to_le_bytes());
        body.extend(0_u32.to_le_bytes());
        option(&mut body, IF_NAME, format!("{}:{}", port.node, port.port).as_bytes());
        // Stamps count 10^-9 s.
        option(&mut body, IF_TSRESOL, &[9]);
        option(&mut body, 0, &[]);
        block(out, INTERFACE_DESCRIPTION, &body)?;
    }
    Ok(())
}

/// Bytes that a frame and its comments take in a pcapng file.
#[must_use]
pub fn pcapng_length(frame: &[u8], comments: &[String]) -> usize {
    // Block header and length, packet header, flags and end of options.
    let fixed = 12 + 20 + 8 + 4;
    let of_comment = |text: &String| 4 + text.len().min(usize::from(u16::MAX)).next_multiple_of(4);
    fixed + frame.len().next_multiple_of(4) + comments.iter().map(of_comment).sum::<usize>()
}

/// Writes one frame with comments of its own. A frame of a port that the header lacks is left out.
///
/// # Errors
/// What the writer gives.
pub fn pcapng_record(out: &mut impl Write, header: &Header, record: &Record, comments: &[String]) -> io::Result<()> {
    let of_record = |port: &RecordedPort| port.node == record.node && port.port == record.port;
    let Some(interface) = header.ports.iter().position(of_record) else { return Ok(()) };
    let at_ns = record.at_ns.saturating_add_signed(header.realtime_offset_ns);
    let length = u32::try_from(record.frame.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(record.frame.len() + 48);
    body.extend(u32::try_from(interface).unwrap_or(u32::MAX).to_le_bytes());
    body.extend(u32::try_from(at_ns >> 32).unwrap_or(u32::MAX).to_le_bytes());
    body.extend(u32::try_from(at_ns & 0xffff_ffff).unwrap_or(u32::MAX).to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(&record.frame);
    body.resize(body.len().next_multiple_of(4), 0);
    comments.iter().for_each(|comment| option(&mut body, OPT_COMMENT, comment.as_bytes()));
    option(&mut body, EPB_FLAGS, &if record.sent { OUTBOUND } else { INBOUND }.to_le_bytes());
    option(&mut body, 0, &[]);
    block(out, ENHANCED_PACKET, &body)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length)?;
    out.write_all(body)?;
    out.write_all(&length)
}
