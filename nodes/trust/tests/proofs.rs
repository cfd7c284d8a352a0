//! What verifies and, above all, what does not.

use damc_trust::{NodeKeys, NodeSecrets, RootSecret, TrustError, Verifier};
use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey, PrefixLsa, Proof, TopologyLsa};
use damc_wire::security::{CertifiedName, Grant};
use damc_wire::{DropReason, Millis, Name, NodeId, Role, Timestamp};

const SEED: [u8; 32] = [1; 32];

fn id(s: &str) -> NodeId {
    NodeId::new(s).unwrap()
}

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn keys(node: &str, role: Role) -> NodeKeys {
    let secrets = NodeSecrets::derive(&SEED, &id(node));
    let (root, domain) = (RootSecret::from_seed(&SEED), id("example"));
    let certificate = match role {
        Role::Spa => root.issue_spa(&domain, &id(node), &secrets, certified(&[("/A", false), ("/B", false)])),
        _ => root.issue(&domain, &id(node), role, &secrets),
    };
    NodeKeys::new(&secrets, certificate).unwrap()
}

fn certified(names: &[(&str, bool)]) -> Vec<CertifiedName> {
    names.iter().map(|(n, exact)| CertifiedName { name: name(n), exact: *exact }).collect()
}

fn verifier() -> Verifier {
    Verifier::new(RootSecret::from_seed(&SEED).public(), id("example"))
}

fn grant(spa: &NodeKeys, sg: &str, prefix: &str, issued: u64, expires: u64) -> Grant {
    let pod = keys("pod-1", Role::Pod);
    spa.sign_grant(Grant {
        prefix: name(prefix),
        exact: false,
        depth: 255,
        pod: id("pod-1"),
        pod_key: pod.certificate().signing_key,
        sg: id(sg),
        issued_at: Millis(issued),
        expires_at: Millis(expires),
        serial: 1,
        certificate: spa.certificate().clone(),
        signature: [0; 64],
    })
}

fn prefix_lsa(origin: &NodeKeys, prefix: &str, grant: Grant) -> Lsa {
    let content = PrefixLsa { metric: 0, weight: 1, exact: false, instance: None, proof: Proof::Grant(grant) };
    let key = LsaKey { origin: origin.certificate().node.clone(), id: LsaId::Prefix(name(prefix), id("pod-1")) };
    origin.sign_lsa(key, 1, Millis(60_000), LsaContent::Prefix(content))
}

fn refusal(v: &mut Verifier, lsa: Lsa) -> DropReason {
    v.verify_lsa(Timestamp::ZERO, lsa).unwrap_err().drop_reason()
}

#[test]
fn aut_09_only_the_granted_sg_may_advertise_the_granted_prefix() {
    let (sg1, sg2, spa) = (keys("sg-1", Role::Sg), keys("sg-2", Role::Sg), keys("spa-1", Role::Spa));
    let g = grant(&spa, "sg-1", "/A/1", 0, 1000);
    let mut v = verifier();
    assert!(v.verify_lsa(Timestamp::ZERO, prefix_lsa(&sg1, "/A/1", g.clone())).is_ok());
    assert_eq!(refusal(&mut v, prefix_lsa(&sg2, "/A/1", g.clone())), DropReason::NotAuthorised, "another SG");
    assert_eq!(refusal(&mut v, prefix_lsa(&sg1, "/A/2", g.clone())), DropReason::NotAuthorised, "another prefix");
    let mut wider = g.clone();
    wider.prefix = name("/A");
    assert_eq!(refusal(&mut v, prefix_lsa(&sg1, "/A", wider)), DropReason::BadSignature, "changed after signing");
    let own = grant(&sg1, "sg-1", "/A/9", 0, 1000);
    assert_eq!(refusal(&mut v, prefix_lsa(&sg1, "/A/9", own)), DropReason::WrongRole, "an SG grants itself");
}

#[test]
fn an_spa_grants_within_the_names_in_its_certificate_and_nowhere_else() {
    let sg = keys("sg-1", Role::Sg);
    let secrets = NodeSecrets::derive(&SEED, &id("spa-1"));
    let names = certified(&[("/A/1", false), ("/A", true), ("/shop", false)]);
    let certificate = RootSecret::from_seed(&SEED).issue_spa(&id("example"), &id("spa-1"), &secrets, names);
    let spa = NodeKeys::new(&secrets, certificate).unwrap();
    for (prefix, exact, within) in [
        ("/A/1", false, true),
        ("/A/1/x", false, true),
        ("/A", true, true),
        ("/A", false, false),   // only as a pool
        ("/A/4", false, false), // below a pool
        ("/A/4", true, false),
        ("/shop", false, true),
        ("/shop/all", true, true),
        ("/shopping", false, false),
        ("/B/1", false, false),
    ] {
        let unsigned = Grant { exact, ..grant(&spa, "sg-1", prefix, 0, 1000) };
        let granted = spa.sign_grant(unsigned);
        let mut lsa = prefix_lsa(&sg, prefix, granted.clone());
        if let LsaContent::Prefix(content) = &mut lsa.content {
            content.exact = exact;
        }
        let lsa = sg.sign_lsa(lsa.key, 1, Millis(60_000), lsa.content);
        let mut v = verifier();
        let refused = |e: TrustError| e.drop_reason();
        let expected = if within { Ok(()) } else { Err(DropReason::NotAuthorised) };
        assert_eq!(v.verify_grant(Timestamp::ZERO, &granted).map_err(refused), expected, "{prefix} {exact}");
        assert_eq!(v.verify_lsa(Timestamp::ZERO, lsa).map(|_| ()).map_err(refused), expected, "{prefix} {exact}");
    }
    // The root signs the names: nobody adds one.
    let mut wider = spa.certificate().clone();
    wider.names = certified(&[("/B", false)]);
    assert_eq!(verifier().verify_certificate(&wider).unwrap_err().drop_reason(), DropReason::BadCertificate);
}

#[test]
fn only_the_router_that_the_scsc_is_attached_to_may_advertise_its_name() {
    let (sr1, sr2, scsc) = (keys("sr-1", Role::Sr), keys("sr-2", Role::Sr), keys("scsc", Role::Scsc));
    let (from, to) = (Millis(1000), Millis(601_000));
    let attached = |by: &NodeKeys, prefix: &str, port: &str, attachment| {
        let key = LsaKey { origin: by.certificate().node.clone(), id: LsaId::Prefix(name(prefix), id(port)) };
        let proof = Proof::Attached(attachment);
        let content = PrefixLsa { metric: 1, weight: 1, exact: false, instance: None, proof };
        by.sign_lsa(key, 1, Millis(60_000), LsaContent::Prefix(content))
    };
    let own = "/damc/example/scsc";
    let word = scsc.sign_attachment(id("sr-1"), from, to);
    let mut v = verifier();
    assert!(v.verify_lsa(Timestamp::ZERO, attached(&sr1, own, "scsc", word.clone())).is_ok());
    for (what, lsa, reason) in [
        ("another router", attached(&sr2, own, "scsc", word.clone()), DropReason::NotAuthorised),
        ("another name", attached(&sr1, "/damc/example/spa-1", "scsc", word.clone()), DropReason::NotAuthorised),
        ("another port", attached(&sr1, own, "sr-2", word.clone()), DropReason::NotAuthorised),
    ] {
        assert_eq!(refusal(&mut v, lsa), reason, "{what}");
    }
    let mut redirected = word.clone();
    redirected.router = id("sr-2");
    assert_eq!(refusal(&mut v, attached(&sr2, own, "scsc", redirected)), DropReason::BadSignature);
    let by_itself = sr2.sign_attachment(id("sr-2"), from, to);
    assert_eq!(refusal(&mut v, attached(&sr2, "/damc/example/sr-2", "sr-2", by_itself)), DropReason::WrongRole);
    let late = Timestamp::from_millis(600_000);
    let over = v.verify_lsa(late, attached(&sr1, own, "scsc", word)).unwrap_err();
    assert!(matches!(over, TrustError::AttachmentExpired { .. }), "{over}");
}

#[test]
fn gap_08_origin_cannot_be_forged() {
    let (sg1, pod, spa) = (keys("sg-1", Role::Sg), keys("pod-1", Role::Pod), keys("spa-1", Role::Spa));
    let topology = |by: &NodeKeys, origin: &str| {
        let key = LsaKey { origin: id(origin), id: LsaId::Topology(0) };
        by.sign_lsa(key, 1, Millis(1000), LsaContent::Topology(TopologyLsa::default()))
    };
    let mut v = verifier();
    assert!(v.verify_lsa(Timestamp::ZERO, topology(&sg1, "sg-1")).is_ok());
    assert_eq!(refusal(&mut v, topology(&sg1, "sg-2")), DropReason::NotAuthorised, "in another's name");
    assert_eq!(refusal(&mut v, topology(&pod, "pod-1")), DropReason::WrongRole);
    assert_eq!(refusal(&mut v, topology(&spa, "spa-1")), DropReason::WrongRole);
    let mut flipped = topology(&sg1, "sg-1");
    flipped.sequence = 2;
    assert_eq!(refusal(&mut v, flipped), DropReason::BadSignature);
    let mut aged = topology(&sg1, "sg-1");
    aged.remaining = Millis(5);
    assert!(v.verify_lsa(Timestamp::ZERO, aged).is_ok(), "age is not signed");
}

#[test]
fn arc_02_other_domains_and_other_roots_are_strangers() {
    let secrets = NodeSecrets::derive(&SEED, &id("sg-1"));
    let elsewhere = RootSecret::from_seed(&SEED).issue(&id("other"), &id("sg-1"), Role::Sg, &secrets);
    let impostor = RootSecret::from_seed(&[9; 32]).issue(&id("example"), &id("sg-1"), Role::Sg, &secrets);
    let mut v = verifier();
    assert_eq!(v.verify_certificate(&elsewhere).unwrap_err().drop_reason(), DropReason::DomainMismatch);
    assert_eq!(v.verify_certificate(&impostor).unwrap_err().drop_reason(), DropReason::BadCertificate);
    let other_keys = NodeSecrets::derive(&SEED, &id("sg-2"));
    assert!(NodeKeys::new(&other_keys, impostor).is_err(), "certificate and secrets must match");
}

#[test]
fn checklist_11_grants_end_by_their_spas_clock_alone() {
    let (sg1, spa) = (keys("sg-1", Role::Sg), keys("spa-1", Role::Spa));
    let mut v = verifier();
    let old = grant(&spa, "sg-1", "/A/1", 0, 1000);
    let at = |ms: u64| Timestamp::from_millis(5_000_000_000 + ms);
    assert!(v.verify_grant(at(0), &old).is_ok());
    assert!(v.verify_grant(at(999), &old).is_ok());
    let expired = v.verify_grant(at(1000), &old);
    assert!(matches!(expired, Err(TrustError::GrantExpired { .. })), "{expired:?}");
    let mut fresh_verifier = verifier();
    assert!(fresh_verifier.verify_grant(at(1000), &old).is_ok(), "a newcomer knows no later time");
    assert!(fresh_verifier.verify_grant(at(1000), &grant(&spa, "sg-1", "/B/1", 1500, 9000)).is_ok());
    assert!(fresh_verifier.verify_grant(at(1000), &old).is_err(), "the SPA itself has said it is later");
    assert!(fresh_verifier.verify_lsa(at(1000), prefix_lsa(&sg1, "/A/1", old)).is_err());
}

#[test]
fn hop_keys_agree() {
    let (a, b) = (keys("sg-1", Role::Sg), keys("sr-left", Role::Sr));
    let at_a = a.hop_key(5, b.certificate(), 6).unwrap();
    let at_b = b.hop_key(6, a.certificate(), 5).unwrap();
    assert!(at_b.verify(&id("sg-1"), b"x", &at_a.mac(&id("sg-1"), b"x")));
}
