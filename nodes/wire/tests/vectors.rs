//! Test vectors: `vectors/*.hex` hold, for each sample, its line form, its value and its bytes. Other implementations
//! check theirs against them. `DAMC_BLESS=1` writes them anew after an intended change of the encoding.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use damc_wire::hex::{from_hex, to_hex};
use damc_wire::{Frame, MessageType};

mod samples;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn render(frame: &Frame) -> String {
    let mut text = format!("# {frame}\n");
    let debug = format!("{frame:#?}");
    let mut lines = debug.lines().peekable();
    while let Some(line) = lines.next() {
        // Keys, signatures and payloads are read as hexadecimal, not as one number for each line.
        let mut bytes = Vec::new();
        if line.ends_with('[') {
            bytes.extend(std::iter::from_fn(|| lines.next_if(|l| number(l).is_some()).and_then(number)));
        }
        // What closes the array follows at once.
        let close = if bytes.is_empty() { "" } else { lines.next().unwrap_or_default().trim() };
        writeln!(text, "# {line}{}{close}", to_hex(&bytes)).unwrap();
    }
    for row in frame.encode().unwrap().chunks(32) {
        writeln!(text, "{}", to_hex(row)).unwrap();
    }
    text
}

/// The element of a byte array on a line of its own.
fn number(line: &str) -> Option<u8> {
    line.trim().strip_suffix(',')?.parse().ok()
}

fn bytes(text: &str) -> Vec<u8> {
    let hex: String = text.lines().filter(|l| !l.starts_with('#')).collect();
    from_hex(&hex).unwrap()
}

#[test]
fn encodings_do_not_change() {
    for (title, frame) in samples::all() {
        let path = folder().join(format!("{title}.hex"));
        if std::env::var_os("DAMC_BLESS").is_some() {
            std::fs::write(&path, render(&frame)).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(expected, render(&frame), "{title}");
        assert_eq!(Frame::decode(&bytes(&expected)).unwrap(), frame, "{title}");
    }
}

#[test]
fn every_message_type_has_a_vector() {
    let there: BTreeSet<MessageType> = samples::all().iter().map(|(_, f)| f.header.message_type).collect();
    assert!(there.iter().eq(MessageType::ALL));
    let samples: BTreeSet<String> = samples::all().iter().map(|(title, _)| format!("{title}.hex")).collect();
    let files: BTreeSet<String> =
        std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(samples, files);
}

/// The line form names what a reader of a trace looks for.
#[test]
fn line_forms() {
    let line = |title: &str| samples::all().into_iter().find(|(t, _)| *t == title).unwrap().1.to_string();
    assert_eq!(line("echo"), "echo seq 5 · mac #41");
    assert_eq!(
        line("data-request"),
        "data /A/1 > /B/4 hops-left 64 flow 16909060 traced: request 0000000000000007 add, 3 bytes, \
         deadline 1000 ms, via sg-1 sr-left"
    );
    assert_eq!(line("ls-update-topology"), "ls-update [sg-1 topology/0 seq 3 [sr-left=1, sr-right=10] stub] · mac #41");
    assert_eq!(line("nack"), "nack /A/1 > /B/4 hops-left 64 flow 16909060: no-route by sg-1: data to /nobody");
    assert_eq!(damc_wire::pretty::pdu(&[1]), "undecodable (1 bytes): header needs 1 bytes, 0 are left at byte 1");
}
