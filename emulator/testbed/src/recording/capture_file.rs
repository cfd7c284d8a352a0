//! Capture files as they are read: pcapng and pcap, as labs, tcpdump and Wireshark write them.

use std::io::{self, Read};

use pcap_parser::traits::PcapNGPacketBlock as _;
use pcap_parser::{Block, EnhancedPacketBlock, PcapBlockOwned, PcapError, PcapNGOption, create_reader};
use thiserror::Error;

/// What a capture file holds.
#[derive(Debug, PartialEq)]
pub enum CaptureItem {
    /// A comment on all of it.
    Comment(String),
    /// A frame.
    Frame {
        /// Realtime, ns.
        at_ns: u128,
        /// Name of the interface, as far as it has one.
        interface: String,
        /// Sent, or received, or unknown.
        sent: Option<bool>,
        /// Its bytes, from the Ethernet header on.
        frame: Vec<u8>,
        /// Comments on it.
        comments: Vec<String>,
    },
}

/// Bytes read at once: more than the longest block of a frame.
const BUFFER: usize = 1 << 20;

/// Why a file cannot be read as a capture.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// Whoever is told could not take it.
    #[error(transparent)]
    Told(io::Error),
    /// There is nothing in it.
    #[error("empty")]
    Empty,
    /// It ends too early.
    #[error("it ends within a frame")]
    CutOff,
    /// The source gives an error.
    #[error("cannot be read")]
    Unreadable,
    /// Another kind of file.
    #[error("neither pcapng nor pcap")]
    NoCapture,
    /// What it holds contradicts itself, or is too long.
    #[error("broken, or a block is longer than {BUFFER} bytes")]
    Broken,
}

/// Tells everything in a capture file, in its order.
///
/// # Errors
/// It is no capture, it is broken, or `tell` gives an error. What came before was told.
pub fn read_capture(
    source: impl Read + Send,
    mut tell: impl FnMut(CaptureItem) -> io::Result<()>,
) -> Result<(), CaptureError> {
    let mut reader = create_reader(BUFFER, source).map_err(|error| unreadable(&error))?;
    let mut interfaces = Interfaces::default();
    loop {
        match reader.next() {
            Ok((length, block)) => {
                interfaces.items(&block).into_iter().try_for_each(&mut tell).map_err(CaptureError::Told)?;
                reader.consume(length);
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|error| unreadable(&error))?,
            Err(error) => return Err(unreadable(&error)),
        }
    }
}

const fn unreadable<I>(error: &PcapError<I>) -> CaptureError {
    match error {
        PcapError::Eof => CaptureError::Empty,
        PcapError::UnexpectedEof => CaptureError::CutOff,
        PcapError::ReadError => CaptureError::Unreadable,
        PcapError::HeaderNotRecognized => CaptureError::NoCapture,
        _ => CaptureError::Broken,
    }
}

/// Interfaces seen so far, with what their stamps count.
#[derive(Default)]
struct Interfaces {
    /// Name, parts of a second, offset in seconds.
    all: Vec<(String, u64, i64)>,
    /// Nanoseconds that a fraction counts in a classic pcap.
    fraction_ns: u32,
}

impl Interfaces {
    fn items(&mut self, block: &PcapBlockOwned<'_>) -> Vec<CaptureItem> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.fraction_ns = if header.is_nanosecond_precision() { 1 } else { 1000 };
                Vec::new()
            }
            PcapBlockOwned::Legacy(packet) => {
                let fraction_ns = u128::from(packet.ts_usec) * u128::from(self.fraction_ns);
                let at_ns = u128::from(packet.ts_sec) * 1_000_000_000 + fraction_ns;
                let frame = packet.data.to_vec();
                vec![CaptureItem::Frame { at_ns, interface: String::new(), sent: None, frame, comments: Vec::new() }]
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                // Interfaces are counted anew in each section.
                self.all.clear();
                comments(&section.options).into_iter().map(CaptureItem::Comment).collect()
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let name = interface.if_name().and_then(Result::ok).unwrap_or_default().to_owned();
                self.all.push((name, interface.ts_resolution().unwrap_or(1_000_000), interface.ts_offset()));
                Vec::new()
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => vec![self.frame(packet)],
            PcapBlockOwned::NG(_) => Vec::new(),
        }
    }

    fn frame(&self, packet: &EnhancedPacketBlock<'_>) -> CaptureItem {
        let found = usize::try_from(packet.if_id).ok().and_then(|id| self.all.get(id));
        let (interface, units, offset_s) = found.cloned().unwrap_or_else(|| (String::new(), 1_000_000, 0));
        let count = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
        let offset_ns = i128::from(offset_s) * 1_000_000_000;
        let at_ns = (count * 1_000_000_000 / u128::from(units.max(1))).saturating_add_signed(offset_ns);
        // The direction is in the two lowest bits of a 32-bit word of either byte order.
        let flags = packet.options.iter().find(|option| option.code.0 == EPB_FLAGS).map(PcapNGOption::value);
        let sent = flags.and_then(|word| match (word.first()? | word.last()?) & 3 {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        });
        let frame = packet.packet_data().to_vec();
        CaptureItem::Frame { at_ns, interface, sent, frame, comments: comments(&packet.options) }
    }
}

/// Code of the flags of a frame (draft-ietf-opsawg-pcapng, section 4.3).
const EPB_FLAGS: u16 = 2;
const OPT_COMMENT: u16 = 1;

fn comments(options: &[PcapNGOption<'_>]) -> Vec<String> {
    let all = options.iter().filter(|option| option.code.0 == OPT_COMMENT);
    all.filter_map(|option| Some(String::from_utf8_lossy(option.as_bytes().ok()?).into_owned())).collect()
}
