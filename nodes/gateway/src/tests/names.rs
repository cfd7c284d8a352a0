//! DNS.

use super::*;

/// Response code, and the data of the answer.
fn asked(sg: &mut Sg, message: &[u8]) -> Option<(u8, Option<Vec<u8>>)> {
    let dns = address::of_dns(DOMAIN);
    match sg.takes(0, &udp(at("/A/1"), dns, (5353, 53), message)) {
        Step::Reply => {}
        other => {
            assert_eq!(other, Step::Ignore);
            return None;
        }
    }
    let view = View::parse(&sg.out).unwrap();
    assert_eq!((view.source, view.destination), (dns, at("/A/1")));
    let reply = view.udp().unwrap().payload();
    let packet = simple_dns::Packet::parse(reply).unwrap();
    assert_eq!(packet.id(), u16::from_be_bytes([message[0], message[1]]));
    let data = packet.answers.first().map(|answer| match &answer.rdata {
        simple_dns::rdata::RData::AAAA(a) => a.address.to_be_bytes().to_vec(),
        simple_dns::rdata::RData::PTR(name) => name.0.to_string().into_bytes(),
        other => panic!("{other:?}"),
    });
    Some((reply[3] & 15, data))
}

#[test]
fn names_are_resolved_both_ways() {
    let mut sg = Sg::client();
    let address = at("/B/4").octets().to_vec();
    assert_eq!(asked(&mut sg, &question("4.b.example.damc", 28)), Some((0, Some(address.clone()))));
    assert_eq!(asked(&mut sg, &question("4.B.eXample.DAMC", 28)), Some((0, Some(address.clone()))));
    assert_eq!(asked(&mut sg, &question("b.example.damc", 28)), Some((0, Some(at("/B").octets().to_vec()))));
    // There is no IPv4 address, but the name exists.
    assert_eq!(asked(&mut sg, &question("4.b.example.damc", 1)), Some((0, None)));
    assert_eq!(asked(&mut sg, &question("9.b.example.damc", 28)), Some((3, None)));
    assert_eq!(asked(&mut sg, &question("example.org", 28)), Some((3, None)));
    assert_eq!(asked(&mut sg, &question("example.damc", 28)), Some((0, None)));
    let nibbles: Vec<String> = address.iter().rev().flat_map(|b| [b & 15, b >> 4]).map(|n| format!("{n:x}")).collect();
    let reverse = format!("{}.ip6.arpa", nibbles.join("."));
    assert_eq!(asked(&mut sg, &question(&reverse, 12)), Some((0, Some(b"4.b.example.damc".to_vec()))));
}

#[test]
fn answers_and_half_questions_lead_to_no_endless_talk() {
    let mut sg = Sg::client();
    let mut answer = question("4.b.example.damc", 28);
    answer[2] |= 0x80;
    assert_eq!(asked(&mut sg, &answer), None);
    assert_eq!(asked(&mut sg, &[1, 2, 3]), None);
    let mut cut = question("4.b.example.damc", 28);
    cut.truncate(20);
    assert_eq!(asked(&mut sg, &cut), Some((1, None)));
}
