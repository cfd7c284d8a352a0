//! Test vectors: `vectors/*.hex` hold, for each sample, its line form, its value and its bytes. Other implementations
//! check theirs against them. `DAMC_BLESS=1` writes them anew after an intended change of the encoding.

use std::collections::BTreeSet;

use damc_wire::{Frame, Message, MessageType};

mod samples;
mod vector_file;

use vector_file::{agreed, described, folder, titles};

#[test]
fn encodings_do_not_change() {
    for (title, frame) in samples::all() {
        let bytes = agreed(&folder(""), title, &described(&frame), &frame.encode().unwrap());
        assert_eq!(Frame::decode(&bytes).unwrap(), frame, "{title}");
    }
}

#[test]
fn every_message_type_has_a_vector() {
    let there: BTreeSet<MessageType> = samples::all().iter().map(|(_, f)| f.header.message_type).collect();
    assert!(there.iter().eq(MessageType::ALL));
    let mut samples: Vec<String> = samples::all().iter().map(|(title, _)| (*title).to_owned()).collect();
    samples.sort();
    assert_eq!(samples, titles(&folder("")));
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
    let (_, frame) = samples::all().into_iter().find(|(t, _)| *t == "packet").unwrap();
    let Message::Packet(packet) = frame.message else { panic!("a packet") };
    let ethernet = |ethertype: u16, payload: &[u8]| {
        damc_wire::pretty::ethernet(&[&[2; 12][..], &ethertype.to_be_bytes(), payload].concat())
    };
    assert_eq!(
        ethernet(0x86dd, &packet.inner),
        "ipv6 fdbf:6f21:1f61:b572:d88b:ba60:7be:36d4 > fdbf:6f21:1f61:8a1a:59c0:f859:22b6:22ed next header 58, 48 bytes"
    );
    let (_, echo) = samples::all().into_iter().find(|(t, _)| *t == "echo").unwrap();
    assert_eq!(ethernet(0x88b5, &echo.encode().unwrap()), "echo seq 5 · mac #41");
    assert_eq!(ethernet(0x0800, &[0; 46]), "EtherType 0x0800, 46 bytes");
    assert_eq!(damc_wire::pretty::pdu(&[1]), "undecodable (1 bytes): header needs 1 bytes, 0 are left at byte 1");
}
