//! The cost of signatures: a grant seen for the first time and seen again, and the LSA that carries it, with all
//! certificates.

use damc_bench::{Report, measure};
use damc_trust::{NodeKeys, NodeSecrets, RootSecret, Verifier};
use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey, PrefixLsa, Proof};
use damc_wire::security::{CertifiedName, Grant};
use damc_wire::{Millis, Name, NodeId, Role, Timestamp};

const SEED: [u8; 32] = [1; 32];
/// Number of different grants and LSAs. For a first time, a copy of a verifier is used that has not seen the grant.
const FEW: usize = 16;

pub fn run(report: &mut Report) {
    let (spa, sg) = (keys("spa-1", Role::Spa), keys("sg-1", Role::Sg));
    let grants: Vec<Grant> = (0..FEW).map(|i| grant(&spa, i)).collect();
    let fresh = || Verifier::new(RootSecret::from_seed(&SEED).public(), id("example"));
    let mut verifier = fresh();
    verifier.verify_certificate(spa.certificate()).unwrap();
    verifier.verify_certificate(sg.certificate()).unwrap();
    // Knows the certificates only.
    let knowing = verifier.clone();
    let first = measure("trust", "grant, first time, SPA known", |i| {
        knowing.clone().verify_grant(Timestamp::ZERO, &grants[i % FEW]).is_ok()
    });
    report.add(first.note("one signature".to_owned()));
    grants.iter().for_each(|grant| verifier.verify_grant(Timestamp::ZERO, grant).unwrap());
    let again =
        measure("trust", "grant, seen before", |i| verifier.verify_grant(Timestamp::ZERO, &grants[i % FEW]).is_ok());
    report.add(again.note("refreshes carry them again and again".to_owned()));
    let lsas: Vec<Lsa> = grants.iter().map(|grant| prefix_lsa(&sg, grant.clone())).collect();
    let lsa = |known: &Verifier, i: usize| known.clone().verify_lsa(Timestamp::ZERO, lsas[i % FEW].clone()).is_ok();
    report.add(
        measure("trust", "prefix LSA, nodes known, grant new", |i| lsa(&knowing, i)).note("two signatures".into()),
    );
    let stranger = fresh();
    report.add(measure("trust", "prefix LSA, all of it new", |i| lsa(&stranger, i)).note("four signatures".into()));
    report.add(measure("trust", "signing a grant", |i| grant(&spa, i)));
}

/// Certified keys of a node.
pub fn keys(node: &str, role: Role) -> NodeKeys {
    let secrets = NodeSecrets::derive(&SEED, &id(node));
    let (root, domain) = (RootSecret::from_seed(&SEED), id("example"));
    let certificate = match role {
        Role::Spa => {
            let names = vec![CertifiedName { name: "/A".parse().unwrap(), exact: false }];
            root.issue_spa(&domain, &id(node), &secrets, names)
        }
        _ => root.issue(&domain, &id(node), role, &secrets),
    };
    NodeKeys::new(&secrets, certificate).unwrap()
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn prefix(i: usize) -> Name {
    format!("/A/{i}").parse().unwrap()
}

fn grant(spa: &NodeKeys, i: usize) -> Grant {
    spa.sign_grant(Grant {
        prefix: prefix(i),
        exact: false,
        depth: 255,
        pod: id("pod-1"),
        pod_key: [3; 32],
        sg: id("sg-1"),
        issued_at: Millis(0),
        expires_at: Millis(60_000),
        serial: i as u64 + 1,
        certificate: spa.certificate().clone(),
        signature: [0; 64],
    })
}

fn prefix_lsa(sg: &NodeKeys, grant: Grant) -> Lsa {
    let key = LsaKey { origin: id("sg-1"), id: LsaId::Prefix(grant.prefix.clone(), id("pod-1")) };
    let content = PrefixLsa { metric: 0, weight: 1, exact: false, instance: None, proof: Proof::Grant(grant) };
    sg.sign_lsa(key, 1, Millis(60_000), LsaContent::Prefix(content))
}
