//! The recording of a lab: every DAMC frame at every node port, both ways, with kernel stamps.
//!
//! `frames.rec` is one line of JSON ([`Header`]), then records: length of the frame (u16), port number in the header (u16),
//! flags (u8, bit 0: sent by the node), stamp (u64, `CLOCK_MONOTONIC` ns), all little-endian, then the Ethernet frame.
//! The recorder drains one namespace after the other, so records of different nodes are in order of their stamps only
//! within some milliseconds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};

/// Bytes of an Ethernet header, which precedes the PDU in a frame.
const ETHERNET_HEADER: usize = 14;
/// Bytes before the frame in a record.
pub(crate) const RECORD_HEADER: usize = 13;
const SENT: u8 = 1;

/// First line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the lab.
    pub lab: String,
    /// Realtime minus monotonic clock when the recording began, ns.
    pub realtime_offset_ns: i64,
    /// Every port of every node.
    pub ports: Vec<RecordedPort>,
}

/// A port that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPort {
    /// Node.
    pub node: String,
    /// Port: the neighbour's name.
    pub port: String,
    /// Interface in the node's namespace.
    pub interface: String,
}

/// A recorded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Kernel stamp, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// Node.
    pub node: String,
    /// Port: the neighbour's name.
    pub port: String,
    /// The node sent it; else it received it.
    pub sent: bool,
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
}

impl Record {
    /// The PDU: what follows the Ethernet header.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        self.frame.get(ETHERNET_HEADER..).unwrap_or_default()
    }
}

/// Which records are wanted. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this node.
    pub node: Option<String>,
    /// Only those of this port.
    pub port: Option<String>,
    /// Only sent ones, or only received ones.
    pub sent: Option<bool>,
    /// Not before, `CLOCK_MONOTONIC` ns.
    pub from_ns: Option<u64>,
    /// Before, `CLOCK_MONOTONIC` ns.
    pub until_ns: Option<u64>,
}

impl Wanted {
    fn takes(&self, at_ns: u64, port: &RecordedPort, sent: bool) -> bool {
        self.node.as_ref().is_none_or(|node| *node == port.node)
            && self.port.as_ref().is_none_or(|wanted| *wanted == port.port)
            && self.sent.is_none_or(|wanted| wanted == sent)
            && self.from_ns.is_none_or(|from| at_ns >= from)
            && self.until_ns.is_none_or(|until| at_ns < until)
    }
}

/// A recording that is being read, while it grows too.
#[derive(Debug)]
pub struct Recording {
    file: File,
    header: Header,
    /// Where the next record begins.
    position: u64,
    path: String,
}

impl Recording {
    /// Opens a recording at its first record.
    ///
    /// # Errors
    /// When the file cannot be read or is none of ours.
    pub fn open(path: &Path) -> Result<Self> {
        let text = path.display().to_string();
        let file = File::open(path).map_err(LabError::io(format!("open the recording {text}")))?;
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        let length = reader.read_line(&mut line).map_err(LabError::io(format!("read {text}")))?;
        let header = serde_json::from_str(&line).map_err(|error| LabError::Lab(format!("{text}: {error}")))?;
        drop(reader);
        Ok(Self { file, header, position: length as u64, path: text })
    }

    /// What was recorded where.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Goes to the end as it is now: the next reading gives what is recorded from here on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn skip_to_end(&mut self) -> Result<()> {
        // Record by record, because the end of the file may lie within one that is being written.
        self.each(&Wanted { until_ns: Some(0), ..Wanted::default() }, |_| {})
    }

    /// The wanted records written since the last reading, in the order of their stamps.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self, wanted: &Wanted) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        self.each(wanted, |record| records.push(record))?;
        records.sort_by_key(|record| record.at_ns);
        Ok(records)
    }

    fn each(&mut self, wanted: &Wanted, mut tell: impl FnMut(Record)) -> Result<()> {
        let doing = || format!("read {}", self.path);
        self.file.seek(SeekFrom::Start(self.position)).map_err(LabError::io(doing()))?;
        let mut reader = BufReader::with_capacity(1 << 18, &self.file);
        let mut head = [0; RECORD_HEADER];
        let mut frame = Vec::new();
        loop {
            if !filled(&mut reader, &mut head).map_err(LabError::io(doing()))? {
                return Ok(());
            }
            let (length, port, sent, at_ns) = decode_head(&head);
            frame.resize(length, 0);
            if !filled(&mut reader, &mut frame).map_err(LabError::io(doing()))? {
                return Ok(());
            }
            self.position += (RECORD_HEADER + length) as u64;
            let Some(port) = self.header.ports.get(port) else { continue };
            if wanted.takes(at_ns, port, sent) {
                let (node, port) = (port.node.clone(), port.port.clone());
                tell(Record { at_ns, node, port, sent, frame: frame.clone() });
            }
        }
    }
}

/// Fills the buffer; false where the file ends before.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The bytes before the frame of a record.
pub(crate) fn encode_head(length: u16, port: u16, sent: bool, at_ns: u64) -> [u8; RECORD_HEADER] {
    let mut head = [0; RECORD_HEADER];
    head[0..2].copy_from_slice(&length.to_le_bytes());
    head[2..4].copy_from_slice(&port.to_le_bytes());
    head[4] = if sent { SENT } else { 0 };
    head[5..13].copy_from_slice(&at_ns.to_le_bytes());
    head
}

fn decode_head(head: &[u8; RECORD_HEADER]) -> (usize, usize, bool, u64) {
    let word = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let mut stamp = [0; 8];
    stamp.copy_from_slice(&head[5..13]);
    (word(0), word(2), head[4] & SENT != 0, u64::from_le_bytes(stamp))
}

/// Writes records as pcapng: one interface for each port (`node:port`), nanosecond stamps of the realtime clock, the
/// direction of each packet, and `comment` on the section.
///
/// # Errors
/// What the writer gives.
pub fn write_pcapng<'a>(
    out: &mut impl Write,
    header: &Header,
    comment: &str,
    records: impl IntoIterator<Item = &'a Record>,
) -> io::Result<()> {
    pcapng_start(out, header, comment)?;
    for record in records {
        pcapng_record(out, header, record)?;
    }
    Ok(())
}

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

/// Writes the beginning of a pcapng file: section and interfaces.
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

/// Writes one frame.
///
/// # Errors
/// What the writer gives.
pub fn pcapng_record(out: &mut impl Write, header: &Header, record: &Record) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let port = |node: &str, port: &str| RecordedPort {
            node: node.to_owned(),
            port: port.to_owned(),
            interface: "p0".to_owned(),
        };
        Header {
            lab: "line".to_owned(),
            realtime_offset_ns: 1_000,
            ports: vec![port("sg-1", "sr-1"), port("sr-1", "sg-1")],
        }
    }

    fn record(at_ns: u64, node: &str, port: &str, sent: bool) -> Record {
        let mut frame = vec![0xff; ETHERNET_HEADER];
        frame.extend([1, 2, 3]);
        Record { at_ns, node: node.to_owned(), port: port.to_owned(), sent, frame }
    }

    fn bytes(record: &Record, port: u16) -> Vec<u8> {
        let length = u16::try_from(record.frame.len()).expect("short");
        let mut bytes = encode_head(length, port, record.sent, record.at_ns).to_vec();
        bytes.extend(&record.frame);
        bytes
    }

    #[test]
    fn a_growing_recording_gives_whole_records_in_time_order() {
        let path = std::env::temp_dir().join(format!("damc-recording-{}", std::process::id()));
        let (first, second) = (record(20, "sg-1", "sr-1", true), record(10, "sr-1", "sg-1", false));
        let mut file = File::create(&path).expect("a temporary file");
        let mut line = serde_json::to_vec(&header()).expect("plain data");
        line.push(b'\n');
        file.write_all(&line).expect("writable");
        file.write_all(&bytes(&first, 0)).expect("writable");
        let late = bytes(&second, 1);
        file.write_all(&late[..20]).expect("writable");

        let mut recording = Recording::open(&path).expect("our own file");
        assert_eq!(recording.read(&Wanted::default()).expect("readable"), std::slice::from_ref(&first));
        file.write_all(&late[20..]).expect("writable");
        file.write_all(&bytes(&first, 0)).expect("writable");
        assert_eq!(recording.read(&Wanted::default()).expect("readable"), [second.clone(), first.clone()]);
        assert_eq!(recording.read(&Wanted::default()).expect("readable"), []);

        let mut again = Recording::open(&path).expect("our own file");
        let wanted = Wanted { node: Some("sr-1".to_owned()), sent: Some(false), ..Wanted::default() };
        assert_eq!(again.read(&wanted).expect("readable"), [second]);
        std::fs::remove_file(&path).expect("our own file");
    }

    #[test]
    fn pcapng_blocks_are_aligned_and_say_their_length_twice() {
        let mut out = Vec::new();
        let records = [record(7, "sr-1", "sg-1", true)];
        write_pcapng(&mut out, &header(), "a comment", &records).expect("a vector takes everything");
        let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().expect("four bytes"));
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < out.len() {
            let length = word(at + 4) as usize;
            assert_eq!((length % 4, word(at + length - 4) as usize), (0, length));
            kinds.push(word(at));
            at += length;
        }
        assert_eq!(kinds, [SECTION_HEADER, 1, 1, ENHANCED_PACKET]);
        let packet = out.len() - 4 - usize::try_from(word(out.len() - 4)).expect("small") + 4;
        assert_eq!((word(packet + 8), word(packet + 12), word(packet + 16)), (1, 0, 1_007));
        assert!(out.windows(9).any(|text| text == b"sr-1:sg-1"));
    }
}
