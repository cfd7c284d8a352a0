//! Deterministic mutation of valid frames: whatever arrives is decoded or refused, never a panic, and what is accepted
//! encodes to what arrived.

use std::collections::BTreeMap;

use damc_wire::frame::{self, Ahead, HeaderView, LinkKey, ROUTED_HEADER_LEN, RoutedLayout, RoutedView};
use damc_wire::registry::{HEADER_LEN, MAX_PDU};
use damc_wire::{DropReason, Frame, pretty};

mod samples;

/// Mutants tried for each seed frame.
const MUTANTS: usize = 6_000;

/// SplitMix64 (public domain, S. Vigna): enough randomness for picking bytes, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn mutate(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut pdu = seed.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(pdu.len());
        match random.below(9) {
            0 => pdu.truncate(at.max(1)),
            1 => pdu[at] ^= 1 << random.below(8),
            2 => pdu[at] = random.byte(),
            3 => pdu[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            4 => {
                let extra = random.below(MAX_PDU);
                pdu.extend((0..extra).map(|i| other[i % other.len()]));
            }
            5 => pdu.insert(at, random.byte()),
            6 => {
                pdu.remove(at);
                if pdu.is_empty() {
                    pdu.push(0);
                }
            }
            7 => pdu.splice(at.., other[random.below(other.len())..].iter().copied()).for_each(drop),
            _ => pdu[at..].reverse(),
        }
        if pdu.is_empty() {
            pdu.push(random.byte());
        }
    }
    // Most mutants get past the outermost checks, so that the inner ones are exercised.
    if random.below(4) != 0 && pdu.len() >= HEADER_LEN {
        let len = u16::try_from(pdu.len().min(MAX_PDU)).unwrap();
        pdu.truncate(MAX_PDU);
        pdu[0] = 1;
        pdu[4..6].copy_from_slice(&len.to_be_bytes());
        repair_checksum(&mut pdu);
    }
    pdu
}

/// Gives a routed PDU that ends in a Checksum TLV a right one: an attacker can, too.
fn repair_checksum(pdu: &mut [u8]) {
    let Some(at) = pdu.len().checked_sub(7).filter(|at| *at >= ROUTED_HEADER_LEN) else { return };
    if pdu[1] & 0x80 != 0 && pdu[at..].starts_with(&[0x8d, 0, 4]) {
        let crc = damc_wire::crc32c(&pdu[ROUTED_HEADER_LEN..at]);
        pdu[at + 3..].copy_from_slice(&crc.to_be_bytes());
    }
}

#[test]
fn mutated_frames_are_refused_or_meant() {
    let seeds: Vec<Vec<u8>> = samples::all().iter().map(|(_, f)| f.encode().unwrap()).collect();
    let mut random = Random(0xda3c);
    let mut verdicts: BTreeMap<Option<DropReason>, usize> = BTreeMap::new();
    for seed in &seeds {
        for _ in 0..MUTANTS {
            let other = &seeds[random.below(seeds.len())];
            let pdu = mutate(seed, other, &mut random);
            *verdicts.entry(judge(&pdu)).or_default() += 1;
        }
    }
    assert!(verdicts.values().sum::<usize>() >= 200_000, "{verdicts:?}");
    // The generator reaches every reason that decoding knows, and acceptance.
    for reason in [
        DropReason::Truncated,
        DropReason::Oversized,
        DropReason::BadVersion,
        DropReason::UnknownType,
        DropReason::UnknownCriticalTlv,
        DropReason::Malformed,
        DropReason::BadName,
        DropReason::BadChecksum,
    ] {
        assert!(verdicts.contains_key(&Some(reason)), "{reason} never occurred: {verdicts:?}");
    }
    assert!(verdicts.get(&None).is_some_and(|n| *n > 1_000), "{verdicts:?}");
}

fn judge(pdu: &[u8]) -> Option<DropReason> {
    let mut copy = pdu.to_vec();
    let mut header = HeaderView::of(&mut copy);
    header.set_label(1);
    header.set_hop_limit(1);
    header.set_ahead(Ahead { cost: 1, uphill: true });
    LinkKey::new(&[1; 32]).seal(&mut copy);
    let sealed = copy.len() >= ROUTED_HEADER_LEN;
    assert_eq!(LinkKey::new(&[1; 32]).check(&copy).is_ok(), sealed, "no other way to tell");
    let header = HeaderView::of(pdu);
    let _ = (header.message_type(), header.is_routed(), header.length(), header.ahead());
    let _ = (frame::open(pdu), frame::body_of(pdu), frame::without_padding(pdu), pretty::pdu(pdu));
    let view = RoutedView::parse(pdu).map(|mut view| {
        let said = (view.trace(), view.inner_packet(), view.checksum_holds(), view.nack_about());
        // On bytes that it was not found in.
        view = RoutedLayout::of(pdu).unwrap().view(&pdu[..pdu.len() / 2]);
        let _ = (view.destination(), view.source(), view.trace(), view.inner_packet(), view.checksum_holds());
        said
    });
    match Frame::decode(pdu) {
        Err(e) => {
            assert!(e.offset <= pdu.len(), "{e} in {} bytes", pdu.len());
            Some(e.drop_reason())
        }
        Ok(frame) => {
            assert_eq!(view.is_ok(), frame.names.is_some());
            let again = frame.encode().unwrap_or_else(|e| panic!("{frame}: {e}"));
            // Reserved bits and unknown TLVs that may be skipped are all that an encoding may lose.
            assert_eq!(Frame::decode(&again).as_ref(), Ok(&frame));
            assert!(again.len() <= pdu.len());
            None
        }
    }
}
