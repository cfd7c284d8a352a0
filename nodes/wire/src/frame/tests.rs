//! Framing, and the views of it.

use super::*;
use crate::message::{Data, DataKind, Echo};
use crate::{Millis, NodeId};

fn call() -> Frame {
    let kind = DataKind::Request { method: "add".into(), deadline: Millis(500), context: None };
    let data = Data { correlation: 7, kind, payload: b"2 3".to_vec(), hops: Vec::new() };
    Frame::plain("/B/4".parse().unwrap(), "/A/1".parse().unwrap(), 9, Message::Data(data)).traced()
}

#[test]
fn hop_security_covers_all_before_the_mac() {
    let echo = Frame::hop_local(Message::Echo(Echo { sequence: 1, sent_at: 2, their_sent_at: 3, held: 4 }));
    let pdu = echo.encode().unwrap();
    assert_eq!(open(&pdu), None);
    let mut covered = Vec::new();
    let sealed = seal(pdu, 42, |bytes| {
        covered = bytes.to_vec();
        [5; 16]
    });
    let security = HopSecurity { counter: 42, mac: [5; 16] };
    assert_eq!(open(&sealed), Some((&covered[..], security)));
    assert_eq!(sealed.len(), covered.len() + 16);
    assert_eq!(Frame::decode(&sealed).unwrap(), Frame { security: Some(security), ..echo });
}

#[test]
fn forwarding_edits_leave_the_end_to_end_checksum_valid() {
    let mut pdu = call().encode().unwrap();
    assert_eq!(RoutedView::parse(&pdu).unwrap().trace(), Some(false));
    let mut view = RoutedView::parse(&mut pdu).unwrap();
    view.set_hop_limit(3);
    view.set_label(0xabcd);
    view.set_ahead(Ahead { cost: 0x1234, uphill: true });
    let (header, ahead) = (*view.header(), view.ahead());
    let again = RoutedView::parse(&pdu).unwrap();
    assert_eq!((*again.header(), again.ahead()), (header, ahead));
    HeaderView::of(&mut pdu).set_ahead(Ahead::default());
    assert!(append_hop(&mut pdu, &NodeId::new("sr-left").unwrap(), false));
    let frame = Frame::decode(&pdu).unwrap();
    assert_eq!((frame.header.hop_limit, frame.header.label), (3, 0xabcd));
    let Message::Data(data) = &frame.message else { panic!("{frame:?}") };
    assert_eq!(data.hops[0].node.as_str(), "sr-left");
    assert_eq!(frame.encode().unwrap(), pdu);
}

#[test]
fn hops_stop_at_the_longest_pdu() {
    let mut pdu = call().encode().unwrap();
    let node = NodeId::new("sr-left").unwrap();
    while append_hop(&mut pdu, &node, true) {}
    assert!(pdu.len() <= MAX_PDU && pdu.len() + 12 > MAX_PDU);
    assert!(Frame::decode(&pdu).is_ok());
}

#[test]
fn the_body_is_quoted() {
    let pdu = call().encode().unwrap();
    assert_eq!(body_of(&pdu), Some(&b"\x01\0\0\0\0\0\0\0\x07\0\0\x01\xf4add"[..]));
}

#[test]
fn a_packet_is_written_in_place_as_it_is_encoded() {
    let (destination, source): (Name, Name) = ("/B/4".parse().unwrap(), "/A/1".parse().unwrap());
    let inner = vec![0x60; 600];
    let packet = Message::Packet(crate::message::Packet { inner: inner.clone() });
    let frame = Frame::routed(destination.clone(), source.clone(), 9, 0, 17, packet);
    let mut pdu = vec![1; 3];
    assert!(write_packet(&mut pdu, (&destination, &source), 9, 17, &inner));
    assert_eq!(pdu, frame.encode().unwrap());
    let view = RoutedView::parse(&pdu).unwrap();
    assert_eq!(&pdu[view.inner_packet().unwrap()], inner);
    assert!(view.checksum_holds());
    assert_eq!(body_of(&pdu).unwrap(), &inner[..MAX_BODY]);
    let at = pdu.len() - 20;
    pdu[at] ^= 1;
    assert!(!RoutedView::parse(&pdu).unwrap().checksum_holds());
    let room = MAX_PDU - PACKET_OVERHEAD - destination.wire().len() - source.wire().len();
    assert!(write_packet(&mut pdu, (&destination, &source), 9, 17, &vec![0; room]));
    assert_eq!(pdu.len(), MAX_PDU);
    assert!(!write_packet(&mut pdu, (&destination, &source), 9, 17, &vec![0; room + 1]));
}

#[test]
fn a_changed_payload_byte_is_a_bad_checksum() {
    let mut pdu = call().encode().unwrap();
    let at = pdu.windows(3).position(|w| w == b"2 3").unwrap();
    pdu[at] ^= 1;
    assert_eq!(Frame::decode(&pdu).unwrap_err().kind, DecodeErrorKind::BadChecksum);
}

#[test]
fn ethernet_padding_is_cut() {
    // No routed PDU is so short.
    let pdu = Frame::hop_local(Message::RevokeAck(crate::message::RevokeAck { serial: 1 })).encode().unwrap();
    let mut payload = pdu.clone();
    payload.resize(MIN_ETHERNET_PAYLOAD, 0);
    assert!(Frame::decode(&payload).is_err());
    assert_eq!(without_padding(&payload), pdu);
    assert_eq!(without_padding(&[0xff; 46]), [0xff; 46]);
    assert_eq!(without_padding(&[0; 3]), [0; 3]);
}
