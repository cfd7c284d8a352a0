use damc_testbed::recording::RecordedPort;
use damc_wire::message::{Data, DataKind, Echo};
use damc_wire::{Frame, Message};

use super::*;

const ENDS: [(&str, &str); 4] = [("sg-1", "sr-1"), ("sr-1", "sg-1"), ("sr-1", "sr-2"), ("sr-2", "sr-1")];

fn header() -> Header {
    let ports = ENDS.map(|(node, port)| RecordedPort {
        node: node.to_owned(),
        port: port.to_owned(),
        interface: "p0".to_owned(),
    });
    Header { lab: "line".to_owned(), realtime_offset_ns: 0, ports: ports.to_vec() }
}

fn record(at_ns: u64, (node, port): (&str, &str), pdu: &[u8]) -> Record {
    let frame = [&[2; 12][..], &[0x88, 0xb5], pdu].concat();
    Record { at_ns, node: node.to_owned(), port: port.to_owned(), sent: true, frame }
}

fn echo() -> Vec<u8> {
    let echo = Echo { sequence: 1, sent_at: 2, their_sent_at: 3, held: 4 };
    Frame::hop_local(Message::Echo(echo)).encode().expect("an echo")
}

fn call(bytes: usize) -> Vec<u8> {
    let data = Data { correlation: 7, kind: DataKind::Response, payload: vec![0; bytes], hops: Vec::new() };
    let name = |text: &str| text.parse().expect("a name");
    Frame::plain(name("/B"), name("/A"), 0, Message::Data(data)).encode().expect("a response")
}

fn ack() -> Vec<u8> {
    Frame::hop_local(Message::RevokeAck(damc_wire::message::RevokeAck { serial: 1 })).encode().expect("an ack")
}

fn subject() -> Subject {
    let cited = Citation {
        at_ns: 30,
        node: "sg-1".to_owned(),
        port: "sr-1".to_owned(),
        sent: true,
        why: "the acknowledgement".to_owned(),
    };
    Subject { title: "case lsa-1".to_owned(), began_ns: 10, cited: vec![cited], ..Subject::default() }
}

fn stamps(selection: &Selection) -> Vec<u64> {
    selection.frames.iter().map(|(record, _)| record.at_ns).collect()
}

#[test]
fn liveness_stays_on_the_links_in_question_only() {
    let records = vec![record(50, ENDS[0], &echo()), record(40, ENDS[2], &echo()), record(30, ENDS[0], &ack())];
    let selection = subject().select(records, BOUND);
    assert_eq!(stamps(&selection), [30, 50], "in order of time");
    assert_eq!(selection.left_out, BTreeMap::from([(Rank::LivenessElsewhere, 1)]));
    let named = Subject { nodes: ["sr-1".to_owned(), "sr-2".to_owned()].into(), ..Subject::default() };
    let selection = named.select(vec![record(50, ENDS[0], &echo()), record(40, ENDS[2], &echo())], BOUND);
    assert_eq!(stamps(&selection), [40]);
}

#[test]
fn what_does_not_fit_goes_by_how_little_it_tells() {
    let mut records: Vec<_> = (100..200).map(|at| record(at, ENDS[2], &call(1000))).collect();
    records.extend((200..300).map(|at| record(at, ENDS[0], &call(1000))));
    records.extend((300..400).map(|at| record(at, ENDS[0], &echo())));
    records.push(record(30, ENDS[0], &ack()));
    records.push(record(31, ENDS[2], &ack()));
    let bound = HEAD + 60_000;
    let selection = subject().select(records, bound);
    let kept = stamps(&selection);
    assert!(kept.starts_with(&[30, 31]), "control frames are there: {kept:?}");
    assert!(kept[2..].iter().all(|at| (200..300).contains(at)) && kept.contains(&299), "the newest calls: {kept:?}");
    let left = &selection.left_out;
    assert_eq!(left[&Rank::TrafficElsewhere] + left[&Rank::TrafficHere] + left[&Rank::LivenessHere] + kept.len(), 302);
    let file = selection.write(&header(), "case lsa-1").expect("memory");
    assert!(file.len() <= bound, "{} bytes", file.len());
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("left out: 100 calls and packets on other links"), "said in the file");
}

#[test]
fn comments_say_what_rests_on_a_frame_and_what_happened_before_it() {
    let injected = call(3);
    let subject = Subject {
        injected: [injected.clone()].into(),
        notes: vec![(25, "sr-1: adjacency with sg-1 down".to_owned()), (99, "the host stalled for 20 ms".to_owned())],
        ..subject()
    };
    let records = vec![record(20, ENDS[2], &injected), record(30, ENDS[0], &ack()), record(40, ENDS[2], &ack())];
    let selection = subject.select(records, BOUND);
    let comments: Vec<_> = selection.frames.iter().map(|(_, comments)| comments.clone()).collect();
    assert_eq!(comments[0], ["the case injected this"]);
    let expected = ["the check rests on this: the acknowledgement", "0.000 ms before: sr-1: adjacency with sg-1 down"];
    assert_eq!(comments[1], expected);
    assert_eq!(comments[2], ["0.000 ms later: the host stalled for 20 ms"]);
    let cited = selection.cited(&subject);
    assert_eq!(
        (cited[0].number, &*cited[0].link, &*cited[0].frame),
        (2, "sg-1 → sr-1, at sg-1", "revoke-ack serial 1")
    );
}

#[test]
fn nodes_are_named_as_whole_words() {
    let nodes = ["sg-1", "sg-10", "sr-left", "a"];
    let found = Subject::nodes_in("expected: sg-10 → sr-left; saw: nothing.", nodes.into_iter());
    assert_eq!(found, ["sg-10".to_owned(), "sr-left".to_owned()].into());
    assert_eq!(Subject::nodes_in("sg-1.", nodes.into_iter()), ["sg-1".to_owned()].into());
}
