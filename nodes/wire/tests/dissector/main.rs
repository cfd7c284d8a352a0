//! `dissector/damc.lua` in tshark says what our decoder says: of every vector all fields, of every damaged vector the
//! line or the drop reason. Without tshark these tests say so and are ignored, unless `CI` is set.

use std::path::Path;
use std::process::ExitCode;

use damc_wire::frame::{HOP_MAC_LEN, HeaderView, ROUTED_HEADER_LEN};
use damc_wire::registry::HEADER_LEN;
use damc_wire::{DropReason, Frame, Message, MessageType};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod fields;
mod registries;
#[path = "../samples/mod.rs"]
mod samples;
mod tshark;

type Result = std::result::Result<(), Failed>;

fn main() -> ExitCode {
    let missing = tshark::missing();
    let with_tshark = |name: &str, test: fn() -> Result| {
        let missing = missing.clone();
        Trial::ignorable_test(name, move || match missing {
            None => test().map(|()| Completion::Completed),
            Some(reason) if std::env::var_os("CI").is_some() => Err(Failed::from(reason)),
            Some(reason) => Ok(Completion::ignored_with(reason)),
        })
    };
    let trials = vec![
        Trial::test("its code points are those of the registry", registries::agree),
        with_tshark("every field of every vector has the decoded value", every_field),
        with_tshark("vectors of every kind, and damaged ones, have the decoder's reason or its line", damaged_frames),
        with_tshark("an answer is joined with its request where both passed", requests_and_answers),
        with_tshark("an inner packet has its own dissection", inner_packet),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Fails with what both say where they differ.
fn same<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, ours: &T, theirs: &T) -> Result {
    if ours == theirs { Ok(()) } else { Err(format!("{what}\n  decoder:   {ours:?}\n  dissector: {theirs:?}").into()) }
}

fn every_field() -> Result {
    let samples = samples::all();
    let frames: Vec<_> = samples.iter().map(|(_, frame)| frame.encode().expect("a sample")).collect();
    let seen = tshark::fields_of(&frames)?;
    same("frames", &samples.len(), &seen.len())?;
    for (((title, frame), pdu), theirs) in samples.iter().zip(&frames).zip(seen) {
        let ours = fields::of(frame, pdu);
        for name in ours.keys().chain(theirs.keys()) {
            same(&format!("{title}: {name}"), &ours.get(name), &theirs.get(name))?;
        }
    }
    Ok(())
}

/// What becomes of a PDU by its bytes alone: its line, or the reason for which it is dropped.
fn verdict(pdu: &[u8]) -> std::result::Result<String, DropReason> {
    let frame = Frame::decode(pdu).map_err(|error| error.drop_reason())?;
    let takes_mac = frame.names.is_none() && frame.header.message_type != MessageType::Hello;
    if takes_mac && frame.security.is_none() { Err(DropReason::MissingMac) } else { Ok(frame.to_string()) }
}

/// Every byte of every vector changed in two ways, every vector cut off everywhere, with its own length and with one
/// that fits, and with TLVs put in.
fn damage(pdu: &[u8]) -> Vec<Vec<u8>> {
    let changed = |at: usize, mask: u8| {
        let mut pdu = pdu.to_vec();
        pdu[at] ^= mask;
        pdu
    };
    let of_length = |mut pdu: Vec<u8>| {
        let length = u16::try_from(pdu.len()).expect("a PDU");
        pdu.get_mut(4..6).into_iter().for_each(|field| field.copy_from_slice(&length.to_be_bytes()));
        pdu
    };
    let mut all: Vec<_> = (0..pdu.len()).flat_map(|at| [0x01, 0xff].map(|mask| changed(at, mask))).collect();
    all.extend((1..pdu.len()).flat_map(|end| [pdu[..end].to_vec(), of_length(pdu[..end].to_vec())]));
    let head = if HeaderView::of(pdu).is_routed() { ROUTED_HEADER_LEN } else { HEADER_LEN };
    for tlv in [[0x7e, 0, 1, 9], [0xfe, 0, 1, 9], [0x8c, 0, 1, 9], [0x7e, 0, 2, 9]] {
        all.push(of_length([pdu, &tlv].concat()));
        all.push(of_length([&pdu[..head], &tlv, &pdu[head..]].concat()));
    }
    if pdu.len() > HOP_MAC_LEN + 16 {
        all.push(of_length(pdu[..pdu.len() - HOP_MAC_LEN].to_vec()));
    }
    all
}

/// The bytes of every vector file, in folders below too: those that must be refused, signed, changed by forwarders.
fn files(folder: &Path) -> std::result::Result<Vec<Vec<u8>>, Failed> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else {
            let hex: String = std::fs::read_to_string(&path)?.lines().filter(|line| !line.starts_with('#')).collect();
            all.push(damc_wire::hex::from_hex(&hex).map_err(|error| format!("{}: {error}", path.display()))?);
        }
    }
    Ok(all)
}

fn damaged_frames() -> Result {
    let vectors = samples::all().into_iter().map(|(_, frame)| frame.encode().expect("a sample"));
    // Ethernet pads short frames to 46 bytes, which are read as such (WIRE.md section 1).
    let all = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"))?;
    let frames = all.into_iter().chain(vectors.flat_map(|pdu| damage(&pdu)));
    let frames: Vec<_> = frames.filter(|pdu| pdu.len() != 46).collect();
    let mut dropped = 0;
    for (pdu, (line, drop)) in frames.iter().zip(tshark::lines_of(&frames)?) {
        let what = damc_wire::hex::to_hex(pdu);
        match verdict(pdu) {
            Ok(ours) => {
                same(&what, "", &*drop)?;
                let is_packet = matches!(Frame::decode(pdu), Ok(Frame { message: Message::Packet(_), .. }));
                if !is_packet {
                    same(&what, &ours, &line)?;
                }
            }
            Err(reason) => {
                dropped += 1;
                same(&what, &reason.code().to_string(), &drop)?;
            }
        }
    }
    if dropped * 4 < frames.len() { Err("too few of the frames are damaged to mean much".into()) } else { Ok(()) }
}

fn requests_and_answers() -> Result {
    let pdu = |title: &str| {
        let (_, frame) = samples::all().into_iter().find(|(t, _)| *t == title).expect("a sample");
        frame.encode().expect("a sample")
    };
    let frames = ["task", "data-request", "probe", "task-report", "nack", "probe-reply", "data-response"].map(pdu);
    let linked = tshark::exchanges_of(&frames)?;
    // One second lies between two frames. The first answer counts: the response comes after the negative reply.
    let ours = ["||4", "||5", "||6", "1|3.000000000|", "2|3.000000000|", "3|3.000000000|", "||"];
    same("request, time, answer of each frame", &ours.map(str::to_owned).to_vec(), &linked)
}

fn inner_packet() -> Result {
    let (_, frame) = samples::all().into_iter().find(|(title, _)| *title == "packet").expect("a sample");
    let rows = tshark::columns(&[frame.encode().expect("a sample")], &["_ws.col.Protocol", "ipv6.dst", "icmpv6.type"])?;
    let ours = ["DAMC|fdbf:6f21:1f61:8a1a:59c0:f859:22b6:22ed|128".to_owned()];
    same("protocol, IPv6 destination, ICMPv6 type", &ours[..], &rows)
}
