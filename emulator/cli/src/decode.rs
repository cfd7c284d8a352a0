//! `damc decode`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use pcap_parser::traits::PcapNGPacketBlock as _;
use pcap_parser::{Block, EnhancedPacketBlock, PcapBlockOwned, PcapError, PcapNGOption, create_reader};

use crate::exit::{Exit, Failure, Outcome};

/// Print the frames of a capture file, one line each, with its comments.
///
/// Reads pcapng and pcap, as `damc capture -w`, the suites, tcpdump and Wireshark write them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; `-` is standard input.
    pub file: PathBuf,
    /// Under each DAMC frame all that it says.
    #[arg(short, long)]
    pub verbose: bool,
}

pub fn run(args: &Args) -> Outcome {
    let source: Box<dyn Read + Send> = if args.file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(&args.file).with_context(|| args.file.display().to_string()).map_err(Failure::usage)?)
    };
    let mut lines = Lines { out: std::io::stdout().lock(), verbose: args.verbose, number: 0, began: None };
    decode(source, |item| lines.print(&item))
        .with_context(|| args.file.display().to_string())
        .map_err(Failure::usage)?;
    Ok(Exit::Passed)
}

/// What a capture file holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
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
        frame: Vec<u8>,
        comments: Vec<String>,
    },
}

/// Bytes read at once: more than the longest block of a frame.
const BUFFER: usize = 1 << 20;

/// Tells everything in a capture file.
pub(crate) fn decode(
    source: impl Read + Send,
    mut tell: impl FnMut(Item) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let mut reader = create_reader(BUFFER, source).map_err(|error| unreadable(&error))?;
    let mut interfaces = Interfaces::default();
    loop {
        match reader.next() {
            Ok((length, block)) => {
                interfaces.items(&block).into_iter().try_for_each(&mut tell)?;
                reader.consume(length);
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|error| unreadable(&error))?,
            Err(error) => return Err(unreadable(&error)),
        }
    }
}

fn unreadable<I>(error: &PcapError<I>) -> anyhow::Error {
    match error {
        PcapError::Eof => anyhow!("empty"),
        PcapError::UnexpectedEof => anyhow!("it ends within a frame"),
        PcapError::ReadError => anyhow!("cannot be read"),
        PcapError::HeaderNotRecognized => anyhow!("neither pcapng nor pcap"),
        _ => anyhow!("broken, or a block is longer than {BUFFER} bytes"),
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
    fn items(&mut self, block: &PcapBlockOwned<'_>) -> Vec<Item> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.fraction_ns = if header.is_nanosecond_precision() { 1 } else { 1000 };
                Vec::new()
            }
            PcapBlockOwned::Legacy(packet) => {
                let fraction_ns = u128::from(packet.ts_usec) * u128::from(self.fraction_ns);
                let at_ns = u128::from(packet.ts_sec) * 1_000_000_000 + fraction_ns;
                let frame = packet.data.to_vec();
                vec![Item::Frame { at_ns, interface: String::new(), sent: None, frame, comments: Vec::new() }]
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                // Interfaces are counted anew in each section.
                self.all.clear();
                comments(&section.options).into_iter().map(Item::Comment).collect()
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

    fn frame(&self, packet: &EnhancedPacketBlock<'_>) -> Item {
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
        Item::Frame { at_ns, interface, sent, frame, comments: comments(&packet.options) }
    }
}

/// Code of the flags of a frame (draft-ietf-opsawg-pcapng, section 4.3).
const EPB_FLAGS: u16 = 2;
const OPT_COMMENT: u16 = 1;

fn comments(options: &[PcapNGOption<'_>]) -> Vec<String> {
    let all = options.iter().filter(|option| option.code.0 == OPT_COMMENT);
    all.filter_map(|option| Some(String::from_utf8_lossy(option.as_bytes().ok()?).into_owned())).collect()
}

/// Prints items.
struct Lines<W> {
    out: W,
    verbose: bool,
    /// Frames so far, counted as Wireshark does.
    number: u64,
    began: Option<u128>,
}

impl<W: Write> Lines<W> {
    fn print(&mut self, item: &Item) -> std::io::Result<()> {
        match item {
            Item::Comment(text) => writeln!(self.out, "# {text}"),
            Item::Frame { at_ns, interface, sent, frame, comments } => {
                self.number += 1;
                let began = *self.began.get_or_insert(*at_ns);
                let seconds = at_ns.saturating_sub(began) as f64 / 1e9;
                let (node, port) = interface.split_once(':').unwrap_or((interface, ""));
                let way = sent.map_or("-", |sent| if sent { "→" } else { "←" });
                let line = damc_wire::pretty::ethernet(frame);
                for comment in comments {
                    writeln!(self.out, "# {comment}")?;
                }
                writeln!(self.out, "{:6} {seconds:12.6} {node} {way} {port}  {line}", self.number)?;
                let value = frame.get(14..).and_then(|pdu| damc_wire::Frame::decode(pdu).ok());
                match value.filter(|_| self.verbose) {
                    Some(value) => writeln!(self.out, "{value:#?}"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use damc_lab::recording::{Header, Record, RecordedPort, pcapng_record, pcapng_start};

    use super::*;

    /// A capture as labs write it: an echo, then a packet of another protocol.
    fn capture() -> Vec<u8> {
        let port = |node: &str, port: &str| RecordedPort {
            node: node.to_owned(),
            port: port.to_owned(),
            interface: "p0".to_owned(),
        };
        let header = Header {
            lab: "line".to_owned(),
            realtime_offset_ns: 1_700_000_000_000_000_000,
            ports: vec![port("sg-1", "sr-1"), port("sr-1", "sg-1")],
        };
        let echo = damc_wire::message::Echo { sequence: 5, sent_at: 1, their_sent_at: 0, held: 0 };
        let pdu = damc_wire::Frame::hop_local(damc_wire::Message::Echo(echo)).encode().expect("an echo");
        let frame = |ethertype: [u8; 2], payload: &[u8]| [&[2; 12][..], &ethertype, payload].concat();
        let record = |at_ns, node: &str, port: &str, sent, frame| Record {
            at_ns,
            node: node.to_owned(),
            port: port.to_owned(),
            sent,
            frame,
        };
        let mut file = Vec::new();
        pcapng_start(&mut file, &header, "lab line").expect("a vector takes everything");
        let notes = ["the check rests on this".to_owned()];
        let first = record(7, "sr-1", "sg-1", true, frame([0x88, 0xb5], &pdu));
        pcapng_record(&mut file, &header, &first, &notes).expect("a vector takes everything");
        let second = record(1_500_007, "sg-1", "sr-1", false, frame([0x08, 0x06], &[0; 28]));
        pcapng_record(&mut file, &header, &second, &[]).expect("a vector takes everything");
        file
    }

    fn printed(file: &[u8], verbose: bool) -> anyhow::Result<String> {
        let mut lines = Lines { out: Vec::new(), verbose, number: 0, began: None };
        decode(file, |item| lines.print(&item))?;
        Ok(String::from_utf8(lines.out)?)
    }

    #[test]
    fn our_captures_come_back() {
        let expected = "# lab line\n\
                        # the check rests on this\n     \
                        1     0.000000 sr-1 → sg-1  echo seq 5\n     \
                        2     0.001500 sg-1 ← sr-1  EtherType 0x0806, 28 bytes\n";
        assert_eq!(printed(&capture(), false).expect("readable"), expected);
        assert!(printed(&capture(), true).expect("readable").contains("sequence: 5,"));
    }

    #[test]
    fn what_is_no_capture_is_named() {
        let error = |file: &[u8]| format!("{:#}", printed(file, false).expect_err("no capture"));
        assert_eq!(error(b""), "empty");
        assert_eq!(error(b"GIF89a; no capture, certainly"), "neither pcapng nor pcap");
        let whole = capture();
        assert_eq!(error(&whole[..whole.len() - 3]), "it ends within a frame");
    }
}
