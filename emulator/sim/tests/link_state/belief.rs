//! What routers believe of an LSA: both sides of a link, signatures and grants.

use damc_mgmt::view::FibView;
use damc_sim::Network;
use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey, PrefixLsa, Proof};
use damc_wire::registry::DropReason;
use damc_wire::security::Grant;
use damc_wire::{Message, Millis, Name, Role};

use crate::puppet::{SEED, Stage, id, keys, topology_of};

// ===== rows 13, 21, 22: what is believed =====

#[test]
fn checklist_13_one_side_alone_makes_no_link() {
    let mut stage = Stage::sr(2);
    let p1 = stage.puppets[1].topology(1, &["sr", "far"]);
    stage.flood(1, &p1);
    let far = keys("far", Role::Sr, SEED);
    stage.flood(1, &topology_of(&far, "far", 1, &[]));
    stage.advance(100);
    let reaches = |stage: &Stage, node: &str| {
        stage.show::<FibView>().entries.iter().any(|e| e.prefix == format!("/damc/example/{node}"))
    };
    assert!(reaches(&stage, "p1"));
    assert!(!reaches(&stage, "far"), "far does not say so");
    stage.flood(1, &topology_of(&far, "far", 2, &["p1"]));
    stage.advance(100);
    assert!(reaches(&stage, "far"));
}

#[test]
fn checklist_21_a_forwarder_cannot_change_what_it_forwards() {
    let honest = keys("p9", Role::Sr, SEED);
    let lsa = topology_of(&honest, "p9", 3, &["p0"]);
    let mut changed_cost = lsa.clone();
    let LsaContent::Topology(t) = &mut changed_cost.content else { panic!() };
    t.links[0].cost = 100;
    let mut higher = lsa.clone();
    higher.sequence = 4;
    let mut longer = lsa.clone();
    longer.lifetime = Millis(lsa.lifetime.0 * 2);
    let own_key = stage_key_signs_for_another();
    for (forged, reason) in [
        (changed_cost, DropReason::BadSignature),
        (higher, DropReason::BadSignature),
        (longer, DropReason::BadSignature),
        (own_key, DropReason::NotAuthorised),
    ] {
        let mut stage = Stage::sr(2);
        stage.flood(0, &forged);
        assert_eq!(stage.dropped, [reason]);
        assert_eq!(stage.sequence("p9", "0"), None);
        assert_eq!(stage.puppets[1].updates(), []);
        stage.flood(0, &lsa);
        assert_eq!(stage.sequence("p9", "0"), Some(3), "the true one is");
    }
}

/// p0 signs, correctly, an LSA of p9.
fn stage_key_signs_for_another() -> Lsa {
    topology_of(&keys("p0", Role::Sr, SEED), "p9", 9, &["p0"])
}

pub fn prefix_lsa(signer: &str, prefix: &str, grant: Grant, sequence: u64) -> Lsa {
    let key = LsaKey { origin: id(signer), id: LsaId::Prefix(prefix.parse().unwrap(), id("pod")) };
    let content = PrefixLsa { metric: 1, weight: 1, exact: false, instance: None, proof: Proof::Grant(grant) };
    keys(signer, Role::Sg, SEED).sign_lsa(key, sequence, Millis(3_600_000), LsaContent::Prefix(content))
}

pub fn grant(signer: (&str, Role), prefix: &str, sg: &str, valid: (u64, u64)) -> Grant {
    let spa = keys(signer.0, signer.1, SEED);
    let pod = keys("pod", Role::Pod, SEED);
    spa.sign_grant(Grant {
        prefix: prefix.parse::<Name>().unwrap(),
        exact: false,
        depth: 255,
        pod: id("pod"),
        pod_key: pod.certificate().signing_key,
        sg: id(sg),
        issued_at: Millis(valid.0),
        expires_at: Millis(valid.1),
        serial: 1,
        certificate: spa.certificate().clone(),
        signature: [0; 64],
    })
}

#[test]
fn checklist_22_every_node_checks_the_grant() {
    let good = grant(("spa", Role::Spa), "/A/1", "p0", (1000, 600_000));
    let mut tampered = good.clone();
    tampered.prefix = "/B/1".parse().unwrap();
    let cases = [
        ("none for this prefix", "/B/1", good.clone(), DropReason::NotAuthorised),
        ("for another SG", "/A/1", grant(("spa", Role::Spa), "/A/1", "p1", (0, 600_000)), DropReason::NotAuthorised),
        ("signed by no SPA", "/A/1", grant(("p0", Role::Sg), "/A/1", "p0", (0, 600_000)), DropReason::WrongRole),
        ("changed", "/B/1", tampered, DropReason::BadSignature),
        ("over", "/A/1", grant(("spa", Role::Spa), "/A/1", "p0", (1000, 1000)), DropReason::GrantExpired),
        ("reserved", "/damc/x", grant(("spa", Role::Spa), "/damc/x", "p0", (0, 600_000)), DropReason::NotAuthorised),
    ];
    for (what, prefix, grant, reason) in cases {
        let mut stage = Stage::sr(2);
        stage.flood(0, &prefix_lsa("p0", prefix, grant, 1));
        assert_eq!(stage.dropped, [reason], "{what}");
        assert_eq!((stage.puppets[0].acks(), stage.puppets[1].updates()), (vec![], vec![]), "{what}");
        assert_eq!(stage.sequence("p0", prefix), None, "{what}");
        stage.flood(0, &prefix_lsa("p0", "/A/1", good.clone(), 2));
        assert_eq!(stage.sequence("p0", "/A/1"), Some(2), "{what}: the honest prefix of the same SG stays");
    }
}

#[test]
fn gap_07_a_prefix_leaves_with_its_grant() {
    let mut stage = Stage::sr(1);
    let short = grant(("spa", Role::Spa), "/A/1", "p0", (1000, 3000));
    stage.flood(0, &prefix_lsa("p0", "/A/1", short, 1));
    assert_eq!(stage.sequence("p0", "/A/1"), Some(1));
    stage.advance(1999);
    assert_eq!(stage.sequence("p0", "/A/1"), Some(1));
    stage.advance(2);
    assert_eq!(stage.sequence("p0", "/A/1"), None, "though the LSA itself would live for an hour");
}

#[test]
fn lsa_01_class_2_from_the_wrong_side_is_refused() {
    let network = Network::new().sg("sg").pod("pod", &[("/A/1", None)]).link("sg", "pod", 1);
    let mut stage = Stage::new(&network, "sg");
    stage.advance(50);
    stage.clear();
    let lsa = topology_of(&keys("sr", Role::Sr, SEED), "sr", 1, &["sg"]);
    stage.flood(0, &lsa);
    assert_eq!(stage.dropped, [DropReason::WrongRole]);
    assert_eq!(stage.sequence("sr", "0"), None);
}

#[test]
fn lsas_are_packed_into_frames() {
    let mut stage = Stage::sr(2);
    let lsas: Vec<Lsa> = (0..20)
        .map(|i| topology_of(&keys(&format!("n{i}"), Role::Sr, SEED), &format!("n{i}"), 1, &["x", "y"]))
        .collect();
    for chunk in lsas.chunks(4) {
        stage.say(0, Message::LsUpdate(chunk.to_vec()));
    }
    let frames = stage.puppets[1].heard.iter().filter(|m| matches!(m, Message::LsUpdate(_))).count();
    assert_eq!(stage.puppets[1].updates().len(), 20);
    assert!(frames <= 7, "{frames}");
    let acks = stage.puppets[0].heard.iter().filter(|m| matches!(m, Message::LsAck(_))).count();
    assert_eq!(acks, 5, "one acknowledgement frame for each update frame");
}
