//! Every value has one encoding and every accepted encoding one value.

use damc_wire::frame::{self, HopSecurity, RoutedView};
use damc_wire::lsa::Lsa;
use damc_wire::registry::{HEADER_LEN, MAX_PDU};
use damc_wire::security::{Certificate, Grant};
use damc_wire::{Frame, Message, MessageType, Name};
use proptest::prelude::*;

mod generate;

macro_rules! round_trips {
    ($($test:ident: $t:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]
            $(
                #[test]
                fn $test(frame in generate::frame(MessageType::$t)) { check(&frame)? }
            )*
        }

        /// A message type added to the registry is added here.
        #[test]
        fn every_message_type_is_covered() {
            let covered = [$(MessageType::$t),*];
            assert_eq!(covered, MessageType::ALL);
        }
    };
}

round_trips! {
    hello: Hello;
    echo: Echo;
    announce: Announce;
    announce_reply: AnnounceReply;
    ls_update: LsUpdate;
    ls_ack: LsAck;
    db_summary: DbSummary;
    ls_request: LsRequest;
    auth_request: AuthRequest;
    auth_reply: AuthReply;
    revoke: Revoke;
    revoke_ack: RevokeAck;
    topology: Topology;
    topology_ack: TopologyAck;
    attach: Attach;
    attach_ack: AttachAck;
    data: Data;
    telemetry: Telemetry;
    policy: Policy;
    qos_ack: QosAck;
    probe: Probe;
    probe_reply: ProbeReply;
    task: Task;
    task_report: TaskReport;
    nack: Nack;
    path_query: PathQuery;
    path_reply: PathReply;
    packet: Packet;
}

/// What holds for every frame.
fn check(frame: &Frame) -> Result<(), TestCaseError> {
    let pdu = frame.encode().map_err(|e| TestCaseError::reject(e.to_string()))?;
    prop_assert_eq!(&Frame::decode(&pdu).unwrap(), frame);
    // No part of a message is a message.
    for cut in 0..pdu.len() {
        prop_assert!(Frame::decode(&pdu[..cut]).is_err(), "accepted {} of {} bytes", cut, pdu.len());
    }
    // Neither with a length that agrees with the cut, except where it falls behind the checksum, between hops.
    for cut in HEADER_LEN..pdu.len() {
        let mut short = pdu[..cut].to_vec();
        short[4..6].copy_from_slice(&u16::try_from(cut).unwrap().to_be_bytes());
        if let Ok(accepted) = Frame::decode(&short) {
            prop_assert_eq!(accepted.encode().unwrap(), short);
        }
    }
    let mut long = pdu.clone();
    long.push(0);
    prop_assert!(Frame::decode(&long).is_err());

    if frame.names.is_some() {
        check_routed(frame, &pdu)
    } else if frame.header.message_type != MessageType::Hello {
        check_sealed(frame, pdu)
    } else {
        Ok(())
    }
}

fn check_routed(frame: &Frame, pdu: &[u8]) -> Result<(), TestCaseError> {
    let view = RoutedView::parse(pdu).unwrap();
    let (destination, source) = frame.names.as_ref().unwrap();
    prop_assert_eq!(*view.header(), frame.header);
    prop_assert_eq!(&Name::from_wire(view.destination()).unwrap(), destination);
    prop_assert_eq!(&Name::from_wire(view.source()).unwrap(), source);
    prop_assert!(frame::body_of(pdu).is_some());
    Ok(())
}

fn check_sealed(frame: &Frame, pdu: Vec<u8>) -> Result<(), TestCaseError> {
    let sealed = frame::seal(pdu, 77, |_| [9; 16]);
    prop_assert!(sealed.len() <= MAX_PDU);
    let security = HopSecurity { counter: 77, mac: [9; 16] };
    let secured = Frame { security: Some(security), ..frame.clone() };
    prop_assert_eq!(&Frame::decode(&sealed).unwrap(), &secured);
    prop_assert_eq!(secured.encode().unwrap(), sealed);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn standalone_encodings(c in generate::certificate(), g in generate::grant(), l in generate::lsa()) {
        prop_assert_eq!(&Certificate::decode(&c.encode()).unwrap(), &c);
        prop_assert_eq!(&Grant::decode(&g.encode()).unwrap(), &g);
        let bytes = l.encode().unwrap();
        prop_assert_eq!(&Lsa::decode(&bytes).unwrap(), &l);
        prop_assert_eq!(l.encoded_len(), bytes.len() + 3);
        prop_assert!(Lsa::decode(&bytes[..bytes.len() - 1]).is_err());
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(Lsa::decode(&longer).is_err());
    }

    /// Ageing changes `remaining` and nothing that is signed.
    #[test]
    fn lsa_signature_covers_all_but_remaining(l in generate::lsa(), other in generate::lsa()) {
        let mut aged = l.clone();
        aged.remaining.0 /= 2;
        prop_assert_eq!(aged.signed_part(), l.signed_part());
        let mut changed = l.clone();
        changed.sequence ^= 1;
        prop_assert_ne!(changed.signed_part(), l.signed_part());
        if other.certificate != l.certificate {
            let changed = Lsa { certificate: other.certificate, ..l.clone() };
            prop_assert_ne!(changed.signed_part(), l.signed_part());
        }
    }

    /// A signed message means something else between other names and of another type.
    #[test]
    fn class_4_signatures_cover_the_names(m in generate::message(MessageType::PathQuery), a in generate::name(),
        b in generate::name()) {
        let Message::PathQuery(m) = m else { panic!("generated another type") };
        let covered = m.signed_part(&a, &b);
        prop_assert!(covered.starts_with(b"damc qos v1\0\x89"));
        if a != b {
            prop_assert_ne!(m.signed_part(&b, &a), covered);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), honest_header: bool) {
        if honest_header && bytes.len() >= HEADER_LEN {
            bytes[0] = 1;
            bytes[1] = MessageType::ALL[usize::from(bytes[1]) % MessageType::ALL.len()].code();
            let len = u16::try_from(bytes.len()).unwrap();
            bytes[4..6].copy_from_slice(&len.to_be_bytes());
            if bytes[1] & 0x80 == 0 {
                bytes[3] = 1;
                bytes[8..16].fill(0);
            }
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert!(frame.encode().is_ok());
        }
        let _ = (RoutedView::parse(&bytes), frame::open(&bytes), frame::body_of(&bytes));
        let _ = (Lsa::decode(&bytes), Certificate::decode(&bytes), Grant::decode(&bytes));
    }
}
