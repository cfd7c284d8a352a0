//! `damc decode`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
pub(crate) use damc_lab::recording::{CaptureItem as Item, read_capture as decode};

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
