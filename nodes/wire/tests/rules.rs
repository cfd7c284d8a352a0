//! Rules of framing, extension, names and numbers, each pinned by the id of its requirement.

use damc_wire::error::DecodeErrorKind;
use damc_wire::frame::{self, ROUTED_HEADER_LEN};
use damc_wire::name::NameError;
use damc_wire::registry::{self, HEADER_LEN, MAX_PDU, TlvType};
use damc_wire::{Class, DropReason, EncodeError, Frame, Message, MessageType, Name, NodeId};

mod samples;

fn sample(title: &str) -> Frame {
    samples::all().into_iter().find(|(t, _)| *t == title).unwrap().1
}

/// Inserts a TLV at byte `at` and corrects the length.
fn with_tlv(pdu: &[u8], at: usize, t: u8, value: &[u8]) -> Vec<u8> {
    let mut out = pdu.to_vec();
    let mut tlv = vec![t];
    tlv.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
    tlv.extend_from_slice(value);
    out.splice(at..at, tlv);
    let len = u16::try_from(out.len()).unwrap();
    out[4..6].copy_from_slice(&len.to_be_bytes());
    out
}

/// Offsets at which a TLV starts, and the end.
fn boundaries(pdu: &[u8]) -> Vec<usize> {
    let mut at = if pdu[1] & 0x80 != 0 { ROUTED_HEADER_LEN } else { HEADER_LEN };
    let mut out = vec![at];
    while at < pdu.len() {
        at += 3 + usize::from(u16::from_be_bytes([pdu[at + 1], pdu[at + 2]]));
        out.push(at);
    }
    out
}

/// GAP-01: an unknown TLV without the critical bit is skipped wherever it stands, one with it rejects the message.
#[test]
fn gap_01_unknown_tlvs() {
    for (title, frame) in samples::all() {
        let pdu = frame.encode().unwrap();
        for at in boundaries(&pdu) {
            let critical = Frame::decode(&with_tlv(&pdu, at, 0xfe, b"x")).unwrap_err();
            let covered = frame.names.is_some() && at < pdu.len();
            if critical.drop_reason() != DropReason::UnknownCriticalTlv {
                assert!(covered && critical.drop_reason() == DropReason::BadChecksum, "{title} at {at}: {critical}");
            }
            match Frame::decode(&with_tlv(&pdu, at, 0x7e, b"ignored")) {
                Ok(decoded) => assert_eq!(decoded, frame, "{title} at {at}"),
                // Whoever inserts a TLV under the checksum of a routed message has to write a new one.
                Err(e) => assert!(covered && e.kind == DecodeErrorKind::BadChecksum, "{title} at {at}: {e}"),
            }
        }
    }
}

/// GAP-01: a sender may put an unknown TLV of its own under the checksum.
#[test]
fn gap_01_unknown_tlv_under_the_checksum() {
    let frame = sample("task");
    let pdu = frame.encode().unwrap();
    let checksum = pdu.len() - 7;
    let mut extended = with_tlv(&pdu, checksum, 0x7e, b"new");
    let at = extended.len() - 7;
    let crc = damc_wire::crc32c(&extended[ROUTED_HEADER_LEN..at]);
    extended[at + 3..].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(Frame::decode(&extended).unwrap(), frame);
}

/// GAP-01: version octet, message type and length are checked before anything else.
#[test]
fn gap_01_version_type_and_length() {
    let pdu = sample("echo").encode().unwrap();
    let changed = |at: usize, v: u8| {
        let mut pdu = pdu.clone();
        pdu[at] = v;
        Frame::decode(&pdu).unwrap_err().drop_reason()
    };
    assert_eq!(changed(0, 2), DropReason::BadVersion);
    assert_eq!(changed(1, 0x7f), DropReason::UnknownType);
    assert_eq!(changed(5, u8::try_from(pdu.len() - 1).unwrap()), DropReason::Oversized);
    assert_eq!(changed(5, u8::try_from(pdu.len() + 1).unwrap()), DropReason::Truncated);
    assert_eq!(changed(5, 15), DropReason::Malformed);
    assert_eq!(changed(3, 2), DropReason::Malformed, "a hop-local message has hop limit 1");
    assert_eq!(changed(15, 1), DropReason::Malformed, "a hop-local message has no label");
}

/// A known TLV out of its place is refused even where its type is not critical.
#[test]
fn known_tlvs_keep_their_order() {
    let pdu = sample("echo").encode().unwrap();
    let error = Frame::decode(&with_tlv(&pdu, 16, TlvType::Padding.code(), &[0])).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::MissingTlv("body"));
    let error = Frame::decode(&with_tlv(&pdu, pdu.len(), TlvType::Padding.code(), &[0])).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::UnexpectedTlv("padding"));
    // Nothing follows the hop MAC, and a hello has none.
    let hello = sample("hello-fresh").encode().unwrap();
    let sealed = frame::seal(hello, 1, |_| [0; 16]);
    assert_eq!(Frame::decode(&sealed).unwrap_err().kind, DecodeErrorKind::UnexpectedTlv("hop-mac"));
}

/// CON-01: class numbers are those of -01; this table reads a capture of -00.
#[test]
fn con_01_class_numbers_of_00() {
    for (of_00, of_01) in [(1, 1), (2, 3), (3, 2), (4, 4)] {
        let class = registry::class_of_draft_00(of_00).unwrap();
        assert_eq!(class.code(), of_01);
        assert_eq!(Class::from_code(of_01), Some(class));
    }
    assert_eq!(registry::class_of_draft_00(0), None);
    assert_eq!(registry::class_of_draft_00(5), None);
}

/// CON-01: the high half of a hop-local type of a class is the class.
#[test]
fn con_01_types_show_their_class() {
    for t in MessageType::ALL.iter().filter(|t| !t.is_routed()) {
        assert_eq!(t.code() >> 4, t.class().map_or(0, Class::code), "{t}");
    }
}

/// GAP-24: what two spellings of a name would be is refused, so that a name has one spelling.
#[test]
fn gap_24_one_spelling_per_name() {
    for spelling in ["/A/1/", "//A/1", "/A//1", "/A/./1", "/A/../A/1", "/A/%31", "/A/1\u{301}", "A/1", "/A/1 ", ""] {
        assert!(spelling.parse::<Name>().is_err(), "{spelling:?}");
    }
    let (upper, lower): (Name, Name) = ("/A".parse().unwrap(), "/a".parse().unwrap());
    assert_ne!(upper, lower, "names are case-sensitive");
    assert!("/A/..1/~x_y-z".parse::<Name>().is_ok());
}

/// GAP-24: bounds hold on the wire as in text.
#[test]
fn gap_24_bounds() {
    let longest = format!("/{}/{}/{}/{}", "a".repeat(64), "b".repeat(64), "c".repeat(64), "d".repeat(59));
    assert_eq!(longest.parse::<Name>().unwrap().wire().len(), 255);
    assert_eq!(format!("{longest}e").parse::<Name>(), Err(NameError::TooLong(256)));
    assert!("/a".repeat(32).parse::<Name>().is_ok());
    let frame = sample("task");
    let name: Name = longest.parse().unwrap();
    let bounded = Frame { names: Some((name.clone(), name)), ..frame };
    assert_eq!(Frame::decode(&bounded.encode().unwrap()).unwrap(), bounded);
}

/// GAP-24: a bad name anywhere in a frame is counted as such.
#[test]
fn gap_24_bad_name_on_the_wire() {
    let pdu = sample("task").encode().unwrap();
    let at = pdu.windows(4).position(|w| w == b"\x01B\x014").unwrap() + 1;
    for bad in [b'/', b'%', 0, 0x80, b' '] {
        let mut pdu = pdu.clone();
        pdu[at] = bad;
        assert_eq!(Frame::decode(&pdu).unwrap_err().drop_reason(), DropReason::BadName);
        assert_eq!(frame::RoutedView::parse(&pdu).unwrap_err().drop_reason(), DropReason::BadName);
    }
}

/// Nothing over the longest PDU is written, and hop-local messages keep room for their MAC.
#[test]
fn the_longest_pdu() {
    let Message::Data(mut data) = sample("data-response").message else { panic!("not data") };
    let room = |data: &damc_wire::message::Data| {
        let frame = Frame { message: Message::Data(data.clone()), ..sample("data-response") };
        frame.encode().map(|pdu| pdu.len())
    };
    let used = room(&data).unwrap() - data.payload.len();
    data.payload = vec![7; MAX_PDU - used];
    assert_eq!(room(&data), Ok(MAX_PDU));
    data.payload.push(7);
    assert_eq!(room(&data), Err(EncodeError::TooLarge { len: MAX_PDU + 1 }));

    let Message::LsAck(headers) = sample("ls-ack").message else { panic!("not an acknowledgement") };
    let one = headers[0].clone();
    let fitting = frame::HOP_LOCAL_ROOM / one.encoded_len();
    let pdu = Frame::hop_local(Message::LsAck(vec![one.clone(); fitting])).encode().unwrap();
    assert!(frame::seal(pdu, 1, |_| [0; 16]).len() <= MAX_PDU);
    assert!(Frame::hop_local(Message::LsAck(vec![one; fitting + 1])).encode().is_err());
}

/// The longest LSA of names up to 128 bytes each goes into one frame.
#[test]
fn an_lsa_of_long_names_fits() {
    use damc_wire::lsa::{LsaContent, LsaId, Proof};
    let id = NodeId::new(&"n".repeat(32)).unwrap();
    let name: Name = format!("/{}/{}", "a".repeat(63), "b".repeat(63)).parse().unwrap();
    let Message::LsUpdate(mut lsas) = sample("ls-update-prefix").message else { panic!("not an update") };
    let lsa = &mut lsas[0];
    lsa.key.origin = id.clone();
    lsa.key.id = LsaId::Prefix(name.clone(), id.clone());
    lsa.certificate.domain = id.clone();
    lsa.certificate.node = id.clone();
    let LsaContent::Prefix(prefix) = &mut lsa.content else { panic!("not a prefix") };
    prefix.instance = Some(name.clone());
    let Proof::Grant(grant) = &mut prefix.proof else { panic!("not a grant") };
    (grant.prefix, grant.pod, grant.sg) = (name, id.clone(), id.clone());
    (grant.certificate.domain, grant.certificate.node) = (id.clone(), id);
    assert!(lsa.encoded_len() <= frame::HOP_LOCAL_ROOM, "{}", lsa.encoded_len());
}

/// An empty list has no encoding where the message would say nothing.
#[test]
fn empty_lists_are_refused() {
    assert!(Frame::hop_local(Message::LsUpdate(Vec::new())).encode().is_err());
    let mut pdu = sample("ls-ack").encode().unwrap();
    pdu.truncate(16);
    pdu[4..6].copy_from_slice(&16_u16.to_be_bytes());
    assert_eq!(Frame::decode(&pdu).unwrap_err().kind, DecodeErrorKind::MissingTlv("lsa-header"));
}
