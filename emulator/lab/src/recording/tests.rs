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
fn ipv6_is_read_only_where_it_is_wanted() {
    let folder = Folder::new("ipv6");
    let mut writer = Writer::create(&folder.0, &header(), 1 << 20).expect("a temporary folder");
    let damc = record(1, "sg-1", "sr-1", true);
    let mut packet = damc.clone();
    (packet.at_ns, packet.frame[12], packet.frame[13]) = (2, 0x86, 0xdd);
    for one in [&damc, &packet] {
        writer.record(0, one.sent, one.at_ns, &one.frame).expect("writable");
    }
    writer.flush().expect("writable");
    let read = |wanted| Recording::open(&folder.0).expect("our own folder").read(&wanted).expect("readable");
    assert_eq!(read(Wanted::default()), std::slice::from_ref(&damc));
    assert_eq!(read(Wanted { ipv6: true, ..Wanted::default() }), [damc, packet]);
}

/// What a parser of others reads in our pcapng.
mod read_by_others {
    use pcap_parser::{Block, OptionCode, PcapNGOption, parse_block_le};

    use super::*;

    fn comments(options: &[PcapNGOption<'_>]) -> Vec<String> {
        let of = options.iter().filter(|option| option.code == OptionCode::Comment);
        of.map(|option| option.as_str().expect("UTF-8").to_owned()).collect()
    }

    #[test]
    fn section_interfaces_stamps_directions_comments() {
        let (mut out, header) = (Vec::new(), header());
        pcapng_start(&mut out, &header, "a comment").expect("a vector takes everything");
        let start = out.len();
        let notes = ["the check rests on this".to_owned(), "stalled for 20 ms".to_owned()];
        let frames = [record(7, "sr-1", "sg-1", true), record(9, "sg-1", "sr-1", false)];
        pcapng_record(&mut out, &header, &frames[0], &notes).expect("a vector takes everything");
        assert_eq!(out.len() - start, pcapng_length(&frames[0].frame, &notes));
        pcapng_record(&mut out, &header, &frames[1], &[]).expect("a vector takes everything");

        let (mut rest, mut interfaces, mut packets) = (&out[..], Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (after, block) = parse_block_le(rest).expect("a pcapng block");
            match block {
                Block::SectionHeader(section) => assert_eq!(comments(&section.options), ["a comment"]),
                Block::InterfaceDescription(interface) => {
                    assert_eq!((interface.linktype.0, interface.if_tsresol), (1, 9));
                    interfaces.push(interface.if_name().expect("a name").expect("UTF-8").to_owned());
                }
                Block::EnhancedPacket(packet) => {
                    let at = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                    let flags = packet.options.iter().find(|option| option.code.0 == 2).expect("flags").value()[0];
                    let frame = packet.data[..packet.caplen as usize].to_vec();
                    packets.push((packet.if_id, at, flags, frame, comments(&packet.options)));
                }
                other => panic!("{other:?}"),
            }
            rest = after;
        }
        assert_eq!(interfaces, ["sg-1:sr-1", "sr-1:sg-1"]);
        let [sent, received] = frames.map(|record| record.frame);
        assert_eq!(packets, [(1, 1_007, 2, sent, notes.to_vec()), (0, 1_009, 1, received, Vec::new())]);
    }
}
