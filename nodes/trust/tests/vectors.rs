//! `nodes/wire/tests/vectors/signed/*.hex`: frames with signatures that verify, one for each context, with the secrets that
//! made them. `DAMC_BLESS=1` writes them anew.

use damc_trust::{NodeKeys, NodeSecrets, RootSecret, Verifier};
use damc_wire::lsa::{LsaContent, LsaId, LsaKey, PrefixLsa, Proof};
use damc_wire::message::{Announce, AnnounceEntry, AuthRequest, Hello, Telemetry};
use damc_wire::security::{CertifiedName, Grant};
use damc_wire::{Frame, Message, Millis, Name, NodeId, Role, Timestamp, hex};

#[path = "../../wire/tests/vector_file/mod.rs"]
mod vector_file;

use vector_file::{agreed, described, folder, titles};

const ROOT: [u8; 32] = [0x11; 32];

fn id(s: &str) -> NodeId {
    NodeId::new(s).unwrap()
}

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

/// The secrets are single bytes, repeated: whoever has no Ed25519 secret to spare can type them.
fn secrets(signing: u8) -> NodeSecrets {
    NodeSecrets { signing: [signing; 32], agreement: [signing + 1; 32] }
}

fn keys(node: &str, role: Role, signing: u8) -> NodeKeys {
    let (root, domain, secrets) = (RootSecret::from_seed(&ROOT), id("example"), secrets(signing));
    let names = [("/A", true), ("/A/1", false)];
    let certificate = match role {
        Role::Spa => {
            let names = names.map(|(n, exact)| CertifiedName { name: name(n), exact });
            root.issue_spa(&domain, &id(node), &secrets, names.into())
        }
        _ => root.issue(&domain, &id(node), role, &secrets),
    };
    NodeKeys::new(&secrets, certificate).unwrap()
}

fn sg() -> NodeKeys {
    keys("sg-1", Role::Sg, 0x21)
}

fn pod() -> NodeKeys {
    keys("pod-1", Role::Pod, 0x41)
}

fn spa() -> NodeKeys {
    keys("spa-1", Role::Spa, 0x31)
}

fn hello() -> Message {
    Message::Hello(sg().sign_hello(Hello {
        certificate: sg().certificate().clone(),
        session: 0x0123_4567_89ab_cdef,
        heard: Some((id("sr-left"), 0x1122_3344_5566_7788)),
        hello_interval: Millis(500),
        dead_interval: Millis(4_000),
        echo_interval: Millis(50),
        echo_multiplier: 3,
        signature: [0; 64],
    }))
}

fn announce() -> Announce {
    let add = vec![AnnounceEntry { prefix: name("/A/1"), pool: Some(name("/A")), weight: 1 }];
    pod().sign_announce(1, (id("sg-1"), 0x0123_4567_89ab_cdef), add, vec![name("/A/1/old")])
}

fn grant(prefix: &str, exact: bool, serial: u64) -> Grant {
    spa().sign_grant(Grant {
        prefix: name(prefix),
        exact,
        depth: if exact { 0 } else { 255 },
        pod: id("pod-1"),
        pod_key: pod().certificate().signing_key,
        sg: id("sg-1"),
        issued_at: Millis(1_000),
        expires_at: Millis(601_000),
        serial,
        certificate: spa().certificate().clone(),
        signature: [0; 64],
    })
}

fn lsa(prefix: &str, exact: bool, serial: u64) -> damc_wire::lsa::Lsa {
    let instance = exact.then(|| name("/A/1"));
    let proof = Proof::Grant(grant(prefix, exact, serial));
    let content = LsaContent::Prefix(PrefixLsa { metric: 1, weight: 1, exact, instance, proof });
    let key = LsaKey { origin: id("sg-1"), id: LsaId::Prefix(name(prefix), id("pod-1")) };
    sg().sign_lsa(key, 1, Millis(3_600_000), content)
}

fn telemetry() -> Frame {
    let body = Telemetry { sequence: 17, paths: Vec::new(), links: Vec::new() };
    let (scsc, own) = (name("/damc/example/scsc"), name("/damc/example/sg-1"));
    let signed = sg().sign_routed(&scsc, &own, body);
    Frame::routed(scsc, own, 0, 0, 64, Message::Telemetry(signed))
}

fn all() -> Vec<(&'static str, Frame)> {
    let request = AuthRequest { request: 3, certificate: pod().certificate().clone(), announce: announce() };
    let local = |message| Frame::hop_local(message);
    vec![
        ("hello", local(hello())),
        ("announce", local(Message::Announce(announce()))),
        ("auth-request", local(Message::AuthRequest(request))),
        ("ls-update-instance-and-pool", local(Message::LsUpdate(vec![lsa("/A/1", false, 7), lsa("/A", true, 8)]))),
        ("telemetry", telemetry()),
    ]
}

/// Says whether all that is signed in a frame verifies.
fn verifies(frame: &Frame) -> bool {
    let mut verifier = Verifier::new(RootSecret::from_seed(&ROOT).public(), id("example"));
    match &frame.message {
        Message::Hello(hello) => verifier.verify_hello(hello).is_ok(),
        Message::Announce(announce) => verifier.verify_announce(announce, pod().certificate()).is_ok(),
        Message::AuthRequest(request) => verifier.verify_announce(&request.announce, &request.certificate).is_ok(),
        Message::LsUpdate(lsas) => lsas.iter().all(|l| verifier.verify_lsa(Timestamp::ZERO, l.clone()).is_ok()),
        Message::Telemetry(signed) => {
            let (destination, source) = frame.names.as_ref().unwrap();
            verifier.verify_routed(destination, source, signed, &[Role::Sg, Role::Sr]).is_ok()
        }
        other => panic!("{other:?} has no verification here"),
    }
}

/// What signatures cover, and the signatures. Outside of it are an LSA's time left and an SG's own request number.
fn covered(frame: &Frame) -> Vec<Vec<u8>> {
    match &frame.message {
        Message::Hello(hello) => vec![hello.signed_part(), hello.signature.to_vec()],
        Message::Announce(announce) => vec![announce.signed_part(), announce.signature.to_vec()],
        Message::AuthRequest(AuthRequest { certificate, announce, .. }) => {
            vec![announce.signed_part(), announce.signature.to_vec(), certificate.encode()]
        }
        Message::LsUpdate(lsas) => lsas.iter().flat_map(|l| [l.signed_part(), l.signature.to_vec()]).collect(),
        Message::Telemetry(signed) => {
            let (destination, source) = frame.names.as_ref().unwrap();
            vec![signed.signed_part(destination, source), signed.signature.to_vec()]
        }
        other => panic!("{other:?} has no signature here"),
    }
}

const WHO: [(&str, u8); 3] = [("sg-1", 0x21), ("spa-1", 0x31), ("pod-1", 0x41)];

fn header() -> String {
    let mut text = format!(
        "root secret {}\nroot key {}\n",
        hex::to_hex(&ROOT),
        hex::to_hex(&RootSecret::from_seed(&ROOT).public().to_bytes())
    );
    for (node, signing) in WHO {
        let secrets = secrets(signing);
        text += &format!("{node} signing secret {}\n", hex::to_hex(&secrets.signing));
        text += &format!("{node} agreement secret {}\n", hex::to_hex(&secrets.agreement));
    }
    text
}

#[test]
fn signed_frames_verify_and_no_bit_of_them_may_change() {
    for (title, frame) in all() {
        let comment = format!("{}{}", header(), described(&frame));
        let bytes = agreed(&folder("signed"), title, &comment, &frame.encode().unwrap());
        assert_eq!(Frame::decode(&bytes).unwrap(), frame, "{title}");
        assert!(verifies(&frame), "{title}");
        let end = bytes.len() - if frame.names.is_some() { 7 } else { 0 };
        for at in 16..end {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // A changed length or name is no frame any more; one that is must not verify.
            let Ok(other) = Frame::decode(&changed) else { continue };
            if covered(&other) == covered(&frame) {
                continue;
            }
            assert!(!verifies(&other), "{title}: byte {at} may change");
        }
    }
    let mut there: Vec<&str> = all().iter().map(|(title, _)| *title).collect();
    there.sort_unstable();
    assert_eq!(titles(&folder("signed")), there);
}
