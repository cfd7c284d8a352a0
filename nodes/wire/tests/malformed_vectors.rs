//! `vectors/malformed/*.hex`: frames that a receiver drops before it looks for an adjacency, each with its reason; and
//! `vectors/forwarded/*.hex`: frames as a forwarder leaves them.

use damc_wire::frame::{Ahead, HeaderView, ROUTED_HEADER_LEN, RoutedView};
use damc_wire::registry::{HEADER_LEN, MAX_PDU, TlvType};
use damc_wire::{DropReason, Frame, crc32c};

mod samples;
mod vector_file;

use vector_file::{agreed, described, folder, titles};

fn sample(title: &str) -> Vec<u8> {
    samples::all().into_iter().find(|(t, _)| *t == title).unwrap().1.encode().unwrap()
}

/// Offset of the first TLV of a type.
fn find(pdu: &[u8], wanted: TlvType) -> usize {
    let mut at = if HeaderView::of(pdu).is_routed() { ROUTED_HEADER_LEN } else { HEADER_LEN };
    while pdu[at] != wanted.code() {
        at += 3 + usize::from(u16::from_be_bytes([pdu[at + 1], pdu[at + 2]]));
    }
    at
}

/// Corrects the length and, in a routed message, the checksum: nothing else is to be wrong.
fn settled(mut pdu: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(pdu.len()).unwrap();
    pdu[4..6].copy_from_slice(&length.to_be_bytes());
    if HeaderView::of(&pdu).is_routed() {
        let at = find(&pdu, TlvType::Checksum);
        let crc = crc32c(&pdu[ROUTED_HEADER_LEN..at]);
        pdu[at + 3..at + 7].copy_from_slice(&crc.to_be_bytes());
    }
    pdu
}

/// A sample with a byte of it changed.
fn with(title: &str, at: impl FnOnce(&[u8]) -> usize, value: u8) -> Vec<u8> {
    let mut pdu = sample(title);
    let at = at(&pdu);
    assert_ne!(pdu[at], value, "{title} is as before");
    pdu[at] = value;
    pdu
}

/// A sample with a TLV put in at an offset.
fn with_tlv(title: &str, at: impl FnOnce(&[u8]) -> usize, t: u8, value: &[u8]) -> Vec<u8> {
    let mut pdu = sample(title);
    let at = at(&pdu);
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    pdu.splice(at..at, [&[t], &length[..], value].concat());
    settled(pdu)
}

/// A sample whose first TLV of a type has another value.
fn with_value(title: &str, t: TlvType, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut pdu = sample(title);
    let at = find(&pdu, t);
    let end = at + 3 + usize::from(u16::from_be_bytes([pdu[at + 1], pdu[at + 2]]));
    let mut value = pdu[at + 3..end].to_vec();
    change(&mut value);
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    pdu.splice(at..end, [&[t.code()], &length[..], &value].concat());
    settled(pdu)
}

/// Title, reason, what is wrong, bytes.
type Malformed = (&'static str, DropReason, &'static str, Vec<u8>);

fn headers() -> Vec<Malformed> {
    use DropReason as R;
    let length = |value: u16| {
        let mut pdu = sample("echo");
        pdu[4..6].copy_from_slice(&value.to_be_bytes());
        pdu
    };
    let whole = u16::try_from(sample("echo").len()).unwrap();
    let mut long = sample("data-response");
    long.resize(MAX_PDU + 1, 0);
    long[4..6].copy_from_slice(&u16::try_from(MAX_PDU + 1).unwrap().to_be_bytes());
    vec![
        ("version-2", R::BadVersion, "Version is 2", with("echo", |_| 0, 2)),
        ("half-a-header", R::Truncated, "15 bytes arrived", sample("echo")[..15].to_vec()),
        ("length-below-header", R::Malformed, "Length is 15", length(15)),
        ("length-below-bytes", R::Oversized, "Length is one less than what arrived", length(whole - 1)),
        ("length-above-bytes", R::Truncated, "Length is one more than what arrived", length(whole + 1)),
        ("pdu-of-1501-bytes", R::Oversized, "Length is 1501, and so many bytes arrived", long),
        ("type-unassigned", R::UnknownType, "Type is 0x7f", with("echo", |_| 1, 0x7f)),
        ("type-unassigned-routed", R::UnknownType, "Type is 0xff", with("task", |_| 1, 0xff)),
        ("hop-limit-2", R::Malformed, "a hop-local message with Hop Limit 2", with("echo", |_| 3, 2)),
        ("hop-local-flow", R::Malformed, "a hop-local message with a Flow", with("echo", |_| 11, 1)),
        ("hop-local-label", R::Malformed, "a hop-local message with a Label", with("echo", |_| 15, 1)),
    ]
}

fn tlvs() -> Vec<Malformed> {
    use DropReason as R;
    let padding = TlvType::Padding.code();
    let no_lsa = settled(sample("ls-ack")[..16].to_vec());
    let cut = settled(sample("revoke-ack")[..20].to_vec());
    vec![
        ("tlv-unknown-critical", R::UnknownCriticalTlv, "TLV 0xfe in front", with_tlv("echo", |_| 16, 0xfe, b"x")),
        ("tlv-before-its-place", R::Malformed, "Padding before Body", with_tlv("echo", |_| 16, padding, &[0])),
        ("tlv-after-hop-mac", R::Malformed, "Padding after HopMac", with_tlv("echo", <[u8]>::len, padding, &[0])),
        ("tlv-missing", R::Malformed, "an LsAck without LsaHeader", no_lsa),
        ("tlv-cut-off", R::Truncated, "Body is longer than the rest of the PDU", cut),
        (
            "hello-with-hop-mac",
            R::Malformed,
            "a hello has no HopMac",
            with_tlv("hello-fresh", <[u8]>::len, TlvType::HopMac.code(), &[0; 24]),
        ),
    ]
}

fn values() -> Vec<Malformed> {
    use DropReason as R;
    let body = |title, change: fn(&mut Vec<u8>)| with_value(title, TlvType::Body, change);
    let hop = |change: fn(&mut Vec<u8>)| with_value("data-request", TlvType::Hop, change);
    let swapped = {
        let mut pdu = sample("announce");
        // The three announcements stand in a row; the last, a withdrawal, goes first.
        let at = find(&pdu, TlvType::Announcement);
        let end = find(&pdu, TlvType::Signature);
        let withdrawal = 3 + 1 + 1 + 4;
        pdu[at..end].rotate_right(withdrawal);
        pdu
    };
    let name = |change: fn(&mut Vec<u8>)| with_value("task", TlvType::Destination, change);
    vec![
        ("value-short", R::Truncated, "Body lacks its last byte", body("echo", |v| v.truncate(v.len() - 1))),
        ("value-long", R::Oversized, "Body has a byte too many", body("echo", |v| v.push(0))),
        ("session-0", R::Malformed, "a hello with session 0", body("hello-fresh", |v| v[..8].fill(0))),
        ("node-identity-upper-case", R::Malformed, "heard node is `Sr-left`", body("hello-fresh", |v| v[22] = b'S')),
        ("data-kind-4", R::Malformed, "a kind that is not named", body("data-response", |v| v[0] = 4)),
        ("method-empty", R::Malformed, "a request without a method", body("data-request", |v| v.truncate(13))),
        (
            "trace-id-0",
            R::Malformed,
            "a trace context whose trace id is 0",
            with_value("data-request-in-trace", TlvType::TraceContext, |v| v[..16].fill(0)),
        ),
        (
            "trace-context-of-a-response",
            R::Malformed,
            "a response with a trace context",
            with_tlv("data-response", |pdu| find(pdu, TlvType::Checksum), TlvType::TraceContext.code(), &[1; 25]),
        ),
        ("train-index-of-length", R::Malformed, "train index 32 of 32", body("probe-train", |v| v[13] = 32)),
        (
            "padding-not-zero",
            R::Malformed,
            "a byte of Padding is 1",
            with_value("probe-train", TlvType::Padding, |v| v[5] = 1),
        ),
        ("hop-flag", R::Malformed, "a flag of a Hop that is not named", hop(|v| v[0] = 2)),
        ("withdrawal-first", R::Malformed, "a withdrawal before an addition", swapped),
        ("name-empty", R::BadName, "a Destination of no bytes", name(Vec::clear)),
        ("name-component-empty", R::BadName, "a component of no bytes", name(|v| v[0] = 0)),
        ("name-character", R::BadName, "a component with `%`", name(|v| v[1] = b'%')),
        ("name-dots", R::BadName, "a component that is `..`", name(|v| v.extend([2, b'.', b'.']))),
        (
            "checksum",
            R::BadChecksum,
            "a byte of the payload has changed on the way",
            with("data-response", |pdu| find(pdu, TlvType::Payload) + 3, b'6'),
        ),
    ]
}

#[test]
fn malformed_frames_have_the_reason_of_their_vector() {
    let all: Vec<Malformed> = [headers(), tlvs(), values()].concat();
    for (title, reason, what, pdu) in &all {
        let bytes = agreed(&folder("malformed"), title, &format!("{reason}\n{what}"), pdu);
        let error = Frame::decode(&bytes).expect_err(title);
        assert_eq!(error.drop_reason(), *reason, "{title}: {error}");
    }
    let mut there: Vec<String> = all.iter().map(|(title, ..)| (*title).to_owned()).collect();
    there.sort();
    assert_eq!(there, titles(&folder("malformed")));
}

/// A frame as a node forwards it that is so far from the destination.
fn forwarded(ahead: Ahead) -> Vec<u8> {
    let mut pdu = sample("data-request");
    let mut view = RoutedView::parse(pdu.as_mut_slice()).unwrap();
    view.set_hop_limit(63);
    view.set_ahead(ahead);
    pdu
}

#[test]
fn forwarded_frames_say_how_far_they_have_to_go() {
    let cases = [
        ("ahead", "Ahead 12", Ahead { cost: 12, uphill: false }),
        ("uphill", "Ahead 12, U set", Ahead { cost: 12, uphill: true }),
        ("not-known", "Ahead 0: not known", Ahead { cost: 0, uphill: false }),
    ];
    for (title, what, ahead) in cases {
        let pdu = forwarded(ahead);
        let frame = Frame::decode(&pdu).unwrap();
        let bytes = agreed(&folder("forwarded"), title, &format!("{what}\n{}", described(&frame)), &pdu);
        assert_eq!(HeaderView::of(&bytes).ahead(), ahead, "{title}");
        assert_eq!(bytes[6..8], ahead.cost.to_be_bytes(), "{title}");
    }
    assert_eq!(titles(&folder("forwarded")), ["ahead", "not-known", "uphill"]);
}
