use std::fs::{self, OpenOptions};
use std::io::Write as _;

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
    let mut frame = vec![0xff; 14];
    frame.extend([1, 2, 3]);
    Record { at_ns, node: node.to_owned(), port: port.to_owned(), sent, frame }
}

/// A folder of its own that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(of: &str) -> Self {
        Self(std::env::temp_dir().join(format!("damc-recording-{of}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_growing_recording_gives_whole_records_in_time_order() {
    let folder = Folder::new("growing");
    let (first, second) = (record(20, "sg-1", "sr-1", true), record(10, "sr-1", "sg-1", false));
    let mut writer = Writer::create(&folder.0, &header(), 1 << 20).expect("a temporary folder");
    writer.record(0, first.sent, first.at_ns, &first.frame).expect("writable");
    writer.flush().expect("writable");
    let mut late = encode_head(17, 1, second.sent, second.at_ns).to_vec();
    late.extend(&second.frame);
    let mut file = OpenOptions::new().append(true).open(segment_path(&folder.0, 0)).expect("the first segment");
    file.write_all(&late[..20]).expect("writable");

    let mut recording = Recording::open(&folder.0).expect("our own folder");
    assert_eq!(recording.read(&Wanted::default()).expect("readable"), std::slice::from_ref(&first));
    file.write_all(&late[20..]).expect("writable");
    assert_eq!(recording.read(&Wanted::default()).expect("readable"), std::slice::from_ref(&second));
    assert_eq!(recording.read(&Wanted::default()).expect("readable"), []);

    let mut again = Recording::open(&folder.0).expect("our own folder");
    assert_eq!(again.read(&Wanted::default()).expect("readable"), [second.clone(), first]);
    let mut narrowed = Recording::open(&folder.0).expect("our own folder");
    let wanted = Wanted { node: Some("sr-1".to_owned()), sent: Some(false), ..Wanted::default() };
    assert_eq!(narrowed.read(&wanted).expect("readable"), [second]);
}

#[test]
fn the_oldest_segments_go_and_who_reads_along_misses_nothing() {
    let folder = Folder::new("ring");
    // Each record takes 30 bytes, so a segment is full after its second.
    let mut writer = Writer::create(&folder.0, &header(), 40 * SEGMENTS).expect("a temporary folder");
    let mut along = Recording::open(&folder.0).expect("our own folder");
    let mut idle = Recording::open(&folder.0).expect("our own folder");
    let mut seen = Vec::new();
    for at_ns in 0..100 {
        let one = record(at_ns, "sg-1", "sr-1", true);
        assert_eq!(writer.record(0, true, at_ns, &one.frame).expect("writable"), 30);
        writer.flush().expect("writable");
        if at_ns % 5 == 0 {
            seen.extend(along.read(&Wanted::default()).expect("readable"));
        }
    }
    seen.extend(along.read(&Wanted::default()).expect("readable"));
    let stamps = |records: &[Record]| records.iter().map(|r| r.at_ns).collect::<Vec<_>>();
    assert_eq!(stamps(&seen), (0..100).collect::<Vec<_>>());
    assert!(!along.missed());

    let kept = stamps(&Recording::open(&folder.0).expect("our own folder").read(&Wanted::default()).expect("readable"));
    assert_eq!(kept, (84..100).collect::<Vec<_>>(), "eight segments of two records");
    // It had the first segment open, of which the last record came after its end was reached.
    let rest = stamps(&idle.read(&Wanted::default()).expect("readable"));
    assert_eq!(rest, [&[0, 1], &kept[..]].concat());
    assert!(idle.missed());
    assert_eq!(fs::read_dir(&folder.0).expect("our own folder").count() as u64, SEGMENTS + 1);
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
    assert_eq!(kinds, [0x0A0D_0D0A, 1, 1, 6]);
    let packet = out.len() - 4 - usize::try_from(word(out.len() - 4)).expect("small") + 4;
    assert_eq!((word(packet + 8), word(packet + 12), word(packet + 16)), (1, 0, 1_007));
    assert!(out.windows(9).any(|text| text == b"sr-1:sg-1"));
}
